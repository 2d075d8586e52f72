-- SPDX-License-Identifier: MIT
--- Any value as text for people: sorted keys, bounded depth, cycles named.
local M = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or
  repeat return then true until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

local WIDTH = 80

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\""] = "\\\"", ["\\"] = "\\\\" }

local function quote(text)
  local escaped = text:gsub("[%c\"\\\127]", function(byte)
    return ESCAPES[byte] or ("\\%03d"):format(byte:byte())
  end)
  return "\"" .. escaped .. "\""
end

local function number(value)
  if value ~= value then return "nan" end
  if value == math.huge then return "math.huge" end
  if value == -math.huge then return "-math.huge" end
  local text = tostring(value)
  if tonumber(text) ~= value then text = ("%.17g"):format(value) end
  return text
end

-- JSON null is the null light userdata, which C libraries print in different ways.
local NULLS = {
  ["userdata: (nil)"] = true, ["userdata: NULL"] = true, ["userdata: (null)"] = true,
  ["userdata: 0x0"] = true, ["userdata: 0"] = true,
}

local function userdata(value)
  local text = tostring(value)
  return NULLS[text] and "null" or "<" .. text .. ">"
end

local function scalar(value)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if kind == "number" then return number(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if kind == "userdata" then return userdata(value) end
  return "<" .. tostring(value) .. ">"
end

local ORDER = { number = 1, string = 2 }

local function before(a, b)
  local kind_a, kind_b = ORDER[type(a)] or 3, ORDER[type(b)] or 3
  if kind_a ~= kind_b then return kind_a < kind_b end
  if kind_a == 3 then return tostring(a) < tostring(b) end
  return a < b
end

-- Keys outside the sequence 1 .. n, sorted.
local function named_keys(value, length)
  local keys = {}
  for key in next, value do
    local in_sequence = type(key) == "number" and key >= 1 and key <= length
      and key == math.floor(key)
    if not in_sequence then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  return keys
end

local write

local function key_text(key, state)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not KEYWORDS[key] then return key end
  return "[" .. write(key, state, state.depth) .. "]"
end

local function items_of(value, state, level)
  local items = {}
  local length = 0
  while rawget(value, length + 1) ~= nil do
    length = length + 1
    if length <= state.items then items[length] = write(rawget(value, length), state, level + 1) end
  end
  local keys = named_keys(value, length)
  for i = 1, math.min(#keys, state.items - #items) do
    items[#items + 1] = key_text(keys[i], state) .. " = "
      .. write(rawget(value, keys[i]), state, level + 1)
  end
  local left_out = length + #keys - #items
  if left_out > 0 then items[#items + 1] = ("... %d more"):format(left_out) end
  return items
end

local function layout(items, level)
  if #items == 0 then return "{}" end
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #line + 2 * level <= WIDTH and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(level + 1)
  return "{\n" .. indent .. table.concat(items, ",\n" .. indent) .. ",\n"
    .. ("  "):rep(level) .. "}"
end

-- A table with its own words for itself (an error) is shown by them, and a handle of the library by
-- its name: what is in it is not for logs (an executor has the host's environment).
local function own_words(value)
  local metatable = getmetatable(value)
  if type(metatable) ~= "table" then return nil end
  if not rawget(metatable, "__tostring") then
    local name = rawget(metatable, "__name")
    local is_handle = type(name) == "string" and name:find("^noether%.") and name ~= "noether.array"
    return is_handle and "<" .. name .. ">" or nil
  end
  local ok, text = pcall(tostring, value)
  return ok and "<" .. (metatable.__name or "table") .. ": " .. text .. ">" or nil
end

function write(value, state, level)
  if type(value) ~= "table" then return scalar(value) end
  local words = own_words(value)
  if words then return words end
  if state.open[value] then return "<cycle>" end
  if level >= state.depth then return next(value) == nil and "{}" or "{...}" end
  state.open[value] = true
  local text = layout(items_of(value, state, level), level)
  state.open[value] = nil
  return text
end

--- A readable text for any value.
-- @param value anything
-- @tparam[opt=8] number depth how many tables deep to look
-- @treturn string Lua-like text, on several lines where one is too long; `<cycle>` where a table
-- contains itself, `{...}` below the depth
-- @usage
-- print(noether.inspect{ 1, 2, name = "x", inner = { deep = true } })
-- --> { 1, 2, inner = { deep = true }, name = "x" }
function M.inspect(value, depth)
  return write(value, { open = {}, depth = depth or 8, items = math.huge }, 0)
end

--- As `inspect`, of a value that may be of any size.
-- @param value anything
-- @tparam table limits `depth`, and `items`: how many of each table are shown
-- @treturn string likewise; `... 7 more` where something is left out
function M.within(value, limits)
  return write(value, { open = {}, depth = limits.depth, items = limits.items }, 0)
end

return M
