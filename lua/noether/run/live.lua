-- SPDX-License-Identifier: MIT
--- An interpreter that stays, and the cells that it runs, one at a time.
--
-- The process reports through a poller of its own, since it outlives the task of any cell. Cells go
-- to it as frames `{ type = "run", cell, ... }`, and it answers each by `{ type = "answer", cell,
-- value, display }` or `{ type = "error", cell, error }`; calls of host functions come between. All
-- that it says is a stranger's: what is no answer of the cell that runs ends it.
--
-- Nobody steps it between two cells, and perhaps not within one. So its supervisor is told at the
-- beginning and at the end of each cell how long it may go on: the deadline of a cell (with the
-- time to be interrupted in), the idle end and the end of its life hold without the host.
--
-- A cell is what a task awaits: `step`, `wait`, `timeout`, `cancel`, `close`, `result`.
local calls = require "noether.run.calls"
local conversation = require "noether.run.conversation"
local errors = require "noether.error"
local exec = require "noether.run.transport.exec"
local json = require "noether.json"
local process = require "noether.process"
local sys = require "noether.sys"
local tables = require "noether.tables"
local verdict = require "noether.run.verdict"

local M = {}

local Live = {}
Live.__index = Live

local Cell = {}
Cell.__index = Cell

local GRACE_SECS = 1 -- for a cell that was interrupted
local SIGNALS_SECS = 10 -- until they have reached the interpreter, where the machine is very busy
local LATE_SECS = 2 -- more than that, and the supervisor ends it by itself
local FRAME_BYTES = 4096 -- of an answer, beside the value
local DRAINS = 256 -- looks at the output after an answer: what never ends is not waited for

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

-- --- What it prints -----------------------------------------------------------------------------

-- Keeps a beginning and an end within a limit, and how much there was.
local function new_printed(most)
  return { most = most, bytes = 0, head = {}, head_bytes = 0, tail = {}, tail_bytes = 0 }
end

local function trim_tail(printed, most)
  while printed.tail[1] and printed.tail_bytes - #printed.tail[1] >= most do
    printed.tail_bytes = printed.tail_bytes - #table.remove(printed.tail, 1)
  end
end

