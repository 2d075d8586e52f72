-- SPDX-License-Identifier: MIT
--- What a caller writes to a program: kept in pieces, in order, until the program takes it.
local M = {}

local Written = {}
local metatable = { __index = Written }

--- Nothing yet.
-- @treturn table with `bytes`, those that are kept
function M.new()
  return setmetatable({ first = 1, last = 0, bytes = 0, ended = false }, metatable)
end

--- Keep one piece more.
-- @tparam string text
function Written:add(text)
  if text == "" then return end
  self.last = self.last + 1
  self[self.last] = text
  self.bytes = self.bytes + #text
end

--- There will be no more.
function Written:finish()
  self.ended = true
end

--- The next piece.
-- @treturn string|false|nil false: none yet; nil: that was all
function Written:next()
  if self.first > self.last then
    if self.ended then return nil end
    return false
  end
  local piece = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.bytes = self.bytes - #piece
  return piece
end

return M
