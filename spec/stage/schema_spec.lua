-- SPDX-License-Identifier: MIT
local json = require "noether.json"
local schema = require "noether.stage.schema"
require "spec.support.helper"

local function read(text)
  return assert(json.decode(text))
end

describe("schema.check", function()
  it("takes what is of the subset", function()
    for _, text in ipairs{
      '{"type":"object"}',
      '{"type":"object","properties":{"a":{"type":["string","null"],"description":"x"}}}',
      '{"type":"object","required":[],"additionalProperties":false,"title":"t","default":{}}',
      '{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#/$defs/n"}}},'
        .. '"$defs":{"n":{"type":"integer","minimum":0,"maximum":9}}}',
      '{"type":"object","properties":{"next":{"$ref":"#"}}}',
      '{"type":"object","properties":{"a":{"enum":[1,"x",null]},"b":{"const":[1]}}}',
      '{"type":"object","additionalProperties":{"type":"string","minLength":1,"maxLength":3}}',
      '{"type":"object","properties":{"a/b":{"type":"string"},"c":{"$ref":"#/properties/a~1b"}}}',
    } do
      local ok, reason = schema.check(read(text), "schema")
      assert.is_true(ok, text .. ": " .. tostring(reason))
    end
  end)

  it("refuses what it could not hold, with the place", function()
    for _, case in ipairs{
      { '{"type":"string"}', 'schema: its root must have type "object"' },
      { "{}", 'schema: its root must have type "object"' },
      { "[]", "schema: a schema is an object" },
      { '{"type":"object","pattern":"x"}', "schema: 'pattern' is not among the keywords" },
      { '{"type":"object","anyOf":[]}', "'anyOf' is not among" },
      { '{"type":"object","properties":{"a":{"format":"date"}}}',
        "schema.properties.a: 'format' is not among" },
      { '{"type":"object","properties":{"a b":{"type":"text"}}}',
        'schema.properties["a b"]: type: expected one of array' },
      { '{"type":"object","properties":[1]}', "schema: properties: expected an object" },
      { '{"type":"object","properties":{"a":true}}', "schema.properties.a: a schema is an object" },
      { '{"type":"object","required":"a"}', "schema: required: expected a list of names" },
      { '{"type":"object","required":[1]}', "required: expected a list of names" },
      { '{"type":"object","properties":{"a":{"items":[{}]}}}',
        "schema.properties.a.items: a schema is an object" },
      { '{"type":"object","properties":{"a":{"enum":1}}}', "enum: expected a list" },
      { '{"type":"object","properties":{"a":{"minimum":"1"}}}', "minimum: expected a number" },
      { '{"type":"object","properties":{"a":{"minLength":-1}}}', "minLength: expected a whole" },
      { '{"type":"object","properties":{"a":{"maxLength":1.5}}}', "maxLength: expected a whole" },
      { '{"type":"object","properties":{"a":{"$ref":"http://x/y"}}}', "$ref: only a place in" },
      { '{"type":"object","properties":{"a":{"$ref":"#/nowhere"}}}', "$ref: only a place in this" },
      { '{"type":"object","properties":{"a":{"$ref":"#/properties/a"}}}', "leads to itself" },
      { '{"type":"object","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}',
        "leads to itself" },
    } do
      local ok, reason = schema.check(read(case[1]), "schema")
      assert.is_nil(ok, case[1])
      assert.truthy(reason:find(case[2], 1, true), case[1] .. "\n" .. reason)
    end
  end)

  it("ends at a schema that holds itself, and at what no JSON can be", function()
    local cycle = { type = "object" }
    cycle.properties = { again = cycle }
    assert.is_nil((schema.check(cycle, "schema")))
    assert.is_nil((schema.check({ type = "object", [true] = 1 }, "schema")))
    assert.is_nil((schema.check("text", "schema")))
  end)
end)

