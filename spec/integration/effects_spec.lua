-- SPDX-License-Identifier: MIT
-- What a stage's effects open, and what happens where they do not: for every backend that isolates.
local helper = require "spec.helper"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock" }

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

for _, backend in ipairs(BACKENDS) do
  describe("effects under " .. backend, function()
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
      local code = ("def execute(i):\n  return open('%s/out/new', 'w').write('new')"):format(dir)
      local output, err = execute(backend, "python", code, {
        { FsRead = dir }, { FsWrite = dir .. "/out" },
      })
      assert.is_nil(err, tostring(err))
      assert.equal(3, output)
    end)
  end)
end
