-- SPDX-License-Identifier: MIT
--- Packages of npm for JavaScript and TypeScript stages, from a registry on loopback. More of them
-- is tried by `make check-deep`: spec/deep/npm.lua.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"
local registries = require "spec.support.npm"
local runtime = require "noether.runtime.npm"
local sys = require "noether.sys"

local BACKENDS = { "none", "native", "bwrap", "landlock" }

local ALL = "// requires: plain@1.0.0, @own/scoped@1.0.0\n  // requires: modern@1.0.0\n"

local CODES = {
  { "by require", "const plain = require('plain');\n"
    .. "function execute() { return [plain, require('@own/scoped')] }",
    { "plain 1.0.0", "scoped with plain 1.0.0" } },
  { "by import", "import { name } from 'modern';\nimport plain from 'plain';\n"
    .. "export function execute() { return [name, plain] }",
    { "modern with plain 1.0.0", "plain 1.0.0" } },
  { "by import() in CommonJS",
    "async function execute() { return (await import('modern')).name }",
    "modern with plain 1.0.0" },
  { "in TypeScript", "import plain from 'plain';\n"
    .. "export const execute = (n: number): string => plain as string", "plain 1.0.0",
    "typescript" },
  { "read-only", "const fs = require('fs');\nfunction execute() {\n"
    .. "  const place = require('plain/package.json') && require('path').sep;\n"
    .. "  const at = Object.keys(require('module')._cache || require.cache || {});\n"
    .. "  const dir = at.find((name) => name.includes('plain')).replace(/plain.*/, 'plain');\n"
    .. "  try { fs.writeFileSync(dir + '/x', 'x'); return 'written' } catch { return place } }",
    "/" },
}

