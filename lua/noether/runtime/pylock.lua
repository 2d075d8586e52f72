-- SPDX-License-Identifier: MIT
--- Locks of Python packages: pylock.toml (PEP 751), read and judged before pip sees anything of it,
-- and written.
--
-- What counts of a package is its name, its version, its marker and the SHA-256 of its files. Where
-- it comes from does not: pip asks the places that the executor names, and takes what has one of
-- these hashes. A package from a repository, a directory or an archive has none that pip could
-- compare, and is refused.
local errors = require "noether.error"
local toml = require "noether.runtime.toml"

local M = {}

local MAX_BYTES = 16 * 1024 * 1024
local MAX_PACKAGES = 10000

local function invalid(message, ...)
  return nil, errors.new{
    kind = "input_invalid", message = "lock: " .. message:format(...),
    hint = "give the text of a pylock.toml (PEP 751): `noether lock` writes one",
  }
end

local function refused(package, reason)
  return nil, errors.new{
    kind = "package_rejected",
    message = ("packages refused: '%s' (%s)"):format(errors.clean(package.name, 80), reason),
    hint = "only packages of an index are taken, each file with its SHA-256",
  }
end

-- --- Reading -------------------------------------------------------------------------------------

local SOURCES = { vcs = "a repository", directory = "a directory", archive = "an archive" }

local function is_hash(value)
  return type(value) == "string" and #value == 64 and not value:find("[^%x]")
end

-- The SHA-256 of a file; nil, where it has none.
local function hash_of(file)
  local hashes = type(file) == "table" and file.hashes
  local found = type(hashes) == "table" and hashes.sha256
  return is_hash(found) and found:lower() or nil
end

-- A marker goes to pip in a line of a file that could hold options: those are words that begin with
-- "-". What a lock alone knows of, pip does not.
local function fault_of_marker(marker)
  if type(marker) ~= "string" or marker:find("[^%w_.%s'\"<>=!~()+,*-]") or marker:find("[%c]")
    or marker:find("%f[^%s%c\"'(]%-") then
    return "its marker is none"
  elseif marker:find("extras", 1, true) or marker:find("dependency_groups", 1, true) then
    return "it is for an extra or a group of dependencies, of which none was chosen"
  end
  return nil
end

local function hashes_of(package, only_binary)
  local hashes, seen = {}, {}
  local files = {}
  for _, wheel in ipairs(type(package.wheels) == "table" and package.wheels or {}) do
    files[#files + 1] = wheel
  end
  if not only_binary then files[#files + 1] = package.sdist end
  for _, file in ipairs(files) do
    local hash = hash_of(file)
    if hash and not seen[hash] then
      seen[hash] = true
      hashes[#hashes + 1] = hash
    end
  end
  table.sort(hashes)
  return hashes
end

-- { name, version, marker, hashes }; nil and an error.
local function read_package(entry, index, only_binary)
  if type(entry) ~= "table" or type(entry.name) ~= "string" then
    return invalid("packages[%d]: expected a table with a name", index)
  end
  for field, what in pairs(SOURCES) do
    if entry[field] ~= nil then return refused(entry, "it comes from " .. what) end
  end
  if type(entry.version) ~= "string" then
    return refused(entry, "the lock does not say its version")
  end
  local fault = entry.marker ~= nil and fault_of_marker(entry.marker)
  if fault then return refused(entry, fault) end
  local hashes = hashes_of(entry, only_binary)
  if not hashes[1] then
    return refused(entry, only_binary and "the lock has no SHA-256 of a wheel of it"
      or "the lock has no SHA-256 of it")
  end
  return { name = entry.name, version = entry.version, marker = entry.marker, hashes = hashes }
end

local function check_head(lock)
  local version = lock["lock-version"]
  if type(version) ~= "string" then return invalid("'lock-version' is missing") end
  if not version:find("^1%.%d+$") then
    return invalid("lock-version %s is not known, 1.0 is", errors.clean(version, 20))
  elseif type(lock["created-by"]) ~= "string" then
    return invalid("'created-by' is missing")
  elseif type(lock.packages) ~= "table" or (lock.packages[1] == nil and next(lock.packages)) then
    return invalid("'packages' is missing, or no list")
  elseif #lock.packages > MAX_PACKAGES then
    return invalid("it names more than %d packages", MAX_PACKAGES)
  end
  local python = lock["requires-python"]
  if python ~= nil and type(python) ~= "string" then
    return invalid("requires-python: expected text such as \">=3.9\"")
  end
  return true
end

--- Read a lock.
-- @tparam string source its text
-- @tparam boolean only_binary whether wheels alone count
-- @treturn ?table `requires_python` and `packages`, a list of `{ name, version, marker, hashes }`;
-- or nil and an error (`input_invalid`: it is none; `package_rejected`: a package that cannot be
-- taken)
-- @treturn ?table
function M.read(source, only_binary)
  if #source > MAX_BYTES then return invalid("it is longer than %d bytes", MAX_BYTES) end
  local lock, reason = toml.read(source)
  if not lock then return invalid("it is no TOML: %s", reason) end
  local ok, err = check_head(lock)
  if not ok then return nil, err end
  local packages = {}
  for index, entry in ipairs(lock.packages) do
    packages[index], err = read_package(entry, index, only_binary)
    if not packages[index] then return nil, err end
  end
  return { requires_python = lock["requires-python"], packages = packages }
end

--- A package as pip reads it in a file of requirements.
-- @tparam table package
-- @treturn string
function M.line(package)
  local parts = { ("%s==%s"):format(package.name, package.version) }
  if package.marker then parts[2] = "; " .. package.marker end
  for _, hash in ipairs(package.hashes) do
    parts[#parts + 1] = "--hash=sha256:" .. hash
  end
  return table.concat(parts, " ")
end

-- --- Writing -------------------------------------------------------------------------------------

local function file_lines(package)
  local name = package.url:gsub("[?#].*$", ""):match("([^/]+)$") or package.url
  name = name:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
  local fields = ("name = %s, url = %s, hashes = { sha256 = %s }"):format(
    toml.quoted(name), toml.quoted(package.url), toml.quoted(package.hash))
  if name:find("%.whl$") then return ("wheels = [{ %s }]"):format(fields) end
  return ("sdist = { %s }"):format(fields)
end

--- Write a lock.
-- @tparam {table,...} packages `{ name, version, url, hash }` each
-- @treturn string
function M.write(packages)
  local sorted = {}
  for index, package in ipairs(packages) do
    sorted[index] = package
  end
  table.sort(sorted, function(a, b) return a.name < b.name end)
  local lines = { 'lock-version = "1.0"', 'created-by = "noether"' }
  if not sorted[1] then lines[3] = "packages = []" end
  for _, package in ipairs(sorted) do
    lines[#lines + 1] = ("\n[[packages]]\nname = %s\nversion = %s\n%s"):format(
      toml.quoted(package.name), toml.quoted(package.version), file_lines(package))
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
