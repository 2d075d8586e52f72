-- SPDX-License-Identifier: MIT
--- What every executor has in common: all is built on beginning a task.
-- A class gives `begin(reference, input, call, mode, parent)` (the parent is the task that the new
-- one is part of, if any) and `check_call(fname, opts)`, which raises on a wrong option and returns
-- what `begin` takes as `call`. It may have a `reference(fname, id)` of its own, for what else than
-- a name may stand for a stage, and a `stage_of(reference)`, where its stages are known as tables.
local batches = require "noether.batch"
local options = require "noether.options"
local source = require "noether.source"
local trace = require "noether.trace"

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

-- The stage with its code and effects; nil where there is none, or it is no table.
function Face.stage_of()
  return nil
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

local function new_batch(self, reference, call, inputs, own)
  return batches.new(function(input)
    return self:begin(reference, input, call, "value")
  end, inputs, own, trace.title_of(reference))
end

--- Run a stage over many inputs, several at once.
-- @tparam string id id or name
-- @tparam table|function inputs a list of JSON values, or a function that returns the next one, and
-- nil after the last (`io.lines()` is one); it is asked only when a job is free
-- @tparam[opt] table opts options of each call, and
--
-- * `jobs`: how many run at once (default: the number of processors)
-- * `on_record(index, record)`: called with each record as it comes
-- * `on_progress(done, total)`: called after each; total is nil while it is not known
-- * `on_error`: "continue" (default), or "stop" at the first error: what runs is cancelled, and the
--   rest is not started; those records have an error of kind `cancelled`
-- * `trace`: the path of an HTML page to write: what was done when, and how near to its limits
-- @treturn ?table a list of `{ output, err, info }` in the order of the inputs; nil and an error
-- (`input_invalid`: the stage itself is no stage, or the trace cannot be written; `spawn_failed`:
-- no descriptor is left)
-- @treturn ?table an error beside the list, if only the end of the trace could not be written
-- @raise on a wrong option. What a callback raised first, once the others are through, or at once
-- with on_error = "stop"
function Face:map(id, inputs, opts)
  options.method("executor:map", self)
  local own, rest = batches.check("executor:map", inputs, opts)
  local reference, err = self:reference("executor:map", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:map", rest)
  local batch
  batch, err = new_batch(self, reference, call, inputs, own)
  if not batch then return nil, err end
  local records = {}
  local ok, message = pcall(function()
    for index, record in batch.next, batch do
      records[index] = record
    end
  end)
  batch:close()
  if ok then return records, batch.trace_err end
  return error(message, 0)
end

--- As `map`, as an iterator: `for index, record in executor:each(id, inputs) do`. Records come in
-- the order in which they are there. Leaving the loop early cancels what runs (Lua 5.4; elsewhere,
-- keep the iterator and `close` it).
-- @tparam string id id or name
-- @tparam table|function inputs as for `map`
-- @tparam[opt] table opts as for `map`
-- @treturn ?table what `for` takes: called, it returns the next index and record; `close()` gives
-- it up. Or nil and an error as of `map`
-- @treturn ?table
-- @raise as `map`
function Face:each(id, inputs, opts)
  options.method("executor:each", self)
  local own, rest = batches.check("executor:each", inputs, opts)
  local reference, err = self:reference("executor:each", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:each", rest)
  local batch
  batch, err = new_batch(self, reference, call, inputs, own)
  if not batch then return nil, err end
  return batch, nil, nil, batch
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
