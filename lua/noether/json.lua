-- SPDX-License-Identifier: MIT
--- JSON in and out of Lua with nothing lost.
--
-- The codec is lua-cjson. What it would lose or let through is handled around it, in C: text
-- is checked strictly against RFC 8259 before it is decoded, and tokens that lua-cjson cannot
-- keep (see src/core/json_scan.h) travel through it as tagged strings. Where a text or a value
-- has none of those, nothing is copied and nothing is walked after.
--
-- What comes back is what went in: integers of 64 bits stay integers, 1.0 and -0.0 stay floats,
-- doubles keep every bit, `[]` is not `{}`, null is `json.null`, and any string (and key) of
-- valid Unicode is itself. Of equal keys in an object the last one counts. In Lua 5.1, 5.2 and
-- LuaJIT all numbers are doubles: an integer beyond 2^53 is refused, or comes as a string where
-- that was asked for, and is never rounded.
--
-- @module noether.json

local cjson = require "cjson"
local compat = require "noether.compat"
local core = require "noether.core"

local M = {}

--- JSON null, in both directions: the null light userdata, and so equal to `cjson.null`.
M.null = cjson.null

-- A codec of our own: nobody else's settings reach it, nor ours theirs. Functions that only
-- newer versions have are used where they are.
local codec = cjson.new()
codec.encode_keep_buffer(false)
codec.encode_number_precision(14)
if codec.encode_escape_forward_slash then codec.encode_escape_forward_slash(false) end
if codec.decode_array_with_array_mt then codec.decode_array_with_array_mt(true) end

-- What this lua-cjson can do by itself. (A float 1.0 is "1.0" as a string only where there are
-- integers too.)
local DECODES_INTEGERS = tostring(codec.decode("1")) == "1"
local ENCODES_INTEGERS = codec.encode(9007199254740991) == "9007199254740991"
local MARKS_ARRAYS = codec.decode_array_with_array_mt ~= nil

-- The metatable that marks an array: lua-cjson's, where it has one.
local ARRAY = cjson.array_mt or { __name = "noether.array" }

-- lua-cjson looks up the locale's decimal point once, when it is loaded. If the host has changed
-- it since, "[1,2]" may be read as 1.2: then no number must reach the codec as one.
local function reads_half()
  local ok, value = pcall(codec.decode, "0.5")
  return ok and value == 0.5
end

-- With which point it does; false: it did not when this was loaded.
local POINT = reads_half() and core.json_point()

local function reads_numbers()
  return core.json_point() == POINT or reads_half()
end

local function writes_points()
  local ok, text = pcall(codec.encode, 0.5)
  return ok and text == "0.5"
end

local function decode(text, big_integers, most)
  local ready, tagged, integers, arrays, numbers = core.json_scan(text, false, big_integers, most)
  if ready and numbers and not reads_numbers() then
    ready, tagged, integers, arrays = core.json_scan(text, true, big_integers, most)
  end
  if not ready and integers then return nil, (tagged:gsub("^json: ", "")), most end
  if not ready then return nil, "invalid JSON: " .. tagged end
  local value = codec.decode(ready)
  if tagged or (integers and not DECODES_INTEGERS) or (arrays and not MARKS_ARRAYS) then
    return core.json_restore(value, ARRAY)
  end
  return value
end

-- The text for a value that has been checked, but for its strings.
local function write(value, lossy, points)
  local tag_points = points and not writes_points()
  if not lossy and not tag_points then return codec.encode(value) end
  local copy = core.json_tag(value, ARRAY, ENCODES_INTEGERS, tag_points)
  return core.json_untag(codec.encode(copy))
end

local function encode(value, name)
  local lossy, points, limit = core.json_check(value, name, ARRAY, ENCODES_INTEGERS, false)
  if lossy == nil then return nil, points, limit end
  local text = write(value, lossy, points)
  if core.json_is_utf8(text) then return text end
  -- What is not UTF-8 went through lua-cjson as it is. Which string was it?
  local _, reason = core.json_check(value, name, ARRAY, ENCODES_INTEGERS, true)
  return nil, reason
end

