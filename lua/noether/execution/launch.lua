-- SPDX-License-Identifier: MIT
--- Last steps of an execution: launch, capture, judge.
local errors = require "noether.error"
local isolation = require "noether.isolation"
local policy = require "noether.policy.isolation"
local prepare = require "noether.execution.prepare"
local sys = require "noether.sys"
local tables = require "noether.tables"
local text = require "noether.text"
local verdict = require "noether.verdict"

local M = {}

--- What the launch gets as its sandbox: nothing where there is none.
-- @tparam table job
-- @treturn ?table
function M.sandbox_of(job)
  if job.backend == "none" then return nil end
  local sandbox = isolation.apply(job.chosen, job.description)
  sandbox.limits = nil -- they are an option of the launch
  return sandbox
end

--- The limits of the run. One that is none is left out: JSON has no infinity.
-- @tparam table job
-- @treturn table number by name
function M.limits_of(job)
  local call, limits = job.call, {}
  for name, value in pairs(tables.merged(job.description.limits, {
    timeout_secs = call.timeout_secs, max_output_bytes = call.max_output_bytes,
    max_stderr_bytes = call.max_stderr_bytes,
  })) do
    if value < math.huge then limits[name] = value end
  end
  return limits
end

local function launch_options(job, on_stderr)
  local call = job.call
  return {
    env = tables.merged(job.public_env, call.env),
    cwd = policy.sees_host_paths(job.backend) and job.work_dir or nil,
    stdin = job.stdin, timeout_secs = call.timeout_secs,
    max_output_bytes = call.max_output_bytes, max_stderr_bytes = call.max_stderr_bytes,
    on_stderr = on_stderr, sandbox = M.sandbox_of(job), limits = job.description.limits,
  }
end

-- What the run has in the cache and is no longer there: the script, or the packages.
local function lost(job)
  local packages = job.runtime.own_dir
  if packages and select(3, sys.stat(packages)) == "ENOENT" then return packages end
  local script = job.files_dir .. "/" .. job.script.entry
  return select(3, sys.stat(script)) == "ENOENT" and script or nil
end

local function loss(path, cause)
  return errors.new{
    kind = "cache_failed", errno = "ENOENT", cause = cause,
    message = ("the cache lost %s while the stage was being started"):format(path),
    hint = "run it again: it is made anew; `noether prune` cleans the cache and leaves alone what "
      .. "is in use",
  }
end

local function attempt(job, task, on_stderr)
  local proc, err = task:launch(job.argv, launch_options(job, on_stderr))
  if not proc then return nil, err end
  local result
  result, err = task:await(proc)
  proc:close()
  return result, err
end

-- Whether nothing ran since the script was not there. It may be there again by now.
local function missed_script(job, err)
  return err.errno == "ENOENT"
    and (lost(job) ~= nil or err.message:find(job.files_dir, 1, true) ~= nil)
end

-- Somebody who cleans the cache may come between the writing of the script and its use. Where
-- nothing has run yet, it is written again, once.
local function attempt_again(job, task, on_stderr)
  local result, err = attempt(job, task, on_stderr)
  if result or not missed_script(job, err) then return result, err end
  local ok, cache_err = prepare.write_script(job, task)
  if not ok then return nil, cache_err end
  result, err = attempt(job, task, on_stderr)
  if result or not missed_script(job, err) then return result, err end
  return nil, loss(lost(job) or job.files_dir, err)
end

local function run(job, task)
  task:enter("run")
  local info = job.info
  info.isolation, info.enforced = job.backend, {}
  info.limits = M.limits_of(job)
  local add, finish, err
  if job.call.on_log then add, finish = text.lines(job.call.on_log) end
  job.result, err = attempt_again(job, task, add)
  if not job.result then return nil, err end
  if finish then finish() end
  info.result, info.logs = job.result, job.result.stderr
  info.isolation, info.enforced = job.result.isolation, job.result.enforced
  return true
end

-- An interpreter that does not find the script ends without a word of the wrapper. That is not the
-- stage's failure.
local function check_loss(job)
  local result = job.result
  if result.reason ~= "exit" or result.exit_code == 0 or result.stdout ~= "" then return true end
  local path = lost(job)
  if not path then return true end
  local err = loss(path)
  err.result = result
  return nil, err
end

local function judge(job, task)
  task:enter("decode")
  local ok, err = check_loss(job)
  if not ok then return nil, err end
  local limits = job.description.limits or {}
  job.output, err = verdict.judge(job.result, job.call, limits, job.policies, job.mode, {
    effects = job.effects, code = job.stage.code,
  })
  if err then return nil, err end
  return true
end

--- The steps, in order.
M.STEPS = { run, judge }

return M
