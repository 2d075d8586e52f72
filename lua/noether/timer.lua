-- SPDX-License-Identifier: MIT
--- A moment to wait for, as one waits for a process.
local sys = require "noether.sys"

local M = {}

local Timer = {}
local metatable = { __name = "noether.timer", __index = Timer }

--- Make one: `step` says whether the moment has come.
-- @tparam number secs from now
-- @treturn table with `step()`, `wait(secs)`, `timeout()`, `close()` and `cancel()`: it has come
function M.new(secs)
  return setmetatable({ moment = sys.clock() + secs }, metatable)
end

function Timer:step()
  return sys.clock() >= self.moment
end

function Timer:timeout()
  return math.max(self.moment - sys.clock(), 0)
end

function Timer:wait(secs)
  sys.poll({}, math.min(secs or math.huge, self:timeout()), {})
end

function Timer:cancel()
  self.moment = -math.huge
end

Timer.close = Timer.cancel

return M
