-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local effects = require "noether.stage.effects"
local json = require "noether.json"
local tables = require "noether.tables"

describe("effects.parse", function()
  it("takes names, short tables and the wire form, and gives the wire form sorted", function()
    local parsed = assert(effects.parse{
      "Pure", { FsWrite = "/out" }, "Network", { effect = "FsRead", path = "/data" },
      { Cost = 5 }, { Llm = "small" }, "Process", "Fallible", "NonDeterministic",
    })
    assert.same({
      { effect = "Cost", cents = 5 }, { effect = "Fallible" },
      { effect = "FsRead", path = "/data" }, { effect = "FsWrite", path = "/out" },
      { effect = "Llm", model = "small" }, { effect = "Network" },
      { effect = "NonDeterministic" }, { effect = "Process" }, { effect = "Pure" },
    }, parsed.list)
    assert.is_true(parsed.network)
    assert.is_true(parsed.process)
    assert.same({ "/data" }, parsed.reads)
    assert.same({ "/out" }, parsed.writes)
    assert.equal(5, parsed.cost)
    assert.same({ "small" }, parsed.llm)
  end)

  it("reads its own wire form back", function()
    local parsed = assert(effects.parse{ "Network", { FsRead = "/a" }, { Cost = 2.5 } })
    assert.same(parsed, effects.parse(parsed.list))
  end)

  it("opens nothing for a list that declares nothing, and processes for no list at all", function()
    local none = assert(effects.parse{})
    assert.is_false(none.network)
    assert.is_false(none.process)
    assert.same({}, none.list)
    local unknown = assert(effects.parse(nil))
    assert.is_true(unknown.process)
    assert.is_false(unknown.network)
    assert.same({ { effect = "Unknown" } }, unknown.list)
  end)

  it("gives one order and one entry whatever the order and number of entries", function()
    local a = assert(effects.parse{ "Pure", "Network", { FsRead = "/a//b/" } })
    local b = assert(effects.parse{ { FsRead = "/a/b" }, "Network", "Pure", "Network" })
    assert.same(a, b)
  end)

  local refused = {
    { { "Netwrok" }, "unknown effect 'Netwrok'" },
    { "Pure", 'expected a list, got a string: write { "Pure" }' },
    { "Netwrok", "expected a list, got a string" },
    { 3, "expected a list, got a number" },
    { { FsRead = "/a" }, "write { { FsRead = ... } }" },
    { { "Pure", nil, "Network" }, "without holes" },
    { { { FsRead = "a" } }, "FsRead: expected an absolute path" },
    { { { FsRead = "/a/../b" } }, "without '.' and '..'" },
    { { { FsRead = "/" } }, "below '/'" },
    { { { FsWrite = "/proc/self" } }, "outside /proc" },
    { { { FsWrite = "/sys" } }, "outside /sys" },
    { { { FsRead = "/dev/sda" } }, "outside /dev" },
    { { { FsRead = "/a\0b" } }, "without NUL" },
    { { { FsRead = 3 } }, "FsRead: expected a path" },
    { { { effect = "FsRead" } }, "FsRead: expected a path" },
    { { { effect = "FsRead", path = "/a", mode = "x" } }, "no field 'mode'" },
    { { { FsRead = "/a", FsWrite = "/b" } }, "one { Name = value }" },
    { { { Cost = -1 } }, "Cost: expected a number of cents" },
    { { { Cost = 0 / 0 } }, "Cost: expected a number of cents" },
    { { { Cost = math.huge } }, "Cost: expected a number of cents" },
    { { { Llm = "" } }, "Llm: expected the name" },
    { { { Network = {} } }, "Network: expected a list of hosts that is not empty" },
    { { { Network = { "127.0.0.1:53" } } }, "Network: expected another place than 127.0.0.1:53" },
    { { { Network = true } }, "Network: expected a list" },
    { { { Network = { "host:0" } } }, "Network: expected a port from 1 to 65535 in 'host:0'" },
    { { { effect = "Network", hosts = {} } }, "Network: expected a list" },
    { { { effect = "Network", host = "a:1" } }, "Network has no field 'host'" },
    { { { Pure = true } }, "Pure carries no value" },
    { { { Process = false } }, "Process carries no value" },
    { { { Network = false } }, "Network: expected a list" },
    { { { effect = "Network", hosts = false } }, "Network: expected a list" },
    { { {} }, "one { Name = value }" },
    { { 7 }, "unknown effect '7'" },
  }
  for _, case in ipairs(refused) do
    it("refuses with: " .. case[2], function()
      local parsed, reason = effects.parse(case[1])
      assert.is_nil(parsed)
      assert.truthy(reason:find(case[2], 1, true), reason)
    end)
  end

  it("takes a list of hosts, and writes it in one form", function()
    local parsed = assert(effects.parse{ { Network = { "B.example:443", "a.example" } } })
    assert.same({ { effect = "Network", hosts = { "a.example:443", "a.example:80",
      "b.example:443" } } }, parsed.list)
    assert.same(parsed.list[1].hosts, parsed.hosts)
    assert.is_false(parsed.network)
    assert.same(parsed, effects.parse(parsed.list))
    assert.same(parsed, effects.parse{ { Network = "b.example:443" }, { Network = "a.example" } })
  end)

  it("takes all of the network for more than any list", function()
    local parsed = assert(effects.parse{ { Network = "a.example:1" }, "Network" })
    assert.same({ { effect = "Network" } }, parsed.list)
    assert.is_true(parsed.network)
    assert.is_nil(parsed.hosts)
  end)

  it("does not change the list it was given", function()
    local list = { "Pure", { FsRead = "/a/" } }
    effects.parse(list)
    assert.same({ "Pure", { FsRead = "/a/" } }, list)
  end)
end)

