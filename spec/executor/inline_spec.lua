-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local noether = require "noether"

local function fails(kind, output, err)
  assert.is_nil(output)
  assert.equal(kind, err and err.kind, tostring(err))
  return err
end

describe("an inline executor", function()
  local ex = noether.inline{
    double = function(input) return { n = input.n * 2 } end,
    echo = function(input) return input end,
    nothing = function() end,
    no = function() return false end,
    raise = function() error("boom", 0) end,
    refuse = function() return nil, "not today" end,
    handle = function() return io.stdout end,
  }

  it("runs functions with the face of every executor", function()
    local output, err, info = ex:execute("double", { n = 21 })
    assert.is_nil(err)
    assert.same({ n = 42 }, output)
    assert.equal("none", info.isolation)
    assert.same({}, info.enforced)
    assert.equal("inline", info.runtime.kind)
    assert.is_true(info.duration_secs >= 0)
    assert.equal('{"n":42}', (noether.check(ex:execute_json("double", '{"n":21}'))))
    local task <close> = assert(ex:start("double", { n = 1 }))
    assert.equal("done", task:state())
    assert.same({ n = 2 }, (noether.check(task:wait())))
    local records = ex:map("double", { { n = 1 }, { n = 2 } }, { jobs = 2 })
    assert.same({ n = 4 }, records[2].output)
    assert.is_true(ex:has_implementation("double"))
    assert.is_false(ex:has_implementation("triple"))
  end)

  it("gives null for nil, and false for false", function()
    assert.equal(noether.null, (noether.check(ex:execute("nothing"))))
    assert.equal(noether.null, (noether.check(ex:execute("echo"))))
    local output, err = ex:execute("no")
    assert.is_false(output)
    assert.is_nil(err)
  end)

  it("tells a function's failure as a stage's", function()
    assert.equal("boom", tostring(fails("stage_failed", ex:execute("raise"))))
    assert.equal("not today", tostring(fails("stage_failed", ex:execute("refuse"))))
    fails("output_invalid", ex:execute("handle"))
    assert.equal("raise", fails("stage_failed", ex:execute_json("raise", "1")).stage)
  end)

  it("gives its functions no files, and has none of theirs", function()
    local other = noether.inline{ one = function() return 1 end }
    fails("input_invalid", other:execute("one", 1, { files = { name = "text" } }))
    fails("input_invalid", other:execute("one", 1, { outputs = { "*.png" } }))
  end)

  it("refuses what other executors refuse", function()
    fails("stage_not_found", ex:execute("triple", 1))
    fails("input_invalid", ex:execute("echo", print))
    fails("input_invalid", ex:execute_json("echo", "{"))
    assert.has_error(function() ex:execute("echo", 1, { tiemout_secs = 1 }) end)
    assert.has_error(function() noether.inline{ x = 3 } end)
    assert.has_error(function() noether.inline(3) end)
  end)

  it("plans", function()
    assert.same({ kind = "inline", id = "echo", stdin = "1\n" }, ex:plan("echo", 1))
    assert.same({ kind = "inline", id = "echo", stdin = "1\n" },
      ex:plan("echo", 1, { resolve = false }))
    fails("stage_not_found", ex:plan("triple", 1))
  end)

  it("is polled like any task, though it is over at once", function()
    local task <close> = assert(ex:start("echo", 1))
    assert.is_number(task:pollfd())
    assert.equal(0, task:timeout())
    assert.equal(1, (assert(noether.wait_any{ task })))
  end)

  it("refuses after close", function()
    local own = noether.inline{ echo = function(input) return input end }
    assert.is_true(own:close())
    assert.is_true(own:close())
    fails("closed", own:execute("echo", 1))
    fails("closed", own:start("echo", 1))
  end)
end)
