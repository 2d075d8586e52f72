-- SPDX-License-Identifier: MIT
--- What a stage declares that it does, and so what its sandbox opens.
local hosts = require "noether.hosts"
local options = require "noether.options"
local paths = require "noether.paths"
local tables = require "noether.tables"

local M = {}

-- Trees that no effect can open: a sandbox has its own of each.
local RESERVED = { "/proc", "/sys", "/dev" }

local function path_field(value)
  if type(value) ~= "string" then return nil, "a path (a string)" end
  if value:find("%z") then return nil, "a path without NUL" end
  if value:sub(1, 1) ~= "/" then return nil, "an absolute path" end
  if not paths.is_plain(value) then return nil, "a path without '.' and '..'" end
  local path = value:gsub("/+", "/")
  if path == "/" then return nil, "a path below '/'" end
  path = path:gsub("/$", "")
  for _, reserved in ipairs(RESERVED) do
    if paths.is_within(path, reserved) then return nil, "a path outside " .. reserved end
  end
  return path
end

local function cents_field(value)
  if type(value) ~= "number" or value ~= value or value < 0 or value == math.huge then
    return nil, "a number of cents, 0 or more"
  end
  return value
end

local function model_field(value)
  if type(value) ~= "string" or value == "" or value:find("%c") then
    return nil, "the name of a model"
  end
  return value
end

-- Names that every language can call a function by; "*" is all that are given.
local function function_field(value)
  local is_name = type(value) == "string" and #value <= 64 and value:find("^[%a_][%w_]*$")
  if not is_name and value ~= "*" then
    return nil, "the name of a function (letters, digits, '_'), or \"*\""
  end
  return value
end

local function any_contains(parents, path)
  for _, parent in ipairs(parents) do
    if paths.is_within(path, parent) then return true end
  end
  return false
end

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function adds_process(parsed)
  parsed.process = true
end

local function covers_process(allowed)
  return allowed.process
end

local function covers_network(allowed, effect)
  if allowed.network or not effect.hosts then return allowed.network end
  local ok, host = hosts.covers(allowed.hosts or {}, effect.hosts)
  return ok, host and { effect = "Network", hosts = { host } }
end

