-- SPDX-License-Identifier: MIT
--- Waiting for many: sets of handles, and `wait_any`.
--
-- A handle is a process or a task: anything with `look` (go on without waiting, and say whether it
-- is over), `pollfd` and `timeout`. A set looks at a handle when there is something to see: its
-- descriptor is readable, its time has come, or its state was changed by somebody else. So a
-- wake-up costs as much as there is to do, however many handles there are.
--
-- What changes a handle past the set (`wait`, `cancel`, `close`) tells the sets that it is in, by
-- `M.touch`: or its end would be seen by nobody, once its descriptor is quiet. What closes a
-- descriptor says so before, by `M.release`: a forked copy of the host may hold another copy of it,
-- and then closing would not take it out of the poller.
--
-- The set's own descriptor is the poller's. Moments, and handles that are over already, make it
-- readable through the poller's alarm, which is not set before somebody asked for the descriptor.
local errors = require "noether.error"
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

local Set = {}
local metatable = { __name = "noether.set", __index = Set }

local READY_AT_ONCE = 256 -- of a poller's `wait`

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

local function no_descriptor(message, errno)
  return errors.new{
    kind = "spawn_failed", message = message, errno = errno,
    hint = errors.NO_DESCRIPTOR[errno or ""],
  }
end

-- The same, of what a method of the poller says.
local function not_watched(failed)
  return no_descriptor(errors.sentence(failed), failed.errno)
end

local function pending(what)
  return failure("pending", what, "wait again, or cancel it")
end

-- A list from which the first is taken; what is added meanwhile comes after.
local function queue()
  return { first = 1, last = 0 }
end

local function push(list, value)
  list.last = list.last + 1
  list[list.last] = value
end

local function shift(list)
  local value = list[list.first]
  list[list.first] = nil
  if value ~= nil then list.first = list.first + 1 end
  if list.first > list.last then list.first, list.last = 1, 0 end
  return value
end

-- A heap of `{ at, entry }`, the earliest on top.
local function heap_push(heap, item)
  local at = #heap + 1
  while at > 1 do
    local parent = math.floor(at / 2)
    if heap[parent].at <= item.at then break end
    heap[at], at = heap[parent], parent
  end
  heap[at] = item
end

local function heap_pop(heap)
  local top, count = heap[1], #heap
  local item = heap[count]
  heap[count] = nil
  count = count - 1
  if count == 0 then return top end
  local at = 1
  while 2 * at <= count do
    local child = 2 * at
    if child < count and heap[child + 1].at < heap[child].at then child = child + 1 end
    if item.at <= heap[child].at then break end
    heap[at], at = heap[child], child
  end
  heap[at] = item
  return top
end

--- Make a set of processes and tasks.
-- @treturn ?Set the set; or nil and an error (`spawn_failed`: no descriptor is left)
-- @treturn ?Error error
-- @usage
-- local set = noether.check(noether.set())
-- local slow = set:add(noether.check(noether.spawn{ "sleep", "60" }))
-- local quick = set:add(noether.check(noether.spawn{ "true" }))
-- print(set:next(10) == quick, set:count()) --> true 1
-- slow:close()
function M.new()
  local poller, message, errno = sys.poller()
  if not poller then return nil, no_descriptor(message, errno) end
  return setmetatable({
    poller = poller, owner = sys.getpid(), entries = {}, by_number = {}, numbers = 0, size = 0,
    to_look_at = queue(), over = queue(), deadlines = {}, ready = {},
  }, metatable)
end

local function is_handle(value)
  return type(value) == "table" and type(value.look) == "function"
end

-- Raises in a forked copy of the host, which shares the poller with its parent.
local function check_owner(self, fname)
  options.method(fname, self)
  if self.owner ~= sys.getpid() then
    options.raise(fname .. ": the set belongs to the parent of this process")
  end
end

local function forget_descriptor(self, entry)
  if not entry.fd then return end
  self.poller:remove(entry.fd)
  self.by_number[entry.number], entry.fd, entry.number = nil, nil, nil
end

local function drop(self, entry)
  forget_descriptor(self, entry)
  entry.gone = true
  self.entries[entry.handle] = nil
  self.size = self.size - 1
  entry.handle.watchers[self] = nil
end

local function plan_to_look(self, entry)
  if entry.queued then return end
  entry.queued = true
  push(self.to_look_at, entry)
end

