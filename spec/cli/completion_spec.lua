-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"

local BASH = [[
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_noether
echo "${COMPREPLY[*]}"
]]

local LINES = {
  { { "noether", "" },
    "run session plan lock doctor warmup prune store sandbox policy mcp worker fleet completion" },
  { { "noether", "r" }, "run" },
  { { "noether", "run", "--i" }, "--input --isolation" },
  { { "noether", "run", "--isolation", "" }, "auto native bwrap landlock none" },
  { { "noether", "store", "" }, "put list show remove" },
  { { "noether", "store", "put", "--n" }, "--name" },
  { { "noether", "policy", "s" }, "show" },
}

describe("noether completion", function()
  local function script(shell)
    return helper.write(helper.tmpdir() .. "/script", (command.succeed{ "completion", shell }))
  end

  local function quoted(words)
    local list = {}
    for i, word in ipairs(words) do list[i] = helper.quote(word) end
    return table.concat(list, " ")
  end

  it("completes in bash", function()
    local path = script "bash"
    for _, line in ipairs(LINES) do
      local output, code = helper.shell(("bash -c %s bash %s %s"):format(helper.quote(BASH), path,
        quoted(line[1])))
      assert.equal(0, code, output)
      assert.equal(line[2] .. "\n", output)
    end
  end)

  it("completes in fish", function()
    local path = script "fish"
    for _, line in ipairs(LINES) do
      local output, code = helper.shell(("fish --no-config -c %s"):format(helper.quote(
        ("source %s; complete -C %s"):format(path, helper.quote(table.concat(line[1], " "))))))
      assert.equal(0, code, output)
      for word in line[2]:gmatch("%S+") do
        assert.truthy(("\n" .. output):find("\n" .. word, 1, true), output)
      end
    end
  end)

  it("is a script that zsh reads", function()
    local path = script "zsh"
    assert.truthy(helper.read(path):find("^#compdef noether\n"))
    assert.same({ "", 0 }, { helper.shell("zsh -f -n " .. path) })
  end)

  it("knows no other shell", function()
    command.fail(2, { "completion", "tcsh" }, { "must be one of 'bash', 'zsh', 'fish'" })
    command.fail(2, { "completion" }, { "missing argument 'SHELL'" })
  end)
end)
