-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local cjson = require "cjson"
local json = require "noether.json"

-- Tags what json.lua tags internally: values that begin with it must come through.
local TAG = "\u{FDD0}"

-- A text of a value in which nothing is hidden: types of numbers, marks, metatables.
local function show(value)
  if value == json.null then return "null" end
  if type(value) == "string" then return ("%q"):format(value) end
  if math.type(value) == "float" then return ("%a"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, element in pairs(value) do parts[#parts + 1] = show(key) .. "=" .. show(element) end
  table.sort(parts)
  return (json.is_array(value) and "array{" or "{") .. table.concat(parts, ",") .. "}"
end

local function decoded(text)
  local value, message = json.decode(text)
  assert.is_nil(message)
  return show(value)
end

local function encoded(value)
  local text, message = json.encode(value)
  assert.is_nil(message)
  return text
end

local function nested(depth, make)
  local value = make()
  for _ = 2, depth do value = make(value) end
  return value
end

describe("json.decode", function()
  local ACCEPTED = {
    { "null", json.null }, { "true", true }, { "false", false }, { " 1 ", 1 },
    { '""', "" }, { '"a"', "a" }, { "[]", json.array{} }, { "{}", {} }, { "{ }", {} },
    { "[ \t\r\n]", json.array{} }, { "[1,[2]]", json.array{ 1, json.array{ 2 } } },
    { "[null]", json.array{ json.null } }, { '{"a":null}', { a = json.null } },
    { '{"a":1,"b":{"a":[{}]}}', { a = 1, b = { a = json.array{ {} } } } },
    { '"\\u0041\\n\\/\\\\\\"\\b\\f\\r\\t"', "A\n/\\\"\b\f\r\t" },
    { '"\\u0000"', "\0" }, { '"a\\u0000b"', "a\0b" }, { '"\127"', "\127" },
    { '"\\ud83d\\ude00"', "😀" }, { '"😀"', "😀" }, { '"\\uffff"', "\u{FFFF}" },
    { '"é"', "é" }, { '"\\u00e9"', "é" },
    { '"日本語のとても長い文字列"', "日本語のとても長い文字列" },
  }
  for _, case in ipairs(ACCEPTED) do
    it("takes " .. case[1]:gsub("%c", "."), function()
      assert.equal(show(case[2]), decoded(case[1]))
    end)
  end

  local NUMBERS = {
    { "0", "0" }, { "-1", "-1" }, { "1.0", "0x1p+0" }, { "1e0", "0x1p+0" }, { "1E3", "0x1.f4p+9" },
    { "-0", "-0x0p+0" }, { "-0.0", "-0x0p+0" }, { "0.0", "0x0p+0" }, { "0e5", "0x0p+0" },
    { "0.1", "0x1.999999999999ap-4" }, { "0.30000000000000004", "0x1.3333333333334p-2" },
    { "2.2250738585072014e-308", "0x1p-1022" }, { "5e-324", "0x0.0000000000001p-1022" },
    { "1.7976931348623157e308", "0x1.fffffffffffffp+1023" }, { "1e-400", "0x0p+0" },
    { "9007199254740991", "9007199254740991" }, { "9007199254740992", "9007199254740992" },
    { "9007199254740993", "9007199254740993" }, { "-9007199254740993", "-9007199254740993" },
    { "9223372036854775807", "9223372036854775807" },
    { "-9223372036854775808", "-9223372036854775808" },
    { "9007199254740993.0", "0x1p+53" }, { "9223372036854775808.0", "0x1p+63" },
    { "0.99999999999999999999", "0x1p+0" }, { "123456789012345680", "123456789012345680" },
  }
  for _, case in ipairs(NUMBERS) do
    it("reads exactly " .. case[1], function()
      local value = json.decode(case[1])
      assert.equal(case[2], show(value))
      assert.equal("array{1=" .. case[2] .. "}", decoded("[" .. case[1] .. "]"))
      assert.equal('{"a"=' .. case[2] .. "}", decoded('{"a":' .. case[1] .. "}"))
    end)
  end

  local REFUSED = {
    { "", "expected a value, not the end at line 1 column 1" },
    { "[1,]", "expected a value, not ']' at line 1 column 4" },
    { "[1", "expected ',' or ']', not the end at line 1 column 3" },
    { '{"a":1,}', "expected a key in double quotes, not '}' at line 1 column 8" },
    { "{1:2}", "expected a key in double quotes, not '1' at line 1 column 2" },
    { '{"a" 1}', "expected ':', not '1' at line 1 column 6" },
    { "[1] 2", "expected nothing after the value, not '2' at line 1 column 5" },
    { "NaN", "expected a value, not 'N' at line 1 column 1" },
    { "nan", "expected a value, not 'n' at line 1 column 1" },
    { "Infinity", "expected a value, not 'I' at line 1 column 1" },
    { "-Infinity", "expected a digit, not 'I' at line 1 column 2" },
    { "0x10", "expected nothing after the value, not 'x' at line 1 column 2" },
    { "01", "number with a leading zero at line 1 column 1" },
    { "1.", "expected a digit, not the end at line 1 column 3" },
    { "1e400", "number beyond the range of doubles at line 1 column 1" },
    { "9223372036854775808", "integer beyond 64 bits (send it as a string) at line 1 column 1" },
    { '"\\ud800"', "lone surrogate in a string at line 1 column 2" },
    { '"\\udc00"', "lone surrogate in a string at line 1 column 2" },
    { '"\\x"', "invalid escape in a string at line 1 column 2" },
    { '"a\tb"', "control byte in a string at line 1 column 3" },
    { '"a\nb"', "control byte in a string at line 1 column 3" },
    { '"abc', "string without its closing quote at line 1 column 1" },
    { '"\255"', "invalid UTF-8 at line 1 column 2" },
    { '"\192\128"', "invalid UTF-8 at line 1 column 2" },
    { '"\237\160\128"', "invalid UTF-8 at line 1 column 2" },
    { '["é",\n  "日本", x]', "expected a value, not 'x' at line 2 column 9" },
    { "\239\187\191[]", "expected a value, not byte 0xEF at line 1 column 1" },
    { "// no\n1", "expected a value, not '/' at line 1 column 1" },
    { "1\0", "expected nothing after the value, not byte 0x00 at line 1 column 2" },
    { ("["):rep(1000000), "more than 512 levels of arrays and objects at line 1 column 513" },
    { ('{"a":'):rep(1000000), "more than 512 levels of arrays and objects at line 1 column 2561" },
  }
  for _, case in ipairs(REFUSED) do
    it("refuses " .. case[1]:sub(1, 30):gsub("[%c\128-\255]", "."), function()
      local value, message = json.decode(case[1])
      assert.is_nil(value)
      assert.equal("invalid JSON: " .. case[2], message)
    end)
  end

  it("takes 512 levels", function()
    assert.is_table(json.decode(("["):rep(512) .. ("]"):rep(512)))
    assert.is_table(json.decode(('{"a":'):rep(512) .. "1.0" .. ("}"):rep(512)))
  end)

  it("lets the last of equal keys count", function()
    assert.equal('{"a"=2}', decoded '{"a":1,"a":2}')
    assert.equal('{"a"=array{}}', decoded '{"a":1.0,"\\u0061":[]}')
  end)

  it("takes any string as a key", function()
    for _, key in ipairs { "", "1", "\0", "a.b", TAG, TAG .. "[]", TAG .. TAG .. "1.0", "é" } do
      assert.equal(show { [key] = 1.5 }, decoded("{" .. encoded(key) .. ":1.5}"))
    end
  end)

  it("takes a string that looks like a tag for a string", function()
    for _, tail in ipairs { "", "[]", "1.0", TAG, TAG .. "9007199254740993" } do
      assert.equal(TAG .. tail, json.decode('"' .. TAG .. tail .. '"'))
      assert.equal(TAG .. tail, json.decode('"\\uFDd0' .. tail .. '"'))
    end
  end)

  it("marks every array and no object", function()
    local value = json.decode '{"a":[[],{},[1]]}'
    assert.is_false(json.is_array(value))
    assert.is_true(json.is_array(value.a))
    assert.is_true(json.is_array(value.a[1]))
    assert.is_false(json.is_array(value.a[2]))
    assert.is_true(json.is_array(value.a[3]))
  end)

  it("raises if the argument is no string", function()
    assert.has_error(function() json.decode(1) end,
      "bad argument #1 to 'decode' (string expected, got number)")
    assert.has_error(function() json.decode() end,
      "bad argument #1 to 'decode' (string expected, got nil)")
  end)

  it("hands no text that is not JSON to lua-cjson", function()
    for _, text in ipairs { "NaN", "0x10", "01", '"\t"', '"\255"' } do
      assert.is_true(pcall(cjson.decode, text), "lua-cjson has learnt to refuse " .. text)
      assert.is_nil((json.decode(text)))
    end
  end)
end)

describe("json.check", function()
  it("agrees with json.decode", function()
    assert.is_true(json.check '{"a":[1]}')
    assert.is_true(json.check "false")
    assert.same({ json.decode "[1,]" }, { json.check "[1,]" })
    assert.has_error(function() json.check {} end,
      "bad argument #1 to 'check' (string expected, got table)")
  end)
end)

describe("json.encode", function()
  local CASES = {
    { nil, "null" }, { json.null, "null" }, { true, "true" }, { 1, "1" }, { -1, "-1" },
    { 1.0, "1.0" }, { -0.0, "-0.0" }, { 0.5, "0.5" }, { 1e15, "1000000000000000.0" },
    { 1e100, "1e+100" }, { 0.1 + 0.2, "0.30000000000000004" }, { 5e-324, "5e-324" },
    { 99999999999999, "99999999999999" }, { 100000000000000, "100000000000000" },
    { math.maxinteger, "9223372036854775807" }, { math.mininteger, "-9223372036854775808" },
    { "", '""' }, { "é\n", '"é\\n"' }, { {}, "{}" }, { json.array{}, "[]" }, { { 1, 2 }, "[1,2]" },
    { { {} }, "[{}]" }, { { json.array{} }, "[[]]" }, { { a = json.array{} }, '{"a":[]}' },
    { { [""] = 1 }, '{"":1}' }, { { ["1"] = 1 }, '{"1":1}' }, { TAG, '"' .. TAG .. '"' },
    { { TAG .. "[]" }, '["' .. TAG .. '[]"]' },
    { { [TAG] = TAG }, '{"' .. TAG .. '":"' .. TAG .. '"}' },
    { 'say "' .. TAG .. '1"', '"say \\"' .. TAG .. '1\\""' },
  }
  for _, case in ipairs(CASES) do
    it("writes " .. case[2], function() assert.equal(case[2], encoded(case[1])) end)
  end

  local cycle = { a = { {} } }
  cycle.a[1].b = cycle.a
  local REFUSED = {
    { { items = { 1, 2, { name = print } } }, ".items[3].name: a function is no JSON value" },
    { print, ": a function is no JSON value" },
    { coroutine.create(print), ": a thread is no JSON value" },
    { { io.stdout }, "[1]: a userdata is no JSON value" },
    { 0 / 0, ": NaN is no JSON value" },
    { { x = 1 / 0 }, ".x: infinity is no JSON value" },
    { { x = -1 / 0 }, ".x: infinity is no JSON value" },
    { { "a", "\255" }, "[2]: a string that is not UTF-8" },
    { { "\237\160\128" }, "[1]: a string that is not UTF-8" },
    { { a = { ["\255"] = 1 } }, ".a: a key that is not UTF-8" },
    { { [true] = 1 }, ": a boolean as a key (keys are strings)" },
    { { [1.5] = 1 }, ": the number 1.5 as a key (keys are strings)" },
    { { [0] = 1 }, ": the number 0 as a key (keys are strings)" },
    { { [-1] = 1 }, ": the number -1 as a key (keys are strings)" },
    { { 1, x = 2 }, ": a table with string keys and numbers as keys" },
    { { 1, nil, 3 }, ": an array with holes (fill them with null)" },
    { { a = { [1000000] = 1 } }, ".a: an array with holes (fill them with null)" },
    { json.array{ x = 1 }, ": an array with string keys" },
    { cycle, ".a[1].b: a cycle, it is input.a again" },
    { { ["a b"] = print }, '["a b"]: a function is no JSON value' },
    { { [""] = print }, '[""]: a function is no JSON value' },
    { { ["\n\"\\é"] = print }, '["\\x0A\\x22\\x5C\\xC3\\xA9"]: a function is no JSON value' },
    { { [("k"):rep(99)] = print }, '["' .. ("k"):rep(64) .. '..."]: a function is no JSON value' },
    { nested(513, function(t) return { t } end),
      ("[1]"):rep(12) .. "..." .. ("[1]"):rep(4) .. ": more than 512 levels of tables" },
  }
  for number, case in ipairs(REFUSED) do
    it("refuses, number " .. number .. ": " .. case[2]:sub(1, 60), function()
      local text, message = json.encode(case[1], "input")
      assert.is_nil(text)
      assert.equal("input" .. case[2], message)
    end)
  end

  it("calls the value 'value' if it is not told otherwise", function()
    assert.same({ nil, "value.a: a function is no JSON value" }, { json.encode { a = print } })
    assert.has_error(function() json.encode({}, 1) end,
      "bad argument #2 to 'encode' (string expected, got number)")
  end)

  it("writes 512 levels", function()
    local text = encoded(nested(512, function(t) return { t } end))
    assert.equal(("["):rep(511) .. "{}" .. ("]"):rep(511), text)
    assert.equal(("["):rep(512) .. "1.0" .. ("]"):rep(512),
      encoded(nested(513, function(t) return t and { t } or 1.0 end)))
  end)

  it("takes a table that is there twice, and counts what it becomes", function()
    local shared = { 1.0 }
    assert.equal("[[1.0],[1.0]]", encoded { shared, shared })
    local doubled = nested(40, function(t) return t and { t, t } or {} end)
    local text, message, limit = json.encode(doubled)
    assert.is_nil(text)
    assert.matches("too large: ", message)
    assert.equal(2 ^ 30, limit)
    assert.truthy(message:find(("%d"):format(limit), 1, true), message)
  end)

  it("says at once of a long string that it is too large", function()
    local long = ("x"):rep(179000000)
    local before = os.clock()
    for _, value in ipairs{ long, { a = { long } }, { [long] = 1 } } do
      local text, message, limit = json.encode(value)
      assert.is_nil(text)
      assert.matches("too large: ", message)
      assert.equal(2 ^ 30, limit)
    end
    assert.is_true(os.clock() - before < 1)
    assert.is_nil((select(3, json.encode(0 / 0))))
  end)

  it("does not change the caller's tables", function()
    local value = { f = 1.0, big = math.maxinteger, list = json.array{}, [TAG] = TAG,
      deep = { { 2.0 }, 3 } }
    local before, inner = show(value), value.deep[1]
    encoded(value)
    assert.equal(before, show(value))
    assert.equal(inner, value.deep[1])
  end)

  it("reads tables raw", function()
    local function fail() error "a metamethod was called" end
    local function guarded(t)
      return setmetatable(t, { __index = fail, __len = fail, __pairs = fail, __call = fail })
    end
    assert.equal("[1,2]", encoded(guarded { 1, 2 }))
    assert.equal('{"a":1.0}', encoded(guarded { a = 1.0 }))
    assert.equal("{}", encoded(guarded {}))
    assert.equal("[[1]]", json.canonical { guarded { 1 } })
  end)

  it("keeps keys apart that tags might make equal", function()
    local value = {}
    for count = 0, 5 do value[TAG:rep(count) .. "x"] = count + 0.0 end
    assert.equal(show(value), decoded(encoded(value)))
  end)
end)

describe("json", function()
  local LETTERS = { "a", "Z", "0", " ", "\"", "\\", "/", "\n", "\0", "\127", "é", "日", "😀", TAG,
    "[]" }

  local function random_string()
    local parts = {}
    for i = 1, math.random(0, 12) do parts[i] = LETTERS[math.random(#LETTERS)] end
    return table.concat(parts)
  end

  local LEAVES = {
    function() return json.null end,
    function() return math.random(2) == 1 end,
    random_string,
    function() return math.random(-1000, 1000) end,
    function() return math.random(math.mininteger, math.maxinteger) end,
    function() return math.random(-100000, 100000) / 100 end,
    function() return math.random(-1000, 1000) + 0.0 end,
    function()
      local number = string.unpack("d", string.pack("I8", math.random(0)))
      return number - number == 0 and number or -0.0
    end,
  }

  local function random_value(depth)
    local kind = depth > 0 and math.random(4) or 4
    if kind > 2 then return LEAVES[math.random(#LEAVES)]() end
    local value = kind == 1 and json.array{} or {}
    for i = 1, math.random(0, 6) do
      value[kind == 1 and i or random_string()] = random_value(depth - 1)
    end
    return value
  end

  it("gives back what it was given", function()
    math.randomseed(20240607)
    for _ = 1, 1000 do
      local value = random_value(5)
      local before = show(value)
      local text = encoded(value)
      assert.equal(before, decoded(text))
      assert.equal(before, decoded(json.sorted(value, "value")))
      assert.equal(before, show(value))
    end
  end)

  it("keeps 1 MiB of each kind of value", function()
    local leaves = { 1, 1.0, 0.1 + 0.2, math.maxinteger, "x" .. TAG, TAG, json.null, 2 ^ 60 }
    for _, leaf in ipairs(leaves) do
      local value, other = json.array{}, 0
      for i = 1, 2 ^ 20 // #encoded(leaf) do value[i] = leaf end
      local back = json.decode(encoded(value))
      for _, element in ipairs(back) do
        if element ~= leaf or math.type(element) ~= math.type(leaf) then other = other + 1 end
      end
      assert.same({ #value, 0 }, { #back, other })
    end
  end)

  it("returns an error of lua-cjson instead of raising it", function()
    local fake = setmetatable({}, { __index = cjson })
    fake.new = function()
      local codec = cjson.new()
      codec.encode_max_depth(1)
      codec.decode_max_depth(1)
      return codec
    end
    local loaded = package.loaded["noether.json"]
    package.loaded.cjson, package.loaded["noether.json"] = fake, nil
    local other = require "noether.json"
    package.loaded.cjson, package.loaded["noether.json"] = cjson, loaded
    local value, message = other.decode "[[1]]"
    assert.is_nil(value)
    assert.matches("nested", message)
    local text
    text, message = other.encode { { 1 } }
    assert.is_nil(text)
    assert.matches("nesting", message)
  end)

  -- LC_NUMERIC of a locale with a decimal comma, as localedef of glibc 2.36 makes it.
  local COMMA = "\x14\x11\x03\x20\6\0\0\0\x20\0\0\0\x22\0\0\0\x23\0\0\0\x24\0\0\0\x28\0\0\0"
    .. "\x2c\0\0\0\x2c\0\0\0\x2c\0\0\0\0\0\0\0ANSI_X3.4-1968\0"

  -- Prints numbers there and back, where the locale is set before or after json is loaded.
  local LOCALE_PROGRAM = [[
    local when = ...
    local function set(name) assert(os.setlocale(name, "numeric")) end
    if when ~= "after" then set "comma" end
    local json = require "noether.json"
    if when == "after" then set "comma" end
    if when == "reset" then set "C" end
    assert(#string.format("%.1f", 0.5) == 3)
    local value = assert(json.decode(
      "[0.5,1,2,1.5e3,0.12345678901234568,3.0,9007199254740993,0,-0]"))
    print(json.encode(value), json.canonical(value), (json.encode { 0.25, 1 }))
  ]]

  for _, when in ipairs { "before", "after", "reset" } do
    it("does not mind a locale with a decimal comma: " .. when, function()
      local dir = helper.tmpdir()
      helper.write(dir .. "/comma/LC_NUMERIC", COMMA)
      helper.write(dir .. "/program.lua", LOCALE_PROGRAM)
      local numbers = "[0.5,1,2,1500.0,0.12345678901234568,3.0,9007199254740993,0,-0.0]"
      local output = helper.shell(("LOCPATH=%s %s %s %s"):format(helper.quote(dir),
        helper.quote(helper.lua), helper.quote(dir .. "/program.lua"), when))
      local canonical = "[0.5,1,2,1500,0.12345678901234568,3,9007199254740993,0,0]"
      assert.equal(table.concat({ numbers, canonical, "[0.25,1]" }, "\t") .. "\n", output)
    end)
  end
end)

describe("json.canonical", function()
  local CASES = {
    { nil, "null" },
    { { b = 1, a = 2, [""] = 3, B = 4, aa = 5 }, '{"":3,"B":4,"a":2,"aa":5,"b":1}' },
    { { ["é"] = 1, z = 2 }, '{"z":2,"é":1}' }, { { ["a\0"] = 1, a = 2 }, '{"a":2,"a\\u0000":1}' },
    { { 1, 1.0, 0.1, 1e100, -0.0 }, "[1,1,0.1,1e+100,0]" },
    { { {}, json.array{}, json.null, true, false }, "[{},[],null,true,false]" },
    { "/\b\t\n\v\f\r\27\"\\\127é", '"/\\b\\t\\n\\u000b\\f\\r\\u001b\\"\\\\\127é"' },
    { TAG, '"' .. TAG .. '"' },
  }
  for _, case in ipairs(CASES) do
    it("writes " .. case[2], function() assert.equal(case[2], json.canonical(case[1])) end)
  end

  it("does not depend on how a table was made", function()
    local one, other = {}, {}
    for i = 1, 100 do one["k" .. i] = i end
    for i = 100, 1, -1 do other["k" .. i] = i end
    for i = 1, 1000 do other["x" .. i] = i end
    for i = 1, 1000 do other["x" .. i] = nil end
    assert.equal(json.canonical(one), json.canonical(other))
  end)

  it("refuses what json.encode refuses", function()
    assert.same({ nil, "stage.code: a function is no JSON value" },
      { json.canonical({ code = print }, "stage") })
  end)

  it("tells an array from an object, and not 1 from 1.0", function()
    assert.equal(json.canonical(1), json.canonical(1.0))
    assert.equal(json.canonical(1 << 60), json.canonical(2.0 ^ 60))
    assert.equal("[1.0,-0.0]", json.sorted({ 1.0, -0.0 }, "value"))
    assert.not_equal(json.canonical {}, json.canonical(json.array{}))
  end)
end)

describe("json.array", function()
  it("marks the table that it is given", function()
    local t = { 1 }
    assert.equal(t, json.array(t))
    assert.equal(t, json.array(t))
    assert.is_true(json.is_array(t))
    assert.equal("[]", json.encode(json.array()))
  end)

  it("raises for what it cannot mark", function()
    assert.has_error(function() json.array(1) end,
      "bad argument #1 to 'array' (table expected, got number)")
    assert.has_error(function() json.array(setmetatable({}, {})) end,
      "bad argument #1 to 'array' (the table has a metatable of its own)")
  end)

  it("is not claimed of anything else", function()
    for _, value in ipairs { 1, "a", {}, { 1 }, setmetatable({}, {}), json.null } do
      assert.is_false(json.is_array(value))
    end
    assert.is_false(json.is_array(nil))
  end)

  it("leaves null equal to lua-cjson's", function()
    assert.equal(cjson.null, json.null)
    assert.equal(json.null, json.decode "null")
  end)
end)

describe("a number of values", function()
  local cases = { "[1,2,3]", "[[],{},\"x\"]", '{"a":1,"b":[true]}', "[[[null]]]" }

  it("is that of arrays, objects, and all in them but keys", function()
    for _, text in ipairs(cases) do
      assert(json.decode(text, nil, 4))
      local value, reason, most = json.decode(text, nil, 3)
      assert.is_nil(value)
      assert.equal("more than 3 values", reason)
      assert.equal(3, most)
    end
    assert.equal(7, json.decode("7", nil, 1))
  end)

  it("is judged before anything is made", function()
    local text = "[" .. ("{},"):rep(1000000) .. "{}]"
    collectgarbage()
    local before = collectgarbage("count")
    assert.is_nil((json.decode(text, nil, 1000)))
    assert.is_true(collectgarbage("count") - before < 1024)
  end)

  it("is no excuse for text that is none", function()
    local value, reason, most = json.decode("[1,", nil, 10)
    assert.is_nil(value)
    assert.truthy(reason:find("invalid JSON", 1, true))
    assert.is_nil(most)
  end)
end)
