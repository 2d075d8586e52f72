-- SPDX-License-Identifier: MIT
--- Functions of the host that stages may call: as they are given, and as a model is told of them.
local json = require "noether.json"
local languages = require "noether.stage.languages"
local options = require "noether.options"
local schemas = require "noether.stage.schema"
local tables = require "noether.tables"

local M = {}

local FIELDS = {
  call = "function", description = "text", input_schema = "table", output_schema = "table",
  timeout_secs = "seconds",
}

-- Names that stages have for the channel itself.
local RESERVED = { call = true, acall = true, CallError = true, v = true }

local function check_one(fname, name, entry)
  local where = ("%s: functions.%s"):format(fname, tostring(name))
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") or #name > 64 then
    options.raise(where .. ": a name is letters, digits and '_', and no digit first")
  elseif RESERVED[name] then
    options.raise(where .. ": stages have that name for something else")
  end
  local given = entry
  if type(entry) ~= "table" or entry.call == nil then given = { call = entry } end
  given = options.check_fields(where, given, FIELDS)
  if given.call == nil then options.raise(where .. ": expected a function, or { call = ... }") end
  for _, field in ipairs{ "input_schema", "output_schema" } do
    local ok, reason = true, nil
    if given[field] then ok, reason = schemas.check(given[field], field) end
    if not ok then options.raise(where .. ": " .. reason) end
  end
  return given
end

--- Check functions as a caller gave them.
-- @tparam string fname the public function, for messages about misuse
-- @tparam ?table functions by name: a function, or `{ call, description, input_schema,
-- output_schema, timeout_secs }`
-- @treturn ?table by name: tables with `call`; nil for nil
-- @raise on what is none
function M.check(fname, functions)
  if functions == nil then return nil end
  local checked = {}
  for name, entry in pairs(functions) do
    checked[name] = check_one(fname, name, entry)
  end
  return checked
end

-- How stages of a language call a function.
local function usage_of(language)
  local known = type(language) == "string" and languages.find(languages.canonical(language))
  if known and known.call_usage then return known.call_usage end
  local able = {}
  for _, name in ipairs(languages.names()) do
    if languages.module(name).call_usage then able[#able + 1] = name end
  end
  return options.raise("functions_prompt: language: expected one of " .. table.concat(able, ", "))
end

local function one_line(text)
  return (text:gsub("%s+", " "))
end

local function describe(name, entry, usage)
  local lines = { ("%s: %s"):format(name, one_line(entry.description or "no description")) }
  lines[2] = "  " .. usage:format(name)
  if entry.input_schema then
    lines[3] = "  arguments: " .. assert(json.canonical(entry.input_schema))
  end
  if entry.output_schema then
    lines[#lines + 1] = "  result: " .. assert(json.canonical(entry.output_schema))
  end
  return table.concat(lines, "\n")
end

--- What to tell a model of functions that its code may call.
-- @tparam table functions as given to an executor or a call
-- @tparam string language one that comes with the library and can call functions, as "python"
-- @treturn string
-- @raise on what are no functions, or another language
-- @usage
-- local price = { description = "euros of a fruit", call = function() return 1 end }
-- local functions = { price = price }
-- print((noether.functions_prompt(functions, "python"):match("[^\n]+")))
-- --> price: euros of a fruit
function M.prompt(functions, language)
  options.argument("functions_prompt", "functions", functions, "table")
  local usage = usage_of(language)
  local checked, parts = M.check("functions_prompt", functions), {}
  for index, name in ipairs(tables.sorted_names(checked)) do
    parts[index] = describe(name, checked[name], usage)
  end
  return table.concat(parts, "\n")
end

return M
