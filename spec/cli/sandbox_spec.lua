-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local noether = require "noether"
local sys = require "noether.sys"

local BACKENDS = { "none", "native", "bwrap", "landlock" }

-- A word that no policy file of these specs may begin with: they are read as JSON.
local function policy(text)
  local path = helper.tmpdir() .. "/policy.lua"
  helper.write(path, text)
  return path
end

describe("noether sandbox", function()
  helper.over({ backends = BACKENDS }, "--isolation %s", function(backend)
    local function sandbox(...)
      return { "sandbox", "--isolation", backend, "--", ... }
    end

    it(("hands streams and exit code through (%s)"):format(backend), function()
      local result = command.run(sandbox("sh", "-c", "cat; echo err >&2; exit 7"),
        { stdin = "in\0put" })
      assert.same({ code = 7, out = "in\0put", err = "err\n" }, result)
    end)

    it(("has no socket without a loopback (%s)"):format(backend), function()
      if backend == "none" then return end
      command.fail(1, { "sandbox", "--isolation", backend, "--loopback", "off", "--", "bash", "-c",
        "exec 3<>/dev/tcp/127.0.0.1/9" }, { "Address family not supported" })
    end)

    it(("exits as env and docker do (%s)"):format(backend), function()
      command.fail(127, sandbox "no-such-program", { "no such program on PATH" })
      command.fail(127, sandbox "/usr/no-such-program", { "No such file or directory" })
      command.fail(126, sandbox "/usr/lib/os-release", { "Permission denied" })
      assert.equal(128 + 9, command.run(sandbox("sh", "-c", "kill -9 $$")).code)
      assert.equal(128 + 15, command.run(sandbox("sh", "-c", "kill -TERM $$")).code)
      assert.equal(0, command.run(sandbox "true").code)
    end)

    it(("exits with 124 at the deadline (%s)"):format(backend), function()
      command.fail(124, { "sandbox", "--isolation", backend, "--timeout", "200ms", "--", "sleep",
        "100" }, { "sleep ended at its deadline" })
    end)
  end)

  helper.over({ backends = { "native", "bwrap", "landlock" } }, "under %s", function(backend)
    it(("keeps the command from typing into the caller's terminal (%s)"):format(backend), function()
      local code = "import fcntl, termios; print(open(0).isatty()); "
        .. "fcntl.ioctl(1, termios.TIOCSTI, b'x')"
      local output = helper.shell("script -qec " .. helper.quote(("%s sandbox --isolation %s -- "
        .. "/usr/bin/python3 -c %s"):format(command.path, backend, helper.quote(code)))
        .. " /dev/null")
      assert.truthy(output:find("True", 1, true), output)
      assert.truthy(output:find("Operation not permitted", 1, true), output)
    end)
  end)

  it("takes options of the command as the command's", function()
    assert.equal("--help -x\n", (command.succeed{ "sandbox", "--", "echo", "--help", "-x" }))
    command.fail(125, { "sandbox", "ls", "-l" }, { "put -- before the command" })
  end)

  it("shows nothing of the caller's, but what it is told to", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "text\n")
    helper.open_to_all(dir)
    assert.equal(1, command.run{ "sandbox", "--", "cat", dir .. "/file" }.code)
    assert.equal("text\n", (command.succeed{ "sandbox", "--read", dir, "--", "cat",
      dir .. "/file" }))
    local there = command.run({ "sandbox", "--read", "file:/data/x", "--", "cat", "/data/x" },
      { cwd = dir })
    assert.equal("text\n", there.out, there.err)
    local touched = command.run{ "sandbox", "--read", dir, "--", "touch", dir .. "/new" }
    assert.equal(1, touched.code)
  end)

  it("works in a directory of the caller's", function()
    local dir = helper.tmpdir()
    helper.shell("chmod 777 " .. helper.quote(dir))
    for _, words in ipairs{
      { "--work-dir", ".", "--", "sh", "-c", "echo x > one" },
      { "--write", dir, "--", "touch", dir .. "/two" },
      { "--isolation", "none", "--work-dir", ".", "--", "touch", "three" },
    } do
      command.succeed({ "sandbox", table.unpack(words) }, { cwd = dir })
    end
    assert.same({ "one", "three", "two" }, helper.list(dir))
  end)

  it("has the network when asked", function()
    local listener <close> = helper.listen()
    local connect = ("exec 3<>/dev/tcp/127.0.0.1/%d"):format(listener.port)
    assert.truthy(command.run{ "sandbox", "--", "bash", "-c", connect }.code ~= 0)
    command.succeed{ "sandbox", "--network", "--", "bash", "-c", connect }
    assert.equal(1, listener.accepted())
  end)

  it("has the hosts that it is told, and no other", function()
    local listener <close> = helper.listen()
    local other <close> = helper.listen()
    local place = ("127.0.0.1:%d"):format(listener.port)
    local connect = ("exec 3<>/dev/tcp/127.0.0.1/%d"):format(listener.port)
    command.succeed{ "sandbox", "--network", place, "--", "bash", "-c", connect }
    command.succeed{ "sandbox", "--network", "a.example:1", "--network=" .. place, "--", "bash",
      "-c", connect }
    command.succeed{ "sandbox", "--policy",
      ('{"network": "list", "hosts": ["%s"]}'):format(place), "--", "bash", "-c", connect }
    assert.equal(3, listener.accepted())
    connect = ("exec 3<>/dev/tcp/127.0.0.1/%d"):format(other.port)
    assert.truthy(command.run{ "sandbox", "--network", place, "--", "bash", "-c", connect }.code
      ~= 0)
    assert.equal(0, other.accepted())
  end)

  it("holds limits, and sets variables", function()
    local out = command.succeed{ "sandbox", "--limit", "open_files=77", "--env", "A=b", "--", "sh",
      "-c", "ulimit -n; echo $A" }
    assert.equal("77\nb\n", out)
  end)

  it("takes a description from a Lua file, over the bare system", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "text\n")
    helper.open_to_all(dir)
    local path = policy(([[
local system = ...
local binds = { { source = %q, target = "/data" } }
for _, bind in ipairs(system.ro_binds) do binds[#binds + 1] = bind end
return { ro_binds = binds, limits = { open_files = 55 } }
]]):format(dir))
    assert.equal("text\n55\n", (command.succeed{ "sandbox", "--policy", path, "--", "sh", "-c",
      "cat /data/file; ulimit -n" }))
  end)

  it("takes a description as JSON", function()
    local result = command.run{ "sandbox", "--policy", '{"processes": false}', "--", "bash", "-c",
      "echo; true | true" }
    assert.truthy(result.code ~= 0, result.err)
  end)

  for what, case in pairs{
    ["a syntax error"] = { "return {\n  network = \n}\n", ":3: unexpected symbol" },
    ["a wrong type"] = { 'return {\n  links = {},\n  network = "maybe",\n}\n',
      ":3: field 'network': expected one of 'none', 'host', 'list', got 'maybe'" },
    ["an unknown field"] = { "return {\n\n  netwrok = 'none' }\n",
      ":3: unknown field 'netwrok' (did you mean 'network'?)" },
    ["hosts without a list"] = { "return {\n hosts = { 'a:1' } }\n",
      ":2: field 'hosts': it goes with network = \"list\"" },
    ["a wrong host"] = { "return {\n network = 'list', hosts = { 'a:0' } }\n",
      ":2: field 'hosts': expected a port" },
    ["a wrong limit"] = { "return {\n  limits = {\n    memory_bytes = -1 } }\n",
      ":3: limits: ", "'memory_bytes': expected a whole number" },
    ["a wrong bind"] = { "return {\n  ro_binds = { '/usr', 3 } }\n", ":2: ro_binds[2]" },
    ["what is not a policy's"] = { "return { backend = 'none' }\n",
      ":1: field 'backend': it is not a policy's to say" },
    ["what is no table"] = { "return 3\n", "expected it to return a table of fields, got number" },
    ["a library that it may not have"] = { "return { x = io.open('/etc/passwd') }\n",
      ":1: attempt to index a nil value" },
  } do
    it("names file, line and field of " .. what, function()
      local path = policy(case[1])
      local result = command.fail(125, { "sandbox", "--policy", path, "--", "true" },
        { table.unpack(case, 2) })
      assert.truthy(result.err:find("policy file " .. path, 1, true), result.err)
    end)
  end

  it("refuses what is wrong with 125, so that it is not taken for the command's", function()
    for _, case in ipairs{
      { { "--policy", '{"network": 1}', "--", "true" }, "option '--policy': field 'network'" },
      { { "--policy", '{"network": }', "--", "true" }, "line 1 column 13" },
      { { "--policy", "/nowhere.lua", "--", "true" }, "No such file" },
      { { "--read", "/nowhere", "--", "true" }, "must be there" },
      { { "--read", "nowhere", "--", "true" }, "option '--read': " },
      { { "--timeout", "0", "--", "true" }, "expected a time above 0" },
      { { "--" }, "missing argument 'COMMAND'" },
      { {}, "missing argument 'COMMAND'" },
      { { "--network", "git", "status" }, "expected HOST:PORT" },
      { { "--network", "?:443", "--", "true" }, "?:443 asks the function on_network" },
      { { "--network", "localhost:53", "--", "true" }, "own name server answers" },
      { { "--policy", '{"network": "list", "hosts": ["a:1", "?:1"]}', "--", "true" },
        "?:1 asks the function on_network" },
      { { "--network", "a:0", "--", "true" }, "a port from 1 to 65535" },
      { { "--isolation", "landlock", "--network", "a:1", "--", "true" }, "only native and bwrap" },
      { { "--isolation", "none", "--network", "--", "true" }, "has no meaning with isolation" },
      { { "--isolation", "none", "--loopback", "off", "--", "true" }, "has no meaning with isol" },
      { { "--network", "--loopback", "off", "--", "true" }, "off has no meaning with a network" },
      { { "--loopback", "false", "--", "true" }, "--loopback" },
      { { "--env", "NOT_SET_HERE", "--", "true" }, "NOT_SET_HERE is not set here" },
      { { "--isolatoin", "none", "--", "true" }, "did you mean '--isolation'?" },
    } do
      command.fail(125, { "sandbox", table.unpack(case[1]) }, { case[2] })
    end
  end)

  it("is ended by Ctrl-C with 130, and so is the command", function()
    local secs = ("%d.%d"):format(2000 + sys.getpid(), math.floor(sys.clock() * 1000))
    local words = { command.path, "sandbox", "--", "sleep", secs }
    local proc <close> = assert(noether.spawn(words, { isolation = "none", timeout_secs = 60 }))
    local sleeps = { "/usr/bin/sleep", secs }
    assert.truthy(helper.poll(function() return command.running(sleeps) end))
    assert(proc:kill("INT"))
    local result = assert(proc:wait(20))
    assert.equal(130, result.exit_code)
    assert.truthy(helper.poll(function() return not command.running(sleeps) end))
  end)
end)
