-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local noether = require "noether"
local sys = require "noether.sys"

local IDENTITY = { language = "bash", code = "execute() { cat; }", name = "identity", effects = {} }

local function executor(opts)
  local all = { isolation = "none", store = noether.store.memory() }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  return assert(noether.executor(all))
end

-- An executor with one Bash stage, whose function has this body.
local function bash(body, opts)
  local ex = executor(opts)
  assert(ex:register_with_effects("stage", ("execute() {\n%s\n}"):format(body), "bash", nil))
  return ex
end

local function fails(kind, output, err, info)
  assert.is_nil(output)
  assert.is_true(noether.is_error(err))
  assert.equal(kind, err.kind, tostring(err))
  return err, info
end

local function raises(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(text, 1, true), tostring(message))
  return message
end

-- Ten million bytes of "{}," would take thirty times that of the host.
describe("an answer of very many values", function()
  local ex = nil

  setup(function()
    ex = bash("printf -v some '{},%.0s' {1..1000}; echo '['; "
      .. "for i in {1..1500}; do printf %s \"$some\"; done; echo '1]'")
  end)
  teardown(function() ex:close() end)

  it("is output_limit, before the host makes anything of it", function()
    collectgarbage()
    local before = collectgarbage("count")
    local err = fails("output_limit", ex:execute("stage", {}))
    assert.equal(1000000, err.limit)
    assert.truthy(err.hint:find("limits.answer_values", 1, true), err.hint)
    assert.is_true(collectgarbage("count") - before < 40 * 1024)
  end)

  it("is given where the caller raises the limit, and as text", function()
    local output = noether.check(ex:execute("stage", {}, { limits = { answer_values = 2000000 } }))
    assert.equal(1500001, #output)
    assert.truthy(noether.check(ex:execute_json("stage", "{}")):find("1]", 1, true))
    raises("answer_values", ex.execute, ex, "stage", {}, { limits = { answer_values = 0 } })
  end)

  it("is no error object of a failure either", function()
    local failing = bash("echo '{\"error\":{\"type\":\"T\",\"message\":\"told\"},\"more\":['; "
      .. "for i in {1..2000}; do printf '{},'; done; printf '1]}'; exit 3")
    fails("stage_failed", failing:execute("stage", {}))
    failing:close()
  end)
end)

describe("an executor", function()
  it("runs a stage by id and by name", function()
    local store = noether.store.memory()
    local id = assert(store:put(IDENTITY))
    local ex <close> = executor{ store = store }
    for _, key in ipairs{ id, "identity" } do
      local output, err, info = ex:execute(key, { n = 21 })
      assert.is_nil(err)
      assert.same({ n = 21 }, output)
      assert.is_table(info)
    end
  end)

  it("takes and gives every kind of JSON value as it is", function()
    local ex <close> = bash("cat")
    for _, value in ipairs{ 0, -1, 1.5, "text", "", true, { 1, 2 }, { a = { b = {} } },
        9007199254740993, 0.1 } do
      assert.same(value, (noether.check(ex:execute("stage", value))))
    end
    local output, err = ex:execute("stage", false)
    assert.is_nil(err)
    assert.is_false(output)
    for _, null in ipairs{ noether.null } do
      assert.equal(noether.null, noether.check(ex:execute("stage", null)))
    end
    assert.equal(noether.null, noether.check(ex:execute("stage")))
    assert.equal("[]", noether.check(ex:execute_json("stage", "[]")))
    assert.equal("{}", noether.check(ex:execute_json("stage", "{}")))
  end)

  it("passes JSON text through without encoding it anew", function()
    local ex <close> = bash("cat")
    local text = '{"b": 1.0,  "a": [1e2, 12345678901234567890.0, "\\u00e9"]}'
    assert.equal(text, noether.check(ex:execute_json("stage", text)))
  end)

  it("says all about a run in info", function()
    local ex <close> = bash("echo log line >&2; cat")
    local _, err, info = ex:execute("stage", 1)
    assert.is_nil(err)
    assert.equal("log line\n", info.logs)
    assert.is_true(info.duration_secs > 0)
    for _, state in ipairs{ "prepare", "setup", "run", "decode" } do
      assert.is_true(info.phases[state] >= 0, state)
    end
    local spans = {}
    for index, span in ipairs(info.spans) do
      spans[index] = span.name
    end
    assert.same({ "wrap", "resolve", "set-up", "run", "decode" }, spans)
    assert.same({ 30, 10 * 2 ^ 20 }, { info.limits.timeout_secs, info.limits.max_output_bytes })
    assert.equal("host", info.runtime.kind)
    assert.equal("bash", info.runtime.language)
    assert.truthy(info.runtime.path:find("^/.*bash$"))
    assert.truthy(info.runtime.version:find("^%d+%.%d+"))
    assert.equal("host:" .. info.runtime.path, info.runtime.reference)
    for _, name in ipairs{ "stage", "code", "script", "input", "runtime" } do
      assert.truthy(info.provenance[name]:find("^%x+$"), name)
      assert.equal(64, #info.provenance[name])
    end
    assert.equal("none", info.isolation)
    assert.is_table(info.enforced)
    assert.is_false(info.cached)
    assert.same({}, info.warnings)
    assert.equal("exit", info.result.reason)
    assert.equal(0, info.result.exit_code)
  end)

  it("gives the same provenance for the same run, and another for another input", function()
    local ex <close> = bash("cat")
    local _, _, one = ex:execute("stage", 1)
    local _, _, again = ex:execute("stage", 1)
    local _, _, two = ex:execute("stage", 2)
    assert.same(one.provenance, again.provenance)
    assert.equal(one.provenance.code, two.provenance.code)
    assert.not_equal(one.provenance.input, two.provenance.input)
  end)

  it("hands the log over line by line, and raises what the listener raises", function()
    local ex <close> = bash("echo one >&2; echo two >&2; echo null")
    local lines = {}
    noether.check(ex:execute("stage", 1, { on_log = function(line) lines[#lines + 1] = line end }))
    assert.same({ "one", "two" }, lines)
    raises("no listener", ex.execute, ex, "stage", 1, {
      on_log = function() error("no listener") end,
    })
  end)

  it("gives variables to the stage that the caller names, and no others", function()
    helper.with_env({ SECRET_OF_THE_HOST = "x", BASH_ENV = "/nonexistent", LANG = "C.UTF-8" },
      function()
        local ex <close> = bash(
          'printf "\\"%s %s %s %s\\"" "${A-}" "${B-}" "${LANG-}" "${SECRET_OF_THE_HOST-none}"',
          { env = { A = "a", B = "executor" } })
        assert.equal("a call C.UTF-8 none",
          noether.check(ex:execute("stage", 1, { env = { B = "call" } })))
      end)
  end)

  it("runs a stage in the directory the caller names", function()
    local dir = helper.tmpdir()
    local ex <close> = bash('echo "\\"$PWD\\""')
    assert.equal(dir, noether.check(ex:execute("stage", 1, { work_dir = dir })))
    for path, text in pairs{ [dir .. "/none"] = "No such file", ["/etc/passwd"] = "directory" } do
      local err = fails("input_invalid", ex:execute("stage", 1, { work_dir = path }))
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
  end)
end)

describe("a script in the cache", function()
  it("is another one for another wrapper, so that no stale one is run", function()
    local stage = { language = "bash", code = "execute() { cat; }" }
    local plain <close> = executor()
    local changed <close> = executor{
      policy = { languages = { bash = {
        wrap = function()
          return { files = { ["x.sh"] = "echo '\"another wrapper\"'" }, entry = "x.sh" }
        end,
      } } },
    }
    local output, _, info = plain:execute(stage, 1)
    assert.equal(1, output)
    local other, _, other_info = changed:execute(stage, 1)
    assert.equal("another wrapper", other)
    assert.equal(info.provenance.code, other_info.provenance.code)
    assert.not_equal(info.provenance.script, other_info.provenance.script)
  end)

  it("that was changed on disk is noticed and written anew, with a warning", function()
    local dir = helper.tmpdir()
    local ex <close> = bash("cat", { cache_dir = dir .. "/cache" })
    local plan = assert(ex:plan("stage", 1))
    local entry = plan.argv[#plan.argv]
    assert(sys.chmod(entry:match("^(.*)/"), 448))
    assert(sys.unlink(entry))
    helper.write(entry, "echo 666")
    local output, err, info = ex:execute("stage", 1)
    assert.is_nil(err)
    assert.equal(1, output)
    assert.truthy(info.warnings[1]:find("changed", 1, true))
  end)
end)

describe("a Python stage of the old kind", function()
  it("gets its input decoded once more, where legacy_input asks for it", function()
    local stage = { language = "python", code = "def execute(i): return [i]" }
    local plain <close> = executor()
    local legacy <close> = executor{ legacy_input = true }
    assert.same({ '{"a":1}' }, (noether.check(plain:execute(stage, '{"a":1}'))))
    assert.same({ noether.null }, (noether.check(plain:execute(stage, noether.null))))
    assert.same({ { a = 1 } }, (noether.check(legacy:execute(stage, '{"a":1}'))))
    assert.same({ {} }, (noether.check(legacy:execute(stage, noether.null))))
  end)
end)

describe("policy files", function()
  it("change what an executor does, and a wrong one keeps it from being made", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/errors.lua", [[
      local builtin = ...
      local classify = builtin.classify
      return { classify = function(facts)
        local kind, message = classify(facts)
        return kind, message, "ask the platform team"
      end }]])
    local ex <close> = bash("exit 1", { policy_path = dir })
    assert.equal("ask the platform team", fails("stage_failed", ex:execute("stage", 1)).hint)
    helper.write(dir .. "/errors.lua", "return { classify = 3 }")
    fails("policy_error", noether.executor{ policy_path = dir })
  end)
end)

describe("what goes wrong in a run", function()
  it("is timed_out at the deadline, with the tree gone and what was said kept", function()
    local ex <close> = bash("echo before >&2; sleep 60 & sleep 60")
    local started = sys.clock()
    local err, info = fails("timed_out", ex:execute("stage", 1, { timeout_secs = 0.2 }))
    assert.is_true(sys.clock() - started < 5)
    assert.equal(0.2, err.limit)
    assert.truthy(err.hint:find("timeout_secs", 1, true))
    assert.equal("timeout", err.result.reason)
    assert.equal("before\n", info.logs)
  end)

  it("is output_limit at one byte more than the cap, and success at the cap", function()
    local ex <close> = bash('printf "%s" "[\\"$(printf %0100d 0)\\"]"')
    assert.same({ ("0"):rep(100) },
      (noether.check(ex:execute("stage", 1, { max_output_bytes = 104 }))))
    local err = fails("output_limit", ex:execute("stage", 1, { max_output_bytes = 103 }))
    assert.equal(103, err.limit)
    assert.truthy(err.hint:find("max_output_bytes", 1, true))
  end)

  it("is output_limit for a flood, which is ended at the cap", function()
    local ex <close> = bash("while :; do echo 1234567890; done", { max_output_bytes = 1e5 })
    fails("output_limit", ex:execute("stage", 1))
  end)

  it("keeps the beginning and the end of a flood of logs", function()
    local ex <close> = bash('for i in {1..20000}; do echo "line $i" >&2; done; echo null')
    local _, err, info = ex:execute("stage", 1, { max_stderr_bytes = 4096 })
    assert.is_nil(err)
    assert.truthy(info.logs:find("^line 1\n"))
    assert.truthy(info.logs:find("line 20000\n$"))
    assert.is_true(#info.logs < 5000)
    assert.is_true(info.result.stderr_truncated)
  end)

  it("is cpu_limit or memory_limit where those were met", function()
    local ex <close> = bash("while :; do :; done")
    local err = fails("cpu_limit", ex:execute("stage", 1, { limits = { cpu_secs = 0.2 } }))
    assert.equal(0.2, err.limit)
    local hungry <close> = bash('x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done')
    err = fails("memory_limit", hungry:execute("stage", 1, { limits = { memory_bytes = 64e6 } }))
    assert.equal(64e6, err.limit)
  end)

  it("is stage_failed for an exit code and for a signal", function()
    local ex <close> = bash("exit 7")
    local err = fails("stage_failed", ex:execute("stage", 1))
    assert.equal("exit", err.result.reason)
    assert.truthy(tostring(err):find("status 7", 1, true), tostring(err))
    local killed <close> = bash("kill -SEGV $$")
    err = fails("stage_failed", killed:execute("stage", 1))
    assert.equal("SIGSEGV", err.result.signal)
    assert.truthy(tostring(err):find("SIGSEGV", 1, true), tostring(err))
  end)

  it("is never the machine's fault because the stage says so", function()
    for _, text in ipairs{ "cannot connect to nix daemon", "No such file or directory",
        "error: flake", "out of disk space", "bwrap: No permissions to create a new namespace" } do
      local ex <close> = bash(("echo '%s' >&2; exit 1"):format(text))
      fails("stage_failed", ex:execute("stage", 1))
    end
  end)

  it("is no failure at all where only stderr says so", function()
    local ex <close> = bash("echo 'error: terrible' >&2; echo 1")
    assert.equal(1, noether.check(ex:execute("stage", 1)))
  end)

  local no_answers = {
    { ":", "wrote no answer" },
    { "printf ' \\n\\n'", "wrote no answer" },
    { "echo 1; echo 2", "line 2" },
    { "echo hello", "got: hello" },
    { "echo '{\"a\":'", "line " },
    { "echo NaN", "got: NaN" },
    { "printf '\"\\377\"'", "\\xFF" },
    { "printf '\"\\e[31m\"'", "\\x1B[31m" },
    { "printf 'x%.0s' {1..5000}", "xxx..." },
  }
  for _, case in ipairs(no_answers) do
    it("is output_invalid for the answer of: " .. case[1], function()
      local ex <close> = bash(case[1])
      for _, method in ipairs{ "execute", "execute_json" } do
        local err = fails("output_invalid", ex[method](ex, "stage", "1"))
        assert.truthy(tostring(err):find(case[2], 1, true), tostring(err))
        assert.is_true(#tostring(err) < 600)
        assert.falsy(tostring(err):find("%c"))
        assert.is_string(err.hint)
      end
    end)
  end

  local first_tries = {
    { "bash", "stage.sh", "not a file name" },
    { "python", "stage.py", "not a file name" },
    { "javascript", "stage.js", "not a file name" },
    { "python", "  def execute(i):\n    return i", "must not be indented" },
    { "bash", "execute() { echo hello; }", "a string needs its quotes" },
    { "python", "import nonesuch\ndef execute(i): return i", "for the host's python3" },
    { "javascript", "const x = require('leftpad'); function execute() {}", "// requires: " },
    { "javascript", "import x from 'leftpad'; export function execute() {}", "// requires: " },
  }
  for _, case in ipairs(first_tries) do
    it(("comes with a hint for the %s stage %q"):format(case[1], case[2]), function()
      local ex <close> = executor()
      local output, err = ex:execute({ language = case[1], code = case[2] }, 1)
      assert.is_nil(output)
      assert.truthy(err.hint and err.hint:find(case[3], 1, true), ("%s (%s)"):format(err, err.hint))
    end)
  end

  it("names the stage and carries the result", function()
    local store = noether.store.memory()
    local id = store:put{ language = "bash", code = "execute() { exit 3; }", name = "bad" }
    local ex <close> = executor{ store = store }
    local err = fails("stage_failed", ex:execute("bad", 1))
    assert.equal(id, err.stage)
    assert.equal(1, err.result.exit_code)
    local plain = err:to_table()
    assert.equal(1, plain.result.exit_code)
  end)
end)

describe("what never comes to run", function()
  it("is an unknown stage, language or runtime", function()
    local ex <close> = executor()
    local err = fails("stage_not_found", ex:execute("nonesuch", 1))
    assert.truthy(tostring(err):find("nonesuch", 1, true))
    local store = noether.store.memory()
    store:put{ language = "cobol", code = "x", name = "old" }
    local other <close> = executor{ store = store }
    err = fails("language_unknown", other:execute("old", 1))
    assert.truthy(tostring(err):find("bash, javascript, python", 1, true))
    helper.with_env({ PATH = helper.tmpdir() }, function()
      err = fails("runtime_unavailable", noether.executor{ runtime = "nix" })
      assert.truthy(tostring(err):find("nix is not installed", 1, true))
      fails("runtime_unavailable",
        noether.execute{ language = "bash", code = "x", runtime = "nix", isolation = "none" })
    end)
  end)

  it("is a language whose interpreter is missing", function()
    helper.with_env({ PATH = helper.tmpdir() }, function()
      local ex <close> = bash("cat")
      local err = fails("runtime_unavailable", ex:execute("stage", 1))
      assert.truthy(tostring(err):find("bash", 1, true))
      assert.truthy(err.hint:find("install", 1, true))
    end)
  end)

  local cycle = {}
  cycle.me = cycle
  local deep = {}
  for _ = 1, 600 do
    deep = { deep }
  end
  local inputs = {
    { print, "function" }, { cycle, "input" }, { { 1, nil, 3 }, "input" },
    { { 1, a = 2 }, "input" },
    { 0 / 0, "input" }, { math.huge, "input" }, { deep, "input" }, { "\255", "input" },
    { { [true] = 1 }, "input" },
  }
  for index, case in ipairs(inputs) do
    it("is an input that is no JSON value, case " .. index, function()
      local ex <close> = bash("cat")
      local err = fails("input_invalid", ex:execute("stage", case[1]))
      assert.truthy(tostring(err):find(case[2], 1, true), tostring(err))
    end)
  end

  it("is an input text that is no JSON, with line and column", function()
    local ex <close> = bash("cat")
    for _, text in ipairs{ "", "{", "1 2", "[1,\n x]", "NaN", '"\255"' } do
      local err = fails("input_invalid", ex:execute_json("stage", text))
      assert.truthy(tostring(err):find("line %d+ column %d+"), tostring(err))
    end
  end)

  it("is an integer that JavaScript cannot hold", function()
    local ex <close> = executor()
    ex:register_with_effects("js", "function execute(i) { return i }", "javascript", {})
    for _, run in ipairs{
      function() return ex:execute("js", { n = 9007199254740993 }) end,
      function() return ex:execute_json("js", '{"n":9007199254740993}') end,
    } do
      fails("input_invalid", run())
    end
    assert.equal(9007199254740991, noether.check(ex:execute("js", 9007199254740991)))
  end)

  it("is a stage whose packages are refused, every bad one named", function()
    local ex <close> = executor()
    ex:register_with_effects("py",
      "# requires: pandas, six==1.0, x==$(id)\ndef execute(i): return i", "python", {})
    local err = fails("package_rejected", ex:execute("py", 1))
    assert.truthy(tostring(err):find("'pandas'", 1, true), tostring(err))
    assert.truthy(tostring(err):find("x==$(id)", 1, true), tostring(err))
  end)

  it("is a stage that declares more than is allowed", function()
    local ex <close> = executor{ allow_effects = { "Pure", { FsRead = "/data" } } }
    for effects, text in pairs{
      [{ "Network" }] = "Network", [{ { FsRead = "/etc" } }] = "FsRead(/etc)",
      [{ "Process" }] = "Process",
    } do
      ex:register_with_effects("x", "execute() { cat; }", "bash", effects)
      local err = fails("effect_denied", ex:execute("x", 1))
      assert.equal(text, err.effect)
      assert.truthy(tostring(err):find(text, 1, true))
      assert.is_nil(err.result)
    end
    ex:register_with_effects("x", "execute() { cat; }", "bash", { "Pure" })
    assert.equal(1, noether.check(ex:execute("x", 1)))
  end)

  it("is a cache that cannot be used", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/file", "x")
    local ex <close> = bash("cat", { cache_dir = dir .. "/file" })
    local err = fails("cache_failed", ex:execute("stage", 1))
    assert.truthy(tostring(err):find(dir .. "/file", 1, true), tostring(err))
  end)

  it("is a store that fails, whatever way it does", function()
    local ex <close> = executor{ store = { get = function() return nil, "disk on fire" end } }
    local err = fails("store_failed", ex:execute("x", 1))
    assert.truthy(tostring(err):find("disk on fire", 1, true))
    local empty <close> = executor{ store = { get = function() return nil end } }
    fails("stage_not_found", empty:execute("x", 1))
  end)

  it("is anything under isolation 'none' where isolation is required", function()
    fails("isolation_unavailable", noether.executor{ isolation = "none", require_isolation = true })
    helper.with_env({ NOETHER_REQUIRE_ISOLATION = "1" }, function()
      local err = fails("isolation_unavailable", noether.executor{ isolation = "none" })
      assert.truthy(err.hint:find("NOETHER_REQUIRE_ISOLATION", 1, true))
      fails("isolation_unavailable",
        noether.executor{ isolation = "none", require_isolation = false })
    end)
  end)

  it("is a setup that takes longer than its own deadline", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/bash", "#!/bin/sh\nsleep 60\n")
    assert(sys.chmod(dir .. "/bash", 493))
    helper.with_env({ PATH = dir .. ":/usr/bin:/bin" }, function()
      local ex <close> = bash("cat", { setup_timeout_secs = 0.2 })
      local started = sys.clock()
      local err = fails("setup_timed_out", ex:execute("stage", 1))
      assert.is_true(sys.clock() - started < 5)
      assert.equal(0.2, err.limit)
    end)
  end)

  it("leaves the policy's mistakes to the policy", function()
    local function with(policy)
      local ex <close> = bash("cat", { policy = policy })
      return fails("policy_error", ex:execute("stage", 1))
    end
    local err = with{ isolation = { describe = function() error("boom") end } }
    assert.truthy(tostring(err):find("hook 'describe' raised", 1, true))
    err = with{ isolation = { describe = function() return { ro_binds = { "/" } } end } }
    assert.truthy(tostring(err):find("bind of /", 1, true))
    err = with{ languages = { bash = { argv = function() return { "bash" } end } } }
    assert.truthy(tostring(err):find("absolute path", 1, true))
    fails("policy_error", noether.executor{ policy = { pip = { alow = {} } } })
  end)

  it("treats a classifier's mistake as the policy's, not the stage's", function()
    local ex <close> = bash("exit 1", { policy = { errors = { classify = function() end } } })
    fails("policy_error", ex:execute("stage", 1))
  end)
end)

describe("misuse", function()
  it("raises on unknown options, the nearest offered, at the caller's line", function()
    local ex <close> = bash("cat")
    local cases = {
      function() noether.executor{ tiemout_secs = 3 } end,
      function() ex:execute("stage", 1, { tiemout_secs = 3 }) end,
      function() ex:execute_json("stage", "1", { tiemout_secs = 3 }) end,
      function() ex:start("stage", 1, { tiemout_secs = 3 }) end,
      function() ex:map("stage", {}, { tiemout_secs = 3 }) end,
      function() ex:plan("stage", 1, { tiemout_secs = 3 }) end,
      function() ex:rebuild_with_config{ tiemout_secs = 3 } end,
      function() noether.execute{ language = "bash", code = "x", tiemout_secs = 3 } end,
    }
    for index, case in ipairs(cases) do
      local message = raises("did you mean 'timeout_secs'?", case)
      assert.truthy(message:find("local_spec.lua:%d+:"), index .. " " .. message)
    end
  end)

  it("raises on wrong types", function()
    local ex <close> = bash("cat")
    raises("timeout_secs", noether.executor, { timeout_secs = "5" })
    raises("timeout_secs", noether.executor, { timeout_secs = 0 })
    raises("timeout_secs", noether.executor, { timeout_secs = 0 / 0 })
    raises("isolation", noether.executor, { isolation = "docker" })
    raises("runtime", noether.executor, { runtime = "conda" })
    raises("store", noether.executor, { store = {} })
    raises("use noether.store.memory(), noether.store.open(dir)", noether.executor,
      { store = "/tmp/x" })
    raises("did you mean 'limits = { memory_bytes = ... }'?", noether.executor,
      { memory_bytes = 1e9 })
    raises("allow_effects", noether.executor, { allow_effects = { "Netwrok" } })
    raises("limits", noether.executor, { limits = { memory = 3 } })
    raises("grants", noether.executor, { grants = { path = {} } })
    raises("env", noether.executor, { env = { A = "x\0y" } })
    raises("text", ex.execute_json, ex, "stage", { 1 })
    raises("inputs", ex.map, ex, "stage", 3)
    raises("jobs", ex.map, ex, "stage", {}, { jobs = 0 })
    local message = raises("executor:execute: id: expected a string", function()
      ex:execute(nil, 1)
    end)
    assert.truthy(message:find("local_spec.lua:%d+:"), message)
    message = raises("executor:start: id: expected a string", function() ex:start(3, 1) end)
    assert.truthy(message:find("local_spec.lua:%d+:"), message)
    message = raises("did you mean 'language'?", function()
      ex:execute({ langauge = "bash", code = "x" }, 1)
    end)
    assert.truthy(message:find("local_spec.lua:%d+:"), message)
    message = raises("the stage's code is missing", function()
      ex:plan({ language = "bash" }, 1)
    end)
    assert.truthy(message:find("local_spec.lua:%d+:"), message)
    raises("expected a table", noether.execute, "python")
    raises("the stage's language is missing", noether.execute, { code = "x" })
    raises("unknown option 'lang' (did you mean 'language'?)", noether.execute,
      { lang = "bash", code = "x" })
    message = raises("execute: expected one table", function()
      noether.execute({ language = "bash", code = "x" }, { timeout_secs = 1 })
    end)
    assert.truthy(message:find("local_spec.lua:%d+:"), message)
  end)
end)

describe("a method that is called with a dot", function()
  local stage = { language = "bash", code = "x" }
  local executors = {
    executor = executor(), inline = noether.inline{}, composite = noether.composite{},
  }
  for kind, ex in pairs(executors) do
    for _, name in ipairs{ "execute", "execute_json", "start", "map", "plan",
        "has_implementation" } do
      it(("says so: %s.%s"):format(kind, name), function()
        for _, self in ipairs{ "id", stage } do
          local message = raises(("executor:%s: call it with a colon"):format(name), function()
            ex[name](self, 1)
          end)
          assert.truthy(message:find("local_spec.lua:%d+:"), message)
        end
      end)
    end
  end

  for _, name in ipairs{ "register_with_effects", "config_snapshot", "rebuild_with_config",
      "warmup" } do
    it("says so: executor." .. name, function()
      raises("call it with a colon", executors.executor[name], "x")
    end)
  end
end)

describe("start", function()
  it("returns a task that waits for nobody", function()
    local ex <close> = bash("sleep 0.2; cat")
    local started = sys.clock()
    local a <close> = assert(ex:start("stage", "a"))
    local b <close> = assert(ex:start("stage", "b"))
    assert.is_true(sys.clock() - started < 2)
    local i = assert(noether.wait_any{ a, b })
    assert.truthy(i == 1 or i == 2)
    assert.equal("b", noether.check(b:wait()))
    assert.equal("a", noether.check(a:wait()))
    assert.equal("done", a:state())
  end)

  it("gives failures before the launch to wait, with the info there is", function()
    local ex <close> = executor()
    local task <close> = assert(ex:start("nonesuch", 1))
    local _, err, info = task:wait()
    assert.equal("stage_not_found", err.kind)
    assert.is_true(info.duration_secs >= 0)
  end)

  it("is cancelled", function()
    local ex <close> = bash("sleep 60")
    local task <close> = assert(ex:start("stage", 1))
    task:cancel()
    local err = fails("cancelled", task:wait())
    assert.is_nil(err.limit)
  end)
end)

describe("map", function()
  it("gives records in the order of the inputs", function()
    local ex <close> = bash('read -r n; [ "$n" != 3 ] || exit 9; echo "$n"')
    local records = ex:map("stage", { 1, 2, 3, 4, 5 }, { jobs = 3 })
    assert.equal(5, #records)
    for index, record in ipairs(records) do
      if index == 3 then
        assert.is_nil(record.output)
        assert.equal("stage_failed", record.err.kind)
      else
        assert.equal(index, record.output)
        assert.is_nil(record.err)
      end
      assert.is_table(record.info)
    end
  end)

  it("runs as many at once as asked, and no more", function()
    local dir = helper.tmpdir()
    local ex <close> = bash(([[
      read -r n; : > %s/"$n"; ls %s | wc -l; sleep 0.1; rm %s/"$n"]]):format(dir, dir, dir))
    local most = 0
    for _, record in ipairs(ex:map("stage", { 1, 2, 3, 4, 5, 6 }, { jobs = 2 })) do
      most = math.max(most, (noether.check(record.output, record.err)))
    end
    assert.equal(2, most)
  end)

  it("takes an empty list, and options of a call", function()
    local ex <close> = bash("sleep 60")
    assert.same({}, ex:map("stage", {}))
    local records = ex:map("stage", { 1 }, { timeout_secs = 0.1 })
    assert.equal("timed_out", records[1].err.kind)
  end)

  it("cancels the others when a callback raises and it is to stop at errors", function()
    local ex <close> = bash('read -r n; echo log >&2; [ "$n" = 1 ] || sleep 60; echo 1')
    collectgarbage("stop")
    local ok, message = pcall(ex.map, ex, "stage", { 1, 2 }, {
      jobs = 2, on_error = "stop", on_log = function() error("listener") end,
    })
    for task in pairs(ex.tasks) do
      assert.equal("closed", task:state())
    end
    collectgarbage("restart")
    assert.is_false(ok)
    assert.truthy(message:find("listener", 1, true))
  end)
end)

describe("plan", function()
  it("shows what would run, the same each time, and runs nothing", function()
    local dir = helper.tmpdir()
    local ex <close> = bash("touch " .. dir .. "/ran; cat")
    local plan = assert(ex:plan("stage", { n = 1 }))
    assert.same(plan, ex:plan("stage", { n = 1 }))
    assert.same({}, helper.list(dir))
    assert.equal("exec", plan.kind)
    assert.equal('{"n":1}\n', plan.stdin)
    assert.equal("/", plan.argv[1]:sub(1, 1))
    assert.equal("none", plan.sandbox.backend)
    assert.equal(30, plan.limits.timeout_secs)
    assert.equal(10 * 1024 * 1024, plan.limits.max_output_bytes)
    assert.equal(64 * 1024, plan.limits.max_stderr_bytes)
    assert.truthy(noether.inspect(plan.files):find("touch", 1, true))
    assert.equal("host", plan.runtime.kind)
  end)

  it("is data that JSON can hold, though a limit be none", function()
    local ex <close> = bash("cat", { timeout_secs = math.huge })
    local plan = assert(ex:plan("stage", 1, { limits = { memory_bytes = math.huge } }))
    assert.is_nil(plan.limits.timeout_secs)
    assert.is_nil(plan.limits.memory_bytes)
    local json = require "noether.json"
    assert.same(plan, json.decode(assert(json.encode(plan))))
  end)

  it("is what is run", function()
    local ex <close> = bash("cat")
    local plan = assert(ex:plan("stage", 1))
    local _, _, info = ex:execute("stage", 1)
    assert.same(plan.argv, info.result.argv)
    assert.same(plan.runtime, info.runtime)
  end)

  it("names secrets and does not tell them", function()
    local ex <close> = bash("cat", { env = { TOKEN = "s3cret-one" } })
    local plan = assert(ex:plan("stage", 1, { env = { KEY = "s3cret-two" } }))
    assert.same({ "KEY", "TOKEN" }, plan.secrets)
    assert.falsy(noether.inspect(plan):find("s3cret", 1, true))
  end)

  it("touches no disk with resolve = false", function()
    local dir = helper.tmpdir()
    helper.with_env({ PATH = dir }, function()
      local ex <close> = bash("cat", { cache_dir = dir .. "/cache" })
      local plan = assert(ex:plan("stage", 1, { resolve = false }))
      assert.equal("unresolved", plan.runtime.kind)
      assert.equal("bash", plan.argv[1])
      assert.equal("1\n", plan.stdin)
      assert.same({}, helper.list(dir))
    end)
  end)

  it("fails as execute would", function()
    local ex <close> = executor()
    fails("stage_not_found", ex:plan("nonesuch", 1))
    fails("stage_not_found", ex:plan("nonesuch", 1, { resolve = false }))
  end)
end)

describe("the names of the original", function()
  it("has the original's defaults, and isolation that refuses", function()
    local ex <close> = assert(noether.executor())
    assert.same({
      timeout_secs = 30, max_output_bytes = 10 * 1024 * 1024, max_stderr_bytes = 64 * 1024,
      isolation = "auto",
    }, ex:config_snapshot())
  end)

  it("rebuilds with another configuration and keeps registered stages", function()
    local ex <close> = bash("sleep 60")
    local quick <close> = assert(ex:rebuild_with_config{ timeout_secs = 1 })
    assert.equal(1, quick:config_snapshot().timeout_secs)
    assert.equal(30, ex:config_snapshot().timeout_secs)
    fails("timed_out", quick:execute("stage", 1))
    quick:register_with_effects("new", "execute() { cat; }", "bash", {})
    assert.is_false(ex:has_implementation("new"))
    ex:close()
    assert.equal(1, noether.check(quick:execute("new", 1)))
  end)

  it("snapshots are copies", function()
    local ex <close> = executor()
    ex:config_snapshot().timeout_secs = 1
    assert.equal(30, ex:config_snapshot().timeout_secs)
  end)

  it("keeps declared effects exactly", function()
    local ex <close> = executor()
    assert(ex:register_with_effects("a", "x", "bash", { "Network", { FsRead = "/data" } }))
    assert.same({ { effect = "FsRead", path = "/data" }, { effect = "Network" } },
      ex:find("a").effects)
    assert(ex:register_with_effects("b", "x", "bash", {}))
    assert.same({}, ex:find("b").effects)
    assert(ex:register_with_effects("c", "x", "bash", nil))
    assert.same({ { effect = "Unknown" } }, ex:find("c").effects)
    fails("language_unknown", ex:register_with_effects("d", "x", "cobol", {}))
    fails("input_invalid", ex:register_with_effects("d", "x", "bash", { "Netwrok" }))
  end)

  it("knows which stages it can run", function()
    local store = noether.store.memory()
    local id = store:put{ language = "python", code = "x", name = "py" }
    store:put{ language = "cobol", code = "x", name = "old" }
    local ex <close> = executor{ store = store }
    ex:register_with_effects("mine", "x", "bash", {})
    for key, expected in pairs{ [id] = true, py = true, mine = true, old = false, no = false } do
      assert.equal(expected, ex:has_implementation(key), key)
    end
  end)

  it("warms up in the background, and what is missing is no failure", function()
    local ex <close> = executor()
    local handle <close> = assert(ex:warmup{ "bash", "cobol" })
    local found, err = handle:wait()
    assert.is_nil(err)
    assert.truthy(found.bash.path:find("^/.*bash$"))
    assert.equal("language_unknown", found.cobol.err.kind)
    local all <close> = assert(ex:warmup())
    found = all:wait()
    for _, language in ipairs{ "bash", "javascript", "python" } do
      assert.is_string(found[language].path, language)
    end
  end)
end)

describe("the environment", function()
  it("names the runtime, unless an option does", function()
    helper.with_env({ NOETHER_RUNTIME = "nix", PATH = helper.tmpdir() }, function()
      fails("runtime_unavailable", noether.executor())
    end)
    helper.with_env({ NOETHER_RUNTIME = "nix" }, function()
      local host <close> = bash("cat", { runtime = "host" })
      assert.equal(1, noether.check(host:execute("stage", 1)))
    end)
    helper.with_env({ NOETHER_RUNTIME = "conda" }, function()
      local err = fails("runtime_unavailable", noether.executor())
      assert.truthy(tostring(err):find("NOETHER_RUNTIME", 1, true))
    end)
  end)

  it("names the cache, the store and what pip may be asked for", function()
    local dir = helper.tmpdir()
    helper.with_env({ NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store",
      NOETHER_ALLOW_UNPINNED_PIP = "yes" }, function()
        assert(assert(noether.store.open(dir .. "/store")):put(IDENTITY))
        local ex <close> = assert(noether.executor{
          isolation = "none", pip = { find_links = { dir .. "/store" } },
        })
        assert.equal(1, noether.check(ex:execute("identity", 1)))
        assert.truthy(helper.list(dir .. "/cache")[1])
        ex:register_with_effects("py", "# requires: six\ndef execute(i): pass", "python", {})
        fails("packages_failed", ex:execute("py", 1))
      end)
  end)

  it("may only tighten isolation", function()
    helper.with_env({ NOETHER_ISOLATION = "none" }, function()
      local ex <close> = assert(noether.executor())
      assert.equal("auto", ex:config_snapshot().isolation)
    end)
  end)

  it("sets the level of the log, which is silent unless somebody listens", function()
    local lines = {}
    local function log(level, message, fields)
      assert.is_string(message)
      assert.is_table(fields)
      lines[#lines + 1] = level
    end
    for level, expected in pairs{ debug = { "warn" }, error = {} } do
      lines = {}
      helper.with_env({ NOETHER_LOG_LEVEL = level }, function()
        local ex <close> = executor{ log = log }
        local handle <close> = assert(ex:warmup{ "cobol" })
        handle:wait()
        assert.same(expected, lines)
      end)
    end
    lines = {}
    local ex <close> = executor{ log = log, log_level = "error" }
    local handle <close> = assert(ex:warmup{ "cobol" })
    handle:wait()
    assert.same({}, lines)
  end)

  it("may have a level that is none, of which the log tells", function()
    helper.with_env({ NOETHER_LOG_LEVEL = "nonsense" }, function()
      local lines = {}
      local ex <close> = executor{ log = function(level, message)
        lines[#lines + 1] = level .. " " .. message
      end }
      assert.equal("info", ex.config.log_level)
      assert.equal(1, #lines)
      assert.truthy(lines[1]:find("^warn NOETHER_LOG_LEVEL: .*got 'nonsense'"), lines[1])
    end)
  end)

  it("may have no home: the cache is then the process's own, with a warning", function()
    helper.with_env({ HOME = false, XDG_CACHE_HOME = false, NOETHER_CACHE_DIR = false }, function()
      local ex <close> = bash("cat")
      local _, err, info = ex:execute("stage", 1)
      assert.is_nil(err)
      assert.truthy(info.warnings[1]:find("NOETHER_CACHE_DIR", 1, true))
    end)
  end)
end)

describe("closing an executor", function()
  it("ends its tasks, and refuses more", function()
    local ex = bash("sleep 60")
    local task = assert(ex:start("stage", 1))
    assert.is_true(ex:close())
    assert.is_true(ex:close())
    assert.equal("closed", task:state())
    for _, call in ipairs{
      function() return ex:execute("stage", 1) end,
      function() return ex:execute_json("stage", "1") end,
      function() return ex:start("stage", 1) end,
      function() return ex:plan("stage", 1) end,
      function() return ex:warmup() end,
    } do
      fails("closed", call())
    end
    assert.equal("closed", ex:map("stage", { 1 })[1].err.kind)
  end)
end)

describe("noether.execute", function()
  it("runs a stage in one call", function()
    local output, err, info = noether.execute{
      language = "bash", code = "execute() { cat; }", input = { n = 21 }, isolation = "none",
      timeout_secs = 10,
    }
    assert.is_nil(err)
    assert.same({ n = 21 }, output)
    assert.equal("none", info.isolation)
  end)

  it("gives errors as execute does", function()
    fails("language_unknown", noether.execute{ language = "cobol", code = "x", isolation = "none" })
    fails("input_invalid", noether.execute{ language = "bash", code = "x", effects = { "x" } })
  end)
end)

describe("noether.check", function()
  it("gives the output or raises the error", function()
    assert.is_false((noether.check(false)))
    assert.equal(3, (noether.check(3, nil, {})))
    local ok, raised = pcall(noether.check, nil, "bad")
    assert.is_false(ok)
    assert.equal("bad", raised)
  end)
end)
