-- SPDX-License-Identifier: MIT
-- Sessions: cells of code that run one after the other in one interpreter that stays.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"
local support = require "spec.support.posix"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

local executor, session

-- A session of an executor of its own, which ends with the test.
local function open(opts, of_executor)
  local whole = { timeout_secs = 30, isolation = "none" }
  for name, value in pairs(of_executor or {}) do whole[name] = value end
  executor = noether.check(noether.executor(whole))
  local given = { language = "python", effects = {} }
  for name, value in pairs(opts or {}) do given[name] = value end
  session = noether.check(executor:session(given))
  return session
end

after_each(function()
  if executor then executor:close() end
  executor, session = nil, nil
end)

-- The value of a cell that must answer.
local function value(code, input, opts)
  local out, err = session:run(code, input, opts)
  assert.is_nil(err, err and ("%s: %s (%s)"):format(code, err, err.kind))
  return out
end

local function failure(code, input, opts)
  local out, err, info = session:run(code, input, opts)
  assert.is_nil(out)
  return err, info
end

-- The session is over, for this reason, and goes on being so.
local function is_lost(err, kind, message)
  assert.equal("session_lost", err.kind, tostring(err))
  assert.equal(kind, err.cause.kind)
  assert.truthy(err.message:find(message), err.message)
  local again = failure "1"
  assert.equal("session_lost", again.kind)
  assert.equal(kind, again.cause.kind)
  assert.equal("lost", session:state())
end

-- In the sandboxes with walls a signal goes by another process than in those without.
local OVER_ALL = {
  backends = BACKENDS, always = { "interrupts a cell at its deadline, and goes on" },
}

helper.over(OVER_ALL, "a session in Python under %s", function(backend)
  it("keeps what cells define, and answers with the value of the last expression", function()
    open(nil, { isolation = backend })
    assert.equal(json.null, value "x = 40\ndef double(n): return 2 * n")
    assert.equal(42, value "x += 2\nx")
    assert.equal(84, value "double(x)")
    local out, _, info = session:run "import json\n{'list': [x, None, 1.5], 'text': 'ä'}"
    assert.same({ list = { 42, json.null, 1.5 }, text = "ä" }, out)
    assert.equal(4, info.cell)
    assert.equal(backend, info.isolation)
  end)

  it("interrupts a cell at its deadline, and goes on", function()
    open(nil, { isolation = backend })
    value "kept = 1\nimport time"
    for index, code in ipairs{ "while True: pass", "time.sleep(60)" } do
      local err, info = failure(code, nil, { timeout_secs = 0.3 })
      assert.equal("timed_out", err.kind, tostring(err))
      assert.equal(0.3, err.limit)
      assert.equal(index + 1, err.cell)
      assert.equal(index + 1, info.cell)
    end
    assert.equal(1, value "kept")
    -- Each is told of, while it runs: the next cell waits for that, and not for its patience.
    local live = session.live
    assert.equal(2, live.interrupts)
    assert.is_true(helper.poll(function()
      live.process:step()
      return live.process:interrupts() == 2
    end))
  end)

  it("is over where its process is", function()
    open(nil, { isolation = backend })
    value "import os"
    is_lost(failure "os._exit(3)", "stage_failed", "code 3")
    assert.is_true(session:reset())
    local err = failure "os"
    assert.equal("stage_failed", err.kind)
    assert.equal("NameError: name 'os' is not defined (cell 1, line 1)", err.message)
  end)
end)

helper.over({ backends = BACKENDS }, "a session in JavaScript under %s", function(backend)
  it("keeps what cells declare, however often", function()
    open({ language = "javascript" }, { isolation = backend })
    value "const x = 40, { a, b: [c] } = { a: 1, b: [2] };\nfunction double(n) { return 2 * n; }"
    assert.same({ 80, 1, 2 }, value "[double(x), a, c]")
    value "const x = 4; class A { get() { return x; } }"
    value "class A { get() { return x + 1; } }\nlet y"
    local out, _, info = session:run "({ got: new A().get(), text: `ä ${`${double(2)}`}`, y })"
    assert.same({ got = 5, text = "ä 4" }, out)
    assert.equal(5, info.cell)
    assert.equal("timed_out", failure("while (true) {}", nil, { timeout_secs = 0.3 }).kind)
    assert.equal("timed_out",
      failure("await new Promise(() => {})", nil, { timeout_secs = 0.3 }).kind)
    assert.equal(4, value "x")
    is_lost(failure "process.exit(3)", "stage_failed", "code 3")
  end)
end)

