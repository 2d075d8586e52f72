-- SPDX-License-Identifier: MIT
--- One stage over many inputs, so many at once: what `map` and `each` of every executor share.
--
-- A batch starts tasks while there are inputs and fewer than `jobs` run, and gives their records as
-- they come. Inputs are pulled one at a time, so that they may be endless. What is raised, by a
-- callback of a call or by the function that gives the inputs, is kept: with on_error = "stop" the
-- rest is cancelled, else it goes on; and when no record is left, it is raised.
local errors = require "noether.error"
local options = require "noether.options"
local sets = require "noether.set"
local sys = require "noether.sys"

local M = {}

--- The options of `map`; those of a call come beside them.
M.MAP_OPTIONS = {
  jobs = "count", on_error = { "continue", "stop" }, on_record = "function",
  on_progress = "function", trace = "path", per_input = "function",
}

--- What `per_input` may say of a call.
M.PER_INPUT = {
  files = "table", env = "variables", outputs = "strings", output_dir = "path",
}

local Batch = {}
local metatable = { __name = "noether.batch", __index = Batch }

local function is_callable(value)
  return (options.matches(value, "function"))
end

-- A function that gives one input after the other, then nil; and how many there are, if that is
-- known.
local function source(inputs)
  if is_callable(inputs) then return inputs, nil end
  local position, total = 0, #inputs
  return function()
    position = position + 1
    return inputs[position]
  end, total
end

--- Check and divide the options of `map` and `each`.
-- @tparam string fname "executor:map"
-- @param inputs
-- @tparam ?table opts
-- @treturn table the batch's own options
-- @treturn table the rest, for the executor to check
-- @raise on a wrong one, at the line of the caller's caller
function M.check(fname, inputs, opts)
  if not is_callable(inputs) then
    if type(inputs) ~= "table" then
      options.raise(("%s: inputs: expected a list or a function that gives them, got %s"):format(
        fname, type(inputs)))
    end
    options.argument(fname, "inputs", inputs, "list")
  end
  if opts ~= nil then options.argument(fname, "options", opts, "table") end
  local own, rest = {}, {}
  for name, value in pairs(opts or {}) do
    if M.MAP_OPTIONS[name] then own[name] = value else rest[name] = value end
  end
  options.check(fname, own, M.MAP_OPTIONS)
  return own, rest
end

local MANY = 4 -- times as many as run at once

--- How many run at once, where there are so many that it pays to prepare for them.
-- @tparam table|function inputs
-- @tparam table opts of @{check}
-- @treturn ?number nil where there are fewer, and where nobody knows how many there are
function M.jobs_of_many(inputs, opts)
  local jobs = opts.jobs or sys.cpu_count()
  return not is_callable(inputs) and #inputs >= MANY * jobs and jobs or nil
end

--- Make a batch. Nothing is started yet.
-- @tparam function begin takes an input and its index, returns a task, or nil and an error
-- @tparam table|function inputs a list, or a function that gives the next or nil
-- @tparam table opts of @{check}
-- @tparam ?table trace what is told of each record, and closed: `add(index, record)`, `close()`
-- @tparam ?table prepared what was prepared for it, to be closed with it
-- @treturn ?table the batch; or nil and an error (`spawn_failed`: no descriptor is left)
-- @treturn ?table
function M.new(begin, inputs, opts, trace, prepared)
  local set, err = sets.new()
  if not set then return nil, err end
  local pull, total = source(inputs)
  return setmetatable({
    begin = begin, pull = pull, total = total, set = set, indices = {}, early = {},
    jobs = opts.jobs or sys.cpu_count(), stops = opts.on_error == "stop",
    on_record = opts.on_record, on_progress = opts.on_progress, started = 0, done = 0,
    trace = trace, prepared = prepared,
  }, metatable)
end

local function not_started()
  return errors.new{ kind = "cancelled", message = "not started: another input failed first" }
end

local function raised_by_callback()
  return errors.new{ kind = "cancelled", message = "a callback of this run raised an error" }
end

local function cancel_rest(self)
  self.stopped = true
  for task in pairs(self.indices) do
    task:cancel()
  end
end

-- Calls a function of the caller's; what it raises is kept.
local function guarded(self, fn, ...)
  local ok, value = pcall(fn, ...)
  if ok then return value end
  if not self.raised then self.raised = { value } end
  if self.stops then cancel_rest(self) end
  return nil
end

-- What it begins depends on a function of the caller's, too.
local function begin(self, input, index)
  local ok, task, err = pcall(self.begin, input, index)
  if ok then return task, err end
  self.raised = self.raised or { task }
  if self.stops then cancel_rest(self) end
  return nil, raised_by_callback()
end

-- One that has raised, and stopped everything by it, is not asked for more.
local function tell(self, callback, ...)
  if callback and not (self.raised and self.stops) then guarded(self, callback, ...) end
end

-- Starts the next input, or notes why not. False when there is none.
local function start_next(self)
  local input = guarded(self, self.pull)
  if input == nil then
    self.total = self.total or self.started
    self.at_end = true
    return false
  end
  local index = self.started + 1
  self.started = index
  local task, err
  if self.stopped then err = not_started() else task, err = begin(self, input, index) end
  if task then
    self.indices[task] = index
    local added
    added, err = self.set:add(task)
    if added then return true end
    self.indices[task] = nil
    task:close()
  end
  table.insert(self.early, { index = index, record = { err = err } })
  return true
end

-- After a stop nothing is pulled any more from a function, which need not have an end.
local function may_start(self)
  if self.at_end or (self.stopped and not self.total) then return false end
  return self.stopped or self.set:count() < self.jobs
end

local function fill(self)
  while #self.early == 0 and may_start(self) and start_next(self) do end
end

local function record_of(self, task)
  local ok, output, err, info = pcall(task.wait, task, 0)
  task:close()
  if ok then return { output = output, err = err, info = info } end
  if not self.raised then self.raised = { output } end
  return {
    err = raised_by_callback(),
    info = task.info,
  }
end

local function next_record(self)
  fill(self)
  local early = table.remove(self.early, 1)
  if early then return early.index, early.record end
  local task = self.set:next()
  if not task then return nil end
  local index = self.indices[task]
  self.indices[task] = nil
  return index, record_of(self, task)
end

--- The next record, in the order in which they come.
-- @treturn ?number the input's position; nil after the last
-- @treturn ?table `{ output, err, info }`; after the last an error if the trace was not written
-- @raise after the last record, what was raised first
function Batch:next()
  if self.closed then return nil end
  local index, record = next_record(self)
  if not index then
    self:close()
    if self.raised then error(self.raised[1], 0) end
    return nil, self.trace_err
  end
  self.done = self.done + 1
  if self.trace then self.trace:add(index, record) end
  if record.err and self.stops and not self.stopped then cancel_rest(self) end
  fill(self) -- it runs while the caller looks at this one
  tell(self, self.on_record, index, record)
  tell(self, self.on_progress, self.done, self.total)
  return index, record
end

--- Give the batch up: what runs is killed. The trace, if there is one, is written.
-- @treturn boolean true, however often it is called
function Batch:close()
  if self.closed then return true end
  self.closed = true
  for task in pairs(self.indices) do
    task:close()
  end
  self.indices = {}
  if self.prepared then self.prepared:close() end
  if self.trace then self.trace_err = select(2, self.trace:close()) end
  return self.set:close()
end

metatable.__close = Batch.close
metatable.__call = Batch.next

return M
