-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local hosts = require "spec.support.hosts"
local json = require "noether.json"

local STAGES = {
  ["reads.py"] = "def execute(path): return open(path).read()\n",
  ["steps.py"] = "import subprocess, urllib.request\n"
    .. "def execute(input):\n    path, port = input\n"
    .. "    subprocess.run(['true'], check=True)\n"
    .. "    page = urllib.request.urlopen('http://127.0.0.1:%d/' % port, timeout=30).read()\n"
    .. "    return page.decode() + open(path).read()\n",
  ["pure.py"] = "def execute(n): return n\n",
  ["raises.py"] = "def execute(n): raise ValueError('no good')\n",
  ["asks.py"] = "import socket\ndef execute(n):\n"
    .. "    return socket.getaddrinfo('name.example.com', None)[0][4][0]\n",
}

describe("noether run --learn", function()
  local dir, server

  setup(function()
    dir = command.directory(STAGES)
    server = hosts.serve()
  end)
  teardown(function() server.stop() end)

  local function file(name) return dir .. "/" .. name end

  local function learn(name, ...)
    return { "run", file(name), "--learn", ... }
  end

  it("prints what the stage lacked as a line to paste and as Lua, and it can be pasted", function()
    local path = helper.write(file "it's here.txt", "text")
    local input = json.encode(path)
    local out, err = command.succeed(learn("reads.py", "--input", input))
    local line = out:match("^[^\n]*")
    assert.equal("--effect " .. helper.quote("FsRead=" .. path), line)
    assert.equal(('effects = { { FsRead = "%s" } }\n'):format(path), out:sub(#line + 2))
    assert.truthy(err:find("run 1: open: nothing; lacked: FsRead(", 1, true), err)
    assert.truthy(err:find("it may need more", 1, true), err)
    assert.falsy(err:find("run 2", 1, true), err)
    local again = helper.shell(("%s run %s --input %s %s"):format(helper.quote(command.path),
      helper.quote(file "reads.py"), helper.quote(input), line))
    assert.equal('"text"\n', again)
  end)

  it("opens what is allowed and was needed, a step a run, until it answers", function()
    local path = helper.write(file "in.txt", "!")
    local other = helper.write(file "other.txt", "?")
    local record = command.json(learn("steps.py", "--json", "--effect", "Network", "--effect",
      "Process", "--effect", "FsRead=" .. dir, "--effect", "FsWrite=" .. dir, "--input",
      json.encode{ path, server.port }))
    assert.is_true(record.ok)
    assert.is_true(record.complete)
    assert.equal(4, #record.runs)
    assert.same({}, record.runs[1].opened)
    assert.same({}, record.runs[4].lacked)
    assert.is_nil(record.runs[4].error)
    assert.equal(("--effect FsRead=%s --effect Network=127.0.0.1:%d --effect Process"):format(path,
      server.port), record.line)
    assert.falsy(record.line:find(other, 1, true))
    assert.equal(3, #record.effects)
  end)

  it("opens nothing that is not allowed", function()
    local path = helper.write(file "in.txt", "!")
    local _, err = command.succeed(learn("steps.py", "--effect", "Process", "--input",
      json.encode{ path, server.port }))
    assert.truthy(err:find("run 2: open: Process; lacked: Network(127.0.0.1", 1, true), err)
    assert.falsy(err:find("run 3", 1, true), err)
  end)

  it("says so where nothing is needed", function()
    local out, err = command.succeed(learn("pure.py", "--input", "1"))
    assert.equal("--effect Pure\neffects = {}\n", out)
    assert.falsy(err:find("it may need more", 1, true), err)
  end)

  it("tells the stage's own failure as one", function()
    local result = command.fail(1, learn("raises.py"), { "no good", "lacked: nothing" })
    assert.equal("--effect Pure\neffects = {}\n", result.out)
    local failed = command.run(learn("raises.py", "--json"))
    assert.equal(1, failed.code)
    local record = assert(json.decode(failed.out))
    assert.is_false(record.complete)
    assert.equal("stage_failed", record.runs[1].error.kind)
  end)

  it("says which name it asked for and did not connect to", function()
    local out, err = command.succeed(learn("asks.py"))
    assert.equal("--effect Pure\neffects = {}\n", out)
    assert.truthy(err:find("asked for the address of name.example.com", 1, true), err)
  end)

  it("refuses what it cannot do, before anything runs", function()
    command.fail(2, learn("pure.py", "--output", "*.png"), { "'--output' cannot be used" })
    command.fail(2, learn("pure.py", "--trace", file "t.html"), { "'--trace' cannot be used" })
    command.fail(2, learn("pure.py", "--input", "{"), { "--input" })
    command.fail(2, learn("nonesuch.py"), { "nonesuch.py" })
    command.fail(125, learn("pure.py", "--isolation", "none"), { "cannot see what a stage lacks" })
    command.fail(125, learn("pure.py", "--isolation", "landlock"), { "cannot see" })
    local failed = command.run(learn("pure.py", "--isolation", "none", "--json"))
    assert.equal(125, failed.code)
    local record = assert(json.decode(failed.out))
    assert.equal("isolation_unavailable", record.error.kind)
  end)
end)
