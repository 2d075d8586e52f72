-- SPDX-License-Identifier: MIT
--- Stages in three languages, from end to end, with the interpreters of this machine.
local helper = require "spec.support.helper"
local noether = require "noether"
local sys = require "noether.sys"

local BACKENDS = { "none", "native", "bwrap", "landlock" }

local LANGUAGES = {
  python = {
    identity = "def execute(i): return i",
    prints = [[
import sys
print("at load")
def execute(i):
    print("in execute")
    sys.stdout.write("written\n")
    sys.stderr.write("to stderr\n")
    return 1]],
    raises = "def execute(i):\n    x = 1\n    raise ValueError('no good: ' + str(i))\n",
    type = "ValueError", line = 3,
    noisy = [[
def execute(i):
    for n in range(20000):
        print("line", n)
    raise KeyError("lost")
]], noisy_type = "KeyError", noisy_line = 4,
    syntax = "def execute(i):\n    return (\n", syntax_text = "SyntaxError",
    missing = "def exekute(i): return i",
    not_callable = "execute = 3",
    signal = "import os, signal\ndef execute(i): os.kill(os.getpid(), signal.SIGKILL)",
    flood = "def execute(i): return 'x' * 20_000_000",
    hang = "def execute(i):\n    while True: pass",
    silent = "import os\ndef execute(i): os._exit(0)",
    asynchronous = "import asyncio\nasync def execute(i):\n  await asyncio.sleep(0)\n  return i",
    nan = "def execute(i): return float('nan')",
    quits = "import sys\ndef execute(i): sys.exit(0)",
  },
  javascript = {
    identity = "function execute(i) { return i }",
    prints = [[
console.log("at load");
function execute(i) {
  console.log("in execute");
  process.stdout.write("written\n");
  console.error("to stderr");
  return 1;
}]],
    raises = "function execute(i) {\n  const x = 1;\n  throw new RangeError('no good: ' + i);\n}",
    type = "RangeError", line = 3,
    noisy = [[
function execute(i) {
  for (let n = 0; n < 20000; n++)
    console.log("line", n);
  throw new TypeError("lost");
}]], noisy_type = "TypeError", noisy_line = 4,
    syntax = "function execute(i) {\n  return (\n", syntax_text = "SyntaxError",
    missing = "function exekute(i) { return i }",
    not_callable = "const execute = 3",
    signal = "function execute(i) { process.kill(process.pid, 'SIGKILL'); for (;;); }",
    flood = "function execute(i) { return 'x'.repeat(20000000) }",
    hang = "function execute(i) { for (;;); }",
    silent = "function execute(i) { process.reallyExit(0) }",
    asynchronous = "export async function execute(i) { await null; return i }",
    nan = "function execute(i) { return undefined }",
    quits = "function execute(i) { process.exit(0) }",
  },
  bash = {
    identity = "execute() { cat; }",
    prints = [[
echo "at load"
execute() {
  echo "in execute" >&2
  echo "written" >&2
  echo "to stderr" >&2
  echo 1
}]],
    raises = "execute() {\n  x=1\n  false\n}", type = "ExitStatus", line = 3, message = "false",
    noisy = [[
execute() {
  for ((n = 0; n < 20000; n++)); do echo "line $n"; done
  return 9
}]], noisy_type = "ExitStatus", noisy_message = "9",
    syntax = "execute() {\n  if\n}", syntax_text = "syntax error",
    missing = "exekute() { :; }",
    not_callable = "execute=3",
    signal = "execute() { kill -KILL $$; }",
    flood = "execute() { while :; do echo 1234567890; done; }",
    hang = "execute() { while :; do :; done; }",
    silent = "execute() { :; }",
  },
}

local NAMES = { "python", "javascript", "bash" }

