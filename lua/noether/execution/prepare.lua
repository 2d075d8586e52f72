-- SPDX-License-Identifier: MIT
--- First steps of an execution: the stage, its input and its script. No process is started.
local effects = require "noether.effects"
local errors = require "noether.error"
local json = require "noether.json"

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

local function check_effects(job)
  local declared, reason = effects.parse(job.stage.effects)
  if not declared then return fail("input_invalid", "stage: " .. reason) end
  job.effects = declared
  local allowed = job.call.allowed
  if not allowed then return true end
  local ok, effect = effects.allows(allowed, declared)
  if ok then return true end
  local _, err = fail("effect_denied", ("the stage declares %s, which this executor does not allow")
    :format(effect), "allow_effects lists what an executor allows")
  err.effect = effect
  return nil, err
end

local function input_text(job)
  if job.mode ~= "json" then return json.encode(job.input, "input") end
  local ok, reason = json.check(job.input)
  return ok and job.input, reason
end

local function encode_input(job)
  local text, reason = input_text(job)
  if not text then return fail("input_invalid", reason) end
  if job.policies:has(job.module, "check_input") then
    local value = job.mode ~= "json" and job.input or nil
    local called, ok, why = job.policies:call(job.module, "check_input", value, text)
    if not called then return nil, ok end
    if not ok then return fail("input_invalid", "input: " .. why) end
  end
  job.stdin = text .. "\n"
  return true
end

local function wrap(job)
  local called, script, reason = job.policies:call(job.module, "wrap", job.stage.code, {
    legacy_input = job.call.legacy_input, processes = job.effects.process,
  })
  if not called then return nil, script end
  if not script then return fail("input_invalid", "the stage's code: " .. reason) end
  job.script = script
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

-- Bad input is told before the disk is touched, and the disk before any process is started.
local function store_script(job, task)
  local cache, err = job.executor:open_cache()
  if not cache then return nil, err end
  for _, warning in ipairs(cache.warnings) do
    task:warn(warning)
  end
  return M.write_script(job, task)
end

--- The steps that touch no disk, in order.
M.STEPS = { find_stage, check_effects, encode_input, wrap }

--- The step that writes the script into the cache.
M.store_script = store_script

return M
