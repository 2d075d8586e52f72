-- SPDX-License-Identifier: MIT
--- Executors over one other executor: its interface, handed on.
-- A class gives `name` (what `info.spans` calls its own time) and `work(own, request)`: what one
-- execution does, within a task. It runs the stage by `M.attempt`, as often as it likes. It may
-- have a `prepare(request)`, which is asked first: false hands the request on as it is. Both get a
-- copy of the request (interface.lua) that is theirs to add to.
-- The inner executor stays the caller's: closing the outer one ends what was begun through it, and
-- does not close the inner one.
local config = require "noether.executor.config"
local errors = require "noether.error"
local foreign = require "noether.executor.foreign"
local interface = require "noether.executor.interface"
local options = require "noether.options"
local task = require "noether.run.task"

local M = {}

local Over = {}

local function closed()
  return errors.new{ kind = "closed", message = "the executor is closed" }
end

--- Make an executor over another one.
-- @tparam string fname the public function, for messages
-- @tparam table metatable of the class
-- @param inner the other executor
-- @param opts options, looked at where `inner` is none: `nil, err` may have come in their place
-- @treturn table without its settings
-- @raise if `inner` is no executor, at the line of the caller's caller
function M.new(fname, metatable, inner, opts)
  local adapted = foreign.adapted(inner)
  if adapted then
    return setmetatable({ inner = adapted, tasks = setmetatable({}, { __mode = "k" }) }, metatable)
  end
  local why = inner == nil and errors.is(opts) and ": " .. opts or "; " .. foreign.OR_OWN
  return options.raise(("%s: expected an executor of this library first, got %s%s"):format(fname,
    type(inner), why))
end

local function begin_inner(self, request, parent)
  return self.inner:begin{
    reference = request.reference, input = request.input, mode = request.mode,
    call = request.call.inner, parent = parent, on_plan = request.on_plan,
  }
end

--- Begin the stage in the inner executor, as part of a task, and wait for its outcome.
-- @tparam table self
-- @tparam table own the task
-- @tparam table request
-- @return output
-- @treturn ?table error
-- @treturn ?table info; nil where there was nothing to begin
function M.attempt(self, own, request)
  local part, err = begin_inner(self, request, own)
  if not part then return nil, err end
  return own:join(part)
end

--- Whether an outcome says that nothing of the stage has run.
-- @tparam ?table err
-- @tparam ?table info
-- @treturn boolean
function M.nothing_ran(err, info)
  if not err then return info ~= nil and info.cached end
  local fault = errors.fault(err.kind)
  if fault == "caller" or fault == "host" then return true end
  if err.result or (info and info.result) then return false end
  return fault == "us" or err.kind == "cancelled" or err.kind == "budget_exceeded"
    or err.kind == "effect_denied"
end

function Over:reference(fname, id)
  return self.inner:reference(fname, id)
end

function Over:check_call(fname, opts)
  options.check(fname, opts, config.CALL_OPTIONS)
  return { opts = opts or {}, inner = self.inner:check_call(fname, opts) }
end

function Over:decode(reference, text)
  return self.inner:decode(reference, text)
end

function Over:stage_of(reference)
  return self.inner:stage_of(reference)
end

--- @local
function Over:begin(given)
  if self.closed then return nil, closed() end
  local request = {
    reference = given.reference, input = given.input, mode = given.mode, call = given.call,
    on_plan = given.on_plan,
  }
  local is_plan = request.mode == "plan" or request.mode == "outline"
  if is_plan or (self.prepare and not self:prepare(request)) then
    return begin_inner(self, given, given.parent)
  end
  local started = task.new(function(own) return self:work(own, request) end,
    { cached = false, logs = "" }, given.parent, self.name)
  self.tasks[started] = true
  started:step()
  return started
end

--- What `execute` would run: the plan of the executor below.
-- @tparam string|table id
-- @param input
-- @tparam[opt] table opts
-- @treturn ?table plan; or nil and an error
-- @treturn ?table
function Over:plan(id, input, opts)
  options.method("executor:plan", self)
  if self.closed then return nil, closed() end
  return self.inner:plan(id, input, opts)
end

--- Whether the executor below knows a stage.
-- @tparam string id
-- @treturn boolean
function Over:has_implementation(id)
  options.method("executor:has_implementation", self)
  if self.closed then return false end
  return self.inner:has_implementation(id)
end

--- Give up this executor, and not the one below: what was begun through it is closed, which kills
-- what runs. Calls on it fail with `closed` from then on.
-- @treturn boolean true, however often it is called
function Over:close()
  if self.closed then return true end
  self.closed = true
  for running in pairs(self.tasks) do
    running:close()
  end
  return true
end

--- A new class with the methods of every executor, to which it adds `work`.
-- @tparam string name
-- @treturn table the class
-- @treturn table the metatable of its objects
function M.class(name)
  local class = interface.class()
  class.name = name
  for method, fn in pairs(Over) do
    class[method] = fn
  end
  return class, { __name = "noether." .. name, __index = class, __close = Over.close }
end

return M
