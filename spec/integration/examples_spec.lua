-- SPDX-License-Identifier: MIT
local helper = require "spec.helper"

local function run(command)
  return helper.shell(("cd %s || exit\n%s"):format(helper.quote(helper.root), command))
end

describe("the examples", function()
  local noether_lua = helper.quote(helper.lua)

  it("hello: three languages, a failure and a timeout, all as expected", function()
    local output, code = run(noether_lua .. " examples/hello.lua")
    assert.equal(0, code, output)
    for _, text in ipairs{ "ok Python", "ok JavaScript", "ok Bash", "ZeroDivisionError", "line 5",
        "timed_out", "6 of 6 as expected" } do
      assert.truthy(output:find(text, 1, true), output)
    end
  end)

  it("word_count: through a store that is closed and reopened", function()
    local dir = helper.tmpdir()
    local output, code = run(("%s examples/word_count.lua %s/store"):format(noether_lua, dir))
    assert.equal(0, code, output)
    assert.truthy(output:find("10 words, 8 of them different", 1, true), output)
    assert.equal(2, #helper.list(dir .. "/store"))
    output, code = run(noether_lua .. " examples/word_count.lua")
    assert.equal(0, code, output)
  end)

  it("custom_policy: in a plain Lua interpreter", function()
    local build = helper.lua:match("^(.*)/bin/[^/]+$")
    local output, code = run(helper.sanitizers_first
      .. ([[LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='%s/lib/?.so;;' \
      lua5.4 examples/custom_policy.lua]]):format(build))
    assert.equal(0, code, output)
    assert.truthy(output:find("awk says: 6 words", 1, true), output)
    assert.truthy(output:find("refused:", 1, true), output)
  end)
end)
