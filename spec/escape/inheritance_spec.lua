-- SPDX-License-Identifier: MIT
--- What comes in with the program: descriptors, the terminal, the environment, signals.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local noether = require "noether"

setup(cage.build)

-- A host of its own that runs the attacker in a sandbox and prints what it said.
local function host(backend, words, opts, prefix, env)
  local proc = cage.host(([[
local commands = require "noether.command"
local result, err = commands.run(%s, { isolation = %q, sandbox = %s, timeout_secs = 20 })
if not result then error(tostring(err)) end
io.write(result.stdout, result.stderr)
]]):format(cage.literal(cage.concat({ cage.probe }, words)), backend,
    cage.literal(cage.describe(backend, opts))), prefix, env)
  local result = assert(proc:wait())
  proc:close()
  return cage.read(result)
end

cage.each("descriptors of the host", function(backend)
  it("do not come in, though the host left them open for others", function()
    local file = helper.write(helper.tmpdir() .. "/file", "host")
    local prefix = { cage.probe, "with_fds=" .. file }
    local report = host(backend, { "fds", "session" }, nil, prefix)
    assert.equal("0 1 2 ", report:value "fds", report.result.stderr)
    assert.equal(1, report:number "session")
  end)

  it("do not come in from a host with a thousand of them", function()
    local proc = cage.host(([[
local commands = require "noether.command"
local kept = {}
for i = 1, 900 do kept[i] = assert(io.open("/dev/null")) end
local result, err = commands.run({ %q, "fds" }, { isolation = %q, sandbox = %s })
io.write(result and result.stdout or tostring(err))
]]):format(cage.probe, backend, cage.literal(cage.describe(backend))))
    local report = cage.read(assert(proc:wait()))
    proc:close()
    assert.equal("0 1 2 ", report:value "fds", report.result.stdout)
  end)

  it("do not come in where the host has no standard streams", function()
    local dir = helper.tmpdir()
    local script = helper.write(dir .. "/host.lua", ([[
local commands = require "noether.command"
local result, err = commands.run({ %q, "fds" }, { isolation = %q, sandbox = %s })
local file = io.open(%q, "w")
file:write(result and result.stdout or tostring(err))
file:close()
]]):format(cage.probe, backend, cage.literal(cage.describe(backend)), dir .. "/out"))
    helper.shell(("%s %s <&- >&- 2>&-"):format(helper.quote(helper.lua), helper.quote(script)))
    assert.truthy(helper.read(dir .. "/out"):find("value fds: 0 1 2 \n", 1, true))
  end)
end)

-- Whatever the host's user, they are the program's own.
cage.each("the standard streams", function(backend)
  local function run(command, stdin)
    local proc = assert(cage.launch(backend, { "/bin/bash", "-c", command }, { stdin = stdin }))
    local result = assert(proc:wait())
    proc:close()
    assert.equal("exit", result.reason, result.stderr)
    return result
  end

  it("can be opened again by each of their names", function()
    local result = run([[
set -e
for name in /dev/stdout /dev/fd/1 /proc/self/fd/1; do echo out >$name; done
for name in /dev/stderr /dev/fd/2 /proc/self/fd/2; do echo err >$name; done
read -r line </dev/stdin; echo "$line"
read -r line </dev/fd/0; echo "$line"
cat /proc/self/fd/0
]], "one\ntwo\nthree\n")
    assert.equal("out\nout\nout\n", result.stdout:match "^out.*out\n")
    assert.equal("err\nerr\nerr\n", result.stderr)
    assert.truthy(result.stdout:find("one\n", 1, true), result.stdout)
  end)

  it("can be opened again where input does not fit into a pipe, or there is none", function()
    local text = ("x"):rep(300000)
    assert.equal("300000\n", run("wc -c </dev/stdin", text).stdout)
    assert.equal("0\n", run("wc -c </dev/stdin").stdout)
  end)
end)

cage.each("the terminal of the host", function(backend)
  it("cannot be typed into", function()
    local log = helper.tmpdir() .. "/typed"
    local words = { "read=/dev/tty", "write=/dev/tty", "ioctl=0x5412", "ioctl=0xffffffff00005412" }
    local proc = cage.host(([[
local commands = require "noether.command"
local result, err = commands.run(%s, { isolation = %q, sandbox = %s })
local file = io.open(%q, "w")
file:write(result and result.stdout or tostring(err))
file:close()
]]):format(cage.literal(cage.concat({ cage.probe }, words)), backend,
      cage.literal(cage.describe(backend)), log .. ".out"),
      { cage.probe, "with_pty=" .. log })
    assert(proc:wait())
    proc:close()
    local report = cage.read{ reason = "", stderr = "", stdout = helper.read(log .. ".out") }
    report:refused(words)
    assert.equal("quiet\n", helper.read(log))
  end)
end)

