-- SPDX-License-Identifier: MIT
-- Files that a call gives a stage: what is there inside, and all that is refused unrun.
local helper = require "spec.support.helper"
local noether = require "noether"
local sys = require "noether.sys"

local BACKENDS = { backends = { "native", "bwrap", "landlock", "none" } }

local READ = [[
import os
def execute(names):
    return {name: open(name).read() for name in names}
]]

local function run(backend, code, input, opts)
  local request = {
    language = "python", code = code, input = input, isolation = backend, timeout_secs = 60,
  }
  for name, value in pairs(opts) do request[name] = value end
  return noether.execute(request)
end

local function refused(backend, files, opts)
  local call = { files = files }
  for name, value in pairs(opts or {}) do call[name] = value end
  local out, err, info = run(backend, "def execute(n): return n", 1, call)
  assert.is_nil(out)
  assert.is_nil(info.result)
  return err
end

helper.over(BACKENDS, "files of a call under %s", function(backend)
  local dir

  before_each(function()
    dir = sys.realpath(helper.tmpdir())
    helper.open_to_all(dir)
  end)

  it("are there by their names, texts and those of the host", function()
    helper.write(dir .. "/host.csv", "1,2\n")
    local out, err = run(backend, READ, { "data.csv", "deep/er/note.txt", "empty" }, {
      files = { ["data.csv"] = { path = dir .. "/host.csv" }, ["deep/er/note.txt"] = "text\n",
        empty = "" },
    })
    assert.is_nil(err)
    assert.same({ ["data.csv"] = "1,2\n", ["deep/er/note.txt"] = "text\n", empty = "" }, out)
  end)

  it("are bound or linked, and not copied", function()
    helper.shell(("truncate -s 8G %s/big"):format(dir))
    local out, err, info = run(backend, [[
import os
def execute(n):
    with open("big", "rb") as file:
        file.seek(2 ** 33 - 1)
        return [os.path.getsize("big"), len(file.read(1))]
]], 0, { files = { big = { path = dir .. "/big" } } })
    assert.is_nil(err)
    assert.same({ 2 ^ 33, 1 }, out)
    assert.is_true(info.result.max_rss_bytes < 2 ^ 30)
  end)

  it("are what a link leads to, and stay what they are", function()
    helper.write(dir .. "/host", "mine")
    helper.shell(("ln -s host %s/link && chmod 600 %s/host"):format(dir, dir))
    local out, err = run(backend, [[
def execute(name):
    try:
        open(name, "a").write("x")
    except OSError:
        pass
    return open(name).read()
]], "given", { files = { given = { path = dir .. "/link" } } })
    -- Without a sandbox nobody keeps a stage from writing to what its user may write to.
    if backend ~= "none" then
      assert.is_nil(err)
      assert.equal("mine", out)
      assert.equal("mine", helper.read(dir .. "/host"))
    end
  end)

  it("are refused unrun for their names", function()
    for _, name in ipairs{ "", "/etc/x", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "a\nb",
      "\255", ("x"):rep(256), ("y/"):rep(600) .. "z", "stage.py", "runner.py" } do
      local err = refused(backend, { [name] = "text" })
      assert.equal("input_invalid", err.kind)
      assert.matches("^file '", err.message)
    end
    assert.equal("input_invalid", refused(backend, { a = "file", ["a/b/c"] = "below" }).kind)
    local many = {}
    for i = 1, 257 do many["f" .. i] = "" end
    local err = refused(backend, many)
    assert.same({ "input_invalid", 256 }, { err.kind, err.limit })
  end)

  it("are refused unrun for what is at their paths", function()
    helper.shell(("mkfifo %s/fifo && ln -s nowhere %s/dangling && ln -s /proc/self %s/proc")
      :format(dir, dir, dir))
    for path, said in pairs{
      [dir .. "/gone"] = "No such file", [dir] = "is a directory", [dir .. "/fifo"] = "is a fifo",
      [dir .. "/dangling"] = "No such file", ["/dev/null"] = "is a device",
      [dir .. "/proc/status"] = "never allowed", ["/etc/passwd/x"] = "Not a directory",
    } do
      local err = refused(backend, { file = { path = path } })
      assert.equal("input_invalid", err.kind)
      assert.matches(said, err.message, 1, true)
    end
  end)

  it("that vanish when they have been judged fail the run", function()
    helper.write(dir .. "/data", '"x"\n')
    local access = sys.access
    sys.access = function(path, ...)
      local ok, message, errno = access(path, ...)
      if path == dir .. "/data" then os.remove(path) end
      return ok, message, errno
    end
    local passed, out, err, info = pcall(noether.execute, {
      language = "bash", isolation = backend, timeout_secs = 60,
      code = 'execute() { read -r line <data; echo "$line"; }',
      files = { data = { path = dir .. "/data" } },
    })
    sys.access = access
    assert.is_true(passed, out)
    assert.is_nil(out)
    if backend == "none" then -- there a link leads to it
      assert.same({ "stage_failed", true }, { err.kind, err.message:find "No such file" ~= nil })
    else
      assert.same({ "sandbox_failed", "ENOENT" }, { err.kind, err.errno })
      assert.is_truthy(err.hint)
      assert.is_nil(info.result)
    end
  end)

  if not helper.is_root() then
    helper.for_each_user(function()
      it("are refused unrun where this user may not read them", function()
        helper.write(dir .. "/secret", "x")
        sys.chmod(dir .. "/secret", 0)
        local err = refused(backend, { file = { path = dir .. "/secret" } })
        assert.same({ "input_invalid", "EACCES" }, { err.kind, err.errno })
      end)
    end)
  end

  it("may lie over files of a work_dir only, and only behind walls", function()
    local work = sys.realpath(helper.tmpdir())
    helper.open_to_all(work)
    sys.chmod(work, tonumber("777", 8))
    helper.write(work .. "/there", "before")
    local out, err = run(backend, READ, { "there" }, {
      work_dir = work, files = { there = "given" },
    })
    if backend == "native" or backend == "bwrap" then
      assert.is_nil(err)
      assert.same({ there = "given" }, out)
      assert.equal("before", helper.read(work .. "/there"))
    else
      assert.same({ "input_invalid", true }, { err.kind, err.hint:find "work_dir" ~= nil })
    end
    helper.shell(("ln -s there %s/link"):format(work))
    for _, name in ipairs{ "missing", "link" } do
      assert.equal("input_invalid", refused(backend, { [name] = "x" }, { work_dir = work }).kind)
    end
    assert.same({ "link", "there" }, helper.list(work))
  end)

  it("leave nothing of a text behind", function()
    local cache_dir = sys.realpath(helper.tmpdir())
    local executor = assert(noether.executor{ isolation = backend, cache_dir = cache_dir })
    local stage = { language = "bash", code = [[execute() { read -r line <note; echo "$line"; }]] }
    local out, err = executor:execute(stage, nil, {
      files = { note = '"private"\n' }, timeout_secs = 60,
    })
    assert.is_nil(err)
    assert.equal("private", out)
    executor:close()
    assert.same({}, helper.list(cache_dir .. "/files"))
  end)
end)

describe("files of a call", function()
  it("are misuse where they are neither text nor a path", function()
    for _, file in ipairs{ 1, true, {}, { path = "" }, { text = "x" } } do
      assert.has_error(function() run("none", "", nil, { files = { name = file } }) end)
    end
  end)

  it("stand in a plan by what is bound", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local stage = { language = "bash", code = "execute() { echo 1; }" }
    local plan = assert(executor:plan(stage, nil, { files = { host = { path = "/etc/hostname" } },
      outputs = { "*.png" } }))
    assert.same({ "*.png" }, plan.outputs)
    assert.same({ { source = sys.realpath "/etc/hostname", target = "host" } }, plan.sandbox.links)
    executor:close()
  end)
end)
