-- SPDX-License-Identifier: MIT
-- Files that a stage leaves: what is collected, where to, and what never is.
local helper = require "spec.support.helper"
local noether = require "noether"
local resolve = require "noether.sandbox.resolve"
local sys = require "noether.sys"

local BACKENDS = {
  backends = { "native", "bwrap", "landlock", "none" },
  always = { "are not followed where they are links, nor had where they are no plain files" },
}

local function run(backend, code, opts, language)
  local request = {
    language = language or "python", code = code, isolation = backend, timeout_secs = 60,
    effects = { "Process" },
  }
  for name, value in pairs(opts) do request[name] = value end
  return noether.execute(request)
end

local function names_of(info)
  local names = {}
  for index, output in ipairs(info.outputs) do names[index] = output.name end
  return names
end

local function warned(info, text)
  for _, warning in ipairs(info.warnings) do
    if warning:find(text, 1, true) then return true end
  end
  return false
end

helper.over(BACKENDS, "outputs of a stage under %s", function(backend)
  it("come with their contents, sorted, and with what they are", function()
    local out, err, info = run(backend, [[
mkdir -p sub/deep .hidden
printf png >b.png; printf 'a,b\n' >a.csv; printf x >sub/x.md; printf y >sub/deep/y.md
printf no >.hidden/z.md; printf no >.dot.md; printf other >other
execute() { echo 7; }
]], { outputs = { "*.csv", "b.png", "**/*.md", "oth*", "none*", "gone?" } }, "bash")
    assert.is_nil(err)
    assert.equal(7, out)
    assert.same({
      { name = "a.csv", bytes = 4, type = "text/csv", content = "a,b\n" },
      { name = "b.png", bytes = 3, type = "image/png", content = "png" },
      { name = "other", bytes = 5, type = "application/octet-stream", content = "other" },
      { name = "sub/deep/y.md", bytes = 1, type = "text/markdown", content = "y" },
      { name = "sub/x.md", bytes = 1, type = "text/markdown", content = "x" },
    }, info.outputs)
  end)

  it("are not followed where they are links, nor had where they are no plain files", function()
    local out, err, info = run(backend, [[
import os, socket
def execute(given):
    os.symlink("/etc/passwd", "link.txt")
    os.symlink("/etc", "dir")
    os.symlink("real", "inner")
    os.mkdir("real")
    open("real/passwd", "w").write("mine")
    open("one.txt", "w").write("1")
    os.link("one.txt", "two.txt")
    os.mkfifo("fifo.txt")
    try:
        socket.socket(socket.AF_UNIX).bind("socket.txt")
    except OSError:  # Landlock lets nobody have one
        os.mkfifo("socket.txt")
    open(b"bad-\xff.txt", "w").write("x")
    open("bad-\n.txt", "w").write("x")
    open("good.txt", "w").write("good")
    return open("given.txt").read()
]], { files = { ["given.txt"] = "given" },
      outputs = { "*.txt", "*/passwd", "dir/passwd?", "inner/passwd?", "real?" } })
    assert.is_nil(err)
    assert.equal("given", out)
    assert.same({ "good.txt", "real/passwd" }, names_of(info))
    assert.equal("mine", info.outputs[2].content)
    for _, said in ipairs{
      "'link.txt' was left out: it is a link", "'one.txt' was left out: it has",
      "'two.txt' was left out: it has", "'fifo.txt' was left out: it is no", "'socket.txt' was",
      "'dir/passwd' was left out: it is a link", "'real' was left out",
    } do
      assert.is_true(warned(info, said) or warned(info, "more outputs"), said)
    end
  end)

  it("are missed by their names", function()
    for code, said in pairs{
      [":"] = "no such file", ["ln -s /etc/passwd report.md"] = "a link",
      ["mkdir report.md"] = "no regular file", ["mkfifo report.md"] = "no regular file",
    } do
      local out, err, info = run(backend, "execute() { " .. code .. "; echo 1; }",
        { outputs = { "report.md" } }, "bash")
      assert.is_nil(out)
      assert.equal("output_missing", err.kind)
      assert.matches(said, err.message, 1, true)
      assert.same({}, info.outputs)
      assert.equal(0, err.result.exit_code)
    end
  end)

  it("are held to their limits before one of them is taken", function()
    local code = "execute() { for i in 1 2 3; do printf 12345 >$i.txt; done; echo 1; }"
    for _, case in ipairs{ { { output_files = 2 }, 2 }, { { output_file_bytes = 4 }, 4 },
      { { output_file_bytes = 14 }, 14 } } do
      local _, err, info = run(backend, code, { outputs = { "*.txt" }, limits = case[1] }, "bash")
      assert.same({ "output_files_limit", case[2] }, { err.kind, err.limit })
      assert.same({}, info.outputs)
    end
    local _, err, info = run(backend, code, {
      outputs = { "*.txt" }, limits = { output_files = 3, output_file_bytes = 15 },
    }, "bash")
    assert.is_nil(err)
    assert.same({ 3, 3 }, { #info.outputs, info.limits.output_files })
  end)

  it("of a terabyte with nothing in it cost nothing", function()
    local _, err = run(backend, "execute() { truncate -s 1T big; echo 1; }",
      { outputs = { "big" }, limits = { file_bytes = math.huge } }, "bash")
    assert.equal("output_files_limit", err.kind)
  end)

  it("come with a failure of the stage's own", function()
    local _, err, info = run(backend, [[
def execute(n):
    open("chart.png", "w").write("chart")
    raise ValueError("after it")
]], { outputs = { "chart.png", "absent.png" } })
    assert.equal("stage_failed", err.kind)
    assert.same({ "chart.png" }, names_of(info))
    _, err, info = run(backend, "execute() { echo x >left; kill -9 $$; }", { outputs = { "left" } },
      "bash")
    assert.equal("stage_failed", err.kind)
    assert.same({ "left" }, names_of(info))
  end)

  it("do not come after a deadline or a limit, and the hint says so", function()
    local _, err, info = run(backend, "execute() { echo x >left; sleep 60; }",
      { outputs = { "left" }, timeout_secs = 2 }, "bash")
    assert.equal("timed_out", err.kind)
    assert.matches("not collected after a deadline", err.hint, 1, true)
    assert.same({}, info.outputs)
    _, err, info = run(backend, "execute() { echo x >left; printf '%9999d' 1; }",
      { outputs = { "left" }, max_output_bytes = 100 }, "bash")
    assert.equal("output_limit", err.kind)
    assert.matches("not collected after a limit", err.hint, 1, true)
    assert.same({}, info.outputs)
  end)

  it("that grow while they are copied, by another's hand, meet the limit", function()
    local executor = assert(noether.executor{ isolation = backend })
    local work, dir = helper.open_to_stages(helper.tmpdir()), helper.tmpdir()
    local task = assert(executor:start({
      language = "bash", code = "execute() { truncate -s 30M big; echo 1; }",
      effects = { "Process" },
    }, nil, {
      outputs = { "big" }, output_dir = dir, work_dir = work, timeout_secs = 60,
      limits = { output_file_bytes = 30 * 2 ^ 20 },
    }))
    local grown
    while not task:step() do
      if task:timeout() == 0 and not grown and sys.stat(work .. "/big") then
        grown = true
        helper.shell(("truncate -s 40M %s/big"):format(work))
      end
      sys.poll({ task:pollfd() }, task:timeout(), {})
    end
    local _, err, info = task:wait()
    assert.equal("output_files_limit", err.kind, tostring(err))
    assert.same({}, info.outputs)
    assert.same({}, helper.list(dir))
    executor:close()
  end)

  it("are read when all that the stage started is gone", function()
    local _, err, info = run(backend, [[
execute() {
  setsid bash -c 'while :; do printf 0123456789 >>left; printf x >"new-$RANDOM"; done' \
    </dev/null >/dev/null 2>&1 &
  until [ -s left ]; do :; done
  echo 1
}
]], { outputs = { "left" } }, "bash")
    assert.is_nil(err)
    assert.equal(info.outputs[1].bytes, #info.outputs[1].content)
    assert.same({ 0, "" }, { info.outputs[1].bytes % 10,
      (info.outputs[1].content:gsub("0123456789", "")) })
  end)
end)

helper.over({ backends = BACKENDS.backends }, "outputs of a stage that left very many under %s",
  function(backend)
    it("are looked for among so many names and no more", function()
      local _, err, info = run(backend, [[
import os
def execute(n):
    for i in range(66000):
        os.close(os.open("f%d" % i, os.O_CREAT | os.O_WRONLY))
]], { outputs = { "*.png" }, limits = { private_files = 200000 } })
      assert.same({ "output_files_limit", 65536 }, { err.kind, err.limit })
      assert.same({}, info.outputs)
    end)
  end)

helper.over({ backends = BACKENDS.backends }, "a directory for outputs under %s", function(backend)
  local dir

  before_each(function() dir = sys.realpath(helper.tmpdir()) end)

  local WRITE = "execute() { mkdir -p sub; printf new >a.txt; printf deep >sub/b.txt; echo 1; }"

  local function into(target, opts)
    local given = { outputs = { "a.txt", "sub/*.txt" }, output_dir = target }
    for name, value in pairs(opts or {}) do given[name] = value end
    return run(backend, WRITE, given, "bash")
  end

  it("gets them, for its user alone", function()
    local out, err, info = into(dir)
    assert.is_nil(err)
    assert.equal(1, out)
    assert.same({
      { name = "a.txt", bytes = 3, type = "text/plain", path = dir .. "/a.txt" },
      { name = "sub/b.txt", bytes = 4, type = "text/plain", path = dir .. "/sub/b.txt" },
    }, info.outputs)
    assert.equal("new", helper.read(dir .. "/a.txt"))
    assert.equal("deep", helper.read(dir .. "/sub/b.txt"))
    local stat = sys.stat(dir .. "/sub/b.txt")
    assert.same({ tonumber("600", 8), sys.geteuid() }, { stat.mode, stat.uid })
    assert.same({ "a.txt", "sub" }, helper.list(dir))
  end)

  it("keeps what it has, unless that may be replaced", function()
    helper.write(dir .. "/a.txt", "old")
    local _, err, info = into(dir)
    assert.same({ "input_invalid", "EEXIST" }, { err.kind, err.errno })
    assert.matches("output_overwrite", err.hint)
    assert.same({}, info.outputs)
    assert.equal("old", helper.read(dir .. "/a.txt"))
    assert.same({ "a.txt" }, helper.list(dir))
    _, err = into(dir, { output_overwrite = true })
    assert.is_nil(err)
    assert.equal("new", helper.read(dir .. "/a.txt"))
  end)

  it("is never left by a link that is in it", function()
    local other = sys.realpath(helper.tmpdir())
    helper.write(other .. "/a.txt", "theirs")
    helper.shell(("ln -s %s/a.txt %s/a.txt && ln -s %s %s/sub"):format(other, dir, other, dir))
    local _, err = into(dir)
    assert.same({ "input_invalid", "EEXIST" }, { err.kind, err.errno })
    _, err = into(dir, { output_overwrite = true })
    assert.equal("spawn_failed", err.kind)
    assert.matches("sub/b.txt", err.message, 1, true)
    assert.same({ "a.txt" }, helper.list(other))
    assert.equal("theirs", helper.read(other .. "/a.txt"))
    assert.equal("new", helper.read(dir .. "/a.txt"))
    assert.is_nil(sys.readlink(dir .. "/a.txt"))
  end)

  it("is refused unrun where it is none of this user's to write to", function()
    helper.write(dir .. "/file", "")
    helper.shell(("mkdir %s/real && ln -s real %s/link"):format(dir, dir))
    for _, path in ipairs{ dir .. "/gone", dir .. "/file", dir .. "/link", dir .. "/link/",
      not helper.is_root() and "/etc" or nil } do
      local _, err, info = into(path)
      assert.equal("input_invalid", err.kind)
      assert.matches("^output_dir: ", err.message)
      assert.is_nil(info.result)
    end
    assert.same({}, helper.list(dir .. "/real"))
  end)

  if helper.is_admin() then
    it("gets nothing half-written where it is full", function()
      helper.shell(("mount -t tmpfs -o size=256k none %s"):format(dir))
      local _, err, info = run(backend, [[
execute() { printf 1 >a.txt; head -c 1000000 /dev/zero >b.txt; echo 1; }
]], { outputs = { "*.txt" }, output_dir = dir }, "bash")
      local left = helper.list(dir)
      helper.shell("umount " .. dir)
      assert.same({ "spawn_failed", "ENOSPC" }, { err.kind, err.errno })
      assert.same({ "a.txt" }, names_of(info))
      assert.same({ "a.txt" }, left)
    end)
  end
end)

describe("outputs", function()
  if helper.is_admin() then
    it("are no devices", function()
      local _, err, info = run("none", "execute() { mknod zero.txt c 1 5; : >x.txt; echo 1; }",
        { outputs = { "*.txt" } }, "bash")
      assert.is_nil(err, tostring(err))
      assert.same({ "x.txt" }, names_of(info))
      assert.is_true(warned(info, "'zero.txt' was left out: it is no"))
    end)
  end

  it("are collected a slice a step", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local dir = helper.tmpdir()
    local task = assert(executor:start({
      language = "bash", code = "execute() { truncate -s 60M big; echo 1; }",
      effects = { "Process" },
    }, nil, { outputs = { "big" }, output_dir = dir, timeout_secs = 60 }))
    local steps, all = 0, 0
    while not task:step() do
      all = all + 1
      if task:timeout() == 0 then steps = steps + 1 end
      sys.poll({ task:pollfd() }, task:timeout(), {})
    end
    assert.is_nil(select(2, task:wait()))
    assert.is_true(steps >= 8)
    assert.is_true(all < 100) -- it is not woken for nothing
    assert.equal(60 * 2 ^ 20, sys.stat(dir .. "/big").size)
    executor:close()
  end)

  it("are not collected by a task that is cancelled", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local dir = helper.tmpdir()
    local task = assert(executor:start({
      language = "bash", code = "execute() { echo >left; sleep 60; }", effects = { "Process" },
    }, nil, { outputs = { "left" }, output_dir = dir }))
    task:wait(0.2)
    task:cancel()
    local _, err = task:wait()
    assert.equal("cancelled", err.kind)
    assert.same({}, helper.list(dir))
    executor:close()
  end)

  it("are refused unrun for their names", function()
    for _, name in ipairs{ "", "/etc/passwd", "../x", "a/../b", "a\nb", "x/**", "**", "given",
      ("x"):rep(300) } do
      local _, err, info = run("none", "execute() { echo 1; }",
        { outputs = { name }, files = { given = "" } }, "bash")
      assert.equal("input_invalid", err.kind)
      assert.is_nil(info.result)
    end
  end)

  it("are misuse of options that go with none", function()
    for _, opts in ipairs{ { output_dir = "/tmp" }, { output_overwrite = true }, { outputs = "x" },
      { outputs = { 1 } } } do
      assert.has_error(function() run("none", "", opts) end)
    end
  end)

  it("take no longer to be found, however many stars a pattern has", function()
    local began = sys.clock()
    local _, err, info = run("none", [[
import os
def execute(given):
    open("a" * 250, "w").close()
    open("xaybz.md", "w").close()
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
]], { outputs = { ("*a"):rep(30) .. "*b", "**/**/**/**/**/x*", "x*y*z.md", "*md*md",
      "x*z.md.md*" } })
    assert.is_nil(err)
    assert.same({ "xaybz.md" }, names_of(info))
    assert.is_true(sys.clock() - began < 10)
  end)

  it("go to no directory by a link that a stage has put there", function()
    local dir = helper.tmpdir()
    sys.mkdir(dir .. "/w")
    sys.mkdir(dir .. "/real")
    sys.mkdir(dir .. "/real/sub")
    local executor = assert(noether.executor{ isolation = "none" })
    local stage = { language = "bash", effects = { "Process", { FsWrite = dir .. "/w" } },
      code = ("execute() { ln -s '%s/real' '%s/w/to'; echo 1; }"):format(dir, dir) }
    assert.equal(1, (noether.check(executor:execute(stage))))
    local _, err = executor:execute({ language = "bash", effects = {},
      code = "execute() { echo x >out; echo 1; }" }, nil,
      { outputs = { "out" }, output_dir = dir .. "/w/to/sub" })
    assert.equal("input_invalid", err.kind)
    assert.same({}, helper.list(dir .. "/real/sub"))
    os.execute("ln -s real " .. helper.quote(dir .. "/link"))
    _, err = executor:execute({ language = "bash", effects = {},
      code = "execute() { echo x >out; echo 1; }" }, nil,
      { outputs = { "out" }, output_dir = dir .. "/link/." })
    assert.equal("input_invalid", err.kind)
    executor:close()
  end)

  it("go to no directory that a stage swaps for a link when it has been judged", function()
    local dir = sys.realpath(helper.tmpdir())
    helper.shell(("cd %s && mkdir -p w/to/sub real/sub"):format(dir))
    local executor = assert(noether.executor{ isolation = "none" })
    local stage = { language = "bash", effects = { "Process", { FsWrite = dir .. "/w" } },
      code = "execute() { echo x >out; echo 1; }" }
    local judge = resolve.resolve
    resolve.resolve = function(path, ...)
      local real, message, errno = judge(path, ...)
      if path == dir .. "/w/to/sub" then
        helper.shell(("cd %s/w && mv to was && ln -s ../real to"):format(dir))
      end
      return real, message, errno
    end
    local ok, _, err, info = pcall(executor.execute, executor, stage, nil,
      { outputs = { "out" }, output_dir = dir .. "/w/to/sub", timeout_secs = 60 })
    resolve.resolve = judge
    assert.is_true(ok)
    assert.same({ "input_invalid", "ELOOP" }, { err.kind, err.errno })
    assert.is_nil(info.result)
    assert.same({}, helper.list(dir .. "/real/sub"))
    executor:close()
  end)

  it("keep an answer from being kept", function()
    local dir = helper.tmpdir()
    local cache = assert(noether.cache(assert(noether.executor{ isolation = "none" })))
    local stage = { language = "bash", code = "execute() { echo x >left; echo 1; }",
      effects = { "Pure" } }
    for _ = 1, 2 do
      local _, err, info = cache:execute(stage, nil, { outputs = { "left" }, timeout_secs = 60 })
      assert.is_nil(err)
      assert.same({ "left" }, names_of(info))
    end
    assert.same({}, helper.list(dir))
    cache.inner:close()
    cache:close()
  end)
end)
