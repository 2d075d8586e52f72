-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local noether = require "noether"

describe("noether", function()
  it("adds nothing to the globals and does nothing when it is loaded", function()
    local program = [[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require "noether"
      for name in pairs(_G) do assert(before[name], name) end]]
    local output, code = helper.shell(("%s -e %s"):format(helper.quote(helper.lua),
      helper.quote(program)))
    assert.equal("", output)
    assert.equal(0, code)
  end)

  -- What a program prints that finds the library by a path from where it is started.
  local function run(code)
    local modules = helper.lua:match("^(.*)/bin/[^/]+$") .. "/lib/5.4/?.so;;"
    local output, status = helper.shell(helper.sanitizers_first
      .. ("cd %s && LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH=%s lua5.4 -e %s"):format(
      helper.quote(helper.root), helper.quote(modules), helper.quote(code)))
    assert.equal(0, status, output)
    return output
  end

  it("loads what is used when it is used", function()
    assert.equal("nil\ttable\ttrue\n", run[[
      local noether = require "noether"
      local before = package.loaded["noether.stage.store.memory"]
      local store = noether.store.memory()
      local found = false
      for name in pairs(noether) do found = found or name == "executor" end
      print(before, type(store), found)]])
  end)

  it("needs no more files once all is loaded", function()
    local code = [[
      local noether = require "noether"
      %s
      require("lfs").chdir("/")
      print(pcall(function()
        return noether.execute{
          language = "bash", code = "execute() { echo $1; }", input = 42, isolation = "none",
        }, noether.trace.page{}
      end))]]
    assert.matches("^true\t42\t<!DOCTYPE", run(code:format("noether.preload()")))
    assert.matches("^false\t", run(code:format("")))
  end)

  it("has one version, that of the header", function()
    local header = helper.read(helper.root .. "/include/noether.h")
    assert.equal(header:match('define NOE_VERSION "([^"]+)"'), noether.version)
  end)

  it("hashes, tells the time and shows values", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      noether.sha256("abc"))
    local before = noether.clock()
    assert.is_true(noether.clock() >= before)
    assert.equal("{ 1, 2 }", noether.inspect{ 1, 2 })
    assert.equal("null", noether.inspect(noether.null))
    assert.equal(require("cjson").null, noether.null)
  end)

  it("marks arrays", function()
    local ex = noether.inline{ echo = function(input) return input end }
    assert.equal("[]", (noether.check(ex:execute_json("echo", "[]"))))
    assert.equal("stage_failed", select(2, noether.inline{
      x = function() error("no") end,
    }:execute("x")).kind)
    assert.same({}, noether.array{})
  end)

  it("knows its errors", function()
    local _, err = noether.inline{}:execute("x")
    assert.is_true(noether.is_error(err))
    assert.is_false(noether.is_error("x"))
    assert.is_false(noether.is_error(nil))
  end)

  it("runs programs without stages", function()
    local result = assert(noether.run({ "echo", "hi" }, { isolation = "none" }))
    assert.equal("hi\n", result.stdout)
    local proc <close> = assert(noether.spawn({ "cat" }, { isolation = "none", stdin = "x" }))
    assert.equal("x", assert(proc:wait()).stdout)
    local gone <close> = assert(noether.spawn({ "true" }, { isolation = "none" }))
    assert.equal(1, (assert(noether.wait_any({ gone }, 10))))
    gone:wait()
  end)
end)
