-- SPDX-License-Identifier: MIT
--- A task carries one piece of work through named states without ever blocking its caller.
--
-- The work is a coroutine. Where it must wait for a process it yields that process; `step` looks,
-- without waiting, whether it is over, and resumes. So there is at most one process at a time, and
-- all of them report through one poller: the descriptor that an event loop sees never changes.
-- `wait` is `step` in a loop with a deadline.
--
-- A task may be part of another one (an executor over an executor makes such): the outer one is
-- begun first, is the `parent` of the inner one, and parks on it by `join`. Both report through the
-- outer one's poller.
--
-- Who owns what: the task owns its poller and, by the coroutine, the process in flight. Closing or
-- collecting the task closes both, which kills what runs; the process is reaped later. A part owns
-- no poller, and is closed with the task that waits for it.
--
-- Lua must not yield across pcall, so nothing between `resume` and `await` may be a protected call.
local compat = require "noether.compat"
local errors = require "noether.error"
local options = require "noether.options"
local process = require "noether.process"
local sets = require "noether.set"
local sys = require "noether.sys"
local tables = require "noether.tables"
local timer = require "noether.timer"

local coroutine = compat.coroutine

local M = {}

local Task = {}
local metatable = { __name = "noether.task", __index = Task }

local CLOSED = "the task is closed"

-- A part is in no set: what changes it is news for those who wait for the whole.
local function touch(self)
  while self.parent do
    self = self.parent
  end
  sets.touch(self)
end

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

-- Time as info tells it: how long each state took, and each span of time by itself.
local function tell_time(self)
  local info = self.info
  info.phases, info.spans, info.warnings = self.phases, self.spans, self.warnings
  info.started_secs = self.started
end

--- Make a task. It does nothing until it is stepped.
-- @tparam function work takes the task, returns output and err; may use `enter`, `await`, `launch`,
-- `sleep`, `join`
-- @tparam table info what is known from the start; `work` fills it in by `task.info`
-- @tparam[opt] table parent the task whose work begins this one, to `join` it
-- @tparam[opt="wrap"] string span what `info.spans` calls the time before the first `enter`
-- @treturn table the task
function M.new(work, info, parent, span)
  local self = {
    thread = coroutine.create(work), info = info, phases = {}, spans = {}, started = sys.clock(),
    current = "prepare", span = span or "wrap", warnings = {}, parent = parent,
    owner = sys.getpid(), held = {},
  }
  self.entered = self.started
  tell_time(self)
  return compat.set_handle_metatable(self, metatable)
end

-- Raises in a forked copy of the host: the task is its parent's.
local function check_owner(self, fname)
  options.method(fname, self)
  if self.owner ~= sys.getpid() then
    options.raise(fname .. ": the task belongs to the parent of this process")
  end
end

local function spend(self, until_secs)
  local now = until_secs or sys.clock()
  local secs = now - self.entered
  self.phases[self.current] = (self.phases[self.current] or 0) + secs
  self.spans[#self.spans + 1] = {
    name = self.span, start_secs = self.entered - self.started, duration_secs = secs,
  }
  self.entered = now
end

--- For the work: go on to the next state, whose time is measured from here.
-- @tparam string state "setup", "run", "decode", "wait"
-- @tparam[opt=state] string span what `info.spans` calls the time from here on
-- @local
function Task:enter(state, span)
  spend(self)
  self.current, self.span = state, span or state
end

