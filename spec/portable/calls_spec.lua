-- SPDX-License-Identifier: MIT
--- Stages: what goes in, what comes out, and what goes wrong.
local noether = require "noether"
local support = require "spec.portable.support"

local bash, fails = support.bash, support.fails

describe("in every Lua, a stage", function()
  local executor, before

  setup(function()
    executor = noether.check(noether.executor{ timeout_secs = 60 })
    noether.check(executor:execute(bash "cat", 1))
    before = support.holdings()
  end)

  teardown(function() executor:close() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  it("answers in each language, isolated", function()
    local double = {
      python = "def execute(n): return n * 2",
      javascript = "module.exports = { execute: (n) => n * 2 };",
      bash = 'execute() { echo $(($1 * 2)); }',
    }
    for language, code in pairs(double) do
      local output, err, info = executor:execute({ language = language, code = code, effects = {} },
        21)
      assert.is_nil(err, tostring(err))
      assert.equal(42, output)
      assert.not_equal("none", info.isolation)
      assert.is_true(#info.enforced > 0)
    end
  end)

  it("is run by noether.execute, too", function()
    assert.equal("hi", (noether.check(noether.execute{
      language = "bash", code = 'execute() { echo "${1,,}"; }', effects = {},
      input = "HI", timeout_secs = 60,
    })))
  end)

  it("is begun by what waited, which ends with the executor", function()
    local warm = noether.check(noether.executor{ warm = true, timeout_secs = 20 })
    noether.check(warm:warmup({ "bash" }, { spares = 1 }):wait())
    local stage = { language = "bash", code = 'execute() { echo "$1"; }', effects = {} }
    local output, err, info = warm:execute(stage, 21)
    assert.is_nil(err, tostring(err))
    assert.equal(21, output)
    assert.equal("spare", info.start)
    warm:close()
  end)

  it("gets and gives every JSON value", function()
    local values = {
      true, false, 0, -1, 0.5, 1e100, -0.125, "", "a\0b", "\226\130\172", 9007199254740991,
      noether.null,
      { 1, { 2 } }, { a = { b = { c = "d" } } },
    }
    for _, value in ipairs(values) do
      local output, err = executor:execute(bash "cat", value)
      assert.is_nil(err, tostring(err))
      assert.same(value, output)
    end
    assert.equal(noether.null, (noether.check(executor:execute(bash "cat"))))
  end)

  it("tells empty arrays from empty objects", function()
    assert.equal("[]", (noether.check(executor:execute_json(bash "cat", "[]"))))
    local answer = noether.check(executor:execute(bash "cat", { list = noether.array(), map = {} }))
    assert.equal('{"list":[],"map":{}}', (noether.check(executor:execute_json(bash "cat",
      require("noether.json").canonical(answer)))))
  end)

  it("gets JSON text as it is", function()
    local text = '{"n": 1.0, "big": 9223372036854775807, "list": [ ]}'
    assert.equal(text, (noether.check(executor:execute_json(bash "cat", text))))
    fails("input_invalid", executor:execute_json(bash "cat", '{"n": }'))
    fails("input_invalid", executor:execute(bash "cat", { [1] = 1, x = 2 }))
    fails("input_invalid", executor:execute(bash "cat", { print }))
    fails("input_invalid", executor:execute(bash "cat", 0 / 0))
  end)

  it("fails by itself, and that is told with its result", function()
    local err = fails("stage_failed", executor:execute(bash "echo why >&2; exit 3"))
    assert.same({ "exit", "why" }, { err.result.reason, err.result.stderr:match("^%a+") })
    fails("output_invalid", executor:execute(bash "echo no JSON"))
    err = fails("stage_failed", executor:execute{
      language = "python", code = "def execute(n): raise ValueError('odd')", effects = {},
    })
    assert.truthy(tostring(err):find("odd", 1, true), tostring(err))
  end)

  it("ends at its limits, each by its name", function()
    local flood = bash("while :; do echo 0123456789; done")
    fails("timed_out", executor:execute(bash("while :; do :; done"), nil, { timeout_secs = 0.3 }))
    fails("output_limit", executor:execute(flood, nil, { max_output_bytes = 1000 }))
    fails("cpu_limit", executor:execute(bash("while :; do :; done"), nil,
      { limits = { cpu_secs = 0.2 } }))
    fails("memory_limit", executor:execute(
      { language = "python", code = "def execute(n): return len('x' * (1 << 28))", effects = {} },
      nil, { limits = { memory_bytes = 100000000 } }))
  end)

  it("has the effects that it declares, and no others", function()
    fails("effect_denied", executor:execute(bash("/bin/true", {})))
    assert.equal(1, (noether.check(executor:execute(bash("/bin/true && echo 1")))))
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("7")
    file:close()
    noether.check(noether.run({ "/bin/chmod", "a+r", path }, { isolation = "none" }))
    local output, err = executor:execute(bash('cat "$1"'), path)
    assert.is_nil(output)
    assert.is_true(noether.is_error(err))
    assert.equal(7, (noether.check(executor:execute(bash("cat " .. path,
      { "Process", { FsRead = path } })))))
    os.remove(path)
  end)

  it("is refused where it declares more than is allowed", function()
    local strict = noether.check(noether.executor{ allow_effects = { "Pure" }, timeout_secs = 60 })
    fails("effect_denied", strict:execute(bash("echo 1", { "Network" })))
    assert.equal(1, (noether.check(strict:execute(bash("echo 1", { "Pure" })))))
    strict:close()
  end)

  it("follows an override of a policy", function()
    local own = noether.check(noether.executor{ timeout_secs = 60, policy = {
      errors = { classify = function() return "stage_failed", "by the override" end },
    } })
    local err = fails("stage_failed", own:execute(bash "exit 1"))
    assert.truthy(tostring(err):find("by the override", 1, true), tostring(err))
    own:close()
  end)

  it("is kept in a store, by its name and its id", function()
    local store = noether.store.memory()
    local fields = bash("cat")
    fields.name = "same"
    local id = noether.check(store:put(fields))
    local own = noether.check(noether.executor{ store = store, timeout_secs = 60 })
    assert.equal(1, (noether.check(own:execute("same", 1))))
    assert.equal(2, (noether.check(own:execute(id, 2))))
    assert.is_true(own:has_implementation("same"))
    assert.equal("same", noether.check(store:list())[1].name)
    fails("stage_not_found", own:execute("other", 1))
    noether.check(store:remove("same"))
    fails("stage_not_found", own:execute(id, 1))
    own:close()
  end)

  it("has the same id as in any other Lua", function()
    local store = noether.store.memory()
    assert.equal("f63d3dcac133fe1b71f95341e703788278c8a74bb5c638e4509acf29539d7049", (noether.check(
      store:put{
        language = "python", code = "def execute(n): return n",
        effects = { "Network", { Cost = 1e3 }, { FsRead = "/data" }, { Cost = 0.5 } },
      })))
  end)

  it("is refused by a raise where it is misused", function()
    assert.is_false(pcall(executor.execute, executor, 5))
    assert.is_false(pcall(executor.execute, executor, bash "cat", 1, { tiemout_secs = 1 }))
    assert.is_false(pcall(noether.executor, { timeout_secs = "1" }))
    local ok, message = pcall(noether.executor, { no_such = 1 })
    assert.is_false(ok)
    assert.truthy(tostring(message):find("no_such", 1, true))
  end)

  it("cannot be run by an executor that is closed", function()
    local own = noether.check(noether.executor())
    own:close()
    fails("closed", own:execute(bash "cat", 1))
  end)
end)
