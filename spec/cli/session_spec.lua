-- SPDX-License-Identifier: MIT
-- `noether session`: from a pipe, and typed at a terminal.
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local json = require "noether.json"
local pty = require "spec.support.pty"
local whole = require "noether.cli.whole"

describe("noether session, from a pipe", function()
  it("runs one cell after the other, and goes on after one that failed", function()
    local result = command.run({ "session", "--effect", "Pure" }, { stdin = [[
x = 40
print("to standard error")
# %%
x + 2
# %% what this is
object
# %%
1 / 0
# %%
[x, None, "ä"]
]] })
    assert.equal("42\n<class 'object'>\n[40,null,\"ä\"]\n", result.out)
    assert.equal(1, result.code)
    assert.truthy(result.err:find("^to standard error\n"))
    assert.truthy(result.err:find("division by zero (cell 4, line 1) [stage_failed]", 1, true))
  end)

  it("knows the other languages, and writes JSON for programs", function()
    assert.equal("a b\nc\n", (command.succeed({ "session", "--language", "bash" }, {
      stdin = "x='a b'; f() {\n  echo \"$x\"\n}\n%%\nf; echo c",
    })))
    local result = command.run({ "session", "--language", "js", "--json", "--timeout", "300ms" }, {
      stdin = "const x = 1\n// %%\nx + 1\n// %%\nwhile (true) {}\n// %%\nx",
    })
    local lines = {}
    for line in result.out:gmatch("[^\n]+") do lines[#lines + 1] = json.decode(line) end
    assert.same({ true, true, false, true }, { lines[1].ok, lines[2].ok, lines[3].ok, lines[4].ok })
    assert.same({ json.null, 2, "timed_out", 1 },
      { lines[1].output, lines[2].output, lines[3].error.kind, lines[4].output })
    assert.equal(4, lines[4].info.cell)
    assert.equal(124, result.code)
  end)

  it("ends where the session is lost, and is told of what cannot be", function()
    local result = command.run({ "session" }, { stdin = "import os\nos._exit(3)\n# %%\n1" })
    assert.equal("", result.out)
    assert.equal(124, result.code)
    assert.truthy(result.err:find("its process ended with code 3 [session_lost]", 1, true))
    assert.equal(2, command.run({ "session", "--language", "cobol" }, { stdin = "" }).code)
  end)
end)

describe("a cell that is typed", function()
  it("is whole, or more lines belong to it", function()
    for language, codes in pairs{
      python = { { "x = 1", "f(1)", "d = {'a': 1}", "def f():\n  pass\n", "'''a\n b'''", "x # (" },
        { "def f():", "def f():\n  return 1", "f(1,", "'''a", "x = \\", "@d\ndef f(): pass" } },
      javascript = { { "x", "f({ a: '}' })", "`a ${1}`", "// {" }, { "f(() => {", "`a", "/* x" } },
      bash = { { "ls", "f() { echo; }", "if a; then b; fi", "sleep 1 &", "echo '#' $(ls)",
          "cat <<END\na\nEND", "cat <<<x" },
        { "f() {", "if a; then", "for i in 1; do", "echo 'a", "a |", "a &&", "cat <<END\na" } },
    } do
      for _, code in ipairs(codes[1]) do
        assert.is_true(whole.is_whole(language, code), code)
      end
      for _, code in ipairs(codes[2]) do
        assert.is_false(whole.is_whole(language, code), code)
      end
    end
  end)
end)

describe("noether session, at a terminal", function()
  local PASTE_ON = "\27[?2004h" -- what the editor writes when it begins to read a line
  local descriptor, pid, raw, from, line_from

  local function hear()
    local text = pty.read(descriptor)
    if text then raw = raw .. text end
    return text ~= nil
  end

  local function expect(text)
    local found = helper.poll(function()
      hear()
      local plain = raw:gsub("\27%[[%d;?]*[%a]", ""):gsub("\27[=>]", ""):gsub("\27%(%a", "")
      local _, stop = plain:find(text, from, true)
      if stop then from = stop + 1 end
      return stop
    end, 30)
    assert.truthy(found, ("no %q in %q"):format(text, raw))
  end

  -- Types at the prompt, once the editor reads.
  local function enter(keys, ...)
    assert.truthy(helper.poll(function()
      hear()
      return raw:find(PASTE_ON, line_from, true) and not pty.edits(descriptor)
    end, 30), raw)
    line_from = #raw + 1
    pty.write(descriptor, keys)
    for _, text in ipairs{ ... } do expect(text) end
  end

  it("has a prompt, cells of several lines, and Ctrl-C for the one that runs", function()
    local home = helper.tmpdir()
    raw, from, line_from = "", 1, 1
    descriptor, pid = pty.start({ command.path, "session", "--effect", "Pure" }, {
      "TERM=xterm", "HOME=" .. home, "PATH=" .. os.getenv "PATH", "TMPDIR=" .. helper.tmpdir(),
    }, 24, 200)
    expect "1> "
    enter("def f(n):\r", ".. ")
    enter("    return n + 1\r", ".. ")
    enter("\r", "2> ")
    enter("'text' + str(f(1))\r", "'text2'", "3> ")
    enter("import time; print('sle' + 'eps'); time.sleep(600)\r", "sleeps")
    pty.write(descriptor, "\3")
    expect "cell 3 was interrupted"
    expect "4> "
    enter("import os; os._exit(1)\r", "session_lost", "> ")
    enter(":reset\r", "1> ")
    enter("f\r", "is not defined", "2> ")
    enter("\4")
    assert.equal(0, helper.poll(function()
      hear()
      return pty.ended(pid)
    end, 30))
    pty.close(descriptor)
    local kept = helper.read(home .. "/.local/state/noether/session-python")
    assert.truthy(kept:find("def f(n):\n\t    return n + 1", 1, true))
  end)
end)
