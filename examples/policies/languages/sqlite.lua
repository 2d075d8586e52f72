-- SPDX-License-Identifier: MIT
-- Stages in SQL, by the shell of SQLite: the input is the column json of the one row of the table
-- input, and the one value that is selected is the answer.
local PROBE = [[
path=$(readlink -f "$(command -v sqlite3)") &&
printf '{"path":"%s","version":"%s","dirs":[]}\n' "$path" "$(sqlite3 --version | cut -d' ' -f1)"]]

-- What reads a pipe: readfile() asks for a file's length.
local BEFORE = [[
.bail on
CREATE TEMP TABLE input(json TEXT);
.separator "\037" "\n"
.import /dev/stdin input
.mode list
]]

return {
  names = { "sqlite", "sql" }, extension = "sql",
  runtime = { programs = { "sh" }, probe = { "-c", PROBE } },
  wrap = function(code)
    return { entry = "stage.sql", files = { ["stage.sql"] = BEFORE .. code .. "\n" } }
  end,
  argv = function(runtime, entry)
    return { runtime.path, "-batch", "-bail", "-noheader", ":memory:", ".read " .. entry }
  end,
}
