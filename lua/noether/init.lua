-- SPDX-License-Identifier: MIT
--- Run a stage - a few lines of Python, JavaScript or Bash - from Lua: JSON in, JSON out, inside a
-- sandbox, under a deadline, and with nothing left behind.
--
-- Misuse raises. What the world refuses is `nil, err`, where `err.kind` is for programs and
-- `tostring(err)` for people.
--
-- A module is loaded when something of it is first used; `preload` loads them all.
local json = require "noether.json"
local later = require "noether.later"
local sys = require "noether.sys"

local answers = later.module "noether.executor.answers"
local budget = later.module "noether.executor.budget"
local command = later.module "noether.command"
local composite = later.module "noether.executor.composite"
local default = later.module "noether.executor.default"
local directory = later.module "noether.stage.store.directory"
local doctor = later.module "noether.report.doctor"
local errors = later.module "noether.error"
local executor = later.module "noether.executor.local"
local functions = later.module "noether.stage.functions"
local inline = later.module "noether.executor.inline"
local inspect = later.module "noether.inspect"
local client = later.module "noether.mcp.client"
local mcp = later.module "noether.mcp.server"
local memory = later.module "noether.stage.store.memory"
local prune = later.module "noether.cache.prune"
local remote = later.module "noether.fleet.remote"
local retry = later.module "noether.executor.retry"
local sets = later.module "noether.set"
local trace = later.module "noether.report.trace"
local worker = later.module "noether.fleet.worker"

local M = {}

--- The version of the library.
M.version = sys.version

--- JSON null, in and out: the null light userdata, equal to `cjson.null`.
M.null = json.null

--- Stores: `memory()` and `open(dir)`.
M.store = { memory = memory.new, open = directory.open }

--- Run a stage in one call: see `default.execute`.
M.execute = default.execute

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

--- Make an executor that keeps the answers of pure stages: see `answers.new`.
M.cache = answers.new

--- Make an executor whose stages run on other machines: see `remote.new`.
M.remote = remote.new

--- Make what runs stages for others: see `worker.new`.
M.worker = worker.new

--- Runs as a page to look at: `page(records)` and `write(path, records)`.
M.trace = { page = trace.page, write = trace.write }

--- Stages and functions as tools of a model: `serve(options)`; and tools of a server as functions
-- of stages: `functions(argv, options)`.
M.mcp = { serve = mcp.serve, functions = client.functions }

--- What to tell a model of functions that its code may call: see `functions.prompt`.
M.functions_prompt = functions.prompt

--- Run a program and wait for its result: see `command.run`.
M.run = command.run

--- Start a program: see `command.spawn`.
M.spawn = command.spawn

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

--- Load all that is otherwise loaded when it is first used, for programs that later change their
-- root, their directory or their user, or that fork.
-- @usage
-- noether.preload() -- and then chroot, setuid, fork
-- print(type(package.loaded["noether.executor.local"])) --> table
function M.preload()
  later.load(M)
  require "noether.nix_executor"
  require("noether.overrides.policies").load()
  require("noether.stage.languages").canonical("") -- asks each for its names
  M.trace.page{}
end

return later.load_on_use(M)
