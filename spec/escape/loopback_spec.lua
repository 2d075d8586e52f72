-- SPDX-License-Identifier: MIT
--- Without a loopback (`loopback = false`): what sockets there are, and what runs that share the
-- empty network namespace have of each other, alive together and one after the other.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local core = require "noether.core"
local sys = require "noether.sys"

setup(cage.build)

-- What a shell prints in there.
local function shell(backend, code, opts)
  local proc = assert(cage.launch(backend, { "/bin/sh", "-c", code }, opts))
  local result = assert(proc:wait())
  proc:close()
  assert(result.ok, result.stdout .. result.stderr)
  return result.stdout
end

local WITHOUT = { loopback = false }

local function namespace(backend, opts)
  return shell(backend, "readlink /proc/self/ns/net", opts)
end

cage.each("without a loopback", function(backend)
  it("no socket can be made, of any family", function()
    local dir, name = helper.tmpdir(), cage.mark()
    local log = dir .. "/unix"
    local serving = cage.start("none", { "serve_unix=" .. log, "nap=60000" })
    assert(helper.poll(function() return sys.stat(log) and helper.read(log):match "^%d+\n" end))
    sys.chmod(dir, tonumber("755", 8))
    local words = cage.concat({
      "tcp=22", "udp=53", "abstract=" .. name, "abstract_listen=" .. name,
      "unix=" .. log .. ".socket", "pair_datagram=" .. log .. ".socket",
      "pair_raw=" .. log .. ".socket",
    }, cage.each_of("socket", {
      "1,1,0", "2,1,0", "2,2,0", "2,3,1", "10,1,0", "16,3,0", "17,3,3", "40,1,0", "38,5,0",
      "0x100000001,1,0",
    }))
    local report = cage.run(backend, cage.concat(words, { "families" }),
      { loopback = false, ro = { dir } })
    report:refused(words)
    assert.equal("", report:value "families")
    cage.stop(serving)
  end)

  it("nothing has a name by which others could meet it", function()
    local name = cage.mark()
    local words = { "named_stream=" .. name, "named_seqpacket=" .. name, "named_datagram=" .. name,
      "auto_name" }
    cage.run("none", words):done(words)
    cage.run(backend, words, WITHOUT):refused(words)
  end)

  it("there are connected pairs all the same", function()
    cage.run(backend, { "hold_pairs=3" }, WITHOUT):done{ "hold_pairs=3" }
  end)

  it("a network namespace is no more its own to change than before", function()
    local words = { "unshare=0x40000000", "clone=0x40000000", "setns=/proc/self/ns/net" }
    cage.run(backend, words, WITHOUT):refused(words)
  end)
end)

for _, backend in ipairs(helper.backends{ "native", "bwrap" }) do
  describe(("the network namespace without a loopback [%s]"):format(backend), function()
    it("is not the host's, and nothing was ever sent in it", function()
      local own = sys.readlink "/proc/self/ns/net"
      assert.not_equal(own .. "\n", namespace(backend, WITHOUT))
      local devices = shell(backend, "cat /proc/net/dev /proc/net/route", WITHOUT)
      for name, counts in devices:gmatch "([%w]+):([ %d]+)\n" do
        assert.truthy(counts:match "^[ 0]+$", name .. ": " .. counts)
      end
      if backend == "bwrap" then return end -- which brings its loopback up
      assert.equal("", shell(backend, "cat /proc/net/if_inet6", WITHOUT))
    end)
  end)
end

local COUNTERS = "cd /proc/net; for f in snmp snmp6 netstat dev sockstat6 tcp tcp6 udp "
  .. "udp6 raw packet netlink unix route arp igmp ptype; do echo $f; cat $f; done; "
  .. "head -n 1 sockstat; cat /proc/sys/net/core/somaxconn; "
  -- Beside how many there are stands how much memory those of the whole machine have.
  .. "while read -r name size count rest; do echo $name $count; done <protocols"

local function counters() return shell("native", COUNTERS, WITHOUT) end

