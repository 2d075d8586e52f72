-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"

describe("hundreds of runs of every shape", function()
  it("leave nothing behind, and all end as they should", function()
    local output, code = helper.shell(("cd %s && %s spec/support/soak.lua 200"):format(
      helper.quote(helper.root), helper.quote(helper.lua)))
    assert.equal(0, code, output)
    for _, what in ipairs{ "descriptors", "processes", "mounts", "control groups",
        "temporary files", "resident KiB", "Lua KiB" } do
      assert.truthy(output:find(what .. " +%d+ before +%d+ after"), output)
    end
    assert.truthy(output:find("200 runs", 1, true), output)
  end)
end)
