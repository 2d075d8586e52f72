-- SPDX-License-Identifier: MIT
local command = require "noether.command"
local helper = require "spec.support.helper"
local errors = require "noether.error"
local host = require "noether.runtime.host"
local json = require "noether.json"
local process = require "noether.process"
local sys = require "noether.sys"

local TOY = { name = "toy", runtime = { programs = { "toy", "toy3" }, probe = { "--probe" } } }

-- A stand-in for an interpreter: a shell script that answers its probe with this text.
local function interpreter(path, output, rest)
  local text = "#!/bin/sh\nPATH=/usr/bin:/bin\n%s\ncat <<'END'\n%s\nEND\n"
  helper.write(path, text:format(rest or "", output))
  sys.chmod(path, 493) -- 0755
  return path
end

local function answer(path, dirs, version)
  return json.encode({ path = path, version = version or "1.2.3", dirs = json.array(dirs or {}) })
end

-- A context with real processes, that counts them.
local function context(path, environ)
  local ctx = { path = path, environ = environ, launches = {} }
  function ctx.launch(argv, opts)
    ctx.launches[#ctx.launches + 1] = { argv = argv, opts = opts }
    return process.launch(argv, opts)
  end
  function ctx.await(proc) return proc:wait() end
  return ctx
end

local function targets(runtime)
  local set = {}
  for _, bind in ipairs(runtime.ro_binds) do
    local is_table = type(bind) == "table"
    set[is_table and bind.target or bind] = is_table and bind.source or bind
  end
  return set
end

local function has_warning(runtime, text)
  for _, warning in ipairs(runtime.warnings) do
    if warning:find(text, 1, true) then return true end
  end
  return false
end

before_each(host.forget)

describe("host.resolve", function()
  it("follows a shim to the real interpreter and describes it", function()
    local dir = sys.realpath(helper.tmpdir())
    local real = interpreter(dir .. "/versions/1.2/bin/toy-1.2", "")
    helper.shell(("ln -s toy-1.2 %s/versions/1.2/bin/toy"):format(dir))
    local shim = interpreter(dir .. "/shims/toy",
      answer(dir .. "/versions/1.2/bin/toy", { dir .. "/versions/1.2" }))
    local ctx = context(dir .. "/shims")
    local runtime = assert(host.resolve(TOY, ctx))
    assert.equal("host", runtime.kind)
    assert.equal("toy", runtime.language)
    assert.equal(real, runtime.path)
    assert.equal("1.2.3", runtime.version)
    assert.equal("host:" .. real, runtime.reference)
    assert.same({}, runtime.warnings)
    assert.same({ shim, "--probe" }, ctx.launches[1].argv)
    assert.equal(dir .. "/versions/1.2", targets(runtime)[dir .. "/versions/1.2"])
  end)

  it("shows the system as it is laid out here", function()
    local dir = helper.tmpdir()
    interpreter(dir .. "/toy", answer("/bin/sh", { "/usr/lib", "/lib" }))
    local runtime = assert(host.resolve(TOY, context(dir)))
    local binds = targets(runtime)
    assert.equal(sys.realpath("/bin/sh"), runtime.path)
    assert.equal("/usr", binds["/usr"])
    assert.is_nil(binds["/usr/lib"])
    local links = {}
    for _, link in ipairs(runtime.links) do
      links[link.target] = link.source
    end
    for _, path in ipairs({ "/bin", "/lib", "/lib64", "/sbin" }) do
      assert.equal(sys.readlink(path), links[path])
      assert.equal(sys.stat(path) and not links[path] and path or nil, binds[path])
    end
    assert.equal(sys.realpath("/etc/ld.so.cache"), binds["/etc/ld.so.cache"])
    assert.is_nil(binds["/etc"])
  end)

  it("wants a directory under the name it was given and under its real one", function()
    local dir = sys.realpath(helper.tmpdir())
    local real = interpreter(dir .. "/toy-9/bin/toy", "")
    helper.shell(("ln -s toy-9 %s/current"):format(dir))
    interpreter(dir .. "/toy", answer(real, { dir .. "/current/", dir .. "/none", "relative", "" }))
    local binds = targets(assert(host.resolve(TOY, context(dir))))
    assert.equal(dir .. "/toy-9", binds[dir .. "/current"])
    assert.equal(dir .. "/toy-9", binds[dir .. "/toy-9"])
    assert.is_nil(binds[dir .. "/none"])
    assert.is_nil(binds.relative)
  end)

  it("never shows a home or a top directory whole, but the interpreter in it", function()
    local home = sys.realpath(helper.tmpdir())
    local real = interpreter(home .. "/bin/real", "")
    interpreter(home .. "/bin/toy", answer(real, { home, "/", "/etc", "/var", home .. "/bin" }))
    local runtime = assert(host.resolve(TOY, context(home .. "/bin", { HOME = home })))
    local binds = targets(runtime)
    for _, path in ipairs({ home, "/", "/etc", "/var" }) do
      assert.is_nil(binds[path])
      assert.is_true(has_warning(runtime, path .. " is not shown to stages whole"))
    end
    assert.equal(home .. "/bin", binds[home .. "/bin"])
    host.forget()
    interpreter(home .. "/bin/toy", answer(real, { home }))
    binds = targets(assert(host.resolve(TOY, context(home .. "/bin", { HOME = home }))))
    assert.equal(real, binds[real])
  end)

  it("gives the probe what version managers need, and nothing that changes programs", function()
    local dir = helper.tmpdir()
    interpreter(dir .. "/toy", answer("/bin/sh"))
    local ctx = context(dir, { HOME = "/h", PATH = "/other", PYENV_ROOT = "/p", NVM_DIR = "/n",
      PYTHONPATH = "/evil", LD_PRELOAD = "/evil", BASH_ENV = "/evil", NODE_OPTIONS = "x",
      TOKEN = "x" })
    assert(host.resolve(TOY, ctx))
    local opts = ctx.launches[1].opts
    assert.same({ HOME = "/h", PATH = dir, PYENV_ROOT = "/p", NVM_DIR = "/n" }, opts.env)
    assert.equal("/", opts.cwd)
    assert.equal(10, opts.timeout_secs)
  end)

  it("prefers the first program name, and within it the order of PATH", function()
    local dir = helper.tmpdir()
    interpreter(dir .. "/a/toy3", answer("/bin/sh", {}, "3"))
    interpreter(dir .. "/b/toy", answer("/bin/sh", {}, "first"))
    interpreter(dir .. "/c/toy", answer("/bin/sh", {}, "second"))
    local path = ("%s/a:%s/b:%s/c"):format(dir, dir, dir)
    assert.equal("first", host.resolve(TOY, context(path)).version)
  end)

  local BAD = {
    { "prints rubbish", "hello", "", "answered no interpreter's path: hello" },
    { "prints nothing", "", "", "answered no interpreter's path: nothing" },
    { "prints JSON of another kind", "[1]", "", "answered no interpreter's path" },
    { "names a relative path", '{"path":"bin/sh"}', "", "answered no interpreter's path" },
    { "names no file", '{"path":"/nowhere/toy"}', "", "No such file or directory" },
    { "names a directory", '{"path":"/usr"}', "", "/usr is not a regular file" },
    { "names a file that cannot be run", '{"path":"/etc/passwd"}', "", "Permission denied" },
    { "fails", "", "echo 'toy: no version set' >&2; exit 127",
      "exit code 127: toy: no version set" },
    { "dies", "", "kill -SEGV $$", "ended by SIGSEGV" },
    { "talks without end", "", "exec cat /dev/zero", "ended by output_limit" },
  }
  for _, case in ipairs(BAD) do
    local what, text, rest, reason = case[1], case[2], case[3], case[4]
    it("passes over a candidate that " .. what .. ", and says so", function()
      local dir = helper.tmpdir()
      local bad = interpreter(dir .. "/bad/toy", text, rest)
      interpreter(dir .. "/good/toy", answer("/bin/sh"))
      local runtime = assert(host.resolve(TOY, context(("%s/bad:%s/good"):format(dir, dir))))
      local warning = runtime.warnings[1]
      assert.equal(1, #runtime.warnings)
      assert.is_truthy(warning:find("passed over: " .. bad .. " (", 1, true), warning)
      assert.is_truthy(warning:find(reason, 1, true), warning)
      host.forget()
      local none, err = host.resolve(TOY, context(dir .. "/bad"))
      assert.is_nil(none)
      assert.equal("runtime_unavailable", err.kind)
      assert.is_truthy(err.message:find(bad, 1, true), err.message)
      assert.is_truthy(err.message:find(reason, 1, true), err.message)
    end)
  end

  it("does not say that a shell is missing whose script did not find the interpreter", function()
    local language = { name = "toy", runtime = { programs = { "sh" }, probe = { "-c", "exit 1" } } }
    local none, err = host.resolve(language, context("/usr/bin:/bin"))
    assert.is_nil(none)
    assert.is_nil(err.hint:find("install sh", 1, true), err.hint)
    assert.truthy(err.hint:find("toy stages", 1, true), err.hint)
  end)

  it("passes over a candidate that hangs or cannot be started", function()
    local dir = helper.tmpdir()
    local slow = interpreter(dir .. "/slow/toy", "", "exec sleep 60")
    interpreter(dir .. "/good/toy", answer("/bin/sh"))
    helper.write(dir .. "/broken/toy", "#!/nowhere/sh\n")
    sys.chmod(dir .. "/broken/toy", 493)
    local ctx = context(("%s/slow:%s/broken:%s/good"):format(dir, dir, dir))
    local launch, given = ctx.launch, {}
    function ctx.launch(argv, opts)
      if argv[1] == slow then given[#given + 1] = opts.timeout_secs end
      return launch(argv, opts)
    end
    ctx.patience = { 0.05, 0.1 }
    assert(host.resolve(TOY, ctx))
    assert.same({ 0.05, 0.1 }, given) -- more time at the second try
    ctx.launch = function(argv, opts)
      opts.timeout_secs = argv[1] == slow and opts.timeout_secs or 30
      return launch(argv, opts)
    end
    host.forget()
    local runtime = assert(host.resolve(TOY, ctx))
    assert.is_true(has_warning(runtime, slow .. " (did not answer within 0.1 s)"))
    assert.is_true(has_warning(runtime, "broken/toy ("))
  end)

  it("says of one that does not answer that this takes time, and not to install it", function()
    local dir = helper.tmpdir()
    interpreter(dir .. "/toy", "", "exec sleep 60")
    local ctx = context(dir)
    ctx.patience = { 0.05, 0.1 }
    local runtime, err = host.resolve(TOY, ctx)
    assert.is_nil(runtime)
    assert.equal("runtime_unavailable", err.kind)
    assert.equal("ETIMEDOUT", err.errno)
    assert.matches("did not answer within 0.1 s", err.message)
    assert.matches("busy.*try again", err.hint)
    assert.is_nil(err.hint:find("install", 1, true))
    interpreter(dir .. "/toy", answer("/bin/sh"))
    assert(host.resolve(TOY, context(dir))) -- and it is not held against it
  end)

  it("takes the answer that follows a shim's chatter", function()
    local dir = helper.tmpdir()
    interpreter(dir .. "/toy", "using toy 1.2\n" .. answer("/bin/sh") .. "\n")
    assert(host.resolve(TOY, context(dir)))
  end)

  it("says what to do where there is no candidate at all", function()
    local dir = helper.tmpdir()
    local runtime, err = host.resolve(TOY, context(dir .. ":relative"))
    assert.is_nil(runtime)
    assert.is_true(errors.is(err))
    assert.equal("runtime_unavailable", err.kind)
    assert.is_truthy(err.message:find(dir, 1, true))
    assert.matches("^install toy or toy3, or put", err.hint)
  end)

  it("looks in the standard places where there is no PATH", function()
    local shell = { name = "sh", runtime = { programs = { "sh" },
      probe = { "-c", 'echo "{\\"path\\":\\"/bin/sh\\"}"' } } }
    assert.equal(sys.realpath("/bin/sh"), assert(host.resolve(shell, context(nil))).path)
    assert.equal("unknown", assert(host.resolve(shell, context(""))).version)
  end)
end)

describe("what was found", function()
  local dir, ctx, real

  before_each(function()
    dir = helper.tmpdir()
    real = interpreter(dir .. "/real", "")
    interpreter(dir .. "/bin/toy", answer(real))
    ctx = context(dir .. "/bin")
    assert(host.resolve(TOY, ctx))
  end)

  it("is kept, and cannot be spoilt by who got it", function()
    local runtime = assert(host.resolve(TOY, ctx))
    runtime.ro_binds[1] = "/etc"
    runtime.path = "/evil"
    assert.equal(sys.realpath(real), assert(host.resolve(TOY, ctx)).path)
    assert.equal("/usr", host.resolve(TOY, ctx).ro_binds[1])
    assert.equal(1, #ctx.launches)
  end)

  it("is looked for again for another PATH, environment or language", function()
    local again = context(dir .. "/bin:/nowhere")
    assert(host.resolve(TOY, again))
    assert.equal(1, #again.launches)
    ctx.environ = { PYENV_VERSION = "3" }
    assert(host.resolve(TOY, ctx))
    assert.equal(2, #ctx.launches)
    ctx.environ = nil
    assert(host.resolve({ name = "toy2", runtime = TOY.runtime }, ctx))
    assert.equal(3, #ctx.launches)
  end)

  it("is looked for again when the interpreter has changed or gone", function()
    interpreter(real, "changed")
    assert(host.resolve(TOY, ctx))
    assert.equal(2, #ctx.launches)
    os.remove(real)
    assert.equal("runtime_unavailable", select(2, host.resolve(TOY, ctx)).kind)
  end)
end)

describe("what was found, in the cache", function()
  local dir, ctx, real, cache

  -- As another process would.
  local function resolve(other)
    host.forget()
    local before = #(other or ctx).launches
    local runtime, err = host.resolve(TOY, other or ctx)
    return runtime, err, #(other or ctx).launches - before
  end

  local function asks(other)
    return (select(3, resolve(other)))
  end

  local function with_cache(made)
    function made.open_cache() return { dir = cache } end
    function made.lock(path) return sys.lock(path) end
    return made
  end

  before_each(function()
    dir = sys.realpath(helper.tmpdir())
    cache = dir .. "/cache"
    assert(sys.mkdir_private(cache))
    real = interpreter(dir .. "/real", "")
    interpreter(dir .. "/bin/toy", answer(real, { dir .. "/bin" }, "4.5"))
    ctx = with_cache(context(dir .. "/bin", { HOME = dir, PYENV_ROOT = dir .. "/pyenv" }))
  end)

  it("is taken by other processes, which ask nobody", function()
    local first = assert(resolve())
    local second, _, launches = resolve()
    assert.equal(0, launches)
    assert.same(first, second)
    assert.equal("4.5", second.version)
  end)

  it("is looked for again when the shim or the interpreter has changed", function()
    assert.equal(1, asks())
    interpreter(dir .. "/bin/toy", answer(real, {}, "4.6"))
    assert.equal("4.6", resolve().version)
    assert.equal(0, asks())
    interpreter(real, "changed")
    assert.equal(1, asks())
    os.remove(real)
    assert.equal("runtime_unavailable", select(2, resolve()).kind)
  end)

  it("is looked for again when a version manager was told to choose another", function()
    for _, path in ipairs{ "/pyenv/version", "/.tool-versions", "/.mise.toml",
        "/.config/mise/config.toml", "/.volta/tools/user/platform.json" } do
      assert.equal(1, asks(), path)
      assert.equal(0, asks())
      helper.write(dir .. path, "3.12")
      assert.equal(1, asks(), path)
      helper.write(dir .. path, "another")
    end
    assert.equal(1, asks())
    assert.equal(0, asks())
    helper.write(dir .. "/pyenv/versions/3.13/bin/toy", "")
    assert.equal(1, asks())
  end)

  it("is looked for again where another comes first in PATH", function()
    helper.shell("mkdir " .. dir .. "/early")
    local early = with_cache(context(("%s/early:%s/bin"):format(dir, dir)))
    assert.equal(1, asks(early))
    assert.equal(0, asks(early))
    interpreter(dir .. "/early/toy", answer(real, {}, "5"))
    assert.equal("5", resolve(early).version)
  end)

  it("is that of the newest, where the language wants it, until others are to be had", function()
    local newest = { name = "toy", runtime = { programs = { "toy", "toy3" }, probe = { "--probe" },
      newest = true } }
    interpreter(dir .. "/two/toy", answer(real, {}, "10.2.1"))
    interpreter(dir .. "/two/toy3", answer(real, {}, "10.2"))
    helper.shell(("mkdir %s/three; ln -s %s/bin/toy %s/three/toy"):format(dir, dir, dir))
    local many = with_cache(context(("%s/bin:%s/two:%s/three"):format(dir, dir, dir)))
    local function find()
      host.forget()
      local before = #many.launches
      return assert(host.resolve(newest, many)).version, #many.launches - before
    end
    assert.same({ "10.2.1", 3 }, { find() })
    assert.same({ "10.2.1", 0 }, { find() })
    interpreter(dir .. "/two/toy3", answer(real, {}, "10.10.0"))
    assert.same({ "10.10.0", 3 }, { find() })
    interpreter(dir .. "/bin/toy3", answer(real, {}, "9.99"))
    assert.same({ "10.10.0", 4 }, { find() })
    assert.same({ "10.10.0", 0 }, { find() })
    interpreter(dir .. "/two/toy3", "", "exit 1")
    local runtime = assert(host.resolve(newest, many))
    assert.equal("10.10.0", runtime.version) -- of this process; its file is the same
    host.forget()
    runtime = assert(host.resolve(newest, many))
    assert.equal("10.2.1", runtime.version)
    assert.truthy(has_warning(runtime, "passed over: " .. dir .. "/two/toy3"))
  end)

  it("is not taken for another environment, nor by who wants to know it afresh", function()
    assert.equal(1, asks())
    local other = with_cache(context(dir .. "/bin", { HOME = dir, PYENV_VERSION = "2" }))
    assert.equal(1, asks(other))
    ctx.is_fresh = true
    assert.equal(1, asks())
  end)

  it("is no refusal, and nothing that stood in for one that did not work", function()
    interpreter(dir .. "/bad/toy", "", "exit 127")
    local two = with_cache(context(("%s/bad:%s/bin"):format(dir, dir)))
    assert.equal(2, asks(two))
    assert.equal(2, asks(two))
    local none = with_cache(context(dir .. "/bad"))
    assert.equal(1, asks(none))
    assert.equal(1, asks(none))
    interpreter(dir .. "/bad/toy", answer(real, {}, "6"))
    assert.equal("6", resolve(none).version)
  end)

  it("is nothing that a stage is shown: that is worked out and checked anew", function()
    assert(resolve())
    local kept
    for _, name in ipairs(helper.list(cache .. "/found")) do
      local path = cache .. "/found/" .. name
      if not name:find("lock") then kept = path end
    end
    local text = helper.read(kept)
    helper.write(kept, (text:gsub('"dirs":%[[^]]*%]', '"dirs":["/","/etc","relative",7]')))
    local runtime, _, launches = resolve()
    assert.equal(0, launches)
    local binds = targets(runtime)
    assert.is_nil(binds["/"])
    assert.is_nil(binds["/etc"])
    helper.write(kept, (text:gsub('"path":"[^"]*"', '"path":"relative"')))
    assert.equal(1, asks())
  end)

  it("is asked for once by all who want to know it at the same time", function()
    interpreter(dir .. "/bin/toy", answer(real), ("echo asked >>%s/asked; sleep 0.3"):format(dir))
    local script = helper.write(dir .. "/resolve.lua", ([[
      local host, process = require "noether.runtime.host", require "noether.process"
      local sys = require "noether.sys"
      local runtime, err = host.resolve({ name = "toy",
        runtime = { programs = { "toy" }, probe = { "--probe" } } }, {
        path = %q, environ = {}, launch = process.launch,
        await = function(proc) return proc:wait() end,
        open_cache = function() return { dir = %q } end, lock = sys.lock })
      print(runtime and runtime.path or err)]]):format(dir .. "/bin", cache))
    local one = ("%s %s &"):format(helper.quote(helper.lua), script)
    local output = helper.shell(one:rep(4, "\n") .. "\nwait")
    assert.equal((real .. "\n"):rep(4), output)
    assert.equal("asked\n", helper.read(dir .. "/asked"))
  end)
end)

describe("the interpreters of this machine", function()
  local PATH = os.getenv "PATH"
  local HELLO = {
    python = { "-I", "-c", "import json, ctypes; print('hello')" },
    javascript = { "-e", "console.log('hello')" },
    bash = { "-c", "echo hello" },
  }

  -- bwrap with nothing but what the runtime says it needs.
  local function in_bare_root(runtime, arguments)
    local argv = { sys.find_program("bwrap", PATH), "--unshare-all", "--proc", "/proc" }
    for _, bind in ipairs(runtime.ro_binds) do
      local source = type(bind) == "table" and bind.source or bind
      local target = type(bind) == "table" and bind.target or bind
      for _, word in ipairs({ "--ro-bind", source, target }) do argv[#argv + 1] = word end
    end
    for _, link in ipairs(runtime.links) do
      for _, word in ipairs({ "--symlink", link.source, link.target }) do argv[#argv + 1] = word end
    end
    argv[#argv + 1] = runtime.path
    for _, word in ipairs(arguments) do argv[#argv + 1] = word end
    return assert(command.run(argv, { isolation = "none", timeout_secs = 30 }))
  end

  for name, arguments in pairs(HELLO) do
    it("include " .. name .. ", which runs with just the directories it named", function()
      local language = require("noether.policy.languages." .. name)
      local runtime = assert(host.resolve(language, context(PATH, sys.environ())))
      assert.equal(runtime.path, sys.realpath(runtime.path))
      assert.matches("^%d+%.", runtime.version)
      assert.is_nil(targets(runtime)[os.getenv "HOME"])
      local result = in_bare_root(runtime, arguments)
      assert.equal("hello\n", result.stdout, result.stderr)
    end)
  end
end)
