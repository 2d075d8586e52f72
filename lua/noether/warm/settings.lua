-- SPDX-License-Identifier: MIT
--- The option `warm`: what is kept ready for the calls to come.
local options = require "noether.options"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- Its fields.
M.FIELDS = {
  spares = "natural", imports = "strings", idle_secs = "seconds", memory_bytes = "bytes",
  calls = "whole",
}

local IDLE_SECS = 60
local CALLS = 1000
local SPARES_PER_PROCESSOR = 2

--- Of a batch that asks for nothing: calls are forked where they can be, and nothing waits.
-- @tparam number jobs that run at once
-- @treturn table
function M.of_many(jobs)
  return {
    spares = 0, imports = {}, idle_secs = IDLE_SECS, memory_bytes = math.huge, calls = CALLS,
    jobs = jobs,
  }
end

local function check_imports(fname, imports)
  for _, name in ipairs(imports) do
    if not name:find("^[%a_][%w_.]*$") then
      options.raise(("%s: warm: imports: '%s' is no name of a module"):format(fname, name))
    end
  end
end

--- Check the option, and complete it.
-- @tparam string fname the public function, for messages
-- @tparam ?boolean|table warm
-- @treturn ?table|boolean settings; false or nil as they were given
-- @raise on a wrong one
function M.check(fname, warm)
  if not warm then return warm end
  local given = warm == true and {} or options.check(fname .. ": warm", warm, M.FIELDS)
  given.imports = given.imports or {}
  check_imports(fname, given.imports)
  return tables.merged({
    spares = SPARES_PER_PROCESSOR * sys.cpu_count(), idle_secs = IDLE_SECS,
    memory_bytes = math.huge, calls = CALLS,
  }, given)
end

return M
