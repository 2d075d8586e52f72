-- SPDX-License-Identifier: MIT
--- Answers on disk, one file each, in a directory that processes may share.
--
--     <key>.answer    the SHA-256 of all that follows, a newline, a line of JSON (what the answer
--                     is of), and the answer
--
-- A file is written whole under another name and renamed. What is read is checked against the hash
-- and its name; what is damaged is removed, and was never there. The directory is closed to others
-- (0700), since the hash tells accidents and not forgery. What each process knows of the directory
-- is an index of names and sizes, made anew after some writes, so that the bounds hold for all
-- together; on disk the oldest go first, but for what this process has used since.
local errors = require "noether.error"
local json = require "noether.json"
local lru = require "noether.executor.answers.lru"
local sys = require "noether.sys"

local M = {}

local Disk = {}
local metatable = { __index = Disk }

local SUFFIX = ".answer"
local LEFTOVER_SECS = 3600 -- no writer takes an hour
local MAX_WRITES = 64 -- between two looks at the directory
local MORE_THAN_ANSWER_BYTES = 16 * 1024 -- hash and line of JSON

local HINTS = {
  EPERM = "make the directory yours alone (chown, chmod 700), or name another one",
  ENOSPC = "free some space there, or name a directory on another disk",
}

local function failure(message, errno)
  return errors.new{
    kind = "cache_failed", message = "the cache of answers cannot be used: " .. message,
    errno = errno, hint = HINTS[errno] or errors.NO_DESCRIPTOR[errno]
      or "name a directory that is yours and can be written to",
  }
end

local function path_of(self, key)
  return self.dir .. "/" .. key .. SUFFIX
end

local function by_age(a, b)
  if a.mtime ~= b.mtime then return a.mtime < b.mtime end
  return a.key < b.key
end

local function remove_leftover(path)
  local stat = sys.stat(path)
  if stat and math.abs(sys.time() - stat.mtime) > LEFTOVER_SECS then sys.unlink(path) end
end

-- Make the index anew.
local function scan(self)
  local names, message, errno = sys.list(self.dir)
  if not names then return nil, failure(message, errno) end
  local found = {}
  for _, name in ipairs(names) do
    local key = name:match("^(%x+)%.answer$")
    local stat = key and sys.stat(self.dir .. "/" .. name)
    if stat and stat.type == "file" then
      found[#found + 1] = { key = key, mtime = stat.mtime, size = stat.size }
    elseif name:find("^%.noe%-%x+%.tmp$") then
      remove_leftover(self.dir .. "/" .. name)
    end
  end
  table.sort(found, by_age)
  self.index:clear()
  self.writes = 0
  for _, file in ipairs(found) do
    if not self.index:put(file.key, true, file.size) then sys.unlink(path_of(self, file.key)) end
  end
  return true
end

--- Open the directory, which is made (mode 0700) where it is missing.
-- @tparam string dir one that exists must be ours and closed to others
-- @tparam number max_count
-- @tparam number max_bytes
-- @treturn ?table nil and an error (`cache_failed`)
-- @treturn ?table
function M.open(dir, max_count, max_bytes)
  local ok, message, errno = sys.mkdir_private((dir:gsub("(.)/+$", "%1")))
  local real
  if ok then real, message, errno = sys.realpath(dir) end
  if not real then return nil, failure(message, errno) end
  local self = setmetatable({ dir = real, max_bytes = max_bytes, writes = 0 }, metatable)
  self.index = lru.new(max_count, max_bytes, function(key) sys.unlink(path_of(self, key)) end)
  local err
  ok, err = scan(self)
  if not ok then return nil, err end
  return self
end

local function encode(key, entry)
  local line = json.canonical{
    key = key, created = entry.created, runtime = entry.runtime, provenance = entry.provenance,
  }
  local rest = line and line .. "\n" .. entry.text
  return rest and sys.sha256(rest) .. "\n" .. rest
end

-- The entry that a file holds, if it is whole and is that of the key.
local function decode(key, data)
  local hash, rest = data:match("^(%x+)\n(.*)$")
  if not hash or sys.sha256(rest) ~= hash then return nil end
  local line, text = rest:match("^([^\n]*)\n(.*)$")
  local head = line and json.decode(line)
  if type(head) ~= "table" or head.key ~= key or type(head.created) ~= "number"
    or type(head.runtime) ~= "table" or type(head.provenance) ~= "table" then
    return nil
  end
  return {
    text = text, created = head.created, runtime = head.runtime, provenance = head.provenance,
  }
end

--- The entry of a key.
-- @tparam string key
-- @treturn ?table `text`, `created`, `runtime`, `provenance`; nil if there is none that is whole
function Disk:get(key)
  local data, _, errno = sys.read_file(path_of(self, key), self.max_bytes)
  local entry = data and decode(key, data)
  if entry then
    if not self.index:get(key) then self.index:put(key, true, #data) end
    return entry
  end
  if data or errno ~= "ENOENT" then self:remove(key) end
  self.index:remove(key)
  return nil
end

--- Keep an entry.
-- @tparam string key
-- @tparam table entry
-- @treturn ?boolean true; or nil and an error (`cache_failed`): the entry was not kept
-- @treturn ?table
function Disk:put(key, entry)
  if #entry.text + MORE_THAN_ANSWER_BYTES > self.max_bytes then return true end
  local data = encode(key, entry)
  if not data then return true end
  local ok, message, errno = sys.write_file(path_of(self, key), data, 384) -- 0600
  if not ok then return nil, failure(message, errno) end
  self.index:put(key, true, #data)
  self.writes = self.writes + 1
  if self.writes < MAX_WRITES then return true end
  return scan(self)
end

--- Remove an entry.
-- @tparam string key
function Disk:remove(key)
  self.index:remove(key)
  sys.unlink(path_of(self, key))
end

--- Remove all entries, also those that others have written since.
-- @treturn ?boolean true; or nil and an error (`cache_failed`)
-- @treturn ?table
function Disk:clear()
  local ok, err = scan(self)
  if not ok then return nil, err end
  for key in pairs(self.index.links) do
    sys.unlink(path_of(self, key))
  end
  self.index:clear()
  return true
end

return M
