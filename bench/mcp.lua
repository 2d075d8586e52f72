-- SPDX-License-Identifier: MIT
--- A tool of `noether mcp`, against the same call in Lua; how soon a server answers, and whether it
-- does while it has much to do.
local clients = require "noether.mcp.client"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local bin = assert(sys.realpath(os.getenv("BENCH_BUILD") or "build")) .. "/bin/"
local CODE = "def execute(input):\n    return input['n'] * 2\n"
local SLEEPS = "execute() { read -r -t 5 </dev/zero; echo 1; }"

local function start(...)
  local client = noether.check(clients.start({ bin .. "noether", "mcp", ... },
    { isolation = "none" }, 60))
  noether.check(client:greet())
  return client
end

local function ask(client, method, params)
  local task = client:ask(method, params)
  local result = noether.check(task:wait())
  task:close()
  return result
end

local function through_lua(executor)
  local stage = { language = "python", code = CODE, effects = {} }
  return function()
    return measure.time(function()
      assert(noether.check(executor:execute(stage, { n = 21 })) == 42)
    end)
  end
end

local function through_tool(client)
  local params = { name = "run_python", arguments = { code = CODE, input = { n = 21 } } }
  return function()
    return measure.time(function()
      assert(clients.value(ask(client, "tools/call", params)) == "42")
    end)
  end
end

-- What a client waits for when it starts a server; how the server ends is not counted.
local function to_the_list(...)
  local words = { ... }
  return function()
    local client
    local secs = measure.time(function()
      client = start(table.unpack(words))
      assert(#noether.check(client:tools()) > 0)
    end)
    client:close()
    return secs
  end
end

local function of_nothing()
  return measure.time(function()
    assert(noether.run({ bin .. "noether-lua", "-e", "" }, { isolation = "none" }).ok)
  end)
end

-- Pings while so many calls are at work or wait for their turn.
local function pings(client, calls, count)
  local begun = {}
  for i = 1, calls do
    begun[i] = client:ask("tools/call", { name = "run_bash", arguments = { code = SLEEPS } })
    begun[i]:step()
  end
  local samples = {}
  for i = 1, count do
    samples[i] = measure.time(function() ask(client, "ping", {}) end)
  end
  for _, task in ipairs(begun) do
    task:close()
  end
  return measure.summary(samples)
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rounds = math.max((opts.rounds or 400) // 4, 10)
  local executor, client = noether.check(noether.executor{ warm = true }), start()
  local calls = measure.take_turns({
    { name = "lua", run = through_lua(executor) }, { name = "tool", run = through_tool(client) },
  }, rounds)
  local starts = measure.take_turns({
    { name = "nothing", run = of_nothing }, { name = "all", run = to_the_list() },
    { name = "one", run = to_the_list("--language", "bash") },
  }, rounds)
  local idle = pings(client, 0, rounds)
  local busy = pings(client, 50, rounds)
  client:close()
  executor:close()
  return {
    measure.row("python stage: execute, warm", calls.lua),
    measure.row("mcp: tools/call of it, to that", calls.tool, calls.lua, 1.5),
    measure.row("noether-lua -e ''", starts.nothing),
    measure.row("mcp: start to tools/list, to that", starts.one, starts.nothing, 4),
    measure.row("mcp: likewise, of all languages", starts.all, starts.nothing, 5),
    measure.row("mcp: ping", idle),
    measure.row("mcp: ping beside 50 calls, to that", busy, idle, 20),
  }
end

return M
