-- SPDX-License-Identifier: MIT
--- A worker's end of what is said while a job runs: calls to functions of the caller's, whose
-- answers come back, and lines of the log. Both go to the list by which the caller hears of what
-- is over; answers come by a list of the worker's, for which it waits by a connection of its own,
-- from the first job on that has functions.
--
-- A call that is not answered is said again every few seconds and after each reconnection; its
-- number tells the caller that it is the same. A caller that does not take what is said is gone:
-- its stage, which waits for it, is ended.
local json = require "noether.json"
local messages = require "noether.fleet.message"
local sys = require "noether.sys"
local wire = require "noether.fleet.wire"

local M = {}

local Relay = {}
local metatable = { __index = Relay }

local AGAIN_SECS = 5
local NEWS_SECS = 5
local MAX_FUNCTIONS = 1000
local LOG_BYTES = 65536 -- in a message

--- @tparam table worker
-- @treturn table
function M.new(worker)
  return setmetatable({ worker = worker, talks = {} }, metatable)
end

local function say(self, run, text)
  local inbox = self.worker.names.inbox(run.caller)
  self.worker.command:ask{ "RPUSH", inbox, text }
  self.worker.command:ask{ "PEXPIRE", inbox, "3600000" }
end

local function sealed(self, run, kind, n, fields, body)
  fields.to, fields.job, fields.n, fields.kind = "caller", run.id, n, kind
  fields.worker = self.worker.name
  return messages.seal(self.worker.settings.keys, run.key, fields, body)
end

local function listen(self)
  local worker, client = self.worker, self.client
  client:ask({ "BLPOP", worker.names.inbox(worker.name), ("%d"):format(NEWS_SECS) },
    function(value, err)
      if err and (err.lost or err.class ~= "wait") then return end
      if value and value[2] then self:hear(value[2]) end
      listen(self)
    end, 2 * NEWS_SECS)
end

-- True where there is a connection to be answered by, or will be.
local function open(self)
  if self.client then return true end
  local client, err = wire.new("worker", self.worker.settings.place, {
    name = "noether-answers", on_open = function() listen(self) end,
  })
  if not client then
    self.worker.log("warn", err.message)
    return false
  end
  self.client = client
  client:step()
  return true
end

local function ask(self, run, name, args, call)
  local talk = run.talk
  local body = assert(json.encode(args, "args"))
  talk.n = talk.n + 1
  local text = sealed(self, run, "call", talk.n, { name = name }, body)
  talk.pending[talk.n] = { call = call:later(), text = text, said = sys.clock() }
  say(self, run, text)
end

local function functions_for(self, run, names)
  local functions = {}
  for i, name in ipairs(type(names) == "table" and names or {}) do
    if i > MAX_FUNCTIONS then break end
    functions[name] = function(args, call) ask(self, run, name, args, call) end
  end
  return functions
end

local function flush(self, run)
  local talk = run.talk
  if talk.bytes == 0 then return end
  talk.n = talk.n + 1
  say(self, run, sealed(self, run, "log", talk.n, {}, table.concat(talk.lines, "\n")))
  talk.lines, talk.bytes = {}, 0
end

local function listener_for(self, run)
  return function(line)
    local talk = run.talk
    if not talk then return end
    talk.lines[#talk.lines + 1] = line
    talk.bytes = talk.bytes + #line + 1
    if talk.bytes >= LOG_BYTES then flush(self, run) end
  end
end

--- Have a run speak with its caller, as the job says.
-- @tparam table run
-- @tparam ?table wanted `functions` (names), `log`
-- @tparam table opts of the call; gets `functions` and `on_log`
function Relay:attach(run, wanted, opts)
  if type(wanted) ~= "table" then return end
  run.talk = { n = 0, pending = {}, lines = {}, bytes = 0 }
  self.talks[run] = true
  if wanted.log == true then opts.on_log = listener_for(self, run) end
  if type(wanted.functions) == "table" and open(self) then
    opts.functions = functions_for(self, run, wanted.functions)
  end
end

--- A run is over: what it has still to say is said, and nobody is waited for.
-- @tparam table run
function Relay:detach(run)
  if not run.talk then return end
  flush(self, run)
  run.talk, self.talks[run] = nil, nil
end

local function run_of(self, id)
  for run in pairs(self.talks) do
    if run.id == id then return run end
  end
  return nil
end

--- Take what came for this worker: an answer, once.
-- @local
function Relay:hear(text)
  local header, body = messages.open(self.worker.settings.keys, text, "worker")
  local run = header and header.kind == "answer" and run_of(self, header.job)
  local waiting = run and run.talk.pending[header.n]
  if not waiting then return end
  run.talk.pending[header.n] = nil
  local frame = json.decode(body)
  if type(frame) ~= "table" then
    waiting.call:fail("the answer is no JSON")
  elseif frame.type == "result" then
    waiting.call:answer(frame.value)
  else
    waiting.call:fail{ kind = frame.kind, message = tostring(frame.message) }
  end
end

-- A caller that has let it lie for longer than a worker may be silent is gone.
local function judge_caller(self, run, length)
  local talk, now = run.talk, sys.clock()
  if not talk then return end
  if length == 0 then talk.unheard = nil end
  if length and length > 0 then talk.unheard = talk.unheard or now end
  if talk.unheard and now - talk.unheard >= self.worker.settings.dead_secs and run.task then
    self.worker.log("warn", ("the caller of job %s is gone"):format(run.id))
    run.cancelled = true
    run.task:cancel()
  end
end

--- Ask whether those are there who are waited for.
function Relay:look()
  for run in pairs(self.talks) do
    if next(run.talk.pending) then
      self.worker.command:ask({ "LLEN", self.worker.names.inbox(run.caller) }, function(length)
        judge_caller(self, run, length)
      end)
    end
  end
end

--- Go on.
-- @tparam[opt] boolean anew the connection is a new one: nothing is known to have arrived
function Relay:step(anew)
  if self.client then
    self.client:step()
  end
  local now = sys.clock()
  for run in pairs(self.talks) do
    flush(self, run)
    for _, waiting in pairs(run.talk.pending) do
      if anew or now - waiting.said >= AGAIN_SECS then
        waiting.said = now
        say(self, run, waiting.text)
      end
    end
  end
end

--- Make an end.
function Relay:close()
  if self.client then self.client:close() end
  self.talks = {}
end

return M
