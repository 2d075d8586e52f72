-- SPDX-License-Identifier: MIT
--- An executor whose stages are Lua functions: for tests, for glue, and where no interpreter is.
-- It isolates nothing and can end nothing early: what it runs
-- is the caller's own code, in the caller's own state, at once.
local config = require "noether.executor.config"
local errors = require "noether.error"
local interface = require "noether.executor.interface"
local json = require "noether.json"
local options = require "noether.options"
local task = require "noether.run.task"

local M = {}

local Inline = interface.class()
local metatable = { __name = "noether.inline", __index = Inline }

--- Make an executor of functions.
-- @tparam {[string]=function} functions by id: each takes the input (decoded JSON) and returns the
-- output (nil is JSON null), or nil and a message; raising is a failure of the stage too
-- @treturn AnyExecutor the executor
-- @raise on what is no function, or no table
-- @usage
-- local executor = noether.inline{
--   half = function(n)
--     if n % 2 == 1 then return nil, "it is odd" end
--     return n // 2
--   end,
-- }
-- print((executor:execute("half", 42))) --> 21
-- print(executor:execute("half", 1)) --> nil it is odd ...
function M.new(functions)
  options.argument("inline", "functions", functions, "table")
  local own = {}
  for id, fn in pairs(functions) do
    options.argument("inline", "id", id, "text")
    own[id] = options.argument("inline", id, fn, "function")
  end
  return setmetatable({ functions = own }, metatable)
end

local function fail(kind, id, message, hint)
  return nil, errors.new{ kind = kind, stage = id, message = message, hint = hint }
end

local function call_function(id, fn, value)
  local ok, output, reason = pcall(fn, value)
  if not ok then return fail("stage_failed", id, tostring(output)) end
  if output == nil and reason ~= nil then
    if errors.is(reason) then return nil, reason end
    return fail("stage_failed", id, tostring(reason))
  end
  if output == nil then output = json.null end
  return output
end

-- Inputs and outputs are JSON, so that a stage can move into a process of its own as it is.
local function encode_output(id, output)
  local text, reason = json.encode(output, "output")
  if text then return text end
  return fail("output_invalid", id, reason)
end

local function run_text(id, fn, text)
  local value, reason = json.decode(text)
  if value == nil then return fail("input_invalid", id, reason) end
  local output, err = call_function(id, fn, value)
  if err then return nil, err end
  return encode_output(id, output)
end

local function run_value(id, fn, input)
  local text, reason = json.encode(input, "input")
  if not text then return fail("input_invalid", id, reason) end
  if input == nil then input = json.null end
  local output, err = call_function(id, fn, input)
  if err then return nil, err end
  text, err = encode_output(id, output)
  if not text then return nil, err end
  return output
end

local function not_found(id)
  return fail("stage_not_found", nil, ("no function '%s'"):format(tostring(id)))
end

local function no_files(id)
  return fail("input_invalid", id, "a function of this program is given no files, and leaves none",
    "files and outputs are for stages of noether.executor")
end

function Inline:begin(request)
  if self.closed then
    return fail("closed", nil, "the executor is closed")
  end
  local id, input = request.reference, request.input
  local fn = self.functions[id]
  local started = task.new(function(own)
    if not fn then return not_found(id) end
    if request.call.files or request.call.outputs then return no_files(id) end
    own:enter("run")
    if request.mode == "json" then return run_text(id, fn, input) end
    return run_value(id, fn, input)
  end, { cached = false, logs = "", isolation = "none", enforced = {},
    runtime = { kind = "inline" } }, request.parent)
  started:step()
  return started
end

function Inline.check_call(_, fname, opts)
  return config.for_call(fname, opts, config.DEFAULTS)
end

--- There are none here.
-- @raise always
function Inline:session()
  interface.no_session(self)
end

--- What `execute` would do: `{ kind = "inline", id, stdin }`.
-- @tparam string id
-- @param input any JSON value
-- @tparam[opt] table opts options of the call, and `resolve`, which changes nothing here
-- @treturn ?table nil and an error (`stage_not_found`, `input_invalid`)
-- @treturn ?table
function Inline:plan(id, input, opts)
  options.method("executor:plan", self)
  local rest = {}
  for name, value in pairs(opts or {}) do
    if name ~= "resolve" then rest[name] = value end
  end
  self:check_call("executor:plan", rest)
  if not self.functions[id] then return not_found(id) end
  local text, reason = json.encode(input, "input")
  if not text then return fail("input_invalid", id, reason) end
  return { kind = "inline", id = id, stdin = text .. "\n" }
end

--- Whether there is a function of this id.
-- @tparam string id
-- @treturn boolean
function Inline:has_implementation(id)
  options.method("executor:has_implementation", self)
  return self.functions[id] ~= nil
end

--- Give up the executor; calls fail with `closed` from then on.
-- @treturn boolean true
function Inline:close()
  self.closed = true
  return true
end

metatable.__close = Inline.close

return M
