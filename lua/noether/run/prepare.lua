-- SPDX-License-Identifier: MIT
--- First steps of an execution: the stage, its input and its script. No process is started.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local files = require "noether.run.files"
local hosts = require "noether.hosts"
local input = require "noether.stage.input"
local json = require "noether.json"
local outputs = require "noether.run.outputs"
local schemas = require "noether.stage.schema"
local tables = require "noether.tables"

local M = {}

local function fail(kind, message, hint)
  return nil, errors.new{ kind = kind, message = message, hint = hint }
end

local function find_stage(job)
  local stage, err = job.reference, nil
  if type(stage) ~= "table" then stage, err = job.executor:find(stage) end
  if not stage then return nil, err end
  if type(stage.code) ~= "string" or type(stage.language) ~= "string" then
    return fail("stage_not_found", "the stage has no code or no language",
      "this executor runs stages of code; another one may know this id")
  end
  job.stage = stage
  job.language, err = job.policies:language(stage.language)
  if not job.language then return nil, err end
  job.module = "languages/" .. job.language.name
  return true
end

local function check_allowed(job, declared)
  local allowed = job.call.allowed
  if not allowed then return true end
  local ok, effect = effects.allows(allowed, declared)
  if ok then return true end
  local _, err = fail("effect_denied", ("the stage declares %s, which this executor does not allow")
    :format(effect), "allow_effects lists what an executor allows")
  err.effect = effect
  return nil, err
end

-- A list of hosts that asks needs somebody to ask.
local function find_judge(job)
  local asked = job.effects.hosts and hosts.asked(job.effects.hosts)
  if not asked or job.call.on_network then return true end
  return fail("input_invalid", ("the stage declares Network(%s), which asks the function "
    .. "on_network, and none is given"):format(asked),
    "give it: on_network = function(host, port) return host == \"api.example.com\" end; a fleet's "
      .. "workers have nobody to ask")
end

-- To learn what a stage needs, no more is opened than it declares, and of that what was asked for.
local function check_effects(job)
  local declared, reason = effects.parse(job.stage.effects)
  if not declared then return fail("input_invalid", "stage: " .. reason) end
  job.effects = declared
  local opened = job.call.learn
  if not opened then return check_allowed(job, declared) end
  local ok, effect = effects.allows(declared, opened)
  if not ok then
    return fail("input_invalid", ("learn: the stage does not declare %s"):format(effect),
      "what is opened to learn what it needs is a part of what it declares")
  end
  job.effects = opened
  return check_allowed(job, opened)
end

-- The functions that the stage may call: a set of names, as it declares them, and the names it can
-- call by, sorted.
local function find_functions(job)
  local names = job.effects.calls
  -- Who learns hears of calls that are refused, where there is anything to call.
  local hears = job.call.learn and next(job.call.functions or {}) ~= nil
    and job.language.channel == 1
  if #names == 0 and not hears then return true end
  if job.language.channel ~= 1 then
    return fail("policy_error", ("the stage declares Call, and the policy languages/%s speaks no "
      .. "channel"):format(job.language.name), "a policy whose runner speaks it says channel = 1")
  end
  local given, known = job.call.functions or {}, {}
  job.declared = {}
  for _, name in ipairs(names) do
    job.declared[name] = true
    if name ~= "*" then known[name] = true end
    if name ~= "*" and not given[name] and not job.call.replay then
      return fail("input_invalid", ("the stage declares Call(%s), and no such function is given")
        :format(name), "give it: functions = { " .. name .. " = function(args) ... end }")
    end
  end
  if job.declared["*"] then known = tables.merged(known, given) end
  job.call_names = tables.sorted_names(known)
  return true
end

local function input_text(job)
  if job.mode ~= "json" then return json.encode(job.input, "input") end
  local limit = #job.input > input.MAX_BYTES and input.MAX_BYTES or nil
  local ok, reason = json.check(job.input)
  return ok and job.input, reason, limit
