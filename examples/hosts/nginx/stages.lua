-- SPDX-License-Identifier: MIT
-- Stages in an nginx worker, for lua-nginx-module: a request waits for its own, and the worker for
-- none. Whoever may post here may run code, sandboxed: `allow_effects` says how far.
local errors = require "noether.error"
local json = require "noether.json"
local noether = require "noether"
local semaphore = require "ngx.semaphore"

local AT_ONCE = 2 -- stages, as many as there are processors; more requests wait in their order
local WAIT_SECS = 60 -- and are sent away after so long
local TURN_SECS = 0.005

local STATUS = { caller = 400, stage = 422, run = 422, host = 503, us = 503 }

local M = {}

local executor, set, places
local ended = {} -- by task: what its request waits for
local turning = false

--- Make what a worker keeps, and find out which sandbox works: in init_worker_by_lua.
function M.open()
  -- With a launcher the worker does not stand still while a supervisor is started.
  executor = noether.check(noether.executor{
    timeout_secs = 10, allow_effects = { "Process" }, launcher = true,
  })
  set = noether.check(noether.set())
  places = semaphore.new(AT_ONCE)
  local trial = { language = "bash", code = "execute() { echo 1; }" }
  local _, err, info = executor:execute(trial)
  ngx.log(ngx.NOTICE, "noether: ", err and tostring(err) or info.isolation)
end

-- nginx polls no descriptor for Lua: while anything runs, one timer asks the set.
local function turn()
  while set:count() > 0 do
    local task = set:next(0)
    while task do
      ended[task]:post()
      task = set:next(0)
    end
    ngx.sleep(TURN_SECS)
  end
  turning = false
end

local function await(task)
  local over = semaphore.new(0)
  ended[noether.check(set:add(task))] = over
  if not turning then turning = ngx.timer.at(0, turn) end
  over:wait(WAIT_SECS)
  ended[task] = nil
  local output, err, info = task:wait(0)
  task:close()
  return output, err, info
end

local function answer(status, body)
  ngx.status = status
  ngx.header.content_type = "application/json"
  ngx.say((json.encode(body)))
end

local function perform(request)
  local stage = { language = request.language, code = request.code, effects = request.effects }
  local task, err = executor:start(stage, request.input)
  local output, info
  if task then output, err, info = await(task) end
  if err then
    local told = { kind = err.kind, message = err.message, hint = err.hint }
    return answer(STATUS[errors.fault(err.kind)], told)
  end
  return answer(200, { output = output, isolation = info.isolation, enforced = info.enforced })
end

--- Run the stage that was posted, `{ language, code, effects, input }`: in content_by_lua.
function M.run()
  ngx.req.read_body()
  local request = json.decode(ngx.req.get_body_data() or "")
  if type(request) ~= "table" or type(request.language) ~= "string"
    or type(request.code) ~= "string" then
    return answer(400, { message = "expected an object with language and code" })
  end
  if not places:wait(WAIT_SECS) then return answer(503, { message = "too many stages wait" }) end
  local ok, message = pcall(perform, request)
  places:post()
  if not ok then
    ngx.log(ngx.ERR, tostring(message))
    answer(500, { message = "the server failed" })
  end
end

return M
