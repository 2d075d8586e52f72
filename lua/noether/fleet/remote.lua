-- SPDX-License-Identifier: MIT
--- An executor whose stages run on other machines: workers that take what is queued on a Redis
-- server. docs/fleet.md says what is promised, and by what.
--
-- An execution is a task here as everywhere; its work makes a job, waits for it (link.lua) and
-- judges what came. The connection is made at the first of them.
local calls = require "noether.run.calls"
local config = require "noether.executor.config"
local conversation = require "noether.run.conversation"
local errors = require "noether.error"
local functions = require "noether.stage.functions"
local interface = require "noether.executor.interface"
local jobs = require "noether.fleet.job"
local json = require "noether.json"
local json_input = require "noether.stage.input"
local keys = require "noether.fleet.keys"
local links = require "noether.fleet.link"
local options = require "noether.options"
local sign = require "noether.fleet.sign"
local outputs = require "noether.run.outputs"
local stages = require "noether.stage.stage"
local sys = require "noether.sys"
local tables = require "noether.tables"
local task = require "noether.run.task"
local urls = require "noether.fleet.url"
local verdict = require "noether.run.verdict"
local wire = require "noether.fleet.wire"

local M = {}

local Remote = interface.class()
local metatable = { __name = "noether.remote", __index = Remote }

--- The options of @{new}.
M.OPTIONS = {
  url = "string", queue = "string", key = "any", unsigned = "boolean", ttl_secs = "seconds",
  max_queue = "whole", reconnect_secs = "seconds", repeat_effects = "boolean",
  timeout_secs = "seconds", limits = config.EXECUTOR_OPTIONS.limits, env = "variables",
  big_integers = config.EXECUTOR_OPTIONS.big_integers,
}

M.DEFAULTS = {
  queue = "stages", unsigned = false, ttl_secs = 3600, max_queue = 10000, reconnect_secs = 30,
  repeat_effects = false, timeout_secs = 30,
}

-- Options of a call, beside those that a worker is told: what stays here, and what is sent along.
local OWN = { functions = true, on_call = true, on_log = true, files = true }

local HERE = "what it is about is on this machine, and the stage runs on another"

local function check_key(fname, given)
  if given.key == nil or type(given.key) == "string" then return end
  if type(given.key) ~= "table" then
    options.raise(fname .. ": option 'key': expected a string, or a list of them")
  end
  options.argument(fname, "key", given.key, "strings")
end

-- Where the server is; or nil, and what is wrong with what says so.
local function place_of(given, environ)
  local from, text = "option 'url'", given.url
  if text == nil then from, text = "NOETHER_FLEET_URL", environ.NOETHER_FLEET_URL end
  if text == nil or text == "" then
    return nil, "option 'url' is missing: redis://HOST:PORT (or NOETHER_FLEET_URL)"
  end
  local place, reason = urls.read(text)
  if not place then return nil, ("%s: %s"):format(from, reason) end
  return place
end

--- Where a queue is, and by which keys it is used: what callers and workers are told alike.
-- @tparam string fname the public function, for messages
-- @tparam table given `url`, `queue`, `key`, `unsigned`
-- @tparam table environ
-- @treturn table `place`, `queue`, `keys`
-- @raise on what is none
-- @local
function M.queue_of(fname, given, environ)
  local place, reason = place_of(given, environ)
  if not place then options.raise(fname .. ": " .. reason) end
  check_key(fname, given)
  return {
    place = place, queue = keys.check(fname, given.queue),
    keys = sign.keys(fname, given.key, environ.NOETHER_FLEET_KEY, given.unsigned),
  }
end

--- Make an executor whose stages run wherever workers of a queue are (`noether worker`): on as many
-- machines as there are. It has the methods of every executor; `info.worker` says who ran a stage,
-- `info.queue_secs` how long it waited for somebody. docs/fleet.md has what is promised.
-- @tparam[opt] RemoteOptions opts
-- @treturn ?AnyExecutor the executor; or nil and an error (`queue_unavailable`: no descriptor is
-- left). Whether the server is there is found out by the first call
-- @treturn ?Error error
-- @raise on a wrong option, or where this build has no client of Redis
-- @usage
-- local fleet = noether.check(noether.remote{
--   url = "redis://127.0.0.1:1", key = "a secret of 16 bytes or more",
-- })
-- local _, err = fleet:execute({ language = "bash", code = "execute() { echo 1; }" }, 1)
-- print(err.kind) --> queue_unavailable
-- fleet:close()
function M.new(opts)
  local given = options.check("remote", opts, M.OPTIONS)
  wire.module("remote")
  local settings = tables.merged(M.DEFAULTS, given)
  if settings.ttl_secs > jobs.MAX_TTL_SECS then
    options.raise(("remote: option 'ttl_secs': at most %d"):format(jobs.MAX_TTL_SECS))
  end
  settings = tables.merged(settings, M.queue_of("remote", given, sys.environ()))
  return setmetatable({
    settings = settings, tasks = setmetatable({}, { __mode = "k" }),
  }, metatable)
