-- SPDX-License-Identifier: MIT
--- Commands: a program by its name, in a sandbox unless told otherwise. What is not said is decided
-- here: where the program is, what its environment is, which backend isolates it.
local descriptions = require "noether.sandbox.description"
local environment = require "noether.sandbox.environment"
local errors = require "noether.error"
local isolation = require "noether.isolation"
local options = require "noether.options"
local policy = require "noether.policy.isolation"
local process = require "noether.process"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- Every option of @{run} and @{spawn}.
M.OPTIONS = tables.merged(process.OPTIONS, {
  clear_env = "boolean", isolation = isolation.NAMES, require_isolation = "boolean",
  loopback = "boolean",
})

-- A program that was looked for, and was not there to be started.
local function not_found(argv, message, errno, hint)
  return errors.new{
    kind = "spawn_failed", message = ("cannot run %s: %s"):format(argv[1], message),
    hint = hint or process.HINTS[errno or ""], errno = errno,
  }
end

-- The absolute path of what argv names; or nil and an error.
local function program_path(argv, env)
  local name = argv[1]
  if name:sub(1, 1) == "/" then return name end
  if name:find("/", 1, true) then
    local path, message, errno = sys.absolute(name)
    return path, not path and not_found(argv, message, errno) or nil
  end
  local search_path = env.PATH or environment.SYSTEM_PATH
  local path = sys.find_program(name, search_path)
  return path, not path and not_found(argv, "no such program on PATH", "ENOENT",
    "looked in " .. search_path) or nil
end

local function sandbox_for(given, environ)
  local ok, err = true, nil
  if given.sandbox then ok, err = descriptions.check_sources(given.sandbox) end
  if not ok then return nil, err end
  local chosen
  chosen, err = isolation.choose(given.isolation or "auto", process.launch, {
    require = given.require_isolation or options.is_on(environ.NOETHER_REQUIRE_ISOLATION),
    path = environ.PATH,
  })
  if not chosen then return nil, err end
  local description = descriptions.of_backend(chosen, given.sandbox or descriptions.system())
  if given.loopback ~= nil then description.loopback = given.loopback end
  return description
end

-- What would be without effect in a sandbox is refused, whichever backend there is.
local function check_sandboxed(fname, given)
  if given.isolation == "none" then
    options.check_loopback(fname, given)
  elseif given.cwd then
    options.raise(fname .. ": option 'cwd': it works only with isolation = \"none\"; in a sandbox "
      .. "it is sandbox.work_dir")
  elseif given.supervise == false then
    options.raise(fname .. ": option 'supervise': false works only with isolation = \"none\"")
  end
end

-- Of a run nobody has a handle to write to, or to call `feed` of.
local function input_of_run(stdin)
  if stdin == true then
    options.raise("run: option 'stdin': true is for spawn, whose process can be written to")
  elseif type(stdin) ~= "function" then
    return stdin
  end
  return function()
    local piece = stdin()
    if piece == false then
      error("stdin: the function returned false, and nobody can call feed: use spawn", 0)
    end
    return piece
  end
end

local function environment_of(given, environ, sandboxed)
  local env = environment.of_command(environ, policy.env_allowlist, {
    clear = given.clear_env, sandboxed = sandboxed,
  })
  return tables.merged(env, given.env)
end

local function start(fname, argv, opts)
  local given = process.check(fname, argv, opts, M.OPTIONS)
  check_sandboxed(fname, given)
  if fname == "run" then given.stdin = input_of_run(given.stdin) end
  local environ = sys.environ()
  local sandbox, err = sandbox_for(given, environ)
  if not sandbox then return nil, err end
  local launch = { sandbox = sandbox }
  for name in pairs(process.OPTIONS) do
    if launch[name] == nil then launch[name] = given[name] end
  end
  launch.launcher = options.switch(given.launcher, environ.NOETHER_LAUNCHER)
  launch.env = environment_of(given, environ, sandbox.backend ~= "none")
  local path
  path, err = program_path(argv, launch.env)
  if not path then return nil, err end
  return process.launch(tables.merged(argv, { path }), launch)
end

--- Start a program.
-- @tparam table argv the program (looked up on PATH if it has no slash) and its arguments
-- @tparam[opt] table opts `isolation` ("auto"), `require_isolation`, `loopback` (true),
-- `env` (variables to add),
-- `clear_env` (start from nothing; true in a sandbox), `cwd` (without a sandbox), `stdin` (text,
-- `{ path }`, `{ fd, share }`, true for what `write` will give, or a function that returns the
-- next piece, false if there is none before `feed` is called, nil at the end),
-- `stdout`, `stderr` (`{ path }` or `{ fd, share }`; nil: the result), `on_stdout`, `on_stderr`
-- (called with what comes, as it comes, by `step` and `wait`), `on_network` (likewise: called with
-- host and port, where the list of the sandbox has a "?:port"; true lets the program connect),
-- `timeout_secs` (none),
-- `max_output_bytes` (10 MiB), `max_stderr_bytes` (64 KiB), `supervise`
-- (true; false only without a sandbox), `launcher` (false), `sandbox` (a description, default: the
-- system read-only and nothing else), `limits`
-- @treturn ?table a process that runs; or nil and an error if none does
-- @treturn ?table
-- @raise on a wrong option
-- @usage
-- local proc = noether.check(noether.spawn({ "sh", "-c", "exit 3" }, { timeout_secs = 10 }))
-- print(proc:wait().exit_code) --> 3
function M.spawn(argv, opts)
  local proc, err = start("spawn", argv, opts)
  if not proc then return nil, err end
  -- The supervisor learns of a failed exec some microseconds from now.
  local started
  started, err = proc:wait_started()
  if not started then return nil, err end
  return proc
end

--- Run a program to its end.
-- @tparam {string,...} argv as of @{spawn}
-- @tparam[opt] RunOptions opts as of @{spawn}
-- @treturn ?Result the result, however it ended; or nil and an error if nothing ran
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local result, err = noether.run({ "sh", "-c", "echo out; exit 3" }, { timeout_secs = 10 })
-- if not result then error(err) end
-- print(result.reason, result.exit_code, (result.stdout:gsub("\n", ""))) --> exit 3 out
function M.run(argv, opts)
  local proc, err = start("run", argv, opts)
  if not proc then return nil, err end
  local result
  result, err = proc:wait()
  proc:close()
  return result, err
end

return M
