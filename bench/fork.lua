-- SPDX-License-Identifier: MIT
--- Python stages that are copies of a fork server, against the same stage of the same executor
-- begun cold; and many inputs, against all of them cold.
local begun = require "begun"
local measure = require "measure"
local noether = require "noether"

local M = {}

local CASES = {
  { name = "python stage", imports = {}, whole = 1 / 6, code = begun.DOUBLE },
  { name = "python stage with numpy", imports = { "numpy" }, whole = 1 / 20,
    code = "import numpy\n" .. begun.DOUBLE },
}

local INPUTS, INPUTS_IF_LONG = 200, 1000

-- There are places, which are made in lots.
local function has_places(pool)
  local server = pool.server
  return server and server:look() == "serving" and server.process:places() > 0
end

local function rows_of(case, rounds)
  local executor = assert(noether.executor{
    isolation = "native", warm = { spares = 0, imports = case.imports },
  })
  assert(executor:warmup({ "python" }, { spares = 0 }):wait())
  local pool = executor:pools()[1]
  if pool.fork_server ~= "serving" or next(pool.failed_imports or {}) then
    executor:close()
    return {}
  end
  local stage = { language = "python", code = case.code, effects = {} }
  local times, answers = begun.take_turns(executor, stage, "fork", has_places, rounds)
  executor:close()
  return {
    measure.row(case.name .. ": execute, cold", times.cold, times.cold),
    measure.row(case.name .. ": execute, by fork", times.warm, times.cold, case.whole),
    measure.row(case.name .. ": answer, by fork", answers.warm, answers.cold),
  }
end

local function row_of_many(rounds, count)
  local executor = assert(noether.executor{ isolation = "native" })
  local stage = { language = "python", code = begun.DOUBLE, effects = {} }
  local function many(warm)
    return function() return begun.each_of_many(executor, stage, warm, count) end
  end
  local both = measure.take_turns(
    { { name = "cold", run = many(false) }, { name = "fork", run = many(nil) } }, rounds)
  executor:close()
  local name = ("python stage: map, %d inputs, %d at once, each"):format(count, begun.AT_ONCE)
  return measure.row(name, both.fork, both.cold, 1 / 5)
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rows = {}
  local rounds = math.max((opts.rounds or 400) // 8, 10)
  for _, case in ipairs(CASES) do
    for _, row in ipairs(rows_of(case, rounds)) do rows[#rows + 1] = row end
  end
  rows[#rows + 1] = row_of_many(math.max(rounds // 16, 3), opts.long and INPUTS_IF_LONG or INPUTS)
  return rows
end

return M
