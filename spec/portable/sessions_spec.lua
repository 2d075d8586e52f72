-- SPDX-License-Identifier: MIT
--- Sessions: cells that build on one another.
local noether = require "noether"
local support = require "spec.portable.support"

describe("in every Lua, a session", function()
  local executor, before

  setup(function()
    executor = noether.check(noether.executor{ timeout_secs = 60 })
    noether.check(executor:execute(support.bash "cat", 1))
    before = support.holdings()
  end)

  teardown(function() executor:close() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  it("keeps what cells define, in each language, and is over on purpose", function()
    local cells = {
      python = { "x = 20", "x + input + 1" }, javascript = { "let x = 20", "x + input + 1" },
      bash = { "x=20", "echo $((x + INPUT + 1))" },
    }
    for language, codes in pairs(cells) do
      local session = noether.check(executor:session{ language = language, effects = {} })
      noether.check(session:run(codes[1]))
      local output, err, info = session:run(codes[2], 21)
      assert.is_nil(err, tostring(err))
      assert.equal(42, output)
      assert.equal(2, info.cell)
      session:close()
      assert.equal("closed", select(2, session:run(codes[2])).kind)
    end
  end)

  it("is interrupted at a deadline, lost where its process ends, and collected", function()
    local session = noether.check(executor:session{ language = "python", effects = {} })
    local _, err = session:run("import time, os; x = 1; time.sleep(60)", nil,
      { timeout_secs = 0.3 })
    assert.equal("timed_out", err.kind)
    assert.equal(1, (session:run("x")))
    err = select(2, session:run("os._exit(3)"))
    assert.equal("session_lost", err.kind)
    assert.equal("stage_failed", err.cause.kind)
    noether.check(session:reset())
    assert.equal(2, (session:run("1 + 1")))
    session:close()
  end)
end)
