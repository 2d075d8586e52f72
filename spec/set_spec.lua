-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local core = require "noether.core"
local noether = require "noether"
local process = require "noether.process"
local support = require "spec.support.posix"
local sys = require "noether.sys"
local task = require "noether.run.task"

local function sh(command, opts)
  return assert(process.launch({ "/bin/sh", "-c", command }, opts or {}))
end

-- A task of as many processes as there are commands, which returns what the last one wrote.
local function work(...)
  local commands = { ... }
  return task.new(function(own)
    local result
    for _, command in ipairs(commands) do
      local proc = assert(own:launch({ "/bin/sh", "-c", command }, {}))
      result = own:await(proc)
      proc:close()
    end
    return result and result.stdout or "nothing"
  end, {})
end

local function is_readable(fd, secs)
  return core.poll({ fd }, secs or 0, {}) == 1
end

-- What an event loop does: it knows one descriptor, and nothing else.
local function drain(set, secs)
  local fd, found = set:pollfd(), {}
  local deadline = sys.clock() + (secs or 20)
  while set:count() > 0 do
    assert(is_readable(fd, deadline - sys.clock()), "the descriptor stays quiet")
    local handle = set:next(0)
    while handle do
      found[#found + 1] = handle
      handle = set:next(0)
    end
  end
  return found
end

local function close_all(list)
  for _, handle in ipairs(list) do
    handle:close()
  end
end

describe("a set", function()
  it("gives processes and tasks one after the other as they end", function()
    local set <close> = assert(noether.set())
    local slow <close> = set:add(sh "sleep 0.3; echo slow")
    local quick <close> = set:add(work("true", "echo quick"))
    assert.equal(2, set:count())
    assert.equal(quick, set:next())
    assert.equal("quick\n", (quick:wait(0)))
    assert.equal(slow, set:next(10))
    assert.equal("slow\n", slow:wait(0).stdout)
    assert.equal(0, set:count())
    local none, err = set:next()
    assert.is_nil(none)
    assert.is_nil(err)
  end)

  it("takes tasks of any executor, done or not", function()
    local set <close> = noether.set()
    local ex <close> = noether.executor{ isolation = "none" }
    local inline <close> = noether.inline{ double = function(n) return n * 2 end }
    local a <close> = set:add(ex:start({ language = "bash", code = "execute() { cat; }" }, 1))
    local b <close> = set:add(inline:start("double", 21))
    local both <close> = noether.composite{ inline }
    local c <close> = set:add(both:start("double", 4))
    local outputs = {}
    for _, handle in ipairs(drain(set)) do
      outputs[#outputs + 1] = (noether.check(handle:wait(0)))
    end
    assert.same({ 42, 8, 1 }, outputs)
    assert.equal("done", a:state())
    assert.equal("done", b:state())
    assert.equal("done", c:state())
  end)

  it("never blocks in next(0), and says pending", function()
    local set <close> = noether.set()
    local proc <close> = set:add(sh "sleep 60")
    local started = sys.clock()
    for _ = 1, 100 do
      local found, err = set:next(0)
      assert.is_nil(found)
      assert.equal("pending", err.kind)
    end
    assert.is_true(sys.clock() - started < 5)
    local _, err = set:next(0.02)
    assert.equal("pending", err.kind)
    assert.is_nil(proc:result())
  end)

  it("has one descriptor, which is enough to see all ends, deadlines too", function()
    local set <close> = noether.set()
    local fd = set:pollfd()
    local list = {
      sh("sleep 30", { timeout_secs = 0.1, supervise = false }),
      sh("sleep 30", { timeout_secs = 0.2 }),
      sh("yes", { max_output_bytes = 3000000 }), work("true", "echo 2"), work(),
      sh("cat >/dev/null", { stdin = ("x"):rep(1000000) }),
    }
    for _, handle in ipairs(list) do set:add(handle) end
    assert.equal(#list, #drain(set))
    assert.equal(fd, set:pollfd())
    assert.is_false(is_readable(fd))
    assert.equal("r", set:events())
    assert.equal("timeout", list[1]:result().reason)
    assert.equal("output_limit", list[3]:result().reason)
    close_all(list)
  end)

  it("keeps its descriptor quiet while nothing happens", function()
    local set <close> = noether.set()
    local fd = set:pollfd()
    local proc <close> = set:add(sh "sleep 60")
    assert.is_true(is_readable(fd)) -- it was not looked at yet
    set:next(0)
    assert.is_nil(set:timeout())
    assert.is_false(is_readable(fd, 0.1))
    set:remove(proc)
    assert.is_false(is_readable(fd))
  end)

  it("tells loops that ask for a time when there is something to do", function()
    local set <close> = noether.set()
    assert.is_nil(set:timeout())
    local proc <close> = set:add(sh("sleep 60", { timeout_secs = 5, supervise = false }))
    assert.equal(0, set:timeout())
    set:next(0)
    assert.is_true(set:timeout() > 1 and set:timeout() <= 5.1)
    proc:cancel()
    assert.equal(0, set:timeout())
    assert.equal(proc, set:next())
    assert.is_nil(set:timeout())
  end)

  it("loses nothing that is waited for, cancelled or closed elsewhere", function()
    for _, make in ipairs{ sh, work } do
      for _, act in ipairs{ "wait", "cancel", "close" } do
        local set <close> = noether.set()
        local fd = set:pollfd()
        local handle <close> = set:add(make(act == "wait" and "sleep 1" or "sleep 60"))
        set:next(0)
        assert.is_false(is_readable(fd))
        handle[act](handle)
        assert.is_true(is_readable(fd, 10), act)
        assert.equal(handle, set:next(10), act)
        assert.is_false(is_readable(fd))
      end
    end
  end)

  it("shares a handle with other sets, and gives it once", function()
    local one <close> = noether.set()
    local other <close> = noether.set()
    local proc <close> = sh "true"
    one:add(proc)
    one:add(proc)
    other:add(proc)
    assert.equal(1, one:count())
    assert.equal(proc, one:next(10))
    assert.is_nil(one:next())
    assert.equal(proc, other:next(10))
  end)

  it("lets one be taken out, whatever its state", function()
    local set <close> = noether.set()
    local proc <close> = set:add(sh "true")
    local over <close> = set:add(sh "true")
    assert.is_true(set:remove(proc))
    assert.is_false(set:remove(proc))
    over:wait()
    assert.is_true(set:remove(over))
    assert.equal(0, set:count())
    assert.is_true(proc:wait(10).ok)
    assert.is_nil(set:next(0))
  end)

  it("leaves what a callback raised to wait, and goes on with the others", function()
    local set <close> = noether.set()
    local bad <close> = set:add(task.new(function() error({ mine = true }) end, {}))
    local good <close> = set:add(work "echo good")
    assert.equal(bad, set:next(10))
    local ok, raised = pcall(bad.wait, bad)
    assert.is_false(ok)
    assert.same({ mine = true }, raised)
    assert.equal(good, set:next(10))
    assert.equal("good\n", (good:wait()))
  end)

  it("may be changed by the callbacks of what is in it", function()
    local set <close> = noether.set()
    local second = work "echo second"
    local first
    first = task.new(function()
      set:add(second)
      set:remove(first)
      assert.is_false((pcall(set.next, set)))
      return "first"
    end, {})
    set:add(first)
    assert.equal(second, set:next(10))
    assert.is_nil(set:next())
    close_all{ first, second }
    local closer <close> = task.new(function() set:close() end, {})
    set:add(closer)
    local _, err = set:next(10)
    assert.equal("closed", err.kind)
  end)

  it("lets nobody starve beside one that always has something to do", function()
    local set <close> = noether.set()
    local flood <close> = set:add(sh("yes", { max_output_bytes = math.huge, timeout_secs = 0.5 }))
    local list = {}
    for i = 1, 20 do list[i] = set:add(sh "sleep 0.1") end
    for _ = 1, 20 do
      local found = set:next(10)
      assert.is_true(found ~= nil and found ~= flood)
    end
    flood:cancel()
    assert.equal(flood, set:next(10))
    close_all(list)
  end)

  it("holds hundreds, whose ends come in any order", function()
    local set <close> = noether.set()
    local list, seen = {}, {}
    -- As many as the usual limit of open files, 1024, lets run at once.
    for i = 1, 190 do list[i] = set:add(sh(i % 3 == 0 and "sleep 0.05" or "true")) end
    for _, handle in ipairs(drain(set)) do
      assert.is_nil(seen[handle])
      assert.is_true(handle:result().ok)
      seen[handle] = true
    end
    for _, handle in ipairs(list) do assert.is_true(seen[handle]) end
    close_all(list)
  end)

  it("gives in next(0) what is over, however many only have something to do", function()
    local set <close> = noether.set()
    local list = {}
    for i = 1, 300 do -- more than one look at the poller gives
      list[i] = set:add(task.new(function(own)
        -- Always readable, never over.
        own:await{ step = function() return false end, timeout = function() end,
          close = function() end, wait = function() end }
      end, {}))
      list[i]:own_poller():alarm(0)
    end
    local last = set:add(sh "sleep 0.2")
    set:next(0)
    helper.poll(function() return is_readable(last:pollfd()) end)
    assert.equal(last, set:next(0))
    close_all(list)
    last:close()
  end)

  it("is closed for good, and what was in it goes on", function()
    local set = noether.set()
    local proc <close> = set:add(sh "echo on")
    assert.is_true(set:close())
    assert.is_true(set:close())
    for _, result in ipairs{ { set:next() }, { set:pollfd() }, { set:add(proc) } } do
      assert.is_nil(result[1])
      assert.equal("closed", result[2].kind)
    end
    assert.equal(0, set:count())
    assert.is_nil(set:timeout())
    assert.is_false(set:remove(proc))
    assert.equal("on\n", proc:wait(10).stdout)
  end)

  it("closes nothing, and leaks nothing, when it is forgotten", function()
    local proc <close> = sh "sleep 0.1; echo on"
    do
      local set = noether.set()
      set:add(proc)
      set:pollfd()
    end
    collectgarbage()
    collectgarbage()
    assert.equal("on\n", proc:wait(10).stdout)
    assert.is_nil(next(proc.watchers))
  end)

  it("raises for what is no handle, no time, or no set", function()
    local set <close> = noether.set()
    local cases = {
      { "set:add: handle: expected a process or a task, got nil", function() set:add(nil) end },
      { "expected a process or a task, got table", function() set:add({}) end },
      { "set:next: secs", function() set:next(-1) end },
      { "call it with a colon: set:next", function() set.next(1) end },
    }
    for _, case in ipairs(cases) do
      local ok, message = pcall(case[2])
      assert.is_false(ok)
      assert.truthy(message:find(case[1], 1, true), message)
      assert.truthy(message:find("set_spec.lua:%d+:"), message)
    end
  end)

  it("is not to be had when no descriptor is left", function()
    local limit = support.files_limit()
    local spare <close> = noether.set()
    local fd = spare:pollfd()
    spare:close()
    support.files_limit(fd)
    local set, err = noether.set()
    support.files_limit(limit)
    assert.is_nil(set)
    assert.equal("spawn_failed", err.kind)
    assert.equal("EMFILE", err.errno)
    assert.truthy(err.hint:find("ulimit -n", 1, true))
  end)
end)

-- All that there is, run to its end at once: what it gave, as text.
local function a_bit_of_everything()
  local set <close> = noether.set()
  local ex <close> = noether.executor{}
  local list = {}
  for i = 1, 8 do
    local code = i % 2 == 0 and "execute() { exit 3; }" or "execute() { cat; }"
    list[i] = set:add(assert(ex:start({ language = "bash", code = code }, i)))
  end
  for i = 9, 16 do list[i] = set:add(sh("exit " .. i)) end
  list[17] = set:add(sh("sleep 60", { timeout_secs = 0.05 }))
  list[18] = set:add(sh "kill -9 $$")
  drain(set)
  local told = {}
  for i, handle in ipairs(list) do
    local output, err = handle:wait(0)
    told[i] = tostring(err and err.kind or type(output) ~= "table" and output
      or output.exit_code or output.signal or output.reason)
  end
  close_all(list)
  return table.concat(told, " ")
end

local EVERYTHING = "1 stage_failed 3 stage_failed 5 stage_failed 7 stage_failed "
  .. "9 10 11 12 13 14 15 16 timeout SIGKILL"

describe("a host", function()
  after_each(function() support.sigchld("default") end)

  for _, manner in ipairs{ "default", "ignore", "reap" } do
    it(("whose way with SIGCHLD is '%s' loses nothing"):format(manner), function()
      support.sigchld(manner)
      assert.equal(EVERYTHING, a_bit_of_everything())
    end)
  end

  it("with other threads, one of which reaps what it can, loses nothing", function()
    support.sigchld("reap")
    support.threads(true)
    local ok, told = pcall(a_bit_of_everything)
    support.threads(false)
    assert.is_true(ok, told)
    assert.equal(EVERYTHING, told)
  end)
end)

describe("a forked copy of the host", function()
  local METHODS = {
    process = { "wait", "step", "result", "pollfd", "timeout", "pid", "kill", "cancel",
      "setup_steps" },
    task = { "wait", "step", "state", "pollfd", "timeout", "cancel" },
    set = { "next", "pollfd", "timeout", "count", "remove", "add" },
  }

  local function check(what, handle)
    for _, name in ipairs(METHODS[what]) do
      local ok, message = pcall(handle[name], handle, name == "add" and sh "true" or nil)
      assert(not ok, what .. ":" .. name)
      assert(message:find("belongs to the parent", 1, true), message)
    end
    assert(handle:close())
  end

  it("can do nothing with the handles but close them, and disturbs nobody", function()
    local ex <close> = noether.executor{ isolation = "none" }
    local proc <close> = sh "sleep 0.3; echo a"
    local stage = { language = "bash", code = "execute() { sleep 0.3; cat; }" }
    local running <close> = ex:start(stage, 1)
    local done <close> = ex:start("nonesuch", 1)
    local set <close> = noether.set()
    set:pollfd()
    for _, handle in ipairs{ proc, running, done } do set:add(handle) end
    assert.equal("good", support.forked(function()
      check("process", proc)
      check("task", running)
      check("task", done)
      check("set", set)
      assert(ex:close())
      return "good"
    end))
    local found = drain(set)
    assert.equal(3, #found)
    assert.equal("a\n", proc:result().stdout)
    assert.equal(1, (noether.check(running:wait(0))))
  end)

  it("has runs and sets of its own", function()
    local before <close> = sh "sleep 0.2"
    assert.equal(EVERYTHING, support.forked(a_bit_of_everything))
    assert.is_true(before:wait(10).ok)
  end)

  it("holds copies of descriptors, which wake nobody once the handle is closed", function()
    local set <close> = noether.set()
    local fd = set:pollfd()
    local gone = { set:add(sh "sleep 60"), set:add(work "sleep 60") }
    set:next(0)
    local copy = support.copy()
    for _, handle in ipairs(gone) do handle:close() end
    local found = { set:next(10), set:next(10) }
    local quiet = not is_readable(fd, 0.1)
    support.end_copy(copy)
    assert.equal(2, #found)
    assert.is_true(quiet)
  end)
end)