describe("a cell of JavaScript", function()
  before_each(function()
    open{
      language = "javascript", effects = { { Call = "add" } },
      functions = { add = function(args) return args[1] + args[2] end },
    }
  end)

  it("awaits and imports at its top level", function()
    assert.equal(4, value "const p = await Promise.resolve(3)\np + 1")
    assert.equal(3, value "p")
    assert.equal(5, value [[
const { q } = await Promise.resolve({ q: 2 });
function sum() { return q + p; }
class B { static v = 1 }
sum()]])
    assert.same({ 5, 1 }, value "[sum(), B.v]")
    assert.equal("a/c.js", value [[
import fs from "fs";
import { join, basename as base } from "node:path";
import * as os from "os"
typeof fs.readFileSync + typeof os.cpus === "functionfunction"
  ? join("a", base("/b/c.js"))
  : null]])
    assert.equal(3, value 'import { add } from "noether"\nawait add(1, 2)')
    assert.equal(7, value "(await import('noether')).add(3, 4)")
    assert.equal(6, value "async function later(v) { await null; return v; }\nlater(6)")
    value "for (const i of [1, 2]) { await i; }\nlet z = 3"
    assert.equal(3, value "z")
  end)

  it("has the value of its last expression, or its text", function()
    assert.same({ a = 1 }, value "{ a: 1 }")
    assert.equal(5, value "if (true) { 5 }")
    assert.equal(json.null, value "undefined")
    assert.equal(true, value "/a[/]b`/.test('a/b`')")
    for code, display in pairs{
      ["new Map([[1, 2]])"] = "Map(1) { 1 => 2 }", ["10n"] = "10n", ["[NaN]"] = "[ NaN ]",
      ["(() => 1)"] = "[Function (anonymous)]",
    } do
      local out, err, info = session:run(code)
      assert.is_nil(err)
      assert.same({ json.null, display }, { out, info.display })
    end
    assert.equal("undefined", value "typeof input")
    assert.same({ 1, "ä" }, value("input.list", { list = { 1, "ä" } }))
    assert.equal("input_invalid", failure("input", 9007199254740993).kind)
  end)

  it("names the cell and line of what it threw", function()
    value "function f(n) {\n  return n.foo.bar;\n}"
    local err, info = failure "\nf(1)"
    assert.equal("stage_failed", err.kind)
    assert.equal("TypeError: Cannot read properties of undefined (reading 'bar') "
      .. "(cell 2, line 2)", (err.message:gsub("cell 1", "cell 2")))
    assert.equal(2, err.cell)
    assert.truthy(info.logs:find("at cell 2:2:1", 1, true))
    err = failure "let y = 1\nlet z = = 2"
    assert.equal("SyntaxError: Unexpected token '=' (cell 3, line 2)", err.message)
    err = failure "await null\nthrow new RangeError('far')"
    assert.equal("RangeError: far (cell 4, line 2)", err.message)
    err = failure "setTimeout(() => { throw new Error('late') }, 1)\nawait new Promise(() => {})"
    assert.equal("Error: late (cell 5, line 1)", err.message)
    err = failure "Promise.reject(new Error('nobody'))\nawait new Promise(() => {})"
    assert.equal("Error: nobody (cell 6, line 1)", err.message)
    local out, _, told = session:run "console.log('a'); process.stdout.write('b'); 1"
    assert.same({ 1, "a\nb" }, { out, told.logs })
  end)

  it("may be interrupted any number of times, and replaces what it likes", function()
    value "process.removeAllListeners('SIGINT'); JSON.stringify = Object.keys = null"
    value "globalThis.setImmediate = globalThis.Buffer = process.on = undefined; const n = 2"
    assert.same({ a = 1 }, value "({ a: 1 })")
    assert.equal("timed_out", failure("while (true) {}", nil, { timeout_secs = 0.3 }).kind)
    for _ = 1, 5 do
      local task = noether.check(session:start "n")
      session:interrupt()
      session:interrupt()
      local out, err = task:wait()
      task:close()
      if err then assert.equal("cancelled", err.kind) else assert.equal(2, out) end
      assert.equal(3, value "1 + 2")
    end
  end)
end)

