-- SPDX-License-Identifier: MIT
local json = require "noether.json"
local rpc = require "noether.mcp.rpc"
require "spec.support.helper"

describe("mcp.rpc reads", function()
  it("requests, notifications and answers, and keeps the type of an id", function()
    local cases = {
      { '{"jsonrpc":"2.0","id":0,"method":"ping"}', { id = 0, method = "ping", params = {} } },
      { '{"jsonrpc":"2.0","id":"0","method":"ping"}', { id = "0", method = "ping", params = {} } },
      { '{"jsonrpc":"2.0","id":1,"method":"a","params":{"b":1}}\r',
        { id = 1, method = "a", params = { b = 1 } } },
      { '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        { method = "notifications/initialized", params = {} } },
      { '{"jsonrpc":"2.0","id":1,"result":{}}', { answer = true } },
      { '{"jsonrpc":"2.0","id":1,"error":"no"}', { answer = true } },
      { '\239\187\191{"jsonrpc":"2.0","id":7,"method":"x"}',
        { id = 7, method = "x", params = {} } },
    }
    for _, case in ipairs(cases) do
      assert.same(case[2], rpc.read(case[1]), case[1])
    end
    assert.is_nil(rpc.read(""))
    assert.is_nil(rpc.read("  \r"))
  end)

  it("what is no request, and says why under the id that it had", function()
    local cases = {
      { "{", json.null, -32700 },
      { "nonsense", json.null, -32700 },
      { "[]", json.null, -32600 },
      { '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', json.null, -32600 },
      { "1", json.null, -32600 },
      { '{"id":3,"method":"ping"}', 3, -32600 },
      { '{"jsonrpc":"1.0","id":3,"method":"ping"}', 3, -32600 },
      { '{"jsonrpc":"2.0","id":4}', 4, -32600 },
      { '{"jsonrpc":"2.0","id":4,"method":5}', 4, -32600 },
      { '{"jsonrpc":"2.0","id":{},"method":"ping"}', json.null, -32600 },
      { '{"jsonrpc":"2.0","id":null,"method":"ping"}', json.null, -32600 },
      { '{"jsonrpc":"2.0","id":true,"method":"ping"}', json.null, -32600 },
      { '{"jsonrpc":"2.0","id":"x","method":"ping","params":[1]}', "x", -32602 },
      { '{"jsonrpc":"2.0","id":"x","method":"ping","params":3}', "x", -32602 },
    }
    for _, case in ipairs(cases) do
      local found = assert(rpc.read(case[1])).bad
      assert.is_string(found, case[1])
      local answer = json.decode(found)
      assert.equal(case[2], answer.id, case[1])
      assert.equal(case[3], answer.error.code, case[1])
      assert.equal(found:find("\n", 1, true), #found)
    end
  end)

  it("the era of each request from itself", function()
    local key = "io.modelcontextprotocol/protocolVersion"
    local function era(meta)
      return rpc.era{ params = { _meta = meta } }
    end
    assert.equal("legacy", era(nil))
    assert.equal("legacy", era{ progressToken = 0 })
    assert.equal("modern", era{ [key] = "2026-07-28" })
    assert.same({ nil, "2099-01-01" }, { era{ [key] = "2099-01-01" } })
  end)

  it("answers initialize with a version of its era, whatever was asked", function()
    assert.equal("2024-11-05", rpc.legacy_version("2024-11-05"))
    assert.equal("2025-06-18", rpc.legacy_version("2025-06-18"))
    for _, asked in ipairs{ "2026-07-28", "2099-01-01", "", 7 } do
      assert.equal("2025-11-25", rpc.legacy_version(asked))
    end
    assert.equal("2025-11-25", rpc.legacy_version(nil))
  end)
end)
