-- SPDX-License-Identifier: MIT
--- Hosts on which sandboxes are hard to come by, made for real in namespaces of the test's own.
local helper = require "spec.support.helper"
local json = require "noether.json"

-- What each language can see of its sandbox, beside an answer.
local PROGRAM = [[
local noether = require "noether"
local json = require "noether.json"
local STAGES = {
  python = "import os\n"
    .. "def execute(i):\n"
    .. "    return {'n': i['n'] * 2, 'own_proc': os.path.exists('/proc/self/status'),\n"
    .. "            'uid': os.getuid(), 'pid': os.getpid()}",
  javascript = "import fs from 'node:fs';\n"
    .. "export function execute(i) {\n"
    .. "  return { n: i.n * 2, own_proc: fs.existsSync('/proc/self/status'),\n"
    .. "    uid: process.getuid(), pid: process.pid };\n"
    .. "}",
  bash = "execute() {\n"
    .. "  own=false; [ ! -e /proc/self/status ] || own=true\n"
    .. "  echo '{\"n\":42,\"own_proc\":'$own',\"uid\":'$UID',\"pid\":'$$'}'\n"
    .. "}",
}
local answers = {}
for language, code in pairs(STAGES) do
  local output, err, info = noether.execute{ language = language, code = code, input = { n = 21 } }
  answers[language] = {
    output = output, err = err and tostring(err), isolation = info.isolation,
    enforced = info.enforced,
  }
end
print((assert(json.encode(answers))))]]

-- Runs the program on a host that the shell command `prepare` makes in new namespaces; `enter`
-- precedes the program, and the Lua text `before` its own.
local function on_host(flags, prepare, enter, before)
  local script = helper.write(helper.tmpdir() .. "/stages.lua", (before or "") .. PROGRAM)
  local inner = ("%s && exec %s %s %s"):format(prepare, enter, helper.quote(helper.lua), script)
  local output, code = helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
  assert.equal(0, code, output)
  return assert(json.decode(output), output)
end

local function has(list, word)
  for _, item in ipairs(list) do
    if item == word then return true end
  end
  return false
end

local NAMESPACES = { "user_ns", "mount_ns", "pid_ns", "net_ns", "ipc_ns", "uts_ns", "cgroup_ns" }

describe("stages on a host without user namespaces", function()
  it("run under Landlock, and are told no more than that", function()
    local answers = on_host("-U --map-user=1000 --map-group=1000 --keep-caps -m",
      "echo 0 >/proc/sys/user/max_user_namespaces",
      "setpriv --inh-caps=-all --ambient-caps=-all")
    for _, language in ipairs{ "python", "javascript", "bash" } do
      local answer = answers[language]
      assert.is_nil(answer.err, language)
      assert.equal(42, answer.output.n, language)
      assert.equal("landlock", answer.isolation)
      for _, word in ipairs{ "landlock", "seccomp", "no_new_privs", "tree_kill", "host_death" } do
        assert.is_true(has(answer.enforced, word), language .. " lacks " .. word)
      end
      -- The host's own id and process numbers, and so it is said.
      assert.equal(1000, answer.output.uid, language)
      assert.is_true(answer.output.pid > 2, language)
      for _, word in ipairs{ "host_uid", "fresh_proc", "tmpfs_limits" } do
        assert.is_false(has(answer.enforced, word), language .. " claims " .. word)
      end
      for _, word in ipairs(NAMESPACES) do
        assert.is_false(has(answer.enforced, word), language .. " claims " .. word)
      end
    end
  end)
end)

describe("stages on a host whose /proc is covered in part", function()
  local COVER = "mount --bind /dev/null /proc/interrupts"

  local function check(answers)
    for _, language in ipairs{ "python", "javascript", "bash" } do
      local answer = answers[language]
      assert.is_nil(answer.err, language)
      assert.equal(42, answer.output.n, language)
      assert.equal("native", answer.isolation)
      assert.equal(65533, answer.output.uid, language)
      assert.equal(3, answer.output.pid, language)
      assert.is_false(answer.output.own_proc, language)
      assert.is_false(has(answer.enforced, "fresh_proc"), language)
      for _, word in ipairs(NAMESPACES) do
        assert.is_true(has(answer.enforced, word), language .. " lacks " .. word)
      end
    end
  end

  it("run under native, with a stub in its place", function()
    if not helper.can_make_hosts() then return end
    if helper.is_admin() then
      check(on_host("-m", COVER, ""))
    else
      -- As an ordinary user again: root of a namespace could take the cover away.
      check(on_host("-Urm", COVER, "unshare -U --map-user=1000 --map-group=1000 --"))
    end
  end)
end)

