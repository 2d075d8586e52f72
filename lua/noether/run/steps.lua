-- SPDX-License-Identifier: MIT
--- The steps of one execution, in the order of their states.
-- A job is what one execution knows so far. Each step reads what the ones before it found and adds
-- what it found itself, or returns nil and an error, and then no further step is taken. Bad input
-- is told before the disk is touched, and the disk before any process is started.
local calls = require "noether.run.calls"
local errors = require "noether.error"
local perform = require "noether.run.perform"
local plan = require "noether.run.plan"
local prepare = require "noether.run.prepare"
local runtimes = require "noether.runtime.choose"
local setup = require "noether.run.setup"
local sys = require "noether.sys"

local M = {}

local SCRIPT = { prepare.store_script }

local RUN = { prepare.STEPS, SCRIPT, setup.STEPS, plan.STEPS, perform.STEPS }

local STEPS = {
  value = RUN,
  json = RUN,
  session = { prepare.SESSION_STEPS, SCRIPT, setup.STEPS, plan.STEPS },
  plan = { prepare.STEPS, SCRIPT, setup.STEPS, plan.STEPS, plan.SHOW_STEPS },
  lock = { prepare.LOCK_STEPS, setup.LOCK_STEPS },
  outline = { prepare.STEPS, plan.OUTLINE_STEPS, plan.SHOW_STEPS },
}

--- Make the job of one execution.
-- @tparam table executor
-- @tparam table request `reference` (id, name or a stage), `input`, `call` (options of the call,
-- defaults filled in), `mode`, `on_plan`: see executor/interface.lua
-- @treturn table with `info`
function M.new(executor, request)
  return {
    executor = executor, policies = executor.policies, reference = request.reference,
    input = request.input, call = request.call, mode = request.mode, on_plan = request.on_plan,
    deadline = calls.deadline(),
    info = { cached = false, logs = "" },
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

-- Has processes of a language wait for calls to come, of stages that declare nothing and want no
-- packages: how many are ready.
local function make_ready(executor, name, task, call)
  local deadline = sys.clock() + call.setup_timeout_secs
  local job = M.new(executor, {
    reference = { language = name, code = "", effects = {} }, input = nil, call = call,
    mode = "value",
  })
  for _, group in ipairs{ prepare.STEPS, SCRIPT, setup.STEPS, plan.STEPS } do
    for _, step in ipairs(group) do
      local ok, err = step(job, task)
      if not ok then return nil, err end
    end
  end
  return executor:make_ready(job, task, function() return sys.clock() >= deadline end)
end

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
-- @tparam boolean is_warmup false: what is known will do
-- @treturn ?table what was found by language: a summary, or `{ err = error }`; nil and an error if
-- it was cancelled
-- @treturn ?table
function M.warm(executor, languages, task, call, on_progress, is_warmup)
  local found, report = {}, new_reporter(on_progress, #languages)
  for _, name in ipairs(languages) do
    local job = {
      executor = executor, policies = executor.policies, call = call, is_warmup = is_warmup,
    }
    function job.progress(state, detail) report(name, state, detail) end
    local language, err = executor.policies:language(name)
    local runtime
    if language then runtime, err = setup.resolve(job, language, task) end
    local ready
    if runtime and call.spares_wanted then ready, err = make_ready(executor, name, task, call) end
    if runtime and not err then
      found[name] = setup.runtime_summary(runtime)
      found[name].spares = ready
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
