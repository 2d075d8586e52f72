-- SPDX-License-Identifier: MIT
-- Sessions of a model: the argument `session` of the tools that run code.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local mcp = require "spec.support.mcp"

local client

local function call(name, arguments)
  local result = client:call(name, arguments)
  return mcp.text(result), result.isError == true
end

local function start(...)
  local dir = helper.tmpdir()
  client = mcp.start({ command.path, "mcp", "--effect", "Process", ... }, {
    HOME = dir, NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store",
    PATH = "/usr/local/bin:/usr/bin:/bin", -- to have Debian's matplotlib
  })
end

local function images_of(result)
  local found = {}
  for _, block in ipairs(result.content) do
    if block.type == "image" then found[#found + 1] = block end
  end
  return found
end

local CHART = "import matplotlib.pyplot as plt\nplt.plot(squares)\nplt.show()\nlen(squares)"

describe("a session of a client's", function()
  it("computes, draws a chart, is cancelled, loses its state and says so", function()
    start("--language", "python")
    local function cell(code, more)
      local arguments = { code = code, session = "work", timeout_secs = 30 }
      for name, value in pairs(more or {}) do arguments[name] = value end
      return client:call("run_python", arguments)
    end
    assert.equal("[0,1,4,9]", mcp.text(cell("squares = [n * n for n in range(4)]\nsquares")))
    local drawn = cell(CHART)
    assert.equal("4", drawn.content[1].text)
    local images = images_of(drawn)
    assert.equal(1, #images)
    assert.equal("image/png", images[1].mimeType)
    assert.equal("iVBORw0KGgo", images[1].data:sub(1, 11))
    assert.same({}, images_of(cell("len(squares)")))
    assert.equal(1, #images_of(cell("plt.figure(); squares.append(16); plt.show()")))

    local id = client:ask("tools/call", { name = "run_python", _meta = { progressToken = 1 },
      arguments = { code = "import time\nprint('begun', flush=True)\ntime.sleep(25)",
        session = "work" } })
    helper.poll(function()
      local beat = client:hear()
      return beat.method == "notifications/progress" and beat.params.message == "begun"
    end, 30)
    client:say{ jsonrpc = "2.0", method = "notifications/cancelled", params = { requestId = id } }
    helper.poll(function()
      local text = mcp.text(cell("sum(squares)"))
      assert.truthy(text == "30" or text:find("^session_busy: "), text)
      return text == "30"
    end, 30)

    local lost = cell("import os; os._exit(3)")
    for _ = 1, 2 do
      assert.is_true(lost.isError)
      assert.truthy(mcp.text(lost):find("^session_lost: .*hint: .*by another name"))
      lost = cell("squares")
    end
    local fresh = client:call("run_python", { code = "'squares' in dir()", session = "again" })
    assert.equal("false", mcp.text(fresh))
    assert.equal(0, client:close().exit_code)
  end)

  it("leaves files where the server's command line says, by themselves", function()
    local dir = helper.tmpdir()
    start("--language", "bash", "--output-dir", dir, "--isolation", "none")
    local function cell(code, outputs, name)
      return client:call("run_bash", { code = code, session = name or "a", outputs = outputs })
    end
    local text = mcp.text(cell("echo 1 >one.txt", { "*.txt" }))
    local path = text:match("one.txt %(2 bytes%): (%S+)")
    assert.equal("1\n", helper.read(path))
    assert.falsy(mcp.text(cell("echo 2 >two.csv", { "*.txt" })):find("files:", 1, true))
    text = mcp.text(cell("echo 12 >one.txt", { "*.txt", "two.csv" }))
    assert.truthy(text:find("one.txt (3 bytes): " .. path, 1, true), text)
    assert.equal("12\n", helper.read(path))
    cell("echo 3", nil, "b")
    for _, wrong in ipairs{ { "../x" }, { "a\0b" }, { "none" } } do
      local result = cell("echo 4", wrong)
      assert.is_true(result.isError)
      assert.truthy(mcp.text(result):find("output"), mcp.text(result))
    end
    assert.equal(0, client:close().exit_code)
    assert.equal(1, #helper.list(dir))
  end)
end)

describe("noether mcp, with sessions", function()
  before_each(function() start("--isolation", "none") end)

  after_each(function() client:close() end)

  it("keeps what calls by one name define, apart from those by another", function()
    assert.equal("null", (call("run_python", { code = "x = 40", session = "a" })))
    assert.equal("42", (call("run_python", { code = "x + input", session = "a", input = 2 })))
    local text, failed = call("run_python", { code = "x", session = "b" })
    assert.is_true(failed)
    assert.truthy(text:find("stage_failed: NameError: name 'x' is not defined (cell 1, line 1)", 1,
      true))
    assert.equal("<class 'object'>", (call("run_python", { code = "object", session = "a" })))
    assert.equal("1", (call("run_python", { code = "def execute(i): return 1" })))
    call("run_bash", { code = "f() { echo \"<$1>\"; }", session = "a" })
    assert.equal("<b>\n<c>", (call("run_bash", { code = "f b\nf c", session = "a" })))
    text, failed = call("run_bash", { code = "echo partly; false", session = "a" })
    assert.is_true(failed)
    assert.truthy(text:find("output:\npartly", 1, true), text)
  end)

  it("interrupts at the deadline, and says of what is lost that it is", function()
    call("run_python", { code = "import os, time; x = 1", session = "a" })
    local text = call("run_python", { code = "time.sleep(60)", session = "a", timeout_secs = 0.3 })
    assert.truthy(text:find("^timed_out: "), text)
    assert.equal("1", (call("run_python", { code = "x", session = "a" })))
    for _ = 1, 2 do
      text = call("run_python", { code = "os._exit(3)", session = "a" })
      assert.truthy(text:find("^session_lost: .*hint: .*by another name"), text)
    end
    assert.equal("2", (call("run_python", { code = "1 + 1", session = "b" })))
  end)

  it("runs one cell at a time, and has a number of sessions", function()
    client:ask("tools/call", {
      name = "run_bash", arguments = { code = "sleep 1; echo 1", session = "a" },
    })
    local text = call("run_bash", { code = "echo 2", session = "a" })
    if not text:find "^2" then assert.truthy(text:find("^session_busy: "), text) end
    for index = 2, 9 do
      text = call("run_bash", { code = "echo " .. index, session = "s" .. index })
    end
    assert.truthy(text:find("^input_invalid: 8 sessions are open"), text)
  end)
end)
