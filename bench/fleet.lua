-- SPDX-License-Identifier: MIT
--- A fleet on this machine: a Redis server and workers with one job each. How much it carries,
-- beside `map` in one process, of stages that take 10 ms; and how much later than at once a stage
-- is begun and its answer is there, in round trips of a PING.
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local KEY = "a secret of the bench"
local STAGES = 30
local MOST_PINGS, MOST_PINGS_P99 = 12, 40

local STAGE = {
  language = "python", effects = { "Pure" },
  code = "import time\ndef execute(n):\n    time.sleep(0.01)\n    return n\n",
}

-- The command is a link, whose own name says what it does.
local BIN = assert(sys.realpath((os.getenv "BENCH_BUILD" or "build") .. "/bin"))

local function spawn(argv)
  return assert(noether.spawn(argv, { isolation = "none", env = { NOETHER_FLEET_KEY = KEY } }))
end

local function start_server(dir)
  local server = spawn{ "redis-server", "--port", "0", "--unixsocket", dir .. "/r", "--dir", dir,
    "--save", "" }
  while not sys.stat(dir .. "/r") do sys.poll({}, 0.01, {}) end
  return server, "unix://" .. dir .. "/r"
end

local function start_worker(url)
  return spawn{ BIN .. "/noether", "worker", "--url", url, "--jobs", "1", "--warm" }
end

local function remote(url, queue, again)
  return noether.check(noether.remote{ url = url, queue = queue, key = KEY,
    repeat_effects = again })
end

local function map(executor)
  local inputs = {}
  for n = 1, STAGES do inputs[n] = n end
  return function()
    return measure.time(function()
      for n, record in ipairs(executor:map(STAGE, inputs, { jobs = 2 })) do
        assert(record.output == n, record.err)
      end
    end) / STAGES
  end
end

-- One round trip, as a task here waits for it.
local function ping(client)
  return function()
    return measure.time(function()
      local answered
      client:ask({ "PING" }, function(value) answered = assert(value) end)
      client:flush()
      while not answered do
        sys.poll({ client:pollfd() }, 1, {})
        client:step()
      end
    end)
  end
end

local function open_client(url)
  local wire, urls = require "noether.fleet.wire", require "noether.fleet.url"
  local client = assert(wire.new("bench", urls.read(url), {}))
  while client.state ~= "open" do
    client:step()
    sys.poll({ client:pollfd() }, 0.01, {})
  end
  return client
end

-- A stage that is warm takes no time: what is left is the way there and back.
local INLINE = [[
local noether = require "noether"
noether.check(noether.worker{ url = arg[1], queue = "inline", key = arg[2], jobs = 1,
  executor = noether.inline{ same = function(value) return value end } }):run()
]]

-- What may run again is begun before the server has noted it; what may not, one trip later.
local function job(executor)
  return function()
    return measure.time(function() assert(executor:execute("same", 1) == 1) end)
  end
end

local function start_inline(url, dir)
  assert(sys.write_file(dir .. "/inline.lua", INLINE))
  return spawn{ BIN .. "/noether-lua", dir .. "/inline.lua", url, KEY }
end

local function pings(name, value, max)
  return { name = name, value = value, unit = "PINGs", max = max }
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  if not sys.find_program("redis-server", os.getenv "PATH") then return {} end
  local dir = assert(sys.mkdtemp("/tmp/noether-bench-"))
  local server, url = start_server(dir)
  local started = { server, start_worker(url), start_worker(url),
    start_inline(url, dir) }
  local fleet, direct, plain = remote(url, "stages"), remote(url, "inline"),
    noether.check(noether.executor())
  local again = remote(url, "inline", true)
  local client = open_client(url)
  local carried = measure.take_turns({
    { name = "fleet", run = map(fleet) }, { name = "map", run = map(plain) },
  }, opts.rounds or 5)
  local ways = measure.take_turns({
    { name = "ping", run = ping(client) },
    { name = "job", run = job(direct) }, { name = "again", run = job(again) },
  }, (opts.rounds or 7) * 40)
  for _, handle in ipairs{ fleet, direct, again, plain, client } do handle:close() end
  for i = #started, 1, -1 do started[i]:close() end
  sys.remove_tree(dir)
  return {
    measure.row("fleet: a stage of 10 ms, two workers / map", carried.fleet, carried.map, 1 / 0.9),
    pings("fleet: there and back, Pure, median", ways.again.p50 / ways.ping.p50, MOST_PINGS),
    pings("fleet: there and back, Pure, p99", ways.again.p99 / ways.ping.p50, MOST_PINGS_P99),
    pings("fleet: there and back, at most once, median", ways.job.p50 / ways.ping.p50, MOST_PINGS),
    pings("fleet: there and back, at most once, p99", ways.job.p99 / ways.ping.p50,
      MOST_PINGS_P99),
  }
end

return M
