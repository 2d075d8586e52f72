-- SPDX-License-Identifier: MIT
--- noether.reference, which the doc comments of the sources are made into while building: what
-- help() shows. Each example in it is run, in one process of its own for all of them; what it says
-- after --> is what it prints, in that order, "..." being anything.
local helper = require "spec.support.helper"
local reference = require "noether.reference"
local noether = require "noether"

local MARK = "\1"

local DRIVER = [[
noether = require "noether"
local reference = require "noether.reference"
for _, name in ipairs(arg) do
  io.write("\1", name, "\n")
  local chunk, message = load(reference[name].example, "=" .. name)
  local ok
  if chunk then ok, message = pcall(chunk) end
  if not ok then print("FAILED: " .. tostring(message)) end
end
]]

local function names_with_examples()
  local names = {}
  for name, entry in pairs(reference) do
    if entry.example then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- What each example prints, by name.
local function run_all(names)
  local directory = helper.tmpdir()
  helper.write(directory .. "/examples.lua", DRIVER)
  local quoted = {}
  for index, name in ipairs(names) do
    quoted[index] = helper.quote(name)
  end
  local output = helper.shell(("cd %s && TMPDIR=$PWD %s examples.lua %s"):format(
    helper.quote(directory), helper.quote(helper.lua), table.concat(quoted, " ")))
  local printed = {}
  for name, text in output:gmatch(MARK .. "([^\n]*)\n([^" .. MARK .. "]*)") do
    printed[name] = text
  end
  return printed, output
end

local function one_line(text)
  return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function expected_of(example)
  local lines = {}
  for text in example:gmatch("%-%->([^\n]*)") do
    lines[#lines + 1] = text
  end
  return one_line(table.concat(lines, " "))
end

local function matches(expected, printed)
  local pattern = expected:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".*")
  return printed:find("^" .. pattern .. "$") ~= nil
end

describe("the pages", function()
  it("are made by LDoc without a warning, with all that is public", function()
    local directory = helper.tmpdir()
    local output, code = helper.shell(("cd %s && tools/docs/ldoc.sh %s %s"):format(
      helper.quote(helper.root), helper.quote(helper.lua), helper.quote(directory)))
    assert.equal("", output)
    assert.equal(0, code)
    local page = helper.read(directory .. "/classes/executor.html")
    assert.truthy(page:find("<strong>executor:plan(id, input[, opts])</strong>", 1, true))
    page = helper.read(directory .. "/modules/noether.html")
    assert.truthy(page:find("timeout_secs", 1, true))
  end)
end)

describe("the reference", function()
  local names = names_with_examples()
  local printed, all

  setup(function() printed, all = run_all(names) end)

  for _, name in ipairs(names) do
    it("has an example of " .. name .. " that prints what it says", function()
      local text = one_line(assert(printed[name], all))
      local expected = expected_of(reference[name].example)
      assert.truthy(expected ~= "", "the example says nothing of what it prints")
      assert.truthy(matches(expected, text), ("expected %s\ngot %s"):format(expected, text))
    end)
  end

  it("tells of every function of the module, and what help() shows of each", function()
    for name, value in pairs(noether) do
      local entry = reference["noether." .. name]
      assert.truthy(entry, name)
      assert.equal(type(value) == "function" and "function" or "field", entry.kind, name)
      assert.truthy(entry.summary ~= "" and entry.signature:find("noether." .. name, 1, true), name)
    end
    local entry = reference["executor:execute"]
    assert.same({ "method", "executor:execute(id, input [, opts])", 3, 3 },
      { entry.kind, entry.signature, #entry.params, #entry.returns })
  end)

  it("tells of options with their types and meanings", function()
    local fields = {}
    for _, field in ipairs(reference.CallOptions.fields) do
      fields[field.name] = field
    end
    assert.equal("number", fields.timeout_secs.type)
    assert.equal("30 s", fields.timeout_secs.default)
    assert.truthy(fields.timeout_secs.text:find("deadline", 1, true))
  end)
end)