if helper.has "native" and cage.kernel(6, 12) then
  describe("runs that share the empty network namespace", function()
    it("are those of one host that have no loopback", function()
      local shared = namespace("native", WITHOUT)
      assert.equal(shared, namespace("native", WITHOUT))
      assert.not_equal(shared, namespace("native", {}))
      local of_another = cage.host(([[
local process = require "noether.process"
local proc = assert(process.launch({ "/bin/readlink", "/proc/self/ns/net" }, { sandbox = %s }))
io.write(proc:wait().stdout)
]]):format(cage.literal(cage.describe("native", WITHOUT))))
      local result = assert(of_another:wait())
      of_another:close()
      assert.truthy(result.stdout:match "^net:%[%d+%]\n$", result.stderr)
      assert.not_equal(shared, result.stdout)
    end)

    it("one after the other find nothing that the one before left or counted", function()
      namespace("native", WITHOUT)
      local before = counters()
      local name = cage.mark()
      cage.run("native", {
        "tcp=80", "udp=53", "abstract_listen=" .. name, "named_stream=" .. name, "auto_name",
        "socket=16,3,0", "hold_pairs=50",
      }, WITHOUT)
      assert.equal(before, counters())
    end)

    it("alive together have no port, no name and no message of each other's", function()
      local dir, name = helper.tmpdir(), cage.mark()
      sys.chmod(dir, tonumber("777", 8))
      local first = cage.start("native", {
        "abstract_listen=" .. name, "named_stream=" .. name, "named_seqpacket=" .. name,
        "named_datagram=" .. name, "auto_name", "socket=16,3,2", "tcp=4711",
        "tell=" .. dir .. "/ready", "nap=60000",
      }, { loopback = false, rw = { dir } })
      assert(helper.poll(function() return sys.stat(dir .. "/ready") end))
      local words = { "abstract=" .. name, "abstract_listen=" .. name, "tcp=4711", "udp=4711",
        "socket=16,3,2", "kill=-1" }
      cage.run("native", words, WITHOUT):refused{ words[1], words[2], words[3], words[4], words[5] }
      local seen = counters()
      assert.falsy(seen:find(name, 1, true), seen)
      -- Whatever has a name has it behind its number.
      assert.falsy(seen:match "unix\n.-(@[^\n]*)\n", seen)
      assert.is_false(first:step())
      cage.stop(first)
    end)

    it("see how many pairs others have, as SECURITY.md says", function()
      local dir = helper.tmpdir()
      sys.chmod(dir, tonumber("777", 8))
      local first = cage.start("native", { "hold_pairs=7", "tell=" .. dir .. "/ready",
        "nap=60000" }, { loopback = false, rw = { dir } })
      assert(helper.poll(function() return sys.stat(dir .. "/ready") end))
      assert.equal("14\n", shell("native", "tail -n +2 /proc/net/unix | wc -l", WITHOUT))
      assert.equal("0\n", shell("native", "tail -n +2 /proc/net/unix | wc -l", {}))
      cage.stop(first)
      assert.equal("0\n", shell("native", "tail -n +2 /proc/net/unix | wc -l", WITHOUT))
    end)

    -- One that stays: the number of one that is gone may be another's.
    local function stay()
      namespace("native", WITHOUT)
      local dir = helper.tmpdir()
      sys.chmod(dir, tonumber("777", 8))
      local proc = assert(cage.launch("native", { "/bin/sh", "-c",
        ("readlink /proc/self/ns/net >%s/name; >%s/ready; exec sleep 60"):format(dir, dir) },
        { loopback = false, rw = { dir }, timeout_secs = 120 }))
      assert(helper.poll(function() return sys.stat(dir .. "/ready") end))
      return proc, helper.read(dir .. "/name")
    end

    it("have one of their own each where Landlock does not keep them apart", function()
      finally(function() core.pretend{} end)
      core.pretend{ landlock = 5 }
      local first, name = stay()
      assert.not_equal(name, namespace("native", WITHOUT))
      cage.stop(first)
    end)

    it("have one of their own where the one that was kept is no more", function()
      local first, name = stay()
      assert.equal(name, namespace("native", WITHOUT))
      core.pretend{}
      assert.not_equal(name, namespace("native", WITHOUT))
      cage.stop(first)
    end)
  end)
end
