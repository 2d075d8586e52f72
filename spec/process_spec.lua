-- SPDX-License-Identifier: MIT
local lfs = require "lfs"
local sets = require "noether.set"
local command = require "noether.command"
local helper = require "spec.support.helper"
local process = require "noether.process"
local core = require "noether.core"
local sys = require "noether.sys"

local STARTS = { "kept", "bare" }
local MODES = { kept = { supervise = true }, bare = { supervise = false } }

-- What holds for each of them in every run of the suite.
local ALWAYS = {
  "process the end is told by exit code", "process the end is told by the signal's name",
  "process stdout ends the run when it floods, and its first 64 KiB are kept",
  "process stderr keeps its first and its last half, with a line between",
  "process a deadline ends the run in time, and what was said is kept",
  "process a deadline ends what ignores SIGTERM, and what has stopped itself",
  "process cancel ends the run", "process the handle closed, kills, and is done with",
}

local marks = 0

-- A word that nothing else has in its arguments.
local function new_mark()
  marks = marks + 1
  return ("noether-spec-mark-%d-%d"):format(core.getpid(), marks)
end

local function is_marked(pid, mark)
  local file = io.open("/proc/" .. pid .. "/cmdline", "rb")
  if not file then return false end
  local text = file:read "a" or ""
  file:close()
  return text:find(mark, 1, true) ~= nil
end

-- How many processes on this machine have the mark in their arguments.
local function count_marked(mark)
  local count = 0
  for _, pid in ipairs(helper.list "/proc") do
    if pid:find "^%d+$" and is_marked(pid, mark) then count = count + 1 end
  end
  return count
end

local function vanishes(mark, secs)
  return helper.poll(function() return count_marked(mark) == 0 end, secs or 1)
end

local function contains(list, word)
  for _, item in ipairs(list) do
    if item == word then return true end
  end
  return false
end

-- command.run without a sandbox, in one of the modes.
local function run_in(mode, argv, opts)
  local copy = { isolation = "none", supervise = mode.supervise, timeout_secs = 20 }
  for name, value in pairs(opts or {}) do copy[name] = value end
  return command.run(argv, copy)
end

local function spawn_in(mode, argv, opts)
  local copy = { isolation = "none", supervise = mode.supervise, timeout_secs = 20 }
  for name, value in pairs(opts or {}) do copy[name] = value end
  return assert(command.spawn(argv, copy))
end

local function sh(text, ...)
  return { "/bin/sh", "-c", text, ... }
end