helper.over({ backends = BACKENDS }, "a session in Bash under %s", function(backend)
  it("keeps what cells set, and answers with what they print", function()
    open({ language = "bash", effects = { "Process" } }, { isolation = backend })
    assert.equal(json.null, value "x=40; declare -A map=([a]=1)\nf() {\n  ls /nosuch\n}")
    assert.equal(42, value "echo $((x + 2))")
    assert.equal("a 1\nb", value "cd /; echo a ${map[a]}; (echo b)")
    assert.equal("/", value "pwd")
    local out, _, info = session:run("printf '%s\n' \"$INPUT\"; echo oops >&2", { a = "ä\"\n\\/" })
    assert.same({ a = "ä\"\n\\/" }, out)
    assert.same({ "oops\n", 5 }, { info.logs, info.cell })
    for _, code in ipairs{ "while :; do :; done", "f() { sleep 60; echo no; }; f; echo no" } do
      assert.equal("timed_out", failure(code, nil, { timeout_secs = 0.3 }).kind)
    end
    assert.equal(40, value "echo $x")
    is_lost(failure "exit 3", "stage_failed", "code 3")
  end)
end)

describe("a cell of Bash", function()
  before_each(function()
    open{
      language = "bash", effects = { "Process", { Call = "add" }, { Call = "wait" } },
      functions = {
        add = function(args) return args[1] + args[2] end,
        wait = function(_, call) call:later() end,
      },
    }
  end)

  it("fails with its last command, and keeps what was printed", function()
    local err, info = failure "echo before\ncd /nosuch"
    assert.equal("stage_failed", err.kind)
    assert.equal("ExitStatus: 'cd /nosuch' ended with status 1: cd: /nosuch: No such file or "
      .. "directory (cell 1, line 2)", err.message)
    assert.equal("before", info.display)
    assert.equal("ran on", value "false\necho ran on")
    err = failure "f() {\n  return 4\n}\nf"
    assert.truthy(err.message:find("ended with status 4 (cell 3, line ", 1, true), err.message)
    err = failure "if then"
    assert.truthy(err.message:find "%(cell 4, line 1%)$")
    err = failure "nosuchprogram"
    assert.truthy(err.message:find "'nosuchprogram' ended with status 127.*%(cell 5, line 1%)$")
    local out, _, told = session:run "printf 'a\\xff'"
    assert.same({ json.null, "a\\xFF" }, { out, told.display })
    assert.equal("input_invalid", failure("echo \0").kind)
  end)

  it("may ask for set -euo pipefail, which ends the cell alone", function()
    local err, info = failure "set -euo pipefail\necho one\nfalse\necho two"
    assert.equal("ExitStatus: 'false' ended with status 1 (cell 1, line 3)", err.message)
    assert.equal("one", info.display)
    err = failure "echo $nosuch\necho two"
    assert.truthy(err.message:find "nosuch: unbound variable")
    assert.equal("stage_failed", failure("f() { false; echo no; }; f; echo no").kind)
    assert.equal("no", value "set +e; false; echo no")
    info = select(3, session:run "set -x\n: a\nset +x")
    assert.equal("+ : a\n+ set +x\n", (info.logs:gsub("%f[+]%++", "+")))
  end)

  it("calls functions of the host, and may be interrupted in the middle", function()
    assert.equal(3, value "noether -v sum add '[1,2]'; echo $sum")
    assert.equal("timed_out", failure("noether wait", nil, { timeout_secs = 0.3 }).kind)
    assert.equal(7, value "noether add '[3,4]'")
    for _ = 1, 5 do
      local task = noether.check(session:start "echo 1")
      session:interrupt()
      session:interrupt()
      local out, err = task:wait()
      task:close()
      if err then assert.equal("cancelled", err.kind) else assert.equal(1, out) end
      assert.equal(2, value "echo 2")
    end
  end)

  it("has an input at its end, and may not start programs undeclared", function()
    assert.equal("read: 1", value "read -r line; echo read: $?")
    assert.equal("", select(3, session:run "cat").logs)
    session:close()
    session = noether.check(executor:session{ language = "bash", effects = {} })
    value "x=1"
    if executor.config.isolation ~= "none" then
      assert.equal("effect_denied", failure("/bin/ls").kind)
    end
    assert.equal(1, value "echo $x")
  end)
end)

