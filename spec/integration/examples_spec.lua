-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"

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

  it("dialogue: with a shell, and with a server that speaks JSON-RPC", function()
    local output, code = run(noether_lua .. " examples/dialogue.lua")
    assert.equal(0, code, output)
    for _, text in ipairs{ "the shell says\t21\t40", "the server says\t3", "the server says\t5",
        "the server says\t100000" } do
      assert.truthy(output:find(text, 1, true), output)
    end
    assert.equal(2, select(2, output:gsub("and ends with\t0", "")))
  end)

  it("custom_policy: in a plain Lua interpreter", function()
    local build = helper.lua:match("^(.*)/bin/[^/]+$")
    local output, code = run(helper.sanitizers_first
      .. ([[LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='%s/lib/5.4/?.so;;' \
      lua5.4 examples/custom_policy.lua]]):format(build))
    assert.equal(0, code, output)
    assert.truthy(output:find("awk says: 6 words", 1, true), output)
    assert.truthy(output:find("refused:", 1, true), output)
  end)

  it("chart: a table in, a number and a chart out", function()
    local dir = helper.tmpdir()
    local words = "PATH=/usr/bin:/bin %s examples/chart.lua %s"
    local output, code = run(words:format(noether_lua, dir))
    assert.equal(0, code, output)
    assert.equal('{ best = "2026-06", total = 905 }\nfigure-1.png\timage/png\ttrue\n', output)
    assert.equal("\137PNG\r\n\26\n", helper.read(dir .. "/figure-1.png"):sub(1, 8))
  end)

  it("tools: a model's code with three functions, each call with a line of audit", function()
    local output, code = run(noether_lua .. " examples/tools.lua")
    assert.equal(0, code, output)
    for _, text in ipairs{ "price: euros for one", "audit: order(fig) ok",
        "audit: price(plum) no price for plum", "{ spent = 1.75 }\t9 calls\tapple fig" } do
      assert.truthy(output:find(text, 1, true), output)
    end
  end)

  it("three_languages: one function, called from three stages at once", function()
    local output, code = run(noether_lua .. " examples/three_languages.lua")
    assert.equal(0, code, output)
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({
      "bash\t{ 101, 102, 103 }", "javascript\t{ 201, 202, 203 }", "python\t{ 301, 302, 303 }",
    }, lines)
  end)

  it("agent: a model's loop, host tools, a line of audit for each call", function()
    local output, code = run(noether_lua .. " examples/agent.lua")
    assert.equal(0, code, output)
    for _, text in ipairs{ "turn 1: stage_failed: EOFError", "the argument of execute",
        "turn 2: stage_failed: CallError: no customer Eve", "audit: remind({ id = 3 }) -> ok",
        "turn 3: { Ada = 4550, Bob = 8000 }", "reminded: 3 2; 7 messages" } do
      assert.truthy(output:find(text, 1, true), output)
    end
  end)
end)