-- The earliest moment at which a handle wants to be looked at; nil if there is none.
local function next_deadline(self)
  local heap = self.deadlines
  while heap[1] do
    local item = heap[1]
    local wanted = not item.entry.gone and item.entry.deadline
    if wanted == item.at then return item.at end
    heap_pop(heap)
    item.entry.timed = nil
    if wanted then
      item.entry.timed = wanted
      heap_push(heap, { at = wanted, entry = item.entry })
    end
  end
  return nil
end

-- Deadlines mostly move away: then the one in the heap is found to be stale when it comes.
local function note_deadline(self, entry, secs)
  entry.deadline = secs and sys.clock() + secs
  if not entry.deadline or (entry.timed and entry.timed <= entry.deadline) then return end
  entry.timed = entry.deadline
  heap_push(self.deadlines, { at = entry.deadline, entry = entry })
end

-- How long nothing needs to be done unless a descriptor says so; nil: for ever.
local function idle_secs(self)
  if self.to_look_at.last > 0 or self.over.last > 0 then return 0 end
  local deadline = next_deadline(self)
  return deadline and math.max(deadline - sys.clock(), 0)
end

-- Nobody but event loops needs the alarm.
local function set_alarm(self)
  if not self.has_alarm then return true end
  local secs = idle_secs(self)
  local at = secs and (secs == 0 and 0 or next_deadline(self))
  if at == self.alarm_at then return true end
  self.alarm_at = at
  return self.poller:alarm(secs)
end

local function watch_descriptor(self, entry)
  if entry.fd then return true end
  local fd, err = entry.handle:pollfd()
  if not fd then return nil, err end
  self.numbers = self.numbers + 1
  local ok, failed = self.poller:add(fd, self.numbers)
  if not ok then return nil, not_watched(failed) end
  entry.fd, entry.number = fd, self.numbers
  self.by_number[entry.number] = entry
  return true
end

local function look_at(self, entry)
  if entry.gone or entry.is_over then return end
  self.looking = entry
  local over = entry.handle:look()
  self.looking = nil
  if entry.gone then return end -- a callback took it out
  if over then
    entry.is_over = true
    forget_descriptor(self, entry)
    push(self.over, entry)
  else
    note_deadline(self, entry, entry.handle:timeout())
  end
end

--- Add a process or task, of any executor. One that is in the set already stays; it may be in
-- other sets, too, and be waited for, cancelled and closed by itself.
-- @tparam Process|Task handle
-- @treturn ?Process|Task the handle; or nil and an error (`closed`, `spawn_failed`: no descriptor
-- is left)
-- @treturn ?Error error
-- @raise if it is no process or task
-- @usage
-- local set = noether.check(noether.set())
-- local proc = set:add(noether.check(noether.spawn{ "true" }))
-- print(set:next(10) == proc) --> true
function Set:add(handle)
  check_owner(self, "set:add")
  if not is_handle(handle) then
    options.raise("set:add: handle: expected a process or a task, got " .. type(handle))
  end
  if self.closed then return nil, failure("closed", "the set is closed") end
  if self.entries[handle] then return handle end
  local entry = { handle = handle }
  if handle:timeout() ~= 0 then
    local ok, err = watch_descriptor(self, entry)
    if not ok then return nil, err end
  end
  -- In this order: where memory runs out, close finds both or only this.
  handle.watchers = handle.watchers or setmetatable({}, { __mode = "k" })
  handle.watchers[self] = true
  self.entries[handle] = entry
  self.size = self.size + 1
  plan_to_look(self, entry)
  set_alarm(self)
  return handle
end

--- Take a handle out; it goes on.
-- @tparam Process|Task handle
-- @treturn boolean whether it was in the set
-- @usage
-- local set = noether.check(noether.set())
-- local proc = set:add(noether.check(noether.spawn{ "sleep", "60" }))
-- print(set:remove(proc), set:count()) --> true 0
-- proc:close()
function Set:remove(handle)
  check_owner(self, "set:remove")
  local entry = self.entries[handle]
  if not entry then return false end
  drop(self, entry)
  set_alarm(self)
  return true
end

-- As much as there is now: what is added meanwhile waits for the next turn.
local function look_at_planned(self)
  for _ = self.to_look_at.first, self.to_look_at.last do
    local entry = shift(self.to_look_at)
    entry.queued = nil
    look_at(self, entry)
    if not entry.gone and not entry.is_over and not watch_descriptor(self, entry) then
      entry.is_over = true -- it cannot be waited for here; whoever waits for it is told why
      push(self.over, entry)
    end
  end
