-- SPDX-License-Identifier: MIT
--- Installers that are held to the hosts of their index.
local helper = require "spec.support.helper"
local noether = require "noether"
local npm = require "spec.support.npm"
local wheels = require "spec.support.wheels"

local function executor(backend, opts)
  local given = { isolation = backend, cache_dir = helper.tmpdir() .. "/cache", runtime = "host" }
  for name, value in pairs(opts) do
    given[name] = value
  end
  return assert(noether.executor(given))
end

local PYTHON = { language = "python", effects = {}, code = "# requires: plain==1.0\n"
  .. "import plain\ndef execute(_): return plain.__name__\n" }

helper.over({ backends = { "native", "bwrap" } }, "an installer that is held to hosts [%s]",
  function(backend)
    it("installs from its index", function()
      local index <close> = wheels.serve((wheels.make{ { name = "plain", files = {
        ["plain.py"] = "" } } }))
      local ex <close> = executor(backend, { pip = { index_url = index.url(), hosts = {} } })
      local out, err = ex:execute(PYTHON, noether.null)
      assert.is_nil(err and err.message)
      assert.equal("plain", out)
    end)

    it("reaches no other, and says which it asked for", function()
      local dir = wheels.make{ { name = "plain", files = { ["plain.py"] = "" } } }
      local index <close> = wheels.serve(dir)
      local other <close> = wheels.serve(dir)
      local function asked_by(hosts)
        local ex <close> = executor(backend, { pip = {
          index_url = other.url(), hosts = hosts, env = { http_proxy = index.url() },
        } })
        local _, err = ex:execute(PYTHON, noether.null)
        return index.asked(), err
      end
      local asked, err = asked_by{}
      assert.same({}, asked)
      assert.equal("packages_failed", err.kind)
      assert.is_true(#asked_by(nil) > 0)
    end)

    it("installs from npm's registry, and packages lie there", function()
      local registry <close> = npm.serve(npm.PACKAGES)
      local ex <close> = npm.executor(registry, { isolation = backend, npm = { hosts = {} } })
      local out, err = npm.run(ex, "// requires: plain@1.0.0\n"
        .. "function execute() { return require('plain'); }")
      assert.is_nil(err and err.message)
      assert.equal("plain 1.0.0", out)
      local found <close> = npm.executor({ url = "http://index.invalid/" }, {
        isolation = backend, npm = { hosts = { "127.0.0.1:1" } },
      })
      out, err = npm.run(found, "// requires: plain@1.0.0\nfunction execute() {}")
      assert.is_nil(out)
      assert.equal("packages_failed", err.kind)
    end)
  end)

describe("the hosts of an installer", function()
  it("are refused where they are none", function()
    for _, case in ipairs{
      { { pip = { hosts = {} } }, "pip: option 'hosts'" },
      { { npm = { hosts = {} } }, "npm: option 'hosts'" },
      { { pip = { hosts = { "a b" } } }, "pip: option 'hosts'" },
      { { npm = { hosts = { "host:0" } } }, "npm: option 'hosts'" },
      { { npm = { hosts = { "?:443" } } }, "npm: option 'hosts'" },
    } do
      local ok, message = pcall(noether.executor, case[1])
      assert.is_false(ok)
      assert.truthy(tostring(message):find(case[2], 1, true), tostring(message))
    end
  end)
end)
