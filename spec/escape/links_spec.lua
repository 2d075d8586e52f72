-- SPDX-License-Identifier: MIT
--- Links in the way of what is bound: put there between the judging and the binding, or left by
-- another stage.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"
local guard = require "noether.sandbox.guard"
local noether = require "noether"
local process = require "noether.process"
local resolve = require "noether.sandbox.resolve"
local sys = require "noether.sys"

setup(cage.build)

-- Opens are effects as `stage.effects` parses them.
local function judged(description, writes)
  return assert(guard.check(description, {
    effects = { writes = writes or {}, reads = {}, network = false, process = true },
    grants = {}, own_paths = {}, realpath = resolve.resolve,
  }))
end

cage.each("a path that was judged", function(backend)
  local dir, secret

  before_each(function()
    dir = sys.realpath(helper.tmpdir())
    secret = sys.realpath(helper.tmpdir())
    for _, path in ipairs{ dir, secret } do
      sys.chmod(path, tonumber("777", 8))
    end
    helper.write(secret .. "/secret", "host")
    helper.shell(("mkdir %s/data && chmod 777 %s/data"):format(dir, dir))
    helper.write(dir .. "/data/file", "mine")
  end)

  local function launch(description)
    local whole = cage.describe(backend)
    for _, name in ipairs{ "ro_binds", "rw_binds" } do
      for _, bind in ipairs(description[name] or {}) do
        table.insert(whole[name], bind)
      end
    end
    -- The system's own binds are resolved as well.
    local all = judged({ ro_binds = whole.ro_binds, rw_binds = whole.rw_binds }, { dir .. "/data" })
    whole.ro_binds, whole.rw_binds, whole.resolved = all.ro_binds, all.rw_binds, all.resolved
    return whole
  end

  local function run(description, words)
    local proc, err = process.launch(cage.concat({ cage.probe }, words), {
      sandbox = description, timeout_secs = 20,
    })
    if not proc then return nil, err end
    local result
    result, err = proc:wait()
    proc:close()
    return result, err
  end

  for _, kind in ipairs{ "ro_binds", "rw_binds" } do
    it("as one of " .. kind .. " is bound as it was, or not at all", function()
      local description = launch{ [kind] = { dir .. "/data" } }
      local words = {
        "read=" .. dir .. "/data/secret", "read=" .. secret .. "/secret",
        "create=" .. dir .. "/data/new",
      }
      cage.read(assert(run(description, { "read=" .. dir .. "/data/file" }))):done{
        "read=" .. dir .. "/data/file",
      }
      helper.shell(("mv %s/data %s/moved && ln -s %s %s/data"):format(dir, dir, secret, dir))
      local result, err = run(description, words)
      if result then
        cage.read(result):refused(words)
      else
        assert.equal("sandbox_failed", err.kind, tostring(err))
      end
      assert.same({ "secret" }, sys.list(secret))
    end)
  end

  it("and then swapped all the time for a link to the cache never shows that", function()
    local path, cache_dir = dir .. "/data", secret .. "/cache"
    local executor = noether.executor{
      isolation = backend, timeout_secs = 20, cache_dir = cache_dir,
    }
    local code = "execute() { echo 1; }"
    noether.check(executor:execute{ language = "bash", effects = {}, code = code })
    helper.shell(("ln -s %s %s.other"):format(cache_dir, path))
    local swapper = cage.start("none", { "swap=" .. path })
    local function look()
      return executor:execute{
        language = "bash", effects = { { FsRead = path } },
        code = ([[execute() {
          set -- %s/scripts/*
          [ "${1%%\*}" = "$1" ] && echo 1 || echo 0
        }]]):format(path),
      }
    end
    for _ = 1, 60 do
      local output = look()
      assert.is_true(output == nil or output == 0, tostring(output))
    end
    cage.stop(swapper)
    if sys.readlink(path) then
      helper.shell(("rm %s && mv %s.other %s"):format(path, path, path))
    end
    assert.equal(0, look())
    executor:close()
  end)
end)

cage.each("a link that a stage left", function(backend)
  local dir, outside, executor

  local function stage(effects, code)
    return executor:execute({ language = "bash", effects = effects, code = code }, {})
  end

  before_each(function()
    dir, outside = sys.realpath(helper.tmpdir()), sys.realpath(helper.tmpdir())
    for _, path in ipairs{ dir, outside } do
      sys.chmod(path, tonumber("777", 8))
    end
    helper.write(outside .. "/secret", "host")
    sys.chmod(outside .. "/secret", tonumber("666", 8))
    executor = noether.executor{ isolation = backend, timeout_secs = 20 }
    noether.check(stage({ { FsWrite = dir }, "Process" }, ([[
execute() {
  ln -s %s %s/planted; ln -s ../..%s %s/relative; ln -s planted %s/twice; echo mine >%s/own
  echo '{}'
}]]):format(outside, dir, outside, dir, dir, dir)))
  end)
  after_each(function() executor:close() end)

  it("leads no other stage where it does not declare to go", function()
    for _, name in ipairs{ "planted", "planted/secret", "relative", "twice/secret" } do
      for _, effect in ipairs{ "FsRead", "FsWrite" } do
        local path = dir .. "/" .. name
        local output, err = stage({ { [effect] = path } }, "execute() { echo 1; }")
        assert.is_nil(output)
        assert.equal("input_invalid", err.kind, tostring(err))
        assert.truthy(tostring(err):find("is a link in a directory that a stage", 1, true),
          tostring(err))
      end
    end
    assert.same({ "secret" }, sys.list(outside))
  end)

  it("is not followed in a working directory either, nor behind a link of the host's", function()
    local alias = helper.tmpdir() .. "/alias"
    helper.shell(("ln -s %s/planted %s"):format(dir, alias))
    for _, path in ipairs{ dir .. "/planted", alias } do
      local output, err = executor:execute({
        language = "bash", effects = {}, code = "execute() { echo 1; }",
      }, {}, { work_dir = path })
      assert.is_nil(output)
      assert.equal("input_invalid", err.kind, tostring(err))
    end
  end)

  it("keeps nobody from what it lies beside, or from links of the host's", function()
    local alias = sys.realpath(helper.tmpdir()) .. "/alias"
    helper.shell(("ln -s %s %s"):format(dir, alias))
    for _, path in ipairs{ dir .. "/own", alias .. "/own" } do
      assert.equal("mine", noether.check(stage({ { FsRead = path } },
        ("execute() { read -r line <%s; echo \"\\\"$line\\\"\"; }"):format(path))))
    end
  end)
end)