cage.each("the environment of the host", function(backend)
  it("does not come in, but for the language and the time zone", function()
    local dir = helper.tmpdir()
    local evil = helper.write(dir .. "/evil", "import os; os._exit(99)\n")
    local report = host(backend, { "environment" }, nil, nil, {
      PATH = os.getenv "PATH", TMPDIR = cage.dir, HOME = dir, LC_ALL = "C", TZ = "UTC",
      LD_PRELOAD = "", LD_LIBRARY_PATH = dir, LD_AUDIT = "", PYTHONPATH = dir,
      PYTHONSTARTUP = evil, PYTHONHOME = "", NODE_OPTIONS = "", NODE_PATH = dir, BASH_ENV = evil,
      ENV = evil, LUA_PATH = "", PERL5LIB = dir, SECRET_TOKEN = "secret", AWS_SECRET = "secret",
      SSH_AUTH_SOCK = dir .. "/agent", GCONV_PATH = dir, LOCPATH = dir, TERMINFO = dir,
      MALLOC_TRACE = dir .. "/trace", GLIBC_TUNABLES = "", IFS = "x",
      ["BASH_FUNC_ls%%"] = "() { :; }",
    })
    local kept = {}
    for line in assert(report:value "variable", report.result.stderr):gmatch "[^\n]+" do
      kept[#kept + 1] = line:match "^[^=]+"
    end
    table.sort(kept)
    assert.same({ "HOME", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER" }, kept)
    assert.falsy(report.result.stdout:find(dir, 1, true) and backend ~= "landlock")
  end)

  it("does not come in by what the launcher keeps of it", function()
    local words = { "show=/proc/1/environ", "show=/proc/1/cmdline" }
    local report = host(backend, words, nil, nil, {
      PATH = os.getenv "PATH", TMPDIR = cage.dir, HOME = cage.dir, SECRET = "do-not-tell",
    })
    report:refused{ words[1] }
    assert.is_true(report.tried[words[2]])
    assert.falsy(report.result.stdout:find "do%-not%-tell")
  end)

  it("has no word in what the interpreters load", function()
    local dir = helper.tmpdir()
    local evil = "raise SystemExit('evil')\n"
    for _, name in ipairs{ "json.py", "sitecustomize.py", "usercustomize.py", "os.py" } do
      helper.write(dir .. "/" .. name, evil)
    end
    helper.write(dir .. "/evil.js", "process.exit(99)\n")
    helper.write(dir .. "/evil.sh", "exit 99\n")
    helper.with_env({
      PYTHONPATH = dir, PYTHONSTARTUP = dir .. "/json.py", NODE_OPTIONS = "--require " .. dir
        .. "/evil.js", NODE_PATH = dir, BASH_ENV = dir .. "/evil.sh", ENV = dir .. "/evil.sh",
    }, function()
      for language, code in pairs{
        python = "def execute(i): return i", javascript = "function execute(i) { return i }",
        bash = "execute() { IFS= read -r x; echo \"$x\"; }",
      } do
        local output, err = noether.execute{
          language = language, code = code, input = 7, isolation = backend,
        }
        assert.equal(7, output, language .. ": " .. tostring(err))
      end
    end)
  end)

  it("cannot be followed by a json.py in the working directory", function()
    local output, err = noether.execute{
      language = "python", isolation = backend, code = [[
def execute(i):
    import importlib, sys
    with open("json.py", "w") as file:
        file.write("evil = True\n")
    for name in [n for n in sys.modules if n == "json" or n.startswith("json.")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    import json
    return hasattr(json, "evil")
]],
    }
    assert.is_false(output, tostring(err))
  end)
end)

cage.each("signals of the host", function(backend)
  it("are neither ignored nor blocked inside because they were outside", function()
    local prefix = { "/bin/sh", "-c", "trap '' INT TERM HUP CHLD PIPE USR1; exec \"$@\"", "sh" }
    local report = host(backend, { "signal_state" }, nil, prefix)
    assert.truthy(report.result.stdout:find("SigIgn:\t0000000000000000", 1, true),
      report.result.stdout)
    assert.truthy(report.result.stdout:find("SigBlk:\t0000000000000000", 1, true))
  end)
end)