end

local function closed()
  return errors.new{ kind = "closed", message = "the executor is closed" }
end

-- A forked copy of the host makes a link of its own.
local function open_link(self)
  if self.link and self.link.owner == sys.getpid() then return self.link end
  local link, err = links.new(self.settings)
  self.link = link
  return link, err
end

--- @local
function Remote.reference(_, fname, id)
  if type(id) ~= "table" then return options.argument(fname, "id", id, "text") end
  return stages.new(fname, id)
end

--- @local
function Remote.stage_of(_, reference)
  return type(reference) == "table" and reference or nil
end

--- @local
function Remote:decode(_, text)
  return verdict.decode(text, self.settings.big_integers)
end

--- @local
function Remote:check_call(fname, opts)
  local given = options.check(fname, opts, config.CALL_OPTIONS)
  local call = {}
  for name, value in pairs(given) do
    if not jobs.CARRIED[name] and not OWN[name] then
      options.raise(("%s: option '%s' cannot be used with noether.remote: %s"):format(fname, name,
        HERE))
    end
    call[name] = value
  end
  local settings = self.settings
  call.timeout_secs = call.timeout_secs or settings.timeout_secs
  call.limits = tables.merged(settings.limits, call.limits)
  call.env = tables.merged(settings.env, call.env)
  call.functions = functions.check(fname, call.functions)
  outputs.check_options(fname, call)
  return call
end

-- The call as a worker reads it.
local function call_text(request)
  local reference, call, carried = request.reference, request.call, {}
  for name in pairs(jobs.CARRIED) do
    carried[name] = call[name]
  end
  carried.limits = tables.merged(carried.limits)
  carried.limits.answer_values = nil -- it is for whoever decodes
  return json.encode({
    stage = type(reference) == "table" and reference or nil,
    name = type(reference) == "string" and reference or nil,
    options = jobs.pack_options(carried),
    hears = (call.functions or call.on_log) and {
      functions = call.functions and json.array(tables.sorted_names(call.functions)),
      log = call.on_log ~= nil,
    } or nil,
  }, "call")
end

local function input_text(request)
  if request.mode == "json" then
    if #request.input > json_input.MAX_BYTES then
      return nil, ("input: it is longer than %d bytes"):format(json_input.MAX_BYTES)
    end
    local ok, reason = json.check(request.input)
    return ok and request.input, reason
  end
  return json.encode(request.input, "input")
end

local function file_invalid(name, message)
  return nil, errors.new{ kind = "input_invalid",
    message = ("file '%s': %s"):format(errors.clean(name, 100), message) }
end

local function text_of(file)
  if type(file) == "string" then return file end
  local real, message = sys.realpath(file.path)
  if not real then return nil, message end
  return sys.read_file(real, jobs.MOST_FILE_BYTES)
end

-- What is in the files, by now: they are read here.
local function files_text(call)
  if not call.files or not next(call.files) then return nil end
  local names, texts, total = tables.sorted_names(call.files), {}, 0
  for i, name in ipairs(names) do
    local text, message = text_of(call.files[name])
    if not text then return file_invalid(name, message) end
    total = total + #text
    if total > jobs.MOST_FILE_BYTES then
      return file_invalid(name, ("a fleet carries %d bytes of files at most"):format(
        jobs.MOST_FILE_BYTES))
    end
    texts[i] = text
  end
  return jobs.pack_files(names, texts)
end

local MODES = { value = "json", json = "json", plan = "plan", outline = "outline", known = "known" }

-- What becomes of a request: a function that makes the job when the server is known.
local function sealer(self, request, id, parts)
  local settings = self.settings
  local again = settings.repeat_effects or request.mode ~= "value" and request.mode ~= "json"
    or jobs.is_pure(self:stage_of(request.reference))
  return function(server)
    local now = sys.time()
    return jobs.seal({
      id = id, queue = settings.queue, caller = self.link.caller, created = now,
      expires = now + settings.ttl_secs, mode = MODES[request.mode], again = again,
      server = again and "" or server.run_id or "",
    }, parts.call, parts.input, parts.files, settings.keys)
  end, again
end

-- What is the fault of the worker's machine is not this one's, nor the stage's.
local function judged(err, info)
  local fault = errors.fault(err.kind)
  if fault ~= "host" and fault ~= "us" or err.kind == "queue_unavailable" then return err end
  local worker = tostring(info and info.worker)
  return errors.new{
    kind = "job_dead", hint = err.hint, cause = err, stage = err.stage,
    message = ("worker %s could not run it: %s"):format(worker, err.message),
  }
end

local FORGETS = "the server may forget what it has accepted when it is killed (it has not both "
  .. "appendonly yes and appendfsync always): then a stage that must not run twice is job_dead"

-- Said once.
local function warn_of_server(self, own, again)
  local server = self.link.server
  if again or self.warned or not server or wire.is_durable(server) then return end
  self.warned = true
  own:warn(FORGETS)
end

