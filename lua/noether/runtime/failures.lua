-- SPDX-License-Identifier: MIT
--- What nix could not give, remembered for a while. Without a network nix takes seconds to fail,
-- and the command is a new process each time: so a failure is a file in the cache. Its time is that
-- of the failure, and its name is of what failed, by which nix and in which environment.
local errors = require "noether.error"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- How long a failure counts.
M.KEPT_SECS = 600

--- The name of a failure that counts for all: nixpkgs itself could not be had.
M.ALL = ""

local MAX_BYTES = 4096

local Failures = {}
Failures.__index = Failures

-- Where nix looks for its store, its daemon and its configuration.
local function is_for_nix(name)
  return name == "HOME" or name:find("^NIX_") ~= nil or name:find("^XDG_CONFIG_") ~= nil
end

--- The name of a failure that counts for a language with these packages.
-- @tparam string language
-- @tparam table packages
-- @treturn string
function M.name(language, packages)
  return language .. " " .. table.concat(packages, " ")
end

--- The failures of one nix.
-- @tparam table cache
-- @tparam string nix the program
-- @tparam table environ what it is run with
-- @treturn table
function M.of(cache, nix, environ)
  local parts = { nix }
  for _, name in ipairs(tables.sorted_names(environ)) do
    if is_for_nix(name) then parts[#parts + 1] = name .. "=" .. environ[name] end
  end
  return setmetatable({
    directory = cache.dir .. "/nix", whose = table.concat(parts, "\0"),
  }, Failures)
end

function Failures:path(what)
  local name = sys.sha256(self.whose .. "\0\0" .. what):sub(1, 32)
  return ("%s/failed-%s"):format(self.directory, name)
end

--- What is remembered.
-- @tparam string what a name
-- @treturn ?string why it failed, in one line; nil if nothing is known, or it was too long ago
-- @treturn ?number seconds since then
function Failures:recent(what)
  local path = self:path(what)
  local stat = sys.stat(path)
  local age = stat and sys.time() - stat.mtime
  if not age or age < 0 or age >= M.KEPT_SECS then return nil end
  local message = sys.read_file(path, MAX_BYTES)
  return message and errors.clean(message, MAX_BYTES), age
end

-- Takes out those that no longer count: of sets of packages that nobody asks for again.
local function remove_old(directory)
  for _, name in ipairs(sys.list(directory) or {}) do
    local path = directory .. "/" .. name
    local stat = name:find("^failed%-%x+$") and sys.stat(path)
    if stat and math.abs(sys.time() - stat.mtime) >= M.KEPT_SECS then sys.unlink(path) end
  end
end

--- Remember a failure. Where that cannot be done, nothing is lost but time.
-- @tparam string what
-- @tparam string message
function Failures:remember(what, message)
  sys.mkdir_private(self.directory)
  remove_old(self.directory)
  sys.write_file(self:path(what), message:sub(1, MAX_BYTES))
end

--- Forget a failure.
-- @tparam string what
function Failures:forget(what)
  sys.unlink(self:path(what))
end

return M
