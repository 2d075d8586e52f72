-- SPDX-License-Identifier: MIT
--- Tasks: begun, waited for, given up, forgotten; and many at once.
local noether = require "noether"
local support = require "spec.portable.support"

local bash, fails = support.bash, support.fails

local function sleeper(mark)
  return bash(("exec -a %s /bin/sleep 60"):format(mark))
end

describe("in every Lua, a task", function()
  local executor, before

  setup(function()
    executor = noether.check(noether.executor{ timeout_secs = 60 })
    noether.check(executor:execute(bash "cat", 1))
    before = support.holdings()
  end)

  teardown(function() executor:close() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  local function start(...)
    return noether.check(executor:start(...))
  end

  it("does not block, and says pending", function()
    local task = start(bash("sleep 0.2; echo 1"))
    fails("pending", task:wait(0))
    assert.equal("r", task:events())
    assert.is_true(task:pollfd() >= 0)
    assert.equal(1, (noether.check(task:wait(20))))
    assert.is_true(task:step())
    assert.equal("done", task:state())
    task:close()
  end)

  it("is cancelled, and then nothing of it runs", function()
    local mark = support.mark()
    local task = start(sleeper(mark))
    assert.is_true(support.poll(function()
      task:step()
      return support.count(mark) > 0
    end))
    task:cancel()
    fails("cancelled", task:wait(20))
    task:close()
    assert.equal(0, support.count(mark))
  end)

  it("is closed, and then nothing of it runs", function()
    local mark = support.mark()
    local task = start(sleeper(mark))
    assert.is_true(support.poll(function()
      task:step()
      return support.count(mark) > 0
    end))
    task:close()
    assert.is_true(support.poll(function() return support.count(mark) == 0 end))
  end)

  it("that nobody knows any more is collected, and then nothing of it runs", function()
    local mark = support.mark()
    local function forget()
      local task = start(sleeper(mark))
      return support.poll(function()
        task:step()
        return support.count(mark) > 0
      end)
    end
    assert.is_true(forget())
    assert.is_true(support.poll(function()
      support.collect()
      return support.count(mark) == 0
    end))
  end)

  it("of an executor that nobody knows any more, likewise", function()
    local mark = support.mark()
    local function forget()
      local own = noether.check(noether.executor{ timeout_secs = 60 })
      local task = noether.check(own:start(sleeper(mark)))
      return support.poll(function()
        task:step()
        return support.count(mark) > 0
      end)
    end
    assert.is_true(forget())
    assert.is_true(support.poll(function()
      support.collect()
      return support.count(mark) == 0
    end))
  end)

  it("is one of a set, which gives the next that is over", function()
    local set = noether.check(noether.set())
    local slow = set:add(start(bash("sleep 0.4; echo 2")))
    local quick = set:add(start(bash "echo 1"))
    assert.equal(2, set:count())
    assert.equal(quick, set:next(20))
    assert.equal(slow, set:next(20))
    assert.is_nil((set:next(0)))
    assert.same({ 1, 2 }, { (quick:wait(0)), (slow:wait(0)) })
    quick:close()
    slow:close()
    set:close()
  end)

  it("is one of a list, beside a process", function()
    local slow = start(bash("sleep 60"))
    local process = noether.check(noether.spawn({ "/bin/true" }, { isolation = "none" }))
    assert.equal(2, (noether.check(noether.wait_any({ slow, process }, 20))))
    slow:close()
    process:close()
  end)

  it("is waited for by coroutines, each of which goes on as its own is over", function()
    local set, waiting, order = noether.check(noether.set()), {}, {}
    local function await(task)
      waiting[set:add(task)] = coroutine.running()
      coroutine.yield()
      local output = noether.check(task:wait(0))
      task:close()
      return output
    end
    local function spawn(fn)
      assert(coroutine.resume(coroutine.create(fn)))
    end
    local dir = os.tmpname()
    os.remove(dir)
    noether.check(noether.run({ "/bin/mkdir", "-m", "777", dir }, { isolation = "none" }))
    spawn(function()
      local patient = bash("until [ -e go ]; do sleep 0.01; done; rm go; echo 1")
      table.insert(order, (await(start(patient, nil, { work_dir = dir }))))
    end)
    spawn(function()
      table.insert(order, (await(start(bash "echo 2"))))
      table.insert(order, (await(start(bash "echo 3"))))
      assert(io.open(dir .. "/go", "w")):close()
    end)
    local task = set:next(20)
    while task do
      assert(coroutine.resume(waiting[task]))
      task = set:next(20)
    end
    assert.same({ 2, 3, 1 }, order)
    assert(os.remove(dir))
    set:close()
  end)

  it("can be begun in one coroutine, stepped in another and closed in a third", function()
    local task
    local function on(fn)
      local ok, message = coroutine.resume(coroutine.create(fn))
      assert(ok, message)
    end
    on(function() task = start(bash "echo 1") end)
    on(function() support.poll(function() return task:step() end) end)
    on(function() assert(pcall(function() assert.equal(1, (task:wait(0))) end)) end)
    on(function() task:close() end)
  end)

  it("gives its log line by line", function()
    local lines = {}
    noether.check(executor:execute(bash "echo one >&2; echo two >&2; echo 1", nil,
      { on_log = function(line) lines[#lines + 1] = line end }))
    assert.same({ "one", "two" }, lines)
  end)
end)

describe("in every Lua, many calls", function()
  local executor, before

  setup(function()
    executor = noether.check(noether.executor{ timeout_secs = 60 })
    noether.check(executor:execute(bash "cat", 1))
    before = support.holdings()
  end)

  teardown(function() executor:close() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  it("are mapped, and give a record each in the inputs' order", function()
    local progress = 0
    local records = executor:map(bash '[ "$1" != 3 ] && echo $(($1 * $1))', { 1, 2, 3, 4 }, {
      jobs = 2, on_progress = function() progress = progress + 1 end,
    })
    assert.equal(4, progress)
    assert.same({ 1, 4, nil, 16 }, { records[1].output, records[2].output, nil,
      records[4].output })
    assert.equal("stage_failed", records[3].err.kind)
  end)

  it("come from a function, and are given as they end", function()
    local next_input, sum, count = 0, 0, 0
    for _, record in executor:each(bash "cat", function()
      next_input = next_input + 1
      return next_input <= 5 and next_input or nil
    end, { jobs = 2 }) do
      sum, count = sum + record.output, count + 1
    end
    assert.same({ 15, 5 }, { sum, count })
  end)

  it("that were left by break are ended, at the latest when they are collected", function()
    local mark = support.mark()
    local stage = bash(([=[[ "$1" = 1 ] && echo 1 || exec -a %s /bin/sleep 60]=]):format(mark))
    local function leave()
      local seen = 0
      for _, record in executor:each(stage, { 1, 2 }, { jobs = 2 }) do
        assert.equal(1, record.output)
        seen = seen + 1
        if seen > 0 then break end
      end
    end
    leave()
    assert.is_true(support.poll(function()
      support.collect()
      return support.count(mark) == 0
    end))
  end)
end)
