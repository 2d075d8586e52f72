-- SPDX-License-Identifier: MIT
--- Stages begun in each way there is: one suite over all of them.
--
-- By "spare" each run of a shape that can be had ahead is begun by a process that waited: one is
-- started for it, and waited for until it is ready, so that no run happens to start cold. By "fork"
-- each that has a fork server is a copy of one, which is waited for; the others start cold.
local config = require "noether.executor.config"
local pools = require "noether.warm.pools"
local settings = require "noether.warm.settings"
local system = require "system"
local tables = require "noether.tables"

local M = {}

--- All of them, as `info.start` names them.
M.ALL = { "cold", "spare", "fork" }

local by_spare, by_fork = pools.STARTERS[1], pools.STARTERS[2]
local fork = by_fork.start
local start, new, for_call = by_spare.start, pools.new, config.for_call
local warm = settings.check("specs", true)
local is_warm
local Pools = getmetatable(new()).__index
local renew = Pools.renew

local READY_SECS = 60

local function do_nothing() end

-- All there are, also of executors that nobody closes.
local open = setmetatable({}, { __mode = "k" })

function pools.new()
  local made = new()
  open[made] = true
  return made
end

-- One that ends by itself - a machine on which everybody is busy may have no room for it - is
-- replaced, as a pool would do after a pause.
local function make_ready(self, pool)
  local deadline = system.monotime() + READY_SECS
  while system.monotime() < deadline do
    pool.retry_secs = 0
    if not (pool.spares[1] and pool.spares[1]:look()) then renew(self, pool, 1) end
    local spare = pool.spares[1]
    if not spare or spare.is_ready then return end
    system.sleep(0.002)
  end
end

local function start_surely(self, pool, ...)
  make_ready(self, pool)
  local running = start(self, pool, ...)
  return running or error("no process could be made ready: " .. tostring(pool.err), 0)
end

local function is_settled(pool)
  local server = pool.server
  local state = server and server:look()
  return state ~= "starting" and state ~= "proving"
    and (state ~= "serving" or server.process:places() > 0)
end

local function fork_surely(self, pool, ...)
  if not pool.shape.forks then return nil end
  local deadline = system.monotime() + READY_SECS
  pool.server_retry_secs = 0
  renew(self, pool, 0)
  while not is_settled(pool) and system.monotime() < deadline do system.sleep(0.002) end
  local running = fork(self, pool, ...)
  return running or error("no copy could be made: " .. tostring(pool.unfit), 0)
end

-- Also of executors that were made before.
function config.for_call(...)
  if not is_warm then return for_call(...) end -- a tail call: who is told of a mistake
  local call = for_call(...)
  if call.warm ~= nil then return call end
  return tables.merged(call, { warm = warm })
end

--- Begin all runs in one way from now on.
-- @tparam string way of @{ALL}
function M.use(way)
  is_warm = way ~= "cold"
  by_spare.start = way == "spare" and start_surely or way == "fork" and do_nothing or start
  by_fork.start = way == "fork" and fork_surely or way == "spare" and do_nothing or fork
  Pools.renew = is_warm and do_nothing or renew
end

--- What `info.start` says of a run in that way: where there is no fork server, cold.
-- @tparam string way
-- @tparam string backend
-- @tparam string language
-- @treturn string
function M.told(way, backend, language)
  if way ~= "fork" or (backend == "native" and language == "python") then return way end
  return "cold"
end

--- What waits is no leak of the test that it was made for.
function M.tidy()
  if not is_warm then return end
  for made in pairs(open) do
    local was_closed = made.closed
    made:close()
    made.closed = was_closed
  end
end

-- SPEC_START=spare, or fork: all specs.
M.use(os.getenv "SPEC_START" or "cold")

return M
