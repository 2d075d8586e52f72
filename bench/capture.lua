-- SPDX-License-Identifier: MIT
--- A lot of output: 256 MiB kept, against a read loop in C that keeps it too; and what a flood of
-- 10 GB costs the host that keeps 10 MiB of it.
local floor = require "floor"
local measure = require "measure"
local process = require "noether.process"

local M = {}

local MIB = 1024 * 1024

local function head(bytes)
  return { "/usr/bin/head", "-c", ("%d"):format(bytes), "/dev/zero" }
end

local function captured(bytes)
  return measure.time(function()
    local proc = assert(process.launch(head(bytes), { max_output_bytes = 512 * MIB }))
    local result = assert(proc:wait())
    proc:close()
    assert(result.ok and #result.stdout == bytes)
  end)
end

-- The run is ended at the cap, so its memory is what was kept until then, and a little.
local function flood()
  collectgarbage()
  local before = measure.memory("VmRSS")
  local proc = assert(process.launch(head(10 * 10 ^ 9), { max_output_bytes = 10 * MIB }))
  local peak = before
  while not proc:step() do
    peak = math.max(peak, measure.memory("VmRSS"))
  end
  local result = assert(proc:wait())
  peak = math.max(peak, measure.memory("VmRSS"))
  proc:close()
  assert(result.reason == "output_limit", result.reason)
  return peak - before, result.duration_secs
end

--- @tparam table opts `rounds`
-- @treturn table rows; `bytes` and `max_bytes` where it is memory that counts
function M.run(opts)
  local rounds = math.max((opts.rounds or 400) // 40, 3)
  local summaries = measure.take_turns({
    { name = "floor", run = function()
      local secs, bytes = floor.run(table.unpack(head(256 * MIB)))
      assert(bytes == 256 * MIB)
      return secs
    end },
    { name = "noether", run = function() return captured(256 * MIB) end },
  }, rounds)
  local grown, secs = flood()
  return {
    measure.row("capture 256 MiB: read loop in C", summaries.floor, summaries.floor),
    measure.row("capture 256 MiB: noether, kept", summaries.noether, summaries.floor, 2),
    {
      name = "10 GB against a cap of 10 MiB: growth of the host",
      p50 = secs, p95 = secs, p99 = secs, bytes = grown, max_bytes = 2 * 10 * MIB + 2 * MIB,
    },
  }
end

return M