helper.over({ starts = STARTS, always = ALWAYS }, "%s:", function(start)
  local mode = MODES[start]

  local function run(...) return run_in(mode, ...) end
  local function spawn(...) return spawn_in(mode, ...) end

  describe("process", function()
    describe("the end", function()
      it("is told by exit code", function()
        for _, code in ipairs{ 0, 1, 2, 126, 127, 128, 137, 255 } do
          local result = assert(run(sh("exit " .. code)))
          assert.equal("exit", result.reason)
          assert.equal(code, result.exit_code)
          assert.equal(code == 0, result.ok)
          assert.is_nil(result.signal)
        end
      end)

      it("is told by the signal's name", function()
        local names = {
          "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV",
          "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "XCPU", "XFSZ", "VTALRM", "PROF", "POLL",
          "PWR", "SYS",
        }
        for _, name in ipairs(names) do
          local number = core.signal_number(name)
          local result = assert(run(sh("kill -" .. number .. " $$")))
          assert.equal("signal", result.reason)
          assert.equal("SIG" .. name, result.signal)
          assert.is_nil(result.exit_code)
          assert.is_false(result.ok)
        end
        assert.equal("SIG40", run(sh("kill -40 $$")).signal)
      end)

      it("names no signal that was ours, or came of what we did", function()
        local flood = assert(run({ "/usr/bin/yes" }, { max_output_bytes = 1000 }))
        assert.same({ "output_limit" }, { flood.reason, flood.signal, flood.exit_code })
        local late = assert(run(sh("sleep 60"), { timeout_secs = 0.05 }))
        assert.same({ "timeout" }, { late.reason, late.signal, late.exit_code })
      end)

      it("comes with all that is known of the run", function()
        local result = assert(run(sh("echo out; echo err >&2")))
        assert.equal("out\n", result.stdout)
        assert.equal("err\n", result.stderr)
        assert.equal(4, result.stdout_bytes)
        assert.equal(4, result.stderr_bytes)
        assert.is_false(result.stdout_truncated)
        assert.is_false(result.stderr_truncated)
        assert.equal("none", result.isolation)
        assert.same({ "/bin/sh", "-c", "echo out; echo err >&2" }, result.argv)
        assert.is_true(result.duration_secs > 0 and result.duration_secs < 5)
        assert.equal(mode.supervise, contains(result.enforced, "tree_kill"))
        assert.equal(mode.supervise, contains(result.enforced, "host_death"))
        assert.equal(mode.supervise, result.max_rss_bytes ~= nil)
        assert.equal(mode.supervise, result.cpu_user_secs ~= nil)
        assert.equal(mode.supervise, result.cpu_system_secs ~= nil)
      end)
    end)

    describe("a program that cannot be executed", function()
      local function refused(argv, errno, opts)
        for _, call in ipairs{ run, function(...) return command.spawn(...) end } do
          local given = { isolation = "none", supervise = mode.supervise }
          for name, value in pairs(opts or {}) do given[name] = value end
          local result, err = call(argv, given)
          assert.is_nil(result)
          assert.equal("spawn_failed", err.kind)
          assert.equal(errno, err.errno)
          assert.is_string(err.hint)
          assert.is_truthy(err.message:find(argv[1], 1, true), err.message)
        end
      end

      it("is spawn_failed, with the errno", function()
        local dir = helper.tmpdir()
        local script = helper.write(dir .. "/script", "#!/no/such/interpreter\n")
        local words = helper.write(dir .. "/words", "words\n")
        helper.shell("chmod 755 " .. script .. " " .. words)
        refused({ "/no/such/program" }, "ENOENT")
        refused({ "no-such-program-anywhere" }, "ENOENT")
        refused({ "./no/such/program" }, "ENOENT")
        refused({ "/etc/passwd" }, "EACCES")
        refused({ dir }, "EACCES")
        refused({ words }, "ENOEXEC")
        refused({ script }, "ENOENT")
        refused({ "/bin/true" }, "ENOENT", { cwd = "/no/such/place" })
        refused({ "/bin/true", ("x"):rep(200 * 1024) }, "E2BIG")
      end)

      it("is told with the PATH on which it was looked for", function()
        local _, err = run({ "no-such-program" }, { env = { PATH = "/one:/two" } })
        assert.equal("looked in /one:/two", err.hint)
      end)

      it("is found on PATH, or where it is said to be", function()
        local dir = helper.tmpdir()
        helper.write(dir .. "/own-program", "#!/bin/sh\necho it ran")
        helper.shell("chmod 755 " .. dir .. "/own-program")
        local result = run({ "own-program" }, { env = { PATH = dir } })
        assert.equal("it ran\n", result.stdout)
        local cwd = require("lfs").currentdir()
        assert(require("lfs").chdir(dir))
        result = run({ "./own-program" })
        assert(require("lfs").chdir(cwd))
        assert.equal("it ran\n", result.stdout)
      end)
    end)

    describe("stdout", function()
      it("may be as long as the cap, and no longer", function()
        local result = run(sh("head -c 100000 /dev/zero"), { max_output_bytes = 100000 })
        assert.is_true(result.ok)
        assert.equal(("\0"):rep(100000), result.stdout)
        result = run(sh("head -c 100001 /dev/zero"), { max_output_bytes = 100000 })
        assert.equal("output_limit", result.reason)
        assert.is_true(result.stdout_truncated)
        assert.equal(65536, #result.stdout)
        assert.is_false(result.ok)
      end)

      it("ends the run when it floods, and its first 64 KiB are kept", function()
        local before = core.clock()
        local result = run({ "/usr/bin/yes" }, { max_output_bytes = 1000000 })
        assert.equal("output_limit", result.reason)
        assert.equal(("y\n"):rep(32768), result.stdout)
        assert.is_true(result.stdout_bytes > 1000000)
        assert.is_true(core.clock() - before < 5)
      end)

      it("comes byte by byte, too", function()
        local result = run(sh("i=0; while [ $i -lt 300 ]; do printf x; i=$((i+1)); done"))
        assert.equal(("x"):rep(300), result.stdout)
      end)

      it("is bytes, whatever they mean", function()
        local bytes = "\0\255\254\xC3(\xED\xA0\x80\r\n\0"
        assert.equal(bytes, run({ "/bin/cat" }, { stdin = bytes }).stdout)
      end)
    end)

    describe("stderr", function()
      it("keeps its first and its last half, with a line between", function()
        local result = run(sh("seq 1 100000 >&2"), { max_stderr_bytes = 1001 })
        local parts = {}
        for i = 1, 100000 do parts[i] = i .. "\n" end
        local all = table.concat(parts)
        assert.is_true(result.ok)
        assert.is_true(result.stderr_truncated)
        assert.equal(#all, result.stderr_bytes)
        assert.equal(all:sub(1, 501) .. ("\n[%d bytes left out]\n"):format(#all - 1001)
          .. all:sub(-500), result.stderr)
      end)

      it("is whole up to its limit", function()
        local result = run(sh("head -c 65536 /dev/zero >&2"))
        assert.equal(("\0"):rep(65536), result.stderr)
        assert.is_false(result.stderr_truncated)
      end)

      it("may flood together with stdout", function()
        local result = run(sh("yes >&2 & yes"), { max_output_bytes = 100000 })
        assert.equal("output_limit", result.reason)
        assert.equal(65536, #result.stdout)
        assert.is_true(result.stderr_truncated or #result.stderr <= 65536)
      end)
    end)

    describe("stdin", function()
      local much = ("0123456789"):rep(10 * 1000 * 1000)

      it("is closed where there is none", function()
        assert.equal("0\n", run(sh("wc -c")).stdout)
      end)

      it("need not be read", function()
        assert.is_true(run({ "/bin/true" }, { stdin = much }).ok)
      end)

      it("may be closed at once", function()
        assert.equal(3, run(sh("exec <&-; sleep 0.02; exit 3"), { stdin = much }).exit_code)
      end)

      it("is fed while output is read", function()
        local input = much:sub(1, 10 * 1000 * 1000)
        local result = run({ "/bin/cat" }, { stdin = input })
        assert.is_true(result.ok)
        assert.is_true(result.stdout == input)
      end)
    end)

    describe("the environment and the directory", function()
      it("are what was asked for", function()
        helper.with_env({ NOETHER_SPEC_VARIABLE = "of the host" }, function()
          local text = run({ "/usr/bin/env" }, { env = { ADDED = "a=b\nc" } }).stdout
          assert.is_truthy(text:find("ADDED=a=b\nc\n", 1, true))
          assert.is_truthy(text:find("NOETHER_SPEC_VARIABLE=of the host\n", 1, true))
          text = run({ "/usr/bin/env" }, { env = { ADDED = "x" }, clear_env = true }).stdout
          assert.equal("ADDED=x\n", text)
        end)
        assert.equal("/usr\n", run({ "/bin/pwd" }, { cwd = "/usr" }).stdout)
      end)
    end)

    describe("a deadline", function()
      it("ends the run in time, and what was said is kept", function()
        local before = core.clock()
        local result = run(sh("echo said; echo wrong >&2; sleep 30"), { timeout_secs = 1 })
        assert.equal("timeout", result.reason)
        assert.equal("said\n", result.stdout)
        assert.equal("wrong\n", result.stderr)
        assert.is_nil(result.exit_code)
        assert.is_true(core.clock() - before < 10)
      end)

      it("ends what ignores SIGTERM, and what has stopped itself", function()
        local mark = new_mark()
        for _, text in ipairs{ "trap '' TERM INT HUP; sleep 30", "kill -STOP $$; sleep 30" } do
          local result = run(sh(text .. "; true", mark), { timeout_secs = 0.05 })
          assert.equal("timeout", result.reason)
          assert.is_true(vanishes(mark))
        end
      end)
    end)

    describe("kill", function()
      it("sends a signal by name or by number", function()
        for _, signal in ipairs{ "USR1", "SIGUSR1", 10 } do
          local proc <close> = spawn({ "/bin/sleep", "30" })
          assert.is_true(proc:kill(signal))
          assert.equal("SIGUSR1", proc:wait().signal)
          local sent, err = proc:kill(signal)
          assert.is_nil(sent)
          assert.equal("ESRCH", err.errno)
        end
        local proc <close> = spawn({ "/bin/sleep", "30" })
        proc:kill()
        assert.equal("SIGTERM", proc:wait().signal)
      end)

      it("raises for what is no signal", function()
        local proc <close> = spawn({ "/bin/sleep", "30" })
        for _, wrong in ipairs{ "NONE", 0, -1, 65, 1.5, "", {} } do
          assert.has_error(function() proc:kill(wrong) end)
        end
      end)
    end)

    describe("cancel", function()
      it("ends the run", function()
        local mark = new_mark()
        local proc <close> = spawn(sh("echo said; sleep 30; true", mark))
        assert.is_true(proc:cancel())
        local result = proc:wait()
        assert.equal("cancelled", result.reason)
        assert.is_true(vanishes(mark))
      end)

      it("changes nothing after the end", function()
        local proc <close> = spawn(sh("exit 4"))
        assert.equal(4, proc:wait().exit_code)
        assert.is_true(proc:cancel())
        assert.equal("exit", proc:result().reason)
      end)
    end)

    it("the first cause stands", function()
      local proc <close> = spawn({ "/bin/sleep", "30" }, { timeout_secs = 0.02 })
      local over = proc:wait(5)
      proc:cancel()
      assert.equal("timeout", over.reason)
      assert.equal("timeout", proc:wait().reason)
      local flood <close> = spawn({ "/usr/bin/yes" }, { max_output_bytes = 1000 })
      over = flood:wait(5)
      flood:cancel()
      assert.equal("output_limit", over.reason)
      assert.equal("output_limit", flood:wait().reason)
    end)

    describe("the handle", function()
      it("says pending while it runs", function()
        local proc <close> = spawn({ "/bin/sleep", "30" })
        for _, secs in ipairs{ 0, 0.01 } do
          local result, err = proc:wait(secs)
          assert.is_nil(result)
          assert.equal("pending", err.kind)
        end
        local result, err = proc:result()
        assert.is_nil(result)
        assert.equal("pending", err.kind)
        assert.is_false(proc:step())
        assert.has_error(function() proc:wait(-1) end)
        assert.has_error(function() proc:wait("soon") end)
      end)

      it("gives the same result again", function()
        local proc <close> = spawn(sh("exit 3"))
        local result = assert(proc:wait())
        assert.equal(result, proc:wait())
        assert.equal(result, proc:wait(0))
        assert.equal(result, proc:result())
        assert.is_true(proc:step())
        proc:close()
        proc:close()
        assert.equal(result, proc:result())
        assert.equal(result, proc:wait())
      end)

      it("closed, kills, and is done with", function()
        local mark = new_mark()
        local proc = spawn(sh("sleep 30; true", mark))
        proc:close()
        proc:close()
        assert.is_true(vanishes(mark))
        local result, err = proc:wait()
        assert.is_nil(result)
        assert.equal("closed", err.kind)
        assert.equal("closed", select(2, proc:kill()).kind)
        assert.is_true(proc:cancel())
        assert.is_nil(proc:pid())
        assert.is_nil(proc:pollfd())
        assert.is_true(proc:step())
      end)

      it("collected, kills", function()
        local mark = new_mark()
        do
          local proc = spawn(sh("sleep 30; true", mark))
          assert.is_true(helper.poll(function() return count_marked(mark) > 0 end))
          assert.is_false(proc:step())
        end
        collectgarbage()
        collectgarbage()
        assert.is_true(vanishes(mark))
      end)

      it("works in an event loop", function()
        local proc <close> = spawn(sh("echo one; sleep 0.02; echo two"))
        local fd = proc:pollfd()
        assert.equal("r", proc.events())
        while not proc:step() do
          assert.equal(fd, proc:pollfd())
          local timeout = proc:timeout()
          assert.is_true(timeout > 0 and timeout < 30)
          assert.equal(1, core.poll({ fd }, timeout, {}))
        end
        assert.equal("one\ntwo\n", proc:result().stdout)
        assert.equal(0, proc:timeout())
      end)
    end)

    it("one poller serves successive runs", function()
      local poller = assert(process.poller())
      for i = 1, 3 do
        local proc <close> = assert(process.launch(sh("echo " .. i), {
          supervise = mode.supervise, poller = poller,
        }))
        assert.equal(poller:pollfd(), proc:pollfd())
        while not proc:step() do assert.equal(1, core.poll({ poller:pollfd() }, 5, {})) end
        assert.equal(i .. "\n", proc:result().stdout)
      end
      poller:close()
      poller:close()
    end)
  end)
end)

describe("process, kept:", function()
  local function run(...) return run_in(MODES.kept, ...) end

  -- Shell text that leaves processes behind, one of them holding stdout; ends when all of them run.
  local HIDING = [[
    (setsid sh -c 'trap "" TERM; echo a >&3; exec 3>&-; sleep 31; true' "$0" &)
    (setsid sh -c 'exec 0<&- 1>&- 2>&-; echo b >&3; exec 3>&-; sleep 31; true' "$0" &)
    (setsid sh -c 'echo c >&3; exec 3>&-; kill -STOP $$' "$0" &)
  ]]

  it("nothing survives the deadline", function()
    local mark = new_mark()
    local result = run(sh(("exec 3>&1\n%s sleep 31"):format(HIDING), mark), { timeout_secs = 2 })
    assert.equal("timeout", result.reason)
    assert.equal(6, result.stdout_bytes)
    assert.equal(0, count_marked(mark))
    assert.is_true(contains(result.enforced, "tree_kill"))
  end)

  it("nothing survives the program", function()
    local mark = new_mark()
    local text = ("(exec 3>&1; %s) | (read a; read b; read c); exit 6"):format(HIDING)
    local result = run(sh(text, mark))
    assert.equal(6, result.exit_code)
    assert.equal(0, count_marked(mark))
  end)

  it("memory_limit ends what takes too much, in one process or in many", function()
    local hog = "a = bytearray(60 << 20); import time; time.sleep(20)"
    local limits = { memory_bytes = 48 * 1024 * 1024 }
    local result = run({ "/usr/bin/python3", "-Sc", hog }, { limits = limits })
    assert.equal("memory_limit", result.reason)
    assert.is_true(contains(result.enforced, "memory_sampled")
        or contains(result.enforced, "memory_cgroup"))
    -- Whether all are ended or the kernel picks one, a program that minds has met its limit.
    local several = "for i in 1 2 3 4; do /usr/bin/python3 -Sc "
      .. "'a = bytearray(16 << 20); import time; time.sleep(1)' & pids=\"$pids $!\"; done; "
      .. "for pid in $pids; do wait $pid || exit 1; done"
    result = run(sh(several), { limits = { memory_bytes = 64 * 1024 * 1024 } })
    assert.equal("memory_limit", result.reason)
    result = run({ "/bin/true" }, { limits = limits })
    assert.is_true(result.ok)
  end)

  it("cpu_limit ends what works too long, in one process or in a chain", function()
    local limits = { cpu_secs = 0.15 }
    local short = "sh -c 'i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done'"
    for _, text in ipairs{ "while :; do :; done", "while :; do " .. short .. "; done" } do
      local result = run(sh(text), { limits = limits })
      assert.equal("cpu_limit", result.reason)
      assert.is_true(contains(result.enforced, "cpu_sampled"))
      assert.is_true(result.cpu_user_secs + result.cpu_system_secs >= 0.1)
    end
    assert.is_true(run({ "/bin/sleep", "0.2" }, { limits = limits }).ok)
  end)

  it("other limits hold in each process", function()
    local dir = helper.tmpdir()
    local result = run(sh("ulimit -n; ulimit -Hn; ulimit -c"), {
      limits = { open_files = 33, file_bytes = 4096 } })
    assert.equal("33\n33\n0\n", result.stdout)
    result = run(sh("exec head -c 100000 /dev/zero >" .. dir .. "/f"), {
      limits = { file_bytes = 4096 } })
    assert.equal("SIGXFSZ", result.signal)
    assert.equal(4096, #helper.read(dir .. "/f"))
  end)

  it("no limits, nothing claimed", function()
    local enforced = run({ "/bin/true" }).enforced
    for _, word in ipairs{ "memory_sampled", "memory_cgroup", "cpu_sampled", "pids_rlimit",
      "pids_cgroup", "pid_ns", "host_uid" } do
      assert.is_false(contains(enforced, word), word)
    end
  end)

  it("a program that kills its supervisor has lost its status", function()
    local mark = new_mark()
    local result = run(sh("kill -9 $PPID; sleep 31; true", mark))
    assert.equal("status_lost", result.reason)
    assert.is_nil(result.exit_code)
    assert.is_false(contains(result.enforced, "tree_kill"))
    assert.is_true(vanishes(mark))
  end)

  it("usage is of the whole tree", function()
    local result = run(sh("sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'"))
    assert.is_true(result.cpu_user_secs > 0.005)
    assert.is_true(result.max_rss_bytes > 100 * 1024)
  end)
end)

describe("a program that is named by a relative path", function()
  it("goes by that name, and not by that of what it leads to", function()
    local dir, before = helper.tmpdir(), lfs.currentdir()
    helper.write(dir .. "/bin/both", "#!/bin/sh\necho \"$0\"\n")
    helper.shell(("cd %s/bin && chmod +x both && ln -s both other"):format(dir))
    lfs.chdir(dir)
    local result = command.run({ "bin/other" }, { isolation = "none" })
    local gone, err = command.run({ "bin/gone" }, { isolation = "none" })
    lfs.chdir(before)
    assert.equal(sys.realpath(dir) .. "/bin/other\n", result.stdout)
    assert.same({ nil, "spawn_failed", "ENOENT" }, { gone, err.kind, err.errno })
  end)
end)

describe("process options", function()
  local function raises(text, fn)
    local ok, message = pcall(fn)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find(text, 1, true), tostring(message))
    assert.is_truthy(tostring(message):find("process_spec.lua", 1, true), tostring(message))
  end

  it("that do not exist raise, and the nearest is named", function()
    for name, fn in pairs{ run = command.run, spawn = command.spawn } do
      raises(name .. ": unknown option 'tiemout_secs' (did you mean 'timeout_secs'?)", function()
        fn({ "/bin/true" }, { tiemout_secs = 1 })
      end)
    end
    raises("launch: unknown option 'max_ouput_bytes' (did you mean 'max_output_bytes'?)", function()
      process.launch({ "/bin/true" }, { max_ouput_bytes = 1 })
    end)
    raises("unknown option 'memory_byte' (did you mean 'memory_bytes'?)", function()
      command.run({ "/bin/true" }, { isolation = "none", limits = { memory_byte = 1 } })
    end)
  end)

  it("of a wrong type or value raise", function()
    local wrong = {
      timeout_secs = { 0, -1, 0 / 0, "1" }, max_output_bytes = { 0, -5, 1.5 },
      max_stderr_bytes = { 0 }, stdin = { 5, {} }, env = { { A = 1 }, { "A=b" }, { ["A=B"] = "c" },
        { A = "\0" }, { [""] = "x" } }, cwd = { "", "a\0b", 7 }, supervise = { 1 },
      isolation = { "some", true }, limits = { { cpu_secs = 0 }, { processes = -1 }, 5 },
    }
    for name, values in pairs(wrong) do
      for _, value in ipairs(values) do
        local opts = { isolation = "none", [name] = value }
        raises(name == "limits" and type(value) == "table" and "limits" or name, function()
          command.run({ "/bin/true" }, opts)
        end)
      end
    end
  end)

  it("argv must be strings without NUL, and name a program", function()
    for _, argv in ipairs{ {}, { "" }, { 1 }, { "/bin/true", 5 }, { "/bin/true", "a\0b" },
      { "/bin/echo", nil, "x" } } do
      raises("argv", function() command.run(argv, { isolation = "none" }) end)
    end
    raises("argv", function() command.run("true", { isolation = "none" }) end)
    raises("argv", function() command.run() end)
  end)

  it("math.huge is no limit", function()
    local result = command.run({ "/bin/echo", "x" }, {
      isolation = "none", timeout_secs = math.huge, max_output_bytes = math.huge,
      max_stderr_bytes = math.huge, limits = { memory_bytes = math.huge, cpu_secs = math.huge },
    })
    assert.equal("x\n", result.stdout)
  end)

  it("that a sandbox has no use for raise, whichever it may be", function()
    for _, isolation in ipairs(helper.backends{ "auto", "native", "bwrap", "landlock", false }) do
      local sandboxed = isolation or nil
      raises("run: option 'cwd': it works only with isolation = \"none\"", function()
        command.run({ "/bin/true" }, { isolation = sandboxed, cwd = "/" })
      end)
      raises("sandbox.work_dir", function()
        command.spawn({ "/bin/true" }, { isolation = sandboxed, cwd = "/" })
      end)
      raises("option 'supervise': false works only", function()
        command.run({ "/bin/true" }, { isolation = sandboxed, supervise = false })
      end)
    end
    assert.is_true(command.run({ "/bin/true" }, { isolation = "none", cwd = "/",
      supervise = false }).ok)
  end)

  it("lower no isolation that the environment requires", function()
    helper.with_env({ NOETHER_REQUIRE_ISOLATION = "1" }, function()
      for _, require_isolation in ipairs{ true, false } do
        for _, fn in ipairs{ command.run, command.spawn } do
          local result, err = fn({ "/bin/true" }, {
            isolation = "none", require_isolation = require_isolation,
          })
          assert.is_nil(result)
          assert.equal("isolation_unavailable", err.kind)
          assert.is_truthy(err.hint:find("NOETHER_REQUIRE_ISOLATION", 1, true), err.hint)
        end
      end
    end)
    helper.with_env({ NOETHER_REQUIRE_ISOLATION = "0" }, function()
      assert.is_true(command.run({ "/bin/true" }, { isolation = "none" }).ok)
    end)
  end)

  it("are left as they were", function()
    local opts = { isolation = "none", env = { A = "b" }, limits = { cpu_secs = 5 } }
    command.run({ "/bin/true" }, opts)
    assert.same({ isolation = "none", env = { A = "b" }, limits = { cpu_secs = 5 } }, opts)
  end)
end)

describe("wait_any", function()
  local function spawn(...) return spawn_in(MODES.kept, { "/bin/sh", "-c", ... }) end

  it("gives the first that is over", function()
    local slow <close> = spawn "sleep 30"
    local fast <close> = spawn "sleep 0.02"
    assert.equal(2, sets.wait_any({ slow, fast }))
    assert.equal(2, sets.wait_any({ slow, fast }, 0))
    assert.is_true(fast:result().ok)
    assert.is_false(slow:step())
  end)

  it("says pending when the time is over", function()
    local slow <close> = spawn "sleep 30"
    for _, secs in ipairs{ 0, 0.02 } do
      local index, err = sets.wait_any({ slow }, secs)
      assert.is_nil(index)
      assert.equal("pending", err.kind)
    end
  end)

  it("sees deadlines, floods and those that nothing was heard of", function()
    local list = {
      spawn_in(MODES.bare, { "/bin/sleep", "30" }, { timeout_secs = 0.05 }),
      spawn_in(MODES.kept, { "/bin/sleep", "30" }, { timeout_secs = 0.1 }),
      spawn_in(MODES.kept, { "/usr/bin/yes" }, { max_output_bytes = 3000000 }),
    }
    local reasons = {}
    while #list > 0 do
      local index = assert(sets.wait_any(list, 5))
      local proc <close> = table.remove(list, index)
      reasons[#reasons + 1] = proc:result().reason
    end
    table.sort(reasons)
    assert.same({ "output_limit", "timeout", "timeout" }, reasons)
  end)

  it("takes many", function()
    local list, over = {}, 0
    for i = 1, 40 do list[i] = spawn_in(MODES[STARTS[i % 2 + 1]], { "/bin/true" }) end
    while #list > 0 do
      local proc <close> = table.remove(list, (assert(sets.wait_any(list, 10))))
      assert.is_true(proc:result().ok)
      over = over + 1
    end
    assert.equal(40, over)
  end)

  it("counts a closed one as over", function()
    local proc = spawn "sleep 30"
    proc:close()
    assert.equal(1, sets.wait_any({ proc }, 1))
  end)

  it("raises when there is nothing to wait for", function()
    assert.has_error(function() sets.wait_any({}) end)
    assert.has_error(function() sets.wait_any() end)
    assert.has_error(function() sets.wait_any({}, -1) end)
  end)

  it("raises for what is no list of handles", function()
    local proc <close> = spawn "exit 0"
    local cases = {
      { { proc }, "wait_any({ a, b }, secs)" }, { { proc, proc }, "wait_any({ a, b }, secs)" },
      { { { proc, 5 } }, "list[2]: expected a process or a task" },
      { { { nil, proc } }, "a list with holes" }, { { { p = proc } }, "got the name 'p'" },
      { {}, "expected a list, got nil" },
    }
    for _, case in ipairs(cases) do
      local ok, message = pcall(function()
        sets.wait_any(table.unpack(case[1], 1, 2))
      end)
      assert.is_false(ok)
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_truthy(message:find("process_spec.lua:%d+:"), message)
    end
    proc:wait()
  end)
end)

-- A launcher that is finalized before the first process must not be given its child.
describe("a Lua state that closes", function()
  it("ends the first program it ever started without touching freed memory", function()
    local output, code = helper.shell(("MALLOC_PERTURB_=165 %s -e %s"):format(
      helper.quote(helper.lua), helper.quote([[
        first = assert(require "noether.process".launch{ "/bin/sleep", "33.75" })]])))
    assert.equal("", output)
    assert.equal(0, code)
  end)
end)
