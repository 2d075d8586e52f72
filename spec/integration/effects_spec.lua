-- SPDX-License-Identifier: MIT
-- What a stage's effects open, and what happens where they do not: for every backend that isolates.
local helper = require "spec.support.helper"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock" }

-- What holds for each of them in every run of the suite.
local ALWAYS = {
  "effects refuse a process to a python stage that declares none",
  "effects refuse a process to a javascript stage that declares none",
  "effects refuse a process to a bash stage that declares none",
  "effects let a python stage with Process start one", "effects let threads be without Process",
  "effects keep the network of a stage that declares none away",
  "effects open the paths they name, and no others, and as they say",
  "effects let a writable directory be inside a readable one",
}

local SUBPROCESS = {
  python = [[
import subprocess
def execute(i):
    return subprocess.check_output(['/bin/echo', 'x']).decode()]],
  javascript = [[
function execute(i) {
  return require('child_process').execFileSync('/bin/echo', ['x']).toString();
}]],
  bash = [[
execute() {
  printf '"%s"' "$(/bin/echo x)"
}]],
}

local function execute(backend, language, code, effects, opts)
  local request = { language = language, code = code, input = 1, effects = effects }
  for name, value in pairs(opts or {}) do
    request[name] = value
  end
  request.isolation = backend
  return noether.execute(request)
end

