-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local sys = require "noether.sys"

-- Runs Lua text in a mount namespace of its own, with a tmpfs of `size` at `dir`.
local function in_small_disk(dir, size, text)
  local script = helper.write(helper.tmpdir() .. "/script.lua", text)
  local inner = ("mount -t tmpfs -o size=%s none %s && exec %s %s %s"):format(
    size, helper.quote(dir), helper.quote(helper.lua), script, helper.quote(dir))
  local flags = helper.own_mounts()
  return helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
end

local function mode_of(path)
  return ("%o"):format(sys.stat(path).mode)
end

describe("sys.listen", function()
  it("gives a port of this machine's loopback, and counts who connects to it", function()
    local listener, port = sys.listen()
    assert.equal(0, listener:accepted())
    helper.shell(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d'"):format(port))
    helper.shell(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d'"):format(port))
    assert.equal(2, listener:accepted())
    assert.equal(0, listener:accepted())
    listener:close()
    assert.equal(0, listener:accepted())
    local _, code = helper.shell(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d'"):format(port))
    assert.not_equal(0, code)
  end)
end)

describe("sys.sha256", function()
  -- FIPS 180-4 examples and their kin (NIST CAVP).
  local VECTORS = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { ("a"):rep(1000000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
    { ("\0"):rep(64), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b" },
  }

  it("gives the known answers", function()
    for _, vector in ipairs(VECTORS) do
      assert.equal(vector[2], sys.sha256(vector[1]))
    end
  end)

  it("refuses what is no string", function()
    assert.has_error(function() sys.sha256() end)
    assert.has_error(function() sys.sha256({}) end)
  end)
end)

describe("sys facts", function()
  it("have a clock that does not go back", function()
    local before = sys.clock()
    assert.is_true(sys.clock() >= before)
    assert.is_true(math.abs(sys.time() - os.time()) < 5)
  end)

  it("see the environment as it is", function()
    helper.with_env({ NOETHER_SPEC = "a=b\nc" }, function()
      assert.equal("a=b\nc", sys.environ().NOETHER_SPEC)
    end)
    assert.is_nil(sys.environ().NOETHER_SPEC)
  end)

  it("know the process and the machine", function()
    assert.equal(helper.is_root(), sys.geteuid() == 0)
    assert.equal(helper.read("/proc/self/stat"):match("^%d+"), tostring(sys.getpid()))
    assert.is_true(sys.cpu_count() >= 1)
    assert.is_false(sys.isatty(helper.is_root() and 1000 or 1001))
  end)
end)

describe("sys paths", function()
  it("raise where they hold a zero byte", function()
    local names = { "access", "chmod", "file_equals", "list", "lock", "mkdir", "mkdir_private",
      "mkdtemp", "read_file", "readlink", "realpath", "remove_tree", "rename", "stat", "unlink",
      "write_file" }
    for _, name in ipairs(names) do
      assert.error_matches(function() sys[name]("/tmp/a\0b", "x", 1) end, "zero byte")
    end
  end)

  it("appear in messages, with their end where they are long", function()
    local _, message, errno = sys.read_file("/nowhere/at/all")
    assert.equal("open: /nowhere/at/all: No such file or directory", message)
    assert.equal("ENOENT", errno)
    _, message, errno = sys.read_file(("/x"):rep(3000) .. "/the-end")
    assert.equal("ENAMETOOLONG", errno)
    assert.matches("^open: %.%.%..*/the%-end: File name too long$", message)
  end)

  it("are resolved and told apart", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "12345")
    helper.shell(("cd %s && ln -s file link && mkfifo fifo"):format(dir))
    assert.equal("file", sys.stat(dir .. "/file").type)
    assert.equal(5, sys.stat(dir .. "/file").size)
    assert.equal("link", sys.stat(dir .. "/link").type)
    assert.equal("file", sys.stat(dir .. "/link", true).type)
    assert.equal("fifo", sys.stat(dir .. "/fifo").type)
    assert.equal("directory", sys.stat(dir).type)
    assert.equal("char", sys.stat("/dev/null").type)
    assert.equal("file", sys.readlink(dir .. "/link"))
    assert.equal(sys.realpath(dir) .. "/file", sys.realpath(dir .. "/link"))
    assert.equal(sys.realpath(dir) .. "/link", sys.absolute(dir .. "/link"))
    assert.equal(sys.realpath(dir), sys.absolute(dir .. "/."))
    assert.equal("/", sys.absolute "/..")
    assert.equal("/etc", sys.absolute "/etc")
    assert.same({ nil, "ENOENT" }, { sys.absolute(dir .. "/gone"),
      select(3, sys.absolute(dir .. "/gone")) })
    assert.is_true(sys.access(dir .. "/file", "rw"))
    assert.equal("EACCES", select(3, sys.access(dir .. "/file", "x")))
    assert.error_matches(function() sys.access(dir, "q") end, "only r, w and x")
  end)

  it("are known by a stamp until they are changed or replaced", function()
    local dir = helper.tmpdir()
    local file = helper.write(dir .. "/file", "12345")
    helper.shell(("cd %s && ln -s file link"):format(dir))
    local seen, through = sys.stamp(file), sys.stamp(dir .. "/link", true)
    assert.equal(seen, sys.stamp(file))
    assert.equal(seen, through)
    assert.not_equal(seen, sys.stamp(dir .. "/link"))
    helper.shell(("cd %s && cp -p file new && mv new file"):format(dir))
    assert.not_equal(seen, sys.stamp(file))
    assert.is_nil(sys.stamp(dir .. "/none"))
  end)
end)

describe("sys.read_file", function()
  it("reads every byte", function()
    local path = helper.write(helper.tmpdir() .. "/file", "a\0b\r\n\255")
    assert.equal("a\0b\r\n\255", sys.read_file(path))
    assert.equal("", sys.read_file(helper.write(path, "")))
    local big = ("0123456789"):rep(100000)
    assert.is_true(sys.read_file(helper.write(path, big)) == big)
  end)

  it("reads as much as is allowed, and not a byte more", function()
    local path = helper.write(helper.tmpdir() .. "/file", "12345")
    assert.equal("12345", sys.read_file(path, 5))
    assert.equal("EFBIG", select(3, sys.read_file(path, 4)))
    assert.equal("EFBIG", select(3, sys.read_file("/proc/self/status", 20)))
    assert.error_matches(function() sys.read_file(path, 0 / 0) end, "number of bytes")
  end)

  it("reads files whose size the system does not know", function()
    assert.equal(helper.read("/proc/self/cmdline"), sys.read_file("/proc/self/cmdline"))
  end)

  it("refuses links, directories, and a fifo without waiting for it", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "secret")
    helper.shell(("cd %s && ln -s file link && mkfifo fifo"):format(dir))
    assert.equal("ELOOP", select(3, sys.read_file(dir .. "/link")))
    assert.equal("EINVAL", select(3, sys.read_file(dir .. "/fifo")))
    assert.equal("EISDIR", select(3, sys.read_file(dir)))
  end)
end)

describe("sys.file_equals", function()
  it("compares all of a file", function()
    local text = ("x"):rep(40000)
    local path = helper.write(helper.tmpdir() .. "/file", text)
    assert.is_true(sys.file_equals(path, text))
    assert.is_false(sys.file_equals(path, text .. "x"))
    assert.is_false(sys.file_equals(path, text:sub(2)))
    assert.is_false(sys.file_equals(path, text:sub(2) .. "y"))
    assert.is_false(sys.file_equals(path, "y" .. text:sub(2)))
    assert.equal("ENOENT", select(3, sys.file_equals(path .. "2", text)))
  end)
end)

describe("sys.write_file", function()
  it("writes under the name, with the mode that was asked for", function()
    local dir = helper.tmpdir()
    assert.is_true(sys.write_file(dir .. "/a", "text\0", tonumber("666", 8)))
    assert.equal("text\0", helper.read(dir .. "/a"))
    assert.equal("666", mode_of(dir .. "/a"))
    assert.is_true(sys.write_file(dir .. "/a", "more"))
    assert.equal("more", helper.read(dir .. "/a"))
    assert.equal("600", mode_of(dir .. "/a"))
    assert.same({ "a" }, helper.list(dir))
  end)

  it("replaces a link, and leaves alone what it led to", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/precious", "old")
    helper.shell(("ln -s precious %s/link"):format(dir))
    assert.is_true(sys.write_file(dir .. "/link", "new"))
    assert.equal("old", helper.read(dir .. "/precious"))
    assert.equal("file", sys.stat(dir .. "/link").type)
  end)

  it("leaves nothing behind where it fails", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/taken/file", "")
    assert.equal("EISDIR", select(3, sys.write_file(dir .. "/taken", "x")))
    helper.shell("mkfifo " .. helper.quote(dir .. "/fifo"))
    assert.equal("EINVAL", select(3, sys.write_file(dir .. "/fifo", "x")))
    assert.equal("fifo", sys.stat(dir .. "/fifo").type)
    os.remove(dir .. "/fifo")
    assert.equal("ENOENT", select(3, sys.write_file(dir .. "/none/file", "x")))
    assert.equal("EINVAL", select(3, sys.write_file(dir .. "/taken/", "x")))
    assert.equal("EINVAL", select(3, sys.write_file(dir .. "/..", "x")))
    assert.same({ "taken" }, helper.list(dir))
    assert.error_matches(function() sys.write_file(dir .. "/a", "x", 65536) end, "not a file mode")
  end)

  it("keeps the old file whole on a full disk", function()
    local output = in_small_disk(helper.tmpdir(), "64k", [[
      local sys, dir = require "noether.sys", ...
      assert(sys.write_file(dir .. "/file", "old"))
      print(select(3, sys.write_file(dir .. "/file", ("x"):rep(1000000))))
      print(sys.read_file(dir .. "/file"))
      print(table.concat(sys.list(dir), " "))
    ]])
    assert.equal("ENOSPC\nold\nfile\n", output)
  end)
end)

describe("sys.rename and sys.exchange", function()
  it("move a name and swap two", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/a/one", "")
    helper.write(dir .. "/b/two", "")
    assert.is_true(sys.exchange(dir .. "/a", dir .. "/b"))
    assert.same({ "two" }, helper.list(dir .. "/a"))
    assert.equal("ENOTEMPTY", select(3, sys.rename(dir .. "/a", dir .. "/b")))
    assert.is_true(sys.rename(dir .. "/a", dir .. "/c"))
    assert.same({ "b", "c" }, helper.list(dir))
    assert.equal("ENOENT", select(3, sys.exchange(dir .. "/a", dir .. "/b")))
  end)
end)

describe("sys.touch", function()
  it("sets when something was changed, to now or to a time", function()
    local path = helper.write(helper.tmpdir() .. "/file", "x")
    assert.is_true(sys.touch(path, 1000000))
    assert.equal(1000000, sys.stat(path).mtime)
    assert.is_true(sys.touch(path))
    assert.is_true(math.abs(sys.time() - sys.stat(path).mtime) < 60)
  end)

  it("takes a link for what it is", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "x")
    helper.shell(("ln -s file %s/link"):format(dir))
    local before = sys.stat(dir .. "/file").mtime
    assert.is_true(sys.touch(dir .. "/link", 5))
    assert.equal(5, sys.stat(dir .. "/link").mtime)
    assert.equal(before, sys.stat(dir .. "/file").mtime)
  end)

  it("refuses what is not there, and what is no time", function()
    assert.equal("ENOENT", select(3, sys.touch(helper.tmpdir() .. "/none")))
    for _, time in ipairs{ -1, 2 ^ 40, 0 / 0 } do
      assert.error_matches(function() sys.touch("x", time) end, "not a time")
    end
  end)
end)

describe("sys.mkdir_private", function()
  it("creates what is missing, for us alone", function()
    local dir = helper.tmpdir() .. "/a/b/c"
    assert.is_true(sys.mkdir_private(dir))
    assert.equal("700", mode_of(dir))
    assert.equal("700", mode_of(dir .. "/../.."))
    assert.is_true(sys.mkdir_private(dir))
  end)

  it("closes an empty directory that others could read, and refuses a used one", function()
    local dir = helper.tmpdir()
    sys.chmod(dir, tonumber("755", 8))
    assert.is_true(sys.mkdir_private(dir))
    assert.equal("700", mode_of(dir))
    sys.chmod(dir, tonumber("755", 8))
    helper.write(dir .. "/file", "")
    local _, message, errno = sys.mkdir_private(dir)
    assert.equal("EPERM", errno)
    assert.matches("is open to other users %(mode 755%)", message)
    assert.equal("755", mode_of(dir))
  end)

  it("refuses one that others may write to, even if it is empty", function()
    local dir = helper.tmpdir()
    sys.chmod(dir, tonumber("1777", 8))
    assert.equal("EPERM", select(3, sys.mkdir_private(dir)))
    assert.equal("1777", mode_of(dir))
  end)

  it("refuses a link and a file", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "")
    helper.shell(("mkdir %s/real && ln -s real %s/link"):format(dir, dir))
    assert.equal("ENOTDIR", select(3, sys.mkdir_private(dir .. "/link")))
    assert.equal("ENOTDIR", select(3, sys.mkdir_private(dir .. "/file")))
    assert.equal("ENOTDIR", select(3, sys.mkdir_private(dir .. "/file/below")))
  end)

  it("refuses what belongs to somebody else", function()
    local dir = "/etc"
    if helper.is_root() then
      dir = helper.tmpdir()
      helper.shell("chown 12345 " .. dir)
    end
    local _, message, errno = sys.mkdir_private(dir)
    assert.equal("EPERM", errno)
    assert.matches("belongs to user %d+, not to user %d+", message)
  end)
end)

describe("sys.mkdtemp and sys.list", function()
  it("make a directory of our own and list it", function()
    local prefix = helper.tmpdir() .. "/x-"
    local path = assert(sys.mkdtemp(prefix))
    assert.equal(prefix, path:sub(1, #prefix))
    assert.equal("700", mode_of(path))
    helper.write(path .. "/.hidden", "")
    assert.same({ ".hidden" }, sys.list(path))
    assert.equal("ENOENT", select(3, sys.mkdtemp(prefix .. "none/x-")))
    assert.equal("ENAMETOOLONG", select(3, sys.mkdtemp(("x"):rep(5000))))
    assert.equal("ENOTDIR", select(3, sys.list("/dev/null")))
  end)
end)

describe("sys.remove_tree", function()
  it("removes files, links and directories without permissions", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/outside/kept", "")
    helper.write(dir .. "/tree/a/b/file", "")
    helper.write(dir .. "/tree/.noe-0/file", "")
    helper.write(dir .. "/tree/.noe-1", "")
    helper.shell(([[cd %s/tree && ln -s ../outside link && ln -s ../../../outside a/b/link &&
      mkdir a/shut && touch a/shut/file && chmod 0 a/shut && chmod 500 a/b a .]]):format(dir))
    assert.is_true(sys.remove_tree(dir .. "/tree"))
    assert.same({ "outside" }, helper.list(dir))
    assert.same({ "kept" }, helper.list(dir .. "/outside"))
  end)

  it("removes a file or a link itself, and is content with nothing", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/real/file", "")
    helper.shell(("ln -s real %s/link"):format(dir))
    assert.is_true(sys.remove_tree(dir .. "/link"))
    assert.same({ "real" }, helper.list(dir))
    assert.is_true(sys.remove_tree(dir .. "/real/file"))
    assert.is_true(sys.remove_tree(dir .. "/none"))
    assert.is_true(sys.remove_tree(dir .. "/none/none"))
    assert.equal("EINVAL", select(3, sys.remove_tree(dir .. "/real/..")))
  end)

  it("removes what is deeper than a path can be long", function()
    local dir = helper.tmpdir()
    local name = ("x"):rep(200)
    local output, code = helper.shell(([[cd %s && mkdir deep && cd -P deep && i=0 &&
      while [ $i -lt 30 ]; do mkdir %s && cd -P %s || exit; i=$((i+1)); done
      touch bottom]]):format(dir, name, name))
    assert.equal(0, code, output)
    assert.is_true(sys.remove_tree(dir .. "/deep"))
    assert.same({}, helper.list(dir))
  end)

  it("leaves a mount as it is, and says so after removing the rest", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/tree/a/file", "")
    helper.write(dir .. "/tree/b/c/mount/hidden", "")
    local output = in_small_disk(dir .. "/tree/b/c/mount", "64k", [[
      local sys, mount = require "noether.sys", ...
      assert(sys.write_file(mount .. "/kept", "x"))
      print(select(3, sys.remove_tree(mount:match("^(.*)/b/c/mount$"))))
      for line in io.lines("/proc/self/mounts") do
        local place = line:match("^none (%S*/mount) tmpfs")
        if place then print(sys.read_file(place .. "/kept")) end
      end
    ]])
    assert.equal("EBUSY\nx\n", output)
    assert.is_nil(sys.stat(dir .. "/tree/a"))
  end)
end)

describe("sys.lock", function()
  it("keeps others out until it is closed", function()
    local path = helper.tmpdir() .. "/lock"
    local lock = assert(sys.lock(path))
    assert.equal("noether.lock (held)", tostring(lock))
    assert.equal("EAGAIN", select(3, sys.lock(path, { wait = false })))
    lock:close()
    lock:close()
    assert.equal("noether.lock (closed)", tostring(lock))
    assert(sys.lock(path, { wait = false })):close()
    assert.equal("600", mode_of(path))
  end)

  it("ends with its scope and with its collection", function()
    local path = helper.tmpdir() .. "/lock"
    do
      local _ <close> = assert(sys.lock(path))
    end
    do
      assert(sys.lock(path, { wait = false }))
    end
    collectgarbage()
    assert(sys.lock(path, { wait = false })):close()
  end)

  it("waits for another process to give it back", function()
    local path = helper.tmpdir() .. "/lock"
    local holder = assert(io.popen(("flock %s sh -c 'echo held; sleep 0.2'"):format(path)))
    assert.equal("held", holder:read("l"))
    assert.equal("EAGAIN", select(3, sys.lock(path, { wait = false })))
    local before = sys.clock()
    assert(sys.lock(path)):close()
    assert.is_true(sys.clock() - before > 0.05)
    holder:close()
  end)

  it("refuses links and directories", function()
    local dir = helper.tmpdir()
    helper.shell(("ln -s target %s/link"):format(dir))
    assert.equal("ELOOP", select(3, sys.lock(dir .. "/link")))
    assert.equal("EISDIR", select(3, sys.lock(dir)))
    assert.same({ "link" }, helper.list(dir))
  end)
end)

describe("sys.find_program", function()
  local function program(path, mode)
    helper.write(path, "#!/bin/sh\n")
    sys.chmod(path, tonumber(mode or "755", 8))
    return path
  end

  it("takes executable files of absolute directories, in order", function()
    local dir = helper.tmpdir()
    program(dir .. "/not/tool", "644")
    helper.write(dir .. "/dir/tool/file", "")
    local first, second = program(dir .. "/one/tool"), program(dir .. "/two/tool")
    helper.shell(("cd %s && mkdir three && ln -s ../one/tool three/tool"):format(dir))
    local path = ("relative:.::%s/not:%s/dir:%s/one/:%s/three:%s/none:%s/two"):format(
      dir, dir, dir, dir, dir, dir)
    assert.same({ first, second }, sys.find_programs("tool", path))
    assert.equal(first, sys.find_program("tool", path))
    assert.is_nil(sys.find_program("one/tool", dir))
    assert.is_nil(sys.find_program("", dir))
    assert.is_nil(sys.find_program("tool", nil))
  end)
end)
