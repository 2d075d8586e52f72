-- SPDX-License-Identifier: MIT
--- The interface of executors, and what every one of them has in common: the public methods are
-- made of it here.
--
-- An executor of this library has these methods (an executor of somebody's own has others, and is
-- given these: foreign.lua):
--
--     begin(request)          begins an execution: a task; or nil and an error, and nothing began.
--                             It goes as far as it can without waiting
--     check_call(fname, opts) raises on a wrong option of a call; what `request.call` is to be
--     reference(fname, id)    what `request.reference` is to be; or nil and an error
--     stage_of(reference)     the stage as a table with code and effects; nil where it is not known
--     plan(id, input, opts), has_implementation(id), close(): public
--
-- The request of one execution is a table, which belongs to who begins it and is changed by nobody:
--
--     reference   of `reference`: an id, a name or a stage
--     input       the value; in mode "json" its text
--     mode        "value" (the answer as a value), "json" (as text); "plan" and "outline" (a plan
--                 that looks at nothing) of executors that have plans
--     call        of `check_call`
--     parent      the task that this one is to be part of, if any: it joins it
--     on_plan     called with the plan of what runs, before it runs, by executors that have plans
local batches = require "noether.executor.batch"
local json_input = require "noether.stage.input"
local options = require "noether.options"
local tables = require "noether.tables"
local verdict = require "noether.run.verdict"

local M = {}

--- The methods of an executor of this library.
M.METHODS = { "begin", "check_call", "reference", "stage_of", "plan", "has_implementation" }

local Interface = {}

--- Begin a task and wait for its outcome.
-- @tparam table self an executor
-- @tparam table request
-- @return output
-- @treturn ?table error
-- @treturn ?table info
function M.run(self, request)
  local started, err = self:begin(request)
  if not started then return nil, err end
  local output, info
  output, err, info = started:wait()
  started:close()
  return output, err, info
end

--- Make a plan: by the request that would run it.
-- @tparam table self an executor
-- @tparam string|Stage id
-- @param input
-- @tparam ?table opts options of the call, and `resolve`
-- @treturn ?Plan; or nil and an error
-- @treturn ?table error
function M.plan(self, id, input, opts)
  options.method("executor:plan", self)
  local rest, resolve = {}, true
  for name, value in pairs(opts or {}) do
    if name == "resolve" then resolve = value else rest[name] = value end
  end
  options.argument("executor:plan", "resolve", resolve, "boolean")
  local reference, err = self:reference("executor:plan", id)
  if not reference then return nil, err end
  local plan
  plan, err = M.run(self, {
    reference = reference, input = input, call = self:check_call("executor:plan", rest),
    mode = resolve and "plan" or "outline",
  })
  return plan, err
end

--- What a stage is called by: an id or name.
-- @local
function Interface.reference(_, fname, id)
  return options.argument(fname, "id", id, "text")
end

--- The stage with its code and effects; nil where there is none, or it is no table.
-- @local
function Interface.stage_of()
  return nil
end

--- The value of an answer that was taken as text.
-- @local
function Interface.decode(_, _, text)
  return verdict.decode(text)
end

