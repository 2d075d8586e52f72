-- SPDX-License-Identifier: MIT
--- Where a path leads. It is asked once, and what it says is what is judged, planned and bound: a
-- link that is put in the way later is refused, and not followed.
local paths = require "noether.paths"
local sys = require "noether.sys"

local M = {}

local MOST_LINKS = 40 -- as the kernel has it

local function lies_in(dir, places)
  for place in pairs(places) do
    if paths.is_within(dir, place) then return true end
  end
  return false
end

-- The parts of a path, the last one first, on top of those that are left.
local function push(rest, path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part ~= "." then parts[#parts + 1] = part end
  end
  for index = #parts, 1, -1 do
    rest[#rest + 1] = parts[index]
  end
end

local function step(state, part)
  if part == ".." then
    state.real = state.real:match("^(.*)/[^/]*$") or ""
    return true
  end
  local path = state.real .. "/" .. part
  local text = sys.readlink(path)
  if not text then
    state.real = path
    return true
  end
  state.links = state.links + 1
  if lies_in(state.real, state.distrusted) then
    return nil, ("%s is a link in a directory that a stage was let write to"):format(path), "ELOOP"
  elseif state.links > MOST_LINKS then
    return nil, ("realpath: %s: Too many levels of symbolic links"):format(path), "ELOOP"
  end
  if text:sub(1, 1) == "/" then state.real = "" end
  push(state.rest, text)
  return true
end

--- Follow the links of a path.
-- @tparam string path absolute
-- @tparam[opt] table distrusted real paths, as keys: a link that lies in one of them, which
-- whoever may write there can have made, is not followed
-- @treturn ?string where it leads; or nil, a message and an errno ("ELOOP": such a link)
-- @treturn ?string
-- @treturn ?string
function M.resolve(path, distrusted)
  if not distrusted or not next(distrusted) then return sys.realpath(path) end
  local state = { real = "", rest = {}, links = 0, distrusted = distrusted }
  push(state.rest, path)
  while #state.rest > 0 do
    local ok, message, errno = step(state, table.remove(state.rest))
    if not ok then return nil, message, errno end
  end
  local real = state.real ~= "" and state.real or "/"
  local found, message, errno = sys.stat(real)
  if not found then return nil, message, errno end
  return real
end

return M