local function keep(printed, piece)
  local half = math.floor(printed.most / 2)
  printed.bytes = printed.bytes + #piece
  local room = math.max(printed.most - half - printed.head_bytes, 0)
  local first = piece:sub(1, room)
  if first ~= "" then
    printed.head[#printed.head + 1] = first
    printed.head_bytes = printed.head_bytes + #first
  end
  if #first == #piece then return end
  printed.tail[#printed.tail + 1] = piece:sub(#first + 1)
  printed.tail_bytes = printed.tail_bytes + #piece - #first
  trim_tail(printed, half)
end

--- What was printed, as much as was kept.
-- @tparam table printed
-- @treturn string
-- @treturn boolean whether some was left out
local function text_of(printed)
  local head, tail = table.concat(printed.head), table.concat(printed.tail)
  if printed.bytes <= printed.most then return head .. tail, false end
  local half = math.floor(printed.most / 2)
  tail = half > 0 and tail:sub(-half) or ""
  local left_out = printed.bytes - #head - #tail
  return ("%s\n[%d bytes left out]\n%s"):format(head, left_out, tail), true
end

-- --- The interpreter ----------------------------------------------------------------------------

-- The cell that is told of what comes; what comes between cells is the next one's.
local function note(self, stream, piece)
  self.heard = self.heard + 1
  keep(self[stream], piece)
  local listener = self.cell and self.cell.listeners[stream]
  if listener then listener(piece) end
end

local function unexpected(self, what)
  self:finish(failure("stage_failed", "it said something on its channel that is no answer: "
    .. errors.clean(what, 80), "the channel (descriptor 5) is for the session itself"))
end

-- What comes: false, as long as nothing more is wanted.
local function take(self, frame)
  local cell = self.cell
  if not self.is_ready then
    self.is_ready = frame == '{"type":"ready"}'
    if not self.is_ready then unexpected(self, frame or "no frame") end
    return false
  end
  if self.cause then return false end
  local kind, number = (frame or ""):match '^{"type":"(%l+)","cell":(%d+)'
  if kind and tonumber(number) == self.leftover then
    self.leftover = nil
    return false
  elseif self.is_looking and kind ~= "answer" and kind ~= "error" then
    self.early = frame -- a call, by what an earlier cell has left
    return false
  elseif not cell or cell.frame then
    unexpected(self, frame or "no frame")
    return false
  elseif (kind == "answer" or kind == "error") and tonumber(number) == cell.number then
    cell.frame = frame
    return false
  elseif kind == "answer" or kind == "error" then
    unexpected(self, frame)
    return false
  end
  cell.calls:take(frame)
  return cell.calls:has_room()
end

local function frame_bytes(limits)
  return math.max(calls.frame_bytes(limits), limits.max_output_bytes + FRAME_BYTES)
end

local function launch(self, plan, private)
  local base = exec.options(plan, private)
  base.limits.cpu_secs = nil
  return process.launch(plan.argv, tables.merged(base, {
    poller = self.poller, timeout_secs = self.life_secs, private_tmp = true, shows_work = true,
    stdout = { path = "/dev/null" }, max_output_bytes = math.huge,
    on_stdout = function(piece) note(self, "stdout", piece) end,
    on_stderr = function(piece) note(self, "stderr", piece) end,
    on_frame = function(frame) return take(self, frame) end,
    max_frame_bytes = frame_bytes(self.limits),
  }))
end

--- Start one.
-- @tparam table job with its plan
-- @tparam table opts `life_secs`, `idle_secs` (each perhaps math.huge)
-- @treturn ?table nil and an error
-- @treturn ?table
function M.start(job, opts)
  local poller, err = process.poller()
  if not poller then return nil, err end
  local limits = tables.merged(calls.DEFAULTS, job.plan.limits)
  for name in pairs(calls.DEFAULTS) do
    limits[name] = job.call.limits[name] or limits[name]
  end
  limits.max_output_bytes = limits.max_output_bytes or 2 ^ 30
  limits.max_stderr_bytes = limits.max_stderr_bytes or 2 ^ 30
  limits.timeout_secs = nil
  local self = setmetatable({
    poller = poller, job = job, limits = limits, life_secs = opts.life_secs,
    idle_secs = opts.idle_secs, born = sys.clock(), number = 0, interrupts = 0, heard = 0,
    stderr = new_printed(limits.max_stderr_bytes), stdout = new_printed(limits.max_output_bytes),
  }, Live)
  self.process, err = launch(self, job.plan, {
    env = job.call.env, launcher = job.call.launcher, on_network = job.call.on_network,
  })
  if self.process then return self end
  poller:close()
  return nil, err
end

--- The descriptor that becomes readable when there is something to do.
-- @treturn integer
function Live:pollfd()
  return self.poller:pollfd()
end

function Live:life_left()
  return math.max(self.born + self.life_secs - sys.clock(), 0)
end

--- End it, for a reason of ours. The first one stands.
-- @tparam table cause an error
function Live:finish(cause)
  if self.cause then return end
  self.cause = cause
  self.process:cancel()
end

local SESSION = "the session"

local function of_time(self)
  if self.term == "idle" then
    return failure("timed_out", ("it did nothing for %g s (idle_secs)"):format(self.idle_secs))
  elseif self.term == "cell" then
    return failure("timed_out", ("cell %d went on after its deadline of %g s"):format(self.number,
      self.cell_secs))
  end
  return failure("timed_out", ("its life of %g s was over (lifetime_secs)"):format(self.life_secs))
end

-- Of a process that ended by itself.
local function of_end(result)
  if result.signal then
    return failure("stage_failed", ("its process was ended by %s"):format(result.signal))
  end
  return failure("stage_failed", ("its process ended with code %d"):format(result.exit_code or -1))
end

-- Why it is over, once its process is.
local function cause_of(self)
  if self.cause then return self.cause end
  local result, err = self.process:result()
  if err then return err end
  local cause
  if result.reason == "timeout" then
    cause = of_time(self)
  else
    cause = verdict.ended(result, self.limits) or of_end(result)
    cause.message = cause.message:gsub("^the stage", SESSION)
  end
  cause.result = result
  return cause
end

--- Whether it is over; if so, why.
-- @treturn ?table an error
function Live:over()
  if not self.lost and self.process:step() then self.lost = cause_of(self) end
  return self.lost
end

-- What was printed after the answer was written is not waited for; what was before it is here.
local function drain(self)
  for _ = 1, DRAINS do
    local before = self.heard
    self.process:listen(false)
    if self.process:step() or self.heard == before then return end
  end
end

-- Between cells: until it is idle for too long, or too old, or what a cell has left running has
-- used as much of the processor as a cell may.
local function rest(self)
  local left = self:life_left()
  self.term = self.idle_secs < left and "idle" or "life"
  local secs = math.max(math.min(self.idle_secs, left), 0.001)
  self.process:set_terms(secs, self.limits.cpu_secs)
end

--- Give it up. Never blocks.
function Live:close()
  if self.cell then self.cell:drop() end
  self.process:close()
  self.poller:close()
  if self.held then self.held:close() end
  self.held = nil
end

-- --- Beginning ----------------------------------------------------------------------------------

local Beginning = {}
Beginning.__index = Beginning

--- What a task awaits until it takes cells: its result is true, or nil and why it is over.
-- @tparam number secs how long that may take
-- @treturn table
function Live:beginning(secs)
  return setmetatable({ live = self, deadline = sys.clock() + secs, secs = secs }, Beginning)
end

function Beginning:step()
  local live = self.live
  if not live.is_ready and sys.clock() >= self.deadline then
    live:finish(failure("setup_timed_out",
      ("the interpreter was not ready for cells after %g s"):format(self.secs)))
  end
  return live:over() ~= nil or live.is_ready == true
end

function Beginning:timeout()
  local secs = math.max(self.deadline - sys.clock(), 0)
  local own = self.live.process:timeout()
  return own and math.min(own, secs) or secs
end

function Beginning:wait(secs)
  sys.poll({ self.live:pollfd() }, math.min(self:timeout(), secs or math.huge), {})
end

function Beginning:cancel()
  self.live:finish(failure("cancelled", "it was closed before it was ready"))
end

function Beginning:close()
  self.live:close()
end

function Beginning:result()
  local live = self.live
  if live.lost then return nil, live.lost end
  rest(live)
  -- What an interpreter says of its own start is nobody's.
  for _, stream in ipairs{ "stderr", "stdout" } do
    live[stream] = new_printed(live[stream].most)
  end
  return true
end

-- --- Cells --------------------------------------------------------------------------------------

local function run_frame(self)
  local spec, live = self.spec, self.live
  return ('{"type":"run","cell":%d,"interrupts":%d,"display":%s,"outputs":%s,"most":%.0f,'
    .. '"input_bytes":%d,"input":%s,"code":%s}'):format(self.number, live.interrupts,
    spec.display and "true" or "false", spec.patterns and "true" or "false",
    live.limits.max_output_bytes,
    spec.input and #spec.input or 0, spec.input or "null", spec.code)
end

local function have_interrupts_come(live)
  return live.process:interrupts() >= live.interrupts
end

local function interrupt(self)
  self.owes_interrupt, self.was_interrupted = nil, true
  local sent = self.live.process:send_interrupt()
  if sent then self.live.interrupts = self.live.interrupts + 1 end
  return sent
end

-- An answer that is there before anything was asked is none.
local function look_for_early(live)
  local cell = live.cell
  live.cell, live.is_looking = nil, true
  live.process:listen(true)
  live.process:step()
  live.cell, live.is_looking = cell, nil
end

local function send(self)
  local live, spec = self.live, self.spec
  look_for_early(live)
  self.is_sent, self.patience, self.began = true, nil, sys.clock()
  local secs = math.min(spec.timeout_secs, live:life_left())
  self.deadline, live.cell_secs, live.term = self.began + secs, secs, "cell"
  live.process:set_terms(secs + GRACE_SECS + LATE_SECS, spec.cpu_secs)
  live.process:send_frame(run_frame(self))
  if live.early then self.calls:take(live.early) end
  live.early = nil
  if self.why then interrupt(self) end
end

-- Not before the end of the cell before it; nor, unless that takes too long, before the interrupts
-- that were sent to that one: they go another way, and could come later.
local function may_be_sent(cell)
  local live = cell.live
  if cell.is_sent or live.leftover then return false end
  return have_interrupts_come(live) or sys.clock() >= cell.signals_patience
end

--- Begin a cell.
-- @tparam table spec `code` and perhaps `input` (JSON), `timeout_secs`, `cpu_secs`, `display`,
-- `calls` (of run/calls.lua), `on_stderr`
-- @treturn table the cell
function Live:begin(spec)
  self.number = self.number + 1
  local cell = setmetatable({
    live = self, number = self.number, spec = spec, calls = spec.calls,
    listeners = { stderr = spec.on_stderr },
    talk = conversation.new(self.process, spec.calls, self.poller),
  }, Cell)
  self.cell = cell
  cell.patience, cell.signals_patience = sys.clock() + GRACE_SECS, sys.clock() + SIGNALS_SECS
  if may_be_sent(cell) then send(cell) end
  return cell
end

-- No more of this cell: what it waits for is ended, and what was printed is its own.
local function detach(self)
  local live = self.live
  self.calls:close()
  live.cell = nil
  self.printed = {}
  for _, stream in ipairs{ "stderr", "stdout" } do
    self.printed[stream], self.printed[stream .. "_truncated"] = text_of(live[stream])
    live[stream] = new_printed(live[stream].most)
  end
end

local function settle(self)
  drain(self.live)
  detach(self)
  self.outcome = { frame = self.frame }
  rest(self.live)
end

local function lose(self)
  local live, stopped = self.live, self.calls.stopped
  if stopped and not live.cause then live.cause = errors.new(stopped) end
  live:over()
  detach(self)
  self.outcome = { lost = live.lost }
end

--- Interrupt what it runs, as Ctrl-C does.
-- @tparam string why "interrupted"; or "timed_out" and "cancelled", after which it has a second
function Cell:interrupt(why)
  if self.outcome then return false end
  self.why = self.why or why
  if why ~= "interrupted" and not self.ends_at then self.ends_at = sys.clock() + GRACE_SECS end
  if self.was_interrupted and self.live.job.script.one_interrupt then return true end
  -- Two that are pending at once would be one to who gets them, and the other still to come.
  self.owes_interrupt = self.is_sent and not have_interrupts_come(self.live)
  return not self.is_sent or self.owes_interrupt or interrupt(self)
end

local function check_time(self)
  local now, live = sys.clock(), self.live
  if self.patience and now >= self.patience and live.leftover then
    live:finish(failure("cancelled", ("cell %d, whose task was closed, did not stop"):format(
      live.leftover)))
  elseif self.ends_at and now >= self.ends_at then
    local kind = self.why == "cancelled" and "cancelled" or "timed_out"
    live:finish(failure(kind, ("cell %d did not stop when it was interrupted"):format(
      self.number), "a cell that is interrupted has a second"))
  elseif self.deadline and not self.is_late and now >= self.deadline then
    self.is_late, self.why = true, "timed_out"
    self:interrupt("timed_out")
  end
end

function Cell:step()
  if self.outcome then return true end
  if self.is_stepping then return false end -- from its own callback
  self.is_stepping = true
  local over = self.talk:step()
  self.is_stepping = nil
  if self.outcome then return true end
  if self.frame and not self.live.cause then
    settle(self)
  elseif over then
    lose(self)
  else
    if may_be_sent(self) then send(self) end
    if self.owes_interrupt and have_interrupts_come(self.live) then interrupt(self) end
    check_time(self)
  end
  return self.outcome ~= nil
end

function Cell:timeout()
  if self.outcome then return 0 end
  local earliest = self.talk:timeout() or math.huge
  local at = self.patience and (self.live.leftover and self.patience or self.signals_patience)
    or self.ends_at or (not self.is_late and self.deadline)
  if at then earliest = math.min(earliest, math.max(at - sys.clock(), 0)) end
  return earliest < math.huge and earliest or nil
end

function Cell:wait(secs)
  local most = self:timeout()
  if not most or (secs and secs < most) then most = secs end
  self.talk:wait(most)
end

function Cell:result()
  return self.outcome
end

function Cell:cancel()
  if self.outcome then return end
  if self.is_sent then
    self:interrupt("cancelled")
  else
    self.why = "cancelled"
    self:drop()
  end
end

--- Whoever had it run has gone: it is interrupted, and the next one waits for its end.
function Cell:close()
  if self.outcome then return end
  local live = self.live
  detach(self)
  self.outcome = {}
  if not self.is_sent then return end
  live.leftover = self.number
  interrupt(self)
  rest(live)
end

--- It is given up, with its interpreter or before that heard of it.
function Cell:drop()
  if self.outcome then return end
  detach(self)
  self.outcome = { lost = self.live.cause }
end

--- What a frame says.
-- @tparam table outcome of a cell
-- @tparam[opt] string big_integers
-- @tparam[opt] number most_values
-- @treturn ?table the frame, decoded; nil and why not
-- @treturn ?string
-- @treturn ?boolean whether it is of too many values
function M.decode(outcome, big_integers, most_values)
  return json.decode(outcome.frame, big_integers, most_values)
end

return M
