-- SPDX-License-Identifier: MIT
--- Policy files: found in directories, loaded as text in a small environment.
local compat = require "noether.compat"
local errors = require "noether.error"
local options = require "noether.options"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local MAX_FILE_BYTES = 1024 * 1024

--- A `policy_error` that names the file or option, the field and what was expected.
-- @tparam string message
-- @tparam[opt] string hint
-- @treturn nil
-- @treturn table the error
function M.failed(message, hint)
  return nil, errors.new{ kind = "policy_error", message = message, hint = hint }
end

local function copy_library(library, without)
  local copy = {}
  for name, value in pairs(library) do
    if name ~= without then copy[name] = value end
  end
  return copy
end

-- The metatable of strings is shared with the host: a policy may not reach it.
local function table_metatable(value)
  return type(value) == "table" and getmetatable(value) or nil
end

-- What a policy file sees. Nothing in it reads or writes a file, the environment, the clock, the
-- host's globals or its row of random numbers, or loads code.
local function environment()
  local env = {
    _VERSION = _VERSION, assert = assert, error = error, getmetatable = table_metatable,
    ipairs = ipairs, next = next, pairs = pairs, pcall = pcall, rawequal = rawequal,
    rawget = rawget, rawset = rawset, select = select, setmetatable = setmetatable,
    tonumber = tonumber, tostring = tostring, type = type, unpack = compat.unpack,
    xpcall = xpcall,
    string = copy_library(string, "dump"), table = copy_library(table),
    math = copy_library(math, "randomseed"),
  }
  env.table.unpack = compat.unpack
  local has_utf8, utf8 = pcall(require, "utf8")
  env.utf8 = has_utf8 and copy_library(utf8) or nil
  local has_lpeg, lpeg = pcall(require, "lpeg")
  env.lpeg = has_lpeg and copy_library(lpeg) or nil
  env._G = env
  return env
end

--- What was raised, as text: it may be anything, and its `__tostring` may raise again.
-- @param raised
-- @treturn string
function M.said(raised)
  local ok, text = compat.try(tostring, raised)
  return ok and type(text) == "string" and text or ("a %s that is no message"):format(type(raised))
end

local function read(path)
  local real = sys.realpath(path) -- read_file follows no link, and configuration often is one
  local text, message, errno = sys.read_file(real or path, MAX_FILE_BYTES)
  if text then return text end
  return M.failed(("policy file %s: %s"):format(path, message),
    errno == "EFBIG" and "a policy file is text of at most 1 MiB" or nil)
end

-- Lua cuts a chunk's name to 59 bytes, which few paths keep to: the file gets a short one, and
-- messages the path in its place.
local CHUNK_NAME = "policy"

-- "policy:12: message" has a place; other messages get the path alone.
local function placed(path, message)
  message = M.said(message)
  local rest = message:match("^" .. CHUNK_NAME .. "(:%d+: .*)$")
  return ("policy file %s%s"):format(path, rest or ": " .. message)
end

--- Load one policy file.
-- @tparam string path
-- @param builtin the module that it overrides, of which the file gets a copy as `...`; nil for a
-- new one
-- @treturn ?table the fields it returns; or nil and a `policy_error`
-- @treturn ?table
-- @treturn ?string the file's text, to find a field's line in
function M.load(path, builtin)
  local text, err = read(path)
  if not text then return nil, err end
  local chunk, message = compat.load_text(text, "=" .. CHUNK_NAME, environment())
  if not chunk then return M.failed(placed(path, message)) end
  -- A copy: in the module itself the file's own hooks will take the place of those it calls.
  local ok, fields = compat.try(chunk, builtin and tables.merged(builtin))
  if not ok then return M.failed(placed(path, fields)) end
  if type(fields) ~= "table" then
    return M.failed(("policy file %s: expected it to return a table of fields, got %s")
      :format(path, type(fields)))
  end
  return fields, nil, text
end

--- The line on which a file most likely sets a field.
-- @tparam string text
-- @tparam string field
-- @treturn ?number
function M.line_of(text, field)
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local _, last = line:find("%f[%w_]" .. field:gsub("%W", "%%%0") .. "%f[^%w_]")
    if last and line:find("^[%s\"'%]]*[=(]", last + 1) then return number end
  end
  return nil
end

-- Files of a directory that end in ".lua", by their name without it, sorted.
local function lua_files(dir, missing_ok)
  local names, message, errno = sys.list(dir)
  if not names then
    if missing_ok and errno == "ENOENT" then return {} end
    return M.failed(("policy directory %s: %s"):format(dir, message))
  end
  local found = {}
  for _, name in ipairs(names) do
    found[#found + 1] = name:match("^([^.].*)%.lua$")
  end
  table.sort(found)
  return found
end

--- The policy files of one directory.
-- @tparam string dir
-- @tparam table known names of the modules that can be overridden, as keys
-- @treturn ?table list of `{ module =, path = }`; or nil and a `policy_error`
-- @treturn ?table
function M.list(dir, known)
  local files, err = lua_files(dir, false)
  if not files then return nil, err end
  local found = {}
  for _, name in ipairs(files) do
    -- A misspelt file that is skipped would be a rule that nobody enforces.
    if not known[name] then
      return M.failed(("policy directory %s: %s"):format(
        dir, options.unknown("policy", name, known)))
    end
    found[#found + 1] = { module = name, path = ("%s/%s.lua"):format(dir, name) }
  end
  local languages
  languages, err = lua_files(dir .. "/languages", true)
  if not languages then return nil, err end
  for _, name in ipairs(languages) do
    found[#found + 1] = {
      module = "languages/" .. name, path = ("%s/languages/%s.lua"):format(dir, name),
    }
  end
  return found
end

return M
