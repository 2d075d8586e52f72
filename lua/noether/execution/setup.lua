-- SPDX-License-Identifier: MIT
--- Steps of an execution between script and launch: the runtime and the sandbox.
-- They may run programs (probes, builds), on a deadline of their own.
local cache = require "noether.cache"
local compat = require "noether.compat"
local effects = require "noether.effects"
local environment = require "noether.environment"
local errors = require "noether.error"
local guard = require "noether.policies.guard"
local isolation = require "noether.isolation"
local packages = require "noether.execution.packages"
local policy = require "noether.policy.isolation"
local runtimes = require "noether.execution.runtime"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

-- How often a lock that somebody else holds is tried again.
local LOCK_SECS = 0.01

local function fail(kind, message, hint)
  return nil, errors.new{ kind = kind, message = message, hint = hint }
end

-- Waits for the exclusive lock of a file, which is given back when the task is over, if not before.
local function wait_for_lock(path, task, is_late)
  local handle, message, errno = sys.lock(path, { wait = false })
  while errno == "EAGAIN" and not is_late() do
    if task.is_cancelled then return fail("cancelled", "the task was cancelled") end
    task:pause(LOCK_SECS)
    handle, message, errno = sys.lock(path, { wait = false })
  end
  if handle then return task:hold(handle) end
  return nil, cache.failure(message, errno)
end

-- Setup has a deadline of its own. Whatever is launched during it gets no more than what is left.
local function setup_context(job, task)
  local deadline = sys.clock() + job.call.setup_timeout_secs
  local environ = job.executor.environ
  local function is_late() return sys.clock() >= deadline end
  return {
    path = environ.PATH, environ = environ, policies = job.executor.policies,
    nixpkgs = job.call.nixpkgs, lock_file = job.call.lock_file,
    -- What packages are installed for is an interpreter, not nix.
    nix_launch = not job.requirements and job.call.launch or nil,
    progress = job.progress, is_late = is_late,
    open_cache = function() return job.executor:open_cache() end,
    hold = function(handle) return task:hold(handle) end,
    lock = function(path) return wait_for_lock(path, task, is_late) end,
    await = function(proc) return task:await(proc) end,
    launch = function(argv, opts)
      local left = math.max(deadline - sys.clock(), 0.001)
      return task:launch(argv, tables.merged(opts, {
        timeout_secs = math.min(opts.timeout_secs or math.huge, left),
      }))
    end,
  }
end

--- Resolve a language, on the setup's own deadline. Runs within a task.
-- @tparam table job `executor`, `call`, and for a stage's packages `stage` and `requirements`;
-- `progress(state, detail)` if somebody wants to know
-- @tparam table language
-- @tparam table task
-- @treturn ?table the runtime; or nil and an error
-- @treturn ?table
function M.resolve(job, language, task)
  local context = setup_context(job, task)
  local runtime, err = runtimes.resolve(job, language, context)
  if runtime or not context.is_late() then return runtime, err end
  local late = errors.new{
    kind = "setup_timed_out", limit = job.call.setup_timeout_secs, cause = err,
    message = ("setting up the %s runtime took longer than %g s"):format(
      language.name, job.call.setup_timeout_secs),
    hint = "raise setup_timeout_secs, or warm the executor up first",
  }
  return nil, late
end

local function resolve_runtime(job, task)
  local runtime, err = M.resolve(job, job.language, task)
  if not runtime then return nil, err end
  for _, warning in ipairs(runtime.warnings or {}) do
    task:warn(warning)
  end
  job.runtime = runtime
  return true
end

local function choose_isolation(job, task)
  local context = setup_context(job, task)
  local chosen, err = job.executor:choose_isolation(context.launch, context.await)
  if not chosen then return nil, err end
  for _, warning in ipairs(chosen.warnings or {}) do
    task:warn(warning)
  end
  job.backend, job.chosen = chosen.backend, chosen
  return true
end

local function install_packages(job, task)
  if not job.requirements then return true end
  task:enter("setup", "install")
  local ok, err = packages.install(job, task, setup_context(job, task))
  task:enter("setup", "set-up")
  return ok, err
end

-- A path that a stage declares and that is not there is the stage's mistake, not the sandbox's.
local function check_declared_paths(job)
  if job.backend == "none" then return true end
  for _, effect in ipairs(job.effects.list) do
    local found, message = true, nil
    if effect.path then found, message = sys.stat(effect.path, true) end
    if not found then
      return fail("input_invalid", ("effect %s: %s"):format(effects.format(effect), message),
        "make it before the stage runs")
    end
  end
  return true
