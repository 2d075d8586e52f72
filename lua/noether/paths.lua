-- SPDX-License-Identifier: MIT
--- Paths as text: nothing is looked up.
local M = {}

--- Whether a value is an absolute path without "." and "..".
-- @param path
-- @treturn boolean
function M.is_plain(path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find("%z") then return false end
  return not (path .. "/"):find("/%.%.?/")
end

--- Whether a path is another or lies beneath it; both absolute and without "." and "..".
-- @tparam string path
-- @tparam string parent
-- @treturn boolean
function M.is_within(path, parent)
  if parent == "/" then return true end
  local len = #parent
  if path:sub(1, len) ~= parent then return false end
  local after = path:byte(len + 1)
  return after == nil or after == 47 -- "/"
end

return M
