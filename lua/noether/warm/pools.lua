-- SPDX-License-Identifier: MIT
--- What an executor keeps ready for the calls to come, by shape (shape.lua).
--
-- A run asks the starters in their order; where none has anything, it starts cold. Nobody waits for
-- a pool, and nothing fails because of one: what could not be had, or ended before it read its
-- request, is done without. A pool grows with use: each run of a shape has one more process made
-- ready, beside the one that it took, until there are as many as may be. Nothing here runs by
-- itself: what happens between calls, the end of what waited too long, is the supervisors' own
-- doing, and noticed with the next call.
local errors = require "noether.error"
local compat = require "noether.compat"
local servers = require "noether.warm.server"
local shapes = require "noether.warm.shape"
local spares = require "noether.warm.spare"
local sys = require "noether.sys"

local M = {}

local Pools = {}
local metatable = { __name = "noether.pools", __index = Pools }

--- As many shapes are kept at once.
M.MAX_SHAPES = 8

local FIRST_PAUSE_SECS = 0.5 -- after a failure, and twice as long after each that follows
local MAX_PAUSE_SECS = 60
local LOOK_SECS = 0.005
local LIFE = 1.5 -- times idle_secs: who was made early in that time is not to end before it is over
local PLACES_EACH = 2 -- for copies of a server, for each that may wait
local MIN_PLACES = 16 -- more are made while half of them are used, one call after the other
local UNKNOWN_BYTES = 48 * 1024 * 1024 -- of a process of which none was seen

--- The pools of an executor.
-- @treturn table
function M.new()
  return compat.set_handle_metatable({
    shapes = {}, files = {}, busy = {}, retired = {}, owner = sys.getpid(), uses = 0,
  }, metatable)
end

-- In a fork of the host what waits is its parent's: the copies are let go of.
local function check_owner(self)
  if self.owner == sys.getpid() then return end
  self:close()
  self.owner, self.closed = sys.getpid(), nil
end

local function count(self)
  local total = 0
  for _, pool in pairs(self.shapes) do
    total = total + #pool.spares
  end
  return total
end

local function note_failure(pool, reason)
  pool.failures = pool.failures + 1
  pool.err = errors.clean(tostring(reason), 300)
  pool.retry_secs = sys.clock()
    + math.min(FIRST_PAUSE_SECS * 2 ^ (pool.failures - 1), MAX_PAUSE_SECS)
end

-- The fork server of a pool: its state, or nil where there is none. One that has failed is tried
-- again after a pause.
local function look_at_server(pool)
  local server = pool.server
  if not server then return nil end
  local state = server:look()
  if state == "unfit" or state == "ended" then
    if state == "unfit" then
      pool.unfit = server.reason
      pool.server_failures = pool.server_failures + 1
    end
    pool.server_retry_secs = sys.clock() + math.min(
      FIRST_PAUSE_SECS * 4 ^ pool.server_failures, MAX_PAUSE_SECS)
    pool.server = nil
    return nil
  end
  return state
end

local function start_server(pool)
  local settings = pool.settings
  local server, reason = servers.start(pool.shape, {
    places = math.max(PLACES_EACH * (settings.jobs or settings.spares), MIN_PLACES),
    idle_secs = LIFE * settings.idle_secs,
  })
  pool.server = server
  if server then return end
  pool.unfit, pool.server_failures = reason, pool.server_failures + 1
  pool.server_retry_secs = sys.clock() + MAX_PAUSE_SECS
end

