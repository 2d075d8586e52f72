-- SPDX-License-Identifier: MIT
--- Standard streams that are not text: files, descriptors, functions, listeners.
local command = require "noether.command"
local helper = require "spec.support.helper"
local noether = require "noether"
local support = require "spec.support.posix"

local function sh(text, ...)
  return { "/bin/sh", "-c", text, ... }
end

local function with(opts)
  local all = { isolation = "none", timeout_secs = 20 }
  for name, value in pairs(opts or {}) do all[name] = value end
  return all
end

local function run(argv, opts) return assert(command.run(argv, with(opts))) end
local function spawn(argv, opts) return assert(command.spawn(argv, with(opts))) end

local function raises(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(text, 1, true), tostring(message))
end

-- Both ends of a pair, closed at the end of the block.
local function pair(make)
  local a, b = make()
  local both = { a, b }
  function both.close(which)
    if both[which] then support.close(both[which]) end
    both[which] = nil
  end
  return setmetatable(both, { __close = function() both.close(1) both.close(2) end })
end

-- A function that returns the pieces one after the other, then nil.
local function producer(pieces)
  local index = 0
  return function()
    index = index + 1
    return pieces[index]
  end
end

-- Reads until `text` is complete or five seconds are over.
local function read_all(fd, len)
  local parts, have = {}, 0
  helper.poll(function()
    local piece = support.read(fd, 65536)
    parts[#parts + 1] = piece
    have = have + #(piece or "")
    return have >= len or piece == ""
  end)
  return table.concat(parts)
end

-- Steps a process as an event loop does: only when its descriptor or its clock says so.
local function loop(proc, also)
  local core = require "noether.core"
  local deadline = noether.clock() + 10
  while not proc:step() do
    assert.is_true(noether.clock() < deadline, "the loop does not end")
    local timeout = math.min(proc:timeout() or 1, 1)
    core.poll({ proc:pollfd() }, also and 0.005 or timeout, {})
    if also then also() end
  end
  return proc:result()
end

describe("on_stdout and on_stderr", function()
  it("get what comes while the program runs, and all of it", function()
    local dir = helper.tmpdir()
    local seen = {}
    local proc <close> = spawn(sh("echo one >&2; while ! [ -e " .. dir .. "/go ]; do sleep 0.01; "
      .. "done; echo two; printf three >&2"), {
      on_stderr = function(piece)
        seen[#seen + 1] = piece
        helper.write(dir .. "/go", "")
      end,
      on_stdout = function(piece) seen[#seen + 1] = "out " .. piece end,
    })
    local result = assert(proc:wait())
    assert.equal("one\n", seen[1])
    assert.same({ "one\n", "out two\n", "three" }, { seen[1], #seen == 3 and seen[2]:find("out")
      and seen[2] or seen[3], #seen == 3 and seen[2]:find("out") and seen[3] or seen[2] })
    assert.equal("two\n", result.stdout)
    assert.equal("one\nthree", result.stderr)
  end)

  it("are called from an event loop's steps", function()
    local bytes = 0
    local proc <close> = spawn(sh("head -c 3000000 /dev/zero; exit 3"), {
      on_stdout = function(piece) bytes = bytes + #piece end,
    })
    local result = assert(loop(proc))
    assert.equal(3, result.exit_code)
    assert.equal(3000000, bytes)
    assert.equal(3000000, #result.stdout)
  end)

  it("get the middle of a long stderr, too, which the result leaves out", function()
    local bytes = 0
    local result = run(sh("head -c 1000000 /dev/zero >&2"), {
      max_stderr_bytes = 1000, on_stderr = function(piece) bytes = bytes + #piece end,
    })
    assert.equal(1000000, bytes)
    assert.equal(1000000, result.stderr_bytes)
    assert.is_true(result.stderr_truncated and #result.stderr < 1100)
  end)

  it("raise to whoever waits or steps, each time, and the run is ended", function()
    for _, name in ipairs{ "on_stdout", "on_stderr" } do
      local proc = spawn(sh("echo x; echo y >&2; sleep 60"), {
        [name] = function() error({ "mine" }) end,
      })
      for _, method in ipairs{ "wait", "step", "wait" } do
        local ok, message = pcall(method == "step" and loop or proc.wait, proc)
        assert.is_false(ok)
        assert.same({ "mine" }, message)
      end
      proc:close()
    end
  end)

  it("may cancel and close the process, and may not step it", function()
    local proc
    proc = spawn(sh("echo x; sleep 60"), { on_stdout = function() proc:cancel() end })
    assert.equal("cancelled", proc:wait().reason)
    proc:close()
    proc = spawn(sh("echo x; sleep 60"), { on_stdout = function() proc:close() end })
    local _, err = proc:wait()
    assert.equal("closed", err.kind)
    proc = spawn(sh("echo x; sleep 60"), { on_stdout = function() proc:step() end })
    raises("own callback", proc.wait, proc)
  end)

  it("get nothing of what a wrapper says before the program runs", function()
    local called = false
    local result, err = command.run({ "/nonexistent/program" }, with{
      isolation = "bwrap", on_stderr = function() called = true end,
    })
    assert.is_nil(result)
    assert.equal("spawn_failed", err.kind)
    assert.is_false(called)
  end)
end)

describe("stdin", function()
  it("asks a function that gives nothing more and more seldom", function()
    local calls = 0
    local began = os.clock()
    local result = run({ "/bin/sleep", "60" }, {
      timeout_secs = 1, stdin = function() calls = calls + 1 return "" end,
    })
    assert.equal("timeout", result.reason)
    assert.is_true(calls > 16 and calls < 5000, calls)
    assert.is_true(os.clock() - began < 0.5)
    -- What it gives in the end arrives, by each way to wait.
    local function late()
      local left = 100
      return function()
        left = left - 1
        return left > 0 and "" or left == 0 and "late" or nil
      end
    end
    assert.equal("late", run({ "/bin/cat" }, { stdin = late() }).stdout)
    local proc <close> = spawn({ "/bin/cat" }, { stdin = late() })
    loop(proc)
    assert.equal("late", proc:result().stdout)
    local set <close> = assert(noether.set())
    local member <close> = set:add(spawn({ "/bin/cat" }, { stdin = late() }))
    assert.equal(member, set:next(20))
    assert.equal("late", member:result().stdout)
  end)

  it("may be a file", function()
    local path = helper.write(helper.tmpdir() .. "/in", ("0123456789"):rep(50000))
    for _, isolation in ipairs{ "none", "native" } do
      local result = run({ "/bin/cat" }, { stdin = { path = path }, isolation = isolation })
      assert.equal(500000, #result.stdout)
    end
    assert.equal("", run({ "/bin/cat" }, { stdin = { path = "/dev/null" } }).stdout)
  end)

  it("may be a descriptor, of which no flag is changed and which stays open", function()
    for _, make in ipairs{ support.pipe, support.socketpair } do
      local ends <close> = pair(make)
      local before = support.flags(ends[1])
      local proc <close> = spawn({ "/bin/cat" }, { stdin = { fd = ends[1] } })
      assert.is_false(proc:step())
      support.write(ends[2], "first ")
      assert.is_false(proc:step())
      support.write(ends[2], "second")
      ends.close(2)
      local result = assert(loop(proc))
      assert.equal("first second", result.stdout)
      assert.equal(before, support.flags(ends[1]))
    end
  end)

  it("takes the rest of a file that was read in part", function()
    local fd = support.open(helper.write(helper.tmpdir() .. "/in", "skip,rest"))
    assert.equal("skip,", support.read(fd, 5))
    assert.equal("rest", run({ "/bin/cat" }, { stdin = { fd = fd } }).stdout)
    support.close(fd)
  end)

  it("may be a function, which is asked when there is room", function()
    local asked = 0
    local proc <close> = spawn(sh("sleep 0.1; cat"), {
      stdin = function()
        asked = asked + 1
        return asked <= 40 and ("x"):rep(10000) or nil
      end,
    })
    proc:step()
    assert.is_true(asked < 20)
    assert.equal(400000, #assert(proc:wait()).stdout)
    assert.equal(41, asked)
  end)

  it("may be a function under an event loop, with empty and large pieces", function()
    local proc <close> = spawn({ "/bin/cat" }, {
      stdin = producer{ "", "a", "", ("b"):rep(300000), "" },
    })
    assert.equal("a" .. ("b"):rep(300000), assert(loop(proc)).stdout)
  end)

  it("raises what the function raises, and ends the run", function()
    local proc <close> = spawn(sh("cat; sleep 60"), { stdin = function() error("no more", 0) end })
    raises("no more", proc.wait, proc)
    raises("no more", proc.step, proc)
    raises("returned a number", command.run, { "/bin/cat" }, with{
      stdin = function() return 1 end,
    })
  end)

  it("may be closed by a program that does not want it all", function()
    local endless = function() return ("x"):rep(4096) end
    for _, stdin in ipairs{ endless, { path = "/dev/zero" } } do
      assert.equal(3, run(sh("head -c 5 >&2; exec <&-; exit 3"), { stdin = stdin }).exit_code)
    end
  end)

  it("keeps the deadline though it never ends", function()
    for _, stdin in ipairs{ function() return "x" end, { path = "/dev/zero" } } do
      local result = run(sh("cat >/dev/null"), { stdin = stdin, timeout_secs = 0.1 })
      assert.equal("timeout", result.reason)
    end
  end)

  it("that cannot be opened is an error, with a hint that is about it", function()
    local dir = helper.tmpdir()
    helper.shell("mkfifo " .. dir .. "/fifo")
    local cases = {
      { { path = dir .. "/none" }, "ENOENT" }, { { path = dir }, "EISDIR" },
      { { path = dir .. "/fifo" }, "ESPIPE" }, { { fd = 999 }, "EBADF" },
      { { fd = 999, share = true }, "EBADF" },
    }
    for _, case in ipairs(cases) do
      local result, err = command.run({ "/bin/cat" }, with{ stdin = case[1] })
      assert.is_nil(result)
      assert.equal("spawn_failed", err.kind)
      assert.equal(case[2], err.errno)
      assert.truthy(err.message:find("option 'stdin': ", 1, true), err.message)
      if case[1].path then assert.truthy(err.message:find(case[1].path, 1, true)) end
      assert.falsy((err.hint or ""):find("directory exist", 1, true))
      assert.falsy((err.hint or ""):find("program, or the interpreter", 1, true))
    end
  end)
end)

describe("a dialogue", function()
  -- Until what came holds the text.
  local function hear(proc, heard, text)
    local deadline = noether.clock() + 20
    while not heard.text:find(text, 1, true) do
      assert.is_true(noether.clock() < deadline, ("'%s' lacks '%s'"):format(heard.text, text))
      proc:step(1)
    end
  end

  local function listener()
    local heard = { text = "" }
    return heard, function(piece) heard.text = heard.text .. piece end
  end

  local ECHO = "while read -r line; do echo \"<$line>\"; done; echo end"

  local ways = { { isolation = "none" }, { isolation = "none", supervise = false },
    { isolation = "native" }, { isolation = "bwrap" }, { isolation = "landlock" } }
  if not helper.has "landlock" then table.remove(ways) end
  for _, way in ipairs(ways) do
    local name = way.isolation .. (way.supervise == false and ", bare" or "")
    it("goes on as long as the caller likes (" .. name .. ")", function()
      local heard, hears = listener()
      local opts = with(way)
      opts.stdin, opts.on_stdout = true, hears
      local proc <close> = assert(command.spawn(sh(ECHO), opts))
      for _, word in ipairs{ "one", "two", "three" } do
        assert.equal("number", type(proc:write(word)))
        assert.equal("number", type(proc:write("\n")))
        hear(proc, heard, "<" .. word .. ">\n")
      end
      assert.is_true(proc:close_stdin())
      assert.is_true(proc:close_stdin())
      local result = assert(proc:wait(20))
      assert.equal("<one>\n<two>\n<three>\nend\n", result.stdout)
      assert.is_true(result.ok)
    end)
  end

  it("takes any amount, keeps what the program does not take yet, and says how much", function()
    local part, kept = ("x"):rep(100000), 0
    local slow <close> = spawn(sh("sleep 0.3; cat"), { stdin = true })
    for _ = 1, 30 do
      kept = assert(slow:write(part))
    end
    assert.is_true(kept > 2000000 and kept < 3000000, tostring(kept))
    slow:close_stdin()
    assert.equal(3000000, #assert(slow:wait(20)).stdout)
  end)

  it("leaves the host in peace while nobody speaks", function()
    local heard, hears = listener()
    local proc <close> = spawn(sh(ECHO), { stdin = true, on_stdout = hears })
    proc:write("one\n")
    hear(proc, heard, "<one>\n")
    local woken, before = 0, noether.clock()
    while noether.clock() < before + 0.3 do
      assert.is_false(proc:step(0.3))
      woken = woken + 1
    end
    assert.is_true(woken <= 10, woken .. " times")
    raises("expected a number of seconds", proc.step, proc, "soon")
    proc:write("two\n")
    hear(proc, heard, "<two>\n")
  end)

  it("works under an event loop, and in a set with others", function()
    local heard, hears = listener()
    local proc <close> = spawn(sh(ECHO), { stdin = true, on_stdout = hears })
    local said = 0
    local result = assert(loop(proc, function()
      if said < 3 and select(2, heard.text:gsub("\n", "")) == said then
        said = said + 1
        proc:write("line " .. said .. "\n")
      elseif said == 3 and heard.text:find("<line 3>\n", 1, true) then
        proc:close_stdin()
      end
    end))
    assert.equal("<line 1>\n<line 2>\n<line 3>\nend\n", result.stdout)

    local set = noether.set()
    local other <close> = spawn(sh("sleep 60"))
    local talker <close> = spawn(sh(ECHO), { stdin = true })
    set:add(other)
    set:add(talker)
    assert.is_nil(set:next(0.05))
    talker:write("late\n")
    talker:close_stdin()
    assert.equal(talker, set:next(20))
    assert.equal("<late>\nend\n", talker:result().stdout)
    set:close()
  end)

  it("may be answered from a listener", function()
    local proc
    proc = spawn(sh("echo ready; read -r a; echo \"got $a\"; read -r b; echo \"got $b\"; cat"), {
      stdin = true,
      on_stdout = function(piece)
        if piece:find("ready") then proc:write("first\n") end
        if piece:find("got first") then
          proc:write("second\n")
          proc:close_stdin()
        end
      end,
    })
    assert.equal("ready\ngot first\ngot second\n", assert(proc:wait(20)).stdout)
    proc:close()
  end)

  it("keeps its deadline, and can be cancelled and closed", function()
    local proc <close> = spawn(sh("cat"), { stdin = true, timeout_secs = 0.2 })
    assert.equal("timeout", assert(proc:wait(20)).reason)
    local other <close> = spawn(sh("cat"), { stdin = true })
    other:write("x")
    other:cancel()
    assert.equal("cancelled", assert(other:wait(20)).reason)
    local third <close> = spawn(sh("cat"), { stdin = true })
    third:close()
    local ok, err = third:write("x")
    assert.same({ nil, "closed" }, { ok, err.kind })
    assert.is_true(third:close_stdin())
  end)

  it("ends with the program, or when the caller ended it", function()
    local proc <close> = spawn(sh("exit 3"), { stdin = true })
    assert.equal(3, assert(proc:wait(20)).exit_code)
    local ok, err = proc:write("x")
    assert.same({ nil, "closed" }, { ok, err.kind })
    local other <close> = spawn(sh("cat"), { stdin = true })
    other:close_stdin()
    ok, err = other:write("x")
    assert.same({ nil, "closed" }, { ok, err.kind })
    assert.truthy(tostring(err):find("input was closed", 1, true))
    assert.is_true(assert(other:wait(20)).ok)
  end)

  it("has a program that wants no input for no failure", function()
    local proc <close> = spawn(sh("exec <&-; sleep 0.2; exit 4"), { stdin = true })
    for _ = 1, 50 do proc:write(("x"):rep(10000)) end
    assert.equal(4, assert(proc:wait(20)).exit_code)
  end)

  it("raises where it was not opened, and in run", function()
    local proc <close> = spawn(sh("cat"), { stdin = "text" })
    raises("process:write: the process was not started with stdin = true", proc.write, proc, "x")
    raises("stdin = true", proc.close_stdin, proc)
    assert.is_true(proc:feed())
    local other <close> = spawn(sh("cat"), { stdin = true })
    raises("process:write: text: expected a string, got 5", other.write, other, 5)
    raises("is for spawn", command.run, { "/bin/cat" }, with{ stdin = true })
    raises("nobody can call feed", command.run, { "/bin/cat" }, with{
      stdin = function() return false end,
    })
  end)

  it("may come from a function, which is not asked again before feed is called", function()
    local asked, lines, done = 0, {}, false
    local heard, hears = listener()
    local proc <close> = spawn(sh(ECHO), {
      stdin = function()
        asked = asked + 1
        if lines[1] then return table.remove(lines, 1) end
        if done then return nil end
        return false
      end,
      on_stdout = hears,
    })
    local until_then = noether.clock() + 0.3
    while noether.clock() < until_then do proc:step(0.3) end
    assert.equal(1, asked)
    lines = { "one\n", "two\n" }
    assert.is_true(proc:feed())
    hear(proc, heard, "<two>\n")
    assert.equal(4, asked)
    done = true
    proc:feed()
    assert.equal("<one>\n<two>\nend\n", assert(proc:wait(20)).stdout)
    assert.equal(5, asked)
  end)
end)

describe("stdout and stderr", function()
  it("may be files, made for the owner alone, emptied before, and one for both", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/old", ("old "):rep(1000))
    local result = run(sh("echo out; echo err >&2"), {
      stdout = { path = dir .. "/out" }, stderr = { path = dir .. "/old" },
    })
    assert.equal("out\n", helper.read(dir .. "/out"))
    assert.equal("err\n", helper.read(dir .. "/old"))
    assert.equal("600\n", (helper.shell("stat -c %a " .. dir .. "/out")))
    assert.equal("", result.stdout)
    assert.equal(4, result.stdout_bytes)
    assert.equal("err\n", result.stderr)
    local both = { path = dir .. "/both" }
    run(sh("echo a; echo b >&2"), { stdout = both, stderr = both })
    assert.equal(4, #helper.read(dir .. "/both"))
  end)

  it("have the same limits", function()
    local dir = helper.tmpdir()
    local to = { path = dir .. "/out" }
    local result = run(sh("head -c 100000 /dev/zero; sleep 60"), {
      stdout = to, max_output_bytes = 99999,
    })
    assert.equal("output_limit", result.reason)
    assert.is_true(result.stdout_truncated)
    assert.equal(99999, #helper.read(to.path))
    result = run(sh("head -c 100000 /dev/zero"), { stdout = to, max_output_bytes = 100000 })
    assert.is_true(result.ok)
    assert.equal(100000, #helper.read(to.path))
    result = run(sh("head -c 3000 /dev/zero >&2; echo end >&2"), {
      stderr = to, max_stderr_bytes = 1000,
    })
    assert.is_true(result.ok and result.stderr_truncated)
    assert.equal(1000, #helper.read(to.path))
    assert.truthy(result.stderr:find("end\n$"))
  end)

  it("may be descriptors, of which no flag is changed and which stay open", function()
    for _, make in ipairs{ support.pipe, support.socketpair, support.terminal } do
      local ends <close> = pair(make)
      local into, out = ends[2], ends[1]
      local before = support.flags(into)
      local proc <close> = spawn(sh("head -c 500000 /dev/zero | tr '\\0' x; echo last"), {
        stdout = { fd = into },
      })
      local parts = {}
      local result = assert(loop(proc, function()
        parts[#parts + 1] = support.read(out, 65536)
      end))
      parts[#parts + 1] = read_all(out, 500005 - #table.concat(parts))
      assert.is_true(result.ok)
      assert.equal(500005, result.stdout_bytes)
      assert.equal(("x"):rep(500000) .. "last\n", table.concat(parts))
      assert.equal(before, support.flags(into))
    end
  end)

  it("slow the program down where nobody reads, and end at the deadline", function()
    local ends <close> = pair(support.pipe)
    local result = run(sh("head -c 300000 /dev/zero; exec sleep 60"), {
      stdout = { fd = ends[2] }, timeout_secs = 0.2,
    })
    assert.equal("timeout", result.reason)
    assert.is_true(result.stdout_truncated)
    assert.is_true(result.stdout_bytes < 300000)
  end)

  it("are waited for when the program has ended, until the deadline", function()
    local ends <close> = pair(support.pipe)
    local proc <close> = spawn(sh("head -c 100000 /dev/zero"), { stdout = { fd = ends[2] } })
    local _, err = proc:wait(0.1)
    assert.equal("pending", err.kind)
    local result = assert(loop(proc, function() support.read(ends[1], 65536) end))
    assert.is_true(result.ok)
    local full <close> = pair(support.pipe)
    local late = run(sh("head -c 70000 /dev/zero"), {
      stdout = { fd = full[2] }, timeout_secs = 1,
    })
    assert.same({ "stream_failed", "stdout", "ETIMEDOUT", false },
      { late.reason, late.failed_stream, late.errno, late.ok })
    proc:close()
    local left <close> = spawn(sh("head -c 70000 /dev/zero"), { stdout = { fd = full[2] } })
    left:wait(0.1)
    left:cancel()
    assert.is_true(assert(left:wait()).stdout_truncated)
  end)

  it("that fail end the run, whose reason is stream_failed", function()
    for _, name in ipairs{ "stdout", "stderr" } do
      local result = run(sh("echo x; echo x >&2; sleep 60"), { [name] = { path = "/dev/full" } })
      assert.equal("stream_failed", result.reason)
      assert.equal(name, result.failed_stream)
      assert.equal("ENOSPC", result.errno)
      assert.is_false(result.ok)
    end
    local dir = helper.tmpdir()
    local result, err = command.run({ "/bin/true" }, with{ stdout = { path = dir } })
    assert.is_nil(result)
    assert.equal("EISDIR", err.errno)
    assert.truthy(err.message:find("'stdout': " .. dir, 1, true), err.message)
  end)

  it("that lose their reader end the run without a SIGPIPE for the host", function()
    for _, make in ipairs{ support.pipe, support.socketpair } do
      local ends <close> = pair(make)
      local proc <close> = spawn(sh("while echo x; do :; done"), { stdout = { fd = ends[2] } })
      assert.is_true(helper.poll(function()
        proc:step()
        return support.read(ends[1], 10)
      end) ~= nil)
      ends.close(1)
      local result = assert(proc:wait(10))
      assert.equal("stream_failed", result.reason)
      assert.equal("EPIPE", result.errno)
    end
  end)

  it("take part with a listener", function()
    local seen = ""
    local path = helper.tmpdir() .. "/out"
    local result = run(sh("echo both"), {
      stdout = { path = path }, on_stdout = function(piece) seen = seen .. piece end,
    })
    assert.equal("both\n", seen)
    assert.equal("both\n", helper.read(path))
    assert.equal("", result.stdout)
  end)
end)

describe("a shared descriptor", function()
  it("is the program's own, whatever its number, in a sandbox too", function()
    for _, isolation in ipairs(helper.backends{ "none", "native", "bwrap", "landlock" }) do
      local ends <close> = pair(support.terminal)
      local terminal = { fd = ends[2], share = true }
      local result = run(sh("test -t 0 && test -t 1 && test -t 2 && echo yes; exit 4"), {
        stdin = terminal, stdout = terminal, stderr = terminal, isolation = isolation,
      })
      assert.equal(4, result.exit_code)
      assert.equal(0, result.stdout_bytes)
      assert.equal("yes\n", support.read(ends[1], 100), isolation)
    end
  end)

  it("is no directory: it would lead out of a sandbox", function()
    local directory = support.open("/", true)
    for _, isolation in ipairs(helper.backends{ "none", "native", "landlock" }) do
      local result, err = command.run({ "/usr/bin/true" }, with{
        stdin = { fd = directory, share = true }, isolation = isolation,
      })
      assert.is_nil(result)
      assert.equal("EISDIR", err.errno)
    end
    support.close(directory)
  end)

  it("gives a sandboxed program no way to type at the terminal", function()
    local ends <close> = pair(support.terminal)
    local terminal = { fd = ends[2], share = true }
    local result = run({ "/usr/bin/python3", "-c", "import fcntl, termios\n"
      .. "try: fcntl.ioctl(0, termios.TIOCSTI, b'x')\n"
      .. "except PermissionError: print('refused')" }, { stdin = terminal, isolation = "native" })
    assert.equal("refused\n", result.stdout)
  end)

  it("has no listener, and no path", function()
    for _, name in ipairs{ "stdout", "stderr" } do
      for _, fn in ipairs{ command.run, command.spawn } do
        raises("option 'on_" .. name .. "'", fn, { "/bin/true" }, with{
          [name] = { fd = 1, share = true }, ["on_" .. name] = print,
        })
      end
    end
  end)
end)

describe("streams that make no sense", function()
  it("raise, at the caller's line", function()
    local cases = {
      { stdin = 5 }, { stdin = {} }, { stdin = { path = "/a", fd = 1 } }, { stdout = "file" },
      { stdout = { path = "" } }, { stdout = { path = "/a", share = true } },
      { stdout = { fd = -1 } }, { stdout = { fd = 1.5 } }, { stdout = { fd = "1" } },
      { stderr = { fd = 2, shared = true } }, { stderr = print }, { on_stderr = 1 },
    }
    for _, opts in ipairs(cases) do
      raises("process_streams_spec.lua:", function() command.run({ "/bin/true" }, with(opts)) end)
    end
  end)
end)

describe("a stage's log", function()
  local function bash(body)
    return { language = "bash", effects = { "Process" }, code = "execute() {\n" .. body .. "\n}" }
  end

  it("comes while the stage runs, line by line, under wait, steps and map", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local function go(start)
      local dir = helper.tmpdir()
      local lines = {}
      local stage = bash(("echo one >&2; printf tw >&2; while ! [ -e %s/go ]; do sleep 0.01; done;"
        .. "printf 'o\\n\\nthree' >&2; echo 1"):format(dir))
      local output = start(stage, {
        timeout_secs = 20,
        on_log = function(line)
          lines[#lines + 1] = line
          helper.write(dir .. "/go", "")
        end,
      })
      assert.equal(1, output)
      assert.same({ "one", "two", "", "three" }, lines)
    end
    go(function(stage, opts) return noether.check(ex:execute(stage, 1, opts)) end)
    go(function(stage, opts) return noether.check(ex:map(stage, { 1 }, opts))[1].output end)
    go(function(stage, opts)
      local task <close> = assert(ex:start(stage, 1, opts))
      local deadline = noether.clock() + 10
      while not task:step() do
        require "noether.core".poll({ (assert(task:pollfd())) }, task:timeout(), {})
        assert.is_true(noether.clock() < deadline)
      end
      return (task:wait())
    end)
  end)

  it("may close or cancel the task that it comes from, and may not step it", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local task
    local function start(listener)
      task = assert(ex:start(bash("echo x >&2; sleep 60"), 1, { on_log = listener }))
      local _, err = task:wait()
      task:close()
      return err.kind
    end
    assert.equal("closed", start(function() task:close() end))
    assert.equal("cancelled", start(function() task:cancel() end))
    raises("own callback", start, function() task:step() end)
    raises("mine", start, function()
      task:close()
      error("mine")
    end)
  end)

  it("raises what the listener raises, each time, and the stage is gone", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local task <close> = assert(ex:start(bash("echo x >&2; sleep 60"), 1, {
      on_log = function() error("no listener") end,
    }))
    raises("no listener", task.wait, task)
    raises("no listener", task.step, task)
    assert.equal("done", task:state())
  end)

  it("has lines of at most 64 KiB", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local lengths = {}
    local stage = bash("head -c 140000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 1")
    noether.check(ex:execute(stage, 1, {
      on_log = function(line) lengths[#lengths + 1] = #line end,
    }))
    assert.same({ 65536, 65536, 140000 - 131072 }, lengths)
  end)
end)

describe("execute_json", function()
  local stage = { language = "bash", effects = {}, code = "execute() { cat; }" }

  it("takes its text from a file, or from a function piece by piece", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local path = helper.write(helper.tmpdir() .. "/in.json", '{"a": 1.0}\n')
    assert.equal('{"a": 1.0}', noether.check(ex:execute_json(stage, { path = path })))
    assert.equal('[1, 2]', noether.check(ex:execute_json(stage, producer{ "[1", "", ", 2]" })))
  end)

  it("checks it before anything runs", function()
    local ex <close> = assert(noether.executor{ isolation = "none" })
    local dir = helper.tmpdir()
    local cases = {
      { path = dir .. "/none" }, { path = dir }, { path = helper.write(dir .. "/bad", "{") },
      producer{ "[", "1" }, producer{ 1 }, producer{},
    }
    for _, text in ipairs(cases) do
      local output, err, info = ex:execute_json(stage, text)
      assert.is_nil(output)
      assert.equal("input_invalid", err.kind)
      assert.is_nil(info and info.result)
    end
    raises("mine", ex.execute_json, ex, stage, function() error("mine") end)
    raises("process_streams_spec.lua:", function() ex:execute_json(stage, { fd = 0 }) end)
  end)
end)
