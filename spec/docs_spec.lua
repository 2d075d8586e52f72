-- SPDX-License-Identifier: MIT
--- README.md and docs/ against the project: every block is run and what it prints compared
-- (spec/support/blocks.lua), and every option, limit, kind, hook, word, function and variable
-- stands in them, with nothing else beside them.
local descriptions = require "noether.sandbox.description"
local command = require "noether.command"
local blocks = require "spec.support.blocks"
local helper = require "spec.support.helper"
local budget = require "noether.executor.budget"
local caching = require "noether.executor.answers"
local calls = require "noether.run.calls"
local verdict = require "noether.run.verdict"
local config = require "noether.executor.config"
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local isolation = require "noether.policy.isolation"
local noether = require "noether"
local prune = require "noether.cache.prune"
local remote = require "noether.fleet.remote"
local retry = require "noether.executor.retry"
local shapes = require "noether.overrides.shapes"
local worker = require "noether.fleet.worker"

local function read_document(name)
  return helper.read(("%s/docs/%s.md"):format(helper.root, name))
end

local readme = helper.read(helper.root .. "/README.md")
local reference, many, runtimes =
  read_document("reference"), read_document("many"), read_document("runtimes")

-- Rows of the tables below a heading of a text: the cells of each, by the name in the first,
-- without its `.
local function rows_under(heading, text)
  local _, from = text:find("\n## " .. heading .. "\n", 1, true)
  assert(from, "there is no heading " .. heading)
  local section = text:sub(from, (text:find("\n## ", from, true) or 0) - 1)
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

local function assert_kinds(rows)
  local faults = {}
  for _, entry in ipairs(errors.KINDS) do
    faults[entry.kind] = entry.fault
  end
  assert.same(sorted_keys(faults), sorted_keys(rows))
  for kind, row in pairs(rows) do
    assert.equal(faults[kind], row[1], kind)
  end
end

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

local function variables_in_reference()
  local names = rows_under("Environment", reference)
  for name in reference:gmatch("`(NOETHER_%u[%u_]+)`") do
    names[name] = true
  end
  for name in reference:gmatch("`(LUA_%u+)`") do
    names[name] = true
  end
  return names
end

local DOCUMENTS = { "README.md" }
for _, name in ipairs(helper.list(helper.root .. "/docs")) do
  if name:find("%.md$") then DOCUMENTS[#DOCUMENTS + 1] = "docs/" .. name end
end

local function targets_of_make()
  local targets = {}
  for names in ("\n" .. helper.read(helper.root .. "/Makefile")):gmatch("\n([%l -]+):") do
    for name in names:gmatch("%S+") do
      targets[name] = true
    end
  end
  return targets
end

-- What must not be run here is at least sh, and names targets that there are.
local function assert_readable(block)
  local path = helper.write(helper.tmpdir() .. "/block.sh", block.code)
  local output, code = helper.shell("sh -n " .. helper.quote(path))
  assert.equal(0, code, output)
  local targets = targets_of_make()
  for target in block.code:gmatch("%f[%w]make (%l[%l-]*)") do
    assert.truthy(targets[target], target)
  end
end

-- A directory that only root may use is none for the stages of a root that may not mount.
local function is_for_here(block)
  return helper.can_make_hosts() or not block.code:find("mkdtemp", 1, true)
end

-- A page without its blocks of code.
local function prose(document)
  return (("\n" .. helper.read(helper.root .. "/" .. document)):gsub("\n```.-\n```", ""))
end

-- What headings are called in links: words, and "-" between them.
local function anchors_of(document)
  local anchors = {}
  for heading in prose(document):gmatch("\n#+ ([^\n]+)") do
    local bare = heading:gsub("&%l+;", ""):gsub("%[(.-)%]%(.-%)", "%1"):lower()
    anchors[(bare:gsub("[^%w_ -]", ""):gsub(" ", "-"))] = true
  end
  return anchors
end

for _, document in ipairs(DOCUMENTS) do
  describe(document, function()
    local list = blocks.read(document)
    for _, block in ipairs(list) do
      if blocks.is_run(block) and is_for_here(block) then
        it(("has an example of %s in line %d that prints what it says"):format(
          block.language, block.line), function()
          local output, code = blocks.run(block, list, helper.tmpdir())
          assert.equal(0, code, output)
          local expected = assert(block.output, "its output is not shown")
          assert.equal(blocks.plain(expected), blocks.plain(output))
        end)
      elseif block.not_run then
        it(("has a program in line %d that can be compiled"):format(block.line), function()
          assert.equal("lua", block.language)
          assert.truthy(load(block.code))
        end)
      elseif block.language == "sh" then
        it(("has commands in line %d that are sh"):format(block.line), function()
          assert_readable(block)
        end)
      end
    end

    it("links to files that exist", function()
      local directory = helper.root .. "/" .. (document:match("^(.*/)") or "")
      for path in helper.read(helper.root .. "/" .. document):gmatch("%]%(([%w_./-]+)%)") do
        local _, code = helper.shell("test -e " .. helper.quote(directory .. path))
        assert.equal(0, code, path)
      end
    end)

    it("links to headings that there are", function()
      local directory = document:match("^(.*/)") or ""
      for path, anchor in prose(document):gmatch("%]%(([%w_./-]*)#([%w_-]+)%)") do
        local target = path == "" and document or (directory .. path):gsub("[%w_-]+/%.%./", "")
        if target:find("%.md$") then
          assert.truthy(anchors_of(target)[anchor], target .. "#" .. anchor)
        end
      end
    end)

    it("has no block in a language that nothing runs", function()
      for _, block in ipairs(list) do
        local is_known = block.language == "sh" or block.file or block.not_run
        assert.truthy(is_known or blocks.is_run(block), block.language)
      end
    end)
  end)
end

describe("README.md", function()
  it("is one page", function()
    local _, lines = readme:gsub("\n", "")
    assert.truthy(lines <= 240, lines)
  end)

  it("has examples of the first steps", function()
    local counts = {}
    for _, block in ipairs(blocks.read("README.md")) do
      counts[block.language] = (counts[block.language] or 0) + 1
    end
    assert.truthy(counts.lua >= 4 and counts.sh >= 1)
  end)

  it("leads to every page of docs, itself or by way of another page", function()
    local pages, reached, queue = {}, {}, { "README.md", "CONTRIBUTING.md" }
    for _, name in ipairs(helper.list(helper.root .. "/docs")) do
      if name:find("%.md$") then pages["docs/" .. name] = true end
    end
    for _, page in ipairs(queue) do
      for name in helper.read(helper.root .. "/" .. page):gmatch("%]%(([%w_/-]*%.md)[#)]") do
        local path = "docs/" .. name:gsub("^docs/", "")
        if pages[path] and not reached[path] then
          queue[#queue + 1] = path
          reached[path] = true
        end
      end
    end
    assert.same(pages, reached)
  end)
end)

describe("docs/reference.md", function()
  it("lists the options of an executor, with their defaults", function()
    local rows = rows_under("Options of an executor", reference)
    assert.same(sorted_keys(config.EXECUTOR_OPTIONS), sorted_keys(rows))
    assert_defaults(rows, config.DEFAULTS)
  end)

  it("names the words that isolation and runtime take", function()
    local rows = rows_under("Options of an executor", reference)
    for _, option in ipairs{ "isolation", "runtime" } do
      local row = table.concat(rows[option], " ")
      for _, word in ipairs(config.EXECUTOR_OPTIONS[option]) do
        assert.truthy(row:find('`"' .. word .. '"`', 1, true), option .. ": " .. word)
      end
    end
  end)

  it("lists the options of pip, with their defaults", function()
    local rows = rows_under("Packages", runtimes)
    assert.same(sorted_keys(config.PIP_OPTIONS), sorted_keys(rows))
    assert_defaults(rows, config.PIP_DEFAULTS)
  end)

  it("lists the options of npm, with their defaults", function()
    local rows = rows_under("Packages of npm", runtimes)
    assert.same(sorted_keys(config.NPM_OPTIONS), sorted_keys(rows))
    assert_defaults(rows, config.NPM_DEFAULTS)
  end)

  it("lists the options of a call and the limits, with their defaults", function()
    local rows = rows_under("Options of a call", reference)
    assert.same(sorted_keys(config.CALL_OPTIONS, config.LIMITS), sorted_keys(rows))
    assert_defaults(rows, config.DEFAULTS)
    assert_defaults(rows, isolation.limits)
    assert_defaults(rows, calls.DEFAULTS)
    assert_defaults(rows, verdict.DEFAULTS)
  end)

  it("lists the options of executors over executors, with their defaults", function()
    local rows = rows_under("Retry, budget, cache", many)
    assert.same(sorted_keys(retry.OPTIONS, budget.OPTIONS, caching.OPTIONS), sorted_keys(rows))
    assert_defaults(rows, retry.DEFAULTS)
    assert_defaults(rows, caching.DEFAULTS)
    local text = many:match("%*%*Retry%*%*(.-)by default")
    for _, kind in ipairs(retry.DEFAULT_KINDS) do
      assert.truthy(text:find("`" .. kind .. "`", 1, true), kind)
    end
  end)

  it("lists the options of prune, with their defaults", function()
    local rows = rows_under("The cache", runtimes)
    assert.same(sorted_keys(prune.OPTIONS), sorted_keys(rows))
    assert_defaults(rows, prune.DEFAULTS)
  end)

  it("lists the options of remote and of a worker, with their defaults", function()
    local rows = rows_under("Options of remote", read_document("fleet"))
    assert.same(sorted_keys(remote.OPTIONS), sorted_keys(rows))
    assert_defaults(rows, remote.DEFAULTS)
    rows = rows_under("Options of a worker", read_document("fleet"))
    assert.same(sorted_keys(worker.OPTIONS), sorted_keys(rows))
    assert_defaults(rows, worker.DEFAULTS)
  end)

  it("lists the options of run and spawn", function()
    local rows = rows_under("Options of run and spawn", reference)
    assert.same(sorted_keys(command.OPTIONS), sorted_keys(rows))
  end)

  it("lists the kinds of errors, with whose fault each is", function()
    assert_kinds(rows_under("Results, info, errors", reference))
  end)

  it("lists the functions of the module", function()
    for name, value in pairs(noether) do
      local called = type(value) == "function" and name .. "(" or name
      assert.truthy(reference:find("noether." .. called, 1, true), "noether." .. name)
      for inner in pairs(type(value) == "table" and value or {}) do
        local whole = ("noether.%s.%s"):format(name, inner)
        assert.truthy(reference:find(whole .. "(", 1, true), whole)
      end
    end
    for name in reference:gmatch("noether%.([%l_]+)%f[^%w_.]%(") do
      assert.truthy(noether[name], "noether." .. name)
    end
  end)

  it("lists the environment variables that the sources read, and no other", function()
    assert.same(sorted_keys(variables_in_sources()), sorted_keys(variables_in_reference()))
  end)
end)

describe("docs/errors.md", function()
  local text = read_document("errors")

  it("lists the kinds of errors, with whose fault each is", function()
    assert_kinds(rows_under("Kinds", text))
  end)

  it("lists the reasons", function()
    local reasons = {}
    for name in helper.read(helper.root .. "/include/noether.h"):gmatch("NOE_REASON_([%u_]+)") do
      if name ~= "NONE" then reasons[name:lower()] = true end
    end
    assert.same(sorted_keys(reasons), sorted_keys(rows_under("Reasons", text)))
  end)
end)

describe("docs/isolation.md", function()
  local text = read_document("isolation")

  it("lists the words of what is enforced", function()
    local words = {}
    for name in helper.read(helper.root .. "/include/noether.h"):gmatch("NOE_ENFORCED_([%u_]+)") do
      words[name:lower()] = true
    end
    assert.same(sorted_keys(words), sorted_keys(
      rows_under("What each word of `enforced` means", text)))
  end)

  it("has a row for every effect, and so has the README", function()
    for _, page in ipairs{ text, helper.read(helper.root .. "/README.md") } do
      for _, name in ipairs(effects.names()) do
        assert.truthy(page:find("\n|[^|\n]*%f[%w]" .. name .. "%f[%W]"), name)
      end
    end
  end)

  it("lists the limits and the backends", function()
    local limits = sorted_keys(descriptions.LIMITS, { timeout_secs = 1, max_output_bytes = 1 })
    assert.same(limits, sorted_keys(rows_under("Limits", text)))
    local backends = {}
    for _, name in ipairs(config.EXECUTOR_OPTIONS.isolation) do
      backends[name] = true
    end
    assert.same(sorted_keys(backends), sorted_keys(rows_under("Backends", text)))
  end)
end)

describe("docs/policy.md", function()
  it("lists the fields of every policy", function()
    local text = read_document("policy")
    for module, fields in pairs(shapes.FIELDS) do
      local heading = module == "language" and "languages/&lt;name&gt;" or module
      assert.same(sorted_keys(fields), sorted_keys(rows_under(heading, text)), module)
    end
  end)
end)

describe("CHANGELOG.md", function()
  it("names the version of the library", function()
    local text = helper.read(helper.root .. "/CHANGELOG.md")
    assert.truthy(text:find(noether.version, 1, true))
  end)
end)
