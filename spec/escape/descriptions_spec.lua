-- SPDX-License-Identifier: MIT
--- Descriptions that lead astray: what a policy, or somebody who changes files in between, could
-- make a sandbox bind. Refused before anything runs, and nothing of the host is changed.
local descriptions = require "noether.sandbox.description"
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local process = require "noether.process"
local sys = require "noether.sys"

setup(cage.build)

local dir

before_each(function()
  dir = helper.tmpdir()
  for _, name in ipairs{ "rw", "ro" } do
    helper.write(dir .. "/" .. name .. "/file", name)
    sys.chmod(dir .. "/" .. name, tonumber("777", 8))
  end
end)

-- Starts a program that does nothing under this description; the error, or nil if it ran.
local function refusal(backend, change)
  local description = cage.describe(backend)
  change(description)
  local proc, err = process.launch({ cage.probe, "reached" }, { sandbox = description })
  if not proc then return err end
  local result
  result, err = proc:wait()
  proc:close()
  return err, result
end

local function with(kind, source, target)
  return function(description)
    table.insert(description[kind], { source = source, target = target or source })
  end
end

local KINDS = { "ro_binds", "rw_binds" }
local HIDDEN = { "native", "bwrap" } -- those that can show a path under another name

cage.each("a path", function(backend)
  local BAD = {
    "/", "/proc", "/proc/1", "/proc/self/root", "/sys", "/sys/fs/cgroup", "/dev", "/dev/null",
    "/dev/shm", "/usr/../proc", "/usr/./lib", "//usr", "/usr//lib", "/usr/", "/..", "/usr/..",
  }

  it("to the kernel, or that is not plain, is refused", function()
    for _, kind in ipairs(KINDS) do
      for _, path in ipairs(BAD) do
        local err = refusal(backend, with(kind, path))
        assert.equal("policy_error", err and err.kind, path)
      end
    end
  end)

  it("that is no absolute path or holds a NUL raises", function()
    for _, path in ipairs{ "usr", "", "../x", "--bind", "/usr\0/x" } do
      local err = select(2, pcall(refusal, backend, with("ro_binds", path)))
      assert.truthy(err, path)
    end
  end)

  it("that is a link to the kernel's files or to the root is refused", function()
    local link = dir .. "/link"
    for _, target in ipairs{ "/", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm" } do
      assert.equal(0, select(2, helper.shell(("ln -sfn %s %s"):format(target, link))))
      for _, kind in ipairs(KINDS) do
        local err = refusal(backend, with(kind, link))
        assert.equal("policy_error", err and err.kind, target)
      end
    end
  end)

  it("that does not exist, is too long or is one of too many is an error", function()
    local long = "/" .. ("x"):rep(5000)
    local deep = dir .. ("/y"):rep(3000)
    for _, path in ipairs{ dir .. "/none", long, deep, dir .. "/rw/file/below" } do
      assert.is_truthy(refusal(backend, with("ro_binds", path)), path:sub(1, 50))
    end
    local err = refusal(backend, function(description)
      for _ = 1, 5000 do
        table.insert(description.ro_binds, dir .. "/ro")
      end
    end)
    assert.is_truthy(err)
    assert.not_equal("spawn_failed", err.kind)
  end)

  it("that looks like an option or holds odd bytes is a path", function()
    for _, name in ipairs{ "--bind", "a b", "a\nb", "a'b\"c", "-", "$(id)", "%s", "\255\254" } do
      local odd = dir .. "/" .. name
      helper.write(odd .. "/file", "odd")
      local word = "read=" .. odd .. "/file"
      local report = cage.run(backend, { word }, { ro = { odd } })
      assert.truthy(report.result.stdout:find(word .. ": done\n", 1, true), report.result.stdout)
    end
  end)
end)

describe("fields", function()
  it("that are unknown or of a wrong kind raise", function()
    for _, change in ipairs{
      { privileged = true }, { network = "all" }, { processes = "yes" }, { ro_binds = "x" },
      { rw_binds = { { source = "/usr" } } }, { links = { { target = "/x" } } },
      { backend = "docker" },
      { ro_binds = { { source = "/usr", target = "/usr", options = "rw" } } },
    } do
      local description = descriptions.system()
      description.backend = "native"
      for name, value in pairs(change) do
        description[name] = value
      end
      assert.has_error(function() process.launch({ "/bin/true" }, { sandbox = description }) end,
        nil, next(change))
    end
  end)

  it("that limit raise when they are no amounts", function()
    for _, name in ipairs{ "memory_bytes", "processes", "cpu_secs", "private_files" } do
      for _, value in ipairs{ -1, 0, 0 / 0, "1" } do
        assert.has_error(function()
          process.launch({ "/bin/true" }, {
            sandbox = cage.describe("native"), limits = { [name] = value },
          })
        end)
      end
    end
  end)
end)

for _, backend in ipairs(HIDDEN) do
  describe(("a target [%s]"):format(backend), function()
    local function listing()
      return helper.shell("cd " .. dir .. " && ls -lRn --time-style=+")
    end

    it("below a directory that may be written is not made on the host", function()
      local before = listing()
      for _, rest in ipairs{ "/new", "/new/deep", "/file/below", "/file" } do
        refusal(backend, function(description)
          with("rw_binds", dir .. "/rw", "/data")(description)
          with("ro_binds", dir .. "/ro", "/data" .. rest)(description)
        end)
      end
      assert.equal(before, listing())
    end)

    it("below a directory that may be written is not found through a link there", function()
      helper.shell(("ln -s /oldroot%s/ro %s/rw/out && ln -s ../ro %s/rw/up && ln -s / %s/rw/root")
        :format(dir, dir, dir, dir))
      local before = listing()
      for _, rest in ipairs{
        "/out", "/out/new", "/up", "/up/new", "/root/new", "/root" .. dir .. "/ro/new",
      } do
        local err = refusal(backend, function(description)
          with("rw_binds", dir .. "/rw", "/data")(description)
          with("ro_binds", dir .. "/ro", "/data" .. rest)(description)
        end)
        assert.is_truthy(err, rest)
      end
      assert.equal(before, listing())
    end)

    it("that is there is covered, and the host's own file stays", function()
      helper.write(dir .. "/rw/sub/mine", "host")
      sys.chmod(dir .. "/rw/sub", tonumber("777", 8))
      local words = { "read=/data/sub/file", "read=/data/sub/mine", "create=/data/sub/x" }
      local report = cage.run(backend, words, {
        rw = { { source = dir .. "/rw", target = "/data" } },
        ro = { { source = dir .. "/ro", target = "/data/sub" } },
      })
      report:done{ words[1] }
      report:refused{ words[2], words[3] }
      assert.equal("host", helper.read(dir .. "/rw/sub/mine"))
      assert.same({ "mine" }, helper.list(dir .. "/rw/sub"))
    end)

    it("that may be written lies in one that may not", function()
      helper.write(dir .. "/ro/sub/mine", "host")
      sys.chmod(dir .. "/ro/sub", tonumber("777", 8))
      local words = { "create=/data/sub/new", "create=/data/new" }
      local report = cage.run(backend, words, {
        rw = { { source = dir .. "/ro/sub", target = "/data/sub" } },
        ro = { { source = dir .. "/ro", target = "/data" } },
      })
      report:done{ words[1] }
      report:refused{ words[2] }
    end)

    it("in or over a private directory is seen", function()
      for _, target in ipairs{ "/work/data", "/tmp/data", "/work" } do
        local word = "read=" .. target .. "/file"
        cage.run(backend, { word }, { ro = { { source = dir .. "/ro", target = target } } }):done{
          word,
        }
      end
    end)

    it("over the files that name users stays inside", function()
      local before = helper.read "/etc/passwd"
      helper.open_to_stages(dir .. "/rw")
      for _, target in ipairs{ "/etc/passwd", "/etc/group", "/etc/hosts" } do
        local words = { "read=" .. target, "create=" .. target }
        local report = cage.run(backend, words, {
          rw = { { source = dir .. "/rw/file", target = target } },
        })
        assert.is_true(report.tried[words[1]])
      end
      assert.equal(before, helper.read "/etc/passwd")
    end)

    it("of another kind than its source is an error, or is not", function()
      local before = listing()
      refusal(backend, function(description)
        with("rw_binds", dir .. "/rw", "/data")(description)
        with("ro_binds", dir .. "/ro", "/data/file")(description)
      end)
      refusal(backend, with("ro_binds", dir .. "/ro/file", "/work"))
      refusal(backend, with("ro_binds", dir .. "/ro/file", "/proc2"))
      assert.equal(before, listing())
    end)

    it("of a link is not what is bound", function()
      local before = listing()
      for _, target in ipairs{ "/data", "/data/link", "/data/file" } do
        local err = refusal(backend, function(description)
          with("rw_binds", dir .. "/rw", "/data")(description)
          with("links", "/etc/shadow", target)(description)
        end)
        assert.equal("policy_error", err and err.kind, target)
      end
      assert.equal(before, listing())
    end)
  end)
end

cage.each("a source", function(backend)
  it("that is no regular file gives no more than its own rights", function()
    local fifo = dir .. "/fifo"
    cage.run("none", { "mkfifo=" .. fifo }):done{ "mkfifo=" .. fifo }
    local words = { "touch=" .. fifo, "unlink=" .. fifo }
    local report = cage.run(backend, words, { ro = { fifo } })
    report:refused{ words[2] }
    assert.equal("fifo", sys.stat(fifo).type)
  end)

  it("that is a device is none inside", function()
    if not helper.is_root() or backend == "landlock" then return end
    local device = dir .. "/null"
    if select(2, helper.shell(("mknod -m 666 %s c 1 3"):format(device))) ~= 0 then return end
    cage.run("none", { "write=" .. device }):done{ "write=" .. device }
    local words = { "write=" .. device, "read=" .. device }
    cage.run(backend, words, { rw = { device } }):refused(words)
  end)

  it("that somebody swaps for a link all the time is never what may not be bound", function()
    local path = dir .. "/swapped"
    helper.write(path .. "/file", "mine")
    helper.shell(("ln -s /sys %s.other"):format(path))
    local swapper = cage.start("none", { "swap=" .. path })
    local word = "list=" .. path .. "/kernel"
    local ran, refused = 0, 0
    local function goes_on(tries)
      return tries <= 100 or tries <= 3000 and (ran == 0 or refused == 0)
    end
    local tries = 1
    while goes_on(tries) do
      tries = tries + 1
      local proc = cage.launch(backend, { cage.probe, word, word, word }, { ro = { path } })
      local result = proc and proc:wait()
      if proc then proc:close() end
      if result then
        cage.read(result):refused{ word }
        ran = ran + 1
      else
        refused = refused + 1
      end
    end
    cage.stop(swapper)
    assert.is_true(ran > 0 and refused > 0, ran .. " ran, " .. refused .. " were refused")
  end)
end)

-- Links that a stage plants where it may write lead nowhere for the next one, or for the host.
cage.each("a link that a stage planted", function(backend)
  it("leads inside only to what is bound", function()
    local secret = helper.write(helper.tmpdir() .. "/secret", "host")
    local place = dir .. "/rw"
    local proc = assert(cage.launch(backend, {
      "/bin/sh", "-c", ("ln -s %s %s/out.json; ln -s / %s/all; ln -s /etc %s/etc"):format(
        secret, place, place, place),
    }, { rw = { place } }))
    assert.equal(0, assert(proc:wait()).exit_code)
    proc:close()
    local words = {
      "read=" .. place .. "/out.json", "write=" .. place .. "/out.json",
      "create=" .. place .. "/all" .. secret .. ".new", "list=" .. place .. "/all/root",
      "create=" .. place .. "/etc/new", "read=" .. place .. "/etc/shadow",
    }
    cage.run(backend, words, { rw = { place } }):refused(words)
    assert.equal("host", helper.read(secret))
    cage.run("none", { "read=" .. place .. "/out.json" }):done{ "read=" .. place .. "/out.json" }
  end)
end)

describe("a host that is root", function()
  it("leaves no mount behind where the host's mounts are shared", function()
    if not helper.is_admin() then return end
    helper.write(dir .. "/rw/sub/mine", "host")
    for _, backend in ipairs(HIDDEN) do
      local script = helper.write(dir .. "/host.lua", ([[
local process = require "noether.process"
local function mounts()
  local count = 0
  for _ in io.lines "/proc/self/mountinfo" do count = count + 1 end
  return count
end
local before = mounts()
local result, err = process.launch({ %q, "read=/data/sub/file" }, { sandbox = %s }):wait()
print(result and result.stdout or err)
print(mounts() == before and "clean" or "left behind")
]]):format(cage.probe, cage.literal(cage.describe(backend, {
        rw = { { source = dir .. "/rw", target = "/data" } },
        ro = { { source = dir .. "/ro", target = "/data/sub" } },
      }))))
      local output = helper.shell(("unshare -m --propagation shared %s %s"):format(
        helper.quote(helper.lua), helper.quote(script)))
      assert.truthy(output:find("attempted read=/data/sub/file: done", 1, true), output)
      assert.truthy(output:find("\nclean\n", 1, true), output)
    end
  end)

  it("gives a program what only root can reach only where it is bound", function()
    if not helper.is_admin() then return end
    local hidden = dir .. "/hidden"
    helper.write(hidden .. "/open", "a")
    helper.write(hidden .. "/closed", "b")
    helper.shell(("chmod 700 %s; chmod 600 %s/closed"):format(hidden, hidden))
    local words = { "read=" .. hidden .. "/open", "write=" .. hidden .. "/open" }
    for _, backend in ipairs{ "native", "bwrap" } do
      cage.run(backend, words):refused(words)
      local report = cage.run(backend, words, { ro = { hidden } })
      report:refused{ words[2] }
    end
    assert.equal("a", helper.read(hidden .. "/open"))
  end)
end)
