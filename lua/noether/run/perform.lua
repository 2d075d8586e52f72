-- SPDX-License-Identifier: MIT
--- Last steps of an execution: what was planned is carried out, and what came of it is judged.
local calls = require "noether.run.calls"
local errors = require "noether.error"
local exec = require "noether.run.transport.exec"
local hosts = require "noether.hosts"
local json = require "noether.json"
local learned = require "noether.run.learned"
local policy = require "noether.policy.errors"
local prepare = require "noether.run.prepare"
local schemas = require "noether.stage.schema"
local sys = require "noether.sys"
local tables = require "noether.tables"
local text = require "noether.text"
local verdict = require "noether.run.verdict"

local M = {}

local NEXT_SECS = 0.05 -- beside a run that takes longer, others are made ready
local NEXT_COUNT = 3 -- so many, by few calls: the others have the processors for themselves

-- What carries a plan out, by its kind.
local TRANSPORTS = { exec = exec }

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

-- What answers the calls of one attempt; the journal of the last one is the run's.
local function new_calls(job)
  if not job.plan.calls then return nil end
  local call = job.call
  job.calls = calls.new{
    functions = call.functions or {}, declared = job.declared, limits = job.plan.limits,
    journal = call.journal, replay = call.replay, on_call = call.on_call,
  }
  job.info.calls = job.calls.list
  return job.calls
end

-- What is to become of the stage's files; nil where none are asked for.
local function new_outputs(job, task)
  if not job.plan.outputs then return nil end
  return {
    patterns = job.patterns, limits = job.plan.limits, given = job.call.files or {},
    target = job.target, target_path = job.target_path, replaces = job.call.output_overwrite,
    warn = function(message) task:warn(message) end,
  }
end

local function attempt_cold(job, private, task)
  local plan = job.plan
  private.calls, private.outputs = new_calls(job), new_outputs(job, task)
  job.info.start, job.plan_that_ran = "cold", plan
  local running, err = TRANSPORTS[plan.kind].start(plan, private, task)
  if not running then return nil, err end
  if job.pool then job.pools:renew(job.pool, 1) end
  local result
  result, err = task:await(running)
  running:close()
  if plan.outputs then job.info.outputs, job.outputs_err = running.list, running.err end
  return result, err
end

local function once(fn)
  return function()
    if fn then fn() end
    fn = nil
  end
end

-- As `running`; when it is over, or has taken longer than most, `begin_next` is called: what is
-- made ready for others takes the processors that its answer, and its end, need.
local function with_next(running, begin_next)
  local waited_for, due = {}, sys.clock() + NEXT_SECS
  local function sooner(secs)
    local left = due - sys.clock()
    return left > 0 and math.min(secs or left, left) or secs
  end
  function waited_for.step()
    local over = running:step()
    if over or sys.clock() >= due then begin_next() end
    return over
  end
  function waited_for.timeout() return sooner(running:timeout()) end
  function waited_for.wait(_, secs) return running:wait(sooner(secs)) end
  return setmetatable(waited_for, { __index = function(_, name)
    return function(_, ...) return running[name](running, ...) end
  end })
end

-- By what was kept ready. The last value: whether anything of the stage may have run. If not, it
-- starts cold, with the time that is left: nobody is to suffer from what was meant to help.
local function attempt_warm(job, private, task)
  local pools, pool = job.pools, job.pool
  private.calls = new_calls(job)
  local running, how = pools:start(pool, job, private, task)
  if not running then return nil, nil, false end
  job.info.start = how
  local begin_next = once(function() pools:renew(pool, NEXT_COUNT) end)
  running = with_next(running, begin_next)
  local deadline = sys.clock() + (job.plan.limits.timeout_secs or math.huge)
  local result, err = task:await(running)
  begin_next() -- it was over before it was looked at
  local has_begun = running:has_begun()
  running:close()
  if has_begun or task.is_cancelled or sys.clock() >= deadline then return result, err, true end
  if deadline < math.huge then private.timeout_secs = deadline - sys.clock() end
  return nil, nil, false
end

local function attempt(job, private, task)
  if job.pool then
    local result, err, has_run = attempt_warm(job, private, task)
    if has_run then return result, err end
  end
  local result, err = attempt_cold(job, private, task)
  local pools = job.executor.pools_open
  -- What waits for other calls is worth less than this one.
  if not result and errors.is_shortage(err) and pools and pools:shrink() then
    return attempt_cold(job, private, task) -- a tail call
  end
  return result, err
end

-- Somebody who cleans the cache may come between the writing of the script and its use. Where
-- nothing has run since something was not there, the script is written again, once: it may be there
-- again by now.
local function attempt_again(job, private, task)
  local result, err = attempt(job, private, task)
  if result or err.errno ~= "ENOENT" then return result, err end
  local ok, cache_err = prepare.write_script(job, task)
  if not ok then return nil, cache_err end
  result, err = attempt(job, private, task)
  local path = not result and err.errno == "ENOENT" and lost(job)
  if path then return nil, loss(path, err) end
  return result, err
end

