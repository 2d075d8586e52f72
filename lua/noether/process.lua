-- SPDX-License-Identifier: MIT
--- Processes: start one, wait for it, have its output, end all that it started.
--
-- A process handle never blocks but in `wait`. What blocks, when a run is over and who closes what
-- is told at the top of src/core/process.c; here options are checked, errors get a kind, and a
-- program's name becomes a path.
local core = require "noether.core"
local errors = require "noether.error"
local isolation = require "noether.isolation"
local options = require "noether.options"
local sets = require "noether.set"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local Process = {}
local metatable = { __name = "noether.process", __index = Process }

--- What a tree of processes may use, by name.
M.LIMITS = {
  memory_bytes = "bytes", cpu_secs = "seconds", processes = "count", open_files = "count",
  file_bytes = "bytes", private_bytes = "bytes", private_files = "count",
}

local LAUNCH_OPTIONS = {
  env = "variables", cwd = "path", stdin = "input", stdout = "stream", stderr = "stream",
  on_stdout = "function", on_stderr = "function", timeout_secs = "seconds",
  max_output_bytes = "bytes", max_stderr_bytes = "bytes", supervise = "boolean",
  sandbox = "table", limits = { fields = M.LIMITS }, poller = "any",
}

--- Every option of @{run} and @{spawn}.
M.RUN_OPTIONS = {
  env = "variables", clear_env = "boolean", cwd = "path", stdin = "input", stdout = "stream",
  stderr = "stream", on_stdout = "function", on_stderr = "function", timeout_secs = "seconds",
  max_output_bytes = "bytes", max_stderr_bytes = "bytes", supervise = "boolean",
  isolation = isolation.NAMES, require_isolation = "boolean", sandbox = "table",
  limits = { fields = M.LIMITS },
}

-- Variables of the host that a program in a sandbox gets too.
local KEPT_VARIABLES = { "^LANG$", "^LC_", "^TZ$" }

local SANDBOX_VARIABLES = {
  HOME = "/work", USER = "nobody", TMPDIR = "/tmp", PATH = "/usr/local/bin:/usr/bin:/bin",
}

local DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

-- Whose fault the core says it is, as a kind.
local KINDS = {
  argument = "policy_error", spawn = "spawn_failed", sandbox = "sandbox_failed",
  system = "spawn_failed",
}

local HINTS = {
  EAGAIN = "no more processes may be started by this user now (ulimit -u)",
  ENOMEM = "there is not enough memory",
  ENOENT = "does the program, or the interpreter in its first line, exist there?",
  EACCES = "is the file executable for this user?",
  ENOEXEC = "the file is no program: a script needs a first line such as #!/bin/sh",
  E2BIG = "arguments and environment are too long together; pass data on standard input",
}

-- The first word of the core's message is the stream that could not be opened.
local STREAM_HINTS = {
  EBADF = "is the descriptor open, and for this direction?",
  ESPIPE = "a FIFO by its path would look empty: open it, and give the descriptor",
  ENOENT = "does the directory exist?",
  EACCES = "may this user open it? With share = true the program gets the descriptor as it is",
}

local function failure(argv, message, errno, fault, hint)
  local kind = KINDS[fault] or "spawn_failed"
  local no_descriptor = errors.NO_DESCRIPTOR[errno or ""]
  hint = hint or no_descriptor or HINTS[errno or ""]
  if no_descriptor then
    kind = "spawn_failed" -- whatever it was to be for
  elseif kind == "sandbox_failed" then
    hint = isolation.hint(message)
  elseif message:find("^std%l+:") then
    hint = STREAM_HINTS[errno]
  elseif message:find("^memfd_create") or message:find("^open the supervisor") then
    hint = "set vm.memfd_noexec to 0 or 1, or install noether, so that it finds its supervisor"
  end
  return errors.new{
    kind = kind, message = ("cannot run %s: %s"):format(argv[1], message), hint = hint,
    errno = errno,
  }
end

