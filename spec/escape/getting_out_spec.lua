-- SPDX-License-Identifier: MIT
--- Getting out: files, mounts, ids, other processes, namespaces, the kernel's surface, the network.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local sys = require "noether.sys"

setup(cage.build)

-- A process of the host's that notes in a file that it is there, and what comes to it. The first
-- line is a number: a port, or its id.
local function serve(kind, log)
  local proc = cage.start("none", { kind .. "=" .. log, "nap=60000" })
  local first = helper.poll(function()
    return sys.stat(log) and helper.read(log):match "^(%d+)\n"
  end)
  return proc, assert(first, "no answer from " .. kind)
end

cage.each("files that are not bound", function(backend)
  it("cannot be read, listed or found", function()
    local dir = helper.tmpdir()
    local secret = helper.write(dir .. "/secret", "host")
    local words = {
      "read=" .. secret, "show=" .. secret, "list=" .. dir, "read=/proc/self/root" .. secret,
      "read=" .. cage.dir .. "/.." .. secret, "read=/proc/self/cwd/../../../../.." .. secret,
      "read=/etc/shadow", "read=/etc/machine-id", "read=/proc/self/fd/3", "read=/dev/kmsg",
      "read=/dev/mem", "read=" .. helper.root .. "/Makefile", "list=/root", "list=/home",
      "list=/var", "list=/run", "list=/sys", "list=/boot", "list=/etc/ssl",
    }
    local valid = { "read=" .. secret, "list=" .. dir }
    cage.run("none", valid):done(valid)
    cage.run(backend, words):refused(words)
  end)

  it("cannot be written, nor can those that may only be read", function()
    local readable, writable = helper.tmpdir(), helper.tmpdir()
    local file = helper.write(readable .. "/file", "host")
    sys.chmod(writable, tonumber("777", 8))
    local words = {
      "write=" .. file, "unlink=" .. file, "rename=" .. file, "link=" .. file,
      "create=" .. readable .. "/new", "mkdir=" .. readable .. "/new",
      "symlink=" .. readable .. "/new", "create=/escape", "mkdir=/escape", "symlink=/escape",
      "create=/usr/escape", "create=/usr/bin/escape", "create=/etc/escape", "create=/dev/escape",
      "write=/etc/ld.so.cache", "write=/usr/bin/env", "rename=/usr/bin/env", "unlink=/dev/null",
      "write=/proc/self/exe", "mknod=" .. writable .. "/node",
    }
    local new = "create=" .. writable .. "/new"
    local report = cage.run(backend, cage.concat(words, { new }), {
      ro = { readable }, rw = { writable },
    })
    report:refused(words)
    report:done{ new }
    assert.equal("host", helper.read(file))
    assert.same({ "file" }, sys.list(readable))
    assert.same({ "new" }, sys.list(writable))
  end)

  it("keep their mode, owner, times and attributes", function()
    local dir = helper.tmpdir()
    local file = helper.write(dir .. "/file", "host")
    local words = {}
    for _, attempt in ipairs{ "chmod", "chown", "touch", "setxattr" } do
      words = cage.concat(words, cage.each_of(attempt, { file, dir, "/usr/bin/env" }))
    end
    -- The times of a device are anybody's who may write to it.
    for _, attempt in ipairs{ "chmod", "chown", "setxattr" } do
      words = cage.concat(words, cage.each_of(attempt, { "/dev/null", "/dev/zero" }))
    end
    cage.run("none", { "chmod=" .. file, "chown=" .. file, "touch=" .. file }):done{
      "chmod=" .. file, "chown=" .. file, "touch=" .. file,
    }
    cage.run(backend, words, { ro = { dir } }):refused(words)
    assert.equal(tonumber("666", 8), sys.stat("/dev/null").mode)
  end)

  it("cannot be reached by handle", function()
    local words = { "handle=/usr", "call=name_to_handle_at", "call=open_by_handle_at" }
    cage.run(backend, words):refused(words)
  end)

  it("get the host's umask where they may be written", function()
    local dir = helper.tmpdir()
    sys.chmod(dir, tonumber("777", 8))
    local result = assert(cage.launch(backend, {
      "/bin/sh", "-c", ("umask; echo >%s/file"):format(dir),
    }, { rw = { dir } }):wait())
    local host = helper.shell("umask")
    assert.equal(host, result.stdout)
    assert.equal(0, sys.stat(dir .. "/file").mode & tonumber(host, 8))
  end)
end)

