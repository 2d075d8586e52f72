-- SPDX-License-Identifier: MIT
-- Kernels that lack something, played by leaving it unused: what the library falls back to, and
-- that it claims no more than it then has.
local descriptions = require "noether.sandbox.description"
local commands = require "noether.command"
local helper = require "spec.support.helper"
local core = require "noether.core"
local isolation = require "noether.isolation"
local process = require "noether.process"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local function launch(backend, command, opts)
  local chosen = assert(isolation.choose(backend, process.launch, { path = "/usr/bin" }))
  local sandbox = descriptions.of_backend(chosen, descriptions.system())
  local given = { sandbox = sandbox, env = { PATH = "/usr/bin:/bin" }, timeout_secs = 20 }
  for name, value in pairs(opts or {}) do
    given[name] = value
  end
  local proc, err = process.launch({ "/bin/sh", "-c", command }, given)
  if not proc then return nil, err end
  local result
  result, err = proc:wait()
  proc:close()
  return result, err
end

local function claims(result, word)
  return (" " .. table.concat(result.enforced, " ") .. " "):find(" " .. word .. " ", 1, true) ~= nil
end

describe("a kernel", function()
  before_each(function()
    for _, backend in ipairs(helper.backends{ "native", "landlock" }) do
      -- before anything is taken away
      assert(isolation.choose(backend, process.launch, { path = "/usr/bin" }))
    end
  end)

  after_each(function() core.pretend{} end)

  it("without Landlock runs native, and claims no Landlock", function()
    local with = assert(launch("native", "true"))
    core.pretend{ landlock = 0 }
    local without = assert(launch("native", "echo x > /work/f && cat /work/f; echo x > /usr/f"))
    assert.is_true(claims(with, "landlock"))
    assert.is_false(claims(without, "landlock"))
    assert.equal("x\n", without.stdout)
    assert.truthy(without.stderr:find("Read%-only file system"))
  end)

  it("without Landlock lets a shared file be opened anew, as SECURITY.md says", function()
    local path = helper.write(helper.tmpdir() .. "/shared", "before")
    helper.shell("chmod 666 " .. path)
    for _, landlock in ipairs{ 0, 6 } do
      core.pretend{ landlock = landlock }
      local file = support.open(path, true)
      local result = assert(launch("native", "(echo after >/proc/self/fd/0) 2>&1", {
        stdin = { fd = file, share = true },
      }))
      support.close(file)
      assert.equal(landlock == 0 and "" or "denied", result.stdout:match("denied") or result.stdout)
      assert.equal(landlock == 0 and "after\n" or "before", helper.read(path))
      helper.write(path, "before")
    end
  end)

  for version = 1, 6 do
    it("with Landlock " .. version .. " runs native under it", function()
      core.pretend{ landlock = version }
      local result = assert(launch("native", "echo x > /work/f && cat /work/f"))
      assert.equal("x\n", result.stdout)
      assert.is_true(claims(result, "landlock"))
    end)
  end

  for version = 0, helper.has "landlock" and 2 or -1 do
    it("with Landlock " .. version .. " has no landlock backend", function()
      core.pretend{ landlock = version }
      local result, err = launch("landlock", "true")
      assert.is_nil(result)
      assert.equal("sandbox_failed", err.kind)
      assert.equal(version == 0 and "ENOSYS" or "EOPNOTSUPP", err.errno)
      assert.truthy(version == 0 or err.message:find(("(here is %d)"):format(version), 1, true))
      assert.matches("Linux 6.2 or newer", err.hint)
    end)
  end

  for version = 3, helper.has "landlock" and 6 or 2 do
    it("with Landlock " .. version .. " keeps a program from the files of others", function()
      local dir = helper.tmpdir()
      helper.write(dir .. "/secret", "secret")
      core.pretend{ landlock = version }
      local result = assert(launch("landlock",
        ("echo x > mine && cat mine; cat %s/secret; : > %s/secret"):format(dir, dir)))
      assert.equal("x\n", result.stdout)
      assert.truthy(result.stderr:find("Permission denied"))
      assert.equal("secret", helper.read(dir .. "/secret"))
    end)
  end

  it("without control groups has the memory sampled", function()
    core.pretend{ cgroups = false }
    local result = assert(launch("native", "true", { limits = { memory_bytes = 2 ^ 30 } }))
    assert.is_true(claims(result, "memory_sampled"))
    assert.is_false(claims(result, "memory_cgroup"))
    local code = "x = []\nwhile True: x.append(bytearray(1000000))"
    local greedy = assert(launch("native", "exec /usr/bin/python3 -c '" .. code .. "'",
      { limits = { memory_bytes = 200 * 2 ^ 20 } }))
    assert.equal("memory_limit", greedy.reason)
  end)

  it("that runs nothing from memory runs an installed supervisor, or says what to do", function()
    core.pretend{ memory_programs = false }
    for _, name in ipairs{ "none", "native", "auto" } do
      local result, err = commands.run({ "true" }, { isolation = name })
      if result then
        assert.is_true(result.ok) -- it is installed here
      else
        assert.equal("sandbox_failed", err.kind)
        assert.truthy(err.hint:find("vm.memfd_noexec", 1, true))
        assert.truthy(err.hint:find("make install", 1, true))
      end
    end
  end)

  -- In processes of their own: what the launcher has opened once, it keeps.
  local function without_memory_programs(text, environ)
    local script = helper.write(helper.tmpdir() .. "/host.lua",
      "require 'noether.core'.pretend{ memory_programs = false }\n" .. text)
    return (helper.shell(("env %s %s %s"):format(environ, helper.quote(helper.lua), script)))
  end

  it("that runs nothing from memory has a copy of the supervisor in the cache", function()
    local dir = helper.tmpdir()
    helper.shell("chmod 700 " .. dir)
    for _ = 1, 2 do
      assert.equal("1\tnative\n", without_memory_programs([[
        local noether = require "noether"
        local executor = assert(noether.executor())
        local answer, err, info = executor:execute{ language = "bash",
          code = "execute() { echo 1; }" }
        print(err or answer, info.isolation)]], "NOETHER_CACHE_DIR=" .. dir))
      assert.equal(320, sys.stat(dir .. "/supervisor").mode) -- 0500
      assert.equal(core.jail_image(), helper.read(dir .. "/supervisor"))
      -- One that is not ours is not run.
      helper.shell(("chmod 700 %s/supervisor; cp /bin/false %s/supervisor"):format(dir, dir))
    end
  end)

  it("that runs nothing from memory blames no interpreter", function()
    local dir = helper.tmpdir()
    local output = without_memory_programs([[
      local host, process = require "noether.runtime.host", require "noether.process"
      local _, err = host.resolve(require "noether.policy.languages.bash", {
        path = os.getenv "PATH", environ = {}, launch = process.launch,
        await = function(proc) return proc:wait() end })
      print(err and err.kind or "it is installed here", err and err.hint)]], "NOETHER_X=" .. dir)
    if not output:find("installed here", 1, true) then
      assert.matches("^sandbox_failed\t.*vm.memfd_noexec", output)
    end
  end)

  it("that runs nothing from memory is told of by doctor, which leaves nothing", function()
    local dir = helper.tmpdir()
    helper.shell("mkdir " .. dir .. "/tmp")
    local output = without_memory_programs([[
      local report = require "noether".doctor()
      print(report.ok, report.auto, report.supervisor.works, report.interpreters.bash.found)]],
      ("NOETHER_CACHE_DIR=%s/cache TMPDIR=%s/tmp"):format(dir, dir))
    assert.equal("true\tnative\ttrue\ttrue\n", output)
    assert.same({ "tmp" }, helper.list(dir))
    assert.same({}, helper.list(dir .. "/tmp"))
  end)
end)
