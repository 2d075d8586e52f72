-- SPDX-License-Identifier: MIT
--- Processes: start one, wait for it, have its output, end all that it started.
--
-- A process handle never blocks but in `wait`. What blocks, when a run is over and who closes what
-- is told at the top of src/core/process.c; here options are checked, and errors get a kind. This
-- is the plain form, for code that has decided everything: command.lua decides for a caller.
local core = require "noether.core"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local hints = require "noether.sandbox.hints"
local hosts = require "noether.hosts"
local options = require "noether.options"
local sets = require "noether.set"
local sys = require "noether.sys"
local tables = require "noether.tables"
local written = require "noether.written"

local M = {}

local Process = {}
local metatable = { __name = "noether.process", __index = Process }

--- What can be said of a process that is to be started.
M.OPTIONS = {
  env = "variables", cwd = "path", stdin = "input", stdout = "stream", stderr = "stream",
  on_stdout = "function", on_stderr = "function", on_network = "function", timeout_secs = "seconds",
  max_output_bytes = "bytes", max_stderr_bytes = "bytes", supervise = "boolean",
  launcher = "boolean", sandbox = "table", limits = { fields = descriptions.LIMITS },
}

local LAUNCH_OPTIONS = tables.merged(M.OPTIONS, {
  poller = "any", private_tmp = "boolean", on_frame = "function", max_frame_bytes = "bytes",
  hold_secs = "seconds", shows_work = "boolean", wait_secs = "seconds", takes_input = "boolean",
  fork = "table",
})

-- Whose fault the core says it is, as a kind.
local KINDS = {
  argument = "policy_error", spawn = "spawn_failed", sandbox = "sandbox_failed",
  system = "spawn_failed",
}

--- What to do, by errno, where a program could not be started.
M.HINTS = {
  EAGAIN = "no more processes may be started by this user now (ulimit -u)",
  ENOMEM = "there is not enough memory",
  ENOENT = "does the program, or the interpreter in its first line, exist there?",
  EACCES = "is the file executable for this user?",
  ENOEXEC = "the file is no program: a script needs a first line such as #!/bin/sh",
  E2BIG = "arguments and environment are too long together; pass data on standard input",
}

-- A host may forbid itself to have children, as HAProxy does.
local function may_have_none()
  local limits = sys.read_file("/proc/self/limits", 65536) or ""
  return limits:find("\nMax processes%s+0 ") ~= nil
end

local NO_CHILDREN = "this program may have no children: its limit of processes is 0 (RLIMIT_NPROC; "
  .. "HAProxy sets it, unless its configuration has insecure-fork-wanted)"

local function hint_of(errno)
  if errno == "EAGAIN" and may_have_none() then return NO_CHILDREN end
  return M.HINTS[errno or ""]
end

-- Of a stream that could not be opened.
local STREAM_HINTS = {
  EBADF = "is the descriptor open, and for this direction?",
  ESPIPE = "a FIFO by its path would look empty: open it, and give the descriptor",
  ENOENT = "does the directory exist?",
  EACCES = "may this user open it? With share = true the program gets the descriptor as it is",
}

local function stream_hint(errno)
  return STREAM_HINTS[errno]
end

local function input_hint(errno)
  if errno ~= "ENOENT" then return STREAM_HINTS[errno] end
  return "is there such a file? Text for the program is no path: stdin = \"...\""
end

-- Of these what could not be done says more than why.
local HINTS_OF_OPERATIONS = {
  stdin = input_hint, stdout = stream_hint, stderr = stream_hint,
}

