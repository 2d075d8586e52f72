-- SPDX-License-Identifier: MIT
--- What a finished process means: an answer, or an error of the right kind.
-- The reason that the core recorded comes first, since it names the first cause. Only where the
-- program ended by itself is its output looked at.
local errors = require "noether.error"
local json = require "noether.json"
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

local function limit_error(kind, limit, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint, limit = limit }
end

-- One entry for each reason that is not the program's own end.
local BY_REASON = {
  timeout = function(call)
    return limit_error("timed_out", call.timeout_secs,
      ("the stage was ended at its deadline of %g s"):format(call.timeout_secs),
      "give it more with timeout_secs, or less to do")
  end,
  output_limit = function(call)
    return limit_error("output_limit", call.max_output_bytes,
      ("the stage wrote more than %d bytes of output and was ended"):format(call.max_output_bytes),
      "answer with less, or raise max_output_bytes")
  end,
  memory_limit = function(_, limits)
    return limit_error("memory_limit", limits.memory_bytes,
      ("the stage used more than %d bytes of memory and was ended"):format(
        limits.memory_bytes or 0),
      "raise limits.memory_bytes, or hold less at once")
  end,
  cpu_limit = function(_, limits)
    return limit_error("cpu_limit", limits.cpu_secs,
      ("the stage used more than %g s of processor time and was ended"):format(
        limits.cpu_secs or 0),
      "raise limits.cpu_secs")
  end,
  cancelled = function()
    return errors.new{ kind = "cancelled", message = "the stage was cancelled" }
  end,
  stream_failed = function(_, _, result) return stream_failed(result) end,
  status_lost = function()
    return errors.new{
      kind = "spawn_failed",
      message = "the stage's exit status was lost: its supervisor was ended before it could tell",
      hint = "without a sandbox the stage can end its own supervisor; isolate it, or look for what "
        .. "it kills",
    }
  end,
}

-- The answer on a failure: the last line of stdout, if it is an error object. (Bash writes to its
-- stdout freely before the wrapper does.)
local function error_answer(stdout)
  local line = text.last_line(stdout)
  local value = line and line:find("^%s*{") and json.decode(line)
  if type(value) == "table" and type(value.error) == "table" then return value end
  return nil
end

-- The effects that a stage declares, by name. Without a sandbox none is refused.
local function names_of(effects, isolation)
  if isolation == "none" then return nil end
  local names = {}
  for _, effect in ipairs(effects.list) do
    names[effect.effect] = true
  end
  return names
end

local function classify(result, policies, stage)
  local ok, kind, message, hint, effect = policies:call("errors", "classify", {
    source = "stage", stderr = result.stderr, exit_code = result.exit_code,
    signal = result.signal, reason = result.reason, answer = error_answer(result.stdout),
    effects = names_of(stage.effects, result.isolation), code = stage.code,
    denied = result.denied_processes and { "Process" } or nil,
  })
  if not ok then return kind end
  return errors.new{ kind = kind, message = message, hint = hint, effect = effect }
end

local function excerpt(output)
  return errors.clean(text.trim(output), MAX_EXCERPT_BYTES)
end

local JSON_WORDS = { ["true"] = true, ["false"] = true, null = true }

-- Whether an answer never was JSON, as where a shell has printed a word.
local function is_plain_text(output)
  local first, word = output:match("^%s*(%S)(%a*)")
  return not first:find('[%[{"%d-]') and not JSON_WORDS[first .. word]
end

local function invalid_output(result, reason)
  if not result.stdout:find("%S") then
    return errors.new{
      kind = "output_invalid", message = "the stage ended well but wrote no answer",
      hint = "execute must return a value; nothing else may end the program before it does",
    }
  end
  return errors.new{
    kind = "output_invalid",
    message = ("the stage's output is not one JSON value: %s (got: %s)"):format(
      reason, excerpt(result.stdout)),
    hint = is_plain_text(result.stdout) and "print JSON: a string needs its quotes"
      or "the answer must be all that reaches stdout",
  }
end

-- Exit 0 is success, whatever stderr says, if stdout is one JSON value.
local function answer(result, mode)
  if mode == "json" then
    local ok, reason = json.check(result.stdout)
    if not ok then return nil, invalid_output(result, reason) end
    return text.trim(result.stdout)
  end
  local value, reason = json.decode(result.stdout)
  if value == nil then return nil, invalid_output(result, reason) end
  return value
end

--- Judge a result.
-- @tparam table result of the process
-- @tparam table call the options of the call
-- @tparam table limits the resource limits that held
-- @tparam table policies
-- @tparam string mode "value" (decode the answer) or "json" (check it and leave it text)
-- @tparam table stage `effects` (parsed, as it declares them) and `code`
-- @return the answer; or nil and an error, whose `result` is the result
-- @treturn ?table
function M.judge(result, call, limits, policies, mode, stage)
  local output, err
  if BY_REASON[result.reason] then
    err = BY_REASON[result.reason](call, limits, result)
  elseif result.reason == "exit" and result.exit_code == 0 then
    output, err = answer(result, mode)
  else
    err = classify(result, policies, stage)
  end
  if err then err.result = result end
  return output, err
end

return M
