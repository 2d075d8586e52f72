-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local sign = require "noether.fleet.sign"

describe("a signature", function()
  -- RFC 4231, those whose keys are long enough; 6 has a key longer than a block.
  it("is HMAC-SHA-256", function()
    local cases = {
      { ("\11"):rep(20), "Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
      { ("\170"):rep(20), ("\221"):rep(50),
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
      { ("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    }
    for _, case in ipairs(cases) do
      local keys = sign.keys("x", case[1])
      assert.equal(case[3], sign.sign(keys, case[2]))
      assert.is_true((sign.verify(keys, case[2], case[3])))
      assert.is_false((sign.verify(keys, case[2] .. "x", case[3])))
    end
  end)

  it("may be of any key, and is made with the first", function()
    local old, new = "an old secret of us", "the new secret of us"
    local both = sign.keys("x", { new, old })
    assert.is_true((sign.verify(both, "text", sign.sign(sign.keys("x", old), "text"))))
    assert.equal(sign.sign(sign.keys("x", new), "text"), sign.sign(both, "text"))
    assert.is_false((sign.verify(sign.keys("x", old), "text", sign.sign(both, "text"))))
    assert.equal(2, #sign.keys("x", nil, new .. "\n" .. old))
  end)

  it("is wanted, of a key that is long enough", function()
    for _, given in ipairs{ false, "short" } do
      local ok, message = pcall(sign.keys, "remote", given or nil)
      assert.is_false(ok)
      assert.truthy(message:find("option 'key'", 1, true), message)
    end
    assert.same({}, sign.keys("x", nil, nil, true))
    assert.equal("", sign.sign({}, "text"))
  end)

  it("is compared in full", function()
    local key = sign.keys("x", "a key of the specs")[1]
    assert.is_true(sign.equal(key, "abc", "abc"))
    assert.is_false(sign.equal(key, "abc", "abd"))
    assert.is_false(sign.equal(key, "abc", "ab"))
  end)
end)
