-- SPDX-License-Identifier: MIT
--- Runs stages in processes of their own.
--
-- One execution is a task (task.lua) whose work is the list of steps in execution.lua: find the
-- stage, wrap it, put the script on disk; resolve its runtime, describe its sandbox; run; judge.
-- An executor holds what they share: configuration, policies, cache and registered stages. It is
-- read by tasks and changed by nobody, so any number of them can be in flight. Nothing here waits
-- but `wait` and what is built on it (`execute`, `execute_json`, `map`).
local cache = require "noether.cache.scripts"
local config = require "noether.executor.config"
local errors = require "noether.error"
local execution = require "noether.run.steps"
local findings = require "noether.cache.found"
local interface = require "noether.executor.interface"
local isolation = require "noether.isolation"
local options = require "noether.options"
local policies = require "noether.overrides.policies"
local pools = require "noether.warm.pools"
local warm = require "noether.warm.settings"
local process = require "noether.process"
local sessions = require "noether.executor.session"
local stages = require "noether.stage.stage"
local directory = require "noether.stage.store.directory"
local memory = require "noether.stage.store.memory"
local sys = require "noether.sys"
local tables = require "noether.tables"
local task = require "noether.run.task"
local verdict = require "noether.run.verdict"

local M = {}

local Executor = interface.class()
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
  if dir and dir ~= "" then return directory.open(dir) end
  return memory.new()
end

