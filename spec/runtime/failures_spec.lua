-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local failures = require "noether.runtime.failures"
local sys = require "noether.sys"

describe("failures of nix", function()
  local NIX = "/usr/bin/nix"
  local cache

  before_each(function() cache = { dir = helper.tmpdir() } end)

  it("are known to the next one by name, nix and environment, until they are forgotten", function()
    local known = failures.of(cache, NIX, { HOME = "/a", LANG = "C" })
    local name = failures.name("python", { "numpy", "six" })
    assert.is_nil(known:recent(name))
    known:remember(name, "no\27 network")
    local message, age = failures.of(cache, NIX, { HOME = "/a", LANG = "de" }):recent(name)
    assert.equal("no\\x1B network", message)
    assert.is_true(age >= 0 and age < failures.KEPT_SECS)
    assert.is_nil(known:recent(failures.name("python", { "numpy" })))
    assert.is_nil(known:recent(failures.ALL))
    assert.is_nil(failures.of(cache, NIX, { HOME = "/b" }):recent(name))
    assert.is_nil(failures.of(cache, "/bin/nix", { HOME = "/a" }):recent(name))
    known:forget(name)
    assert.is_nil(known:recent(name))
  end)

  it("count for a while, also where the clock has jumped, and go when a new one comes", function()
    local known = failures.of(cache, NIX, {})
    for _, when in ipairs{ "20 minutes ago", "tomorrow" } do
      known:remember("old", "no network")
      helper.write(cache.dir .. "/nix/other", "")
      helper.shell(("touch -d '%s' %s/nix/*"):format(when, cache.dir))
      assert.is_nil(known:recent("old"))
      known:remember("new", "no network")
      assert.equal(2, #helper.list(cache.dir .. "/nix"))
      assert.is_string(known:recent("new"))
    end
  end)

  it("are lost, and no error, where they cannot be written", function()
    local known = failures.of({ dir = "/proc/nonesuch" }, NIX, {})
    known:remember("x", "no network")
    known:forget("x")
    assert.is_nil(known:recent("x"))
    assert.is_nil(sys.stat("/proc/nonesuch"))
  end)
end)
