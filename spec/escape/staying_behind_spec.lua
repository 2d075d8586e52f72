-- SPDX-License-Identifier: MIT
--- Staying behind: processes and data that outlive the run, two runs at once, hosts that die.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local core = require "noether.core"
local sys = require "noether.sys"

setup(cage.build)

local function gone(mark)
  return helper.poll(function() return #cage.find(mark) == 0 end)
end

cage.each("a process", function(backend)
  for _, how in ipairs{ "holding the streams", "with its streams closed" } do
    it("that is a daemon of its own session " .. how .. " ends with the run", function()
      local mark = (how:find "hold" and "h" or "c") .. cage.mark()
      local report = cage.run(backend, { "daemon=" .. mark, "exit=3" })
      report:done{ "daemon=" .. mark }
      assert.equal("exit", report.result.reason)
      assert.equal(3, report.result.exit_code)
      assert.is_true(report.result.duration_secs < 10)
      assert.is_true(gone(mark))
    end)
  end

  local STUBBORN = {
    ["that ignores every signal"] = { "ignore", "nap=60000" },
    ["that stopped itself"] = { "stop", "nap=60000" },
    ["whose first thread has ended"] = { "zombie_leader=60000" },
    ["with daemons of every kind"] = { "daemon=h", "daemon=c", "ignore", "stop" },
  }
  for how, words in pairs(STUBBORN) do
    it(how .. " ends at the deadline", function()
      local mark = cage.mark()
      local proc = assert(cage.launch(backend, cage.concat({ cage.probe }, cage.concat(words, {
        "nap=60000", mark,
      })), { timeout_secs = 1.5 })) -- time enough to begin on a busy machine
      assert.is_true(helper.poll(function() return #cage.find(mark) > 0 end))
      local result = assert(proc:wait(15))
      proc:close()
      assert.equal("timeout", result.reason)
      assert.truthy(result.stdout:find("attempting " .. words[1], 1, true), result.stdout)
      assert.is_true(gone(mark))
    end)
  end
end)

-- Without a control group nobody counts the processes of user 0, unless in a user namespace of its
-- own: the bomb takes all numbers that the machine has, also from the specs beside it. That is for
-- `make check-deep`, which runs one after the other.
-- A supervisor without rights may be too slow for one under landlock, with 600 sessions on two
-- processors (SECURITY.md): likewise.
local function has_ways(backend)
  local one = os.getenv "SPEC_OVER" == "one"
  if one and backend == "landlock" and not helper.is_root() then return {} end
  local counted = backend == "native" or not helper.is_root()
  return (counted or not one) and { true, false } or { true }
end

-- Each of its processes begins two more in sessions of their own, and ends: whoever is to kill them
-- has as much of the processor as each of them.
cage.each("a bomb that changes sessions", function(backend)
  for _, cgroups in ipairs(has_ways(backend)) do
    it(("ends at the deadline%s"):format(cgroups and "" or ", without control groups"), function()
      local mark = cage.mark()
      core.pretend{ cgroups = cgroups }
      local proc = assert(cage.launch(backend, {
        cage.probe, "session_bomb=240000", "nap=240000", mark,
      }, { timeout_secs = 0.5, limits = { processes = 64 } }))
      core.pretend{}
      local result = assert(proc:wait(120))
      proc:close()
      assert.equal("timeout", result.reason)
      assert.truthy(result.stdout:find("attempted session_bomb=240000: done", 1, true))
      assert.is_true(gone(mark))
      assert.is_true(result.duration_secs < 60, tostring(result.duration_secs))
    end)
  end
end)

local OBJECTS = { "shm=%d", "sem=%d", "msg=%d" }

local function objects(create)
  local words = {}
  for i, word in ipairs(OBJECTS) do
    words[i] = word:format(create)
  end
  return words
end

-- Private directories have other names under landlock, made anew for each run.
local function private(backend)
  return backend == "landlock" and {} or { "/work/left", "/tmp/left", "/dev/shm/left" }
end

cage.each("data", function(backend)
  it("is not there for the next run", function()
    local name = cage.mark()
    local leave = cage.each_of("create", private(backend))
    if backend ~= "landlock" then
      leave = cage.concat(leave, cage.concat(objects(1), { "abstract_listen=" .. name }))
    end
    local find = cage.concat(cage.each_of("read", private(backend)), objects(0))
    find = cage.concat(find, {
      "mqueue=0", "mqueue=1", "abstract=" .. name, "call=keyctl", "call=add_key",
    })
    local before = helper.read "/proc/sysvipc/shm" .. helper.read "/proc/sysvipc/msg"
    cage.run(backend, leave):done(leave)
    cage.run(backend, find):refused(find)
    assert.equal(before, helper.read "/proc/sysvipc/shm" .. helper.read "/proc/sysvipc/msg")
  end)

  it("cannot be made where it would stay", function()
    if backend ~= "landlock" then return end
    cage.run(backend, objects(1)):refused(objects(1))
    local words = { "create=/tmp/left-behind", "create=/dev/shm/left-behind" }
    cage.run(backend, words):refused(words)
  end)

  it("in the working directory is gone from the disk", function()
    local report = cage.read(assert(cage.launch(backend, {
      "/bin/sh", "-c", "pwd; mkdir -p a/b; echo x >a/b/c; chmod 0 a; ls",
    }):wait()))
    local dir = report.result.stdout:match "^[^\n]+"
    assert.truthy(report.result.stdout:find "\na\n")
    if backend == "landlock" then
      assert.is_nil(sys.stat(dir), dir)
    else
      assert.equal("/work", dir)
      assert.is_nil(sys.stat "/work/a")
    end
  end)
end)

cage.each("two runs at once", function(backend)
  local dir, first, name

  before_each(function()
    dir, name = helper.tmpdir(), cage.mark()
    sys.chmod(dir, tonumber("777", 8))
    local words = cage.concat(cage.each_of("create", private(backend)), objects(1))
    words = cage.concat(words, {
      "abstract_listen=" .. name, "tell=" .. dir .. "/ready", "nap=60000", name,
    })
    first = cage.start(backend, words, { rw = { dir }, network = "host" })
    assert(helper.poll(function() return sys.stat(dir .. "/ready") end))
  end)
  after_each(function() cage.stop(first) end)

  it("see nothing of each other's files and objects", function()
    local words = cage.concat(cage.each_of("read", private(backend)), objects(0))
    words = cage.concat(words, { "call=keyctl" })
    if cage.kernel(6, 12) then words[#words + 1] = "abstract=" .. name end
    cage.run(backend, words, { network = "host" }):refused(words)
  end)

  it("cannot signal, trace or slow down each other", function()
    local words = {}
    for _, pid in ipairs(cage.find(name)) do
      words = cage.concat(words, {
        "kill=" .. pid, "signals=" .. pid, "ptrace=" .. pid, "vm_read=" .. pid, "getfd=" .. pid,
        "prlimit=" .. pid,
      })
    end
    assert.is_true(#words > 0)
    cage.run(backend, words, { network = "host" }):refused(words)
    cage.run(backend, { "kill=-1" }, { network = "host" })
    assert.is_true(#cage.find(name) > 0)
    assert.is_false(first:step())
  end)
end)

local function mounts()
  return helper.read "/proc/self/mountinfo"
end

cage.each("a host that is killed in the middle of a run", function(backend)
  for _, signal in ipairs{ "KILL", "STOP, and then KILL," } do
    it(("by SIG%s leaves nothing"):format(signal), function()
      local dir, mark, before = helper.tmpdir(), cage.mark(), mounts()
      sys.chmod(dir, tonumber("777", 8))
      local proc = cage.host(([[
local process = require "noether.process"
local words = { "/bin/sh", "-c", "pwd >%s/pwd; exec \"$0\" \"$@\"", %q, "daemon=" .. %q,
  "daemon=h" .. %q, "tell=%s/ready", "ignore", "nap=60000", %q }
local proc = assert(process.launch(words, { sandbox = %s }))
local file = io.open(%q, "w")
file:write(require "noether.sys".getpid())
file:close()
proc:wait()
]]):format(dir, cage.probe, mark, mark, dir, mark,
        cage.literal(cage.describe(backend, { rw = { dir } })), dir .. "/pid"))
      assert(helper.poll(function() return sys.stat(dir .. "/ready") end))
      assert.is_true(#cage.find(mark) >= 3)
      local pid = helper.read(dir .. "/pid")
      if signal ~= "KILL" then helper.shell("kill -STOP " .. pid) end
      helper.shell("kill -KILL " .. pid)
      assert(proc:wait(10))
      proc:close()
      assert.is_true(gone(mark))
      assert.equal(before, mounts())
      if backend ~= "landlock" then return end
      local work_dir = helper.read(dir .. "/pwd"):match "[^\n]+"
      assert.is_true(helper.poll(function() return not sys.stat(work_dir) end), work_dir)
    end)
  end
end)