helper.over({ backends = BACKENDS }, "files of a session under %s", function(backend)
  it("are there for its cells, and what these leave is collected", function()
    local path = helper.write(helper.tmpdir() .. "/data.csv", "a,b\n1,2\n")
    helper.shell("chmod 755 " .. path:match "^(.*)/")
    open({ files = { ["in/data.csv"] = { path = path }, ["note.txt"] = "text" } },
      { isolation = backend })
    assert.equal("a,b\n1,2\ntext", value "open('in/data.csv').read() + open('note.txt').read()")
    collectgarbage()
    assert.equal("text", value "open('note.txt').read()")
    local function names(code, patterns)
      local _, err, info = session:run(code, nil, { outputs = patterns })
      local list = {}
      for index, one in ipairs(info.outputs or {}) do
        list[index] = one.name .. "=" .. one.content
      end
      return table.concat(list, " "), err
    end
    assert.equal("a.txt=1 b.txt=2", (names("for n, v in (('a', '1'), ('b', '2')):\n"
      .. "    with open(n + '.txt', 'w') as f: _ = f.write(v)", { "*.txt" })))
    -- What did not change comes by its name alone; a failure of the cell's own keeps nothing back.
    local found, err = names("with open('b.txt', 'w') as f: _ = f.write('333')\n1 / 0",
      { "*.txt", "nosuch?" })
    assert.equal("b.txt=333", found)
    assert.equal("stage_failed", err.kind)
    assert.equal("a.txt=1", (names("0", { "a.txt", "*.txt" })))
    assert.equal("output_missing", select(2, names("0", { "none.txt" })).kind)
  end)
end)

-- Whether a process of this machine has that in its environment.
local function is_seen(mark)
  for _, pid in ipairs(helper.list "/proc") do
    local file = pid:find "^%d+$" and io.open("/proc/" .. pid .. "/environ", "rb")
    local text = file and file:read "a" or ""
    if file then file:close() end
    if text:find("MARK=" .. mark, 1, true) then return true end
  end
  return false
end

helper.over({ backends = { "native", "bwrap", "landlock" } }, "two sessions under %s",
  function(backend)
    it("have nothing in common, and leave nothing behind", function()
      open({ effects = { "Process" } }, { isolation = backend })
      local other = noether.check(executor:session{ language = "python", effects = { "Process" } })
      local mark = "noether-session-" .. math.random(1e9)
      value("import os, subprocess, sys\nsecret = 42\nopen('left', 'w').write(input)\n"
        .. "open(os.environ['TMPDIR'] + '/left', 'w').write(input)\n"
        .. "subprocess.Popen(['sleep', '600', ], env={'MARK': input}, start_new_session=True).pid",
        mark)
      local found, err = other:run([[
import os
seen = [place for place in ('.', os.environ['TMPDIR']) if os.path.exists(place + '/left')]
try: pids = os.listdir('/proc')
except OSError: pids = []
for pid in filter(str.isdigit, pids):
    try:
        if input.encode() in open('/proc/%s/environ' % pid, 'rb').read(): seen.append(pid)
    except OSError: pass
seen + [name for name in globals() if name == 'secret'] ]], mark)
      assert.is_nil(err, tostring(err))
      assert.same({}, found)
      assert.is_true(helper.poll(function() return is_seen(mark) end, 30))
      session:close()
      assert.is_true(helper.poll(function() return not is_seen(mark) end, 30))
      other:close()
    end)
  end)

