-- SPDX-License-Identifier: MIT
--- A list of hosts, as stages and their callers see it.
local helper = require "spec.support.helper"
local hosts = require "spec.support.hosts"
local noether = require "noether"
local system = require "system"

local server

setup(function() server = hosts.serve() end)
teardown(function() server.stop() end)

-- What a stage of Python says that tries something: its own words, or the error's.
local TRY = [[
import errno, json, socket, ssl, struct, threading, urllib.request

def attempt(do):
    try:
        return do() or "done"
    except OSError as problem:
        code = getattr(problem, "errno", None)
        return errno.errorcode.get(code, str(problem))

def speak(place, words, size=0):
    with socket.create_connection(place, timeout=30) as sock:
        sock.sendall(words.encode() + b"\n" + b"y" * size)
        if size > 0:
            sock.shutdown(socket.SHUT_WR)
        data = b""
        while True:
            piece = sock.recv(65536)
            if not piece:
                return data
            data += piece

]]

local function run(backend, list, code, input, opts)
  local request = {
    language = "python", effects = { { Network = list } }, code = TRY .. code, timeout_secs = 60,
    input = input == nil and noether.null or input, isolation = backend,
  }
  for name, value in pairs(opts or {}) do
    request[name] = value
  end
  return noether.execute(request)
end

local function at(port)
  return ("127.0.0.1:%d"):format(port)
end

