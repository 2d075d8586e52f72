-- SPDX-License-Identifier: MIT
--- What a stage lacks, learnt by running it with nothing open.
local helper = require "spec.support.helper"
local hosts = require "spec.support.hosts"
local noether = require "noether"
local sys = require "noether.sys"

local server

setup(function() server = hosts.serve() end)
teardown(function() server.stop() end)

local TRY = [[
import ctypes, os, platform, socket, subprocess, urllib.request

def attempt(do):
    try:
        return do() or "done"
    except OSError as problem:
        reason = getattr(problem, "reason", problem)
        return type(reason).__name__

]]

local function run(backend, code, input, learn, opts)
  local request = {
    language = "python", effects = {}, code = TRY .. code, timeout_secs = 60,
    input = input == nil and noether.null or input, isolation = backend,
    learn = learn == nil or learn,
  }
  for name, value in pairs(opts or {}) do
    request[name] = value
  end
  return noether.execute(request)
end

local function texts(list)
  local out = {}
  for _, effect in ipairs(list) do
    local value = effect.path or effect.name or effect.hosts and table.concat(effect.hosts, " ")
    out[#out + 1] = value and effect.effect .. " " .. value or effect.effect
  end
  table.sort(out)
  return out
end

local function place()
  local dir = helper.tmpdir()
  helper.open_to_all(dir)
  return dir
end

local EVERYTHING = [[
def execute(dir):
    sock = socket.create_connection
    return [
        attempt(lambda: urllib.request.urlopen("https://API.example.com./x", timeout=30)),
        attempt(lambda: sock(("db.internal", 5432), timeout=30)),
        attempt(lambda: sock(("10.1.2.3", 99), timeout=30)),
        attempt(lambda: sock(("127.0.0.1", 6379), timeout=30)),
        attempt(lambda: open(dir + "/data.csv").read()),
        attempt(lambda: os.listdir(dir + "/sub")),
        attempt(lambda: open(dir + "/not there").read()),
        attempt(lambda: open(dir + "/out/new.txt", "w")),
        attempt(lambda: subprocess.run(["true"])),
        os.path.exists(dir),
    ]
]]

helper.over({ backends = { "native", "bwrap" } }, "a stage that is learnt of [%s]",
  function(backend)
    it("names the hosts, ports, paths and processes that it lacked", function()
      local dir = place()
      helper.write(dir .. "/data.csv", "1")
      helper.shell(("mkdir %s/sub %s/out"):format(helper.quote(dir), helper.quote(dir)))
      local out, err, info = run(backend, EVERYTHING, dir)
      assert.is_nil(err and err.message)
      assert.same({ "ConnectionRefusedError", "ConnectionRefusedError", "OSError",
        "ConnectionRefusedError", "FileNotFoundError", "FileNotFoundError", "FileNotFoundError",
        "FileNotFoundError", "PermissionError", false }, {
        out[1], out[2], out[3], out[4], out[5], out[6], out[7], out[8], out[9], out[10],
      })
      assert.same({
        "FsRead " .. dir .. "/data.csv", "FsRead " .. dir .. "/sub", "FsWrite " .. dir .. "/out",
        "Network 10.1.2.3:99 127.0.0.1:6379 api.example.com:443 db.internal:5432", "Process",
      }, texts(info.learned.effects))
      assert.same({}, info.learned.unused)
      assert.equal("cold", info.start)
    end)

    it("has nothing open, whatever it declares", function()
      local dir = place()
      helper.write(dir .. "/data.csv", "1")
      local out, err, info = run(backend, [[
def execute(input):
    dir, port = input
    return [
        attempt(lambda: socket.create_connection(("127.0.0.1", port), timeout=30)),
        attempt(lambda: open(dir + "/data.csv").read()),
        attempt(lambda: open(dir + "/new", "w")),
        attempt(lambda: subprocess.run(["true"])),
    ]
]], { dir, server.port }, true, { warm = true,
        effects = { "Network", "Process", { FsWrite = dir } } })
      assert.is_nil(err and err.message)
      assert.same({ "ConnectionRefusedError", "FileNotFoundError", "FileNotFoundError",
        "PermissionError" }, { out[1], out[2], out[3], out[4] })
      assert.is_nil(sys.stat(dir .. "/new"))
      assert.same({}, info.network.reached)
      assert.same({ "FsWrite " .. dir, "Network 127.0.0.1:" .. server.port, "Process" },
        texts(info.learned.effects))
    end)

    it("opens what it is told to, and tells of the rest", function()
      local dir = place()
      helper.write(dir .. "/data.csv", "1")
      local own = ("127.0.0.1:%d"):format(server.port)
      local out, err, info = run(backend, [[
def execute(input):
    dir, port = input
    page = urllib.request.urlopen("http://127.0.0.1:%d/" % port, timeout=30).read().decode()
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.listen()
    socket.create_connection(own.getsockname(), timeout=30)
    return [page, attempt(lambda: open(dir + "/data.csv").read()),
            attempt(lambda: socket.create_connection(("127.0.0.1", 1), timeout=30))]
]], { dir, server.port }, { { Network = { own } }, { FsRead = dir } },
        { effects = { "Network", { FsRead = dir } } })
      assert.is_nil(err and err.message)
      assert.same({ "hello", "1", "ConnectionRefusedError" }, { out[1], out[2], out[3] })
      assert.same({ "Network 127.0.0.1:1" }, texts(info.learned.effects))
    end)

    it("holds what always holds", function()
      local out, err, info = run(backend, [[
def execute(_):
    libc = ctypes.CDLL(None, use_errno=True)
    wrong = [libc.open(ctypes.c_void_p(8), 0), libc.open(b"/" + b"x" * 8000, 0)]
    if platform.machine() == "x86_64":  # the older calls
        flags = os.O_CREAT | os.O_WRONLY
        wrong += [libc.syscall(2, b"made", flags, 0o4755), libc.syscall(85, b"made", 0o2755)]
    wrong = sorted(set(wrong))
    return [attempt(lambda: os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o4755))),
            attempt(lambda: os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o2755))),
            attempt(lambda: os.chmod("/work", 0o4755)),
            attempt(lambda: os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o755))), wrong]
]])
      assert.is_nil(err and err.message)
      assert.same({ "PermissionError", "PermissionError", "PermissionError", "done", { -1 } },
        { out[1], out[2], out[3], out[4], { out[5][1], out[5][2] } })
      assert.same({}, info.learned.effects)
    end)

    it("tells of what it tried up to its deadline", function()
      local _, err, info = run(backend, [[
def execute(_):
    attempt(lambda: socket.create_connection(("late.example.com", 443), timeout=30))
    while True:
        pass
]], nil, true, { timeout_secs = 3 })
      assert.equal("timed_out", err.kind)
      assert.same({ "Network late.example.com:443" }, texts(info.learned.effects))
    end)

    it("tells of nothing that could deceive whoever pastes it, and of no more than there is",
      function()
        local dir = place()
        local odd = { "a\nb", "a\27[2Jb", "a\226\128\174b", "plain 'quoted' \"$(name)\"" }
        for _, name in ipairs(odd) do
          helper.write(dir .. "/" .. name, "1")
        end
        local _, err, info = run(backend, [[
def execute(input):
    dir, names = input
    for name in names + ["x%d" % i for i in range(400)]:
        attempt(lambda: open(dir + "/" + name).read())
    for i in range(80):
        attempt(lambda: socket.create_connection(("n%d.example.com" % i, 80), timeout=30))
    attempt(lambda: open("../" * 9 + dir[1:] + "/relative").read())
]], { dir, odd })
        assert.is_nil(err and err.message)
        local said = texts(info.learned.effects)
        assert.equal(2, #said)
        assert.equal("FsRead " .. dir .. "/" .. odd[4], said[1])
        local _, count = said[2]:gsub("example%.com:80", "")
        assert.is_true(count >= 16 and count <= 64, said[2])
      end)
  end)

