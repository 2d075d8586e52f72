-- SPDX-License-Identifier: MIT
--- Bash stages: what they are called, how they are found, wrapped and started.
--
-- A stage defines a function `execute`. Its code stands alone in `stage.sh`, so line numbers are
-- the user's; `runner.sh` sources it under `set -euo pipefail` and answers one request. The runner
-- uses builtins only and never forks: a stage without the Process effect has nothing else.
--
-- What a stage may count on:
--
-- * The input is JSON text in `$INPUT` (not exported), in `$1` and on the standard input of
--   `execute`. `execute` is a function, so all three hold an input of any size; an external program
--   takes one argument of at most 128 KiB (MAX_ARG_STRLEN), and is better given standard input.
-- * What `execute` prints is the answer: one JSON value. It goes out as it is printed. What the
--   rest of the code prints while it is loaded is standard error.
-- * A failed command ends the stage; the error object is then the last line of the output, after
--   whatever had been printed: with a status other than 0 nothing else of it counts.
-- * A stage with an EXIT trap of its own keeps it; what ends the shell by other means than a failed
--   command (`exit 3`, an unset variable) is then told by status and standard error alone.
--
-- * A byte order mark before the code is left out, and where its lines end in CR LF they end in LF:
--   bash would read both as parts of words.
--
-- Runs on bash 4.1 and later.
local resource = require "noether.resource"

local M = {
  name = "bash",
  names = { "bash", "sh" },
  extension = "sh",
}

local function file(name)
  return resource.text("policy/languages/bash/" .. name)
end

-- The one path that the shell cannot follow by itself is the link in /proc.
local PROBE = file "probe.sh"

--- What a model is told that is to write such stages.
M.about = "Bash. Define execute() { ... }; the input is JSON text in $1 and on standard input, and "
  .. "what it prints is the answer: one JSON value."

--- A stage that gives the double of its input, by which a server is tried.
M.sample = "execute() { echo $(($1 * 2)); }"

--- How a stage calls a function of its host, for a model: of its name.
M.call_usage = "noether -v RESULT %s '{...}'    # JSON into RESULT; status 1 and a message on an "
  .. "error"

--- How an interpreter is found; fields as in the Python module.
M.runtime = {
  programs = { "bash" },
  probe = { "--noprofile", "--norc", "-p", "-c", PROBE },
  attribute = "bash",
  tools = { "coreutils", "findutils", "gawk", "gnugrep", "gnused" },
}

local RUNNER = file "runner.sh"
local CHANNEL = file "channel.sh"
local SESSION = file "session.sh"

-- How the runner quotes text, for both.
local QUOTE = RUNNER:match("\n(noether_quote%(%) {\n.-\n}\n)")

--- Stages can call functions of their host: the version of the channel that the runner speaks.
M.channel = 1

--- Shells can be started ahead of their request, which is their standard input.
M.ahead = "stdin"

--- The files of a stage.
-- @tparam string code the user's code
-- @tparam[opt] table opts `calls`: names of functions of the host, if it may call any; `processes`:
-- whether it may have jobs and subshells
-- @treturn ?table `{ files = { [name] = text }, entry = name, own = name }`, where `own` holds the
-- code, and is not read before the input; or nil and the reason
-- @treturn ?string
function M.wrap(code, opts)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  local text = code:gsub("^\239\187\191", "")
  if text:find("^[^\n]*\r\n") then text = text:gsub("\r\n", "\n") end
  local files = { ["runner.sh"] = RUNNER, ["stage.sh"] = text }
  if opts and opts.calls then
    files["channel.sh"] = ("noether_jobs=%s\n"):format(opts.processes and "yes" or "no") .. CHANNEL
  end
  return { files = files, entry = "runner.sh", own = "stage.sh" }
end

-- An interactive shell reads commands: the first runs the session, and wherever a cell is given up
-- without an interrupt one of those that are none is read.
local COMMANDS = 60000

--- The files of a session, whose code comes cell by cell over the channel.
-- @tparam[opt] table opts as of `wrap`
-- @treturn table as of `wrap`; `stdin`: its standard input
function M.wrap_session(opts)
  local has_jobs = opts and opts.calls and opts.processes
  local settings = ("noether_session=yes noether_functions=%s noether_jobs=%s\n"):format(
    opts and opts.calls and "yes" or "no", has_jobs and "yes" or "no")
  return {
    files = { ["session.sh"] = settings .. QUOTE .. SESSION, ["channel.sh"] = CHANNEL },
    entry = "session.sh", stdin = '. "$1"\n' .. ("\n"):rep(COMMANDS),
  }
end

--- The command that runs a wrapped stage. Privileged mode (-p) takes no functions and no BASH_ENV
-- from the environment.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @tparam[opt] table opts `session`: it is that of a session
-- @treturn table list, the program first
function M.argv(runtime, entry, opts)
  if opts and opts.session then
    return { runtime.path, "--noprofile", "--norc", "--noediting", "-p", "-i", "-s", "--", entry }
  end
  return { runtime.path, "--noprofile", "--norc", "-p", entry }
end

--- Variables for a stage's environment: characters are those of UTF-8, or `${text:0:5}` could cut
-- one in two.
-- @treturn table values by name
function M.env()
  return { LC_CTYPE = "C.UTF-8" }
end

--- Whether a shell variable can hold an input.
-- @param _ the input as a value; not looked at
-- @tparam string text the input as JSON
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check_input(_, text)
  if text:find("%z") then return nil, "the input holds a NUL byte, which bash cannot keep" end
  return true
end

return M