-- What holds for each backend in every run of the suite.
local ALWAYS = {
  "a stage that starts others gives its answer at once, and its daemons are gone",
  "a stage that starts others takes them with it at its deadline",
}
for _, language in ipairs(NAMES) do
  for _, name in ipairs{
    "gives back any value exactly", "reports info of this isolation",
    "that fails is told with type, message and line of the user's own code",
    "that dies by a signal is told with its name", "that floods its output is ended at the cap",
    "that hangs is ended at its deadline, and the caller has it back at once",
  } do
    ALWAYS[#ALWAYS + 1] = ("a %s stage %s"):format(language, name)
  end
end

local function contains(text, part)
  assert.truthy(text:find(part, 1, true), ("'%s' lacks '%s'"):format(text, part))
end

helper.over({
  backends = BACKENDS, starts = helper.STARTS, always = ALWAYS,
}, "under isolation '%s', begun by %s,", function(backend, start)
  helper.begin_by(start)

  for _, language in ipairs(NAMES) do
    local codes = LANGUAGES[language]

    describe(("a %s stage"):format(language), function()
      local ex
      setup(function()
        ex = assert(noether.executor{ isolation = backend, timeout_secs = 60 })
        -- What the first use of all makes (memfds, say) is not the first test's leak.
        noether.check(ex:execute({ language = "bash", code = "execute() { echo 1; }" }))
      end)
      teardown(function() ex:close() end)

      local function run(code, input, opts)
        local stage = { language = language, code = codes[code] }
        return ex:execute(stage, input, opts)
      end

      local function fails(kind, code, input, opts)
        local output, err, info = run(code, input, opts)
        assert.is_nil(output)
        assert.equal(kind, err and err.kind, tostring(err))
        return err, info
      end

      it("gives back any value exactly", function()
        local values = {
          0, -1, 2 ^ 53 - 1, 0.1, 1e300, "text", "", "caf\195\169 \240\159\152\128 \0 \1", true,
          { 1, { 2, { 3 } } }, { a = 1, b = { c = noether.null } }, noether.array{},
        }
        if language ~= "javascript" then
          values[#values + 1] = math.maxinteger
          values[#values + 1] = math.mininteger
        end
        for _, value in ipairs(values) do
          assert.same(value, (noether.check(run("identity", value))))
        end
        for _, text in ipairs{ "[]", "{}", "null", "false", '""' } do
          local stage = { language = language, code = codes.identity }
          assert.equal(text, (noether.check(ex:execute_json(stage, text))))
        end
      end)

      it("reports info of this isolation", function()
        local _, err, info = run("identity", 1)
        assert.is_nil(err)
        assert.equal(backend, info.isolation)
        assert.equal(helper.told_start(start, backend, language), info.start)
        assert.equal(language, info.runtime.language)
        local enforced = {}
        for _, word in ipairs(info.enforced) do
          enforced[word] = true
        end
        assert.is_true(enforced.tree_kill and enforced.host_death)
        local has_walls = backend == "native" or backend == "bwrap"
        assert.equal(has_walls or nil, enforced.net_ns)
        assert.equal(backend ~= "none" or nil, enforced.seccomp)
      end)

      it("may print: it is log, and never answer", function()
        local output, err, info = run("prints", 1)
        assert.is_nil(err)
        assert.equal(1, output)
        for _, text in ipairs{ "at load", "in execute", "written", "to stderr" } do
          contains(info.logs, text)
        end
      end)

      it("that fails is told with type, message and line of the user's own code", function()
        local err, info = fails("stage_failed", "raises", 42)
        contains(tostring(err), codes.type)
        contains(tostring(err), codes.message or "no good: 42")
        contains(tostring(err), "line " .. codes.line)
        assert.equal(1, err.result.exit_code)
        contains(info.logs, codes.message or "no good: 42")
      end)

      it("is told so after 20,000 lines of noise, too", function()
        local err = fails("stage_failed", "noisy", 1)
        contains(tostring(err), codes.noisy_type)
        contains(tostring(err), codes.noisy_message or "lost")
        if codes.noisy_line then contains(tostring(err), "line " .. codes.noisy_line) end
      end)

      it("with a syntax error is told where", function()
        local err, info = fails("stage_failed", "syntax", 1)
        contains(tostring(err) .. info.logs, codes.syntax_text)
        contains(tostring(err) .. info.logs, "line ")
      end)

      it("without a function to call is told how to write one", function()
        for _, code in ipairs{ "missing", "not_callable" } do
          local err = fails("stage_failed", code, 1)
          contains(tostring(err) .. tostring(err.hint), "execute")
        end
      end)

      it("that dies by a signal is told with its name", function()
        local err = fails("stage_failed", "signal", 1)
        contains(tostring(err), "SIGKILL")
      end)

      it("that floods its output is ended at the cap", function()
        -- A shell takes seconds for as much as is the limit where none is given.
        local bytes = language == "bash" and 1024 * 1024 or nil
        local err = fails("output_limit", "flood", 1, { max_output_bytes = bytes })
        assert.equal(bytes or 10 * 1024 * 1024, err.limit)
        assert.is_true(err.result.stdout_truncated)
      end)

      it("that hangs is ended at its deadline, and the caller has it back at once", function()
        local started = sys.clock()
        local err = fails("timed_out", "hang", 1, { timeout_secs = 0.5 })
        assert.is_true(sys.clock() - started < 0.5 + 10 * 0.05 + 2)
        assert.equal(0.5, err.limit)
      end)

      it("that ends without an answer is told so", function()
        contains(tostring(fails("output_invalid", "silent", 1)), "wrote no answer")
      end)

      if codes.asynchronous then
        it("may be asynchronous", function()
          assert.same({ 1 }, (noether.check(run("asynchronous", { 1 }))))
        end)

        it("whose answer is no JSON is told so, and so is one that quits", function()
          fails("stage_failed", "nan", 1)
          local _, err = run("quits", 1)
          assert.truthy(err)
        end)
      end

      it("takes an input of 8 MiB", function()
        local text = ("x"):rep(8 * 1024 * 1024)
        local output, err = run("identity", text)
        assert.is_nil(err)
        assert.is_true(output == text)
      end)
    end)
  end

  describe("a stage that starts others", function()
    local ex
    setup(function()
      ex = assert(noether.executor{ isolation = backend, timeout_secs = 60 })
      noether.check(ex:execute({ language = "bash", code = "execute() { echo 1; }" }))
    end)
    teardown(function() ex:close() end)

    -- Its daemon holds stdout and stderr, ignores signals and has a session of its own; and is
    -- known by how long it sleeps.
    local MARK = ("9%06d"):format(sys.getpid())
    local DAEMON = ([[
execute() {
  (trap '' TERM HUP INT; setsid sleep MARK &) >&2
  (setsid bash -c 'trap "" TERM; sleep MARK' &)
  echo '"done"'
}]]):gsub("MARK", MARK)

    local function survivors()
      local found = {}
      for _, pid in ipairs(helper.list("/proc")) do
        local ok, text = pcall(helper.read, ("/proc/%s/cmdline"):format(pid))
        if pid:find("^%d+$") and ok and text and text:find(MARK, 1, true) then
          found[#found + 1] = pid
        end
      end
      return found
    end

    it("gives its answer at once, and its daemons are gone", function()
      local started = sys.clock()
      local stage = { language = "bash", code = DAEMON, effects = { "Process" } }
      assert.equal("done", (noether.check(ex:execute(stage, 1))))
      assert.is_true(sys.clock() - started < 10)
      assert.same({}, survivors())
    end)

    it("takes them with it at its deadline", function()
      local stage = {
        language = "bash", effects = { "Process" },
        code = DAEMON:gsub("echo '\"done\"'", "sleep " .. MARK),
      }
      local _, err = ex:execute(stage, 1, { timeout_secs = 0.5 })
      assert.equal("timed_out", err.kind)
      assert.same({}, survivors())
    end)
  end)
end)

describe("a stage in a sandbox", function()
  local ex
  setup(function()
    ex = assert(noether.executor{ isolation = "bwrap", timeout_secs = 60 })
    noether.check(ex:execute({ language = "bash", code = "execute() { echo 1; }" }))
  end)
  teardown(function() ex:close() end)

  local function bash(body, effects, opts)
    local stage = {
      language = "bash", code = "execute() {\n" .. body .. "\n}", effects = effects,
    }
    return ex:execute(stage, 1, opts)
  end

  it("is nobody, at home in /work, with a clean environment", function()
    helper.with_env({ SECRET = "x", LD_PRELOAD = false, LC_ALL = "C" }, function()
      local own <close> = assert(noether.executor{ isolation = "bwrap" })
      local stage = {
        language = "bash", effects = {},
        code = 'execute() { echo "\\"$PWD $HOME $USER $TMPDIR ${SECRET-clean} $LC_ALL\\""; }',
      }
      assert.equal("/work /work nobody /tmp clean C", (noether.check(own:execute(stage, 1))))
    end)
  end)

  it("sees a path that it declared, and not another", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/in/data", "42")
    helper.write(dir .. "/other/data", "43")
    local body = ([==[
      [[ ! -e %s/other/data ]] || { echo '"leak"'; return; }
      { echo x > %s/in/new; } 2>/dev/null && { echo '"written"'; return; }
      read -r x < %s/in/data || :
      echo "$x"]==]):format(dir, dir, dir)
    assert.equal(42, (noether.check(bash(body, { { FsRead = dir .. "/in" } }))))
    assert.same({ "data" }, helper.list(dir .. "/in"))
  end)

  it("writes where it declared to, and in the directory its caller names", function()
    local dir = helper.tmpdir()
    assert(sys.mkdir(dir .. "/out"))
    assert(sys.mkdir(dir .. "/work"))
    assert(sys.chmod(dir .. "/out", 511))
    assert(sys.chmod(dir .. "/work", 511))
    noether.check(bash(("echo hi > %s/out/file; echo null"):format(dir),
      { { FsWrite = dir .. "/out" } }))
    assert.equal("hi\n", helper.read(dir .. "/out/file"))
    noether.check(bash("echo here > here; echo null", {}, { work_dir = dir .. "/work" }))
    assert.equal("here\n", helper.read(dir .. "/work/here"))
  end)

  it("may not declare what is not there, nor be given what nobody may have", function()
    local dir = helper.tmpdir()
    local _, err = bash("cat", { { FsRead = dir .. "/nonesuch" } })
    assert.equal("input_invalid", err.kind)
    contains(tostring(err), "nonesuch")
    _, err = bash("cat", {}, { work_dir = "/proc" })
    assert.equal("input_invalid", err.kind)
  end)

  it("has no network unless it declared one", function()
    local body = [==[
      if (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; then echo '"open"'; return; fi
      read -rd '' x < /proc/net/dev || :
      [[ $x == *eth* || $x == *ens* || $x == *enp* ]] && echo true || echo false]==]
    assert.is_false((noether.check(bash(body, { "Process" }))))
  end)

  it("cannot see the cache, only its own script", function()
    local body = ([==[
      local n=0 f
      for f in /stage/*; do n=$((n + 1)); done
      [[ ! -e %s/.cache ]] || n='"leak"'
      echo "$n"]==]):format(os.getenv("HOME"))
    local output = noether.check(bash(body, {}))
    assert.is_number(output)
  end)
end)
