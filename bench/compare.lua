-- SPDX-License-Identifier: MIT
-- noether-lua bench/compare.lua DIRECTORY: of the reports of two builds that took turns, the ratios
-- of the second to the first, row by row: medians of the medians, and of the 99th percentiles. What
-- a report gives as a ratio to its own floor is compared as that: a machine's pace is not the same
-- from one run to the next.
-- The reports are DIRECTORY/base-*.json and DIRECTORY/this-*.json.
local json = require "noether.json"

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

-- What each row of the reports had, in order: { name, p50 = { ... }, p99 = { ... } }.
local function read(pattern)
  local rows, by_name = {}, {}
  for path in io.popen("ls " .. pattern):lines() do
    local file = assert(io.open(path))
    local report = assert(json.decode(file:read "a"))
    file:close()
    for _, row in ipairs(report.rows) do
      local known = by_name[row.name] or { name = row.name, p50 = {}, p99 = {} }
      if not by_name[row.name] then rows[#rows + 1] = known end
      by_name[row.name] = known
      local floor = row.ratio and row.p50 and row.p50 / row.ratio or 1
      table.insert(known.p50, row.p50 and row.p50 / floor or row.bytes or row.value)
      table.insert(known.p99, row.p99 and row.p99 / floor)
    end
  end
  return rows, by_name
end

local function ratio(new, old)
  if not new or not old or old == 0 then return "" end
  return ("%7.3f"):format(new / old)
end

local base = select(2, read(arg[1] .. "/base-*.json"))
print(("%-52s %9s %9s"):format("this build / the other", "median", "p99"))
for _, row in ipairs((read(arg[1] .. "/this-*.json"))) do
  local old = base[row.name]
  if old then
    local slower = median(row.p50) > 1.03 * median(old.p50)
    print(("%-52s %9s %9s%s"):format(row.name, ratio(median(row.p50), median(old.p50)),
      ratio(median(row.p99), median(old.p99)), slower and "  MORE" or ""))
  end
end