describe("what a stage is learnt to lack", function()
  it("is the same in every language", function()
    local dir = place()
    helper.write(dir .. "/data.csv", "1")
    local codes = {
      javascript = "const fs = require('fs');\nfunction execute(dir) {"
        .. " try { fs.readFileSync(dir + '/data.csv'); } catch (e) { return e.code; } }",
      bash = ([[execute() { [ -r "%s/data.csv" ] || echo '"ENOENT"'; }]]):format(dir),
      python = "def execute(dir):\n    try:\n        open(dir + '/data.csv')\n"
        .. "    except FileNotFoundError:\n        return 'ENOENT'\n",
    }
    for language, code in pairs(codes) do
      local out, err, info = noether.execute{ language = language, code = code, input = dir,
        effects = {}, learn = true, timeout_secs = 60 }
      assert.is_nil(err and err.message)
      assert.equal("ENOENT", out)
      assert.same({ "FsRead " .. dir .. "/data.csv" }, texts(info.learned.effects), language)
    end
  end)

  it("is a directory where files of it are many, or one is to be made", function()
    local dir = place()
    helper.shell(("mkdir -p %s/many"):format(helper.quote(dir)))
    for index = 1, 12 do
      helper.write(("%s/many/%d"):format(dir, index), "1")
    end
    local _, err, info = run("auto", [[
def execute(dir):
    for i in range(1, 13):
        attempt(lambda: open(dir + "/many/%d" % i).read())
    attempt(lambda: os.makedirs("/var/lib/dpkg/not/there"))
]], dir)
    assert.is_nil(err and err.message)
    assert.same({ "FsRead " .. dir .. "/many", "FsWrite /var/lib/dpkg" },
      texts(info.learned.effects))
  end)

  it("names the functions that it called", function()
    local _, err, info = noether.execute{
      language = "python", effects = {}, learn = true, input = noether.null,
      code = "import noether\ndef execute(_): return noether.call('lookup', 1)",
      functions = { lookup = function() return 2 end },
    }
    assert.equal("effect_denied", err.kind)
    assert.same({ "Call lookup" }, texts(info.learned.effects))
  end)

  it("is nothing where it lacks nothing", function()
    local out, err, info = noether.execute{ language = "python", input = 1, learn = true,
      code = "import hashlib, json, ssl, decimal, tempfile\ndef execute(n): return n + 1" }
    assert.is_nil(err and err.message)
    assert.equal(2, out)
    assert.same({}, info.learned.effects)
  end)

  it("is told of an executor whose stages have no loopback, too", function()
    local executor <close> = assert(noether.executor{ loopback = false })
    local _, err, info = executor:execute({ language = "python", effects = {}, code = TRY
      .. "def execute(_): return attempt(lambda: socket.create_connection(('a.example.com', 80)))",
    }, noether.null, { learn = true })
    assert.is_nil(err and err.message)
    assert.same({ "Network a.example.com:80" }, texts(info.learned.effects))
  end)
end)

