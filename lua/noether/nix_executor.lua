-- SPDX-License-Identifier: MIT
--- The names of the original, as constructors over the one executor.
local executor = require "noether.executor"
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

local CONFIG = require("noether.config").CONFIG_OPTIONS

-- Where a multi-user Nix puts itself, whatever PATH says.
local PROFILE = "/nix/var/nix/profiles/default/bin/nix"

local function is_program(path)
  local stat = sys.stat(path, true)
  return stat ~= nil and stat.type == "file" and sys.access(path, "x") == true
end

--- Find nix: the default profile's first, then that of PATH. No program is run.
-- @tparam[opt] table environ the environment (default: this process's); only `PATH` is looked at,
-- and only absolute entries of it
-- @treturn ?string absolute path; nil if nix is not installed
function M.find_nix(environ)
  if is_program(PROFILE) then return PROFILE end
  return sys.find_program("nix", (environ or sys.environ()).PATH)
end

--- An executor over a store with the default configuration; see @{from_store_with_config}.
-- @tparam table store
-- @treturn ?table nil and an error as there
-- @treturn ?table
function M.from_store(store)
  return M.from_store_with_config(store, {})
end

--- An executor over a store that runs stages with Nix's interpreters. This version has no runtime
-- that does, so that every caller falls back to another executor.
-- @tparam table store
-- @tparam table config `timeout_secs`, `max_output_bytes`, `max_stderr_bytes`, `isolation`
-- @treturn ?table the executor; or nil and an error (`runtime_unavailable`)
-- @treturn ?table
function M.from_store_with_config(store, config)
  local given = options.check("nix_executor", config, CONFIG)
  given.store, given.runtime = store, "nix"
  return executor.new(given)
end

return M
