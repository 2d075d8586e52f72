-- SPDX-License-Identifier: MIT
-- Stages in the event loop of libuv, beside its own timers: one descriptor stands for all of them.
-- Debian's lua-luv has the module; Neovim and others have it built in, as vim.uv.
--
--     noether-lua examples/loop_luv.lua
local noether = require "noether"
local uv = require "luv"

local set = noether.check(noether.set())
local callbacks = {} -- by task
local poll = assert(uv.new_poll(set:pollfd()))

local function dispatch()
  local task = set:next(0)
  while task do
    local callback = callbacks[task]
    callbacks[task] = nil
    callback(task:wait(0))
    task:close()
    task = set:next(0)
  end
  if set:count() == 0 then poll:stop() end -- nothing of ours keeps the loop running
end

-- Calls callback(output, err, info) when the task is over.
local function watch(task, callback)
  if set:count() == 0 then poll:start("r", dispatch) end
  callbacks[noether.check(set:add(task))] = callback
end

local executor = noether.check(noether.executor())
local square = { language = "bash", code = "execute() { sleep 0.3; echo $(($1 * $1)); }" }

local ticks = 0
local timer = uv.new_timer()
timer:start(10, 10, function() ticks = ticks + 1 end)

local left = 5
for n = 1, 5 do
  watch(noether.check(executor:start(square, n)), function(output, err)
    print(n, err or output)
    left = left - 1
    if left == 0 then timer:close() end
  end)
end

uv.run()
print(ticks > 3 and "the timer went on" or "the timer stood still")
poll:close()
uv.run()
set:close()
executor:close()