end

local function plan_due(self)
  local now = sys.clock()
  local deadline = next_deadline(self)
  while deadline and deadline <= now do
    local entry = heap_pop(self.deadlines).entry
    entry.timed, entry.deadline = nil, nil
    plan_to_look(self, entry)
    deadline = next_deadline(self)
  end
end

-- Waits for at most that long, and plans to look at what is ready.
local function poll(self, secs)
  self.alarm_at = false -- the wait may have silenced it
  for position = 1, self.poller:wait(secs, self.ready) do
    local entry = self.by_number[self.ready[position]]
    if entry then plan_to_look(self, entry) end
  end
end

local function take(self)
  local entry = shift(self.over)
  while entry and entry.gone do
    entry = shift(self.over)
  end
  if not entry then return nil end
  drop(self, entry)
  return entry.handle
end

local function shortest(a, b)
  if not a or not b then return a or b end
  return math.min(a, b)
end

-- One that is over, or nil. Where there is no time left, each is looked at that is ready now, once.
local function find(self, deadline)
  local found, turns = take(self), 0
  while not found and self.size > 0 do
    local left = deadline and math.max(deadline - sys.clock(), 0)
    poll(self, shortest(left, idle_secs(self)))
    plan_due(self)
    look_at_planned(self)
    found, turns = take(self), turns + 1
    if left == 0 and turns * READY_AT_ONCE > self.size then break end
  end
  return found
end

--- Take one handle that is over out of the set, waiting for it if need be. Those that are over are
-- given in the order in which they were seen to be, and what a callback of a task raised is raised
-- by the task's `wait`, not here.
-- @tparam[opt] number secs how long at most; nil is as long as it takes, 0 never blocks
-- @treturn ?Process|Task one whose `wait` returns at once; nil alone if the set is empty, nil and
-- an error if none is over in time (`pending`) or the set is closed (`closed`)
-- @treturn ?Error error
-- @raise on a wrong type
-- @usage
-- local executor = noether.inline{ double = function(n) return n * 2 end }
-- local set = noether.check(noether.set())
-- for n = 1, 2 do set:add(executor:start("double", n)) end
-- local sum = 0
-- for task in function() return (set:next()) end do sum = sum + task:wait() end
-- print(sum) --> 6
function Set:next(secs)
  check_owner(self, "set:next")
  if secs ~= nil then options.argument("set:next", "secs", secs, "duration") end
  if self.closed then return nil, failure("closed", "the set is closed") end
  if self.in_next then options.raise("set:next: it cannot be called by a callback of its own") end
  self.in_next = true
  local ok, found = pcall(find, self, secs and sys.clock() + secs)
  self.in_next, self.looking = nil, nil
  if not ok then error(found, 0) end
  if self.closed then return nil, failure("closed", "the set is closed") end
  set_alarm(self)
  if found or self.size == 0 then return found end
  return nil, pending("none of the set is over yet")
end

--- How many handles are in the set: those that `next` has still to give.
-- @treturn integer
-- @usage
-- print(noether.check(noether.set()):count()) --> 0
function Set:count()
  check_owner(self, "set:count")
  return self.size
end

--- The one descriptor that stands for all of them: it becomes readable when `next(0)` has something
-- to do, moments included, and stays the same until `close`.
-- @treturn ?integer or nil and an error (`closed`, `spawn_failed`)
-- @treturn ?Error error
-- @usage
-- print(math.type(noether.check(noether.set()):pollfd())) --> integer
function Set:pollfd()
  check_owner(self, "set:pollfd")
  if self.closed then return nil, failure("closed", "the set is closed") end
  if not self.has_alarm then
    self.has_alarm = true
    local ok, failed = self.poller:alarm(0)
    if not ok then
      self.has_alarm = nil
      return nil, not_watched(failed)
    end
    self.alarm_at = 0
    set_alarm(self)
  end
  return self.poller:pollfd()
end

--- What to poll the descriptor for.
-- @treturn string "r"
-- @usage
-- print(noether.check(noether.set()):events()) --> r
function Set.events()
  return "r"
end

--- For loops that would rather have a time than the descriptor's word for it.
-- @treturn ?number seconds after which `next(0)` has something to do in any case; nil: there is no
-- such moment
-- @usage
-- print(noether.check(noether.set()):timeout()) --> nil
function Set:timeout()
  check_owner(self, "set:timeout")
  return not self.closed and idle_secs(self) or nil
