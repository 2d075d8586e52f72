-- SPDX-License-Identifier: MIT
--- Stages in other people's event loops, in our interpreter and in Debian's.
local helper = require "spec.helper"

local build = helper.lua:match("^(.*)/bin/[^/]+$")

local INTERPRETERS = {
  ["noether-lua"] = helper.quote(helper.lua),
  ["lua5.4"] = ("LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='%s/lib/?.so;;' lua5.4")
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

for name in pairs(INTERPRETERS) do
  describe("in " .. name, function()
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
      for _, thread in ipairs(threads) do thread:join() end]])
    local output, code = run("lua5.4", script)
    assert.equal(0, code, output)
    for i = 1, 4 do
      assert.truthy(output:find(("thread %d: 21\n"):format(i), 1, true), output)
    end
  end)
end)
