-- SPDX-License-Identifier: MIT
--- The Nix runtime with the real nix, without a network. As root there is no daemon; as an ordinary
-- user the store is his own; and root starts a daemon for one, too.
local helper = require "spec.support.helper"
local json = require "noether.json"
local nix_executor = require "noether.nix_executor"
local noether = require "noether"
local sys = require "noether.sys"
local nix = require "spec.support.nix"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

local IDENTITY = "def execute(input): return input"

local STAGES = {
  python = IDENTITY,
  javascript = "function execute(input) { return input; }",
  bash = "execute() { echo \"$1\"; }",
}

local ATTRIBUTES = { python = "python3", javascript = "nodejs", bash = "bash" }

-- Of this machine: the store's Python is made of its own.
local VERSION = helper.shell("/usr/bin/python3 --version"):match "[%d.]+"
local NIX = helper.shell("nix --version"):match "([%d.]+)%s*$"

local world

setup(function() world = nix.world(helper.tmpdir()) end)
teardown(function() world:destroy() end)

local function stage(language, code, effects)
  return { language = language, code = code, effects = effects or {} }
end

local function runs(ex, language, code, input, effects)
  local output, err, info = ex:execute(stage(language, code, effects), input)
  assert.is_nil(err, err and tostring(err) .. " " .. tostring(err.hint))
  return output, info
end

local function fails(kind, text, output, err, info)
  assert.is_nil(output)
  assert.equal(kind, err.kind, tostring(err))
  assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  return err, info
end

