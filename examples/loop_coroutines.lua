-- SPDX-License-Identifier: MIT
-- Stages in a scheduler of coroutines, twenty lines of it: whoever runs a stage waits, and all
-- others go on.
--
--     noether-lua examples/loop_coroutines.lua
local noether = require "noether"

local set = noether.check(noether.set())
local waiting = {} -- coroutine by the task that it waits for

local function resume(thread, ...)
  local ok, message = coroutine.resume(thread, ...)
  if not ok then error(debug.traceback(thread, message), 0) end
end

local function spawn(fn)
  resume(coroutine.create(fn))
end

-- To be called in a coroutine: the output of a task, or nil and an error.
local function await(task)
  waiting[noether.check(set:add(task))] = coroutine.running()
  coroutine.yield()
  local output, err, info = task:wait(0)
  task:close()
  return output, err, info
end

-- A program with other things to wait for polls set:pollfd() beside them, and asks set:next(0).
local function run()
  local task = set:next()
  while task do
    local thread = waiting[task]
    waiting[task] = nil
    resume(thread)
    task = set:next()
  end
end

local executor = noether.check(noether.executor())
local square = { language = "bash", code = "execute() { sleep 0.2; echo $(($1 * $1)); }" }

for n = 1, 5 do
  spawn(function()
    local squared = noether.check(await(executor:start(square, n)))
    local again = noether.check(await(executor:start(square, squared)))
    print(("%d, squared, squared: %d"):format(n, again))
  end)
end

spawn(function()
  local _, err = await(executor:start({ language = "bash", code = "execute() { exit 3; }" }))
  print("one fails: " .. err.kind)
end)

local started = noether.clock()
run()
print(noether.clock() - started < 5 and "all at once" or "one after the other")
set:close()
executor:close()
