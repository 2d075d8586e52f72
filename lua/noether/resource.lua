-- SPDX-License-Identifier: MIT
--- Text in other languages: the runners of stages, the page of a trace.
--
-- Each is a file of its own among the Lua modules, in the source tree and where the library is
-- installed, so that the tools of its language can read it. In noether-lua it is inside, as the
-- modules are.
local M = {}

local texts = {}

-- Beside this module's own file. In the interpreter it has none, only a name that looks like one.
local function read(path)
  local directory = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$")
  if package.preload["noether.resource"] then directory = nil end
  local file, message = nil, path .. ": no such text"
  if directory then file, message = io.open(("%s/%s"):format(directory, path), "rb") end
  if not file then error("noether is not installed whole: " .. message, 0) end
  local text = file:read("*a")
  file:close()
  return text
end

--- The text of a file.
-- @tparam string path below lua/noether, such as "policy/languages/python/runner.py"
-- @treturn string
-- @raise if it is not there
function M.text(path)
  if not texts[path] then
    local inside = package.preload["noether/" .. path]
    texts[path] = inside and inside() or read(path)
  end
  return texts[path]
end

return M
