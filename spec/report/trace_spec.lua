-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local errors = require "noether.error"
local json = require "noether.json"
local layers = require "spec.support.executors"
local noether = require "noether"
local sys = require "noether.sys"
local trace = require "noether.report.trace"

-- What must never come out of the place where it was put.
local NASTY = {
  "</script><script>alert(1)</script>", "<!--", "]]>", "<img src=x onerror=alert(1)>", "&lt;b&gt;",
  "{{style}} {{nonce}} %1 %%", "\0\1\27[31m\127", "\226\128\168\226\128\169", "\255\254 not UTF-8",
  "\226\128\174 turned around", "'\"`", "\\u003c", "a\r\nb",
}
local ALL_NASTY = table.concat(NASTY, " ")

local function info(start, fields)
  local copy = {
    logs = "", started_secs = start, duration_secs = 0.5, warnings = {}, phases = {},
    spans = {
      { name = "wrap", start_secs = 0, duration_secs = 0.1 },
      { name = "run", start_secs = 0.1, duration_secs = 0.4 },
    },
  }
  for name, value in pairs(fields or {}) do
    copy[name] = value
  end
  return copy
end

-- The page's elements in order, each with its text up to the next one; raises where the tags are
-- not balanced. A script holds no tags, but for what ends it.
local function parse(page)
  local found, open, at = {}, {}, page:match("^<!DOCTYPE html>()")
  while true do
    local from, to, slash, name, rest = page:find("<(/?)(%a%w*)(.-)>", at)
    if not from then break end
    if slash == "/" then
      assert(table.remove(open) == name, "</" .. name .. ">")
    else
      local element = { name = name, attributes = rest }
      if name == "script" or name == "style" then
        element.text, to = page:match("(.-)</" .. name .. ">()", to + 1)
        to = to - 1
      elseif rest:sub(-1) ~= "/" then
        open[#open + 1] = name
      end
      found[#found + 1] = element
    end
    at = to + 1
  end
  assert(#open == 0, table.concat(open, " "))
  assert(not page:find("<", at, true))
  return found
end

local function data_of(page)
  for _, element in ipairs(parse(page)) do
    if element.attributes:find('id="data"', 1, true) then
      return assert(json.decode(element.text)), element.text
    end
  end
end

local function run_of(record)
  return data_of(trace.page{ record }).runs[1]
end

describe("a trace", function()
  it("is one well-formed page that asks for nothing from anywhere", function()
    local page = trace.page({ { output = 1, info = info(5) } }, { title = "count words" })
    local names = {}
    for _, element in ipairs(parse(page)) do
      names[element.name] = (names[element.name] or 0) + 1
      assert.falsy(element.attributes:find("[%s](src)=") or element.attributes:find("href="))
    end
    assert.same({ 1, 2, 1 }, { names.style, names.script, names.title })
    assert.is_nil(names.link)
    assert.falsy(page:find("@import", 1, true) or page:find("url(", 1, true))
    for address in page:gmatch("%a+://[^\"' ]+") do
      assert.equal("http://www.w3.org/2000/svg", address)
    end
    assert.truthy(page:find("<title>count words - noether trace</title>", 1, true))
    assert.is_true(errors.is_utf8(page))
  end)

  it("forbids scripts and styles but its own", function()
    local page = trace.page{ { output = 1, info = info(5) } }
    local policy = page:match('Content%-Security%-Policy" content="(.-)"')
    local nonce = policy:match("script%-src 'nonce%-(%x+)'")
    assert.truthy(policy:find("default-src 'none'", 1, true))
    assert.equal(32, #nonce)
    local marked = 0
    for _, element in ipairs(parse(page)) do
      if element.attributes:find(('nonce="%s"'):format(nonce), 1, true) then marked = marked + 1 end
      assert.falsy(element.attributes:find("%son%a+=") or element.attributes:find("style="))
    end
    assert.equal(2, marked)
    assert.falsy(page:find("innerHTML", 1, true) or page:find("document.write", 1, true)
      or page:find("eval(", 1, true))
    assert.are_not.equal(nonce, trace.page{ { output = 2, info = info(5) } }:match("nonce%-(%x+)"))
  end)

  it("shows images that a run has left, and names the rest of its outputs", function()
    local path = helper.write(helper.tmpdir() .. "/b.svg", "<svg/>")
    local page = trace.page{ { output = 1, info = info(5, { outputs = {
      { name = "a.png", bytes = 4, type = "image/png", content = "\137PNG" },
      { name = "b.svg", bytes = 6, type = "image/svg+xml", path = path },
      { name = "c.csv", bytes = 3, type = "text/csv", content = "1,2" },
      { name = "d.html", bytes = 3, type = "text/html", content = "<b>" },
      { name = "gone.png", bytes = 3, type = "image/png", path = path .. "/gone" },
      { name = "big.png", bytes = 2 ^ 21, type = "image/png", content = ("x"):rep(2 ^ 21) },
    } }) } }
    local data = data_of(page)
    local images, names = {}, {}
    for _, output in ipairs(data.runs[1].outputs) do
      names[#names + 1] = output.name
      images[output.name] = output.image
    end
    assert.same({ "a.png", "b.svg", "c.csv", "d.html", "gone.png", "big.png" }, names)
    assert.same({
      ["a.png"] = "data:image/png;base64,iVBORw==",
      ["b.svg"] = "data:image/svg+xml;base64,PHN2Zy8+",
    }, images)
    assert.truthy(page:find("img-src data:;", 1, true))
  end)

  it("holds so many bytes of images and no more", function()
    local records = {}
    for index = 1, 12 do
      records[index] = { output = 1, info = info(index, { outputs = {
        { name = "a.png", bytes = 2 ^ 20, type = "image/png", content = ("x"):rep(2 ^ 20) },
      } }) }
    end
    local shown = 0
    for _, run in ipairs(data_of(trace.page(records)).runs) do
      if run.outputs[1].image then shown = shown + 1 end
    end
    assert.equal(8, shown)
  end)

  it("shows when a run called its host, from its last attempt on", function()
    local calls = {
      { name = "price", started_secs = 0.25, duration_secs = 0.5, args_bytes = 1 },
      { name = "<b>", started_secs = 1, duration_secs = 0.25, error = { message = "no\npear" } },
    }
    local run = data_of(trace.page{ { output = 1, info = info(5, { calls = calls, spans = {
      { name = "run", start_secs = 1, duration_secs = 1 },
      { name = "wait", start_secs = 2, duration_secs = 1 },
      { name = "run", start_secs = 3, duration_secs = 1 },
    } }) } }).runs[1]
    assert.same({
      { "price", 3250000, 500000, json.null }, { "<b>", 4000000, 250000, "no\\npear" },
    }, run.calls)
    assert.equal(2, run.call_count)
  end)

  it("keeps what runs have said out of the page's markup, wherever it stands", function()
    for _, text in ipairs(NASTY) do
      local err = errors.new{
        kind = "stage_failed", message = text, hint = text, effect = text, errno = text,
      }
      local page = trace.page({
        { err = err, info = info(1, {
          logs = text, warnings = { text }, isolation = text, enforced = { text },
          runtime = { language = text, version = text, reference = text },
          provenance = { stage = text }, result = { reason = text, signal = text, exit_code = 1 },
          attempts = { { kind = text, message = text, duration_secs = 1 } },
          spans = { { name = text, start_secs = 0, duration_secs = 1 } },
          calls = { { name = text, started_secs = 0, error = { message = text } } },
          outputs = { { name = text, bytes = 1, type = text, content = text } },
        }) },
        { output = { [text] = text }, info = info(1) },
        { err = text },
      }, { title = text })
      local data, raw = data_of(page)
      assert.falsy(raw:find("[<>&%c\127]"), raw)
      assert.falsy(raw:find("\226\128[\168\169]"), raw)
      assert.equal(3, #data.runs)
      assert.falsy(page:find("<title>[^<]*<[^/]"), text)
    end
  end)

  it("shows text of runs escaped as in a message", function()
    local run = run_of{ err = errors.new{ kind = "stage_failed", message = "x" },
      info = info(1, { logs = "one\ntwo \27[31m \255\n\n" .. ALL_NASTY:gsub("[\r\n]", "") }) }
    assert.equal("one", run.logs[1])
    assert.equal("two \\x1B[31m \\xFF", run.logs[2])
    assert.equal(3, #run.logs)
    assert.truthy(run.logs[3]:find("</script><script>", 1, true))
  end)

  it("says what was done when, and how near each run came to its limits", function()
    local run = run_of{ output = { 1, 2 }, info = info(2.5, {
      cached = false, isolation = "native", enforced = { "user_ns" },
      limits = { timeout_secs = 30, memory_bytes = 2 ^ 30, max_output_bytes = 1000 },
      result = {
        reason = "exit", exit_code = 0, duration_secs = 0.4, cpu_user_secs = 0.2,
        cpu_system_secs = 0.05, max_rss_bytes = 5000, stdout_bytes = 6, stderr_bytes = 0,
      },
    }) }
    assert.equal(2500000, run.started)
    assert.equal(500000, run.us)
    assert.same({ { "wrap", 0, 100000 }, { "run", 100000, 400000 } }, run.spans)
    assert.same({
      { name = "time", used = 400000, limit = 30000000, unit = "us" },
      { name = "processor", used = 250000, unit = "us" },
      { name = "memory", used = 5000, limit = 2 ^ 30, unit = "bytes" },
      { name = "output", used = 6, limit = 1000, unit = "bytes" },
      { name = "log", used = 0, unit = "bytes" },
    }, run.meters)
    assert.equal("[1,2]", run.output)
    assert.is_nil(run.error)
    assert.is_true(run.ran)
  end)

  it("tells errors with kind, message and hint, those of nothing that ran too", function()
    local err = errors.new{ kind = "timed_out", message = "too late", hint = "be quick" }
    local told = { kind = "timed_out", message = "too late", hint = "be quick", fault = "run" }
    assert.same(told, run_of{ err = err, info = info(1) }.error)
    local run = run_of{ err = err }
    assert.same(told, run.error)
    assert.same({}, run.spans)
    assert.same({}, run.meters)
    assert.is_nil(run.started)
    assert.equal("nonesuch", run_of{ err = "nonesuch" }.error.message)
  end)

  it("stays small: answers, logs and the number of runs are bounded", function()
    local long = run_of{ output = ("x"):rep(1e6),
      info = info(1, { logs = ("y\n"):rep(1000) .. ("z"):rep(1e6) }) }
    assert.is_true(#long.output <= 400)
    assert.equal(20, #long.logs)
    assert.is_true(#long.logs[20] <= 400 and long.logs[20]:find("^zzz") ~= nil)
    local records = {}
    for index = 1, 10003 do
      records[index] = { output = index, info = { started_secs = 1, duration_secs = 1 } }
    end
    local data = data_of(trace.page(records))
    assert.same({ 10000, 3 }, { #data.runs, data.left_out })
  end)

  it("is of no runs, where there are none", function()
    local data = data_of(trace.page{})
    assert.same({}, data.runs)
    assert.is_true(json.is_array(data.runs))
  end)

  it("does not change what it was given", function()
    local record = { output = { 1 }, info = info(1, { warnings = { "a\nb" } }) }
    trace.page{ record }
    assert.same({ output = { 1 }, info = info(1, { warnings = { "a\nb" } }) }, record)
  end)

  it("is written whole, or not at all", function()
    local path = helper.tmpdir() .. "/runs.html"
    helper.write(path, "old")
    assert.is_true(trace.write(path, { { output = 1, info = info(1) } }))
    assert.equal(1, #data_of(helper.read(path)).runs)
    assert.equal(420, sys.stat(path).mode) -- 0644
    for _, bad in ipairs{ "/nonesuch/runs.html", helper.tmpdir() } do
      local ok, err = trace.write(bad, {})
      assert.is_nil(ok)
      assert.equal("input_invalid", err.kind)
      assert.truthy(err.errno and err.hint)
    end
  end)

  it("does not take the place of a device, nor of a link to one", function()
    local dir = helper.tmpdir()
    helper.shell(("cd %s && mkfifo fifo && ln -s fifo link && ln -s /dev/null null"):format(dir))
    for _, name in ipairs{ "fifo", "link", "null" } do
      local before = sys.stat(dir .. "/" .. name).type
      local _, err = trace.write(dir .. "/" .. name, {})
      assert.equal("input_invalid", err.kind)
      assert.matches("not a regular file", err.message, 1, true)
      assert.equal(before, sys.stat(dir .. "/" .. name).type)
    end
  end)

  it("raises on what is no list of records, and on wrong options", function()
    for _, case in ipairs{
      { { 5 }, "records: expected a table" }, { { { 5 } }, "records[1]: expected a table" },
      { { {}, { title = 5 } }, "'title'" }, { { {}, { titel = "x" } }, "did you mean 'title'?" },
    } do
      local message = layers.raised(function() noether.trace.page(table.unpack(case[1])) end)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("^spec/report/trace_spec.lua:%d+: trace.page"), message)
      message = layers.raised(function() noether.trace.write("/x", table.unpack(case[1])) end)
      assert.truthy(message:find("^spec/report/trace_spec.lua:%d+: trace.write"), message)
    end
    assert.truthy(layers.raised(function() noether.trace.write("", {}) end):find("path", 1, true))
  end)
end)

describe("executor:map with a trace", function()
  local function bash(code)
    local plain = noether.check(noether.executor{ isolation = "none" })
    assert(plain:register_with_effects("stage", code, "bash", {}))
    return plain
  end

  it("writes the page of its runs", function()
    local ex <close> = bash("execute() { [ $1 != 3 ] && cat; }")
    local path = helper.tmpdir() .. "/runs.html"
    local records, err = ex:map("stage", { 1, 2, 3, 4 }, { jobs = 2, trace = path })
    assert.is_nil(err)
    assert.equal(4, #records)
    local data = data_of(helper.read(path))
    assert.equal("stage", data.title)
    assert.equal(4, #data.runs)
    for index, run in ipairs(data.runs) do
      assert.equal(index, run.index)
      assert.equal(index == 3, run.error ~= nil)
      local names = {}
      for position, span in ipairs(run.spans) do
        names[position] = span[1]
      end
      assert.same({ "wrap", "resolve", "set-up", "run", "decode" }, names)
      assert.is_true(run.us > 0 and #run.meters >= 4)
    end
    assert.equal("stage_failed", data.runs[3].error.kind)
  end)

  it("writes it for executors over executors and for functions, too", function()
    local path = helper.tmpdir() .. "/runs.html"
    for _, over in pairs(layers.OVER) do
      local ex = over(noether.inline{ double = function(n) return n * 2 end })
      assert.equal(2, #noether.check(ex:map("double", { 1, 2 }, { trace = path })))
      assert.equal(2, #data_of(helper.read(path)).runs)
    end
  end)

  it("writes it for each, also if that is left early", function()
    local ex <close> = bash("execute() { cat; }")
    local path = helper.tmpdir() .. "/runs.html"
    local records = assert(ex:each("stage", { 1, 2, 3 }, { jobs = 1, trace = path }))
    assert.equal(1, (records()))
    records:close()
    assert.equal(1, #data_of(helper.read(path)).runs)
  end)

  it("says that the path will not do before anything runs", function()
    local calls = 0
    local ex = noether.inline{ count = function()
      calls = calls + 1
      return calls
    end }
    local records, err = ex:map("count", { 1 }, { trace = "/nonesuch/runs.html" })
    assert.is_nil(records)
    assert.equal("input_invalid", err.kind)
    assert.equal(0, calls)
    assert.has_error(function() ex:map("count", { 1 }, { trace = 5 }) end)
    assert.has_error(function() ex:map("count", { 1 }, { trace = "" }) end)
  end)

  it("gives the records, and an error, if only the end cannot be written", function()
    local dir = helper.tmpdir() .. "/gone"
    assert(sys.mkdir(dir))
    local ex = noether.inline{ remove = function()
      helper.remove(dir)
      return true
    end }
    local records, err = ex:map("remove", { 1 }, { trace = dir .. "/runs.html" })
    assert.is_true(records[1].output)
    assert.equal("input_invalid", err.kind)
    assert.equal("ENOENT", err.errno)
  end)
end)
