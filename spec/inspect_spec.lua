-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local inspect = require("noether.inspect").inspect
local errors = require "noether.error"

describe("inspect", function()
  local cases = {
    { nil, "nil" },
    { true, "true" },
    { 1, "1" },
    { 0.1, "0.1" },
    { 1 / 3, "0.33333333333333331" },
    { math.huge, "math.huge" },
    { 0 / 0, "nan" },
    { "a\n\"\\\0\27", [["a\n\"\\\000\027"]] },
    { {}, "{}" },
    { { 1, "two", false }, [[{ 1, "two", false }]] },
    { { b = 1, a = 2, [3] = 3, ["end"] = 4 }, [[{ [3] = 3, a = 2, b = 1, ["end"] = 4 }]] },
  }
  for index, case in ipairs(cases) do
    it("case " .. index .. ": " .. case[2], function()
      assert.equal(case[2], inspect(case[1]))
    end)
  end

  it("puts what is long on lines of its own, keys sorted", function()
    local text = inspect{ zeta = ("x"):rep(50), alpha = ("y"):rep(50) }
    assert.equal("{\n  alpha = \"" .. ("y"):rep(50) .. "\",\n  zeta = \"" .. ("x"):rep(50)
      .. "\",\n}", text)
  end)

  it("names cycles and stops at the depth", function()
    local cycle = { 1 }
    cycle.me = cycle
    assert.equal("{ 1, me = <cycle> }", inspect(cycle))
    assert.equal("{ a = { b = {...} } }", inspect({ a = { b = { c = 1 } } }, 2))
  end)

  it("shows one table twice where it is no cycle", function()
    local shared = { 1 }
    assert.equal("{ { 1 }, { 1 } }", inspect{ shared, shared })
  end)

  it("shows errors by their message", function()
    local err = errors.new{ kind = "closed", message = "it is over" }
    assert.equal("<noether.error: it is over>", inspect(err))
  end)

  it("shows handles by their kind: what is in them is not for logs", function()
    local noether = require "noether"
    local executor = noether.executor{ env = { SECRET = "do-not-tell" } }
    assert.equal("<noether.executor>", inspect(executor))
    assert.equal("{ { 1 }, {} }", inspect{ noether.array{ 1 }, noether.array{} })
    executor:close()
  end)
end)
