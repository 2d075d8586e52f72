-- SPDX-License-Identifier: MIT
--- Files in and out: 200 MB that a stage is given, against none; 64 MiB that it leaves, against cp.
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local GIVEN_BYTES = 200 * 1000 * 1000
local LEFT_BYTES = 64 * 2 ^ 20

local PLAIN = { language = "bash", effects = {}, code = "execute() { echo 1; }" }
local LEAVES = { language = "bash", effects = { "Process" },
  code = ("execute() { head -c %d /dev/zero >left; echo 1; }"):format(LEFT_BYTES) }

local function shell(command)
  assert(os.execute(command))
end

local function executes(executor, stage, opts)
  return function()
    return measure.time(function()
      local output, err = executor:execute(stage, nil, opts)
      assert(output == 1, err)
    end)
  end
end

-- What the host has at the most during one call, beyond what it had before.
local function peak(executor, opts)
  return function()
    collectgarbage()
    collectgarbage()
    local before = measure.begin_peak()
    local output, err = executor:execute(PLAIN, nil, opts)
    assert(output == 1, err)
    return measure.memory "VmHWM" - before
  end
end

-- What collecting takes is what the same stage takes more.
local function difference(with, without)
  local summary = {}
  for _, part in ipairs{ "p50", "p95", "p99" } do
    summary[part] = math.max(with[part] - without[part], 0)
  end
  return summary
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local dir = assert(sys.mkdtemp("/tmp/noether-bench-"))
  local executor = noether.check(noether.executor())
  local given = dir .. "/given"
  shell(("head -c %d /dev/zero >%s && mkdir %s/out"):format(GIVEN_BYTES, given, dir))
  shell(("head -c %d /dev/zero >/dev/shm/noether-bench"):format(LEFT_BYTES))
  local copy = ("cp /dev/shm/noether-bench %s/copy && rm %s/copy"):format(dir, dir)
  local plain, with_data = executes(executor, PLAIN),
    executes(executor, PLAIN, { files = { data = { path = given } } })
  local rounds = math.max((opts.rounds or 400) // 20, 10)
  local in_turns = measure.take_turns({
    { name = "none", run = plain }, { name = "given", run = with_data },
  }, rounds * 5)
  local peaks = measure.take_turns({
    { name = "none", run = peak(executor) },
    { name = "given", run = peak(executor, { files = { data = { path = given } } }) },
  }, rounds)
  local out_turns = measure.take_turns({
    { name = "cp", run = function() return measure.time(function() shell(copy) end) end },
    { name = "without", run = executes(executor, LEAVES) },
    { name = "with", run = executes(executor, LEAVES,
      { outputs = { "left" }, output_dir = dir .. "/out", output_overwrite = true }) },
  }, rounds)
  executor:close()
  os.remove("/dev/shm/noether-bench")
  sys.remove_tree(dir)
  return {
    measure.row("a stage with no files", in_turns.none, in_turns.none),
    measure.row("  with 200 MB that it is given", in_turns.given, in_turns.none, 1.05),
    { name = "  the host's memory for them", max_bytes = 64 * 1024,
      bytes = math.max(peaks.given.p50 - peaks.none.p50, 0) },
    measure.row("cp of 64 MiB from memory to disk", out_turns.cp, out_turns.cp),
    measure.row("  the same as a stage's output", difference(out_turns.with, out_turns.without),
      out_turns.cp, 2),
  }
end

return M