local function run(job, task)
  task:enter("run")
  local info, private = job.info, {
    env = job.call.env, launcher = job.call.launcher, on_network = job.call.on_network,
  }
  info.isolation, info.enforced = job.plan.sandbox.backend, {}
  info.limits = tables.merged(job.plan.limits)
  local finish, err
  if job.call.on_log then private.on_stderr, finish = text.lines(job.call.on_log) end
  job.pool = job.call.warm and job.executor:pools_for(job)
  job.result, err = attempt_again(job, private, task)
  if not job.result then return nil, err end
  if finish then finish() end
  local result = job.result
  if result.stderr_truncated then
    result.stderr = text.mended(result.stderr, job.plan.limits.max_stderr_bytes)
  end
  info.result, info.logs = result, result.stderr
  info.isolation, info.enforced = job.result.isolation, job.result.enforced
  info.launch, info.network = job.result.launch, job.result.network
  info.phases.answer = result.answer_secs
  if job.pool then job.pools:learn(job.pool, result) end
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

-- Of these nothing is collected: who was ended may have been in the middle of writing.
local UNCOLLECTED = {
  timed_out = "a deadline", memory_limit = "a limit", cpu_limit = "a limit",
  output_limit = "a limit", call_limit = "a limit", cancelled = "a cancellation",
}

-- The stage's own failure comes first: that it left no file may be due to that.
local function told_by_outputs(job, err)
  if not job.plan.outputs then return err end
  local cause = err and job.result.reason ~= "exit" and job.result.reason ~= "signal"
    and UNCOLLECTED[err.kind]
  if cause then
    local said = ("outputs are not collected after %s"):format(cause)
    err.hint = err.hint and err.hint .. "; " .. said or said
  end
  if not err and job.outputs_err then
    err = errors.new(tables.merged(job.outputs_err, { result = job.result }))
  end
  return err
end

-- Refusals by the list, and what would let them through.
local CURES = {
  unlisted = function(place) return ("{ Network = { \"%s\" } }"):format(place) end,
  private_address = function(place)
    return ("{ Network = { { host = \"%s\", private = true } } }"):format(place)
  end,
}

-- Refusals by the caller, who needs no cure.
local JUDGED = { denied = true, unanswered = true }

-- The refusal that a failure names by its host; of a failure that is of a connection, the last one.
local function refusal_behind(err, refused)
  local of_connection, last = policy.is_of_connection(err.message), nil
  for _, item in ipairs(refused) do
    if err.message:find(item.host, 1, true) then return item end
    local decides = CURES[item.reason] or JUDGED[item.reason]
    if of_connection and (decides or not last) then last = item end
  end
  return last
end

-- What a list refuses is seen, but for what is local there, and datagrams.
local NO_SUCH_DOOR = "nothing listens there, and 127.0.0.1 is the sandbox's own: this machine's is"
  .. " listed as in { Network = { \"localhost:port\" } }; a list lets TCP through, and no datagrams"

-- What the list of hosts has to do with the stage's failure, if anything.
local function told_by_network(job, err)
  local network = job.result.network
  if not network or not err or err.kind ~= "stage_failed" then return err end
  local behind = refusal_behind(err, network.refused)
  if not behind then
    local failed = (job.result.denied_connections or 0) > 0
    if failed and policy.is_of_connection(err.message) then err.hint = NO_SUCH_DOOR end
    return err
  end
  local place = hosts.place_of(behind)
  local cure = CURES[behind.reason]
  err.hint = hosts.WHY[behind.reason]:format(place)
  if not cure and not JUDGED[behind.reason] then return err end
  if cure then err.hint = ("%s: %s would let it"):format(err.hint, cure(place)) end
  err.kind, err.effect = "effect_denied", ("Network(%s)"):format(
    behind.reason == "private_address" and "private:" .. place or place)
  err.network = { host = behind.host, port = behind.port }
  return err
end

local function answer_values(job)
  local limits = job.call.limits or {}
  return limits.answer_values or verdict.DEFAULTS.answer_values
end

-- An answer that is not what the stage says that it gives.
local function misfit(job, err)
  local schema = job.stage.output_schema
  if err or not schema then return err end
  local value = job.output
  if job.mode == "json" then
    value, err = verdict.decode(value, nil, answer_values(job))
    if err then return err end
  end
  local ok, reason = schemas.fits(schema, value, "answer")
  if ok then return nil end
  return errors.new{
    kind = "output_invalid", message = reason, result = job.result,
    hint = "the stage's output_schema says what it gives",
  }
end

-- A stage that printed its answer and returned none ran well, and is of no use.
local function warn_of_null(job, task)
  local output = job.output
  if job.mode == "json" and output == "null" then output = json.null end
  if output ~= json.null or not job.result.stderr:find("%S") then return end
  local hint = policy.null_hint(job.language.name, job.stage.code)
  if hint then task:warn(hint) end
end

local function told_by_calls(job, task, err)
  local warning = job.calls:warning()
  if warning then task:warn(warning) end
  return job.calls:explain(err, job.result)
end

local function judge(job, task)
  task:enter("decode")
  local ok, err = check_loss(job)
  if not ok then return nil, err end
  if job.call.learn then job.info.learned = learned.of(job) end
  local plan = job.plan
  job.output, err = verdict.judge(job.result, plan.limits, job.policies, job.mode, {
    effects = job.effects, code = job.stage.code, language = job.language.name,
    big_integers = job.call.big_integers, answer_values = answer_values(job),
    sandbox = tables.merged(job.plan_that_ran.sandbox, {
      has_own_directory = plan.work_dir ~= nil,
    }),
  })
  if job.calls then err = told_by_calls(job, task, err) end
  err = told_by_network(job, err) or misfit(job, err)
  err = told_by_outputs(job, err)
  if err then return nil, err end
  warn_of_null(job, task)
  return true
end

--- The steps, in order.
M.STEPS = { run, judge }

return M