end

local function encode_input(job)
  local text, reason, limit = input_text(job)
  if not text then
    local _, err = fail("input_invalid", reason, limit and input.AS_A_FILE)
    err.limit = limit
    return nil, err
  end
  if job.policies:has(job.module, "check_input") then
    local value = job.mode ~= "json" and job.input or nil
    local called, ok, why = job.policies:call(job.module, "check_input", value, text)
    if not called then return nil, ok end
    if not ok then return fail("input_invalid", "input: " .. why) end
  end
  job.stdin = text .. "\n"
  return true
end

-- What a stage says that it takes.
local function check_schema(job)
  local schema = job.stage.input_schema
  if not schema then return true end
  local value = job.input
  if job.mode == "json" then value = json.decode(job.stdin) end
  local ok, reason = schemas.fits(schema, value, "input")
  if ok then return true end
  return fail("input_invalid", reason, "the stage's input_schema says what it takes")
end

-- What a language's policy is told of how its script is to be.
local function wrapping(job)
  return {
    legacy_input = job.call.legacy_input, processes = job.effects.process,
    calls = job.call_names, leftover_threads = job.call.on_leftover_threads,
    outputs = job.call.outputs ~= nil or nil,
  }
end

local function wrap(job)
  job.wrapping = wrapping(job)
  local called, script, reason = job.policies:call(job.module, "wrap", job.stage.code,
    job.wrapping)
  if not called then return nil, script end
  if not script then return fail("input_invalid", "the stage's code: " .. reason) end
  job.script = script
  return true
end

local function check_outputs(job)
  if not job.call.outputs then return true end
  local err
  job.patterns, err = outputs.parse(job.call.outputs, job.call.files or {})
  if not job.patterns then return nil, err end
  return true
end

local NO_SESSIONS = "a policy that has them gives wrap_session, and its runner speaks the channel"

local function wrap_session(job)
  if job.language.channel ~= 1 or not job.policies:has(job.module, "wrap_session") then
    return fail("policy_error", ("the policy languages/%s has no sessions"):format(
      job.language.name), NO_SESSIONS)
  end
  local called, script, reason = job.policies:call(job.module, "wrap_session", {
    processes = job.effects.process, calls = job.call_names,
  })
  if not called then return nil, script end
  if not script then return fail("policy_error", "a session: " .. reason) end
  job.script, job.stdin = script, script.stdin or ""
  return true
end

--- Write the script into the cache, if it is not there.
-- @tparam table job
-- @tparam table task
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.write_script(job, task)
  local cache, err = job.executor:open_cache()
  if not cache then return nil, err end
  local dir, warning
  dir, err, warning = cache:put_files(job.script.files)
  if not dir then return nil, err end
  if warning then task:warn(warning) end
  job.cache_dir, job.files_dir = cache.dir, dir
  return true
end

local function open_cache(job, task)
  local cache, err = job.executor:open_cache()
  if not cache then return nil, err end
  for _, warning in ipairs(cache.warnings) do
    task:warn(warning)
  end
  job.cache_dir = cache.dir
  return true
end

-- Bad input is told before the disk is touched, and the disk before any process is started.
local function store_script(job, task)
  local ok, err = open_cache(job, task)
  if not ok then return nil, err end
  return M.write_script(job, task)
end

--- The steps that touch no disk, in order.
M.STEPS = {
  find_stage, check_effects, find_judge, find_functions, encode_input, check_schema, wrap,
  files.check, check_outputs,
}

--- Of a session: there is no input, and code comes later.
M.SESSION_STEPS = {
  find_stage, check_effects, find_judge, find_functions, wrap_session, files.check,
}

--- Of a lock: nothing runs.
M.LOCK_STEPS = { find_stage, check_effects, open_cache }

--- The step that writes the script into the cache.
M.store_script = store_script

return M
