-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local caches = require "noether.cache.scripts"
local errors = require "noether.error"
local sys = require "noether.sys"

local FILES = { ["runner.py"] = "print('runner')\n", ["stage.py"] = "def execute(x): return x\n" }

-- A cache in a new directory, closed at the end of the scope.
local function fresh()
  return assert(caches.open(helper.tmpdir() .. "/cache", {}))
end

local function mode_of(path)
  return ("%o"):format(sys.stat(path).mode)
end

local function assert_holds(directory, files)
  local names = {}
  for name, text in pairs(files) do
    assert.equal(text, helper.read(directory .. "/" .. name))
    names[#names + 1] = name
  end
  table.sort(names)
  assert.same(names, helper.list(directory))
end

local function assert_failed(err, pattern, errno)
  assert.is_true(errors.is(err))
  assert.equal("cache_failed", err.kind)
  assert.matches(pattern, err.message)
  assert.equal(errno, err.errno)
  assert.matches("NOETHER_CACHE_DIR", err.hint)
end

-- Runs Lua text with the cache's directory as argument in a mount namespace of its own, where
-- `mount` has been done, and returns what it prints.
local function in_namespace(mount, dir, text)
  local script = helper.write(helper.tmpdir() .. "/script.lua", text)
  local inner = ("%s && exec %s %s %s"):format(
    mount, helper.quote(helper.lua), script, helper.quote(dir))
  local flags = helper.own_mounts()
  return helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
end

describe("cache:put_files", function()
  it("makes a directory of just these files, readable by any user", function()
    local cache <close> = fresh()
    local path = assert(cache:put_files(FILES))
    assert.equal(cache.dir .. "/scripts/", path:match("^(.*/)%x+$"))
    assert.equal(64, #path:match("%x+$"))
    assert_holds(path, FILES)
    assert.equal("755", mode_of(path))
    assert.equal("444", mode_of(path .. "/stage.py"))
    assert.equal("700", mode_of(cache.dir))
    assert.same({ path:match("%x+$") }, helper.list(cache.dir .. "/scripts"))
  end)

  it("finds again what is there, without writing", function()
    local cache <close> = fresh()
    local path = assert(cache:put_files(FILES))
    local before = sys.stat(path)
    assert.equal(path, cache:put_files(FILES))
    local other <close> = assert(caches.open(cache.dir, {}))
    assert.equal(path, other:put_files(FILES))
    assert.same(before, sys.stat(path))
  end)

  it("tells apart sets that differ in a name, a text or a border", function()
    local cache <close> = fresh()
    local seen = {}
    local sets = { FILES, { ["stage.py"] = FILES["stage.py"] }, { a = "bc" }, { ab = "c" },
      { a = "b", c = "" }, { a = "", c = "b" }, { a = "" } }
    for _, files in ipairs(sets) do
      local path = assert(cache:put_files(files))
      assert.is_nil(seen[path])
      seen[path] = true
      assert_holds(path, files)
    end
  end)

  it("does not mix up texts that follow one another under one name", function()
    local cache <close> = fresh()
    local paths = {}
    for i = 1, 140 do
      local files = { ["f" .. i % 70] = "text " .. i }
      paths[i] = { assert(cache:put_files(files)), files }
    end
    for _, pair in ipairs(paths) do
      assert_holds(pair[1], pair[2])
      assert.equal(pair[1], cache:put_files(pair[2]))
    end
  end)

  local TAMPERED = {
    ["another text"] = "echo evil >%s/stage.py",
    ["a text of the same length"] = "tr a-z b-za <%s/stage.py >$T && cp $T %s/stage.py",
    ["a truncated file"] = ": >%s/stage.py",
    ["a missing file"] = "rm -f %s/stage.py",
    ["a file more"] = "echo evil >%s/json.py",
    ["a link in the place of a file"] = "cp %s/stage.py $T && ln -sf $T %s/stage.py",
    ["a fifo in the place of a file"] = "rm -f %s/stage.py && mkfifo %s/stage.py",
    ["a directory in the place of a file"] = "rm -f %s/stage.py && mkdir %s/stage.py",
    ["a directory that cannot be read"] = "chmod 0 %s",
    ["a link in the place of the directory"] = "mv %s $T && ln -s $T %s",
    ["a file in the place of the directory"] = "rm -rf %s && echo evil >%s",
  }
  for what, command in pairs(TAMPERED) do
    it("replaces " .. what .. ", and says so", function()
      local cache <close> = fresh()
      local path = assert(cache:put_files(FILES))
      local aside = helper.tmpdir() .. "/aside"
      command = command:gsub("%%s", path):gsub("%$T", aside)
      local output, code = helper.shell(("chmod 755 %s && chmod 644 %s/* && %s"):format(
        path, path, command))
      assert.equal(0, code, output)
      local again, err, warning = cache:put_files(FILES)
      assert.equal(path, again)
      assert.is_nil(err)
      if what ~= "a directory that cannot be read" or not helper.is_root() then
        assert.matches("had been changed", warning)
      end
      assert_holds(path, FILES)
      assert.same({ path:match("%x+$") }, helper.list(cache.dir .. "/scripts"))
      assert.is_nil(select(3, cache:put_files(FILES)))
    end)
  end

  it("does not write through a link that was planted", function()
    local cache <close> = fresh()
    local path = assert(cache:put_files(FILES))
    local precious = helper.write(helper.tmpdir() .. "/precious", "kept")
    helper.shell(("chmod 755 %s && ln -sf %s %s/stage.py"):format(path, precious, path))
    assert(cache:put_files(FILES))
    assert.equal("kept", helper.read(precious))
  end)

  it("refuses names that are no file names, and what is no text", function()
    local cache <close> = fresh()
    local names = { "../x", "a/b", "", ".", "..", ".hidden", "-rf", "a\0b", "a\nb", "a b",
      ("x"):rep(201), 1 }
    for _, name in ipairs(names) do
      local path, err = cache:put_files({ [name] = "x" })
      assert.is_nil(path)
      assert_failed(err, "not a file name")
    end
    assert_failed(select(2, cache:put_files({ a = 1 })), "is no text")
    assert_failed(select(2, cache:put_files({})), "no files")
    assert.is_nil(sys.stat(cache.dir .. "/scripts"))
  end)

  it("makes its directory again where somebody removed it", function()
    local cache <close> = fresh()
    local path = assert(cache:put_files(FILES))
    assert(sys.remove_tree(cache.dir))
    assert.equal(path, cache:put_files(FILES))
  end)

  it("removes what builders that died left, once it is old", function()
    local cache <close> = fresh()
    local scripts = cache.dir .. "/scripts"
    helper.write(scripts .. "/.tmp-old/file", "")
    helper.write(scripts .. "/.tmp-new/file", "")
    for _, name in ipairs{ "dead", "lives" } do
      helper.write(scripts .. "/.tmp-" .. name .. "/lock", "")
    end
    helper.write(scripts .. "/other", "")
    helper.shell(([[cd %s && chmod 700 . && chmod 555 .tmp-old &&
      touch -d '2 hours ago' .tmp-old .tmp-dead .tmp-lives other]]):format(scripts))
    local lock = assert(sys.lock(scripts .. "/.tmp-lives/lock"))
    local path = assert(cache:put_files(FILES))
    assert.same({ ".tmp-lives", ".tmp-new", path:match("%x+$"), "other" }, helper.list(scripts))
    lock:close()
  end)

  it("is used by many processes at once", function()
    local cache <close> = fresh()
    local script = helper.write(helper.tmpdir() .. "/script.lua", [[
      local cache = assert(require "noether.cache.scripts".open(..., {}))
      for i = 1, 20 do
        local path, err, warning = cache:put_files({ a = "text " .. i, b = ("x"):rep(5000) })
        assert(path, err)
        assert(not warning, warning)
      end
      print "done"
    ]])
    local command = ("%s %s %s & "):format(helper.quote(helper.lua), script, cache.dir)
    assert.equal(("done\n"):rep(6), (helper.shell(command:rep(6) .. " wait")))
    assert.equal(20, #helper.list(cache.dir .. "/scripts"))
  end)

  it("says that it is closed", function()
    local cache = fresh()
    cache:close()
    cache:close()
    assert.equal("closed", select(2, cache:put_files(FILES)).kind)
  end)
end)

describe("cache.open", function()
  it("prefers the argument, then NOETHER_CACHE_DIR, then XDG_CACHE_HOME, then HOME", function()
    local dir = sys.realpath(helper.tmpdir())
    helper.write(dir .. "/home/file", "")
    local environ = { NOETHER_CACHE_DIR = dir .. "/own/", XDG_CACHE_HOME = dir .. "/xdg",
      HOME = dir .. "/home" }
    local function opened(argument)
      local cache <close> = assert(caches.open(argument, environ))
      assert.is_false(cache.private)
      assert.same({}, cache.warnings)
      assert.equal("700", mode_of(cache.dir))
      return cache.dir
    end
    assert.equal(dir .. "/argument", opened(dir .. "/argument"))
    assert.equal(dir .. "/own", opened())
    environ.NOETHER_CACHE_DIR = ""
    assert.equal(dir .. "/xdg/noether", opened())
    environ.XDG_CACHE_HOME = "relative"
    assert.equal(dir .. "/home/.cache/noether", opened())
  end)

  it("takes a private directory, with a warning, where there is no home", function()
    local tmp = sys.realpath(helper.tmpdir())
    for _, home in ipairs({ "", "relative", tmp .. "/none" }) do
      local cache = assert(caches.open(nil, { HOME = home, TMPDIR = tmp }))
      assert.is_true(cache.private)
      assert.matches("there is no home directory %(HOME is .*%): .* for this process only",
        cache.warnings[1])
      assert.equal(tmp, cache.dir:match("^(.*)/"))
      assert.equal("700", mode_of(cache.dir))
      assert(cache:put_files(FILES))
      cache:close()
      assert.is_nil(sys.stat(cache.dir))
    end
    assert.same({}, helper.list(tmp))
  end)

  it("removes the private directory when the cache is collected", function()
    local tmp = helper.tmpdir()
    assert(assert(caches.open(nil, { TMPDIR = tmp })):put_files(FILES))
    assert.equal(1, #helper.list(tmp))
    collectgarbage()
    collectgarbage()
    assert.same({}, helper.list(tmp))
  end)

  it("takes a private directory where the home cannot be written to", function()
    local home, tmp = helper.tmpdir(), helper.tmpdir()
    local output = in_namespace(("mount -t tmpfs -o ro none %s"):format(home), home, ([[
      local cache = assert(require "noether.cache.scripts".open(nil, { HOME = ..., TMPDIR = %q }))
      print(cache.private, cache.warnings[1]:match("Read%%-only file system"))
      cache:close()
    ]]):format(tmp))
    assert.equal("true\tRead-only file system\n", output)
    assert.same({}, helper.list(tmp))
  end)

  it("refuses a relative NOETHER_CACHE_DIR", function()
    assert_failed(select(2, caches.open(nil, { NOETHER_CACHE_DIR = "cache" })),
      "not an absolute path: cache")
  end)

  it("refuses a directory that others may enter, that is a link, or no directory", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/open/file", "")
    helper.shell(("cd %s && chmod 755 open && mkdir -m 700 real && ln -s real link"):format(dir))
    local _, err = caches.open(nil, { NOETHER_CACHE_DIR = dir .. "/open" })
    assert_failed(err, "is open to other users %(mode 755%)", "EPERM")
    assert.matches("chmod 700", err.hint)
    assert_failed(select(2, caches.open(dir .. "/link/", {})), "Not a directory", "ENOTDIR")
    assert_failed(select(2, caches.open("/dev/null", {})), "/dev/null", "ENOTDIR")
  end)

  it("refuses a directory of somebody else, wherever it was named", function()
    local home = helper.tmpdir()
    helper.write(home .. "/.cache/noether/file", "")
    local environ = { HOME = home }
    if helper.is_root() then
      helper.shell(("chown 12345 %s/.cache/noether"):format(home))
    else
      environ = { NOETHER_CACHE_DIR = "/etc" }
    end
    assert_failed(select(2, caches.open(nil, environ)), "belongs to user %d+, not to", "EPERM")
  end)
end)

describe("a cache on a disk that cannot be written to", function()
  local PUT = [[
    local dir = ...
    local cache, err = require "noether.cache.scripts".open(dir, {})
    local path
    if cache then path, err = cache:put_files({ a = "text", b = ("x"):rep(%d) }) end
    print(path and "put" or err.kind, err and err.errno, err and #err.hint > 20)
    print(cache and table.concat(require "noether.sys".list(dir .. "/scripts") or {}, " "))
  ]]

  it("works while it holds what is asked for", function()
    local dir = helper.tmpdir() .. "/cache"
    local cache <close> = assert(caches.open(dir, {}))
    local key = assert(cache:put_files({ a = "text", b = "x" })):match("%x+$")
    local read_only = ("mount --bind %s %s && mount -o remount,bind,ro %s"):format(dir, dir, dir)
    assert.equal("put\tnil\tnil\n" .. key .. "\n", (in_namespace(read_only, dir, PUT:format(1))))
    assert.equal("cache_failed\tEROFS\ttrue\n" .. key .. "\n",
      (in_namespace(read_only, dir, PUT:format(2))))
  end)

  it("reports a full disk and leaves nothing half-written", function()
    local dir = helper.tmpdir() .. "/cache"
    assert(sys.mkdir_private(dir))
    local small = ("mount -t tmpfs -o size=64k,mode=700 none %s"):format(dir)
    assert.equal("cache_failed\tENOSPC\ttrue\n\n", (in_namespace(small, dir, PUT:format(1000000))))
  end)
end)
