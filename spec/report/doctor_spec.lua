-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local descriptions = require "noether.sandbox.description"
local facts = require "noether.report.doctor.facts"
local failures = require "noether.runtime.failures"
local isolation = require "noether.isolation"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local noether = require "noether"
local process = require "noether.process"
local sys = require "noether.sys"

local CHECKS = {
  "kernel", "user_namespaces", "proc", "landlock", "seccomp", "cgroups", "supervisor", "bwrap",
  "nix",
}
for _, name in ipairs(languages.names()) do CHECKS[#CHECKS + 1] = name end
for _, name in ipairs{ "cache", "environment" } do CHECKS[#CHECKS + 1] = name end
for _, name in ipairs(descriptions.BACKENDS) do
  if name ~= "none" then CHECKS[#CHECKS + 1] = "isolation_" .. name end
end
for _, name in ipairs{ "hosts", "fork_server", "isolation_auto" } do CHECKS[#CHECKS + 1] = name end

local STATUSES = { ok = true, warn = true, missing = true }

local function by_name(report)
  local checks = {}
  for _, check in ipairs(report.checks) do
    checks[check.name] = check
  end
  return checks
end

local function contains(text, part)
  assert.truthy(text and text:find(part, 1, true), ("'%s' lacks '%s'"):format(text, part))
end

-- As one line, since where it is broken depends on what there is to say.
local function flat(text)
  return (text:gsub("%s+", " "))
end

-- The report of a noether-lua that `wrap` starts: a table and its text.
local function report_of(wrap)
  local script = helper.write(helper.tmpdir() .. "/doctor.lua", [[
    local report = require("noether").doctor()
    local json = require "noether.json"
    print((assert(json.encode{ report = report, text = tostring(report) }))) ]])
  local output, code = helper.shell(wrap(("%s %s"):format(helper.quote(helper.lua), script)))
  assert.equal(0, code, output)
  local both = assert(json.decode(output), output)
  return both.report, both.text
end

describe("doctor", function()
  local report
  -- Outside of a test: the supervisor's image, made at the first run, is no test's leak.
  setup(function() report = noether.doctor() end)

  it("has a finding for each check, in order", function()
    local names = {}
    for i, check in ipairs(report.checks) do
      names[i] = check.name
      assert.is_true(STATUSES[check.status], check.name)
      assert.equal("string", type(check.found), check.name)
      assert.falsy(check.found:find("could not be", 1, true), check.found)
      for _, field in ipairs{ "meaning", "hint" } do
        assert.truthy(check[field] == nil or type(check[field]) == "string", check.name)
      end
      if check.status == "missing" then assert.truthy(check.hint, check.name) end
    end
    assert.same(CHECKS, names)
  end)

  it("has the facts", function()
    assert.equal(noether.version, report.version)
    assert.truthy(report.kernel.release:find("^%d+%.%d+"))
    assert.is_true(report.landlock.abi >= 0)
    assert.is_true(report.seccomp.filter)
    assert.is_true(report.supervisor.works)
    assert.is_true(report.hosts.works)
    assert.is_true(report.fork_server.works, report.fork_server.reason)
    assert.truthy(("native bwrap"):find(report.hosts.backend, 1, true))
    assert.equal("/", report.hosts.resolver:sub(1, 1))
    assert.is_true(report.complete)
    for _, name in ipairs(languages.names()) do
      assert.is_true(report.interpreters[name].found, name)
      assert.equal("/", report.interpreters[name].path:sub(1, 1))
    end
    for _, name in ipairs{ "native", "bwrap", "landlock" } do
      local backend = report.backends[name]
      assert.equal(name, backend.name)
      if backend.works then
        assert.is_true(#backend.enforced > 0, name)
      else
        assert.equal("string", type(backend.reason), name)
      end
    end
  end)

  it("says what auto takes, as an executor does", function()
    local stage = { language = "bash", code = "execute() { echo 1; }" }
    local _, _, info = noether.execute{ language = stage.language, code = stage.code }
    assert.equal(info.isolation, report.auto)
    assert.is_true(report.ok)
  end)

  it("claims what a run enforces, and nothing else", function()
    local executor <close> = assert(noether.executor{ isolation = report.auto })
    local _, err, info = executor:execute({ language = "bash", effects = {},
      code = "execute() { echo 1; }" })
    assert.is_nil(err)
    assert.same(info.enforced, report.backends[report.auto].enforced)
  end)

  it("is plain data that JSON can hold", function()
    local text = assert(json.encode(report))
    assert.same(report, assert(json.decode(text)))
  end)

  it("is readable: each check, in 80 columns, without colours", function()
    local text = tostring(report)
    for _, check in ipairs(report.checks) do
      contains(text, ("\n%-9s%s: "):format(check.status, check.title))
      contains(flat(text), flat(check.found))
      if check.hint then contains(flat(text), "What to do: " .. flat(check.hint)) end
    end
    for line in text:gmatch("[^\n]+") do
      assert.is_true(#line <= 80 or not line:find("%S%s+%S", 10), line)
    end
    assert.falsy(text:find("[%z\1-\9\11-\31\127]"))
  end)

  it("changes nothing", function()
    local home = helper.tmpdir()
    helper.with_env({ HOME = home, XDG_CACHE_HOME = false }, function()
      local cache = noether.doctor().cache
      assert.same({ home .. "/.cache/noether", "HOME", true },
        { cache.dir, cache.source, cache.usable })
    end)
    assert.same({}, helper.list(home))
  end)

  it("says how much the cache holds, and does not look through a big one", function()
    local dir = helper.tmpdir()
    assert(sys.chmod(dir, 448)) -- 0700
    for i = 1, 2 do helper.write(("%s/scripts/%064x/a"):format(dir, i), ("x"):rep(1024)) end
    helper.write(("%s/venvs/%032x/lib/b"):format(dir, 1), ("x"):rep(1024))
    helper.write(dir .. "/scripts/.tmp-abc/c", ("x"):rep(512))
    local found = noether.doctor{ cache_dir = dir }
    assert.same({ 2, 1, 3584, false }, { found.cache.scripts, found.cache.venvs,
      found.cache.bytes, found.cache.more })
    contains(by_name(found).cache.found,
      "(by cache_dir): 2 scripts, 1 environment with packages, 3.5 KiB")
    helper.shell(("cd %s/venvs && seq 6000 | xargs touch"):format(dir))
    found = noether.doctor{ cache_dir = dir }
    assert.is_true(found.cache.more)
    contains(by_name(found).cache.found, "more than ")
  end)

  it("says why the cache cannot be used", function()
    local file = helper.write(helper.tmpdir() .. "/file", "")
    helper.with_env({ NOETHER_CACHE_DIR = file }, function()
      local bad = noether.doctor()
      assert.is_false(bad.ok)
      local check = by_name(bad).cache
      assert.equal("missing", check.status)
      contains(check.found, "NOETHER_CACHE_DIR")
      contains(check.found, "it is no directory")
      contains(check.hint, "NOETHER_CACHE_DIR")
      contains(tostring(bad), "cannot be run here yet")
    end)
    local open = helper.tmpdir()
    assert(sys.chmod(open, 511)) -- 0777
    assert.is_false(noether.doctor{ cache_dir = open }.cache.usable)
    contains(by_name(noether.doctor{ cache_dir = open }).cache.found, "not closed")
    assert(sys.chmod(open, 448)) -- 0700
    assert.is_true(noether.doctor{ cache_dir = open }.cache.usable)
  end)

  it("lists our variables, and those that nobody reads", function()
    helper.with_env({ NOETHER_LOG_LEVEL = "warn", NOETHER_RUNTIMES = "a\27[1mb" }, function()
      local found = noether.doctor()
      assert.same({ NOETHER_LOG_LEVEL = "warn", NOETHER_RUNTIMES = "a\\x1B[1mb" },
        found.environment)
      local check = by_name(found).environment
      assert.equal("warn", check.status)
      contains(check.found, "NOETHER_LOG_LEVEL=warn")
      contains(check.meaning, "nothing reads NOETHER_RUNTIMES")
      contains(check.hint, "NOETHER_RUNTIME,")
    end)
  end)

  it("is done in time, whatever programs do, and gives each its own", function()
    local bin = helper.tmpdir()
    for _, name in ipairs{ "python3", "python", "node", "nodejs" } do
      helper.write(bin .. "/" .. name, "#!/bin/sh\nexec /bin/sleep 1000\n")
      assert(sys.chmod(bin .. "/" .. name, 493)) -- 0755
    end
    helper.shell("ln -s /bin/bash " .. bin .. "/bash")
    helper.with_env({ PATH = bin }, function()
      local started = noether.clock()
      local slow = noether.doctor{ timeout_secs = 0.5 }
      assert.is_true(noether.clock() - started < 30)
      for _, name in ipairs{ "python", "javascript" } do
        local check, fact = by_name(slow)[name], slow.interpreters[name]
        assert.equal("warn", check.status)
        contains(check.found, "could not be tried in time")
        contains(check.found, ("%s/%s"):format(bin, name == "python" and "python3" or "node"))
        contains(check.hint, "--timeout")
        assert.is_nil(check.hint:find("install", 1, true))
        assert.is_nil(fact.found) -- neither there nor missing
      end
      assert.equal("ok", by_name(slow).bash.status)
      assert.is_false(slow.complete)
      contains(tostring(slow), "not all could be tried")
    end)
  end)

  -- As on a machine that is too busy to run a sandboxed `true` in time.
  local function slow_backend(name, fn)
    local launch = process.launch
    process.launch = function(argv, opts)
      local sandbox = opts and opts.sandbox
      local is_slow = sandbox and sandbox.backend == name and argv[1]:find("/true$")
      return launch(is_slow and { "/bin/sleep", "60" } or argv, opts)
    end
    local ok, message = pcall(fn)
    process.launch = launch
    assert.is_true(ok, message)
  end

  it("does not know what could not be tried, and takes nothing weaker for it", function()
    isolation.forget()
    slow_backend("native", function()
      local slow = noether.doctor{ timeout_secs = 0.5 }
      assert.is_nil(slow.auto)
      assert.is_false(slow.ok)
      assert.is_false(slow.complete)
      assert.is_nil(slow.backends.native.works)
      local checks = by_name(slow)
      for _, name in ipairs{ "user_namespaces", "isolation_native", "isolation_auto" } do
        assert.equal("warn", checks[name].status, name)
        contains(checks[name].found, "could not be tried in 1 s (the machine is busy)")
        contains(checks[name].hint, "--timeout")
      end
      contains(checks.isolation_auto.meaning, "nothing weaker")
      contains(tostring(slow), "it is not known yet")
      assert.truthy(json.encode(slow))
      local others = helper.has "landlock" and "ok" or "missing"
      assert.equal(others, checks.isolation_landlock.status)
    end)
  end)

  if helper.has "landlock" then
    it("calls no backend one that works and enforces nothing", function()
      local launch, tried = process.launch, 0
      process.launch = function(argv, opts)
        local sandbox = opts and opts.sandbox
        if sandbox and sandbox.backend == "landlock" then tried = tried + 1 end
        local is_slow = sandbox and sandbox.backend == "landlock" and sandbox.processes == false
        return launch(is_slow and { "/bin/sleep", "60" } or argv, opts)
      end
      local ok, slow = pcall(noether.doctor, { timeout_secs = 0.5 })
      process.launch = launch
      assert.is_true(ok, slow)
      local check = by_name(slow).isolation_landlock
      assert.equal("warn", check.status)
      contains(check.meaning, "what it enforces could not be tried in 1 s")
      assert.is_false(slow.complete)
      assert.is_true(tried > 0)
    end)
  end

  it("says which interpreter is missing, and what then", function()
    helper.with_env({ PATH = helper.tmpdir() }, function()
      local bare = noether.doctor()
      local check = by_name(bare).python
      assert.equal("missing", check.status)
      contains(check.hint, "install python3")
      assert.is_false(bare.ok)
    end)
  end)

  it("raises on a wrong option, and on nothing else", function()
    local ok, message = pcall(noether.doctor, { timeout_sec = 1 })
    assert.is_false(ok)
    contains(message, "did you mean 'timeout_secs'?")
    assert.is_false((pcall(noether.doctor, { cache_dir = 1 })))
  end)

  it("says of a nix that failed a moment ago for how long it is not asked again", function()
    local dir = helper.tmpdir()
    local cache, program = dir .. "/cache", dir .. "/bin/nix"
    helper.write(program, "#!/bin/sh\necho 'nix (Nix) 2.18.1'\n")
    assert(sys.chmod(program, 493)) -- 0755
    helper.shell("mkdir -p " .. cache .. " " .. dir .. "/store/0a1b-bash; chmod 700 " .. cache)
    local function finding(name)
      local environ = { PATH = dir .. "/bin:/usr/bin:/bin", NIX_STORE_DIR = dir .. "/store" }
      return helper.with_env(environ, function()
        local known = failures.of({ dir = cache }, program, sys.environ())
        if name then known:remember(name, "no network") end
        return by_name(noether.doctor{ cache_dir = cache }).nix
      end)
    end
    assert.equal("ok", finding().status)
    for _, name in ipairs{ failures.ALL, failures.name("bash", {}) } do
      local check = finding(name)
      assert.equal("warn", check.status)
      contains(check.found, " s ago it failed: no network")
      local secs = tonumber(check.meaning:match("asks it again in (%d+) s$"))
      assert.is_true(secs > 0 and secs <= failures.KEPT_SECS, check.meaning)
      contains(check.hint, "noether warmup")
      helper.shell("touch -d '20 minutes ago' " .. cache .. "/nix/*")
      assert.equal("ok", finding().status)
    end
  end)

  it("makes a finding of what a probe raises", function()
    local original = facts.nix
    facts.nix = function() error("no luck") end
    local ok, broken = pcall(noether.doctor)
    facts.nix = original
    assert.is_true(ok, broken)
    local check = by_name(broken).nix
    assert.equal("warn", check.status)
    contains(check.found, "no luck")
    assert.truthy(json.encode(broken))
  end)

  it("explains a host without user namespaces", function()
    local found, text = report_of(function(command)
      local inner = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all "
        .. "--ambient-caps=-all " .. command
      return "unshare -U --map-user=1000 --map-group=1000 --keep-caps -m -- sh -c "
        .. helper.quote(inner)
    end)
    assert.equal("landlock", found.auto)
    local checks = by_name(found)
    -- The host's root is what it is by another name too, and is refused before that.
    local step, errno, words = "make namespaces", "ENOSPC", "No space left on device"
    if helper.is_root() then
      step, errno, words = "leave user 0", "EPERM", "Operation not permitted"
    end
    assert.same({ false, step, errno }, { found.backends.native.works,
      found.backends.native.step, found.backends.native.errno })
    assert.is_false(found.backends.bwrap.works)
    assert.equal(0, found.user_namespaces.max)
    for _, name in ipairs{ "user_namespaces", "isolation_native", "isolation_bwrap" } do
      assert.equal("missing", checks[name].status, name)
      local of_root = helper.is_root() and name ~= "isolation_bwrap"
      contains(checks[name].hint, of_root and "user 0" or "user.max_user_namespaces")
    end
    assert.equal("warn", checks.isolation_auto.status)
    contains(checks.isolation_auto.meaning, ("not native: %s: %s"):format(step, words))
    contains(flat(text), "isolation \"auto\": takes landlock")
    contains(flat(text), ("%s: %s (%s)"):format(step, words, errno))
    contains(text, "user.max_user_namespaces = 0")
  end)

  it("explains a host whose /proc is covered", function()
    if not helper.can_make_hosts() then return end
    local found = report_of(function(command)
      local inner = "mount --bind /dev/null /proc/interrupts && exec " .. command
      local enter = "unshare -U --map-user=1000 --map-group=1000 -- "
      if helper.is_admin() then return "unshare -m -- sh -c " .. helper.quote(inner) end
      inner = inner:gsub("exec ", "exec " .. enter)
      return "unshare -Urm -- sh -c " .. helper.quote(inner)
    end)
    assert.same({ "/proc/interrupts" }, found.proc.covered)
    local check = by_name(found).proc
    assert.equal("warn", check.status)
    contains(check.meaning, "stub")
    assert.equal("native", found.auto)
  end)
end)

describe("sys.kernel and sys.setting", function()
  it("tell what /proc tells", function()
    assert.equal(helper.read("/proc/sys/kernel/osrelease"), sys.kernel().release .. "\n")
    assert.equal(helper.read("/proc/sys/user/max_user_namespaces"),
      sys.setting("user.max_user_namespaces") .. "\n")
  end)

  it("refuse what is not there, and what is no name", function()
    local value, message, errno = sys.setting("kernel.nonesuch")
    assert.is_nil(value)
    assert.equal("ENOENT", errno)
    contains(message, "nonesuch")
    assert.has_error(function() sys.setting("kernel\0x") end)
  end)
end)
