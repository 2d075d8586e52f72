-- SPDX-License-Identifier: MIT
-- The Nix runtime against a script in nix's place, which answers as versions do that are not at
-- hand. The real one is in spec/integration/nix_spec.lua.
local helper = require "spec.support.helper"
local caches = require "noether.cache.scripts"
local json = require "noether.json"
local nix = require "noether.runtime.nix"
local nix_command = require "noether.runtime.nix_command"
local policies = require "noether.overrides.policies"
local process = require "noether.process"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local TOY = { name = "toy", runtime = {
  attribute = "toy", programs = { "toy3", "toy" }, probe = { "--probe" }, packages = true,
} }

-- The script looks for its answer to a command in a file of that name: shell text.
local NIX = [[#!/bin/sh
PATH=/usr/bin:/bin
dir=@DIR@
[ "$1" != --extra-experimental-features ] || shift 2
echo "$*" >>$dir/calls
verb=$1
[ "$verb" != flake ] && [ "$verb" != store ] || verb=$verb-$2
root= all=$*
while [ $# -gt 0 ]; do
  [ "$1" != --out-link ] || root=$2
  shift
done
set -- $all
store=$dir/store toy=$dir/store/@TOY@ libc=$dir/store/@LIBC@
. $dir/answers/$verb
]]

local HASH = ("0123456789abcdfghijklmnpqrsvwxyz"):sub(1, 32)
local TOY_NAME, LIBC_NAME = HASH .. "-toy-1.0", HASH:reverse() .. "-libc-2"

local ANSWERS = {
  ["flake-metadata"] = [[
printf '{"url":"github:NixOS/nixpkgs/%040d","locked":{}}\n' 7]],
  -- Makes what is not there, as nix does.
  build = [[
if [ ! -e $toy ]; then
  mkdir -p $toy/bin $libc
  printf '#!/bin/sh\necho %s\n' "'"'{"version":"1.0.3"}'"'" >$toy/bin/toy
  chmod +x $toy/bin/toy
fi
ln -sfn $toy $root
printf '[{"drvPath":"%s.drv","outputs":{"out":"%s"}}]' $toy $toy]],
  ["path-info"] = "echo $toy; echo $libc",
  ["store-repair"] = "echo 'error: cannot repair' >&2; exit 1",
  ["--version"] = "echo 'nix (Determinate Nix 3.1) 2.18.1'",
}

local dir

local function answer(verb, text)
  helper.write(("%s/answers/%s"):format(dir, verb), text .. "\n")
end

before_each(function()
  dir = sys.realpath(helper.tmpdir())
  local script = NIX:gsub("@(%u+)@", { DIR = dir, TOY = TOY_NAME, LIBC = LIBC_NAME })
  helper.write(dir .. "/bin/nix", script)
  assert(sys.chmod(dir .. "/bin/nix", 493)) -- 0755
  for verb, text in pairs(ANSWERS) do
    answer(verb, text)
  end
end)

-- What it was called for since this was last asked: the first words of each.
local function calls()
  local file = io.open(dir .. "/calls")
  local list = {}
  for line in file and file:lines() or function() end do
    list[#list + 1] = line
  end
  if file then file:close() end
  os.remove(dir .. "/calls")
  return list
end

local function verbs()
  local list = calls()
  for i, line in ipairs(list) do
    list[i] = line:match("^%S+")
  end
  return table.concat(list, " ")
end

local function context(more)
  local ctx = {
    environ = { PATH = dir .. "/bin", NIX_STORE_DIR = dir .. "/store", HOME = dir },
    policies = assert(policies.load()), packages = {},
    launch = process.launch, await = function(proc) return proc:wait() end,
    open_cache = function() return caches.open(dir .. "/cache", {}) end,
    lock = function(path) return sys.lock(path) end, hold = function(handle) return handle end,
  }
  for name, value in pairs(more or {}) do
    ctx[name] = value
  end
  return ctx
end

local function resolve(more, language)
  return nix.resolve(language or TOY, context(more))
end

local function fails(kind, text, runtime, err)
  assert.is_nil(runtime)
  assert.equal(kind, err.kind, tostring(err))
  assert.truthy(err.message:find(text, 1, true), err.message)
  return err
end

local function lock_of(path)
  return assert(json.decode(helper.read(path or dir .. "/cache/runtimes.lock.json")))
end

describe("nix.resolve", function()
  it("asks nix once, and from then on the lock file", function()
    local told = {}
    local runtime = assert(resolve{ progress = function(state) told[#told + 1] = state end })
    local toy, libc = dir .. "/store/" .. TOY_NAME, dir .. "/store/" .. LIBC_NAME
    assert.equal("nix", runtime.kind)
    assert.equal("toy", runtime.language)
    assert.equal(toy .. "/bin/toy", runtime.path)
    assert.equal(toy, runtime.store_path)
    assert.equal("1.0.3", runtime.version)
    assert.equal("2.18.1", runtime.nix)
    assert.equal(("github:NixOS/nixpkgs/%040d#toy"):format(7), runtime.reference)
    assert.same({ toy, libc }, runtime.ro_binds)
    assert.same({}, runtime.links)
    assert.same({ toy .. "/bin" }, runtime.search_path)
    assert.same({ "locking", "building", "checking" }, told)
    assert.equal("flake build path-info --version", verbs())
    assert.same(runtime, assert(resolve()))
    assert.equal("", verbs())
  end)

  it("keeps what it found where a person can read and commit it", function()
    assert(resolve{ lock_file = dir .. "/mine.lock.json" })
    local lock = lock_of(dir .. "/mine.lock.json")
    assert.equal(1, lock.version)
    assert.equal(("github:NixOS/nixpkgs/%040d"):format(7), lock.references.nixpkgs)
    local entry = lock.runtimes[sys.kernel().machine .. "-linux " .. dir .. "/store"]["nixpkgs#toy"]
    assert.equal(dir .. "/store/" .. TOY_NAME, entry.path)
    assert.equal(2, #entry.closure)
    assert.equal("2.18.1", entry.nix)
    assert.equal(420, sys.stat(dir .. "/mine.lock.json").mode) -- 0644
    assert.truthy(helper.read(dir .. "/mine.lock.json"):find('\n        "program": "/', 1, true))
    assert.is_nil(sys.stat(dir .. "/cache/runtimes.lock.json"))
    calls()
    assert(resolve{ lock_file = dir .. "/mine.lock.json" })
    assert.equal("", verbs())
  end)

  it("keeps what was built from collection", function()
    assert(resolve())
    local roots = helper.list(dir .. "/cache/nix/roots")
    assert.equal(1, #roots)
    assert.equal(dir .. "/store/" .. TOY_NAME, sys.readlink(dir .. "/cache/nix/roots/" .. roots[1]))
  end)

  it("gives every command the features it needs, and a home where there is none", function()
    answer("flake-metadata", "echo \"$HOME\" >$dir/home; " .. ANSWERS["flake-metadata"])
    local ctx = context()
    ctx.environ.HOME = "/nonexistent"
    local argvs = {}
    ctx.launch = function(argv, opts)
      argvs[#argvs + 1] = argv
      return process.launch(argv, opts)
    end
    assert(nix.resolve(TOY, ctx))
    for _, argv in ipairs(argvs) do
      if argv[1] == dir .. "/bin/nix" and argv[2] ~= "--version" then
        assert.equal("--extra-experimental-features", argv[2])
        assert.equal("nix-command flakes", argv[3])
      end
    end
    assert.equal(dir .. "/cache/nix\n", helper.read(dir .. "/home"))
  end)

  -- What `nix build` and `nix path-info` print, by version.
  local shapes = {
    { "as 2.8 does", build = [[printf '[{"drvPath":"%s.drv","outputs":{"out":"%s"}}]' $toy $toy]] },
    { "with what is known of each output",
      build = [[printf '[{"drvPath":"%s.drv","outputs":{"out":{"path":"%s"}},"startTime":1}]' \
        $toy $toy]] },
    { "with --print-out-paths alone",
      build = [[case $all in *--print-out-paths*) echo $toy ;;
        *) echo "error: unrecognised flag '--json'" >&2; exit 1 ;; esac]] },
    { "with a list of objects for a closure",
      info = [[printf '[{"path":"%s","references":["/x"],"deriver":"/y"},{"path":"%s"}]' \
        $toy $libc]] },
    { "with a map for a closure",
      info = [[printf '{"%s":{"narSize":1,"references":["%s"]},"%s":{}}' $toy $libc $libc]] },
  }
  for _, shape in ipairs(shapes) do
    it("reads a nix that answers " .. shape[1], function()
      if shape.build then
        answer("build", ANSWERS.build:gsub("printf '%[.*$", "") .. shape.build)
      end
      if shape.info then answer("path-info", shape.info) end
      local runtime = assert(resolve())
      assert.same({ dir .. "/store/" .. TOY_NAME, dir .. "/store/" .. LIBC_NAME }, runtime.ro_binds)
    end)
  end

  it("pins a reference once for all that is made of it", function()
    assert(resolve())
    calls()
    local other = { name = "other", runtime = {
      attribute = "other", programs = { "toy" }, probe = {}, tools = { "tool" },
    } }
    local runtime = assert(resolve({ packages = {} }, other))
    assert.equal(("github:NixOS/nixpkgs/%040d#other"):format(7), runtime.reference)
    local list = calls()
    assert.truthy(list[1]:find("^build .* github:NixOS/nixpkgs/0*7#other github:.*#tool$"), list[1])
    assert.truthy(lock_of().runtimes[next(lock_of().runtimes)]["nixpkgs#other + tool"])
  end)

  it("makes one environment of all the packages that a stage imports", function()
    local runtime = assert(resolve{ packages = { "pyyaml", "six" } })
    assert.same({ "pyyaml", "six" }, { table.unpack(runtime.packages) })
    local list = calls()
    assert.truthy(list[2]:find(('--expr let flake = builtins.getFlake "github:NixOS/nixpkgs/%040d"')
      :format(7), 1, true), list[2])
    assert.truthy(list[2]:find('in set."toy".withPackages (ps: [ ps."pyyaml" ps."six" ])', 1, true))
  end)

  it("takes the reference that the caller pins", function()
    assert(resolve{ nixpkgs = "github:NixOS/nixpkgs/abc" })
    assert.equal("flake metadata --json --no-write-lock-file github:NixOS/nixpkgs/abc", calls()[1])
    assert.truthy(lock_of().references["github:NixOS/nixpkgs/abc"])
  end)

  it("has made again what has gone from the store, by the locked reference", function()
    local first = assert(resolve())
    calls()
    helper.remove(first.store_path)
    assert.same(first, assert(resolve()))
    local list = calls()
    assert.equal(1, #list)
    assert.truthy(list[1]:find("nixpkgs/0*7#toy$"), list[1])
    helper.remove(dir .. "/store/" .. LIBC_NAME)
    fails("runtime_unavailable", "is not there, though nix says that it is", resolve())
    answer("store-repair", "mkdir -p $libc")
    assert.same(first, assert(resolve()))
  end)

  it("refuses what comes out as something else than was locked", function()
    local first = assert(resolve())
    helper.remove(first.store_path)
    answer("build", ANSWERS.build:gsub("%$toy", "$toy.other"))
    local err = fails("runtime_unavailable", "is locked as " .. first.store_path, resolve())
    assert.truthy(err.hint:find("delete the lock file", 1, true))
    assert.equal(first.store_path, lock_of().runtimes[next(lock_of().runtimes)]["nixpkgs#toy"].path)
  end)

  it("fetches the locked paths themselves where the reference cannot be had any more", function()
    local first = assert(resolve())
    helper.remove(first.store_path)
    calls()
    answer("build", [[case $all in *github:*) echo 'error: unable to download x' >&2; exit 1 ;; esac
      ]] .. ANSWERS.build)
    assert.same(first, assert(resolve()))
    assert.equal(first.store_path, calls()[2]:match(" (%S+)$"))
  end)

  it("writes a damaged lock file of its own anew, and says so", function()
    assert(resolve())
    for _, text in ipairs{ "", "{", "[]", '{"version":2,"references":{},"runtimes":{}}',
        '{"version":1,"references":{"a":"-b"},"runtimes":{}}',
        '{"version":1,"references":{},"runtimes":{"x":[1]}}' } do
      helper.write(dir .. "/cache/runtimes.lock.json", text)
      local runtime = assert(resolve())
      assert.equal(1, #runtime.warnings, text)
      assert.truthy(runtime.warnings[1]:find("written anew", 1, true))
      assert.equal(1, lock_of().version)
      assert.same({}, assert(resolve()).warnings)
    end
  end)

  it("refuses a damaged lock file of the caller's, and leaves it alone", function()
    local path = helper.write(dir .. "/mine.json", "{ oops")
    local err = fails("runtime_unavailable", "the lock file " .. path .. " cannot be used",
      resolve{ lock_file = path })
    assert.truthy(err.hint:find("restore it", 1, true))
    assert.equal("{ oops", helper.read(path))
    assert.equal("", verbs())
  end)

  it("shows a stage nothing that a lock file names and that is not in the store", function()
    local path = dir .. "/mine.json"
    assert(resolve{ lock_file = path })
    local good = helper.read(path)
    local toy = dir .. "/store/" .. TOY_NAME
    local changes = {
      { '"closure": %[', '"closure": [ "/etc",' },
      { '"closure": %[', ('"closure": [ "%s/../../etc",'):format(toy) },
      { '"closure": %[', ('"closure": [ "%s/bin",'):format(toy) },
      { '"program": "[^"]*"', '"program": "/bin/sh"' },
      { '"program": "[^"]*"', ('"program": "%s/../../../bin/sh"'):format(toy) },
      { '"program": "[^"]*"', ('"program": "%s/bin/toy", "shell": "/bin/sh"'):format(toy) },
      { '"variables": {}', '"variables": { "LD_PRELOAD": "/tmp/x.so" }' },
      { '"reference": "[^"]*"', '"reference": "--help"' },
      { '"version": "[^"]*"', '"version": 5' },
      { '"path": "[^"]*"', ('"path": "%s/store/%s-other"'):format(dir, HASH) },
      { '"paths": %[', ('"paths": [ "%s/store/%s-other",'):format(dir, HASH) },
    }
    for _, change in ipairs(changes) do
      local text, count = good:gsub(change[1], (change[2]:gsub("%%", "%%%%")), 1)
      assert.equal(1, count, change[1])
      helper.write(path, text)
      fails("runtime_unavailable", "cannot be used: 'nixpkgs#toy'", resolve{ lock_file = path })
    end
  end)

  it("needs a lock file that can be written, if there is something to write", function()
    local err = fails("runtime_unavailable", "the lock file cannot be written",
      resolve{ lock_file = dir .. "/none/mine.json" })
    assert.equal("ENOENT", err.errno)
    assert(resolve{ lock_file = dir .. "/mine.json" })
    calls()
    assert(sys.chmod(dir .. "/mine.json", 292)) -- 0444
    assert(resolve{ lock_file = dir .. "/mine.json" })
    assert.equal("", verbs())
  end)

  it("shows a link in the store as a link", function()
    answer("path-info", "ln -sfn $toy $store/" .. HASH .. "-link; echo $toy; echo $store/" .. HASH
      .. "-link")
    local runtime = assert(resolve())
    assert.same({ dir .. "/store/" .. TOY_NAME }, runtime.ro_binds)
    assert.same({ { target = ("%s/store/%s-link"):format(dir, HASH),
      source = dir .. "/store/" .. TOY_NAME } }, runtime.links)
  end)

  it("runs what a wrapper starts, with the variables that it sets", function()
    local probe = [[{"version":"1","program":"'$libc/real'","variables":{"NIX_PYTHONPATH":"/p",]]
      .. [["LD_PRELOAD":"/x","PYTHONNOUSERSITE":"true"}}]]
    answer("build", ANSWERS.build:gsub('{"version":"1.0.3"}', function() return probe end))
    local runtime = assert(resolve())
    assert.equal(dir .. "/store/" .. LIBC_NAME .. "/real", runtime.path)
    assert.same({ NIX_PYTHONPATH = "/p", PYTHONNOUSERSITE = "true" }, runtime.variables)
  end)

  -- verb, its answer, kind, what the message says
  local failures = {
    { "flake-metadata", "echo \"error: cannot find flake 'flake:nixpkgs' in the flake registries\""
      .. " >&2; exit 1", "runtime_unavailable", "could not use the flake" },
    { "flake-metadata", "echo '{}'", "runtime_unavailable",
      "did not say what 'nixpkgs' stands for" },
    { "flake-metadata", "echo '{\"url\":\"--help\"}'", "runtime_unavailable", "did not say what" },
    { "build", "echo \"error: builder for '/x' failed with exit code 3;\" >&2; exit 1",
      "packages_failed", "could not build" },
    { "build", "kill -9 $$", "runtime_unavailable", "nix failed (SIGKILL)" },
    { "build", "echo '[]'", "runtime_unavailable", "did not say what it built" },
    { "build", "mkdir -p $toy/bin $libc; echo $toy", "runtime_unavailable",
      "has no program toy3 or toy" },
    { "build", "mkdir -p $toy/bin $libc; printf '#!/bin/sh\\nexit 1\\n' >$toy/bin/toy;"
      .. "chmod +x $toy/bin/toy; echo $toy", "runtime_unavailable", "does not run" },
    { "path-info", "echo /nix/store/" .. HASH .. "-other", "runtime_unavailable",
      "nix's store is not " },
    { "path-info", "echo \"error: path '/x' is not valid\" >&2; exit 1", "runtime_unavailable",
      "not in the nix store yet" },
  }
  for _, case in ipairs(failures) do
    it(("says what went wrong in %s: %s"):format(case[1], case[4]), function()
      answer(case[1], case[2])
      fails(case[3], case[4], resolve())
      local lock = sys.stat(dir .. "/cache/runtimes.lock.json") and lock_of()
      assert.is_nil(lock and next(lock.runtimes))
    end)
  end

  -- Runs a function while no descriptor is left.
  local function without_descriptors(fn, ...)
    local spare = assert(process.poller())
    local free, limit = spare:pollfd(), support.files_limit()
    spare:close()
    support.files_limit(free)
    local results = table.pack(fn(...))
    support.files_limit(limit)
    return table.unpack(results, 1, results.n)
  end

  it("does not take a want of descriptors for a damage of build or lock file", function()
    local err = fails("spawn_failed", "Too many open files", resolve{
      launch = function(argv, opts)
        if argv[2] ~= "--probe" then return process.launch(argv, opts) end
        return without_descriptors(process.launch, argv, opts)
      end,
    })
    assert.equal("EMFILE", err.errno)
    assert(resolve())
    helper.shell("touch " .. dir .. "/cache/runtimes.lock.json") -- it is read again
    local opened = context().open_cache()
    err = fails("spawn_failed", "Too many open files", without_descriptors(resolve, {
      open_cache = function() return opened end,
    }))
    assert.truthy(err.hint:find("ulimit -n", 1, true), err.hint)
    assert(resolve())
  end)

  it("says so where there is no nix, or the policy has no name for it there", function()
    fails("runtime_unavailable", "nix is not installed", resolve{ environ = { PATH = "/none" } })
    fails("runtime_unavailable", "does not name it in nixpkgs",
      resolve({}, { name = "x", runtime = {} }))
  end)
end)

describe("launch = \"run\"", function()
  local PYTHON = { name = "python", runtime = { attribute = "python3", programs = { "python3" } } }

  it("puts the original's command in the interpreter's place, and asks nix nothing", function()
    local runtime = assert(resolve({ nix_launch = "run" }, PYTHON))
    assert.same({ dir .. "/bin/nix", "--extra-experimental-features", "nix-command flakes", "run",
      "--no-write-lock-file", "--quiet", "nixpkgs#python3", "--" }, runtime.prefix)
    assert.equal(dir .. "/store", runtime.variables.NIX_STORE_DIR)
    assert.equal("", verbs())
  end)

  it("names packages, and never the interpreter beside them", function()
    local runtime = assert(resolve({ nix_launch = "run", packages = { "pyyaml", "six" } }, PYTHON))
    assert.same({ "shell", "--no-write-lock-file", "--quiet", "nixpkgs#python3Packages.pyyaml",
      "nixpkgs#python3Packages.six", "--command", "python3" }, { table.unpack(runtime.prefix, 4) })
  end)
end)

describe("nix_command", function()
  it("quotes whatever stands in an expression", function()
    local text = nix_command.expression('path:/a"b\\c${d}', "x", "a.b", { 'c"d' })
    assert.truthy(text:find([["path:/a\"b\\c\${d}"]], 1, true), text)
    assert.truthy(text:find([[set."a"."b".withPackages (ps: [ ps."c\"d" ])]], 1, true), text)
  end)

  it("finds the version at the end", function()
    assert.equal("2.8.0", nix_command.version_in("nix (Nix) 2.8.0\n"))
    assert.equal("2.28.3", nix_command.version_in("nix (Determinate Nix 3.5.2) 2.28.3"))
    assert.equal("2.91.1", nix_command.version_in("nix (Lix, like Nix) 2.91.1"))
    assert.is_nil(nix_command.version_in("nix"))
  end)
end)
