-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local npm = require "noether.policy.npm"

describe("what a stage requires of npm", function()
  local FOUND = {
    { "// requires: lodash@4.17.21", { "lodash@4.17.21" } },
    { "\239\187\191// requires: a@1.0.0 ,, @scope/b@1.2.3-beta.1 \r\n  // requires: c@0.0.1\r\n",
      { "a@1.0.0", "@scope/b@1.2.3-beta.1", "c@0.0.1" } },
    { "const x = 1; // requires: a@1.0.0", {} },
    { "//requires: a@1.0.0\n// Requires: a@1.0.0", {} },
    { "const x = `\n// requires: a@1.0.0\n`;\n// requires: b@1.0.0", { "b@1.0.0" } },
    { "/*\n// requires: a@1.0.0\n*/\n// requires: b@1.0.0", { "b@1.0.0" } },
    { "const x = 'it\\\n// requires: a@1.0.0';\n// requires: b@1.0.0", { "b@1.0.0" } },
    { "const x = \"'\"; const r = /[\"']/;\n// requires: b@1.0.0", { "b@1.0.0" } },
    { "", {} },
  }
  for _, case in ipairs(FOUND) do
    it(("is found in comments: %q"):format(case[1]), function()
      assert.same(case[2], npm.requirements(case[1]))
    end)
  end

  it("is what was said elsewhere, where that is so", function()
    local opts = { declared = { "b@1.0.0" } }
    assert.same({ "b@1.0.0" }, npm.requirements("// requires: a@1.0.0", opts))
  end)

  local WRONG = {
    ["a"] = "not pinned", ["@scope/a"] = "not pinned", ["a@"] = "not exact",
    ["a@latest"] = "not exact", ["a@^1.0.0"] = "not exact",
    ["a@1.0"] = "not exact",
    ["a@01.0.0"] = "not exact",
    ["a@v1.0.0"] = "not exact", ["a@=1.0.0"] = "not exact", ["a@1.0.0+build"] = "not exact",
    ["a@1.0.0-"] = "not exact", ["a@npm:b@1.0.0"] = "no package's", ["../a@1.0.0"] = "no package's",
    ["a/b@1.0.0"] = "no package's", [".a@1.0.0"] = "no package's", ["a b@1.0.0"] = "no package's",
    ["a@file:/etc"] = "not exact", ["git+ssh://git@h/a.git@1.0.0"] = "no package's",
    ["--registry=x@1.0.0"] = "no package's", ["\195\164@1.0.0"] = "no package's",
    [("a"):rep(215) .. "@1.0.0"] = "no package's", ["a@1.0.0-" .. ("a"):rep(200)] = "not exact",
  }
  for spec, reason in pairs(WRONG) do
    it(("is refused: %q"):format(spec:sub(1, 40)), function()
      local list, refused = npm.requirements("// requires: " .. spec)
      assert.is_nil(list)
      assert.equal(1, #refused)
      assert.truthy(refused[1].reason:find(reason, 1, true), refused[1].reason)
      assert.is_true(#refused[1].spec <= 83)
    end)
  end

  it("is no more than can be", function()
    local many = {}
    for n = 1, 300 do many[n] = ("a%d@1.0.0"):format(n) end
    local list, refused = npm.requirements("// requires: " .. table.concat(many, ","))
    assert.is_nil(list)
    assert.truthy(refused[1].reason:find("more than 256", 1, true))
    list, refused = npm.requirements("// requires: " .. (" "):rep(70000) .. "a@1.0.0")
    assert.is_nil(list)
    assert.truthy(refused[1].reason:find("longer than", 1, true))
  end)

  it("is read in time that grows as the code does", function()
    for _, piece in ipairs{ "`", "'\\", "/*", "// requires: ", "\n  ", "//", "\"" } do
      local began = os.clock()
      npm.requirements(piece:rep(200000))
      assert.is_true(os.clock() - began < 5, piece)
    end
  end)
end)

describe("what npm is given", function()
  it("is its own program, and where packages come from", function()
    local commands = npm.commands("/usr/lib/npm-cli.js", { registry = "https://r.example/" })
    for _, name in ipairs{ "lock", "install" } do
      local words = table.concat(commands[name], " ")
      assert.equal("/usr/lib/npm-cli.js", commands[name][1])
      assert.truthy(words:find("--ignore-scripts", 1, true))
      assert.truthy(words:find("--registry=https://r.example/", 1, true))
      assert.is_nil(words:find("{", 1, true))
    end
    assert.truthy(table.concat(commands.lock, " "):find("--package-lock-only", 1, true))
    assert.equal("ci", commands.install[2])
  end)

  it("is a package.json of exact versions", function()
    assert.equal('{"private":true,"dependencies":{"a":"1.0.0","@s/b":"1.2.3-x.1"}}\n',
      npm.requirements_file{ "a@1.0.0", "@s/b@1.2.3-x.1" })
  end)
end)
