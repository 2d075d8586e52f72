-- SPDX-License-Identifier: MIT
--- Executors that are not of this library, with the interface of those that are.
--
-- Somebody's own executor is a table with `has_implementation(id)`, and `execute` or `start`;
-- docs/executors.md says what each method takes and gives. What it has not is made of what it has:
-- its task becomes a task of ours, that waits for it; JSON as text becomes a value, and the answer
-- text again. What it raises reaches whoever begins or waits.
local errors = require "noether.error"
local interface = require "noether.executor.interface"
local json = require "noether.json"
local options = require "noether.options"
local tasks = require "noether.run.task"

local M = {}

local Foreign = interface.class()
local metatable = { __name = "noether.foreign", __index = Foreign }

local LOOK_SECS = 0.02 -- until the next look at a task that has no descriptor

-- As a process is waited for by a task: somebody else's task.
local Waiting = {}
local waiting_metatable = { __index = Waiting }

local function method(object, name)
  local ok, fn = pcall(function() return object[name] end)
  return ok and type(fn) == "function" and fn or nil
end

-- Keeps the outcome, if it is one.
local function note(self, output, err, info)
  if type(err) == "table" and err.kind == "pending" then return false end
  self.outcome = { output, err, info }
  return true
end

local function new_waiting(own, task)
  local fd = method(task, "pollfd") and task:pollfd()
  local watched = fd and own:watch(fd) and fd or nil
  return setmetatable({ own = own, task = task, watched = watched }, waiting_metatable)
end

function Waiting:step()
  if self.outcome then return true end
  if method(self.task, "step") and not self.task:step() then return false end
  return note(self, self.task:wait(0))
end

function Waiting:wait(secs)
  if not self.outcome then note(self, self.task:wait(secs)) end
end

function Waiting:timeout()
  if self.outcome then return 0 end
  local secs = method(self.task, "timeout") and self.task:timeout() or nil
  return self.watched and secs or math.min(secs or LOOK_SECS, LOOK_SECS)
end

function Waiting:cancel()
  if method(self.task, "cancel") then self.task:cancel() end
end

-- A descriptor is taken out before it is closed: a forked copy of the host may hold another one.
function Waiting:close()
  if self.watched then self.own:unwatch(self.watched) end
  self.watched = nil
  if method(self.task, "close") then self.task:close() end
end

function Waiting:result()
  return self.outcome[1], self.outcome[2], self.outcome[3]
end

-- An outcome as this library has it: nil is JSON null, as of a function of `noether.inline`, and a
-- message is the stage's failure.
local function outcome(own, output, err, info)
  if type(info) == "table" then own:learn(info) end
  if err == nil then
    if output == nil then output = json.null end
    return output
  elseif errors.is(err) then
    return nil, err
  end
  return nil, errors.new{ kind = "stage_failed", message = tostring(err) }
end

local function await(own, task)
  return outcome(own, own:await(own:hold(new_waiting(own, task))))
end

local function run_value(executor, own, id, input, opts)
  if not method(executor, "start") then
    return outcome(own, executor:execute(id, input, opts))
  end
  local task, err = executor:start(id, input, opts)
  if not task then return outcome(own, nil, err) end
  return await(own, task)
end

local function invalid(message)
  return nil, errors.new{ kind = "input_invalid", message = message }
end

-- Its answer as text: what it gave, if that is JSON.
local function own_text(own, answer, err, info)
  local text
  text, err = outcome(own, answer, err, info)
  if err then return nil, err end
  if text == json.null then return "null" end
  local ok, reason = nil, "it is no string"
  if type(text) == "string" then ok, reason = json.check(text) end
  if ok then return text end
  return nil, errors.new{ kind = "output_invalid", message = "the executor's answer: " .. reason }
end

local function run_json(executor, own, id, text, opts)
  if method(executor, "execute_json") then
    return own_text(own, executor:execute_json(id, text, opts))
  end
  local value, reason = json.decode(text)
  if value == nil then return invalid(reason) end
  local output, err = run_value(executor, own, id, value, opts)
  if err then return nil, err end
  local answer
  answer, reason = json.encode(output, "output")
  if answer then return answer end
  return nil, errors.new{ kind = "output_invalid", message = reason }
end

--- @local
function Foreign:begin(request)
  local run = request.mode == "json" and run_json or run_value
  local started = tasks.new(function(own)
    own:enter("run")
    return run(self.executor, own, request.reference, request.input, request.call)
  end, { cached = false, logs = "" }, request.parent)
  started:step()
  return started
end

-- Its options are its own to check.
function Foreign.check_call(_, _, opts)
  return opts
end

function Foreign:stage_of(reference)
  local ask = method(self.executor, "stage_of")
  local stage = ask and ask(self.executor, reference)
  return type(stage) == "table" and stage or nil
end

function Foreign:plan(id, input, opts)
  options.method("executor:plan", self)
  if not method(self.executor, "plan") then
    return invalid("the executor that has this stage makes no plans")
  end
  return self.executor:plan(id, input, opts)
end

function Foreign:has_implementation(id)
  options.method("executor:has_implementation", self)
  return self.executor:has_implementation(id) and true or false
end

-- It stays its owner's: there is nothing here to give up.
function Foreign.close()
  return true
end

--- What else will do where an executor is expected, for messages.
M.OR_OWN = "one of your own has has_implementation, and execute or start: docs/executors.md"

--- An executor with the interface of this library.
-- @param value
-- @treturn ?table the value itself, if it has it; one that asks it; nil if it is no executor
function M.adapted(value)
  if interface.is_executor(value) then return value end
  if type(value) ~= "table" or not method(value, "has_implementation") then return nil end
  if not method(value, "execute") and not method(value, "start") then return nil end
  return setmetatable({ executor = value }, metatable)
end

return M
