-- SPDX-License-Identifier: MIT
--- Run a stage - a few lines of Python, JavaScript or Bash - from Lua: JSON in, JSON out, inside a
-- sandbox, under a deadline, and with nothing left behind.
--
-- Misuse raises. What the world refuses is `nil, err`, where `err.kind` is for programs and
-- `tostring(err)` for people.
local budget = require "noether.budget"
local caching = require "noether.caching"
local composite = require "noether.composite"
local config = require "noether.config"
local doctor = require "noether.doctor"
local errors = require "noether.error"
local executor = require "noether.executor"
local face = require "noether.face"
local inline = require "noether.inline"
local inspect = require "noether.inspect"
local json = require "noether.json"
local options = require "noether.options"
local process = require "noether.process"
local prune = require "noether.prune"
local retry = require "noether.retry"
local sets = require "noether.set"
local stores = require "noether.store"
local sys = require "noether.sys"
local trace = require "noether.trace"

local M = {}

--- The version of the library.
M.version = sys.version

--- JSON null, in and out: the null light userdata, equal to `cjson.null`.
M.null = json.null

--- Stores: `memory()` and `open(dir)`.
M.store = { memory = stores.memory, open = stores.open }

--- Make an executor: see `executor.new`.
M.executor = executor.new

--- Make an executor of Lua functions: see `inline.new`.
M.inline = inline.new

--- Make an executor that asks others in turn: see `composite.new`.
M.composite = composite.new

--- Make an executor that tries again what can heal: see `retry.new`.
M.retry = retry.new

--- Make an executor that spends no more than it was given: see `budget.new`.
M.budget = budget.new

--- Make an executor that keeps the answers of pure stages: see `caching.new`.
M.cache = caching.new

--- Runs as a page to look at: `page(records)` and `write(path, records)`.
M.trace = { page = trace.page, write = trace.write }

--- Run a program and wait for its result: see `process.run`.
M.run = process.run

--- Start a program: see `process.spawn`.
M.spawn = process.spawn

--- Wait for the first of several processes and tasks: see `set.wait_any`.
M.wait_any = sets.wait_any

--- Make a set of processes and tasks to wait for: see `set.new`.
M.set = sets.new

--- Seconds on the monotonic clock.
M.clock = sys.clock

--- SHA-256 of a string, in hexadecimal.
M.sha256 = sys.sha256

--- Mark a table as a JSON array, so that an empty one is written `[]`.
M.array = json.array

--- Any value as text for people.
M.inspect = inspect.inspect

--- What works on this machine, what does not, and what to do about it: see `doctor.examine`.
M.doctor = doctor.examine

--- Take out of the cache what nobody has used for long: see `prune.prune`.
M.prune = prune.prune

--- Whether a value is an error of this library.
M.is_error = errors.is

--- Give the output or raise the error: `local out = noether.check(ex:execute(id, input))`.
-- @param output of a call that gives an output and an error
-- @param err of it
-- @param ... what came after
-- @return the output
-- @return the error, which is nil
-- @raise err, if there is one
-- @usage
-- local store = noether.store.memory()
-- print(pcall(function() return noether.check(store:get("nonesuch")) end))
-- --> false no stage 'nonesuch' in the store
function M.check(output, err, ...)
  if err ~= nil then error(err, 0) end
  return output, err, ...
end

-- One executor for all calls of `execute` that ask for the same things of it.
local default_executors = {}

local SHARED_OPTIONS = { isolation = true, runtime = true }

local function default_executor(given)
  local key = ("%s %s"):format(given.isolation or "", given.runtime or "")
  local found, err = default_executors[key], nil
  if not found then
    found, err = executor.new{
      isolation = given.isolation, runtime = given.runtime, store = stores.memory(),
    }
    default_executors[key] = found
  end
  return found, err
end

local STAGE_FIELDS = { language = "string", code = "text", effects = "any", name = "string" }

local function execute_options()
  local spec = { input = "any" }
  for _, source in ipairs{ STAGE_FIELDS, config.CALL_OPTIONS } do
    for name, expected in pairs(source) do
      spec[name] = expected
    end
  end
  for name in pairs(SHARED_OPTIONS) do
    spec[name] = config.EXECUTOR_OPTIONS[name]
  end
  return spec
end

--- Run a stage in one call. A default executor is made at the first one and used again.
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
    error("execute: expected one table: options stand beside language and code", 2)
  end
  local given = options.check("execute", request, execute_options())
  local fields, call = {}, {}
  for name in pairs(STAGE_FIELDS) do
    fields[name] = given[name]
  end
  for name in pairs(config.CALL_OPTIONS) do
    call[name] = given[name]
  end
  local stage, err = stores.stage("execute", fields)
  if not stage then return nil, err end
  local shared
  shared, err = default_executor(given)
  if not shared then return nil, err end
  local settings = config.for_call("execute", call, shared.config)
  return face.run(shared, stage, given.input, settings, "value")
end

--- What `noether.execute` takes: a stage, its input, options.
-- @table ExecuteRequest
-- @extends Stage, CallOptions
-- @tfield ?any input any JSON value (nil is null)
-- @tfield ?Isolation isolation as of an executor
-- @tfield ?"auto"|"host"|"nix" runtime as of an executor

return M
