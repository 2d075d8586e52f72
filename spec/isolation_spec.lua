-- SPDX-License-Identifier: MIT
local descriptions = require "noether.sandbox.description"
local commands = require "noether.command"
local helper = require "spec.support.helper"
local process = require "noether.process"
local findings = require "noether.cache.found"
local isolation = require "noether.isolation"
local core = require "noether.core"
local errors = require "noether.error"
local noether = require "noether"
local tables = require "noether.tables"

-- Those that build a world of their own; both must hold the same promises.
local BACKENDS = { "native", "bwrap" }

local function contains(list, word)
  for _, item in ipairs(list) do
    if item == word then return true end
  end
  return false
end

-- The bare system, with what a test adds.
local function description(more)
  local made = descriptions.system()
  made.processes = true
  for name, value in pairs(more or {}) do
    if type(value) == "table" and made[name] and name ~= "limits" then
      for _, item in ipairs(value) do table.insert(made[name], item) end
    else
      made[name] = value
    end
  end
  return made
end

local function run(backend, argv, opts)
  local given = { isolation = backend, timeout_secs = 20, sandbox = description() }
  for name, value in pairs(opts or {}) do given[name] = value end
  return commands.run(argv, given)
end

local function sh(text, ...)
  return { "/bin/sh", "-c", text, ... }
end

-- What a shell command prints inside; fails the test if it does not run.
local function inside(backend, text, opts)
  local result = assert(run(backend, sh(text), opts))
  assert.is_true(result.ok, tostring(result.reason) .. ": " .. result.stderr)
  return result.stdout, result
end

-- Lua text run by a process of its own, where `hide` is a shell command that alters its mounts.
local function in_altered_host(hide, text, environment)
  local dir = helper.tmpdir()
  local script = helper.write(dir .. "/host.lua", text)
  local lua = ("%s %s %s"):format(helper.quote(helper.lua), script, helper.quote(dir))
  local flags = helper.own_mounts()
  local inner = ("%s && exec env %s %s"):format(hide, environment or "", lua)
  return helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
end

