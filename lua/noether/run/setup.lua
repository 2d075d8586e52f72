-- SPDX-License-Identifier: MIT
--- Steps of an execution between script and launch: the runtime and the sandbox.
-- They may run programs (probes, builds), on a deadline of their own.
local cache = require "noether.cache.scripts"
local compat = require "noether.compat"
local compile = require "noether.run.compile"
local descriptions = require "noether.sandbox.description"
local effects = require "noether.stage.effects"
local environment = require "noether.sandbox.environment"
local errors = require "noether.error"
local files = require "noether.run.files"
local guard = require "noether.sandbox.guard"
local hosts = require "noether.hosts"
local outputs = require "noether.run.outputs"
local packages = require "noether.runtime.requirements"
local probe = require "noether.probe"
local runtimes = require "noether.runtime.choose"
local resolve = require "noether.sandbox.resolve"
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
    progress = job.progress, is_late = is_late, is_fresh = job.is_warmup,
    open_cache = function() return job.executor:open_cache() end,
    hold = function(handle) return task:hold(handle) end,
    lock = function(path) return wait_for_lock(path, task, is_late) end,
    await = function(proc) return task:await(proc) end,
    launch = function(argv, opts)
      local left = math.max(deadline - sys.clock(), 0.001)
      return task:launch(argv, tables.merged(opts, {
        timeout_secs = math.min(opts.timeout_secs or math.huge, left),
        launcher = job.call.launcher,
      }))
    end,
  }
end