end

--- Give the set up. What is in it goes on, and stays its owner's. Never blocks.
-- @treturn boolean true, however often it is called
-- @usage
-- local set <close> = noether.check(noether.set())
-- print(set:close()) --> true
function Set:close()
  if self.closed then return true end
  self.closed = true
  for handle, entry in pairs(self.entries) do
    entry.gone, entry.fd = true, nil
    handle.watchers[self] = nil
  end
  self.poller:close()
  self.entries, self.by_number, self.deadlines, self.size = {}, {}, {}, 0
  return true
end

metatable.__close = Set.close -- the poller of a lost one is closed by the collector

--- For handles: tell the sets that a handle is in that it is to be looked at.
-- @tparam table handle
function M.touch(handle)
  if not handle.watchers then return end
  for set in pairs(handle.watchers) do
    local entry = set.entries[handle]
    if entry and entry ~= set.looking then
      plan_to_look(set, entry)
      set_alarm(set)
    end
  end
end

--- For handles: as `touch`, before the descriptor of the handle is closed. In a forked copy of the
-- host nothing is done: the set is its parent's.
-- @tparam table handle
function M.release(handle)
  if not handle.watchers then return end
  for set in pairs(handle.watchers) do
    local entry = set.owner == sys.getpid() and set.entries[handle]
    if entry then
      forget_descriptor(set, entry)
      if entry ~= set.looking then plan_to_look(set, entry) end
      set_alarm(set)
    end
  end
end

local function check_list(list)
  if is_handle(list) then
    options.raise("wait_any: list: expected a list, as in wait_any({ a, b }, secs)")
  end
  options.argument("wait_any", "list", list, "list")
  if #list == 0 then options.raise("wait_any: list: there is nothing to wait for") end
  for i, item in ipairs(list) do
    if not is_handle(item) then
      options.raise(("wait_any: list[%d]: expected a process or a task"):format(i))
    end
  end
end

local function moment(handle)
  local secs = handle:timeout()
  return secs and sys.clock() + secs or math.huge
end

-- The position of one that is over, of those whose moment has come.
local function over_in_time(list, moments)
  local now = sys.clock()
  for position, at in ipairs(moments) do
    if at <= now then
      if list[position]:look() then return position end
      moments[position] = moment(list[position])
    end
  end
  return nil
end

-- The same of those whose descriptor is ready, after that long at most.
local function over_in_poll(list, moments, fds, left)
  local earliest = math.huge
  for _, at in ipairs(moments) do
    earliest = math.min(earliest, at)
  end
  local ready, idle = {}, math.min(left or math.huge, math.max(earliest - sys.clock(), 0))
  for i = 1, sys.poll(fds, idle, ready) do
    local position = ready[i]
    if list[position]:look() then return position end
    moments[position] = moment(list[position])
  end
  return nil
end

local function descriptors(list)
  local fds = {}
  for position, handle in ipairs(list) do
    local fd, err = handle:pollfd()
    if not fd then return nil, err end
    fds[position] = fd
  end
  return fds
end

--- Wait until one of several is over. For many, over and over, a set does it with less work.
-- @tparam {Process|Task,...} list processes and tasks, in any mixture
-- @tparam[opt] number secs how long at most; nil is as long as it takes
-- @treturn ?integer the position in `list` of one that is over; or nil and an error (`pending`,
-- `spawn_failed`: no descriptor is left)
-- @treturn ?Error error
-- @raise on what is no such list
-- @usage
-- local slow = noether.check(noether.spawn{ "sleep", "60" })
-- local quick = noether.check(noether.spawn{ "true" })
-- print(noether.wait_any({ slow, quick }, 10)) --> 2
-- slow:close()
function M.wait_any(list, secs)
  check_list(list)
  if secs ~= nil then options.argument("wait_any", "secs", secs, "duration") end
  local deadline = secs and sys.clock() + secs
  local moments, fds, err = {}, nil, nil
  for position, handle in ipairs(list) do
    moments[position] = moment(handle)
  end
  while true do
    local over = over_in_time(list, moments)
    if over then return over end
    if not fds then fds, err = descriptors(list) end
    if not fds then return nil, err end
    local left = deadline and math.max(deadline - sys.clock(), 0)
    over = over_in_poll(list, moments, fds, left)
    if over then return over end
    if left == 0 then return nil, pending("none of them is over yet") end
  end
end

return M
