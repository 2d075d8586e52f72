-- SPDX-License-Identifier: MIT
--- Tools of a server as functions that stages call.
local client = require "noether.mcp.client"
local helper = require "spec.support.helper"
local noether = require "noether"

-- A server that answers as its first argument says.
local SERVER = [[
import json, os, sys, time

how = sys.argv[1]

def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def tool(name, **more):
    return dict({"name": name, "inputSchema": {"type": "object"}}, **more)

TOOLS = [tool("get-it", description="Gets it."), tool("slow"), tool("fails"), tool("dies"),
    tool("image"), tool("typed", inputSchema={"type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer"}}}),
    tool("strange", inputSchema={"type": "object", "patternProperties": {}}), tool("never")]

def call(name, arguments):
    if name == "get-it":
        return {"content": [], "structuredContent": {"got": arguments, "era": era,
            "sees": os.path.exists(sys.argv[2])}}
    if name == "slow":
        time.sleep(0.05)
        return {"content": [{"type": "text", "text": "slow " + str(arguments["n"])}]}
    if name == "fails":
        return {"content": [{"type": "text", "text": "no\nsuch thing"}], "isError": True}
    if name == "dies":
        print("cannot go on", file=sys.stderr)
        sys.exit(3)
    if name == "image":
        return {"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"}]}
    return {"content": [{"type": "text", "text": json.dumps(arguments)}]}

if how == "long":
    sys.stdout.write("x" * 17000000)
    sys.stdout.flush()
if how == "asks":
    say({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    say({"jsonrpc": "2.0", "id": "r", "method": "roots/list"})
    sys.stdout.write("no JSON\n\n[1]\n")
heard = []
for line in sys.stdin:
    message = json.loads(line)
    if "method" not in message:
        heard.append(message)
        continue
    method, params = message["method"], message.get("params", {})
    if method == "notifications/cancelled":
        open(sys.argv[2], "w").write(str(params["requestId"]))
    if "id" not in message or how == "silent":
        continue
    era = "modern" if "_meta" in params else "legacy"
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "initialize" and how == "modern":
        answer["error"] = {"code": -32601, "message": "no such method"}
    elif method in ("initialize", "server/discover"):
        answer["result"] = {"protocolVersion": params.get("protocolVersion")}
    elif method == "tools/list" and how == "pages" and "cursor" not in params:
        answer["result"] = {"tools": TOOLS[:1], "nextCursor": "2"}
    elif method == "tools/list":
        answer["result"] = {"tools": TOOLS[1:] if how == "pages" else TOOLS}
    elif params["name"] == "never":
        continue
    elif params["name"] == "heard":
        answer["result"] = {"content": [], "structuredContent": heard}
    elif how == "refuses":
        answer["error"] = {"code": -32602, "message": "not like this"}
    else:
        answer["result"] = call(params["name"], params.get("arguments"))
    say(answer)
]]

local function argv(how, path)
  return { "python3", "-c", SERVER, how or "plain", path or helper.tmpdir() .. "/cancelled" }
end

local PLAIN = { isolation = "none" }

local function functions(how, opts, path)
  opts = opts or {}
  opts.allow, opts.spawn = opts.allow or { "*" }, opts.spawn or PLAIN
  opts.timeout_secs = opts.timeout_secs or 60
  local found, server = noether.mcp.functions(argv(how, path), opts)
  return found, server
end

local function executor()
  return noether.check(noether.executor{
    isolation = "native", timeout_secs = 60, cache_dir = helper.tmpdir() .. "/cache",
  })
end

