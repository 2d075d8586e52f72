-- SPDX-License-Identifier: MIT
--- Paths as text: nothing is looked up.
local M = {}

--- Whether a value is an absolute path without "." and "..".
-- @param path
-- @treturn boolean
function M.is_plain(path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find("%z") then return false end
  for part in path:gmatch("[^/]+") do
    if part == "." or part == ".." then return false end
  end
  return true
end

--- Whether a path is another or lies beneath it; both absolute and without "." and "..".
-- @tparam string path
-- @tparam string parent
-- @treturn boolean
function M.is_within(path, parent)
  return path == parent or parent == "/" or path:sub(1, #parent + 1) == parent .. "/"
end

return M
