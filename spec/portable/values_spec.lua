-- SPDX-License-Identifier: MIT
--- Numbers, where some Luas have integers and others have doubles alone.
local json = require "noether.json"
local noether = require "noether"
local support = require "spec.portable.support"

local HAS_INTEGERS = _VERSION >= "Lua 5.3"

describe("in every Lua, a value", function()
  -- { the JSON text, its canonical form }
  local CANONICAL = {
    { "1", "1" }, { "1.0", "1" }, { "1e0", "1" }, { "-0.0", "0" }, { "0.1", "0.1" },
    { "1e2", "100" }, { "123456789.25", "123456789.25" }, { "1e15", "1000000000000000" },
    { "9007199254740992", "9007199254740992" }, { "9007199254740992.0", "9007199254740992" },
    { "1e16", "10000000000000000" }, { "1152921504606846976.0", "1152921504606846976" },
    { "9.3e18", "9.3e+18" }, { "1e100", "1e+100" }, { "5e-324", "5e-324" }, { "0.30000000000000004",
      "0.30000000000000004" },
    { '{"b":1.0,"a":[]}', '{"a":[],"b":1}' }, { '{"\\u20ac":null}', '{"\226\130\172":null}' },
  }

  it("has one canonical text", function()
    for _, case in ipairs(CANONICAL) do
      assert.equal(case[2], json.canonical(assert(json.decode(case[1]))), case[1])
    end
  end)

  it("keeps an integer of 64 bits, or is refused, and is never rounded", function()
    local text = "[9007199254740993,-9223372036854775808]"
    local value, reason = json.decode(text)
    if HAS_INTEGERS then
      assert.equal(text, json.encode(value))
    else
      assert.is_nil(value)
      assert.truthy(reason:find("beyond 2^53", 1, true), reason)
    end
    assert.equal(9007199254740992, json.decode("9007199254740992"))
    assert.equal(-9007199254740992, json.decode("-9007199254740992"))
  end)

  it("comes as text where that was asked for", function()
    local text = '{"n":[1,9007199254740992,9007199254740993,-9223372036854775809,1.5]}'
    assert.same({ n = { 1, 9007199254740992, "9007199254740993", "-9223372036854775809", 1.5 } },
      json.decode(text, "string"))
  end)

  local ANSWER = support.bash "echo '[9007199254740993]'"

  it("is an answer, or its error says what to do", function()
    local executor = noether.check(noether.executor{ timeout_secs = 60 })
    local output, err = executor:execute(ANSWER)
    if HAS_INTEGERS then
      assert.equal("[9007199254740993]", json.encode(output))
    else
      support.fails("output_invalid", output, err)
      assert.truthy(err.hint:find("big_integers", 1, true), err.hint)
    end
    assert.equal("[9007199254740993]", (noether.check(executor:execute_json(ANSWER, "1"))))
    executor:close()
  end)

  it("comes as text by an option of the executor, kept answers included", function()
    local executor = noether.check(noether.executor{ timeout_secs = 60, big_integers = "string" })
    assert.same({ "9007199254740993" }, (noether.check(executor:execute(ANSWER))))
    local cache = noether.check(noether.cache(executor))
    local pure = support.bash("echo '[9007199254740993]'", { "Pure" })
    for _ = 1, 2 do
      assert.same({ "9007199254740993" }, (noether.check(cache:execute(pure, 1))))
    end
    cache:close()
    executor:close()
  end)

  it("of another executor's cached answer is held or refused likewise", function()
    local executor = noether.check(noether.executor{ timeout_secs = 60 })
    local cache = noether.check(noether.cache(noether.retry(executor)))
    local pure = support.bash("echo 9007199254740993", { "Pure" })
    for _ = 1, 2 do
      local output, err = cache:execute(pure, 1)
      if HAS_INTEGERS then
        assert.equal("9007199254740993", json.encode(noether.check(output, err)))
      else
        support.fails("output_invalid", output, err)
      end
    end
    cache:close()
    executor:close()
  end)
end)

-- What stages were called before effects could name hosts: stores and caches hold them by that.
describe("in every Lua, the id of a stage", function()
  local PYTHON = "def execute(x): return x\n"
  local STAGES = {
    { "python", PYTHON, { "Pure" },
      "00aa821fad64637523ebf0aa96bd39556c64296b5739ff9ff557ea46c125c159" },
    { "python", PYTHON, nil,
      "2ce22c0d7794ec10d947f21d132977f14ea9c7cf461324a429584fba502eed55" },
    { "python", PYTHON, {},
      "3b4de07313d967fceab28b3a0945ac864059468451a3cdfe3297898ca11a0d96" },
    { "python", PYTHON, { "Network" },
      "890362f18228c7384a9fcaac528550f28d1767dd85ff13239df29f2ab419c427" },
    { "js", "module.exports = (x) => x", { "Network", "Process", "Network" },
      "529483f480bc89976935b3c2d79289033a517bf6590f0dd327f2bc0ec39d2a6d" },
    { "bash", "execute() { cat; }", { { FsRead = "/data" }, "Process", { FsWrite = "/out/" } },
      "8f2392f0e4f35f116e8206edfb8cd751183f0637f3bb0b87cd4ea0635e9f9187" },
    { "python3", "# requires: requests==2.31.0\ndef execute(u): return u\n",
      { "Fallible", "NonDeterministic", { effect = "Network" }, { Cost = 5 } },
      "e4eb2af573e1012e0dba01c814f0a40ff1bd938233b2c647fdb7b23fa55c4618" },
    { "node", "export default async (q) => q", { { Llm = "small" }, { Cost = 2.5 } },
      "d642d13f123b58e135433533cc028b9f52b23b505c033a7e8b0d5733681f67b5" },
    { "sh", "execute() { echo '\195\188'; }", { "Unknown" },
      "1e9ccd16756b7faf3c56041e21aabfd3cc4064fbb927dad968d3e3bf182b8ba6" },
    { "python", "", { "Pure", "Fallible", "NonDeterministic", "Network", "Process", "Unknown",
      { FsRead = "/a" }, { FsWrite = "/b" }, { Cost = 0 }, { Llm = "x" } },
      "5964f1f1c254df51ad37b6cad7c36284f37ec0496ab34887bc5d35e4d39816b3" },
  }

  it("is what it always was", function()
    local store = noether.store.memory()
    for index, case in ipairs(STAGES) do
      local id = noether.check(store:put{
        name = "n", language = case[1], code = case[2], effects = case[3],
      })
      assert.equal(case[4], id, "stage " .. index)
    end
  end)

  it("tells lists of hosts apart by what they let through, and by nothing else", function()
    local store = noether.store.memory()
    local function id_of(list)
      return noether.check(store:put{
        name = "n", language = "python", code = PYTHON, effects = { { Network = list } },
      })
    end
    assert.equal(id_of{ "a.example:443", "?:443" }, id_of{ "?:443", "A.example.:443", "?:443" })
    assert.not_equal(id_of{ "?:443" }, id_of{ "?:80" })
    assert.not_equal(id_of{ "?:443" }, id_of{ { host = "?:443", private = true } })
    assert.equal(id_of{ "?" }, id_of{ "?:80", "?:443" })
  end)
end)