--- What is worth having for many calls: `options`, for each of them, and `close`; nil is nothing.
-- @local
function Interface.prepare_for_many()
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
function Interface:execute(id, input, opts)
  options.method("executor:execute", self)
  local reference, err = self:reference("executor:execute", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:execute", opts)
  return M.run(self, { reference = reference, input = input, call = call, mode = "value" })
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
function Interface:execute_json(id, text, opts)
  options.method("executor:execute_json", self)
  local reference, err = self:reference("executor:execute_json", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:execute_json", opts)
  local json
  json, err = json_input.text("executor:execute_json", text)
  if not json then return nil, err end
  return M.run(self, { reference = reference, input = json, call = call, mode = "json" })
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
function Interface:start(id, input, opts)
  options.method("executor:start", self)
  local reference, err = self:reference("executor:start", id)
  if not reference then return nil, err end
  local call = self:check_call("executor:start", opts)
  return self:begin{ reference = reference, input = input, call = call, mode = "value" }
end

-- A page of HTML, that few ask for.
local function open_trace(path, reference)
  local trace = require "noether.report.trace"
  return trace.open(path, trace.title_of(reference))
end

-- The options of one call of many: all that is not said of this input is the same for each.
local function call_for(self, fname, rest, given)
  options.check_fields(fname .. ": per_input", given, batches.PER_INPUT)
  local opts = tables.merged(rest, given)
  if rest.env and given.env then opts.env = tables.merged(rest.env, given.env) end
  if rest.files and given.files then opts.files = tables.merged(rest.files, given.files) end
  return self:check_call(fname, opts)
end

local function new_batch(self, fname, reference, rest, values, own)
  local call = self:check_call(fname, rest)
  local jobs = batches.jobs_of_many(values, own)
  local prepared = jobs and self:prepare_for_many(call, jobs)
  local trace, err
  if own.trace then
    trace, err = open_trace(own.trace, reference)
    if not trace then return nil, err end
  end
  return batches.new(function(input, index)
    local given = own.per_input and own.per_input(input, index)
    local its_own = given and call_for(self, fname, rest, given) or call
    if prepared then its_own = tables.merged(its_own, prepared.options) end
    return self:begin{ reference = reference, input = input, call = its_own, mode = "value" }
  end, values, own, trace, prepared)
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
function Interface:map(id, inputs, opts)
  options.method("executor:map", self)
  local own, rest = batches.check("executor:map", inputs, opts)
  local reference, err = self:reference("executor:map", id)
  if not reference then return nil, err end
  local batch
  batch, err = new_batch(self, "executor:map", reference, rest, inputs, own)
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
function Interface:each(id, inputs, opts)
  options.method("executor:each", self)
  local own, rest = batches.check("executor:each", inputs, opts)
  local reference, err = self:reference("executor:each", id)
  if not reference then return nil, err end
  local batch
  batch, err = new_batch(self, "executor:each", reference, rest, inputs, own)
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
-- @tfield ?fun(input:any,index:integer):table|nil per_input what is to be different in the call of
-- this input: `files` and `env` (added to those of all), `outputs`, `output_dir`
-- @tfield ?"continue"|"stop" on_error "stop": at the first error what runs is cancelled, and what
-- was not started is not; those records have an error of kind `cancelled`
-- @tfield ?string trace the path of an HTML page to write: what was done when, and how near to its
-- limits

--- What is known of a stage's run: the third value of `execute`. Plain data.
-- @table Info
-- @tfield string logs what the stage printed
-- @tfield number started_secs when, on the monotonic clock
-- @tfield number duration_secs from the call to the answer
-- @tfield {[string]=number} phases seconds spent in each state; `answer`, part of `run`: until the
-- last of the answer was here
-- @tfield {Span,...} spans what was done when, in its order
-- @tfield ?{[string]=number} limits the limits of the run
-- @tfield ?Runtime runtime what ran the code
-- @tfield ?Provenance provenance hashes of what went in
-- @tfield ?Isolation isolation the backend that was used
-- @tfield ?{string,...} enforced what really held in this run, in the words of docs/isolation.md
-- @tfield ?NetworkUse network where a list of hosts was in force
-- @tfield ?Learned learned what the stage lacked (`learn`)
-- @tfield ?"launcher"|"direct" launch whether its supervisor stood by, or was started for it
-- @tfield ?"spare"|"fork"|"cold" start whether what ran the code had been started ahead, or was a
-- copy of what had (`warm`)
-- @tfield boolean cached whether the answer was kept from an earlier run
-- @tfield ?{CallEntry,...} calls that the stage made to functions of the host
-- @tfield ?{Output,...} outputs that were asked for and are there
-- @tfield ?integer cell of a session: the number of the cell
-- @tfield ?string display of a cell: the text of a value that has no JSON form
-- @tfield ?{Attempt,...} attempts of `noether.retry`
-- @tfield ?string worker of `noether.remote`: who ran it
-- @tfield ?number queue_secs of `noether.remote`: how long it waited for a worker
-- @tfield {string,...} warnings what a person should know
-- @tfield ?Result result of the process, if one ran

--- What a stage lacked in a run with the option `learn`.
-- @table Learned
-- @tfield {table,...} effects that would have let it, in the form in which a stage keeps them
-- @tfield {string,...} unused names that it asked for the address of and did not connect to

--- A part of a run's time.
-- @table Span
-- @tfield string name "wrap", "resolve", "set-up", "install", "compile", "run", "decode", "wait"
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
-- @tfield string kind "host", "nix", "venv", "npm", "inline"
-- @tfield ?string language
-- @tfield ?string path of the interpreter
-- @tfield ?string version
-- @tfield ?string reference what the path was found by
-- @tfield ?string store_path of nix
-- @tfield ?{string,...} packages what is in it: "name==version" in a venv, attributes with nix
-- @tfield ?string nix nix's version
-- @tfield ?string compiler the program that makes of a stage's code what the interpreter runs

--- Hashes (SHA-256, in hexadecimal) of all that decides an answer.
-- @table Provenance
-- @tfield ?string stage the stage's id
-- @tfield string code of the code
-- @tfield string script of names and texts of the wrapped files
-- @tfield string input of standard input
-- @tfield string runtime of reference and version, and of nix's the store path
-- @tfield ?string packages of what the installed packages say that they hold

--- Whether a value has the interface of this library's executors.
-- @param value
-- @treturn boolean
function M.is_executor(value)
  if type(value) ~= "table" then return false end
  for _, name in ipairs(M.METHODS) do
    if type(value[name]) ~= "function" then return false end
  end
  return true
end

--- The method `session` of executors that have none.
-- @tparam table self
-- @raise
function M.no_session(self)
  options.method("executor:session", self)
  options.raise("executor:session: sessions belong to noether.executor's executors, and this is "
    .. "another one")
end

--- A new class with these methods, to which it adds its own.
-- @treturn table
function M.class()
  local class = { session = M.no_session }
  for name, method in pairs(Interface) do
    class[name] = method
  end
  return class
end

return M
