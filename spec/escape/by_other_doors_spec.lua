-- SPDX-License-Identifier: MIT
--- Doors beside those that are watched: objects by their number, sockets by a path, files by ioctl,
-- signals by a file. Each is opened once without a sandbox, so that a failure proves something.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local core = require "noether.core"
local sys = require "noether.sys"

setup(cage.build)

local function serve(kind, log)
  local proc = cage.start("none", { kind .. "=" .. log, "nap=60000" })
  assert(helper.poll(function() return sys.stat(log) and helper.read(log):match "^%d+\n" end))
  return proc
end

cage.each("an object of the host without a name", function(backend)
  local ids, remove

  before_each(function()
    local text = cage.run("none", { "make_objects" }):value "objects"
    local shm, sem, msg = text:match "^(%d+) (%d+) (%d+)$"
    ids = { shm = shm, sem = sem, msg = msg }
    remove = { "shm_remove=" .. shm, "sem_remove=" .. sem, "msg_remove=" .. msg }
  end)

  it("is out of reach by its number", function()
    local words = {
      "shm_use=" .. ids.shm, "sem_use=" .. ids.sem, "sem_use_timed=" .. ids.sem,
      "msg_send=" .. ids.msg, "msg_receive=" .. ids.msg,
    }
    local list = {}
    for index = 0, 20 do
      list[#list + 1] = "shm_list=" .. index
    end
    local inside = cage.run(backend, cage.concat(cage.concat(words, list), remove))
    local outside = cage.run("none", cage.concat(words, remove))
    inside:refused(cage.concat(cage.concat(words, list), remove))
    outside:done(cage.concat(words, remove))
  end)
end)

cage.each("a datagram socket of the host", function(backend)
  it("is out of reach by its path", function()
    local log = helper.tmpdir() .. "/datagram"
    local proc = serve("serve_datagram", log)
    local words = {}
    for _, kind in ipairs{ "datagram", "raw", "stream", "seqpacket" } do
      words[#words + 1] = "pair_" .. kind .. "=" .. log .. ".socket"
    end
    cage.run(backend, words):refused(words)
    local heard = helper.read(log)
    cage.run("none", { words[1], words[2] }):done{ words[1], words[2] }
    assert.is_true(helper.poll(function()
      return select(2, helper.read(log):gsub("received", "")) == 2
    end))
    cage.stop(proc)
    assert.equal("0\n", heard)
  end)
end)

cage.each("a file that may only be read", function(backend)
  it("keeps its flags, generation and seals", function()
    local dir = helper.tmpdir()
    local file = helper.write(dir .. "/file", "host")
    sys.chmod(file, tonumber("666", 8))
    local words = {}
    for _, attempt in ipairs{ "flags", "xflags", "generation", "verity" } do
      words = cage.concat(words, cage.each_of(attempt, { file, dir }))
    end
    local report = cage.run(backend, words, { ro = { dir } })
    report:refused(words)
    local before = report.values.flags
    local outside = cage.run("none", { words[1] })
    assert.is_true(before == nil or before[1] == outside.values.flags[1])
    -- A file system without flags keeps them by itself.
    assert.is_true(before == nil or outside.outcome[words[1]] == "done")
  end)
end)

-- By Landlock's scopes, where there are some; else by the filter.
cage.each("a process of the host", function(backend)
  for _, landlock in ipairs{ 5, 6 } do
    it("gets no signal by way of a file, with Landlock " .. landlock, function()
      local log = helper.tmpdir() .. "/victim"
      local victim = serve("victim", log)
      local pid = tonumber(helper.read(log):match "%d+")
      local words = { "file_signal=" .. pid, "file_owner=" .. pid }
      core.pretend{ landlock = landlock }
      local report = cage.run(backend, words)
      core.pretend{}
      if backend == "landlock" and landlock < 6 then report:refused(words) end
      assert.is_true(report.tried[words[1]])
      assert.is_true(cage.alive(pid))
      cage.run("none", { words[1] })
      assert.is_true(helper.poll(function() return not cage.alive(pid) end))
      cage.stop(victim)
    end)
  end
end)

cage.each("what happens in a directory", function(backend)
  it("is not told where that is not bound", function()
    local dir = helper.tmpdir()
    local words = { "watch=" .. dir, "watch=/etc/ssl", "watch=/root" }
    cage.run(backend, words):refused(words)
    cage.run("none", { words[1] }):done{ words[1] }
  end)
end)

cage.each("the machine", function(backend)
  it("keeps its old asynchronous input and output for others", function()
    local before = helper.read "/proc/sys/fs/aio-nr"
    local report = cage.run(backend, { "old_aio=60000" })
    report:failed("old_aio=60000", "ENOSYS")
    assert.equal(before, helper.read "/proc/sys/fs/aio-nr")
  end)

  it("keeps its large pipes for others", function()
    local report = cage.run(backend, { "large_pipe=1048576" })
    report:failed("large_pipe=1048576", "EPERM")
  end)

  it("merges no pages, and shares no processor, at a program's wish", function()
    local words = { "prctl=67", "prctl=62", "prctl=1000" }
    cage.run(backend, words):refused(words)
  end)
end)

cage.each("process 1", function(backend)
  it("keeps its priority at the disk", function()
    local words = { "io_priority=1", "user_io_priority" }
    cage.run(backend, words):refused(words)
    cage.run(backend, { "io_priority=0" }):done{ "io_priority=0" }
  end)
end)

-- Behind walls the numbers are those of private namespaces; the filter is the same by both doors.
cage.each("the kernel's calls for its own probes", function(backend)
  it("do nothing for a program", function()
    local report = cage.run(backend, { "unknown_call=336" })
    report:refused{ "unknown_call=336" }
    local first = cage.run(backend, { "unknown_call=335" })
    assert.is_true(first.outcome["unknown_call=335"] ~= "done", first:explain "unknown_call=335")
    assert.is_true(first.tried["unknown_call=335"])
  end)
end)
