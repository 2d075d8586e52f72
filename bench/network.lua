-- SPDX-License-Identifier: MIT
--- What a list of hosts costs: the set-up of a sandbox against one with no network at all, and the
-- way through the relay against this machine's loopback.
local descriptions = require "noether.sandbox.description"
local isolation = require "noether.isolation"
local measure = require "measure"
local process = require "noether.process"
local sys = require "noether.sys"

local M = {}

local TRUE = "/usr/bin/true"
local PYTHON = "/usr/bin/python3"
local SERVER = "spec/support/hosts_server.py"

local function names(count, pattern)
  local list = {}
  for i = 1, count do
    list[i] = (pattern or "h%d.example:443"):format(i)
  end
  return list
end

local function options(network, hosts)
  local description = descriptions.system()
  description.network, description.hosts = network, hosts
  if network == "host" then table.insert(description.ro_binds, "/etc/hosts") end
  local chosen = assert(isolation.choose("native", process.launch, { path = "/usr/bin" }))
  return { sandbox = descriptions.of_backend(chosen, description), timeout_secs = 120,
    limits = { connections = 2000 } }
end

local function set_up(opts)
  return function()
    return measure.time(function()
      local proc = assert(process.launch({ TRUE }, opts))
      assert(assert(proc:wait()).ok)
      proc:close()
    end)
  end
end

local function set_up_rows(rounds)
  local summaries = measure.take_turns({
    { name = "none", run = set_up(options("none")) },
    { name = "1", run = set_up(options("list", names(1))) },
    { name = "10", run = set_up(options("list", names(10))) },
    { name = "100", run = set_up(options("list", names(100))) },
    { name = "wildcard", run = set_up(options("list", { "*.example:443" })) },
  }, rounds)
  return {
    measure.row("no network, native, direct", summaries.none, summaries.none),
    measure.row("  a list of 1 name", summaries["1"], summaries.none),
    measure.row("  a list of 10 names", summaries["10"], summaries.none, 1.15),
    measure.row("  a list of 100 names", summaries["100"], summaries.none),
    measure.row("  a list of a wildcard", summaries.wildcard, summaries.none),
  }
end

-- Prints seconds: what connecting and one byte take, a line each; then what many bytes take, in and
-- out.
local CLIENT = [[
import socket, sys, time
port, rounds, size = map(int, sys.argv[1:])
def speak(words):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(words.encode() + b"\n")
    return sock
for _ in range(rounds):
    before = time.perf_counter()
    sock = speak("send 1")
    sock.recv(1)
    print("first", time.perf_counter() - before)
    sock.close()
room = bytearray(1 << 20)
for _ in range(5):
    before = time.perf_counter()
    sock = speak("send %d" % size)
    left = size
    while left > 0:
        left -= sock.recv_into(room)
    print("bulk", time.perf_counter() - before)
    sock.close()
    before = time.perf_counter()
    sock = speak("count")
    left = size
    while left > 0:
        left -= sock.send(memoryview(room)[:left])
    sock.shutdown(1)
    sock.recv(100)
    print("out", time.perf_counter() - before)
    sock.close()
]]

local function client(opts, port, rounds, samples)
  local proc = assert(process.launch({ PYTHON, "-c", CLIENT, tostring(port), tostring(rounds),
    tostring(64 * 1024 * 1024) }, opts))
  local result = assert(proc:wait())
  proc:close()
  assert(result.ok, result.stderr)
  for what, secs in result.stdout:gmatch "(%a+) ([%d.e-]+)" do
    samples[what] = samples[what] or {}
    table.insert(samples[what], tonumber(secs))
  end
end

-- Connections of a program to itself: what is watched is asked about.
local OWN = [[
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
place = listener.getsockname()
for _ in range(int(sys.argv[1])):
    sock = socket.socket()
    before = time.perf_counter()
    sock.connect(place)
    print(time.perf_counter() - before)
    sock.close()
    listener.accept()[0].close()
]]

local function own(opts, rounds, samples)
  local proc = assert(process.launch({ PYTHON, "-c", OWN, tostring(rounds) }, opts))
  local result = assert(proc:wait())
  proc:close()
  assert(result.ok, result.stderr)
  for secs in result.stdout:gmatch "%S+" do
    table.insert(samples, tonumber(secs))
  end
end

local function watch_rows(rounds)
  local plain, watched = {}, {}
  for _ = 1, 6 do
    own(options("none"), rounds, plain)
    own(options("list", names(1)), rounds, watched)
  end
  local floor = measure.summary(plain)
  return {
    measure.row("connect, no list", floor, floor),
    measure.row("connect, watched", measure.summary(watched), floor, 3),
  }
end

local function traffic_rows(port, rounds)
  local direct, relayed = {}, {}
  for _ = 1, 6 do
    client(options("host"), port, rounds, direct)
    client(options("list", { "127.0.0.1:" .. port }), port, rounds, relayed)
  end
  local rows = {}
  local names_of = { first = "connect and first byte", bulk = "64 MiB", out = "64 MiB out" }
  for _, what in ipairs{ "first", "bulk", "out" } do
    local floor = measure.summary(direct[what])
    local name = names_of[what]
    rows[#rows + 1] = measure.row(name .. ", direct", floor, floor)
    rows[#rows + 1] = measure.row(name .. ", through the relay", measure.summary(relayed[what]),
      floor, what == "first" and 2 or 1.35)
  end
  return rows
end

local HOLD = [[
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
kept = []
for _ in range(1000):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"echo\nx")
    assert sock.recv(1) == b"x"
    kept.append(sock)
print("held", flush=True)
kept[0].recv(1)
]]

local function children(pid)
  return (sys.read_file(("/proc/%d/task/%d/children"):format(pid, pid), 65536) or ""):gmatch "%d+"
end

local function memory_row(port)
  local said = ""
  local opts = options("list", { "127.0.0.1:" .. port })
  opts.on_stdout = function(text) said = said .. text end
  opts.limits.open_files = 4096
  local proc = assert(process.launch({ PYTHON, "-c", HOLD, tostring(port) }, opts))
  while said == "" and not proc:step(1) do end
  assert(said == "held\n", said)
  local bytes
  for child in children(proc:pid()) do
    if sys.read_file("/proc/" .. child .. "/comm", 64) == "noether-relay\n" then
      local status = sys.read_file("/proc/" .. child .. "/status", 65536)
      bytes = tonumber(status:match "RssAnon:%s*(%d+)") * 1024
    end
  end
  proc:cancel()
  proc:wait(30)
  proc:close()
  return { name = "the relay's memory, 1,000 connections", p50 = 0, p95 = 0, p99 = 0,
    bytes = bytes, max_bytes = 2 * 2 ^ 20 }
end

local function with_server(fn)
  local said = ""
  local server = assert(process.launch({ PYTHON, SERVER }, {
    stdin = true, on_stdout = function(text) said = said .. text end,
  }))
  while not said:find "\n" and not server:step(1) do end
  local rows = fn(tonumber(said:match "%d+"))
  server:cancel()
  server:wait(30)
  server:close()
  return rows
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rounds = opts.rounds or 400
  local rows = set_up_rows(rounds)
  return with_server(function(port)
    local traffic = traffic_rows(port, math.max(rounds // 8, 10))
    table.move(traffic, 1, #traffic, #rows + 1, rows)
    local watched = watch_rows(rounds)
    table.move(watched, 1, #watched, #rows + 1, rows)
    rows[#rows + 1] = memory_row(port)
    return rows
  end)
end

return M
