-- SPDX-License-Identifier: MIT
--- Sessions: one sandbox with one interpreter that stays, and cells of code that run in it, one
-- after the other.
--
-- A session begins to start when it is made; the first cell waits for it. A cell is a task like any
-- other. What ended (by a crash, a limit, a deadline that was passed by, idleness) is never
-- replaced in silence: what was in it is gone, and every call says so until `reset`.
local calls = require "noether.run.calls"
local compat = require "noether.compat"
local config = require "noether.executor.config"
local errors = require "noether.error"
local execution = require "noether.run.steps"
local json = require "noether.json"
local live = require "noether.run.live"
local options = require "noether.options"
local outputs = require "noether.run.outputs"
local sets = require "noether.set"
local stages = require "noether.stage.stage"
local sys = require "noether.sys"
local tables = require "noether.tables"
local task = require "noether.run.task"
local text = require "noether.text"
local verdict = require "noether.run.verdict"

local M = {}

-- Options of a session that are those of a call, too.
local OF_CALL = {
  "timeout_secs", "setup_timeout_secs", "max_output_bytes", "max_stderr_bytes", "limits", "env",
  "work_dir", "functions", "on_call", "on_network", "journal", "on_log", "files",
}

--- Every option of a session.
M.OPTIONS = {
  language = "string", effects = "any", packages = "strings", idle_secs = "seconds",
  lifetime_secs = "seconds", output_dir = "path", output_overwrite = "boolean",
}

for _, name in ipairs(OF_CALL) do
  M.OPTIONS[name] = config.CALL_OPTIONS[name]
end

--- Every option of a cell.
M.CELL_OPTIONS = {
  timeout_secs = "seconds", cpu_secs = "seconds", on_log = "function", on_call = "function",
  display = "boolean", outputs = "strings",
}

M.DEFAULTS = { lifetime_secs = 3600 }

local Session = {}
local metatable = { __name = "noether.session", __index = Session }

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

-- Raises in a forked copy of the host: the session is its parent's.
local function check_owner(self, fname)
  options.method(fname, self)
  if self.owner ~= sys.getpid() then
    options.raise(fname .. ": the session belongs to the parent of this process")
  end
end

-- Why there is nothing to run cells in, for good.
local function closed(self)
  if self.executor.closed then return failure("closed", "the executor is closed") end
  if self.closed then return failure("closed", "the session is closed") end
  return nil
end

-- --- Beginning ----------------------------------------------------------------------------------

local function open(self, own)
  local job = execution.new(self.executor, {
    reference = self.stage, call = self.call, mode = "session",
  })
  job.info, job.deadline = own.info, math.huge
  self.job = job
  local _, err = execution.run(job, own)
  if err then return nil, err end
  own:enter("setup", "start")
  local opts = self.opts
  self.live, err = live.start(job, {
    life_secs = opts.lifetime_secs, idle_secs = opts.idle_secs or math.huge,
  })
  if not self.live then return nil, err end
  -- What the run needs (files, packages that are in use) is needed for as long as it lives.
  self.live.held = own:hand_over()
  own:watch(self.live:pollfd())
  return own:await(self.live:beginning(self.call.setup_timeout_secs))
end

-- Starts it, as far as it goes without waiting. Where nothing was ever there nothing is lost: what
-- could not start is tried again by the next cell.
local function begin(self)
  self.live, self.is_over, self.task = nil, nil, nil
  self.opening = task.new(function(own) return open(self, own) end, { cached = false, logs = "" })
  self.executor.tasks[self.opening] = true
  self.opening:step()
end

local function requires(language, packages)
  if not packages then return "" end
  for _, spec in ipairs(packages) do
    if spec:find("[,\n]") then
      options.raise("executor:session: option 'packages': expected one package each")
    end
  end
  if language ~= "python" then
    options.raise("executor:session: option 'packages': sessions in Python have packages")
  end
  return ("# requires: %s\n"):format(table.concat(packages, ", "))
end

