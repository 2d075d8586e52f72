-- SPDX-License-Identifier: MIT
--- An executor over executors: each stage runs in the first one that knows it.
local errors = require "noether.error"
local face = require "noether.face"
local options = require "noether.options"

local M = {}

local Composite = face.class()
local metatable = { __name = "noether.composite", __index = Composite }

local METHODS = { "start", "execute", "execute_json", "plan", "has_implementation" }

local function is_executor(value)
  if type(value) ~= "table" then return false end
  for _, name in ipairs(METHODS) do
    if type(value[name]) ~= "function" then return false end
  end
  return true
end

-- An executor that could not be made leaves a hole: better missed now than when it is wanted.
local function copy_list(executors)
  options.argument("composite", "executors", executors, "list", 4)
  local own = {}
  for index, executor in ipairs(executors) do
    if not is_executor(executor) then
      error(("composite: executors[%d]: expected an executor"):format(index), 3)
    end
    own[index] = executor
  end
  return own
end

--- Make an executor that asks others in turn.
-- They stay the caller's: closing this one does not close them.
-- @tparam {AnyExecutor,...} executors a list, asked in its order
-- @treturn AnyExecutor the executor
-- @raise if it is no list, or holds something else
-- @usage
-- local own = noether.inline{ double = function(n) return n * 2 end }
-- local executor = noether.composite{ own, noether.check(noether.executor()) }
-- print((executor:execute("double", 21))) --> 42
function M.new(executors, ...)
  if is_executor(executors) or select("#", ...) > 0 then
    error("composite: executors: expected one list, as in noether.composite{ a, b }", 2)
  end
  return setmetatable({ executors = copy_list(executors) }, metatable)
end

local function choose(self, id)
  if self.closed then
    return nil, errors.new{ kind = "closed", message = "the executor is closed" }
  end
  for _, executor in ipairs(self.executors) do
    if executor:has_implementation(id) then return executor end
  end
  return nil, errors.new{
    kind = "stage_not_found", message = ("no executor has a stage '%s'"):format(tostring(id)),
    hint = "executor:has_implementation(id) tells which executor knows a stage",
  }
end

-- The options are for the one that runs the stage to check, so they pass through as they are.
function Composite.check_call(_, _, opts)
  return opts
end

-- An executor that is not of this library has no more than the public face.
function Composite:begin(id, input, opts, mode, parent)
  local executor, err = choose(self, id)
  if not executor then return nil, err end
  if not executor.begin then return executor:start(id, input, opts) end
  local reference
  reference, err = executor:reference("executor:start", id)
  if not reference then return nil, err end
  local call = executor:check_call("executor:start", opts)
  return executor:begin(reference, input, call, mode, parent)
end

function Composite:stage_of(id)
  local executor = choose(self, id)
  return executor and executor.stage_of and executor:stage_of(id) or nil
end

--- As `execute` of the first executor that knows the stage, with JSON text.
-- @tparam string id
-- @tparam string text
-- @tparam[opt] table opts
-- @treturn ?string JSON text
-- @treturn ?table error
-- @treturn ?table info
function Composite:execute_json(id, text, opts)
  options.method("executor:execute_json", self)
  local executor, err = choose(self, id)
  if not executor then return nil, err end
  return executor:execute_json(id, text, opts)
end

--- The plan of the first executor that knows the stage.
-- @tparam string id
-- @param input
-- @tparam[opt] table opts
-- @treturn ?table plan; or nil and an error
-- @treturn ?table
function Composite:plan(id, input, opts)
  options.method("executor:plan", self)
  local executor, err = choose(self, id)
  if not executor then return nil, err end
  return executor:plan(id, input, opts)
end

--- Whether one of the executors knows a stage.
-- @tparam string id
-- @treturn boolean
function Composite:has_implementation(id)
  options.method("executor:has_implementation", self)
  return not self.closed and choose(self, id) ~= nil
end

--- Give up this executor, and not those it asks.
-- @treturn boolean true
function Composite:close()
  self.closed = true
  return true
end

metatable.__close = Composite.close

return M
