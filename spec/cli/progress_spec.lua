-- SPDX-License-Identifier: MIT
--- What is shown to whoever waits at a terminal, and to nobody else.
local helper = require "spec.support.helper"
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

describe("on a terminal, what a stage says", function()
  local STAGE = "execute() {\n"
    .. "  printf 'log\\t\\033]52;c;AAAA\\007\\033[6n\\302\\2336n\\n' >&2\n"
    .. "  printf '\"\\302\\2336n\\177\"'\n}\n"
  local path

  setup(function() path = command.directory{ ["stage.sh"] = STAGE } .. "/stage.sh" end)

  it("gives it no commands: those can make it type", function()
    local output = helper.shell(("TERM=xterm script -qec %s /dev/null"):format(
      helper.quote(("%s run --runtime host %s"):format(command.path, helper.quote(path)))))
    assert.truthy(output:find("log\t\\x1B]52;c;AAAA\\x07\\x1B[6n\\xC2\\x9B6n", 1, true), output)
    assert.truthy(output:find('"\\u009b6n\\u007f"', 1, true), output)
    assert.falsy(output:find("\27]", 1, true))
    assert.falsy(output:find("\194\155", 1, true))
  end)

  -- C1 controls, DEL, and marks that make text read in another order: each of them in each place.
  local MARKS = {
    "\194\155", "\194\128", "\127", "\216\156", "\226\128\142", "\226\128\174", "\226\129\166",
    "\226\129\169", "\226\128\168",
  }
  local all = table.concat(MARKS, "x")
  local SPEAKER = ("execute() {\n  echo 'log %s' >&2\n  echo '{\"key %s\": \"value %s\"}'\n}\n")
    :format(all, all, all)

  local function assert_clean(output)
    for _, mark in ipairs(MARKS) do
      assert.falsy(output:find(mark, 1, true), ("%q in %q"):format(mark, output))
    end
  end

  it("is escaped in JSON, keys and log too, in plain output and in what a store shows", function()
    local dir = command.directory{ ["stage.sh"] = SPEAKER }
    command.succeed{ "store", "put", dir .. "/stage.sh", "--name", "marks", "--store", dir .. "/s" }
    for _, line in ipairs{
      "run --runtime host --json %s/stage.sh", "run --runtime host %s/stage.sh",
      "store show marks --store %s/s", "store show marks --json --store %s/s",
      "store show marks --code --store %s/s", "plan --runtime host %s/stage.sh",
    } do
      local output = helper.shell(("TERM=xterm script -qec %s /dev/null"):format(
        helper.quote(command.path .. " " .. line:format(dir))))
      assert.truthy(output:find("key ", 1, true) or output:find("execute", 1, true), output)
      assert_clean(output)
    end
    local out = command.succeed{ "run", "--runtime", "host", "--json", dir .. "/stage.sh" }
    assert.truthy(out:find("\226\128\174", 1, true)) -- as it is, for programs
  end)

  it("is what it was, for files and programs", function()
    local out, err = command.succeed{ "run", "--runtime", "host", path }
    assert.truthy(err:find("\27[6n", 1, true))
    assert.truthy(out:find("6n", 1, true))
  end)
end)