describe("stages on a host whose root is read-only, without a /tmp", function()
  it("run all the same, and leave nothing in shared memory", function()
    if not helper.can_make_hosts() then return end
    local dir = helper.tmpdir()
    local prepare = helper.write(dir .. "/prepare.sh", [[
      mount --make-rprivate / && mount --rbind / /mnt && mount -o remount,ro,bind /mnt || exit 1
      ! mountpoint -q /mnt/tmp || mount -o remount,ro,bind /mnt/tmp || exit 1
      mount -t tmpfs tmpfs /mnt/dev/shm && cd /mnt && pivot_root . mnt && umount -l /mnt || exit 1
      cd / && ! touch "$TMPDIR/x" 2>/dev/null || exit 1
      exec env -u HOME -u XDG_CACHE_HOME -u NOETHER_CACHE_DIR TMPDIR=/tmp "$@"]])
    local script = helper.write(dir .. "/stages.lua", PROGRAM
      .. '\nnoether.executor():close()\nprint(#require "noether.sys".list("/dev/shm"))')
    local output, code = helper.shell(("unshare %s -- sh %s %s %s"):format(
      helper.own_mounts(), prepare, helper.quote(helper.lua), script))
    assert.equal(0, code, output)
    local answers = assert(json.decode(output:match "^[^\n]*"), output)
    for _, language in ipairs{ "python", "javascript", "bash" } do
      assert.is_nil(answers[language].err, language)
      assert.equal(42, answers[language].output.n, language)
      assert.equal("native", answers[language].isolation)
    end
  end)
end)

describe("a stage of root's, on a file system whose files cannot be shown as its own", function()
  if not helper.is_admin() then return end

  it("is told why it may not read what only root may", function()
    local dir = helper.tmpdir()
    local script = helper.write(dir .. "/host.lua", [[
      local noether = require "noether"
      local executor = assert(noether.executor{ isolation = "native" })
      local _, err = executor:execute({ language = "python",
        code = "def execute(path): return open(path).read()",
        effects = { { FsRead = arg[1] } } }, arg[1] .. "/file")
      print(err.kind, err.hint)]])
    local prepare = helper.write(dir .. "/prepare.sh", [[
      cd "$1" && shift && chmod 755 . && mkdir lower upper work shown && echo secret >lower/file &&
      chmod 600 lower/file &&
      mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work shown && exec "$@"]])
    local output = helper.shell(("unshare -m sh %s %s %s %s %s/shown"):format(prepare, dir,
      helper.quote(helper.lua), script, dir))
    assert.matches("^stage_failed\t[^\n]*/shown/file has the mode 0600 and is shown", output)
    assert.truthy(output:find("chmod o+r)", 1, true), output)
    assert.is_nil(output:find("secret", 1, true))
  end)
end)

-- What a host is, at the head of a program that tries its sandboxes.
local TRY = [[
local commands = require "noether.command"
local function inside(isolation, command, sandbox)
  local result, err = commands.run({ "/bin/sh", "-c", command },
    { isolation = isolation, sandbox = sandbox, timeout_secs = 60 })
  if not result then return nil, err end
  return result.stdout, " " .. table.concat(result.enforced, " ") .. " "
end
]]

