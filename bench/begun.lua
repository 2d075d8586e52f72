-- SPDX-License-Identifier: MIT
--- The same stage of one executor, begun in two ways that take turns: what warm.lua and fork.lua
-- have in common.
local measure = require "measure"
local sys = require "noether.sys"

local M = {}

--- A stage that doubles `n`, in Python.
M.DOUBLE = "def execute(input):\n    return {\"double\": input[\"n\"] * 2}"

--- So many calls at once, where there are many.
M.AT_ONCE = 8

local SETTLE_SECS = 30
local REST_SECS = 0.02

--- Wait until what is kept ready is, and nothing else is under way.
-- @tparam table executor
-- @tparam function is_ready of its only pool
function M.settle(executor, is_ready)
  local deadline = sys.clock() + SETTLE_SECS
  repeat
    sys.poll({}, 0.005, {})
    executor:pools()
    local _, pool = next(executor.pools_open.shapes)
  until (pool and is_ready(pool)) or sys.clock() > deadline
  sys.poll({}, REST_SECS, {})
end

local function call(executor, stage, warm)
  local output, err, info = executor:execute(stage, { n = 21 }, { warm = warm })
  assert(not err, err)
  assert(output.double == 42)
  return info
end

--- Time calls that are begun cold, and those that are not, in turns.
-- @tparam table executor
-- @tparam table stage
-- @tparam string start what `info.start` says of the others
-- @tparam function is_ready of @{settle}
-- @tparam integer rounds
-- @treturn table summaries of whole calls, `cold` and `warm`
-- @treturn table of their answers, likewise
function M.take_turns(executor, stage, start, is_ready, rounds)
  local answers = { cold = {}, warm = {} }
  local function one(name, warm, expected)
    return { name = name, run = function()
      M.settle(executor, is_ready)
      local info
      local secs = measure.time(function() info = call(executor, stage, warm) end)
      assert(info.start == expected, info.start)
      table.insert(answers[name], info.phases.answer)
      return secs
    end }
  end
  local times = measure.take_turns(
    { one("cold", false, "cold"), one("warm", nil, start) }, rounds)
  return times, { cold = measure.summary(answers.cold), warm = measure.summary(answers.warm) }
end

--- Seconds that each of many takes, of which some run at once.
-- @tparam table executor
-- @tparam table stage
-- @tparam ?boolean warm
-- @tparam integer count
-- @treturn number
function M.each_of_many(executor, stage, warm, count)
  local inputs = {}
  for n = 1, count do inputs[n] = { n = n } end
  return measure.time(function()
    for _, record in ipairs(executor:map(stage, inputs, { jobs = M.AT_ONCE, warm = warm })) do
      assert(not record.err, record.err)
    end
  end) / count
end

return M