-- Sysctls and other switches of the kernel; as root these are no more than files of user 0.
cage.each("switches of the kernel", function(backend)
  local SWITCHES = {
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/suid_dumpable", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
    "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "/proc/self/mem",
    "/proc/self/oom_score_adj", "/proc/1/oom_score_adj", "/proc/self/attr/current",
    "/proc/self/timens_offsets",
  }

  it("cannot be turned", function()
    local words = cage.each_of("write", SWITCHES)
    local before = helper.read "/proc/sys/kernel/core_pattern"
    cage.run(backend, words):refused(words)
    assert.equal(before, helper.read "/proc/sys/kernel/core_pattern")
  end)

  it("cannot be read where they tell of the kernel", function()
    local words = cage.each_of("read", { "/proc/kcore", "/proc/kmsg", "/proc/1/stack" })
    cage.run(backend, words):refused(words)
  end)
end)

cage.each("mounts", function(backend)
  it("cannot be made, changed, moved or taken away", function()
    local dir = helper.tmpdir()
    local words = {
      "mount=/tmp", "mount=" .. dir, "remount=/usr", "remount=/", "remount=/proc", "bind=/tmp",
      "move=/tmp", "propagation=/", "umount=/usr", "umount=/proc", "umount=/", "umount=/tmp",
      "pivot_root=/tmp", "chroot=/tmp", "chroot=/usr", "call=open_tree", "call=move_mount",
      "call=fsopen", "call=fsmount", "call=fspick", "call=mount_setattr",
    }
    local before = helper.read "/proc/self/mountinfo"
    cage.run(backend, words, { ro = { dir } }):refused(words)
    assert.equal(before, helper.read "/proc/self/mountinfo")
  end)
end)

cage.each("ids and capabilities", function(backend)
  it("cannot be won back", function()
    local words = { "setuid=0", "setgid=0", "setgroups=0", "capset", "ambient" }
    if backend == "landlock" and helper.is_root() then
      words = { "setgroups=0", "capset", "ambient" } -- it is user 0 already, of no capability
    end
    cage.run(backend, words):refused(words)
  end)

  it("are none", function()
    local text = cage.run(backend, { "status" }).result.stdout
    for _, set in ipairs{ "CapInh", "CapPrm", "CapEff", "CapAmb" } do
      assert.truthy(text:find(set .. ":\t0000000000000000\n", 1, true), text)
    end
    assert.truthy(text:find("NoNewPrivs:\t1\n", 1, true), text)
    assert.truthy(text:find("Seccomp:\t2\n", 1, true), text)
    if backend == "landlock" then return end
    assert.truthy(text:find("CapBnd:\t0000000000000000\n", 1, true), text)
    assert.truthy(text:find("Uid:\t65533\t65533\t65533\t65533\n", 1, true), text)
    assert.truthy(text:find("Gid:\t65533\t65533\t65533\t65533\n", 1, true), text)
  end)

  it("are not given by a set-uid program", function()
    local dir = helper.tmpdir()
    local copy = dir .. "/probe"
    assert.equal(0, select(2, helper.shell(("cp %s %s && chmod 6755 %s"):format(
      cage.probe, copy, copy))))
    local report = cage.read(assert(cage.launch(backend, { copy, "euid", "setuid=0" }, {
      ro = { dir },
    }):wait()))
    local own = backend == "landlock" and sys.geteuid() or 65533
    assert.equal(own, report:number "euid")
  end)
end)

