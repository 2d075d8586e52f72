-- SPDX-License-Identifier: MIT
--- Eating the host: processes, memory, files, processor. Every bomb counts, and stops by itself
-- long before it would hurt where nothing else stops it.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local core = require "noether.core"
local sys = require "noether.sys"

local MIB = 1024 * 1024

setup(cage.build)

local function enforces(report, ...)
  for _, word in ipairs(report.result.enforced) do
    for _, wanted in ipairs{ ... } do
      if word == wanted then return true end
    end
  end
  return false
end

-- As many as the limit says: neither a supervisor of ours nor a wrapping command is among them.
cage.each("the number of processes", function(backend)
  for _, most in ipairs{ 1, 2, 10 } do
    it("is exactly " .. most .. ", by forks and by threads", function()
      for _, kind in ipairs{ "forks", "threads" } do
        local word = kind .. "=30"
        local report = cage.run(backend, { word }, { limits = { processes = most } })
        if enforces(report, "pids_rlimit", "pids_cgroup") then
          report:failed(word, "EAGAIN")
          assert.equal(most - 1, report:number(kind), report:explain(word))
        else -- landlock as an ordinary user, and where root has no groups: SECURITY.md says so
          assert.is_true(backend == "landlock" or (backend == "bwrap" and helper.is_root()))
        end
      end
    end)
  end
end)