local function outcome(self, request, text)
  if request.mode == "value" then
    local most = request.call.limits.answer_values or verdict.DEFAULTS.answer_values
    return verdict.decode(text, self.settings.big_integers, most)
  elseif request.mode ~= "json" then
    return errors.restore(json.decode(text))
  end
  local ok, reason = json.check(text)
  if ok then return text end
  return nil, errors.new{ kind = "output_invalid", message = "the worker's answer: " .. reason }
end

-- What answers the calls of a job. Those that were asked before, since the answer was lost, get the
-- same answer.
local function new_calls(self, id, call)
  local link, answers, worker = self.link, {}, nil
  local own = calls.new{
    functions = call.functions or {}, declared = { ["*"] = true }, on_call = call.on_call,
    limits = tables.merged(tables.merged(calls.DEFAULTS, call.limits),
      { timeout_secs = call.timeout_secs }),
  }
  local function answer(n, frame)
    answers[n] = frame
    answers[n - 4 * calls.AT_ONCE] = nil
    link:say(worker, { to = "worker", job = id, n = n, kind = "answer" }, frame)
  end
  local asked = {}
  return own, function(header, body)
    worker = header.worker
    if answers[header.n] then return answer(header.n, answers[header.n]) end
    if asked[header.n] then return nil end
    asked[header.n] = true
    return own:take(('{"type":"call","id":%.0f,"name":%s,"args":%s}'):format(header.n,
      json.encode(tostring(header.name)), body))
  end, function(frame)
    answer(tonumber(frame:match('"id":(%d+)')), frame)
  end
end

-- A job whose worker speaks with this side while it runs, as a task waits for it.
local function begin_heard(self, own, id, seal, call)
  local lines = call.on_log
  local answering, take_call, send_frame = new_calls(self, id, call)
  local job = self.link:begin(own, id, seal, function(header, body)
    if header.kind == "call" then return take_call(header, body) end
    if header.kind ~= "log" or not lines then return nil end
    for line in (body .. "\n"):gmatch("(.-)\n") do
      lines(line)
    end
    return nil
  end)
  function job.send_frame(_, frame) send_frame(frame) end
  return conversation.new(job, answering, own:own_poller())
end

local function begin_job(self, own, id, seal, request)
  local call = request.call
  local is_run = request.mode == "value" or request.mode == "json"
  if is_run and (call.functions or call.on_log) then
    return begin_heard(self, own, id, seal, call)
  end
  return self.link:begin(own, id, seal)
end

-- What travels of a request; or nil and an error.
local function parts_of(request)
  local parts, reason, err = {}
  parts.input, reason = input_text(request)
  if parts.input then parts.call, reason = call_text(request) end
  if not parts.call then
    return nil, errors.new{ kind = "input_invalid", message = reason }
  end
  parts.files, err = files_text(request.call)
  if err then return nil, err end
  return parts
end

local function perform(self, own, request)
  local parts, err = parts_of(request)
  if not parts then return nil, err end
  local link
  link, err = open_link(self)
  if not link then return nil, err end
  local poller
  poller, err = own:own_poller()
  if not poller then return nil, err end
  own:enter("run", "remote")
  local id = wire.random(16)
  local seal, again = sealer(self, request, id, parts)
  local text, info
  text, err, info = own:await(own:hold(begin_job(self, own, id, seal, request)))
  if info then own:learn(info) end
  warn_of_server(self, own, again)
  if err then return nil, judged(err, info) end
  own:enter("decode")
  return outcome(self, request, text)
end

--- @local
function Remote:begin(request)
  if self.closed then return nil, closed() end
  local started = task.new(function(own) return perform(self, own, request) end,
    { cached = false, logs = "" }, request.parent)
  self.tasks[started] = true
  started:step()
  return started
end

--- What a worker would run: its plan.
-- @tparam string|Stage id as for `execute`
-- @param input as for `execute`
-- @tparam[opt] PlanOptions opts options of the call, and `resolve`
-- @treturn ?Plan the plan; or nil and an error
-- @treturn ?Error error
function Remote:plan(id, input, opts)
  return interface.plan(self, id, input, opts)
end

local KNOWN_SECS = 10

--- Whether a worker has a stage of this id or name, and its language. One is asked, and waited for
-- 10 s at most.
-- @tparam string id
-- @treturn boolean
function Remote:has_implementation(id)
  options.method("executor:has_implementation", self)
  options.argument("executor:has_implementation", "id", id, "text")
  local started = self:begin{ reference = id, mode = "known",
    call = self:check_call("executor:has_implementation") }
  if not started then return false end
  local known = started:wait(KNOWN_SECS)
  started:close()
  return known == true
end

--- Give up the executor: what was begun through it is withdrawn. Calls fail with `closed` from then
-- on.
-- @treturn boolean true, however often it is called
function Remote:close()
  if self.closed then return true end
  self.closed = true
  for running in pairs(self.tasks) do
    running:close()
  end
  if self.link and self.link.owner == sys.getpid() then self.link:close() end
  return true
end

metatable.__close = Remote.close


return M
