-- SPDX-License-Identifier: MIT
--- More of packages of npm: what registries and packages do wrong. (In `make check-deep`.)
local helper = require "spec.support.helper"
local noether = require "noether"
local registries = require "spec.support.npm"

local registry

local function new(opts)
  return registries.executor(registry, opts)
end

local run = registries.run

describe("packages of npm", function()
  setup(function() registry = registries.serve(registries.PACKAGES) end)
  teardown(function() registry.close() end)

  it("are those that a call names, in the place of what the code says", function()
    local executor <close> = new()
    local code = "// requires: plain@1.0.0\nfunction execute() { return require('plain') }"
    assert.equal("plain 1.1.0", (run(executor, code, { packages = { "plain@1.1.0" } })))
    local _, err = run(executor, code, { packages = { "plain" } })
    assert.equal("package_rejected", err.kind)
  end)

  it("run none of their scripts, and leave out what is for other machines", function()
    local executor <close> = new()
    local output, err, info = run(executor, "// requires: scripts@1.0.0, choosy@1.0.0\n"
      .. "function execute() { return [require('scripts'), require('choosy')] }")
    assert.is_nil(err, tostring(err))
    assert.same({ false, 1 }, output)
    assert.same({ "choosy@1.0.0", "scripts@1.0.0" }, info.runtime.packages)
  end)

  local REFUSED = {
    ["weak@1.0.0"] = { "package_rejected", "'weak' (the registry gives no SHA-512" },
    ["bare@1.0.0"] = { "package_rejected", "'bare' (the registry gives no SHA-512" },
    ["needs-weak@1.0.0"] = { "package_rejected", "'weak' (the registry gives no SHA-512" },
    ["elsewhere@1.0.0"] = { "package_rejected", "'elsewhere' (it does not come from the" },
    ["wrong@1.0.0"] = { "packages_failed", "not the one that was pinned" },
    ["plain@7.7.7"] = { "packages_failed", "no such version" },
    ["not-there@1.0.0"] = { "packages_failed", "no such package" },
    ["needs-none@1.0.0"] = { "packages_failed", "no such package" },
    ["other-machine@1.0.0"] = { "packages_failed", "not for this machine" },
    ["outside@1.0.0"] = { "packages_failed", "could not be unpacked" },
  }
  it("are refused with the reason, and before anything else of theirs is fetched", function()
    local executor <close> = new()
    for spec, expected in pairs(REFUSED) do
      local output, err = run(executor, "// requires: " .. spec .. "\nfunction execute() {}")
      assert.is_nil(output)
      assert.equal(expected[1], err.kind, spec .. ": " .. tostring(err))
      assert.truthy(err.message:find(expected[2], 1, true), spec .. ": " .. tostring(err))
    end
    for _, path in ipairs(registry.asked()) do
      assert.is_nil(path:find("^weak/%-/") or path:find("^bare/%-/"), path)
    end
  end)

  for _, name in ipairs{ "of-a-repository", "of-an-url", "of-a-file" } do
    it("come from the registry alone: not " .. name, function()
      local executor <close> = new()
      local _, err = run(executor, "// requires: " .. name .. "@1.0.0\nfunction execute() {}")
      assert.truthy(err.kind == "package_rejected" or err.kind == "packages_failed", tostring(err))
    end)
  end

  it("are no larger than allowed", function()
    local executor <close> = new{ npm = { max_bytes = 2 * 1024 * 1024 } }
    local _, err = run(executor, "// requires: large@1.0.0\nfunction execute() {}")
    assert.equal("packages_failed", err.kind, tostring(err))
    assert.truthy(err.message:find("larger than allowed", 1, true), tostring(err))
  end)

  it("that somebody changed are installed anew, with a warning", function()
    local cache = helper.tmpdir() .. "/cache"
    local code = "// requires: plain@1.0.0\nfunction execute() { return require('plain') }"
    local executor <close> = new{ cache_dir = cache, isolation = "none" }
    noether.check(run(executor, code))
    local place = cache .. "/venvs/" .. helper.list(cache .. "/venvs")[1]
    helper.write(place .. "/node_modules/plain/index.js", "module.exports = 'other';")
    os.remove(place .. "/package-lock.json")
    local output, _, info = run(executor, code)
    assert.equal("plain 1.0.0", output)
    assert.truthy(info.warnings[1]:find("had been changed", 1, true))
  end)

  it("say what is wrong with the registry", function()
    local cases = {
      [registry.url .. "error/"] = "answered with an error",
      ["http://127.0.0.1:9/"] = "cannot reach its registry",
    }
    for url, text in pairs(cases) do
      local executor <close> = new{ npm = { registry = url } }
      local _, err = run(executor, "// requires: plain@1.0.0\nfunction execute() {}")
      assert.equal("packages_failed", err.kind)
      assert.truthy(err.message:find(text, 1, true), tostring(err))
    end
  end)
end)
