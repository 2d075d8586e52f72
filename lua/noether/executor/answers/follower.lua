-- SPDX-License-Identifier: MIT
--- Waiting for another task's end, as a task waits for a process.
-- Whoever waits for the second task need not wait for the first one: so a follower looks at the
-- task that leads whenever it is looked at itself. Others may step, cancel or close that, too, and
-- tell nobody here: so it wants to be looked at now and then, more seldom the longer it waits.
local compat = require "noether.compat"
local sys = require "noether.sys"

local coroutine = compat.coroutine

local M = {}

local Follower = {}
local metatable = { __index = Follower }

local SHARE = 0.1 -- of the time waited so far, until the next look
local MIN_SECS, MAX_SECS = 0.002, 0.1

local function root_of(task)
  while task.parent do
    task = task.parent
  end
  return task
end

-- Whether a task, or a part of it, is being stepped right now: then it is what calls us.
local function is_in_step(task)
  while task do
    if task.thread and coroutine.status(task.thread) ~= "suspended" then return true end
    task = task.waiting
  end
  return false
end

--- Whether a task can be followed: it goes on, and can be stepped from here.
-- @tparam table leader
-- @treturn boolean
function M.can_follow(leader)
  local root = root_of(leader) -- it alone may be closed, by a callback of its part
  return leader.thread ~= nil and root.thread ~= nil and leader.owner == sys.getpid()
    and not is_in_step(root)
end

--- Make one.
-- @tparam table leader the task to follow
-- @treturn table for `task:await`, whose result is whether it was waited for till it could no
-- longer be followed
function M.new(leader)
  return setmetatable({ leader = leader, root = root_of(leader), began = sys.clock() }, metatable)
end

function Follower:step()
  if self.given_up or not M.can_follow(self.leader) then return true end
  self.root:look()
  return not M.can_follow(self.leader)
end

function Follower:timeout()
  if self.given_up or not M.can_follow(self.leader) then return 0 end
  local secs = math.max(MIN_SECS, math.min((sys.clock() - self.began) * SHARE, MAX_SECS))
  return math.min(secs, self.root:timeout() or secs)
end

function Follower:wait(secs)
  sys.poll({ (self.root:pollfd()) }, math.min(secs or math.huge, self:timeout()), {})
end

function Follower:result()
  return not self.given_up
end

function Follower:cancel()
  self.given_up = true
end

Follower.close = Follower.cancel

return M
