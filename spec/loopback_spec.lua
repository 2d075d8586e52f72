-- SPDX-License-Identifier: MIT
--- `loopback = false`, as a user of Lua notices it. What it holds is tried in
-- spec/escape/loopback_spec.lua.
local descriptions = require "noether.sandbox.description"
local helper = require "spec.support.helper"
local noether = require "noether"

local BACKENDS = helper.backends{ "native", "bwrap", "landlock" }

-- What a program says of a socket to itself, of one without an address, and of a pair.
local PYTHON = [[
import asyncio, errno, socket

def tried(make):
    try:
        make().close()
        return "made"
    except OSError as e:
        return errno.errorcode[e.errno]

def execute(input):
    left, right = socket.socketpair()
    left.send(b"across")
    async def sleep():
        await asyncio.sleep(0)
        return "slept"
    return {
        "inet": tried(lambda: socket.socket()), "inet6": tried(lambda: socket.socket(10)),
        "unix": tried(lambda: socket.socket(socket.AF_UNIX)),
        "pair": right.recv(9).decode(), "asyncio": asyncio.run(sleep()),
    }
]]

local NODE = [[
const net = require("net");
const { execFileSync } = require("child_process");
module.exports = async (input) => {
  const code = await new Promise((resolve) => {
    net.createServer().on("error", (e) => resolve(e.code)).listen(0, () => resolve("listens"));
  });
  return { inet: code, child: execFileSync("/bin/echo", ["of a child"]).toString() };
};
]]

local function executor_of(opts)
  local executor = noether.check(noether.executor(opts))
  finally(function() executor:close() end)
  return executor
end

for _, isolation in ipairs(BACKENDS) do
  describe(("loopback = false [%s]"):format(isolation), function()
    it("leaves a program no sockets but pairs", function()
      local executor = executor_of{ isolation = isolation, loopback = false }
      local out, err = executor:execute({ language = "python", code = PYTHON, effects = {} })
      assert.is_nil(err)
      assert.same({ inet = "EAFNOSUPPORT", inet6 = "EAFNOSUPPORT", unix = "EAFNOSUPPORT",
        pair = "across", asyncio = "slept" }, out)
    end)

    it("leaves JavaScript its children", function()
      if not helper.has "node" then return end
      local executor = executor_of{ isolation = isolation, loopback = false }
      local out, err = executor:execute({ language = "javascript", code = NODE })
      assert.is_nil(err)
      assert.same({ inet = "EAFNOSUPPORT", child = "of a child\n" }, out)
    end)

    it("goes for run and spawn, and for a description", function()
      local argv = { "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9" }
      local description = descriptions.system()
      description.loopback = false
      for _, opts in ipairs{ { loopback = false }, { sandbox = description } } do
        opts.isolation = isolation
        local result = noether.check(noether.run(argv, opts))
        assert.truthy(result.stderr:find("Address family not supported", 1, true), result.stderr)
      end
    end)

    it("has nothing to say where a stage has a network", function()
      local code = "import socket\ndef execute(i): socket.socket().close(); return 1"
      local executor = executor_of{ isolation = isolation, loopback = false }
      local out, err = executor:execute({ language = "python", code = code,
        effects = { "Network" } })
      assert.is_nil(err)
      assert.equal(1, out)
    end)
  end)
end

describe("loopback", function()
  it("is there where nobody says otherwise", function()
    local result = noether.check(noether.run({ "/bin/sh", "-c", "cat /proc/net/if_inet6" },
      { isolation = BACKENDS[1], loopback = true }))
    if BACKENDS[1] ~= "landlock" then assert.truthy(result.stdout:find("lo", 1, true)) end
  end)

  it("is in the plan of a stage", function()
    for loopback, said in pairs{ [true] = "nil", [false] = "false" } do
      local executor = executor_of{ isolation = BACKENDS[1], loopback = loopback }
      local plan = noether.check(executor:plan{ language = "bash", code = "execute() { echo 1; }" })
      assert.equal(said, tostring(plan.sandbox.loopback))
      assert.equal("none", plan.sandbox.network)
    end
  end)

  it("false is refused where nothing would hold it", function()
    local function refused(pattern, fn, ...)
      local ok, message = pcall(fn, ...)
      assert.is_false(ok)
      assert.truthy(message:find(pattern, 1, true), message)
    end
    refused("option 'loopback': false needs a sandbox", noether.run, { "true" },
      { isolation = "none", loopback = false })
    refused("option 'loopback': false needs a sandbox", noether.executor,
      { isolation = "none", loopback = false })
    refused("option 'loopback': expected a boolean", noether.run, { "true" }, { loopback = "off" })
    refused("field 'loopback': false goes with network = \"none\"", noether.run, { "true" },
      { isolation = BACKENDS[1], loopback = false, sandbox = { network = "host" } })
  end)

  it("may be taken away by a policy", function()
    local executor = executor_of{ isolation = BACKENDS[1], policy = { isolation = {
      describe = function(effects, runtime, opts)
        local description = require "noether.policy.isolation".describe(effects, runtime, opts)
        description.loopback = false
        return description
      end,
    } } }
    local out, err = executor:execute({ language = "python", code = PYTHON, effects = {} })
    assert.is_nil(err)
    assert.equal("EAFNOSUPPORT", out.inet)
  end)

  it("false goes for what waits, too", function()
    if BACKENDS[1] ~= "native" then return end
    local executor = executor_of{ isolation = "native", loopback = false, warm = true }
    local stage = { language = "python", code = PYTHON, effects = {} }
    local seen = {}
    assert(helper.poll(function()
      local out, err, info = executor:execute(stage)
      assert.is_nil(err)
      assert.same({ "EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT", "across", "slept" },
        { out.inet, out.inet6, out.unix, out.pair, out.asyncio })
      seen[info.start] = true
      return seen.spare or seen.fork
    end))
    noether.check(executor:map(stage, { 1, 2, 3, 4, 5, 6, 7, 8 }))
  end)
end)