--- Make a session.
-- @tparam table executor
-- @tparam ?table opts of @{OPTIONS}
-- @treturn ?table nil and an error
-- @treturn ?table
-- @raise on a wrong option
function M.new(executor, opts)
  local fname = "executor:session"
  local given = options.check(fname, opts, M.OPTIONS)
  if not given.language then options.raise(fname .. ": option 'language' is missing") end
  local language, err = executor.policies:language(given.language)
  if not language then return nil, err end
  local of_call = {}
  for _, name in ipairs(OF_CALL) do
    of_call[name] = given[name]
  end
  outputs.check_options(fname, { files = given.files })
  local call = config.for_call(fname, of_call, executor.config)
  local stage
  stage, err = stages.new(fname, {
    language = given.language, code = requires(language.name, given.packages),
    effects = given.effects,
  })
  if not stage then return nil, err end
  local self = compat.set_handle_metatable({
    executor = executor, stage = stage, call = call, owner = sys.getpid(),
    opts = tables.merged(M.DEFAULTS, given),
  }, metatable)
  begin(self)
  return self
end

local function lost(cause, number)
  return errors.new{
    kind = "session_lost", message = "the session is over: " .. cause.message,
    hint = "what was in it is gone; session:reset() makes a fresh one",
    cause = cause, limit = cause.limit, cell = number,
  }
end

-- Of a session that was closed or reset under a cell.
local function given_up(self)
  return closed(self) or lost(failure("cancelled", "it was reset"))
end

-- As the task of a cell waits for a task that is not its part.
local function waiter_for(opening, own)
  local fd = opening:pollfd()
  if fd then own:watch(fd) end
  local waiter = { result = function() return true end, close = function() end }
  function waiter.step() return own.is_cancelled or opening:look() end
  function waiter.timeout() return opening:timeout() end
  function waiter.wait(_, secs) opening:wait(secs) end
  function waiter.cancel() end
  return waiter, function() if fd then own:unwatch(fd) end end
end

-- The session as it is when it is there, or nil and why it is not.
local function opened(self, own)
  local opening = self.opening
  if opening then
    own:enter("setup")
    local waiter, release = waiter_for(opening, own)
    if not waiter.step() then own:await(waiter) end
    release()
    if own.is_cancelled then return nil, failure("cancelled", "the cell was cancelled") end
    local _, err, info = opening:wait(0)
    if self.opening ~= opening then return nil, given_up(self) end
    for _, warning in ipairs(info and info.warnings or {}) do
      own:warn(warning)
    end
    if self.opening == opening then
      self.opening = nil
      opening:close()
    end
    if err then
      self.live = nil
      return nil, err
    end
  end
  return self.live
end

-- --- A cell -------------------------------------------------------------------------------------

local function fill_info(own, cell)
  local info, job, printed, limits = own.info, cell.live.job, cell.printed, cell.live.limits
  info.cell, info.logs = cell.number, printed.stderr
  if printed.stderr_truncated then
    info.logs = text.mended(info.logs, limits.max_stderr_bytes)
  end
  info.calls = job.plan.calls and cell.calls.list or nil
  local warning = cell.calls:warning()
  if warning then own:warn(warning) end
  info.runtime, info.isolation = job.info.runtime, job.plan.sandbox.backend
  info.limits = tables.merged(limits, { timeout_secs = cell.spec.timeout_secs,
    cpu_secs = cell.spec.cpu_secs })
end

-- Whether the cell was interrupted for a reason of ours; and how that is said.
local function interrupted(cell, is_error)
  if cell.why == "timed_out" then
    local secs = cell.spec.timeout_secs
    return errors.new{
      kind = "timed_out", limit = secs, call = cell.calls.waited_for,
      message = ("cell %d was interrupted at its deadline of %g s"):format(cell.number, secs),
      hint = "the session goes on; give it more with timeout_secs, or less to do",
    }
  elseif cell.why and is_error then
    return failure("cancelled", ("cell %d was interrupted"):format(cell.number),
      "the session goes on")
  end
  return nil
end