local function keys(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

-- How many processes there are with this on their command line.
-- Of this user alone: another user's run of these specs may be going on beside this one.
local function count_running(mark)
  local count, own = 0, sys.stat("/proc/self", true).uid
  for _, pid in ipairs(helper.list "/proc") do
    local stat = pid:find("^%d+$") and sys.stat("/proc/" .. pid)
    local file = stat and stat.uid == own and io.open(("/proc/%s/cmdline"):format(pid))
    local line = file and file:read "a"
    if file then file:close() end
    if line and line:gsub("%z", " "):find(mark, 1, true) then count = count + 1 end
  end
  return count
end

describe("what the original's tests ask of nix", function()
  local function from_store(store, config)
    return assert(helper.with_env(world.env, function()
      return nix_executor.from_store_with_config(store, config or {})
    end))
  end

  it("is that an identity stage gives what it got", function()
    local store = noether.store.memory()
    local id = assert(store:put(stage("python", IDENTITY, { "Pure" })))
    local ex <close> = assert(helper.with_env(world.env, function()
      return nix_executor.from_store(store)
    end))
    assert.is_true(ex:has_implementation(id))
    local output, err, info = ex:execute(id, { value = 42 })
    assert.is_nil(err)
    assert.same({ value = 42 }, output)
    assert.equal("nix", info.runtime.kind)
  end)

  it("is that a hanging stage ends at its deadline", function()
    local ex <close> = from_store(noether.store.memory(), { timeout_secs = 1 })
    assert(ex:register_with_effects("hang", "import time\ndef execute(i): time.sleep(60)",
      "python", { "Pure" }))
    local before = sys.clock()
    fails("timed_out", "1 s", ex:execute("hang", 1))
    assert.is_true(sys.clock() - before < 10)
  end)

  it("is that words are counted by a stage of a store that was closed and reopened", function()
    local dir = helper.tmpdir() .. "/store"
    local id = assert(assert(noether.store.open(dir)):put{
      name = "word_count", language = "python", effects = { "Pure" },
      code = "def execute(input):\n    return {'words': len(input['text'].split())}",
    })
    local ex <close> = from_store(assert(noether.store.open(dir)))
    for _, name in ipairs{ id, "word_count" } do
      assert.same({ words = 6 }, (noether.check(ex:execute(name, { text = "to be or not to be" }))))
    end
  end)
end)

describe("a stage under nix", function()
  helper.over({ backends = BACKENDS }, "isolated by %s,", function(backend)
    it("runs in every language, isolated by " .. backend, function()
      local ex <close> = assert(world:executor{ isolation = backend })
      for language, code in pairs(STAGES) do
        local output, info = runs(ex, language, code, { n = 1 })
        assert.same({ n = 1 }, output)
        assert.equal(backend, info.isolation)
        assert.equal("nix", info.runtime.kind)
        assert.equal(1, (info.runtime.path:find(world.store_dir, 1, true)))
      end
    end)

    it("finds the tools of its shell, isolated by " .. backend, function()
      local ex <close> = assert(world:executor{ isolation = backend })
      assert.equal(3, (runs(ex, "bash", "execute() { seq 3 | grep -c .; }", 1, { "Process" })))
    end)
  end)

  it("has answers that can be kept", function()
    local plain <close> = assert(world:executor{ isolation = "none" })
    local ex = noether.check(noether.cache(plain))
    for round = 1, 2 do
      local output, info = runs(ex, "python", IDENTITY, { 1 }, { "Pure" })
      assert.same({ 1 }, output)
      assert.equal(round == 2, info.cached)
    end
  end)

  it("imports what its code imports, without a network", function()
    local ex <close> = assert(world:executor{ isolation = "native" })
    local output, info = runs(ex, "python", [[
import sys, six, yaml
def execute(text):
    return [yaml.safe_load(text), six.PY3, sys.prefix]
]], "a: [1, x]")
    assert.same({ a = { 1, "x" } }, output[1])
    assert.is_true(output[2])
    assert.equal("native", info.isolation)
    assert.same({ "pyyaml", "six" }, { table.unpack(info.runtime.packages) })
    assert.equal(info.runtime.store_path, output[3])
  end)

  it("imports it from environments of newer kinds, too", function()
    local ex <close> = assert(world:executor{ isolation = "native",
      policy = { languages = { python = { runtime = {
        programs = { "python3" }, attribute = "python311", packages = true,
        probe = require("noether.policy.languages.python").runtime.probe,
      } } } } })
    local output, info = runs(ex, "python",
      "import six, sys\ndef execute(i): return [six.__version__, sys.prefix]", 1)
    assert.matches("^1%.%d+%.%d+$", output[1])
    assert.equal(info.runtime.store_path, output[2])
  end)

  it("sees the closure of its interpreter, and nothing else of the store or the system", function()
    local ex <close> = assert(world:executor{ isolation = "native" })
    local output, info = runs(ex, "python", [[
import os
def execute(store):
    there = [p for p in ("/usr", "/lib", "/bin", "/etc", "/home") if os.path.exists(p)]
    return [sorted(os.listdir(store)), there]
]], world.store_dir)
    local closure = world:shell("nix path-info -r " .. info.runtime.store_path)
    local names = {}
    for name in closure:gmatch("/store/([^\n]+)") do
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same(names, output[1])
    assert.is_true(#names >= 2)
    local there = keys(output[2])
    assert.is_nil(there["/usr"])
    assert.is_nil(there["/lib"])
    assert.is_nil(there["/home"])
  end)

  it("leaves nothing in the store", function()
    local ex <close> = assert(world:executor())
    runs(ex, "python", "import six\n" .. IDENTITY, 1)
    local find = ("find %s -newermt @2 -o -name '*.pyc' | sort | cksum"):format(world.store_dir)
    local before = world:shell(find)
    for _, backend in ipairs{ "native", "none" } do
      local one <close> = assert(world:executor{ isolation = backend })
      runs(one, "python", "import email.mime.text, unittest.mock, six\ndef execute(i): pass", 1)
    end
    assert.equal(before, world:shell(find))
  end)

  it("proves what it was run by", function()
    local ex <close> = assert(world:executor())
    local _, one = runs(ex, "python", IDENTITY, 1)
    local _, two = runs(ex, "python", "import six\n" .. IDENTITY, 1)
    assert.equal(VERSION, one.runtime.version)
    assert.equal(NIX, one.runtime.nix)
    assert.truthy(one.runtime.reference:find("^path:.*narHash=sha256%-.*#python3$"))
    assert.matches("/store/%w+%-python3%-" .. VERSION .. "$", one.runtime.store_path)
    for _, name in ipairs{ "code", "script", "input", "runtime" } do
      assert.truthy(one.provenance[name]:find("^%x+$"), name)
    end
    assert.not_equal(one.provenance.runtime, two.provenance.runtime)
  end)
end)

describe("a runtime, once resolved,", function()
  it("needs no nix any more, in this process and in others", function()
    local ex <close> = assert(world:executor())
    runs(ex, "python", IDENTITY, 1)
    local counter = world:counter()
    local other <close> = assert(world:executor({}, counter.env))
    runs(other, "python", IDENTITY, 1)
    runs(other, "python", IDENTITY, 2)
    assert.equal(0, counter.count())
  end)

  it("is resolved once for many that want it at the same time", function()
    local counter = world:counter()
    local ex <close> = assert(world:executor({ cache_dir = helper.tmpdir() .. "/c" }, counter.env))
    for _, record in ipairs(ex:map(stage("bash", STAGES.bash), { 1, 2, 3, 4, 5 }, { jobs = 5 })) do
      assert.is_nil(record.err)
    end
    assert.equal(1, counter.count("build"))
    assert.equal(1, counter.count("flake metadata"))
  end)

  it("is kept from collection as long as its cache is there", function()
    local cache = helper.tmpdir() .. "/cache"
    local ex <close> = assert(world:executor{ cache_dir = cache })
    local _, info = runs(ex, "bash", STAGES.bash, 1)
    local roots = world:shell("nix-store -q --roots " .. info.runtime.store_path)
    assert.truthy(roots:find(cache .. "/nix/roots/", 1, true), roots)
  end)

  it("is made again when it was collected, or has gone from the disk", function()
    local own = nix.world(helper.tmpdir())
    local ex <close> = assert(own:executor())
    local _, first = runs(ex, "bash", STAGES.bash, 1)
    helper.shell("rm -r " .. own.dir .. "/cache/nix/roots")
    -- What any process of the machine seems to use is spared, until that is gone.
    assert.is_true(helper.poll(function()
      own:shell("nix-store --gc")
      return not sys.stat(first.runtime.store_path)
    end))
    local _, again = runs(ex, "bash", STAGES.bash, 1)
    assert.same(first.runtime, again.runtime)

    for _, pattern in ipairs{ "%-bash%-", "%-libc%-" } do
      for name in own:paths():gmatch("[^\n]+") do
        if name:find(pattern) and not name:find("%.drv$") then
          own:remove(own.store_dir .. "/" .. name)
        end
      end
      _, again = runs(ex, "bash", STAGES.bash, 1)
      assert.same(first.runtime, again.runtime)
    end
    own:destroy()
  end)

  it("is the same on a second machine, by the lock file that it is given", function()
    local base = helper.tmpdir()
    local lock = base .. "/runtimes.lock.json"
    local one = nix.world(base .. "/machine")
    local ex <close> = assert(one:executor{ lock_file = lock })
    local _, first = runs(ex, "bash", STAGES.bash, 1)
    local text = helper.read(lock)
    -- Another store in the first one's place: where a store lies is part of its paths.
    assert(sys.rename(base .. "/machine", base .. "/first"))
    local two = nix.world(base .. "/machine")
    assert.is_nil(sys.stat(two.store_dir))
    local counter = two:counter()
    local other <close> = assert(two:executor({ lock_file = lock }, counter.env))
    local _, second = runs(other, "bash", STAGES.bash, 1)
    assert.same(first.runtime, second.runtime)
    assert.equal(first.provenance.runtime, second.provenance.runtime)
    assert.equal(0, counter.count("flake metadata"))
    assert.equal(text, helper.read(lock))
    two:destroy()
    nix.world(base .. "/first"):destroy()
  end)

  it("is refused where the locked flake is not there any more as it was", function()
    local base = helper.tmpdir()
    helper.shell(("cp -r %s/spec/fixtures/nixpkgs %s/flake"):format(helper.root, base))
    local one = nix.world(base .. "/machine")
    local opts = { lock_file = base .. "/lock.json", nixpkgs = "path:" .. base .. "/flake" }
    local ex <close> = assert(one:executor(opts))
    runs(ex, "bash", STAGES.bash, 1)
    one:destroy()
    helper.shell(("echo '# changed' >>%s/flake/flake.nix"):format(base))
    local two = nix.world(base .. "/machine")
    local other <close> = assert(two:executor(opts))
    local err = fails("runtime_unavailable", "not the one that was locked",
      other:execute(stage("bash", STAGES.bash), 1))
    assert.truthy(err.hint:find("lock file", 1, true))
    two:destroy()
  end)
end)

describe("warmup", function()
  it("resolves languages in the background, and tells how far it is", function()
    local ex <close> = assert(world:executor{ cache_dir = helper.tmpdir() .. "/cache" })
    local events = {}
    local task <close> = assert(ex:warmup({ "bash", "javascript", "cobol" }, {
      on_progress = function(event) events[#events + 1] = event end,
    }))
    assert.equal("setup", task:state())
    local found = noether.check(task:wait(60))
    assert.equal("language_unknown", found.cobol.err.kind)
    local states = {}
    for i, event in ipairs(events) do
      states[i] = event.language .. " " .. event.state
      assert.equal(3, event.total)
    end
    assert.same({ "bash locking", "bash building", "bash checking", "bash ready",
      "javascript building", "javascript checking", "javascript ready", "cobol failed" }, states)
    assert.equal(3, events[#events].done)
    local _, info = runs(ex, "bash", STAGES.bash, 1)
    assert.equal(found.bash.path, info.runtime.path)
  end)

  it("has a deadline of its own for each language", function()
    local ex <close> = assert(world:executor{ policy = { languages = { bash = { runtime = {
      programs = { "bash" }, attribute = "build-hangs", probe = {},
    } } } } })
    local task <close> = assert(ex:warmup({ "bash", "javascript" }, { setup_timeout_secs = 1.5 }))
    local found = noether.check(task:wait(60))
    assert.equal("setup_timed_out", found.bash.err.kind)
    assert.is_string(found.javascript.path)
    assert.equal(0, count_running("sleep 600.25"))
  end)

  it("ends what it began when it is cancelled or given up", function()
    for _, how in ipairs{ "cancel", "close" } do
      local ex <close> = assert(world:executor{ cache_dir = helper.tmpdir() .. "/" .. how,
        policy = { languages = { bash = { runtime = {
          programs = { "bash" }, attribute = "build-hangs", probe = {},
        } } } } })
      local task = assert(ex:warmup{ "bash" })
      assert.is_true(helper.poll(function()
        task:step()
        return count_running("sleep 600.25") > 0
      end, 90))
      task[how](task)
      assert.is_true(helper.poll(function() return count_running("sleep 600.25") == 0 end))
      if how == "cancel" then
        local _, err = task:wait(10)
        assert.truthy(err, "a task that was cancelled has an error")
        assert.equal("cancelled", err.kind)
      end
      task:close()
      -- And its locks are free again.
      local other <close> = assert(world:executor{ cache_dir = ex.config.cache_dir })
      runs(other, "bash", STAGES.bash, 1)
    end
  end)
end)

describe("what goes wrong with nix", function()
  local function with_attribute(name)
    return { policy = { languages = { bash = { runtime = {
      programs = { "bash" }, attribute = name, probe = {},
    } } } } }
  end

  local attributes = {
    { "build-fails", "packages_failed", "nix could not build a package", "nix log" },
    { "dependency-fails", "packages_failed", "nix could not build a package" },
    { "eval-throws", "runtime_unavailable", "nix failed (exit 1): error: this attribute" },
    { "no-main", "runtime_unavailable", "has no program bash" },
    { "bahs", "runtime_unavailable", "the flake has no such package", "did you mean bash?" },
    { "python3Packages", "runtime_unavailable", "nix could not use the flake" },
  }
  for _, case in ipairs(attributes) do
    it("is told as what it was: " .. case[1], function()
      local ex <close> = assert(world:executor(with_attribute(case[1])))
      local err = fails(case[2], case[3], ex:execute(stage("bash", STAGES.bash), 1))
      if case[4] then assert.truthy(err.hint:find(case[4], 1, true), err.hint) end
    end)
  end

  local packages = {
    { "tabulate", nil, "packages_failed", "nix could not build a package" },
    { "six", "sux", "packages_failed", "nixpkgs has no such package", "did you mean six?" },
  }
  for _, case in ipairs(packages) do
    it("is told as what it was: import " .. case[1], function()
      local known = case[2] and { packages = { known = { [case[1]] = case[2] } } }
      local ex <close> = assert(world:executor{ policy = known })
      local err = fails(case[3], case[4],
        ex:execute(stage("python", "import " .. case[1] .. "\n" .. IDENTITY), 1))
      if case[5] then assert.equal(case[5], err.hint) end
    end)
  end

  local references = {
    { "nosuchflake", "cannot find flake" },
    { "path:/nonexistent/flake", "nix could not use the flake" },
    { "path:" .. helper.root .. "/spec/fixtures", "nix could not use the flake" },
    { "https://127.0.0.1:9/x.tar.gz", "failed to fetch" },
  }
  for _, case in ipairs(references) do
    it("is told as what it was: " .. case[1]:gsub("path:/.*fixtures$", "no flake there"), function()
      local ex <close> = assert(world:executor({ nixpkgs = case[1] }))
      fails("runtime_unavailable", case[2], ex:execute(stage("bash", STAGES.bash), 1))
    end)
  end

  it("is a build that hangs, ended with all of it at the deadline of the setup", function()
    local ex <close> = assert(world:executor(with_attribute("build-hangs")))
    local before = sys.clock()
    local err, info = fails("setup_timed_out", "longer than 1.5 s",
      ex:execute(stage("bash", STAGES.bash), 1, { setup_timeout_secs = 1.5 }))
    assert.is_true(sys.clock() - before < 15)
    assert.truthy(err.hint:find("setup_timeout_secs", 1, true))
    assert.is_nil(info.result)
    assert.is_true(helper.poll(function() return count_running("sleep 600.25") == 0 end))
    local well <close> = assert(world:executor())
    runs(well, "bash", STAGES.bash, 1)
  end)

  it("is a daemon that is not there", function()
    local ex <close> = assert(world:executor({ cache_dir = helper.tmpdir() .. "/cache" }, {
      NIX_REMOTE = "daemon", NIX_DAEMON_SOCKET_PATH = world.dir .. "/none",
    }))
    fails("runtime_unavailable", "the nix daemon is not running",
      ex:execute(stage("bash", STAGES.bash), 1))
  end)

  it("is no home, which nix gets then, or one that cannot be written to", function()
    local home = helper.tmpdir()
    assert(sys.chmod(home, 320)) -- 0500
    for _, variable in ipairs{ false, "/nonexistent", home } do
      local ex <close> = assert(world:executor({ cache_dir = helper.tmpdir() .. "/cache" },
        { HOME = variable }))
      runs(ex, "bash", STAGES.bash, 1)
    end
  end)

  it("is a full disk", function()
    local base = helper.tmpdir()
    local script = helper.write(base .. "/run.lua", [[
      local noether = require "noether"
      local ex = assert(noether.executor{ runtime = "nix", isolation = "none", cache_dir = arg[1] })
      local _, err = ex:execute({ language = "bash", code = "execute() { echo 1; }" }, 1)
      print(err.kind, err)]])
    local own = nix.world(base .. "/machine")
    local inner = ("mkdir -p %s/store %s/var; mount -t tmpfs -o size=2m none %s/store && %s %s %s")
      :format(own.dir, own.dir, own.dir, helper.quote(helper.lua), script, base .. "/cache")
    local output = own:shell("unshare -rm sh -c " .. helper.quote(inner))
    assert.truthy(output:find("^runtime_unavailable\tthe nix store is full"), output)
    own:destroy()
  end)
end)

describe("launch = \"run\"", function()
  it("runs stages by nix run, as the original did", function()
    local counter = world:counter()
    local ex <close> = assert(world:executor({ isolation = "none", launch = "run" }, counter.env))
    for language, code in pairs(STAGES) do
      local output, info = runs(ex, language, code, { n = 1 })
      assert.same({ n = 1 }, output)
      assert.equal(("nixpkgs#%s"):format(ATTRIBUTES[language]), info.runtime.reference)
    end
    assert.equal(3, counter.count("run"))
    assert.equal(3, counter.count())
    local plan = noether.check(ex:plan(stage("python", IDENTITY), 1))
    assert.truthy(plan.argv[1]:find("/nix$"))
    assert.truthy(plan.argv[#plan.argv]:find("/runner.py$"))
  end)

  it("is refused with isolation, and without nix", function()
    for _, isolation in ipairs(helper.backends{ "auto", "native", "bwrap", "landlock" }) do
      fails("runtime_unavailable", "only with isolation = \"none\"",
        world:executor{ launch = "run", isolation = isolation })
    end
    fails("runtime_unavailable", "nix is not installed",
      world:executor({ launch = "run", isolation = "none" }, { PATH = "/nonexistent" }))
    fails("runtime_unavailable", "not of the host's",
      world:executor({ launch = "run", isolation = "none", runtime = "host" }))
  end)
end)

describe("runtime = \"auto\"", function()
  setup(function() world:shell("nix build --no-link nixpkgs#bash") end)

  local unusable = { NIX_REMOTE = "daemon", NIX_DAEMON_SOCKET_PATH = "/nonexistent/socket" }

  it("takes nix where it is in use", function()
    local ex <close> = assert(world:executor{ runtime = "auto" })
    local _, info = runs(ex, "bash", STAGES.bash, 1)
    assert.equal("nix", info.runtime.kind)
    assert.same({}, info.warnings)
  end)

  it("takes the host where nix is installed and was never used", function()
    local ex <close> = assert(world:executor({ runtime = "auto" },
      { NIX_STORE_DIR = helper.tmpdir() .. "/store" }))
    local _, info = runs(ex, "bash", STAGES.bash, 1)
    assert.equal("host", info.runtime.kind)
    assert.same({}, info.warnings)
  end)

  -- Executors that have a cache in common, as those of several processes have, and no daemon.
  local function without_daemon()
    local counter, cache_dir = world:counter(), helper.tmpdir() .. "/cache"
    counter.env.NIX_REMOTE = unusable.NIX_REMOTE
    counter.env.NIX_DAEMON_SOCKET_PATH = unusable.NIX_DAEMON_SOCKET_PATH
    return counter, function(env)
      return assert(world:executor({ runtime = "auto", cache_dir = cache_dir }, env or counter.env))
    end
  end

  it("takes the host where nix cannot be used, says so, and does not ask at each call", function()
    local counter, executor = without_daemon()
    local ex <close> = executor()
    for _ = 1, 3 do
      local _, info = runs(ex, "bash", STAGES.bash, 1)
      assert.equal("host", info.runtime.kind)
      assert.equal(1, #info.warnings)
      assert.truthy(info.warnings[1]:find("daemon is not running", 1, true), info.warnings[1])
    end
    local _, info = runs(ex, "javascript", STAGES.javascript, 1)
    assert.equal("host", info.runtime.kind)
    assert.equal(1, counter.count())
  end)

  it("does not ask in the next process either, but by a warm-up or after a while", function()
    local counter, executor = without_daemon()
    for _ = 1, 2 do
      local ex <close> = executor()
      local _, info = runs(ex, "bash", STAGES.bash, 1)
      assert.equal("host", info.runtime.kind)
      assert.truthy(info.warnings[1]:find("daemon is not running", 1, true), info.warnings[1])
    end
    assert.equal(1, counter.count())

    local ex <close> = executor()
    assert.equal("host", assert(ex:warmup({ "bash" }):wait(20)).bash.kind)
    assert.equal(2, counter.count())

    helper.shell("touch -d '20 minutes ago' " .. helper.quote(ex.cache.dir) .. "/nix/failed-*")
    runs(ex, "bash", STAGES.bash, 1)
    assert.equal(3, counter.count())
  end)

  it("remembers of a nix what was so in one environment alone", function()
    local _, executor = without_daemon()
    do
      local ex <close> = executor()
      runs(ex, "bash", STAGES.bash, 1)
    end
    local ex <close> = executor({})
    local _, info = runs(ex, "bash", STAGES.bash, 1)
    assert.equal("nix", info.runtime.kind)
  end)

  it("takes nothing but what was pinned", function()
    for _, pin in ipairs{ { nixpkgs = "nixpkgs" }, { lock_file = helper.tmpdir() .. "/l.json" } } do
      pin.runtime, pin.cache_dir = "auto", helper.tmpdir() .. "/cache"
      local ex <close> = assert(world:executor(pin, unusable))
      fails("runtime_unavailable", "daemon is not running",
        ex:execute(stage("bash", STAGES.bash), 1))
      fails("runtime_unavailable", "nix is not installed",
        world:executor(pin, { PATH = "/nonexistent" }))
    end
  end)
end)

describe("doctor", function()
  setup(function() world:shell("nix build --no-link nixpkgs#bash") end)

  local function found(env)
    local variables = {}
    for _, source in ipairs{ world.env, env or {} } do
      for name, value in pairs(source) do
        variables[name] = value
      end
    end
    local report = helper.with_env(variables, function()
      return noether.doctor{ timeout_secs = 20 }
    end)
    for _, check in ipairs(report.checks) do
      if check.name == "nix" then return report.nix, check end
    end
  end

  it("says that nix is there and works, with a home or without", function()
    for _, env in ipairs{ {}, { HOME = false } } do
      local fact, check = found(env)
      assert.same({ true, true, true, NIX },
        { fact.installed, fact.in_use, fact.usable, fact.version })
      assert.equal("ok", check.status)
      assert.truthy(check.meaning:find("takes its interpreters", 1, true))
    end
  end)

  it("says that it is there and was never used, and makes no store", function()
    local store = helper.tmpdir() .. "/store"
    local fact, check = found{ NIX_STORE_DIR = store }
    assert.is_false(fact.in_use)
    assert.is_nil(fact.usable)
    assert.equal("ok", check.status)
    assert.truthy(check.meaning:find("own interpreters", 1, true))
    assert.is_nil(sys.stat(store))
  end)

  it("says so of a store that a nix without a network left empty, too", function()
    local store = helper.tmpdir() .. "/store"
    helper.write(store .. "/.links/x", "")
    helper.write(store .. "/0a1b-x.lock", "")
    local function runtime_of()
      local executor <close> = assert(world:executor({ runtime = "auto" },
        { NIX_STORE_DIR = store }))
      local _, err, info = executor:execute(stage("bash", STAGES.bash), 1)
      assert.is_nil(err)
      return info.runtime.kind, info.warnings
    end
    local fact, check = found{ NIX_STORE_DIR = store }
    assert.is_false(fact.in_use)
    assert.equal("ok", check.status)
    local kind, warnings = runtime_of()
    assert.equal("host", kind)
    assert.same({}, warnings)
    helper.write(store .. "/0a1b2c3d-bash/bin/x", "")
    assert.is_true(found{ NIX_STORE_DIR = store }.in_use)
  end)

  it("says why it cannot be used", function()
    local fact, check = found{ NIX_REMOTE = "daemon", NIX_DAEMON_SOCKET_PATH = "/nonexistent/s" }
    assert.is_false(fact.usable)
    assert.equal("warn", check.status)
    assert.truthy(check.found:find("daemon is not running", 1, true), check.found)
    assert.truthy(check.hint:find("start it", 1, true))
  end)
end)

if helper.is_root() then
  describe("an ordinary user with a daemon", function()
    local UID = 61234
    local base, own, daemon

    setup(function()
      base = helper.tmpdir()
      own = nix.world(base .. "/machine")
      helper.with_env(own.env, function()
        daemon = assert(noether.spawn({ "/usr/bin/nix-daemon" }, { isolation = "none", env = {
          -- Its own store: a daemon that finds none and a daemon's socket would ask itself.
          NIX_DAEMON_SOCKET_PATH = base .. "/socket", NIX_REMOTE = "local",
        } }))
      end)
      assert(helper.poll(function() return sys.stat(base .. "/socket") end))
    end)

    teardown(function()
      daemon:close()
      own:destroy()
    end)

    -- Runs a script as that user, with a home and a cache of his own.
    local function as_user(script)
      local home = base .. "/home"
      helper.write(base .. "/script.lua", script)
      helper.shell(("mkdir -p %s; chown %d:%d %s; cp %s %s/noether-lua"):format(home, UID, UID,
        home, helper.quote(helper.lua), base))
      local temporary = os.getenv "TMPDIR"
      helper.shell(("chmod a+x %s/.. %s %s; chmod a+r %s/script.lua; chmod 1777 %s"):format(
        temporary, temporary, base, base, temporary))
      return own:shell(("export NIX_REMOTE=daemon NIX_DAEMON_SOCKET_PATH=%s/socket HOME=%s; "
        .. "exec setpriv --reuid %d --regid %d --clear-groups --inh-caps=-all %s/noether-lua "
        .. "%s/script.lua"):format(base, home, UID, UID, base, base))
    end

    local SCRIPT = [[
      local noether = require "noether"
      local ex = assert(noether.executor{ runtime = "nix" })
      local answers = {}
      for i = 1, 2 do
        local output, err, info = ex:execute({ language = "bash", effects = {},
          code = "execute() { echo \"$1\"; }" }, { n = i })
        answers[i] = { output = output, err = err and tostring(err), isolation = info.isolation,
          runtime = info.runtime }
      end
      print((assert(require("noether.json").encode(answers))))]]

    helper.for_each_user(function()
      it("has his runtimes built by it, kept from collection, and isolated", function()
        local answers = json.decode(as_user(SCRIPT))
        for i, answer in ipairs(assert(answers)) do
          assert.is_nil(answer.err)
          assert.same({ n = i }, answer.output)
          assert.equal("native", answer.isolation)
          assert.equal(0, sys.stat(answer.runtime.store_path).uid)
        end
        local roots = own:shell("nix-store -q --roots " .. answers[1].runtime.store_path)
        assert.truthy(roots:find(base .. "/home/.cache/noether/nix/roots/", 1, true), roots)
      end)

      it("needs it no more for what is resolved", function()
        daemon:cancel()
        daemon:wait(10)
        local answers = json.decode(as_user(SCRIPT))
        assert.is_nil(assert(answers)[1].err)
      end)
    end)
  end)
end
