-- SPDX-License-Identifier: MIT
--- The steps of one execution, in the order of their states.
-- A job is what one execution knows so far. Each step reads what the ones before it found and adds
-- what it found itself, or returns nil and an error, and then no further step is taken. Bad input
-- is told before the disk is touched, and the disk before any process is started.
local errors = require "noether.error"
local launch = require "noether.execution.launch"
local plan = require "noether.execution.plan"
local prepare = require "noether.execution.prepare"
local runtimes = require "noether.execution.runtime"
local setup = require "noether.execution.setup"

local M = {}

local SCRIPT = { prepare.store_script }

local STEPS = {
  value = { prepare.STEPS, SCRIPT, setup.STEPS, launch.STEPS },
  json = { prepare.STEPS, SCRIPT, setup.STEPS, launch.STEPS },
  plan = { prepare.STEPS, SCRIPT, setup.STEPS, plan.STEPS },
  outline = { prepare.STEPS, plan.OUTLINE_STEPS },
}

--- Make the job of one execution.
-- @tparam table executor
-- @tparam string|table reference id, name or a stage
-- @param input the value; in mode "json" its text
-- @tparam table call options of the call, defaults filled in
-- @tparam string mode "value", "json", "plan" or "outline" (a plan that touches no disk)
-- @treturn table with `info`
function M.new(executor, reference, input, call, mode)
  return {
    executor = executor, policies = executor.policies, reference = reference, input = input,
    call = call, mode = mode, info = { cached = false, logs = "" },
  }
end

local function attribute(err, job)
  err.stage = err.stage or (job.stage and job.stage.id)
  return err
end

local function cancelled(job)
  return attribute(errors.new{ kind = "cancelled", message = "the task was cancelled" }, job)
end

--- Take the steps. Runs within a task.
-- @tparam table job
-- @tparam table task
-- @return the output; or nil and an error
-- @treturn ?table
function M.run(job, task)
  for _, group in ipairs(STEPS[job.mode]) do
    for _, step in ipairs(group) do
      local ok, err = step(job, task)
      if not ok then return nil, attribute(err, job) end
      if task.is_cancelled and not job.result then return nil, cancelled(job) end
    end
  end
  return job.output
end

--- Whether such runtimes can be had at all: see `runtime.check`.
M.check_runtime = runtimes.check

-- Tells a listener what begins and what is over.
local function new_reporter(listener, total)
  local done = 0
  return function(language, state, detail)
    if state == "ready" or state == "failed" then done = done + 1 end
    if not listener then return end
    listener({ language = language, state = state, detail = detail, done = done, total = total })
  end
end

--- Resolve the runtimes of languages. Runs within a task.
-- @tparam table executor
-- @tparam table languages names
-- @tparam table task
-- @tparam table call the executor's configuration, with what is different here
-- @tparam ?function on_progress see `executor:warmup`
-- @treturn ?table what was found by language: a summary, or `{ err = error }`; nil and an error if
-- it was cancelled
-- @treturn ?table
function M.warm(executor, languages, task, call, on_progress)
  local found, report = {}, new_reporter(on_progress, #languages)
  for _, name in ipairs(languages) do
    local job = { executor = executor, policies = executor.policies, call = call, is_warmup = true }
    function job.progress(state, detail) report(name, state, detail) end
    local language, err = executor.policies:language(name)
    local runtime
    if language then runtime, err = setup.resolve(job, language, task) end
    if runtime then
      found[name] = setup.runtime_summary(runtime)
      for _, warning in ipairs(runtime.warnings or {}) do
        task:warn(warning)
      end
      report(name, "ready", runtime.path)
    else
      found[name] = { err = err }
      executor.log("warn", err.message, { language = name, kind = err.kind })
      report(name, "failed", err.message)
    end
    if task.is_cancelled then
      return nil, errors.new{ kind = "cancelled", message = "the warm-up was cancelled" }
    end
  end
  return found
end

return M