describe("schema.fits", function()
  local SCHEMA = read[=[{"type": "object", "required": ["name"], "additionalProperties": false,
    "properties": {
      "name": {"type": "string", "minLength": 2, "maxLength": 4},
      "count": {"type": "integer", "minimum": 1, "maximum": 9},
      "ratio": {"type": ["number", "null"]},
      "kind": {"enum": ["a", 1, null, [1, {"x": 2}]]},
      "fixed": {"const": {"a": [1]}},
      "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
      "child": {"$ref": "#"}
    }, "$defs": {"tag": {"type": "string"}}}]=]

  it("is true of values that fit", function()
    assert.is_true(schema.check(SCHEMA, "schema"))
    for _, text in ipairs{
      '{"name":"ab"}', '{"name":"äöüß"}', '{"name":"ab","count":9}',
      '{"name":"ab","count":3.0}',
      '{"name":"ab","ratio":0.5}', '{"name":"ab","ratio":null}', '{"name":"ab","kind":1.0}',
      '{"name":"ab","kind":null}', '{"name":"ab","kind":[1,{"x":2}]}',
      '{"name":"ab","fixed":{"a":[1]}}', '{"name":"ab","tags":[]}', '{"name":"ab","tags":["x"]}',
      '{"name":"ab","child":{"name":"cd","child":{"name":"ef"}}}',
    } do
      local ok, reason = schema.fits(SCHEMA, read(text), "input")
      assert.is_true(ok, text .. ": " .. tostring(reason))
    end
  end)

  it("names the place of what does not", function()
    for _, case in ipairs{
      { "[]", "input: expected object, got array" },
      { "null", "input: expected object, got null" },
      { "{}", "input.name: missing" },
      { '{"name":1}', "input.name: expected string, got number" },
      { '{"name":"a"}', "input.name: expected 2 characters or more, got 1" },
      { '{"name":"abcde"}', "input.name: expected 4 characters or fewer, got 5" },
      { '{"name":"ab","count":1.5}', "input.count: expected integer, got number" },
      { '{"name":"ab","count":0}', "input.count: expected 1 or more" },
      { '{"name":"ab","count":10}', "input.count: expected 9 or less" },
      { '{"name":"ab","ratio":"1"}', "input.ratio: expected number or null, got string" },
      { '{"name":"ab","kind":2}', "input.kind: expected one of" },
      { '{"name":"ab","kind":[1,{"x":2,"y":3}]}', "input.kind: expected one of" },
      { '{"name":"ab","fixed":{"a":[1,2]}}', "input.fixed: expected" },
      { '{"name":"ab","tags":["x",2]}', "input.tags[2]: expected string, got number" },
      { '{"name":"ab","tags":{}}', "input.tags: expected array, got object" },
      { '{"name":"ab","other":1}', "input.other: not among the fields" },
      { '{"name":"ab","a b":1}', 'input["a b"]: not among the fields' },
      { '{"name":"ab","child":{"name":"c"}}', "input.child.name: expected 2 characters" },
    } do
      local ok, reason = schema.fits(SCHEMA, read(case[1]), "input")
      assert.is_nil(ok, case[1])
      assert.truthy(reason:find(case[2], 1, true), case[1] .. "\n" .. reason)
    end
  end)
end)

describe("a schema of a stranger's", function()
  it("is refused where it refers to what is no schema", function()
    for _, place in ipairs{ "default", "examples/1", "enum/1", "const", "properties/a/default" } do
      local text = [[{"type":"object","default":{"type":"odd"},"examples":[{}],"enum":[{}],
        "const":{},"properties":{"a":{"default":{"type":"odd"}},"b":{"$ref":"#/PLACE"}}}]]
      text = text:gsub("PLACE", place)
      local ok, reason = schema.check(json.decode(text), "s")
      assert.is_nil(ok)
      assert.truthy(reason:find("$ref: only a place in this schema", 1, true), reason)
    end
  end)

  it("that leads to each place in many ways is judged once for each", function()
    local definitions, count = {}, 30
    for i = 1, count do
      local next_one = { ["$ref"] = ("#/$defs/d%d"):format(i % count + 1) }
      definitions["d" .. i] = {
        type = "object", properties = { a = next_one }, additionalProperties = next_one,
      }
    end
    for i = 1, count - 1 do
      definitions["d" .. i]["$ref"] = "#/$defs/d" .. i + 1
    end
    local value, deep = {}, {}
    for _ = 1, count do deep = { a = deep } end
    value.x = deep
    local root = { type = "object", ["$defs"] = definitions,
      additionalProperties = { ["$ref"] = "#/$defs/d1" } }
    assert.is_true((schema.check(root, "s")))
    assert.is_true((schema.fits(root, value, "v")))
  end)
end)
