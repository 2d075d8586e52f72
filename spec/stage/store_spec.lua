-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local directory = require "noether.stage.store.directory"
local memory = require "noether.stage.store.memory"
local stages = require "noether.stage.stage"
local json = require "noether.json"
local sys = require "noether.sys"

local CODE = "def execute(input): return input"

local function write(path, text)
  assert(sys.write_file(path, text, 384))
end

-- Runs what `describe` is for against both kinds of store.
local function both(name, body)
  it(name .. " (memory)", function() body(memory.new()) end)
  it(name .. " (directory)", function()
    local dir = assert(sys.mkdtemp("/tmp/noether-store-"))
    local ok, message = pcall(body, assert(directory.open(dir)), dir)
    sys.remove_tree(dir)
    assert(ok, message)
  end)
end

describe("a stage's id", function()
  local function id(fields) return assert(stages.new("put", fields)).id end

  it("is the SHA-256 of the canonical JSON of language, code and effects", function()
    local text = json.canonical{
      language = "python", code = CODE,
      effects = json.array{ { effect = "Network" }, { effect = "Pure" } },
    }
    assert.equal(sys.sha256(text),
      id{ language = "python3", code = CODE, effects = { "Pure", "Network" } })
  end)

  it("does not depend on how language, effects and name are written", function()
    local first = id{ language = "python", code = CODE, effects = { "Pure", { FsRead = "/a" } } }
    assert.equal(first, id{ language = "", code = CODE, name = "x",
      effects = { { effect = "FsRead", path = "/a/" }, "Pure", "Pure" } })
    assert.equal(id{ language = "bash", code = "x" }, id{ language = "sh", code = "x" })
    assert.equal(id{ language = "javascript", code = "x" }, id{ language = "JS", code = "x" })
  end)

  it("depends on each of them", function()
    local seen = {}
    for _, fields in ipairs{
      { language = "python", code = "a" }, { language = "python", code = "b" },
      { language = "bash", code = "a" }, { language = "python", code = "a", effects = {} },
      { language = "python", code = "a", effects = { "Network" } },
    } do
      assert.is_nil(seen[id(fields)])
      seen[id(fields)] = true
    end
  end)

  it("is the same for no effects and for Unknown", function()
    assert.equal(id{ language = "bash", code = "x" },
      id{ language = "bash", code = "x", effects = { "Unknown" } })
  end)
end)

