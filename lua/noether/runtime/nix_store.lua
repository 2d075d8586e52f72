-- SPDX-License-Identifier: MIT
--- Whether there is a nix here, as far as files tell: what everybody asks who takes a runtime.
local sys = require "noether.sys"

local M = {}

-- Where a multi-user Nix puts itself, whatever PATH says; and a user's own.
local PROFILE = "/nix/var/nix/profiles/default/bin/nix"
local OWN_PROFILE = "/.nix-profile/bin/nix"

--- Where the store is if nothing else is said.
M.STORE = "/nix/store"

local function is_absolute(path)
  return path ~= nil and path:sub(1, 1) == "/"
end

--- Find nix: the default profile's first, then that of PATH, then the user's own profile's. No
-- program is run.
-- @tparam table environ value by name; only absolute entries of PATH count
-- @treturn ?string absolute path; nil if nix is not installed
function M.find(environ)
  if sys.is_program(PROFILE) then return PROFILE end
  local found = sys.find_program("nix", environ.PATH)
  if found then return found end
  local own = is_absolute(environ.HOME) and environ.HOME .. OWN_PROFILE
  return own and sys.is_program(own) and own or nil
end

--- The directory of nix's store, as nix finds it.
-- @tparam table environ
-- @treturn string
function M.store_dir(environ)
  local dir = environ.NIX_STORE_DIR or environ.NIX_STORE
  return is_absolute(dir) and (dir:gsub("(.)/+$", "%1")) or M.STORE
end

-- Of what a store holds, the first few names are enough to know that there is something.
local MAX_NAMES = 256

-- Whether a store has an object that could be used; its locks and what it is to build are none.
local function has_objects(store_dir)
  local real = sys.realpath(store_dir)
  for _, name in ipairs(real and sys.list(real, MAX_NAMES) or {}) do
    local is_object = name:find("^[0-9a-z]+%-") and not name:find("%.lock$")
    if is_object and not name:find("%.drv$") then return true end
  end
  return false
end

--- Whether nix is installed and has been used: there is something in its store. A distribution's
-- package makes none, and a nix that could fetch nothing leaves an empty one.
-- @tparam table environ
-- @treturn boolean
function M.is_in_use(environ)
  -- The store first: where there is none, nothing is looked for at each call.
  return has_objects(M.store_dir(environ)) and M.find(environ) ~= nil
end

return M
