-- SPDX-License-Identifier: MIT
-- Packages for Python stages, by the real venv and pip, from directories and from an index on
-- loopback.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"
local pip_policy = require "noether.policy.pip"
local support = require "spec.support.posix"
local sys = require "noether.sys"
local environments = require "noether.runtime.environments"
local wheels = require "spec.support.wheels"

local MIB = 1024 * 1024

local TINY = { name = "tiny", files = { ["tiny.py"] = "value = 42\n" } }

-- Does what pip does, as far as these specs can tell, in less time: for those not about pip.
local QUICK = { pip = { installer = {
  venv = { "{python}", "-I", "-m", "venv", "--without-pip", "{dir}" },
  install = { "{python}", "-I", "-c", [[
import os, sys
site = os.path.join(sys.prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
for spec in sys.argv[sys.argv.index("--") + 1:]:
    name, version = spec.split("==")
    os.mkdir("%s/%s-%s.dist-info" % (site, name, version))
    open(site + "/%s.py" % name, "w").write("value = 42\n")]], "{requirements}" },
} } }

local IMPORT = "import tiny\ndef execute(i): return tiny.value"

-- An executor with the system's own Python and a cache that lasts as long as the test.
local function executor(opts)
  local all = { isolation = "native", runtime = "host", built = {} }
  for name, value in pairs(opts) do all[name] = value end
  all.cache_dir = all.cache_dir or helper.tmpdir() .. "/cache"
  local built = all.built
  all.built, all.log = nil, function(_, message) built[#built + 1] = message end
  local ex = helper.with_env({ PATH = "/usr/bin:/bin" }, function()
    return assert(noether.executor(all))
  end)
  return ex, all.cache_dir .. "/venvs", built
end

local function stage(requires, code, effects)
  return {
    language = "python", effects = effects or { "Pure" },
    code = ("# requires: %s\n%s"):format(requires, code or "def execute(i): return i"),
  }
end

local function fails(kind, text, output, err)
  assert.is_nil(output)
  assert.is_table(err)
  assert.equal(kind, err.kind, tostring(err) .. " " .. (err.result and err.result.stderr or ""))
  assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  return err
end

local function assert_nothing_left(root)
  assert.same({}, helper.list(root))
end

local function only_one(root)
  local names = helper.list(root)
  assert.equal(1, #names, table.concat(names, " "))
  return root .. "/" .. names[1]
end

helper.over({ backends = { "native", "bwrap", "landlock", "none" } }, "under %s", function(backend)
  describe("a stage that requires a pinned wheel", function()
    local CODE = [[
import os, socket, subprocess, sys
import tiny
def attempt(fn):
    try:
        fn()
    except OSError:
        return "refused"
def execute(i):
    return {
        "value": tiny.value, "compiled": os.path.exists(tiny.__cached__), "prefix": sys.prefix,
        "written": attempt(lambda: open(sys.prefix + "/x", "w")) if i["sandboxed"] else None,
        "network": attempt(lambda: socket.create_connection(("127.0.0.1", i["port"]), 5)),
    }]]

    it("has it, read-only and without network, and it is installed once", function()
      local ex <close>, root, built = executor{
        isolation = backend, pip = { find_links = { (wheels.make{ TINY }) } },
      }
      local listener <close> = helper.listen()
      for _ = 1, 2 do
        local output, err, info = ex:execute(stage("tiny==1.0", CODE), {
          port = listener.port, sandboxed = backend ~= "none",
        })
        assert.is_nil(err, tostring(err))
        assert.equal(42, output.value)
        assert.is_true(output.compiled)
        if backend ~= "none" then
          assert.equal("refused", output.written)
          assert.equal("refused", output.network)
        end
        assert.equal(backend, info.isolation)
        assert.equal("venv", info.runtime.kind)
        assert.same({ "tiny==1.0" }, info.runtime.packages)
        assert.truthy(info.runtime.reference:find("^host:/usr/bin/python3%S* venv:%x+$"))
        assert.truthy(info.provenance.packages:find("^%x+$"))
        assert.same({}, info.warnings)
        assert.equal("install", info.spans[4].name)
      end
      assert.equal(1, #built)
      assert.truthy(built[1]:find("installed tiny==1.0", 1, true))
      only_one(root)
    end)
  end)
end)

describe("packages", function()
  it("can be started as programs, by a stage with the Process effect", function()
    local dir = wheels.make{ {
      name = "tiny", files = {
        ["tiny.py"] = "def main(): print('started')\n",
        ["tiny-1.0.dist-info/entry_points.txt"] = "[console_scripts]\ntiny-run = tiny:main\n",
      },
    } }
    local code = "import subprocess\n"
      .. "def execute(i): return subprocess.check_output(['tiny-run']).decode()"
    for _, backend in ipairs(helper.backends{ "native", "landlock" }) do
      local ex <close> = executor{ isolation = backend, pip = { find_links = { dir } } }
      local output, err = ex:execute(stage("tiny==1.0", code, { "Process" }), 1)
      assert.equal("started\n", output, tostring(err))
    end
  end)

  it("are in the plan; and an outline names what is wanted, and installs nothing", function()
    local ex <close>, root, built = executor{
      pip = { find_links = { helper.tmpdir() } }, policy = QUICK,
    }
    local outline = assert(ex:plan(stage("tiny==1.0"), 1, { resolve = false }))
    assert.same({ "tiny==1.0" }, outline.runtime.packages)
    assert.same({}, built)
    local plan = assert(ex:plan(stage("tiny==1.0"), 1))
    assert.same({ "tiny==1.0" }, plan.runtime.packages)
    assert.equal("/venv/bin/python", plan.argv[1])
    assert.truthy(noether.inspect(plan.sandbox):find(only_one(root), 1, true))
    assert.equal(1, #built)
    local _, err = ex:plan(stage("tiny"), 1, { resolve = false })
    assert.equal("package_rejected", err.kind)
  end)

  it("come with what they depend on, of which they say the same in every sandbox", function()
    local dir = wheels.make{ TINY, { name = "Needs.It", requires = { "tiny>=1" } } }
    local hashes = {}
    for _, backend in ipairs(helper.backends{ "native", "landlock" }) do
      local ex <close> = executor{ isolation = backend, pip = { find_links = { dir } } }
      local output, err, info = ex:execute(stage("needs-it==1.0", IMPORT), 1)
      assert.equal(42, output, tostring(err))
      assert.same({ "Needs.It==1.0", "tiny==1.0" }, info.runtime.packages)
      hashes[#hashes + 1] = info.provenance.packages
    end
    assert.equal(hashes[1], hashes[#hashes])
  end)

  it("are subject to the policy's lists, and so is what they depend on", function()
    local dir = wheels.make{ TINY, { name = "needs", requires = { "tiny>=1" } } }
    for _, lists in ipairs{ { allow = { "needs" } }, { deny = { "tiny" } } } do
      local ex <close>, root = executor{ pip = { find_links = { dir } }, policy = { pip = lists } }
      fails("package_rejected", "'tiny==1.0'", ex:execute(stage("needs==1.0"), 1))
      assert_nothing_left(root)
    end
    local ex <close> = executor{
      pip = { find_links = { dir } }, policy = { pip = { allow = { "needs", "tiny==1.0" } } },
    }
    assert.equal(1, noether.check(ex:execute(stage("needs==1.0"), 1)))
  end)

  it("are subject to the lists of each executor, whoever has installed them", function()
    local dir, cache = wheels.make{ TINY, { name = "needs", requires = { "tiny>=1" } } },
      helper.tmpdir()
    local open <close> = executor{ cache_dir = cache, pip = { find_links = { dir } } }
    assert.equal(1, noether.check(open:execute(stage("needs==1.0"), 1)))
    local strict <close> = executor{
      cache_dir = cache, pip = { find_links = { dir } }, policy = { pip = { deny = { "tiny" } } },
    }
    fails("package_rejected", "'tiny==1.0'", strict:execute(stage("needs==1.0"), 1))
    assert.equal(1, noether.check(open:execute(stage("needs==1.0"), 1)))
  end)

  it("cannot hide what came along behind another interpreter's directory", function()
    local dir = wheels.make{ TINY, {
      name = "needs", requires = { "tiny>=1" }, files = {
        ["needs-1.0.data/data/lib/python3.0/site-packages/needs-1.0.dist-info/RECORD"] = "",
      },
    } }
    local ex <close> = executor{
      pip = { find_links = { dir } }, policy = { pip = { deny = { "tiny" } } },
    }
    fails("package_rejected", "'tiny==1.0'", ex:execute(stage("needs==1.0"), 1))
    local open <close> = executor{ pip = { find_links = { dir } } }
    local _, err, info = open:execute(stage("needs==1.0"), 1)
    assert.is_nil(err, tostring(err))
    assert.same({ "needs==1.0", "tiny==1.0" }, info.runtime.packages)
  end)

  it("are nobody's to write to who declares to write there", function()
    local dir = wheels.make{ TINY }
    local ex <close>, root = executor{ pip = { find_links = { dir } } }
    assert(ex:plan(stage("tiny==1.0"), 1)) -- installs
    local place = only_one(root)
    local code = ("import os\ndef execute(i): return [os.access(p, os.W_OK) for p in i]")
    local output, err = ex:execute(stage("tiny==1.0", code, { { FsWrite = place } }), { place })
    fails("policy_error", "would show the cache", output, err)
    for _, link in ipairs{ place, root } do
      local other = helper.tmpdir() .. "/link"
      helper.shell(("ln -s %s %s"):format(link, other))
      output, err = ex:execute(stage("tiny==1.0", code, { { FsWrite = other } }), { other })
      fails("policy_error", "would show the cache", output, err)
    end
  end)

  it("need no version where the caller says so", function()
    local dir = wheels.make{ TINY, { name = "tiny", version = "2.0" } }
    local ex <close> = executor{ pip = { find_links = { dir } }, allow_unpinned_pip = true }
    local _, err, info = ex:execute(stage("tiny"), 1)
    assert.is_nil(err, tostring(err))
    assert.same({ "tiny==2.0" }, info.runtime.packages)
  end)

  it("are what their hashes say, or are not installed", function()
    local dir, hashes = wheels.make{ TINY, { name = "needs", requires = { "tiny" } } }
    local function pinned(name, hash)
      hash = hash or hashes[name .. "-1.0-py3-none-any.whl"]
      return ("%s==1.0 --hash=sha256:%s"):format(name, hash)
    end
    local ex <close>, root = executor{ pip = { find_links = { dir } } }
    fails("packages_failed", "not the one that was pinned",
      ex:execute(stage(pinned("tiny", ("0"):rep(64))), 1))
    fails("packages_failed", "has no hash", ex:execute(stage(pinned("needs")), 1))
    assert_nothing_left(root)
    local both = pinned("needs") .. ", " .. pinned("tiny")
    assert.equal(42, noether.check(ex:execute(stage(both, IMPORT), 1)))
  end)

  it("come from another installer, where the policy names one", function()
    for _, backend in ipairs(helper.backends{ "native", "landlock" }) do
      local ex <close> = executor{
        isolation = backend, pip = { find_links = { helper.tmpdir() } }, policy = QUICK,
      }
      local output, err, info = ex:execute(stage("tiny==3.0", IMPORT), 1)
      assert.equal(42, output, tostring(err))
      assert.same({ "tiny==3.0" }, info.runtime.packages)
    end
  end)
end)

-- As pip 25 does, which loads them whether or not it will ask anybody.
describe("an installer that reads certificates when it starts", function()
  local bundle = "/etc/ssl/certs/ca-certificates.crt"
  if not sys.stat(bundle, true) then return end

  for _, backend in ipairs(helper.backends{ "native", "bwrap", "landlock" }) do
    it("finds them without a network, under " .. backend, function()
      local policy = { pip = { installer = {
        venv = QUICK.pip.installer.venv,
        install = { "{python}", "-I", "-c", "import ssl\nssl.create_default_context(cafile='"
          .. bundle .. "')\n" .. QUICK.pip.installer.install[4], "{requirements}" },
      } } }
      local ex <close> = executor{
        isolation = backend, pip = { find_links = { helper.tmpdir() } }, policy = policy,
      }
      local output, err = ex:execute(stage("tiny==4.0", IMPORT), 1)
      assert.equal(42, output, tostring(err))
    end)
  end
end)

describe("an index", function()
  it("is asked through the network that only the installer has", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local ex <close>, _, built = executor{ pip = {
      index_url = "http://127.0.0.1:9/simple", extra_index_urls = { index.url() },
      trusted_hosts = { "127.0.0.1" },
    } }
    local code = "import socket, tiny\n" .. [[
def execute(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5)
    except OSError as error:
        return [tiny.value, type(error).__name__]
]]
    local output, err = ex:execute(stage("tiny==1.0", code), tonumber(index.port))
    assert.same({ 42, "ConnectionRefusedError" }, output, tostring(err))
    assert.equal(1, #built)
    assert.same({ "/simple/tiny/", "/simple/files/tiny-1.0-py3-none-any.whl" }, index.asked())
  end)

  it("may want a password, which nobody else gets to see", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local url = index.url("private"):gsub("//", "//user:${INDEX_PASSWORD}@")
    local ex <close>, root, built = executor{
      pip = { index_url = url, env = { INDEX_PASSWORD = "sesame" } },
    }
    local code = "import os, tiny\n"
      .. "def execute(i): return [tiny.value, 'INDEX_PASSWORD' in os.environ]"
    local output, err = ex:execute(stage("tiny==1.0", code), 1)
    assert.same({ 42, false }, output, tostring(err))
    local _, failure, info = ex:execute(stage("tiny==2.0"), 1)
    assert.equal("packages_failed", failure.kind)
    local told = {
      assert(json.encode(failure:to_table())), assert(json.encode(ex:plan(stage("tiny==1.0"), 1))),
      assert(json.encode(info)), table.concat(built), helper.shell("grep -r sesame " .. root),
    }
    assert.falsy(table.concat(told, "\n"):find("sesame", 1, true))
    assert.truthy(failure.result.stderr:find("user:****@", 1, true), failure.result.stderr)
  end)

  it("may have a secret elsewhere in its URL, which pip tells and this does not", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local ex <close> = executor{ pip = {
      index_url = "http://127.0.0.1:" .. index.port .. "/${INDEX_KEY}",
      env = { INDEX_KEY = "simple" },
    } }
    local err = fails("packages_failed", "no such version", ex:execute(stage("tiny==2.0"), 1))
    assert.truthy(err.result.stderr:find(index.port .. "/****", 1, true), err.result.stderr)
    assert.equal(42, noether.check(ex:execute(stage("tiny==1.0", IMPORT), 1)))
  end)

  it("that nobody keeps is told of", function()
    local ex <close>, root = executor{ pip = { index_url = "http://127.0.0.1:9/simple" } }
    local err = fails("packages_failed", "cannot reach its index",
      ex:execute(stage("tiny==1.0"), 1))
    assert.equal("127.0.0.1:9 refused the connection", err.hint)
    assert_nothing_left(root)
  end)
end)

describe("what cannot be installed", function()
  local directory = wheels.make{
    TINY, { name = "needs", requires = { "tiny>=2" } }, { name = "future", python = ">=4" },
    { name = "other", tag = "cp27-cp27m-win32" },
    { name = "source", sdist = true, files = { ["setup.py"] = "raise SystemExit('it ran')" } },
    { name = "up", files = { ["../../../up.py"] = "" } },
    { name = "root", files = { ["/tmp/root.py"] = "" } },
    { name = "snake", files = { ["snake-1.0.data/scripts/python"] = "#!python\nprint(1)\n" } },
    { name = "home", files = { ["home-1.0.data/data/pyvenv.cfg"] = "home = /tmp\n" } },
    -- None of its files is larger than what all of them may be.
    { name = "bomb", zeros = {
      a = 20 * MIB, b = 20 * MIB, c = 20 * MIB, d = 20 * MIB, e = 20 * MIB,
    } },
  }
  local cases = {
    { "a version that there is not", "tiny==3.0", "(from versions: 1.0)" },
    { "a package that there is not", "nonesuch==1.0", "found no such package" },
    { "versions that do not go together", "needs==1.0, tiny==1.0",
      "Cannot install needs==1.0 and tiny==1.0" },
    { "a package for another Python", "future==1.0", "not for this Python" },
    { "a wheel for another machine", "other==1.0", "found no such package" },
    { "a source distribution, whose code is not run", "source==1.0", "found no such package" },
    { "a wheel that writes above its directory", "up==1.0", "reaches out of its environment" },
    { "a wheel that writes to an absolute path", "root==1.0", "reaches out of its environment" },
    { "a wheel with a script named python", "snake==1.0", "the environment: bin/python)" },
    { "a wheel that says where Python is", "home==1.0", "the environment: pyvenv.cfg)" },
  }
  for _, case in ipairs(cases) do
    it("is " .. case[1] .. ", in pip's own words", function()
      local ex <close>, root = executor{ pip = { find_links = { directory } } }
      local err = fails("packages_failed", case[3], ex:execute(stage(case[2]), 1))
      assert.is_string(err.hint)
      assert.falsy(err.result.stderr:find("it ran", 1, true))
      assert_nothing_left(root)
    end)
  end

  helper.over({ backends = { "native", "bwrap" } }, "under %s", function(backend)
    it("is a wheel that is larger unpacked than allowed, under " .. backend, function()
      local ex <close>, root = executor{
        isolation = backend, pip = { find_links = { directory }, max_bytes = 50 * MIB },
      }
      local err = fails("packages_failed", "larger than allowed", ex:execute(stage("bomb==1.0"), 1))
      assert.truthy(err.hint:find("max_bytes", 1, true))
      assert_nothing_left(root)
    end)
  end)

  it("is a wheel of more files than allowed", function()
    local files = {}
    for number = 1, 400 do files[("many/%d.txt"):format(number)] = "" end
    local dir = wheels.make{ { name = "many", files = files } }
    local ex <close>, root = executor{ pip = { find_links = { dir }, max_files = 300 } }
    fails("packages_failed", "larger than allowed", ex:execute(stage("many==1.0"), 1))
    assert_nothing_left(root)
  end)

  it("is what an installer makes with links that lead out", function()
    -- "up/../.." is within by its words, and leads out where `up` is a link that goes up.
    local scripts = {
      { "native", "os.symlink('/etc/passwd', sys.prefix + '/lib/out')" },
      { "none", "os.symlink('/etc/passwd', sys.prefix + '/lib/out')" },
      { "native", "os.makedirs(sys.prefix + '/lib/a/b'); "
        .. "os.symlink('../../..', sys.prefix + '/lib/a/b/up'); "
        .. "os.symlink('a/b/up/../etc', sys.prefix + '/lib/out')" },
    }
    for _, case in ipairs(scripts) do
      local backend, script = case[1], "import os, sys; " .. case[2]
      local ex <close>, root = executor{
        isolation = backend, pip = { find_links = { directory } }, policy = { pip = { installer = {
          venv = { "{python}", "-I", "-m", "venv", "--without-pip", "{dir}" },
          install = { "{python}", "-I", "-c", script },
        } } },
      }
      fails("packages_failed", "a link leads out of the environment: lib/out",
        ex:execute(stage("tiny==1.0"), 1))
      assert_nothing_left(root)
    end
  end)
end)

describe("a wheel's own code", function()
  local CODE = "import os, sys\n"
    .. "place = os.path.join('/tmp', os.environ.get('HOME', '/').strip('/') + '-%s-ran')\n"
    .. "open(place, 'w').write(str(os.getuid()))\n"
    .. "try: open(os.path.join(sys.prefix, '%s-ran'), 'w')\n"
    .. "except OSError: pass\n"

  it("runs in the stage's sandbox and nowhere else: .pth files and sitecustomize", function()
    local dir = wheels.make{ { name = "eager", files = {
      ["eager.pth"] = "import eager_start\n", ["eager_start.py"] = CODE:format("pth", "pth"),
      ["sitecustomize.py"] = CODE:format("site", "site"),
    } } }
    local ex <close>, root = executor{ pip = { find_links = { dir } } }
    assert(ex:plan(stage("eager==1.0"), 1)) -- installs
    local place = only_one(root)
    for _ = 1, 2 do
      for _, name in ipairs{ "pth", "site" } do
        assert.is_nil(io.open(place .. "/" .. name .. "-ran"))
        assert.is_nil(io.open("/tmp/work-" .. name .. "-ran"))
      end
      local code = "def execute(i): return [open('/tmp/work-%s-ran' % n).read() for n in i]"
      local output, err = ex:execute(stage("eager==1.0", code), { "pth", "site" })
      assert.same({ "65533", "65533" }, output, tostring(err))
    end
  end)

  it("is built inside, where the caller wants source distributions", function()
    local secret = helper.write(helper.tmpdir() .. "/secret", "s3cret")
    helper.open_to_all(secret:match("^(.*)/"))
    local backend = ([[
import os
def attempt(fn):
    try:
        return fn()
    except OSError:
        return "refused"
raise SystemExit("probe: %%s %%s %%s" %% (os.getuid(), attempt(lambda: open(%q).read()),
    attempt(lambda: open("/etc/noether-probe", "w"))))]]):format(secret)
    local dir = wheels.make{ { name = "source", sdist = true, files = {
      ["backend.py"] = backend,
      ["pyproject.toml"] = '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        .. 'backend-path = ["."]\n',
    } } }
    local ex <close>, root = executor{ pip = { find_links = { dir }, only_binary = false } }
    local err = fails("packages_failed", "could not be built", ex:execute(stage("source==1.0"), 1))
    local said = err.result.stderr
    assert.truthy(said:find("probe: 65533 refused refused", 1, true), said)
    assert_nothing_left(root)
  end)

  it("cannot be reached by a link that a wheel holds", function()
    local dir = wheels.make{ { name = "linky", links = { ["linky.txt"] = "/etc/passwd" } } }
    local ex <close>, root = executor{ pip = { find_links = { dir } } }
    assert(ex:plan(stage("linky==1.0"), 1))
    -- An environment's own lead to its interpreter, whatever they are called.
    local links = helper.shell(("find %s -type l -printf '%%P=%%l '"):format(only_one(root)))
    for link, target in links:gmatch("(%S+)=(%S+)") do
      assert.truthy(target:find("python", 1, true) or link == "lib64", link)
      assert.is_nil(link:find("linky", 1, true))
    end
  end)
end)

describe("an installation", function()
  -- Starts one that hangs, and waits until pip has asked.
  local function start_slow(ex, index)
    local task = assert(ex:start(stage("tiny==1.0"), 1))
    assert.truthy(helper.poll(function()
      task:step()
      return index.asked()[1]
    end, 30))
    assert.equal("setup", task:state())
    return task
  end

  it("ends at the deadline of the setup", function()
    local index <close> = wheels.serve(helper.tmpdir())
    local ex <close>, root = executor{
      pip = { index_url = index.url("slow") }, setup_timeout_secs = 1.5,
    }
    local err = fails("setup_timed_out", "pip was ended at the deadline",
      ex:execute(stage("tiny==1.0"), 1))
    assert.equal(1.5, err.limit)
    assert_nothing_left(root)
  end)

  it("that another one is at is waited for, as long as there is time", function()
    local index <close> = wheels.serve(helper.tmpdir())
    local cache = helper.tmpdir() .. "/cache"
    local pip = { index_url = index.url("slow") }
    local first <close> = executor{ cache_dir = cache, pip = pip }
    local task <close> = start_slow(first, index)
    local second <close>, root = executor{
      cache_dir = cache, pip = pip, setup_timeout_secs = 0.2,
    }
    local err = fails("setup_timed_out", "took longer than 0.2 s",
      second:execute(stage("tiny==1.0"), 1))
    assert.equal(0.2, err.limit)
    local third <close> = executor{ cache_dir = cache, pip = pip }
    local waiting <close> = assert(third:start(stage("tiny==1.0"), 1))
    assert.equal("pending", select(2, waiting:wait(0.05)).kind)
    waiting:cancel()
    assert.equal("cancelled", select(2, waiting:wait()).kind)
    assert.equal(1, #index.asked())
    task:close()
    assert_nothing_left(root)
  end)

  it("leaves nothing when it is cancelled, or given up", function()
    local index <close> = wheels.serve(helper.tmpdir())
    for _, how in ipairs{ "cancel", "close" } do
      local ex <close>, root = executor{ pip = { index_url = index.url("slow") } }
      local task <close> = start_slow(ex, index)
      task[how](task)
      local _, err = task:wait()
      assert.equal(how == "cancel" and "cancelled" or "closed", err.kind)
      assert_nothing_left(root)
    end
  end)

  local function pip_process(port)
    for _, pid in ipairs(helper.list("/proc")) do
      local file = pid:find("^%d+$") and io.open("/proc/" .. pid .. "/cmdline")
      local line = file and file:read("a") or ""
      if file then file:close() end
      local env = line:find("%z%-%-isolated%z") and io.open("/proc/" .. pid .. "/environ")
      local found = env and env:read("a"):find("SPEC_PORT=" .. port, 1, true)
      if env then env:close() end
      if found then return pid end
    end
  end

  it("whose pip is killed half-way says so", function()
    local index <close> = wheels.serve(helper.tmpdir())
    local ex <close>, root = executor{
      isolation = helper.has "landlock" and "landlock" or "native",
      pip = { index_url = index.url("slow"), env = { SPEC_PORT = index.port } },
    }
    local task <close> = start_slow(ex, index)
    helper.shell("kill -9 " .. pip_process(index.port))
    fails("packages_failed", "was killed by signal 9", task:wait(30))
    assert_nothing_left(root)
  end)

  it("of a host that was killed is cleared away by the next one", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local cache = helper.tmpdir() .. "/cache"
    local script = helper.write(helper.tmpdir() .. "/host.lua", ([[
      local noether = require "noether"
      local ex = noether.executor{
        cache_dir = %q, runtime = "host", pip = { index_url = %q },
      }
      ex:execute({ language = "python", code = "# requires: tiny==1.0\n" }, 1)]]):format(
      cache, index.url("slow")))
    local host <close> = assert(noether.spawn({ helper.lua, script }, {
      isolation = "none", env = { PATH = "/usr/bin:/bin" },
    }))
    assert.truthy(helper.poll(function() return index.asked()[1] end, 30))
    local left = helper.list(cache .. "/venvs")
    assert.equal(2, #left, table.concat(left, " ")) -- a directory and its lock
    host:kill("KILL")
    host:wait()
    local ex <close>, root = executor{ cache_dir = cache, pip = { index_url = index.url() } }
    assert.equal(42, noether.check(ex:execute(stage("tiny==1.0", IMPORT), 1)))
    assert.truthy(only_one(root):find("/%x+$"))
  end)

  it("blocks nobody, and is waited for by those who want the same", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local ex <close>, root, built = executor{ pip = { index_url = index.url() } }
    local tasks = {}
    local began = noether.clock()
    for number = 1, 4 do
      tasks[number] = assert(ex:start(stage("tiny==1.0", IMPORT), number))
    end
    assert.is_true(noether.clock() - began < 2)
    for number = 1, 4 do
      local output, err = tasks[number]:wait()
      assert.equal(42, output, tostring(err))
      tasks[number]:close()
    end
    assert.equal(1, #built)
    assert.equal(2, #index.asked())
    only_one(root)
  end)

  it("is made once by thirty-two processes", function()
    local index <close> = wheels.serve((wheels.make{ TINY }))
    local cache = helper.tmpdir() .. "/cache"
    local script = helper.write(helper.tmpdir() .. "/host.lua", ([[
      local noether = require "noether"
      local built = 0
      local ex = noether.executor{
        cache_dir = %q, runtime = "host", pip = { index_url = %q },
        log = function() built = built + 1 end,
      }
      local code = "# requires: tiny==1.0\nimport tiny\ndef execute(i): return tiny.value"
      print(built, (noether.check(ex:execute({ language = "python", code = code }, 1))), built)
      ex:close()]]):format(cache, index.url()))
    local hosts = {}
    for number = 1, 32 do
      hosts[number] = assert(noether.spawn({ helper.lua, script }, {
        isolation = "none", env = { PATH = "/usr/bin:/bin" },
      }))
    end
    local said = {}
    for _, host in ipairs(hosts) do
      local result = assert(host:wait())
      assert.is_true(result.ok, result.stderr)
      said[result.stdout] = (said[result.stdout] or 0) + 1
      host:close()
    end
    assert.same({ ["0\t42\t0\n"] = 31, ["0\t42\t1\n"] = 1 }, said)
    assert.equal(2, #index.asked())
    only_one(cache .. "/venvs")
  end)
end)

describe("an environment", function()
  local function damage(how)
    local ex <close>, root, built = executor{
      pip = { find_links = { helper.tmpdir() } }, policy = QUICK,
    }
    local _, _, info = ex:execute(stage("tiny==1.0", IMPORT), 1)
    assert.same({}, info.warnings)
    local place = only_one(root)
    how(place, place .. "/lib/" .. helper.list(place .. "/lib")[1] .. "/site-packages")
    local output, err
    output, err, info = ex:execute(stage("tiny==1.0", IMPORT), 1)
    assert.equal(42, output, tostring(err))
    assert.equal(2, #built)
    assert.truthy((info.warnings[1] or ""):find("had been changed", 1, true))
    only_one(root)
  end

  local cases = {
    ["from which a module was taken"] = function(_, site) os.remove(site .. "/tiny.py") end,
    ["to which a module was added"] = function(_, site) helper.write(site .. "/new.py", "") end,
    ["of which a module was changed, once another process sees it"] = function(_, site)
      helper.write(site .. "/tiny.py", "value = 43\n")
      environments.forget()
    end,
    ["that was cut short"] = function(place)
      helper.remove(place)
      helper.write(place .. "/pyvenv.cfg", "")
    end,
    ["whose record is another's"] = function(place)
      local text = helper.read(place .. "/.noether.json"):gsub('"key":"%x', '"key":"x')
      helper.write(place .. "/.noether.json", text)
    end,
    ["that is a link to somewhere else"] = function(place)
      os.rename(place, place:match("^(.*)/venvs/") .. "/elsewhere")
      assert(require("lfs").link("../elsewhere", place, true))
    end,
  }
  for name, how in pairs(cases) do
    it(name .. " is built anew", function() damage(how) end)
  end

  it("is not taken for damaged where no descriptor is left to look at it", function()
    local spare = noether.check(noether.set())
    local limit, lower = support.files_limit(), nil
    local policy = { pip = { installer = QUICK.pip.installer, requirements_file = function(...)
      if lower then support.files_limit(lower) end
      return pip_policy.requirements_file(...)
    end } }
    local ex <close>, _, built = executor{ pip = { find_links = { helper.tmpdir() } },
      policy = policy }
    local code = stage("tiny==1.0", IMPORT)
    assert.equal(42, (noether.check(ex:execute(code, 1))))
    environments.forget()
    lower = spare:pollfd()
    spare:close()
    local output, err = ex:execute(code, 1)
    support.files_limit(limit)
    fails("spawn_failed", "Too many open files", output, err)
    assert.equal("EMFILE", err.errno)
    lower = nil
    local info
    output, err, info = ex:execute(code, 1)
    assert.equal(42, output, tostring(err))
    assert.same({}, info.warnings)
    assert.equal(1, #built)
  end)

  it("is taken for used when a stage takes it, is pruned when none does, and then made anew",
    function()
    local ex <close>, root, built = executor{
      pip = { find_links = { helper.tmpdir() } }, policy = QUICK,
    }
    local code = stage("tiny==1.0", IMPORT)
    assert.equal(42, (noether.check(ex:execute(code, 1))))
    local place = only_one(root)
    local function prune()
      return noether.check(noether.prune{ cache_dir = root:match("^(.*)/") })
    end
    assert(sys.touch(place, 1000000))
    local output, err, info = ex:execute(code, 1)
    assert.equal(42, output, tostring(err))
    assert.same({}, info.warnings)
    assert.equal(0, #prune().venvs)
    assert(sys.touch(place, 1000000))
    local pruned = prune()
    assert.equal(1, #pruned.venvs)
    assert.is_true(pruned.bytes > 0)
    assert.same({}, helper.list(root))
    assert.equal(1, #built)
    assert.equal(42, (noether.check(ex:execute(code, 1))))
    assert.equal(2, #built)
  end)

  it("is nothing that the stage is blamed for, if it goes while that is being started", function()
    for _, isolation in ipairs{ "native", "none" } do
      local dir = helper.tmpdir()
      local policy = { pip = QUICK.pip, languages = { python = { env = function()
        assert(sys.remove_tree(dir .. "/cache/venvs"))
        return {}
      end } } }
      local ex <close> = executor{ isolation = isolation, policy = policy,
        cache_dir = dir .. "/cache", pip = { find_links = { helper.tmpdir() } } }
      local output, err = ex:execute(stage("tiny==1.0", IMPORT), 1)
      fails("cache_failed", "the cache lost " .. dir .. "/cache/venvs/", output, err)
    end
  end)

  it("is one for the same set, in whatever order, and another for another", function()
    local ex <close>, root, built = executor{
      pip = { find_links = { helper.tmpdir() } }, policy = QUICK,
    }
    for _, requires in ipairs{ "tiny==1.0, other==1.0", "other==1.0,tiny==1.0", "other==1.0" } do
      assert.equal(1, noether.check(ex:execute(stage(requires), 1)))
    end
    assert.equal(2, #built)
    assert.equal(2, #helper.list(root))
  end)
end)

describe("on a machine of the test's own", function()
  local SCRIPT = [[
    local noether = require "noether"
    local cache, wheels, code = ...
    local ex = noether.executor{
      cache_dir = cache, runtime = "host", pip = { find_links = { wheels } },
    }
    local output, err = ex:execute({ language = "python", code = code }, 1)
    print(output, err and err.kind, err, err and err.hint)
    ex:close()
    os.execute("ls -A " .. cache .. "/venvs")]]

  local function on_host(prepare, cache, packages, code)
    local script = helper.write(helper.tmpdir() .. "/host.lua", SCRIPT)
    local inner = ("set -e; export PATH=/usr/bin:/bin; %s; exec %s %s %s %s %s"):format(prepare,
      helper.quote(helper.lua), script, cache, packages, helper.quote(code))
    return helper.shell(("unshare %s -- sh -c %s"):format(
      helper.own_mounts(), helper.quote(inner)))
  end

  it("a full disk is told of, and nothing is left on it", function()
    local cache = helper.tmpdir()
    local dir = wheels.make{ { name = "large", zeros = { ["large.bin"] = 5 * MIB } } }
    local output = on_host("mount -t tmpfs -o size=2m,mode=0700 none " .. cache, cache, dir,
      stage("large==1.0").code)
    assert.truthy(output:find("nil\tpackages_failed\tthe disk is full", 1, true), output)
    assert.truthy(output:find("free some room where the cache is\n$"), output)
  end)

  local HIDE = "for d in /usr/lib/python3/dist-packages/pip %s; do mount -t tmpfs none $d; done"
  local ENSUREPIP = "/usr/lib/python3.*/ensurepip /usr/share/python-wheels"

  it("a Python without pip is told of, and what to install", function()
    local output = on_host(HIDE:format(ENSUREPIP), helper.tmpdir(), (wheels.make{ TINY }),
      stage("tiny==1.0").code)
    assert.truthy(output:find("^nil\tpackages_failed\tthis Python cannot make virtual"), output)
    assert.truthy(output:find("python3-venv", 1, true), output)
  end)

  it("the pip of ensurepip will do", function()
    local output = on_host(HIDE:format(""), helper.tmpdir(), (wheels.make{ TINY }),
      stage("tiny==1.0", IMPORT).code)
    assert.truthy(output:find("^42\tnil"), output)
  end)
end)
