-- SPDX-License-Identifier: MIT
local sets = require "noether.set"
local helper = require "spec.support.helper"
local errors = require "noether.error"
local process = require "noether.process"
local sys = require "noether.sys"
local task = require "noether.run.task"

-- A task that runs one shell command and gives its stdout.
local function shell(command, opts)
  return task.new(function(own)
    own:enter("run")
    local proc, err = own:launch({ "/bin/sh", "-c", command }, opts or {})
    if not proc then return nil, err end
    local result
    result, err = own:await(proc)
    proc:close()
    if not result then return nil, err end
    if result.reason == "cancelled" then
      return nil, errors.new{ kind = "cancelled", message = "cancelled" }
    end
    return result.stdout
  end, {})
end

describe("a task", function()
  it("does nothing until it is stepped, and then goes through its states", function()
    local began = false
    local own <close> = task.new(function(t)
      began = t:state()
      t:enter("decode")
      return "done"
    end, {})
    assert.is_false(began)
    assert.equal("prepare", own:state())
    assert.is_true(own:step())
    assert.equal("prepare", began)
    assert.equal("done", own:state())
    assert.equal("done", (own:wait()))
  end)

  it("waits for processes without blocking whoever steps it", function()
    local own <close> = shell("read x; echo $x", { stdin = "hello\n" })
    local started = sys.clock()
    own:step()
    assert.is_true(sys.clock() - started < 1)
    assert.equal("run", own:state())
    local output, err, info = own:wait()
    assert.is_nil(err)
    assert.equal("hello\n", output)
    assert.is_true(info.duration_secs > 0)
    assert.is_true(info.phases.run > 0 and info.phases.prepare >= 0)
  end)

  it("runs several processes, one after the other, behind one descriptor", function()
    local seen = {}
    local own <close> = task.new(function(t)
      local outputs = {}
      for i = 1, 3 do
        local proc = assert(t:launch({ "/bin/echo", tostring(i) }, {}))
        seen[#seen + 1] = t:pollfd()
        outputs[i] = t:await(proc).stdout
        proc:close()
      end
      return table.concat(outputs)
    end, {})
    local fd = own:pollfd()
    assert.equal("1\n2\n3\n", (own:wait()))
    assert.same({ fd, fd, fd }, seen)
    assert.equal(fd, own:pollfd())
    assert.equal("r", own:events())
    assert.equal(0, own:timeout())
  end)

  it("says pending when it is not over in time, and stays usable", function()
    local own <close> = shell("sleep 0.3; echo late")
    for _, secs in ipairs{ 0, 0.01 } do
      local output, err = own:wait(secs)
      assert.is_nil(output)
      assert.equal("pending", err.kind)
    end
    assert.equal("late\n", (own:wait()))
    assert.equal("late\n", (own:wait(0)))
  end)

  it("is cancelled with what it runs, as often as one likes", function()
    local own <close> = shell("sleep 60")
    own:step()
    local started = sys.clock()
    assert.is_true(own:cancel())
    assert.is_true(own:cancel())
    local output, err = own:wait()
    assert.is_nil(output)
    assert.equal("cancelled", err.kind)
    assert.is_true(sys.clock() - started < 5)
    assert.is_true(own:cancel())
  end)

  it("keeps its outcome when it is cancelled too late", function()
    local own <close> = shell("echo x")
    assert.equal("x\n", (own:wait()))
    own:cancel()
    assert.equal("x\n", (own:wait()))
  end)

  it("is cancelled between two processes as well", function()
    local own <close> = task.new(function(t)
      local proc = assert(t:launch({ "/bin/sleep", "60" }, {}))
      t:cancel()
      local result = t:await(proc)
      proc:close()
      return nil, errors.new{ kind = "stage_failed", message = result.reason }
    end, {})
    local started = sys.clock()
    local output, err = own:wait()
    assert.is_nil(output)
    assert.equal("cancelled", err.kind)
    assert.is_true(sys.clock() - started < 10)
  end)

  it("kills what runs when it is closed, and not only when it is collected", function()
    local pid
    local own = task.new(function(t)
      local proc = assert(t:launch({ "/bin/sleep", "60" }, {}))
      pid = proc:pid()
      t:await(proc)
    end, {})
    own:step()
    collectgarbage("stop")
    own:close()
    local gone = helper.poll(function()
      local ok, status = pcall(helper.read, ("/proc/%d/status"):format(pid))
      return not ok or status:find("State:%s+Z") ~= nil
    end)
    collectgarbage("restart")
    assert.is_true(gone)
  end)

  it("may be closed by its own callback, and starts nothing more", function()
    local own <close> = task.new(function(t)
      t:close()
      local proc, err = t:launch({ "/bin/sleep", "60" }, {})
      assert(not proc)
      return nil, err
    end, {})
    local output, err = own:wait()
    assert.is_nil(output)
    assert.equal("closed", err.kind)
  end)

  it("is closed for good", function()
    local own = shell("sleep 60")
    own:step()
    assert.is_true(own:close())
    assert.is_true(own:close())
    assert.equal("closed", own:state())
    assert.is_true(own:step())
    assert.is_true(own:cancel())
    local output, err = own:wait()
    assert.is_nil(output)
    assert.equal("closed", err.kind)
    local fd
    fd, err = own:pollfd()
    assert.is_nil(fd)
    assert.equal("closed", err.kind)
  end)

  it("kills what runs when it is collected", function()
    do
      local own = shell("sleep 60")
      own:step()
    end
    collectgarbage()
    collectgarbage() -- and the check around each test sees whether a child is left
  end)

  it("gives what a callback raised to whoever waits, and leaves nothing running", function()
    local own <close> = task.new(function(t)
      local proc = assert(t:launch({ "/bin/true" }, {}))
      t:await(proc)
      proc:close()
      error({ mine = true })
    end, {})
    for _ = 1, 2 do
      local ok, raised = pcall(own.wait, own)
      assert.is_false(ok)
      assert.same({ mine = true }, raised)
    end
    assert.equal("done", own:state())
  end)

  it("refuses to be stepped by its own work", function()
    local own <close> = task.new(function(t) t:wait() end, {})
    local ok, message = pcall(own.wait, own)
    assert.is_false(ok)
    assert.truthy(message:find("its own callback", 1, true))
  end)

  it("raises on a wrong time", function()
    local own <close> = shell("true")
    for _, secs in ipairs{ -1, 0 / 0, "1" } do
      local ok, message = pcall(own.wait, own, secs)
      assert.is_false(ok)
      assert.truthy(message:find("task:wait: secs", 1, true))
    end
    own:wait()
  end)

  it("can be waited for beside processes", function()
    local slow <close> = shell("sleep 60")
    local quick <close> = shell("echo quick")
    local proc <close> = assert(process.launch({ "/bin/sleep", "60" }, {}))
    slow:step()
    assert.equal(3, (assert(sets.wait_any{ slow, proc, quick })))
  end)

  it("sums the time of a state that is entered twice", function()
    local own <close> = task.new(function(t)
      t:enter("setup")
      t:enter("run")
      t:enter("setup")
      return true
    end, {})
    local _, _, info = own:wait()
    local names = {}
    for name, secs in pairs(info.phases) do
      names[#names + 1] = name
      assert.is_true(secs >= 0)
    end
    table.sort(names)
    assert.same({ "prepare", "run", "setup" }, names)
  end)

  it("sleeps without blocking whoever steps it, and tells how long", function()
    local own <close> = task.new(function(t)
      t:sleep(0.05)
      return "awake"
    end, {})
    assert.is_false(own:step())
    assert.equal("wait", own:state())
    local left = own:timeout()
    assert.is_true(left > 0 and left <= 0.05, left)
    local output, err = own:wait(0)
    assert.is_nil(output)
    assert.equal("pending", err.kind)
    local _, _, info = own:wait()
    assert.equal("awake", (own:wait()))
    assert.is_true(info.phases.wait >= 0.049 and info.phases.wait < 5, info.phases.wait)
  end)

  it("wakes when it is cancelled, and then sleeps no more", function()
    local own <close> = task.new(function(t)
      t:sleep(60)
      t:sleep(60)
      return nil, errors.new{ kind = "stage_failed", message = "slept" }
    end, {})
    own:step()
    local started = sys.clock()
    own:cancel()
    local _, err = own:wait()
    assert.equal("cancelled", err.kind)
    assert.is_true(sys.clock() - started < 5)
  end)

  it("is woken in time by a wait for several", function()
    local own <close> = task.new(function(t)
      t:sleep(0.02)
      return true
    end, {})
    local slow <close> = shell("sleep 60")
    slow:step()
    assert.equal(2, (assert(sets.wait_any({ slow, own }, 10))))
  end)
end)

-- A task that runs `work` in a task that is part of it.
local function around(work, info)
  return task.new(function(own)
    return own:join(task.new(work, info or {}, own))
  end, {})
end

describe("a task that joins another", function()
  it("gives its outcome, and its info as its own", function()
    local own <close> = around(function(t)
      t:warn("careful")
      t:enter("run")
      return "answer"
    end, { mine = true })
    local output, err, info = own:wait()
    assert.equal("answer", output)
    assert.is_nil(err)
    assert.is_true(info.mine)
    assert.same({ "careful" }, info.warnings)
    assert.truthy(info.phases.run)
  end)

  it("has one descriptor, that of its own, for what the other runs", function()
    local fds = {}
    local own <close> = around(function(t)
      fds[1] = t:pollfd()
      local proc = assert(t:launch({ "/bin/sh", "-c", "echo x" }, {}))
      local result = t:await(proc)
      proc:close()
      return result.stdout
    end)
    local fd = own:pollfd()
    assert.is_false(own:step())
    assert.equal(1, (assert(sets.wait_any({ own }, 10))))
    assert.equal("x\n", (own:wait(0)))
    assert.same({ fd }, fds)
    assert.equal(fd, own:pollfd())
  end)

  it("is in the state of the other, and ends it when it is cancelled or closed", function()
    for _, method in ipairs{ "cancel", "close" } do
      local own <close> = around(function(t)
        t:enter("run")
        local proc = assert(t:launch({ "/bin/sleep", "60" }, {}))
        local result = t:await(proc)
        proc:close()
        return nil, errors.new{ kind = "cancelled", message = result.reason }
      end)
      own:step()
      assert.equal("run", own:state())
      local started = sys.clock()
      own[method](own)
      local _, err = own:wait()
      assert.equal(method == "cancel" and "cancelled" or "closed", err.kind)
      assert.is_true(sys.clock() - started < 5)
    end
  end)

  it("raises to its waiter what was raised in the other, at once or later", function()
    for _, secs in ipairs{ 0, 0.01 } do
      local own <close> = around(function(t)
        if secs > 0 then t:sleep(secs) end
        error({ mine = true })
      end)
      for _ = 1, 2 do
        local ok, raised = pcall(own.wait, own)
        assert.is_false(ok)
        assert.same({ mine = true }, raised)
      end
      assert.equal("done", own:state())
    end
  end)

  it("ends the other at once where it was cancelled before", function()
    local own <close> = task.new(function(t)
      t:cancel()
      return t:join(task.new(function(part)
        local proc = assert(part:launch({ "/bin/sleep", "60" }, {}))
        local result = part:await(proc)
        proc:close()
        return nil, errors.new{ kind = "cancelled", message = result.reason }
      end, {}, t))
    end, {})
    local started = sys.clock()
    local _, err = own:wait()
    assert.equal("cancelled", err.kind)
    assert.is_true(sys.clock() - started < 10)
  end)

  it("adds up what several of them took, each span in its place", function()
    local own <close> = task.new(function(t)
      for _ = 1, 2 do
        t:join(task.new(function(part)
          part:enter("run", "napping")
          part:sleep(0.01)
          return true
        end, {}, t))
      end
      return true
    end, {})
    local _, _, info = own:wait()
    assert.is_true(info.phases.wait >= 0.019)
    local names, at = {}, 0
    for _, span in ipairs(info.spans) do
      names[#names + 1] = span.name
      assert.is_true(span.start_secs >= at - 1e-9, span.name)
      assert.is_true(span.duration_secs >= 0)
      at = span.start_secs + span.duration_secs
    end
    assert.truthy(table.concat(names, " "):find("napping wait .*napping wait"))
    assert.is_true(at <= info.duration_secs + 1e-6)
    local sum = 0
    for _, secs in pairs(info.phases) do
      sum = sum + secs
    end
    assert.is_true(math.abs(sum - info.duration_secs) < 0.01)
    assert.is_true(info.started_secs <= sys.clock())
  end)

  it("closes what its work holds when it is over, cancelled or given up, and once", function()
    local closed
    local handle = { close = function() closed = closed + 1 end }
    local ways = {
      over = function(own) own:wait() end,
      cancelled = function(own)
        own:step()
        own:cancel()
        own:wait()
      end,
      ["given up"] = function(own)
        own:step()
        own:close()
      end,
    }
    for name, end_it in pairs(ways) do
      closed = 0
      local own <close> = task.new(function(t)
        assert.equal(handle, t:hold(handle))
        t:pause(name == "over" and 0.001 or 60)
        return true
      end, {})
      end_it(own)
      assert.equal(1, closed, name)
    end
  end)
end)
