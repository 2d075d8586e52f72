-- SPDX-License-Identifier: MIT
-- What is said of a stage beside what it is: kept with it, no part of its id, held when it runs.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local json = require "noether.json"
local mcp = require "spec.support.mcp"
local noether = require "noether"

local INPUT = {
  type = "object", required = { "width" }, properties = { width = { type = "number" } },
}
local OUTPUT = { type = "object", properties = { area = { type = "integer" } } }

local function stage_of(more)
  local stage = {
    name = "square", language = "python", effects = { "Pure" },
    code = "def execute(r): return {'area': r['width'] * r['width']}\n",
  }
  for name, value in pairs(more or {}) do
    stage[name] = value
  end
  return stage
end

local TOLD = { description = "Squares.", input_schema = INPUT, output_schema = OUTPUT }

local STORES = {
  memory = noether.store.memory,
  directory = function() return noether.check(noether.store.open(helper.tmpdir() .. "/s")) end,
}

for name, open in pairs(STORES) do
  describe("a stage in a store in " .. name, function()
    it("keeps what is said of it, which is no part of its id", function()
      local store = open()
      local plain = noether.check(store:put(stage_of()))
      local id = noether.check(store:put(stage_of(TOLD)))
      assert.equal(plain, id)
      local found = noether.check(store:get("square"))
      assert.equal("Squares.", found.description)
      assert.equal(json.canonical(json.array{ "width" }),
        json.canonical(found.input_schema.required))
      assert.equal(json.canonical(OUTPUT), json.canonical(found.output_schema))
      assert.equal("Squares.", noether.check(store:list())[1].description)
      found.input_schema.required[1] = "other"
      assert.equal("width", store:get(id).input_schema.required[1])
    end)

    it("keeps it when it is put again without", function()
      local store = open()
      noether.check(store:put(stage_of(TOLD)))
      local again = stage_of{ description = "Squares a number." }
      again.name = nil
      local id = noether.check(store:put(again))
      noether.check(store:put(stage_of()))
      local found = noether.check(store:get(id))
      assert.equal("Squares a number.", found.description)
      assert.equal("object", found.input_schema.type)
    end)

    it("is refused with a schema that could not be held", function()
      local store = open()
      for _, case in ipairs{
        { { input_schema = { type = "string" } }, "input_schema: its root must have" },
        { { output_schema = { type = "object", anyOf = {} } }, "output_schema: 'anyOf' is not" },
        { { description = "\255" }, "description must be UTF-8" },
      } do
        local id, err = store:put(stage_of(case[1]))
        assert.is_nil(id)
        assert.equal("input_invalid", err.kind)
        assert.truthy(err.message:find(case[2], 1, true), err.message)
      end
      assert.has_error(function() store:put(stage_of{ input_schema = "{}" }) end)
    end)
  end)
end

describe("a stage with schemas", function()
  local executor

  before_each(function() executor = noether.check(noether.executor{ isolation = "none" }) end)
  after_each(function() executor:close() end)

  it("runs with what fits, in values and in text", function()
    assert.same({ area = 9 }, (executor:execute(stage_of(TOLD), { width = 3 })))
    assert.equal('{"area": 9}', (executor:execute_json(stage_of(TOLD), '{"width": 3}')))
  end)

  it("is not run with another input, and told where it does not fit", function()
    for _, case in ipairs{ { {}, "{}", "input.width: missing" },
        { { width = "3" }, '{"width":"3"}', "input.width: expected number, got string" },
        { 3, "3", "input: expected object, got number" } } do
      local _, err, info = executor:execute(stage_of(TOLD), case[1])
      assert.same({ "input_invalid", case[3] }, { err.kind, err.message })
      assert.is_nil(info.result)
      _, err = executor:execute_json(stage_of(TOLD), case[2])
      assert.same({ "input_invalid", case[3] }, { err.kind, err.message })
    end
  end)

  it("has given no answer, where that does not fit", function()
    for _, method in ipairs{ "execute", "execute_json" } do
      local input = method == "execute" and { width = 0.5 } or '{"width": 0.5}'
      local _, err, info = executor[method](executor, stage_of(TOLD), input)
      assert.equal("output_invalid", err.kind)
      assert.equal("answer.area: expected integer, got number", err.message)
      assert.equal(0, info.result.exit_code)
    end
  end)

  it("is a tool with them, and its answer is structured content", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/square.py", stage_of().code)
    helper.write(dir .. "/input.json", assert(json.encode(INPUT)))
    local env = { HOME = dir, NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store" }
    command.succeed({ "store", "put", dir .. "/square.py", "--name", "square", "--effect", "Pure",
      "--description", "Squares.", "--input-schema", "@" .. dir .. "/input.json",
      "--output-schema", assert(json.encode(OUTPUT)) }, { env = env })
    local shown = command.succeed({ "store", "show", "square" }, { env = env })
    assert.truthy(shown:find("does      Squares.", 1, true), shown)
    assert.truthy(shown:find('input     {"properties"', 1, true), shown)
    command.fail(2, { "store", "put", dir .. "/square.py", "--input-schema", "{" },
      { "invalid JSON" })
    local client = mcp.start({ command.path, "mcp", "--isolation", "none", "--language", "bash" },
      env)
    client:ask("tools/list")
    local tool = client:answer(client.last_id).result.tools[2]
    assert.same({ "square", "Squares." }, { tool.name, tool.description })
    assert.equal("integer", tool.outputSchema.properties.area.type)
    assert.is_true(tool.annotations.idempotentHint)
    assert.same({ area = 16 }, client:call("square", { width = 4 }).structuredContent)
    local failed = client:call("square", { width = 0.5 })
    assert.is_true(failed.isError)
    assert.is_nil(failed.structuredContent)
    assert.truthy(mcp.text(failed):find("output_invalid: answer.area", 1, true), mcp.text(failed))
    client:close()
  end)
end)
