-- SPDX-License-Identifier: MIT
--- Runs stages in processes of their own.
--
-- One execution is a task (task.lua) whose work is the list of steps in execution.lua: find the
-- stage, wrap it, put the script on disk; resolve its runtime, describe its sandbox; run; judge.
-- An executor holds what they share: configuration, policies, cache and registered stages. It is
-- read by tasks and changed by nobody, so any number of them can be in flight. Nothing here waits
-- but `wait` and what is built on it (`execute`, `execute_json`, `map`).
local cache = require "noether.cache"
local config = require "noether.config"
local errors = require "noether.error"
local execution = require "noether.execution"
local face = require "noether.face"
local isolation = require "noether.isolation"
local options = require "noether.options"
local policies = require "noether.policies"
local stores = require "noether.store"
local sys = require "noether.sys"
local tables = require "noether.tables"
local task = require "noether.task"

local M = {}

local Executor = face.class()
local metatable = { __name = "noether.executor", __index = Executor }

-- What can never run is refused before there is an executor.
local function check_settings(settings, environ)
  if settings.isolation == "none" and settings.require_isolation then
    return nil, isolation.none_refused()
  end
  return execution.check_runtime(settings, environ)
end

local function open_store(settings, environ)
  if settings.store then return settings.store end
  local dir = environ.NOETHER_STORE
  if dir and dir ~= "" then return stores.open(dir) end
  return stores.memory()
end

-- `shared` is what a rebuilt executor takes over from the one it is made of.
local function build(settings, environ, shared)
  local ok, err = check_settings(settings, environ)
  if not ok then return nil, err end
  local self = {
    config = settings, environ = environ, registered = shared.registered or {},
    policies = shared.policies, tasks = setmetatable({}, { __mode = "k" }),
    log = config.logger(settings),
  }
  if not self.policies then
    self.policies, err = policies.load{ overrides = settings.policy, path = settings.policy_path }
    if not self.policies then return nil, err end
  end
  self.store = shared.store
  if not self.store then self.store, err = open_store(settings, environ) end
  if not self.store then return nil, err end
  for _, warning in ipairs(settings.warnings) do
    self.log("warn", warning)
  end
  return setmetatable(self, metatable)
end

--- Make an executor: what runs stages. It can be used by many tasks at once.
-- @tparam[opt] ExecutorOptions opts the README explains each
-- @treturn ?Executor the executor; or nil and an error (`policy_error`, `store_failed`,
-- `isolation_unavailable`, `runtime_unavailable`)
-- @treturn ?Error error
-- @raise on an unknown option or a wrong value
-- @usage
-- local executor, err = noether.executor{ timeout_secs = 5, isolation = "auto" }
-- if not executor then error(err) end
-- print((executor:execute({ language = "bash", code = "execute() { echo 1; }" }))) --> 1
-- executor:close()
function M.new(opts)
  local environ = sys.environ()
  local settings, err = config.read("executor", opts, environ)
  if not settings then return nil, err end
  return build(settings, environ, {})
end

local function closed()
  return errors.new{ kind = "closed", message = "the executor is closed" }
end

--- A stage may be given by id, by name, or as a table that a store would take.
-- @local
function Executor.reference(_, fname, id)
  if type(id) ~= "table" then return options.argument(fname, "id", id, "text", 3) end -- a tail call
  local stage, err = stores.stage(fname, id, 4)
  return stage, err
end

--- Begin one execution. `mode` is "value", "json", "plan" or "outline".
-- @local
function Executor:begin(reference, input, call, mode, parent)
  if self.closed then return nil, closed() end
  local job = execution.new(self, reference, input, call, mode)
  local started = task.new(function(own) return execution.run(job, own) end, job.info, parent)
  self.tasks[started] = true
  -- As far as it goes without waiting: the process should not wait for the caller to wait.
  started:step()
  return started
end

