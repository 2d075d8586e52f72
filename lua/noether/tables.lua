-- SPDX-License-Identifier: MIT
--- Plain tables, copied and listed.
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

return M
