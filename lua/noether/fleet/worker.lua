-- SPDX-License-Identifier: MIT
--- Runs what is queued on a Redis server, so many jobs at once, by an executor of this machine.
--
-- Two connections: one waits for jobs, and only while there is a free place; by the other all else
-- is asked. Each job goes through these states, and stays in its place until the server has taken
-- its end: "fetching" (long parts), "starting" (the server is told, and says whether it is still
-- this worker's), "running", "ending".
--
-- What makes a job be run at most once: the start is written before anything of it runs, by a
-- script that looks whether the job is still given to this worker, and whether anybody has started
-- it. What makes it end: who dies is noticed by the others (reaper.lua).
--
-- What comes from the server was written by anybody: a job that is not signed is buried, one whose
-- id was seen here is not run again, and none can have more than this worker's executor gives.
local calls = require "noether.run.calls"
local errors = require "noether.error"
local isolation = require "noether.policy.isolation"
local jobs = require "noether.fleet.job"
local json = require "noether.json"
local keys = require "noether.fleet.keys"
local nonces = require "noether.fleet.nonces"
local options = require "noether.options"
local outputs = require "noether.run.outputs"
local reaper = require "noether.fleet.reaper"
local relay = require "noether.fleet.relay"
local remote = require "noether.fleet.remote"
local sets = require "noether.set"
local sys = require "noether.sys"
local tables = require "noether.tables"
local verdict = require "noether.run.verdict"
local wire = require "noether.fleet.wire"

local M = {}

local Worker = {}
local metatable = { __name = "noether.worker", __index = Worker }

--- The options of @{new}.
M.OPTIONS = {
  url = "string", queue = "string", key = "any", unsigned = "boolean", jobs = "whole",
  executor = "table", name = "string", drain_secs = "duration", dead_secs = "seconds",
  log = "function",
}

M.DEFAULTS = { queue = "stages", unsigned = false, drain_secs = 30, dead_secs = 15 }

local BLOCK_SECS = 1
local READ_SECS = 10 -- the server's clock may be set while it blocks
local CANCEL_SECS = 1
local NEWS_BYTES = 16384
local LONG_SECS = 60 -- for what may be long
local OWN_LOOK_SECS = 30
local LAST_SECS = 5 -- for the ends of what was cut short
local MOST_DEAD = 1000

local function default_name()
  local host = sys.setting("kernel.hostname") or "worker"
  return ("%s-%d-%s"):format(host:gsub("[^%w_.-]", "_"), sys.getpid(), wire.random(3))
end

local function milliseconds(secs)
  return ("%d"):format(math.max(math.ceil(secs * 1000), 1))
end

-- What holds where an executor says nothing.
local DEFAULT_LIMITS = { isolation.limits, isolation.list_limits, outputs.DEFAULTS, calls.DEFAULTS,
  verdict.DEFAULTS }

local CAPPED = { "timeout_secs", "setup_timeout_secs", "max_output_bytes", "max_stderr_bytes" }

-- Whatever an executor asks in its turn: one that is over others has no numbers of its own.
local function configs_of(executor, list)
  if type(executor.config) == "table" then list[#list + 1] = executor.config end
  if type(executor.inner) == "table" then configs_of(executor.inner, list) end
  for _, one in ipairs(type(executor.executors) == "table" and executor.executors or {}) do
    configs_of(one, list)
  end
  return list
end

local function least(into, from, names)
  for _, name in ipairs(names) do
    local value = from[name]
    if type(value) == "number" then into[name] = math.min(into[name] or math.huge, value) end
  end
end

-- The executor's own numbers are the most that a job can have; of several, the least.
local function caps_of(executor)
  local defaults, caps = {}, { own = {}, limits = {} }
  for _, part in ipairs(DEFAULT_LIMITS) do
    defaults = tables.merged(defaults, part)
  end
  local configs = configs_of(executor, {})
  for _, config in ipairs(configs[1] and configs or { {} }) do
    local limits = tables.merged(defaults, config.limits)
    least(caps.own, config, CAPPED)
    least(caps.limits, limits, tables.sorted_names(limits))
  end
  return caps
end

--- Make a worker. It connects when it is first stepped.
-- @tparam WorkerOptions opts
-- @treturn ?Worker the worker; or nil and an error (`queue_unavailable`, `spawn_failed`: no
-- descriptor is left)
-- @treturn ?Error error
-- @raise on a wrong option, or where this build has no client of Redis
-- @usage
-- local worker = noether.check(noether.worker{
--   url = "redis://127.0.0.1:1", key = "a secret of 16 bytes or more", jobs = 2,
--   executor = noether.inline{ double = function(n) return n * 2 end },
-- })
-- worker:stop()                                  -- or worker:run(), until somebody does
-- print(worker:close()) --> true
function M.new(opts)
  local given = options.check("worker", opts, M.OPTIONS)
  wire.module("worker")
  local settings = tables.merged(M.DEFAULTS, given)
  settings = tables.merged(settings, remote.queue_of("worker", given, sys.environ()))
  if not settings.executor then
    options.raise("worker: option 'executor' is missing: what runs the stages")
  end
  settings.name = settings.name or default_name()
  if not settings.name:find("^[%w_.-]+$") or #settings.name > 200 then
    options.raise("worker: option 'name': expected 1 to 200 letters, digits and _ . -")
  end
  local self = setmetatable({
    settings = settings, names = keys.of(settings.queue), name = settings.name,
    executor = settings.executor, caps = caps_of(settings.executor),
    places = settings.jobs or sys.cpu_count(), runs = {}, count = 0, by_task = {},
    log = settings.log or function() end, seen = nonces.new(), beats = 0, beaten = -math.huge,
    asked_cancels = 0, looked = 0, done = 0, died = 0, runs_told = {}, queue_told = {},
  }, metatable)
  local err
  self.set, err = sets.new()
  if not self.set then return nil, err end
  self.command, err = wire.new("worker", settings.place, {
    name = "noether-worker",
    on_open = function(_, server) self:opened(server) end,
    on_lost = function(client, message) self:lost(client, message) end,
  })
  if not self.command then return nil, err end
  self.reads, err = wire.new("worker", settings.place, {
    name = "noether-worker", on_open = function() self.reading, self.looked = false, 0 end,
    on_lost = function() self.reading = false end,
  })
  if not self.reads then return nil, err end
  self.reaper, self.relay = reaper.new(self), relay.new(self)
  return self
end

-- What cannot heal ends the worker.
local function refuse(self, err)
  self.failed = self.failed or wire.unavailable(("the queue '%s' cannot be served: %s"):format(
    self.settings.queue, err.message), err.hint)
end

local function leave(self, run)
  if self.runs[run.entry] ~= run then return end
  self.runs[run.entry], self.count = nil, self.count - 1
end

local function has_expiry(run)
  local left = run.has and run.has.expires - sys.time() or 0
  return milliseconds(math.max(left, 60) + jobs.GRACE_SECS)
end

-- Whether a request is to be made again: when there is a connection, or at the next beat.
local function passes(run, err)
  local does = err and (err.lost or err.class == "wait" or err.class == "leave"
    or err.class == "full") and not err.message:find("^NOGROUP")
  run.stuck = does and not err.lost
  return does
end

-- What the caller is woken by: a copy of the result, where it is short; what is true is in its key.
local function news_of(run, id)
  return #run.packed <= NEWS_BYTES and jobs.news(id, run.packed) or id
end

-- Tells the server that a job is over; until it has said yes, it is not. `run.packed` is what the
-- caller gets (empty: nothing), `run.reason` why it goes to the dead letters.
local function finish(self, run)
  local names, id = self.names, run.id or "unknown"
  run.state = "ending"
  local inbox = names.inbox(run.caller or "unknown")
  self.command:script("finish",
    { names.jobs, names.result(id), inbox, names.scratch, names.dead },
    { keys.GROUP, run.entry, self.name, run.packed, has_expiry(run), id, run.reason or "",
      ("%d"):format(MOST_DEAD), ("%.3f"):format(sys.time()), news_of(run, id) },
    function(_, err)
      if passes(run, err) then return end
      if err and err.class == "setting" then refuse(self, err) end
      if err then
        self.log("warn", ("job %s: its end was not taken: %s"):format(id, err.message))
      else
        self.done, self.died = self.done + 1, self.died + (run.reason and 1 or 0)
      end
      leave(self, run)
    end)
end

-- Long parts of a result have keys of their own, which come first.
local function send_result(self, run)
  for name, text in pairs(run.result.parts) do
    if run.result.has[name].kept then
      local key = self.names.body(run.id, name)
      self.command:ask({ "SET", key, text, "PX", has_expiry(run) }, nil, LONG_SECS)
    end
  end
  finish(self, run)
end

local function end_run(self, run, err, info, output)
  local has, left = run.has
  self.relay:detach(run)
  info, left = jobs.take_outputs(info)
  run.result = jobs.seal_result({
    id = run.id, queue = self.settings.queue, worker = self.name, queue_secs = run.queue_secs or 0,
    again = has.again,
  }, jobs.told(err, info), output or "null", left, self.settings.keys, run.key)
  run.packed = jobs.pack(run.result)
  send_result(self, run)
end

-- What is told of runs, by language, outcome and start: few of each.
local function count_run(self, run, err, info)
  local language = info and info.runtime and info.runtime.language or "none"
  local outcome, start = err and err.kind or "ok", info and info.start or "cold"
  local key = ("%s %s %s"):format(language, outcome, start)
  local told = self.runs_told[key]
  if not told then
    told = { language = language, outcome = outcome, start = start, count = 0, secs = 0 }
    self.runs_told[key] = told
  end
  told.count = told.count + 1
  told.secs = told.secs + sys.clock() - run.began
end

local HOST_FAULTS = { host = true, us = true }

-- What is to be told of an end among the dead letters; nothing of what is the stage's own affair.
local function reason_of(err)
  if not err then return nil end
  if err.kind == "job_dead" or err.kind == "job_expired" or HOST_FAULTS[errors.fault(err.kind)] then
    return errors.clean(("%s: %s"):format(err.kind, err.message), 500)
  end
  return nil
end

local function kill(self, run, kind, message, hint)
  local err = errors.new{ kind = kind, message = message, hint = hint }
  run.reason = reason_of(err)
  end_run(self, run, err)
end

-- Nobody is told: who asks, is told by what he has no use for.
local function drop(self, run, reason)
  self.relay:detach(run)
  run.packed, run.reason = "", reason
  finish(self, run)
end

-- Whose job it says that it is; nothing, where it says nothing that could be.
local function name_claimed(run, header)
  local claimed = json.decode(header, nil, 100)
  local id = type(claimed) == "table" and claimed.id
  local caller = type(claimed) == "table" and claimed.caller
  local is_named = type(id) == "string" and id:find("^%x+$") and #id <= 64
    and type(caller) == "string" and caller:find("^%x+$") and #caller <= 64
  run.id, run.caller = is_named and id or nil, is_named and caller or nil
  return is_named
end

-- Of a job that nobody here trusts no word is, but that it was not: its caller, if it has one, may
-- have another key, and should know. That answer is signed by nobody.
local function bury(self, run, reason, header)
  self.log("warn", ("a job was buried: %s"):format(reason))
  run.packed = name_claimed(run, header) and "0 0 0 0\n" or ""
  run.reason = reason
  finish(self, run)
end

-- A job that is signed, and of a version that nobody here knows: its caller is told so.
local function refuse_version(self, run, reason, signer)
  if not name_claimed(run, run.header) then return bury(self, run, reason, run.header) end
  run.key = type(signer) == "table" and signer or nil
  run.has = { again = false, expires = sys.time() }
  return kill(self, run, "job_dead", ("worker %s cannot read it: %s"):format(self.name, reason),
    jobs.VERSIONS_HINT)
end

-- Numbers that are the most; others are for the executor to refuse.
local function capped(value, cap)
  if type(value) ~= "number" or type(cap) ~= "number" then return value end
  return math.min(value, cap)
end

local function own_options(self, given)
  local opts = {}
  for name, value in pairs(type(given) == "table" and jobs.unpack_options(given) or {}) do
    if jobs.CARRIED[name] then opts[name] = value end
  end
  for _, name in ipairs(CAPPED) do
    opts[name] = capped(opts[name], self.caps.own[name])
  end
  if type(opts.limits) == "table" then
    for name, value in pairs(opts.limits) do
      opts.limits[name] = capped(value, self.caps.limits[name])
    end
  end
  return opts
end

local STAGE_FIELDS = { "language", "code", "effects", "name", "description", "input_schema",
  "output_schema" }

local function stage_of(given)
  local stage = {}
  for _, name in ipairs(STAGE_FIELDS) do
    stage[name] = given[name]
  end
  return stage
end

-- The request that a job is; raises, or gives nil and an error, where it is none.
local function request_of(self, run)
  local call = json.decode(run.parts.call)
  if type(call) ~= "table" then error("the call is no object", 0) end
  local wanted = type(call.stage) == "table" and stage_of(call.stage) or call.name
  if run.has.mode == "known" then
    return { known = self.executor:has_implementation(wanted) }
  end
  local reference, err = self.executor:reference("worker", wanted)
  if not reference then return nil, err end
  local opts = own_options(self, call.options)
  if run.parts.files then
    opts.files = jobs.unpack_files(run.parts.files)
    if not opts.files then error("the files are none", 0) end
  end
  if run.has.mode == "json" then self.relay:attach(run, call.hears, opts) end
  return {
    reference = reference, mode = run.has.mode,
    input = run.has.mode == "json" and run.parts.input or json.decode(run.parts.input),
    call = self.executor:check_call("worker", opts),
  }
end

local MODES = { json = true, plan = true, outline = true, known = true }

local function begin(self, run)
  run.state, run.began = "running", sys.clock()
  run.queue_secs = math.max(sys.time() - run.has.created, 0)
  local ok, request, err = pcall(request_of, self, run)
  if not ok or not MODES[run.has.mode] then
    err = errors.new{ kind = "input_invalid", message = errors.clean(tostring(request), 500) }
    request = nil
  end
  if request and request.known ~= nil then
    return end_run(self, run, nil, nil, tostring(request.known))
  end
  local started
  if request then started, err = self.executor:begin(request) end
  if not started then return end_run(self, run, err) end
  run.task, self.by_task[started] = started, run
  local added
  added, err = self.set:add(started)
  if added then return nil end
  started:close()
  self.by_task[started] = nil
  return end_run(self, run, err)
end

-- The server's word on a job that was begun before it came.
local function told_of_start(self, run, value, err)
  if value == "go" or not run.task then return end
  if value == "cancelled" then
    run.cancelled = true
    run.task:cancel()
  elseif err.class == "lost" then
    self.by_task[run.task] = nil
    run.task:close()
    run.task = nil
    self.relay:detach(run)
    leave(self, run)
  end
end

-- One that may run again is begun at once: if it is no longer this worker's, it is ended.
local function ask_to_start(self, run)
  local names, id = self.names, run.id
  run.state = "starting"
  self.command:script("start", { names.jobs, names.started(id), names.cancel(id), names.scratch },
    { keys.GROUP, run.entry, self.name, run.has.again and "0" or "1", has_expiry(run) },
    function(value, err)
      if run.has.again then return told_of_start(self, run, value, err) end
      if run.state ~= "starting" or passes(run, err) then return nil end
      if value == "go" then
        self.seen:add(id, run.has.expires + jobs.GRACE_SECS)
        begin(self, run)
      elseif value == "cancelled" then
        drop(self, run)
      elseif err.message:find("^STARTED") then
        drop(self, run, "repeated: " .. err.message)
      elseif err.class == "lost" or err.message:find("^NOGROUP") then
        leave(self, run)
      elseif err.class == "setting" then
        refuse(self, err)
        leave(self, run)
      end
      return nil
    end)
  if run.has.again then begin(self, run) end
end

local FORGOTTEN = "the server was started anew since it had accepted the job, and may have "
  .. "forgotten that it ran"

local JOB_PARTS = { "call", "input", "files" }

-- All parts are here.
local function check(self, run)
  for _, name in ipairs(jobs.parts_of(run.has, JOB_PARTS)) do
    if not jobs.is_part(run.has[name], run.parts[name]) then
      return bury(self, run, "a part of it is not what was signed", run.header)
    end
  end
  if not run.has.again and not wire.is_durable(self.server)
    and run.has.server ~= self.server.run_id then
    return kill(self, run, "job_dead", FORGOTTEN, "appendfsync always forgets nothing")
  end
  return ask_to_start(self, run)
end

local function fetch(self, run)
  run.state = "fetching"
  for _, name in ipairs(jobs.parts_of(run.has, JOB_PARTS)) do
    if run.has[name].kept and not run.parts[name] then
      self.command:ask({ "GET", self.names.body(run.id, name) }, function(text, err)
        if run.state ~= "fetching" or passes(run, err) then return nil end
        if not text then return kill(self, run, "job_dead", "a part of the job is gone") end
        run.parts[name] = text
        return fetch(self, run)
      end, LONG_SECS)
      return
    end
  end
  check(self, run)
end

local function fields_of(list)
  local fields = {}
  for i = 1, #(list or {}) - 1, 2 do
    fields[list[i]] = list[i + 1]
  end
  return fields
end

-- What an entry is, if it is a job that may be run here: else it was buried, or dropped.
local function opened_run(self, run, list)
  local fields = fields_of(list)
  run.header = fields.h or ""
  local has, key, signer = jobs.open(run.header, fields.s or "", self.settings.keys,
    self.settings.queue)
  if not has then
    if signer then refuse_version(self, run, key, signer) else bury(self, run, key, run.header) end
    return false
  end
  run.has, run.key, run.id, run.caller = has, key, has.id, has.caller
  run.parts = {
    call = not has.call.kept and fields.c or nil, input = not has.input.kept and fields.i or nil,
  }
  return true
end

local function new_run(self, entry)
  local run = { entry = entry, state = "new" }
  self.runs[entry], self.count = run, self.count + 1
  return run
end

--- Take a job that was given to this worker.
-- @local
function Worker:take(entry, list)
  if self.runs[entry] then return end
  local run = new_run(self, entry)
  if not opened_run(self, run, list) then return end
  if sys.time() > run.has.expires + jobs.GRACE_SECS then
    kill(self, run, "job_expired", "the job's time was over before a worker took it")
  elseif self.seen:has(run.id) then
    drop(self, run, "repeated: this worker had begun it")
  else
    fetch(self, run)
  end
end

--- Take over what a worker that died had begun, or had not.
-- @tparam string entry
-- @tparam table list its fields
-- @tparam number times how often it was given out
-- @tparam ?string started who had started it
-- @local
function Worker:inherit(entry, list, times, started)
  if self.runs[entry] then return end
  local run = new_run(self, entry)
  if not opened_run(self, run, list) then return end
  if started and not run.has.again then
    kill(self, run, "job_dead", ("worker %s had begun the job, and died"):format(
      errors.clean(started, 200)), "it is not run again, since its stage is not Pure: "
      .. "repeat_effects allows it")
  elseif times > reaper.MOST_TIMES then
    kill(self, run, "job_dead", ("%d workers died that had the job"):format(times),
      "does the stage end them?")
  else
    fetch(self, run)
  end
end

--- How many more jobs it may have.
-- @treturn number
-- @local
function Worker:free_places()
  return math.max(self.places - self.count - self.reaper.claiming, 0)
end

local function take_entries(self, value)
  for _, stream in ipairs(value or {}) do
    for _, entry in ipairs(stream[2]) do
      if entry[2] then self:take(entry[1], entry[2]) end
    end
  end
end

-- A queue that somebody has removed is made again. The worker is a consumer from then on, and seen
-- as one, before it has got anything; where that is refused it is one later.
local function make_group(self, answer)
  self.command:ask({ "XGROUP", "CREATE", self.names.jobs, keys.GROUP, "0", "MKSTREAM" },
    function(_, err)
      if err and err.message:find("^BUSYGROUP") then err = nil end
      if err and err.class == "setting" then refuse(self, err) end
      if not err and answer then answer() end
    end)
  self.command:ask{ "XGROUP", "CREATECONSUMER", self.names.jobs, keys.GROUP, self.name }
end

local function read(self)
  local free = self:free_places()
  if self.reading or self.draining or free < 1 or not self.has_group then return end
  if self.reaper.wants then return end
  if self.command.state ~= "open" then return end
  self.reading = self.reads:ask({ "XREADGROUP", "GROUP", keys.GROUP, self.name, "COUNT",
    ("%d"):format(free), "BLOCK", milliseconds(BLOCK_SECS), "STREAMS", self.names.jobs, ">" },
    function(value, err)
      self.reading = false
      if not err then return take_entries(self, value) end
      if err.message:find("^NOGROUP") or err.message:find("^UNBLOCKED") then
        self.log("warn", "the queue was removed: it is made again")
        self.has_group = false
        return make_group(self, function() self.has_group = true end)
      elseif err.class == "setting" then
        return refuse(self, err)
      end
      return nil
    end, READ_SECS)
end

-- What was given to this worker by an answer that it never got.
local function look_after_own(self)
  self.looked = sys.clock()
  self.command:ask({ "XPENDING", self.names.jobs, keys.GROUP, "-", "+", "100", self.name },
    function(list)
      for _, item in ipairs(list or {}) do
        local entry = item[1]
        if not self.runs[entry] then
          self.command:ask({ "XRANGE", self.names.jobs, entry, entry }, function(found)
            local own = found and found[1]
            if own and own[2] and not self.draining then self:take(own[1], own[2]) end
          end)
        end
      end
    end)
end

local function ask_again(self, run)
  run.stuck = nil
  if run.state == "starting" then
    ask_to_start(self, run)
  elseif run.state == "fetching" then
    fetch(self, run)
  elseif run.state == "ending" then
    if run.result then send_result(self, run) else finish(self, run) end
  end
end

-- What was being asked when the connection went is asked again; or what the server would not take
-- just then.
local function resume(self, only_stuck)
  local list = {}
  for _, run in pairs(self.runs) do
    if run.stuck or not only_stuck then list[#list + 1] = run end
  end
  for _, run in ipairs(list) do
    ask_again(self, run)
  end
end

-- That it was begun stands there for as long as it runs, whatever the server's clock does.
local function renew_starts(self)
  for _, run in pairs(self.runs) do
    if run.state == "running" and not run.has.again then
      self.command:ask{ "SET", self.names.started(run.id), self.name, "PX", has_expiry(run) }
    end
  end
end

local function beat(self)
  self.beats, self.beaten = self.beats + 1, sys.clock()
  self.last_beat = ("%d %d %d %d %d"):format(self.beats, self.count, self.places, self.done,
    self.died)
  self.command:script("beat", { self.names.worker(self.name), self.names.scratch },
    { self.last_beat, milliseconds(self.settings.dead_secs * 3) },
    function(_, err) if err and err.class == "setting" then refuse(self, err) end end)
  renew_starts(self)
  resume(self, true)
end

local function look_for_cancels(self)
  self.asked_cancels = sys.clock()
  self.relay:look()
  for _, run in pairs(self.runs) do
    if run.state == "running" then
      self.command:ask({ "EXISTS", self.names.cancel(run.id) }, function(value)
        if value == 1 and run.task and run.state == "running" then
          run.cancelled = true
          run.task:cancel()
        end
      end)
    end
  end
end

local MOST_COUNTED = 1000 -- heartbeats that are asked for at once

-- Those of the group that have a heartbeat.
local function count_live(self)
  local told, command = self.queue_told, self.command
  command:ask({ "XINFO", "CONSUMERS", self.names.jobs, keys.GROUP }, function(consumers)
    if not consumers or not consumers[1] then return end
    local words, live = { "MGET" }, 0
    local function ask(is_last)
      command:ask(words, function(beats)
        for _, value in ipairs(beats or {}) do
          if value then live = live + 1 end
        end
        if is_last and beats then told.live = live end
      end)
      words = { "MGET" }
    end
    for i, list in ipairs(consumers) do
      words[#words + 1] = self.names.worker(fields_of(list).name)
      if #words > MOST_COUNTED or i == #consumers then ask(i == #consumers) end
    end
  end)
end

local function ask_oldest(self, last)
  self.command:ask({ "XRANGE", self.names.jobs, "(" .. last, "+", "COUNT", "1" }, function(found)
    if not found then return end
    local header = found[1] and json.decode(fields_of(found[1][2]).h or "null", nil, 100)
    local created = type(header) == "table" and tonumber(header.created)
    self.queue_told.oldest_secs = created and math.max(sys.time() - created, 0) or 0
  end)
end

--- Ask how long the queue is, for figures; what comes is in `queue_told`.
-- @local
function Worker:ask_queue()
  local told, command, last = self.queue_told, self.command, "0-0"
  command:ask({ "XLEN", self.names.dead }, function(count) told.dead = count or told.dead end)
  command:ask({ "XPENDING", self.names.jobs, keys.GROUP }, function(summary)
    if not summary then return end
    command:ask({ "XLEN", self.names.jobs }, function(length)
      if length then told.depth = math.max(length - summary[1], 0) end
    end)
  end)
  count_live(self)
  command:ask({ "XINFO", "GROUPS", self.names.jobs }, function(groups)
    for _, list in ipairs(groups or {}) do
      local fields = fields_of(list)
      if fields.name == keys.GROUP then last = fields["last-delivered-id"] or last end
    end
    ask_oldest(self, last)
  end)
end

--- There is a connection.
-- @local
function Worker:opened(server)
  self.server, self.has_group = server, false
  self.log("info", ("serves the queue '%s' at %s as %s"):format(self.settings.queue,
    self.settings.place.shown, self.name))
  make_group(self, function()
    self.has_group = true
    resume(self, false)
    self.relay:step(true)
  end)
  self.reaper:forget()
  beat(self)
end

--- There is none any more.
-- @local
function Worker:lost(client, message)
  self.has_group = false
  if client.is_setting then
    refuse(self, { message = message, hint = client.hint })
  elseif client.opened ~= self.told_lost then
    self.told_lost = client.opened
    self.log("warn", ("no server at %s: %s; trying again"):format(
      self.settings.place.shown, message))
  end
end

local function end_task(self, task)
  local run = self.by_task[task]
  self.by_task[task] = nil
  local ok, output, err, info = pcall(task.wait, task, 0)
  task:close()
  if not run then return end
  run.task = nil
  if not ok then
    output, err, info = nil, errors.new{ kind = "stage_failed", message = tostring(output) }, nil
  end
  count_run(self, run, err, info)
  if run.cancelled then return drop(self, run) end
  run.reason = reason_of(err)
  if not err and run.has.mode ~= "json" then
    output = json.encode(errors.portable(output), "plan")
  end
  end_run(self, run, err, info, not err and output or nil)
end

local function collect(self)
  local task = self.set:next(0)
  while task do
    end_task(self, task)
    task = self.set:next(0)
  end
end

local function every(self, name, secs, fn)
  if sys.clock() - self[name] >= secs then fn(self) end
end

-- Drained in time, or cut short: what may not be repeated is told to be dead, the rest is left for
-- others to take over.
local function cut_short(self)
  self.is_cut = true
  for _, run in pairs(self.runs) do
    if run.state ~= "ending" then
      if run.task then
        self.by_task[run.task] = nil
        run.task:close()
        run.task = nil
      end
      self.relay:detach(run)
      if run.state == "running" and not run.has.again then
        kill(self, run, "job_dead", "the worker was ended while it ran the job")
      else
        leave(self, run)
      end
    end
  end
end

-- Takes back what this worker says of itself.
local function retire(self, answer)
  self.has_retired = true
  self.command:script("retire", { self.names.jobs, self.names.worker(self.name) },
    { keys.GROUP, self.name, self.last_beat or "" }, answer)
end

-- Its last words are waited for: a server that writes to a connection which was closed meanwhile
-- reads no more of it.
local function drain(self)
  local now = sys.clock()
  if not self.is_cut and now >= self.drain_at then cut_short(self) end
  local is_done = self.count == 0 and not self.reading
  if is_done and self.command.state == "open" and not self.has_retired then
    retire(self, function() self.over = true end)
  elseif (is_done and self.command.state ~= "open") or now >= self.drain_at + LAST_SECS then
    self.over = true
  end
end

--- Go on without waiting.
-- @treturn boolean whether it is over: it was stopped and what it had is done, or it cannot go on
-- (`run` says why)
-- @raise on a worker that is closed
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- print(worker:step()) --> false
-- worker:close()
function Worker:step()
  options.method("worker:step", self)
  if self.closed then options.raise("worker:step: the worker is closed") end
  self.command:step()
  self.reads:step()
  self.relay:step()
  collect(self)
  if self.command.state == "open" and not self.has_retired then
    every(self, "beaten", self.settings.dead_secs / 5, beat)
    every(self, "asked_cancels", CANCEL_SECS, look_for_cancels)
    every(self, "looked", OWN_LOOK_SECS, look_after_own)
    if not self.draining then self.reaper:step() end
  end
  read(self)
  if self.draining then drain(self) end
  self.command:flush()
  self.reads:flush()
  return self.over or self.failed ~= nil
end

--- After how many seconds `step` has something to do in any case.
-- @treturn number
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- print(worker:timeout() <= 1) --> true
-- worker:close()
function Worker:timeout()
  options.method("worker:timeout", self)
  local secs = math.min(1, self.settings.dead_secs / 5)
  for _, part in ipairs{ self.command, self.reads, self.set, self.relay.client } do
    secs = math.min(secs, part:timeout() or secs)
  end
  return secs
end

--- The descriptors that are readable when `step` has something to do. One more comes with the first
-- job that calls functions of its caller: ask each time.
-- @treturn {integer,...}
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- print(#worker:pollfds()) --> 3
-- worker:close()
function Worker:pollfds()
  options.method("worker:pollfds", self)
  local relays = self.relay.client and self.relay.client:pollfd() or nil
  return { self.command:pollfd(), self.reads:pollfd(), self.set:pollfd(), relays }
end

--- Take no more jobs, and be over when those that run are done: after `drain_secs` at the latest.
-- @treturn boolean true
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- print(worker:stop()) --> true
-- worker:close()
function Worker:stop()
  options.method("worker:stop", self)
  if not self.draining then
    self.draining, self.drain_at = true, sys.clock() + self.settings.drain_secs
  end
  return true
end

--- Serve until it is stopped (by a function of the executor's, or by its log), or cannot go on.
-- @treturn ?boolean true; or nil and an error (`queue_unavailable`)
-- @treturn ?Error error
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- worker:stop()
-- print(worker:run()) --> true
-- worker:close()
function Worker:run()
  options.method("worker:run", self)
  while not self:step() do
    sys.poll(self:pollfds(), self:timeout(), {})
  end
  if self.failed then return nil, self.failed end
  return true
end

--- Make an end, at once: what runs is killed, and left for others.
-- @treturn boolean true, however often it is called
-- @usage
-- local worker = noether.check(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
--   executor = noether.inline{} })
-- print(worker:close(), worker:close()) --> true true
function Worker:close()
  if self.closed then return true end
  self.closed = true
  for task in pairs(self.by_task) do
    task:close()
  end
  self.by_task = {}
  if self.command.state == "open" and self.count == 0 and not self.has_retired then
    retire(self)
    self.command:flush()
  end
  self.set:close()
  self.command:close()
  self.reads:close()
  self.relay:close()
  return true
end

metatable.__close = Worker.close

return M
