-- SPDX-License-Identifier: MIT
-- PEP 723 blocks: found, read, judged. Cases of the standard's own expression and of what other
-- tools make of them.
require "spec.support.helper"
local script = require "noether.policy.script"

local function block(...)
  return "# /// script\n# " .. table.concat({ ... }, "\n# ") .. "\n# ///\n"
end

local function said(code)
  local found, reason = script.metadata(code)
  if not found then return nil, reason end
  return { found.requires_python or false, table.concat(found.dependencies or { "none" }, ";") }
end

describe("script.metadata", function()
  it("reads what stands in a block", function()
    for _, case in ipairs{
      { block('dependencies = ["a==1"]'), false, "a==1" },
      { block("dependencies = []"), false, "" },
      { block('requires-python = ">=3.9"'), ">=3.9", "none" },
      { block('requires-python = ">=3.9"', "dependencies = [", '  "a==1", # why', "  'b==2',", "]"),
        ">=3.9", "a==1;b==2" },
      { block('"dependencies" = ["""a==1""", "b\\t"]'), false, "a==1;b\t" },
      { block("n = 5", "t = 1979-05-27", 'd = { x = "}", y = [1] }', "a.b = true",
        "dependencies = ['a==1']", "[tool.x]", "dependencies = 3", "[[y]]"), false, "a==1" },
      { "#!/bin/python3\n" .. block("dependencies = ['a==1']") .. "import a\n", false, "a==1" },
      { block("dependencies = ['a==1']"):gsub("\n", "\r\n"), false, "a==1" },
      { (block("dependencies = ['a==1']"):gsub("\n$", "")), false, "a==1" },
      { block("dependencies = ['a==1']", ""), false, "a==1" },
      { "# /// script\n#\n# dependencies = ['a==1']\n#\n# ///\n", false, "a==1" },
      { 'text = """\n' .. block("dependencies = ['a==1']") .. '"""\n', false, "a==1" },
      { "# /// other\n# x\n# ///\n\n" .. block("dependencies = ['a==1']"), false, "a==1" },
    } do
      assert.same({ case[2], case[3] }, (said(case[1])), case[1])
    end
  end)

  it("finds none where the standard's expression finds none", function()
    for _, code in ipairs{
      "", "# /// script\n", "# /// script\n# ///\n", "# /// script\n# a = 1\n",
      "# /// script \n# a = 1\n# ///\n", "# /// script\n# a = 1\n# /// \n",
      "# /// Script\n# a = 1\n# ///\n", " # /// script\n # a = 1\n # ///\n",
      "# /// script\n#a = 1\n# ///\n", "# /// script\n\n# a = 1\n# ///\n",
      "\239\187\191# /// script\n# a = 1\n# ///\n", "# /// pyproject\n# a = 1\n# ///\n",
      "#/// script\n# a = 1\n# ///\n",
    } do
      assert.same({ nil, nil }, { script.metadata(code) }, code)
    end
  end)

  it("says what is wrong with one that cannot be held", function()
    local one = block("dependencies = []")
    for _, case in ipairs{
      { one .. "x = 1\n" .. one, "there are two blocks" },
      { one .. one, "its TOML cannot be read" },
      { block("dependencies = [", "'a'"), "its TOML cannot be read" },
      { block("= 1"), "its TOML cannot be read" }, { block("a b = 1"), "its TOML cannot be read" },
      { block("dependencies = 'a==1'"), "dependencies: expected a list of texts" },
      { block("dependencies = [1]"), "dependencies: expected a list of texts" },
      { block("requires-python = 3.11"), "requires-python: expected text" },
      { block("requires-python = '3.11'"), "requires-python: expected text" },
      { block("requires-python = '>=3.x'"), "requires-python: expected text" },
      { block("a = '" .. ("x"):rep(70000) .. "'"), "longer than 65536 bytes" },
    } do
      local found, reason = script.metadata(case[1])
      assert.is_nil(found)
      assert.truthy(reason and reason:find(case[2], 1, true), case[1]:sub(1, 200))
    end
  end)
end)

describe("script.satisfies", function()
  it("compares releases as PEP 440 does", function()
    for _, case in ipairs{
      { ">=3.9", "3.9.0", true }, { ">=3.9", "3.8.18", false }, { ">=3.9, <3.12", "3.11.2", true },
      { ">=3.9,<3.11", "3.11.0", false }, { "==3.11.*", "3.11.9", true },
      { "==3.11", "3.11.0", true }, { "==3.11", "3.11.2", false }, { "!=3.11.*", "3.11.2", false },
      { "~=3.9", "3.14.0", true }, { "~=3.9", "4.0", false }, { "~=3.11.1", "3.12", false },
      { "~=3.11.1", "3.11.5", true }, { ">3", "3.0.0", false }, { "<=3.11", "3.11", true },
      { ">=3.13", "3.13.0rc1", true }, { "", "3.11", true }, { ">=3.10", "3.9", false },
    } do
      assert.equal(case[3], script.satisfies(case[1], case[2]), case[1] .. " " .. case[2])
    end
  end)
end)

describe("a block of a script that has no end", function()
  local cases = {
    { "# /// script\n# dependencies = []\nimport x\n", 1, 3 },
    { "import x\n# /// script\n# dependencies = []\n\n# ///\n", 2, 4 },
    { "# /// script\n#dependencies = []\n# ///\n", 1, 2 },
    { "# /// script\n# ///\n", 1, 3 },
    { "# /// script\n# dependencies = []\n# ///\n" }, { "# /// scripts\n" }, { "import x\n" },
    { "x = '# /// script'\n" },
  }
  for _, case in ipairs(cases) do
    it(("is told by its lines: %q"):format(case[1]), function()
      local first, stop = script.unfinished(case[1])
      assert.same({ case[2], case[2] and case[3] }, { first, first and stop })
    end)
  end
end)