helper.over({ backends = { "native", "bwrap" } }, "a stage with a list of hosts [%s]",
  function(backend)
    it("reaches what is on it, and is told of", function()
      local out, err, info = run(backend, { at(server.port) }, [[
def execute(port):
    page = urllib.request.urlopen("http://127.0.0.1:%d/" % port, timeout=30).read().decode()
    count = int(speak(("127.0.0.1", port), "count", 3000000))
    sent = len(speak(("127.0.0.1", port), "send 5000000"))
    return [page, count, sent]
]], server.port)
      assert.is_nil(err and err.message)
      assert.same({ "hello", 3000000, 5000000 }, { out[1], out[2], out[3] })
      local reached = info.network.reached
      assert.equal(1, #reached)
      assert.same({ "127.0.0.1", server.port }, { reached[1].host, reached[1].port })
      assert.is_true(reached[1].bytes_in > 5000000)
      assert.is_true(reached[1].bytes_out > 3000000)
      assert.same({}, info.network.refused)
      local held = table.concat(info.enforced, " ")
      assert.truthy(held:find("host_list", 1, true))
      assert.truthy(held:find("net_ns", 1, true))
    end)

    it("reaches nothing else: no address, no port, no datagram, no raw socket", function()
      local other = helper.listen()
      local out, err, info = run(backend, { at(server.port) }, [[
def execute(other):
    def connect(kind, family, place):
        def do():
            with socket.socket(family, kind) as sock:
                sock.settimeout(20)
                sock.connect(place)
                sock.send(b"x")
                if kind == socket.SOCK_DGRAM:
                    sock.send(b"x")
        return attempt(do)
    stream, v4, v6 = socket.SOCK_STREAM, socket.AF_INET, socket.AF_INET6
    return [
        connect(stream, v4, ("127.0.0.1", other)), connect(stream, v6, ("::1", other)),
        connect(stream, v4, ("10.1.2.3", 80)), connect(stream, v4, ("169.254.169.254", 80)),
        connect(stream, v6, ("2606:4700::1111", 443)), connect(stream, v4, ("8.8.8.8", 53)),
        connect(socket.SOCK_DGRAM, v4, ("8.8.8.8", 53)),
        connect(socket.SOCK_DGRAM, v4, ("127.0.0.1", other)),
        attempt(lambda: socket.socket(v4, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
        connect(stream, v4, ("0.0.0.0", other)), connect(stream, v4, ("198.18.0.1", other)),
    ]
]], other.port)
      assert.is_nil(err and err.message)
      assert.same({
        "ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH", "ENETUNREACH", "ENETUNREACH", "ENETUNREACH",
        "ENETUNREACH", "ECONNREFUSED", "EPERM", "ECONNREFUSED", "ECONNREFUSED",
      }, { table.unpack(out) })
      assert.equal(0, other.accepted())
      assert.same({}, info.network.reached)
      local seen = {}
      for index, refused in ipairs(info.network.refused) do
        seen[index] = ("%s:%d %s"):format(refused.host, refused.port, refused.reason)
      end
      assert.same({ "10.1.2.3:80 unlisted", "169.254.169.254:80 unlisted",
        "[2606:4700::1111]:443 unlisted", "8.8.8.8:53 unlisted" }, seen)
      other.close()
    end)

    it("that fails for a name which is not on it names the entry that would let it", function()
      local _, err, info = run(backend, { at(server.port) }, [[
def execute(_):
    urllib.request.urlopen("http://Unlisted.Example./", timeout=30)
]])
      assert.equal("effect_denied", err.kind)
      assert.equal("Network(unlisted.example)", err.effect)
      assert.same({ host = "unlisted.example" }, err.network)
      assert.truthy(err.hint:find('{ Network = { "unlisted.example" } }', 1, true), err.hint)
      assert.same({ { host = "unlisted.example", reason = "unlisted" } }, info.network.refused)
    end)

    it("that fails for something else fails for that", function()
      local _, err, info = run(backend, { at(server.port) }, [[
def execute(_):
    attempt(lambda: urllib.request.urlopen("http://unlisted.example/", timeout=30))
    return 1 / 0
]])
      assert.equal("stage_failed", err.kind)
      assert.truthy(err.message:find("ZeroDivisionError", 1, true))
      assert.equal("unlisted.example", info.network.refused[1].host)
    end)

    local UNLISTED = {
      ["a port"] = { '("listed.example", 444)', "listed.example", 444 },
      ["a port of a name under a wildcard"] = { '("x.w.example", 444)', "x.w.example", 444 },
      ["an address"] = { '("10.1.2.3", 80)', "10.1.2.3", 80 },
      ["an address of version 6"] = { '("2606:4700::1111", 443)', "[2606:4700::1111]", 443 },
      ["a mapped address"] = { '("::ffff:10.1.2.3", 81)', "10.1.2.3", 81 },
    }
    for what, case in pairs(UNLISTED) do
      it("that fails for " .. what .. " which is not on it is told which it was", function()
        local effects = { { Network = { "listed.example:443", "*.w.example:443" } } }
        if what == "an address" then effects[2] = "Process" end
        local _, err, info = run(backend, nil, ([[
def execute(_):
    socket.create_connection(%s, timeout=30)
]]):format(case[1]), nil, { effects = effects })
        local place = ("%s:%d"):format(case[2], case[3])
        assert.equal("effect_denied", err.kind)
        assert.equal(("Network(%s)"):format(place), err.effect)
        assert.same({ host = case[2], port = case[3] }, err.network)
        assert.truthy(err.hint:find(('{ Network = { "%s" } }'):format(place), 1, true), err.hint)
        assert.same({ { host = case[2], port = case[3], reason = "unlisted" } },
          info.network.refused)
      end)
    end

    it("that fails for its own loopback is told how this machine's is listed", function()
      local _, err, info = run(backend, { "listed.example:443" }, [[
def execute(_):
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
    socket.create_connection(("127.0.0.1", 5432), timeout=30)
]])
      assert.equal("stage_failed", err.kind)
      assert.truthy(err.hint:find('{ Network = { "localhost:port" } }', 1, true), err.hint)
      assert.same({}, info.network.refused)
    end)

    it("has what a host does passed on: a reset, an end, silence", function()
      local out, err = run(backend, { at(server.port) }, [[
def execute(port):
    place = ("127.0.0.1", port)
    reset = attempt(lambda: speak(place, "reset").decode())
    with socket.create_connection(place, timeout=30) as sock:
        sock.sendall(b"silent\n")
        sock.settimeout(0.3)
        silence = attempt(lambda: sock.recv(1))
    with socket.create_connection(place, timeout=30) as sock:
        sock.sendall(b"echo\nabc")
        first = sock.recv(3).decode()
        sock.shutdown(socket.SHUT_WR)
        after = sock.recv(1).decode()
    return [reset, silence, first, after]
]], server.port)
      assert.is_nil(err and err.message)
      assert.same({ "ECONNRESET", "timed out", "abc", "" }, { table.unpack(out) })
    end)

    it("keeps its own loopback, but for the ports of the list", function()
      local out, err = run(backend, { "listed.example:8443" }, [[
def execute(_):
    def serve(host, port):
        sock = socket.socket()
        sock.bind((host, port))
        sock.listen()
        with socket.create_connection(sock.getsockname(), timeout=30):
            sock.accept()[0].close()
    out = [attempt(lambda: serve("127.0.0.1", port)) for port in (0, 8443)]
    out += [attempt(lambda: serve("0.0.0.0", port)) for port in (0, 8443)]
    names = socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET, 0, 0, socket.AI_ADDRCONFIG)
    return out + [names[0][4][0], socket.gethostbyname("localhost")]
]])
      assert.is_nil(err and err.message)
      assert.same({ "done", "done", "done", "EADDRINUSE", "127.0.0.1", "127.0.0.1" },
        { table.unpack(out) })
    end)

    it("has a name server that knows the list alone", function()
      local out, err = run(backend, { "a.example:443", "*.w.example:443" }, [[
def ask(name, kind, stream=False, flags=0x0100):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l)
    query = struct.pack(">6H", 7, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)
    if stream:
        with socket.create_connection(("127.0.0.1", 53), timeout=30) as sock:
            sock.sendall(struct.pack(">H", len(query)) + query)
            size = struct.unpack(">H", sock.recv(2))[0]
            reply = sock.recv(size)
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(30)
            sock.sendto(query, ("127.0.0.1", 53))
            reply = sock.recv(4096)
    code, count = reply[3] & 15, struct.unpack(">H", reply[6:8])[0]
    return "%d %s" % (code, socket.inet_ntoa(reply[-4:]) if count and kind == 1 else count)

def execute(_):
    return [ask("A.exAmple", 1), ask("a.example", 1, True), ask("a.example", 28),
            ask("a.example", 16), ask("b.example", 1), ask("x.w.example", 1),
            ask("y.x.w.example", 1, True), ask("x.w.example", 1), ask("w.example", 1),
            ask("evilw.example", 1), ask("localhost", 1), ask("localhost", 28),
            ask("1.0.18.198.in-addr.arpa", 12)]
]])
      assert.is_nil(err and err.message)
      assert.same({ "0 198.18.0.2", "0 198.18.0.2", "0 0", "0 0", "3 0", "0 198.18.128.2",
        "0 198.18.128.3", "0 198.18.128.2", "3 0", "3 0", "0 127.0.0.1", "0 1", "3 0" },
        { table.unpack(out) })
    end)

    it("knows names in any case, with a last dot, in their own script, and no others", function()
      local out, err, info = run(backend, { "Api.Example.:443", "xn--bcher-kva.example:443",
        "*.w.example:443" }, [[
def execute(_):
    def look(name):
        return attempt(lambda: socket.getaddrinfo(name, 443, socket.AF_INET)[0][4][0])
    known = ["API.example", "api.EXAMPLE.", "b\u00fccher.example", "x.W.example."]
    unknown = ["w.example", "evilw.example", "api.example.evil", "xapi.example", "b.example"]
    def ask_long():
        with socket.create_connection(("127.0.0.1", 53), timeout=30) as sock:
            name = (b"\x3f" + b"a" * 63) * 1000
            body = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + name + b"\0" + struct.pack(">2H", 1, 1)
            sock.sendall(struct.pack(">H", len(body)) + body)
            return "read %d" % len(sock.recv(100))
    lost = 0
    for name in unknown + ["a" * 65536, ("a" * 60 + ".") * 1000 + "example"]:
        try:
            socket.getaddrinfo(name, 443)
        except (OSError, UnicodeError):
            lost += 1
    return [look(name) for name in known] + [lost, attempt(ask_long)]
]])
      assert.is_nil(err and err.message)
      assert.same({ "198.18.0.2", "198.18.0.2", "198.18.0.3", "198.18.128.2", 7 },
        { table.unpack(out, 1, 5) })
      assert.truthy(("read 0 ECONNRESET EPIPE"):find(out[6], 1, true), out[6])
      local refused = {}
      for _, item in ipairs(info.network.refused) do
        refused[item.host] = item.reason
      end
      assert.same({ ["w.example"] = "unlisted", ["evilw.example"] = "unlisted",
        ["api.example.evil"] = "unlisted", ["xapi.example"] = "unlisted",
        ["b.example"] = "unlisted",
      }, refused)
    end)

    it("has as many connections at a time as its limit, and as many bytes", function()
      local out, err, info = run(backend, { at(server.port) }, [[
def execute(port):
    place, kept = ("127.0.0.1", port), []
    def open_one():
        sock = socket.create_connection(place, timeout=30)
        kept.append(sock)
        sock.sendall(b"echo\nx")
        return sock.recv(1).decode()
    return [attempt(open_one) for _ in range(5)]
]], server.port, { limits = { connections = 3 } })
      assert.is_nil(err and err.message)
      assert.same({ "x", "x", "x", "ECONNRESET", "ECONNRESET" }, { table.unpack(out) })
      assert.same({ { host = "127.0.0.1", port = server.port, reason = "connections" } },
        info.network.refused)
      assert.equal(3, info.limits.connections)
      out, err, info = run(backend, { at(server.port) }, [[
def execute(port):
    return [attempt(lambda: str(len(speak(("127.0.0.1", port), words))))
            for words in ("send 300000", "send 3000000", "send 3")]
]], server.port, { limits = { network_bytes = 1000000 } })
      assert.is_nil(err and err.message)
      assert.equal("300000", out[1])
      for index = 2, 3 do -- by what the program did when the reset came
        assert.truthy(("ECONNRESET EPIPE ENOTCONN"):find(out[index], 1, true), out[index])
      end
      assert.equal("network_bytes", info.network.refused[1].reason)
      assert.is_true(info.network.reached[1].bytes_in < 1500000)
    end)

    it("ends at its deadline, whatever a host does", function()
      local _, err, info = run(backend, { at(server.port) }, [[
def execute(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"silent\n")
    sock.recv(1)
]], server.port, { timeout_secs = 3 })
      assert.equal("timed_out", err.kind)
      assert.equal(1, #info.network.reached)
    end)

    it("is a plain program, too", function()
      local description = require "noether.sandbox.description".system()
      description.network, description.hosts = "list", { at(server.port) }
      local result = noether.check(noether.run({ "bash", "-c",
        ("exec 3<>/dev/tcp/127.0.0.1/%d; echo 'send 4' >&3; cat <&3"):format(server.port) },
        { isolation = backend, sandbox = description, timeout_secs = 60 }))
      assert.equal("xxxx", result.stdout)
      assert.equal(1, #result.network.reached)
    end)
  end)

describe("a list of hosts", function()
  local WRONG = {
    { {}, "a list of hosts that is not empty" }, { false, "a list of hosts that is not empty" },
    { { "https://a.example/" }, "no URL: 'https://a.example/'" },
    { { "a.example:0" }, "from 1 to 65535 in 'a.example:0'" },
    { { "a.example:70000" }, "from 1 to 65535 in 'a.example:70000'" },
    { { { host = "a.example:1", private = 1 } }, '{ host = ..., private = true }' },
    { { "b\195\188cher.example:1" }, "an A-label, xn--...), in 'b??cher.example:1'" },
    { { ("a"):rep(65536) .. ":1" }, "a name of letters" },
    { { "127.0.0.1:53" }, "the sandbox's own name server answers, in '127.0.0.1:53'" },
    { { "2130706433:80" }, "in '2130706433:80'" }, { { "198.18.0.2:80" }, "in '198.18.0.2:80'" },
  }
  it("with a mistake is refused, unrun, with a sentence that names the entry", function()
    for index, case in ipairs(WRONG) do
      local out, err, info = run("auto", case[1], "print('ran')\n")
      assert.is_nil(out)
      assert.equal("input_invalid", err.kind, "case " .. index)
      assert.truthy(err.message:find(case[2], 1, true), err.message)
      assert.is_true(#err.message < 500)
      assert.is_nil(info) -- there is not even a stage
    end
  end)

  it("is refused, unrun, where nothing can hold it", function()
    for _, backend in ipairs(helper.backends{ "landlock", "none" }) do
      local out, err, info = run(backend, { at(server.port) }, "print('ran')\n")
      assert.is_nil(out)
      assert.equal("isolation_unavailable", err.kind)
      assert.truthy(err.message:find("cannot hold a list of hosts", 1, true))
      assert.is_nil(info.result)
    end
    local ok, message = pcall(noether.run, { "true" }, { isolation = "native", sandbox = {
      network = "list" } })
    assert.is_false(ok)
    assert.truthy(message:find("goes with network", 1, true))
    local result, err = noether.run({ "/bin/true" }, { isolation = "landlock", sandbox = {
      network = "list", hosts = { "a:1" } } })
    assert.is_nil(result)
    assert.truthy(err.message:find("only native and bwrap", 1, true))
  end)

  it("is within the list that an executor allows, or is not run", function()
    local executor = noether.check(noether.executor{
      allow_effects = { { Network = { "*.example.org:443" } } },
    })
    local function effect_of(list)
      local _, err = executor:execute({ language = "python", effects = { { Network = list } },
        code = "def execute(_): return 1\n" }, noether.null)
      return err and ("%s %s"):format(err.kind, err.effect)
    end
    assert.is_nil(effect_of{ "a.example.org:443" })
    assert.equal("effect_denied Network(example.org:443)",
      effect_of{ "a.example.org:443", "example.org:443" })
    executor:close()
  end)

  it("is a part of a stage's id, and of no other's", function()
    local store = noether.store.memory()
    local function id_of(list)
      return noether.check(store:put{ name = "n", language = "python", code = "x", effects = list })
    end
    local listed = id_of{ { Network = { "B.example:443", "a.example:80" } } }
    local wire = { effect = "Network", hosts = { "a.example:80", "b.example:443" } }
    assert.equal(listed, id_of{ wire })
    assert.not_equal(listed, id_of{ "Network" })
    assert.equal(id_of{ "Network" }, id_of{ "Network", { Network = { "a.example:80" } } })
  end)
end)

-- A name to which the caller says no is not resolved anywhere.
helper.over({ backends = { "native", "bwrap" } }, "a stage whose list asks [%s]", function(backend)
  local TOUCH = [[
def touch(name, port=443):
    def do():
        with socket.create_connection((name, port), timeout=30) as sock:
            sock.sendall(b"x")
            return "read %d" % len(sock.recv(1))
    return attempt(do)

]]

  local function ask(list, code, on_network)
    return run(backend, list, TOUCH .. code, nil, { on_network = on_network })
  end

  it("is asked once for each name and port that is no entry's, and held to the answer", function()
    local asked = {}
    local out, err, info = ask({ "?:443", "?:8443", "gone.example:443", "*.w.example:443" }, [[
def execute(_):
    places = [("A.example.", 443), ("a.example", 443), ("a.example", 8443), ("b.example", 443)]
    threads = [threading.Thread(target=touch, args=place) for place in places * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [touch(name, port) for name, port in places] + [touch("a.example", 80)]
]], function(host, port)
      asked[#asked + 1] = ("%s:%d"):format(host, port)
    end)
    assert.is_nil(err and err.message)
    for index = 1, 4 do
      assert.truthy(("ECONNRESET EPIPE"):find(out[index], 1, true), out[index])
    end
    assert.equal("ECONNREFUSED", out[5])
    table.sort(asked)
    assert.same({ "a.example:443", "a.example:8443", "b.example:443" }, asked)
    assert.equal(3, #info.network.asked)
    for _, item in ipairs(info.network.asked) do
      assert.is_false(item.allowed)
    end
    local reasons = {}
    for _, item in ipairs(info.network.refused) do
      reasons[("%s:%d"):format(item.host, item.port)] = item.reason
    end
    assert.same({ ["a.example:443"] = "denied", ["a.example:8443"] = "denied",
      ["b.example:443"] = "denied", ["a.example:80"] = "unlisted" }, reasons)
    assert.same({}, info.network.reached)
  end)

  it("fails with what it was refused", function()
    local _, err = ask({ "?:443" }, [[
def execute(_):
    with socket.create_connection(("tracker.example", 443), timeout=30) as sock:
        sock.sendall(b"x")
        sock.recv(1)
]], function() return false end)
    assert.equal("effect_denied", err.kind)
    assert.equal("Network(tracker.example:443)", err.effect)
    assert.equal("on_network did not let it connect to tracker.example:443", err.hint)
    assert.same({ host = "tracker.example", port = 443 }, err.network)
  end)

  it("is asked about no address, and about no name that stands for one", function()
    local count = 0
    local out, err, info = ask({ "?:443" }, [[
def execute(_):
    def look(what):
        return attempt(lambda: socket.gethostbyaddr(what)[0])
    return [touch("10.1.2.3"), touch("2606:4700::1111"), touch("127.0.0.1"), look("10.1.2.3"),
            look("198.18.128.2")]
]], function() count = count + 1 end)
    assert.is_nil(err and err.message)
    assert.same({ "ENETUNREACH", "ENETUNREACH", "ECONNREFUSED" }, { out[1], out[2], out[3] })
    assert.equal(0, count)
    assert.equal(2, #info.network.refused)
    assert.same({}, info.network.asked)
  end)

  it("is asked about so many names, and no more", function()
    local count = 0
    local out, err, info = ask({ "?:443", "fixed.example:443" }, [[
def execute(_):
    said = [touch("n%d.example" % index) for index in range(80)]
    count = sum(word in ("ECONNRESET", "EPIPE") for word in said)
    return [count, socket.gethostbyname("fixed.example")]
]], function() count = count + 1 end)
    assert.is_nil(err and err.message)
    assert.same({ 64, "198.18.0.2" }, { out[1], out[2] })
    assert.equal(64, count)
    assert.equal(64, #info.network.refused)
  end)

  it("is ended by an answer that is none, and by what the function raises", function()
    local TOUCHES = 'def execute(_):\n    return touch("a.example")\n'
    local ok, message = pcall(ask, { "?:443" }, TOUCHES, function() return "yes" end)
    assert.is_false(ok)
    assert.truthy(message:find("on_network: the function returned a string", 1, true), message)
    ok, message = pcall(ask, { "?:443" }, TOUCHES, function() error("no judge", 0) end)
    assert.is_false(ok)
    assert.equal("no judge", message)
  end)

  it("is a plain program, and a session, too", function()
    local description = require "noether.sandbox.description".system()
    description.network, description.hosts = "list", { "?:443" }
    local asked = {}
    local function judge(host, port) asked[#asked + 1] = host .. port end
    local result = noether.check(noether.run({ "bash", "-c",
      "exec 3<>/dev/tcp/a.example/443; cat <&3; echo said" },
      { isolation = backend, sandbox = description, timeout_secs = 60, on_network = judge }))
    assert.equal("said\n", result.stdout)
    assert.same({ { host = "a.example", port = 443, allowed = false } }, result.network.asked)
    local executor = noether.check(noether.executor{ isolation = backend, on_network = judge })
    local session = noether.check(executor:session{
      language = "python", effects = { { Network = { "?:443" } } },
    })
    local said, err = session:run(TRY .. TOUCH .. 'touch("b.example")')
    assert.is_nil(err and err.message)
    assert.truthy(("ECONNRESET EPIPE"):find(said, 1, true), said)
    executor:close()
    assert.same({ "a.example443", "b.example443" }, asked)
  end)
end)

-- Whose queue is full does not say so: the connection is not answered.
helper.over({ backends = { "native", "bwrap" } }, "a host that never answers a connection [%s]",
  function(backend)
    it("is given up after ten seconds, and named", function()
      local _, err, info = run(backend, { at(server.full) }, [[
def execute(port):
    speak(("127.0.0.1", port), "echo")
]], server.full)
      assert.equal("stage_failed", err.kind)
      assert.equal(at(server.full) .. " did not answer in time", err.hint)
      assert.same({ { host = "127.0.0.1", port = server.full, reason = "connect_timed_out" } },
        info.network.refused)
    end)
  end)

describe("a list that asks", function()
  local function told(list, opts)
    local request = { language = "python", effects = { { Network = list } }, input = noether.null,
      code = "def execute(_): return 1\n" }
    for name, value in pairs(opts or {}) do
      request[name] = value
    end
    return noether.execute(request)
  end

  local function yes() return true end

  it("is refused, unrun, where there is nobody to ask, or nothing could hold it", function()
    local out, err, info = told{ "a.example:443", { host = "?:443", private = true } }
    assert.is_nil(out)
    assert.equal("input_invalid", err.kind)
    assert.truthy(err.message:find("Network(private:?:443), which asks the function on_network", 1,
      true), err.message)
    assert.truthy(err.hint:find("on_network = function(host, port)", 1, true), err.hint)
    assert.is_nil(info.result)
    for _, backend in ipairs(helper.backends{ "landlock", "none" }) do
      out, err, info = told({ "?:443" }, { on_network = yes, isolation = backend })
      assert.is_nil(out)
      assert.equal("isolation_unavailable", err.kind)
      assert.is_nil(info.result)
    end
    local ok, message = pcall(noether.run, { "true" }, { isolation = "native",
      sandbox = { network = "list", hosts = { "?:1" } } })
    assert.is_false(ok)
    assert.truthy(message:find("?:1 asks the function on_network, and none is given", 1, true),
      message)
    ok, message = pcall(told, { "?:443" }, { on_network = true })
    assert.is_false(ok)
    assert.truthy(message:find("option 'on_network': expected a function", 1, true), message)
  end)

  it("of a policy's is refused likewise", function()
    local executor = noether.check(noether.executor{
      grants = { hosts = { "?:443" } },
      policy = { isolation = { describe = function(...)
        local description = require "noether.policy.isolation".describe(...)
        description.network, description.hosts = "list", { "?:443" }
        return description
      end } },
    })
    local _, err = executor:execute({ language = "python", effects = {},
      code = "def execute(_): return 1\n" }, noether.null)
    executor:close()
    assert.equal("policy_error", err.kind)
    assert.truthy(err.message:find("?:443 asks the function on_network", 1, true), err.message)
  end)

  it("runs where it is within what an executor allows, and shows in the plan", function()
    local executor = noether.check(noether.executor{
      allow_effects = { { Network = { "?:443" } } }, on_network = yes,
    })
    local function outcome(list)
      local _, err = executor:execute({ language = "python", effects = { { Network = list } },
        code = "def execute(_): return 1\n" }, noether.null)
      return err and ("%s %s"):format(err.kind, err.effect)
    end
    assert.is_nil(outcome{ "?:443" })
    assert.equal("effect_denied Network(a.example:443)", outcome{ "?:443", "a.example:443" })
    assert.equal("effect_denied Network(private:?:443)",
      outcome{ { host = "?:443", private = true } })
    local plan = noether.check(executor:plan({ language = "python", effects = { {
      Network = { "?:443" } } }, code = "def execute(_): return 1\n" }, noether.null))
    assert.same({ "list", "?:443" }, { plan.sandbox.network, plan.sandbox.hosts[1] })
    executor:close()
  end)

  it("takes what is not answered in time for a no", function()
    local description = require "noether.sandbox.description".system()
    description.network, description.hosts = "list", { "?:443" }
    local proc = noether.check(noether.spawn({ "bash", "-c",
      "exec 3<>/dev/tcp/a.example/443; cat <&3" }, {
      isolation = "native", sandbox = description, timeout_secs = 120, on_network = yes }))
    system.sleep(11) -- nobody steps it
    local result = noether.check(proc:wait(60))
    assert.same({ { host = "a.example", port = 443, reason = "unanswered" } },
      result.network.refused)
    assert.same({}, result.network.reached)
    proc:close()
  end)
end)

-- In a world of its own, whose resolver is ours.
local over_hosts = helper.can_make_hosts() and helper.over or function() end

over_hosts({ backends = { "native", "bwrap" } }, "a name of the list [%s]", function(backend)
  local HOST = [[
local noether, json = require "noether", require "noether.json"
local port, backend, list, code = arg[1], arg[2], json.decode(arg[3]), arg[4]
local out, err, info = noether.execute{
  language = "python", effects = { { Network = list } }, code = code, timeout_secs = 60,
  input = tonumber(port), isolation = backend, on_network = arg[5] and load("return " .. arg[5])(),
}
print((json.encode{ out = out, kind = err and err.kind, message = err and err.message,
  hint = err and err.hint, effect = err and err.effect, network = info.network or json.null }))
]]

  local function world(getent, list, code, judge)
    local json = require "noether.json"
    return hosts.world(getent, HOST, tostring(server.port), backend, json.encode(json.array(list)),
      TRY .. code, judge)
  end

  local GET = [[
def execute(port):
    def get(name):
        return lambda: urllib.request.urlopen("http://%s:%d/" % (name, port), timeout=30).read(
            ).decode()
    return [attempt(get(name)) for name in NAMES]
]]

  it("leads where the machine's resolver says, if it may; once", function()
    local list = {}
    for index, name in ipairs{ "db.test", "*.w.test" } do
      list[index] = { host = ("%s:%d"):format(name, server.port), private = true }
    end
    local said, dir = world('test "$1" = ahosts || exit 3\necho "$2" >>@DIR@/asked\n'
      .. 'case $2 in *.test) echo "127.0.0.1 STREAM x"; echo "127.0.0.1 DGRAM";; esac\n', list,
      'NAMES = ["db.test", "DB.test.", "a.w.test", "b.a.w.test", "w.test", "evilw.test"]\n' .. GET)
    assert.is_nil(said.message)
    for index = 1, 4 do
      assert.equal("hello", said.out[index])
    end
    for index = 5, 6 do
      assert.truthy(said.out[index]:find("not known", 1, true))
    end
    assert.equal(3, #said.network.reached)
    assert.equal("db.test\na.w.test\nb.a.w.test\n", helper.read(dir .. "/asked"))
    assert.equal(2, #said.network.refused)
  end)

  local PLACES = {
    "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.169.254",
    "0.0.0.0", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "::127.0.0.1", "fd00:ec2::254", "198.18.0.2", "2130706433", "0x7f.1",
  }

  it("that leads to this machine, its network or a link's is not let through", function()
    local list, names, cases = {}, {}, {}
    for index, place in ipairs(PLACES) do
      names[index] = ("n%d.test"):format(index)
      list[index] = ("%s:%d"):format(names[index], server.port)
      cases[index] = ("%s) echo '%s STREAM x';;"):format(names[index], place)
    end
    local said = world("case $2 in " .. table.concat(cases, "\n") .. " esac\n", list,
      ('NAMES = "%s".split()\n'):format(table.concat(names, " ")) .. GET)
    assert.is_nil(said.message)
    assert.same({}, said.network.reached)
    local reasons = {}
    for _, refused in ipairs(said.network.refused) do
      reasons[refused.host] = refused.reason
    end
    for index, place in ipairs(PLACES) do
      assert.truthy(said.out[index]:find "reset" or said.out[index]:find "RESET", said.out[index])
      local numeric = place == "2130706433" or place == "0x7f.1"
      assert.equal(numeric and "not_found" or "private_address", reasons[names[index]], place)
    end
  end)

  it("that answers differently the second time, or two ways at once, gains nothing", function()
    local list = { ("a.test:%d"):format(server.port), ("b.test:%d"):format(server.port) }
    local said, dir = world([[
echo "$2" >>@DIR@/asked
case "$2 $(wc -l <@DIR@/asked)" in
  "a.test 1") echo "3fff::1 STREAM x";; # nobody's, and public
  "b.test "*) echo "3fff::1 STREAM x"; echo "127.0.0.1 STREAM x";;
  *) echo "127.0.0.1 STREAM x";;
esac
]], list, 'NAMES = ["a.test", "a.test", "a.test", "b.test", "b.test"]\n' .. GET)
    assert.is_nil(said.message)
    for index = 1, 5 do
      assert.not_equal("hello", said.out[index])
    end
    assert.same({}, said.network.reached)
    assert.equal("a.test\nb.test\n", helper.read(dir .. "/asked"))
  end)

  it("that leads nowhere, or cannot be resolved here, is named in the hint", function()
    local list = { "gone.test:443" }
    local code = 'def execute(_):\n    speak(("gone.test", 443), "x")\n'
    local said = world("exit 2\n", list, code)
    assert.equal("stage_failed", said.kind)
    assert.equal("gone.test:443: there is no such name", said.hint)
    said = world("exit 127\n", list, code)
    assert.equal("gone.test:443: this machine has no getent(1)", said.hint)
    said = world("echo 127.0.0.1\n", list, code)
    assert.equal("effect_denied", said.kind)
    assert.equal("Network(private:gone.test:443)", said.effect)
    assert.truthy(said.hint:find('{ host = "gone.test:443", private = true }', 1, true), said.hint)
  end)

  it("that the caller says yes to is let through; where it leads is judged all the same", function()
    local list = { { host = ("?:%d"):format(server.port), private = true }, "open.test:443" }
    local judge = [[function(host) return host ~= "no.test" end]]
    local said, dir = world('echo "$2" >>@DIR@/asked\necho "127.0.0.1 STREAM x"\n', list,
      'NAMES = ["a.test", "A.test.", "no.test", "b.test", "no.test"]\n' .. GET, judge)
    assert.is_nil(said.message)
    for index, name in ipairs{ "a", "A", "no", "b", "no" } do
      local refused = said.out[index]:find "eset" or said.out[index]:find "RESET"
      assert.equal(name ~= "no", said.out[index] == "hello", said.out[index])
      assert.equal(name == "no", refused ~= nil)
    end
    assert.equal("a.test\nb.test\n", helper.read(dir .. "/asked"))
    assert.equal(2, #said.network.reached)
    local asked = {}
    for index, item in ipairs(said.network.asked) do
      asked[index] = ("%s:%d %s"):format(item.host, item.port - server.port, tostring(item.allowed))
    end
    assert.same({ "a.test:0 true", "no.test:0 false", "b.test:0 true" }, asked)
    assert.equal("denied", said.network.refused[1].reason)
    said = world('echo "127.0.0.1 STREAM x"\n', { ("?:%d"):format(server.port) },
      'NAMES = ["a.test"]\n' .. GET, judge)
    assert.same({}, said.network.reached)
    assert.equal("private_address", said.network.refused[1].reason)
    assert.is_true(said.network.asked[1].allowed)
  end)

  it("is the list's own first: what an entry names is not asked about, nor led further", function()
    local list = { ("a.test:%d"):format(server.port), ("*.w.test:%d"):format(server.port),
      { host = ("?:%d"):format(server.port), private = true } }
    local said = world('echo "127.0.0.1 STREAM x"\n', list,
      'NAMES = ["a.test", "b.w.test", "w.test"]\n' .. GET, "function() return true end")
    assert.equal("hello", said.out[3])
    assert.same({ { host = "w.test", port = server.port, allowed = true } }, said.network.asked)
    for index = 1, 2 do -- only the entry that asks lets names lead here
      assert.equal("private_address", said.network.refused[index].reason)
    end
  end)

  it("of a wildcard is one of so many, if 100,000 are asked for", function()
    local said = world("echo 127.0.0.1\n", { "*.w.test:443", "fixed.w.test:443" }, [[
def execute(_):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", 53))
    udp.settimeout(30)
    head, tail = struct.pack(">6H", 7, 256, 1, 0, 0, 0), b"\1w\4test\0" + struct.pack(">2H", 1, 1)
    found = 0
    for base in range(0, 100000, 50):
        for index in range(base, base + 50):
            label = b"n%d" % index
            udp.send(head + bytes([len(label)]) + label + tail)
        for _ in range(50):
            found += udp.recv(512)[3] & 15 == 0
    return [found, socket.gethostbyname("fixed.w.test"), socket.gethostbyname("n0.w.test")]
]])
    assert.is_nil(said.message)
    assert.same({ 64, "198.18.0.2", "198.18.128.2" }, { table.unpack(said.out) })
    assert.equal("names", said.network.refused[1].reason)
    assert.equal(64, #said.network.refused)
  end)

  it("of a wildcard is one of so many", function()
    local said = world("echo 127.0.0.1\n", { "*.w.test:443", "fixed.w.test:443" }, [[
def execute(_):
    found = 0
    for index in range(3000):
        try:
            socket.gethostbyname("n%d.w.test" % index)
            found += 1
        except OSError:
            if index > 100:
                break
    return [found, socket.gethostbyname("fixed.w.test"), attempt(
        lambda: socket.gethostbyname("n0.w.test"))]
]])
    assert.same({ 64, "198.18.0.2", "198.18.128.2" }, { table.unpack(said.out) })
    assert.equal("names", said.network.refused[1].reason)
  end)
end)
