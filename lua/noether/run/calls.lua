-- SPDX-License-Identifier: MIT
--- Calls of a stage to functions of its host: which there are, what they may take, what was called.
--
-- A call comes as a frame `{ type = "call", id, name, args }` and is answered by one
-- `{ type = "result", id, value }` or `{ type = "error", id, kind, message }`. Ids are the stage's
-- own, so that its threads and promises can call at the same time and be answered in any order. All
-- that comes is a stranger's: names, ids and sizes are judged here, and what is no frame of ours
-- ends the run.
--
-- A function runs in a coroutine of its own and must not yield: whoever drives the run is in the
-- middle of a step. What takes time it says by a task or process that it returns, which is waited
-- for beside the run, or by `call:later()`.
local compat = require "noether.compat"
local errors = require "noether.error"
local json = require "noether.json"
local schemas = require "noether.stage.schema"
local sys = require "noether.sys"
local tables = require "noether.tables"
local texts = require "noether.text"

local coroutine = compat.coroutine

local M = {}

--- What a stage's calls may take, by name.
M.LIMITS = { calls = "count", call_bytes = "bytes", journal_bytes = "bytes" }

--- What holds where nothing is said.
M.DEFAULTS = { calls = 1000, call_bytes = 1024 * 1024, journal_bytes = 16 * 1024 * 1024 }

--- So many may be in flight; more wait in the stage.
M.AT_ONCE = 64

local FRAME_BYTES = 4096 -- of a frame beside the arguments
local SHOWN_BYTES = 1024 -- of arguments, in the journal
local NAME_BYTES = 64 -- of a function's name: stage/functions.lua
local FRAME_VALUES = 100000 -- in a frame; more would cost the host more than they do the stage
local VALUE_BYTES = 64 -- of the host's memory, for each value that is kept
local ENTRY_BYTES = 400 -- likewise, for each call that is listed
local SHORTEST_FRAME, BRACE = 63, ("{"):byte() -- of what is sent
local LISTED = 1000 -- calls are listed whatever they take
local NULL_SHA256 = sys.sha256 "null"

-- How a call begins that our own modules write. Ids of no more digits are numbers in every Lua.
local PLAIN_CALL = '^{"type":"call","id":([1-9][0-9]*),"name":"([A-Za-z0-9_]+)","args":()'
local ID_DIGITS, OWN_VALUES, CLOSING = 15, 4, ("}"):byte()

local Calls = {}
Calls.__index = Calls

local Call = {}
local call_metatable = { __name = "noether.call", __index = Call }

-- Calls that are being made now, the innermost last: what a function begins is under the deadline
-- of the run that called it.
local active = {}

