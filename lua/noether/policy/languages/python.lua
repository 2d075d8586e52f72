-- SPDX-License-Identifier: MIT
--- Python stages: what they are called, how they are found, wrapped and started.
--
-- A stage defines `execute(input)`, plain or `async`. Its code stands alone in `stage.py`, so line
-- numbers, `from __future__`, encodings and docstrings are the user's own; `runner.py` loads it as
-- the module `stage` (so a block under `if __name__ == "__main__"` does not run) and answers one
-- request. `failure.py` is read only when something went wrong: compiling it costs a millisecond
-- that a stage which works should not pay.
--
-- What a stage may count on:
--
-- * Descriptor 1 and `sys.stdout` are standard error from the first line on; the answer travels on
--   a private descriptor that children do not inherit.
-- * The answer is written as soon as `execute` is over; then Python ends as it always does: it
--   waits for threads that are no daemons, runs `atexit` and flushes files. A thread that never
--   ends therefore meets the deadline, and the run is no success.
-- * Keys of an answer follow Python's `json`: `int`, `float`, `bool` and `None` become text, other
--   types are an error. NaN, infinities and lone surrogates are errors which name their place.
-- * `os._exit` leaves no answer, and so fails.
--
-- Runs on Python 3.8 and later.
local resource = require "noether.resource"

local M = {
  name = "python",
  names = { "python", "python3", "" },
  extension = "py",
}

local function file(name)
  return resource.text("policy/languages/python/" .. name)
end

-- Started without site: a probe must not depend on what is installed.
local PROBE = file "probe.py"

--- What a model is told that is to write such stages.
M.about = "Python. Define execute(input) and return the answer: a JSON value."

--- A stage that gives the double of its input, by which a server is tried.
M.sample = "def execute(n): return n * 2"

--- How a stage calls a function of its host, for a model: of its name.
M.call_usage = "from noether import %s    # keyword arguments; an error raises noether.CallError"

--- How an interpreter is found. `programs`: names looked for, in order. `probe`: arguments after
-- the program; it prints one JSON object `{ path, version, dirs }`, and for what a wrapper hides
-- `{ program, variables }`: the file that runs, and its environment. `attribute`: its name in
-- nixpkgs. `packages`: it has `withPackages` there, for what the packages policy detects.
M.runtime = {
  programs = { "python3", "python" },
  probe = { "-I", "-S", "-B", "-c", PROBE },
  attribute = "python3",
  packages = true,
}

local RUNNER = file "runner.py"
local FAILURE = file "failure.py"
local CHANNEL = file "channel.py"
local SESSION = file "session.py"
local AHEAD = file "ahead.py"
local FIGURES = file "figures.py"
local FORK = file "fork.py"

--- The policy that judges the packages that stages name.
M.requires = "pip"

--- Stages can call functions of their host: the version of the channel that the runner speaks.
M.channel = 1

--- Interpreters can be started ahead of their request, which comes by the channel.
M.ahead = "channel"

--- They can make copies of themselves, each behind walls of its own: `helper` is the name of the
-- file that does it, which they find beside the runner; `probe` the code of a stage that tells what
-- it sees of the walls around it.
M.forks = { helper = "helper.so", probe = file "walls.py" }

-- Names of modules as a list in Python.
local function list_of(names)
  local quoted = {}
  for index, name in ipairs(names) do
    quoted[index] = ("%q"):format(name)
  end
  return "[" .. table.concat(quoted, ", ") .. "]"
end

-- The runner with one of its settings, which are False, set.
local function with(runner, setting)
  return (runner:gsub("\n" .. setting .. " = False\n", "\n" .. setting .. " = True\n"))
end

-- The runner for what is started ahead of its request.
local function ahead_of(runner, ahead)
  runner = runner:gsub("\nIMPORTS = %[%]\n", function()
    return "\nIMPORTS = " .. list_of(ahead.imports) .. "\n"
  end):gsub("\nwait_for_request = end = prepare = None[^\n]*\n", function()
    return "\n" .. AHEAD
  end)
  return ahead.fork and with(runner, "FORKS") or runner
end

local function fork_under(limits)
  local list = {}
  for _, name in ipairs{ "memory_bytes", "processes" } do
    if limits[name] then list[#list + 1] = ('"%s": %.0f'):format(name, limits[name]) end
  end
  return (FORK:gsub("\nLIMITS = {}", "\nLIMITS = {" .. table.concat(list, ", ") .. "}"))
end

--- The files of a stage.
-- @tparam string code the user's code
-- @tparam[opt] table opts `legacy_input`: a string input that is itself JSON is decoded once more,
-- and null becomes an empty dict; `leftover_threads`: "end" those that execute leaves running;
-- `calls`: names of functions of the host, if it may call any; `outputs`: files that it leaves are
-- collected, and figures of matplotlib are to be among them; `ahead`: it is for a process that is
-- started ahead of its request, `{ imports = names, fork = limits }`, with `fork` for one that
-- makes copies of itself, and imports under these limits (`memory_bytes`, `processes`)
-- @treturn ?table `{ files = { [name] = text }, entry = name, own = name }`, where `own` holds the
-- code, and is not read before there is a request; or nil and the reason
-- @treturn ?string
function M.wrap(code, opts)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  opts = opts or {}
  local runner = opts.legacy_input and with(RUNNER, "LEGACY_INPUT") or RUNNER
  if opts.leftover_threads == "end" then runner = with(runner, "END_THREADS") end
  if opts.ahead then
    runner = ahead_of(runner, opts.ahead)
  end
  if opts.outputs then runner = with(runner, "FIGURES") end
  return {
    files = {
      ["runner.py"] = runner,
      ["failure.py"] = FAILURE,
      ["channel.py"] = opts.calls and CHANNEL or nil,
      ["figures.py"] = opts.outputs and FIGURES or nil,
      ["fork.py"] = opts.ahead and opts.ahead.fork and fork_under(opts.ahead.fork) or nil,
      ["stage.py"] = code,
    },
    entry = "runner.py", own = "stage.py",
  }
end

--- The files of a session, whose code comes cell by cell over the channel.
-- @tparam[opt] table opts `calls`: names of functions of the host, if it may call any
-- @treturn table as of `wrap`
function M.wrap_session(opts)
  local runner = with(RUNNER, "SESSION")
  if opts and opts.calls then runner = with(runner, "FUNCTIONS") end
  return {
    files = {
      ["runner.py"] = runner, ["failure.py"] = FAILURE, ["channel.py"] = CHANNEL,
      ["session.py"] = SESSION, ["figures.py"] = FIGURES,
    },
    entry = "runner.py",
  }
end

--- The command that runs a wrapped stage.
-- Isolated (-I: no PYTHON* variables, no user site, nothing imported from the working directory),
-- no bytecode written (-B), UTF-8 whatever the locale.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @treturn table list, the program first
function M.argv(runtime, entry)
  return { runtime.path, "-I", "-B", "-X", "utf8", entry }
end

--- Variables for a stage's environment. The stage itself ignores them; a Python that it starts
-- shall not write bytecode next to what it imports either. Where outputs are collected, matplotlib
-- draws for files.
-- @tparam table _ the runtime
-- @tparam[opt] table facts of the run: `outputs`
-- @treturn table values by name
function M.env(_, facts)
  return {
    PYTHONDONTWRITEBYTECODE = "1", MPLBACKEND = facts and facts.outputs and "Agg" or nil,
  }
end

--- Whether Python can hold an input exactly: any JSON.
-- @treturn boolean true
function M.check_input()
  return true
end

return M