describe("a store", function()
  both("gives back what was put, by id and by name", function(store)
    local id = assert(store:put{
      language = "python3", code = CODE, effects = { "Pure" }, name = "double",
    })
    assert.truthy(id:find("^%x+$"))
    assert.equal(64, #id)
    local expected = {
      id = id, name = "double", language = "python", code = CODE, effects = { { effect = "Pure" } },
    }
    assert.same(expected, store:get(id))
    assert.same(expected, store:get("double"))
  end)

  both("keeps one copy of equal stages", function(store)
    local a = assert(store:put{ language = "bash", code = "x" })
    local b = assert(store:put{ language = "sh", code = "x" })
    assert.equal(a, b)
    assert.equal(1, #store:list())
  end)

  both("lets a name move to another stage, and keeps the first one", function(store)
    local old = assert(store:put{ language = "bash", code = "old", name = "tool" })
    local new = assert(store:put{ language = "bash", code = "new", name = "tool" })
    assert.equal("new", store:get("tool").code)
    assert.equal("old", store:get(old).code)
    assert.is_nil(store:get(old).name)
    assert.equal("tool", store:get(new).name)
  end)

  both("keeps a name when the same stage is put without one", function(store)
    local id = assert(store:put{ language = "bash", code = "x", name = "tool" })
    assert.equal(id, store:put{ language = "bash", code = "x" })
    assert.equal("tool", store:get(id).name)
    assert.equal(id, store:get("tool").id)
  end)

  both("lists stages without their code, sorted by id", function(store)
    for _, code in ipairs{ "a", "b", "c" } do
      assert(store:put{ language = "bash", code = code, name = "stage " .. code })
    end
    local list = store:list()
    assert.equal(3, #list)
    assert.is_true(list[1].id < list[2].id and list[2].id < list[3].id)
    for _, entry in ipairs(list) do
      assert.is_nil(entry.code)
      assert.equal("bash", entry.language)
      assert.same({ { effect = "Unknown" } }, entry.effects)
      assert.truthy(entry.name:find("^stage [abc]$"))
    end
  end)

  both("removes a stage with its names, and says when there was none", function(store)
    local id = assert(store:put{ language = "bash", code = "x", name = "tool" })
    assert.is_true(store:remove("tool"))
    for _, key in ipairs{ id, "tool" } do
      local stage, err = store:get(key)
      assert.is_nil(stage)
      assert.equal("stage_not_found", err.kind)
    end
    local ok, err = store:remove(id)
    assert.is_nil(ok)
    assert.equal("stage_not_found", err.kind)
  end)

  both("says what is not there, and how to see what is", function(store)
    local stage, err = store:get("nonesuch")
    assert.is_nil(stage)
    assert.equal("stage_not_found", err.kind)
    assert.truthy(tostring(err):find("nonesuch", 1, true))
    assert.truthy(err.hint:find("list", 1, true))
  end)

  both("is not changed through what it gave or got", function(store)
    local fields = { language = "bash", code = "x", effects = { { FsRead = "/a" } } }
    local id = assert(store:put(fields))
    fields.effects[1].FsRead = "/etc"
    local stage = store:get(id)
    stage.code, stage.effects[1].path = "evil", "/etc"
    assert.equal("x", store:get(id).code)
    assert.equal("/a", store:get(id).effects[1].path)
  end)

  both("keeps any text as code, exactly", function(store)
    local code = "a\0b\r\n\tcaf\195\169 \"\\ \226\128\168"
    assert.equal(code, store:get(assert(store:put{ language = "bash", code = code })).code)
  end)

  local refused = {
    { { name = ("a"):rep(64) }, "looks like an id" },
    { { name = "" }, "1 to 255 bytes" },
    { { name = ("x"):rep(256) }, "1 to 255 bytes" },
    { { name = "a\nb" }, "control characters" },
    { { name = "\255" }, "UTF-8" },
    { { code = "\255" }, "UTF-8" },
    { { effects = { "Netwrok" } }, "unknown effect" },
    { { effects = "Pure" }, 'expected a list, got a string: write { "Pure" }' },
  }
  for _, case in ipairs(refused) do
    both("refuses what is " .. case[2], function(store)
      local fields = { language = "bash", code = "x" }
      for name, value in pairs(case[1]) do
        fields[name] = value
      end
      local id, err = store:put(fields)
      assert.is_nil(id)
      assert.equal("input_invalid", err.kind)
      assert.truthy(tostring(err):find(case[2], 1, true), tostring(err))
      assert.same({}, store:list())
    end)
  end

  both("raises on misuse, at the caller's line", function(store)
    local cases = {
      { function() store:put("x") end, "stage: expected a table" },
      { function() store:put{ code = "x" } end, "the stage's language is missing" },
      { function() store:put{ language = "bash" } end, "the stage's code is missing" },
      { function() store:put{ language = 3, code = "x" } end,
        "field 'language': expected a string" },
      { function() store:put{ "python", "x" } end, "unknown field '1' (a stage has named fields" },
      { function() store:put{ lang = "bash", code = "x" } end,
        "unknown field 'lang' (did you mean 'language'?)" },
      { function() store.put{ language = "bash", code = "x" } end, "call it with a colon" },
      { function() store.get("x") end, "store:get: call it with a colon" },
      { function() store.list() end, "store:list: call it with a colon" },
      { function() store.remove("x") end, "store:remove: call it with a colon" },
      { function() store:put{ language = "bash", code = "x", efects = {} } end,
        "did you mean 'effects'?" },
      { function() store:get(nil) end, "id or name: expected a string" },
    }
    for _, case in ipairs(cases) do
      local ok, message = pcall(case[1])
      assert.is_false(ok)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("store_spec.lua:%d+:"), message)
    end
  end)
end)

describe("a store in a directory", function()
  local dir
  before_each(function() dir = assert(sys.mkdtemp("/tmp/noether-store-")) end)
  after_each(function() sys.remove_tree(dir) end)

  it("is there again when it is opened again", function()
    local id = assert(assert(directory.open(dir .. "/stages")):put{
      language = "python", code = CODE, name = "identity",
    })
    local again = assert(directory.open(dir .. "/stages"))
    assert.equal(CODE, again:get(id).code)
    assert.equal(id, again:get("identity").id)
  end)

  it("is private, one file a stage, without leftovers", function()
    local store = assert(directory.open(dir .. "/stages"))
    local id = assert(store:put{ language = "bash", code = "x", name = "tool" })
    assert.equal(448, sys.stat(dir .. "/stages").mode)
    assert.equal(384, sys.stat(("%s/stages/%s.json"):format(dir, id)).mode)
    local names = sys.list(dir .. "/stages")
    table.sort(names)
    assert.same({ id .. ".json", "names" }, names)
    assert.equal(1, #sys.list(dir .. "/stages/names"))
    store:remove(id)
    assert.same({ "names" }, sys.list(dir .. "/stages"))
    assert.same({}, sys.list(dir .. "/stages/names"))
  end)

  it("notices a damaged file, says which, and heals it with the next put", function()
    local store = assert(directory.open(dir))
    local id = assert(store:put{ language = "bash", code = "x" })
    local path = ("%s/%s.json"):format(dir, id)
    local other = json.canonical{ language = "bash", code = "evil", effects = json.array{} }
    for _, text in ipairs{ "", "{", "[]", "null", "3", "{}", other, '{"code":1}' } do
      write(path, text)
      local stage, err = store:get(id)
      assert.is_nil(stage)
      assert.equal("store_failed", err.kind)
      assert.truthy(tostring(err):find(path, 1, true), tostring(err))
      assert.truthy(tostring(err):find("damaged", 1, true), tostring(err))
      assert.truthy(err.hint:find("put the stage again", 1, true))
      local list = store:list()
      assert.equal(id, list[1].id)
      assert.equal("store_failed", list[1].err.kind)
    end
    assert.equal(id, store:put{ language = "bash", code = "x" })
    assert.equal("x", store:get(id).code)
  end)

  it("does not follow a name that leads outside, nor a link", function()
    local store = assert(directory.open(dir))
    for _, name in ipairs{ "../../etc/passwd", "..", ".", "/etc/passwd", "names/x", "--help" } do
      local stage, err = store:get(name)
      assert.is_nil(stage)
      assert.equal("stage_not_found", err.kind)
    end
    assert(store:put{ language = "bash", code = "x", name = "../../odd/name" })
    assert.equal("x", store:get("../../odd/name").code)
  end)

  it("reports a directory that cannot be had", function()
    write(dir .. "/file", "x")
    for _, case in ipairs{
      { dir .. "/file", "not a directory" }, { dir .. "/no/parent", "No such file" },
    } do
      local store, err = directory.open(case[1])
      assert.is_nil(store)
      assert.equal("store_failed", err.kind)
      assert.truthy(tostring(err):find(case[2], 1, true), tostring(err))
    end
  end)

  it("leaves nothing half-written where it may not write", function()
    local store = assert(directory.open(dir))
    sys.remove_tree(dir)
    local id, err = store:put{ language = "bash", code = "x" }
    assert.is_nil(id)
    assert.equal("store_failed", err.kind)
    assert.equal("ENOENT", err.errno)
    assert(sys.mkdir(dir))
  end)
end)