-- Runs Bash that calls.
local function run(ex, code, given, input)
  local effects = {}
  for name in pairs(given) do effects[#effects + 1] = { Call = name } end
  return ex:execute({ language = "bash", code = code, effects = effects }, input,
    { functions = given })
end

describe("tools of a server", function()
  local ex
  setup(function() ex = executor() end)
  teardown(function() ex:close() end)

  it("are functions, by names that languages have, with what they say of themselves", function()
    local found, server = functions()
    assert.equal("Gets it.", found.get_it.description)
    assert.same({ "n" }, found.typed.input_schema.required)
    assert.is_nil(found.strange.input_schema)
    assert.truthy(noether.functions_prompt(found, "python"):find("Gets it.", 1, true))
    server:close()
  end)

  it("give structured content, or text, or all that came", function()
    local found, server = functions()
    local output = noether.check(run(ex, [[execute() { noether get_it '{"a": 1}'; }]], found))
    assert.same({ a = 1 }, output.got)
    assert.equal("legacy", output.era)
    assert.equal('{}', noether.check(run(ex, "execute() { noether strange; }", found)))
    output = noether.check(run(ex, "execute() { noether image; }", found))
    assert.equal("image/png", output.content[1].mimeType)
    server:close()
  end)

  it("fail as calls fail, and the run can go on", function()
    local found, server = functions()
    local output, err = run(ex, [[execute() {
      ! noether fails && ! noether typed '{"n": "x"}' && ! noether typed '[1]' &&
        noether slow '{"n": 7}'
    }]], found)
    assert.is_nil(err, tostring(err))
    assert.equal("slow 7", output)
    local _, _, info = run(ex, "execute() { noether fails; }", found)
    assert.equal("no; such thing", info.calls[1].error.message)
    server:close()
  end)

  it("are called by many runs at once, of one server", function()
    local found, server = functions()
    local stage = { language = "bash", code = [[execute() { noether slow "{\"n\": $1}"; }]],
      effects = { { Call = "slow" } } }
    local inputs = {}
    for n = 1, 12 do inputs[n] = n end
    local outputs = noether.check(ex:map(stage, inputs, { jobs = 4, functions = found }))
    for n = 1, 12 do assert.equal("slow " .. n, outputs[n].output) end
    server:close()
  end)

  it("are those that are allowed, and no others", function()
    local found, server = functions("plain", { allow = { "slow", "get-it" } })
    assert.is_nil(found.fails)
    assert.truthy(found.slow and found.get_it)
    server:close()
    local none, err = functions("plain", { allow = { "slow", "no\nsuch" } })
    assert.is_nil(none)
    assert.equal("input_invalid", err.kind)
    assert.truthy(err.hint:find("get-it, slow", 1, true), err.hint)
    assert.has_error(function() noether.mcp.functions({ "true" }, {}) end)
    assert.has_error(function() noether.mcp.functions({ "true" }, { allow = "slow" }) end)
  end)

  it("are found on all pages", function()
    local found, server = functions("pages")
    assert.truthy(found.get_it and found.never)
    server:close()
  end)
end)

describe("a server whose tools are functions", function()
  local ex
  setup(function() ex = executor() end)
  teardown(function() ex:close() end)

  it("may speak the modern era alone", function()
    local found, server = functions("modern")
    local output = noether.check(run(ex, "execute() { noether get_it; }", found))
    assert.equal("modern", output.era)
    server:close()
  end)

  it("may ask us, and say what is nothing to us", function()
    local found, server = functions("asks")
    local output = noether.check(run(ex, "execute() { noether slow '{\"n\": 1}'; }", found))
    assert.equal("slow 1", output)
    local answers = noether.check(server:ask("tools/call", { name = "heard" }, client.value):wait())
    assert.same({ "p", "r" }, { answers[1].id, answers[2].id })
    assert.same({}, answers[1].result)
    assert.equal(-32601, answers[2].error.code)
    server:close()
  end)

  it("is in a sandbox, unless the caller says otherwise", function()
    local path = helper.write(helper.tmpdir() .. "/secret", "x")
    for _, case in ipairs{ { {}, false }, { PLAIN, true } } do
      local found, server = functions("plain", { spawn = case[1] }, path)
      local output = noether.check(run(ex, "execute() { noether get_it; }", found))
      assert.equal(case[2], output.sees)
      server:close()
    end
  end)

  local WRONG = {
    ["cannot be started"] = { { "/no/such/server" }, "spawn_failed", "/no/such/server" },
    ["ends at once"] = { { "sh", "-c", "echo why >&2; exit 3" }, "stage_failed",
      "exit code 3): why" },
    ["writes without end"] = { argv("long"), "stage_failed", "16777216 bytes" },
  }
  for name, case in pairs(WRONG) do
    it("is no server where it " .. name, function()
      local found, err = noether.mcp.functions(case[1], { allow = { "*" }, spawn = PLAIN })
      assert.is_nil(found)
      assert.equal(case[2], err.kind, tostring(err))
      assert.truthy(err.message:find(case[3], 1, true), err.message)
    end)
  end

  it("has its time for each answer", function()
    local found, err = functions("silent", { timeout_secs = 0.2 })
    assert.is_nil(found)
    assert.equal("timed_out", err.kind)
  end)

  it("that ends fails the calls that wait and those that come, and nothing else", function()
    local found, server = functions()
    local _, _, info = run(ex, "execute() { noether dies; }", found)
    local message = info.calls[1].error.message
    assert.truthy(message:find("exit code 3): cannot go on", 1, true), message)
    local output = noether.check(run(ex, "execute() { noether slow || echo 1; }", found))
    assert.equal(1, output)
    server:close()
    server:close()
  end)

  it("is told when nobody waits for an answer any more", function()
    local path = helper.tmpdir() .. "/cancelled"
    local found, server = functions("plain", {}, path)
    local task = noether.check(ex:start({ language = "bash", effects = { { Call = "never" } },
      code = "execute() { echo calling >&2; noether never; }" }, nil,
      { functions = found, on_log = function(line) assert.equal("calling", line) end }))
    helper.poll(function()
      task:wait(0.05)
      return next(server.pending) ~= nil
    end, 30)
    task:close()
    helper.poll(function()
      server:pump()
      local file = io.open(path)
      if file then file:close() end
      return file ~= nil
    end, 30)
    server:close()
  end)

  it("ends with its input, or is ended", function()
    for _, how in ipairs{ "plain", "silent" } do
      local started = noether.check(client.start(argv(how), PLAIN, 60))
      local pid = started.process:pid()
      started:close()
      helper.poll(function()
        return helper.shell("kill -0 " .. pid):find("No such process", 1, true)
      end, 30)
    end
  end)
end)

describe("the result of a tool", function()
  local cases = {
    { { structuredContent = { 1 }, content = { { type = "text", text = "[1]" } } }, { 1 } },
    { { content = { { type = "text", text = "a" }, { type = "text", text = "b" } } }, "a\nb" },
    { { content = { { type = "audio" } } }, { content = { { type = "audio" } } } },
    { {}, "" }, { { content = "x" }, "" },
    { { isError = true, content = { { text = "no" } }, structuredContent = 1 }, nil, "no" },
    { { isError = true, content = { { type = "image" } } }, nil, "the tool failed" },
  }
  for index, case in ipairs(cases) do
    it(("is what it means (%d)"):format(index), function()
      local value, reason = client.value(case[1])
      assert.same(case[2], value)
      assert.equal(case[3], reason)
    end)
  end
end)
