-- SPDX-License-Identifier: MIT
--- An executor over executors: each stage runs in the first one that knows it.
local errors = require "noether.error"
local foreign = require "noether.executor.foreign"
local interface = require "noether.executor.interface"
local options = require "noether.options"
local tables = require "noether.tables"

local M = {}

local Composite = interface.class()
local metatable = { __name = "noether.composite", __index = Composite }

-- An executor that could not be made leaves a hole: better missed now than when it is wanted.
local function copy_list(executors)
  options.argument("composite", "executors", executors, "list")
  local own = {}
  for index, executor in ipairs(executors) do
    own[index] = foreign.adapted(executor)
    if not own[index] then
      options.raise(("composite: executors[%d]: expected an executor, got %s; %s"):format(index,
        type(executor), foreign.OR_OWN))
    end
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
  if foreign.adapted(executors) or select("#", ...) > 0 then
    options.raise("composite: executors: expected one list, as in noether.composite{ a, b }")
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

--- @local
function Composite:begin(request)
  local executor, err = choose(self, request.reference)
  if not executor then return nil, err end
  local reference
  reference, err = executor:reference("executor:start", request.reference)
  if not reference then return nil, err end
  return executor:begin(tables.merged(request, {
    reference = reference, call = executor:check_call("executor:start", request.call),
  }))
end

function Composite:decode(id, text)
  local executor, err = choose(self, id)
  if not executor then return nil, err end
  return executor:decode(id, text)
end

function Composite:stage_of(id)
  local executor = choose(self, id)
  return executor and executor:stage_of(id) or nil
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
