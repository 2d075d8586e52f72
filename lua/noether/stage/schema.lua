-- SPDX-License-Identifier: MIT
--- A named subset of JSON Schema (2020-12), for the inputs and outputs of stages and functions.
--
-- What is judged: type, properties, required, additionalProperties, items, enum, const, minimum,
-- maximum, minLength, maxLength, and $ref to a place in the same schema. What only explains is kept
-- and not judged: title, description, default, examples, $schema, $comment, $defs, definitions.
-- Anything else is refused when the schema is given, since a rule that nobody holds is worse than
-- none.
local errors = require "noether.error"
local json = require "noether.json"
local tables = require "noether.tables"

local M = {}

local MAX_DEPTH = 64 -- of a schema in itself

local function is_list(value)
  return json.is_array(value) or (type(value) == "table" and value[1] ~= nil)
end

local function is_object(value)
  if type(value) ~= "table" or is_list(value) then return false end
  for name in pairs(value) do
    if type(name) ~= "string" then return false end
  end
  return true
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value == math.floor(value)
end

local TYPES = {}

function TYPES.object(value) return is_object(value) end
function TYPES.array(value) return is_list(value) end
function TYPES.string(value) return type(value) == "string" end
function TYPES.number(value) return type(value) == "number" end
function TYPES.boolean(value) return type(value) == "boolean" end
function TYPES.null(value) return value == nil or value == json.null end
function TYPES.integer(value) return type(value) == "number" and value == math.floor(value) end

local function type_of(value)
  for _, name in ipairs{ "null", "boolean", "string", "array", "object" } do
    if TYPES[name](value) then return name end
  end
  return type(value)
end

local function place(where, name)
  if type(name) == "number" then return ("%s[%d]"):format(where, name) end
  if name:find("^[%a_][%w_]*$") then return where .. "." .. name end
  return ('%s["%s"]'):format(where, errors.clean(name, 60))
end

local function refuse(where, message, ...)
  return nil, ("%s: %s"):format(where, message:format(...))
end

-- What may be referred to: only there is a schema that was checked.
local PLACES = { ["$defs"] = true, definitions = true, properties = true }

-- The schema that "#/$defs/item" leads to; nil where there is none.
local function resolve(root, reference)
  if reference == "#" then return root end
  local within, part = reference:match("^#/([^/]+)/([^/]+)$")
  local among = PLACES[within] and root[within]
  if type(among) ~= "table" then return nil end
  local name = part:gsub("~1", "/"):gsub("~0", "~")
  return type(among[name]) == "table" and among[name] or nil
end

-- Each keyword: how its value is checked in a schema.
local KEYWORDS = {}
local check_schema

KEYWORDS["$ref"] = function(root, value, where)
  if type(value) ~= "string" or not resolve(root, value) then
    return refuse(where, "$ref: only a place in this schema: #/$defs/name, #/properties/name or #")
  end
  local seen, at = {}, value
  while at do
    if seen[at] then return refuse(where, "$ref: '%s' leads to itself", errors.clean(value, 60)) end
    seen[at] = true
    at = resolve(root, at)["$ref"]
    if type(at) ~= "string" or not resolve(root, at) then at = nil end
  end
  return true
end

function KEYWORDS.type(_, value, where)
  local list = is_list(value) and value or { value }
  for _, name in ipairs(list) do
    if type(name) ~= "string" or not TYPES[name] then
      return refuse(where, "type: expected one of %s",
        table.concat(tables.sorted_names(TYPES), ", "))
    end
  end
  return true
end

function KEYWORDS.properties(root, value, where, depth)
  if not is_object(value) then return refuse(where, "properties: expected an object") end
  for _, name in ipairs(tables.sorted_names(value)) do
    local ok, reason = check_schema(root, value[name], place(where .. ".properties", name), depth)
    if not ok then return nil, reason end
  end
  return true
end

function KEYWORDS.required(_, value, where)
  local list = type(value) == "table" and (is_list(value) or next(value) == nil)
  for _, name in ipairs(list and value or {}) do
    list = list and type(name) == "string"
  end
  if not list then return refuse(where, "required: expected a list of names") end
  return true
end

function KEYWORDS.additionalProperties(root, value, where, depth)
  if type(value) == "boolean" then return true end
  return check_schema(root, value, where .. ".additionalProperties", depth)
end

function KEYWORDS.items(root, value, where, depth)
  return check_schema(root, value, where .. ".items", depth)
end

function KEYWORDS.enum(_, value, where)
  if not is_list(value) then return refuse(where, "enum: expected a list of values") end
  return true
end

function KEYWORDS.const() return true end

local function number_keyword(name, test, what)
  KEYWORDS[name] = function(_, value, where)
    if not test(value) then return refuse(where, "%s: expected %s", name, what) end
    return true
  end
end

for _, name in ipairs{ "minimum", "maximum" } do
  number_keyword(name, function(value) return type(value) == "number" end, "a number")
end
for _, name in ipairs{ "minLength", "maxLength" } do
  number_keyword(name, is_count, "a whole number of 0 or more")
end

local function definitions(name)
  KEYWORDS[name] = function(root, value, where, depth)
    if not is_object(value) then return refuse(where, "%s: expected an object", name) end
    for _, key in ipairs(tables.sorted_names(value)) do
      local at = place(place(where, name), key)
      local ok, reason = check_schema(root, value[key], at, depth)
      if not ok then return nil, reason end
    end
    return true
  end
end

definitions("$defs")
definitions("definitions")

local EXPLAINS = { title = true, description = true, default = true, examples = true,
  ["$schema"] = true, ["$comment"] = true }