cage.each("a bomb", function(backend)
  for _, bomb in ipairs{ "forks", "threads" } do
    it(("of %s stops at the limit, and others start meanwhile"):format(bomb), function()
      local word = bomb .. "=200"
      local dir = helper.tmpdir()
      sys.chmod(dir, tonumber("777", 8))
      local limits = { processes = 40, memory_bytes = 512 * MIB }
      local first = cage.start(backend, { word, "tell=" .. dir .. "/ready", "nap=300" }, {
        rw = { dir }, limits = limits, processes = bomb == "forks",
      })
      helper.poll(function() return sys.stat(dir .. "/ready") or first:step() end)
      local second = cage.run(backend, { "fork", "thread" }, { limits = limits })
      local report = cage.read(assert(first:wait()))
      first:close()
      second:done{ "fork", "thread" }
      if not enforces(report, "pids_rlimit", "pids_cgroup") then
        -- bwrap started by root, and landlock: SECURITY.md says so.
        assert.is_true(backend == "landlock" or (backend == "bwrap" and helper.is_root()))
        return
      end
      assert.is_true(report:number(bomb) < 45, report:explain(word))
      report:failed(word, "EAGAIN")
    end)
  end

  it("of forks does not outlive the deadline", function()
    local mark = cage.mark()
    local proc = cage.start(backend, { "forks=150", "forks=150", "nap=60000", mark }, {
      timeout_secs = 0.3, limits = { processes = 100 },
    })
    local result = assert(proc:wait(15))
    proc:close()
    assert.equal("timeout", result.reason)
    assert.is_true(helper.poll(function() return #cage.find(mark) == 0 end))
  end)
end)

-- The kernel has accounts of the user, whom all runs share.
cage.each("what is counted for the user", function(backend)
  it("by descriptors under way keeps nobody else from starting", function()
    local dir = helper.tmpdir()
    sys.chmod(dir, tonumber("777", 8))
    local first = cage.start(backend, { "in_flight=600", "tell=" .. dir .. "/ready", "nap=60000" },
      { rw = { dir }, limits = { open_files = 500 }, processes = false })
    assert.is_true(helper.poll(function() return sys.stat(dir .. "/ready") ~= nil end))
    local second = cage.run(backend, { "thread", "fork" }, {
      limits = { open_files = 64 }, processes = false,
    })
    local report = cage.read(cage.stop(first))
    assert.is_true(report:number "in_flight" >= 500)
    second:done{ "thread" }
    second:failed("fork", "EPERM")
  end)

  it("is little for each: signals, messages, locked memory", function()
    local report = cage.run(backend, { "limits" })
    assert.is_true(report:number "sigpending" <= 1024)
    assert.is_true(report:number "msgqueue" <= 96 * 1024)
    assert.is_true(report:number "memlock" <= 64 * 1024)
  end)
end)

cage.each("memory beyond the limit", function(backend)
  local LIMITS = { memory_bytes = 64 * MIB, private_bytes = 16 * MIB, file_bytes = 256 * MIB }
  local WAYS = {
    heap = "heap=200", ["a private mapping"] = "private_map=200",
    ["a shared mapping"] = "shared_map=200", ["tables of pages"] = "page_tables=200",
    ["a mapping whose size cannot be looked at"] = "unseen_map=400",
    ["a shared mapping of a process that may not be looked into"] = "hidden_map=200",
    ["heap of a process whose first thread has ended"] = "headless_heap=200",
  }
  for how, word in pairs(WAYS) do
    it("by " .. how .. " is memory_limit", function()
      local report = cage.run(backend, { word, "nap=5000" }, { limits = LIMITS })
      assert.equal("memory_limit", report.result.reason, report:explain(word))
      assert.is_nil(report.outcome["nap=5000"], "it was seen too late")
      assert.is_true(report.tried[word])
      assert.is_true(enforces(report, "memory_sampled", "memory_cgroup"))
    end)
  end

  it("by what is swapped out, or lies in huge pages, is memory_limit", function()
    if backend ~= "landlock" then return end -- the way of counting is one
    -- Where the supervisor looks there is what such a program would have there.
    for _, line in ipairs{ "VmSwap", "HugetlbPages" } do
      local own = helper.tmpdir()
      local output, code = helper.shell(("unshare %s -- %s -e %s"):format(
        helper.own_mounts(), helper.quote(helper.lua), helper.quote(([[
          require "noether.core".pretend{ cgroups = false }
          local result = assert(require "noether".run({ "sh", "-c",
            "sed 's/^%s:.*/%s: 900000 kB/' /proc/self/status >%s/status && "
            .. "mount --bind %s/status /proc/$$/status && sleep 20" },
            { isolation = "none", limits = { memory_bytes = 2 ^ 29 }, timeout_secs = 60 }))
          print(result.reason, result.stderr)]]):format(line, line, own, own))))
      assert.equal("memory_limit\t\n", output)
      assert.equal(0, code)
    end
  end)

  -- What is too large to be looked at is over its limit.
  it("by more processes than can be looked at is memory_limit", function()
    if backend ~= "native" then return end -- the way of counting is one
    core.pretend{ cgroups = false }
    local report = cage.run(backend, { "crowd=4500", "nap=20000" }, {
      limits = { memory_bytes = 64 * 1024 * MIB, processes = 6000 }, timeout_secs = 300,
    })
    core.pretend{}
    assert.equal("memory_limit", report.result.reason, report:explain "crowd=4500")
  end)

  it("by many processes that each stay below it ends them", function()
    local words = {}
    for i = 1, 6 do
      words[i] = cage.probe .. " heap=24 nap=700 &"
    end
    local proc = assert(cage.launch(backend, {
      "/bin/sh", "-c", table.concat(words, " ") .. " wait",
    }, { limits = LIMITS }))
    local result = assert(proc:wait())
    proc:close()
    local _, survivors = result.stdout:gsub("attempted nap=700: done", "")
    assert.is_true(survivors < 3, result.stdout)
    -- The kernel ends those processes of a cgroup that it takes for the largest; if the program
    -- gets along without them it has succeeded.
    if not enforces({ result = result }, "memory_cgroup") then
      assert.equal("memory_limit", result.reason)
    end
  end)

  it("by files in the private directories ends at their size", function()
    if backend == "landlock" then return end
    for _, dir in ipairs{ "/work", "/tmp", "/dev/shm" } do
      local word = ("fill=%s/file:64"):format(dir)
      local report = cage.run(backend, { word }, { limits = LIMITS })
      report:failed(word, "ENOSPC")
      assert.is_true(report:number "written" <= 16 * MIB)
    end
  end)

  -- Of these the sampling sees nothing: only a memory cgroup would.
  local UNSEEN = {
    ["a file in memory"] = "memory_file=96", pipes = "pipes=4", ["socket buffers"] = "sockets=4",
    ["System V segments"] = "shm_eater=96",
  }
  for how, word in pairs(UNSEEN) do
    it("by " .. how .. " is seen by a cgroup only, as SECURITY.md says", function()
      local report = cage.run(backend, { word, "nap=150" }, { limits = LIMITS })
      assert.is_true(report.tried[word])
      if word:find "shm_eater" and backend == "landlock" then return report:refused{ word } end
      if enforces(report, "memory_cgroup") and word:find "=96" then
        assert.equal("memory_limit", report.result.reason, report:explain(word))
      else
        assert.equal("exit", report.result.reason, report:explain(word))
      end
    end)
  end
end)

cage.each("files", function(backend)
  local LIMITS = { private_bytes = 8 * MIB, private_files = 500, file_bytes = 4 * MIB }
  local place = backend == "landlock" and "." or "/work"

  it("cannot grow beyond their limit, not even with holes", function()
    local words = { "sparse=" .. place .. "/sparse" }
    cage.run(backend, words, { limits = LIMITS }):failed(words[1], "EFBIG")
    local word = ("fill=%s/file:16"):format(place)
    local result = cage.run(backend, { word }, { limits = LIMITS }).result
    assert.equal("signal", result.reason)
    assert.equal("SIGXFSZ", result.signal)
  end)

  it("cannot be more than their limit", function()
    local word = "inodes=" .. place .. ":2000"
    local report = cage.run(backend, { word }, { limits = LIMITS })
    if backend == "native" then
      report:failed(word, "ENOSPC")
      assert.is_true(report:number "inodes" <= 500)
    else -- bubblewrap has no such option, and landlock a directory of the disk
      report:done{ word }
    end
  end)

  it("cannot be open beyond their limit", function()
    local report = cage.run(backend, { "descriptors=500" }, { limits = { open_files = 64 } })
    report:failed("descriptors=500", "EMFILE")
    assert.is_true(report:number "descriptors" < 64)
  end)

  it("in deep directories do not outlive the run", function()
    local word = "deep=" .. place .. ":3000"
    local report = cage.run(backend, { word, "exit=0" }, {
      limits = { private_files = backend == "native" and 5000 or nil },
    })
    report:done{ word }
    assert.equal("exit", report.result.reason)
  end)
end)

cage.each("the processor", function(backend)
  it("cannot be had for longer than the limit", function()
    local word = "spin=60000"
    local report = cage.run(backend, { word }, { limits = { cpu_secs = 0.2 } })
    assert.equal("cpu_limit", report.result.reason)
    assert.is_true(report.tried[word])
  end)

  -- The kernel adds their time to nobody's.
  for _, word in ipairs{ "uncounted=30", "uncounted=2", "uncounted_thread=10",
    "uncounted_later=5" } do
    it("cannot be had by short children that nobody waits for: " .. word, function()
      for _, cgroups in ipairs{ true, false } do
        core.pretend{ cgroups = cgroups }
        local report = cage.run(backend, { word }, {
          limits = { cpu_secs = 0.3 }, timeout_secs = 120,
        })
        core.pretend{}
        assert.is_true(report.tried[word])
        assert.equal("cpu_limit", report.result.reason, report:explain(word))
        local used = report.result.cpu_user_secs + report.result.cpu_system_secs
        assert.is_true(used >= 0.3, tostring(used))
      end
    end)
  end

  it("is not charged for what children wait for it", function()
    local processors = tonumber((helper.shell "nproc"))
    core.pretend{ cgroups = false }
    local result = cage.run(backend, { "uncounted_crowd=20" }, {
      limits = { cpu_secs = 1 }, timeout_secs = 120,
    }).result
    core.pretend{}
    assert.equal("cpu_limit", result.reason)
    local used = result.cpu_user_secs + result.cpu_system_secs
    assert.is_true(used < result.duration_secs * processors + 0.3,
      ("%.2f s in %.2f"):format(used, result.duration_secs))
  end)

  it("is not charged twice where children are waited for", function()
    for _, cgroups in ipairs{ true, false } do
      core.pretend{ cgroups = cgroups }
      local proc = assert(cage.launch(backend, {
        "/bin/sh", "-c", ("for i in 1 2 3 4 5; do %s spin=30 >/dev/null; done")
          :format(cage.probe),
      }, { limits = { cpu_secs = 60 } }))
      local result = assert(proc:wait(60))
      proc:close()
      core.pretend{}
      local used = result.cpu_user_secs + result.cpu_system_secs
      assert.is_true(used > 0.05 and used < result.duration_secs * 2, tostring(used))
    end
  end)

  it("cannot be had by a chain of children", function()
    local proc = assert(cage.launch(backend, {
      "/bin/sh", "-c", "while :; do " .. cage.probe .. " spin=30 >/dev/null; done",
    }, { limits = { cpu_secs = 0.3 } }))
    local result = assert(proc:wait(20))
    proc:close()
    assert.equal("cpu_limit", result.reason)
  end)
end)
