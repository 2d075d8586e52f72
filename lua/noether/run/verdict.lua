-- SPDX-License-Identifier: MIT
--- What a finished process means: an answer, or an error of the right kind.
-- The reason that the core recorded comes first, since it names the first cause. Only where the
-- program ended by itself is its output looked at.
local absent = require "noether.run.absent"
local errors = require "noether.error"
local json = require "noether.json"
local policy = require "noether.policy.errors"
local text = require "noether.text"

local M = {}

-- What is ours to move could not be moved.
local function stream_failed(result)
  return errors.new{
    kind = "spawn_failed", errno = result.errno,
    message = ("the stage was ended, since its %s could not be passed on (%s)"):format(
      result.failed_stream, result.errno or "unknown"),
  }
end

local MAX_EXCERPT_BYTES = 200

--- What an answer may take of the host, by name: a value takes thirty times the memory of its text.
M.LIMITS = { answer_values = "count" }

--- What holds where nothing is said.
M.DEFAULTS = { answer_values = 1000000 }

local MAX_ERROR_VALUES = 1000

local function limit_error(kind, limit, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint, limit = limit }
end

-- Some interpreters wait for ever for a thread that cannot be started.
local function at_process_limit(limits)
  return ("it could start no more than its %d processes and threads, and may have waited for one:"
    .. " raise limits.processes"):format(limits.processes or 0)
end

-- The answer on a failure: the last line of stdout, if it is an error object. (Bash writes to its
-- stdout freely before the wrapper does.)
local function error_answer(stdout)
  local line = text.last_line(stdout)
  local value = line and line:find("^%s*{") and json.decode(line, nil, MAX_ERROR_VALUES)
  if type(value) == "table" and type(value.error) == "table" then return value end
  return nil
end

-- What the runner has said of the threads for which Python waits: "thread w (line 3)", or
-- "3 threads: a, b, c".
local function threads_of(stderr)
  local said = stderr:match("execute has answered; waiting for (thread [^\n]*)")
    or stderr:match("execute has answered; waiting for (%d+ threads: [^\n]*)")
  return said and errors.clean(said, MAX_EXCERPT_BYTES)
end

-- Where all was said before the deadline: what was not over, and what to do about it.
local function went_on(result)
  if not json.check(text.trim(result.stdout)) then return nil end
  local done = error_answer(result.stdout) and "failed" or "answered"
  local threads = threads_of(result.stderr)
  if not threads then
    return ("execute had %s, and something that it left running went on"):format(done),
      "have execute wait for what it starts, or end it"
  end
  return ("execute had %s, and what it had started went on: %s"):format(done, threads),
    'join it in execute, make it with daemon=True, or give on_leftover_threads = "end"'
end

-- One entry for each reason that is not the program's own end.
local BY_REASON = {
  timeout = function(limits, result)
    local message = ("the stage was ended at its deadline of %g s"):format(limits.timeout_secs)
    local what, hint = went_on(result)
    if what then message = message .. ": " .. what end
    return limit_error("timed_out", limits.timeout_secs, message,
      hint or result.at_process_limit and at_process_limit(limits)
        or "give it more with timeout_secs, or less to do")
  end,
  output_limit = function(limits)
    return limit_error("output_limit", limits.max_output_bytes,
      ("the stage wrote more than %d bytes of output and was ended"):format(
        limits.max_output_bytes),
      "answer with less, or raise max_output_bytes")
  end,
  memory_limit = function(limits)
    return limit_error("memory_limit", limits.memory_bytes,
      ("the stage used more than %d bytes of memory and was ended"):format(
        limits.memory_bytes or 0),
      "raise limits.memory_bytes, or hold less at once")
  end,
  cpu_limit = function(limits)
    return limit_error("cpu_limit", limits.cpu_secs,
      ("the stage used more than %g s of processor time and was ended"):format(
        limits.cpu_secs or 0),
      "raise limits.cpu_secs")
  end,
  cancelled = function()
    return errors.new{ kind = "cancelled", message = "the stage was cancelled" }
  end,
  stream_failed = function(_, result) return stream_failed(result) end,
  status_lost = function()
    return errors.new{
      kind = "spawn_failed",
      message = "the stage's exit status was lost: its supervisor was ended before it could tell",
      hint = "without a sandbox the stage can end its own supervisor; isolate it, or look for what "
        .. "it kills",
    }
  end,
}

-- The effects that a stage declares, by name. Without a sandbox none is refused.
local function names_of(effects, isolation)
  if isolation == "none" then return nil end
  local names = {}
  for _, effect in ipairs(effects.list) do
    names[effect.effect] = true
  end
  return names
end

