-- SPDX-License-Identifier: MIT
--- What all parts of the bench share: contestants that take turns, and percentiles.
local sys = require "noether.sys"

local M = {}

--- Seconds that a call takes.
-- @tparam function fn
-- @treturn number
function M.time(fn)
  local start = sys.clock()
  fn()
  return sys.clock() - start
end

--- Call `fn` until a supervisor that stands by serves it: from then on it does.
-- @tparam function fn returns a result of a process
-- @treturn boolean whether one does
function M.stand_by(fn)
  local deadline = sys.clock() + 5
  while sys.clock() < deadline do
    if fn().launch == "launcher" then return true end
  end
  return false
end

local function percentile(sorted, part)
  return sorted[math.max(1, math.ceil(#sorted * part))]
end

--- @tparam table samples seconds; sorted in place
-- @treturn table `p50`, `p95`, `p99`
function M.summary(samples)
  table.sort(samples)
  return {
    p50 = percentile(samples, 0.5), p95 = percentile(samples, 0.95),
    p99 = percentile(samples, 0.99),
  }
end

-- What one leaves behind, in caches and in the kernel's queues, meets the next one: it must not
-- always be the same.
local function shuffled(list)
  local copy = table.move(list, 1, #list, 1, {})
  for i = #copy, 2, -1 do
    local j = math.random(i)
    copy[i], copy[j] = copy[j], copy[i]
  end
  return copy
end

--- Let contestants take turns, in an order that changes, so that whatever else the machine does
-- hits all of them.
-- @tparam table contestants list of `{ name, run }`; `run` returns the seconds it took
-- @tparam number rounds
-- @treturn table the summary of each by name
function M.take_turns(contestants, rounds)
  local samples, summaries = {}, {}
  for _, contestant in ipairs(contestants) do
    samples[contestant.name] = {}
    contestant.run() -- what is only slow the first time
  end
  for _ = 1, rounds do
    for _, contestant in ipairs(shuffled(contestants)) do
      table.insert(samples[contestant.name], contestant.run())
    end
  end
  for name, list in pairs(samples) do
    summaries[name] = M.summary(list)
  end
  return summaries
end

--- A row of the report.
-- @tparam string name
-- @tparam table summary of @{summary}
-- @tparam ?table floor summary of what it is compared with
-- @tparam[opt] number limit the ratio of the medians that must not be exceeded
-- @treturn table `name`, `p50`, `p95`, `p99`, `ratio`, `limit`
function M.row(name, summary, floor, limit)
  return {
    name = name, p50 = summary.p50, p95 = summary.p95, p99 = summary.p99,
    ratio = floor and summary.p50 / floor.p50, limit = limit,
  }
end

--- A number out of /proc/self/status.
-- @tparam string field such as "VmRSS"
-- @treturn number bytes
function M.memory(field)
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^" .. field .. ":%s*(%d+) kB")
    if kib then return tonumber(kib) * 1024 end
  end
  error("no " .. field .. " in /proc/self/status")
end

--- Forget the highest amount of memory until now (VmHWM), which begins again at what is used.
-- @treturn number bytes that are
function M.begin_peak()
  local file = assert(io.open("/proc/self/clear_refs", "w"))
  assert(file:write("5"))
  assert(file:close())
  return M.memory("VmRSS")
end

return M
