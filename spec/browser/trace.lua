-- SPDX-License-Identifier: MIT
--- The page of a trace in a real browser. Run by `make check-deep`, which installs one:
-- it is no part of the other tests, since it is large.
local helper = require "spec.support.helper"
local errors = require "noether.error"
local json = require "noether.json"
local noether = require "noether"
local sys = require "noether.sys"

local BROWSER = assert(sys.find_program("chromium", "/usr/bin:/usr/local/bin:/snap/bin"),
  "chromium is not installed: make check-deep installs it")

local PYTHON = assert(sys.find_program("python3", "/usr/bin"))

-- Opens records as a page and takes steps in it: the values of the expressions among them.
local function visit(records, steps)
  local dir = helper.tmpdir()
  local path = dir .. "/runs.html"
  assert(noether.trace.write(path, records, { title = "word <count> & more" }))
  local result = noether.check(noether.run({
    PYTHON, helper.root .. "/spec/browser/drive.py", BROWSER, dir .. "/profile", path,
  }, {
    isolation = "none", stdin = json.encode(json.array(steps)), timeout_secs = 120,
    env = { HOME = dir, TMPDIR = dir },
  }))
  assert(result.ok, result.stderr)
  local told = assert(json.decode(result.stdout))
  assert.same({}, told.console)
  for index, address in ipairs(told.requests) do
    local expected = index == 1 and "file://" .. path or "data:image/"
    assert.equal(expected, address:sub(1, #expected))
  end
  return told.values
end

local NASTY = "<img src=x onerror=alert(1)></script><script>alert(2)</script> \226\128\174 \27[31m"

-- So many runs, in so many lanes; each third failed.
local function some(count, lanes)
  local records = {}
  for index = 1, count do
    local began = math.floor((index - 1) / lanes) * 0.1
    local record = { info = {
      logs = "log of " .. index .. " " .. NASTY, started_secs = 50 + began, duration_secs = 0.09,
      isolation = "native", enforced = { "user_ns" }, warnings = {}, cached = false,
      limits = { timeout_secs = 30, memory_bytes = 2 ^ 28, max_output_bytes = 1000 },
      runtime = { language = "python", version = "3.11.2", reference = "host:/usr/bin/python3" },
      spans = {
        { name = "wrap", start_secs = 0, duration_secs = 0.01 },
        { name = "resolve", start_secs = 0.01, duration_secs = 0.01 },
        { name = "set-up", start_secs = 0.02, duration_secs = 0.01 },
        { name = "run", start_secs = 0.03, duration_secs = 0.05 },
        { name = "decode", start_secs = 0.08, duration_secs = 0.01 },
      },
      result = {
        reason = "exit", exit_code = 0, duration_secs = 0.05, cpu_user_secs = 0.02,
        cpu_system_secs = 0.01, max_rss_bytes = index * 1000, stdout_bytes = 6, stderr_bytes = 9,
      },
    } }
    if index % 3 == 0 then
      record.err = errors.new{ kind = "stage_failed", message = NASTY, hint = "look at the log" }
    else
      record.output = { n = index, text = NASTY }
    end
    records[index] = record
  end
  return records
end

local READY = { eval = "document.documentElement.dataset.ready" }

local function count(selector)
  return { eval = ("document.querySelectorAll(%q).length"):format(selector) }
end

local function text(selector)
  return { eval = ("document.querySelector(%q).textContent"):format(selector) }
end

describe("a trace in a browser", function()
  it("draws one run, with its phases, peaks, answer and log", function()
    local ready, title, boxes, rows, meters, detail, images, dark, light = table.unpack(visit(
      some(1, 1), {
        READY, text("#title"), count("#timeline .run-box rect"), count(".waterfall svg g"),
        count(".meter"), text("#detail"), count("img"), { dark = true },
        { eval = "getComputedStyle(document.body).backgroundColor" }, { dark = false },
        { eval = "getComputedStyle(document.body).backgroundColor" },
      }))
    assert.equal("true", ready)
    assert.equal("word <count> & more", title)
    assert.same({ 5, 5, 5, 0 }, { boxes, rows, meters, images })
    for _, expected in ipairs{ "Run 1", "90.0 ms", "256 MiB", "log of 1 <img", "</script>",
        "\\x1B[31m", "python 3.11.2", "user_ns" } do
      assert.truthy(detail:find(expected, 1, true), expected)
    end
    assert.are_not.equal(dark, light)
  end)

  it("shows images of outputs, of which a hostile one runs nothing, and calls", function()
    local records = some(1, 1)
    records[1].info.outputs = {
      { name = "a.svg", bytes = 200, type = "image/svg+xml", content = [[
<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20" onload="alert(1)">
<script>top.document.title = "owned"</script></svg>]] },
      { name = NASTY, bytes = 3, type = "image/png", content = "no PNG" },
      { name = "c.html", bytes = 3, type = "text/html", content = NASTY },
    }
    records[1].info.calls = {
      { name = "price", started_secs = 0.01, duration_secs = 0.01 },
      { name = "stock", started_secs = 0.03, duration_secs = 0.01, error = { message = NASTY } },
    }
    local width, images, figures, marks, detail, title = table.unpack(visit(records, {
      { eval = "document.querySelector('#detail img').naturalWidth" }, count("#detail img"),
      count("#detail figure"), count("#timeline .f-call, #timeline .f-bad"), text("#detail"),
      { eval = "document.title" },
    }))
    assert.same({ 30, 2, 3, 2 }, { width, images, figures, marks })
    assert.truthy(detail:find("price", 1, true) and detail:find("c.html", 1, true), detail)
    assert.falsy(title:find("owned", 1, true))
  end)

  it("draws a thousand runs in their lanes, and lets one sort and choose", function()
    local values = visit(some(1000, 8), {
      READY, text("#summary"), count("#timeline .run-box"), count("#rows tr"), text("#detail h2"),
      { key = "ArrowDown" }, text("#detail h2"), { key = "k" }, { key = "ArrowUp" },
      text("#detail h2"), { eval = "document.querySelectorAll('#head button')[6].click()" },
      text("#rows td"), text("#head th[aria-sort]"),
      { eval = "document.querySelectorAll('#filters button')[1].click()" },
      text("#rows td"), { eval = "document.getElementById('more').click()" }, count("#rows tr"),
      count("svg, script, style"), count("img"),
    })
    assert.equal("true", values[1])
    assert.truthy(values[2]:find("^1,000 runs"), values[2])
    assert.same({ 1000, 200 }, { values[3], values[4] })
    assert.same({ "Run 3", "Run 4", "Run 2" }, { values[5], values[6], values[7] })
    assert.equal("1000", values[9])
    assert.truthy(values[10]:find("memory", 1, true))
    assert.equal("999", values[12])
    assert.equal(333, values[14])
    assert.equal(0, values[16])
  end)

  it("zooms by dragging and by keys, and tells of what is under the mouse", function()
    local box = "document.getElementById('timeline').getBoundingClientRect()"
    local first = visit(some(40, 4), { { eval = box .. ".left" }, { eval = box .. ".top" },
      { eval = box .. ".width" } })
    local left, top, width = first[1], first[2], first[3]
    local values = visit(some(40, 4), {
      { move = { left + 30, top + 30 } }, text("#tip"),
      { eval = "document.getElementById('tip').hidden" },
      count("#timeline .run-box"),
      { drag = { left + 5, top + 60, left + width / 10, top + 60 } }, count("#timeline .run-box"),
      { eval = "document.getElementById('timeline').focus()" }, { key = "0" },
      count("#timeline .run-box"), { key = "+" }, { key = "+" }, { key = "+" }, { key = "+" },
      count("#timeline .run-box"), { key = "ArrowLeft" }, { key = "-" },
      { key = "0" }, { click = { left + width - 30, top + 30 } }, text("#detail h2"),
      { size = { 500, 900 } }, { eval = "document.documentElement.scrollWidth <= 500" },
    })
    assert.truthy(values[1]:find("#1", 1, true), values[1])
    assert.is_false(values[2])
    assert.equal(40, values[3])
    assert.is_true(values[4] <= 8, values[4])
    assert.equal(40, values[6])
    assert.is_true(values[7] < 40, values[7])
    assert.equal("Run 37", values[8])
    assert.is_true(values[9])
  end)

  it("is readable where nothing ran, or nothing began", function()
    local values = visit({}, { READY, text("#tiles") })
    assert.equal("true", values[1])
    assert.truthy(values[2]:find("nothing has run", 1, true))
    local err = errors.new{ kind = "stage_not_found", message = "no stage 'x'" }
    values = visit({ { err = err }, { err = err } }, { READY, text("#detail"), count("#rows tr") })
    assert.equal("true", values[1])
    assert.truthy(values[2]:find("no stage 'x'", 1, true))
    assert.equal(2, values[3])
  end)
end)
