-- SPDX-License-Identifier: MIT
-- noether-lua bench/asleep.lua COUNT ISOLATION: so many stages asleep for one second, all at once.
-- A program of its own, so that no memory is there to be used again; prints a JSON object.
local build = os.getenv("BENCH_BUILD") or "build"
package.path = (arg[0]:match("^(.*)/") or ".") .. "/?.lua;" .. package.path
package.cpath = build .. "/bench/?.so;" .. package.cpath

local floor = require "floor"
local json = require "noether.json"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local count, isolation = tonumber(arg[1]), arg[2]

-- A wait by the shell itself: what `sleep` needs to start would be measured, too.
local STAGE = {
  language = "bash",
  code = "execute() { read -rt 1 </dev/udp/127.0.0.1/9 || echo 1; }",
}

floor.files_limit(count * 6 + 100)
local executor = assert(noether.executor{ isolation = isolation })
noether.check(executor:execute(STAGE, 1)) -- what is there once, whatever the number of stages

local function sleep(number, seen)
  local set, tasks = assert(noether.set()), {}
  for index = 1, number do
    tasks[index] = assert(executor:start(STAGE, index))
    assert(set:add(tasks[index]))
  end
  seen.descriptors = #sys.list("/proc/self/fd")
  seen.bytes = measure.memory("VmRSS")
  for _ = 1, number do
    local task = set:next()
    noether.check(task:wait(0))
    task:close()
  end
  set:close()
end

collectgarbage()
collectgarbage()
local before = { descriptors = #sys.list("/proc/self/fd"), bytes = measure.memory("VmRSS") }
local seen = {}
local secs = measure.time(function() sleep(count, seen) end)
local text = assert(json.encode{
  secs = secs, bytes = (seen.bytes - before.bytes) / count,
  -- The set has one of its own.
  descriptors = (seen.descriptors - before.descriptors - 1) / count,
})
print(text)
executor:close()
