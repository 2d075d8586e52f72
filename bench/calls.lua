-- SPDX-License-Identifier: MIT
--- Calls of a stage to functions of its host and back, against a byte that two C processes hand one
-- another through pipes; many in flight at once, against one; and what many leave in the host.
local floor = require "floor"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local CALLS = 1000 -- of one sample
local MANY_CALLS = 10000
local AT_ONCE = 64
local TAKES_SECS = 0.01

-- Seconds of each call, as the stage sees it.
local ONE = {
  python = [[
from time import perf_counter
from noether import nothing
def execute(count):
    times = []
    for _ in range(count):
        began = perf_counter()
        nothing()
        times.append(perf_counter() - began)
    return times
]],
  javascript = [[
import { nothing } from "noether";
export async function execute(count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await nothing();
    times.push((performance.now() - began) / 1000);
  }
  return times;
}
]],
  bash = [[
execute() {
  local i began times=
  for ((i = 0; i < $1; i++)); do
    began=${EPOCHREALTIME/[.,]/}
    noether -v _ nothing
    times+=",$((${EPOCHREALTIME/[.,]/} - began))e-6"
  done
  echo "[${times#,}]"
}
]],
}

local THREADS = [[
import threading, time
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from noether import slow
def execute(count):
    ready = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: ready.wait(), range(count)))
        began = perf_counter()
        list(pool.map(lambda _: %s, range(count)))
        return perf_counter() - began
]]

-- Seconds of so many at once, when all that they need is there. What threads take by themselves is
-- seen by those that call nobody.
local TOGETHER = {
  asleep = { "python", THREADS:format(("time.sleep(%g)"):format(TAKES_SECS)) },
  threads = { "python", THREADS:format "slow()" },
  asyncio = { "python", [[
import asyncio
from time import perf_counter
from noether import acall
async def together(count):
    began = perf_counter()
    await asyncio.gather(*[acall("slow") for _ in range(count)])
    return perf_counter() - began
async def all_of(count):
    await together(count)
    return await together(count)
def execute(count): return asyncio.run(all_of(count))
]] },
  promises = { "javascript", [[
import { slow } from "noether";
async function together(count) {
  const began = performance.now();
  await Promise.all(Array.from({ length: count }, () => slow()));
  return (performance.now() - began) / 1000;
}
export async function execute(count) {
  await together(count);
  return together(count);
}
]] },
}

local function stage_of(language, code)
  return { language = language, code = code, effects = { { Call = "*" } } }
end

local function nothing() end

local function each_call(executor, language)
  local stage = stage_of(language, ONE[language])
  local opts = { functions = { nothing = nothing }, limits = { calls = CALLS } }
  return function()
    return measure.summary(noether.check(executor:execute(stage, CALLS, opts))).p50
  end
end

-- Answers each when its time has come.
local function answer_due(waiting)
  while waiting[1] and sys.clock() >= waiting[1].due do
    table.remove(waiting, 1).call:answer()
  end
  return waiting[1] and math.max(waiting[1].due - sys.clock(), 0)
end

local function together(executor, name, count)
  local stage = stage_of(table.unpack(TOGETHER[name]))
  local waiting = {}
  local functions = { slow = function(_, call)
    waiting[#waiting + 1] = { call = call:later(), due = sys.clock() + TAKES_SECS }
  end }
  return function()
    local task = noether.check(executor:start(stage, count, { functions = functions }))
    while not task:step() do
      local most, secs = answer_due(waiting), task:timeout()
      if most and (not secs or most < secs) then secs = most end
      sys.poll({ task:pollfd() }, secs, {})
    end
    local secs = noether.check(task:wait())
    task:close()
    return secs
  end
end

-- What the host has more when it has answered them all, and at the most.
local function growth(executor)
  local stage = stage_of("python",
    "from noether import nothing\ndef execute(count):\n    for i in range(count): nothing(i)\n")
  local function run(count)
    local begun = sys.clock()
    noether.check(executor:execute(stage, count, {
      functions = { nothing = nothing }, timeout_secs = 300,
      limits = { calls = count, journal_bytes = 64 * 1024 },
    }))
    return sys.clock() - begun
  end
  run(1000)
  collectgarbage()
  local before = measure.begin_peak()
  local secs = run(MANY_CALLS)
  return measure.memory("VmHWM") - before, secs
end

local function rows_of_one(executor, rounds)
  local turns = measure.take_turns({
    { name = "ping", run = function() return floor.ping(CALLS) end },
    { name = "python", run = each_call(executor, "python") },
    { name = "javascript", run = each_call(executor, "javascript") },
    { name = "bash", run = each_call(executor, "bash") },
  }, rounds)
  return {
    measure.row("a byte to another process and back, in C", turns.ping, turns.ping),
    measure.row("  a call from Python and back", turns.python, turns.ping, 6),
    measure.row("  a call from JavaScript and back", turns.javascript, turns.ping, 8),
    measure.row("  a call from Bash and back", turns.bash, turns.ping, 25),
  }
end

local function rows_of_many(executor, rounds)
  local contestants, rows = {}, {}
  for name in pairs(TOGETHER) do
    for _, count in ipairs{ 1, AT_ONCE } do
      contestants[#contestants + 1] = {
        name = name .. count, run = together(executor, name, count),
      }
    end
  end
  local turns = measure.take_turns(contestants, rounds)
  for _, name in ipairs{ "asyncio", "threads", "promises" } do
    rows[#rows + 1] = measure.row(("%d calls at once that take 10 ms, %s, to one"):format(AT_ONCE,
      name), turns[name .. AT_ONCE], turns[name .. 1], 1.5)
  end
  rows[#rows + 1] = measure.row(("%d threads that sleep 10 ms, to one"):format(AT_ONCE),
    turns["asleep" .. AT_ONCE], turns.asleep1)
  return rows
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local executor = noether.check(noether.executor())
  local rounds = math.max((opts.rounds or 400) // 20, 10)
  local rows = rows_of_one(executor, rounds)
  for _, row in ipairs(rows_of_many(executor, rounds)) do
    rows[#rows + 1] = row
  end
  local grown, secs = growth(executor)
  rows[#rows + 1] = {
    name = MANY_CALLS .. " calls of one stage: growth of the host", p50 = secs, p95 = secs,
    p99 = secs, bytes = math.max(grown, 0), max_bytes = 2 ^ 20,
  }
  executor:close()
  return rows
end

return M
