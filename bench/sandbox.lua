-- SPDX-License-Identifier: MIT
--- What a sandbox adds to /usr/bin/true: native against bubblewrap with the same description, each
-- less the bare spawn of the same series; what native's steps cost; runs per second at 1, 2 and 8
-- at once; and that the ten-thousandth run costs what the first did.
local core = require "noether.core"
local floor = require "floor"
local isolation = require "noether.isolation"
local measure = require "measure"
local process = require "noether.process"
local sys = require "noether.sys"

local M = {}

local TRUE = "/usr/bin/true"

-- Launch options of a backend; nil where it does not work here.
local function options_of(backend)
  local chosen, err = isolation.choose(backend, process.launch, { path = "/usr/bin" })
  if not chosen then
    print(("(%s does not work here: %s)"):format(backend, err))
    return nil
  end
  local description = isolation.system()
  description.limits = { private_bytes = 256 * 2 ^ 20, private_files = 65536, processes = 256 }
  return { sandbox = isolation.apply(chosen, description) }
end

local function run(opts, argv)
  return measure.time(function()
    local proc = assert(process.launch(argv or { TRUE }, opts))
    assert(assert(proc:wait()).ok)
    proc:close()
  end)
end

-- Bubblewrap with the same description and nothing of ours: no filter, no rules, no limits.
local function run_bare_bwrap(opts)
  local sandbox = isolation.checked(opts.sandbox)
  local argv = assert(core.bwrap_argv(sandbox, sandbox.limits, { TRUE }))
  return run({ supervise = false }, argv)
end

local function added(label, summary, base, rival)
  local row = measure.row(label, {
    p50 = summary.p50 - base.p50, p95 = summary.p95 - base.p95, p99 = summary.p99 - base.p99,
  })
  if rival then row.ratio, row.limit = row.p50 / (rival.p50 - base.p50), 0.5 end
  return row
end

-- The median of each step over some runs.
local function step_rows(opts, rounds)
  local samples, names = {}, {}
  for _ = 1, rounds do
    local proc = assert(process.launch({ TRUE }, opts))
    assert(proc:wait())
    for i, step in ipairs(proc:setup_steps()) do
      names[i] = step.name
      samples[i] = samples[i] or {}
      table.insert(samples[i], step.secs)
    end
    proc:close()
  end
  local rows = {}
  for i, name in ipairs(names) do
    rows[i] = measure.row("  native step: " .. name, measure.summary(samples[i]))
  end
  return rows
end

local function per_second(opts, at_once, runs)
  local running = {}
  local start = sys.clock()
  for i = 1, runs + at_once do
    local slot = (i - 1) % at_once + 1
    if running[slot] then
      assert(assert(running[slot]:wait()).ok)
      running[slot]:close()
      running[slot] = nil
    end
    if i <= runs then running[slot] = assert(process.launch({ TRUE }, opts)) end
  end
  return runs / (sys.clock() - start)
end

local function throughput_rows(label, opts, runs)
  local rows = {}
  for _, at_once in ipairs{ 1, 2, 8 } do
    local secs = 1 / per_second(opts, at_once, runs)
    rows[#rows + 1] = measure.row(("%s: %d at once, time per run"):format(label, at_once),
      { p50 = secs, p95 = secs, p99 = secs })
  end
  return rows
end

-- The last thousand against the first thousand.
local function growth_row(opts, runs)
  local before, first, last = measure.memory("VmRSS"), {}, {}
  for i = 1, runs do
    local secs = run(opts)
    if i <= 1000 then first[i] = secs end
    if i > runs - 1000 then last[#last + 1] = secs end
  end
  collectgarbage()
  local row = measure.row(("native: run %d against run 1"):format(runs), measure.summary(last),
    measure.summary(first))
  return row, measure.memory("VmRSS") - before
end

local function append(rows, more)
  return table.move(more, 1, #more, #rows + 1, rows)
end

--- @tparam table opts `rounds`; `long` for the 10,000 runs
-- @treturn table rows
function M.run(opts)
  local rounds = opts.rounds or 400
  local native, bwrap = options_of("native"), options_of("bwrap")
  if not native or not bwrap then return {} end
  local summaries = measure.take_turns({
    { name = "floor", run = function() return floor.spawn(TRUE) end },
    { name = "kept", run = function() return run({}) end },
    { name = "native", run = function() return run(native) end },
    { name = "bwrap", run = function() return run(bwrap) end },
    { name = "bare bwrap", run = function() return run_bare_bwrap(bwrap) end },
  }, rounds)
  local rows = {
    added("added by the supervisor alone", summaries.kept, summaries.floor),
    added("added by native", summaries.native, summaries.floor, summaries["bare bwrap"]),
    added("added by bwrap alone", summaries["bare bwrap"], summaries.floor),
    added("added by bwrap with our jail", summaries.bwrap, summaries.floor),
  }
  append(rows, step_rows(native, rounds))
  append(rows, throughput_rows("native", native, rounds))
  append(rows, throughput_rows("bwrap", bwrap, rounds // 2))
  if opts.long then
    local row, grown = growth_row(native, 10000)
    append(rows, { row, {
      name = "native: growth of the host over 10,000 runs", p50 = 0, p95 = 0, p99 = 0,
      bytes = math.max(grown, 0), max_bytes = 2 * 2 ^ 20,
    } })
  end
  return rows
end

return M
