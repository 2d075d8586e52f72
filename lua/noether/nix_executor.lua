-- SPDX-License-Identifier: MIT
--- The names of the original, as constructors over the one executor.
local executor = require "noether.executor.local"
local nix = require "noether.runtime.nix"
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

local CONFIG = require("noether.executor.config").CONFIG_OPTIONS

--- Find nix: the default profile's first, then that of PATH, then the user's own profile's. No
-- program is run.
-- @tparam[opt] table environ the environment (default: this process's); only absolute entries of
-- its `PATH` count
-- @treturn ?string absolute path; nil if nix is not installed
-- @usage
-- local path = require("noether.nix_executor").find_nix()
-- print(path == nil or path:sub(1, 1) == "/") --> true
function M.find_nix(environ)
  return nix.find(environ or sys.environ())
end

--- An executor over a store with the default configuration; see @{from_store_with_config}.
-- @tparam Store store
-- @treturn ?Executor nil and an error as there
-- @treturn ?Error error
-- @usage
-- local nix_executor = require "noether.nix_executor"
-- local executor, err = nix_executor.from_store(noether.store.memory())
-- if not executor then print(err.kind) end
-- --> ...
function M.from_store(store)
  return M.from_store_with_config(store, {})
end

--- An executor over a store that runs stages with Nix's interpreters.
-- @tparam Store store
-- @tparam Config config
-- @treturn ?Executor the executor; or nil and an error (`runtime_unavailable` where nix is not
-- installed), so that callers can fall back to another executor
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local nix_executor = require "noether.nix_executor"
-- local store = noether.store.memory()
-- local executor, err = nix_executor.from_store_with_config(store, { timeout_secs = 5 })
-- if not executor then print(err.kind) end
-- --> ...
function M.from_store_with_config(store, config)
  local given = options.check("nix_executor", config, CONFIG)
  given.store, given.runtime = store, "nix"
  return executor.new(given)
end

return M
