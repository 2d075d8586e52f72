-- SPDX-License-Identifier: MIT
--- The lock file: which runtimes were resolved, and from what.
--
-- One JSON object, laid out so that a person can read its changes:
--
--     { "version": 1,
--       "references": { "nixpkgs": "github:NixOS/nixpkgs/<rev>" },
--       "runtimes": { "x86_64-linux": { "nixpkgs#python3": { ... } } } }
--
-- `references` pins what a reference stood for when it was first used, for every system; an entry
-- of `runtimes` has the store paths of one. It is written whole under another name and renamed.
-- What is read is checked, since its paths are shown to stages and run: they are store paths and
-- nothing else.
local errors = require "noether.error"
local json = require "noether.json"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local VERSION = 1
local MAX_BYTES = 16 * 1024 * 1024
local MAX_MEMOS = 16
local PUBLIC_MODE = 420 -- 0644: a caller commits it

local STORE_NAME = "^[0-9a-z]+%-[%w+._?=-]+$"

-- Decoded files by path, for as long as the file is the same.
local memos, memo_count = {}, 0

local function is_text(value)
  return type(value) == "string" and value ~= "" and not value:find("[%z\1-\31\127]")
end

--- Whether a path is that of an object in a store.
-- @tparam string path
-- @tparam string store_dir
-- @treturn boolean
function M.is_store_path(path, store_dir)
  return type(path) == "string" and path:sub(1, #store_dir + 1) == store_dir .. "/"
    and path:sub(#store_dir + 2):find(STORE_NAME) ~= nil
end

--- Whether a text can stand for a flake on nix's command line: no option, no attribute.
-- @param value
-- @treturn boolean
function M.is_reference(value)
  return is_text(value) and not value:find("[%s#\"\\$]") and value:sub(1, 1) ~= "-"
end

local function is_inside(program, list)
  for _, path in ipairs(list) do
    if program:sub(1, #path + 1) == path .. "/" then return true end
  end
  return false
end

local function contains(list, wanted)
  for _, path in ipairs(list) do
    if path == wanted then return true end
  end
  return false
end

-- The variables of a wrapper that is left out: for Python alone, and never the loader's.
local function are_variables(value)
  if type(value) ~= "table" then return false end
  for name, text in pairs(value) do
    if type(name) ~= "string" or not name:find("^[%u_]*PYTHON[%u_]*$") or not is_text(text) then
      return false
    end
  end
  return true
end

-- Each field of an entry, and what it must be.
local function entry_checks(store_dir)
  local function is_path(value) return M.is_store_path(value, store_dir) end
  local function is_paths(value) return tables.is_list(value, is_path) end
  local function is_program(value) return is_text(value) and not value:find("/..", 1, true) end
  return {
    reference = M.is_reference, attribute = is_text, version = is_text, nix = is_text,
    path = is_path, paths = is_paths, closure = is_paths,
    packages = function(value) return tables.is_list(value, is_text) end,
    program = is_program, variables = are_variables,
    shell = function(value) return value == nil or is_program(value) end,
  }
end

--- Whether an entry is whole and names nothing but what is in the store.
-- @param entry
-- @tparam string store_dir
-- @treturn ?boolean true; or nil and what is wrong
-- @treturn ?string
function M.check_entry(entry, store_dir)
  if type(entry) ~= "table" then return nil, "an entry is no object" end
  for field, test in pairs(entry_checks(store_dir)) do
    if not test(entry[field]) then return nil, ("its field '%s' is wrong"):format(field) end
  end
  for _, program in ipairs{ entry.program, entry.shell } do
    if not is_inside(program, entry.closure) then
      return nil, "its program is not in its closure"
    end
  end
  -- What a run is told to come from must be what the stage is shown.
  if not contains(entry.paths, entry.path) then return nil, "its path is not one of its paths" end
  for _, path in ipairs(entry.paths) do
    if not contains(entry.closure, path) then return nil, "a path of its is not in its closure" end
  end
  return true
end

local function empty()
  return { version = VERSION, references = {}, runtimes = {} }
end

local function is_table(value)
  return type(value) == "table"
end

local function check(value)
  if type(value) ~= "table" then return nil, "it is no object" end
  if value.version ~= VERSION then
    return nil, ("it is of version %s, and this is for version %d"):format(
      errors.clean(tostring(value.version), 40), VERSION)
  end
  if not tables.is_map(value.references, M.is_reference) then
    return nil, "'references' is wrong"
  end
  local function is_section(section) return tables.is_map(section, is_table) end
  if not tables.is_map(value.runtimes, is_section) then return nil, "'runtimes' is wrong" end
  return true
end

local function remember(path, seen, value)
  if not memos[path] then memo_count = memo_count + 1 end
  if memo_count > MAX_MEMOS then memos, memo_count = {}, 1 end
  memos[path] = { stamp = seen, value = value }
end

--- Read a lock file. What is returned is shared: it must not be changed.
-- @tparam string path
-- @treturn ?table `version`, `references`, `runtimes`; one that is not there is empty
-- @treturn ?string what is wrong with it
-- @treturn ?string "damaged": it was read, and is no lock file; else the errno
function M.read(path)
  path = sys.realpath(path) or path
  local seen = sys.stamp(path)
  local memo = memos[path]
  if memo and seen and memo.stamp == seen then return memo.value end
  local content, message, errno = sys.read_file(path, MAX_BYTES)
  if not content then
    if errno == "ENOENT" then return empty() end
    return nil, message, errno
  end
  local value
  value, message = json.decode(content)
  if value ~= nil then
    local ok
    ok, message = check(value)
    if not ok then value = nil end
  end
  if value == nil then return nil, message, "damaged" end
  remember(path, seen, value)
  return value
end

local function encode(value)
  return (assert(json.encode(value)):gsub("\\/", "/"))
end

-- Lists on one line, but for long ones; the keys of an object in order, each on a line.
local function lay_out(value, indent)
  if type(value) ~= "table" then return encode(value) end
  local inner, lines = indent .. "  ", {}
  if json.is_array(value) then
    if #value < 2 then return encode(value) end
    for i, item in ipairs(value) do
      lines[i] = inner .. lay_out(item, inner)
    end
    return "[\n" .. table.concat(lines, ",\n") .. "\n" .. indent .. "]"
  end
  for i, name in ipairs(tables.sorted_names(value)) do
    lines[i] = ("%s%s: %s"):format(inner, encode(name), lay_out(value[name], inner))
  end
  if #lines == 0 then return "{}" end
  return "{\n" .. table.concat(lines, ",\n") .. "\n" .. indent .. "}"
end

--- Write a lock file: all of it, or nothing.
-- @tparam string path
-- @tparam table lock
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
function M.write(path, lock)
  return sys.write_file(sys.realpath(path) or path, lay_out(lock, "") .. "\n", PUBLIC_MODE)
end

--- A copy of a lock with one more thing in it.
-- @tparam table lock
-- @tparam string group "references", or "runtimes" with a system
-- @tparam string name
-- @param value
-- @tparam[opt] string system
-- @treturn table
function M.with(lock, group, name, value, system)
  local copy = tables.merged(lock)
  local names = tables.merged(lock[group])
  if system then
    names[system] = tables.merged(names[system], { [name] = value })
  else
    names[name] = value
  end
  copy[group] = names
  return copy
end

return M
