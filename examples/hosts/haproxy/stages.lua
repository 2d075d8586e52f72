-- SPDX-License-Identifier: MIT
-- A service of HAProxy, `lua.noether`: a request waits for its own stage, and nothing else does.
-- Whoever may post here may run code, sandboxed: `allow_effects` says how far.
local errors = require "noether.error"
local json = require "noether.json"
local noether = require "noether"

noether.preload() -- as root, before the workers' user: all that is read from files

local AT_ONCE = 2 -- stages, as many as there are processors; more requests wait
local WAIT_SECS = 60 -- and are sent away after so long
local TURN_MS = 5

local STATUS = { caller = 400, stage = 422, run = 422, host = 503, us = 503 }

local executor -- of the worker, made at its first request: it belongs to a process and a user
local running = 0

-- HAProxy polls no descriptor for Lua: each request asks its task.
local function await(task)
  while not task:step() do core.msleep(TURN_MS) end
  local output, err, info = task:wait(0)
  task:close()
  return output, err, info
end

local function perform(request)
  executor = executor or noether.check(noether.executor{
    timeout_secs = 10, allow_effects = { "Process" }, launcher = true,
  })
  local stage = { language = request.language, code = request.code, effects = request.effects }
  local task, err = executor:start(stage, request.input)
  local output, info
  if task then output, err, info = await(task) end
  if err then
    local told = { kind = err.kind, message = err.message, hint = err.hint }
    return STATUS[errors.fault(err.kind)], told
  end
  return 200, { output = output, isolation = info.isolation, enforced = info.enforced }
end

-- Whether there is a place for one more stage, in time.
local function has_place()
  local deadline = noether.clock() + WAIT_SECS
  while running >= AT_ONCE do
    if noether.clock() > deadline then return false end
    core.msleep(TURN_MS)
  end
  return true
end

local function run(text)
  local request = json.decode(text)
  if type(request) ~= "table" or type(request.language) ~= "string"
    or type(request.code) ~= "string" then
    return 400, { message = "expected an object with language and code" }
  end
  if not has_place() then return 503, { message = "too many stages wait" } end
  running = running + 1
  local ok, status, body = pcall(perform, request)
  running = running - 1
  if ok then return status, body end
  core.Alert(tostring(status))
  return 500, { message = "the server failed" }
end

core.register_service("noether", "http", function(applet)
  local status, body = run(applet:receive())
  local text = json.encode(body)
  applet:set_status(status)
  applet:add_header("content-type", "application/json")
  applet:add_header("content-length", #text)
  applet:start_response()
  applet:send(text)
end)