local function closed()
  return errors.new{ kind = "closed", message = "the process is closed" }
end

local function pending()
  return errors.new{
    kind = "pending", message = "the process is not over yet", hint = "wait again, or cancel it",
  }
end

local function check_argv(fname, argv, level)
  options.argument(fname, "argv", argv, "strings", level + 1)
  if not argv[1] or argv[1] == "" then
    error(fname .. ": argv: the first element names the program", level)
  end
end

local function variables_list(env)
  local list = {}
  for name, value in pairs(env or {}) do
    list[#list + 1] = name .. "=" .. value
  end
  table.sort(list)
  return list
end

local function milliseconds(secs)
  return secs and secs < math.huge and math.ceil(secs * 1000) or nil
end

local function core_limits(limits)
  local given = options.check("limits", limits, M.LIMITS, 5)
  given.cpu_ms, given.cpu_secs = milliseconds(given.cpu_secs), nil
  return given
end

-- What the core reads by itself; anything else that may be given is a producer.
local function is_source(input)
  return input == nil or type(input) == "string"
    or (type(input) == "table" and (input.path ~= nil or input.fd ~= nil))
end

local function input_stream(input)
  if input == nil or type(input) == "string" then return nil end
  return is_source(input) and input or true
end

local function check_streams(fname, given, level)
  for _, name in ipairs{ "stdout", "stderr" } do
    if given[name] and given[name].share and given["on_" .. name] then
      error(("%s: option 'on_%s': what the program writes to a shared descriptor is not seen here")
        :format(fname, name), level + 1)
    end
  end
end

local function start_core(argv, given, sandbox, env)
  return core.spawn{
    argv = argv, env = variables_list(env), cwd = given.cwd,
    stdin = type(given.stdin) == "string" and given.stdin or nil,
    stdin_from = input_stream(given.stdin), stdout_to = given.stdout, stderr_to = given.stderr,
    tap_stdout = given.on_stdout ~= nil, tap_stderr = given.on_stderr ~= nil,
    timeout_ms = milliseconds(given.timeout_secs), max_output_bytes = given.max_output_bytes,
    max_stderr_bytes = given.max_stderr_bytes, supervise = given.supervise,
    poller = given.poller, sandbox = sandbox, limits = given.limits,
  }
end

-- Landlock can hide the host's directories, not make new ones: the run gets one of its own under
-- /tmp, which the supervisor makes, and removes when it ends.
local function start_in_directory(argv, given, sandbox)
  local dir, failed, code = sys.unique_path("/tmp/noether-")
  if not dir then return nil, failed, code, "sandbox" end
  sandbox.private_dir = dir
  return start_core(argv, given, sandbox, tables.merged(given.env, { HOME = dir, TMPDIR = dir }))
end

--- Start a program and return at once. The plain form, for code that has decided everything:
-- nothing is looked up, inherited or chosen.
-- @tparam table argv the program's absolute path and its arguments
-- @tparam[opt] table opts `env` (all of it, by name), `cwd`, `stdin`, `stdout`, `stderr`,
-- `on_stdout`, `on_stderr` (as of @{spawn}), `timeout_secs`, `max_output_bytes`,
-- `max_stderr_bytes`, `supervise` (default true), `sandbox` (a description with its `backend`),
-- `limits` (@{LIMITS}), `poller` (of @{poller})
-- @treturn ?table a process; or nil and an error (`spawn_failed`, `sandbox_failed`, `policy_error`)
-- @treturn ?table
-- @raise on a wrong option
function M.launch(argv, opts)
  check_argv("launch", argv, 3)
  local given = options.check("launch", opts, LAUNCH_OPTIONS)
  check_streams("launch", given, 3)
  local sandbox = given.sandbox and isolation.checked(given.sandbox)
  local limits = given.limits or (sandbox and sandbox.limits)
  given.limits = limits and core_limits(limits)
  local handle, message, errno, fault
  if sandbox and sandbox.backend == "landlock" then
    handle, message, errno, fault = start_in_directory(argv, given, sandbox)
  else
    handle, message, errno, fault = start_core(argv, given, sandbox, given.env)
  end
  if not handle then return nil, failure(argv, message, errno, fault) end
  return setmetatable({
    handle = handle, argv = tables.merged(argv), isolation = sandbox and sandbox.backend or "none",
    private_dir = sandbox and sandbox.backend == "landlock" and sandbox.private_dir or nil,
    on_stdout = given.on_stdout, on_stderr = given.on_stderr,
    producer = not is_source(given.stdin) and given.stdin or nil,
    owner = sys.getpid(),
  }, metatable)
end

--- A descriptor that outlives the processes which report through it, one after the other.
-- @treturn ?userdata with `pollfd()` and `close()`; or nil and an error
-- @treturn ?table
function M.poller()
  local poller, message, errno = sys.poller()
  if poller then return poller end
  return nil, errors.new{
    kind = "spawn_failed", message = message, errno = errno,
    hint = errors.NO_DESCRIPTOR[errno] or HINTS[errno],
  }
end

-- Raises in a forked copy of the host: the process is its parent's to wait for.
local function check_owner(self, fname)
  options.method(fname, self, 4)
  if self.owner ~= sys.getpid() then
    error(fname .. ": the process belongs to the parent of this one", 3)
  end
end

-- Keeps the first outcome; `progress` is what the core said.
local function note(self, progress, message, errno, fault)
  if self.outcome or progress == false then return self.outcome ~= nil end
  -- Mostly the supervisor has removed it; but one that was killed could not.
  if self.private_dir then sys.remove_tree(self.private_dir) end
  if progress == nil then
    self.outcome = { err = failure(self.argv, message, errno, fault) }
  else
    local result = self.handle:result()
    result.isolation, result.argv = self.isolation, self.argv
    self.outcome = { result = result }
  end
  sets.touch(self)
  return true
end

-- Calls a function of the caller's. What it raises ends the run, and reaches whoever steps or
-- waits, now and each time.
local function call(self, fn, ...)
  self.is_calling = true
  local ok, value = pcall(fn, ...)
  self.is_calling = nil
  if ok then return value end
  self:close()
  self.raised, self.outcome = { value }, nil
  sets.touch(self)
  return error(value, 0)
end

local function tell(self)
  local output, errors_text = self.handle:take()
  if output then call(self, self.on_stdout, output) end
  if errors_text and self.handle then call(self, self.on_stderr, errors_text) end
end

local PULLS_PER_STEP = 16

local function bad_piece(piece)
  error(("stdin: the function returned a %s; expected a string, or nil at the end"):format(
    type(piece)), 0)
end

-- An empty piece is not the end: it is asked for another one.
local function pull(self)
  for _ = 1, PULLS_PER_STEP do
    if not self.handle or not self.handle:hungry() then return end
    local piece = call(self, self.producer)
    if piece ~= nil and type(piece) ~= "string" then call(self, bad_piece, piece) end
    if self.handle and piece ~= "" then self.handle:feed(piece) end
  end
end

-- What is between two steps of the core: its word on progress is passed through.
local function attend(self, ...)
  if self.on_stdout or self.on_stderr then tell(self) end
  if self.producer then pull(self) end
  if not self.handle then return true end
  return note(self, ...)
end

local function check_callable(self)
  if self.raised then error(self.raised[1], 0) end
  if self.is_calling then error("process: it cannot be stepped from its own callback", 3) end
end

--- Do what can be done now, without waiting; the listeners and the producer of input are called
-- from here.
-- @treturn boolean whether it is over
-- @raise what a listener or the producer raised
-- @usage
-- local proc = noether.check(noether.spawn{ "true" })
-- while not proc:step() do noether.wait_any({ proc }, proc:timeout()) end
-- print(proc:result().exit_code) --> 0
function Process:step()
  check_owner(self, "process:step")
  check_callable(self)
  if self.outcome or not self.handle then return true end
  return attend(self, self.handle:step())
end

--- For sets: as `step`, but what a listener or the producer raised is left for `wait` to raise.
-- @treturn boolean whether it is over
-- @local
function Process:look()
  check_owner(self, "process:look")
  if self.raised or self.outcome or not self.handle then return true end
  if self.is_calling then return false end
  local ok, over = pcall(self.step, self)
  return not ok or over
end

--- Wait until the program and all it started are gone, and its output is here. Never kills.
-- @tparam[opt] number secs how long at most; nil is as long as it takes
-- @treturn ?Result the result, however it ended
-- @treturn ?Error error: `pending`, `closed`, or why nothing ran
-- @raise on a wrong type, and what a listener or the producer raised
-- @usage
-- local proc = noether.check(noether.spawn({ "cat" }, { stdin = "hello" }))
-- local result = noether.check(proc:wait(10))
-- print(result.ok, result.stdout) --> true hello
function Process:wait(secs)
  check_owner(self, "process:wait")
  check_callable(self)
  if secs ~= nil then options.argument("process:wait", "secs", secs, "duration") end
  local deadline = secs and core.clock() + secs
  while self.handle and not self.outcome do
    local left = deadline and math.max(deadline - core.clock(), 0)
    attend(self, self.handle:wait(left))
    if left == 0 then break end
  end
  return self:result()
end

--- The result of a process that is over, without waiting.
-- @treturn ?Result as of `wait`
-- @treturn ?Error as of `wait`
-- @usage
-- local proc = noether.check(noether.spawn{ "sleep", "60" })
-- print(select(2, proc:result()).kind) --> pending
-- proc:close()
function Process:result()
  check_owner(self, "process:result")
  if self.outcome then return self.outcome.result, self.outcome.err end
  return nil, self.handle and pending() or closed()
end

--- The descriptor that becomes readable when `step` has something to do.
-- @treturn ?integer the same until `close`; nil after it
-- @usage
-- local proc = noether.check(noether.spawn{ "true" })
-- print(math.type(proc:pollfd())) --> integer
function Process:pollfd()
  check_owner(self, "process:pollfd")
  return self.handle and self.handle:pollfd()
end

--- What to poll the descriptor for.
-- @treturn string "r"
-- @usage
-- print(noether.check(noether.spawn{ "true" }):events()) --> r
function Process.events()
  return "r"
end

--- After how many seconds to `step` even if the descriptor stays quiet.
-- @treturn ?number 0 when it is over; nil if there is no such moment
-- @usage
-- local proc = noether.check(noether.spawn({ "sleep", "60" }, { timeout_secs = 9 }))
-- print(proc:timeout() < 10) --> true
-- proc:close()
function Process:timeout()
  check_owner(self, "process:timeout")
  if self.outcome or not self.handle then return 0 end
  return self.handle:timeout()
end

--- The id of this program's child: the supervisor, or the program if it is not supervised.
-- @treturn ?integer nil after `close`
-- @usage
-- local proc = noether.check(noether.spawn{ "true" })
-- print(proc:pid() > 1) --> true
function Process:pid()
  check_owner(self, "process:pid")
  return self.handle and self.handle:pid()
end

--- What the steps to a native sandbox took.
-- @treturn {table,...} list of `{ name, secs }`; empty for other backends, or before the program
-- runs
-- @usage
-- local proc = noether.check(noether.spawn({ "true" }, { isolation = "none" }))
-- print(#proc:setup_steps()) --> 0
function Process:setup_steps()
  check_owner(self, "process:setup_steps")
  return self.handle and self.handle:setup_steps() or {}
end

--- Send a signal to the program itself.
-- @tparam[opt="TERM"] string|number signal "TERM", "SIGTERM" or a number
-- @treturn ?boolean true, or nil and an error (errno `ESRCH`: it has ended)
-- @treturn ?Error error
-- @raise if there is no such signal
-- @usage
-- local proc = noether.check(noether.spawn({ "sleep", "60" }, { isolation = "none" }))
-- proc:kill("INT")
-- print(proc:wait(10).signal) --> SIGINT
function Process:kill(signal)
  check_owner(self, "process:kill")
  local number = core.signal_number(signal == nil and "TERM" or signal)
  if not number then
    error(("process:kill: no signal '%s'"):format(tostring(signal)), 2)
  end
  if not self.handle then return nil, closed() end
  local ok, message, errno = self.handle:kill(number)
  if ok then return true end
  return nil, errors.new{ kind = "spawn_failed", message = message, errno = errno }
end

--- End the program and all it started; the result's reason is then `cancelled`.
-- @treturn boolean true
-- @usage
-- local proc = noether.check(noether.spawn{ "sleep", "60" })
-- proc:cancel()
-- print(proc:wait(10).reason) --> cancelled
function Process:cancel()
  check_owner(self, "process:cancel")
  if self.handle then
    self.handle:cancel()
    sets.touch(self)
  end
  return true
end

--- Give the process up: what still runs is killed, and reaped later. Never blocks; a result that
-- was seen stays.
-- @treturn boolean true, however often it is called
-- @usage
-- local proc <close> = noether.check(noether.spawn{ "sleep", "60" })
-- proc:close()                                     -- or let it go out of scope
-- print(proc:pid()) --> nil
function Process:close()
  local handle = self.handle
  if not handle then return true end
  sets.release(self)
  self.handle = nil
  handle:close()
  return true
end

metatable.__close = Process.close -- and a lost one is closed by the collector of its handle

-- The absolute path of what argv names; or nil and an error.
local function program_path(argv, env)
  local name = argv[1]
  if name:sub(1, 1) == "/" then return name end
  if name:find("/", 1, true) then
    local path, message, errno = sys.realpath(name)
    return path, not path and failure(argv, message, errno, "spawn") or nil
  end
  local search_path = env.PATH or DEFAULT_PATH
  local path = sys.find_program(name, search_path)
  return path, not path and failure(argv, "no such program on PATH", "ENOENT", "spawn",
    "looked in " .. search_path) or nil
end

local function is_kept(name)
  for _, pattern in ipairs(KEPT_VARIABLES) do
    if name:find(pattern) then return true end
  end
  return false
end

-- Outside a sandbox a program gets our environment, as from a shell; inside a clean one.
local function environment(given, sandboxed)
  local clear = given.clear_env
  if clear == nil then clear = sandboxed end
  local env = {}
  for name, value in pairs(core.environ()) do
    if not clear or (sandboxed and is_kept(name)) then env[name] = value end
  end
  return tables.merged(tables.merged(env, sandboxed and SANDBOX_VARIABLES or nil), given.env)
end

local function sandbox_for(given)
  local environ = core.environ()
  local chosen, err = isolation.choose(given.isolation or "auto", M.launch, {
    require = given.require_isolation or options.is_on(environ.NOETHER_REQUIRE_ISOLATION),
    path = environ.PATH,
  })
  if not chosen then return nil, err end
  return isolation.apply(chosen, given.sandbox or isolation.system())
end

-- What would be without effect in a sandbox is refused, whichever backend there is.
local function check_sandboxed(fname, given, level)
  if given.isolation == "none" then return end
  if given.cwd then
    error(fname .. ": option 'cwd': it works only with isolation = \"none\"; in a sandbox it is "
      .. "sandbox.work_dir", level)
  elseif given.supervise == false then
    error(fname .. ": option 'supervise': false works only with isolation = \"none\"", level)
  end
end

local function start(fname, argv, opts)
  check_argv(fname, argv, 4)
  local given = options.check(fname, opts, M.RUN_OPTIONS, 4)
  check_sandboxed(fname, given, 4)
  check_streams(fname, given, 4)
  local sandbox, err = sandbox_for(given)
  if not sandbox then return nil, err end
  local sandboxed = sandbox.backend ~= "none"
  local env = environment(given, sandboxed)
  local path
  path, err = program_path(argv, env)
  if not path then return nil, err end
  return M.launch(tables.merged(argv, { path }), {
    env = env, cwd = given.cwd, stdin = given.stdin, stdout = given.stdout,
    stderr = given.stderr, on_stdout = given.on_stdout, on_stderr = given.on_stderr,
    timeout_secs = given.timeout_secs,
    max_output_bytes = given.max_output_bytes, max_stderr_bytes = given.max_stderr_bytes,
    supervise = given.supervise, limits = given.limits, sandbox = sandbox,
  })
end

--- Start a program.
-- @tparam table argv the program (looked up on PATH if it has no slash) and its arguments
-- @tparam[opt] table opts `isolation` ("auto"), `require_isolation`, `env` (variables to add),
-- `clear_env` (start from nothing; true in a sandbox), `cwd` (without a sandbox), `stdin` (text,
-- `{ path }`, `{ fd, share }`, or a function that returns the next piece, nil at the end),
-- `stdout`, `stderr` (`{ path }` or `{ fd, share }`; nil: the result), `on_stdout`, `on_stderr`
-- (called with what comes, as it comes, by `step` and `wait`), `timeout_secs` (none),
-- `max_output_bytes` (10 MiB), `max_stderr_bytes` (64 KiB), `supervise`
-- (true; false only without a sandbox), `sandbox` (a description, default: the system read-only
-- and nothing else), `limits`
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
  local progress, message, errno, fault = proc.handle:wait_started()
  while progress == false do
    progress, message, errno, fault = proc.handle:wait_started()
  end
  if progress then return proc end
  note(proc, progress, message, errno, fault)
  proc:close()
  return proc:result()
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

local Timer = {}
local timer_metatable = { __name = "noether.timer", __index = Timer }

--- A moment to wait for, as one waits for a process: `step` says whether it has come.
-- @tparam number secs from now
-- @treturn table with `step()`, `wait(secs)`, `timeout()`, `close()` and `cancel()`: it has come
function M.timer(secs)
  return setmetatable({ moment = core.clock() + secs }, timer_metatable)
end

function Timer:step()
  return core.clock() >= self.moment
end

function Timer:timeout()
  return math.max(self.moment - core.clock(), 0)
end

function Timer:wait(secs)
  core.poll({}, math.min(secs or math.huge, self:timeout()), {})
end

function Timer:cancel()
  self.moment = -math.huge
end

Timer.close = Timer.cancel

--- Wait for the first of several: see `set.wait_any`.
M.wait_any = sets.wait_any

--- A file or a descriptor in place of text: either `path` or `fd`.
-- @table Stream
-- @tfield ?string path a file: read; or made or emptied, and written
-- @tfield ?integer fd a descriptor of the caller's
-- @tfield ?boolean share the program gets the descriptor itself

--- What became of a process, however it ended. Plain data.
-- @table Result
-- @tfield boolean ok it exited with code 0
-- @tfield Reason reason the first cause of its end
-- @tfield ?integer exit_code
-- @tfield ?string signal "SIGSEGV"
-- @tfield ?"stdin"|"stdout"|"stderr" failed_stream for the reason `stream_failed`
-- @tfield ?string errno "ENOSPC"; likewise
-- @tfield string stdout what it wrote, up to the limit; after `output_limit` the first 64 KiB
-- @tfield string stderr what it wrote; of a longer one the first and the last half of the limit
-- @tfield integer stdout_bytes how many it wrote
-- @tfield integer stderr_bytes how many it wrote
-- @tfield boolean stdout_truncated
-- @tfield boolean stderr_truncated
-- @tfield number duration_secs
-- @tfield number cpu_user_secs of the whole tree
-- @tfield number cpu_system_secs of the whole tree
-- @tfield ?integer max_rss_bytes of the biggest process in it
-- @tfield Isolation isolation the backend that was used
-- @tfield {string,...} enforced what really held, in the words of docs/isolation.md
-- @tfield {string,...} argv

return M