describe("the option learn", function()
  local request = { language = "python", code = "def execute(n): return n", input = 1 }

  local function with(opts)
    local copy = {}
    for _, part in ipairs{ request, opts } do
      for name, value in pairs(part) do copy[name] = value end
    end
    return copy
  end

  it("is refused where it means nothing", function()
    for _, case in ipairs{
      { "yes", "expected true, or a list of effects to open" }, { 1, "expected true" },
      { { "Nonsense" }, "unknown effect" }, { { { Network = {} } }, "Network" },
    } do
      local ok, message = pcall(noether.execute, with{ learn = case[1] })
      assert.is_false(ok)
      assert.truthy(tostring(message):find(case[2], 1, true), tostring(message))
    end
  end)

  it("opens no more than the stage declares and the executor allows", function()
    local out, err = noether.execute(with{ effects = { "Process" }, learn = { "Network" } })
    assert.is_nil(out)
    assert.equal("input_invalid", err.kind)
    assert.truthy(err.message:find("does not declare Network", 1, true))
    local executor <close> = assert(noether.executor{ allow_effects = {} })
    out, err = executor:execute({ language = "python", code = request.code,
      effects = { "Process" } }, 1, { learn = { "Process" } })
    assert.is_nil(out)
    assert.equal("effect_denied", err.kind)
    out, err = executor:execute({ language = "python", code = request.code,
      effects = { "Process" } }, 1, { learn = true })
    assert.is_nil(err and err.message)
    assert.equal(1, out)
  end)

  it("needs a sandbox that can see what is lacking", function()
    for _, backend in ipairs{ "none", "landlock" } do
      local out, err = noether.execute(with{ learn = true, isolation = backend })
      assert.is_nil(out)
      assert.equal("isolation_unavailable", err.kind)
      assert.truthy(err.message:find("cannot see what a stage lacks", 1, true), err.message)
    end
  end)
end)