-- Of each effect: `field` and `check`, of the value that it carries, if any; `optional`: it may do
-- without, and is all of it then; `adds(parsed, effect)`, what it adds to the whole, if it opens or
-- costs anything; `covers(allowed, effect, declared)`, whether an executor allows that, and which
-- part of it it does not. What adds and says no more is covered by nothing.
local EFFECTS = {
  Pure = {},
  Fallible = {},
  NonDeterministic = {},
  Network = {
    field = "hosts", check = hosts.parse, optional = true, covers = covers_network,
    adds = function(parsed, effect)
      parsed.network, parsed.hosts = not effect.hosts, effect.hosts
    end,
  },
  Process = { adds = adds_process, covers = covers_process },
  Unknown = { adds = adds_process, covers = covers_process },
  FsRead = {
    field = "path", check = path_field,
    adds = function(parsed, effect) parsed.reads[#parsed.reads + 1] = effect.path end,
    covers = function(allowed, effect)
      return any_contains(allowed.reads, effect.path) or any_contains(allowed.writes, effect.path)
    end,
  },
  FsWrite = {
    field = "path", check = path_field,
    adds = function(parsed, effect) parsed.writes[#parsed.writes + 1] = effect.path end,
    covers = function(allowed, effect) return any_contains(allowed.writes, effect.path) end,
  },
  Cost = {
    field = "cents", check = cents_field,
    adds = function(parsed, effect) parsed.cost = (parsed.cost or 0) + effect.cents end,
    covers = function(allowed, _, declared) return declared.cost <= (allowed.cost or 0) end,
  },
  Llm = {
    field = "model", check = model_field,
    adds = function(parsed, effect) parsed.llm[#parsed.llm + 1] = effect.model end,
    covers = function(allowed, effect) return contains(allowed.llm, effect.model) end,
  },
  Call = {
    field = "name", check = function_field,
    adds = function(parsed, effect) parsed.calls[#parsed.calls + 1] = effect.name end,
    covers = function(allowed, effect)
      return contains(allowed.calls, effect.name) or contains(allowed.calls, "*")
    end,
  },
}

--- The names of all effects, sorted.
-- @treturn {string,...}
function M.names()
  return tables.sorted_names(EFFECTS)
end

--- What an effect carries.
-- @tparam string name
-- @treturn ?string the field of its wire form; nil: nothing, or there is no such effect
function M.field(name)
  return EFFECTS[name] and EFFECTS[name].field
end

-- The name that was meant, whatever its case.
local function meant_by(name)
  local by_lower = {}
  for known in pairs(EFFECTS) do
    by_lower[known:lower()] = known
  end
  return by_lower[options.nearest(tostring(name):lower(), by_lower) or ""]
end

local function unknown(name)
  local meant = meant_by(name)
  return ("unknown effect '%s' (%s)"):format(tostring(name),
    meant and ("did you mean '%s'?"):format(meant) or "known: " .. table.concat(M.names(), ", "))
end

-- { FsRead = "/data" } and { effect = "FsRead", path = "/data" } -> "FsRead", "/data"
local function open_table(item)
  if item.effect ~= nil then
    local field = M.field(item.effect)
    for key in pairs(item) do
      if key ~= "effect" and key ~= field then
        return nil, ("%s has no field '%s'"):format(tostring(item.effect), tostring(key))
      end
    end
    return item.effect, field and item[field]
  end
  local name, value = next(item)
  if name == nil or next(item, name) ~= nil then
    return nil, "an effect is a name or one { Name = value }"
  end
  return name, value
end

local function parse_one(item)
  local name, value = item, nil
  if type(item) == "table" then
    name, value = open_table(item)
    if name == nil then return nil, value end
  end
  local known = EFFECTS[name]
  if known == nil then
    return nil, unknown(name)
  elseif not known.field or (known.optional and value == nil) then
    if value ~= nil then return nil, name .. " carries no value" end
    return { effect = name }
  end
  local clean, expected = known.check(value)
  if clean == nil then return nil, ("%s: expected %s"):format(name, expected) end
  return { effect = name, [known.field] = clean }
end

--- An effect as people read it: "Network", "Network(example.com:443, ...)", "FsRead(/data)".
-- @tparam table effect in wire form
-- @treturn string
function M.format(effect)
  local value = effect[M.field(effect.effect)]
  if value == nil then return effect.effect end
  if type(value) == "table" then value = table.concat(value, ", ") end
  return ("%s(%s)"):format(effect.effect, tostring(value))
end

-- Whether it can be said by its name alone.
local function stands_alone(name)
  local known = EFFECTS[name]
  return known ~= nil and (known.optional == true or not known.field)
end

local function check_list(list)
  if type(list) ~= "table" then
    local meant = stands_alone(list) and (": write { \"%s\" }"):format(list) or ""
    return nil, ("effects: expected a list, got a %s%s"):format(type(list), meant)
  end
  local count = 0
  for key in pairs(list) do
    if type(key) ~= "number" then
      return nil, ("effects: expected a list; write { { %s = ... } }"):format(tostring(key))
    end
    count = count + 1
  end
  if count ~= #list then return nil, "effects: expected a list without holes" end
  return true
end

-- Several networks are their union, and the whole of it swallows them. Gives what there is of each,
-- by its text; or nil and the reason.
local function united(parsed_effects)
  local by_text, lists, whole = {}, {}, false
  for _, effect in ipairs(parsed_effects) do
    lists[#lists + 1] = effect.hosts
    if not effect.hosts then by_text[M.format(effect)] = effect end
    whole = whole or (effect.effect == "Network" and not effect.hosts)
  end
  if whole or #lists == 0 then return by_text end
  local list, expected = hosts.union(lists)
  if not list then return nil, "effects: Network: expected " .. expected end
  local effect = { effect = "Network", hosts = list }
  by_text[M.format(effect)] = effect
  return by_text
end

--- Read a list of effects.
-- @tparam ?table list names ("Network"), `{ FsRead = "/data" }`, `{ Network = { "host:443" } }` or
-- the wire form `{ effect = "FsRead", path = "/data" }`; nil means `{ "Unknown" }`
-- @treturn ?table `list` (wire form, sorted, each once), `network` (boolean: all of it), `hosts` (a
-- list of those that may be reached, as hosts.lua writes them; nil: no list), `process` (boolean),
-- `reads`, `writes` (paths), `cost` (cents or nil), `llm` (models), `calls` (names of functions);
-- or nil and the reason
-- @treturn ?string
function M.parse(list)
  list = list == nil and { "Unknown" } or list
  local ok, reason = check_list(list)
  if not ok then return nil, reason end
  local found, texts = {}, {}
  for index, item in ipairs(list) do
    local effect, why = parse_one(item)
    if not effect then return nil, ("effects[%d]: %s"):format(index, why) end
    found[index] = effect
  end
  local by_text
  by_text, reason = united(found)
  if not by_text then return nil, reason end
  for text in pairs(by_text) do
    texts[#texts + 1] = text
  end
  table.sort(texts)
  local parsed = { list = {}, network = false, process = false, reads = {}, writes = {}, llm = {},
    calls = {} }
  for index, text in ipairs(texts) do
    parsed.list[index] = by_text[text]
    local add = EFFECTS[by_text[text].effect].adds
    if add then add(parsed, by_text[text]) end
  end
  return parsed
end

--- Whether a stage declares no more than is allowed.
-- @tparam table allowed parsed
-- @tparam table declared parsed
-- @treturn ?boolean true; or nil and the first effect that is not covered, as text
-- @treturn ?string
function M.allows(allowed, declared)
  for _, effect in ipairs(declared.list) do
    local known = EFFECTS[effect.effect]
    local ok, part = not known.adds, nil
    if known.covers then ok, part = known.covers(allowed, effect, declared) end
    if not ok then return nil, M.format(part or effect) end
  end
  return true
end

return M