local SAMPLES = { hosts = { "a.example:1" }, path = "/data", cents = 1, model = "m", name = "f" }

describe("effects.allows", function()
  it("covers what opens or costs anything by nothing but an effect that says so", function()
    local nothing = assert(effects.parse{})
    for _, name in ipairs(effects.names()) do
      local field = effects.field(name)
      local declared = assert(effects.parse{
        field and { effect = name, [field] = assert(SAMPLES[field], field) } or name,
      })
      local whole = tables.merged(declared, { list = nothing.list })
      local opens_nothing = json.canonical(whole) == json.canonical(nothing)
      assert.equal(opens_nothing, effects.allows(nothing, declared) == true, name)
      assert.is_true(effects.allows(declared, declared), name)
    end
  end)

  local cases = {
    { {}, { "Pure", "Fallible", "NonDeterministic" } },
    { {}, { "Network" }, "Network" },
    { { "Network" }, { "Network" } },
    { { "Network" }, { { Network = "a:1" } } },
    { {}, { { Network = "a:1" } }, "Network(a:1)" },
    { { { Network = { "*.example.org:443" } } }, { { Network = "a.example.org:443" } } },
    { { { Network = { "*.example.org:443" } } },
      { { Network = { "a.example.org:443", "example.org:443" } } }, "Network(example.org:443)" },
    { { { Network = "a:1" } }, { "Network" }, "Network" },
    { { { Network = "?:443" } }, { { Network = "?:443" } } },
    { { { Network = "?:443" } }, { { Network = "a:443" } }, "Network(a:443)" },
    { { { Network = "a:443" } }, { { Network = { "?:443", "a:443" } } }, "Network(?:443)" },
    { {}, { "Process" }, "Process" },
    { {}, nil, "Unknown" },
    { { "Process" }, nil },
    { { { FsRead = "/data" } }, { { FsRead = "/data/a" } } },
    { { { FsRead = "/data" } }, { { FsRead = "/database" } }, "FsRead(/database)" },
    { { { FsRead = "/data" } }, { { FsWrite = "/data" } }, "FsWrite(/data)" },
    { { { FsWrite = "/data" } }, { { FsRead = "/data" } } },
    { { { Cost = 10 } }, { { Cost = 10 } } },
    { { { Cost = 10 } }, { { Cost = 6 }, { Cost = 5 } }, "Cost(5)" },
    { {}, { { Cost = 1 } }, "Cost(1)" },
    { { { Llm = "a" } }, { { Llm = "a" } } },
    { { { Llm = "a" } }, { { Llm = "b" } }, "Llm(b)" },
  }
  for index, case in ipairs(cases) do
    it(("case %d: %s"):format(index, case[3] and "refuses " .. case[3] or "allows"), function()
      local ok, effect = effects.allows(effects.parse(case[1]), effects.parse(case[2]))
      assert.equal(case[3], effect)
      assert.equal(case[3] == nil and true or nil, ok)
    end)
  end
end)