--- For the work: note something that a person should know; it ends up in `info.warnings`.
-- @tparam string message
-- @local
function Task:warn(message)
  self.warnings[#self.warnings + 1] = message
end

--- For the work: have the task's descriptor become readable when another one does.
-- @tparam integer fd it must stay open until the task is over, or be closed for good
-- @treturn boolean whether it could be had
-- @local
function Task:watch(fd)
  local poller = self:own_poller()
  return poller ~= nil and poller:add(fd, 1) == true
end

--- For the work: take it back.
-- @tparam integer fd
-- @local
function Task:unwatch(fd)
  local poller = not self.closed and self:own_poller()
  if poller then poller:remove(fd) end
end

-- What a task tells of itself.
local OWN_INFO = { phases = true, spans = true, started_secs = true, duration_secs = true }

--- For the work: take over what somebody else found out of a run, but for its times.
-- @tparam table info
-- @local
function Task:learn(info)
  for name, value in pairs(info) do
    if name == "warnings" and type(value) == "table" then
      for _, warning in ipairs(value) do
        self:warn(warning)
      end
    elseif not OWN_INFO[name] then
      self.info[name] = value
    end
  end
end

--- For the work: launch a process that reports through the task's descriptor.
-- @tparam table argv
-- @tparam table opts of `process.launch`, but for `poller`
-- @treturn ?table the process; or nil and an error
-- @treturn ?table
-- @local
function Task:launch(argv, opts)
  local poller, err = self:own_poller()
  if not poller then return nil, err end
  return process.launch(argv, tables.merged({ poller = poller }, opts))
end

--- For the work: park until a process is over.
-- @tparam table proc
-- @treturn ?table its result; or nil and an error if nothing ran
-- @treturn ?table
-- @local
function Task:await(proc)
  if self.is_cancelled then proc:cancel() end
  coroutine.yield(proc)
  return proc:result()
end

-- What a part has taken, and what it found, is the whole's. The time of the part was measured by
-- itself, up to the moment when it entered its last state.
local function take_over(self, part)
  local before = part.started - self.started
  for state, secs in pairs(part.phases) do
    self.phases[state] = (self.phases[state] or 0) + secs
  end
  for _, span in ipairs(part.spans) do
    self.spans[#self.spans + 1] = {
      name = span.name, start_secs = before + span.start_secs, duration_secs = span.duration_secs,
    }
  end
  for _, warning in ipairs(part.warnings) do
    self:warn(warning)
  end
  self.info, self.entered = tables.merged(part.info), part.entered
  tell_time(self)
end

--- For the work: park until a task that is part of this one is over. Its info becomes this one's;
-- times are added up. It is closed then.
-- @tparam table part made with this task as its `parent`
-- @return as of `wait`
-- @treturn ?table
-- @treturn ?table
-- @raise what a callback raised in it
-- @local
function Task:join(part)
  if self.is_cancelled then part:cancel() end
  spend(self, part.started)
  self.part = part
  if not part:step() then coroutine.yield(part) end
  self.part = nil
  take_over(self, part)
  local output, err, info = part:wait(0)
  part:close()
  return output, err, info
end

--- For the work: do nothing for a while, in the state that it is in. A task that is cancelled does
-- not pause.
-- @tparam number secs
-- @local
function Task:pause(secs)
  if not self.is_cancelled then coroutine.yield(timer.new(secs)) end
end

--- For the work: as @{Task:pause}, in a state of its own, "wait".
-- @tparam number secs
-- @local
function Task:sleep(secs)
  local state, span = self.current, self.span
  self:enter("wait")
  self:pause(secs)
  self:enter(state, span)
end

--- For the work: have something closed when the task is over, or given up in the middle.
-- @param handle with a method `close`, which may be called before, too
-- @return the handle
-- @local
function Task:hold(handle)
  self.held[#self.held + 1] = handle
  return handle
end

--- For the work: what is held is somebody else's to close from now on.
-- @treturn table with `close`
-- @local
function Task:hand_over()
  local held = self.held
  self.held = {}
  return { close = function()
    for i = #held, 1, -1 do
      held[i]:close()
    end
    held = {}
  end }
end

local function release(self)
  local held = self.held
  self.held = {}
  for i = #held, 1, -1 do
    held[i]:close()
  end
end

--- @local
function Task:own_poller()
  -- A callback of the work may have closed the task, or one that it is part of.
  if self.closed then return nil, failure("closed", CLOSED) end
  if self.parent then return self.parent:own_poller() end
  if self.poller then return self.poller end
  local poller, err = process.poller()
  self.poller = poller
  return poller, err
end

local function finish(self, output, err)
  spend(self)
  release(self)
  self.current, self.thread, self.waiting, self.part = "done", nil, nil, nil
  self.info.duration_secs = sys.clock() - self.started
  if self.is_cancelled and err and err.kind ~= "cancelled" then
    err = failure("cancelled", "the task was cancelled")
  end
  if err then output = nil end
  self.output, self.err = output, err
end

-- What a callback raised belongs to the caller of wait, now and each time it asks.
local function keep_raised(self, message)
  if self.waiting then self.waiting:close() end
  finish(self)
  self.raised = { message }
  touch(self)
end

-- A process calls the listeners of its output: what they raise is as what the work raises. One may
-- have closed the task that it is part of, and then there is nobody to keep it for.
local function attempt(self, method, secs)
  local ok, over = pcall(self.waiting[method], self.waiting, secs)
  if ok then return over end
  if self.closed then error(over, 0) end
  keep_raised(self, over)
  return true
end

local function resume(self)
  local thread = self.thread
  if coroutine.status(thread) ~= "suspended" then
    options.raise("task: it cannot be stepped from its own callback")
  end
  local ok, first, second = coroutine.resume(thread, self)
  if not ok then
    keep_raised(self, first)
    return true
  elseif coroutine.status(thread) == "dead" then
    finish(self, first, second)
  else
    self.waiting = first
  end
  touch(self)
  return not self.thread
end

-- Whether the task is over, having gone on as far as it could.
local function advance(self)
  if self.closed or not self.thread then return true end
  if self.waiting and not attempt(self, "step") then return false end
  if self.closed or not self.thread then return true end
  return resume(self)
end

--- Go on as far as possible without waiting.
-- @treturn boolean whether the task is over
-- @raise what a callback raised
-- @usage
-- local task = noether.inline{ one = function() return 1 end }:start("one")
-- print(task:step(), (task:wait(0))) --> true 1
function Task:step()
  check_owner(self, "task:step")
  local over = advance(self)
  -- It belongs to the caller, now and each time it asks.
  if self.raised and not self.closed then error(self.raised[1], 0) end
  return over
end

--- For sets: as `step`, but what a callback raised is left for `wait` to raise.
-- @treturn boolean whether the task is over
-- @local
function Task:look()
  check_owner(self, "task:look")
  return advance(self)
end

--- Wait for the outcome; never kills.
-- @tparam[opt] number secs how long at most; nil is as long as it takes, 0 just looks
-- @return the output; nil with an error otherwise. `false` and JSON null are outputs: test the
-- error
-- @treturn ?Error error; kind `pending` if it is not over yet, `closed` after `close`
-- @treturn ?Info info
-- @raise what a callback raised
-- @usage
-- local executor = noether.check(noether.executor())
-- local task = executor:start({ language = "bash", code = "execute() { sleep 60; }" })
-- local _, err = task:wait(0.01)
-- print(err.kind) --> pending
-- task:close()
function Task:wait(secs)
  check_owner(self, "task:wait")
  if secs ~= nil then options.argument("task:wait", "secs", secs, "duration") end
  if self.closed then return nil, failure("closed", CLOSED) end
  local deadline = secs and sys.clock() + secs or math.huge
  while not self:step() do
    local left = deadline - sys.clock()
    if left <= 0 then
      return nil, failure("pending", "the task is not over yet", "wait again, or cancel it")
    end
    attempt(self, "wait", left < math.huge and left or nil)
    if self.closed then break end
  end
  if self.closed then return nil, failure("closed", CLOSED) end
  return self.output, self.err, self.info
end

--- End the task early: what runs is killed with all it started. `wait` then gives `cancelled`.
-- More calls, and calls when it is over, do nothing.
-- @treturn boolean true
-- @usage
-- local executor = noether.check(noether.executor())
-- local task = executor:start({ language = "bash", code = "execute() { sleep 60; }" })
-- task:cancel()
-- local _, err = task:wait()
-- print(err.kind) --> cancelled
function Task:cancel()
  check_owner(self, "task:cancel")
  if not self.closed and self.thread then
    self.is_cancelled = true
    if self.waiting then self.waiting:cancel() end
    touch(self)
  end
  return true
end

--- Give up the task: what runs is killed, its descriptor is closed. Never blocks.
-- @treturn boolean true, however often it is called
-- @usage
-- local executor = noether.check(noether.executor())
-- local task <close> = executor:start({ language = "bash", code = "execute() { sleep 60; }" })
-- task:close()                                     -- or let it go out of scope
-- print(task:state()) --> closed
function Task:close()
  if self.closed then return true end
  self.closed = true
  sets.release(self)
  if self.parent then touch(self) end
  if self.waiting then self.waiting:close() end
  if self.poller then self.poller:close() end
  release(self)
  self.waiting, self.poller, self.thread = nil, nil, nil
  return true
end

metatable.__gc = Task.close
metatable.__close = Task.close

--- Where the task is.
-- @treturn "prepare"|"setup"|"run"|"decode"|"wait"|"done"|"closed" `wait` is the pause before
-- another attempt
-- @usage
-- local task = noether.inline{ one = function() return 1 end }:start("one")
-- print(task:state()) --> done
function Task:state()
  check_owner(self, "task:state")
  if self.closed then return "closed" end
  return self.part and self.part:state() or self.current
end

--- The descriptor that becomes readable when `step` has something to do.
-- It is the same for the life of the task.
-- @treturn ?integer nil and an error if there is none to be had, or the task is closed
-- @treturn ?Error error
-- @usage
-- local executor = noether.check(noether.executor())
-- local task = executor:start({ language = "bash", code = "execute() { echo 1; }" })
-- local fd = task:pollfd()
-- -- Give fd to any event loop; whenever it is readable, or task:timeout() is over:
-- while not task:step() do noether.wait_any({ task }, task:timeout()) end
-- print(fd == task:pollfd(), (task:wait(0))) --> true 1
function Task:pollfd()
  check_owner(self, "task:pollfd")
  local poller, err = self:own_poller()
  if not poller then return nil, err end
  return poller:pollfd()
end

--- What to poll the descriptor for.
-- @treturn string "r"
-- @usage
-- print(noether.inline{ one = function() return 1 end }:start("one"):events()) --> r
function Task.events()
  return "r"
end

--- After how many seconds to `step` even if the descriptor stays quiet.
-- @treturn ?number 0 when the task is over; nil if there is no such moment
-- @usage
-- print(noether.inline{ one = function() return 1 end }:start("one"):timeout()) --> 0
function Task:timeout()
  check_owner(self, "task:timeout")
  if self.waiting then return self.waiting:timeout() end
  return 0
end

return M
