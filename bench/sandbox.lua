-- SPDX-License-Identifier: MIT
--- What a sandbox adds to /usr/bin/true: native against bubblewrap with the same description, each
-- less the bare spawn of the same series, and both against a run without walls; what native's steps
-- cost; runs at 1, 2, 8 and 64 at once; what the launcher keeps; and that the ten-thousandth run
-- costs what the first did.
local descriptions = require "noether.sandbox.description"
local core = require "noether.core"
local floor = require "floor"
local isolation = require "noether.isolation"
local measure = require "measure"
local process = require "noether.process"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local TRUE = "/usr/bin/true"

-- Launch options of a backend, and what `more` adds to its description; nil where it does not work
-- here.
local function options_of(backend, more)
  local chosen, err = isolation.choose(backend, process.launch, { path = "/usr/bin" })
  if not chosen then
    print(("(%s does not work here: %s)"):format(backend, err))
    return nil
  end
  local description = tables.merged(descriptions.system(), more)
  description.limits = { private_bytes = 256 * 2 ^ 20, private_files = 65536, processes = 256 }
  return { sandbox = descriptions.of_backend(chosen, description) }
end

local function finish(opts, argv)
  local proc = assert(process.launch(argv or { TRUE }, opts))
  local result = assert(proc:wait())
  assert(result.ok)
  proc:close()
  return result
end

local function run(opts, argv)
  return measure.time(function() finish(opts, argv) end)
end

-- Bubblewrap with the same description and nothing of ours: no filter, no rules, no limits.
local function run_bare_bwrap(opts)
  local sandbox = descriptions.checked(opts.sandbox)
  local argv = assert(core.bwrap_argv(sandbox, sandbox.limits, { TRUE }))
  return run({ supervise = false }, argv)
end

-- What a rival adds over a base of its own, or the same.
local function added(label, summary, base, rival, limit, rival_base)
  local row = measure.row(label, {
    p50 = summary.p50 - base.p50, p95 = summary.p95 - base.p95, p99 = summary.p99 - base.p99,
  })
  if rival then
    row.ratio, row.limit = row.p50 / (rival.p50 - (rival_base or base).p50), limit
  end
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

local AT_ONCE = { 1, 2, 8, 64 }

-- Seconds for each run by contestant and number at once; those of a number take turns.
local function throughput(contestants, runs)
  local summaries = {}
  for _, at_once in ipairs(AT_ONCE) do
    local list = {}
    for index, contestant in ipairs(contestants) do
      list[index] = { name = contestant.name, run = function()
        return 1 / per_second(contestant.opts, at_once, runs)
      end }
    end
    summaries[at_once] = measure.take_turns(list, 3)
  end
  return summaries
end

-- Of 8 at once against bubblewrap with our jail, of 64 against 8.
local function throughput_rows(contestants, runs)
  local summaries, rows = throughput(contestants, runs), {}
  for _, contestant in ipairs(contestants) do
    for _, at_once in ipairs(AT_ONCE) do
      local base, limit
      if at_once == 8 and contestant.times then
        base, limit = summaries[8].bwrap, 1 / contestant.times
      elseif at_once == 64 then
        base, limit = summaries[8][contestant.name], contestant.times and 1.05
      end
      rows[#rows + 1] = measure.row(("%s: %d at once, time per run"):format(contestant.name,
        at_once), summaries[at_once][contestant.name], base, limit)
    end
  end
  return rows
end

-- What stays of the launcher while it stands by.
local function launcher_row()
  local bytes = 0
  for line in io.lines(("/proc/%d/status"):format((core.launcher()))) do
    local kib = line:match "^VmRSS:%s*(%d+) kB"
    if kib then bytes = tonumber(kib) * 1024 end
  end
  return { name = "launcher: resident", bytes = bytes, max_bytes = 1.5 * 2 ^ 20 }
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
  local direct, bwrap = options_of("native"), options_of("bwrap")
  if not direct or not bwrap then return {} end
  local native = tables.merged(direct, { launcher = true })
  local quiet = options_of("native", { loopback = false })
  local without = tables.merged(quiet, { launcher = true })
  assert(measure.stand_by(function() return finish{ launcher = true } end),
    "no launcher: noether doctor")
  local summaries = measure.take_turns({
    { name = "floor", run = function() return floor.spawn(TRUE) end },
    { name = "kept", run = function() return run{} end },
    { name = "stands by", run = function() return run{ launcher = true } end },
    { name = "native", run = function() return run(native) end },
    { name = "direct", run = function() return run(direct) end },
    { name = "quiet", run = function() return run(quiet) end },
    { name = "without", run = function() return run(without) end },
    { name = "bwrap", run = function() return run(bwrap) end },
    { name = "bare bwrap", run = function() return run_bare_bwrap(bwrap) end },
  }, rounds)
  local rows = {
    added("added by the supervisor alone", summaries.kept, summaries.floor),
    added("added by a supervisor that stood by", summaries["stands by"], summaries.floor),
    added("added by native, direct", summaries.direct, summaries.floor, summaries["bare bwrap"],
      0.5),
    added("added by native, by launcher", summaries.native, summaries.floor,
      summaries["bare bwrap"], 0.35),
    added("added by native without loopback, direct", summaries.quiet, summaries.floor,
      summaries["bare bwrap"]),
    added("added by native without loopback, by launcher", summaries.without, summaries.floor,
      summaries["bare bwrap"], 0.18),
    added("added by native to a run without walls", summaries.native, summaries["stands by"],
      summaries.bwrap, 0.2, summaries.kept),
    launcher_row(),
    added("added by bwrap alone", summaries["bare bwrap"], summaries.floor),
    added("added by bwrap with our jail", summaries.bwrap, summaries.floor),
  }
  append(rows, step_rows(native, rounds))
  append(rows, throughput_rows({
    { name = "native, direct", opts = direct },
    { name = "native, by launcher", opts = native, times = 2.5 },
    { name = "native without loopback, direct", opts = quiet },
    { name = "native without loopback, by launcher", opts = without, times = 4 },
    { name = "bwrap", opts = bwrap },
  }, rounds // 2))
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
