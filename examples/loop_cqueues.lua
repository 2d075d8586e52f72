-- SPDX-License-Identifier: MIT
-- Stages in the coroutines of cqueues, which knows descriptors and times: whatever has `pollfd`,
-- `events` and `timeout` can be waited for as it is, a task as well as a set. Debian's lua-cqueues
-- has the module.
--
--     noether-lua examples/loop_cqueues.lua
local cqueues = require "cqueues"
local noether = require "noether"

-- To be called in a coroutine of a cqueue: as task:wait(), but all others go on.
local function await(task)
  while not task:step() do
    cqueues.poll(task)
  end
  local output, err, info = task:wait(0)
  cqueues.cancel(task:pollfd()) -- before it is closed: cqueues keeps what it has polled
  task:close()
  return output, err, info
end

local executor = noether.check(noether.executor())
local square = { language = "bash", code = "execute() { sleep 0.3; echo $(($1 * $1)); }" }
local queue = cqueues.new()

local ticks = 0
for n = 1, 5 do
  queue:wrap(function()
    local output, err = await(noether.check(executor:start(square, n)))
    print(n, err or output)
  end)
end
queue:wrap(function()
  while queue:count() > 1 do
    cqueues.sleep(0.01)
    ticks = ticks + 1
  end
end)

assert(queue:loop())
print(ticks > 3 and "the others went on" or "the others stood still")
executor:close()
