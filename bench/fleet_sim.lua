-- SPDX-License-Identifier: MIT
--- A fleet that is too large to be had here, simulated: how long jobs wait, by what stages there
-- are, how full the fleet is, whether interpreters wait, and what dies.
--
--     noether-lua bench/fleet_sim.lua [workers=1000 places=4 percent=100 seed=1]
--
-- (`percent` of each row's time.)
--
-- What is simulated are the rules of lua/noether/fleet: workers ask for as many jobs as they have
-- free places, the server gives jobs out in order, whoever is dead is noticed by the others' looks,
-- what a dead worker held comes before what waits. What is taken from elsewhere is in ASSUMED, and
-- is printed. The same words give the same figures.
local M = {}

--- What the figures rest on.
M.ASSUMED = {
  cold_secs = 0.050, -- to start an interpreter in its sandbox: docs/warm.md
  spare_secs = 0.004, -- to have one that waited begin
  make_secs = 0.050, -- to make a spare, beside the work; a worker makes one after the other
  request_secs = 8e-6, -- of the server's for each request, scripts among them
  requests = 6, -- of a job: queued, given out, started, ended, fetched, cleared
  key_secs = 1e-6, -- of the server's for each heartbeat that is looked at
  way_secs = 0.001, -- there and back, with nobody in the way
  dead_secs = 15, -- as `noether worker` has it
  down_secs = 60, -- until a worker that died is there again
  pure = 0.5, -- of all jobs may run again
}

--- Kinds of stages: `secs` at the median, how far they are spread (the deviation of the logarithm),
-- and how many of all jobs they are.
M.MIXES = {
  short = { { secs = 0.010, spread = 0.3, part = 1 } },
  mixed = { { secs = 0.010, spread = 0.3, part = 0.8 }, { secs = 1, spread = 0.8, part = 0.2 } },
  long = {
    { secs = 0.010, spread = 0.3, part = 0.80 }, { secs = 1, spread = 0.8, part = 0.18 },
    { secs = 60, spread = 0.8, part = 0.02 },
  },
}

-- The first part of the time, in which the fleet fills, is not counted.
local WARM_UP = 0.2

-- Park and Miller's generator: the same everywhere.
local function new_chance(seed)
  local state = seed
  return function()
    state = state * 48271 % 2147483647
    return state / 2147483647
  end
end

local function normal(chance)
  return math.sqrt(-2 * math.log(chance())) * math.cos(2 * math.pi * chance())
end

-- A heap of events by their time; among equals, in the order in which they came.
local Heap = {}
Heap.__index = Heap

local function is_before(a, b)
  return a.at < b.at or a.at == b.at and a.n < b.n
end

function Heap:push(at, fn, what)
  self.n = self.n + 1
  local event, i = { at = at, fn = fn, what = what, n = self.n }, #self + 1
  while i > 1 and is_before(event, self[i // 2]) do
    self[i] = self[i // 2]
    i = i // 2
  end
  self[i] = event
end

function Heap:pop()
  local top, last = self[1], table.remove(self)
  if not self[1] then return top end
  local i, child = 1, 2
  while child <= #self do
    if child < #self and is_before(self[child + 1], self[child]) then child = child + 1 end
    if not is_before(self[child], last) then break end
    self[i] = self[child]
    i, child = child, 2 * child
  end
  self[i] = last
  return top
end

-- A list from which the first is taken.
local Queue = {}
Queue.__index = Queue

local function new_queue()
  return setmetatable({ first = 1, last = 0 }, Queue)
end

function Queue:add(item)
  self.last = self.last + 1
  self[self.last] = item
end

function Queue:take()
  local item = self[self.first]
  if not item then return nil end
  self[self.first] = nil
  self.first = self.first + 1
  return item
end

local function mean_secs(kind)
  return kind.secs * math.exp(kind.spread ^ 2 / 2)
end

local Fleet = {}
Fleet.__index = Fleet

local function new_worker(self, n)
  return { n = n, free = self.places, spares = self.spares, held = {}, is_up = true }
end

--- @tparam table given `workers`, `places`, `secs` (while jobs come), `seed`, `mix`, `load`,
-- `batch` (how many come at once), `spares` (of each worker), `mtbf_secs` (of one; nil: none dies)
-- @treturn table
local function new_fleet(given)
  local self = setmetatable({
    chance = new_chance(given.seed or 1), events = setmetatable({ n = 0 }, Heap), now = 0,
    waiting = new_queue(), left = new_queue(), ready = new_queue(), server_free = 0, busy_secs = 0,
    waits = {}, found = 0, started = 0, queued = 0, done = 0, died = 0, again = 0, deaths = 0,
    taken_over = {}, all = {},
  }, Fleet)
  for name, value in pairs(given) do self[name] = value end
  self.kinds = M.MIXES[given.mix]
  for n = 1, self.workers do self.all[n] = new_worker(self, n) end
  return self
end

-- The server does one thing after the other.
function Fleet:ask(requests, keys)
  local secs = requests * M.ASSUMED.request_secs + (keys or 0) * M.ASSUMED.key_secs
  local begins = math.max(self.now, self.server_free)
  self.server_free = begins + secs
  self.busy_secs = self.busy_secs + secs
  return self.server_free - self.now
end

function Fleet:new_job()
  local at, kind = self.chance(), nil
  for _, one in ipairs(self.kinds) do
    kind = one
    at = at - one.part
    if at <= 0 then break end
  end
  return {
    since = self.now, secs = kind.secs * math.exp(kind.spread * normal(self.chance)),
    is_pure = self.chance() < M.ASSUMED.pure, counts = self.now >= self.secs * WARM_UP,
  }
end

local function start_secs(self, worker)
  self.started = self.started + 1
  if worker.spares < 1 then return M.ASSUMED.cold_secs end
  worker.spares, self.found = worker.spares - 1, self.found + 1
  self:make_spare(worker)
  return M.ASSUMED.spare_secs
end

function Fleet:make_spare(worker)
  if worker.makes or worker.spares >= self.spares or not worker.is_up then return end
  worker.makes = true
  self.events:push(self.now + M.ASSUMED.make_secs, Fleet.spare_made, worker)
end

function Fleet:spare_made(worker)
  worker.makes = false
  if worker.is_up then worker.spares = worker.spares + 1 end
  self:make_spare(worker)
end

function Fleet:give(worker, job)
  local wait = self:ask(M.ASSUMED.requests) + M.ASSUMED.way_secs
  worker.free = worker.free - 1
  worker.held[job] = true
  job.worker = worker
  if job.counts then self.waits[#self.waits + 1] = self.now - job.since + wait end
  self.events:push(self.now + wait + start_secs(self, worker) + job.secs, Fleet.ended,
    { job = job, worker = worker })
end

-- What a dead worker held goes first. Workers that have a place free stand in a row.
function Fleet:give_out()
  while self.left[self.left.first] or self.waiting[self.waiting.first] do
    local worker = self.ready:take()
    if not worker then return end
    worker.in_row = false
    if worker.is_up and worker.free > 0 then
      self:give(worker, self.left:take() or self.waiting:take())
      self:stand_in_row(worker)
    end
  end
end

function Fleet:stand_in_row(worker)
  if worker.in_row or worker.free < 1 or not worker.is_up then return end
  worker.in_row = true
  self.ready:add(worker)
end

function Fleet:ended(what)
  local job, worker = what.job, what.worker
  if job.worker ~= worker or not worker.held[job] then return end -- it died meanwhile
  worker.held[job] = nil
  worker.free = worker.free + 1
  self.done = self.done + 1
  self:stand_in_row(worker)
  self:give_out()
end

function Fleet:arrived()
  for _ = 1, self.batch do self.waiting:add(self:new_job()) end
  self.queued = self.queued + self.batch
  local at = self.now - math.log(self.chance()) * self.batch / self.rate
  if at < self.secs then
    self.events:push(at, Fleet.arrived)
  else
    self.is_last = true
  end
  self:give_out()
end

-- How often each looks at the others: seldom, where there are many (reaper.lua).
local function look_secs(self)
  return M.ASSUMED.dead_secs / 5 * math.max(1, self.workers / 100)
end

-- All that is asked for the sake of knowing who lives: not by all at the same moment.
function Fleet:kept_alive()
  local beat_secs = M.ASSUMED.dead_secs / 5
  local every = beat_secs / 100
  local looks = self.workers * every / look_secs(self)
  self:ask(self.workers * every / beat_secs + 2 * looks, self.workers * looks)
  if not self:is_over() then self.events:push(self.now + every, Fleet.kept_alive) end
end

function Fleet:is_over()
  return self.is_last and self.done + self.died == self.queued
end

function Fleet:failed()
  local worker = self.all[math.ceil(self.chance() * self.workers)]
  if worker.is_up then
    local every = look_secs(self)
    -- Whoever had looked just before looks again so often, until dead_secs have passed.
    local notice = math.ceil(M.ASSUMED.dead_secs / every) * every
      + self.chance() * every / self.workers
    worker.is_up, worker.spares = false, 0
    self.deaths = self.deaths + 1
    if next(worker.held) then self.taken_over[#self.taken_over + 1] = notice end
    self.events:push(self.now + notice, Fleet.noticed, { held = worker.held, since = self.now })
    worker.held = {}
    self.events:push(self.now + M.ASSUMED.down_secs, Fleet.came_back, worker)
  end
  if not self:is_over() then
    self.events:push(self.now - math.log(self.chance()) * self.mtbf_secs / self.workers,
      Fleet.failed)
  end
end

local function in_order(held)
  local list = {}
  for job in pairs(held) do list[#list + 1] = job end
  table.sort(list, function(a, b) return a.since < b.since end)
  return list
end

function Fleet:noticed(what)
  for _, job in ipairs(in_order(what.held)) do
    if job.is_pure then
      self.again = self.again + 1
      self.left:add(job)
    else
      self.died = self.died + 1
    end
  end
  self:give_out()
end

function Fleet:came_back(worker)
  worker.is_up, worker.free, worker.spares = true, self.places, 0
  self:make_spare(worker)
  self:stand_in_row(worker)
  self:give_out()
end

local function percentile(sorted, part)
  return sorted[math.max(1, math.ceil(#sorted * part))] or 0
end

local function figures(self)
  table.sort(self.waits)
  table.sort(self.taken_over)
  return {
    p50 = percentile(self.waits, 0.5), p99 = percentile(self.waits, 0.99),
    most = self.waits[#self.waits] or 0, found = self.found / math.max(self.started, 1),
    done = self.done, died = self.died, again = self.again, deaths = self.deaths,
    queued = self.queued, server = self.busy_secs / math.max(self.now, 1e-9), rate = self.rate,
    secs = self.now,
    noticed = self.taken_over[#self.taken_over] or 0,
  }
end

--- Simulate one fleet to the end of its last job.
-- @tparam table given as of `new_fleet`
-- @treturn table `p50`, `p99`, `most` (seconds in the queue), `found` (the part of all starts that
-- found a spare), `queued`, `done`, `died`, `again` (jobs), `deaths` (of workers), `noticed` (the
-- longest until what a dead worker held was given on), `server` (the part of its time that it was
-- busy), `rate`, `secs`
function M.simulate(given)
  local self, mean = new_fleet(given), 0
  for _, kind in ipairs(self.kinds) do mean = mean + kind.part * mean_secs(kind) end
  self.rate = self.load * self.workers * self.places / mean
  for _, worker in ipairs(self.all) do self:stand_in_row(worker) end
  self.events:push(0, Fleet.arrived)
  self.events:push(0, Fleet.kept_alive)
  if self.mtbf_secs then self.events:push(0, Fleet.failed) end
  while not self:is_over() do
    local event = self.events:pop()
    self.now = event.at
    event.fn(self, event.what)
  end
  return figures(self)
end

local HOUR = 3600

--- What is printed, row by row.
M.ROWS = {
  { mix = "mixed", load = 0.5, batch = 1, spares = 8, secs = 12 },
  { mix = "mixed", load = 0.95, batch = 1, spares = 8, secs = 12 },
  { mix = "mixed", load = 0.5, batch = 20000, spares = 8, secs = 30 },
  { mix = "mixed", load = 0.5, batch = 20000, spares = 0, secs = 30 },
  { mix = "mixed", load = 0.8, batch = 20000, spares = 8, secs = 30 },
  { mix = "long", load = 0.5, batch = 20000, spares = 8, secs = 400 },
  { mix = "long", load = 0.8, batch = 1, spares = 8, secs = 400 },
  { mix = "long", load = 0.8, batch = 1, spares = 8, secs = 400, mtbf_secs = 24 * HOUR },
  { mix = "long", load = 0.8, batch = 1, spares = 8, secs = 400, mtbf_secs = HOUR },
  { mix = "short", load = 0.02, batch = 1, spares = 8, secs = 6 },
  { mix = "short", load = 0.02, batch = 20000, spares = 8, secs = 6 },
  { mix = "short", load = 0.06, batch = 1, spares = 8, secs = 6 },
}

local FORMAT = "| %s | %.2f | %d | %d | %s | %.0f | %s | %s | %s | %.2f | %d | %d | %.2f |"

local function shown(secs)
  if secs < 1 then return ("%.0f ms"):format(secs * 1000) end
  return ("%.1f s"):format(secs)
end

--- A row as text of a table.
-- @tparam table given
-- @tparam table found
-- @treturn string
function M.line(given, found)
  local mtbf = given.mtbf_secs and ("%g h"):format(given.mtbf_secs / HOUR) or "never"
  return FORMAT:format(given.mix, given.load, given.batch, given.spares, mtbf, found.rate,
    shown(found.p50), shown(found.p99), shown(found.most), found.found, found.again, found.died,
    found.server)
end

M.HEAD = "| stages | load | at once | spares | a worker dies every | jobs/s | queue p50 | p99 | "
  .. "longest | found a spare | run again | dead | server busy |\n"
  .. "|---|---|---|---|---|---|---|---|---|---|---|---|---|"

--- The assumptions as lines.
-- @treturn string
function M.assumptions()
  local names, lines = {}, {}
  for name in pairs(M.ASSUMED) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do lines[i] = ("%-14s%g"):format(name, M.ASSUMED[name]) end
  for _, mix in ipairs{ "short", "mixed", "long" } do
    local parts = {}
    for i, kind in ipairs(M.MIXES[mix]) do
      parts[i] = ("%g of %g s"):format(kind.part, kind.secs)
    end
    lines[#lines + 1] = ("%-14s%s"):format(mix, table.concat(parts, ", "))
  end
  return table.concat(lines, "\n")
end

local function main(words)
  local given = { workers = 1000, places = 4, percent = 100, seed = 1 }
  for _, word in ipairs(words) do
    local name, value = word:match("^(%l+)=(%d+)$")
    if not given[name] then error("expected workers=N places=N percent=N seed=N", 0) end
    given[name] = tonumber(value)
  end
  print(M.assumptions() .. "\n")
  print(M.HEAD)
  for _, row in ipairs(M.ROWS) do
    local one = {}
    for _, part in ipairs{ given, row } do
      for name, value in pairs(part) do one[name] = value end
    end
    one.secs = row.secs * given.percent / 100
    print(M.line(row, M.simulate(one)))
  end
end

if arg and (arg[0] or ""):find("fleet_sim%.lua$") then main(arg) end

return M
