-- SPDX-License-Identifier: MIT
--- A kept answer, through executors over executors, in memory and on disk.
local measure = require "measure"
local noether = require "noether"

local M = {}

local STAGE = {
  name = "double", language = "python", effects = { "Pure", { Cost = 1 } },
  code = "def execute(input):\n    return {\"double\": input[\"n\"] * 2}\n",
}

local CALLS = 200 -- in a sample: the clock is too coarse for one

local LIMIT_SECS = 50e-6

local function calls(executor, input)
  return function()
    return measure.time(function()
      for _ = 1, CALLS do
        local output = executor:execute("double", input)
        assert(output.double == 42)
      end
    end) / CALLS
  end
end

-- Each call finds its answer on disk: the executor is new, and remembers nothing.
local function from_disk(plain, dir)
  assert(noether.cache(plain, { dir = dir })):execute("double", { n = 21 })
  return function()
    local executor = assert(noether.cache(plain, { dir = dir }))
    executor:execute("double", { n = 20 })
    local secs = measure.time(function()
      assert(select(3, executor:execute("double", { n = 21 })).cached)
    end)
    executor:close()
    return secs
  end
end

local function large_input()
  return { n = 21, text = ("x"):rep(10000) }
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local store = noether.store.memory()
  assert(store:put(STAGE))
  local plain = noether.check(noether.executor{ store = store })
  local dir = os.tmpname()
  os.remove(dir)
  local cached = noether.check(noether.cache(plain))
  local stacked = noether.check(noether.cache(noether.retry(noether.budget(
    noether.composite{ plain }, { cents = 1000 }))))
  local summaries = measure.take_turns({
    { name = "cached", run = calls(cached, { n = 21 }) },
    { name = "large", run = calls(cached, large_input()) },
    { name = "stacked", run = calls(stacked, { n = 21 }) },
    { name = "disk", run = from_disk(plain, dir) },
  }, math.max((opts.rounds or 400) // 8, 10))
  plain:close()
  assert(os.execute("rm -rf " .. dir))
  local limit = { p50 = LIMIT_SECS }
  return {
    measure.row("a cached Pure answer, against 50 us", summaries.cached, limit, 1),
    measure.row("a cached answer to 10 KB, against 50 us", summaries.large, limit),
    measure.row("cache over retry over budget over composite", summaries.stacked, limit, 1),
    measure.row("a cached answer from disk", summaries.disk, limit),
  }
end

return M
