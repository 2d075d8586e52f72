-- SPDX-License-Identifier: MIT
--- The server by `noether mcp` and by `noether.mcp.serve`, talked to as clients talk to it.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local mcp = require "spec.support.mcp"
local noether = require "noether"

local MODERN = {
  ["io.modelcontextprotocol/protocolVersion"] = "2026-07-28",
  ["io.modelcontextprotocol/clientInfo"] = { name = "c", version = "1" },
  ["io.modelcontextprotocol/clientCapabilities"] = {},
}

local function home()
  local dir = helper.tmpdir()
  return { HOME = dir, NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store" }
end

local function start(...)
  return mcp.start({ command.path, "mcp", "--isolation", "none", ... }, home())
end

-- A server whose tools are functions of a program, written here.
local function start_program(code)
  local path = helper.write(helper.tmpdir() .. "/server.lua", code)
  return mcp.start({ helper.lua, path }, home())
end

-- The tools that run code, but for one.
local function tools_of_languages(missing)
  local names = {}
  for _, name in ipairs(languages.names()) do
    if name ~= missing then names[#names + 1] = "run_" .. name end
  end
  return table.concat(names, " ")
end

local function names_of(result)
  local names = {}
  for index, tool in ipairs(result.tools) do
    names[index] = tool.name
  end
  return table.concat(names, " ")
end

local SLEEP = "execute() { sleep 60; }"

-- A directory with a node of that version alone in it, for PATH: it says what it is and, as those
-- from 22.18 on, whether it strips types.
local function with_node(version)
  local bin = helper.tmpdir()
  local path = helper.shell("command -v node"):match("%S+")
  helper.write(bin .. "/node", ("#!/bin/sh\n[ $# -lt 2 ] || set -- \"$1\" "
    .. '"Object.defineProperty(process.versions, \'node\', { value: \'%s\' });'
    .. 'Object.defineProperty(process.features, \'typescript\', { value: %s });$2"\n'
    .. 'exec %s "$@"\n'):format(version, version >= "22.18" and "'strip'" or "false", path))
  helper.shell("chmod 755 " .. bin .. "/node")
  return bin
end

describe("noether mcp", function()
  it("tells a model what it can do about a failure, and not what its host could", function()
    local client = mcp.start({ command.path, "mcp", "--language", "python" }, home())
    local code = "import socket\ndef execute(i): socket.create_connection(('192.0.2.1', 9), 5)"
    local text = mcp.text(client:call("run_python", { code = code }))
    assert.truthy(text:find("effect_denied: ", 1, true), text)
    assert.truthy(text:find("hint: code of this server has no Network", 1, true), text)
    local printed = client:call("run_python", { code = "def execute(i):\n    print(6 * 7)" })
    assert.is_nil(printed.isError)
    text = mcp.text(printed)
    assert.truthy(text:find("null\nlog:\n42", 1, true), text)
    assert.truthy(text:find("hint: execute returned nothing", 1, true), text)
    local meant = client:call("run_python", { code = "def execute(i):\n    return None" })
    assert.equal("null", mcp.text(meant))
    client:close()
  end)

  local DRAWS = [[
import base64
def execute(n):
    open("note.txt", "w").write(open("in.txt").read() + "!")
    open("chart.png", "wb").write(base64.b64decode("iVBORw0KGgo="))
    open("data.bin", "wb").write(bytes([0, 255]))
    open("large.csv", "w").write("x" * n)
    if n < 0: raise ValueError("after all")
    return 1
]]

  local function blocks(result, kind)
    local found = {}
    for _, block in ipairs(result.content) do
      if block.type == kind then found[#found + 1] = block end
    end
    return found
  end

  it("takes and gives files, images as images", function()
    local client = start("--language", "python")
    local arguments = { code = DRAWS, input = 2000000, files = { ["in.txt"] = "hello" },
      outputs = { "*.png", "note.txt", "data.bin", "large.csv" } }
    local result = client:call("run_python", arguments)
    assert.same({ type = "image", mimeType = "image/png", data = "iVBORw0KGgo=" },
      blocks(result, "image")[1])
    local found = blocks(result, "resource")
    assert.equal(2, #found)
    assert.same({ "noether:///data.bin", "AP8=" },
      { found[1].resource.uri, found[1].resource.blob })
    assert.same({ "text/plain", "hello!" },
      { found[2].resource.mimeType, found[2].resource.text })
    local text = mcp.text{ content = blocks(result, "text") }
    assert.truthy(text:find("large.csv (2000000 bytes): too large to be sent", 1, true), text)
    arguments.input = -1
    result = client:call("run_python", arguments)
    assert.is_true(result.isError)
    assert.truthy(result.content[1].text:find("after all", 1, true))
    assert.equal(1, #blocks(result, "image"))
    for _, wrong in ipairs{ { files = { ["../x"] = "" } }, { outputs = { "nothing" } },
        { outputs = { "a\0b" } }, { files = { [("x"):rep(300)] = "" } },
        { session = "s", outputs = { "x" } } } do
      wrong.code = "def execute(i): return 1"
      result = client:call("run_python", wrong)
      assert.is_true(result.isError, json.encode(wrong))
    end
    assert.equal("1", mcp.text(client:call("run_python", { code = "def execute(i): return 1" })))
    client:close()
  end)

  it("puts no files where stages may write", function()
    local dir = helper.tmpdir()
    local executor = assert(noether.executor())
    local ok, err = noether.mcp.serve{ executor = executor, languages = {}, output_dir = dir,
      effects = { { FsWrite = dir:match("^(.*)/") } } }
    assert.is_nil(ok)
    assert.equal("input_invalid", err.kind)
    executor:close()
  end)

  it("puts files where its command line says, each call's by themselves", function()
    local dir = helper.tmpdir()
    local client = start("--language", "python", "--output-dir", dir)
    local arguments = { code = DRAWS, input = 5, files = { ["in.txt"] = "a" },
      outputs = { "*.png", "note.txt" } }
    local one = client:call("run_python", arguments)
    client:call("run_python", arguments)
    assert.equal(2, #helper.list(dir))
    local path = mcp.text{ content = blocks(one, "text") }:match("note.txt %(2 bytes%): (%S+)")
    assert.equal(dir, path:sub(1, #dir))
    assert.equal("a!", helper.read(path))
    assert.equal(1, #blocks(one, "image"))
    assert.equal(0, #blocks(one, "resource"))
    client:call("run_python", { code = "def execute(i): return 1", outputs = { "none?" } })
    assert.equal(2, #helper.list(dir))
    client:close()
  end)

  it("checks itself", function()
    local out = command.succeed({ "mcp", "--check", "--language", "bash" }, { env = home() })
    for _, line in ipairs{ "ok +initialize +version 2025%-11%-25\n", "ok +run_bash +runs code",
        "ok +server/discover +version 2026%-07%-28\n", "ok +the end +ends with its input\n" } do
      assert.truthy(out:find(line), out)
    end
    local env = home()
    env.PATH = with_node("20.1.0")
    local result = command.run({ "mcp", "--check", "--language", "bash", "--isolation", "none" },
      { env = env })
    assert.equal(125, result.code)
    assert.truthy(result.out:find("fail +run_bash +runtime_unavailable: "), result.out)
  end)

  it("asks no interpreter what it is before it must, and then once", function()
    local env = home()
    env.PATH = with_node("22.18.0")
    local log = env.HOME .. "/asked"
    helper.write(env.PATH .. "/node", helper.read(env.PATH .. "/node"):gsub("\n",
      ("\necho asked >>%s\n"):format(log), 1))
    local function asked()
      local file = io.open(log)
      local text = file and file:read "a" or ""
      if file then file:close() end
      return select(2, text:gsub("\n", ""))
    end
    local function visit(method)
      local client = mcp.start({ command.path, "mcp", "--isolation", "none" }, env)
      local answer = client:answer(client:ask(method, { _meta = MODERN }, "server-probe-1")).result
      assert.equal(0, client:close().exit_code)
      return answer
    end
    visit "server/discover"
    assert.equal(0, asked())
    assert.is_nil(io.open(env.NOETHER_CACHE_DIR))
    for _ = 1, 3 do
      assert.equal(tools_of_languages(),
        names_of(visit "tools/list"))
    end
    assert.equal(1, asked())
  end)

  it("says at once what no tool could do without", function()
    for _, words in ipairs{
      { "NOETHER_RUNTIME", "nosuch" }, { "NOETHER_POLICY_PATH", "/nosuch" },
      { "NOETHER_ISOLATION", "none" }, { "NOETHER_RUNTIME", "nix" },
    } do
      local env = home()
      env[words[1]], env.PATH = words[2], "/nonexistent"
      local client = mcp.start({ command.path, "mcp" }, env)
      local result, said = client:close()
      assert.equal(125, result.exit_code, words[1] .. said)
      assert.truthy(said:find("noether: error: ", 1, true), said)
    end
  end)

  it("offers TypeScript where it can be had, and only there", function()
    for version, expected in pairs{
      ["22.18.0"] = tools_of_languages(), ["20.1.0"] = tools_of_languages "typescript",
    } do
      local env = home()
      env.PATH = with_node(version)
      local client = mcp.start({ command.path, "mcp", "--isolation", "none" }, env)
      local list = client:answer(client:ask("tools/list", nil, 1)).result
      assert.equal(expected, names_of(list))
      assert.equal(0, client:close().exit_code)
    end
  end)

  it("is spoken to in the era of initialize", function()
    local client = start("--language", "bash")
    local hello = client:answer(client:ask("initialize", {
      protocolVersion = "2025-06-18", capabilities = {}, clientInfo = { name = "c", version = "1" },
    }, 0))
    assert.equal("2025-06-18", hello.result.protocolVersion)
    assert.equal("noether", hello.result.serverInfo.name)
    assert.is_nil(hello.result.resultType)
    client:say{ jsonrpc = "2.0", method = "notifications/initialized" }
    client:ask("ping", nil, "p")
    assert.same({}, client:answer("p").result)
    local list = client:answer(client:ask("tools/list", nil, 1)).result
    assert.equal("run_bash", names_of(list))
    assert.is_nil(list.ttlMs)
    assert.equal("object", list.tools[1].inputSchema.type)
    local result = client:call("run_bash", { code = "execute() { echo hi >&2; echo 4; }" })
    assert.same({ "text", "4" }, { result.content[1].type, result.content[1].text })
    assert.equal("log:\nhi\n", result.content[2].text)
    assert.is_nil(result.isError)
    assert.equal(0, client:close().exit_code)
  end)

  it("is spoken to in the modern era, by a client that opens with a call", function()
    local client = start("--language", "bash")
    local result = client:call("run_bash", { code = "execute() { echo 4; }" }, { _meta = MODERN })
    assert.equal("complete", result.resultType)
    client:ask("tools/list", { _meta = MODERN }, 0)
    local list = client:answer(0).result
    assert.same({ "complete", 0, "private" }, { list.resultType, list.ttlMs, list.cacheScope })
    client:ask("server/discover", { _meta = MODERN }, "server-discover-probe-1")
    local found = client:answer("server-discover-probe-1").result
    assert.same({ "2026-07-28" }, { found.supportedVersions[1] })
    assert.equal("noether", found._meta["io.modelcontextprotocol/serverInfo"].name)
    local meta = { ["io.modelcontextprotocol/protocolVersion"] = "2099-01-01" }
    local refused = client:answer(client:ask("tools/list", { _meta = meta }, 5)).error
    assert.equal(-32022, refused.code)
    assert.same({ "2026-07-28", "2099-01-01" },
      { refused.data.supported[1], refused.data.requested })
    client:close()
  end)

  it("tells of a failure with its kind and hint, and never with structured content", function()
    local client = start("--language", "bash")
    local result = client:call("run_bash", { code = "execute() { echo why >&2; exit 3; }" })
    assert.is_true(result.isError)
    assert.truthy(mcp.text(result):find("stage_failed: ", 1, true))
    assert.truthy(mcp.text(result):find("why", 1, true))
    assert.is_nil(result.structuredContent)
    for arguments, text in pairs{
      [{}] = "input_invalid: arguments.code: missing",
      [{ code = 5 }] = "input_invalid: arguments.code: expected string, got number",
      [{ code = "x", timeout_secs = 31 }] = "arguments.timeout_secs: expected 30 or less",
      [{ code = "x", cod = "y" }] = "arguments.cod: not among the fields",
    } do
      local refused = client:call("run_bash", arguments)
      assert.is_true(refused.isError)
      assert.truthy(mcp.text(refused):find(text, 1, true), mcp.text(refused))
    end
    client:close()
  end)

  it("answers what is no request, and goes on", function()
    local client = start("--language", "bash")
    for _, case in ipairs{
      { "nonsense\n", -32700 }, { "[1]\n", -32600 }, { '{"jsonrpc":"2.0","id":{}}\n', -32600 },
    } do
      client:say(case[1])
      local answer = client:hear()
      assert.same({ json.null, case[2] }, { answer.id, answer.error.code })
    end
    client:say("\n  \r\n")
    client:say{ jsonrpc = "2.0", method = "notifications/unheard-of" }
    client:say{ jsonrpc = "2.0", method = "notifications/cancelled", params = { requestId = 99 } }
    client:say{ jsonrpc = "2.0", id = 1, result = {} }
    assert.equal(-32601, client:answer(client:ask("resources/list", nil, 7)).error.code)
    assert.equal(-32602, client:answer(client:ask("tools/call", { name = "nope" }, 8)).error.code)
    assert.equal(-32602, client:answer(client:ask("tools/call", { name = 5 }, 9)).error.code)
    client:say('{"jsonrpc":"2.0","id":10,"me')
    client:say('thod":"ping"}\r\n')
    assert.same({}, client:answer(10).result)
    client:say('{"jsonrpc":"2.0","id":11,"method":"ping"}') -- half a line, then the end
    assert.equal(0, client:close().exit_code)
  end)

  it("passes over a line that is too long, and takes the next", function()
    local client = start("--language", "bash")
    client:say('{"jsonrpc":"2.0","id":1,"params":"' .. ("x"):rep(17 * 1024 * 1024) .. '"}\n')
    local answer = client:hear()
    assert.equal(-32600, answer.error.code)
    assert.truthy(answer.error.message:find("longer than", 1, true))
    client:ask("ping", nil, 2)
    assert.same({}, client:answer(2).result)
    client:close()
  end)

  it("runs so many calls at once, and answers everything else meanwhile", function()
    local client = start("--language", "bash", "--jobs", "1", "--effect", "Process")
    local dir = helper.tmpdir()
    local first = client:ask("tools/call", { name = "run_bash", arguments = {
      code = ("execute() { until [ -e %s/go ]; do sleep 0.02; done; echo 1; }"):format(dir),
    } })
    local second = client:ask("tools/call", { name = "run_bash", arguments = {
      code = "execute() { echo 2; }",
    } })
    client:answer(client:ask("ping"))
    assert.same({}, client.others)
    helper.write(dir .. "/go", "")
    assert.equal("1", mcp.text(client:answer(first).result))
    assert.same({}, client.others)
    assert.equal("2", mcp.text(client:answer(second).result))
    client:close()
  end)

  it("refuses a second request of an id that is not over", function()
    local client = start("--language", "bash", "--effect", "Process")
    local params = { name = "run_bash", arguments = { code = SLEEP } }
    client:ask("tools/call", params, "same")
    client:ask("tools/call", params, "same")
    assert.equal(-32600, client:answer("same").error.code)
    client:close()
  end)

  it("says that a call goes on, to clients that asked", function()
    local client = start("--language", "bash", "--effect", "Process")
    local id = client:ask("tools/call", {
      name = "run_bash", _meta = { progressToken = 0 },
      arguments = { code = "execute() { echo step >&2; sleep 60; }" },
    })
    local last = -1
    for _ = 1, 2 do
      local beat = client:hear()
      assert.equal("notifications/progress", beat.method)
      assert.equal(0, beat.params.progressToken)
      assert.equal("step", beat.params.message)
      assert.truthy(beat.params.progress > last)
      last = beat.params.progress
    end
    client:say{ jsonrpc = "2.0", method = "notifications/cancelled", params = { requestId = id } }
    client:answer(client:ask("ping"))
    client:close()
  end)

  it("ends what is cancelled, running or waiting, and does not answer it", function()
    local client = start("--language", "bash", "--jobs", "1", "--effect", "Process")
    local params = { name = "run_bash", arguments = { code = SLEEP } }
    local running, waiting = client:ask("tools/call", params), client:ask("tools/call", params)
    for _, id in ipairs{ waiting, running } do
      client:say{ jsonrpc = "2.0", method = "notifications/cancelled", params = { requestId = id } }
    end
    local result = client:call("run_bash", { code = "execute() { echo 5; }" })
    assert.equal("5", mcp.text(result))
    assert.same({}, client.others)
    client:close()
  end)

  it("ends all that it runs when its input ends, or at a signal", function()
    for _, signal in ipairs{ false, "SIGTERM", "SIGINT" } do
      local client = start("--language", "bash", "--effect", "Process")
      local dir = helper.tmpdir()
      client:ask("tools/call", { name = "run_bash", arguments = {
        code = ("execute() { echo $$ >%s/pid; exec sleep 60; }"):format(dir),
      } })
      local pid
      helper.poll(function()
        local file = io.open(dir .. "/pid")
        pid = file and file:read("*n")
        if file then file:close() end
        return pid
      end)
      if signal then client.process:kill(signal) else client:hang_up() end
      client:close()
      helper.poll(function() return not io.open("/proc/" .. pid .. "/stat") end)
    end
  end)

  it("waits for a client that does not read, and loses nothing", function()
    local client = start("--language", "bash")
    local count = 3000
    for id = 1, count do
      client:say{ jsonrpc = "2.0", id = id, method = "tools/list" }
    end
    for id = 1, count do
      assert.equal(id, client:hear().id)
    end
    client:close()
  end)

  it("keeps its lines short, and says what is left out", function()
    local client = start("--language", "bash")
    local result = client:call("run_bash", {
      code = "execute() { printf '\"'; printf 'ä%.0s' {1..400000}; printf '\"'; }",
    })
    local text = result.content[1].text
    assert.truthy(#text < 600 * 1024, #text)
    assert.truthy(text:find("%[%d+ bytes are left out%]$"))
    assert.truthy(noether.is_error ~= nil and json.encode(text))
    client:close()
  end)

  it("prints what to put into the configuration of each client", function()
    for _, client in ipairs{ "claude-desktop", "cursor", "gemini", "vscode", "opencode" } do
      local out = command.succeed{ "mcp", "--jobs", "3", "--print-config", client,
        "--effect=Network" }
      local config = assert(json.decode(out))
      local entry = (config.mcpServers or config.servers or config.mcp).noether
      local words = entry.args or entry.command
      assert.truthy(#words >= 4 and words[#words] == "--effect=Network", out)
      assert.falsy(out:find("print", 1, true))
    end
    assert.truthy(command.succeed({ "mcp", "--print-config", "claude-code" }):find(
      "^claude mcp add noether %-%- /.*/noether mcp\n$"))
    assert.truthy(command.succeed({ "mcp", "--print-config=codex" }):find(
      'args = ["mcp"]', 1, true))
    assert.truthy(command.succeed({ "mcp", "--print-config=codex" }):find(
      '\ncommand = "/[^"\\]+/noether"\n'))
  end)

  it("prints whole paths, since a client starts it elsewhere", function()
    local out = command.succeed({ "mcp", "--print-config=codex", "--effect", "FsRead=lua",
      "--store=kept", "--policy-path", "one:/two" })
    local here = helper.root
    for _, words in ipairs{
      '"--effect","FsRead=%s/lua"', '"--store=%s/kept"', '"--policy-path","%s/one:/two"',
    } do
      assert.truthy(out:find(words:format(here), 1, true), out)
    end
  end)

  it("does not tell a model what is on this machine", function()
    local client = mcp.start({ command.path, "mcp", "--language", "python" }, home())
    local code = "def execute(i):\n    open(%q)"
    local function told_of(name)
      return mcp.text(client:call("run_python", { code = code:format(helper.root .. name) }))
    end
    local there, absent = told_of "/Makefile", told_of "/nosuch"
    assert.truthy(there:find("FileNotFoundError", 1, true), there)
    assert.falsy(there:find("hint", 1, true), there)
    assert.falsy(absent:find("hint", 1, true), absent)
    client:close()
  end)
end)

describe("noether.mcp.serve", function()
  local SERVE = [[
    local noether = require "noether"
    local serve = { executor = noether.inline{}, languages = {} }
    serve.log = function(level, message) io.stderr:write(level, " ", message, "\n") end
    serve.functions = { %s }
    noether.check(noether.mcp.serve(serve))
    print "over"
  ]]

  local function serve(functions)
    return start_program(SERVE:format(functions))
  end

  it("serves functions of the program, what fits their schemas as structured content", function()
    local client = serve([[
      plain = function(arguments) return { got = arguments } end,
      priced = {
        description = "a price", call = function(a) return { euros = a.n } end,
        input_schema = { type = "object", required = { "n" } },
        output_schema = { type = "object", properties = { euros = { type = "number" } } },
      },
      nothing = function() end,
      refuses = function() return nil, "not today" end,
      raises = function() error("secret of the host") end,
      odd = function() return print end,
    ]])
    client:ask("tools/list")
    assert.equal("nothing odd plain priced raises refuses",
      names_of(client:answer(client.last_id).result))
    local result = client:call("priced", { n = 1.5 })
    assert.same({ euros = 1.5 }, result.structuredContent)
    assert.equal('{"euros":1.5}', result.content[1].text)
    result = client:call("priced", { n = "x" })
    assert.is_true(result.isError)
    assert.is_nil(result.structuredContent)
    assert.truthy(mcp.text(result):find("answer.euros: expected number", 1, true))
    assert.truthy(mcp.text(client:call("priced", {})):find("arguments.n: missing", 1, true))
    assert.equal('{"got":{"a":1}}', mcp.text(client:call("plain", { a = 1 })))
    assert.equal("null", mcp.text(client:call("nothing", {})))
    assert.equal("stage_failed: not today", mcp.text(client:call("refuses", {})))
    assert.equal("stage_failed: raises failed", mcp.text(client:call("raises", {})))
    assert.truthy(mcp.text(client:call("odd", {})):find("a function is no JSON value", 1, true))
    local _, said = client:close()
    assert.truthy(said:find("secret of the host", 1, true))
  end)

  it("goes on where what a function gives raises when it is looked at", function()
    local client = serve([[
      lost = { output_schema = { type = "object", properties = { a = { type = "number" } } },
        call = function()
          return setmetatable({}, { __index = function() error("hidden") end })
        end },
      false_task = function() return { look = function() end } end,
      half_task = function() return { look = function() error("hidden") end, step = print,
        pollfd = function() error("hidden") end, timeout = function() error("hidden") end } end,
    ]])
    for _, name in ipairs{ "lost", "false_task", "half_task" } do
      local result = client:call(name, {})
      assert.is_true(result.isError, name)
      assert.truthy(mcp.text(result):find("stage_failed: " .. name .. ": what it gave", 1, true))
      assert.is_nil(mcp.text(result):find("hidden", 1, true))
    end
    client:ask("ping", nil, "p")
    assert.same({}, client:answer("p").result)
    client:close()
  end)

  it("waits for a task that a function gives, while it answers others", function()
    local client = serve([[
      slow = function()
        return noether.check(noether.spawn({ "cat" }, { isolation = "none", stdin = "x" }))
      end,
      lazy = function() return noether.inline{ one = function() return 1 end }:start("one") end,
    ]])
    assert.equal("1", mcp.text(client:call("lazy", {})))
    local result = client:call("slow", {})
    assert.is_nil(result.isError, mcp.text(result))
    client:close()
  end)

  it("refuses functions and schemas that it could not hold", function()
    local function failure(functions)
      local client = serve(functions)
      local result, said = client:close()
      assert.not_equal(0, result.exit_code)
      return said
    end
    assert.truthy(failure("['a b'] = function() end"):find("make the name of a tool", 1, true))
    assert.truthy(failure("a = { call = print, input_schema = { type = 'string' } }"):find(
      "tool 'a': inputSchema: its root must have type", 1, true))
    assert.truthy(failure("a = { call = print, output_schema = { type = 'object', oneOf = {} } }")
      :find("'oneOf' is not among", 1, true))
    assert.truthy(failure("a = 5"):find("functions.a: expected a function", 1, true))
  end)
end)
