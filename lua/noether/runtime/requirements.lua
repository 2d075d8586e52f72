-- SPDX-License-Identifier: MIT
--- The packages that a stage names: in Python `# requires: name==version, ...`, or a block of PEP
-- 723, and the Python that such a block asks for; in JavaScript and TypeScript
-- `// requires: name@version, ...`. Or the call's option `packages`, in the place of what the code
-- says.
local errors = require "noether.error"
local npm = require "noether.runtime.npm"
local pylock = require "noether.runtime.pylock"
local venv = require "noether.runtime.venv"

local M = {}

-- By the policy that judges what a language's stages require, which is the name of the executor's
-- option for it, too: what installs it, and how an entry is written.
local INSTALLERS = {
  pip = { resolve = venv.resolve, lock = venv.lock, form = "name==version" },
  npm = { resolve = npm.resolve, form = "name@version" },
}

local function rejected(list, form)
  local lines = {}
  for index, item in ipairs(list) do
    lines[index] = ("'%s' (%s)"):format(errors.clean(item.spec, 80), item.reason)
  end
  return nil, errors.new{
    kind = "package_rejected", message = "packages refused: " .. table.concat(lines, "; "),
    hint = ("write %s; what is allowed is the policy's to say"):format(form or "name==version"),
  }
end

local function warn_of_unfinished(job, task)
  local called, first, stop = job.policies:call("script", "unfinished", job.stage.code)
  if not called or not first then return end
  task:warn(("line %d begins a block '# /// script' that has no end before line %d, and so is none:"
    .. " it ends with a line '# ///', and all between begin with '# '"):format(first, stop))
end

-- What the code's block says, or nothing.
local function read_block(job, task)
  local called, said, reason = job.policies:call("script", "metadata", job.stage.code)
  if not called then return nil, said end
  if said == nil and reason then return rejected{ { spec = "# /// script", reason = reason } } end
  if said == nil then warn_of_unfinished(job, task) end
  said = said or {}
  job.requires_python = said.requires_python
  return said
end

--- The step that holds the interpreter that was found against what the code asks for.
-- @tparam table job with `runtime`
-- @treturn ?boolean true; or nil and an error (`runtime_unavailable`, `policy_error`)
-- @treturn ?table
function M.check_python(job)
  local wanted, version = job.requires_python, job.runtime.version
  if not wanted or not version then return true end
  local called, fits = job.policies:call("script", "satisfies", wanted, version)
  if not called then return nil, fits end
  if fits then return true end
  return nil, errors.new{
    kind = "runtime_unavailable",
    message = ("the stage asks for Python %s, and %s is %s"):format(wanted, job.runtime.path,
      version),
    hint = "install one that fits and put it first on PATH, or change requires-python",
  }
end

-- What the code says beside its comments.
local function declared_by(job, task)
  if job.call.packages then return { dependencies = job.call.packages } end
  if job.language.requires ~= "pip" then return {} end
  return read_block(job, task)
end

local function no_packages(job)
  local option = job.call.packages and "packages" or job.call.lock and "lock"
  if not option and job.mode ~= "lock" then return true end
  return nil, errors.new{
    kind = "input_invalid",
    message = ("%s: %s stages have no packages"):format(option or "lock", job.language.name),
    hint = "python, javascript and typescript have",
  }
end

-- --- Locks ---------------------------------------------------------------------------------------

