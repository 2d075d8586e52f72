-- SPDX-License-Identifier: MIT
--- An executor that tries again what may go better the next time.
--
-- Two questions come before each new attempt. Can this error heal? What is the caller's or the
-- stage's mistake will be one again. And may the stage be run again? Where nothing of it ran,
-- always. Where it had begun, it may have sent a message or written half a file: then only if its
-- effects allow it (no Network, FsWrite, Call or Unknown, no `work_dir`), or the caller said so by
-- `repeat_effects`.
--
-- Between attempts the task sleeps: `backoff_secs`, twice that, and so on up to `max_backoff_secs`,
-- each time shortened by up to a half, so that many who failed together do not come back together.
-- The half is drawn from a hash of process, moment and attempt: math.random is the host's.
local effects = require "noether.stage.effects"
local over = require "noether.executor.over"
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

local Retry, metatable = over.class("retry")

--- The options of @{new}.
M.OPTIONS = {
  attempts = "whole", kinds = "strings", backoff_secs = "amount", max_backoff_secs = "amount",
  repeat_effects = "boolean",
}

M.DEFAULTS = { attempts = 3, backoff_secs = 0.1, max_backoff_secs = 30, repeat_effects = false }

--- What is tried again if nothing else is said.
M.DEFAULT_KINDS = {
  "cache_failed", "packages_failed", "queue_full", "queue_unavailable", "sandbox_failed",
  "setup_timed_out", "spawn_failed", "store_failed",
}

-- What the system says that it may not say the next time.
local PASSING = {
  EAGAIN = true, EBUSY = true, EDQUOT = true, EINTR = true, EIO = true, EMFILE = true,
  ENFILE = true, ENOBUFS = true, ENOMEM = true, ENOSPC = true, ESTALE = true, ETIMEDOUT = true,
}

local function always()
  return true
end

local function by_errno(err)
  return PASSING[err.errno] == true
end

-- A store that is not of this library has no errno to show.
local function by_errno_if_any(err)
  return err.errno == nil or by_errno(err)
end

--- What can heal, and which errors of the kind.
M.HEALS = {
  cache_failed = by_errno, sandbox_failed = by_errno, spawn_failed = by_errno,
  queue_full = always, queue_unavailable = always, session_busy = always,
  store_failed = by_errno_if_any, packages_failed = always, runtime_unavailable = always,
  setup_timed_out = always, stage_failed = always, timed_out = always,
}

local SAME_CALL = "the same call is wrong again"
local SAME_LIMIT = "the same input meets the same limit again"
local SAME_POLICY = "this machine and its policies stay what they are"

--- Why the others cannot.
M.CANNOT_HEAL = {
  stage_not_found = SAME_CALL, input_invalid = SAME_CALL, language_unknown = SAME_CALL,
  closed = SAME_CALL, pending = SAME_CALL, replay_diverged = SAME_CALL, call_limit = SAME_CALL,
  package_rejected = SAME_POLICY,
  isolation_unavailable = SAME_POLICY, policy_error = SAME_POLICY, output_limit = SAME_LIMIT,
  memory_limit = SAME_LIMIT, cpu_limit = SAME_LIMIT, budget_exceeded = "it is spent",
  cancelled = "it was wanted", job_expired = "its time is over",
  job_dead = "it may have done what must not be done twice",
  session_lost = "a session that is over stays so: reset makes a new one",
  output_invalid = "the stage's code stays what it is",
  output_missing = "the stage's code stays what it is", output_files_limit = SAME_LIMIT,
  effect_denied = "the stage's code stays what it is",
}

-- What a stage may have done to the world, or may not be asked about.
local LASTING = { Network = true, FsWrite = true, Unknown = true, Call = true }

local function wanted_kinds(given)
  local wanted = {}
  for index, kind in ipairs(given or M.DEFAULT_KINDS) do
    if M.CANNOT_HEAL[kind] then
      options.raise(("retry: option 'kinds': '%s' cannot heal: %s"):format(kind,
        M.CANNOT_HEAL[kind]))
    elseif not M.HEALS[kind] then
      options.raise(("retry: option 'kinds': [%d]: %s"):format(index,
        options.unknown("kind", kind, M.HEALS)))
    end
    wanted[kind] = true
  end
  return wanted
end

--- Make an executor that tries again in another one.
-- `info.attempts` of its calls lists each attempt: `duration_secs`; of one that failed `kind`,
-- `message` and `errno`; and `wait_secs`, how long it slept after it.
-- @tparam AnyExecutor executor it stays the caller's: closing this one does not close it
-- @tparam[opt] RetryOptions opts docs/many.md says which kinds can be tried again at
-- @treturn AnyExecutor the executor
-- @raise on a wrong option, a kind that cannot heal among them
-- @usage
-- local calls = 0
-- local flaky = noether.inline{ try = function()
--   calls = calls + 1
--   if calls == 1 then return nil, "not yet" end
--   return calls
-- end }
-- local executor = noether.retry(flaky, { kinds = { "stage_failed" }, backoff_secs = 0.01,
--   repeat_effects = true })
-- print((executor:execute("try"))) --> 2
function M.new(executor, opts)
  local self = over.new("retry", metatable, executor, opts)
  local given = options.check("retry", opts, M.OPTIONS)
  self.kinds = wanted_kinds(given.kinds)
  for name, default in pairs(M.DEFAULTS) do
    self[name] = default
    if given[name] ~= nil then self[name] = given[name] end
  end
  return self
end

local function draw(number)
  local digest = sys.sha256(("%d %.9f %d"):format(sys.getpid(), sys.clock(), number))
  return tonumber(digest:sub(1, 8), 16) / 2 ^ 32
end

local function pause_after(self, number)
  local secs = math.min(self.backoff_secs * 2 ^ (number - 1), self.max_backoff_secs)
  return secs * (1 - draw(number) / 2)
end

-- What the stage may have done already and would do again; nil if nothing.
local function lasting_effect(self, request)
  if request.call.opts.work_dir then return "it writes to its work_dir" end
  local stage = self.inner:stage_of(request.reference)
  local declared = stage and effects.parse(stage.effects)
  if not declared then return "it is not known what it does" end
  for _, effect in ipairs(declared.list) do
    if LASTING[effect.effect] then return "it declares " .. effects.format(effect) end
  end
  return nil
end

local function is_worth_it(self, own, request, err, info)
  if not self.kinds[err.kind] or not M.HEALS[err.kind](err) then return false end
  if self.repeat_effects or over.nothing_ran(err, info) then return true end
  local reason = lasting_effect(self, request)
  if reason then own:warn("not tried again: the stage had begun, and " .. reason) end
  return not reason
end

-- What a failed attempt has left would be in the way of the next one.
local function take_back(info)
  for _, output in ipairs(info and info.outputs or {}) do
    if type(output.path) == "string" then sys.unlink(output.path) end
  end
end

--- @local
function Retry:work(own, request)
  local attempts, output, err = {}, nil, nil
  for number = 1, self.attempts do
    local began = sys.clock()
    local info
    output, err, info = over.attempt(self, own, request)
    local attempt = { duration_secs = sys.clock() - began }
    attempts[number] = attempt
    if not err then break end
    attempt.kind, attempt.message, attempt.errno = err.kind, err.message, err.errno
    if number == self.attempts or not is_worth_it(self, own, request, err, info) then break end
    take_back(info)
    attempt.wait_secs = pause_after(self, number)
    own:sleep(attempt.wait_secs)
    if own.is_cancelled then break end
  end
  own.info.attempts = attempts
  return output, err
end

return M
