-- SPDX-License-Identifier: MIT
-- noether-lua bench/run.lua [REPORT.json] [PART...]: measures, prints a table, writes the report.
-- Exits 1 if a ratio or an amount of memory is over its limit.
local here = arg[0]:match("^(.*)/") or "."
local build = os.getenv("BENCH_BUILD") or "build"
package.path = here .. "/?.lua;" .. package.path
package.cpath = build .. "/bench/?.so;" .. package.cpath

local json = require "noether.json"

local PARTS = {
  "machine", "load", "spawn", "luas", "capture", "stage", "warm", "fork", "session", "calls",
  "venv", "sandbox", "network", "files", "mcp", "json", "layers", "scale", "fleet", "nix", "peers",
}

local function milliseconds(secs)
  if not secs then return (" "):rep(10) end
  return ("%10.3f"):format(secs * 1000)
end

local function amount(value, unit)
  return value and ("%s %s"):format(("%7.2f"):format(value), unit) or ""
end

local function verdict(row)
  if row.value then
    return amount(row.value, row.unit), amount(row.max, row.unit),
      not row.max or row.value <= row.max
  end
  if row.bytes then
    return ("%7.1f MiB"):format(row.bytes / 2 ^ 20), ("%7.1f MiB"):format(row.max_bytes / 2 ^ 20),
      row.bytes <= row.max_bytes
  end
  return row.ratio and ("%7.2f"):format(row.ratio) or "", row.limit and ("%7.2f"):format(row.limit)
    or "", not row.limit or row.ratio <= row.limit
end

local function print_rows(rows)
  local held = true
  for _, row in ipairs(rows) do
    local ratio, limit, ok = verdict(row)
    held = held and ok
    print(("%-52s %11s %11s %s %s %s%s"):format(row.name, ratio, limit, milliseconds(row.p50),
      milliseconds(row.p95), milliseconds(row.p99), ok and "" or "  OVER"))
  end
  return held
end

-- What is measured: the commit, with a "+" where the files are not as they are in it.
local function commit()
  local pipe = io.popen "git rev-parse HEAD 2>/dev/null; git status --porcelain -uno 2>/dev/null"
  local hash, change = pipe:read "l", pipe:read "l"
  pipe:close()
  return hash and hash .. (change and "+" or "")
end

local report = { commit = commit(), rows = json.array{} }
local parts = { table.unpack(arg, 2) }
local held = true
print(("%-52s %11s %11s %10s %10s %10s"):format("", "ratio", "limit", "p50 ms", "p95 ms", "p99 ms"))
for _, name in ipairs(#parts > 0 and parts or PARTS) do
  local rows = require(name).run{
    rounds = tonumber(os.getenv("BENCH_ROUNDS")), long = os.getenv("BENCH_LONG") ~= nil,
  }
  held = print_rows(rows) and held
  table.move(rows, 1, #rows, #report.rows + 1, report.rows)
end
if arg[1] then
  local file = assert(io.open(arg[1], "w"))
  file:write(assert(json.encode(report)), "\n")
  file:close()
end
os.exit(held)
