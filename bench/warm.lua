-- SPDX-License-Identifier: MIT
--- A stage begun by a process that waited, against the same stage of the same executor begun cold.
--
-- Each measured call finds some ready, and nothing else under way. They are made in lots, by every
-- second call: that counts where it falls, hence the rows of many at once, in which all that waited
-- is soon used up.
local begun = require "begun"
local measure = require "measure"
local noether = require "noether"

local M = {}

local STAGES = {
  { name = "python", code = begun.DOUBLE, whole = 1 / 20, answer = 1 / 25 },
  { name = "javascript", code = "function execute(input) { return { double: input.n * 2 }; }",
    whole = 1 / 8, answer = 1 / 12 },
  { name = "bash", code = "execute() { echo '{\"double\":42}'; }", whole = 1 / 3, answer = 1 / 3 },
}

local SPARES = 4

local function is_ready(pool)
  for _, spare in ipairs(pool.spares) do
    if not spare.is_ready then return false end
  end
  return #pool.spares > 0
end

-- What each process below one holds of its own, and its part of what it shares.
local function pss_below(pid)
  local bytes = 0
  local file = io.open(("/proc/%d/smaps_rollup"):format(pid))
  local text = file and file:read "a"
  if file then file:close() end
  bytes = bytes + 1024 * (tonumber((text or ""):match "\nPss:%s+(%d+)") or 0)
  file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local children = file and file:read "a" or ""
  if file then file:close() end
  for child in children:gmatch "%d+" do bytes = bytes + pss_below(tonumber(child)) end
  return bytes
end

-- Nil where all are copies of a fork server: what these hold is not below a process of ours.
local function memory_each(executor)
  begun.settle(executor, is_ready)
  local bytes, count = 0, 0
  for _, pool in pairs(executor.pools_open.shapes) do
    for _, spare in ipairs(pool.spares) do
      if not spare.is_copy then
        bytes, count = bytes + pss_below(spare.process:pid()), count + 1
      end
    end
  end
  return count > 0 and bytes / count / 2 ^ 20 or nil
end

local function rows_of(case, rounds)
  local executor = assert(noether.executor{ warm = { spares = SPARES } })
  assert(executor:warmup({ case.name }, { spares = SPARES }):wait())
  local stage = { language = case.name, code = case.code, effects = {} }
  local times, answers = begun.take_turns(executor, stage, "spare", is_ready, rounds)
  local function many(warm)
    return function()
      begun.settle(executor, is_ready)
      return begun.each_of_many(executor, stage, warm, 4 * begun.AT_ONCE)
    end
  end
  local both = measure.take_turns(
    { { name = "cold", run = many(false) }, { name = "warm", run = many(nil) } },
    math.max(rounds // 8, 3))
  local name = case.name .. " stage: "
  local at_once = name .. begun.AT_ONCE .. " at once, each, "
  local rows = {
    measure.row(name .. "execute, cold", times.cold, times.cold),
    measure.row(name .. "execute, from a spare", times.warm, times.cold, case.whole),
    measure.row(name .. "answer, from a spare", answers.warm, answers.cold, case.answer),
    measure.row(at_once .. "cold", both.cold, both.cold),
    measure.row(at_once .. "spares used up", both.warm, both.cold, 1.15),
  }
  local held = memory_each(executor)
  if held then rows[#rows + 1] = { name = name .. "a spare holds", value = held, unit = "MiB" } end
  executor:close()
  return rows
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rows = {}
  for _, case in ipairs(STAGES) do
    for _, row in ipairs(rows_of(case, math.max((opts.rounds or 400) // 8, 10))) do
      rows[#rows + 1] = row
    end
  end
  return rows
end

return M
