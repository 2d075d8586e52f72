-- SPDX-License-Identifier: MIT
--- What runs, as plain data. It is made of every execution, whether it is to be shown or carried
-- out: a transport gets it and nothing else.
local calls = require "noether.run.calls"
local descriptions = require "noether.sandbox.description"
local outputs = require "noether.run.outputs"
local packages = require "noether.runtime.requirements"
local setup = require "noether.run.setup"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local SCRIPT = "/stage" -- for the directory of the script files

local function sandbox_of(job)
  if job.backend == "none" then
    local is_private = job.mode == "session"
      or ((job.call.files or job.call.outputs) ~= nil and not job.work_dir)
    return { backend = "none", private = is_private or nil,
      links = is_private and job.description.links or nil }
  end
  local sandbox = descriptions.of_backend(job.chosen, job.description)
  sandbox.limits = nil -- they are the plan's
  return sandbox
end

local LEAST_SECS = 0.001 -- of a run that began too late: it is ended at once

-- What a function of the host's begins is under the deadline of the run that called it.
-- One that is none is left out: JSON has no infinity.
local function limits_of(job)
  local call, limits = job.call, {}
  local left = math.max(job.deadline - sys.clock(), LEAST_SECS)
  for name, value in pairs(tables.merged(job.description.limits, {
    timeout_secs = math.min(call.timeout_secs, left), max_output_bytes = call.max_output_bytes,
    max_stderr_bytes = call.max_stderr_bytes,
  })) do
    if value < math.huge then limits[name] = value end
  end
  for name, default in pairs(job.call_names and calls.DEFAULTS or {}) do
    limits[name] = call.limits[name] or default
  end
  for name, default in pairs(call.outputs and outputs.DEFAULTS or {}) do
    local limit = call.limits[name] or default
    if limit < math.huge then limits[name] = limit end
  end
  return limits
end

-- How the runner learns that there is a channel, by which descriptor, and what a call may have:
-- what is too much it tells the stage, and not us.
local function channel_variables(job, limits)
  if not job.call_names and job.mode ~= "session" then return nil end
  local most = limits.call_bytes and ("%d"):format(math.min(limits.call_bytes, 2 ^ 30))
  return { NOETHER_CHANNEL = "5", NOETHER_CALL_BYTES = most }
end

local function make(job)
  local limits = limits_of(job)
  job.plan = {
    kind = "exec", argv = job.argv, files = job.script.files, sandbox = sandbox_of(job),
    limits = limits, stdin = job.stdin, calls = job.call_names,
    outputs = job.call.outputs,
    env = tables.merged(job.public_env, channel_variables(job, limits)),
    secrets = tables.sorted_names(job.call.env),
    runtime = setup.runtime_summary(job.runtime), work_dir = job.work_dir,
  }
  if job.on_plan then job.on_plan(job.plan) end
  return true
end

local function show(job)
  job.output = job.plan
  return true
end

-- An outline looks at nothing on this machine: names stand where setup would find paths.
local function outline(job)
  job.runtime = {
    kind = "unresolved", language = job.language.name, ro_binds = {}, links = {},
    path = "/" .. job.language.runtime.programs[1], reference = "unresolved",
    packages = job.requirements,
  }
  job.backend, job.files_dir = job.call.isolation, SCRIPT
  job.chosen = { backend = job.backend }
  local ok, err = setup.describe(job, nil)
  if not ok then return nil, err end
  ok, err = setup.command(job)
  if not ok then return nil, err end
  job.argv[1], job.runtime.path = job.language.runtime.programs[1], nil
  job.work_dir = job.call.work_dir
  return true
end

--- The step that makes the plan of what was set up.
M.STEPS = { make }

--- The step that gives it as the answer.
M.SHOW_STEPS = { show }

--- The steps to a plan that looks at nothing outside this process.
M.OUTLINE_STEPS = { packages.check, outline, setup.make_environment, make }

--- What a run is, before it is run: plain data, printable and comparable.
-- @table Plan
-- @tfield "exec" kind
-- @tfield {string,...} argv the interpreter and its arguments
-- @tfield {[string]=string} files the wrapped script, text by name
-- @tfield table sandbox the description that the backend gets
-- @tfield {[string]=number} limits
-- @tfield string stdin the input, as JSON
-- @tfield {[string]=string} env without the values of the caller's variables
-- @tfield {string,...} secrets names of the caller's variables
-- @tfield ?{string,...} calls names of the functions that it may call
-- @tfield ?{string,...} outputs patterns of the files that are collected when it has ended
-- @tfield Runtime runtime
-- @tfield ?string work_dir

--- Options of `plan`: those of a call, and one more.
-- @table PlanOptions
-- @extends CallOptions
-- @tfield ?boolean resolve false: touch no disk, and leave the runtime unresolved

return M