describe("isolation.choose", function()
  local launch = process.launch

  it("takes none only where nobody requires more", function()
    assert.same({ backend = "none", warnings = {} }, isolation.choose("none", launch))
    local chosen, err = isolation.choose("none", launch, { require = true })
    assert.is_nil(chosen)
    assert.equal("isolation_unavailable", err.kind)
    local result
    result, err = commands.run({ "/bin/true" }, { isolation = "none", require_isolation = true })
    assert.is_nil(result)
    assert.equal("isolation_unavailable", err.kind)
  end)

  it("takes what works, the strongest first", function()
    local chosen = assert(isolation.choose("auto", launch, { require = true }))
    assert.equal("native", chosen.backend)
    assert.same({}, chosen.warnings)
    assert.equal("native", commands.run({ "/bin/true" }).isolation)
  end)

  it("takes no weaker one because there was too little of something just then", function()
    for kind, errnos in pairs{
      spawn_failed = { "EMFILE", "EAGAIN" }, sandbox_failed = { "ENOMEM", "ENFILE" },
    } do
      for _, errno in ipairs(errnos) do
        local short, tried = errors.new{ kind = kind, message = "short", errno = errno }, 0
        local function failing(argv, opts)
          tried = tried + 1
          if opts.sandbox.backend == "native" then return nil, short end
          return launch(argv, opts)
        end
        for _, name in ipairs{ "auto", "native" } do
          local path = "/" .. errno .. name -- what worked once is not tried again
          local chosen, err = isolation.choose(name, failing, { path = path })
          assert.is_nil(chosen)
          assert.equal(short, err)
          assert.equal("native", assert(isolation.choose(name, launch, { path = path })).backend)
        end
        assert.equal(2, tried)
      end
    end
  end)

  -- As on a machine that is too busy to run `true` in time.
  local function slow(backend, seen)
    return function(argv, opts)
      local is_slow = opts.sandbox.backend == backend
      seen[#seen + 1] = opts.sandbox.backend
      return launch(is_slow and { "/bin/sleep", "60" } or argv, opts)
    end
  end

  it("takes no weaker one because a trial ran out of time, and remembers nothing of it", function()
    for _, name in ipairs{ "auto", "native" } do
      local path, seen = "/slow" .. name, {} -- what worked once is not tried again
      local chosen, err = isolation.choose(name, slow("native", seen),
        { path = path, patience = { 0.05, 0.1 } })
      assert.is_nil(chosen)
      assert.equal("sandbox_failed", err.kind)
      assert.equal("ETIMEDOUT", err.errno)
      assert.is_true(errors.is_shortage(err))
      assert.equal('isolation "native" could not be tried: /usr/bin/true did not answer '
        .. "within 0.1 s", err.message)
      assert.matches("busy", err.hint)
      assert.same({ "native", "native" }, seen) -- a second time, and nothing else
      assert.equal("native", assert(isolation.choose(name, launch, { path = path })).backend)
    end
  end)

  it("gives a slow trial more time at its second try", function()
    local given = {}
    local chosen = assert(isolation.choose("auto", function(argv, opts)
      given[#given + 1] = opts.timeout_secs
      return launch(#given == 1 and { "/bin/sleep", "60" } or argv, opts)
    end, { path = "/second", patience = { 0.05, 30 } }))
    assert.equal("native", chosen.backend)
    assert.same({ 0.05, 30 }, given)
  end)

  it("takes no weaker one because a trial was killed", function()
    local chosen, err = isolation.choose("auto", function(_, opts)
      return launch({ "/bin/sh", "-c", "kill -KILL $$" }, opts)
    end, { path = "/killed" })
    assert.is_nil(chosen)
    assert.is_true(errors.is_shortage(err))
  end)

  it("believes what worked for another process of the same machine, and no refusal", function()
    local dir = helper.tmpdir()
    local function tried(name, found, pretended)
      isolation.forget() -- as another process
      local seen = {}
      local chosen = isolation.choose(name, function(argv, opts)
        seen[#seen + 1] = opts.sandbox.backend
        if pretended == opts.sandbox.backend then argv = { "/bin/false" } end
        return launch(argv, opts)
      end, { found = found })
      return chosen and chosen.backend, table.concat(seen, " ")
    end
    local found = findings.of{ dir = dir }
    assert.same({ "native", "native" }, { tried("auto", found) })
    assert.same({ "native", "" }, { tried("auto", found) })
    assert.same({ "bwrap", "bwrap" }, { tried("bwrap", found) })
    assert.same({ "bwrap", "" }, { tried("bwrap", found) })
    isolation.forget(found)
    assert.same({ "bwrap", "native bwrap" }, { tried("auto", found, "native") })
    assert.same({ "bwrap", "native" }, { tried("auto", found, "native") }) -- it may work by now
    assert.same({ "native", "native" }, { tried("auto", found) })
    assert.same({ "native", "native" }, { tried("auto", findings.of{ dir = dir .. "/other" }) })
    isolation.forget()
  end)

  it("tries again where the machine is another one", function()
    local dir = helper.tmpdir()
    helper.shell("chmod 755 " .. dir)
    local text = ([[
      local isolation, process = require "noether.isolation", require "noether.process"
      local count = 0
      local chosen, err = isolation.choose("auto", function(argv, opts)
        count = count + 1
        return process.launch(argv, opts)
      end, { found = require "noether.cache.found".of{ dir = %q } })
      print(chosen and chosen.backend or err, count)]]):format(dir)
    local script = helper.write(dir .. "/choose.lua", text)
    local command = ("%s %s"):format(helper.quote(helper.lua), script)
    assert.equal("native\t1\n", (helper.shell(command)))
    assert.equal("native\t0\n", (helper.shell(command)))
    local flags = helper.own_mounts()
    local other = helper.shell(("unshare %s %s"):format(flags, command))
    assert.matches("\t[1-9]\n$", other) -- another mount namespace, as that of a container
    other = helper.shell("setpriv --no-new-privs " .. command)
    assert.matches("\t[1-9]\n$", other)
  end)

  it("takes the one that is named", function()
    for _, name in ipairs(BACKENDS) do
      assert.equal(name, assert(isolation.choose(name, launch)).backend)
      assert.equal(name, assert(run(name, { "/bin/true" })).isolation)
    end
  end)

  it("trusts only a bubblewrap of the system's, and warns of another", function()
    assert.equal("/usr/bin/bwrap", isolation.choose("bwrap", launch).path)
    local output = in_altered_host(
      "cp /usr/bin/bwrap $TMPDIR/bwrap && mount --bind /dev/null /usr/bin/bwrap", [[
        local isolation = require "noether.isolation"
        local chosen, err = isolation.choose("bwrap", require "noether.process".launch,
          { path = os.getenv "TMPDIR" })
        print(chosen and chosen.path == os.getenv "TMPDIR" .. "/bwrap", err)
        print(chosen and #chosen.warnings, chosen and chosen.warnings[1])
      ]], "TMPDIR=" .. "$TMPDIR")
    os.remove(os.getenv "TMPDIR" .. "/bwrap")
    assert.is_truthy(output:find("^true\tnil\n1\tbwrap was found at .*/bwrap, by PATH"), output)
  end)

  it("says what to do about what failed, whatever words a path has", function()
    for _, word in ipairs{ "Permission denied", "No space left on device", "plain" } do
      local result, err = run("native", { "/bin/true" }, {
        sandbox = description{ ro_binds = { "/nonesuch/" .. word } },
      })
      assert.is_nil(result)
      assert.same({ "input_invalid", "ENOENT" }, { err.kind, err.errno })
      -- What goes away after that look.
      result, err = launch({ "/bin/true" }, {
        sandbox = { backend = "native", ro_binds = { "/nonesuch/" .. word } },
      })
      assert.is_nil(result)
      assert.same({ "sandbox_failed", "bind", "ENOENT" }, { err.kind, err.operation, err.errno })
      assert.equal("a path that was to be bound does not exist", err.hint)
    end
    local _, err = commands.run({ "/nonesuch/stdin: x" }, { isolation = "none" })
    assert.same({ "spawn_failed", "ENOENT" }, { err.kind, err.errno })
    assert.truthy(err.hint:find("does the program", 1, true))
    _, err = commands.run({ "/bin/true" }, { isolation = "none", stdin = { path = "/nonesuch" } })
    assert.same({ "stdin", "ENOENT" }, { err.operation, err.errno })
    assert.truthy(err.hint:find("is there such a file", 1, true))
  end)

  it("says so where there is no bubblewrap", function()
    local output = in_altered_host("mount --bind /dev/null /usr/bin/bwrap", [[
      local chosen, err = require "noether.isolation".choose("bwrap",
        require "noether.process".launch, { path = "/nowhere" })
      print(chosen, err.kind, err)
    ]])
    assert.is_truthy(output:find(
      'nil\tisolation_unavailable\tisolation "bwrap" does not work here: bubblewrap is not', 1,
      true), output)
  end)

  it("repeats what a broken one says", function()
    local output = in_altered_host([[
      printf '#!/bin/sh\necho "bwrap: I am broken" >&2\nexit 1\n' >$TMPDIR/broken
      chmod 755 $TMPDIR/broken; mount --bind $TMPDIR/broken /usr/bin/bwrap]], [[
      local chosen, err = require "noether.isolation".choose("bwrap",
        require "noether.process".launch, { path = "/usr/bin" })
      print(chosen, err.kind, err, err.hint)
    ]])
    os.remove(os.getenv "TMPDIR" .. "/broken")
    assert.is_truthy(output:find("^nil\tisolation_unavailable\t.*bwrap: I am broken\tsee SECURITY"),
      output)
  end)
end)

describe("a description", function()
  it("is refused whole for one wrong path", function()
    local wrong = {
      { ro_binds = { "/usr/../etc" } }, { rw_binds = { "relative" } }, { ro_binds = { "/proc" } },
      { ro_binds = { "/" } }, { rw_binds = { { source = "/tmp", target = "/dev/x" } } },
      { ro_binds = { "/sys/fs" } }, { rw_binds = { "/a/./b" } }, { ro_binds = { "/a//b" } },
      { links = { { target = "bin", source = "usr/bin" } } },
      { links = { { target = "/proc/x", source = "y" } } }, { work_dir = "/work/.." },
    }
    for _, more in ipairs(wrong) do
      for _, backend in ipairs(BACKENDS) do
        local result, err = run(backend, { "/bin/true" }, { sandbox = description(more) })
        assert.is_nil(result)
        assert.equal("policy_error", err.kind)
      end
    end
  end)

  it("that is to show what is not there is the caller's mistake, in every backend", function()
    local missing = helper.tmpdir() .. "/missing"
    for _, backend in ipairs(helper.backends{ "native", "bwrap", "landlock" }) do
      for _, binds in ipairs{ { ro_binds = { missing } },
        { rw_binds = { { source = missing, target = "/x" } } } } do
        local result, err = noether.run({ "true" }, {
          isolation = backend, sandbox = tables.merged(descriptions.system(), binds),
        })
        assert.is_nil(result)
        assert.same({ "input_invalid", "ENOENT" }, { err.kind, err.errno })
        assert.truthy(err.hint:find("must be there", 1, true), err.hint)
      end
    end
  end)

  it("raises for a field that does not exist or is of a wrong type", function()
    for _, more in ipairs{ { ro_bind = {} }, { network = "some" }, { work_dir = 5 },
      { ro_binds = { { sorce = "/usr", target = "/usr" } } }, { rw_binds = { { source = "/a" } } },
      { backend = "docker" }, { ro_binds = { 7 } }, { limits = { memory_bytes = 0 } } } do
      local sandbox = { backend = "bwrap" }
      for name, value in pairs(more) do sandbox[name] = value end
      assert.has_error(function() process.launch({ "/bin/true" }, { sandbox = sandbox }) end)
    end
  end)
end)

helper.over({ backends = BACKENDS }, "in %s", function(backend)
  describe("a program", function()
    it("ends arrive exactly", function()
      for _, code in ipairs{ 0, 1, 2, 126, 127, 137, 255 } do
        assert.equal(code, run(backend, sh("exit " .. code)).exit_code)
      end
      for _, name in ipairs{ "TERM", "KILL", "SEGV", "ABRT", "USR1", "PIPE" } do
        local result = run(backend, sh("kill -" .. name .. " $$"))
        assert.equal("signal", result.reason)
        assert.equal("SIG" .. name, result.signal)
        assert.is_nil(result.exit_code)
      end
    end)

    it("a program that is not there is spawn_failed, a bind the caller's mistake", function()
      local result, err = run(backend, { "/no/such/program" })
      assert.is_nil(result)
      assert.equal("spawn_failed", err.kind)
      assert.equal("ENOENT", err.errno)
      result, err = run(backend, { "/etc/passwd" },
        { sandbox = description{ ro_binds = { "/etc/passwd" } } })
      assert.is_nil(result)
      assert.equal("EACCES", err.errno)
      result, err = run(backend, { "/bin/true" },
        { sandbox = description{ ro_binds = { "/no/such/source" } } })
      assert.is_nil(result)
      assert.equal("input_invalid", err.kind)
      assert.is_truthy(err.message:find("/no/such/source", 1, true), err.message)
    end)

    it("a program that fails as a broken sandbox would is a program that failed", function()
      local result = run(backend, sh("echo \"bwrap: Can't find source path\" >&2; exit 1"))
      assert.equal("exit", result.reason)
      assert.equal(1, result.exit_code)
    end)

    it("lives in namespaces of its own", function()
      local text, result = inside(backend, "cd /proc/self/ns; for n in *; do readlink $n; done")
      for kind, word in pairs{ user = "user_ns", mnt = "mount_ns", pid = "pid_ns", net = "net_ns",
        ipc = "ipc_ns", uts = "uts_ns" } do
        local own = require("lfs").symlinkattributes("/proc/self/ns/" .. kind, "target")
        assert.is_truthy(text:find(kind .. ":[", 1, true), text)
        assert.is_nil(text:find(own, 1, true), kind)
        assert.is_true(contains(result.enforced, word), word)
      end
    end)

    it("has no rights, and can gain none", function()
      local text, result = inside(backend, "cat /proc/self/status; id -u; id -g; id -G")
      for _, set in ipairs{ "Inh", "Prm", "Eff", "Bnd", "Amb" } do
        assert.equal("0000000000000000", text:match("Cap" .. set .. ":%s+(%x+)"), set)
      end
      assert.equal("1", text:match "NoNewPrivs:%s+(%d)")
      assert.is_nil(text:match "\n0\n")
      for _, word in ipairs{ "caps", "no_new_privs" } do
        assert.is_true(contains(result.enforced, word), word)
      end
    end)

    it("is never the host's user 0, or does not claim it", function()
      local proc <close> = assert(commands.spawn(sh("sleep 30.125; true"),
        { isolation = backend, sandbox = description() }))
      local uids = {}
      assert.is_true(helper.poll(function()
        for _, pid in ipairs(helper.list "/proc") do
          local file = pid:find "^%d+$" and io.open("/proc/" .. pid .. "/cmdline", "rb")
          local line = file and file:read "a" or ""
          if file then file:close() end
          if line == "sleep\0" .. "30.125\0" then
            uids[#uids + 1] = helper.read("/proc/" .. pid .. "/status"):match "Uid:%s+(%d+)"
          end
        end
        return #uids > 0
      end))
      proc:cancel()
      assert.equal(contains(proc:wait().enforced, "host_uid"), uids[1] ~= "0")
    end)

    it("sees nothing of the host's files, processes and network", function()
      helper.with_env({ NOETHER_SECRET = "secret" }, function()
        local text, result = inside(backend, [[
          cat /etc/passwd /etc/shadow /root/* 2>&1; ls -A / /home /root 2>&1; env
          ls -d /proc/[0-9]*; cat /proc/net/dev; hostname; cat /proc/*/environ 2>&1; true]])
        assert.is_nil(text:find("root:x:", 1, true))
        assert.is_nil(text:find("secret", 1, true))
        assert.is_nil(text:find(helper.root, 1, true))
        local _, processes = text:gsub("/proc/%d+", "")
        assert.is_true(processes >= 2 and processes < 12)
        local _, interfaces = text:gsub("\n%s*%w+:%s+%d+%s", "")
        assert.equal(1, interfaces)
        assert.is_truthy(text:find("\n%s*lo:"))
        assert.is_nil(text:find("\n" .. helper.read("/proc/sys/kernel/hostname"), 1, true))
        assert.is_true(contains(result.enforced, "net_ns"))
        assert.is_true(contains(result.enforced, "fresh_proc"))
      end)
    end)

    -- glibc's AI_ADDRCONFIG, which many programs ask for, wants an address besides loopback's.
    it("finds its own loopback by every family, and by its name where that is known", function()
      local names = backend == "native" and { "127.0.0.1", "::1", "127.0.0.1" }
        or { "127.0.0.1", "::1" }
      assert.equal(table.concat(names, "\n") .. "\n", (inside(backend, [[
        for q in "v4 127.0.0.1" "v6 ::1" "v4 localhost"; do
          getent ahosts$q | awk '{ print $1; exit }'
        done]], { sandbox = description{ ro_binds = { "/etc/alternatives" } } })))
      local text = inside(backend, "cat /proc/net/dev /proc/net/route /proc/net/ipv6_route")
      assert.is_nil(text:find "eth") -- and there is no way out
      assert.is_nil(text:find("\n%S+%s+00000000%s"))
    end)

    it("has the host's network where that is asked for", function()
      local host = helper.read("/proc/self/net/dev")
      local text, result = inside(backend, "cat /proc/self/net/dev",
        { sandbox = description{ network = "host" } })
      assert.equal(select(2, host:gsub("\n", "")), select(2, text:gsub("\n", "")))
      assert.is_false(contains(result.enforced, "net_ns"))
    end)

    it("cannot write to the kernel's settings", function()
      local before = helper.read "/proc/sys/kernel/core_pattern"
      local text = inside(backend, [[
        for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness /proc/sysrq-trigger; do
          if test -e $f && (echo 7 >$f); then echo wrote $f; else echo refused $f; fi
        done 2>&1]])
      assert.is_nil(text:find "wrote")
      assert.equal(3, select(2, text:gsub("refused", "")))
      assert.equal(before, helper.read "/proc/sys/kernel/core_pattern")
    end)

    it("writes only where it may", function()
      local text = inside(backend, [[
        for d in / /usr /usr/bin /bin /etc /proc /dev /work /tmp /dev/shm; do
          if echo x >$d/noether-test; then echo "yes $d"; else echo "no $d"; fi
        done 2>/dev/null; pwd]])
      assert.equal([[
no /
no /usr
no /usr/bin
no /bin
no /etc
no /proc
no /dev
yes /work
yes /tmp
yes /dev/shm
/work
]], text)
    end)

    it("binds, links and the working directory are where they were described", function()
      local dir = helper.tmpdir()
      helper.shell(("mkdir %s/rw %s/rw/ro %s/ro; chmod -R 777 %s"):format(dir, dir, dir, dir))
      helper.write(dir .. "/ro/file", "read me")
      local text = inside(backend, [[
        pwd; cat /data/in/file /link/file; echo "written" >out
        echo x >ro/no || echo refused; echo x >/data/in/no || echo refused]], {
        sandbox = description{
          rw_binds = { { source = dir .. "/rw", target = "/data/rw" } },
          ro_binds = { { source = dir .. "/rw/ro", target = "/data/rw/ro" },
            { source = dir .. "/ro", target = "/data/in" } },
          links = { { target = "/link", source = "data/in" } }, work_dir = "/data/rw",
        },
      })
      assert.equal("/data/rw\nread meread merefused\nrefused\n", text)
      assert.equal("written\n", helper.read(dir .. "/rw/out"))
      assert.same({}, helper.list(dir .. "/rw/ro"))
    end)

    it("private directories have a size", function()
      local text, result = inside(backend, [[
        for d in /work /tmp /dev/shm; do
          head -c 900000 /dev/zero >$d/a && echo fits; rm $d/a
          head -c 3000000 /dev/zero 2>/dev/null >$d/b || echo full; rm $d/b
        done]], { limits = { private_bytes = 1024 * 1024 } })
      assert.equal(("fits\nfull\n"):rep(3), text)
      assert.is_true(contains(result.enforced, "tmpfs_limits"))
    end)

    it("private directories share their size where the walls are ours", function()
      local text = inside(backend, [[
        head -c 700000 /dev/zero >/work/a
        head -c 700000 /dev/zero 2>/dev/null >/tmp/b && echo fits || echo full]],
        { limits = { private_bytes = 1024 * 1024 } })
      assert.equal(backend == "native" and "full\n" or "fits\n", text)
    end)

    it("the number of processes is limited, of this run only", function()
      local fork = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done 2>/dev/null; wait"
      local bomb = [[import os, time
n = 0
try:
    while n < 60:
        if os.fork() == 0:
            time.sleep(20)
        n += 1
except OSError as e:
    print(n, e.errno, flush=True)
    time.sleep(20)
print("all", flush=True)
time.sleep(20)]]
      local proc <close> = assert(commands.spawn({ "/usr/bin/python3", "-Sc", bomb }, {
        isolation = backend, sandbox = description(), limits = { processes = 20 },
        timeout_secs = 5 }))
      local other = run(backend, sh(fork), { limits = { processes = 20 } })
      assert.is_true(other.ok, other.stderr)
      local result = proc:wait()
      assert.equal("timeout", result.reason)
      if contains(result.enforced, "pids_rlimit") then
        local count = tonumber(result.stdout:match "^(%d+) 11\n")
        assert.is_true(count and count >= 10 and count <= 20, result.stdout)
      else
        assert.equal("bwrap as root", backend .. (helper.is_root() and " as root" or ""))
      end
    end)

    it("memory and processor time are limited", function()
      local result = run(backend, { "/usr/bin/python3", "-Sc",
        "a = bytearray(80 << 20); import time; time.sleep(20)" },
        { limits = { memory_bytes = 64 * 1024 * 1024 } })
      assert.equal("memory_limit", result.reason)
      assert.is_true(contains(result.enforced, "memory_sampled")
        or contains(result.enforced, "memory_cgroup"))
      assert.is_false(contains(result.enforced, "cpu_sampled"))
      result = run(backend, sh("while :; do :; done"), { limits = { cpu_secs = 0.1 } })
      assert.is_false(contains(result.enforced, "memory_sampled")
        or contains(result.enforced, "memory_cgroup"))
      assert.equal("cpu_limit", result.reason)
      assert.is_true(contains(result.enforced, "cpu_sampled"))
    end)

    it("the deadline ends all there is inside", function()
      local before = core.clock()
      local proc <close> = assert(commands.spawn(sh([[
        (setsid sh -c 'trap "" TERM; sleep 31.5' &); (setsid sh -c 'exec >&-; sleep 31.5' &)
        echo said; sleep 31.5]]),
        { isolation = backend, sandbox = description(), timeout_secs = 1 }))
      local result = proc:wait()
      assert.equal("timeout", result.reason)
      assert.equal("said\n", result.stdout)
      assert.is_true(core.clock() - before < 10)
      assert.is_true(contains(result.enforced, "tree_kill"))
      for _, pid in ipairs(helper.list "/proc") do
        local file = pid:find "^%d+$" and io.open("/proc/" .. pid .. "/cmdline", "rb")
        local line = file and file:read "a" or ""
        if file then file:close() end
        assert.is_nil(line:find("31.5", 1, true))
      end
    end)

    it("signals, cancelling and closing reach what is inside", function()
      local opts = { isolation = backend, sandbox = description() }
      local proc <close> = assert(commands.spawn({ "/bin/sleep", "31.25" }, opts))
      assert.is_true(proc:kill "USR1")
      assert.equal("SIGUSR1", proc:wait().signal)
      local other <close> = assert(commands.spawn({ "/bin/sleep", "31.25" }, opts))
      other:cancel()
      assert.equal("cancelled", other:wait().reason)
      assert(commands.spawn({ "/bin/sleep", "31.25" }, opts)):close()
    end)

    it("cancelled at any moment, it is cancelled or over, never lost", function()
      for i = 0, 60 do
        local proc <close> = assert(process.launch({ "/bin/true" }, {
          sandbox = descriptions.of_backend(assert(isolation.choose(backend, process.launch)),
            description()) }))
        local until_then = core.clock() + i * 0.0005
        while core.clock() < until_then do proc:step() end
        proc:cancel()
        local result = assert(proc:wait())
        assert.is_true(result.reason == "cancelled" or result.reason == "exit", result.reason)
      end
    end)

    it("variables of the program are not its launcher's", function()
      local dir = helper.tmpdir()
      local result = run(backend, sh("env"), { env = {
        LD_PRELOAD = "/no/such/library.so", LD_LIBRARY_PATH = dir, BASH_ENV = "/x" } })
      assert.is_truthy(result.stdout:find("LD_PRELOAD=/no/such/library.so\n", 1, true))
      -- The loader complains once for each program it starts: sh and env, and none before them.
      assert.equal(2, select(2, result.stderr:gsub("no/such/library.so", "")))
    end)

    it("has a clean environment", function()
      helper.with_env({ LANG = "C.UTF-8", TZ = "UTC", PYTHONPATH = "/x" }, function()
        local names = {}
        for name in inside(backend, "env"):gmatch "([%w_]+)=" do names[name] = true end
        for _, name in ipairs{ "PWD", "OLDPWD", "SHLVL", "_" } do names[name] = nil end
        assert.same({ HOME = true, USER = true, TMPDIR = true, PATH = true, LANG = true, TZ = true,
          LC_ALL = names.LC_ALL, LC_CTYPE = names.LC_CTYPE }, names)
      end)
    end)

    it("starts with only its three streams", function()
      local text = helper.shell(("%s -e %s 4</etc/passwd 7</etc/passwd"):format(
        helper.quote(helper.lua), helper.quote(([[
          local r = require "noether.command".run({ "/bin/sh", "-c",
            "for i in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$i && echo $i; done; true" },
            { isolation = %q })
          io.write(r.stdout)]]):format(backend))))
      assert.equal("0\n1\n2\n", text)
    end)
  end)
end)
