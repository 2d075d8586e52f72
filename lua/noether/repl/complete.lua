-- SPDX-License-Identifier: MIT
--- What can stand at the cursor: names of globals, fields and methods, keywords; files in strings.
-- Nothing that the user wrote is called to find out: tables are read raw, and an `__index` is
-- followed only where it is a table.
local errors = require "noether.error"
local sys = require "noether.sys"

local M = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or
  repeat return then true until while]]):gmatch("%a+") do
  KEYWORDS[#KEYWORDS + 1] = word
end

local MAX_SHOWN = 100
local MAX_PARENTS = 16

-- Where the text is left: "code"; "comment"; or "string" and where its contents begin. A string on
-- several lines holds no file name, and counts as a comment.
local function state_at_end(text)
  local position = 1
  while true do
    local start = text:find("[%-%[\"']", position)
    if not start then return "code" end
    local level = text:match("^%-?%-?%[(=*)%[", start)
    local quote = text:match("^[\"']", start)
    if level then
      local _, stop = text:find("]" .. level .. "]", start + 2 + #level, true)
      if not stop then return "comment" end
      position = stop + 1
    elseif text:find("^%-%-", start) then
      local stop = text:find("\n", start, true)
      if not stop then return "comment" end
      position = stop
    elseif quote then
      local stop = start + 1
      while text:sub(stop, stop) ~= quote do
        if stop > #text then return "string", start + 1 end
        stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
      end
      position = stop + 1
    else
      position = start + 1
    end
  end
end

local function index_of(value)
  local metatable = debug.getmetatable(value)
  local index = type(metatable) == "table" and rawget(metatable, "__index")
  return type(index) == "table" and index or nil
end

-- The field of a value as reading it would give, where that calls nothing.
local function field(value, key)
  for _ = 1, MAX_PARENTS do
    if type(value) == "table" and rawget(value, key) ~= nil then return rawget(value, key) end
    value = index_of(value)
    if value == nil then return nil end
  end
end

-- Calls `visit` with each key that is a name, and its value.
local function each_name(value, visit)
  for _ = 1, MAX_PARENTS do
    if type(value) == "table" then
      for key, found in next, value do
        if type(key) == "string" and key:find("^[%a_][%w_]*$") then visit(key, found) end
      end
    end
    value = index_of(value)
    if value == nil then return end
  end
end

-- One step of a path such as `.name`, `[1]` or `["name"]`: its key and what follows.
local function next_key(path)
  local name, rest = path:match("^%.([%a_][%w_]*)(.*)$")
  if name then return name, rest end
  local number
  number, rest = path:match("^%[(%-?%d+)%](.*)$")
  if number then return tonumber(number), rest end
  local _, text
  _, text, rest = path:match("^%[([\"'])([^\"'\\]*)%1%](.*)$")
  return text, rest
end

-- The value of an expression that is a name and a path from it; nil for any other.
local function evaluate(expression, globals)
  if expression:find("[\"']%)?$") then return "" end
  local name, path = expression:match("^([%a_][%w_]*)(.*)$")
  local value = name and field(globals, name)
  while value ~= nil and path ~= "" do
    local key
    key, path = next_key(path)
    if key == nil then return nil end
    value = field(value, key)
  end
  return value
end

local function callable(value)
  local metatable = debug.getmetatable(value)
  return type(value) == "function" or type(metatable) == "table" and
    rawget(metatable, "__call") ~= nil
end

-- Names of methods that the reference knows; nil for what is no object of the library's: errors are
-- plain data, too.
local function public_names(value, reference)
  local metatable = debug.getmetatable(value)
  local class = type(metatable) == "table" and rawget(metatable, "__name")
  if type(class) ~= "string" or not class:find("^noether%.") or class == "noether.error" then
    return nil
  end
  local names
  for full in next, reference do
    local method = full:match(":([%w_]+)$")
    if method then
      names = names or {}
      names[method] = true
    end
  end
  return names
end

local function names_in_code(before, globals, reference)
  local name = before:match("[%w_]*$")
  local rest = before:sub(1, #before - #name)
  local expression, separator = rest:match("([%w_%.%[%]\"'%-)]*)([.:])$")
  local found = {}
  local function add(key) found[key] = true end
  if not separator or expression:find("%.$") then
    if name:find("^%d") or rest:find("[.:]$") and not rest:find("%.%.$") then return name, found end
    each_name(globals, add)
    for _, word in ipairs(KEYWORDS) do add(word) end
    return name, found
  end
  local value = evaluate(expression, globals)
  if value == nil then return name, found end
  local public = public_names(value, reference)
  each_name(value, function(key, member)
    local fits = separator == "." or callable(member)
    if fits and (not public or public[key]) then add(key) end
  end)
  return name, found
end

-- Whether a file's name can stand in a string as it is. Others would end it, or be commands to the
-- terminal: who unpacks an archive has not chosen the names in it.
local function is_plain(name)
  return not name:find("[\"'\\]") and errors.clean(name, 4 * #name + 4) == name
end

local function files(written)
  local directory, name = written:match("^(.*/)([^/]*)$")
  if not directory then directory, name = "", written end
  local found = {}
  for _, entry in ipairs(sys.list(directory == "" and "." or directory) or {}) do
    local stat = sys.stat(directory .. entry, true)
    if (entry:sub(1, 1) ~= "." or name:sub(1, 1) == ".") and is_plain(entry) then
      found[entry .. (stat and stat.type == "directory" and "/" or "")] = true
    end
  end
  return name, found
end

local function modules(written)
  local found = {}
  for _, known in ipairs{ package.loaded, package.preload } do
    for name in next, known do
      -- What has a slash is a text (noether.resource).
      if type(name) == "string" and not name:find("/", 1, true) then found[name] = true end
    end
  end
  return written, found
end

local function topics(written, reference)
  local found = {}
  for name in next, reference do
    found[name] = true
  end
  return written, found
end

-- What begins as `name` does, sorted. Names with `_` in front are for who asks for them.
local function matching(name, found)
  local list = {}
  for candidate in next, found do
    local hidden = candidate:sub(1, 1) == "_" and name:sub(1, 1) ~= "_"
    if candidate:sub(1, #name) == name and not hidden then list[#list + 1] = candidate end
  end
  table.sort(list)
  return list
end

-- Not in the middle of a character.
local function common_start(list)
  local first, last = list[1], list[#list]
  local length = 0
  while length < #first and first:byte(length + 1) == last:byte(length + 1) do
    length = length + 1
  end
  while length > 0 and length < #first and (first:byte(length + 1) or 0) >= 128
    and first:byte(length + 1) < 192 do
    length = length - 1
  end
  return first:sub(1, length)
end

-- Names in columns, downwards, as `ls` does.
local function columns(list, width)
  local count = math.min(#list, MAX_SHOWN)
  local widest = 1
  for i = 1, count do
    widest = math.max(widest, #list[i] + 2)
  end
  local across = math.max(1, math.floor(width / widest))
  local down = math.ceil(count / across)
  local lines = {}
  for row = 1, down do
    local cells = {}
    for i = row, count, down do
      cells[#cells + 1] = list[i] .. (" "):rep(widest - #list[i])
    end
    lines[row] = table.concat(cells):match("^(.-) *$")
  end
  if count < #list then lines[#lines + 1] = ("... and %d more"):format(#list - count) end
  return table.concat(lines, "\n")
end

local function candidates(before, globals, reference)
  local state, start = state_at_end(before)
  if state == "code" then return names_in_code(before, globals, reference) end
  if state == "comment" then return "", {} end
  local written, call = before:sub(start), before:sub(1, start - 2)
  if call:find("%f[%w_]require%s*%(?%s*$") then return modules(written) end
  if call:find("%f[%w_]help%s*%(?%s*$") then return topics(written, reference) end
  return files(written)
end

--- Complete what stands before the cursor.
-- @tparam string before all that was typed of the chunk, up to the cursor
-- @tparam number width columns of the terminal
-- @tparam table globals
-- @tparam table reference what there is help for, by name
-- @treturn ?string text to insert at the cursor
-- @treturn ?string where that is not clear: what is possible, to show
function M.complete(before, width, globals, reference)
  if before:find("^%s*$") or before:find("\n%s*$") then return "  " end
  local name, found = candidates(before, globals, reference)
  local list = matching(name, found)
  if #list == 0 then return nil end
  local insert = common_start(list):sub(#name + 1)
  if insert ~= "" then return insert end
  if #list > 1 then return nil, columns(list, width) end
end

return M
