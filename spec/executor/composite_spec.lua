-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local noether = require "noether"

local function constant(value)
  return function() return value end
end

describe("a composite executor", function()
  local first = noether.inline{ a = constant(1), both = constant("first") }
  local second = noether.inline{ b = constant(2), both = constant("second") }
  local ex = noether.composite{ first, second }

  it("runs each stage in the first executor that knows it", function()
    for id, expected in pairs{ a = 1, b = 2, both = "first" } do
      assert.equal(expected, (noether.check(ex:execute(id))))
    end
    assert.equal("2", (noether.check(ex:execute_json("b", "null"))))
    local task <close> = assert(ex:start("b"))
    assert.equal(2, (noether.check(task:wait())))
    local _, _, info = ex:execute("a")
    assert.equal("inline", info.runtime.kind)
    assert.equal(2, ex:map("b", { 1, 2 })[2].output)
    assert.equal("b", ex:plan("b").id)
  end)

  it("mixes kinds of executors, and nests", function()
    local processes <close> = assert(noether.executor{ isolation = "none" })
    assert(processes:register_with_effects("cat", "execute() { cat; }", "bash", {}))
    local all = noether.composite{ ex, processes }
    assert.equal(3, (noether.check(all:execute("cat", 3))))
    assert.equal(1, (noether.check(all:execute("a", 3))))
    assert.is_true(all:has_implementation("cat"))
  end)

  it("says when nobody knows a stage", function()
    assert.is_true(ex:has_implementation("a"))
    assert.is_false(ex:has_implementation("c"))
    for _, method in ipairs{ "execute", "execute_json", "start", "plan" } do
      local output, err = ex[method](ex, "c", "1")
      assert.is_nil(output)
      assert.equal("stage_not_found", err.kind)
    end
    assert.equal("stage_not_found", ex:map("c", { 1 })[1].err.kind)
  end)

  it("passes options on, and refuses unknown ones", function()
    assert.has_error(function() ex:execute("a", 1, { tiemout_secs = 1 }) end)
  end)

  it("raises on what is no executor", function()
    assert.has_error(function() noether.composite{ first, {} } end)
    assert.has_error(function() noether.composite("x") end)
    local cases = {
      { function() noether.composite(first) end, "noether.composite{ a, b }" },
      { function() noether.composite(first, second) end, "noether.composite{ a, b }" },
      { function() noether.composite({ first }, { second }) end, "noether.composite{ a, b }" },
      { function() noether.composite{ nil, second } end, "a list with holes" },
      { function() noether.composite{ a = first } end, "got the name 'a'" },
      { function() noether.composite{ first, {} } end, "executors[2]: expected an executor" },
    }
    for _, case in ipairs(cases) do
      local ok, message = pcall(case[1])
      assert.is_false(ok)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("composite_spec.lua:%d+:"), message)
    end
  end)

  it("asks executors that are not of this library by their public face alone", function()
    local foreign = setmetatable({}, { __index = function(_, name)
      if name == "begin" or name == "stage_of" then return nil end
      return function(_, ...) return first[name](first, ...) end
    end })
    local mixed = noether.composite{ foreign, second }
    assert.equal(1, (noether.check(mixed:execute("a"))))
    assert.equal("1", (noether.check(mixed:execute_json("a", "null"))))
    assert.equal(2, (noether.check(mixed:execute("b"))))
  end)

  it("refuses after close, and leaves its executors open", function()
    local own = noether.composite{ first }
    assert.is_true(own:close())
    local output, err = own:execute("a")
    assert.is_nil(output)
    assert.equal("closed", err.kind)
    assert.is_false(own:has_implementation("a"))
    assert.equal(1, (noether.check(first:execute("a"))))
  end)
end)
