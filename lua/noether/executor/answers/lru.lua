-- SPDX-License-Identifier: MIT
--- A map that holds so many values and so many bytes, and drops what was not used for longest.
-- The values are links of a ring, whose head stands between the newest and the oldest.
local M = {}

local Lru = {}
local metatable = { __index = Lru }

--- Make one.
-- @tparam number max_count
-- @tparam number max_bytes
-- @tparam[opt] function dropped called with the key of each value that had to go
-- @treturn table
function M.new(max_count, max_bytes, dropped)
  local self = { max_count = max_count, max_bytes = max_bytes, dropped = dropped }
  Lru.clear(self)
  return setmetatable(self, metatable)
end

local function cut(link)
  link.older.newer, link.newer.older = link.newer, link.older
end

local function put_first(self, link)
  local head = self.head
  link.older, link.newer = head.older, head
  link.older.newer, head.older = link, link
end

local function forget(self, link)
  cut(link)
  self.links[link.key] = nil
  self.count, self.bytes = self.count - 1, self.bytes - link.bytes
end

--- The value of a key, which is then the one used last.
-- @tparam string key
-- @return nil if there is none
function Lru:get(key)
  local link = self.links[key]
  if not link then return nil end
  cut(link)
  put_first(self, link)
  return link.value
end

--- Put a value in the place of the one that the key has, if any, and drop what is too much.
-- @tparam string key
-- @param value
-- @tparam number bytes how much of `max_bytes` it takes
-- @treturn boolean false if it is larger than all of it, and was not put
function Lru:put(key, value, bytes)
  self:remove(key)
  if bytes > self.max_bytes then return false end
  local link = { key = key, value = value, bytes = bytes }
  put_first(self, link)
  self.links[key] = link
  self.count, self.bytes = self.count + 1, self.bytes + bytes
  while self.count > self.max_count or self.bytes > self.max_bytes do
    local oldest = self.head.newer
    forget(self, oldest)
    if self.dropped then self.dropped(oldest.key) end
  end
  return true
end

--- Take a value out.
-- @tparam string key
function Lru:remove(key)
  local link = self.links[key]
  if link then forget(self, link) end
end

--- Take all out.
function Lru:clear()
  local head = {}
  head.older, head.newer = head, head
  self.head, self.links, self.count, self.bytes = head, {}, 0, 0
end

return M
