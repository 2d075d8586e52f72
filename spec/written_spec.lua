-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local written = require "noether.written"

describe("what is written", function()
  it("comes out in order, and is counted", function()
    local kept = written.new()
    assert.is_false(kept:next())
    kept:add("one")
    kept:add("")
    kept:add("three")
    assert.equal(8, kept.bytes)
    assert.equal("one", kept:next())
    assert.equal(5, kept.bytes)
    kept:add("4")
    assert.equal("three", kept:next())
    assert.equal("4", kept:next())
    assert.is_false(kept:next())
    assert.equal(0, kept.bytes)
  end)

  it("has an end after all of it", function()
    local kept = written.new()
    kept:add("last")
    kept:finish()
    assert.equal("last", kept:next())
    assert.is_nil(kept:next())
    assert.is_nil(kept:next())
  end)

  it("is not kept for ever", function()
    local kept = written.new()
    for round = 1, 100 do
      kept:add("piece " .. round)
      kept:next()
    end
    for key in pairs(kept) do
      assert.equal("string", type(key))
    end
  end)
end)
