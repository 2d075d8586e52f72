-- SPDX-License-Identifier: MIT
--- Plain tables: copied, listed and looked at.
local M = {}

--- A copy of one table with another's fields over it.
-- @tparam ?table base
-- @tparam ?table over
-- @treturn table
function M.merged(base, over)
  local copy = {}
  for name, value in pairs(base or {}) do
    copy[name] = value
  end
  for name, value in pairs(over or {}) do
    copy[name] = value
  end
  return copy
end

local function plain(value, seen)
  if type(value) ~= "table" then return value end
  if seen[value] then return seen[value] end
  local copy = {}
  seen[value] = copy
  for key, item in next, value do
    copy[key] = plain(item, seen)
  end
  return copy
end

--- A copy, all the way down, that shares no table and has no metatable: what it says once it says
-- always, and to nobody else.
-- @param value anything
-- @return the copy; what is no table, as it is
function M.plain(value)
  return plain(value, {})
end

--- @tparam table map
-- @treturn table a list of its keys, sorted
function M.sorted_names(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- Whether a value is a list without holes, and nothing beside.
-- @param value
-- @tparam function test of each item
-- @treturn boolean
function M.is_list(value, test)
  if type(value) ~= "table" then return false end
  local count = 0
  for key, item in pairs(value) do
    if type(key) ~= "number" or not test(item) then return false end
    count = count + 1
  end
  return count == #value
end

--- Whether a value is a table by names.
-- @param value
-- @tparam function test of each item
-- @treturn boolean
function M.is_map(value, test)
  if type(value) ~= "table" then return false end
  for key, item in pairs(value) do
    if type(key) ~= "string" or not test(item) then return false end
  end
  return true
end

return M