-- `failed` is the core's word: `operation`, `message`, `errno`, `fault`.
local function failure(argv, failed)
  local kind, errno = KINDS[failed.fault], failed.errno
  local hint = errors.NO_DESCRIPTOR[errno or ""]
  local hint_of_operation = HINTS_OF_OPERATIONS[failed.operation]
  if hint then
    kind = "spawn_failed" -- whatever it was to be for
  elseif hints.lacks_supervisor(failed) then
    kind, hint = "sandbox_failed", hints.SUPERVISOR -- and no fault of the program's
  elseif kind == "sandbox_failed" then
    hint = hints.hint(failed)
  elseif hint_of_operation then
    hint = hint_of_operation(errno)
  else
    hint = hint_of(errno)
  end
  local sentence = errors.sentence(failed)
  if hint_of_operation then
    sentence = ("option '%s': %s"):format(failed.operation, failed.message)
  end
  return errors.new{
    kind = kind, message = ("cannot run %s: %s"):format(argv[1], sentence),
    hint = hint, operation = failed.operation, errno = errno,
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

local function check_argv(fname, argv)
  options.argument(fname, "argv", argv, "strings")
  if not argv[1] or argv[1] == "" then
    options.raise(fname .. ": argv: the first element names the program")
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

local function core_limits(limits, sandbox)
  local given = options.check("limits", limits, descriptions.LIMITS)
  if sandbox and sandbox.network == "list" then
    given.connections = given.connections or descriptions.CONNECTIONS
  end
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

-- Who is asked for the next piece of input, and what is kept of what `write` was given.
local function producer_of(input)
  if is_source(input) then return nil end
  if input ~= true then return input end
  local kept = written.new()
  return function() return kept:next() end, kept
end

local function check_streams(fname, given)
  for _, name in ipairs{ "stdout", "stderr" } do
    if given[name] and given[name].share and given["on_" .. name] then
      options.raise(("%s: option 'on_%s': what the program writes to a shared descriptor is not "
        .. "seen here"):format(fname, name))
    end
  end
end

--- Check what a process is to be started with.
-- @tparam string fname the function as its callers know it
-- @tparam table argv
-- @tparam ?table opts
-- @tparam table spec the options there are
-- @treturn table a copy of the options
-- @raise on a wrong one
function M.check(fname, argv, opts, spec)
  check_argv(fname, argv)
  local given = options.check(fname, opts, spec)
  check_streams(fname, given)
  return given
end

-- By whom it is copied, or how it is to serve.
local function fork_of(fork)
  return fork and {
    server = fork.server and fork.server.handle, ahead = fork.ahead, place = fork.place,
    idle_ms = milliseconds(fork.idle_secs),
  }
end

local function start_core(argv, given, sandbox, env)
  local waits = given.wait_secs ~= nil
  return core.spawn{
    argv = argv, env = variables_list(env), cwd = given.cwd,
    stdin = type(given.stdin) == "string" and given.stdin or nil,
    stdin_from = waits and given.takes_input or input_stream(given.stdin),
    stdout_to = given.stdout, stderr_to = given.stderr,
    tap_stdout = given.on_stdout ~= nil, tap_stderr = given.on_stderr ~= nil,
    timeout_ms = milliseconds(given.timeout_secs), max_output_bytes = given.max_output_bytes,
    max_stderr_bytes = given.max_stderr_bytes, supervise = given.supervise,
    launcher = given.launcher == true, poller = given.poller, sandbox = sandbox,
    limits = given.limits, max_frame_bytes = given.max_frame_bytes,
    hold_ms = milliseconds(given.hold_secs), shows_work = given.shows_work,
    wait_ms = milliseconds(given.wait_secs), fork = fork_of(given.fork),
  }
end

-- A function that gives a directory of this user's, closed to others; or nil.
local copy_directory

--- Say where a copy of the supervisor may be put. Where the kernel runs no program from memory
-- (vm.memfd_noexec is 2) and none is installed, it is written there, once, and run from there.
-- @tparam ?function directory gives it when it is needed, or nil
-- @treturn ?function what was said before
function M.keep_supervisor_in(directory)
  local before = copy_directory
  copy_directory = directory
  return before
end

-- Whether there is a copy now that may be tried. What is run is compared with our own.
local function copy_supervisor(failed)
  if not hints.lacks_supervisor(failed) or errors.NO_DESCRIPTOR[failed.errno or ""] then
    return false
  end
  local directory = copy_directory and copy_directory()
  local path = directory and directory .. "/supervisor"
  if not path or not sys.write_file(path, core.jail_image(), 320) then return false end -- 0500
  return core.use_supervisor(path) == true
end

-- Links whose place is relative lie in that directory.
local function placed(links, dir)
  local list = {}
  for index, link in ipairs(links) do
    local target = link.target:sub(1, 1) == "/" and link.target or dir .. "/" .. link.target
    list[index] = { source = link.source, target = target }
  end
  return list
end

-- Landlock can hide the host's directories, not make new ones: the run gets one of its own under
-- /tmp, which the supervisor makes, and removes when it ends.
local function start_in_directory(argv, given, sandbox)
  local dir, message, errno = sys.unique_path("/tmp/noether-")
  if not dir then
    return nil, { operation = "name a directory", message = message, errno = errno,
      fault = "sandbox" }
  end
  sandbox.private_dir, sandbox.links = dir, placed(sandbox.links, dir)
  local env = given.env
  if sandbox.backend ~= "none" then
    env = tables.merged(env, { HOME = dir, TMPDIR = dir })
  elseif given.private_tmp then
    env = tables.merged(env, { TMPDIR = dir })
  end
  local handle, failed = start_core(argv, given, sandbox, env)
  return handle, failed, dir
end

local function start_either(argv, given, sandbox)
  if sandbox and descriptions.has_own_directory(sandbox) then
    return start_in_directory(argv, given, tables.merged(sandbox)) -- a tail call
  end
  return start_core(argv, given, sandbox, given.env) -- a tail call
end

-- A list that asks needs somebody to ask.
local function check_judge(given, sandbox)
  local asked = sandbox and sandbox.hosts and hosts.asked(sandbox.hosts)
  if not asked or given.on_network then return end
  options.raise(("sandbox: field 'hosts': %s asks the function on_network, and none is given")
    :format(asked))
end

--- Start a program and return at once: nothing is looked up, inherited or chosen.
-- @tparam table argv the program's absolute path and its arguments
-- @tparam[opt] table opts `env` (all of it, by name), `cwd`, `stdin`, `stdout`, `stderr`,
-- `on_stdout`, `on_stderr`, `on_network` (as of `command.spawn`), `timeout_secs`,
-- `max_output_bytes`, `max_stderr_bytes`, `supervise` (default true), `launcher` (default false),
-- `sandbox` (a description with its `backend`), `private_tmp` (a private directory is TMPDIR, too),
-- `limits` (`description.LIMITS`), `poller` (of @{poller}), and for a channel (descriptor 5)
-- `max_frame_bytes` and `on_frame`, which gets each frame, and nil
-- once where what comes is none; false from it: no more for now; `hold_secs`: how long what it left
-- in its working directory is kept for `work_dir`; or `shows_work`: that can be had while it runs;
-- `wait_secs`: it is started ahead of its request (@{Process:begin}), for which it waits as long,
-- with `takes_input` as its standard input; `fork`: it makes copies of itself (`ahead`, so many are
-- prepared for; `idle_secs`; `place`, a file inside that is each copy's own), or is such a copy
-- (`server`, a process)
-- @treturn ?table a process; or nil and an error (`spawn_failed`, `sandbox_failed`, `policy_error`)
-- @treturn ?table
-- @raise on a wrong option
function M.launch(argv, opts)
  local given = M.check("launch", argv, opts, LAUNCH_OPTIONS)
  local sandbox = given.sandbox and descriptions.checked(given.sandbox)
  check_judge(given, sandbox)
  local limits = given.limits or (sandbox and (sandbox.limits or {}))
  given.limits = limits and core_limits(limits, sandbox)
  local handle, failed, directory = start_either(argv, given, sandbox)
  if not handle and copy_supervisor(failed) then
    handle, failed, directory = start_either(argv, given, sandbox)
  end
  if not handle then return nil, failure(argv, failed) end
  local producer, kept = producer_of(given.stdin)
  return setmetatable({
    handle = handle, argv = tables.merged(argv), isolation = sandbox and sandbox.backend or "none",
    private_dir = directory, learns = sandbox and sandbox.learn,
    on_stdout = given.on_stdout, on_stderr = given.on_stderr, on_frame = given.on_frame,
    on_network = given.on_network, asked = given.on_network and {} or nil,
    producer = producer, written = kept,
    owner = sys.getpid(),
  }, metatable)
end

--- The number of a signal.
-- @tparam string|number signal "TERM", "SIGTERM" or a number
-- @treturn ?number nil if there is none
-- @function signal_number
M.signal_number = core.signal_number

--- A descriptor that outlives the processes which report through it, one after the other.
-- @treturn ?userdata with `pollfd()` and `close()`; or nil and an error
-- @treturn ?table
function M.poller()
  local poller, message, errno = sys.poller()
  if poller then return poller end
  return nil, errors.new{
    kind = "spawn_failed", message = message, errno = errno,
    hint = errors.NO_DESCRIPTOR[errno] or M.HINTS[errno],
  }
end

-- Raises in a forked copy of the host: the process is its parent's to wait for.
local function check_owner(self, fname)
  options.method(fname, self)
  if self.owner ~= sys.getpid() then
    options.raise(fname .. ": the process belongs to the parent of this one")
  end
end

-- What the relay said of the hosts of a list, a line each.
local function network_of(text)
  local network = { reached = {}, refused = {} }
  for line in text:gmatch("[^\n]+") do
    local host, port, bytes_in, bytes_out = line:match("^reached (%S+) (%d+) (%d+) (%d+)$")
    if host then
      table.insert(network.reached, { host = host, port = tonumber(port),
        bytes_in = tonumber(bytes_in), bytes_out = tonumber(bytes_out) })
    end
    local reason
    host, port, reason = line:match("^refused (%S+) (%d+) (%S+)$")
    if host then
      table.insert(network.refused, { host = host, port = port ~= "0" and tonumber(port) or nil,
        reason = reason })
    end
  end
  return network
end

local ACCESS = {
  b = "begin", l = "look", r = "read", k = "link", w = "write", c = "create", m = "make",
  d = "directory",
}

-- What it said of files that the program lacked, a line each.
local function wanted_of(text)
  local list = {}
  for letter, path in text:gmatch("wanted (%l) ([^\n]+)\n") do
    list[#list + 1] = { access = ACCESS[letter], path = path }
  end
  return list
end

-- Keeps the first outcome; `progress` is what the core said.
local function note(self, progress, failed)
  if self.outcome or progress == false then return self.outcome ~= nil end
  -- Mostly the supervisor has removed it; but one that was killed could not.
  if self.private_dir then sys.remove_tree(self.private_dir) end
  if progress == nil then
    self.outcome = { err = failure(self.argv, failed) }
  else
    local result = self.handle:result()
    result.isolation, result.argv = self.isolation, self.argv
    result.wanted = self.learns and wanted_of(result.network or "") or nil
    result.network = result.network and network_of(result.network)
    if result.network then result.network.asked = self.asked end
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

-- One frame after the other, for as long as the listener wants more.
local function hear(self)
  while self.handle and not self.is_deaf do
    local frame, state = self.handle:frame()
    if frame == nil and (state ~= "broken" or self.told_broken) then return end
    self.told_broken = frame == nil
    if call(self, self.on_frame, frame) == false then self.is_deaf = true end
  end
end

local function may_connect(self, host, port)
  local allowed = self.on_network(host, port)
  if allowed == nil or type(allowed) == "boolean" then return allowed == true end
  return error(("on_network: the function returned a %s; expected true or false"):format(
    type(allowed)), 0)
end

-- Each host to which the program wants to connect, and that no entry of the list names. What is not
-- answered is refused.
local function judge(self)
  while self.handle do
    local id, host, port = self.handle:question()
    if not id then return end
    local allowed = call(self, may_connect, self, host, port)
    if not self.handle then return end
    self.handle:answer(id, allowed)
    self.asked[#self.asked + 1] = { host = host, port = port, allowed = allowed }
  end
end

local PULLS_PER_STEP = 16

-- Between two rounds of a function that gives nothing, at first and at last.
local FIRST_PAUSE_SECS, LAST_PAUSE_SECS = 0.001, 0.05

local function bad_piece(piece)
  error(("stdin: the function returned a %s; expected a string, false if there is none yet, or nil "
    .. "at the end"):format(type(piece)), 0)
end

local function rest(self)
  self.rests = true
  self.handle:rest()
end

-- Whoever goes on giving nothing is asked more and more seldom.
local function pause(self)
  self.pause_secs = math.min(2 * (self.pause_secs or FIRST_PAUSE_SECS / 2), LAST_PAUSE_SECS)
  self.ask_at = sys.clock() + self.pause_secs
  rest(self)
end

-- An empty piece is not the end: it is asked for another one, and after a while where there were
-- only such. False is no piece yet: it is not asked again before somebody says so.
local function pull(self)
  for _ = 1, PULLS_PER_STEP do
    if self.rests or not self.handle or not self.handle:hungry() then return end
    local piece = call(self, self.producer)
    if piece and type(piece) ~= "string" then call(self, bad_piece, piece) end
    if not self.handle then return end
    if piece == false then return rest(self) end
    if piece ~= "" then
      self.handle:feed(piece)
      self.pause_secs = nil
    end
  end
  if self.handle:hungry() then pause(self) end
end

local function end_pause(self)
  if self.ask_at and sys.clock() >= self.ask_at then self.rests, self.ask_at = nil, nil end
end

-- The sooner of two times from now, either of which may be nil: never.
local function sooner(secs, self)
  local left = self.ask_at and math.max(self.ask_at - sys.clock(), 0)
  return left and (not secs or left < secs) and left or secs
end

-- What is between two steps of the core: its word on progress is passed through.
local function attend(self, progress, failed)
  if self.on_stdout or self.on_stderr then tell(self) end
  if self.producer then
    end_pause(self)
    pull(self)
  end
  if self.on_frame then hear(self) end
  if self.on_network then judge(self) end
  if not self.handle then return true end
  return note(self, progress, failed)
end

local function check_callable(self)
  if self.raised then error(self.raised[1], 0) end
  if self.is_calling then options.raise("process: it cannot be stepped from its own callback") end
end

--- Do what can be done now; the listeners and the producer of input are called from here.
-- @tparam[opt=0] number secs how long to wait at most where there is nothing to do: until
-- something came for a listener, or it is over
-- @treturn boolean whether it is over
-- @raise on a wrong type, and what a listener or the producer raised
-- @usage
-- local proc = noether.check(noether.spawn{ "true" })
-- while not proc:step() do noether.wait_any({ proc }, proc:timeout()) end
-- print(proc:result().exit_code) --> 0
function Process:step(secs)
  check_owner(self, "process:step")
  check_callable(self)
  if secs ~= nil then options.argument("process:step", "secs", secs, "duration") end
  if self.outcome or not self.handle then return true end
  if secs then return attend(self, self.handle:wait(sooner(secs, self))) end
  return attend(self, self.handle:step())
end

-- Asks for the next piece now; from within a callback, when that is over.
local function wake(self)
  self.rests, self.ask_at = nil, nil
  if self.outcome or not self.handle or self.is_calling then return end
  pull(self)
  sets.touch(self)
end

local function check_written(self, fname)
  check_owner(self, fname)
  if not self.written then
    options.raise(fname .. ": the process was not started with stdin = true")
  end
end

local function unwritable(self)
  if self.handle and not self.outcome and not self.written.ended then return nil end
  return errors.new{
    kind = "closed", message = self.written.ended and "the program's input was closed"
      or "the program takes no more input: it has ended",
  }
end

--- Write to the program's standard input, which was opened by `stdin = true`. Never blocks: what
-- the program does not take yet is kept, and goes when it is stepped, waited for or written to.
-- `on_stdout` and `on_stderr` may call it.
-- @tparam string text
-- @treturn ?integer how many bytes are kept; nil with an error (`closed`) after `close_stdin`, and
-- when the program has ended
-- @treturn ?Error error
-- @raise if it was started with another `stdin`
-- @usage
-- local proc = noether.check(noether.spawn({ "cat" }, { stdin = true }))
-- proc:write("one ")
-- proc:write("two")
-- proc:close_stdin()
-- print(proc:wait(10).stdout) --> one two
function Process:write(text)
  check_written(self, "process:write")
  options.argument("process:write", "text", text, "text")
  local err = unwritable(self)
  if err then return nil, err end
  self.written:add(text)
  wake(self)
  return self.written.bytes
end

--- End the program's standard input, after what was written.
-- @treturn boolean true, however often it is called
-- @raise if it was started with another `stdin` than true
-- @usage
-- local proc = noether.check(noether.spawn({ "wc", "-c" }, { stdin = true }))
-- proc:write("four")
-- proc:close_stdin()
-- print((proc:wait(10).stdout:gsub("%s", ""))) --> 4
function Process:close_stdin()
  check_written(self, "process:close_stdin")
  self.written:finish()
  wake(self)
  return true
end

--- Ask the function that was given as `stdin` again, which had returned false.
-- @treturn boolean true
-- @raise what that function raises
-- @usage
-- local lines = {}
-- local proc = noether.check(noether.spawn({ "head", "-n", "1" }, {
--   stdin = function() return table.remove(lines, 1) or false end,
-- }))
-- lines[1] = "come late\n"
-- proc:feed()
-- print((proc:wait(10).stdout:gsub("\n", ""))) --> come late
function Process:feed()
  check_owner(self, "process:feed")
  if self.producer then wake(self) end
  return true
end

--- Whether frames are taken from the channel; those that came are kept.
-- @tparam boolean wanted
-- @local
function Process:listen(wanted)
  self.is_deaf = not wanted
end

--- Send a frame.
-- @tparam string frame
-- @treturn boolean whether anybody may still read it
-- @local
function Process:send_frame(frame)
  return self.handle ~= nil and self.handle:send_frame(frame) == true
end

--- The directory in which the program had started, once it has ended by itself with all that it
-- started, if that is to be kept (`hold_secs`). The run is not over before `release`. Or, with
-- `shows_work`, while it runs.
-- @treturn ?userdata `list(path, max)`: names and types by turns; `file(path)`: a file to be read
-- (`take(max)` reads on, `text()` is what was read, `close()`) and its bytes; `close()`. What fails
-- gives nil and `{ message, errno }`. Nil where there is none, or not yet; and if it is lost, an
-- error
-- @treturn ?number|Error until when it is surely as the program left it, as of `sys.clock`
-- @local
function Process:work_dir()
  if self.outcome or not self.handle then return nil end
  return self.handle:work_dir()
end

--- That directory is needed no more.
-- @local
function Process:release()
  if self.handle then self.handle:release() end
end

--- Send SIGINT to the program and all of its group, as a terminal does.
-- @treturn boolean whether anybody was there to get it
-- @local
function Process:send_interrupt()
  return self.handle ~= nil and self.handle:kill_group(M.signal_number "INT") == true
end

--- How many interrupts have reached its group by now: the next one that is sent may not be read
-- before they are.
-- @treturn integer
-- @local
function Process:interrupts()
  return self.handle and self.handle:signalled() or math.huge
end

--- What holds from now on, in place of what it was started with: the supervisor sees to it, whether
-- it is stepped or not.
-- @tparam number secs how long it may still take; math.huge: as long as it likes
-- @tparam[opt] number cpu_secs how much more processor time it may have; nil: any amount
-- @treturn boolean whether anybody was there to be told
-- @local
function Process:set_terms(secs, cpu_secs)
  return self.handle ~= nil
    and self.handle:set_terms(milliseconds(secs), milliseconds(cpu_secs)) == true
end

--- Give a process that was started ahead its request: time, limits and usage count from now on.
-- @tparam table opts `input` (what its standard input is) or `frame` (for its channel), and as of
-- @{launch} `timeout_secs`, `max_output_bytes`, `max_stderr_bytes`, `on_stderr`, `poller`
-- @treturn ?boolean true; or nil and an error (`spawn_failed`): it can only be closed
-- @treturn ?table
-- @local
function Process:begin(opts)
  self.on_stderr = opts.on_stderr
  local ok, failed = self.handle:begin{
    input = opts.input, frame = opts.frame, timeout_ms = milliseconds(opts.timeout_secs),
    max_output_bytes = opts.max_output_bytes, max_stderr_bytes = opts.max_stderr_bytes,
    poller = opts.poller, tap_stderr = opts.on_stderr ~= nil,
  }
  if ok then return true end
  return nil, failure(self.argv, failed)
end

--- Have it wait for longer.
-- @tparam number secs from now
-- @treturn boolean whether it does
-- @local
function Process:wait_longer(secs)
  return self.handle ~= nil and self.handle:wait_longer(milliseconds(secs))
end

--- Of a fork server: how many copies can be had at once.
-- @treturn integer
-- @local
function Process:places()
  return self.handle and self.handle:places() or 0
end

--- Of a fork server: it makes no more copies, and ends when the last one has.
-- @local
function Process:retire()
  if self.handle then self.handle:retire() end
end

--- Of a copy: write the file that it finds in its server's place.
-- @tparam string text
-- @treturn boolean whether it could be written
-- @local
function Process:put_file(text)
  return self.handle ~= nil and self.handle:put_file(text) == true
end

--- Whether its program has read anything of its request; true where that cannot be known.
-- @treturn boolean
-- @local
function Process:has_begun()
  return not self.handle or self.handle:has_begun()
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

--- Wait until the program runs.
-- @treturn ?boolean true; or nil and an error: nothing ran, and the process is closed
-- @treturn ?table
-- @local
function Process:wait_started()
  local progress, failed = self.handle:wait_started()
  while progress == false do
    progress, failed = self.handle:wait_started()
  end
  if progress then return true end
  note(self, progress, failed)
  self:close()
  return self:result()
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
  local deadline = secs and sys.clock() + secs
  while self.handle and not self.outcome do
    local left = deadline and math.max(deadline - sys.clock(), 0)
    attend(self, self.handle:wait(sooner(left, self)))
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
  return sooner(self.handle:timeout(), self)
end

--- The id of the supervisor, or of the program if it is not supervised: a child of this program,
-- unless one served the run that stood by.
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
  local number = M.signal_number(signal == nil and "TERM" or signal)
  if not number then
    options.raise(("process:kill: no signal '%s'"):format(tostring(signal)))
  end
  if not self.handle then return nil, closed() end
  local ok, failed = self.handle:kill(number)
  if ok then return true end
  return nil, errors.new{
    kind = "spawn_failed", message = errors.sentence(failed), operation = failed.operation,
    errno = failed.errno,
  }
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

--- A file or a descriptor in place of text: either `path` or `fd`.
-- @table Stream
-- @tfield ?string path a file: read; or made or emptied, and written
-- @tfield ?integer fd a descriptor of the caller's
-- @tfield ?boolean share the program gets the descriptor itself

--- What a program did with the hosts of its list.
-- @table NetworkUse
-- @tfield {ReachedHost,...} reached
-- @tfield {RefusedHost,...} refused
-- @tfield ?{AskedHost,...} asked with `on_network`

--- A host and port about which `on_network` was asked.
-- @table AskedHost
-- @tfield string host
-- @tfield integer port
-- @tfield boolean allowed

--- A host and port that were connected to.
-- @table ReachedHost
-- @tfield string host
-- @tfield integer port
-- @tfield integer bytes_in from the host
-- @tfield integer bytes_out to the host

--- What was not let through, or could not be reached. Each once, and at most 64.
-- @table RefusedHost
-- @tfield string host as it was asked for: the stage's own words
-- @tfield ?integer port nil: it is not known, since its name was refused
-- @tfield string reason "unlisted", "private_address", "not_found", "no_resolver",
-- "lookup_timed_out", "connect_timed_out", "connection_refused", "unreachable", "connections",
-- "network_bytes", "names", "idle", "denied" (by `on_network`), "unanswered" (by it, in time)

--- What a program named and did not find. Each once, and at most 256.
-- @table Wanted
-- @tfield string path absolute, as the program said it
-- @tfield string access "look", "read", "write", "create", "directory" (to make one), "make" (or
-- remove a name of a directory), "link" (what it leads to is not there), "begin" (the program's own
-- script: what comes before is its interpreter's)

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
-- @tfield ?number answer_secs until the last of stdout was here; nil where there was none
-- @tfield number cpu_user_secs of the whole tree
-- @tfield number cpu_system_secs of the whole tree
-- @tfield ?integer max_rss_bytes of the biggest process in it
-- @tfield ?true at_process_limit nothing more could be started, as far as anybody saw it
-- @tfield ?integer denied_processes how often another process was refused it, if ever
-- @tfield ?integer denied_connections how many connections failed in a network with nothing in it;
-- nil where nobody looked: it ended well, or no such network was made for it
-- @tfield ?NetworkUse network where a list of hosts was in force
-- @tfield ?{Wanted,...} wanted where that was to be learnt, what it named among files and did not
-- find, or may not change
-- @tfield Isolation isolation the backend that was used
-- @tfield "launcher"|"direct" launch whether its supervisor stood by, or was started for it
-- @tfield {string,...} enforced what really held, in the words of docs/isolation.md
-- @tfield {string,...} argv

return M
