-- SPDX-License-Identifier: MIT
-- What a stage's code says of the Python and the packages that it needs.
require "spec.support.helper"
local noether = require "noether"

local function block(...)
  return "# /// script\n# " .. table.concat({ ... }, "\n# ") .. "\n# ///\n"
end

describe("a stage with a block of PEP 723", function()
  local executor

  before_each(function() executor = noether.check(noether.executor{ isolation = "none" }) end)
  after_each(function() executor:close() end)

  local function run(code)
    return executor:execute({
      language = "python", code = code .. "\ndef execute(n):\n    return n\n",
    }, 1)
  end

  it("runs in a Python that it allows, and needs no packages for an empty list", function()
    assert.equal(1, (run(block('requires-python = ">=3.6"', "dependencies = []"))))
  end)

  it("is none without its end, and a warning says so", function()
    local output, _, info = run("# /// script\n# dependencies = ['nonesuch']\n\n# ///\n")
    assert.equal(1, output)
    local expected = "line 1 begins a block '# /// script' that has no end before line 3"
    assert.truthy(info.warnings[1]:find(expected, 1, true), info.warnings[1])
    _, _, info = run(block("dependencies = []"))
    assert.same({}, info.warnings)
  end)

  it("is refused by a Python that it does not", function()
    local _, err = run(block('requires-python = ">=3.99"'))
    assert.equal("runtime_unavailable", err.kind)
    assert.truthy(err.message:find("asks for Python >=3.99, and ", 1, true), err.message)
  end)

  it("has its dependencies judged as any are", function()
    for _, case in ipairs{
      { block('dependencies = ["requests<3"]'), "'requests<3' (it is not pinned" },
      { block('dependencies = ["six @ https://example.org/six.whl"]'), "it holds a blank" },
      { block('dependencies = ["six==1.16.0"]') .. "# requires: six==1.16.0\n",
        "write one of the two" },
      { block("dependencies = ['a'"), "its TOML cannot be read" },
    } do
      local _, err = run(case[1])
      assert.equal("package_rejected", err.kind, tostring(err))
      assert.truthy(err.message:find(case[2], 1, true), err.message)
    end
  end)
end)