-- The packages of a lock by the names that an index compares; nil and an error, if the policy does
-- not allow one.
local function by_name(job, packages)
  local found, refused = {}, {}
  for _, package in ipairs(packages) do
    local spec = package.name .. "==" .. package.version
    local called, ok, reason = job.policies:call("pip", "check", spec, {})
    if not called then return nil, ok end
    local name
    called, name = job.policies:call("pip", "wanted", spec)
    if not called then return nil, name end
    if ok and found[name] and not (package.marker and found[name].marker) then
      ok, reason = nil, "the lock has it twice"
    end
    found[name] = found[name] or package
    if not ok then refused[#refused + 1] = { spec = spec, reason = reason } end
  end
  if refused[1] then return rejected(refused) end
  return found
end

-- Why a lock is none of a requirement; nil if it is.
local function misfit(job, spec, held)
  local called, name, range = job.policies:call("pip", "wanted", spec)
  if not called then return nil, name end
  local package = held[name]
  if not package then return "the lock does not hold it" end
  local fits = true
  if range and range ~= "==" .. package.version then
    called, fits = job.policies:call("script", "satisfies", range, package.version)
    if not called then return nil, fits end
  end
  return not fits and ("the lock has %s"):format(errors.clean(package.version, 80)) or nil
end

-- With a lock, what is installed is what it holds, and nothing else.
local function read_pip_lock(job, list)
  local lock, err = pylock.read(job.call.lock, job.call.pip.only_binary)
  if not lock then return nil, err end
  local held
  held, err = by_name(job, lock.packages)
  if not held then return nil, err end
  for _, spec in ipairs(list) do
    local reason
    reason, err = misfit(job, spec, held)
    if err then return nil, err end
    if reason then return rejected{ { spec = spec, reason = reason } } end
  end
  for index, package in ipairs(lock.packages) do
    lock.packages[index] = pylock.line(package)
  end
  local own, its = job.requires_python, lock.requires_python
  job.requires_python = own and its and own .. "," .. its or own or its
  return lock.packages
end

local function read_npm_lock(job, list)
  local ok, err = npm.check_lock(job.call.lock, {
    policies = job.policies, options = job.call.npm, requirements = list,
  })
  return ok and list, err
end

local LOCKS = { pip = read_pip_lock, npm = read_npm_lock }

-- What is installed for a list of requirements.
local function pinned(job, policy, list)
  if not job.call.lock then return list end
  return LOCKS[policy](job, list)
end

--- The step that reads what the stage's code requires, and refuses what the policy does.
-- Sets `job.requirements`, a list, or nil where the code names nothing: imports say nothing then;
-- and `job.requires_python`. With the option `lock` the requirements are what that holds.
-- @tparam table job
-- @tparam table task
-- @treturn ?boolean true; or nil and an error (`package_rejected`, `policy_error`, `input_invalid`:
-- packages for a language that has none)
-- @treturn ?table
function M.check(job, task)
  local policy = job.language.requires
  if not policy then return no_packages(job) end
  local said, err = declared_by(job, task)
  if not said then return nil, err end
  local called, list, refused = job.policies:call(policy, "requirements",
    job.call.packages and "" or job.stage.code, {
      allow_unpinned = job.call.allow_unpinned_pip, declared = said.dependencies,
      locked = job.call.lock ~= nil or job.mode == "lock",
    })
  if not called then return nil, list end
  if refused and not list then return rejected(refused, INSTALLERS[policy].form) end
  for _, item in ipairs(refused or {}) do
    task:warn(("requirement '%s' was dropped: %s"):format(errors.clean(item.spec, 80), item.reason))
  end
  if not list[1] then return true end
  job.requirements, err = pinned(job, policy, list)
  return job.requirements ~= nil or nil, err
end

local function log_built(job, runtime)
  job.executor.log("info", ("installed %s in %.1f s"):format(
    table.concat(runtime.packages, ", "), runtime.build_secs), { packages = runtime.packages })
end

local function wanted_by(job)
  local policy = job.language.requires
  return {
    requirements = job.requirements, options = job.call[policy], chosen = job.chosen,
    cache_dir = job.cache_dir, policies = job.policies, limit = job.call.setup_timeout_secs,
    allow_unpinned = job.call.allow_unpinned_pip, lock = policy == "npm" and job.call.lock or nil,
  }
end

--- The step that makes a lock of what the code requires: `job.output`, a text.
-- @tparam table job as of `install`
-- @tparam table task
-- @tparam table context of setup
-- @treturn ?boolean true; or nil and an error as of `install`
-- @treturn ?table
function M.make_lock(job, task, context)
  if not job.requirements then
    return nil, errors.new{
      kind = "input_invalid", message = "lock: the stage names no packages",
      hint = "# requires: name==version, or a block of PEP 723; in JavaScript "
        .. "// requires: name@version",
    }
  end
  local make = INSTALLERS[job.language.requires].lock
  local err
  if make then
    job.output, err = make(job.runtime, wanted_by(job), context)
    return job.output ~= nil or nil, err
  end
  local ok
  ok, err = M.install(job, task, context)
  if ok then job.output = job.runtime.lock end
  return ok, err
end

--- Put in place of the job's runtime one that has the packages. Builds it if need be.
-- @tparam table job with `runtime`, `chosen` and `requirements`
-- @tparam table task
-- @tparam table context of setup
-- @treturn ?boolean true; or nil and an error (`packages_failed`, `package_rejected`,
-- `setup_timed_out`, `cache_failed`)
-- @treturn ?table
function M.install(job, task, context)
  local policy = job.language.requires
  local runtime, err = INSTALLERS[policy].resolve(job.runtime, wanted_by(job), context)
  if not runtime then return nil, err end
  if runtime.build_secs then log_built(job, runtime) end
  for _, warning in ipairs(runtime.warnings or {}) do
    task:warn(warning)
  end
  job.runtime = runtime
  return true
end

return M