local function too_late(job, what, err)
  return errors.new{
    kind = "setup_timed_out", limit = job.call.setup_timeout_secs, cause = err,
    message = ("%s took longer than %g s"):format(what, job.call.setup_timeout_secs),
    hint = "raise setup_timeout_secs, or warm the executor up first",
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
  return nil, too_late(job, ("setting up the %s runtime"):format(language.name), err)
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
  if probe.is_late(err) and context.is_late() then
    err = too_late(job, "trying the sandbox", err)
  end
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

local function make_lock(job, task)
  task:enter("setup", "install")
  return packages.make_lock(job, task, setup_context(job, task))
end

local function compile_code(job, task)
  return compile.compile(job, task, setup_context(job, task))
end

-- The real paths that stages of this executor were let write to. Whoever can write to a directory
-- can leave a link there, which would lead what others declare to where they do not.
local function written(job)
  job.executor.written = job.executor.written or {}
  return job.executor.written
end

local function resolver(job)
  return function(path) return resolve.resolve(path, written(job)) end
end

-- A path that a stage declares and that is not there is the stage's mistake, not the sandbox's.
local function check_declared_paths(job)
  if job.backend == "none" then return true end
  for _, effect in ipairs(job.effects.list) do
    local found, message, errno = true, nil, nil
    if effect.path then found, message, errno = resolve.resolve(effect.path, written(job)) end
    if not found then
      return fail("input_invalid", ("effect %s: %s"):format(effects.format(effect), message),
        errno == "ELOOP" and "name what the link leads to, if that is what is meant"
          or "make it before the stage runs")
    end
  end
  return true
end

-- Those that a sandbox knows of: calls are counted by us.
local function process_limits(limits)
  local own = {}
  for name in pairs(descriptions.LIMITS) do
    own[name] = limits[name]
  end
  return own
end

-- From now on what is in there is as a stage of this executor wants it.
local function note_written(job, path)
  written(job)[path] = true
end

-- What a list of hosts needs is a network of the sandbox's own: without, it would be a word.
local function check_hosts(job)
  if descriptions.holds_hosts(job.backend) then return true end
  if job.call.learn then
    return fail("isolation_unavailable", ("isolation \"%s\" cannot see what a stage lacks"):format(
      job.backend), "native and bwrap can: `noether doctor` says what keeps them from working here")
  end
  if not job.effects.hosts then return true end
  return fail("isolation_unavailable", ("isolation \"%s\" cannot hold a list of hosts: %s"):format(
    job.backend, effects.format{ effect = "Network", hosts = job.effects.hosts }),
    "native and bwrap can: `noether doctor` says what keeps them from working here; or declare "
      .. "Network alone, if all of it is meant")
end

-- Of a description that a policy or a grant has made ask.
local function check_judge(job, description)
  local asked = description.hosts and hosts.asked(description.hosts)
  if not asked or job.call.on_network then return true end
  return fail("policy_error", ("policy isolation: describe: %s asks the function on_network, and "
    .. "none is given"):format(asked))
end

-- Whatever a policy opens, a network that is learnt of has doors: what is not listed is seen, and
-- does not lead out.
local function watch(description)
  description.hosts = description.network == "list" and description.hosts or {}
  description.network, description.learn, description.loopback = "list", true, nil
end

--- Ask the isolation policy for a description, and check it.
-- @tparam table job
-- @tparam ?function realpath nil: do not touch the disk
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.describe(job, realpath)
  local able, unable = check_hosts(job)
  if not able then return nil, unable end
  local called, description = job.policies:call("isolation", "describe", job.effects, job.runtime, {
    files_dir = job.files_dir, limits = process_limits(job.call.limits), grants = job.call.grants,
    backend = job.backend, in_place = descriptions.sees_host_paths(job.backend),
    environ = job.executor.environ,
  })
  if not called then return nil, description end
  local judged, err = guard.check(description, {
    effects = job.effects, grants = job.call.grants, cache_dir = job.cache_dir,
    own_paths = { job.files_dir, job.runtime.own_dir }, realpath = realpath,
  })
  if judged then able, err = check_judge(job, judged) end
  if not judged or not able then return nil, err end
  if not job.call.loopback and judged.network == "none" then judged.loopback = false end
  job.description = descriptions.completed(judged, job.backend)
  if job.call.learn then watch(job.description) end
  job.script_dir = descriptions.place_of(description, job.backend, job.files_dir)
  if job.script_dir then return true end
  return fail("policy_error", "policy isolation: describe: no bind of ro_binds shows the stage's "
    .. "script", "opts.files_dir is the directory of the script: bind it")
end

local function describe_sandbox(job)
  local ok, err = M.describe(job, resolver(job))
  if not ok then return nil, err end
  job.description.ro_binds = descriptions.present(job.description.ro_binds)
  job.description.rw_binds = descriptions.present(job.description.rw_binds)
  for _, bind in ipairs(job.description.rw_binds) do
    note_written(job, bind.source)
  end
  return true
end

-- The caller's own directory as the stage's working directory.
local function bind_work_dir(job)
  local dir = job.call.work_dir
  if not dir then return true end
  if dir:sub(1, 1) ~= "/" then dir = (sys.realpath(".") or "") .. "/" .. dir end
  local real, message = resolve.resolve(dir, written(job))
  local stat = real and sys.stat(real)
  if stat and stat.type ~= "directory" then message = real .. " is not a directory" end
  if not stat or stat.type ~= "directory" then
    return fail("input_invalid", "work_dir: " .. message)
  end
  job.work_dir = real
  if job.backend == "none" then return true end
  if descriptions.sees_host_paths(job.backend) then job.description.work_dir = real end
  local binds = { { source = real, target = job.description.work_dir } }
  local judged, err = guard.check({ ro_binds = binds }, {
    effects = job.effects, grants = {}, cache_dir = job.cache_dir, own_paths = {},
    realpath = resolver(job),
  })
  if not judged then return fail("input_invalid", "work_dir: " .. err.message) end
  table.insert(job.description.rw_binds, judged.ro_binds[1])
  note_written(job, real)
  return true
end

-- What a language's policy is told of the run: an interpreter cannot see a control group, and sizes
-- its heap by the machine.
local function facts_of_run(job)
  return {
    processes = job.effects.process, limits = tables.merged(job.description.limits),
    outputs = job.call.outputs ~= nil or job.mode == "session", session = job.mode == "session",
  }
end

function M.command(job)
  local called, argv = job.policies:call(job.module, "argv", job.runtime,
    job.script_dir .. "/" .. job.script.entry, facts_of_run(job))
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
    called, own = job.policies:call(job.module, "env", job.runtime, facts_of_run(job))
    if not called then return nil, own end
  end
  job.public_env = environment.public(job.executor.environ, job.description.env_allowlist, {
    home = descriptions.home_of(job.description, job.backend), runtime = job.runtime,
    language = tables.merged(job.runtime.variables, own),
  })
  return true
end

function M.runtime_summary(runtime)
  return {
    kind = runtime.kind, language = runtime.language, path = runtime.path,
    version = runtime.version, reference = runtime.reference, store_path = runtime.store_path,
    packages = runtime.packages, nix = runtime.nix, compiler = runtime.compiler,
  }
end

local function trace(job)
  local info = job.info
  info.runtime = M.runtime_summary(job.runtime)
  local names, lines = tables.sorted_names(job.script.files), {}
  for index, name in ipairs(names) do
    lines[index] = name .. " " .. cache.hash(name, job.script.files[name])
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
  enter_setup, packages.check, resolve_runtime, packages.check_python, leave_resolve,
  choose_isolation, install_packages, compile_code, check_declared_paths, describe_sandbox,
  bind_work_dir, files.place, outputs.open_target, M.command, M.make_environment, trace,
}

--- Those to a lock of what a stage requires.
M.LOCK_STEPS = {
  enter_setup, packages.check, resolve_runtime, packages.check_python, choose_isolation, make_lock,
}

return M
