-- SPDX-License-Identifier: MIT
--- The simulation of a large fleet, run small: what it says must follow from its rules.
local helper = require "spec.support.helper"
local sim = dofile(helper.root .. "/bench/fleet_sim.lua")

local function run(more)
  local given = { workers = 40, places = 2, seed = 7, mix = "mixed", load = 0.5, batch = 1,
    spares = 4, secs = 60 }
  for name, value in pairs(more) do given[name] = value end
  return sim.simulate(given)
end

describe("the simulation of a fleet", function()
  it("ends each job once, and says the same each time", function()
    for _, more in ipairs{ {}, { mtbf_secs = 100 }, { batch = 500 }, { mix = "long" } } do
      local found = run(more)
      assert.truthy(found.queued > 100)
      assert.equal(found.queued, found.done + found.died)
      assert.same(found, run(more))
    end
  end)

  it("has nobody wait where there is room, and many where much comes at once", function()
    local calm, batches, full = run{}, run{ batch = 1000 }, run{ load = 1.3 }
    assert.truthy(calm.p50 < 0.01)
    assert.truthy(batches.p99 > 100 * calm.p50)
    assert.truthy(full.p99 > 1)
    assert.equal(0, calm.died)
    assert.equal(0, calm.deaths)
  end)

  it("uses up what waited, and then starts cold", function()
    assert.equal(1, run{}.found)
    assert.equal(0, run{ spares = 0 }.found)
    local batches = run{ batch = 1000, mix = "short", load = 0.2, secs = 20 }.found
    assert.truthy(batches > 0 and batches < 0.8, batches)
    assert.truthy(run{ batch = 1000, spares = 0 }.most > run{ batch = 1000 }.most)
  end)

  it("has what dead workers held run again or dead, when they are noticed", function()
    local found = run{ mix = "long", load = 0.8, mtbf_secs = 200, secs = 300 }
    assert.truthy(found.deaths > 10)
    assert.truthy(found.died > 0 and found.again > 0)
    -- As it was with looks every 3 s: dead_secs, and a look.
    assert.truthy(found.noticed >= 15 and found.noticed <= 18.1, found.noticed)
    assert.truthy(found.most >= 15)
  end)

  it("is printed with what it assumes", function()
    local out, code = helper.shell(("%s %s/bench/fleet_sim.lua workers=10 percent=2"):format(
      helper.quote(helper.lua), helper.quote(helper.root)))
    assert.equal(0, code, out)
    for name in pairs(sim.ASSUMED) do assert.truthy(out:find(name, 1, true), name) end
    local _, rows = out:gsub("\n| %l", "")
    assert.equal(#sim.ROWS + 1, rows)
    out, code = helper.shell(("%s %s/bench/fleet_sim.lua worker=10"):format(
      helper.quote(helper.lua), helper.quote(helper.root)))
    assert.equal(1, code)
    assert.truthy(out:find("expected workers=N", 1, true), out)
  end)
end)
