-- SPDX-License-Identifier: MIT
--- What is shown to whoever waits at a terminal, and to nobody else.
local helper = require "spec.helper"
local command = require "spec.cli.command"

-- A language whose interpreter takes its time to be found.
local SLOW = [[
return {
  names = { "slow" }, extension = "slow",
  runtime = {
    programs = { "bash" },
    probe = { "-c", 'sleep 1.6; printf \'{"path":"%s","version":"1"}\' "$BASH"' },
  },
  wrap = function(code) return { files = { ["stage"] = code }, entry = "stage" } end,
  argv = function(runtime, entry) return { runtime.path, entry } end,
}
]]

describe("progress", function()
  local dir

  setup(function()
    dir = command.directory{ ["p/languages/slow.lua"] = SLOW, ["stage.slow"] = "echo 7\n" }
  end)

  local function words(verb, ...)
    return { verb, "--policy-path", dir .. "/p", "--isolation=auto", ... }
  end

  local function on_terminal(list)
    local quoted = { command.path }
    for _, word in ipairs(list) do quoted[#quoted + 1] = helper.quote(word) end
    return (helper.shell(("TERM=xterm script -qec %s /dev/null"):format(
      helper.quote(table.concat(quoted, " ")))))
  end

  it("says that a runtime is being set up, and takes the line away again", function()
    local output = on_terminal(words("run", dir .. "/stage.slow"))
    assert.truthy(output:find("\r\27[K\27[2msetting up the runtime: ", 1, true), output)
    assert.truthy(output:find("\r\27%[K7\r\n$"), output)
  end)

  it("shows how far a warm-up is", function()
    local output = on_terminal{ "warmup", "slow", "--policy-path", dir .. "/p" }
    assert.truthy(output:find("[--------------------] 0/1", 1, true), output)
    assert.truthy(output:find("\r\27%[Kslow +host +/"), output)
  end)

  it("is nothing for a pipe", function()
    local out, err = command.succeed(words("run", dir .. "/stage.slow"))
    assert.same({ "7\n", "" }, { out, err })
  end)
end)
