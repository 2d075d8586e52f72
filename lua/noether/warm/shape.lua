-- SPDX-License-Identifier: MIT
--- Which runs may use the same spares: those whose processes would be started in the same way, all
-- but what comes with the request (code, input, deadline, limits of output). Effects, variables,
-- limits, binds, interpreter and runner are what a shape is, so a spare of another one never fits.
local json = require "noether.json"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local put

-- A list in its order, then names in theirs.
local function put_table(out, value)
  local count, names = #value, {}
  for index = 1, count do
    put(out, value[index])
  end
  for name in pairs(value) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = name
    out[#out + 1] = "="
    put(out, value[name])
  end
end

function put(out, value)
  local kind = type(value)
  if kind == "table" then
    out[#out + 1] = "{"
    put_table(out, value)
    out[#out + 1] = "}"
  elseif kind == "string" then
    out[#out + 1] = #value
    out[#out + 1] = ":"
    out[#out + 1] = value
  else
    out[#out + 1] = tostring(value)
    out[#out + 1] = ";"
  end
end

-- Plain data of lists and names as text: the same for the same and for nothing else. Mostly it is
-- what JSON can hold, which is written by C: this is done in each call.
local function text_of(value)
  local text = json.canonical(value)
  if text then return text end
  local out = { "\1" }
  put(out, value)
  return table.concat(out)
end

-- Plain data with one directory in another's place, wherever it or a path in it is named.
local function moved(value, from, to)
  if type(value) == "string" then
    if value == from then return to end
    return value:sub(1, #from + 1) == from .. "/" and to .. value:sub(#from + 1) or value
  elseif type(value) ~= "table" then
    return value
  end
  local copy = {}
  for name, item in pairs(value) do
    copy[name] = moved(item, from, to)
  end
  return copy
end

-- A directory that is held by a sandbox that waits cannot be unmounted, and may be another one by
-- the time that there is a request.
local function binds_of_its_own(job)
  local call = job.call
  if call.work_dir or call.files or call.outputs then return true end
  for _, effect in ipairs(job.effects.list) do
    if effect.path or effect.hosts then return true end
  end
  return false
end

-- The plans that what waits can carry out: another transport's are nothing for it.
local KIND = "exec"

--- Whether processes for such a run can be started ahead of their request.
-- @tparam table job of which the plan is made
-- @treturn boolean
function M.is_fit(job)
  return job.plan.kind == KIND and job.language.ahead ~= nil and job.script.own ~= nil
    and not binds_of_its_own(job)
end

local function wrapped(job, ahead)
  local called, script = job.policies:call(job.module, "wrap", job.stage.code,
    tables.merged(job.wrapping, { ahead = ahead }))
  if not called or not script or script.own ~= job.script.own then return nil end
  local files = tables.merged(script.files)
  files[script.own] = nil
  return files
end

-- Nothing of this comes with a request.
local LIMITS_OF_REQUEST = { timeout_secs = true, max_output_bytes = true, max_stderr_bytes = true }

local function limits_of_process(limits)
  local own = {}
  for name, value in pairs(limits) do
    if not LIMITS_OF_REQUEST[name] then own[name] = value end
  end
  return own
end

-- A fork server has no network, and its copies find what it found.
local function may_fork(job)
  local sandbox = job.plan.sandbox
  return sandbox.backend == "native" and sandbox.network == "none"
    and #(sandbox.rw_binds or {}) == 0
end

-- Nil where none can be had.
local function files_of_server(job, imports, wrapping, known)
  if not job.language.forks or not may_fork(job) then return nil end
  local limits = {
    memory_bytes = job.plan.limits.memory_bytes, processes = job.plan.limits.processes,
  }
  local key = text_of{ wrapping, limits }
  known[key] = known[key] or wrapped(job, { imports = imports, fork = limits })
  return known[key]
end

-- Without the name of the script's directory, which is as long for each.
local function without(text, dir)
  return (text:gsub(dir:gsub("%p", "%%%0"), "\0"))
end

--- The shape of a run.
-- @tparam table job of which the plan is made, and that is fit
-- @tparam table settings the option `warm`
-- @tparam table known files of runners by a key, which this adds to
-- @treturn ?table `key`; `plan`, `private` and `files_dir`, by which a process is started; `files`
-- (text by name), that it needs for it; `how` a request comes; nil where the runner cannot be had
function M.of(job, settings, known)
  local plan = job.plan
  local wrapping = text_of{ job.module, job.wrapping, settings.imports }
  local files = known[wrapping] or wrapped(job, { imports = settings.imports })
  if not files then return nil end
  known[wrapping] = files
  local server_files = files_of_server(job, settings.imports, wrapping, known)
  local parts = {
    wrapping = wrapping, env = plan.env, secrets = job.call.env, runtime = plan.runtime,
    limits = limits_of_process(plan.limits), launcher = job.call.launcher, user = sys.geteuid(),
    cwd = plan.sandbox.backend == "none" and sys.realpath "." or nil,
  }
  return {
    key = without(text_of{ plan.argv, plan.sandbox }, job.files_dir) .. text_of(parts),
    plan = plan, files_dir = job.files_dir,
    private = { env = job.call.env, launcher = job.call.launcher }, files = files,
    own = job.script.own, how = job.language.ahead, language = job.language.name,
    imports = settings.imports, root = job.cache_dir .. "/scripts", script_dir = job.script_dir,
    forks = server_files and job.language.forks, server_files = server_files,
  }
end

--- The plan of a process of this shape.
-- @tparam table shape
-- @tparam string dir in which its script lies
-- @treturn Plan
function M.plan_in(shape, dir)
  local plan = shape.plan
  return tables.merged(plan, {
    argv = moved(plan.argv, shape.files_dir, dir),
    sandbox = moved(plan.sandbox, shape.files_dir, dir),
  })
end

return M
