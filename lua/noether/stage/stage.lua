-- SPDX-License-Identifier: MIT
--- What a stage is: its fields, and its id.
-- A stage is `{ id, name, language, code, effects }`; its id is the SHA-256 of the canonical JSON
-- of language, code and effects, so equal stages have one id. Names are aliases of ids.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local options = require "noether.options"
local schemas = require "noether.stage.schema"
local sys = require "noether.sys"

local M = {}

--- What a caller gives of a stage.
M.FIELDS = {
  language = "string", code = "text", effects = "any", name = "string", description = "text",
  input_schema = "table", output_schema = "table",
}

--- What is said of a stage beside what it is: no part of its id.
M.TOLD = { "description", "input_schema", "output_schema" }

local MAX_NAME_BYTES = 255

local function invalid(message, ...)
  return nil, errors.new{ kind = "input_invalid", message = message:format(...) }
end

local function check_name(name)
  if name == nil then return true end
  if name:find("^%x+$") and #name == 64 then
    return invalid("stage name '%s' looks like an id: choose another", name)
  elseif name == "" or #name > MAX_NAME_BYTES then
    return invalid("a stage name has 1 to %d bytes, this one has %d", MAX_NAME_BYTES, #name)
  elseif name:find("%c") or not errors.is_utf8(name) then
    return invalid("stage name '%s' must be UTF-8 without control characters",
      errors.clean(name, 80))
  end
  return true
end

-- What newcomers forget, in words of their own.
local function check_fields(fname, fields)
  options.argument(fname, "stage", fields, "table")
  if fields[1] ~= nil then
    options.raise(fname .. ": unknown field '1' (a stage has named fields: language, code, "
      .. "effects, name)")
  end
  local given = options.check_fields(fname, fields, M.FIELDS)
  if given.language == nil then
    options.raise(fname .. ": the stage's language is missing, as in language = \"python\"")
  elseif given.code == nil then
    options.raise(fname .. ": the stage's code is missing: the text that defines execute")
  end
  return given
end

-- A schema as its JSON has it, so that arrays are marked and nobody else has a table of it.
local function own_schema(schema, name)
  local ok, reason = schemas.check(schema, name)
  local text
  if ok then text, reason = json.encode(schema, name) end
  if not text then return nil, reason end
  return json.decode(text)
end

local function add_told(stage, given)
  if given.description ~= nil and not errors.is_utf8(given.description) then
    return nil, "description must be UTF-8 text"
  end
  stage.description = given.description
  for _, name in ipairs{ "input_schema", "output_schema" } do
    if given[name] ~= nil then
      local schema, reason = own_schema(given[name], name)
      if not schema then return nil, reason end
      stage[name] = schema
    end
  end
  return stage
end

-- The text that the id is the hash of, which is also what a file of the store must agree with.
local function identity(stage)
  return json.canonical{
    language = stage.language, code = stage.code, effects = json.array(stage.effects),
  }
end

--- Make a stage of what a caller gave: language normalised, effects sorted, id computed.
-- @tparam string fname the public function, for messages about misuse
-- @tparam table fields `language`, `code`, and if wanted `effects`, `name`, `description`,
-- `input_schema` and `output_schema`
-- @treturn ?table the stage; or nil and an error (`input_invalid`)
-- @treturn ?table
-- @raise on an unknown field or a wrong type
function M.new(fname, fields)
  local given = check_fields(fname, fields)
  local ok, err = check_name(given.name)
  if not ok then return nil, err end
  local parsed, reason = effects.parse(given.effects)
  if not parsed then return invalid("stage: %s", reason) end
  local stage = {
    name = given.name, language = languages.canonical(given.language), code = given.code,
    effects = parsed.list,
  }
  local text, why = identity(stage)
  if not text then return invalid("stage: code must be UTF-8 text: %s", why) end
  stage.id = sys.sha256(text)
  local whole
  whole, why = add_told(stage, given)
  if not whole then return invalid("stage: %s", why) end
  return whole
end

--- A stage that was kept, if it is one and is the one of this id.
-- @tparam table object its fields, as they were read
-- @tparam string id
-- @treturn ?table
function M.verified(object, id)
  local parsed = type(object.effects) == "table" and effects.parse(object.effects)
  if not parsed or type(object.language) ~= "string" or type(object.code) ~= "string" then
    return nil
  end
  local stage = {
    id = id, language = object.language, code = object.code, effects = parsed.list,
    name = type(object.name) == "string" and object.name or nil,
  }
  local text = identity(stage)
  if not text or sys.sha256(text) ~= id then return nil end
  return add_told(stage, {
    description = type(object.description) == "string" and object.description or nil,
    input_schema = object.input_schema, output_schema = object.output_schema,
  })
end

-- Marks of arrays stay.
local function deep_copy(value)
  local copy, mark = {}, getmetatable(value)
  for key, item in pairs(value) do
    copy[key] = type(item) == "table" and deep_copy(item) or item
  end
  return mark and setmetatable(copy, mark) or copy
end

--- A copy that shares no table with the stage.
-- @tparam table stage
-- @treturn table
function M.copy(stage)
  return deep_copy(stage)
end

--- Take over what was said of a stage and is not said anew.
-- @tparam table stage
-- @tparam ?table old the same one, as it was kept
function M.keep_told(stage, old)
  for _, name in ipairs(M.TOLD) do
    if old and stage[name] == nil then stage[name] = old[name] end
  end
end

--- A copy without the code.
-- @tparam table stage
-- @treturn table
function M.summary(stage)
  local copy = M.copy(stage)
  copy.code = nil
  return copy
end

--- The order of stages in a list.
-- @tparam table a
-- @tparam table b
-- @treturn boolean
function M.by_id(a, b)
  return a.id < b.id
end

--- Whether a text looks like an id.
-- @tparam string text
-- @treturn boolean
function M.is_id(text)
  return #text == 64 and text:find("^[0-9a-f]+$") ~= nil
end

--- The error of a store that does not have a stage.
-- @tparam string id_or_name
-- @treturn nil
-- @treturn table `stage_not_found`
function M.not_found(id_or_name)
  return nil, errors.new{
    kind = "stage_not_found", message = ("no stage '%s' in the store"):format(id_or_name),
    hint = "put it first; a list of the store shows what there is",
  }
end

--- A few lines of code that define `execute`, and what is said of them.
-- @table Stage
-- @tfield string language "python", "javascript", "bash", or another that a policy gives
-- @tfield string code
-- @tfield ?{string|table,...} effects what it needs of the machine; nil: `Unknown`
-- @tfield ?string name an alias of its id
-- @tfield ?string description what it does, for people and models
-- @tfield ?table input_schema what it takes (docs/mcp.md lists the keywords): another input is
-- refused before anything runs
-- @tfield ?table output_schema what it gives: another answer is `output_invalid`

return M