cage.each("the launcher", function(backend)
  it("cannot be looked into", function()
    local words = cage.each_of("read", {
      "/proc/1/environ", "/proc/1/maps", "/proc/1/smaps", "/proc/1/mem", "/proc/1/auxv",
      "/proc/1/syscall", "/proc/1/io", "/proc/1/personality", "/proc/1/task/1/mem",
      "/proc/1/exe", "/proc/1/fd/3", "/proc/1/map_files", "/proc/1/pagemap",
    })
    for _, word in ipairs(cage.each_of("readlink", {
      "/proc/1/exe", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0", "/proc/1/fd/3",
      "/proc/1/ns/mnt", "/proc/1/ns/user",
    })) do
      words[#words + 1] = word
    end
    for _, word in ipairs{
      "list=/proc/1/root/", "list=/proc/1/cwd/", "write=/proc/1/mem", "write=/proc/1/exe",
    } do
      words[#words + 1] = word
    end
    cage.run(backend, words):refused(words)
  end)

  it("is not the program's own image", function()
    if backend == "landlock" then return end
    local report = cage.run(backend, { "readlink=/proc/self/exe" })
    assert.equal(cage.probe, report:value "readlink")
  end)

  it("cannot be traced, copied from or compared", function()
    local words = { "ptrace=1", "vm_read=1", "getfd=1", "kcmp=1" }
    cage.run(backend, words):refused(words)
  end)

  it("cannot be starved, so that no status would arrive", function()
    local words = {
      "prlimit=1", "priority=1", "user_priority", "affinity=1", "scheduler=1", "kill=1",
    }
    if not cage.kernel(6, 12) then table.remove(words) end
    local report = cage.run(backend, { table.unpack(words) })
    report:refused(words)
  end)

  it("outlives every signal, and tells the exact status", function()
    local report = cage.run(backend, { "signals=1", "exit=42" })
    assert.is_true(report.tried["signals=1"])
    if cage.kernel(6, 12) then report:failed("signals=1", "EPERM") end
    assert.equal("exit", report.result.reason)
    assert.equal(42, report.result.exit_code)
  end)
end)

cage.each("processes of the host", function(backend)
  local log, victim, pid

  before_each(function()
    log = helper.tmpdir() .. "/victim"
    victim, pid = serve("victim", log)
  end)
  after_each(function() cage.stop(victim) end)

  it("cannot be signalled, traced or read", function()
    local words = {
      "kill=" .. pid, "kill=" .. sys.getpid(), "signals=" .. pid, "ptrace=" .. pid,
      "vm_read=" .. pid, "getfd=" .. pid, "kcmp=" .. pid, "prlimit=" .. pid,
      "priority=" .. pid, "affinity=" .. pid, "scheduler=" .. pid,
      "read=/proc/" .. pid .. "/environ",
    }
    if not cage.kernel(6, 12) and backend == "landlock" then
      table.remove(words, 1)
    end
    cage.run(backend, words):refused(words)
    assert.is_true(cage.alive(pid))
    cage.run("none", { "priority=" .. pid, "kill=" .. pid }):done{
      "priority=" .. pid, "kill=" .. pid,
    }
    assert.is_true(helper.poll(function() return not cage.alive(pid) end))
  end)

  it("are spared by a signal to all", function()
    cage.run(backend, { "kill=-1" })
    assert.is_true(cage.alive(pid))
  end)

  it("are not to be seen", function()
    local report = cage.run(backend, { "processes" })
    if backend == "landlock" then return report:refused{ "processes" } end
    -- Of native's own init a helper came before the program, and is gone.
    assert.equal(backend == "native" and "1 3 " or "1 2 ", report:value "processes")
  end)
end)

cage.each("namespaces", function(backend)
  local FLAGS = {
    "0x00020000", "0x02000000", "0x04000000", "0x08000000", "0x10000000", "0x20000000",
    "0x40000000", "0x10020000",
  }

  it("cannot be made", function()
    for _, call in ipairs{ "unshare", "clone", "clone3" } do
      local words = cage.each_of(call, FLAGS)
      cage.run(backend, words):refused(words)
    end
    cage.run(backend, { "unshare=0x80" }):refused{ "unshare=0x80" }
    cage.run("none", { "unshare=0x10000000" }):done{ "unshare=0x10000000" }
  end)

  it("cannot be entered", function()
    local words = cage.each_of("setns", {
      "/proc/self/ns/user", "/proc/self/ns/mnt", "/proc/1/ns/mnt",
    })
    cage.run(backend, words):refused(words)
  end)
end)

cage.each("system calls", function(backend)
  it("that are large, rare or for root are refused", function()
    local words = {}
    for name in cage.run("none", { "calls" }):value "calls":gmatch "%S+" do
      words[#words + 1] = "call=" .. name
    end
    assert.is_true(#words > 35)
    local report = cage.run(backend, words)
    for _, word in ipairs(words) do
      report:failed(word, "EPERM", "ENOSYS")
    end
  end)

  it("that are newer than the list are unknown", function()
    local words = {}
    for call = 451, 470 do
      words[#words + 1] = "unknown_call=" .. call
    end
    words[#words + 1] = "unknown_call=0x3fffffff"
    local report = cage.run(backend, words)
    for _, word in ipairs(words) do
      report:failed(word, "ENOSYS")
    end
  end)

  it("by the 32-bit door or by x32 numbers are unknown", function()
    local words = { "int80=20", "int80=2", "int80=11", "x32=39", "x32=57", "x32=520" }
    local report = cage.run(backend, words)
    for _, word in ipairs(words) do
      report:failed(word, "ENOSYS")
    end
  end)

  it("by a door that the kernel does not have are unknown, and no end of the program", function()
    local report = cage.run(backend, { "int81=20", "read=/proc/self/stat" })
    report:failed("int81=20", "ENOSYS")
    report:done{ "read=/proc/self/stat" }
    assert.equal("none", report:value "door")
  end)

  it("that type into a terminal are refused, however the command is written", function()
    local words = {}
    for _, command in ipairs{ "5412", "541c" } do
      for _, upper in ipairs{ "", "1", "ffffffff", "80000000", "00000001" } do
        words[#words + 1] = "ioctl=0x" .. upper .. (upper ~= "" and "0000" or "") .. command
      end
    end
    local report = cage.run(backend, words)
    for _, word in ipairs(words) do
      report:failed(word, "EPERM")
    end
    local harmless = cage.run(backend, { "ioctl=0x5413" })
    assert.not_equal("EPERM", harmless.outcome["ioctl=0x5413"])
  end)
end)

cage.each("without a network", function(backend)
  -- FAMILY/TYPE of what remains: UNIX sockets, IP and routing tables of an empty network.
  local FAMILIES = {
    native = "1/1 1/2 1/3 1/5 2/1 2/2 10/1 10/2 16/2 16/3 ",
    bwrap = "1/1 1/2 1/3 1/5 2/1 2/2 10/1 10/2 16/2 16/3 ",
    landlock = "",
  }

  it("there are no other families of sockets", function()
    assert.equal(FAMILIES[backend], cage.run(backend, { "families" }):value "families")
    local words = cage.each_of("socket", {
      "2,3,1", "2,3,255", "2,10,3", "10,3,58", "17,3,3", "17,10,3", "40,1,0", "38,5,0", "31,3,1",
      "16,3,12", "16,3,15", "16,3,16", "2,1,262", "2,2,136", "2,1,132", "2,5,132", "2,6,33",
      "0x100000028,1,0", "0xffffffff00000028,1,0", "0x100000011,3,3", "2,0x100000003,1",
      "44,3,0", "15,3,2", "29,3,1", "45,1,0", "30,5,0", "21,5,0", "11,5,0", "23,1,0",
    })
    cage.run(backend, words):refused(words)
  end)

  it("nothing on this machine can be reached", function()
    local dir = helper.tmpdir()
    local tcp, port = serve("serve_tcp", dir .. "/tcp")
    local abstract = serve("serve_abstract", dir .. "/abstract")
    local unix = serve("serve_unix", dir .. "/unix")
    local words = {
      "tcp=" .. port, "abstract=" .. dir .. "/abstract", "unix=" .. dir .. "/unix.socket",
    }
    cage.run(backend, words):refused(words)
    for _, word in ipairs(words) do
      assert.falsy(helper.read(dir .. "/" .. word:match "^%a+"):find "connected")
    end
    words[3] = "unix=" .. dir .. "/unix.socket"
    cage.run("none", words):done(words)
    for _, kind in ipairs{ "tcp", "abstract", "unix" } do
      assert.truthy(helper.poll(function()
        return helper.read(dir .. "/" .. kind):find "connected"
      end))
    end
    for _, proc in ipairs{ tcp, abstract, unix } do
      cage.stop(proc)
    end
  end)

  it("nothing can be sent to the world", function()
    local words = { "udp=53", "udp=123" }
    cage.run(backend, words):refused(words)
  end)
end)

cage.each("with the network of the host", function(backend)
  it("TCP works, and nothing but IP does", function()
    local dir = helper.tmpdir()
    local tcp, port = serve("serve_tcp", dir .. "/tcp")
    local report = cage.run(backend, { "tcp=" .. port, "families" }, { network = "host" })
    report:done{ "tcp=" .. port }
    -- Without walls a socket of the host's could be reached by its name.
    local unix = backend == "landlock" and "" or "1/1 1/2 1/3 1/5 "
    assert.equal(unix .. "2/1 2/2 10/1 10/2 16/2 16/3 ", report:value "families")
    local words = cage.each_of("socket", {
      "2,3,1", "2,3,255", "2,10,3", "17,3,3", "40,1,0", "38,5,0", "16,3,12", "0x100000028,1,0",
    })
    cage.run(backend, words, { network = "host" }):refused(words)
    cage.stop(tcp)
  end)

  it("an abstract socket of the host is still out of reach", function()
    if not cage.kernel(6, 12) then return end
    local log = helper.tmpdir() .. "/abstract"
    local proc = serve("serve_abstract", log)
    local words = { "abstract=" .. log }
    cage.run(backend, words, { network = "host" }):refused(words)
    assert.falsy(helper.read(log):find "connected")
    cage.stop(proc)
  end)

  it("a socket in a directory that is bound can be connected to, as SECURITY.md says", function()
    if backend == "landlock" then return end
    local dir = helper.tmpdir()
    local proc = serve("serve_unix", dir .. "/unix")
    cage.run(backend, { "unix=" .. dir .. "/unix.socket" }, { ro = { dir } }):done{
      "unix=" .. dir .. "/unix.socket",
    }
    cage.stop(proc)
  end)
end)

cage.each("a directory that may be written", function(backend)
  it("cannot be left a set-uid program of its owner's", function()
    local dir = helper.tmpdir()
    sys.chmod(dir, tonumber("777", 8))
    local words = { "set_id=" .. dir .. "/file", "born_set_id=" .. dir .. "/born" }
    cage.run(backend, words, { rw = { dir } }):refused(words)
    for _, name in ipairs(helper.list(dir)) do
      assert.equal(0, sys.stat(dir .. "/" .. name).mode & tonumber("6000", 8))
    end
  end)

  it("can have what is set-uid there already rewritten, as SECURITY.md says", function()
    local dir = helper.tmpdir()
    local path = dir .. "/program"
    sys.chmod(dir, tonumber("777", 8))
    helper.write(path, "#old")
    sys.chmod(path, tonumber("4666", 8))
    cage.run(backend, { "rewrite=" .. path }, { rw = { dir } }):done{ "rewrite=" .. path }
    assert.equal("!old", helper.read(path))
    assert.equal(tonumber("4666", 8), sys.stat(path).mode & tonumber("7777", 8))
  end)
end)
