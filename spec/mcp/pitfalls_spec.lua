-- SPDX-License-Identifier: MIT
--- What breaks clients, and what clients do that breaks servers: each line of it was seen with a
-- client that people use.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local json = require "noether.json"
local mcp = require "spec.support.mcp"
local sys = require "noether.sys"

local MODERN = {
  ["io.modelcontextprotocol/protocolVersion"] = "2026-07-28",
  ["io.modelcontextprotocol/clientInfo"] = { name = "c", version = "1" },
  ["io.modelcontextprotocol/clientCapabilities"] = {},
}

local client

local function start(...)
  local dir = helper.tmpdir()
  client = mcp.start({ command.path, "mcp", "--isolation", "none", ... }, {
    HOME = dir, NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store",
  })
  return client
end

local function bash(code, more)
  local arguments = { code = code }
  for name, value in pairs(more or {}) do arguments[name] = value end
  return client:call("run_bash", arguments)
end

local function no_nulls(value, place)
  assert.not_equal(json.null, value, place)
  for name, item in pairs(type(value) == "table" and value or {}) do
    no_nulls(item, place .. "." .. tostring(name))
  end
end

describe("a client of noether mcp", function()
  after_each(function() client:close() end)

  it("gets one page of tools in both eras, with nothing in it that is null", function()
    local schema = [[{ "type": "object", "properties": { "n": { "type": "number" } } }]]
    local dir = helper.tmpdir()
    local file = helper.write(dir .. "/double.sh", "execute() { echo '{\"n\": 2}'; }")
    command.succeed{ "store", "put", file, "--store", dir .. "/s", "--name", "double",
      "--effect", "Pure", "--output-schema", schema }
    start("--store", dir .. "/s")
    for _, meta in ipairs{ false, MODERN } do
      local list = client:answer(client:ask("tools/list", { _meta = meta or nil })).result
      assert.is_nil(list.nextCursor)
      no_nulls(list, "list")
      assert.equal(meta and "complete" or nil, list.resultType)
      assert.equal(meta and 0 or nil, list.ttlMs)
      assert.equal(meta and "private" or nil, list.cacheScope)
      assert.truthy(#list.tools >= 4)
      for _, tool in ipairs(list.tools) do
        assert.truthy(tool.name:find("^[%w_.-]+$"))
        assert.equal("object", tool.inputSchema.type)
        if tool.outputSchema then assert.equal("object", tool.outputSchema.type) end
      end
    end
    local result = client:call("double", {})
    assert.same({ n = 2 }, result.structuredContent)
    assert.equal('{"n":2}', result.content[1].text)
  end)

  it("gets each id back as it was, 0 and texts too, and is asked nothing itself", function()
    start("--language", "bash")
    for _, id in ipairs{ 0, "server-discover-probe-1", "0", 2 ^ 53, -1 } do
      local answer = client:answer(client:ask("ping", nil, id))
      assert.equal(id, answer.id)
      assert.equal(type(id), type(answer.id))
      assert.same({}, client.others)
    end
    local hello = client:answer(client:ask("initialize", { protocolVersion = "2026-07-28" }, 7))
    assert.equal("2025-11-25", hello.result.protocolVersion)
    assert.same({ tools = {} }, hello.result.capabilities)
  end)

  it("may cut a line anywhere, end it by CR LF, and put a mark before it", function()
    start("--language", "bash")
    local line = assert(json.encode{ jsonrpc = "2.0", id = 1, method = "tools/call", params = {
      name = "run_bash", arguments = { code = "execute() { echo '\"ä€😀\"'; }" },
    } })
    local at = line:find("\226", 1, true) -- in the middle of a character
    client:say{ jsonrpc = "2.0", id = 0, method = "ping" }
    client:say("\239\187\191" .. line:sub(1, at))
    assert.same({}, client:answer(0) and client.others)
    client:say(line:sub(at + 1) .. "\r\n")
    client:answer(1)
    client:say(line:gsub('"id":1', '"id":2') .. "\n" .. line:gsub('"id":1', '"id":3') .. "\n")
    local texts = {}
    for _ = 1, 2 do
      local answer = client:hear()
      texts[answer.id] = answer.result.content[1].text
    end
    assert.same({ [2] = "ä€😀", [3] = "ä€😀" }, texts)
  end)

  it("may go in the middle of a line", function()
    start("--language", "bash")
    client:say('{"jsonrpc":"2.0","id":1,"method":"pi')
    client:hang_up()
    assert.is_nil(client:hear())
    assert.equal(0, client:close().exit_code)
  end)

  it("sends 1 MiB of code and has 5 MiB of result, as a file", function()
    local dir = helper.tmpdir()
    start("--language", "bash", "--output-dir", dir)
    local code = ("# %s\n"):format(("x"):rep(1024 * 1024))
      .. "execute() { printf '%05242880d' 0 >large.txt; echo 1; }"
    local result = bash(code, { outputs = { "large.txt" } })
    assert.equal("1", result.content[1].text)
    local path = mcp.text(result):match("large.txt %(5242880 bytes%): (%S+)")
    assert.equal(5242880, sys.stat(path).size)
    assert.truthy(#json.encode(result) < 1024 * 1024)
  end)

  it("gets a short answer of a stage that floods", function()
    start("--language", "bash", "--timeout", "600")
    local result = bash("execute() { printf 'no end of it\n%.0s' {1..100000} >&2; echo 1; }")
    assert.equal("1", result.content[1].text)
    assert.truthy(#json.encode(result) < 128 * 1024)
    result = bash("execute() { while :; do printf '%01000000d' 0; done; }")
    assert.is_true(result.isError)
    assert.truthy(result.content[1].text:find("^output_limit: "))
    assert.truthy(#json.encode(result) < 128 * 1024)
  end)

  it("is told of an argument that is wrong, and of a tool that is none", function()
    start("--language", "bash")
    for _, case in ipairs{
      { { code = json.null }, "arguments.code: expected string" },
      { { code = "x", outputs = "x" }, "arguments.outputs: expected array" },
      { { code = "x", outputs = { 5 } }, "arguments.outputs[1]: expected string" },
      { { code = "x", files = { a = 5 } }, "arguments.files.a: expected string" },
      { { code = "x", session = "" }, "arguments.session: " },
      { { code = "x", session = ("s"):rep(65) }, "arguments.session: " },
      { { code = "x", timeout_secs = "5" }, "arguments.timeout_secs: expected number" },
      { { code = "x", timeout_secs = 0 }, "arguments.timeout_secs: " },
      { json.array{ 1 }, "arguments: expected object" }, { "code", "arguments: expected object" },
    } do
      local result = client:call("run_bash", case[1])
      assert.is_true(result.isError)
      assert.truthy(result.content[1].text:find("input_invalid: " .. case[2], 1, true),
        result.content[1].text)
    end
    for _, name in ipairs{ "", "run bash", "../run_bash", "\27[2J", 5, { 1 } } do
      local answer = client:answer(client:ask("tools/call", { name = name, arguments = {} }))
      assert.equal(-32602, answer.error.code)
      assert.falsy(answer.error.message:find("%c"))
    end
  end)

  it("is answered a ping while fifty calls are at work or wait", function()
    start("--language", "bash", "--effect", "Process", "--jobs", "2")
    local ids = {}
    for index = 1, 50 do
      ids[index] = client:ask("tools/call", { name = "run_bash",
        arguments = { code = "execute() { sleep 60; }", timeout_secs = 30 } })
    end
    for _ = 1, 20 do
      assert.same({}, client:answer(client:ask("ping")).result)
      assert.same({}, client.others)
    end
    for _, id in ipairs(ids) do
      client:say{ jsonrpc = "2.0", method = "notifications/cancelled", params = { requestId = id } }
    end
    assert.equal("2", bash("execute() { echo 2; }").content[1].text)
  end)

  it("ends the server by its end of input and two signals at once, whatever runs", function()
    start("--language", "bash", "--effect", "Process")
    client:ask("tools/call", { name = "run_bash",
      arguments = { code = "execute() { sleep 60; }" } })
    client:ask("ping", nil, "p")
    client:answer("p")
    client.process:kill("SIGINT")
    client:hang_up()
    client.process:kill("SIGTERM")
    client:close()
  end)
end)

describe("a tool of noether mcp", function()
  it("that a policy refuses says so, and is no more of the model's business", function()
    local policies = helper.tmpdir()
    helper.write(policies .. "/pip.lua", 'return { deny = { "six" } }')
    start("--language", "python", "--policy-path", policies)
    local code = "# requires: six==1.16.0\ndef execute(i): return 1"
    local result = client:call("run_python", { code = code })
    assert.is_true(result.isError)
    assert.truthy(result.content[1].text:find("package_rejected: .*six==1.16.0.*policy denies it"),
      result.content[1].text)
    assert.falsy(result.content[1].text:find(policies, 1, true))
    client:close()
  end)
end)
