-- SPDX-License-Identifier: MIT
--- Who notices that a worker died, and takes over what it held: every worker, for the others.
--
-- Each worker counts its heartbeats in a key. That one lives is known by the count going on, and
-- that it died by this process's own clock having gone on for `dead_secs` meanwhile: neither how
-- long a job has been idle, nor whether the key has expired, nor what the server's clock says
-- decides. After a reconnection, or where this process itself stood still, all begins anew, so that
-- whoever could not speak to the server has time to.
--
-- Before anything is taken, the server is asked, by a script, whether it is still so. What a dead
-- worker held comes before what waits in the queue: a worker without a free place looks, too, and
-- then takes nothing new until it has one. Else a fleet that is busy would never take it over.
local errors = require "noether.error"
local keys = require "noether.fleet.keys"
local sys = require "noether.sys"

local M = {}

local Reaper = {}
local metatable = { __index = Reaper }

--- More workers than this that died with one job are no accident.
M.MOST_TIMES = 3

local LOOKS = 5 -- in the time after which somebody is dead
local WANTED_SECS = 0.05 -- for what only lacked a place
local MANY_WORKERS = 100 -- more are looked at less often
local AT_ONCE = 100

--- @tparam table worker
-- @treturn table
function M.new(worker)
  return setmetatable({ worker = worker, others = {}, looked = sys.clock(), every_secs = 0,
    claiming = 0 }, metatable)
end

--- Nothing is known any more.
function Reaper:forget()
  self.others, self.looked, self.looking, self.wants = {}, sys.clock(), false, false
end

local function retire(self, name, seen)
  local worker = self.worker
  worker.command:script("retire", { worker.names.jobs, worker.names.worker(name) },
    { keys.GROUP, name, seen })
end

-- Whether that was asked.
local function reap(self, name, seen, entry, started_key)
  local worker = self.worker
  return worker.command:script("reap",
    { worker.names.jobs, worker.names.worker(name), started_key },
    { keys.GROUP, entry, name, seen, worker.name },
    function(value)
      self.claiming = self.claiming - 1
      if not value then return end
      worker.log("warn", ("took over a job of worker %s, which died"):format(
        errors.clean(name, 200)))
      worker:inherit(entry, value[1], value[2], value[3] or nil)
    end)
end

-- The id stands in the header: it is only used to find who has started it, which whoever can write
-- here could say as well.
local function reap_entry(self, name, seen, entry)
  local worker = self.worker
  local function take(found)
    local list = found and found[1] and found[1][2]
    local id
    for i = 1, #(list or {}) - 1, 2 do
      if list[i] == "h" then id = list[i + 1]:match('"id":"(%x+)"') end
    end
    return reap(self, name, seen, entry, worker.names.started(id or "unknown"))
  end
  local is_asked = worker.command:ask({ "XRANGE", worker.names.jobs, entry, entry },
    function(found, err)
      if err or not take(found) then self.claiming = self.claiming - 1 end
    end)
  if is_asked then self.claiming = self.claiming + 1 end
end

-- What a dead worker holds; `look` counts what there is no place for.
local function reap_all(self, name, seen, look)
  local worker = self.worker
  worker.command:ask({ "XPENDING", worker.names.jobs, keys.GROUP, "-", "+", ("%d"):format(AT_ONCE),
    name }, function(list)
    local places = worker:free_places()
    for i, item in ipairs(list or {}) do
      if i <= places then reap_entry(self, name, seen, item[1]) end
    end
    look.left = look.left + math.max(#(list or {}) - places, 0)
    look.dead = look.dead - 1
    if look.dead == 0 then self.wants = look.left > 0 end
    if list and #list == 0 then retire(self, name, seen) end
  end)
end

-- What is known of a worker now; true if it is dead.
local function judge(self, name, value, now)
  local known = self.others[name]
  if not known or known.value ~= value then
    self.others[name] = { value = value, since = now }
    return false
  end
  return now - known.since >= self.worker.settings.dead_secs
end

local function judge_all(self, names, values)
  local now, others, dead = sys.clock(), {}, {}
  for i, name in ipairs(names) do
    local value = values[i] or ""
    if judge(self, name, value, now) then dead[#dead + 1] = { name = name, seen = value } end
    others[name] = self.others[name]
  end
  self.others = others
  if #dead == 0 then self.wants = false end
  local look = { dead = #dead, left = 0 }
  for _, one in ipairs(dead) do
    reap_all(self, one.name, one.seen, look)
  end
end

-- Whoever holds something, by name; not this worker itself.
local function holders(self, summary)
  local names = {}
  for _, item in ipairs(summary[4] or {}) do
    if item[1] ~= self.worker.name then names[#names + 1] = item[1] end
  end
  return names
end

local function look(self)
  local worker = self.worker
  self.looking = true
  worker.command:ask({ "XPENDING", worker.names.jobs, keys.GROUP }, function(summary)
    self.looking = false
    if not summary then return end
    local names = holders(self, summary)
    local interval = worker.settings.dead_secs / LOOKS
    self.every_secs = interval * math.max(1, #names / MANY_WORKERS)
    if #names == 0 then
      self.others, self.wants = {}, false
      return
    end
    local words = { "MGET" }
    for i = 1, math.min(#names, 1000) do
      words[i + 1] = worker.names.worker(names[i])
    end
    worker.command:ask(words, function(values)
      if values then judge_all(self, names, values) end
    end)
  end)
end

--- Look, if it is time to: at once, where there is something to be taken over and a place is free.
function Reaper:step()
  local now = sys.clock()
  local passed = now - self.looked
  local is_time = passed >= math.max(self.every_secs, self.worker.settings.dead_secs / LOOKS)
  local is_wanted = self.wants and passed >= WANTED_SECS and self.worker:free_places() > 0
  if not (is_time or is_wanted) then return end
  -- This process stood still, and so perhaps others.
  if passed > self.every_secs * 3 + self.worker.settings.dead_secs then self:forget() end
  self.looked = now
  if not self.looking then look(self) end
end

return M
