-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local layers = require "spec.support.executors"
local noether = require "noether"
local sys = require "noether.sys"

local function costing(cents)
  return { { Cost = cents } }
end

describe("noether.budget", function()
  it("spends what stages declare, and refuses what is left does not cover", function()
    local scripted = layers.scripted({ { output = 1 } }, costing(40))
    local ex = noether.budget(scripted, { cents = 100 })
    assert.same({ 0, 100 }, { ex:spent(), ex:left() })
    noether.check(ex:execute("stage"))
    noether.check(ex:execute_json("stage", "1"))
    assert.same({ 80, 20 }, { ex:spent(), ex:left() })
    local output, err = ex:execute("stage")
    assert.is_nil(output)
    assert.equal("budget_exceeded", err.kind)
    assert.equal(100, err.limit)
    assert.equal(scripted.stage.id, err.stage)
    assert.equal("the stage costs 40 cents, and of 100 there are 20 left", err.message)
    assert.equal(2, scripted.calls)
    assert.same({ 80, 20 }, { ex:spent(), ex:left() })
  end)

  -- { effects, cents, how often the stage runs }
  local CASES = {
    { costing(0), 0, "always" }, { {}, 0, "always" }, { { "Pure" }, 0, "always" },
    { { "Unknown" }, 0, "always" }, { costing(1), 0, 0 }, { costing(1), 0.5, 0 },
    { costing(1), 1, 1 }, { costing(0.1), 0.3, 3 }, { costing(0.1), 0.7, 7 },
    { { { Cost = 1 }, { Cost = 2 } }, 6, 2 }, { costing(3), 10, 3 },
    { { "Network", { Cost = 25 } }, 100, 4 },
  }

  it("counts exactly", function()
    for index, case in ipairs(CASES) do
      local scripted = layers.scripted({ { output = 1 } }, case[1])
      local ex = noether.budget(scripted, { cents = case[2] })
      for _ = 1, 10 do
        ex:execute("stage")
      end
      assert.equal(case[3] == "always" and 10 or case[3], scripted.calls, index)
      assert.is_true(ex:left() >= 0, index)
    end
  end)

  -- { an outcome, whether what was set aside is given back }
  local OUTCOMES = {
    { { output = 1 }, false }, { { output = 1, cached = true }, true },
    { { kind = "input_invalid" }, true }, { { kind = "packages_failed" }, true },
    { { kind = "runtime_unavailable" }, true }, { { kind = "spawn_failed" }, true },
    { { kind = "sandbox_failed" }, true }, { { kind = "effect_denied" }, true },
    { { kind = "cancelled" }, true }, { { kind = "budget_exceeded" }, true },
    { { kind = "spawn_failed", ran = true }, false },
    { { kind = "cancelled", ran = true }, false },
    { { kind = "effect_denied", ran = true }, false },
    { { kind = "timed_out", ran = true }, false }, { { kind = "stage_failed", ran = true }, false },
    { { kind = "stage_failed" }, false }, { { kind = "output_invalid", ran = true }, false },
    { { kind = "memory_limit", ran = true }, false },
  }

  it("gives back what was set aside where nothing of the stage ran, and only there", function()
    for index, case in ipairs(OUTCOMES) do
      local ex = noether.budget(layers.scripted({ case[1] }, costing(10)), { cents = 100 })
      ex:execute("stage")
      assert.equal(case[2] and 0 or 10, ex:spent(), index)
    end
  end)

  it("sets aside before a run, so that runs side by side share one budget", function()
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    local code = "execute() { sleep 0.05; cat; }"
    assert(plain:register_with_effects("slow", code, "bash", costing(10)))
    local ex <close> = noether.budget(plain, { cents = 35 })
    local kinds = {}
    for _, record in ipairs(ex:map("slow", { 1, 2, 3, 4, 5, 6 }, { jobs = 6 })) do
      local kind = record.err and record.err.kind or "ok"
      kinds[kind] = (kinds[kind] or 0) + 1
    end
    assert.same({ ok = 3, budget_exceeded = 3 }, kinds)
    assert.equal(30, ex:spent())
  end)

  it("counts what is set aside while a run goes on, and refuses at once", function()
    local scripted = layers.scripted({ { output = 1, secs = 60 } }, costing(60))
    local ex <close> = noether.budget(scripted, { cents = 100 })
    local task <close> = assert(ex:start("stage"))
    assert.equal(60, ex:spent())
    local started = sys.clock()
    local _, err = ex:execute("stage")
    assert.equal("budget_exceeded", err.kind)
    assert.is_true(sys.clock() - started < 5)
    task:close()
    assert.equal(60, ex:spent()) -- nobody knows how far it came
  end)

  it("counts a run whose callback raised as spent", function()
    local ex = noether.budget(layers.scripted({ { raise = "mine" } }, costing(10)), { cents = 10 })
    assert.equal("mine", layers.raised(function() ex:execute("stage") end))
    assert.equal(10, ex:spent())
  end)

  it("runs nothing that it refuses", function()
    local path, runs = layers.counter(helper.tmpdir())
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    assert(plain:register_with_effects("dear", ("execute() { echo x >> %s; echo 1; }"):format(path),
      "bash", costing(6)))
    local ex <close> = noether.budget(plain, { cents = 10 })
    noether.check(ex:execute("dear"))
    local _, err, info = ex:execute("dear")
    assert.equal("budget_exceeded", err.kind)
    assert.is_nil(info.result)
    assert.equal(1, runs())
  end)

  it("gives back what a bad input cost, with a real stage", function()
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    assert(plain:register_with_effects("dear", "execute() { echo 1; }", "bash", costing(6)))
    local ex <close> = noether.budget(plain, { cents = 10 })
    local _, err = ex:execute("dear", print)
    assert.equal("input_invalid", err.kind)
    _, err = ex:execute("dear", 1, { work_dir = "/nonesuch" })
    assert.equal("input_invalid", err.kind)
    assert.equal(0, ex:spent())
  end)

  it("raises on wrong options, and says what was expected", function()
    for _, case in ipairs{
      { nil, "'cents' is missing" }, { {}, "'cents' is missing" }, { { cents = -1 }, "cents" },
      { { cents = 0 / 0 }, "cents" }, { { cents = math.huge }, "cents" },
      { { cents = "100" }, "cents" }, { { cent = 1 }, "did you mean 'cents'?" },
    } do
      local message = layers.raised(function() noether.budget(noether.inline{}, case[1]) end)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("^spec/executor/budget_spec.lua:%d+: budget"), message)
    end
    local ex = noether.budget(noether.inline{}, { cents = 1 })
    for _, method in ipairs{ "spent", "left" } do
      local message = layers.raised(function() ex[method]() end)
      assert.truthy(message:find("call it with a colon", 1, true), message)
    end
  end)
end)
