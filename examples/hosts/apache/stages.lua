-- SPDX-License-Identifier: MIT
-- Handlers of mod_lua: a request waits for its stage, in a thread of its own.
-- Whoever may post here may run code, sandboxed: `allow_effects` says how far.
local errors = require "noether.error"
local json = require "noether.json"
local noether = require "noether"

local MOST_BYTES = 1024 * 1024
local STATUS = { caller = 400, stage = 422, run = 422, host = 503, us = 503 }

local executor -- of this thread's state, made at its first request

local function perform(request)
  executor = executor or noether.check(noether.executor{
    timeout_secs = 10, allow_effects = { "Process" },
  })
  local stage = { language = request.language, code = request.code, effects = request.effects }
  local output, err, info = executor:execute(stage, request.input)
  if err then
    local told = { kind = err.kind, message = err.message, hint = err.hint }
    return STATUS[errors.fault(err.kind)], told
  end
  return 200, { output = output, isolation = info.isolation, enforced = info.enforced }
end

local function answer(r, status, body)
  r.status = status
  r.content_type = "application/json"
  r:write(json.encode(body))
  return apache2.OK
end

function run(r)
  local request = r.method == "POST" and json.decode((r:requestbody(nil, MOST_BYTES)))
  if type(request) ~= "table" or type(request.language) ~= "string"
    or type(request.code) ~= "string" then
    return answer(r, 400, { message = "expected an object with language and code" })
  end
  return answer(r, perform(request))
end

function ping(r)
  r:write("pong\n")
  return apache2.OK
end