-- One that has made as many copies as it may goes when the last of them has ended; the next one is
-- started in its place.
local function tend_server(self, pool)
  if not pool.shape.forks then return end
  local state = look_at_server(pool)
  if state == "serving" then
    pool.unfit, pool.server_failures = nil, 0
    if pool.server.made < pool.settings.calls then return end
    pool.server:retire()
    self.retired[#self.retired + 1], pool.server = pool.server, nil
  end
  if not pool.server and sys.clock() >= pool.server_retry_secs then start_server(pool) end
end

local function sweep_retired(self)
  local left = {}
  for _, server in ipairs(self.retired) do
    if server:look() == "retired" then left[#left + 1] = server end
  end
  self.retired = left
end

local function serves(pool)
  return look_at_server(pool) == "serving" and pool.server.made < pool.settings.calls
end

local function ready(pool)
  local total = 0
  for _, spare in ipairs(pool.spares) do
    if spare.is_ready then total = total + 1 end
  end
  return total
end

-- Those that have ended: as they should, after their time, or before.
local function sweep_pool(pool)
  local kept = {}
  for _, spare in ipairs(pool.spares) do
    if spare:look() then
      kept[#kept + 1] = spare
      if spare.is_ready then pool.failures = 0 end
    else
      local in_time = sys.clock() < spare.until_secs
      if in_time or not spare.is_ready then
        note_failure(pool, in_time and "ended before it had a request" or "was not ready in time")
      end
      spare:close()
    end
  end
  pool.spares = kept
end

local function sweep(self)
  local left = {}
  for _, spare in ipairs(self.busy) do
    if spare:is_over() then spare:tidy() else left[#left + 1] = spare end
  end
  self.busy = left
  sweep_retired(self)
  for key, pool in pairs(self.shapes) do
    sweep_pool(pool)
    local idle = sys.clock() - pool.used_secs > LIFE * pool.settings.idle_secs
    if idle and pool.server then pool.server:retire() end
    if idle and #pool.spares == 0 then self.shapes[key] = nil end
  end
end

-- The pool that was not used for longest, but for one.
local function least_used(self, but, is_candidate)
  local found
  for _, pool in pairs(self.shapes) do
    if pool ~= but and is_candidate(pool) and (not found or pool.used < found.used) then
      found = pool
    end
  end
  return found
end

local function drop_pool(self, pool)
  for _, spare in ipairs(pool.spares) do
    spare:close()
  end
  pool.spares = {}
  if pool.server then
    pool.server:retire()
    self.retired[#self.retired + 1], pool.server = pool.server, nil
  end
  self.shapes[pool.shape.key] = nil
end

local function any() return true end

local function has_spares(pool) return #pool.spares > 0 end

local function add_pool(self, shape, settings)
  local shapes_count = 0
  for _ in pairs(self.shapes) do
    shapes_count = shapes_count + 1
  end
  local pool = {
    shape = shape, settings = settings, spares = {}, failures = 0, retry_secs = 0, served = 0,
    bytes = UNKNOWN_BYTES, server_failures = 0, server_retry_secs = 0, had = 0, filling = true,
  }
  if shapes_count >= M.MAX_SHAPES then drop_pool(self, least_used(self, pool, any)) end
  self.shapes[shape.key] = pool
  return pool
end

--- The pool for a run, which there is from now on.
-- @tparam table job of which the plan is made
-- @treturn ?table nil where nothing can be kept ready for it
function Pools:pool_of(job)
  local settings = job.call.warm
  if self.closed or not settings or not shapes.is_fit(job) then return nil end
  check_owner(self)
  local shape = shapes.of(job, settings, self.files)
  if not shape then return nil end
  local pool = self.shapes[shape.key] or add_pool(self, shape, settings)
  self.uses = self.uses + 1
  pool.used_before, pool.used = pool.used, self.uses
  pool.used_secs, pool.settings = sys.clock(), settings
  return pool
end

-- The one that has waited longest. Of those that import something only one that has done so: an
-- import may never end.
local function pick(pool)
  for index, spare in ipairs(pool.spares) do
    if spare.is_ready or #pool.shape.imports == 0 then
      return table.remove(pool.spares, index)
    end
  end
  return nil
end

-- Gives it the request. What `task:await` takes; nil where it can do no more than go.
local function begin(self, spare, job, private, task)
  local running = spare:begin(job, private, task)
  if not running then
    spare:close()
    return nil
  end
  job.plan_that_ran = spare.plan
  self.busy[#self.busy + 1] = spare
  return running
end

local by_spare = { name = "spare" }

function by_spare.start(self, pool, job, private, task)
  sweep_pool(pool)
  local spare = pick(pool)
  while spare do
    local running = begin(self, spare, job, private, task)
    if running then return running end
    spare = pick(pool)
  end
  return nil
end

local by_fork = { name = "fork" }

-- Whether it may be asked. One that serves is not looked after now: the places that it would order
-- for later calls would be made on the processors that this one needs.
local function may_copy(pool)
  local server = pool.server
  if not server or server.state ~= "serving" then return serves(pool) end
  return server.made < pool.settings.calls
end

function by_fork.start(self, pool, job, private, task)
  if not may_copy(pool) then return nil end
  local spare = spares.copy(pool.server, pool.shape, LIFE * pool.settings.idle_secs)
  if not spare then return nil end
  return begin(self, spare, job, private, task) -- a tail call
end

--- Who is asked, in this order: `name` is what `info.start` says, `start(pools, pool, job, private,
-- task)` gives what `task:await` takes, or nil.
M.STARTERS = { by_spare, by_fork }

--- Start a run by what is ready for it.
-- @tparam table pool of @{Pools:pool_of}
-- @tparam table job
-- @tparam table private as of a transport
-- @tparam table task
-- @treturn ?table what `task:await` takes; nil: it is to start cold
-- @treturn ?string by what
function Pools:start(pool, job, private, task)
  for _, starter in ipairs(M.STARTERS) do
    local running = starter.start(self, pool, job, private, task)
    if running then
      pool.served = pool.served + 1
      return running, starter.name
    end
  end
  return nil
end

local function bytes_of_all(self)
  local bytes = 0
  for _, pool in pairs(self.shapes) do
    bytes = bytes + #pool.spares * pool.bytes
  end
  return bytes
end

-- They share; and of more shapes than spares those have some that are used more often: at the
-- second use since the other's last.
local function is_worth_more(pool, other)
  if #other.spares > #pool.spares + 1 then return true end
  return #pool.spares == 0 and pool.used_before ~= nil and pool.used_before > other.used
end

-- Makes room for one more of a pool, at the cost of one that is used less.
local function has_room(self, pool)
  local settings = pool.settings
  local function is_full()
    return count(self) >= settings.spares
      or bytes_of_all(self) + pool.bytes > settings.memory_bytes
  end
  while is_full() do
    local other = least_used(self, pool, has_spares)
    if not other or not is_worth_more(pool, other) then return false end
    table.remove(other.spares):close()
  end
  return true
end

local function add_spare(self, pool)
  if sys.clock() < pool.retry_secs or not has_room(self, pool) then return false end
  local wait_secs = LIFE * pool.settings.idle_secs
  local spare, err
  if serves(pool) then
    spare = spares.copy(pool.server, pool.shape, wait_secs)
    pool.lacks_place = not spare
    if not spare then return false end
  else
    spare, err = spares.start(pool.shape, wait_secs)
  end
  if not spare then
    note_failure(pool, err.message)
    return false
  end
  pool.spares[#pool.spares + 1] = spare
  return true
end

local function keep_waiting(pool)
  local idle_secs = pool.settings.idle_secs
  for _, spare in ipairs(pool.spares) do
    if spare.until_secs - sys.clock() < idle_secs then spare:wait_longer(LIFE * idle_secs) end
  end
end

-- What is started beside a run takes its processor: so a pool is filled until there is no more
-- room, and then not before it has lost most of what it had.
local function is_filling(pool)
  if #pool.spares <= math.max(pool.had / 4, 1) then pool.filling = true end
  return pool.filling
end

local function add_spares(self, pool, wanted)
  for _ = 1, wanted do
    pool.filling = add_spare(self, pool)
    if not pool.filling then break end
  end
  if count(self) >= pool.settings.spares then pool.filling = false end
  pool.had = #pool.spares
end

--- Make more ready, now that a run of this pool is under way.
-- @tparam table pool
-- @tparam number wanted how many more, at most
function Pools:renew(pool, wanted)
  sweep(self)
  tend_server(self, pool)
  keep_waiting(pool)
  if wanted > 0 and is_filling(pool) then add_spares(self, pool, wanted) end
end

--- Fill the pool of a run that nobody has asked for yet. Runs within a task.
-- @tparam table job of which the plan is made
-- @tparam number wanted
-- @tparam table task
-- @tparam function is_late
-- @treturn number how many are ready
function Pools:fill(job, wanted, task, is_late)
  local pool = self:pool_of(job)
  if not pool then return 0 end
  self:renew(pool, 0)
  while pool.server and not serves(pool) and not is_late() and not task.is_cancelled do
    task:pause(LOOK_SECS)
  end
  repeat
    pool.filling, pool.lacks_place = true, nil
    self:renew(pool, math.max(wanted - #pool.spares, 0))
    if pool.lacks_place then task:pause(LOOK_SECS) end
  until not pool.lacks_place or is_late() or task.is_cancelled
  while ready(pool) < #pool.spares and not is_late() and not task.is_cancelled do
    task:pause(LOOK_SECS)
    sweep_pool(pool)
  end
  return ready(pool)
end

--- What a run of this pool has shown.
-- @tparam table pool
-- @tparam table result
function Pools.learn(_, pool, result)
  local bytes = result.max_rss_bytes
  if bytes and bytes > 0 then
    pool.bytes = pool.has_learnt and math.min(pool.bytes, bytes) or bytes
    pool.has_learnt = true
  end
end

--- What waits ends: this machine has nothing left.
-- @treturn boolean whether anything did
function Pools:shrink()
  local had = count(self) > 0
  for _, pool in pairs(self.shapes) do
    for _, spare in ipairs(pool.spares) do
      spare:close()
    end
    pool.spares = {}
    if pool.server then pool.server:retire() end
    note_failure(pool, "there was nothing left for it on this machine")
  end
  return had
end

local function failed_imports(pool)
  if pool.server and next(pool.server.failed) then return pool.server.failed end
  for _, spare in ipairs(pool.spares) do
    if next(spare.failed) then return spare.failed end
  end
  return nil
end

local function summary(pool)
  return {
    language = pool.shape.language, isolation = pool.shape.plan.sandbox.backend,
    imports = pool.shape.imports, spares = #pool.spares, ready = ready(pool),
    served = pool.served, idle_secs = sys.clock() - pool.used_secs, problem = pool.err,
    fork_server = pool.server and pool.server.state, no_fork_server = pool.unfit,
    failed_imports = failed_imports(pool), bytes = #pool.spares * pool.bytes,
  }
end

--- What there is, most recently used first.
-- @treturn {table,...}
function Pools:list()
  check_owner(self)
  sweep(self)
  local list = {}
  for _, pool in pairs(self.shapes) do
    list[#list + 1] = pool
  end
  table.sort(list, function(a, b) return a.used > b.used end)
  for index, pool in ipairs(list) do
    list[index] = summary(pool)
  end
  return list
end

--- End all that waits. More calls do nothing.
function Pools:close()
  self.closed = true
  for _, pool in pairs(self.shapes) do
    for _, spare in ipairs(pool.spares) do
      spare:close()
    end
    if pool.server then pool.server:close() end
  end
  for _, server in ipairs(self.retired) do
    server:close()
  end
  for _, spare in ipairs(self.busy) do
    spare:tidy()
  end
  self.retired = {}
  self.shapes, self.busy = {}, {}
end

metatable.__gc = Pools.close
metatable.__close = Pools.close

return M