describe("packages of npm", function()
  local registry
  setup(function() registry = registries.serve(registries.PACKAGES) end)
  teardown(function() registry.close() end)

  helper.over({ backends = BACKENDS }, "under '%s'", function(backend)
    it("are had in every way, installed once, and named", function()
      local executor <close> = registries.executor(registry, { isolation = backend })
      local before = #registry.asked()
      for _, case in ipairs(CODES) do
        local output, err, info = registries.run(executor, ALL .. case[2], nil, case[4])
        assert.is_nil(err, case[1] .. ": " .. tostring(err) .. (info and info.logs or ""))
        if case[1] ~= "read-only" or backend ~= "none" then assert.same(case[3], output) end
        assert.equal("npm", info.runtime.kind)
        assert.same({ "@own/scoped@1.0.0", "modern@1.0.0", "plain@1.0.0" },
          info.runtime.packages)
        assert.truthy(info.provenance.packages:find("^%x+$"))
      end
      local asked = 0
      for index, path in ipairs(registry.asked()) do
        local is_modern = index > before and path == "modern/-/modern-1.0.0.tgz"
        asked = asked + (is_modern and 1 or 0)
      end
      assert.equal(1, asked)
    end)
  end)

  it("are those of a lock, in which everything is judged before npm sees it", function()
    local cache, plain = helper.tmpdir() .. "/cache", "\nfunction execute() { return 1 }"
    local code = "// requires: @own/scoped@1.0.0" .. plain
    local executor <close> = registries.executor(registry, { cache_dir = cache })
    local stage = { language = "javascript", code = code, effects = {} }
    local lock = noether.check(executor:lock(stage))
    assert.truthy(json.decode(lock).packages["node_modules/plain"].integrity:find("^sha512%-"))
    local before = #registry.asked()
    local output, err, info = registries.run(executor, code, { lock = lock })
    assert.equal(1, output, tostring(err))
    assert.same({ "@own/scoped@1.0.0", "plain@1.1.0" }, info.runtime.packages)
    for index, path in ipairs(registry.asked()) do
      assert.truthy(index <= before or path:find("/-/", 1, true), path)
    end
    for _, case in ipairs{
      { code, "input_invalid", "lock: it is no JSON", "lock" },
      { code, "input_invalid", "lock: it is no package-lock.json", "{}" },
      { code, "input_invalid", "lock: it is no package-lock.json", '{"lockfileVersion":1}' },
      { code, "input_invalid", "lock: it is no package-lock.json", "[]" },
      { "// requires: modern@1.0.0" .. plain, "package_rejected",
        "'modern@1.0.0' (the lock does not hold it)", lock },
      { "// requires: plain@1.0.0" .. plain, "package_rejected",
        "'plain@1.0.0' (the lock has plain@1.1.0)", lock },
      { code, "package_rejected", "it does not come from the registry",
        (lock:gsub('"http://127.0.0.1:%d+/', '"http://127.0.0.1:9/')) },
      { code, "package_rejected", "no SHA-512", (lock:gsub("sha512%-", "sha1-")) },
      { code, "packages_failed", "",
        (lock:gsub("sha512%-[%w+/]+", "sha512-" .. ("A"):rep(85) .. "Q", 1)) },
    } do
      output, err = registries.run(executor, case[1], { lock = case[4] })
      assert.is_nil(output)
      assert.equal(case[2], err.kind, tostring(err))
      assert.truthy(err.message:find(case[3], 1, true), tostring(err))
    end
  end)

  it("are asked for without a trace in a home that is not npm's", function()
    local code = "// requires: plain@1.0.0\nfunction execute() { return 1 }"
    local executor <close> = registries.executor(registry, { isolation = "none" })
    local lock = noether.check(executor:lock{ language = "javascript", code = code, effects = {} })
    local elsewhere = lock:gsub('"http://127.0.0.1:%d+/', '"http://127.0.0.1:9/')
    local was_there = sys.stat("/nonexistent") ~= nil
    local _, err = registries.run(executor, code, { lock = elsewhere })
    assert.equal("package_rejected", err.kind, tostring(err))
    assert.equal(was_there, sys.stat("/nonexistent") ~= nil)
  end)

  it("come from a private registry, whose password no stage sees", function()
    local private <close> = registries.serve(registries.PACKAGES, "sesame")
    local host = private.url:match("^http:(//.*)$")
    local code = "// requires: plain@1.0.0\nfunction execute() {\n"
      .. "  return [require('plain'), JSON.stringify(process.env).includes('se' + 'same')] }"
    local stranger <close> = registries.executor(private)
    local output, err = registries.run(stranger, code)
    assert.is_nil(output)
    assert.equal("packages_failed", err.kind)
    local executor <close> = registries.executor(private, {
      npm = { env = { ["npm_config_" .. host .. ":_authToken"] = "sesame" } },
    })
    local info
    output, err, info = registries.run(executor, code)
    assert.is_nil(err, tostring(err))
    assert.same({ "plain 1.0.0", false }, output)
    local stage = { language = "javascript", code = code, effects = {} }
    for _, shown in ipairs{ info, executor:plan(stage), executor:lock(stage) } do
      assert.falsy(noether.inspect(shown):find("sesame", 1, true))
    end
  end)

  it("are judged by the policy's lists, dependencies too, also those that are there", function()
    local cache = helper.tmpdir() .. "/cache"
    local code = "// requires: @own/scoped@1.0.0\nfunction execute() { return 1 }"
    for _, case in ipairs{
      { { allow = { "@own/scoped" } }, "'plain@1.1.0' (the policy's list of allowed" },
      { nil }, { { deny = { "plain@1.1.0" } }, "'plain@1.1.0' (the policy denies it)" },
    } do
      local executor <close> = registries.executor(registry, {
        cache_dir = cache, policy = { npm = case[1] },
      })
      local output, err = registries.run(executor, code)
      if case[2] then
        assert.equal("package_rejected", err.kind)
        assert.truthy(err.message:find(case[2], 1, true), tostring(err))
      else
        assert.equal(1, output)
      end
    end
  end)

  it("are refused before anything of theirs is fetched", function()
    local executor <close> = registries.executor(registry)
    local _, err = registries.run(executor, "// requires: needs-weak@1.0.0\nfunction execute() {}")
    assert.equal("package_rejected", err.kind)
    assert.truthy(err.message:find("'weak' (the registry gives no SHA-512", 1, true), err.message)
    for _, path in ipairs(registry.asked()) do
      assert.is_nil(path:find("weak/-/", 1, true), path)
    end
  end)

  local NONE = {
    ["plain@^1.0.0"] = "'plain@^1.0.0' (its version is not exact",
    ["plain@1.0.0, plain@1.1.0"] = "the package is named twice",
    ["denied@1.0.0"] = "the policy denies it",
    ["../plain@1.0.0"] = "its name is no package's", ["plain"] = "it is not pinned",
  }
  it("are refused by what is written", function()
    local executor <close> = registries.executor(registry, {
      policy = { npm = { deny = { "denied" } } },
    })
    for spec, reason in pairs(NONE) do
      local _, err = registries.run(executor, "// requires: " .. spec .. "\nfunction execute() {}")
      assert.equal("package_rejected", err.kind)
      assert.truthy(err.message:find(reason, 1, true), err.message)
      assert.truthy(err.hint:find("name@version", 1, true), err.hint)
    end
    local _, err = executor:execute({ language = "bash", code = "execute() { echo 1; }",
      effects = {} }, 1, { packages = { "plain@1.0.0" } })
    assert.equal("input_invalid", err.kind)
    assert.has_error(function() registries.executor({ url = "ftp://x" }) end)
  end)
end)

