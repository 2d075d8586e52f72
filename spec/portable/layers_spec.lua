-- SPDX-License-Identifier: MIT
--- Executors of functions and over executors.
local noether = require "noether"
local support = require "spec.portable.support"

local bash, fails = support.bash, support.fails

describe("in every Lua, an executor", function()
  local before

  setup(function() before = support.holdings() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  it("runs functions", function()
    local inline = noether.inline{
      double = function(n) return n * 2 end,
      boom = function() error("boom", 0) end,
      no = function() return nil, "not today" end,
    }
    assert.equal(42, (noether.check(inline:execute("double", 21))))
    assert.equal("42", (noether.check(inline:execute_json("double", "21"))))
    assert.truthy(tostring(fails("stage_failed", inline:execute("boom"))):find("boom", 1, true))
    fails("stage_failed", inline:execute("no"))
    fails("stage_not_found", inline:execute("other"))
    local task = noether.check(inline:start("double", 1))
    assert.equal(2, (task:wait(0)))
    task:close()
    inline:close()
  end)

  it("asks others in turn", function()
    local first = noether.inline{ one = function() return 1 end }
    local second = noether.inline{ one = function() return 2 end, two = function() return 2 end }
    local both = noether.composite{ first, second }
    assert.same({ 1, 2 }, { (both:execute("one")), (both:execute("two")) })
    assert.is_false(both:has_implementation("three"))
    fails("stage_not_found", both:execute("three"))
    both:close()
  end)

  it("is one of anybody's own, too", function()
    local own = {
      execute = function(_, _, input) return input + 1 end,
      has_implementation = function(_, id) return id == "more" end,
    }
    local over = noether.retry(noether.composite{ own })
    assert.equal(2, (noether.check(over:execute("more", 1))))
    assert.equal("2", (noether.check(over:execute_json("more", "1"))))
  end)

  it("tries again what can heal", function()
    local calls = 0
    local flaky = noether.inline{ stage = function()
      calls = calls + 1
      if calls < 3 then error("not yet", 0) end
      return calls
    end }
    local retry = noether.retry(flaky,
      { kinds = { "stage_failed" }, backoff_secs = 0, repeat_effects = true })
    local output, err, info = retry:execute("stage")
    assert.is_nil(err, tostring(err))
    assert.equal(3, output)
    assert.equal(3, #info.attempts)
    retry:close()
    flaky:close()
  end)

  it("spends no more than it may", function()
    local executor = noether.check(noether.executor{ timeout_secs = 60 })
    local budget = noether.budget(executor, { cents = 100 })
    local dear = bash("echo 1", { { Cost = 60 } })
    assert.equal(1, (noether.check(budget:execute(dear))))
    assert.equal(40, budget:left())
    fails("budget_exceeded", budget:execute(dear))
    budget:close()
    executor:close()
  end)

  it("keeps the answers of pure stages", function()
    local executor = noether.check(noether.executor{ timeout_secs = 60 })
    local cache = noether.check(noether.cache(executor))
    local random = bash("echo $RANDOM$RANDOM", { "Pure" })
    local first, _, info = cache:execute(random, 1)
    assert.is_false(info.cached)
    local again
    again, _, info = cache:execute(random, 1)
    assert.is_true(info.cached)
    assert.equal(first, again)
    noether.check(cache:clear())
    again, _, info = cache:execute(random, 1)
    assert.is_false(info.cached)
    assert.not_equal(first, again)
    cache:close()
    executor:close()
  end)
end)