--- What `execute` would run, without running it: exactly what the launch gets, plain data.
-- @tparam string|Stage id as for `execute`
-- @param input as for `execute`
-- @tparam[opt] PlanOptions opts per-call options, and `resolve = false`: touch no disk, and show
-- the runtime as unresolved
-- @treturn ?Plan the plan; or nil and an error. Values of the caller's `env` are left out, their
-- names are in `secrets`
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor())
-- local stage = { language = "python", code = "def execute(n): return n", effects = {} }
-- local plan = noether.check(executor:plan(stage, 1, { resolve = false }))
-- print(plan.kind, plan.limits.processes, (plan.stdin:gsub("\n", ""))) --> exec 256 1
function Executor:plan(id, input, opts)
  options.method("executor:plan", self)
  local rest, resolve = {}, true
  for name, value in pairs(opts or {}) do
    if name == "resolve" then resolve = value else rest[name] = value end
  end
  options.argument("executor:plan", "resolve", resolve, "boolean")
  local reference, err = self:reference("executor:plan", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:plan", rest)
  local plan
  plan, err = face.run(self, reference, input, call, resolve and "plan" or "outline")
  return plan, err
end

--- @local
function Executor:check_call(fname, opts)
  local call = config.for_call(fname, opts, self.config, 4)
  return call
end

--- The stage of an id or name; a registered one comes before the store's.
-- @local
function Executor:find(id)
  local stage = self.registered[id]
  if stage then return stage end
  local found, err = self.store:get(id)
  if found then return found end
  if errors.is(err) then return nil, err end
  if err == nil then
    return nil, errors.new{ kind = "stage_not_found", message = ("no stage '%s'"):format(id) }
  end
  return nil, errors.new{ kind = "store_failed", message = "store: " .. tostring(err) }
end

--- The stage of what `reference` gave; nil and why there is none.
-- @local
function Executor:stage_of(reference)
  if type(reference) == "table" then return reference end
  return self:find(reference)
end

--- Whether a stage is there that this executor can run.
-- @tparam string id id or name
-- @treturn boolean whether
-- @usage
-- local executor = noether.check(noether.executor())
-- print(executor:has_implementation("nonesuch")) --> false
function Executor:has_implementation(id)
  options.method("executor:has_implementation", self)
  options.argument("executor:has_implementation", "id", id, "text")
  local stage = self:find(id)
  if not stage or type(stage.code) ~= "string" or type(stage.language) ~= "string" then
    return false
  end
  return self.policies:language(stage.language) ~= nil
end

--- Add a stage to this executor, beside its store.
-- @tparam string id any text; it comes before the store's stages
-- @tparam string code defines `execute`
-- @tparam string language "python", "javascript", "bash", or another that a policy gives
-- @tparam ?{string|table,...} effects as in a stage
-- @treturn ?boolean true; or nil and an error (`input_invalid`, `language_unknown`)
-- @treturn ?Error error
-- @raise on a wrong type
-- @usage
-- local executor = noether.check(noether.executor())
-- executor:register_with_effects("answer", "execute() { echo 42; }", "bash", { "Pure" })
-- print((executor:execute("answer"))) --> 42
function Executor:register_with_effects(id, code, language, effects)
  local fname = "executor:register_with_effects"
  options.method(fname, self)
  options.argument(fname, "id", id, "text")
  options.argument(fname, "code", code, "text")
  options.argument(fname, "language", language, "string")
  local known, err = self.policies:language(language)
  if not known then return nil, err end
  local stage
  stage, err = stores.stage(fname, { language = language, code = code, effects = effects })
  if not stage then return nil, err end
  self.registered[id] = stage
  return true
end

--- The configuration as the original has it.
-- @treturn Config a copy
-- @usage
-- local executor = noether.check(noether.executor{ timeout_secs = 5 })
-- print(executor:config_snapshot().timeout_secs) --> 5
function Executor:config_snapshot()
  options.method("executor:config_snapshot", self)
  local snapshot = {}
  for name in pairs(config.CONFIG_OPTIONS) do
    snapshot[name] = self.config[name]
  end
  return snapshot
end

--- A new executor with another configuration and the same store, policies and registered stages.
-- This one stays usable; what is registered later with one is not seen by the other.
-- @tparam Config new the fields of `config_snapshot` to change
-- @treturn ?Executor the executor; or nil and an error (`isolation_unavailable`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor{ timeout_secs = 5 })
-- local patient = noether.check(executor:rebuild_with_config{ timeout_secs = 60 })
-- print(patient:config_snapshot().timeout_secs) --> 60
function Executor:rebuild_with_config(new)
  options.method("executor:rebuild_with_config", self)
  local given = options.check("executor:rebuild_with_config", new, config.CONFIG_OPTIONS)
  return build(tables.merged(self.config, given), self.environ, {
    registered = tables.merged(self.registered), store = self.store, policies = self.policies,
  })
end

--- Find interpreters ahead of the first call, in the background: what it finds is what the calls
-- then use. Each language has `setup_timeout_secs` of its own.
-- @tparam[opt] {string,...} languages names; nil is all there are
-- @tparam[opt] WarmupOptions opts
-- @treturn ?Task a task: its output is `{ [language] = { path, version, reference, kind } }`, with
-- `{ err = error }` for what cannot be had, which is no failure of the whole; or nil and an error
-- @treturn ?Error error
-- @raise on a wrong option; `wait` raises what `on_progress` raised
-- @usage
-- local executor = noether.check(noether.executor{ runtime = "host" })
-- local found = noether.check(executor:warmup({ "bash" }):wait())
-- print(found.bash.kind) --> host
function Executor:warmup(languages, opts)
  options.method("executor:warmup", self)
  if languages ~= nil then
    options.argument("executor:warmup", "languages", languages, "strings")
  end
  local given = options.check("executor:warmup", opts, config.WARMUP_OPTIONS)
  if self.closed then return nil, closed() end
  local call = tables.merged(self.config, { setup_timeout_secs = given.setup_timeout_secs })
  local started = task.new(function(own)
    own:enter("setup")
    return execution.warm(self, languages or self.policies:languages(), own, call,
      given.on_progress)
  end, {})
  self.tasks[started] = true
  started:step()
  return started
end

--- The cache, opened at its first use.
-- @local
function Executor:open_cache()
  if self.cache then return self.cache end
  local opened, err = cache.open(self.config.cache_dir, self.environ)
  if not opened then return nil, err end
  for _, warning in ipairs(opened.warnings) do
    self.log("warn", warning)
  end
  self.cache = opened
  return opened
end

--- The backend that isolates, as chosen for this machine. May yield by `await`.
-- @local
function Executor:choose_isolation(launch, await)
  if self.isolation then return self.isolation end
  local chosen, err = isolation.choose(self.config.isolation, launch, {
    require = self.config.require_isolation, path = self.environ.PATH, await = await,
  })
  if not chosen then return nil, err end
  for _, warning in ipairs(chosen.warnings or {}) do
    self.log("warn", warning)
  end
  self.isolation = chosen
  return chosen
end

--- Give up the executor: tasks in flight are closed, which kills what they run.
-- Calls on it fail with `closed` from then on.
-- @treturn boolean true, however often it is called
-- @usage
-- local executor = noether.check(noether.executor())
-- executor:close()
-- local _, err = executor:execute({ language = "bash", code = "" })
-- print(err.kind) --> closed
function Executor:close()
  if self.closed then return true end
  self.closed = true
  for running in pairs(self.tasks) do
    running:close()
  end
  if self.cache then self.cache:close() end
  return true
end

metatable.__gc = Executor.close
metatable.__close = Executor.close

--- Options of `executor:warmup`.
-- @table WarmupOptions
-- @tfield ?number setup_timeout_secs as of a call, for each language
-- @tfield ?fun(event:Progress) on_progress called when something begins

--- What a warm-up is at.
-- @table Progress
-- @tfield string language
-- @tfield "locking"|"building"|"repairing"|"checking"|"ready"|"failed" state "locking" finds what
-- nixpkgs stands for now
-- @tfield ?string detail what it is about
-- @tfield integer done how many languages are over
-- @tfield integer total

return M
