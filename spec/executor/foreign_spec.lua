-- SPDX-License-Identifier: MIT
--- Executors that are not of this library, in every place that takes an executor.
require "spec.support.helper"
local errors = require "noether.error"
local executors = require "spec.support.executors"
local noether = require "noether"

local PURE = { "Pure" }

-- What an executor of somebody's own has at least.
local function minimal(fn)
  return {
    has_implementation = function(_, id) return id == "double" end,
    execute = fn or function(_, _, input) return input.n * 2 end,
  }
end

-- The public face of an executor of this library, and nothing else of it.
local PUBLIC = { "execute", "execute_json", "start", "plan", "has_implementation" }

local function public(executor)
  local face = {}
  for _, name in ipairs(PUBLIC) do
    face[name] = function(_, ...) return executor[name](executor, ...) end
  end
  return face
end

local function double()
  return noether.inline{ double = function(input) return input.n * 2 end }
end

local FOREIGN = {
  minimal = minimal,
  ["with the public methods"] = function() return public(double()) end,
  ["with start alone"] = function()
    local inner = double()
    return {
      has_implementation = minimal().has_implementation,
      start = function(_, ...) return inner:start(...) end,
    }
  end,
}

local PLACES = {
  composite = function(ex) return noether.composite{ ex } end,
  ["retry over composite"] = function(ex) return noether.retry(noether.composite{ ex }) end,
}
for name, over in pairs(executors.OVER) do
  PLACES[name] = over
end

for kind, make in pairs(FOREIGN) do
  for place, over in pairs(PLACES) do
    describe(("a foreign executor %s in a %s"):format(kind, place), function()
      it("answers by every method", function()
        local ex = over(make())
        assert.equal(42, (noether.check(ex:execute("double", { n = 21 }))))
        assert.equal("42", (noether.check(ex:execute_json("double", '{"n": 21}'))))
        local task <close> = assert(ex:start("double", { n = 4 }))
        assert.equal(8, (noether.check(task:wait())))
        assert.equal(6, ex:map("double", { { n = 2 }, { n = 3 } }, { jobs = 2 })[2].output)
        assert.is_true(ex:has_implementation("double"))
        assert.is_false(ex:has_implementation("nonesuch"))
        local plan, err = ex:plan("double", { n = 1 })
        assert.truthy(plan or err.kind == "input_invalid")
      end)

      it("gives a task that a set and an event loop can wait for", function()
        local ex = over(make())
        local set <close> = noether.set()
        local task <close> = assert(ex:start("double", { n = 4 }))
        assert(set:add(task))
        assert.equal(task, set:next(10))
        assert.equal(8, (noether.check(task:wait(0))))
      end)
    end)
  end
end