--- The deadline of the run that is calling a function right now.
-- @treturn number on the monotonic clock; math.huge where none is, or it has no deadline
function M.deadline()
  local innermost = active[#active]
  return innermost and innermost.deadline or math.huge
end

local function failure(kind, message)
  return { kind = kind, message = errors.clean(message, 2000) }
end

-- A Lua error without the place where it was raised: paths of the host are nothing for a stage.
local function raised(value)
  if errors.is(value) then return failure(value.kind, value.message) end
  if type(value) == "table" and type(value.message) == "string" then
    return failure(type(value.kind) == "string" and value.kind or "call_failed", value.message)
  elseif type(value) ~= "string" then
    return failure("call_failed", "the function failed")
  end
  local message, count = value:match("^[^\n]*"), 1
  while count > 0 do
    message, count = message:gsub("^[^\n:]+:%d+: ", "")
  end
  return failure("call_failed", message)
end

-- Key order is fixed and the value stands last: a shell finds it without a parser.
local function result_frame(id, text)
  return ('{"type":"result","id":%s,"value":%s}'):format(id, text)
end

local function error_frame(id, fault)
  return ('{"type":"error","id":%s,"kind":%s,"message":%s}'):format(id, json.encode(fault.kind),
    json.encode(fault.message))
end

local function note_end(self, call, text, fault)
  local entry = call.entry
  entry.duration_secs = sys.clock() - call.began
  if fault then entry.error = { kind = fault.kind, message = fault.message } end
  if text then entry.result_bytes = #text end
  if not self.journal then return end
  self.journal_left = self.journal_left - (text and #text or 0)
  if self.journal_left < 0 then
    entry.truncated = true
  elseif text then
    entry.result = json.decode(text)
  end
end

-- Of what unit a length has a byte that a shell cannot tell: it sees no zeros, and takes the first
-- brace for where the frame begins.
local function unclear_unit(size)
  local unit = 1
  while size >= unit do
    local byte = math.floor(size / unit) % 256
    if byte == BRACE or (byte == 0 and size >= 256 * unit) then return unit end
    unit = 256 * unit
  end
  return nil
end

-- With blanks at its end, where a shell could not read it otherwise: policy/languages/bash.
local function readable(frame)
  local size = math.max(#frame, SHORTEST_FRAME)
  local unit = size > SHORTEST_FRAME and unclear_unit(size)
  while unit do
    size = size - size % unit + unit
    unit = unclear_unit(size)
  end
  return size > #frame and frame .. (" "):rep(size - #frame) or frame
end

local function send(self, frame)
  if self.process then self.process:send_frame(readable(frame)) end
end

-- The one end of a call: later ones, and those after the run, do nothing.
local function finish(self, call, text, fault)
  if call.is_over then return false end
  call.is_over = true
  if not self:has_room() then self.nudge() end
  self.pending[call.key], self.in_flight = nil, self.in_flight - 1
  send(self, fault and error_frame(call.key, fault) or result_frame(call.key, text))
  note_end(self, call, text, fault)
  if self.on_call then self.on_call(call.entry) end
  return true
end

-- A value as the text of an answer; or why it is none.
local function encoded(self, call, value)
  local output_schema = call.fn.output_schema
  if output_schema then
    local fits, misfit = schemas.fits(output_schema, value, "result")
    if not fits then return nil, failure("call_failed", ("%s: %s"):format(call.name, misfit)) end
  end
  if value == nil then return "null" end
  local text, reason = json.encode(value, "result")
  if not text then return nil, failure("call_failed", ("%s: %s"):format(call.name, reason)) end
  local most = self.limits.call_bytes
  if #text > most then
    return nil, failure("call_failed", ("%s: the result has %d bytes, and limits.call_bytes is %d")
      :format(call.name, #text, most))
  end
  return text
end

local function settle(self, call, value, fault)
  local text
  if not fault then text, fault = encoded(self, call, value) end
  return finish(self, call, text, fault)
end

--- For a function: the answer comes later, by `answer` or `fail`.
-- @treturn table the call itself
-- @usage
-- local executor = noether.check(noether.executor())
-- local waiting
-- local task = executor:start({
--   language = "python", effects = { { Call = "ask" } },
--   code = "from noether import ask\ndef execute(q): return ask(q)",
-- }, "ready?", { functions = { ask = function(_, call) waiting = call:later() end } })
-- while not waiting do task:wait(0.05) end
-- waiting:answer("yes")
-- print((task:wait())) --> yes
function Call:later()
  self.is_later = true
  return self
end

--- Answer a call for which `later` was said.
-- @param value any JSON value; nil is null
-- @treturn boolean whether anybody was still waiting for it
function Call:answer(value)
  if self.is_over then return false end
  return settle(self.calls, self, value)
end

--- Fail it.
-- @param reason what is said to the stage: text, or an error of this library
-- @treturn boolean whether anybody was still waiting for it
function Call:fail(reason)
  if self.is_over then return false end
  return settle(self.calls, self, nil, raised(reason == nil and "the function failed" or reason))
end

local function is_handle(value)
  return type(value) == "table" and type(value.look) == "function"
end

local YIELDED = "a function must not yield: return a task, or take call:later()"

-- What a function gave: a value, or what went wrong.
local function judge(self, call, ok, value, reason)
  if not ok then return settle(self, call, nil, raised(value)) end
  if is_handle(value) then
    call.handle = value
    self.handles[#self.handles + 1] = call
    return false
  elseif call.is_later then
    return false
  elseif value == nil and reason ~= nil then
    return settle(self, call, nil, raised(reason))
  end
  return settle(self, call, value)
end

local function invoke(self, call, args)
  local thread = coroutine.create(call.fn.call)
  active[#active + 1] = self
  local ok, value, reason = coroutine.resume(thread, args, call)
  active[#active] = nil
  if ok and coroutine.status(thread) ~= "dead" then ok, value = false, YIELDED end
  return judge(self, call, ok, value, reason)
end

-- What was recorded for such a call, equal ones in their order.
local function replayed(self, call)
  local queue = self.replay[call.name .. " " .. call.entry.args_sha256]
  local recorded = queue and table.remove(queue, 1)
  if not recorded then
    self:stop("replay_diverged", ("'%s' was called with arguments that were not recorded"):format(
      call.name), "the stage, its input or something that it reads is not what it was then")
    return false
  end
  if recorded.error then return settle(self, call, nil, raised(recorded.error)) end
  return settle(self, call, recorded.result)
end

-- What may be called, or why not.
local function refusal(self, call, args, bytes)
  local fn = self.functions[call.name]
  if self.count > self.limits.calls then
    return failure("call_limit", ("more than %d calls (limits.calls)"):format(self.limits.calls))
  elseif not (self.declared[call.name] or (self.declared["*"] and fn)) then
    return failure("effect_denied", ("the stage declares no { Call = \"%s\" }"):format(
      errors.clean(call.name, 60)))
  elseif bytes > self.limits.call_bytes then
    return failure("call_failed", ("the arguments have %d bytes, and limits.call_bytes is %d")
      :format(bytes, self.limits.call_bytes))
  end
  call.fn = fn or {}
  if self.replay or not call.fn.input_schema then return nil end
  local fits, misfit = schemas.fits(call.fn.input_schema, args, "arguments")
  return not fits and failure("input_invalid", ("%s: %s"):format(call.name, misfit)) or nil
end

-- Roughly what a value takes here, by its JSON: each value but the first follows one of these.
local function bytes_in_host(text)
  if #text < 2 or text == "null" then return #text end
  local _, values = text:gsub("[,%[{]", "")
  return #text + VALUE_BYTES * values
end

-- A loop of a stage's is not to fill the host's memory: what is beyond is told to `on_call` alone.
local function note_begin(self, entry, bytes)
  self.list_left = self.list_left - ENTRY_BYTES - bytes
  if #self.list < LISTED or self.list_left >= 0 then
    self.list[#self.list + 1] = entry
  else
    self.unlisted = self.unlisted + 1
  end
end

local function new_entry(self, call, args, text)
  local is_short = #text <= SHOWN_BYTES
  local shown = is_short and args or texts.beginning(text, SHOWN_BYTES)
  local entry = {
    name = call.name, args = shown, args_bytes = #text,
    args_sha256 = text == "null" and NULL_SHA256 or sys.sha256(text),
    started_secs = call.began - self.started, duration_secs = 0,
  }
  if self.journal then
    self.journal_left = self.journal_left - bytes_in_host(text)
    if self.journal_left >= 0 then entry.args = args else entry.truncated = true end
  end
  note_begin(self, entry, is_short and bytes_in_host(text) or SHOWN_BYTES)
  return entry
end

local function new_call(self, frame)
  local args = frame.args
  if args == nil then args = json.null end
  local text = args == json.null and "null" or assert(json.canonical(args))
  self.count = self.count + 1
  local call = setmetatable({
    calls = self, name = frame.name, key = frame.key, began = sys.clock(), fn = {},
  }, call_metatable)
  call.entry = new_entry(self, call, args, text)
  self.pending[call.key], self.in_flight = call, self.in_flight + 1
  return call, args, #text
end

-- What a schema describes is an object: a call without arguments gives one without fields.
local function as_declared(fn, args)
  if args == nil or args == json.null then return fn and fn.input_schema and {} or json.null end
  return args
end

local function take_call(self, frame)
  local call, args, bytes = new_call(self, frame)
  if self.count > 2 * self.limits.calls then
    self:stop("call_limit", ("the stage made more than twice the %d calls that it may"):format(
      self.limits.calls), "raise limits.calls, or call with more at once")
    return
  end
  if frame.unreadable then
    finish(self, call, nil, failure("input_invalid", "the arguments cannot be read: "
      .. frame.unreadable))
    return
  end
  args = as_declared(self.functions[call.name], args)
  local refused = refusal(self, call, args, bytes)
  if refused then
    call.entry.refused = true
    self.refusals[refused.message] = { kind = refused.kind, name = call.name }
    finish(self, call, nil, refused)
  elseif self.replay then
    replayed(self, call)
  else
    invoke(self, call, args)
  end
end

-- An id goes back as it came: a whole number of the stage's.
local function key_of(id)
  if type(id) ~= "number" or id < 0 or id > 2 ^ 53 or id ~= math.floor(id) then return nil end
  return ("%.0f"):format(id)
end

-- A shell's call, as its function writes it, whose arguments the stage wrote itself: they may be no
-- JSON, and that is the call's failure and not the channel's.
local function with_unreadable_args(text, reason)
  local id, name = text:match('^{"type":"call","id":(%d+),"name":"([%w_]+)","args":')
  return id and { type = "call", id = tonumber(id), name = name, unreadable = reason }
end

-- A call as our own modules write it: what stands where is known, and no more is decoded than the
-- arguments. Nil where it looks otherwise, or those are none.
local function read_plain(text)
  local id, name, at = text:match(PLAIN_CALL)
  local is_plain = id and #id <= ID_DIGITS and #name <= NAME_BYTES and text:byte(-1) == CLOSING
  if not is_plain then return nil end
  local args = text:sub(at, -2)
  local value = json.null
  if args ~= "null" then value = json.decode(args, nil, FRAME_VALUES - OWN_VALUES) end
  return value ~= nil and { key = id, name = name, args = value } or nil
end

local function read_any(text)
  local frame, reason = json.decode(text, nil, FRAME_VALUES)
  frame = frame or with_unreadable_args(text, reason)
  if type(frame) ~= "table" then return nil, reason or "it is no object" end
  if frame.type ~= "call" then
    return nil, ("its type is '%s'"):format(errors.clean(tostring(frame.type), 40))
  end
  frame.key = key_of(frame.id)
  if not frame.key then return nil, "its id is no whole number" end
  if type(frame.name) ~= "string" then return nil, "it names no function" end
  frame.name = errors.clean(frame.name, NAME_BYTES)
  return frame
end

-- A frame of a stranger; or what is wrong with it.
local function read(self, text)
  local frame, reason = read_plain(text), nil
  if not frame then frame, reason = read_any(text) end
  if frame and self.pending[frame.key] then return nil, "its id is that of another call" end
  return frame, reason
end

--- End the run, for a reason of the calls'. The first one stands.
-- @tparam string kind
-- @tparam string message
-- @tparam ?string hint
function Calls:stop(kind, message, hint)
  if self.stopped then return end
  self.stopped = { kind = kind, message = message, hint = hint }
  if self.process then self.process:cancel() end
end

--- Take a frame that came from the stage.
-- @tparam ?string text nil: what came is no frame at all
function Calls:take(text)
  if self.stopped then return end
  local frame, reason = nil, "what came is no frame, or one beyond limits.call_bytes"
  if text then frame, reason = read(self, text) end
  if frame then return take_call(self, frame) end
  self:stop("stage_failed", "the stage said something on its channel that is no call: " .. reason,
    "the channel (descriptor 5) is for the module `noether`")
end

--- Whether more may be taken now.
-- @treturn boolean
function Calls:has_room()
  return self.in_flight < M.AT_ONCE
end

-- What a handle of a function's came to: the output of a task, the result of a process.
local function outcome(self, call)
  local ok, value, err = pcall(call.handle.wait, call.handle, 0)
  self.release(call)
  call.handle:close()
  if not ok then return settle(self, call, nil, raised(value)) end
  if err ~= nil then return settle(self, call, nil, raised(err)) end
  return settle(self, call, value)
end

-- A function may have a deadline of its own.
local function end_overdue(self)
  local now = sys.clock()
  for _, call in pairs(self.pending) do
    if call.fn.timeout_secs and now >= call.began + call.fn.timeout_secs then
      if call.handle then
        self.release(call)
        call.handle:close()
      end
      settle(self, call, nil, failure("timed_out", ("%s took longer than %g s"):format(call.name,
        call.fn.timeout_secs)))
      return end_overdue(self)
    end
  end
end

--- When something is to be looked at in any case.
-- @treturn ?number seconds from now
function Calls:timeout()
  if self.in_flight == 0 or not self.has_deadlines then return nil end
  local earliest
  for _, call in pairs(self.pending) do
    local secs = call.fn.timeout_secs and call.began + call.fn.timeout_secs - sys.clock()
    if secs and (not earliest or secs < earliest) then earliest = secs end
  end
  return earliest and math.max(earliest, 0)
end

--- Go on with what functions wait for.
function Calls:step()
  if self.has_deadlines then end_overdue(self) end
  if #self.handles == 0 then return end
  local waiting = {}
  for _, call in ipairs(self.handles) do
    if not call.is_over then
      if call.handle:look() then outcome(self, call) else waiting[#waiting + 1] = call end
    end
  end
  self.handles = waiting
end

--- The name of the call that has been waited for longest.
-- @treturn ?string
function Calls:oldest()
  local first
  for _, call in pairs(self.pending) do
    if not first or call.began < first.began then first = call end
  end
  return first and first.name
end

--- The run is over: who still waits learns that nobody does any more.
function Calls:close()
  self.process, self.waited_for = nil, self.waited_for or self:oldest()
  for _, call in pairs(self.pending) do
    call.cancelled, call.is_over = true, true
    call.entry.cancelled, call.entry.duration_secs = true, sys.clock() - call.began
    if call.handle then
      self.release(call)
      call.handle:close()
    end
  end
  self.pending, self.handles, self.in_flight = {}, {}, 0
end

local function explain_refusals(self, err)
  for message, refused in pairs(self.refusals) do
    local ended_it = err.message:find("CallError: " .. message, 1, true)
    if ended_it and refused.kind == "effect_denied" then
      err.kind, err.effect = "effect_denied", ("Call(%s)"):format(refused.name)
    end
  end
end

--- What the calls have to do with a failure, if anything.
-- @tparam ?table err
-- @tparam ?table result of the process
-- @treturn ?table the error, or the one that stands in its place
function Calls:explain(err, result)
  if self.stopped then
    return errors.new(tables.merged(self.stopped, { result = result }))
  elseif not err then
    return nil
  elseif err.kind == "timed_out" or (result and result.reason ~= "exit") then
    err.call = self.waited_for
  elseif err.kind == "stage_failed" then
    explain_refusals(self, err)
  end
  if not err.call then return err end
  local waited = ("it was waiting for the host's function '%s'"):format(err.call)
  err.hint = err.hint and err.kind ~= "timed_out" and ("%s; %s"):format(err.hint, waited) or waited
  return err
end

--- What a reader of the journal should know, if anything.
-- @treturn ?string
function Calls:warning()
  if self.unlisted == 0 then return nil end
  return ("%d more calls are not in info.calls: limits.journal_bytes has no room for them"):format(
    self.unlisted)
end

local function has_deadlines(functions)
  for _, fn in pairs(functions) do
    if fn.timeout_secs then return true end
  end
  return false
end

-- Each run takes of a copy, entry by entry.
local function copied(queues)
  if not queues then return nil end
  local copy = {}
  for key, queue in pairs(queues) do
    copy[key] = tables.merged(queue)
  end
  return copy
end

--- The calls of one run.
-- @tparam table spec `functions` (by name: `{ call, input_schema, output_schema }`), `declared` (a
-- set of names, perhaps "*"), `limits`, `journal`, `replay` (as of `read_replay`), `on_call`
-- @treturn table with `list`: the journal
function M.new(spec)
  return setmetatable({
    functions = spec.functions, declared = spec.declared, limits = spec.limits,
    journal = spec.journal, journal_left = spec.limits.journal_bytes,
    list_left = spec.limits.journal_bytes, unlisted = 0,
    replay = copied(spec.replay), has_deadlines = has_deadlines(spec.functions),
    on_call = spec.on_call, list = {}, pending = {}, handles = {}, refusals = {}, count = 0,
    in_flight = 0, started = sys.clock(),
    deadline = sys.clock() + (spec.limits.timeout_secs or math.huge),
  }, Calls)
end

--- How long a frame of a stage may be.
-- @tparam table limits
-- @treturn number bytes
function M.frame_bytes(limits)
  return math.min(limits.call_bytes, 2 ^ 30) + FRAME_BYTES
end

--- A journal as what `new` takes for `replay`: recorded calls by name and arguments.
-- @tparam string|table journal `info.calls`, or its JSON
-- @treturn ?table; nil and why it cannot be replayed
-- @treturn ?string
function M.read_replay(journal)
  local list = journal
  if type(journal) == "string" then list = json.decode(journal) end
  if type(list) ~= "table" then return nil, "expected info.calls of a run, or its JSON" end
  local queues = {}
  for index, entry in ipairs(list) do
    local whole = type(entry) == "table" and type(entry.name) == "string"
      and type(entry.args_sha256) == "string"
    if not whole or (entry.result == nil and type(entry.error) ~= "table") then
      return nil, ("call %d has no result: record with journal = true"):format(index)
    end
    local key = entry.name .. " " .. entry.args_sha256
    queues[key] = queues[key] or {}
    table.insert(queues[key], entry)
  end
  return queues
end

--- A call that has been made, as a function gets it: its second argument. It also has `name`, and
-- `cancelled`, which is true once the run that made it is over.
-- @table Call
-- @tfield string name
-- @tfield ?boolean cancelled

--- What a run has noted of a call.
-- @table CallEntry
-- @tfield string name
-- @tfield any args what it was called with; of more than 1 KiB the first part of its JSON
-- @tfield string args_sha256 of the canonical JSON
-- @tfield integer args_bytes of that
-- @tfield ?integer result_bytes
-- @tfield ?any result with the option `journal`
-- @tfield ?table error `{ kind, message }`, as the stage was told
-- @tfield ?boolean refused it was not made
-- @tfield ?boolean cancelled the run was over before there was an answer
-- @tfield ?boolean truncated the journal had no room for it (`limits.journal_bytes`)
-- @tfield number started_secs after the run began
-- @tfield number duration_secs

return M
