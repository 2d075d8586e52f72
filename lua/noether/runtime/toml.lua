-- SPDX-License-Identifier: MIT
--- Reads TOML (toml.io, version 1.0), as lock files are written in it.
--
-- Tables and arrays become Lua's, an empty one of either an empty table. Texts and booleans are
-- what they are. Numbers and dates are kept as they are written: nothing here reckons with them.
local errors = require "noether.error"

local M = {}

local MAX_DEPTH = 32

local Reader = {}
Reader.__index = Reader

local ESCAPES = { b = "\b", t = "\t", n = "\n", f = "\f", r = "\r", ['"'] = '"', ["\\"] = "\\" }
local HEX_DIGITS = { u = 4, U = 8 }

-- Raises what is wrong, with its line.
local function fail(self, what)
  local _, before = self.text:sub(1, self.at - 1):gsub("\n", "")
  error({ reason = ("line %d: %s"):format(before + 1, what) }, 0)
end

local function take(self, pattern)
  local from, to, found = self.text:find("^" .. pattern, self.at)
  if not from then return nil end
  self.at = to + 1
  return found or self.text:sub(from, to)
end

-- Over blanks; with `lines` over ends of lines and comments, too.
local function skip(self, lines)
  take(self, "[ \t]+")
  while lines and (take(self, "#[^\n]*") or take(self, "\r?\n")) do
    take(self, "[ \t]+")
  end
end

local function end_line(self)
  skip(self)
  take(self, "#[^\n]*")
  if not take(self, "\r?\n") and self.at <= #self.text then fail(self, "expected its end") end
end