-- The effects that the sandbox saw being lacking. What a list of hosts refuses has a name.
local function denied_to(result)
  local denied = {}
  if result.denied_processes then denied[#denied + 1] = "Process" end
  local connections = not result.network and result.denied_connections or 0
  if connections > 0 then denied[#denied + 1] = "Network" end
  return denied[1] and denied
end

-- The lines of a traceback that are not of places: what was raised, and what it came of.
local function raised(trace)
  local lines = {}
  for line in trace:gmatch("[^\n]+") do
    if not line:find("^%s") then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

-- What a failure says of itself. A shell says the reason on standard error.
local function said_by(report, stderr)
  if not report then return stderr end
  local message, trace = tostring(report.message), tostring(report.traceback)
  return message .. "\n" .. (report.type == "ExitStatus" and stderr or raised(trace))
end

local function hint_of_paths(result, answered, stage)
  if result.isolation == "none" or not stage.sandbox then return nil end
  local said = said_by(answered and answered.error, result.stderr)
  return absent.hint(said, stage.code, stage.sandbox)
end

-- Those that the stage lacks, and whose refusals nobody sees. A sandbox without walls has no
-- network of its own that could count them.
local function unseen_by(result, names)
  local looked = result.denied_connections ~= nil
  return names and not names.Network and not looked and { "Network" } or nil
end

--- Name the failure of code that ended by itself.
-- @tparam table result of the process, or what is known of one that goes on
-- @tparam table limits
-- @tparam table policies
-- @tparam table stage as of @{judge}
-- @tparam ?table answered what the wrapper said of it: `{ error = { type, message, traceback } }`
-- @treturn table an error
function M.classify(result, limits, policies, stage, answered)
  local names = names_of(stage.effects, result.isolation)
  local ok, kind, message, hint, effect = policies:call("errors", "classify", {
    source = "stage", stderr = result.stderr, stdout = result.stdout, exit_code = result.exit_code,
    signal = result.signal, reason = result.reason, answer = answered,
    effects = names, code = stage.code, denied = denied_to(result),
    calls = (stage.effects.calls or {})[1] ~= nil,
    unseen = unseen_by(result, names), max_rss_bytes = result.max_rss_bytes,
    memory_bytes = limits.memory_bytes, processes = limits.processes,
    at_process_limit = result.at_process_limit, packages = policies:data("packages", "known"),
  })
  if not ok then return kind end
  local of_paths = kind == "stage_failed" and hint_of_paths(result, answered, stage) or nil
  return errors.new{
    kind = kind, message = message, hint = of_paths or hint, effect = effect,
    tells_of_host = of_paths and true or nil,
  }
end

local function excerpt(output)
  return errors.clean(text.trim(output), MAX_EXCERPT_BYTES)
end

local function invalid_output(result, reason, stage)
  if not result.stdout:find("%S") then
    return errors.new{
      kind = "output_invalid", message = "the stage ended well but wrote no answer",
      hint = policy.with_refusals(policy.no_answer_hint(stage.language), denied_to(result)),
    }
  end
  return errors.new{
    kind = "output_invalid",
    message = ("the stage's output is not one JSON value: %s (got: %s)"):format(
      reason, excerpt(result.stdout)),
    hint = policy.with_refusals(policy.answer_hint(result.stdout, reason), denied_to(result)),
  }
end

-- Where a Lua has no integers.
local function not_held(reason)
  return errors.new{
    kind = "output_invalid", message = "the stage's output: " .. reason,
    hint = 'the option big_integers = "string" gives such integers as text',
  }
end

local function too_many(most)
  return limit_error("output_limit", most,
    ("the stage's answer is of more than %d values"):format(most),
    "answer with fewer, raise limits.answer_values, or take the text with execute_json")
end

--- The value of an answer that is JSON.
-- @tparam string answer
-- @tparam[opt] string big_integers as of `json.decode`
-- @tparam[opt] number most_values
-- @return the value; or nil and an error: it has an integer that this Lua cannot hold, or too many
-- values
-- @treturn ?table
function M.decode(answer, big_integers, most_values)
  local value, reason, most = json.decode(answer, big_integers, most_values)
  if most then return nil, too_many(most) end
  if value == nil then return nil, not_held(reason) end
  return value
end

-- Exit 0 is success, whatever stderr says, if stdout is one JSON value.
local function answer(result, mode, stage)
  local value, reason, most
  if mode == "json" then
    value, reason = json.check(result.stdout)
  else
    value, reason, most = json.decode(result.stdout, stage.big_integers, stage.answer_values)
  end
  if most then return nil, too_many(most) end
  if value ~= nil and mode == "json" then return text.trim(result.stdout) end
  if value ~= nil then return value end
  if json.check(result.stdout) then return nil, not_held(reason) end
  return nil, invalid_output(result, reason, stage)
end

--- Why a process was ended, where it did not end by itself.
-- @tparam table result
-- @tparam table limits
-- @treturn ?table an error; nil where nobody ended it
function M.ended(result, limits)
  local of_reason = BY_REASON[result.reason]
  return of_reason and of_reason(limits, result)
end

--- Judge a result.
-- @tparam table result of the process
-- @tparam table limits those of the plan
-- @tparam table policies
-- @tparam string mode "value" (decode the answer) or "json" (check it and leave it text)
-- @tparam table stage `effects` (parsed, as it declares them), `code`, `language`, and `sandbox`:
-- the description that held, with `has_own_directory` where the caller gave the working directory;
-- `big_integers`, `answer_values`
-- @return the answer; or nil and an error, whose `result` is the result
-- @treturn ?table
function M.judge(result, limits, policies, mode, stage)
  local output, err
  if BY_REASON[result.reason] then
    err = BY_REASON[result.reason](limits, result)
  elseif result.reason == "exit" and result.exit_code == 0 then
    output, err = answer(result, mode, stage)
  else
    err = M.classify(result, limits, policies, stage, error_answer(result.stdout))
  end
  if err then err.result = result end
  return output, err
end

return M
