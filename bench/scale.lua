-- SPDX-License-Identifier: MIT
--- Many stages at once, and one after so many others.
local json = require "noether.json"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local SLEEPERS = 1000

local function asleep(isolation)
  local here = arg[0]:match("^(.*)/") or "."
  local result = assert(noether.run({ sys.realpath("/proc/self/exe"), here .. "/asleep.lua",
    tostring(SLEEPERS), isolation }, { isolation = "none" }))
  assert(result.ok, result.stderr)
  return json.decode(result.stdout)
end

local function sleeper_rows()
  local bare, jailed = asleep("none"), asleep("auto")
  local what = SLEEPERS .. " stages asleep for 1 s: "
  return {
    { name = what .. "no isolation", value = bare.secs, max = 3, unit = "s" },
    { name = what .. "sandboxed", value = jailed.secs, unit = "s" },
    { name = what .. "descriptors each", value = jailed.descriptors, max = 5, unit = "" },
    { name = what .. "memory each", value = jailed.bytes / 1024, max = 64, unit = "KiB" },
  }
end

local STAGE = { language = "bash", code = "execute() { cat; }" }

local function map_secs(executor, jobs)
  local inputs = {}
  for index = 1, 128 do
    inputs[index] = index
  end
  return measure.time(function()
    for _, record in ipairs(executor:map(STAGE, inputs, { jobs = jobs })) do
      assert(not record.err, record.err)
    end
  end)
end

local function map_summaries(isolation, all_jobs, rounds)
  local executor = assert(noether.executor{ isolation = isolation })
  local contestants = {}
  for index, jobs in ipairs(all_jobs) do
    contestants[index] = { name = jobs, run = function() return map_secs(executor, jobs) end }
  end
  local summaries = measure.take_turns(contestants, rounds)
  executor:close()
  return summaries
end

-- Making and unmaking namespaces takes locks that all of the kernel shares, so two sandboxes are
-- not made in the time of one: what is map's own is seen without them.
local function map_rows(rounds)
  local bare = map_summaries("none", { 1, 2 }, rounds)
  local jailed = map_summaries("auto", { 1, 2, 8, 64 }, rounds)
  return {
    measure.row("map: 128 bash stages, no isolation, 1 job", bare[1]),
    -- At least 1.7 times as fast, where there are two processors.
    measure.row("map: 2 jobs against 1", bare[2], bare[1],
      sys.cpu_count() > 1 and 1 / 1.7 or nil),
    measure.row("map: 128 bash stages, sandboxed, 1 job", jailed[1]),
    measure.row("map: sandboxed, 2 jobs against 1", jailed[2], jailed[1]),
    measure.row("map: sandboxed, 64 jobs against 8", jailed[64], jailed[8], 1.05),
  }
end

-- An executor with a past.
local function worn_executor(stages, runs)
  local executor = assert(noether.executor{ isolation = "none" })
  for index = 1, stages do
    local code = ("execute() { echo %d; }"):format(index)
    noether.check(executor:register_with_effects("stage-" .. index, code, "bash"))
  end
  local left = runs
  local inputs = function()
    left = left - 1
    return left >= 0 and left or nil
  end
  for _, record in executor:each(STAGE, inputs) do
    assert(not record.err, record.err)
  end
  return executor
end

local function call(executor)
  return function()
    return measure.time(function() noether.check(executor:execute(STAGE, 1)) end)
  end
end

local function past_row(opts)
  local runs = opts.long and 100000 or 2000
  local fresh, worn = assert(noether.executor{ isolation = "none" }), worn_executor(10000, runs)
  local summaries = measure.take_turns({
    { name = "fresh", run = call(fresh) }, { name = "worn", run = call(worn) },
  }, opts.rounds or 400)
  fresh:close()
  worn:close()
  local name = ("bash stage: after 10000 stages and %d runs"):format(runs)
  return measure.row(name, summaries.worn, summaries.fresh, 1.1)
end

--- @tparam table opts `rounds`, `long`
-- @treturn table rows
function M.run(opts)
  local rows = sleeper_rows()
  for _, row in ipairs(map_rows(math.max((opts.rounds or 400) // 40, 3))) do
    rows[#rows + 1] = row
  end
  rows[#rows + 1] = past_row(opts)
  return rows
end

return M
