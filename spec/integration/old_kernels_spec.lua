-- SPDX-License-Identifier: MIT
-- Kernels that lack something, played by leaving it unused: what the library falls back to, and
-- that it claims no more than it then has.
local helper = require "spec.helper"
local core = require "noether.core"
local isolation = require "noether.isolation"
local process = require "noether.process"
local support = require "spec.support"

local function launch(backend, command, opts)
  local chosen = assert(isolation.choose(backend, process.launch, { path = "/usr/bin" }))
  local sandbox = isolation.apply(chosen, isolation.system())
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
    for _, backend in ipairs{ "native", "landlock" } do
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

  for version = 0, 2 do
    it("with Landlock " .. version .. " has no landlock backend", function()
      core.pretend{ landlock = version }
      local result, err = launch("landlock", "true")
      assert.is_nil(result)
      assert.equal("sandbox_failed", err.kind)
      assert.equal("ENOSYS", err.errno)
    end)
  end

  for version = 3, 6 do
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
    local result, err = process.run({ "true" }, { isolation = "none" })
    if result then
      assert.is_true(result.ok) -- it is installed here
    else
      assert.equal("spawn_failed", err.kind)
      assert.truthy(err.hint:find("vm.memfd_noexec", 1, true))
    end
  end)
end)
