-- SPDX-License-Identifier: MIT
--- Locks of Python packages: what is read, what is refused before pip sees it, and what is
-- installed.
local helper = require "spec.support.helper"
local noether = require "noether"
local pylock = require "noether.runtime.pylock"
local wheels = require "spec.support.wheels"

local HEAD = 'lock-version = "1.0"\ncreated-by = "a spec"\n'
local HASH = ("0123456789abcdef"):rep(4)

local function package(fields)
  return HEAD .. "[[packages]]\n" .. fields
end

local function wheel(hash)
  return ('wheels = [{ name = "x.whl", url = "https://e/x.whl", hashes = { sha256 = "%s" } }]\n')
    :format(hash or HASH)
end

local SIX = 'name = "six"\nversion = "1.16.0"\n'

local BAD = {
  { "", "input_invalid", "'lock-version' is missing" },
  { "{}", "input_invalid", "it is no TOML: line 1" },
  { "pylock.toml", "input_invalid", "it is no TOML" },
  { 'lock-version = "2.0"', "input_invalid", "lock-version 2.0 is not known" },
  { 'lock-version = "1.0"', "input_invalid", "'created-by' is missing" },
  { HEAD, "input_invalid", "'packages' is missing" },
  { HEAD .. "packages = 1", "input_invalid", "'packages' is missing, or no list" },
  { HEAD .. "requires-python = true\npackages = []", "input_invalid", "requires-python: expected" },
  { HEAD .. "packages = [1]", "input_invalid", "packages[1]: expected a table" },
  { package('version = "1"'), "input_invalid", "packages[1]: expected a table with a name" },
  { package('name = "six"\n' .. wheel()), "package_rejected", "does not say its version" },
  { package(SIX), "package_rejected", "no SHA-256 of a wheel" },
  { package(SIX .. wheel("abc")), "package_rejected", "no SHA-256 of a wheel" },
  { package(SIX .. 'sdist = { name = "s", hashes = { sha256 = "' .. HASH .. '" } }'),
    "package_rejected", "no SHA-256 of a wheel" },
  { package(SIX .. 'vcs = { type = "git", url = "https://e/x", commit-id = "1" }'),
    "package_rejected", "it comes from a repository" },
  { package(SIX .. 'directory = { path = "/etc" }'), "package_rejected", "from a directory" },
  { package(SIX .. 'archive = { url = "https://e/x.zip" }'), "package_rejected",
    "from an archive" },
  { package(SIX .. wheel() .. 'marker = "x\\n--index-url=https://e"'), "package_rejected",
    "its marker is none" },
  { package(SIX .. wheel() .. 'marker = "python_version > \'3\' --pre"'), "package_rejected",
    "its marker is none" },
  { package(SIX .. wheel() .. "marker = \"'t' in extras\""), "package_rejected",
    "for an extra or a group" },
}

describe("a lock of Python packages", function()
  for index, case in ipairs(BAD) do
    it(("that cannot be taken is refused (%d)"):format(index), function()
      local found, err = pylock.read(case[1], true)
      assert.is_nil(found)
      assert.equal(case[2], err.kind)
      assert.truthy(err.message:find(case[3], 1, true), err.message)
    end)
  end

  it("gives each package with its marker and hashes, as pip reads it", function()
    local lock = assert(pylock.read(package(SIX .. wheel()
      .. "marker = \"python_version >= '3.8' and sys_platform == 'linux'\"\n"
      .. 'sdist = { name = "s", hashes = { sha256 = "' .. ("f"):rep(64) .. '" } }'), true))
    assert.equal("six==1.16.0 ; python_version >= '3.8' and sys_platform == 'linux' --hash=sha256:"
      .. HASH, pylock.line(lock.packages[1]))
    assert.same({ packages = {} }, pylock.read(HEAD .. "packages = []", true))
  end)

  it("is read as it was written", function()
    local text = pylock.write{
      { name = "b", version = "2", url = "https://e/b-2-py3-none-any.whl?x=1", hash = HASH },
      { name = "a", version = "1", url = "https://e/a-1.tar.gz", hash = HASH },
    }
    local lock = assert(pylock.read(text, false))
    assert.same({ "a", "1", "b", "2" }, { lock.packages[1].name, lock.packages[1].version,
      lock.packages[2].name, lock.packages[2].version })
    assert.truthy(text:find('name = "b-2-py3-none-any.whl"', 1, true))
  end)
end)

local function with_block(dependencies)
  return { language = "python", effects = {}, code = ("# /// script\n# dependencies = %s\n# ///\n")
    :format(dependencies) .. "import tiny\ndef execute(i): return tiny.value" }
end

