-- SPDX-License-Identifier: MIT
--- What a stage declares that it does, and so what its sandbox opens.
local M = {}

-- Trees that no effect can open: a sandbox has its own of each.
local RESERVED = { "/proc", "/sys", "/dev" }

local function path_field(value)
  if type(value) ~= "string" then return nil, "a path (a string)" end
  if value:find("%z") then return nil, "a path without NUL" end
  if value:sub(1, 1) ~= "/" then return nil, "an absolute path" end
  for part in value:gmatch("[^/]+") do
    if part == "." or part == ".." then return nil, "a path without '.' and '..'" end
  end
  local path = value:gsub("/+", "/")
  if path == "/" then return nil, "a path below '/'" end
  path = path:gsub("/$", "")
  for _, reserved in ipairs(RESERVED) do
    if M.is_within(path, reserved) then return nil, "a path outside " .. reserved end
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

-- What each effect carries: nothing (false), or a field and its check.
local EFFECTS = {
  Pure = false,
  Fallible = false,
  NonDeterministic = false,
  Network = false,
  Process = false,
  Unknown = false,
  FsRead = { "path", path_field },
  FsWrite = { "path", path_field },
  Cost = { "cents", cents_field },
  Llm = { "model", model_field },
}

local function known_names()
  local names = {}
  for name in pairs(EFFECTS) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Whether a path is another or lies beneath it; both absolute and without "." and "..".
-- @tparam string path
-- @tparam string parent
-- @treturn boolean
function M.is_within(path, parent)
  return path == parent or parent == "/" or path:sub(1, #parent + 1) == parent .. "/"
end

-- { FsRead = "/data" } and { effect = "FsRead", path = "/data" } -> "FsRead", "/data"
local function open_table(item)
  if item.effect ~= nil then
    local carried = EFFECTS[item.effect]
    for key in pairs(item) do
      if key ~= "effect" and not (carried and key == carried[1]) then
        return nil, ("%s has no field '%s'"):format(tostring(item.effect), tostring(key))
      end
    end
    return item.effect, carried and item[carried[1]]
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
  local carried = EFFECTS[name]
  if carried == nil then
    return nil, ("unknown effect '%s' (known: %s)"):format(tostring(name), known_names())
  elseif name == "Network" and value ~= nil and value ~= false then
    return nil, "Network with a list of hosts is reserved: declare Network alone"
  elseif not carried then
    if value ~= nil and value ~= false then return nil, name .. " carries no value" end
    return { effect = name }
  end
  local clean, expected = carried[2](value)
  if clean == nil then return nil, ("%s: expected %s"):format(name, expected) end
  return { effect = name, [carried[1]] = clean }
end

--- An effect as people read it: "Network", "FsRead(/data)", "Cost(5)".
-- @tparam table effect in wire form
-- @treturn string
function M.format(effect)
  local carried = EFFECTS[effect.effect]
  if not carried then return effect.effect end
  return ("%s(%s)"):format(effect.effect, tostring(effect[carried[1]]))
end

-- What each effect adds to the whole; the rest open nothing and cost nothing.
local ADDS = {
  Network = function(parsed) parsed.network = true end,
  Process = function(parsed) parsed.process = true end,
  Unknown = function(parsed) parsed.process = true end,
  FsRead = function(parsed, effect) parsed.reads[#parsed.reads + 1] = effect.path end,
  FsWrite = function(parsed, effect) parsed.writes[#parsed.writes + 1] = effect.path end,
  Cost = function(parsed, effect) parsed.cost = (parsed.cost or 0) + effect.cents end,
  Llm = function(parsed, effect) parsed.llm[#parsed.llm + 1] = effect.model end,
}

local function check_list(list)
  if type(list) ~= "table" then
    local meant = EFFECTS[list] == false and (": write { \"%s\" }"):format(list) or ""
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

--- Read a list of effects.
-- @tparam ?table list names ("Network"), `{ FsRead = "/data" }` or the wire form
-- `{ effect = "FsRead", path = "/data" }`; nil means `{ "Unknown" }`
-- @treturn ?table `list` (wire form, sorted, each once), `network`, `process` (booleans), `reads`,
-- `writes` (paths), `cost` (cents or nil), `llm` (models); or nil and the reason
-- @treturn ?string
function M.parse(list)
  list = list == nil and { "Unknown" } or list
  local ok, reason = check_list(list)
  if not ok then return nil, reason end
  local by_text, texts = {}, {}
  for index, item in ipairs(list) do
    local effect, why = parse_one(item)
    if not effect then return nil, ("effects[%d]: %s"):format(index, why) end
    local text = M.format(effect)
    if not by_text[text] then texts[#texts + 1] = text end
    by_text[text] = effect
  end
  table.sort(texts)
  local parsed = { list = {}, network = false, process = false, reads = {}, writes = {}, llm = {} }
  for index, text in ipairs(texts) do
    parsed.list[index] = by_text[text]
    local add = ADDS[by_text[text].effect]
    if add then add(parsed, by_text[text]) end
  end
  return parsed
end

local function any_contains(parents, path)
  for _, parent in ipairs(parents) do
    if M.is_within(path, parent) then return true end
  end
  return false
end

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

-- Whether `allowed` covers one declared effect. What opens nothing and costs nothing always is.
local COVERS = {
  Network = function(allowed) return allowed.network end,
  Process = function(allowed) return allowed.process end,
  Unknown = function(allowed) return allowed.process end,
  FsRead = function(allowed, effect)
    return any_contains(allowed.reads, effect.path) or any_contains(allowed.writes, effect.path)
  end,
  FsWrite = function(allowed, effect) return any_contains(allowed.writes, effect.path) end,
  Cost = function(allowed, _, declared) return declared.cost <= (allowed.cost or 0) end,
  Llm = function(allowed, effect) return contains(allowed.llm, effect.model) end,
}

--- Whether a stage declares no more than is allowed.
-- @tparam table allowed parsed
-- @tparam table declared parsed
-- @treturn ?boolean true; or nil and the first effect that is not covered, as text
-- @treturn ?string
function M.allows(allowed, declared)
  for _, effect in ipairs(declared.list) do
    local covers = COVERS[effect.effect]
    if covers and not covers(allowed, effect, declared) then return nil, M.format(effect) end
  end
  return true
end

return M
