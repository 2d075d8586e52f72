-- SPDX-License-Identifier: MIT
--- What every executor has in common: all is built on beginning a task.
-- A class gives `begin(reference, input, call, mode)` and `check_call(fname, opts)`, which raises
-- on a wrong option and returns what `begin` takes as `call`. It may have a `reference(fname, id)`
-- of its own, for what else than a name may stand for a stage.
local options = require "noether.options"
local process = require "noether.process"
local source = require "noether.source"
local sys = require "noether.sys"

local M = {}

local Face = {}

--- Begin a task and wait for its outcome.
-- @tparam table self an executor
-- @param reference as `self:reference` gave it
-- @param input
-- @param call as `self:check_call` gave it
-- @tparam string mode "value" or "json"
-- @return output
-- @treturn ?table error
-- @treturn ?table info
function M.run(self, reference, input, call, mode)
  local started, err = self:begin(reference, input, call, mode)
  if not started then return nil, err end
  local output, info
  output, err, info = started:wait()
  started:close()
  return output, err, info
end

-- What a stage is called by: an id or name. The line that an error names is that of the caller of
-- the public method.
function Face.reference(_, fname, id)
  return options.argument(fname, "id", id, "text", 3) -- a tail call: this frame is gone
end

--- Run a stage and wait for its answer.
-- @tparam string id id or name
-- @param input any JSON value (nil is null)
-- @tparam[opt] table opts options of this call
-- @return the stage's answer; nil with `err` if there is none. `false` is an answer, and JSON null
-- is `noether.null`: test `err`
-- @treturn ?table error
-- @treturn ?table info
-- @raise on a wrong option, or what a callback raised
function Face:execute(id, input, opts)
  options.method("executor:execute", self)
  local reference, err = self:reference("executor:execute", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:execute", opts)
  return M.run(self, reference, input, call, "value")
end

--- As `execute`, with JSON text in and out. Both are checked, neither is encoded anew.
-- @tparam string id id or name
-- @tparam string|table|function text one JSON value: a string, a file by `{ path = "..." }`, or a
-- function that returns it in pieces, and nil at the end; at most 256 MiB
-- @tparam[opt] table opts options of this call
-- @treturn ?string JSON text; nil with `err` if there is none
-- @treturn ?table error
-- @treturn ?table info
function Face:execute_json(id, text, opts)
  options.method("executor:execute_json", self)
  local reference, err = self:reference("executor:execute_json", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:execute_json", opts)
  local json
  json, err = source.text("executor:execute_json", text)
  if not json then return nil, err end
  return M.run(self, reference, json, call, "json")
end

--- Begin a stage and return at once.
-- @tparam string id id or name
-- @param input any JSON value (nil is null)
-- @tparam[opt] table opts options of this call
-- @treturn ?table a task, whose `wait` returns what `execute` would; nil and an error (`closed`)
-- @treturn ?table
function Face:start(id, input, opts)
  options.method("executor:start", self)
  local reference, err = self:reference("executor:start", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:start", opts)
  return self:begin(reference, input, call, "value")
end

local function close_all(running)
  for _, slot in ipairs(running) do
    slot.task:close()
  end
end

-- Takes what is over out of `running` and into `records`.
local function harvest(running, records)
  for position = #running, 1, -1 do
    local slot = running[position]
    if slot.task:step() then
      local output, err, info = slot.task:wait(0)
      records[slot.index] = { output = output, err = err, info = info }
      slot.task:close()
      table.remove(running, position)
    end
  end
end

local function tasks_of(running)
  local list = {}
  for position, slot in ipairs(running) do
    list[position] = slot.task
  end
  return list
end

local function run_all(self, id, inputs, call, jobs, running)
  local records, next_index = {}, 1
  while next_index <= #inputs or #running > 0 do
    while next_index <= #inputs and #running < jobs do
      local started, err = self:begin(id, inputs[next_index], call, "value")
      if started then
        running[#running + 1] = { task = started, index = next_index }
      else
        records[next_index] = { err = err }
      end
      next_index = next_index + 1
    end
    if #running > 0 then
      assert(process.wait_any(tasks_of(running)))
      harvest(running, records)
    end
  end
  return records
end

--- Run a stage over many inputs, several at once.
-- @tparam string id id or name
-- @tparam table inputs a list of JSON values
-- @tparam[opt] table opts options of each call, and `jobs`: how many run at once (default: the
-- number of processors)
-- @treturn ?table a list of `{ output, err, info }` in the order of the inputs; nil and an error
-- (`input_invalid`) if the stage itself is no stage
-- @treturn ?table
-- @raise on a wrong option, or what a callback raised; the others are closed then
function Face:map(id, inputs, opts)
  options.method("executor:map", self)
  options.argument("executor:map", "inputs", inputs, "table")
  if opts ~= nil then options.argument("executor:map", "options", opts, "table") end
  local rest, jobs = {}, nil
  for name, value in pairs(opts or {}) do
    if name == "jobs" then jobs = value else rest[name] = value end
  end
  jobs = options.argument("executor:map", "jobs", jobs or sys.cpu_count(), "count")
  local reference, err = self:reference("executor:map", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:map", rest)
  local running = {}
  local ok, records = pcall(run_all, self, reference, inputs, call, jobs, running)
  if ok then return records end
  close_all(running)
  return error(records, 0)
end

--- A new class with these methods, to which it adds its own.
-- @treturn table
function M.class()
  local class = {}
  for name, method in pairs(Face) do
    class[name] = method
  end
  return class
end

return M
