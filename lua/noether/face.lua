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

--- What a stage is called by: an id or name. The line that an error names is that of the caller of
-- the public method.
-- @local
function Face.reference(_, fname, id)
  return options.argument(fname, "id", id, "text", 3) -- a tail call: this frame is gone
end

--- The stage with its code and effects; nil where there is none, or it is no table.
-- @local
function Face.stage_of()
  return nil
end

--- Run a stage and wait for its answer.
-- @tparam string|Stage id id or name; `noether.executor`'s also take a stage as a table
-- @param input any JSON value (nil is null)
-- @tparam[opt] CallOptions opts options of this call, in place of the executor's
-- @return the stage's answer; nil with an error if there is none. `false` is an answer, and JSON
-- null is `noether.null`: test the error
-- @treturn ?Error error
-- @treturn ?Info info what is known of the run, on failure too
-- @raise on a wrong option, or what a callback raised
-- @usage
-- local executor = noether.check(noether.executor{ timeout_secs = 5 })
-- local stage = { language = "python", code = "def execute(n): return n * 2" }
-- local output, err, info = executor:execute(stage, 21)
-- if err then error(err) end
-- print(output) --> 42
function Face:execute(id, input, opts)
  options.method("executor:execute", self)
  local reference, err = self:reference("executor:execute", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:execute", opts)
  return M.run(self, reference, input, call, "value")
end

--- As `execute`, with JSON text in and out. Both are checked, neither is encoded anew.
-- @tparam string|Stage id as for `execute`
-- @tparam string|table|function text one JSON value: a string, a file by `{ path = "..." }`, or a
-- function that returns it in pieces, and nil at the end; at most 256 MiB
-- @tparam[opt] CallOptions opts options of this call
-- @treturn ?string JSON text; nil with an error if there is none
-- @treturn ?Error error
-- @treturn ?Info info
-- @raise on a wrong option, or what a callback raised
-- @usage
-- local executor = noether.check(noether.executor())
-- local stage = { language = "bash", code = 'execute() { echo "$1"; }' }
-- print((executor:execute_json(stage, '{"n": 1.0}'))) --> {"n": 1.0}
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
-- @tparam string|Stage id as for `execute`
-- @param input any JSON value (nil is null)
-- @tparam[opt] CallOptions opts options of this call
-- @treturn ?Task a task, whose `wait` returns what `execute` would; nil and an error (`closed`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.executor())
-- local task = noether.check(executor:start({ language = "bash", code = "execute() { echo 1; }" }))
-- -- other work, and then:
-- local output, err = task:wait(10)
-- print(output, err) --> 1 nil
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
-- @tparam string|Stage id as for `execute`
-- @tparam {any,...}|function inputs a list of JSON values, or a function that returns the next one,
-- and nil after the last (`io.lines()` is one); it is asked only when a job is free
-- @tparam[opt] MapOptions opts options of each call, `jobs` and listeners
-- @treturn ?{Record,...} a list of `{ output, err, info }` in the order of the inputs; nil and an
-- error (`input_invalid`: the stage itself is no stage, or the trace cannot be written;
-- `spawn_failed`: no descriptor is left)
-- @treturn ?Error error beside the list, if only the end of the trace could not be written
-- @raise on a wrong option. What a callback raised first, once the others are through, or at once
-- with on_error = "stop"
-- @usage
-- local executor = noether.inline{ double = function(n) return n * 2 end }
-- for index, record in ipairs(executor:map("double", { 1, 2 }, { jobs = 2 })) do
--   print(index, record.output, record.err)
-- end
-- --> 1 2 nil
-- --> 2 4 nil
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
-- @tparam string|Stage id as for `execute`
-- @tparam {any,...}|function inputs as for `map`
-- @tparam[opt] MapOptions opts as for `map`
-- @treturn ?function what `for` takes: called, it returns the next index and record; `close()`
-- gives it up. Or nil and an error as of `map`
-- @treturn ?Error error
-- @raise as `map`
-- @usage
-- local executor = noether.inline{ double = function(n) return n * 2 end }
-- for index, record in executor:each("double", { 1, 2 }, { jobs = 1 }) do
--   print(index, record.output)
-- end
-- --> 1 2
-- --> 2 4
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

--- What `map` has for each input.
-- @table Record
-- @tfield any output the answer; nil with an error
-- @tfield ?Error err
-- @tfield ?Info info

--- Options of `map` and `each`: those of each call, how many, and who listens.
-- @table MapOptions
-- @extends CallOptions
-- @tfield ?integer jobs how many run at once (default: the number of processors)
-- @tfield ?fun(index:integer,record:Record) on_record called with each record as it comes
-- @tfield ?fun(done:integer,total:integer) on_progress called after each; total is nil while it is
-- not known
-- @tfield ?"continue"|"stop" on_error "stop": at the first error what runs is cancelled, and what
-- was not started is not; those records have an error of kind `cancelled`
-- @tfield ?string trace the path of an HTML page to write: what was done when, and how near to its
-- limits

--- What is known of a stage's run: the third value of `execute`. Plain data.
-- @table Info
-- @tfield string logs what the stage printed
-- @tfield number started_secs when, on the monotonic clock
-- @tfield number duration_secs from the call to the answer
-- @tfield {[string]=number} phases seconds spent in each state
-- @tfield {Span,...} spans what was done when, in its order
-- @tfield ?{[string]=number} limits the limits of the run
-- @tfield ?Runtime runtime what ran the code
-- @tfield ?Provenance provenance hashes of what went in
-- @tfield ?Isolation isolation the backend that was used
-- @tfield ?{string,...} enforced what really held in this run, in the words of docs/isolation.md
-- @tfield boolean cached whether the answer was kept from an earlier run
-- @tfield ?{Attempt,...} attempts of `noether.retry`
-- @tfield {string,...} warnings what a person should know
-- @tfield ?Result result of the process, if one ran

--- A part of a run's time.
-- @table Span
-- @tfield string name "wrap", "resolve", "set-up", "install", "run", "decode", "wait"
-- @tfield number start_secs after the beginning
-- @tfield number duration_secs

--- One of the attempts of `noether.retry`.
-- @table Attempt
-- @tfield number duration_secs
-- @tfield ?Kind kind of one that failed
-- @tfield ?string message of one that failed
-- @tfield ?string errno of one that failed
-- @tfield ?number wait_secs how long it slept after it

--- What runs a stage's code.
-- @table Runtime
-- @tfield string kind "host", "nix", "venv", "inline"
-- @tfield ?string language
-- @tfield ?string path of the interpreter
-- @tfield ?string version
-- @tfield ?string reference what the path was found by
-- @tfield ?string store_path of nix
-- @tfield ?{string,...} packages what is in it: "name==version" in a venv, attributes with nix
-- @tfield ?string nix nix's version

--- Hashes (SHA-256, in hexadecimal) of all that decides an answer.
-- @table Provenance
-- @tfield ?string stage the stage's id
-- @tfield string code of the code
-- @tfield string script of names and texts of the wrapped files
-- @tfield string input of standard input
-- @tfield string runtime of reference and version, and of nix's the store path
-- @tfield ?string packages of what the installed packages say that they hold

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
