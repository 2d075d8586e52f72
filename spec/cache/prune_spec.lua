-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local caches = require "noether.cache.scripts"
local noether = require "noether"
local sys = require "noether.sys"
local environments = require "noether.runtime.environments"

local DAY = 24 * 3600

-- Makes something look as if it was used last so many days ago.
local function age(path, days)
  assert(sys.touch(path, math.floor(sys.time() - days * DAY)))
end

-- A cache in a new directory that holds a script of each age in days: the cache, and their paths.
local function filled(...)
  local cache = assert(caches.open(helper.tmpdir() .. "/cache", {}))
  local paths = {}
  for i, days in ipairs{ ... } do
    paths[i] = assert(cache:put_files({ ["stage.py"] = ("x"):rep(i * 10) }))
    age(paths[i], days)
  end
  return cache, paths
end

local function prune(cache, opts)
  local all = { cache_dir = cache.dir }
  for name, value in pairs(opts or {}) do all[name] = value end
  return assert(noether.prune(all))
end

local function name_of(path)
  return path:match("[^/]+$")
end

local function names(list)
  local found = {}
  for i, entry in ipairs(list) do found[i] = entry.name end
  table.sort(found)
  return found
end

-- An environment as far as pruning can tell: a directory of that name.
local function environment(cache, letter, days)
  local path = ("%s/venvs/%s"):format(cache.dir, letter:rep(32))
  helper.write(path .. "/lib/six.py", "12345")
  helper.shell("chmod 700 " .. path:match("^(.*)/"))
  age(path, days)
  return path
end