function check_schema(root, schema, where, depth)
  if not is_object(schema) then return refuse(where, "a schema is an object") end
  if depth > MAX_DEPTH then return refuse(where, "nested deeper than %d", MAX_DEPTH) end
  for _, name in ipairs(tables.sorted_names(schema)) do
    if not EXPLAINS[name] then
      local keyword = KEYWORDS[name]
      if not keyword then
        return refuse(where, "'%s' is not among the keywords that are held (%s)",
          errors.clean(tostring(name), 60), table.concat(tables.sorted_names(KEYWORDS), ", "))
      end
      local ok, reason = keyword(root, schema[name], where, depth + 1)
      if not ok then return nil, reason end
    end
  end
  return true
end

--- Whether a schema is of the subset, and describes an object.
-- @tparam table schema as decoded from JSON, or written in Lua
-- @tparam string where what messages call it: "input_schema"
-- @treturn ?boolean true; or nil and what is wrong, with its place
-- @treturn ?string
function M.check(schema, where)
  local ok, reason = check_schema(schema, schema, where, 1)
  if not ok then return nil, reason end
  if schema.type ~= "object" then
    return refuse(where, 'its root must have type "object": clients take no other')
  end
  return true
end

local function equal(one, other)
  if TYPES.null(one) or TYPES.null(other) then return TYPES.null(one) and TYPES.null(other) end
  if type(one) ~= "table" or type(other) ~= "table" then return one == other end
  if is_list(one) ~= is_list(other) then return false end
  for name, value in pairs(one) do
    if not equal(value, other[name]) then return false end
  end
  for name in pairs(other) do
    if one[name] == nil then return false end
  end
  return true
end

-- In characters, as the standard counts.
local function length(text)
  local _, continuing = text:gsub("[\128-\191]", "")
  return #text - continuing
end

local JUDGES = {}
local judge

function JUDGES.type(_, names, value, where)
  local list = is_list(names) and names or { names }
  for _, name in ipairs(list) do
    if TYPES[name](value) then return true end
  end
  return refuse(where, "expected %s, got %s", table.concat(list, " or "), type_of(value))
end

function JUDGES.enum(_, allowed, value, where)
  for _, item in ipairs(allowed) do
    if equal(item, value) then return true end
  end
  return refuse(where, "expected one of %s", errors.clean(json.encode(allowed) or "the list", 200))
end

function JUDGES.const(_, expected, value, where)
  if equal(expected, value) then return true end
  return refuse(where, "expected %s", errors.clean(json.encode(expected) or "the constant", 200))
end

function JUDGES.minimum(_, least, value, where)
  if type(value) ~= "number" or value >= least then return true end
  return refuse(where, "expected %s or more", tostring(least))
end

function JUDGES.maximum(_, most, value, where)
  if type(value) ~= "number" or value <= most then return true end
  return refuse(where, "expected %s or less", tostring(most))
end

function JUDGES.minLength(_, least, value, where)
  if type(value) ~= "string" or length(value) >= least then return true end
  return refuse(where, "expected %d characters or more, got %d", least, length(value))
end

function JUDGES.maxLength(_, most, value, where)
  if type(value) ~= "string" or length(value) <= most then return true end
  return refuse(where, "expected %d characters or fewer, got %d", most, length(value))
end

function JUDGES.required(_, names, value, where)
  for _, name in ipairs(is_object(value) and names or {}) do
    if value[name] == nil then return refuse(place(where, name), "missing") end
  end
  return true
end

function JUDGES.properties(context, schemas, value, where)
  if not is_object(value) then return true end
  for _, name in ipairs(tables.sorted_names(schemas)) do
    if value[name] ~= nil then
      local ok, reason = judge(context, schemas[name], value[name], place(where, name))
      if not ok then return nil, reason end
    end
  end
  return true
end

function JUDGES.additionalProperties(context, rule, value, where, schema)
  if not is_object(value) or rule == true then return true end
  local known = schema.properties or {}
  for _, name in ipairs(tables.sorted_names(value)) do
    if known[name] == nil then
      local at = place(where, name)
      if rule == false then return refuse(at, "not among the fields that there are") end
      local ok, reason = judge(context, rule, value[name], at)
      if not ok then return nil, reason end
    end
  end
  return true
end

function JUDGES.items(context, schema, value, where)
  if not is_list(value) then return true end
  for index, item in ipairs(value) do
    local ok, reason = judge(context, schema, item, place(where, index))
    if not ok then return nil, reason end
  end
  return true
end

-- What fitted once is not judged again: a schema may lead to a place in very many ways.
JUDGES["$ref"] = function(context, reference, value, where)
  local schema = resolve(context.root, reference)
  if type(value) ~= "table" then return judge(context, schema, value, where) end
  local fitted = context.fitted[schema] or {}
  context.fitted[schema] = fitted
  if fitted[value] then return true end
  local ok, reason = judge(context, schema, value, where)
  fitted[value] = ok
  return ok, reason
end

-- "type" first: what it says makes the other messages superfluous.
local ORDER = { "$ref", "type", "required", "properties", "additionalProperties", "items", "enum",
  "const", "minimum", "maximum", "minLength", "maxLength" }

function judge(context, schema, value, where)
  for _, name in ipairs(ORDER) do
    if schema[name] ~= nil then
      local ok, reason = JUDGES[name](context, schema[name], value, where, schema)
      if not ok then return nil, reason end
    end
  end
  return true
end

--- Whether a value fits a schema that was checked.
-- @tparam table schema
-- @param value as decoded from JSON; arrays are marked, or have a first item
-- @tparam string where what messages call it: "input"
-- @treturn ?boolean true; or nil and what does not fit, with its place: `input.items[2].name:
-- expected string, got number`
-- @treturn ?string
function M.fits(schema, value, where)
  return judge({ root = schema, fitted = {} }, schema, value, where)
end

return M