describe("a lock of npm's", function()
  local policies = noether.check(require("noether.overrides.policies").load())
  local HASH = "sha512-" .. ("A"):rep(86) .. "=="

  local function judge(packages, version)
    packages[""] = {}
    return runtime.judge_lock(assert(json.encode{
      lockfileVersion = version or 3, packages = packages,
    }), { policies = policies }, { "https://r.example/npm/", "https://own.example/" })
  end

  local function entry(fields)
    local whole = { version = "1.0.0", integrity = HASH, resolved = "https://r.example/npm/a.tgz" }
    for name, value in pairs(fields or {}) do whole[name] = value or nil end
    return whole
  end

  it("names packages, wherever they lie in node_modules", function()
    local found = assert(judge{
      ["node_modules/a"] = entry{ dependencies = { b = "npm:@s/b@^1 || >= 2", c = "1 - 2" } },
      ["node_modules/@s/b"] = entry{ peerDependencies = { a = "latest", x = "*" } },
      ["node_modules/a/node_modules/@s/b"] = entry{ version = "2.0.0" },
      ["node_modules/x"] = entry{ name = "real" },
      ["node_modules/p"] = entry{ resolved = "https://own.example/p.tgz" },
      ["node_modules/a/node_modules/in"] = { inBundle = true, version = "3.0.0" },
    })
    local specs = {}
    for index, package in ipairs(found) do specs[index] = package.spec end
    assert.same({ "@s/b@1.0.0", "a@1.0.0", "@s/b@2.0.0", "in@3.0.0", "p@1.0.0", "real@1.0.0" },
      specs)
  end)

  local WRONG = {
    { { ["node_modules/a"] = entry{ link = true } }, "it is a link" },
    { { ["../a"] = entry() }, "it would lie elsewhere" },
    { { ["node_modules/../a"] = entry() }, "it would lie elsewhere" },
    { { ["node_modules/a/b/c"] = entry() }, "it would lie elsewhere" },
    { { ["a"] = entry() }, "it would lie elsewhere" },
    { { ["node_modules/a"] = { version = "1.0.0" } }, "no SHA-512" },
    { { ["node_modules/a"] = entry{ integrity = "sha512-AAAA" } }, "no SHA-512" },
    { { ["node_modules/a"] = entry{ integrity = "sha1-" .. ("A"):rep(86) } }, "no SHA-512" },
    { { ["node_modules/a"] = entry{ resolved = "https://r.example/npmx/a.tgz" } },
      "does not come from the registry" },
    { { ["node_modules/a"] = entry{ resolved = "git+ssh://git@r.example/a.git#1" } },
      "does not come from the registry" },
    { { ["node_modules/a"] = entry{ resolved = "file:../a" } }, "does not come from the registry" },
    { { ["node_modules/a"] = { inBundle = true, version = "1.0.0" } }, "no SHA-512" },
    { { ["node_modules/a"] = entry(), ["node_modules/a/node_modules/b"] = { inBundle = true,
      version = "1.0.0", resolved = "http://x.example/b.tgz" } }, "no SHA-512" },
    { { ["node_modules/a"] = entry(), ["node_modules/a/node_modules/b"] = { inBundle = true,
      version = "1.0.0", dependencies = { c = "http://x.example/c.tgz" } } },
      "it depends on 'c', which is not of the registry" },
    { { ["node_modules/a"] = entry{ optionalDependencies = { c = "owner/c" } } },
      "it depends on 'c'" },
    { { ["node_modules/a"] = entry{ peerDependencies = { c = "npm:c@file:../c" } } },
      "it depends on 'c'" },
    { { ["node_modules/a"] = entry{ version = "latest" } }, "its version is not exact" },
    { { ["node_modules/a"] = 3 }, "no object" },
  }
  for index, case in ipairs(WRONG) do
    it(("is refused where %s (%d)"):format(case[2], index), function()
      local found, err = judge(case[1])
      assert.is_nil(found)
      assert.equal("package_rejected", err.kind, tostring(err))
      assert.truthy(err.message:find(case[2], 1, true), err.message)
    end)
  end

  it("is read in the versions that name integrity, and in no other", function()
    assert.truthy(judge({}, 2))
    local found, err = judge({}, 1)
    assert.is_nil(found)
    assert.equal("packages_failed", err.kind)
    found, err = runtime.judge_lock("{", { policies = policies }, {})
    assert.is_nil(found)
    assert.equal("packages_failed", err.kind)
  end)
end)
