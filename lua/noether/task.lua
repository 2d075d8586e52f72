-- SPDX-License-Identifier: MIT
--- A task carries one piece of work through named states without ever blocking its caller.
--
-- The work is a coroutine. Where it must wait for a process it yields that process; `step` looks,
-- without waiting, whether it is over, and resumes. So there is at most one process at a time, and
-- all of them report through one poller: the descriptor that an event loop sees never changes.
-- `wait` is `step` in a loop with a deadline.
--
-- Who owns what: the task owns its poller and, by the coroutine, the process in flight. Closing or
-- collecting the task closes both, which kills what runs; the process is reaped later. Lua must not
-- yield across pcall, so nothing between `resume` and `await` may be a protected call.
local compat = require "noether.compat"
local errors = require "noether.error"
local options = require "noether.options"
local process = require "noether.process"
local sys = require "noether.sys"

local M = {}

local Task = {}
local metatable = { __name = "noether.task", __index = Task }

local CLOSED = "the task is closed"

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

--- Make a task. It does nothing until it is stepped.
-- @tparam function work takes the task, returns output and err; may use `enter`, `await`, `launch`
-- @tparam table info what is known from the start; `work` fills it in by `task.info`
-- @treturn table the task
function M.new(work, info)
  local self = {
    thread = coroutine.create(work), info = info, phases = {}, started = sys.clock(),
    current = "prepare", warnings = {},
  }
  self.entered = self.started
  info.phases, info.warnings = self.phases, self.warnings
  return compat.set_handle_metatable(self, metatable)
end

local function spend(self)
  local now = sys.clock()
  local spent = self.phases[self.current] or 0
  self.phases[self.current] = spent + now - self.entered
  self.entered = now
end

--- For the work: go on to the next state, whose time is measured from here.
-- @tparam string state "setup", "run", "decode"
function Task:enter(state)
  spend(self)
  self.current = state
end

--- For the work: note something that a person should know; it ends up in `info.warnings`.
-- @tparam string message
function Task:warn(message)
  self.warnings[#self.warnings + 1] = message
end

--- For the work: launch a process that reports through the task's descriptor.
-- @tparam table argv
-- @tparam table opts of `process.launch`, but for `poller`
-- @treturn ?table the process; or nil and an error
-- @treturn ?table
function Task:launch(argv, opts)
  -- A callback of the work may have closed the task that it is part of.
  if self.closed then return nil, failure("closed", CLOSED) end
  local poller, err = self:own_poller()
  if not poller then return nil, err end
  local copy = { poller = poller }
  for name, value in pairs(opts) do
    copy[name] = value
  end
  return process.launch(argv, copy)
end

--- For the work: park until a process is over.
-- @tparam table proc
-- @treturn ?table its result; or nil and an error if nothing ran
-- @treturn ?table
function Task:await(proc)
  if self.is_cancelled then proc:cancel() end
  coroutine.yield(proc)
  return proc:result()
end

function Task:own_poller()
  if self.poller then return self.poller end
  local poller, err = process.poller()
  self.poller = poller
  return poller, err
end

local function finish(self, output, err)
  spend(self)
  self.current, self.thread, self.waiting = "done", nil, nil
  self.info.duration_secs = sys.clock() - self.started
  if self.is_cancelled and err and err.kind ~= "cancelled" then
    err = failure("cancelled", "the task was cancelled")
  end
  if err then output = nil end
  self.output, self.err = output, err
end

-- What a callback raised belongs to the caller of wait, now and each time it asks.
local function raise(self, message)
  if self.closed then error(message, 0) end
  if self.waiting then self.waiting:close() end
  finish(self)
  self.raised = { message }
  error(message, 0)
end

-- A process calls the listeners of its output: what they raise is as what the work raises.
local function attempt(self, method, secs)
  local ok, over = pcall(self.waiting[method], self.waiting, secs)
  if not ok then raise(self, over) end
  return over
end

local function resume(self)
  local thread = self.thread
  if coroutine.status(thread) ~= "suspended" then
    error("task: it cannot be stepped from its own callback", 3)
  end
  local ok, first, second = coroutine.resume(thread, self)
  if not ok then raise(self, first) end
  if coroutine.status(thread) == "dead" then
    finish(self, first, second)
    return true
  end
  self.waiting = first
  return false
end

--- Go on as far as possible without waiting.
-- @treturn boolean whether the task is over
-- @raise what a callback raised
function Task:step()
  if self.closed then return true end
  if self.raised then error(self.raised[1], 0) end
  if not self.thread then return true end
  if self.waiting and not attempt(self, "step") then return false end
  -- A listener may have closed the task that it is part of.
  if self.closed then return true end
  return resume(self)
end

--- Wait for the outcome; never kills.
-- @tparam[opt] number secs how long at most; nil is as long as it takes, 0 just looks
-- @return the output; nil with `err` otherwise. `false` and JSON null are outputs: test `err`
-- @treturn ?table error; kind `pending` if it is not over yet, `closed` after `close`
-- @treturn ?table info
-- @raise what a callback raised
function Task:wait(secs)
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
function Task:cancel()
  if not self.closed and self.thread then
    self.is_cancelled = true
    if self.waiting then self.waiting:cancel() end
  end
  return true
end

--- Give up the task: what runs is killed, its descriptor is closed. Never blocks.
-- @treturn boolean true, however often it is called
function Task:close()
  if self.closed then return true end
  self.closed = true
  if self.waiting then self.waiting:close() end
  if self.poller then self.poller:close() end
  self.waiting, self.poller, self.thread = nil, nil, nil
  return true
end

metatable.__gc = Task.close
metatable.__close = Task.close

--- Where the task is.
-- @treturn string "prepare", "setup", "run", "decode", "done" or "closed"
function Task:state()
  return self.closed and "closed" or self.current
end

--- The descriptor that becomes readable when `step` has something to do.
-- It is the same for the life of the task.
-- @treturn ?number nil and an error if there is none to be had, or the task is closed
-- @treturn ?table
function Task:pollfd()
  if self.closed then return nil, failure("closed", CLOSED) end
  local poller, err = self:own_poller()
  if not poller then return nil, err end
  return poller:pollfd()
end

--- What to poll the descriptor for.
-- @treturn string "r"
function Task.events()
  return "r"
end

--- After how many seconds to `step` even if the descriptor stays quiet.
-- @treturn ?number 0 when the task is over; nil if there is no such moment
function Task:timeout()
  if self.waiting then return self.waiting:timeout() end
  return 0
end

return M