local function as_host(enter, text, ...)
  local script = helper.write(helper.tmpdir() .. "/host.lua", TRY .. text)
  local words = { enter, helper.quote(helper.lua), script }
  for _, argument in ipairs{ ... } do words[#words + 1] = helper.quote(argument) end
  return (helper.shell(table.concat(words, " ")))
end

describe("stages in a container whose filter refuses another host name", function()
  local REFUSE = ("package.cpath = %q\n"):format(package.cpath)
    .. 'require "spec.support.posix".refuse("sethostname")\n'

  it("run under native, which does not claim to hide it", function()
    if not helper.can_make_hosts() then return end
    for _, answer in pairs(on_host(helper.is_admin() and "--time" or "-Ur", "true", "", REFUSE)) do
      assert.is_nil(answer.err)
      assert.equal("native", answer.isolation)
      assert.equal(42, answer.output.n)
      assert.is_false(has(answer.enforced, "uts_ns"))
      for _, word in ipairs{ "user_ns", "mount_ns", "pid_ns", "net_ns", "ipc_ns" } do
        assert.is_true(has(answer.enforced, word), word)
      end
    end
  end)

  it("may not set it either", function()
    local output = as_host("", REFUSE .. [[
      local name, enforced = inside("native", "cat /proc/sys/kernel/hostname; hostname other 2>&1")
      io.write(name, enforced)]])
    assert.equal(helper.read "/proc/sys/kernel/hostname", output:match "^[^\n]*\n")
    assert.is_nil(output:find "uts_ns")
    assert.equal(helper.read "/proc/sys/kernel/hostname", output:match "^[^\n]*\n")
  end)
end)

-- As Podman and Docker start one: root, with some rights, and without that of mounting.
describe("stages of a container's root", function()
  if not helper.is_root() then return end
  local ENTER = "setpriv --bounding-set -sys_admin --inh-caps=-all"

  it("run under native, as another user", function()
    for language, answer in pairs(on_host(helper.is_admin() and "-m" or "", "true", ENTER)) do
      assert.is_nil(answer.err)
      assert.equal("native", answer.isolation)
      assert.equal(42, answer.output.n)
      assert.equal(65533, answer.output.uid, language)
      for _, word in ipairs{ "host_uid", "mount_ns", "caps", "fresh_proc", "host_death" } do
        assert.is_true(has(answer.enforced, word), word)
      end
    end
  end)

  it("run under bwrap, too, and cannot change the host's devices", function()
    local output = as_host(ENTER, [[
      print(inside("bwrap", "echo 42; chmod 600 /dev/null 2>&1"))]])
    assert.matches("^42\n.*not permitted\n\t user_ns ", (output:gsub("Read%-only file system",
      "not permitted")))
    assert.equal(438, require "noether.sys".stat("/dev/null").mode) -- 0666
  end)

  it("reach what only root may, to read, and are told of what cannot be given them", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/closed/open", "text")
    helper.write(dir .. "/closed/own", "secret")
    helper.shell(("chmod 700 %s/closed; chmod 600 %s/closed/own"):format(dir, dir))
    local output = as_host(ENTER, [[
      local descriptions = require "noether.sandbox.description"
      for _, name in ipairs{ "open", "own" } do
        local sandbox = descriptions.system()
        sandbox.ro_binds[#sandbox.ro_binds + 1] = { source = arg[1] .. "/closed/" .. name,
          target = "/data" }
        print(inside("native", "cat /data", sandbox))
      end]], dir)
    assert.matches("^text\t", output)
    assert.is_nil(output:find("secret", 1, true))
    assert.is_truthy(output:find(dir .. "/closed/own (owner 0, mode 0600): Permission denied", 1,
      true), output)
  end)

  it("leave nothing, and die with their host", function()
    local mark = "sleep 41.0625"
    local output = as_host(ENTER, [[
      local proc = assert(commands.spawn({ "/bin/sh", "-c", arg[1] .. "; true" },
        { isolation = "native" }))
      print(proc:pid())
      io.stdout:flush()
      os.execute("kill -KILL $PPID")]], mark)
    assert.matches("^%d+", output)
    assert.is_true(helper.poll(function()
      return (helper.shell("pgrep -cxf " .. helper.quote(mark))):match "^0"
    end) ~= nil)
  end)
end)

describe("a chroot", function()
  it("is told as what it is, by errors and by doctor", function()
    if not helper.can_make_hosts() then return end
    local dir = helper.tmpdir()
    helper.write(dir .. "/ask.lua", [[
      local noether = require "noether"
      local _, err = noether.run({ "true" }, { isolation = "native" })
      local report = noether.doctor()
      local by_name = {}
      for _, check in ipairs(report.checks) do by_name[check.name] = check end
      print(err.kind, err.hint)
      print(by_name.user_namespaces.hint)
      print(report.user_namespaces.chroot)]])
    local root = dir .. "/root"
    local inner = ([[
      mkdir -p %s && cd %s && mkdir proc dev usr tmp own
      for d in bin sbin lib lib64 lib32; do [ ! -L /$d ] || ln -s usr/$d $d; done
      mount --rbind /proc proc && mount --rbind /dev dev && mount --bind /usr usr
      mount --bind %s own && exec chroot . /own/%s /ask.lua]]):format(root, root,
        helper.lua:match "^(.*)/", helper.lua:match "[^/]+$")
    helper.shell(("mkdir -p %s && cp %s/ask.lua %s"):format(root, dir, root))
    local flags = helper.own_mounts()
    local output = helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
    assert.matches("^isolation_unavailable\ta chroot has no user namespaces", output)
    assert.matches("\na chroot has no user namespaces[^\n]*\ntrue\n", output)
  end)
end)

-- What hosts do to themselves, tried by a program in each.
local ASK = [[
  local noether = require "noether"
  local function say(output, err)
    print(err and err.kind or "fine", err and tostring(err), err and err.hint)
  end
  local stage = { language = "bash", code = "execute() { echo 1; }", effects = {} }
  local executor = noether.check(noether.executor{ timeout_secs = 60 })
  say(executor:execute(stage))
  executor:close()
  for _, name in ipairs{ "none", "native", "landlock" } do
    say(noether.run({ "/bin/true" }, { isolation = name }))
  end]]

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

describe("a host that may have no children", function()
  -- Whom the kernel does not limit; and what looks for leaks by a process of its own.
  if helper.is_root() or helper.sanitized then return end

  it("is told so, by every way to start something", function()
    local script = helper.write(helper.tmpdir() .. "/ask.lua", ASK)
    -- Exec: a shell that forks could not.
    local output = helper.shell(("exec prlimit --nproc=0:0 %s %s"):format(
      helper.quote(helper.lua), script))
    local lines = lines_of(output)
    assert.equal(4, #lines, output)
    for _, line in ipairs(lines) do
      assert.matches("^spawn_failed\t", line)
      assert.truthy(line:find("its limit of processes is 0", 1, true), line)
    end
  end)
end)

describe("a root of its own", function()
  -- What is in it, after /own: the tree with the interpreter.
  local function inside(prepare)
    local dir = helper.tmpdir()
    helper.write(dir .. "/root/ask.lua", ASK)
    local script = helper.write(dir .. "/prepare.sh", ([[
      cd "$1" && mount -t tmpfs tmpfs "$1" && mkdir proc dev usr tmp own && echo "$2" >ask.lua &&
      mount --rbind /dev dev && mount --bind "$3" own || exit 1
      for d in bin sbin lib lib64 lib32; do [ ! -L /$d ] || ln -s usr/$d $d; done
      %s
      exec env -u HOME -u LUA_PATH chroot . "/own/$4" /ask.lua]]):format(prepare))
    local words = { dir .. "/root", ASK, helper.lua:match "^(.*)/", helper.lua:match "[^/]+$" }
    for index, word in ipairs(words) do words[index] = helper.quote(word) end
    local output = helper.shell(("unshare %s -- sh %s %s"):format(
      helper.own_mounts(), script, table.concat(words, " ")))
    local lines = lines_of(output)
    assert.equal(4, #lines, output)
    return lines
  end

  if helper.sanitized then return end -- they read /proc

  it("without /proc has Landlock, and is told what it lacks for more", function()
    local lines = inside "mount --rbind /usr usr || exit 1"
    assert.matches("^fine", lines[1])
    assert.matches("^fine", lines[2])
    assert.matches("^isolation_unavailable\t.*\tthere is no /proc here", lines[3])
    assert.matches("^fine", lines[4])
  end)

  it("without /usr is told that there is nothing to run", function()
    local lines = inside [[
      mkdir -p usr/lib64 usr/lib && cp -L /lib64/ld-linux-x86-64.so.2 usr/lib64/ || exit 1
      for file in $(ldd "$3/$4" | grep -o '/[^ ]*'); do
        mkdir -p ".${file%/*}" && cp -L "$file" ".$file" || exit 1
      done]]
    assert.matches("^runtime_unavailable\tno bash interpreter that works", lines[1])
    assert.matches("^spawn_failed\t.*No such file or directory", lines[2])
    assert.matches("^isolation_unavailable\t.*no program 'true' to try it with", lines[3])
    assert.matches("^isolation_unavailable\t.*no program 'true' to try it with", lines[4])
  end)
end)