-- What a frame of a stranger says, as an output or an error.
local function judge_error(cell, frame)
  local report = type(frame.error) == "table" and frame.error or {}
  local job, limits = cell.live.job, cell.live.limits
  local err = interrupted(cell, frame.interrupted == true)
  if err then return err end
  err = verdict.classify({
    reason = "exit", exit_code = 1, stdout = "", stderr = cell.printed.stderr,
    isolation = job.plan.sandbox.backend,
  }, limits, job.policies, {
    effects = job.effects, code = cell.code,
    sandbox = tables.merged(job.plan.sandbox, { has_own_directory = job.plan.work_dir ~= nil }),
  }, { error = report })
  return cell.calls:explain(err)
end

-- Text that is perhaps no UTF-8, for people.
local function as_text(said)
  if errors.is_utf8(said) then return said end
  local lines = {}
  for line in (said .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = errors.clean(line, 4 * #line + 8)
  end
  return table.concat(lines, "\n")
end

local function too_long(cell, limits)
  local most = limits.max_output_bytes
  return errors.new{
    kind = "output_limit", limit = most,
    message = ("the value of cell %d has more than %d bytes"):format(cell.number, most),
    hint = "answer with less, or raise max_output_bytes",
  }
end

-- What a shell's cell printed: a JSON value where it is one, else text.
local function judge_printed(cell, info)
  local printed, limits = cell.printed, cell.live.limits
  if printed.stdout_truncated then return nil, too_long(cell, limits) end
  local said = printed.stdout:gsub("\n+$", "")
  info.display = said ~= "" and as_text(said) or nil
  if said == "" then return json.null end
  local value = json.decode(said, cell.big_integers, cell.answer_values)
  if value ~= nil then return value end
  return errors.is_utf8(said) and said or json.null
end

local function judge_answer(cell, frame, info)
  local err = interrupted(cell, false)
  if err then return nil, err end
  if frame.printed == true then return judge_printed(cell, info) end
  if frame.bytes ~= nil then return nil, too_long(cell, cell.live.limits) end
  if type(frame.display) == "string" then info.display = frame.display end
  if frame.value == nil then return json.null end
  return frame.value
end

-- Where there is no answer.
local function without_frame(self, cell, outcome)
  if outcome.lost then return lost(outcome.lost, cell.number) end
  if cell.why == "cancelled" then return failure("cancelled", "the cell was cancelled") end
  return given_up(self)
end

local function judge(self, own, cell, outcome)
  if not outcome.frame then return nil, without_frame(self, cell, outcome) end
  local most = (self.call.limits or {}).answer_values or verdict.DEFAULTS.answer_values
  cell.big_integers, cell.answer_values = self.call.big_integers, most
  local frame, reason, too_many = live.decode(outcome, cell.big_integers, most)
  if too_many then
    return nil, errors.new{ kind = "output_limit", limit = most,
      message = ("the value of cell %d is of more than %d values"):format(cell.number, most) }
  elseif not frame then
    return nil, errors.new{ kind = "output_invalid", message = ("the value of cell %d: %s"):format(
      cell.number, reason) }
  elseif frame.type == "answer" then
    return judge_answer(cell, frame, own.info)
  end
  local said = cell.printed.stdout:gsub("\n+$", "")
  if said ~= "" then own.info.display = as_text(said) end
  return nil, judge_error(cell, frame)
end

local function new_calls(self, timeout_secs, on_call)
  local call, job = self.call, self.job
  return calls.new{
    functions = call.functions or {}, declared = job.declared or {},
    limits = tables.merged(self.live.limits, { timeout_secs = timeout_secs }),
    journal = call.journal, on_call = on_call or call.on_call,
  }
end

local UNCOLLECTED = "outputs are not collected from a cell that was interrupted"

-- What a cell has left, after its answer as after a failure of its own; `err` is that.
local function collect(self, own, cell, err)
  local there, spec = cell.live, cell.spec
  if not cell.outcome.frame then return err end
  if cell.why and err then
    err.hint = err.hint and err.hint .. "; " .. UNCOLLECTED or UNCOLLECTED
    return err
  end
  local top = there.process:work_dir()
  if not top then
    own:warn("outputs could not be collected: what the cell left could not be had")
    return err
  end
  there.seen = there.seen or {}
  local collection = outputs.collect(top, {
    patterns = spec.patterns, limits = tables.merged(outputs.DEFAULTS, self.call.limits),
    given = self.call.files or {}, warn = function(message) own:warn(message) end,
    target = spec.target, target_path = spec.target_path, replaces = self.opts.output_overwrite,
    seen = there.seen,
  })
  own:await(collection)
  own.info.outputs = collection.list
  return err or collection.err
end

local function open_target(self, own, spec)
  if not spec.patterns then return true end
  local job = { call = self.opts, executor = self.executor }
  local ok, err = outputs.open_target(job, own)
  spec.target, spec.target_path = job.target, job.target_path
  return ok, err
end

local function run_cell(self, own, spec)
  local there, err = open_target(self, own, spec)
  if there then there, err = opened(self, own) end
  if not there then return nil, err end
  own:enter("run")
  own:watch(there:pollfd())
  spec.calls = new_calls(self, spec.timeout_secs, spec.on_call)
  local finish
  if spec.on_log then spec.on_stderr, finish = text.lines(spec.on_log) end
  local cell = there:begin(spec)
  cell.code = spec.text
  self.cell = cell
  local outcome = own:await(cell)
  self.cell = nil
  if there == self.live and not self.closed then own:unwatch(there:pollfd()) end
  if finish then finish() end
  own:enter("decode")
  fill_info(own, cell)
  local output
  output, err = judge(self, own, cell, outcome)
  if spec.patterns then err = collect(self, own, cell, err) end
  if err then err.cell = cell.number end
  return output, err
end

local function number_or(value, other)
  if value ~= nil then return value end
  return other
end

-- What the language cannot hold is told before it is asked to.
local function check_input(self, text_of_input)
  local policies = self.executor.policies
  local language = policies:language(self.stage.language)
  local module = "languages/" .. language.name
  if not policies:has(module, "check_input") then return nil end
  local called, ok, why = policies:call(module, "check_input", nil, text_of_input)
  if not called then return ok end
  return not ok and failure("input_invalid", "input: " .. why) or nil
end

-- Without the escapes that nobody needs, and a shell cannot undo.
local function with_plain_slashes(text_of_code)
  return (text_of_code:gsub("\\(.)", function(character)
    if character == "/" then return "/" end
  end))
end

-- Code and input as JSON, or why they are none.
local function encode(self, code, input)
  local text_of_code, reason = json.encode(code, "code")
  if not text_of_code then return nil, failure("input_invalid", reason) end
  if code:find("%z") then return nil, failure("input_invalid", "the code holds a NUL byte") end
  text_of_code = with_plain_slashes(text_of_code)
  if input == nil then return text_of_code end
  local text_of_input
  text_of_input, reason = json.encode(input, "input")
  if not text_of_input then return nil, failure("input_invalid", reason) end
  local err = check_input(self, text_of_input)
  if err then return nil, err end
  return text_of_code, nil, text_of_input
end

local function is_busy(self)
  local running = self.task
  return running ~= nil and not running.closed and not running:look()
end

-- Why no cell can be begun now, if so.
local function hindrance(self)
  local err = closed(self)
  if err then return err end
  if is_busy(self) then
    return failure("session_busy", "the session runs a cell: one at a time",
      "wait for it, interrupt it, or use another session")
  end
  local over = self.live and not self.opening and self.live:over()
  return over and lost(over) or nil
end

local function start(self, fname, code, input, opts)
  check_owner(self, fname)
  options.argument(fname, "code", code, "text")
  local given = options.check(fname, opts, M.CELL_OPTIONS)
  local err = hindrance(self)
  if err then return nil, err end
  local patterns, text_of_code, text_of_input
  if given.outputs then patterns, err = outputs.parse(given.outputs, self.call.files or {}) end
  if err then return nil, err end
  text_of_code, err, text_of_input = encode(self, code, input)
  if not text_of_code then return nil, err end
  if not self.live and not self.opening then begin(self) end
  local limits = self.call.limits or {}
  local spec = {
    code = text_of_code, text = code, input = text_of_input, display = given.display,
    timeout_secs = number_or(given.timeout_secs, self.call.timeout_secs),
    cpu_secs = number_or(given.cpu_secs, limits.cpu_secs),
    on_log = given.on_log or self.opts.on_log, on_call = given.on_call, patterns = patterns,
  }
  local started = task.new(function(own) return run_cell(self, own, spec) end,
    { cached = false, logs = "" })
  self.task = started
  self.executor.tasks[started] = true
  started:step()
  return started
end

--- Run a cell and wait for its answer.
-- @tparam string code
-- @param[opt] input any JSON value: the variable `input` of this cell
-- @tparam[opt] CellOptions opts
-- @return the value of the cell's last expression (in Bash what it printed); `noether.null` where
-- there is none, or it has no JSON form: then `info.display` has its text
-- @treturn ?Error error
-- @treturn ?Info info with `cell`, the cell's number
-- @raise on a wrong option, or what a callback raised
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python" })
-- session:run("x = 40")
-- print((session:run("x + 2"))) --> 42
-- session:close()
function Session:run(code, input, opts)
  local started, err = start(self, "session:run", code, input, opts)
  if not started then return nil, err end
  local output, info
  output, err, info = started:wait()
  started:close()
  return output, err, info
end

--- Begin a cell and return at once.
-- @tparam string code
-- @param[opt] input as for `run`
-- @tparam[opt] CellOptions opts
-- @treturn ?Task a task, whose `wait` returns what `run` would; `cancel` interrupts the cell. Or
-- nil and an error (`session_busy`, `session_lost`, `closed`, `input_invalid`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python" })
-- local task = noether.check(session:start("import time; time.sleep(60)"))
-- print(select(2, session:run("1")).kind) --> session_busy
-- task:cancel()
-- print(select(2, task:wait()).kind) --> cancelled
-- session:close()
function Session:start(code, input, opts)
  return start(self, "session:start", code, input, opts)
end

--- Interrupt the cell that runs, as Ctrl-C does: KeyboardInterrupt in Python. A cell that goes on
-- all the same goes on.
-- @treturn boolean whether one ran
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python" })
-- local task = noether.check(session:start("while True: pass"))
-- session:interrupt()
-- print(select(2, task:wait()).kind) --> cancelled
-- print((session:run("1 + 1"))) --> 2
-- session:close()
function Session:interrupt()
  check_owner(self, "session:interrupt")
  if not is_busy(self) then return false end
  if self.cell then return self.cell:interrupt("interrupted") end
  self.task:cancel()
  return true
end

-- What runs, or was about to, learns that there is nothing any more.
local function give_up(self)
  local opening, there, running = self.opening, self.live, self.task
  self.opening, self.live, self.task, self.cell = nil, nil, nil, nil
  if opening then opening:close() end
  if there then there:close() end
  if running and not running.closed then sets.touch(running) end
end

--- Make it fresh: what was in it is gone, and cells are counted anew. A cell that runs is ended.
-- @treturn ?boolean true; nil and an error (`closed`)
-- @treturn ?Error error
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python" })
-- session:run("x = 1")
-- session:reset()
-- local _, err = session:run("x")
-- print(err) --> NameError: name 'x' is not defined (cell 1, line 1)
-- session:close()
function Session:reset()
  check_owner(self, "session:reset")
  local err = closed(self)
  if err then return nil, err end
  give_up(self)
  begin(self)
  return true
end

--- Where the session is.
-- @treturn "starting"|"idle"|"busy"|"lost"|"closed"
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python" })
-- session:run("1")
-- print(session:state()) --> idle
-- session:close()
function Session:state()
  check_owner(self, "session:state")
  if closed(self) then return "closed" end
  if is_busy(self) then return "busy" end
  if self.opening and not self.opening:look() then return "starting" end
  return self.live and self.live:over() and "lost" or "idle"
end

--- Give it up: the interpreter and all that it started are killed. Never blocks.
-- @treturn boolean true, however often it is called
-- @usage
-- local executor = noether.check(noether.executor())
-- local session <close> = noether.check(executor:session{ language = "python" })
-- session:close()                                  -- or let it go out of scope
-- print(session:state()) --> closed
function Session:close()
  if self.closed then return true end
  self.closed = true
  give_up(self)
  return true
end

metatable.__gc = Session.close
metatable.__close = Session.close

return M