-- `shared` is what a rebuilt executor takes over from the one it is made of.
local function build(settings, environ, shared)
  local ok, err = check_settings(settings, environ)
  if not ok then return nil, err end
  local self = {
    config = settings, environ = environ, registered = shared.registered or {},
    policies = shared.policies, tasks = setmetatable({}, { __mode = "k" }),
    sessions = setmetatable({}, { __mode = "k" }), log = config.logger(settings),
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
-- @tparam[opt] ExecutorOptions opts docs/reference.md explains each
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
  if type(id) ~= "table" then return options.argument(fname, "id", id, "text") end
  return stages.new(fname, id)
end

-- A sandbox that worked when it was tried, and could not be made just now, is tried anew by the
-- next call: this machine may have changed.
local function doubt_isolation(self)
  self.isolation = nil
  isolation.forget(self.cache and findings.of(self.cache))
end

local function perform(self, job, own)
  local output, err = execution.run(job, own)
  if err and err.kind == "sandbox_failed" and not errors.is_shortage(err) then
    doubt_isolation(self)
  end
  return output, err
end

--- Begin one execution.
-- @local
function Executor:begin(request)
  if self.closed then return nil, closed() end
  local job = execution.new(self, request)
  local started = task.new(function(own) return perform(self, job, own) end, job.info,
    request.parent)
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
  return interface.plan(self, id, input, opts)
end

--- The lock of the packages that a stage names: what would be installed now, each file with its
-- hash, as the option `lock` of a call takes it. Of Python it is a pylock.toml (PEP 751) with what
-- fits this machine, and names and ranges of versions will do in the stage; of JavaScript and
-- TypeScript a package-lock.json. The stage does not run, and no package's code does.
-- @tparam string|Stage id as for `execute`
-- @tparam[opt] CallOptions opts options of this call
-- @treturn ?string its text; or nil and an error (`input_invalid`: it names none,
-- `packages_failed`, `package_rejected`, `setup_timed_out`, `runtime_unavailable`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor())
-- local _, err = executor:lock{ language = "python", code = "def execute(n): return n" }
-- print(err.kind) --> input_invalid
function Executor:lock(id, opts)
  options.method("executor:lock", self)
  if opts and opts.lock ~= nil then options.raise("executor:lock: there is a lock already") end
  local reference, err = self:reference("executor:lock", id)
  if not reference then return nil, err end
  local text
  text, err = interface.run(self, {
    reference = reference, call = self:check_call("executor:lock", opts), mode = "lock",
  })
  return text, err
end

--- @local
function Executor:decode(_, text)
  return verdict.decode(text, self.config.big_integers)
end

--- @local
function Executor:check_call(fname, opts)
  return config.for_call(fname, opts, self.config)
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
  stage, err = stages.new(fname, { language = language, code = code, effects = effects })
  if not stage then return nil, err end
  self.registered[id] = stage
  return true
end

--- Make a session: one sandbox with an interpreter that stays, for cells of code that build on one
-- another. docs/sessions.md is about them. Executors of another kind have none, and raise.
-- @tparam SessionOptions opts at least `language`
-- @treturn ?Session the session, which begins to start; or nil and an error (`closed`,
-- `language_unknown`, `input_invalid`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor())
-- local session = noether.check(executor:session{ language = "python", effects = {} })
-- session:run("import math")
-- print((session:run("math.factorial(5)"))) --> 120
-- session:close()
function Executor:session(opts)
  options.method("executor:session", self)
  if self.closed then return nil, closed() end
  local session, err = sessions.new(self, opts)
  if session then self.sessions[session] = true end
  return session, err
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
-- then use; and with `spares` have processes wait for them. Each language has `setup_timeout_secs`
-- of its own.
-- @tparam[opt] {string,...} languages names; nil is all there are
-- @tparam[opt] WarmupOptions opts
-- @treturn ?Task a task: its output is `{ [language] = { path, version, reference, kind } }`
-- (and `spares`, how many wait), with
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
  if given.spares and not self.config.warm then
    options.raise("executor:warmup: option 'spares': the executor keeps none (its option 'warm')")
  end
  local call = tables.merged(self.config, {
    setup_timeout_secs = given.setup_timeout_secs, spares_wanted = given.spares,
  })
  local started = task.new(function(own)
    own:enter("setup")
    return execution.warm(self, languages or self.policies:languages(), own, call,
      given.on_progress, given.fresh ~= false)
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
  process.keep_supervisor_in(function() return opened.dir end)
  return opened
end

--- The pool for a run; nil where nothing is kept ready for it.
-- @local
function Executor:pools_for(job)
  if self.closed then return nil end
  local own = job.call.pools
  if not own then
    self.pools_open = self.pools_open or pools.new()
    own = self.pools_open
  end
  job.pools = own
  return own:pool_of(job)
end

--- Many calls of one stage are forked, where they can be, by what ends with the last of them.
-- @local
function Executor:prepare_for_many(call, jobs)
  if self.closed or call.warm ~= nil then return nil end
  local own = pools.new()
  return {
    options = { warm = warm.of_many(jobs), pools = own }, close = function() own:close() end,
  }
end

--- Have processes wait for such a run: `job.call.spares_wanted` of them.
-- @local
function Executor:make_ready(job, own, is_late)
  if self.closed then return nil, closed() end
  self.pools_open = self.pools_open or pools.new()
  return self.pools_open:fill(job, job.call.spares_wanted, own, is_late)
end

--- What is kept ready for calls to come (the option `warm`).
-- @treturn {Pool,...} most recently used first
-- @usage
-- local executor = noether.check(noether.executor{ warm = true })
-- executor:execute({ language = "bash", code = "execute() { echo 1; }" })
-- print(executor:pools()[1].language) --> bash
-- executor:close()
function Executor:pools()
  options.method("executor:pools", self)
  if self.closed or not self.pools_open then return {} end
  return self.pools_open:list()
end

--- The backend that isolates, as chosen for this machine. May yield by `await`.
-- @local
function Executor:choose_isolation(launch, await)
  if self.isolation then return self.isolation end
  local chosen, err = isolation.choose(self.config.isolation, launch, {
    require = self.config.require_isolation, path = self.environ.PATH, await = await,
    found = self.cache and findings.of(self.cache),
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
  for session in pairs(self.sessions) do
    session:close()
  end
  if self.pools_open then self.pools_open:close() end
  if self.cache then self.cache:close() end
  return true
end

metatable.__gc = Executor.close
metatable.__close = Executor.close

--- What is kept ready for the calls of one shape. Plain data.
-- @table Pool
-- @tfield string language
-- @tfield Isolation isolation
-- @tfield {string,...} imports what its processes have imported
-- @tfield integer spares how many processes wait
-- @tfield integer ready how many of them have done all that can be done ahead
-- @tfield integer served how many calls were served by them
-- @tfield number idle_secs how long ago the last call was
-- @tfield number bytes what they may hold together: as much as the smallest of their runs did
-- @tfield ?{[string]=string} failed_imports why something could not be imported
-- @tfield ?"starting"|"proving"|"serving" fork_server what copies are made of, if there is any
-- @tfield ?string no_fork_server why there is none
-- @tfield ?string problem what went wrong last

--- Options of `executor:warmup`.
-- @table WarmupOptions
-- @tfield ?number setup_timeout_secs as of a call, for each language
-- @tfield ?integer spares of a warm executor: how many processes (0: none, but for what makes
-- copies) of each language are to wait for
-- stages that declare no effects and want no packages; the task is over when they are ready
-- @tfield ?fun(event:Progress) on_progress called when something begins
-- @tfield ?boolean fresh false: what is known of an interpreter is believed, as a call believes it

--- What a warm-up is at.
-- @table Progress
-- @tfield string language
-- @tfield "locking"|"building"|"repairing"|"checking"|"ready"|"failed" state "locking" finds what
-- nixpkgs stands for now
-- @tfield ?string detail what it is about
-- @tfield integer done how many languages are over
-- @tfield integer total

return M
