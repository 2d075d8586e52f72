-- SPDX-License-Identifier: MIT
-- The launcher was finalized before the first process when a Lua state closed, and the process then
-- gave its child to a launcher that was freed.
local helper = require "spec.helper"

describe("a Lua state that closes", function()
  it("ends the first program it ever started without touching freed memory", function()
    local output, code = helper.shell(("MALLOC_PERTURB_=165 %s -e %s"):format(
      helper.quote(helper.lua), helper.quote([[
        first = assert(require "noether.process".launch{ "/bin/sleep", "33.75" })]])))
    assert.equal("", output)
    assert.equal(0, code)
  end)
end)
