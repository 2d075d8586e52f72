-- SPDX-License-Identifier: MIT
--- A stage in one call, by an executor that is made for it and kept.
local config = require "noether.executor.config"
local executor = require "noether.executor.local"
local interface = require "noether.executor.interface"
local options = require "noether.options"
local stages = require "noether.stage.stage"
local memory = require "noether.stage.store.memory"
local sys = require "noether.sys"

local M = {}

-- One executor for all calls of `execute` that ask for the same things of it, in a process and of
-- a user: hosts load scripts as root, and fork and become somebody afterwards, who can neither
-- reach the cache of before nor end what runs there.
local default_executors, owner = {}, nil

local SHARED_OPTIONS = { isolation = true, runtime = true }

local function forget_those_of_another()
  local here = ("%d %d"):format(sys.getpid(), sys.geteuid())
  if owner == here then return end
  local before = default_executors
  default_executors, owner = {}, here
  for _, shared in pairs(before) do
    shared:close()
  end
end

local function default_executor(given)
  forget_those_of_another()
  local key = ("%s %s"):format(given.isolation or "", given.runtime or "")
  local found, err = default_executors[key], nil
  if not found then
    found, err = executor.new{
      isolation = given.isolation, runtime = given.runtime, store = memory.new(),
    }
    default_executors[key] = found
  end
  return found, err
end

local function execute_options()
  local spec = { input = "any" }
  for _, source in ipairs{ stages.FIELDS, config.CALL_OPTIONS } do
    for name, expected in pairs(source) do
      spec[name] = expected
    end
  end
  for name in pairs(SHARED_OPTIONS) do
    spec[name] = config.EXECUTOR_OPTIONS[name]
  end
  return spec
end

--- Run a stage in one call. A default executor is made at the first one and used again,
-- by the process and the user that made it.
-- @tparam ExecuteRequest request `language`, `code`, and if wanted `input`, `effects`, any option
-- of a call (`timeout_secs`, ...), `isolation` and `runtime`
-- @return the stage's answer; nil with an error if there is none. `false` is an answer: test the
-- error
-- @treturn ?Error error
-- @treturn ?Info info what is known of the run, on failure too
-- @raise on an unknown option or a wrong type
-- @usage
-- local output, err, info = noether.execute{
--   language = "python", code = "def execute(input): return input['n'] * 2",
--   input = { n = 21 }, effects = {}, timeout_secs = 5,
-- }
-- if err then error(err) end
-- print(output, info.isolation ~= "none") --> 42 true
function M.execute(request, surplus)
  options.argument("execute", "request", request, "table")
  if surplus ~= nil then
    options.raise("execute: expected one table: options stand beside language and code")
  end
  local given = options.check("execute", request, execute_options())
  local fields, call = {}, {}
  for name in pairs(stages.FIELDS) do
    fields[name] = given[name]
  end
  for name in pairs(config.CALL_OPTIONS) do
    call[name] = given[name]
  end
  local stage, err = stages.new("execute", fields)
  if not stage then return nil, err end
  local shared
  shared, err = default_executor(given)
  if not shared then return nil, err end
  local settings = config.for_call("execute", call, shared.config)
  return interface.run(shared, {
    reference = stage, input = given.input, call = settings, mode = "value",
  })
end

--- What `noether.execute` takes: a stage, its input, options.
-- @table ExecuteRequest
-- @extends Stage, CallOptions
-- @tfield ?any input any JSON value (nil is null)
-- @tfield ?Isolation isolation as of an executor
-- @tfield ?"auto"|"host"|"nix" runtime as of an executor

return M