describe("outputs of cells", function()
  it("go to a directory, replace their own alone, and are no links", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/taken.txt", "mine")
    open{ output_dir = dir }
    local write = "with open('%s', 'w') as f: _ = f.write('%s')"
    for _, text in ipairs{ "one", "two" } do
      local _, err, info = session:run(write:format("a.txt", text), nil, { outputs = { "*.txt" } })
      assert.is_nil(err, tostring(err))
      assert.equal(dir .. "/a.txt", info.outputs[1].path)
      assert.equal(text, helper.read(dir .. "/a.txt"))
    end
    local err = failure(write:format("taken.txt", "x"), nil, { outputs = { "taken.txt" } })
    assert.equal("input_invalid", err.kind)
    assert.equal("mine", helper.read(dir .. "/taken.txt"))
    value "import os; os.symlink('/etc/passwd', 'link.txt')"
    err = failure("0", nil, { outputs = { "link.txt" } })
    assert.equal("output_missing", err.kind)
    err = failure("while True: pass", nil, { outputs = { "*" }, timeout_secs = 0.3 })
    assert.equal("timed_out", err.kind)
    assert.truthy(err.hint:find "not collected")
    assert.equal("input_invalid", failure("0", nil, { outputs = { "../x" } }).kind)
  end)

  it("are figures that are left open, in Python", function()
    open()
    value [[
import sys, types
class Figure:
    def savefig(self, path, format):
        with open(path, "w") as f: _ = f.write("drawn")
pyplot = types.ModuleType("matplotlib.pyplot")
figures = [1, 2]
pyplot.get_fignums = lambda: list(figures)
pyplot.figure = lambda number: Figure()
pyplot.close = lambda what: figures.clear()
sys.modules["matplotlib.pyplot"] = pyplot]]
    local _, _, info = session:run("1 / 0", nil, { outputs = { "*.png" } })
    assert.same({ "figure-1.png", "figure-2.png" }, { info.outputs[1].name, info.outputs[2].name })
    assert.equal("image/png", info.outputs[1].type)
    info = select(3, session:run("1", nil, { outputs = { "*.png" } }))
    assert.equal(0, #info.outputs)
  end)
end)

describe("a cell", function()
  it("gets its input as a variable, and only its own", function()
    open()
    assert.equal("äb", value("input['a'] + input['b']", { a = "ä", b = "b" }))
    assert.equal(json.null, value("input", json.null))
    assert.equal(9007199254740993, value("input", 9007199254740993))
    local err = failure "input()"
    assert.equal("EOFError: EOF when reading a line (cell 4, line 1)", err.message)
  end)

  it("has null for what JSON has no form for, and its text beside", function()
    open()
    value [[
class DataFrame:
    def __repr__(self): return "  a  b\n0 1  2"
class Broken:
    def __repr__(self): raise ValueError("no")]]
    local out, err, info = session:run "DataFrame()"
    assert.is_nil(err)
    assert.equal(json.null, out)
    assert.equal("  a  b\n0 1  2", info.display)
    info = select(3, session:run "Broken()")
    assert.equal("<Broken, whose text cannot be had: ValueError>", info.display)
    info = select(3, session:run "float('nan')")
    assert.equal("nan", info.display)
    out, err, info = session:run("'a' * 3", nil, { display = true })
    assert.is_nil(err)
    assert.same({ "aaa", "'aaa'" }, { out, info.display })
    assert.is_nil(select(3, session:run "None").display)
  end)

  it("names the cell and line of what it raised", function()
    open()
    value "def f(n):\n    return 1 / n"
    local err = failure "x = 1\nf(0)"
    assert.equal("stage_failed", err.kind)
    assert.equal("ZeroDivisionError: division by zero (cell 1, line 2)", err.message)
    assert.equal(2, err.cell)
    local info
    err, info = failure "x = 1\ny ="
    assert.equal("SyntaxError: invalid syntax (cell 3, line 2)", err.message)
    assert.truthy(info.logs:find 'File "cell 3", line 2')
    err = failure "raise KeyboardInterrupt('mine')"
    assert.equal("stage_failed", err.kind)
    err = failure "exit(3)"
    assert.truthy(err.message:find "^SystemExit: ")
    assert.equal(1, value "x")
  end)

  it("awaits at its top level", function()
    open()
    value "import asyncio\nasync def later(v):\n    await asyncio.sleep(0.01)\n    return v"
    assert.equal(5, value "await later(5)")
    assert.same({ 1, 2 }, value "await asyncio.gather(later(1), later(2))")
    assert.equal("timed_out", failure("await asyncio.sleep(60)", nil, { timeout_secs = 0.3 }).kind)
    assert.equal(6, value "await later(6)")
  end)

  it("has what it prints in its own log", function()
    open()
    local lines = {}
    local info = select(3, session:run("print('one')\nprint('two', end='')", nil,
      { on_log = function(line) lines[#lines + 1] = line end }))
    assert.equal("one\ntwo", info.logs)
    assert.same({ "one", "two" }, lines)
    info = select(3, session:run "import os\n_ = os.write(1, b'three')")
    assert.equal("three", info.logs)
    info = select(3, session:run "for _ in range(1024): print('x' * 10239)")
    assert.truthy(#info.logs <= 64 * 1024 + 100)
    assert.truthy(info.logs:find "%[10420224 bytes left out%]")
    assert.equal("", select(3, session:run "1").logs)
  end)

  it("answers within max_output_bytes", function()
    open{ max_output_bytes = 1000 }
    local err = failure "'x' * 2000"
    assert.equal("output_limit", err.kind)
    assert.equal(1000, err.limit)
    assert.equal(900, #value "'x' * 900")
  end)

  it("may replace builtins, streams and handlers", function()
    open()
    value "import builtins, sys, signal, io, json"
    value "vars_of = builtins.__dict__\nold = dict(vars_of)"
    value "signal.signal(signal.SIGINT, signal.SIG_IGN)\nsys.stderr = sys.stdout = io.StringIO()"
    value [[
for name in dir(builtins):
    if not name.startswith('__'): vars_of[name] = None]]
    assert.same({ 1, "a" }, value "[1, 'a']")
    assert.equal("stage_failed", failure("1 / 0").kind)
    assert.equal("timed_out", failure("while True: pass", nil, { timeout_secs = 0.3 }).kind)
    value "vars_of.update(old)"
    assert.equal(2, value "len('ab')")
  end)

  it("that forks is one cell still", function()
    open{ effects = { "Process" } }
    assert.equal("parent", value [[
import os, time
pid = os.fork()
if pid: os.waitpid(pid, 0)
"parent" if pid else "child"]])
    assert.equal(1, value "1")
    -- What it leaves behind ends with the session.
    value [[
pid = os.fork()
if not pid:
    os.setsid()
    time.sleep(600)]]
    local pid = value "pid"
    assert.truthy(pid > 0)
    session:close()
  end)

  it("calls functions of the host, and may be interrupted in the middle", function()
    local asked
    open{
      effects = { { Call = "add" }, { Call = "wait" } },
      functions = {
        add = function(args) return args.a + args.b end,
        wait = function(_, call) asked = call:later() end,
      },
    }
    local out, err, info = session:run "from noether import add, wait\nadd(a=1, b=2)"
    assert.is_nil(err, tostring(err))
    assert.equal(3, out)
    assert.equal("add", info.calls[1].name)
    local task = noether.check(session:start "wait()")
    helper.poll(function()
      task:step()
      return asked
    end, 30)
    assert.is_true(session:interrupt())
    err = select(2, task:wait())
    task:close()
    assert.equal("cancelled", err.kind)
    assert.is_true(asked.cancelled)
    assert.equal("timed_out", failure("wait()", nil, { timeout_secs = 0.3 }).kind)
    out, err, info = session:run "add(a=3, b=4)"
    assert.is_nil(err, tostring(err))
    assert.equal(7, out)
    assert.equal(1, #info.calls)
    assert.equal("effect_denied", failure("import noether\nnoether.call('other')").kind)
  end)

  it("has processor time of its own", function()
    open()
    value("sum(range(10 ** 6))", nil, { cpu_secs = 30 })
    is_lost(failure("while True: pass", nil, { cpu_secs = 0.3 }), "cpu_limit", "processor time")
  end)
end)

describe("a session", function()
  it("runs one cell at a time", function()
    open()
    local task = noether.check(session:start "import time\ntime.sleep(0.2)\n1")
    local out, err = session:run "2"
    assert.is_nil(out)
    assert.equal("session_busy", err.kind)
    assert.equal("busy", session:state())
    assert.equal(1, (task:wait()))
    task:close()
    assert.equal(2, value "2")
  end)

  it("goes on after a task that was cancelled, or closed", function()
    open()
    value "x = 1\nimport time"
    local task = noether.check(session:start "time.sleep(60)")
    task:cancel()
    assert.equal("cancelled", select(2, task:wait()).kind)
    task:close()
    assert.equal(1, value "x")
    noether.check(session:start "time.sleep(60)"):close()
    assert.equal(1, value "x")
  end)

  it("is interrupted any number of times, at any moment, and each cell by its own alone", function()
    open()
    value "n = 0\nimport time"
    local task = noether.check(session:start([[
while n < 2:
    try:
        print("now")
        time.sleep(60)
    except KeyboardInterrupt:
        n += 1
n]], nil, { on_log = function() session:interrupt() end }))
    local out, err = task:wait(30)
    assert.is_nil(err, tostring(err))
    assert.equal(2, out)
    task:close()
    assert.is_false(session:interrupt())
    for _ = 1, 20 do -- at its end
      task = noether.check(session:start "n")
      session:interrupt()
      session:interrupt()
      out, err = task:wait()
      task:close()
      if err then assert.equal("cancelled", err.kind) else assert.equal(2, out) end
      assert.equal(3, value "1 + 2")
    end
  end)

  it("is over where a cell does not stop a second after its deadline", function()
    open()
    local err = failure([[
import time
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt: pass]], nil, { timeout_secs = 0.2 })
    is_lost(err, "timed_out", "did not stop")
    assert.equal(1, err.cell)
  end)

  it("is over after its idle time and its life, though nobody looks", function()
    open{ idle_secs = 0.3 }
    value "1"
    helper.poll(function() return session:state() == "lost" end, 30)
    is_lost(failure "1", "timed_out", "idle_secs")
    session:close()
    session = noether.check(executor:session{ language = "python", lifetime_secs = 5 })
    helper.poll(function() return session:state() == "lost" end, 30)
    is_lost(failure "1", "timed_out", "lifetime_secs")
  end)

  it("is over where it meets a limit of the whole", function()
    open({ limits = { memory_bytes = 200 * 2 ^ 20 } }, { isolation = "native" })
    is_lost(failure "x = bytearray(400 * 2 ** 20)", "memory_limit", "memory")
  end)

  it("is over where its channel is closed, or says what is no answer", function()
    open()
    is_lost(failure "import os\nos.close(5)", "stage_failed", "ended with code")
    for _, frame in ipairs{
      [[b'\x04\x00\x00\x00null']], [[b'\xff\xff\xff\xff']],
      [[b'\x1c\x00\x00\x00{"type":"answer","cell":999}']],
    } do
      session:reset()
      is_lost(failure("import os, time\nos.write(5, " .. frame .. ")\ntime.sleep(60)"),
        "stage_failed", "channel")
    end
  end)

  it("is over where something answers for a cell that has not begun, or twice", function()
    open()
    local says = "import os, struct, threading, time\ndef answer(n):\n"
      .. "  text = b'{\"type\":\"answer\",\"cell\":%d,\"value\":7}' % n\n"
      .. "  os.write(5, struct.pack('<I', len(text)) + text)\n"
    value(says .. "threading.Timer(0.1, answer, [2]).start()")
    helper.poll(function() return false end, 0.4)
    is_lost(failure "1", "stage_failed", "channel")
    session:reset()
    assert.equal(7, value(says .. "answer(1)"))
    helper.poll(function() return false end, 0.2)
    is_lost(failure "1", "stage_failed", "channel")
  end)

  it("hears a call that was made between two cells", function()
    local heard
    open{ functions = { note = function(args) heard = args end }, effects = { { Call = "note" } } }
    value("from noether import note\nimport threading\n"
      .. "threading.Timer(0.1, lambda: note(x=1)).start()")
    helper.poll(function() return false end, 0.3)
    value "import time\ntime.sleep(0.3)"
    assert.same({ x = 1 }, heard)
    assert.equal(1, value "1")
  end)

  it("is over where what a cell left uses the processor between cells", function()
    open{ limits = { cpu_secs = 1 } }
    value("import threading\ndef spin():\n  while True: pass\n"
      .. "threading.Thread(target=spin, daemon=True).start()")
    helper.poll(function() return session:state() == "lost" end, 30)
    is_lost(failure "1", "cpu_limit", "processor time")
  end)

  it("says who made it what cannot be had", function()
    open{ functions = {}, effects = { { Call = "lookup" } } }
    assert.equal("input_invalid", failure("1").kind)
    session:close()
    local out, err = executor:session{ language = "cobol" }
    assert.is_nil(out)
    assert.equal("language_unknown", err.kind)
    assert.error_matches(function() executor:session{} end, "^executor:session: .*'language'")
    assert.error_matches(function() executor:session{ langage = "python" } end,
      "^executor:session: .*did you mean 'language'")
    session = noether.check(executor:session{ language = "python", effects = {} })
    assert.error_matches(function() session:run(1) end, "code: expected a string")
    assert.error_matches(function() session:run("1", nil, { timeout = 1 }) end, "timeout_secs")
    assert.error_matches(function() session.run "1" end, "colon")
    assert.equal("input_invalid", failure("1", print).kind)
    assert.equal("input_invalid", failure("'\255'").kind)
  end)

  it("belongs to executors of this machine", function()
    local inline = noether.inline{}
    assert.error_matches(function() inline:session{ language = "python" } end,
      "sessions belong to")
    open()
    local layer = noether.retry(executor)
    assert.error_matches(function() layer:session{ language = "python" } end, "sessions belong to")
  end)

  it("says that it is closed, or its executor", function()
    open()
    local task = noether.check(session:start "import time\ntime.sleep(60)")
    helper.poll(function()
      task:step()
      return task:state() == "run"
    end, 30)
    assert.is_true(session:close())
    assert.is_true(session:close())
    assert.equal("closed", select(2, task:wait()).kind)
    task:close()
    assert.equal("closed", failure("1").kind)
    assert.equal("closed", select(2, session:reset()).kind)
    assert.equal("closed", session:state())
    assert.is_false(session:interrupt())
    session = noether.check(executor:session{ language = "python" })
    value "1"
    executor:close()
    assert.equal("the executor is closed", failure("1").message)
    assert.equal("closed", select(2, executor:session{ language = "python" }).kind)
  end)

  it("starts while the caller does something else, and can be given up then", function()
    open()
    assert.equal("starting", session:state())
    local task = noether.check(session:start "1")
    assert.is_true(session:reset())
    assert.equal("session_lost", select(2, task:wait()).kind)
    task:close()
    session:close()
    session = noether.check(executor:session{ language = "python" })
    session = nil
    collectgarbage()
    collectgarbage()
  end)

  it("can be waited for beside others", function()
    open()
    local other = noether.check(executor:session{ language = "python" })
    local set = noether.check(noether.set())
    set:add(noether.check(session:start "import time\ntime.sleep(0.3)\n'slow'"))
    set:add(noether.check(other:start "'quick'"))
    local seen = {}
    for _ = 1, 2 do
      local task = set:next(30)
      seen[#seen + 1] = task:wait(0)
      task:close()
    end
    set:close()
    assert.same({ "quick", "slow" }, seen)
  end)

  it("is its owner's: a fork of the host leaves it alone", function()
    open()
    value "x = 1"
    assert.truthy(support.forked(function()
      local ok, message = pcall(session.run, session, "x = 2")
      session:close()
      return tostring(ok) .. message
    end):find "false.*belongs to the parent")
    assert.equal(1, value "x")
  end)

  it("is seen on the page of a trace, a row for each cell", function()
    open()
    local records = {}
    for index, code in ipairs{ "x = 1", "object", "1 / 0" } do
      local out, err, info = session:run(code)
      records[index] = { output = out, err = err, info = info }
    end
    local page = noether.trace.page(records)
    local data = page:match('<script[^>]*application/json[^>]*>(.-)</script>')
    local runs = json.decode(data).runs
    assert.same({ 1, 2, 3 }, { runs[1].cell, runs[2].cell, runs[3].cell })
    assert.equal("<class 'object'>", runs[2].output)
    assert.equal("stage_failed", runs[3].error.kind)
  end)

  it("has packages, its own limits and variables", function()
    open{ env = { GREETING = "hello" }, limits = { private_bytes = 2 ^ 20 } }
    assert.equal("hello", value "import os\nos.environ['GREETING']")
    session:close()
    session = noether.check(executor:session{ language = "python", packages = { "six" } })
    assert.equal("package_rejected", failure("1").kind)
    assert.error_matches(function()
      executor:session{ language = "bash", packages = { "six==1.16.0" } }
    end, "packages")
  end)
end)
