-- SPDX-License-Identifier: MIT
--- Ways round a list of hosts, tried from inside; and what the relay could do, were it taken over.
local cage = require "spec.escape.cage"
local helper = require "spec.support.helper"
local hosts = require "spec.support.hosts"
local process = require "noether.process"
local sys = require "noether.sys"

local server

setup(function()
  cage.build()
  server = hosts.serve()
end)
teardown(function() server.stop() end)

local COMMON = [[
import errno, os, random, socket, struct, sys
port, other = int(sys.argv[1]), int(sys.argv[2])
random.seed(7)

def attempt(do):
    try:
        return do() or "done"
    except OSError as problem:
        return errno.errorcode.get(problem.errno, type(problem).__name__)

def speak(words, place=None):
    with socket.create_connection(place or ("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(words.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        return sock.recv(100).decode()

]]

local function launch(backend, code, opts)
  opts = opts or {}
  local description = backend ~= "none" and cage.describe(backend) or nil
  if description and not opts.all then
    description.network, description.hosts = "list", opts.hosts
      or { ("127.0.0.1:%d"):format(server.port), "listed.example:8443", "*.wild.example:443" }
  end
  local proc
  proc = assert(process.launch({ "/usr/bin/python3", "-c", COMMON .. code, tostring(server.port),
    tostring(opts.other or 0) }, {
    sandbox = description, env = { PATH = "/usr/bin:/bin" }, timeout_secs = 100,
    limits = opts.limits, stdin = opts.stdin,
    on_stdout = function(text) proc.said = proc.said .. text end,
  }))
  proc.said = ""
  return proc
end

local function run(backend, code, opts)
  local proc = launch(backend, code, opts)
  local result = assert(proc:wait())
  proc:close()
  assert(result.exit_code == 0, result.stdout .. result.stderr .. result.reason)
  return result
end

-- What stands at a door, and stays there: until then there is no relay.
local HOLD = [[
sock = socket.create_connection(("127.0.0.1", port), timeout=60)
sock.sendall(b"echo\nx")
sock.recv(1)
print("there", flush=True)
sock.recv(1)
]]

local function child_of(pid, name)
  for child in (sys.read_file(("/proc/%d/task/%d/children"):format(pid, pid), 65536) or "")
    :gmatch "%d+" do
    local comm = sys.read_file(("/proc/%s/comm"):format(child), 64)
    if comm == name .. "\n" then return tonumber(child) end
  end
end

helper.over({ backends = { "native", "bwrap" } }, "a list of hosts [%s]", function(backend)
  it("is not left in 10,000 tries, by any address, port or name", function()
    local other = helper.listen()
    local code = [[
tries = reached = 0
def connect(family, place):
    global tries, reached
    tries += 1
    with socket.socket(family) as sock:
        sock.settimeout(30)
        if attempt(lambda: sock.connect(place)) == "done":
            reached += 1
            sock.close()

own = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "198.18.0.1", "198.18.0.2", "198.18.128.2",
       "10.0.0.1", "169.254.169.254", "192.168.0.1", "172.17.0.1", "100.64.0.1"]
own6 = ["::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fd00:ec2::254",
        "64:ff9b::7f00:1", "2002:7f00:1::", "fd6e:6f65:7468::1"]
for _ in range(COUNT):
    for place in own:
        connect(socket.AF_INET, (place, other))
    for place in own6:
        connect(socket.AF_INET6, (place, other))
    connect(socket.AF_INET, (socket.inet_ntoa(random.randbytes(4)), other))
    connect(socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, random.randbytes(16)), other))
    connect(socket.AF_INET, ("127.0.0.1", random.choice([p for p in range(1, 65536)
                                                         if p not in (53, port)])))
names = resolved = 0
for index in range(COUNT):
    for name in ("evilwild.example", "wild.example", "listed.example.evil", "xlisted.example",
                 "a.listed.example", "localhost.evil", "%d.test" % index, "a" * 63 + ".test",
                 "metadata.google.internal"):
        names += 1
        if attempt(lambda: socket.gethostbyname(name) and None) == "done":
            resolved += 1
print(tries, reached, names, resolved)
]]
    local result = run(backend, code:gsub("COUNT", "320"), { other = other.port })
    assert.equal(0, other.accepted())
    local tries, reached, names, resolved = result.stdout:match "(%d+) (%d+) (%d+) (%d+)"
    assert.equal("0 0", reached .. " " .. resolved)
    assert.is_true(tonumber(tries) + tonumber(names) >= 10000)
    assert.same({}, result.network.reached)
    -- The same tries reach it where there is no list.
    local outside = run("none", [[print(attempt(lambda: socket.create_connection(
        ("127.0.0.1", other)).close()))]], { other = other.port })
    assert.equal("done\n", outside.stdout)
    assert.is_true(helper.poll(function() return other.accepted() == 1 end))
    other.close()
  end)

  it("holds, and its doors stay open, whatever the name server and they are sent", function()
    local result = run(backend, [[
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
good = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\6listed\7example\0" + struct.pack(">2H", 1, 1)
for index in range(4000):
    data = bytearray(good if index % 2 else random.randbytes(random.randrange(600)))
    for _ in range(index % 7):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    sent += attempt(lambda: udp.sendto(data, ("127.0.0.1", 53)) and None) == "done"
for data in (b"", b"\0" * 60000, good[:12] + b"\xff" * 5000, good[:12] + b"\x3f" + b"a" * 63):
    attempt(lambda: udp.sendto(data, ("127.0.0.1", 53)) and None)
streams = []
for index in range(60):
    stream = socket.create_connection(("127.0.0.1", 53))
    data = random.choice([struct.pack(">H", 65535) + b"x" * 70000, b"\0", b"\0\0" * 500,
                          struct.pack(">H", len(good)) + good[:9], random.randbytes(3000)])
    attempt(lambda: stream.sendall(data))
    streams.append(stream)
udp.close()
print(sent, socket.gethostbyname("listed.example"), speak("echo"), end="")
with socket.create_connection(("127.0.0.1", port)) as sock:
    sock.sendall(b"echo\nthere")
    print(sock.recv(5).decode())
]])
    assert.equal("4000 198.18.0.2 there\n", result.stdout)
  end)

  it("outlives 10,000 connections, of which only so many are held", function()
    local result = run(backend, [[
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
counts = {}
kept = []
for index in range(10000):
    def do():
        sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        sock.sendall(b"echo\nx")
        if sock.recv(1) != b"x":
            return "ended"
        kept.append(sock)
        return "open"
    said = attempt(do)
    if said in ("ECONNRESET", "EPIPE"):
        said = "reset"
    counts[said] = counts.get(said, 0) + 1
for sock in kept:
    sock.close()
ended = False
while not ended:
    ended = attempt(do) == "open"
print(counts.get("open"), counts.get("reset"), ended)
]], { limits = { connections = 40 } })
    assert.equal("40 9960 True\n", result.stdout)
    assert.equal("connections", result.network.refused[1].reason)
  end)

  it("has no relay before somebody is at a door, and one from then on", function()
    local proc = launch(backend, [[
print("begun", flush=True)
sys.stdin.read(1)
print(socket.gethostbyname("listed.example"), flush=True)
sys.stdin.read(1)
]], { stdin = true })
    assert.is_true(helper.poll(function()
      proc:step()
      return (proc.said or ""):find("begun", 1, true) ~= nil
    end, 60))
    assert.is_nil(child_of(proc:pid(), "noether-relay"))
    proc:write("x")
    assert.is_true(helper.poll(function()
      proc:step()
      return proc.said:find("198.18.0.2", 1, true) ~= nil
    end, 60))
    assert.is_number(child_of(proc:pid(), "noether-relay"))
    cage.stop(proc)
  end)

  it("keeps other runs' doors from it", function()
    local proc = launch(backend, HOLD)
    assert.is_true(helper.poll(function()
      proc:step()
      return child_of(proc:pid(), "noether-relay") ~= nil
    end, 60))
    local result = run(backend, [[
said = [attempt(lambda: socket.create_connection(place, timeout=60).close())
        for place in (("127.0.0.1", port), ("198.18.0.2", 8443), ("198.18.0.1", port))]
print(said, attempt(lambda: socket.gethostbyname("listed.example") and None))
]], { hosts = { "other.example:1" } })
    assert.equal("['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'] gaierror\n", result.stdout)
    cage.stop(proc)
  end)

  it("keeps this machine's abstract sockets from it", function()
    local name = ("\\0noether-%d"):format(server.port)
    local code = ([[
print(attempt(lambda: socket.socket(socket.AF_UNIX).connect("%s")))
]]):format(name)
    local listener = launch("none", ([[
listener = socket.socket(socket.AF_UNIX)
listener.bind("%s")
listener.listen()
print("there", flush=True)
listener.accept()
print("reached", flush=True)
]]):format(name))
    assert.is_true(helper.poll(function()
      listener:step()
      return listener.said:find("there", 1, true) ~= nil
    end, 60))
    assert.equal("ECONNREFUSED\n", run(backend, code).stdout)
    assert.equal("done\n", run("none", code).stdout)
    assert.is_true(helper.poll(function()
      listener:step()
      return listener.said == "there\nreached\n"
    end, 60))
    cage.stop(listener)
  end)

  it("holds no memory for what a host sends for ever and nobody reads", function()
    local proc = launch(backend, [[
kept = []
for _ in range(40):
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(b"send 1000000000000\n")
    sock.recv(1)
    kept.append(sock)
again = 0
for sock in kept[:4]:
    while again < 20000000:
        again += len(sock.recv(1 << 20))
sock = socket.create_connection(("127.0.0.1", port), timeout=60)
sock.sendall(b"echo\nthere")
print(sock.recv(5).decode(), flush=True)
sock.recv(1)
]])
    assert.is_true(helper.poll(function()
      proc:step()
      return proc.said:find("there", 1, true) ~= nil
    end, 90))
    local relay = child_of(proc:pid(), "noether-relay")
    local status = sys.read_file(("/proc/%d/status"):format(relay), 65536)
    assert.is_true(tonumber(status:match "RssAnon:%s*(%d+)") < 2048, status)
    if helper.is_root() then -- it shows its descriptors to nobody else
      assert.is_true(#helper.list(("/proc/%d/fd"):format(relay)) < 400)
    end
    cage.stop(proc)
  end)

  it("shows nothing of the relay: no process, no socket, no descriptor", function()
    local result = run(backend, [[
names, sockets = set(), 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    names.add(open("/proc/%s/comm" % pid).read().strip())
    try:
        for fd in os.listdir("/proc/%s/fd" % pid):
            sockets += os.readlink("/proc/%s/fd/%s" % (pid, fd)).startswith("socket:")
    except OSError:
        pass
own = socket.socket(socket.AF_UNIX)
names = {name for name in names if not name.startswith("python3")}
print(sorted(names), sockets, attempt(lambda: own.connect("\0noether")),
      attempt(lambda: socket.create_server(("127.0.0.1", 53)).close()),
      attempt(lambda: socket.create_server(("127.0.0.1", port)).close()),
      attempt(lambda: socket.create_server(("0.0.0.0", 8443)).close()))
]])
    assert.equal("['noether-jail'] 0 ECONNREFUSED EACCES EADDRINUSE EADDRINUSE\n", result.stdout)
  end)

  it("has a relay that may do nothing but carry, and dies with the run", function()
    local proc = launch(backend, HOLD)
    local relay
    assert.is_true(helper.poll(function()
      proc:step()
      relay = child_of(proc:pid(), "noether-relay")
      local status = relay and sys.read_file(("/proc/%d/status"):format(relay), 65536) or ""
      return status:match "\nSeccomp:%s+2\n" ~= nil
    end, 60))
    local status = sys.read_file(("/proc/%d/status"):format(relay), 65536)
    assert.equal("1", status:match "\nNoNewPrivs:%s+(%d)")
    for _, name in ipairs{ "CapInh", "CapPrm", "CapEff", "CapAmb" } do
      assert.equal("0000000000000000", status:match("\n" .. name .. ":%s+(%x+)"))
    end
    for id in status:match "\nUid:%s+([%d\t]+)":gmatch "%d+" do
      assert.not_equal("0", id)
    end
    local resolver = helper.poll(function() return child_of(relay, "noether-lookup") end, 60)
    assert.is_number(resolver)
    cage.stop(proc)
    assert.is_true(helper.poll(function()
      return not cage.alive(relay) and not cage.alive(resolver)
    end, 60))
  end)

  it("is gone with its supervisor, however that ends", function()
    local proc = launch(backend, HOLD)
    local relay
    assert.is_true(helper.poll(function()
      proc:step()
      relay = child_of(proc:pid(), "noether-relay")
      return relay ~= nil and child_of(relay, "noether-lookup") ~= nil
    end, 60))
    local resolver = child_of(relay, "noether-lookup")
    helper.shell("kill -9 " .. proc:pid())
    proc:wait(60)
    proc:close()
    assert.is_true(helper.poll(function()
      return not cage.alive(relay) and not cage.alive(resolver)
    end, 60))
  end)

  it("is gone with its host", function()
    local said = ""
    local script = helper.write(cage.dir .. "/host.lua", ([[
local noether = require "noether"
local description = require "noether.sandbox.description".system()
description.network, description.hosts = "list", { "a.example:443" }
local proc = noether.check(noether.spawn({ "sh", "-c", "getent hosts a.example; sleep 300" }, {
  isolation = "%s", sandbox = description, timeout_secs = 300 }))
print(proc:pid())
io.stdout:flush()
proc:wait()
]]):format(backend))
    local host = assert(process.launch({ helper.lua, script }, {
      env = { PATH = os.getenv "PATH", TMPDIR = cage.dir, HOME = cage.dir }, timeout_secs = 300,
      supervise = false, on_stdout = function(text) said = said .. text end,
    }))
    local relay, resolver
    assert.is_true(helper.poll(function()
      host:step(0.05)
      local supervisor = tonumber(said:match "^(%d+)\n")
      relay = supervisor and child_of(supervisor, "noether-relay")
      resolver = relay and child_of(relay, "noether-lookup")
      return resolver ~= nil
    end, 60))
    helper.shell("kill -9 " .. host:pid())
    host:wait(60)
    host:close()
    assert.is_true(helper.poll(function()
      return not cage.alive(relay) and not cage.alive(resolver)
    end, 60))
  end)
end)