helper.over({
  backends = BACKENDS, starts = helper.STARTS, always = ALWAYS,
}, "under %s, begun by %s,", function(backend, start)
  helper.begin_by(start)

  describe("effects", function()
    for language, code in pairs(SUBPROCESS) do
      it("refuse a process to a " .. language .. " stage that declares none", function()
        local output, err, info = execute(backend, language, code, { "Pure" })
        assert.is_nil(output)
        assert.equal("effect_denied", err.kind, tostring(err))
        assert.equal("Process", err.effect)
        assert.equal(backend, info.isolation)
        assert.truthy(table.concat(info.enforced, " "):find("no_process", 1, true))
        assert.is_true(err.result.denied_processes >= 1)
      end)

      it("let a " .. language .. " stage with Process start one", function()
        local output, err, info = execute(backend, language, code, { "Process" })
        assert.is_nil(err, tostring(err))
        assert.equal("x", (output:gsub("\n", "")))
        assert.is_nil(table.concat(info.enforced, " "):find("no_process", 1, true))
      end)
    end

    it("let a stage go on that was refused a process and did without", function()
      local code = [[
import os
def execute(i):
    try: os.fork()
    except OSError as e: return e.errno]]
      local output, err, info = execute(backend, "python", code, { "Pure" })
      assert.is_nil(err, tostring(err))
      assert.equal(1, output) -- EPERM
      assert.equal(1, info.result.denied_processes)
    end)

    it("keep the kind of a failure that came after a refusal which was caught", function()
      for language, code in pairs{
        python = "import os\ndef execute(i):\n  os.system('id')\n  raise ValueError('mine')",
        javascript = [[
function execute() {
  try { require('child_process').execSync('id'); } catch { /* and on */ }
  throw new Error('mine');
}]],
      } do
        local _, err = execute(backend, language, code, { "Pure" })
        assert.equal("stage_failed", err.kind, tostring(err))
        assert.truthy(tostring(err):find("mine", 1, true), tostring(err))
        assert.truthy(err.hint:find("refused another process", 1, true), err.hint)
        assert.is_true(err.result.denied_processes >= 1)
      end
    end)

    it("say of a stage that left no answer after a refusal that there was one", function()
      local code = "import os\ndef execute(i):\n  os.system('id')\n  os._exit(0)"
      local _, err = execute(backend, "python", code, { "Pure" })
      assert.equal("output_invalid", err.kind, tostring(err))
      assert.truthy(err.hint:find("refused another process", 1, true), err.hint)
    end)

    it("do not name Process for a command that is nowhere", function()
      for _, code in ipairs{ "execute() { gerp x; }", "execute() { A=1 gerp x; }",
        "execute() { /nowhere/x; }", "execute() { echo '{}'; gerp; }",
        "execute() { true && gerp-x.y --z 'a b'; }", "execute() { gerp 2>/dev/null; }" } do
        local _, err = execute(backend, "bash", code, { "Pure" })
        assert.equal("stage_failed", err.kind, code .. "\n" .. tostring(err))
        assert.truthy(tostring(err):find("command not found", 1, true), tostring(err))
        _, err = execute(backend, "bash", code, { "Process" })
        assert.equal("stage_failed", err.kind)
      end
      for _, code in ipairs{ "execute() { id; }", "execute() { A=1 id; }", "execute() { ( : ); }",
        "execute() { x=id; $x; }", "execute() { echo \"$(gerp)\"; }", "id\nexecute() { :; }" } do
        local _, err = execute(backend, "bash", code, { "Pure" })
        assert.equal("effect_denied", err.kind, code .. "\n" .. tostring(err))
        assert.equal("Process", err.effect)
      end
    end)

    it("let threads be without Process", function()
      local code = [[
import threading
def execute(i):
    got = []
    thread = threading.Thread(target=lambda: got.append(7))
    thread.start(); thread.join()
    return got]]
      local output, err = execute(backend, "python", code, { "Pure" })
      assert.is_nil(err, tostring(err))
      assert.same({ 7 }, output)
    end)

    it("keep the network of a stage that declares none away", function()
      local listener <close> = helper.listen()
      local code = ("import socket\ndef execute(i):\n"
        .. "  socket.create_connection(('127.0.0.1', %d), 5).close()"):format(listener.port)
      local _, err = execute(backend, "python", code, { "Pure" })
      assert.is_not_nil(err)
      assert.equal(0, listener:accepted())
      local output
      output, err = execute(backend, "python", code, { "Network" })
      assert.is_nil(err, tostring(err))
      assert.equal(noether.null, output)
      assert.equal(1, listener:accepted())
    end)

    it("are named where the network is tried without", function()
      local code = "import socket\ndef execute(i): socket.create_connection(('192.0.2.1', 9), 5)"
      local _, err = execute(backend, "python", code, {})
      assert.equal("effect_denied", err.kind, tostring(err))
      assert.equal("Network", err.effect)
    end)

    it("are named where a connection fails, whatever the program says of it", function()
      local listener <close> = helper.listen()
      local address = "127.0.0.1:" .. listener.port
      local cases = {
        { "javascript", "const execute = () => fetch('http://no.example.com');" },
        { "javascript", "const execute = () => fetch('http://ADDRESS').then((r) => r.status);" },
        { "javascript", "const execute = () => fetch('http://192.0.2.1');" },
        { "javascript", [[
const execute = () => new Promise((resolve, reject) => {
  require('net').connect(PORT, '127.0.0.1', () => resolve(null)).on('error', reject);
});]], true },
        { "python", "import socket\n"
          .. "def execute(i): socket.create_connection(('127.0.0.1', PORT), 5).close()", true },
        { "python", "import urllib.request\n"
          .. "def execute(i): urllib.request.urlopen('http://no.example.com')" },
        { "python", [[
import socket
def execute(i):
    try: socket.create_connection(('127.0.0.1', PORT), 5).close()
    except OSError: raise RuntimeError('no rates today')]], true },
        { "bash", "execute() { exec 3<>/dev/tcp/127.0.0.1/PORT; echo null; }", true },
        { "bash", "execute() { curl -s http://no.example.com; }" },
        { "bash", "execute() { curl -s http://ADDRESS; }" },
      }
      for _, case in ipairs(cases) do
        local code = case[2]:gsub("ADDRESS", address):gsub("PORT", listener.port)
        local effects = case[1] == "bash" and { "Process" } or {}
        local _, err = execute(backend, case[1], code, effects)
        assert.equal("effect_denied", err.kind, code .. "\n" .. tostring(err))
        assert.equal("Network", err.effect)
        assert.truthy(err.hint:find("Network effect", 1, true), err.hint)
        if case[3] then
          effects[#effects + 1] = "Network"
          local output
          output, err = execute(backend, case[1], code, effects)
          assert.is_nil(err, code .. "\n" .. tostring(err))
          assert.equal(noether.null, output)
        end
      end
    end)

    it("are not named for a socket file that nobody listens at", function()
      local code = [[
const net = require('net');
const execute = () => new Promise((resolve, reject) => {
  net.connect('/tmp/nobody.sock').on('error', reject);
});]]
      local _, err = execute(backend, "javascript", code, {})
      assert.is_true(backend == "landlock" or err.kind == "stage_failed", tostring(err))
    end)

    it("are a fact beside a failure that came after a connection that failed", function()
      local code = "import socket\ndef execute(i):\n"
        .. "  try: socket.create_connection(('127.0.0.1', 1), 5)\n"
        .. "  except OSError: pass\n  raise ValueError('mine')"
      local _, err = execute(backend, "python", code, {})
      assert.equal("stage_failed", err.kind)
      if backend == "landlock" then return assert.is_nil(err.result.denied_connections) end
      assert.equal(1, err.result.denied_connections)
      assert.truthy(err.hint:find("Network effect", 1, true), err.hint)
      _, err = execute(backend, "python", "def execute(i): raise ValueError('mine')", {})
      assert.equal(0, err.result.denied_connections)
      assert.is_nil(err.hint)
      _, err = execute(backend, "python", code, { "Network" })
      assert.is_nil(err.result.denied_connections)
      assert.is_nil(err.hint)
    end)

    it("are hinted at where a path may not be written", function()
      for language, code in pairs{
        python = "def execute(i): open('/usr/x', 'w')",
        javascript = "function execute(i) { require('fs').writeFileSync('/usr/x', '') }",
        bash = "execute() { echo > /usr/x; }",
      } do
        local _, err = execute(backend, language, code, {})
        assert.truthy(err.hint and err.hint:find("FsWrite effect", 1, true), tostring(err))
      end
    end)

    it("open the paths they name, and no others, and as they say", function()
      local dir = helper.tmpdir()
      helper.write(dir .. "/in/given", "given")
      helper.write(dir .. "/out/kept", "kept")
      helper.write(dir .. "/other/secret", "secret")
      helper.open_to_all(dir)
      helper.open_to_stages(dir .. "/out")
      local code = ([[
def attempt(what):
    try: return what()
    except OSError as e: return type(e).__name__
def execute(i):
    d = %q
    return {
        "read": attempt(lambda: open(d + "/in/given").read()),
        "write": attempt(lambda: open(d + "/out/new", "w").write("new")),
        "write_in": attempt(lambda: open(d + "/in/given", "w").write("x")),
        "secret": attempt(lambda: open(d + "/other/secret").read()),
    }]]):format(dir)
      local output, err = execute(backend, "python", code, {
        { FsRead = dir .. "/in" }, { FsWrite = dir .. "/out" },
      })
      assert.is_nil(err, tostring(err))
      assert.equal("given", output.read)
      assert.equal(3, output.write)
      assert.truthy(tostring(output.write_in):find("Error"))
      assert.truthy(tostring(output.secret):find("Error"))
      assert.equal("given", helper.read(dir .. "/in/given"))
      assert.equal("new", helper.read(dir .. "/out/new"))
    end)

    it("let a writable directory be inside a readable one", function()
      local dir = helper.tmpdir()
      helper.write(dir .. "/out/kept", "kept")
      helper.open_to_all(dir)
      helper.open_to_stages(dir .. "/out")
      local code = ("def execute(i):\n  return open('%s/out/new', 'w').write('new')"):format(dir)
      local output, err = execute(backend, "python", code, {
        { FsRead = dir }, { FsWrite = dir .. "/out" },
      })
      assert.is_nil(err, tostring(err))
      assert.equal(3, output)
    end)
  end)
end)
