-- SPDX-License-Identifier: MIT
--- Cells of a session, against a stage whose interpreter is started for it.
local measure = require "measure"
local noether = require "noether"

local M = {}

local STAGE = "def execute(input):\n    return {'double': input['n'] * 2}\n"
local CELL = "{'double': input['n'] * 2}"

local function through_stage(executor)
  local stage = { language = "python", code = STAGE, effects = { "Pure" } }
  return function()
    return measure.time(function()
      assert(noether.check(executor:execute(stage, { n = 21 })).double == 42)
    end)
  end
end

local function through_cells(session, count)
  return function()
    return measure.time(function()
      for _ = 1, count do
        assert(noether.check(session:run(CELL, { n = 21 })).double == 42)
      end
    end)
  end
end

-- What ten would take at the pace of one.
local function times(summary, count)
  return { p50 = summary.p50 * count, p95 = summary.p95 * count, p99 = summary.p99 * count }
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local executor = noether.check(noether.executor())
  local session = noether.check(executor:session{ language = "python", effects = {} })
  local summaries = measure.take_turns({
    { name = "stage", run = through_stage(executor) },
    { name = "cell", run = through_cells(session, 1) },
    { name = "cells", run = through_cells(session, 10) },
  }, math.max((opts.rounds or 400) // 8, 10))
  session:close()
  executor:close()
  return {
    measure.row("python stage: execute, sandboxed, cold", summaries.stage),
    measure.row("python session: a cell, to such a stage", summaries.cell, summaries.stage, 0.01),
    measure.row("python session: ten cells, to ten times one", summaries.cells,
      times(summaries.cell, 10), 2),
  }
end

return M
