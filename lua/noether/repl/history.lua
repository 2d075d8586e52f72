-- SPDX-License-Identifier: MIT
--- What was typed, kept in a file for the next session.
--
-- `$XDG_STATE_HOME/noether/history`, else `~/.local/state/noether/history`, for its owner alone.
-- Each entry is appended when it is typed, so that sessions side by side lose nothing of one
-- another's.
-- A line that begins with a tab goes on with the entry above it.
--
-- Where there is no such place, or it cannot be used, nothing is kept and nothing is said: nobody
-- starts an interpreter for its history.
local sys = require "noether.sys"

local M = {}

local PRIVATE = 384 -- 0600
local MAX_BYTES = 1024 * 1024

local History = {}
local metatable = { __name = "noether.repl.history", __index = History }

local function directory(state_home, home)
  if state_home and state_home:sub(1, 1) == "/" then return state_home .. "/noether" end
  if home and home:sub(1, 1) == "/" then return home .. "/.local/state/noether" end
end

-- A link to a file is the user's own doing, and followed.
local function usable_path(dir, name)
  if not dir or not sys.mkdir_private(dir) then return nil end
  local path = sys.realpath(dir .. "/" .. name) or dir .. "/" .. name
  local stat = sys.stat(path)
  if stat and stat.type ~= "file" then return nil end
  if stat and stat.mode ~= PRIVATE then sys.chmod(path, PRIVATE) end
  return path
end

-- The end of the file, from the beginning of an entry.
local function read_tail(path, bytes)
  local file = path and io.open(path, "rb")
  if not file then return "" end
  local size = file:seek("end") or 0
  file:seek("set", math.max(0, size - bytes))
  local text = file:read("*a") or ""
  file:close()
  if size <= bytes then return text end
  local first = ("\n" .. text):find("\n[^\t\n]", 2)
  return first and text:sub(first) or ""
end

local function decode(text)
  local entries = {}
  for line in text:gmatch("[^\n]+") do
    if line:sub(1, 1) == "\t" and #entries > 0 then
      entries[#entries] = entries[#entries] .. "\n" .. line:sub(2)
    else
      entries[#entries + 1] = line
    end
  end
  return entries
end

local function encode(entry)
  return entry:gsub("\n", "\n\t") .. "\n"
end

--- Open the history of a user.
-- @tparam ?string state_home `$XDG_STATE_HOME`
-- @tparam ?string home `$HOME`
-- @tparam[opt="history"] string name of the file
-- @treturn table with `entries`, the oldest first, and `add`
function M.open(state_home, home, name)
  local path = usable_path(directory(state_home, home), name or "history")
  return setmetatable({ path = path, entries = decode(read_tail(path, MAX_BYTES)) }, metatable)
end

-- One write at the end of the file, whoever else writes there.
local function append(path, text)
  if not sys.stat(path) then sys.write_file(path, "", PRIVATE) end
  local file = io.open(path, "ab")
  if not file then return end
  file:setvbuf("full", #text + 1)
  file:write(text)
  file:close()
end

local function shorten(path)
  local stat = sys.stat(path)
  if not stat or stat.size <= 2 * MAX_BYTES then return end
  sys.write_file(path, read_tail(path, MAX_BYTES), PRIVATE)
end

--- Keep an entry. One that begins with a blank is private, and not kept; nor is one that repeats
-- the last.
-- @tparam string entry
-- @treturn boolean whether it was one to remember
function History:add(entry)
  if entry:find("^%s") or entry == "" or entry == self.entries[#self.entries] then return false end
  self.entries[#self.entries + 1] = entry
  if not self.path then return true end
  local lock = sys.lock(self.path .. ".lock")
  append(self.path, encode(entry))
  if lock then
    shorten(self.path)
    lock:close()
  end
  return true
end

return M