describe("noether.prune", function()
  it("removes what was not used for thirty days, and keeps the rest", function()
    local cache <close>, paths = filled(0, 29, 40, 400)
    local kept, gone = environment(cache, "a", 5), environment(cache, "b", 50)
    local report = prune(cache)
    assert.equal(cache.dir, report.cache_dir)
    assert.is_false(report.dry_run)
    assert.equal(30 * DAY, report.older_than_secs)
    local expected = { name_of(paths[3]), name_of(paths[4]) }
    table.sort(expected)
    assert.same(expected, names(report.scripts))
    for _, entry in ipairs(report.scripts) do
      local days = entry.name == name_of(paths[3]) and 40 or 400
      assert.equal(days, math.floor(entry.unused_secs / DAY + 0.5))
    end
    assert.same({ name_of(gone) }, names(report.venvs))
    assert.equal(5, report.venvs[1].bytes)
    assert.same({}, report.leftovers)
    assert.same({}, report.foreign)
    assert.same({}, report.failed)
    assert.same({ 3, 30 + 40 + 5, 3 }, { report.count, report.bytes, report.kept })
    assert.same({ name_of(kept) }, helper.list(cache.dir .. "/venvs"))
    assert.equal(2, #helper.list(cache.dir .. "/scripts"))
    assert.truthy(sys.stat(paths[1]) and sys.stat(paths[2]))
  end)

  it("counts a day more than it is told, since uses are noted to the day", function()
    local cache <close>, paths = filled(1.9, 2.1)
    assert.same({ name_of(paths[2]) }, names(prune(cache, { older_than_secs = DAY }).scripts))
    assert.truthy(sys.stat(paths[1]))
  end)

  it("takes for used what was put again, which is noted once a day", function()
    local cache <close>, paths = filled(0.9, 40)
    for i, path in ipairs(paths) do
      local before = sys.stat(path).mtime
      assert.equal(path, cache:put_files({ ["stage.py"] = ("x"):rep(i * 10) }))
      assert.equal(i == 1, before == sys.stat(path).mtime)
    end
    assert.equal(0, prune(cache).count)
  end)

  it("only says what would go, if asked to", function()
    local cache <close> = filled(1, 40)
    environment(cache, "b", 50)
    helper.write(cache.dir .. "/scripts/.tmp-abc/file", "123")
    age(cache.dir .. "/scripts/.tmp-abc", 1)
    local before = helper.shell("find " .. cache.dir .. " -printf '%p %T@\\n' | sort")
    local said = prune(cache, { dry_run = true })
    assert.is_true(said.dry_run)
    assert.same({ 3, 20 + 5 + 3 }, { said.count, said.bytes })
    assert.equal(before, (helper.shell("find " .. cache.dir .. " -printf '%p %T@\\n' | sort")))
    local done = prune(cache)
    assert.same({ said.count, said.bytes }, { done.count, done.bytes })
    assert.same(names(said.scripts), names(done.scripts))
  end)

  it("refuses less than a day, and what it does not know", function()
    local function message_of(opts)
      return select(2, pcall(function() noether.prune(opts) end))
    end
    assert.matches("prune_spec.lua:%d+: prune: option 'older_than_secs': expected a day "
      .. "%(86400%) or more, got 86399$", message_of{ older_than_secs = DAY - 1 })
    assert.matches("prune_spec.lua:%d+: prune: unknown option 'older_than'",
      message_of{ older_than = DAY })
    assert.matches("prune_spec.lua:%d+: prune: option 'dry_run'", message_of{ dry_run = 1 })
  end)

  it("makes no cache where there is none", function()
    local dir = helper.tmpdir()
    local report = assert(noether.prune{ cache_dir = dir .. "/cache" })
    assert.same({ 0, nil }, { report.count, report.cache_dir })
    helper.with_env({ HOME = false, XDG_CACHE_HOME = false, NOETHER_CACHE_DIR = false,
      TMPDIR = dir }, function()
      assert.is_nil(assert(noether.prune()).cache_dir)
    end)
    assert.same({}, helper.list(dir))
  end)

  it("looks where executors keep things", function()
    local cache <close> = filled(40)
    helper.with_env({ NOETHER_CACHE_DIR = cache.dir }, function()
      assert.equal(1, assert(noether.prune()).count)
    end)
    helper.with_env({ NOETHER_CACHE_DIR = "relative" }, function()
      local report, err = noether.prune()
      assert.is_nil(report)
      assert.equal("cache_failed", err.kind)
      assert.matches("not an absolute path", err.message)
    end)
  end)

  it("removes what builders that died have left", function()
    local cache <close> = filled()
    local scripts, venvs = cache.dir .. "/scripts", cache.dir .. "/venvs"
    environment(cache, "a", 1)
    for _, path in ipairs{ scripts .. "/.tmp-new", scripts .. "/.tmp-old", venvs .. "/.tmp-moved",
        ("%s/.tmp-%s-abc"):format(venvs, ("b"):rep(32)),
        ("%s/.tmp-%s-abc"):format(venvs, ("c"):rep(32)) } do
      helper.write(path .. "/file", "1234")
      if not path:find("new") then age(path, 0.1) end
    end
    assert(sys.chmod(scripts, 448)) -- 0700
    helper.write(("%s/%s.lock"):format(venvs, ("d"):rep(32)), "")
    age(("%s/%s.lock"):format(venvs, ("d"):rep(32)), 1)
    local lock = assert(environments.try_lock(venvs, ("c"):rep(32))) -- a builder that lives
    local report = prune(cache)
    lock.close()
    assert.equal(3, #report.leftovers)
    assert.same({ 3, 12, 1 }, { report.count, report.bytes, report.kept })
    assert.same({ ".tmp-new" }, helper.list(scripts))
    assert.same({ (".tmp-%s-abc"):format(("c"):rep(32)), ("a"):rep(32) }, helper.list(venvs))
  end)

  it("leaves an environment alone that somebody is building or taking away", function()
    local cache <close> = filled()
    local path = environment(cache, "a", 50)
    local lock = assert(environments.try_lock(cache.dir .. "/venvs", ("a"):rep(32)))
    for _, dry_run in ipairs{ true, false } do
      local report = prune(cache, { dry_run = dry_run })
      assert.same({ 0, 1, {} }, { report.count, report.kept, report.failed })
    end
    lock.close()
    assert.truthy(sys.stat(path))
    assert.equal(1, prune(cache).count)
    assert.same({}, helper.list(cache.dir .. "/venvs"))
  end)

  it("follows no link, and tells of what is none of its own", function()
    local cache <close>, paths = filled(40)
    local precious = helper.tmpdir()
    helper.write(precious .. "/file", "kept")
    local scripts = cache.dir .. "/scripts"
    helper.shell(([[cd %s && ln -s %s %s && ln -s %s %s/link && echo x >other
      ln -s %s .tmp-link]]):format(scripts, precious, ("0"):rep(64), precious, paths[1], precious))
    age(scripts .. "/" .. ("0"):rep(64), 40)
    age(scripts .. "/.tmp-link", 40)
    age(paths[1], 40)
    local report = prune(cache)
    assert.same({ 3, {} }, { report.count, report.failed })
    assert.same({ scripts .. "/other" }, report.foreign)
    assert.same({ "other" }, helper.list(scripts))
    assert.equal("kept", helper.read(precious .. "/file"))
  end)

  it("refuses directories that are not the cache's own", function()
    local dir, cache <close> = helper.tmpdir(), filled(40)
    helper.shell(("mv %s/scripts %s/away && ln -s %s/away %s/scripts"):format(cache.dir, dir, dir,
      cache.dir))
    local report, err = noether.prune{ cache_dir = cache.dir }
    assert.is_nil(report)
    assert.equal("cache_failed", err.kind)
    assert.matches("scripts: Not a directory", err.message)
    assert.equal(1, #helper.list(dir .. "/away"))
    helper.shell(("cd %s && rm scripts && mv %s/away scripts && chmod 755 scripts"):format(
      cache.dir, dir))
    report, err = noether.prune{ cache_dir = cache.dir }
    assert.is_nil(report)
    assert.same({ "cache_failed", "EPERM" }, { err.kind, err.errno })
    assert.equal(1, #helper.list(cache.dir .. "/scripts"))
    helper.shell(("chmod 755 %s"):format(cache.dir))
    report, err = noether.prune{ cache_dir = cache.dir }
    assert.is_nil(report)
    assert.same({ "cache_failed", "EPERM" }, { err.kind, err.errno })
  end)

  it("tells of what would not go", function()
    local cache <close>, paths = filled(40, 50)
    local script = helper.write(helper.tmpdir() .. "/script.lua", [[
      local report = assert(require "noether".prune{ cache_dir = ... })
      print(#report.scripts, #report.failed, report.failed[1].path)
      print(report.failed[1].message)
    ]])
    local flags = helper.own_mounts()
    local output = helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote((
      "mount -t tmpfs none %s && touch -d '40 days ago' %s && exec %s %s %s"):format(
      paths[1], paths[1], helper.quote(helper.lua), script, cache.dir))))
    assert.equal(("1\t1\t%s\nrename: %s: Device or resource busy\n"):format(paths[1], paths[1]),
      output)
    assert.same({ name_of(paths[1]) }, helper.list(cache.dir .. "/scripts"))
  end)

  it("gives back what was used in the moment before it went", function()
    local cache <close>, paths = filled(40, 50)
    local rename = os.rename
    rawset(os, "rename", function(from, to)
      if from == paths[1] then assert(sys.touch(from)) end
      return rename(from, to)
    end)
    finally(function() rawset(os, "rename", rename) end)
    local report = prune(cache)
    assert.same({ name_of(paths[2]) }, names(report.scripts))
    assert.equal(1, report.kept)
    assert.same({ name_of(paths[1]) }, helper.list(cache.dir .. "/scripts"))
  end)

  it("leaves alone what another one is about to take", function()
    local cache <close>, paths = filled(40)
    local rename, inner = os.rename, nil
    rawset(os, "rename", function(from, to)
      rawset(os, "rename", rename)
      local ok, message = rename(from, to)
      inner = prune(cache)
      return ok, message
    end)
    finally(function() rawset(os, "rename", rename) end)
    local outer = prune(cache)
    assert.same({ 0, 1 }, { inner.count, outer.count })
    assert.same({ name_of(paths[1]) }, names(outer.scripts))
    assert.same({}, helper.list(cache.dir .. "/scripts"))
  end)

  it("is done by several at once, each entry by one of them", function()
    local cache <close> = filled()
    for i = 1, 60 do
      age(assert(cache:put_files({ a = "text " .. i })), 40)
    end
    for _, letter in ipairs{ "a", "b", "c", "d", "e", "f" } do
      environment(cache, letter, 40)
    end
    local script = helper.write(helper.tmpdir() .. "/script.lua", [[
      local report = assert(require "noether".prune{ cache_dir = ... })
      assert(#report.failed == 0, report.failed[1] and report.failed[1].message)
      print(report.count)
    ]])
    local command = ("%s %s %s & "):format(helper.quote(helper.lua), script, cache.dir)
    local output = helper.shell(command:rep(4) .. " wait")
    local total = 0
    for count in output:gmatch("%d+\n") do total = total + tonumber(count) end
    assert.equal(66, total, output)
    assert.same({}, helper.list(cache.dir .. "/scripts"))
    assert.same({}, helper.list(cache.dir .. "/venvs"))
  end)
end)

describe("a stage in a cache that is being pruned", function()
  local STAGE = { language = "python", effects = {}, code = [[
import sys
def execute(input):
    print("up", file=sys.stderr, flush=True)
    while input:
        pass
    return 1]] }

  local function executor(dir, isolation, policy)
    return assert(noether.executor{
      cache_dir = dir, isolation = isolation, runtime = "host", policy = policy,
    })
  end

  it("keeps a script that was old before it began", function()
    local dir = helper.tmpdir() .. "/cache"
    local ex <close> = executor(dir, "auto")
    assert.equal(1, (ex:execute(STAGE, false)))
    local path = dir .. "/scripts/" .. helper.list(dir .. "/scripts")[1]
    age(path, 40)
    local up = false
    local task <close> = assert(ex:start(STAGE, true, { on_log = function() up = true end }))
    helper.poll(function()
      task:step()
      return up
    end)
    assert.is_true(up)
    assert.equal(0, assert(noether.prune{ cache_dir = dir }).count)
    assert.truthy(sys.stat(path))
  end)

  it("is run again and again while others prune and use", function()
    local dir = helper.tmpdir() .. "/cache"
    local ex <close> = executor(dir, "auto")
    local script = helper.write(helper.tmpdir() .. "/script.lua", [[
      local noether, sys, dir = require "noether", require "noether.sys", ...
      print "up"
      io.stdout:flush()
      while not sys.stat(dir .. "/stop") do
        for _, name in ipairs(sys.list(dir .. "/scripts") or {}) do
          sys.touch(dir .. "/scripts/" .. name, 1000000)
        end
        assert(noether.prune{ cache_dir = dir })
      end
    ]])
    local other <close> = assert(noether.spawn({ helper.lua, script, dir }, {
      isolation = "none", env = { TMPDIR = os.getenv "TMPDIR" },
    }))
    for _ = 1, 40 do
      local output, err = ex:execute(STAGE, false)
      -- What is taken away while the interpreter starts cannot be had again; it is told as that.
      if err then
        assert.equal("cache_failed", err.kind, tostring(err))
      else
        assert.equal(1, output)
      end
    end
    helper.write(dir .. "/stop", "")
    local result = assert(other:wait(60))
    assert.equal(0, result.exit_code, result.stderr)
  end)

  -- A policy that has the script removed when it is asked for variables, after all looks.
  local function remover(dir)
    return { languages = { python = { env = function()
      assert(sys.remove_tree(dir .. "/scripts"))
      return {}
    end } } }
  end

  helper.over({ backends = { "native", "bwrap", "landlock" } }, "under %s", function(isolation)
    it("has its script written again if it is gone before the start, in " .. isolation, function()
      local dir = helper.tmpdir() .. "/cache"
      local ex <close> = executor(dir, isolation, remover(dir))
      local output, err, info = ex:execute(STAGE, false)
      assert.is_nil(err, tostring(err))
      assert.equal(1, output)
      assert.equal("up\n", info.logs)
    end)
  end)

  it("is not blamed for a script that its interpreter did not find", function()
    local dir = helper.tmpdir() .. "/cache"
    local ex <close> = executor(dir, "none", remover(dir))
    local output, err = ex:execute(STAGE, false)
    assert.is_nil(output)
    assert.same({ "cache_failed", "ENOENT" }, { err.kind, err.errno })
    assert.matches("the cache lost .*/scripts/%x+/runner.py while the stage was being started",
      err.message)
    assert.matches("run it again", err.hint)
    assert.equal("exit", err.result.reason)
  end)

  it("is blamed for its own failure, wherever its script is by then", function()
    local dir = helper.tmpdir() .. "/cache"
    local ex <close> = executor(dir, "none")
    local _, err = ex:execute({ language = "python", code = ([[
import shutil
def execute(input):
    shutil.rmtree(%q)
    raise ValueError("mine")]]):format(dir .. "/scripts") }, 1)
    assert.equal("stage_failed", err.kind)
    assert.matches("mine", err.message)
  end)
end)
