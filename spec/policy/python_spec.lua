-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
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

describe("an answer of Python that JSON has another form for", function()
  local cases = {
    -- numpy's numbers are Python's, exactly.
    { "np.int64(3)", "3" }, { "[np.uint64(2**63 - 1), np.int8(-1)]",
      "[9223372036854775807, -1]" },
    { "np.float32(0.1)", "0.10000000149011612" }, { "np.float16(0.5)", "0.5" },
    { "[np.bool_(True), np.str_('x'), np.float64(1)]", '[true, "x", 1.0]' },
    { "np.array(7)", "7" }, { "np.array(2.5, dtype='f4')", "2.5" }, { "np.longdouble(0.5)", "0.5" },
    { "{'sum': np.arange(4).sum(), 'mean': np.arange(4).mean()}", '{"sum": 6, "mean": 1.5}' },
    { "dict(zip(*np.unique([3, 1, 3], return_counts=True)))", '{"1": 1, "3": 2}' },
    { "{np.bool_(True): [{np.int64(2): 1}]}", '{"true": [{"2": 1}]}' },
    { "(np.array([1, 2])[0], [np.array('x')])", '[1, ["x"]]' },
    -- Keys that stay apart are as json gives them.
    { "{1: 'a', 'b': 2, None: 3, True: 4}", '{"1": 4, "b": 2, "null": 3}' },
    { "[{1: 2}, {'1': 2}]", '[{"1": 2}, {"1": 2}]' },
  }
  for _, case in ipairs(cases) do
    it("is given in that: " .. case[1], function()
      stage.answers(run("import numpy as np\ndef execute(i): return " .. case[1]), case[2])
    end)
  end
end)

