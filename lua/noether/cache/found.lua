-- SPDX-License-Identifier: MIT
--- What was found out about this machine by running programs, kept on disk: which interpreter a
-- shim leads to, which sandbox works. The command is a new process each time, and would ask anew.
--
-- Each answer is a file below `found` in the cache, which is the user's own and closed to others.
-- It holds as long as its conditions, a text of all that it depends on (stamps of files, settings,
-- variables), are the same, and for a day at most. Only what worked is kept: a refusal, or a
-- time-out, is asked again. Nothing is lost but time where a file cannot be read or written.
local json = require "noether.json"
local sys = require "noether.sys"

local M = {}

--- How long an answer counts, whatever its conditions say.
M.KEPT_SECS = 24 * 3600

local MAX_BYTES = 64 * 1024

local Found = {}
Found.__index = Found

--- What is kept in a cache.
-- @tparam table cache
-- @treturn table
function M.of(cache)
  return setmetatable({ directory = cache.dir .. "/found" }, Found)
end

--- Where the lock is of who asks.
-- @tparam string key
-- @treturn ?string a path; nil if there is no place for one
function Found:lock_path(key)
  if not sys.mkdir_private(self.directory) then return nil end
  return ("%s/%s.lock"):format(self.directory, sys.sha256(key):sub(1, 32))
end

local function path_of(self, key)
  return ("%s/%s"):format(self.directory, sys.sha256(key):sub(1, 32))
end

local function is_fresh(path)
  local stat = sys.stat(path)
  local age = stat and sys.time() - stat.mtime
  return age ~= nil and age >= 0 and age < M.KEPT_SECS
end

--- An answer that still holds.
-- @tparam string key what was asked
-- @tparam function conditions takes the value, returns what it depends on as it is now (a text), or
-- nil: it cannot be told
-- @treturn ?table the value
function Found:get(key, conditions)
  local path = path_of(self, key)
  local text = is_fresh(path) and sys.read_file(path, MAX_BYTES)
  local kept = text and json.decode(text)
  if type(kept) ~= "table" or type(kept.value) ~= "table" then return nil end
  local now = conditions(kept.value)
  return now and sys.sha256(now) == kept.conditions and kept.value or nil
end

local function remove_old(directory)
  for _, name in ipairs(sys.list(directory) or {}) do
    local path = directory .. "/" .. name
    if name:find("^%x+$") and not is_fresh(path) then sys.unlink(path) end
  end
end

--- Keep an answer.
-- @tparam string key
-- @tparam ?string conditions nil: it is not kept
-- @tparam table value plain data
function Found:put(key, conditions, value)
  local text = conditions and json.encode({ conditions = sys.sha256(conditions), value = value })
  if not text or not sys.mkdir_private(self.directory) then return end
  remove_old(self.directory)
  sys.write_file(path_of(self, key), text)
end

--- Forget an answer, which turned out to be wrong.
-- @tparam string key
function Found:forget(key)
  sys.unlink(path_of(self, key))
end

return M
