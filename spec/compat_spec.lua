-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local compat = require "noether.compat"

describe("compat", function()
  it("packs and unpacks with nils", function()
    local packed = compat.pack(1, nil, nil)
    assert.equal(3, packed.n)
    assert.same({ 3, 1 }, { select("#", compat.unpack(packed, 1, 3)), (compat.unpack(packed)) })
  end)

  it("loads text with globals of its own, and no bytecode", function()
    local env = { x = 3 }
    assert.equal(3, compat.load_text("y = x; return x", "=chunk", env)())
    assert.equal(3, env.y)
    assert.equal(_G, compat.load_text("return _G", "=chunk")())
    local chunk, message = compat.load_text("return +", "=chunk", env)
    assert.is_nil(chunk)
    assert.matches("^chunk:1:", message)
    assert.is_nil(compat.load_text(string.dump(function() end), "=chunk", env))
  end)

  it("takes Lua's own coroutines where a host puts others in their place, as nginx does", function()
    local output, code = helper.shell(helper.quote(helper.lua) .. " -e " .. helper.quote[[
      for _, name in ipairs{ "create", "resume", "status", "yield" } do
        coroutine["_" .. name] = coroutine[name]
        coroutine[name] = function() error("API disabled in this context") end
      end
      local noether = require "noether"
      local executor = noether.check(noether.executor{
        functions = { double = function(n) return n * 2 end },
      })
      local code = 'execute() { noether double "$1"; }'
      local stage = { language = "bash", code = code, effects = { "Process", { Call = "double" } } }
      local set = noether.check(noether.set())
      set:add(noether.check(executor:start(stage, 21)))
      print((noether.check(set:next(30)):wait(0)))
      set:close()
      executor:close()]])
    assert.equal("42\n", output)
    assert.equal(0, code)
  end)

  it("collects tables with a finalizer", function()
    local collected
    local metatable = { __gc = function(object) collected = object.name end }
    compat.set_handle_metatable({ name = "handle" }, metatable)
    collectgarbage()
    collectgarbage()
    assert.equal("handle", collected)
  end)

  it("lets a lack of memory pass, and nothing else", function()
    assert.same({ false, "mine" }, { compat.try(error, "mine", 0) })
    assert.same({ true, 1, nil, 3 }, { compat.try(function() return 1, nil, 3 end) })
    local ok, message = pcall(compat.try, error, "not enough memory", 0)
    assert.same({ false, "not enough memory" }, { ok, message })
  end)
end)