local function canonical(value, name, as_sent)
  local lossy, reason = core.json_check(value, name, ARRAY, ENCODES_INTEGERS, true)
  if lossy == nil then return nil, reason end
  return core.json_canonical(value, ARRAY, as_sent)
end

-- The result of fn; an error that it raises (lua-cjson's own) is returned.
local function guard(fn, ...)
  local ok, result, reason, limit = compat.try(fn, ...)
  if not ok then return nil, tostring(result) end
  return result, reason, limit
end

local function expect(value, expected, position, fname)
  if type(value) ~= expected then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, fname, expected,
      type(value)), 3)
  end
end

--- Decodes one JSON text (RFC 8259, UTF-8, at most 256 MiB, nested at most 512 deep).
-- Every array in the result is marked, as by `json.array`.
-- @tparam string text
-- @tparam[opt="exact"] string big_integers "string": integers beyond 2^53 come as strings of their
--   digits, in every Lua
-- @tparam[opt] number most_values a text of more values (arrays, objects, and all in them but keys)
--   is refused before anything is made of it
-- @return the value (which may be `false`, and is `json.null` for null); or nil and a message
--   that ends in the place: `invalid JSON: expected a value, not ']' at line 1 column 4`,
--   counted from 1, in characters.
-- @treturn ?string
-- @treturn ?number `most_values`, where that is what was wrong
function M.decode(text, big_integers, most_values)
  expect(text, "string", 1, "decode")
  if most_values == math.huge then most_values = nil end
  return guard(decode, text, big_integers == "string" and "string" or nil, most_values)
end

--- Says whether a text is JSON that `json.decode` would take where integers have 64 bits.
-- @tparam string text
-- @treturn boolean|nil true; or nil and the message that `json.decode` would give
function M.check(text)
  expect(text, "string", 1, "check")
  local ready, reason = guard(core.json_scan, text, false, "exact")
  if not ready then return nil, "invalid JSON: " .. reason end
  return true
end

--- Encodes a value as JSON, on one line. Tables are read raw, without their metamethods, and
-- never changed. A table is an array if it is marked, or has the keys 1 to n and no others;
-- an empty one that is not marked is an object.
-- @param value a string of UTF-8, finite number, boolean, `json.null`, nil (as the whole value:
--   null), or table of these
-- @tparam[opt="value"] string name what the message calls the value
-- @treturn string|nil the text; or nil and a message that names the place:
--   `input.items[3].name: a function is no JSON value`
-- @treturn ?integer the limit in bytes, if it is too large
function M.encode(value, name)
  if name == nil then name = "value" end
  expect(name, "string", 2, "encode")
  return guard(encode, value, name)
end

--- Encodes a value so that equal values give equal texts, whatever made them and in every Lua: keys
-- in the order of their bytes, no blanks, no escapes but those that must be, and of each number the
-- fewest digits that give it back. 1, 1.0 and 1e0 are one value.
-- @param value as for `json.encode`
-- @tparam[opt="value"] string name as for `json.encode`
-- @treturn string|nil the text; or nil and a message
function M.canonical(value, name)
  if name == nil then name = "value" end
  expect(name, "string", 2, "canonical")
  return guard(canonical, value, name)
end

--- As `canonical`, for what a stage gets: there 1.0 is not 1.
-- @local
function M.sorted(value, name)
  return guard(canonical, value, name, true)
end

--- Marks a table as an array, so that it is encoded as one even if it is empty.
-- The mark is a metatable, and a table that has another raises an error.
-- @tparam[opt={}] table t
-- @treturn table t itself
-- @usage
-- local executor = noether.inline{ same = function(value) return value end }
-- print((executor:execute_json("same", "[]"))) --> []
-- print(noether.inspect(noether.array{ 1, 2 })) --> { 1, 2 }
function M.array(t)
  if t == nil then t = {} end
  expect(t, "table", 1, "array")
  local metatable = getmetatable(t)
  if metatable ~= nil and metatable ~= ARRAY then
    error("bad argument #1 to 'array' (the table has a metatable of its own)", 2)
  end
  return setmetatable(t, ARRAY)
end

--- Says whether a value is a table marked as an array, by `json.array` or by decoding.
-- @param value anything
-- @treturn boolean
function M.is_array(value)
  return type(value) == "table" and getmetatable(value) == ARRAY
end

return M
