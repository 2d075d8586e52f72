-- SPDX-License-Identifier: MIT
-- Stages in jq: a filter from the input to one value.
local PROBE = [[
path=$(readlink -f "$(command -v jq)") &&
printf '{"path":"%s","version":"%s","dirs":[]}\n' "$path" "$(jq --version)"]]

return {
  names = { "jq" }, extension = "jq",
  runtime = { programs = { "sh" }, probe = { "-c", PROBE } },
  wrap = function(code)
    return { entry = "stage.jq", files = { ["stage.jq"] = code } }
  end,
  argv = function(runtime, entry) return { runtime.path, "--compact-output", "-f", entry } end,
}
