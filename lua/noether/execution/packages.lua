-- SPDX-License-Identifier: MIT
--- The packages that a Python stage names: `# requires: name==version, ...`.
local errors = require "noether.error"
local venv = require "noether.runtime.venv"

local M = {}

local function rejected(list)
  local lines = {}
  for index, item in ipairs(list) do
    lines[index] = ("'%s' (%s)"):format(errors.clean(item.spec, 80), item.reason)
  end
  return nil, errors.new{
    kind = "package_rejected", message = "packages refused: " .. table.concat(lines, "; "),
    hint = "write name==version; what is allowed is the pip policy's to say",
  }
end

--- The step that reads what the stage's code requires, and refuses what the policy does.
-- Sets `job.requirements`, a list, or nil where the code names nothing: imports say nothing then.
-- @tparam table job
-- @tparam table task
-- @treturn ?boolean true; or nil and an error (`package_rejected`, `policy_error`)
-- @treturn ?table
function M.check(job, task)
  if job.language.name ~= "python" then return true end
  local called, list, refused = job.policies:call("pip", "requirements", job.stage.code, {
    allow_unpinned = job.call.allow_unpinned_pip,
  })
  if not called then return nil, list end
  if refused and not list then return rejected(refused) end
  for _, item in ipairs(refused or {}) do
    task:warn(("requirement '%s' was dropped: %s"):format(errors.clean(item.spec, 80), item.reason))
  end
  if list[1] then job.requirements = list end
  return true
end

local function log_built(job, runtime)
  job.executor.log("info", ("installed %s in %.1f s"):format(
    table.concat(runtime.packages, ", "), runtime.build_secs), { packages = runtime.packages })
end

--- Put in place of the job's runtime one that has the packages. Builds it if need be.
-- @tparam table job with `runtime`, `chosen` and `requirements`
-- @tparam table task
-- @tparam table context of setup
-- @treturn ?boolean true; or nil and an error (`packages_failed`, `package_rejected`,
-- `setup_timed_out`, `cache_failed`)
-- @treturn ?table
function M.install(job, task, context)
  local runtime, err = venv.resolve(job.runtime, {
    requirements = job.requirements, options = job.call.pip, chosen = job.chosen,
    cache_dir = job.cache_dir, policies = job.policies, limit = job.call.setup_timeout_secs,
    allow_unpinned = job.call.allow_unpinned_pip,
  }, context)
  if not runtime then return nil, err end
  if runtime.build_secs then log_built(job, runtime) end
  for _, warning in ipairs(runtime.warnings or {}) do
    task:warn(warning)
  end
  job.runtime = runtime
  return true
end

return M
