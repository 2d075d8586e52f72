-- SPDX-License-Identifier: MIT
--- README.md against the project: every example is run and what it prints compared, and every
-- option, limit, kind, function and variable stands in it, with nothing else beside them.
-- An example is a fenced block; the ```text block that follows before any other block is what it
-- prints. Blocks of sh are run only after a line that is TESTED.
local helper = require "spec.helper"
local budget = require "noether.budget"
local caching = require "noether.caching"
local config = require "noether.config"
local errors = require "noether.error"
local isolation = require "noether.policy.isolation"
local noether = require "noether"
local process = require "noether.process"
local retry = require "noether.retry"

local TESTED = "<!-- tested -->"

local readme = helper.read(helper.root .. "/README.md")

-- ------------------------------------------------------------------------------------- reading

-- The examples in order: { language, code, line, output (or nil), tested }.
local function read_examples()
  local found, block, last, number = {}, nil, "", 0
  for line in readme:gmatch("([^\n]*)\n") do
    number = number + 1
    local language = not block and line:match("^```(%a+)$")
    if language then
      block = { language = language, lines = {}, line = number, tested = last == TESTED }
    elseif block and line == "```" then
      block.code = table.concat(block.lines, "\n") .. "\n"
      if block.language == "text" then
        found[#found].output = block.code
      else
        found[#found + 1] = block
      end
      block = nil
    elseif block then
      table.insert(block.lines, line)
    end
    last = line
  end
  assert(not block, "README.md: a block that does not end")
  return found
end

-- Rows of the tables below a heading: the cells of each, by the name in the first, without its `.
local function rows_under(heading)
  local _, from = readme:find("\n## " .. heading .. "\n", 1, true)
  assert(from, "README.md has no heading " .. heading)
  local section = readme:sub(from, (readme:find("\n## ", from, true) or 0) - 1)
  local rows = {}
  for name, rest in section:gmatch("\n| `([%w_]+)` | ([^\n]*) |%f[\n]") do
    rows[name] = {}
    for cell in (rest .. " | "):gmatch("(.-) | ") do
      table.insert(rows[name], cell)
    end
  end
  return rows
end

local function sorted_keys(...)
  local seen, list = {}, {}
  for _, map in ipairs{ ... } do
    for name in pairs(map) do
      if not seen[name] then list[#list + 1] = name end
      seen[name] = true
    end
  end
  table.sort(list)
  return list
end

-- ----------------------------------------------------------------------------------- comparing

-- Blanks at the ends of lines are for nobody to see, or to type.
local function plain(text)
  return (text:gsub("[ \t]+\n", "\n"):gsub("\n+$", "\n"))
end

local runners = {}

function runners.lua(example, directory)
  local path = helper.write(directory .. "/first.lua", example.code)
  return helper.shell(("cd %s && %s %s"):format(
    helper.quote(directory), helper.quote(helper.lua), helper.quote(path)))
end

-- Its paths are those of the source tree; what was built need not be in it.
function runners.sh(example)
  local build = helper.lua:match("^(.*)/bin/[^/]+$")
  local code = example.code:gsub("%f[%w]build/", function() return build .. "/" end)
  return helper.shell(("set -e; cd %s\n%s%s"):format(
    helper.quote(helper.root), helper.sanitizers_first, code))
end

-- What pkg-config makes of noether.pc, with the paths of a build that is not installed.
local function compiler_flags(build)
  local text = helper.read(build .. "/lib/pkgconfig/noether.pc")
  local paths = { libdir = build .. "/lib", includedir = helper.root .. "/include" }
  local flags = text:match("\nCflags: ([^\n]*)") .. " " .. text:match("\nLibs: ([^\n]*)")
  if helper.sanitized then flags = flags .. " -fsanitize=address,undefined" end
  return (flags:gsub("${(%w+)}", paths))
end

function runners.c(example, directory)
  local build = helper.lua:match("^(.*)/bin/[^/]+$")
  helper.write(directory .. "/hello.c", example.code)
  return helper.shell(("cd %s && cc -Wall -Wextra -Werror hello.c %s -o hello && "
    .. "LD_LIBRARY_PATH=%s/lib ./hello"):format(
    helper.quote(directory), compiler_flags(build), helper.quote(build)))
end

-- ------------------------------------------------------------------------------------ defaults

local UNITS = { { 2 ^ 30, "GiB" }, { 2 ^ 20, "MiB" }, { 2 ^ 10, "KiB" } }

-- A default as its row says it: "30 s", "10 MiB", "1024", "none", "false", "`\"auto\"`".
local function shown(name, value)
  if value == math.huge then return "none" end
  if type(value) == "string" then return value == "" and "none" or ('`"%s"`'):format(value) end
  if type(value) == "boolean" then return tostring(value) end
  if name:find("_secs$") then return ("%.14g s"):format(value) end
  for _, unit in ipairs(name:find("bytes$") and UNITS or {}) do
    if value >= unit[1] and value % unit[1] == 0 then
      return ("%d %s"):format(value // unit[1], unit[2])
    end
  end
  return ("%d"):format(value)
end

local function assert_defaults(rows, defaults)
  for name, value in pairs(defaults) do
    if rows[name] then assert.equal(shown(name, value), rows[name][1], name) end
  end
end

-- ------------------------------------------------------------------------------------ variables

-- Library sources; the examples and the tools are programs of their own.
local function source_texts()
  local list = helper.shell(("cd %s && find lua src -name '*.lua' -o -name '*.c'"):format(
    helper.quote(helper.root)))
  local texts = {}
  for path in list:gmatch("[^\n]+") do
    texts[#texts + 1] = helper.read(helper.root .. "/" .. path)
  end
  return texts
end

local PATTERNS = {
  "environ[%(%)]*%.(%u[%u%d_]+)", "%f[%w_](NOETHER_%u[%u_]+)", 'getenv%("(%u[%u%d_]+)"',
  'first_set%("(%u[%u%d_]+)"', '"=(LUA_%u+)"',
}

local function variables_in_sources()
  local names = {}
  for _, text in ipairs(source_texts()) do
    for _, pattern in ipairs(PATTERNS) do
      for name in text:gmatch(pattern) do
        names[name] = true
      end
    end
  end
  return names
end

local function variables_in_readme()
  local names = rows_under("Environment")
  for name in readme:gmatch("`(NOETHER_%u[%u_]+)`") do
    names[name] = true
  end
  for name in readme:gmatch("`(LUA_%u+)`") do
    names[name] = true
  end
  return names
end

-- -------------------------------------------------------------------------------------- specs

describe("README.md", function()
  for _, example in ipairs(read_examples()) do
    local run = runners[example.language]
    if run and (example.language ~= "sh" or example.tested) then
      it(("has an example of %s in line %d that prints what it says"):format(
        example.language, example.line), function()
        local output, code = run(example, helper.tmpdir())
        assert.equal(0, code, output)
        assert.equal(plain(assert(example.output, "its output is not shown")), plain(output))
      end)
    end
  end

  it("has examples of everything that is run", function()
    local counts = {}
    for _, example in ipairs(read_examples()) do
      counts[example.language] = (counts[example.language] or 0) + 1
    end
    assert.truthy(counts.lua >= 6 and counts.c >= 1 and counts.sh >= 2)
  end)

  it("lists the options of an executor, with their defaults", function()
    local rows = rows_under("Options of an executor")
    assert.same(sorted_keys(config.EXECUTOR_OPTIONS), sorted_keys(rows))
    assert_defaults(rows, config.DEFAULTS)
  end)

  it("lists the options of a call and the limits, with their defaults", function()
    local rows = rows_under("Options of a call")
    assert.same(sorted_keys(config.CALL_OPTIONS, process.LIMITS), sorted_keys(rows))
    assert_defaults(rows, config.DEFAULTS)
    assert_defaults(rows, isolation.limits)
  end)

  it("lists the options of executors over executors, with their defaults", function()
    local rows = rows_under("Retry, budget, cache")
    assert.same(sorted_keys(retry.OPTIONS, budget.OPTIONS, caching.OPTIONS), sorted_keys(rows))
    assert_defaults(rows, retry.DEFAULTS)
    assert_defaults(rows, caching.DEFAULTS)
    local text = readme:match("%*%*Retry%*%*(.-)by default")
    for _, kind in ipairs(retry.DEFAULT_KINDS) do
      assert.truthy(text:find("`" .. kind .. "`", 1, true), kind)
    end
  end)

  it("lists the options of run and spawn", function()
    local rows = rows_under("Options of run and spawn")
    assert.same(sorted_keys(process.RUN_OPTIONS), sorted_keys(rows))
  end)

  it("lists the kinds of errors, with whose fault each is", function()
    local rows, faults = rows_under("Results, info, errors"), {}
    for _, entry in ipairs(errors.KINDS) do
      faults[entry.kind] = entry.fault
    end
    assert.same(sorted_keys(faults), sorted_keys(rows))
    for kind, row in pairs(rows) do
      assert.equal(faults[kind], row[1], kind)
    end
  end)

  it("lists the functions of the module", function()
    for name, value in pairs(noether) do
      local called = type(value) == "function" and name .. "(" or name
      assert.truthy(readme:find("noether." .. called, 1, true), "noether." .. name)
    end
    for name in readme:gmatch("noether%.([%l_]+)%f[^%w_.]%(") do
      assert.truthy(noether[name], "noether." .. name)
    end
  end)

  it("lists the environment variables that the sources read, and no other", function()
    assert.same(sorted_keys(variables_in_sources()), sorted_keys(variables_in_readme()))
  end)

  it("links to files that exist", function()
    for path in readme:gmatch("%]%(([%w_./-]+)%)") do
      assert.truthy(select(2, helper.shell("test -e " .. helper.quote(helper.root .. "/" .. path)))
        == 0, path)
    end
  end)
end)

describe("CHANGELOG.md", function()
  it("names the version of the library", function()
    local text = helper.read(helper.root .. "/CHANGELOG.md")
    assert.truthy(text:find(noether.version, 1, true))
  end)
end)
