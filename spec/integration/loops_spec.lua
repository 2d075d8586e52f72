-- SPDX-License-Identifier: MIT
--- Stages in other people's event loops, in our interpreter and in Debian's.
local helper = require "spec.support.helper"

local build = helper.lua:match("^(.*)/bin/[^/]+$")

local INTERPRETERS = {
  ["noether-lua"] = helper.quote(helper.lua),
  ["lua5.4"] = ("LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='%s/lib/5.4/?.so;;' lua5.4")
    :format(build),
}

local function run(name, script)
  local first = name == "lua5.4" and helper.sanitizers_first or ""
  return helper.shell(("cd %s || exit\n%s%s %s"):format(
    helper.quote(helper.root), first, INTERPRETERS[name], script))
end

local EXAMPLES = {
  loop_coroutines = { "5, squared, squared: 625", "one fails: stage_failed", "all at once" },
  loop_luv = { "1\t1\n", "5\t25\n", "the timer went on" },
  loop_cqueues = { "1\t1\n", "5\t25\n", "the others went on" },
}

-- Stages that call: a function that answers at once, one that a timer of the loop's own answers,
-- one that gives a process, and one that gives another stage's task.
local CALLING = [=[
local noether = require "noether"
local executor = noether.check(noether.executor{ isolation = "none", timeout_secs = 60 })
local stage = {
  language = "python", effects = { { Call = "*" } },
  code = "import asyncio\nfrom noether import acall\n"
    .. "async def all_of(n):\n    names = ('once', 'timed', 'process', 'stage')\n"
    .. "    got = await asyncio.gather(*[acall(name, n) for name in names])\n"
    .. "    return [got[0], got[1], got[2]['exit_code'], got[3]]\n"
    .. "def execute(n): return asyncio.run(all_of(n))",
}
local inner = { language = "bash", code = "execute() { sleep 0.05; echo $(($1 * 4)); }",
  effects = { "Process" } }
local LOOP
local functions = {
  once = function(n) return n end,
  timed = function(n, call)
    call:later()
    LOOP.after(function() call:answer(n * 2) end)
  end,
  process = function() return noether.spawn({ "sh", "-c", "exit 3" }, { isolation = "none" }) end,
  stage = function(n) return executor:start(inner, n) end,
}
local function start(n)
  return noether.check(executor:start(stage, n, { functions = functions }))
end
local function tell(output, err)
  print(err or ("%d %d %d %d"):format(output[1], output[2], output[3], output[4]))
end
]=]

local LOOPS = {
  luv = [[
local uv = require "luv"
local set = noether.set()
local poll = uv.new_poll(set:pollfd())
LOOP = { after = function(fn)
  local timer = uv.new_timer()
  timer:start(20, 0, function()
    timer:close()
    fn()
  end)
end }
for n = 1, 3 do set:add(start(n)) end
poll:start("r", function()
  local task = set:next(0)
  while task do
    tell(task:wait(0))
    task:close()
    task = set:next(0)
  end
  if set:count() == 0 then poll:close() end
end)
uv.run()
set:close()]],
  cqueues = [[
local cqueues = require "cqueues"
local queue = cqueues.new()
LOOP = { after = function(fn)
  queue:wrap(function()
    cqueues.sleep(0.02)
    fn()
  end)
end }
for n = 1, 3 do
  queue:wrap(function()
    local task = start(n)
    while not task:step() do cqueues.poll(task) end
    tell(task:wait(0))
    cqueues.cancel(task:pollfd())
    task:close()
  end)
end
assert(queue:loop())]],
  coroutines = [[
local set, waiting, due = noether.set(), {}, {}
LOOP = { after = function(fn) due[#due + 1] = { noether.clock() + 0.02, fn } end }
for n = 1, 3 do
  coroutine.wrap(function()
    local task = start(n)
    waiting[set:add(task)] = coroutine.running()
    coroutine.yield()
    tell(task:wait(0))
    task:close()
  end)()
end
while set:count() > 0 do
  local task = set:next(0.01)
  if task then assert(coroutine.resume(waiting[task])) end
  while due[1] and noether.clock() >= due[1][1] do table.remove(due, 1)[2]() end
end
set:close()]],
}

for name in pairs(INTERPRETERS) do
  describe("in " .. name, function()
    for loop, text in pairs(LOOPS) do
      it("stages call functions of their host, which waits for all in " .. loop, function()
        local script = helper.write(helper.tmpdir() .. "/calling.lua",
          CALLING .. text .. "\nexecutor:close()")
        local output, code = run(name, script)
        assert.equal(0, code, output)
        local lines = {}
        for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
        table.sort(lines)
        assert.same({ "1 2 3 4", "2 4 3 8", "3 6 3 12" }, lines)
      end)
    end

    for example, texts in pairs(EXAMPLES) do
      it(("the example %s runs stages beside other things"):format(example), function()
        local output, code = run(name, "examples/" .. example .. ".lua")
        assert.equal(0, code, output)
        for _, text in ipairs(texts) do
          assert.truthy(output:find(text, 1, true), output)
        end
      end)
    end

    it("luv needs to know nothing but the descriptor of a set, deadlines included", function()
      local script = helper.write(helper.tmpdir() .. "/deadlines.lua", [[
        local noether, uv = require "noether", require "luv"
        local set = noether.set()
        local poll = uv.new_poll(set:pollfd())
        local opts = { isolation = "none", supervise = false, timeout_secs = 0.2 }
        for i = 1, 3 do set:add(noether.check(noether.spawn({ "sleep", "60" }, opts))) end
        poll:start("r", function()
          local proc = set:next(0)
          while proc do
            print(proc:wait(0).reason)
            proc:close()
            proc = set:next(0)
          end
          if set:count() == 0 then poll:close() end
        end)
        uv.run()
        set:close()]])
      local output, code = run(name, script)
      assert.equal(0, code, output)
      assert.equal(("timeout\n"):rep(3), output)
    end)
  end)
end

describe("threads of one program", function()
  it("run stages each in a Lua state of its own, at once", function()
    local script = helper.write(helper.tmpdir() .. "/threads.lua", [[
      local uv = require "luv"
      local function work(path, cpath, number)
        package.path, package.cpath = path, cpath
        local noether = require "noether"
        local ex = noether.check(noether.executor())
        local stage = { language = "bash", code = "execute() { sleep 0.1; cat; }" }
        local sum = 0
        for _, record in ex:each(stage, { 1, 2, 3, 4, 5, 6 }, { jobs = 6 }) do
          sum = sum + noether.check(record.output, record.err)
        end
        ex:close()
        -- One write: a line of another thread does not come between.
        io.write(("thread %d: %d\n"):format(number, sum))
        io.flush()
      end
      local threads = {}
      for i = 1, 4 do threads[i] = uv.new_thread(work, package.path, package.cpath, i) end
      for _, thread in ipairs(threads) do thread:join() end
      -- Luv 1.48 does not outlive the end of a state that had threads.
      os.exit(0)]])
    local output, code = run("lua5.4", script)
    assert.equal(0, code, output)
    for i = 1, 4 do
      assert.truthy(output:find(("thread %d: 21\n"):format(i), 1, true), output)
    end
  end)
end)
