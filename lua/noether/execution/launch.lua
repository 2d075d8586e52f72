-- SPDX-License-Identifier: MIT
--- Last steps of an execution: launch, capture, judge.
local isolation = require "noether.isolation"
local policy = require "noether.policy.isolation"
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

local function run(job, task)
  task:enter("run")
  local info = job.info
  info.isolation, info.enforced = job.backend, {}
  info.limits = M.limits_of(job)
  local add, finish
  if job.call.on_log then add, finish = text.lines(job.call.on_log) end
  local proc, err = task:launch(job.argv, launch_options(job, add))
  if not proc then return nil, err end
  job.result, err = task:await(proc)
  proc:close()
  if not job.result then return nil, err end
  if finish then finish() end
  info.result, info.logs = job.result, job.result.stderr
  info.isolation, info.enforced = job.result.isolation, job.result.enforced
  return true
end

local function judge(job, task)
  task:enter("decode")
  local limits = job.description.limits or {}
  local err
  job.output, err = verdict.judge(job.result, job.call, limits, job.policies, job.mode, {
    effects = job.effects, code = job.stage.code,
  })
  if err then return nil, err end
  return true
end

--- The steps, in order.
M.STEPS = { run, judge }

return M