describe("a stage with a lock", function()
  local dir, hashes, index, executor, lock
  setup(function()
    dir, hashes = wheels.make{
      { name = "tiny", version = "1.0", files = { ["tiny.py"] = "value = 1\n" } },
      { name = "tiny", version = "2.0", files = { ["tiny.py"] = "value = 2\n" } },
      { name = "more", files = { ["more.py"] = "" }, requires = { "tiny" } },
    }
    index = wheels.serve(dir)
    executor = helper.with_env({ PATH = "/usr/bin:/bin" }, function()
      return noether.check(noether.executor{
        runtime = "host", isolation = "native", cache_dir = helper.tmpdir() .. "/cache",
        pip = { index_url = index.url() }, setup_timeout_secs = 120,
      })
    end)
    lock = noether.check(executor:lock(with_block('["more", "tiny < 2"]')))
  end)
  teardown(function()
    executor:close()
    index.close()
  end)

  local function run(dependencies, text, opts)
    opts = opts or {}
    opts.lock = text
    return executor:execute(with_block(dependencies), nil, opts)
  end

  local function fails(kind, text, output, err)
    assert.is_nil(output)
    assert.equal(kind, err.kind, tostring(err))
    assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  end

  it("gets what the lock holds, ranges and extras or not, and nothing newer", function()
    assert.truthy(lock:find('name = "more-1.0-py3-none-any.whl"', 1, true), lock)
    for _, dependencies in ipairs{ '["more", "tiny < 2"]', '["tiny"]', '["Tiny[x]~=1.0"]',
        '["tiny==1.0"]', '["tiny >=0.5, !=1.1"]' } do
      local output, err, info = run(dependencies, lock)
      assert.is_nil(err, tostring(err))
      assert.equal(1, output)
      assert.same({ "more==1.0", "tiny==1.0" }, info.runtime.packages)
    end
  end)

  it("is refused where the lock is no lock of it", function()
    fails("package_rejected", "'tiny>=2' (the lock has 1.0)", run('["tiny>=2"]', lock))
    fails("package_rejected", "'absent' (the lock does not hold it)", run('["absent"]', lock))
    fails("package_rejected", "marker", run("[\"tiny; python_version > '3'\"]", lock))
    fails("package_rejected", "'tiny>=1' (it is not pinned", run('["tiny>=1"]'))
    fails("input_invalid", "lock: it is no TOML", run('["tiny"]', "{ \"packages\": {} }"))
    fails("runtime_unavailable", "asks for Python >=3.99",
      run('["tiny"]', (lock:gsub("created%-by", 'requires-python = ">=3.99"\n%0'))))
    fails("package_rejected", "'tiny==1.0' (the lock has it twice)",
      run('["tiny"]', lock .. lock:match("\n%[%[packages%]%]\nname = \"tiny\".*")))
  end)

  it("fails where a file is not what the lock says, or a dependency is not in it", function()
    local known = hashes["tiny-1.0-py3-none-any.whl"]
    fails("packages_failed", "hash", run('["tiny"]', (lock:gsub(known, HASH))))
    local without = lock:gsub("\n%[%[packages%]%]\nname = \"tiny\".*", "")
    fails("packages_failed", "", run('["more"]', without))
  end)

  it("asks no address that the lock names", function()
    local listener <close> = helper.listen()
    local foreign = ("http://127.0.0.1:%d/"):format(listener.port)
    local text = lock:gsub('url = "[^"]*/', 'url = "' .. foreign)
    assert.truthy(text:find(foreign, 1, true))
    local before = #index.asked()
    local fresh <close> = helper.with_env({ PATH = "/usr/bin:/bin" }, function()
      return noether.check(noether.executor{ runtime = "host", isolation = "native",
        cache_dir = helper.tmpdir() .. "/cache", pip = { index_url = index.url() } })
    end)
    assert.equal(1, noether.check(fresh:execute(with_block '["tiny"]', nil, { lock = text })))
    assert.truthy(#index.asked() > before)
    assert.equal(0, listener.accepted())
  end)

  it("is judged by the policy's lists, whatever the lock says", function()
    local strict <close> = helper.with_env({ PATH = "/usr/bin:/bin" }, function()
      return noether.check(noether.executor{ runtime = "host", isolation = "native",
        cache_dir = helper.tmpdir() .. "/cache", policy = { pip = { deny = { "more" } } } })
    end)
    local output, err = strict:execute(with_block '["tiny"]', nil, { lock = lock })
    fails("package_rejected", "'more==1.0' (the policy denies it)", output, err)
  end)

  it("must name packages, in a language that has some", function()
    local plain = { language = "python", code = "def execute(i): return i", effects = {} }
    fails("input_invalid", "the stage names no packages", executor:lock(plain))
    assert.equal(5, noether.check(executor:execute(plain, 5, { lock = lock })))
    local bash = { language = "bash", code = "execute() { echo 1; }", effects = {} }
    fails("input_invalid", "bash stages have no packages", executor:lock(bash))
    fails("input_invalid", "bash stages have no packages",
      executor:execute(bash, nil, { lock = lock }))
    assert.has_error(function() executor:lock(plain, { lock = lock }) end)
    assert.has_error(function() executor:execute(plain, 1, { lock = 5 }) end)
    fails("package_rejected", "'nosuch @ https://e/x.whl'",
      executor:lock(with_block '["nosuch @ https://e/x.whl"]'))
    fails("packages_failed", "nosuch", executor:lock(with_block '["nosuch"]'))
  end)
end)
