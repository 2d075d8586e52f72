-- SPDX-License-Identifier: MIT
--- What would run, as plain data: the same as the launch gets.
local launch = require "noether.execution.launch"
local packages = require "noether.execution.packages"
local policy = require "noether.policy.isolation"
local setup = require "noether.execution.setup"
local tables = require "noether.tables"

local M = {}

local function make_plan(job)
  local sandbox = launch.sandbox_of(job) or { backend = "none" }
  job.output = {
    kind = "exec", argv = job.argv, files = job.script.files, sandbox = sandbox,
    limits = launch.limits_of(job), stdin = job.stdin, env = job.public_env,
    secrets = tables.sorted_names(job.call.env),
    runtime = setup.runtime_summary(job.runtime), work_dir = job.work_dir,
  }
  return true
end

-- An outline looks at nothing on this machine: names stand where setup would find paths.
local function outline(job)
  job.runtime = {
    kind = "unresolved", language = job.language.name, ro_binds = {}, links = {},
    path = "/" .. job.language.runtime.programs[1], reference = "unresolved",
    packages = job.requirements,
  }
  job.backend, job.files_dir = job.call.isolation, policy.stage_dir
  job.chosen = { backend = job.backend }
  local ok, err = setup.describe(job, nil)
  if not ok then return nil, err end
  ok, err = setup.command(job)
  if not ok then return nil, err end
  job.argv[1], job.runtime.path = job.language.runtime.programs[1], nil
  job.work_dir = job.call.work_dir
  return true
end

--- The step that ends a plan.
M.STEPS = { make_plan }

--- The steps of a plan that looks at nothing outside this process.
M.OUTLINE_STEPS = { packages.check, outline, setup.make_environment, make_plan }

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
-- @tfield Runtime runtime
-- @tfield ?string work_dir

--- Options of `plan`: those of a call, and one more.
-- @table PlanOptions
-- @extends CallOptions
-- @tfield ?boolean resolve false: touch no disk, and leave the runtime unresolved

return M
