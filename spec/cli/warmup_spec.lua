-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local command = require "spec.cli.command"

describe("noether warmup", function()
  it("finds the interpreters of all languages", function()
    local out, err = command.succeed{ "warmup" }
    for _, language in ipairs{ "python", "javascript", "bash" } do
      assert.truthy(out:find("%f[^\n%z]" .. language .. " +host +/%S+ +%d"), out)
    end
    assert.equal("", err) -- progress is for terminals
  end)

  it("finds one of them, and tells as JSON", function()
    local found = command.json{ "warmup", "bash", "--json" }
    assert.equal("bash", found.bash.language)
    assert.is_nil(found.python)
  end)

  it("fails for one that is asked for and not there", function()
    local nowhere = { clear_env = true, env = { PATH = "/nowhere", HOME = "/nowhere" } }
    command.fail(125, { "warmup", "bash" }, { "no bash interpreter", "noether: hint: " }, nowhere)
    command.fail(125, { "warmup" }, { "no python interpreter" }, nowhere)
    command.fail(2, { "warmup", "cobol" }, { "unknown language 'cobol'" })
    command.fail(2, { "warmup", "--runtime", "cloud" }, { "must be one of 'auto', 'host'" })
  end)
end)