describe("an answer of Python that is no JSON", function()
  local cases = {
    { "np.array([1])", "is of type numpy.ndarray", "return .tolist()" },
    { "{'a': [np.zeros((2, 2))]}", "the answer['a'][0] is of type numpy.ndarray", ".tolist()" },
    { "np.datetime64('2020-01-01')", "is of type numpy.datetime64", "return str()" },
    { "np.timedelta64(1, 's')", "is of type numpy.timedelta64", "return str()" },
    { "np.complex64(1j)", "is of type numpy.complex64", "return [.real, .imag]" },
    { "np.bytes_(b'x')", "is of type numpy.bytes_", ".decode()" },
    { "np.ma.masked", "of type numpy.ma.core.MaskedConstant", ".tolist()" },
    { "[np.float32('nan')]", "the answer[0] is nan", "return None or text" },
    { "np.longdouble(1) / 3", "is of type numpy.", "return dicts" },
    { "np.array([1, None], dtype=object)", "numpy.ndarray", ".tolist()" },
    { "a_frame()", "is of type pandas.core.frame.DataFrame", 'return .to_dict("records")' },
    { "{'s': a_series()}", "['s'] is of type pandas.core.series.Series", "return .tolist() or" },
    { "[a_timestamp()]", "[0] is of type pandas._libs.tslibs.timestamps.Timestamp",
      "return .isoformat()" },
    { "decimal.Decimal('1.5')", "of type decimal.Decimal", "return str() or float()" },
    { "datetime.date(2020, 1, 1)", "of type datetime.date", "return .isoformat()" },
    { "datetime.datetime(2020, 1, 1)", "of type datetime.datetime", "return .isoformat()" },
    { "datetime.timedelta(1)", "of type datetime.timedelta", "return .total_seconds()" },
    { "frozenset([1])", "of type frozenset", "return sorted() or list()" },
    { "b'x'", "of type bytes", "return .decode()" },
    { "{'a': {1, 2}.union()}", "the answer['a'] is of type set", "return sorted() or list()" },
    { "uuid.UUID(int=1)", "of type uuid.UUID", "return str()" },
    { "pathlib.Path('/')", ".PosixPath, which", "return str()" },
    { "range(3)", "of type range", "return list()" },
    { "map(str, [1])", "of type map", "return list()" },
    { "{}.keys()", "of type dict_keys", "return list()" },
    { "(n for n in [1])", "of type generator", "return list()" },
    { "[asyncio.sleep(0)]", "the answer[0] is of type coroutine", "await it" },
    { "Colour.RED", "of type stage.Colour", "return .value" },
    { "Point(1)", "of type stage.Point", "return dataclasses.asdict()" },
    { "object()", "of type object", "return dicts, lists" },
    { "1j", "of type complex", "return [.real, .imag]" },
    -- Two keys that are one in JSON.
    { "{1: 'a', '1': 'b'}", "the answer['1'] is the same text in JSON as the key 1", "" },
    { "{'null': 1, None: 2}", "the answer[None] is the same text in JSON as the key 'null'", "" },
    { "{True: 1, 'true': 2}", "['true'] is the same text in JSON as the key True", "" },
    { "{1.5: 1, '1.5': 2}", "['1.5'] is the same text in JSON as the key 1.5", "" },
    { "[1, {'x': ({'-1': 1, -1: 2},)}]", "the answer[1]['x'][0][-1] is the same text", "" },
    { "{'a': 1, False: 2, 'b': {}, 'false': 3}", "['false'] is the same text", "" },
    { "{np.int64(1): 'a', '1': 'b'}", "['1'] is the same text in JSON as the key", "" },
    { "{10**30: 1, str(10**30): 2}", "is the same text in JSON as the key", "" },
    { "[{}] * 3 + [{2: 2, '2': 2}]", "the answer[3]['2'] is the same text", "" },
  }
  local code = [[
import asyncio, dataclasses, datetime, decimal, enum, pathlib, uuid
import numpy as np
class Colour(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Point:
    x: int
def a_frame(): return kind("DataFrame", "pandas.core.frame")()
def a_series(): return kind("Series", "pandas.core.series")()
def a_timestamp():
    return kind("Timestamp", "pandas._libs.tslibs.timestamps", datetime.datetime)(2020, 1, 1)
def kind(name, module, *bases): return type(name, bases, {"__module__": module})
def execute(i): return ]]
  for _, case in ipairs(cases) do
    it("is refused with its place and the way out: " .. case[1], function()
      local err = stage.fails(run(code .. case[1]), "AnswerError", case[2])
      assert.truthy(err.message:find(case[3], 1, true), err.message)
      assert.falsy(err.traceback:find("During handling", 1, true))
    end)
  end
end)

describe("other processes of a Python stage", function()
  local HEAD = [[
import concurrent.futures as futures, multiprocessing as mp, os, pickle, sys
print("loaded", file=sys.stderr)
def double(x): return x * 2
class Box:
    def __init__(self, x): self.x = x
    def more(self, n): return Box(self.x + n)
def tell(pipe, box): pipe.send((box.more(1), __name__))
]]
  local fresh = {
    { "a pool", "with mp.get_context('spawn').Pool(2) as p: return p.map(double, [1, 2])",
      "[2, 4]" },
    { "a fork server", "with mp.get_context('forkserver').Pool(1) as p: return p.map(double, [3])",
      "[6]" },
    { "an executor", [[with futures.ProcessPoolExecutor(1, mp_context=mp.get_context('spawn')) as e:
        return [box.x for box in e.map(Box, [1])] ]], "[1]" },
    { "a method", [[with futures.ProcessPoolExecutor(1, mp.get_context('spawn')) as e:
        return e.submit(Box(1).more, 2).result().x]], "3" },
    { "a process and a pipe", [[ctx = mp.get_context('spawn'); a, b = ctx.Pipe()
    p = ctx.Process(target=tell, args=(b, Box(1))); p.start(); got = a.recv(); p.join()
    return [got[0].x, got[1], p.exitcode] ]], '[2, "stage", 0]' },
    { "an exception on its way back", [[with mp.get_context('spawn').Pool(1) as p:
        try: p.apply(double, (None,))
        except TypeError as error: return 'told'
    return double]], '"told"' },
    { "a process that imports it by name", [[ctx = mp.get_context('spawn'); a, b = ctx.Pipe()
    p = ctx.Process(target=exec, args=("import stage; assert stage.double(2) == 4",))
    p.start(); p.join(); return p.exitcode]], "0" },
  }
  for _, case in ipairs(fresh) do
    it("that start afresh import it: " .. case[1], function()
      local result = run(HEAD .. "def execute(i):\n    " .. case[2])
      stage.answers(result, case[3])
      local _, loads = result.err:gsub("loaded", "")
      assert.is_true(loads <= 3, "at most once a process: " .. result.err)
    end)
  end

  local forks = {
    { "sys.exit", "sys.exit(0)", 0 }, { "sys.exit with a status", "sys.exit(7)", 7 },
    { "returning", "return 'child'", 0 }, { "an exception", "raise ValueError('child')", 1 },
    { "KeyboardInterrupt", "raise KeyboardInterrupt", 1 },
    { "an answer that is no JSON", "return object()", 1 },
    { "a grandchild that returns", "os.fork(); return 'child'", 0 },
    { "SystemExit with a text", "raise SystemExit('child')", 1 },
  }
  for _, case in ipairs(forks) do
    it("that were forked never answer in its place: " .. case[1], function()
      local result = run(([[
import os, sys
def execute(i):
    pid = os.fork()
    if pid == 0:
        %s
    return ["parent", os.waitpid(pid, 0)[1] >> 8] ]]):format(case[2]))
      stage.answers(result, ('["parent", %d]'):format(case[3]))
    end)
  end

  it("that were forked while it was loaded never answer in its place", function()
    stage.answers(run([[
import os
pid = os.fork()
if pid == 0: raise RuntimeError("child")
os.waitpid(pid, 0)
def execute(i): return "parent"]]), '"parent"')
  end)
end)

describe("the main module of a Python stage", function()
  local cases = {
    { "unittest", [[
import io, unittest
class T(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.fail("no")
def execute(i):
    found = unittest.main(exit=False, testRunner=unittest.TextTestRunner(io.StringIO())).result
    return [found.testsRun, len(found.failures)] ]], "[2, 1]" },
    { "unittest's loader", [[
import unittest
class T(unittest.TestCase):
    def test_good(self): pass
def execute(i):
    return unittest.defaultTestLoader.loadTestsFromName("__main__").countTestCases()]], "1" },
    { "doctest", [[
import doctest, io, contextlib
def f(x):
    """
    >>> f(1)
    2
    >>> f(2)
    5
    """
    return x + 1
def execute(i):
    with contextlib.redirect_stdout(io.StringIO()): return list(doctest.testmod())]], "[1, 2]" },
    { "doctest of a class", [[
import doctest
class C:
    """
    >>> C().x
    1
    """
    x = 1
def execute(i): return list(doctest.testmod())]], "[0, 1]" },
    { "timeit", [[
import timeit
calls = []
def f(): calls.append(1)
def execute(i):
    timeit.timeit("f()", setup="from __main__ import f", number=3)
    return len(calls)]], "3" },
    { "pickles made elsewhere", [[
import pickle
class P: pass
def execute(i): return type(pickle.loads(b"c__main__\nP\n)\x81.")).__name__]], '"P"' },
    { "import", [[
import __main__, sys
x = 1
def execute(i):
    __main__.x = 2
    del __main__.y
    return [x, __main__.__name__, __main__.__dict__ is globals(), "y" in globals(),
        sys.modules["__main__"].execute is execute, "x" in dir(__main__)]
y = 1]], '[2, "stage", true, false, true, true]' },
    { "type hints", [[
import typing
class A: pass
def f(a: "A") -> "int": pass
def execute(i): return typing.get_type_hints(f)["a"] is A]], "true" },
    { "inspect", [[
import inspect, __main__
def f(): return 1
def execute(i): return inspect.getsource(__main__.f)]], '"def f(): return 1\\n"' },
  }
  for _, case in ipairs(cases) do
    it("is the stage for " .. case[1], function()
      stage.answers(run(case[2]), case[3])
    end)
  end
end)

describe("threads that a Python stage leaves", function()
  local cases = {
    { "by its name and line", "threading.Thread(target=work, name='w1').start()",
      "waiting for thread w1 (line 3)" },
    { "of its own class", [[
class W(threading.Thread):
        def run(self): time.sleep(0.5)
    W(name='w2').start()]], "waiting for thread w2 (line 6)" },
    { "of a timer", "threading.Timer(0.5, print).start()", "waiting for thread Thread-" },
    { "in a pool", "futures.ThreadPoolExecutor(thread_name_prefix='pool').submit(work)",
      "waiting for thread pool_0 (line 3)" },
    { "with any name", "threading.Thread(target=work, name='\\udc80é').start()",
      "waiting for thread \\udc80é (line 3)" },
    { "started by a thread",
      "w = threading.Thread(target=lambda: threading.Thread(target=work, name='w3').start());"
        .. " w.start(); w.join()",
      "waiting for thread w3 (line 3)" },
  }
  local code = [[
import threading, time, concurrent.futures as futures
def work():
    time.sleep(0.5)
def execute(i):
    %s
    return 1
]]
  for _, case in ipairs(cases) do
    it("and that take time are named: " .. case[1], function()
      local result = run(code:format(case[2]))
      stage.answers(result, "1")
      assert.truthy(result.err:find("execute has answered; " .. case[3], 1, true), result.err)
    end)
  end

  for _, case in ipairs(cases) do
    it("are ended where the policy asks for it: " .. case[1], function()
      local result = run("import atexit\natexit.register(print, 'bye')\n"
        .. code:format(case[2]):gsub("0%.5", "1000"), "0", { leftover_threads = "end" })
      stage.answers(result, "1")
      local text = case[3]:gsub("waiting for", "ending"):gsub("line %d", "line ")
      text = text:match("^[^(]*[^ (]") -- one that has just begun is in no line yet
      assert.truthy(result.err:find("execute has answered; " .. text, 1, true), result.err)
      assert.truthy(result.err:find("bye\n$"), result.err)
    end)
  end

  for _, left in ipairs{
    "futures.ThreadPoolExecutor().submit(int)",
    "threading.Thread(target=work, daemon=True).start()",
    "threading.Thread(target=int).start()", "pass",
  } do
    it("and that are no reason to wait are not: " .. left, function()
      local result = run(code:format(left))
      stage.answers(result, "1")
      assert.equal("", result.err)
    end)
  end
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
