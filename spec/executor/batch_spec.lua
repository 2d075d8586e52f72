-- SPDX-License-Identifier: MIT
--- `map` and `each`, which every executor has.
local helper = require "spec.support.helper"
local noether = require "noether"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local function bash(code)
  local ex = assert(noether.executor{ isolation = "none" })
  assert(ex:register_with_effects("stage", "execute() { " .. code .. "; }", "bash"))
  return ex
end

local function inline(fn)
  return noether.inline{ stage = fn or function(n) return n end }
end

-- The inputs 1 to count, one a call; `asked` counts the calls.
local function counter(count)
  local source = { asked = 0 }
  return setmetatable(source, { __call = function()
    source.asked = source.asked + 1
    return source.asked <= count and source.asked or nil
  end })
end

local function kinds(records)
  local list = {}
  for index, record in ipairs(records) do
    list[index] = record.err and record.err.kind or record.output
  end
  return list
end

describe("map", function()
  it("takes inputs from a function, until it gives nil", function()
    local ex <close> = inline()
    local records = ex:map("stage", counter(5), { jobs = 2 })
    assert.same({ 1, 2, 3, 4, 5 }, kinds(records))
    local path = helper.write(helper.tmpdir() .. "/lines", "one\ntwo\n")
    assert.same({ "one", "two" }, kinds(ex:map("stage", io.lines(path))))
    assert.same({}, ex:map("stage", function() end))
  end)

  it("takes what is different in the call of one input", function()
    local ex <close> = bash [[read -r line <text; printf '"%s %s %s"' "$line" "$A" "$B"]]
    local seen = {}
    local records = ex:map("stage", { "a", "b", "c" }, {
      files = { text = "all\n" }, env = { A = "1", B = "2" }, timeout_secs = 60,
      per_input = function(input, index)
        seen[index] = input
        if index == 3 then return nil end
        return { files = { text = input .. "\n" }, env = { B = tostring(index) } }
      end,
    })
    assert.same({ "a 1 1", "b 1 2", "all 1 2" }, kinds(records))
    assert.same({ "a", "b", "c" }, seen)
  end)

  it("puts the outputs of each input where per_input says", function()
    local ex <close> = bash 'echo "$1" >left; echo null'
    local dir = helper.tmpdir()
    helper.shell(("mkdir %s/1 %s/2"):format(dir, dir))
    local records = ex:map("stage", { "one", "two" }, {
      outputs = { "left" }, timeout_secs = 60,
      per_input = function(_, index) return { output_dir = dir .. "/" .. index } end,
    })
    assert.is_nil(records[1].err or records[2].err)
    assert.equal('"one"\n', helper.read(dir .. "/1/left"))
    assert.equal('"two"\n', helper.read(dir .. "/2/left"))
  end)

  it("raises what per_input raised when the others are through", function()
    local ex <close> = inline()
    local records = {}
    local ok, message = pcall(ex.map, ex, "stage", { 1, 2, 3 }, {
      per_input = function(input)
        if input == 2 then error("no files today", 0) end
        return input == 3 and { fiels = {} } or nil
      end,
      on_record = function(index, record) records[index] = record end,
    })
    assert.same({ false, "no files today" }, { ok, message })
    assert.same({ 1, "cancelled", "cancelled" }, kinds(records))
  end)

  it("asks for the next input only when a job is free", function()
    local ex <close> = inline()
    local most, done, inputs = 0, 0, counter(50)
    ex:map("stage", inputs, { jobs = 3, on_record = function()
      done = done + 1
      most = math.max(most, inputs.asked - done)
    end })
    assert.equal(50, done)
    assert.is_true(most <= 4) -- those that run, and the one that was told
  end)

  it("hands records to a callback as they come, and shows how far it is", function()
    local ex <close> = bash 'read -r n; [ "$n" = 1 ] && sleep 0.5; echo "$n"'
    local seen, progress = {}, {}
    local records = ex:map("stage", { 1, 2, 3 }, {
      jobs = 2,
      on_record = function(index, record)
        seen[#seen + 1] = index
        assert.equal(index, record.output)
      end,
      on_progress = function(done, total) progress[#progress + 1] = done .. "/" .. total end,
    })
    assert.same({ 2, 3, 1 }, seen)
    assert.same({ "1/3", "2/3", "3/3" }, progress)
    assert.same({ 1, 2, 3 }, kinds(records))
  end)

  it("does not know how much there is of what a function gives, until its end", function()
    local ex <close> = inline()
    local totals = {}
    ex:map("stage", counter(3), { jobs = 1, on_progress = function(done, total)
      totals[done] = total or "unknown"
    end })
    assert.same({ "unknown", "unknown", 3 }, totals)
  end)

  it("goes on after an error, or stops: then the rest is cancelled", function()
    local ex <close> = bash [[read -r n; case $n in 2) exit 1;; 3|6) sleep 60;; esac; echo "$n"]]
    local started = sys.clock()
    local records = ex:map("stage", { 6, 2, 3, 4, 5 }, { jobs = 3, on_error = "stop" })
    assert.is_true(sys.clock() - started < 20)
    assert.equal(5, #records)
    assert.equal("stage_failed", records[2].err.kind)
    assert.equal("cancelled", records[3].err.kind)
    assert.equal("cancelled", records[5].err.kind)
    assert.truthy(records[5].err.message:find("not started", 1, true))
    records = ex:map("stage", { 1, 2, 4 }, { on_error = "continue" })
    assert.same({ 1, "stage_failed", 4 }, kinds(records))
  end)

  it("stops asking a function that has no end", function()
    local ex <close> = inline(function(n) return n < 4 and n or nil, "enough" end)
    local inputs = counter(math.huge)
    local records = ex:map("stage", inputs, { jobs = 2, on_error = "stop" })
    assert.same({ 1, 2, 3, "stage_failed" }, { table.unpack(kinds(records), 1, 4) })
    assert.is_true(inputs.asked <= 6)
  end)

  it("raises what a callback raised once the others are through", function()
    local ex <close> = inline()
    for _, name in ipairs{ "on_record", "on_progress" } do
      local seen = 0
      local ok, raised = pcall(ex.map, ex, "stage", { 1, 2, 3, 4 }, { jobs = 2, [name] = function()
        seen = seen + 1
        error({ first = seen })
      end })
      assert.is_false(ok)
      assert.same({ first = 1 }, raised)
      assert.equal(4, seen)
    end
  end)

  it("raises what on_log raised, and the others go on or are cancelled as asked", function()
    local ex <close> = bash 'read -r n; echo log >&2; [ "$n" = 1 ] || sleep 0.3; echo "$n"'
    for on_error, expected in pairs{
      continue = { "cancelled", 2, 3 }, stop = { "cancelled", "cancelled", "cancelled" },
    } do
      local seen = {}
      local ok, message = pcall(function()
        for index, record in ex:each("stage", { 1, 2, 3 }, { jobs = 2, on_error = on_error,
            on_log = function() error("listener", 0) end }) do
          seen[index] = record
        end
      end)
      assert.is_false(ok)
      assert.equal("listener", message)
      -- Each of them has a log: with "continue" all listeners are called, and all raise.
      assert.equal(3, #seen)
      assert.equal(expected[1], kinds(seen)[1])
      assert.equal("cancelled", kinds(seen)[3])
    end
  end)

  it("raises what the function that gives the inputs raised, and loses no record", function()
    local ex <close> = inline()
    local seen = {}
    local ok, message = pcall(ex.map, ex, "stage", function()
      if #seen == 2 then error("no more", 0) end
      return 7
    end, { jobs = 1, on_record = function(_, record) seen[#seen + 1] = record.output end })
    assert.is_false(ok)
    assert.equal("no more", message)
    assert.same({ 7, 7, 7 }, seen) -- the third ran already when the second was told
  end)

  it("ends when the executor is closed by a callback", function()
    local ex <close> = bash 'read -r n; [ "$n" = 1 ] || sleep 60; echo "$n"'
    local started = sys.clock()
    local records = ex:map("stage", { 1, 2, 3 }, {
      jobs = 2, on_record = function() ex:close() end,
    })
    assert.is_true(sys.clock() - started < 20)
    assert.same({ 1, "closed", "closed" }, kinds(records))
  end)

  it("gives each input the error that there is no room for it", function()
    local ex <close> = bash "echo 1"
    assert.equal(1, ex:map("stage", { 1 })[1].output)
    local set = noether.set()
    local lowest = set:pollfd()
    set:close()
    local before = support.files_limit()
    support.files_limit(lowest + 4)
    local ok, records = pcall(ex.map, ex, "stage", { 1, 2 }, { jobs = 2 })
    support.files_limit(before)
    assert.is_true(ok, records)
    for _, record in ipairs(records) do
      assert.equal("spawn_failed", record.err.kind)
      assert.equal("EMFILE", record.err.errno)
    end
    assert.equal(1, ex:map("stage", { 1 })[1].output)
  end)

  it("raises on wrong inputs and options, at the caller's line", function()
    local ex <close> = inline()
    local cases = {
      { "inputs: expected a list or a function", "x" }, { "inputs: expected a list", { a = 1 } },
      { "a list with holes", { 1, nil, 3 } }, { "jobs", {}, { jobs = 1.5 } },
      { "on_error", {}, { on_error = "ignore" } }, { "on_record", {}, { on_record = 1 } },
      { "on_progress", {}, { on_progress = true } },
      { "did you mean 'timeout_secs'", {}, { tiemout_secs = 1 } }, { "options", {}, 5 },
    }
    for _, name in ipairs{ "map", "each" } do
      for _, case in ipairs(cases) do
        local ok, message = pcall(function() ex[name](ex, "stage", case[2], case[3]) end)
        assert.is_false(ok)
        assert.truthy(message:find(case[1], 1, true), message)
        assert.truthy(message:find("executor:" .. name, 1, true), message)
        assert.truthy(message:find("batch_spec.lua:%d+:"), message)
      end
    end
  end)

  it("leaves inputs and options as they were", function()
    local ex <close> = inline()
    local inputs, opts = { 1, 2 }, { jobs = 1, timeout_secs = 3 }
    ex:map("stage", inputs, opts)
    assert.same({ 1, 2 }, inputs)
    assert.same({ jobs = 1, timeout_secs = 3 }, opts)
  end)
end)

describe("each", function()
  it("gives records as they come, while the next ones run", function()
    local ex <close> = bash 'read -r n; [ "$n" = 1 ] && sleep 0.5; echo "$n"'
    local order = {}
    for index, record in ex:each("stage", { 1, 2, 3 }, { jobs = 2 }) do
      assert.equal(index, record.output)
      order[#order + 1] = index
    end
    assert.same({ 2, 3, 1 }, order)
  end)

  it("has every executor, over inputs of any number", function()
    local ex <close> = inline()
    local both <close> = noether.composite{ ex }
    local sum = 0
    for _, record in both:each("stage", counter(1000), { jobs = 10 }) do
      sum = sum + record.output
    end
    assert.equal(500500, sum)
  end)

  it("cancels what runs when the loop is left", function()
    local ex <close> = bash 'read -r n; [ "$n" = 1 ] || sleep 60; echo 1'
    collectgarbage("stop")
    for index in ex:each("stage", { 1, 2, 3 }, { jobs = 3 }) do
      if index == 1 then break end
    end
    local states = {}
    for task in pairs(ex.tasks) do states[#states + 1] = task:state() end
    collectgarbage("restart")
    assert.same({ "closed", "closed", "closed" }, states)
  end)

  it("is called and closed by hand, too", function()
    local ex <close> = bash 'read -r n; [ "$n" = 1 ] || sleep 60; echo 1'
    local records = ex:each("stage", { 1, 2 }, { jobs = 2 })
    local index, record = records()
    assert.equal(1, index)
    assert.equal(1, record.output)
    assert.is_true(records:close())
    assert.is_true(records:close())
    assert.is_nil(records())
  end)

  it("says what is wrong with a stage that is none", function()
    local ex <close> = bash "cat"
    local records, err = ex:each({ language = "bash", code = "\255" }, { 1 })
    assert.is_nil(records)
    assert.equal("input_invalid", err.kind)
    for _, record in ex:each("nonesuch", { 1, 2 }) do
      assert.equal("stage_not_found", record.err.kind)
    end
  end)
end)

describe("bad manners towards tasks:", function()
  it("waiting for a closed one", function()
    local ex <close> = bash "cat"
    local task = ex:start("stage", 1)
    task:close()
    local _, err = task:wait()
    assert.equal("closed", err.kind)
    assert.equal(1, noether.wait_any({ task }, 0))
  end)

  it("closing the executor with work in flight", function()
    local ex = bash "sleep 60"
    local set <close> = noether.set()
    local a <close> = set:add(ex:start("stage", 1))
    local b <close> = set:add(ex:start("stage", 2))
    set:next(0)
    ex:close()
    ex:close()
    assert.is_not_nil(set:next(10))
    assert.is_not_nil(set:next(10))
    for _, task in ipairs{ a, b } do
      local _, err = task:wait()
      assert.equal("closed", err.kind)
    end
    local _, err = ex:start("stage", 3)
    assert.equal("closed", err.kind)
  end)

  it("cancelling twice, before and after its end", function()
    local ex <close> = bash "sleep 60"
    local task <close> = ex:start("stage", 1)
    assert.is_true(task:cancel() and task:cancel())
    local _, err = task:wait()
    assert.equal("cancelled", err.kind)
    assert.is_true(task:cancel())
    _, err = task:wait()
    assert.equal("cancelled", err.kind)
  end)

  it("waiting by another executor's means", function()
    local one <close> = bash "sleep 0.2; cat"
    local other <close> = inline()
    local a <close> = one:start("stage", 1)
    local b <close> = other:start("stage", 2)
    assert.equal(2, noether.wait_any{ a, b })
    other:close()
    assert.equal(1, (noether.check(a:wait())))
    assert.equal(2, (noether.check(b:wait())))
  end)
end)

describe("running out of descriptors", function()
  -- Whatever number is left for the last one.
  for spare = 60, 65 do
    it(("is spawn_failed with EMFILE and leaves nothing: %d in all"):format(spare), function()
      local ex <close> = bash "sleep 0.5; cat"
      local set <close> = noether.set()
      assert.equal(1, (ex:execute("stage", 1)))
      local before = support.files_limit()
      local tasks, failed = {}, nil
      support.files_limit(spare)
      for i = 1, 60 do
        tasks[i] = assert(ex:start("stage", i))
        local ok, err = set:add(tasks[i])
        if not ok then failed = err break end
      end
      local reasons = {}
      while set:count() > 0 do
        local _, err = set:next(20):wait(0)
        reasons[err and err.kind .. " " .. tostring(err.errno) or "ok"] = true
      end
      support.files_limit(before)
      assert.is_true(reasons.ok)
      if failed then reasons[failed.kind .. " " .. failed.errno] = true end
      reasons.ok = nil
      for reason in pairs(reasons) do
        assert.equal("spawn_failed EMFILE", reason)
      end
      assert.is_true(reasons["spawn_failed EMFILE"])
      for _, task in ipairs(tasks) do task:close() end
      assert.equal(7, (noether.check(ex:execute("stage", 7))))
    end)
  end
end)
