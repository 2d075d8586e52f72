-- SPDX-License-Identifier: MIT
--- Ids of jobs that were begun, kept until nobody can have them run again: two halves, of which the
-- older is thrown away when all in it is over. Memory is that of what was begun in that time.
local sys = require "noether.sys"

local M = {}

local Nonces = {}
local metatable = { __index = Nonces }

--- @treturn table
function M.new()
  return setmetatable({ young = {}, old = {}, young_until = 0, old_until = 0 }, metatable)
end

--- @tparam string id
-- @tparam number until_secs wall-clock time after which it need not be known any more
function Nonces:add(id, until_secs)
  local now = sys.time()
  if now > self.old_until then
    self.old, self.old_until = self.young, self.young_until
    self.young, self.young_until = {}, 0
  end
  self.young[id] = true
  self.young_until = math.max(self.young_until, until_secs)
end

--- @tparam string id
-- @treturn boolean
function Nonces:has(id)
  return self.young[id] == true or self.old[id] == true
end

return M