describe("a foreign executor", function()
  it("is given JSON as text if it takes it, else as the value", function()
    local seen
    local own = minimal(function(_, _, input) seen = input return input end)
    local ex = noether.retry(own)
    assert.equal('{"n":1.0}', (noether.check(ex:execute_json("double", ' {"n": 1.0} '))))
    assert.same({ n = 1.0 }, seen)
    local _, err = ex:execute_json("double", "{")
    assert.equal("input_invalid", err.kind)
    function own.execute_json(_, _, text) return text:upper() end
    assert.equal('{"N": 1}', (noether.check(ex:execute_json("double", '{"n": 1}'))))
    for _, wrong in ipairs{ "{", "", 5, {} } do
      function own.execute_json() return wrong end
      assert.equal("output_invalid", select(2, ex:execute_json("double", "1")).kind)
    end
    function own.execute_json() return nil end
    assert.equal("null", (noether.check(ex:execute_json("double", "1"))))
  end)

  it("may answer false and null, and fail with an error or a message", function()
    local outcome = {}
    local ex = noether.retry(minimal(function() return outcome[1], outcome[2] end))
    for _, value in ipairs{ false, noether.null, 0, "" } do
      outcome = { value }
      local output, err = ex:execute("double")
      assert.equal(value, output)
      assert.is_nil(err)
    end
    outcome = {}
    assert.equal(noether.null, (ex:execute("double")))
    outcome = { nil, "out of paper" }
    local output, err = ex:execute("double")
    assert.is_nil(output)
    assert.equal("stage_failed", err.kind)
    assert.truthy(err.message:find("out of paper", 1, true))
    outcome = { nil, errors.new{ kind = "closed", message = "it is shut" } }
    assert.equal("closed", select(2, ex:execute("double")).kind)
  end)

  it("is tried again, and told apart by its errors", function()
    local calls = 0
    local own = minimal(function()
      calls = calls + 1
      if calls < 3 then return nil, errors.new{ kind = "setup_timed_out", message = "slow" } end
      return calls
    end)
    local output, err, info = noether.retry(own, { backoff_secs = 0 }):execute("double")
    assert.is_nil(err)
    assert.equal(3, output)
    assert.equal(3, #info.attempts)
  end)

  it("is asked what a stage declares, if it can tell", function()
    local own = minimal()
    function own.stage_of() return { effects = { { Cost = 40 } } } end
    local budget = noether.budget(own, { cents = 50 })
    noether.check(budget:execute("double", { n = 1 }))
    assert.equal(10, budget:left())
    assert.equal("budget_exceeded", select(2, budget:execute("double", { n = 1 })).kind)
  end)

  it("has its info handed on, and the options as they came", function()
    local seen
    local ex = noether.composite{ minimal(function(_, _, _, opts)
      seen = opts
      return 1, nil, { logs = "said\n", warnings = { "mind the gap" }, mine = 7 }
    end) }
    local _, _, info = ex:execute("double", 1, { timeout_secs = 9, queue = "slow" })
    assert.same({ timeout_secs = 9, queue = "slow" }, seen)
    assert.same({ "said\n", "mind the gap", 7 }, { info.logs, info.warnings[1], info.mine })
    assert.is_number(info.duration_secs)
    assert.equal("inline", select(3, noether.retry(public(double())):execute("double",
      { n = 1 })).runtime.kind)
  end)

  it("runs many at once where it can start without waiting, and an event loop is woken", function()
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    noether.check(plain:register_with_effects("nap", "execute() { sleep 0.3; cat; }", "bash", PURE))
    noether.check(plain:execute("nap", 0)) -- finds the interpreter
    local ex = noether.retry(noether.composite{ public(plain) })
    local began = noether.clock()
    for index, record in ipairs(ex:map("nap", { 1, 2, 3, 4, 5, 6, 7, 8 }, { jobs = 8 })) do
      assert.equal(index, record.output)
    end
    assert.is_true(noether.clock() - began < 0.3 * 8 / 2)
    local task <close> = assert(ex:start("nap", 9))
    local fd = assert(task:pollfd())
    began = noether.clock()
    while not task:step() do
      assert.equal(fd, task:pollfd())
      local left = task:timeout() -- as a loop sees it: nothing but the descriptor and this
      require("noether.sys").poll({ fd }, math.min(left or 20, 20), {})
    end
    assert.is_true(noether.clock() - began < 10)
    assert.equal(9, (noether.check(task:wait(0))))
  end)

  it("is cancelled and closed with what it is part of", function()
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    noether.check(plain:register_with_effects("nap", "execute() { sleep 60; }", "bash", PURE))
    local ex = noether.budget(public(plain), { cents = 1 })
    local task <close> = assert(ex:start("nap"))
    task:cancel()
    assert.equal("cancelled", select(2, task:wait(30)).kind)
    local other = assert(ex:start("nap"))
    other:close()
    assert.equal("closed", select(2, other:wait(0)).kind)
  end)

  it("raises to its caller what it raises", function()
    local ex = noether.retry(noether.composite{ minimal(function() error("mine", 0) end) })
    assert.equal("mine", executors.raised(function() ex:execute("double") end))
    local starting = public(double())
    function starting.start() error("mine too", 0) end
    assert.equal("mine too", executors.raised(function()
      noether.retry(starting):start("double")
    end))
  end)

  it("says what is wrong with one that is none", function()
    for _, value in ipairs{ {}, { execute = print }, { has_implementation = print } } do
      for _, make in ipairs{
        function() noether.composite{ value } end, function() noether.retry(value) end,
      } do
        local message = executors.raised(make)
        assert.truthy(message:find("foreign_spec.lua:%d+:"), message)
        assert.truthy(message:find("docs/executors.md", 1, true), message)
      end
    end
  end)
end)
