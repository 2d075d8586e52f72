-- SPDX-License-Identifier: MIT
--- How dear this machine is: what the figures of the other parts are to be read by. A fork that
-- exits, and a static program that does nothing, against vfork, exec and wait of /usr/bin/true.
--
-- `run{ rounds = 400 }` returns rows as `measure.row` makes them.
local floor = require "floor"
local measure = require "measure"

local M = {}

local build = os.getenv "BENCH_BUILD" or "build"

-- The kernel's release, how many processors, and how busy they are.
local function describe()
  local count = 0
  for line in io.lines "/proc/cpuinfo" do
    if line:find "^processor%s*:" then count = count + 1 end
  end
  local load = io.lines "/proc/loadavg"():match "^%S+"
  return ("%s, %d processors, load %s"):format(io.lines "/proc/sys/kernel/osrelease"(), count, load)
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local summaries = measure.take_turns({
    { name = "floor", run = function() return floor.spawn "/usr/bin/true" end },
    { name = "fork", run = floor.fork },
    { name = "nothing", run = function() return floor.spawn(build .. "/bench/nothing") end },
  }, opts.rounds or 400)
  print("machine: " .. describe())
  return {
    measure.row("machine: vfork, exec, wait in C", summaries.floor, summaries.floor),
    measure.row("machine: fork, exit, wait in C", summaries.fork, summaries.floor),
    measure.row("machine: exec of a static nothing", summaries.nothing, summaries.floor),
  }
end

return M