end

--- Ask the isolation policy for a description, and check it.
-- @tparam table job
-- @tparam ?function realpath nil: do not touch the disk
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.describe(job, realpath)
  local called, description = job.policies:call("isolation", "describe", job.effects, job.runtime, {
    files_dir = job.files_dir, limits = job.call.limits, grants = job.call.grants,
    backend = job.backend, environ = job.executor.environ,
  })
  if not called then return nil, description end
  local ok, err = guard.check(description, {
    effects = job.effects, grants = job.call.grants, cache_dir = job.cache_dir,
    own_paths = { job.files_dir, job.runtime.own_dir }, realpath = realpath,
  })
  if not ok then return nil, err end
  job.description = tables.merged(description)
  return true
end

local function describe_sandbox(job)
  local ok, err = M.describe(job, sys.realpath)
  if not ok then return nil, err end
  job.description.ro_binds = isolation.present(job.description.ro_binds)
  job.description.rw_binds = isolation.present(job.description.rw_binds)
  return true
end

-- The caller's own directory as the stage's working directory.
local function bind_work_dir(job)
  local dir = job.call.work_dir
  if not dir then return true end
  local real, message = sys.realpath(dir)
  local stat = real and sys.stat(real)
  if stat and stat.type ~= "directory" then message = real .. " is not a directory" end
  if not stat or stat.type ~= "directory" then
    return fail("input_invalid", "work_dir: " .. message)
  end
  job.work_dir = real
  if job.backend == "none" then return true end
  local target = job.description.work_dir or policy.work_dir
  if job.backend == "landlock" then
    target, job.description.work_dir = real, real
  end
  local binds = { { source = real, target = target } }
  local ok, err = guard.check({ ro_binds = binds }, {
    effects = job.effects, grants = {}, cache_dir = job.cache_dir, own_paths = {},
    realpath = sys.realpath,
  })
  if not ok then return fail("input_invalid", "work_dir: " .. err.message) end
  table.insert(job.description.rw_binds, binds[1])
  return true
end

function M.command(job)
  local called, argv = job.policies:call(job.module, "argv", job.runtime,
    policy.script_dir(job) .. "/" .. job.script.entry)
  if not called then return nil, argv end
  job.argv = argv
  if not job.runtime.prefix then return true end
  job.argv = {}
  for _, list in ipairs{ job.runtime.prefix, { compat.unpack(argv, 2) } } do
    for _, argument in ipairs(list) do
      job.argv[#job.argv + 1] = argument
    end
  end
  return true
end

function M.make_environment(job)
  local own = {}
  if job.policies:has(job.module, "env") then
    local called
    called, own = job.policies:call(job.module, "env", job.runtime, {
      processes = job.effects.process,
    })
    if not called then return nil, own end
  end
  job.public_env = environment.public(job.executor.environ, job.description.env_allowlist, {
    isolated = not policy.sees_host_paths(job.backend), runtime = job.runtime,
    language = tables.merged(job.runtime.variables, own),
  })
  return true
end

function M.runtime_summary(runtime)
  return {
    kind = runtime.kind, language = runtime.language, path = runtime.path,
    version = runtime.version, reference = runtime.reference, store_path = runtime.store_path,
    packages = runtime.packages, nix = runtime.nix,
  }
end

local function trace(job)
  local info = job.info
  info.runtime = M.runtime_summary(job.runtime)
  local names, lines = tables.sorted_names(job.script.files), {}
  for index, name in ipairs(names) do
    lines[index] = name .. " " .. sys.sha256(job.script.files[name])
  end
  info.provenance = {
    stage = job.stage.id, code = sys.sha256(job.stage.code),
    script = sys.sha256(table.concat(lines, "\n")), input = sys.sha256(job.stdin),
    runtime = sys.sha256(table.concat({
      job.runtime.reference, job.runtime.version, job.runtime.store_path,
    }, " ")),
    packages = job.runtime.contents,
  }
  return true
end

local function enter_setup(_, task)
  task:enter("setup", "resolve")
  return true
end

local function leave_resolve(_, task)
  task:enter("setup", "set-up")
  return true
end

--- The steps, in order.
M.STEPS = {
  enter_setup, packages.check, resolve_runtime, leave_resolve, choose_isolation, install_packages,
  check_declared_paths, describe_sandbox, bind_work_dir, M.command, M.make_environment, trace,
}

return M
