-- SPDX-License-Identifier: MIT
--- A process that calls its host, as a task waits for it: like the process alone, and what its
-- calls wait for is waited for beside it. The task's own descriptor stands for all of them.
local sys = require "noether.sys"

local M = {}

local Conversation = {}
Conversation.__index = Conversation

-- Numbers in the task's poller that are no descriptor's: the process looks for its own there.
local NO_DESCRIPTOR = 2147483647
local STRIDE = 4294967296

--- @tparam table process
-- @tparam table calls
-- @tparam userdata poller of the task, that the process reports through
-- @tparam ?boolean is_alone whether nobody else does, but for what its calls wait for
-- @treturn table
function M.new(process, calls, poller, is_alone)
  local self = setmetatable({
    process = process, calls = calls, poller = poller, is_alone = is_alone, watched = {},
    numbers = 0,
  }, Conversation)
  calls.process = process
  function calls.release(call) self:forget(call) end
  function calls.nudge() self.is_nudged = poller:alarm(0) end
  return self
end

-- Each handle that a call waits for is in the task's poller while it does.
local function watch(self)
  for _, call in ipairs(self.calls.handles) do
    if self.watched[call] == nil then
      local fd = call.handle:pollfd()
      self.numbers = self.numbers + 1
      local added = fd and self.poller:add(fd, self.numbers * STRIDE + NO_DESCRIPTOR)
      self.watched[call] = added and fd or false
    end
  end
end

--- Before a handle's descriptor is closed: the poller might keep it, or another of its number.
function Conversation:forget(call)
  if self.watched[call] then self.poller:remove(self.watched[call]) end
  self.watched[call] = nil
end

-- In this order: a call that is over makes room for what the stage says next. What was waited for
-- is done, and is not looked for again.
function Conversation:step()
  local over = self.looked
  self.looked = nil
  if self.is_nudged then self.poller:alarm() end
  self.is_nudged = nil
  self.calls:step()
  if over == nil then
    self.process:listen(self.calls:has_room())
    over = self.process:step()
  end
  watch(self)
  if over then self.calls:close() end
  return over
end

function Conversation:timeout()
  local earliest, overdue = self.process:timeout(), self.calls:timeout()
  if overdue and (not earliest or overdue < earliest) then earliest = overdue end
  for _, call in ipairs(self.calls.handles) do
    local secs = call.handle:timeout()
    if secs and (not earliest or secs < earliest) then earliest = secs end
  end
  return earliest
end

-- While calls are answered at once the process is waited for as if it were alone: who wakes us is
-- heard right away.
function Conversation:wait(secs)
  local most = self:timeout()
  if not most or (secs and secs < most) then most = secs end
  if self.is_alone and #self.calls.handles == 0 and not self.is_nudged then
    local over = self.process:step(most or math.huge)
    if self.calls:has_room() and not self.is_nudged then self.looked = over end
  else
    sys.poll({ self.process:pollfd() }, most, {})
  end
end

function Conversation:result()
  return self.process:result()
end

--- As of the process.
function Conversation:has_begun()
  return self.process:has_begun()
end

function Conversation:cancel()
  self.process:cancel()
end

function Conversation:close()
  self.calls:close()
  self.process:close()
end

return M