-- A code point as UTF-8.
local function character(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64,
      0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function read_escape(self, is_long)
  local sign = take(self, "\\(.)")
  if sign and ESCAPES[sign] then return ESCAPES[sign] end
  local count = HEX_DIGITS[sign]
  local code = count and tonumber(take(self, ("(%s)"):format(("%x"):rep(count))) or "", 16)
  if code and code <= 0x10FFFF and (code < 0xD800 or code > 0xDFFF) then return character(code) end
  if is_long and not count then
    self.at = self.at - (sign and 1 or 0)
    if take(self, "[ \t]*\r?\n[ \t\r\n]*") then return "" end
  end
  return fail(self, "a text has an escape that is none")
end

-- What stands between quotes, of one line or, of three quotes, of several.
local function read_basic(self)
  local is_long = take(self, '"""\r?\n?') ~= nil
  if not is_long then take(self, '"') end
  local parts, plain = {}, is_long and '[^"\\]+' or '[^"\\\r\n]+'
  while true do
    parts[#parts + 1] = take(self, plain)
    if is_long and take(self, '"""') then
      return table.concat(parts) .. (take(self, '""?') or "")
    elseif not is_long and take(self, '"') then
      return table.concat(parts)
    elseif self.text:sub(self.at, self.at) == "\\" then
      parts[#parts + 1] = read_escape(self, is_long)
    else
      parts[#parts + 1] = is_long and take(self, '"') or fail(self, "a text has no end")
    end
  end
end

local function read_literal(self)
  if not take(self, "'''\r?\n?") then
    return take(self, "'([^'\r\n]*)'") or fail(self, "a text has no end")
  end
  local from, to = self.text:find("'''+", self.at)
  if not from then fail(self, "a text has no end") end
  local found = self.text:sub(self.at, to - 3)
  self.at = to + 1
  return found
end

local function read_text(self)
  local quote = self.text:sub(self.at, self.at)
  if quote == '"' then return read_basic(self) end
  if quote == "'" then return read_literal(self) end
  return nil
end

-- "a.b" -> { "a", "b" }
local function read_key(self)
  local parts = {}
  repeat
    skip(self)
    parts[#parts + 1] = take(self, "[%w_-]+") or read_text(self) or fail(self, "expected a name")
    skip(self)
  until not take(self, "%.")
  return parts
end

-- The table below one; of an array of tables its last.
local function below(self, parent, name)
  local found = parent[name]
  if found == nil then
    found = {}
    parent[name] = found
  elseif type(found) ~= "table" or self.closed[found] then
    fail(self, ("'%s' has a value already"):format(errors.clean(name, 60)))
  end
  return self.arrays[found] and found[#found] or found
end

local function set(self, parent, key, value)
  for index = 1, #key - 1 do
    parent = below(self, parent, key[index])
  end
  local name = key[#key]
  if parent[name] ~= nil then
    fail(self, ("'%s' is there twice"):format(errors.clean(name, 60)))
  end
  parent[name] = value
end

local read_value

local function read_array(self, depth)
  local list = {}
  take(self, "%[")
  while true do
    skip(self, true)
    if take(self, "%]") then break end
    list[#list + 1] = read_value(self, depth + 1)
    skip(self, true)
    if not take(self, ",") then
      if not take(self, "%]") then fail(self, "an array has no end") end
      break
    end
  end
  self.closed[list] = true
  return list
end

local function read_pair(self, parent, depth)
  local key = read_key(self)
  if not take(self, "=") then fail(self, "expected '='") end
  skip(self)
  set(self, parent, key, read_value(self, depth))
end

local function read_inline(self, depth)
  local found = {}
  take(self, "{")
  skip(self)
  local is_over = take(self, "}")
  while not is_over do
    read_pair(self, found, depth + 1)
    skip(self)
    is_over = take(self, "}")
    if not is_over and not take(self, ",") then fail(self, "a table has no end") end
  end
  self.closed[found] = true
  return found
end

local WORDS = { ["true"] = true, ["false"] = false }

function read_value(self, depth)
  if depth > MAX_DEPTH then fail(self, "it is nested too deeply") end
  local found = read_text(self)
  if found then return found end
  local sign = self.text:sub(self.at, self.at)
  if sign == "[" then return read_array(self, depth) end
  if sign == "{" then return read_inline(self, depth) end
  local word = take(self, "[%w+._:-]+") or fail(self, "expected a value")
  if word:find("^%d%d%d%d%-%d%d%-%d%d$") then
    word = word .. (take(self, " %d%d:[%d:.Z+-]+") or "")
  end
  if WORDS[word] ~= nil then return WORDS[word] end
  if not word:find("^[%d+-]") and not word:find("^inf") and not word:find("^nan") then
    fail(self, "expected a value")
  end
  return word
end

-- "[a.b]"
local function read_table(self, root)
  local key, parent = read_key(self), root
  if not take(self, "%]") then fail(self, "expected ']'") end
  for index, name in ipairs(key) do
    local is_array = self.arrays[parent[name]] and index == #key
    parent = not is_array and below(self, parent, name)
    if not parent or index == #key and self.named[parent] then
      fail(self, "the table is there twice")
    end
  end
  self.named[parent] = true
  return parent
end

-- "[[a.b]]"
local function read_element(self, root)
  local key, parent = read_key(self), root
  if not take(self, "%]%]") then fail(self, "expected ']]'") end
  for index = 1, #key - 1 do
    parent = below(self, parent, key[index])
  end
  local name, element = key[#key], {}
  local list = parent[name]
  if list == nil then
    list = {}
    parent[name], self.arrays[list] = list, true
  elseif not self.arrays[list] then
    fail(self, ("'%s' has a value already"):format(errors.clean(name, 60)))
  end
  list[#list + 1] = element
  return element
end

local function read_document(self)
  local root = {}
  local current = root
  skip(self, true)
  while self.at <= #self.text do
    if take(self, "%[%[") then
      current = read_element(self, root)
    elseif take(self, "%[") then
      current = read_table(self, root)
    else
      read_pair(self, current, 1)
    end
    end_line(self)
    skip(self, true)
  end
  return root
end

--- Read a text.
-- @tparam string text
-- @treturn ?table what it says; or nil and why it is no TOML, with the line
-- @treturn ?string
function M.read(text)
  if not errors.is_utf8(text) then return nil, "it is no UTF-8" end
  local reader = setmetatable({
    text = text, at = 1, closed = {}, arrays = {}, named = {},
  }, Reader)
  local ok, found = pcall(read_document, reader)
  if ok then return found end
  if type(found) ~= "table" or not found.reason then error(found, 0) end
  return nil, found.reason
end

--- A text as TOML writes one.
-- @tparam string text
-- @treturn string
function M.quoted(text)
  return '"' .. text:gsub('[%c"\\\127]', function(byte)
    if byte == '"' or byte == "\\" then return "\\" .. byte end
    return ("\\u%04X"):format(byte:byte())
  end) .. '"'
end

return M
