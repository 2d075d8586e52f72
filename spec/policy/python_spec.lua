-- SPDX-License-Identifier: MIT
local helper = require "spec.helper"
local json = require "noether.json"
local python = require "noether.policy.languages.python"
local stage = require "spec.policy.stage"

local run = stage.runner(python)

describe("the python policy", function()
  it("keeps the user's code alone in its file", function()
    local code = "from __future__ import annotations\ndef execute(i): return i\n"
    local script = assert(python.wrap(code))
    assert.equal(code, script.files["stage.py"])
    assert.equal("runner.py", script.entry)
    assert.truthy(script.files[script.entry])
  end)

  it("refuses code with a NUL byte", function()
    local script, reason = python.wrap("x = '\0'")
    assert.is_nil(script)
    assert.equal("the code holds a NUL byte", reason)
  end)

  it("starts isolated, without bytecode and in UTF-8", function()
    assert.same({ "/p/python3", "-I", "-B", "-X", "utf8", "/stage/runner.py" },
      python.argv({ path = "/p/python3" }, "/stage/runner.py"))
  end)

  it("finds the real interpreter and where it lives", function()
    local found = stage.probe(python)
    assert.truthy(found.path:find("^/.*python3"))
    assert.truthy(found.version:find("^3%.%d+%.%d+$"))
    assert.is_true(#found.dirs > 1)
    for _, dir in ipairs(found.dirs) do
      assert.equal("/", dir:sub(1, 1))
    end
  end)
end)

describe("a Python stage that works", function()
  local cases = {
    { "gets its input and gives its answer",
      "def execute(input):\n    return {'n': input['n'] * 2}", '{"n":21}', '{"n": 42}' },
    { "keeps integers of 64 bits and doubles of 17 digits, and 1 apart from 1.0",
      "def execute(input): return input",
      "[9223372036854775807, -9223372036854775808, 0.30000000000000004, 1, 1.0, -0.0]",
      "[9223372036854775807, -9223372036854775808, 0.30000000000000004, 1, 1.0, -0.0]" },
    { "keeps empty arrays apart from empty objects, and null", "def execute(i): return i",
      '[[], {}, null]', '[[], {}, null]' },
    { "takes null as None and a string as a string", "def execute(i): return [i, i is None]",
      "null", "[null, true]" },
    { "does not decode a string that is JSON", "def execute(i): return i", '"[1]"', '"[1]"' },
    { "takes any Unicode, in and out", "def execute(i): return i", '"\\u00e9\\ud83d\\ude00\\u2028"',
      '"é😀\u{2028}"' },
    { "may be async", [[
import asyncio
async def execute(i):
    await asyncio.sleep(0)
    return i]], "7", "7" },
    { "may give any awaitable", [[
class Later:
    def __await__(self):
        yield from ()
        return 5
def execute(i): return Later()]], "0", "5" },
    { "may have callable objects, lambdas and partials", "execute = lambda i: i + 1", "1", "2" },
    { "may import from the future",
      "'''Doc.'''\nfrom __future__ import annotations\ndef execute(i: Nope): return __doc__",
      "0", '"Doc."' },
    { "may be written in another encoding",
      "# -*- coding: latin-1 -*-\ndef execute(i): return '\xe9'",
      "0", '"é"' },
    { "is a module that data classes can find", [[
from __future__ import annotations
from dataclasses import dataclass, asdict
@dataclass
class P:
    x: int
def execute(i): return [asdict(P(1)), __name__] ]], "0", '[{"x": 1}, "stage"]' },
    { "does not run its main block", [[
def execute(i): return 1
if __name__ == "__main__":
    raise SystemExit(3)]], "0", "1" },
    { "gets keys as json gives them", "def execute(i): return {1: 2, None: True, 1.5: 0}", "0",
      '{"1": 2, "null": true, "1.5": 0}' },
    { "reads nothing more from standard input",
      "import sys\ndef execute(i): return sys.stdin.read()", "1", '""' },
    { "answers before the threads that it leaves end", [[
import threading, time
def execute(i):
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    return 1]], "0", "1" },
    { "may patch json and close its own standard output", [[
import json, os, sys
json.dumps = json.loads = json.JSONEncoder.default = json.JSONEncoder.encode = None
sys.stdout.close(); os.close(1)
def execute(i): return i]], "[1]", "[1]" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.answers(run(case[2], case[3]), case[4])
    end)
  end

  it("answers with one value and a newline whatever it prints, wherever it prints it", function()
    local result = run([[
import ctypes, os, subprocess, sys
print("at import")
def execute(i):
    print("print"); sys.__stdout__.write("write\n"); os.write(1, b"fd\n")
    os.system("echo system"); subprocess.run(["echo", "child"])
    ctypes.CDLL(None).puts(b"c"); ctypes.CDLL(None).fflush(None)
    sys.stdout.buffer.write(b"bytes\n")
    print("{\"error\": 1}")
    return "answer"]])
    stage.answers(result, '"answer"')
    for _, word in ipairs{ "at import", "print", "write", "fd", "system", "child", "c", "bytes" } do
      assert.truthy(("\n" .. result.err):find("\n" .. word .. "\n", 1, true), word)
    end
  end)

  it("hands the answer's descriptor to no child", function()
    local result = run([[
import os, subprocess
def pipes(pid):
    names = ((fd, "/proc/%s/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%s/fd" % pid))
    return {int(fd): os.readlink(name) for fd, name in names if os.path.exists(name)}
def execute(i):
    own = {link for fd, link in pipes("self").items() if fd > 2 and not os.get_inheritable(fd)}
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    given = set(pipes(child.pid).values())
    child.communicate()
    return [any(link.startswith("pipe:") for link in own), sorted(own & given) ]
]])
    assert.same({ true, json.array{} }, result.answer)
  end)

  it("gives 10 MiB back whole", function()
    local text = '"' .. ("x"):rep(10 * 1024 * 1024) .. '"'
    stage.answers(run("def execute(i): return i", text), text)
  end)

  it("works where the interpreter has no C codec for JSON", function()
    local dir = helper.tmpdir()
    local bare = dir .. "/python"
    -- An interpreter that cannot import _json, and so takes json itself.
    helper.write(bare, ("#!/bin/sh\nfor entry; do :; done\nexec %s -I -c %s \"$entry\"\n"):format(
      stage.probe(python).path, helper.quote([[
import sys, runpy
sys.modules["_json"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")]])))
    helper.shell("chmod +x " .. bare)
    local code = "def execute(i): return [i, 1.0, 'é']"
    stage.answers(run(code, "9007199254740993", { path = bare }), '[9007199254740993, 1.0, "é"]')
    stage.fails(run("def execute(i): return float('nan')", "1", { path = bare }),
      "AnswerError", "the answer is nan")
  end)

  it("gets strings decoded once more and {} for null where the policy asks for it", function()
    local code = "def execute(i): return i"
    local legacy = { legacy_input = true }
    stage.answers(run(code, "null", legacy), "{}")
    stage.answers(run(code, [["{\"a\": [1]}"]], legacy), '{"a": [1]}')
    stage.answers(run(code, '"no json"', legacy), '"no json"')
    stage.answers(run(code, '"null"', legacy), "{}")
  end)
end)

describe("a Python stage that fails", function()
  local cases = {
    { "tells type, message and line of an exception",
      "def f(x):\n    return x['k']\n\ndef execute(i):\n    return f({})", "KeyError", "'k'", 2 },
    { "has its syntax errors placed", "x = 1\ndef execute(i)\n    return 1", "SyntaxError", "", 2 },
    { "has its indentation errors placed", "def execute(i):\nreturn 1", "IndentationError",
      "expected an indented block", 2 },
    { "places an error at import", "x = 1\ny = x / 0", "ZeroDivisionError", "division by zero", 2 },
    { "places a syntax error in other code where that code is used",
      "def execute(i):\n    eval('1 +\\n+')", "SyntaxError", "", 2 },
    { "is told how to define execute", "x = 1", "MissingExecute",
      "no function named execute; define one, as in: def execute(input): return input" },
    { "is told that execute is no function", "execute = 3", "MissingExecute",
      "execute is not a function but of type int" },
    { "may not leave by sys.exit", "import sys\ndef execute(i): sys.exit(0)", "SystemExit",
      "called sys.exit(0)", 2 },
    { "is caught at any exception", "class Odd(BaseException): pass\nraise Odd('x')", "Odd", "x",
      2 },
    { "tells of exceptions without text", "def execute(i): raise KeyboardInterrupt",
      "KeyboardInterrupt", "", 1 },
    { "tells of exceptions that cannot be printed", [[
class Mute(Exception):
    def __str__(self): raise ValueError("no")
def execute(i): raise Mute()]], "Mute", "its text cannot be had: ValueError", 3 },
    { "recurses without end", "def execute(i):\n    return execute(i)", "RecursionError",
      "maximum recursion depth", 2 },
    { "answers NaN", "def execute(i): return {'a': [1, float('nan')]}", "AnswerError",
      "the answer['a'][1] is nan" },
    { "answers infinity as a key", "def execute(i): return {float('inf'): 1}", "AnswerError",
      "[inf] is inf" },
    { "answers a set", "def execute(i): return {'rows': [{1}]}", "AnswerError",
      "the answer['rows'][0] is of type set" },
    { "answers bytes", "def execute(i): return b'x'", "AnswerError",
      "the answer is of type bytes" },
    { "answers an object of its own", "class C: pass\ndef execute(i): return C()", "AnswerError",
      "is of type stage.C" },
    { "answers a generator", "def execute(i):\n    yield 1", "AnswerError", "of type generator" },
    { "answers a key that is no text", "def execute(i): return {'a': {(1, 2): 3}}", "AnswerError",
      "the answer['a'][(1, 2)] is a key of type tuple" },
    { "answers a lone surrogate", "def execute(i): return ['ok', '\\ud800']", "AnswerError",
      "the answer[1] holds a lone surrogate" },
    { "answers a lone surrogate as a key", "def execute(i): return {'\\udfff': 1}", "AnswerError",
      "holds a lone surrogate" },
    { "answers what contains itself", "def execute(i):\n    a = []\n    a.append(a)\n    return a",
      "AnswerError", "nested more than 512 deep, or contains itself" },
    { "answers too deep a nest",
      "def execute(i):\n    a = []\n    for _ in range(100000): a = [a]\n    return a",
      "AnswerError", "nested more than 512 deep" },
    { "has no execute with a parameter", "def execute(): return 1", "TypeError",
      "takes 0 positional arguments but 1 was given" },
    { "raises lone surrogates and control bytes",
      "def execute(i): raise ValueError('\\ud800\\x00\\x1b')", "ValueError", "\\ud800", 1 },
    { "uses up its descriptors",
      "import os\ndef execute(i):\n    while True: os.dup(0)", "OSError",
      "Too many open files", 3 },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.fails(run(case[2]), case[3], case[4], case[5])
    end)
  end

  it("shows the user's frames only, with their source lines and causes", function()
    local err = stage.fails(run([[
import json
def parse(text):
    return json.loads(text)
def execute(i):
    try:
        parse("{")
    except ValueError as error:
        raise RuntimeError("bad") from error]]), "RuntimeError", "bad", 8)
    assert.truthy(err.traceback:find('File "stage.py", line 3, in parse', 1, true))
    assert.truthy(err.traceback:find("return json.loads(text)", 1, true))
    assert.truthy(err.traceback:find("direct cause", 1, true))
    assert.falsy(err.traceback:find("runner.py", 1, true))
    assert.falsy(err.traceback:find("decoder.py", 1, true))
  end)

  it("is not hidden by what it prints", function()
    local result = run([[
def execute(i):
    for n in range(20000): print("noise", n)
    raise ValueError("lost?")]])
    stage.fails(result, "ValueError", "lost?", 3)
    assert.truthy(result.err:find("noise 19999\n", 1, true))
  end)

  it("has its message and traceback bounded", function()
    local err = stage.fails(run("def execute(i): raise ValueError('x' * 10**7)"), "ValueError",
      "characters left out", 1)
    assert.is_true(#err.message < 5000)
    assert.is_true(#err.traceback < 20000)
  end)

  it("is told of input that is no JSON", function()
    stage.fails(run("def execute(i): return i", "[1"), "InputError", "standard input: ")
    stage.fails(run("def execute(i): return i", "1 2"), "InputError", "Extra data")
    stage.fails(run("def execute(i): return i", "NaN"), "InputError", "standard input: ")
  end)

  it("gives no answer after os._exit", function()
    local result = run("import os\ndef execute(i): os._exit(3)")
    assert.equal(3, result.status)
    assert.equal("", result.out)
  end)

  it("imports nothing from the working directory or beside its code", function()
    stage.fails(run([[
open("shadow.py", "w").write("x = 1")
def execute(i):
    import shadow]]), "ModuleNotFoundError", "shadow", 3)
    stage.fails(run("import runner"), "ModuleNotFoundError", "runner", 1)
  end)

  it("leaves one error object for programs that read it", function()
    local result = run("raise ValueError('x')")
    local answer = assert(json.decode(result.out))
    assert.same({ "line", "message", "traceback", "type" }, (function(names)
      for name in pairs(answer.error) do names[#names + 1] = name end
      table.sort(names)
      return names
    end){})
  end)
end)
