-- SPDX-License-Identifier: MIT
--- What is in a queue: its depth, its workers, its dead letters. For people and their programs, not
-- for executors: it asks one thing after the other, and waits.
local errors = require "noether.error"
local jobs = require "noether.fleet.job"
local json = require "noether.json"
local keys = require "noether.fleet.keys"
local sys = require "noether.sys"
local wire = require "noether.fleet.wire"

local M = {}

local Desk = {}
local metatable = { __index = Desk }

local WAIT_SECS = 15
local PAGE = "500"

--- Open a queue to look at.
-- @tparam table settings `place`, `queue`, `keys`
-- @treturn ?table with `status`, `dead`, `again`, `purge`, `close`; or nil and an error
-- (`queue_unavailable`)
-- @treturn ?table
function M.open(settings)
  local self = setmetatable({ settings = settings, names = keys.of(settings.queue) }, metatable)
  local err
  self.client, err = wire.new("fleet", settings.place, {
    name = "noether-fleet", on_open = function(_, server) self.server = server end,
  })
  if not self.client then return nil, err end
  local ok
  ok, err = self:wait(function() return self.server end)
  if ok then return self end
  self:close()
  return nil, err
end

--- @local
function Desk:wait(is_done)
  local client, until_secs = self.client, sys.clock() + WAIT_SECS
  while not is_done() do
    client:step()
    if client.why and client.state == "closed" then
      local message = ("no queue at %s: %s"):format(self.settings.place.shown, client.why)
      return nil, wire.unavailable(message, client.hint, client.why)
    elseif sys.clock() >= until_secs then
      return nil, wire.unavailable(("no answer of %s"):format(self.settings.place.shown))
    end
    if not is_done() then sys.poll({ client:pollfd() }, client:timeout() or 1, {}) end
  end
  return true
end

-- The answer; or nil and an error.
local function ask(self, words)
  local answered, value, refused
  self.client:ask(words, function(...)
    answered, value, refused = true, ...
  end)
  local ok, err = self:wait(function() return answered end)
  if not ok then return nil, err end
  if not refused then return value end
  return nil, wire.unavailable("the server refuses: " .. refused.message, refused.hint,
    refused.message)
end

local function fields_of(list)
  local fields = {}
  for i = 1, #(list or {}) - 1, 2 do
    fields[list[i]] = list[i + 1]
  end
  return fields
end

local function created_of(list)
  local header = json.decode(fields_of(list).h or "null", nil, 100)
  return type(header) == "table" and tonumber(header.created) or nil
end

-- Of the group of workers, by names: what each version tells is not in one order.
local function group_of(self)
  local groups, err = ask(self, { "XINFO", "GROUPS", self.names.jobs })
  if not groups then return nil, err end
  for _, list in ipairs(groups) do
    local fields = fields_of(list)
    if fields.name == keys.GROUP then return fields end
  end
  return {}
end

local function worker_of(self, name, held)
  local beat, err = ask(self, { "GET", self.names.worker(name) })
  if err then return nil, err end
  local _, running, places, done, died = (beat or ""):match("^(%d+) (%d+) (%d+) (%d+) (%d+)$")
  return {
    name = name, held = held, beats = running ~= nil, running = tonumber(running) or 0,
    places = tonumber(places) or 0, done = tonumber(done) or 0, died = tonumber(died) or 0,
  }
end

local function workers_of(self)
  local consumers, err = ask(self, { "XINFO", "CONSUMERS", self.names.jobs, keys.GROUP })
  if not consumers then return nil, err end
  local list = {}
  for _, item in ipairs(consumers) do
    local fields = fields_of(item)
    local worker
    worker, err = worker_of(self, fields.name, fields.pending)
    if not worker then return nil, err end
    if worker.beats or worker.held > 0 then list[#list + 1] = worker end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- What there is.
-- @treturn ?table `queue`, `exists`, `waiting`, `running`, `oldest_secs` (of those that wait),
-- `workers` (each `name`, `beats`, `running`, `places`, `done`, `died`, `held`), `dead`, `durable`;
-- or nil and an error
-- @treturn ?table
function Desk:status()
  local status = { queue = self.settings.queue, waiting = 0, running = 0, workers = json.array(),
    durable = wire.is_durable(self.server), dead = 0 }
  local exists, err = ask(self, { "EXISTS", self.names.jobs })
  if not exists then return nil, err end
  status.exists = exists == 1
  status.dead, err = ask(self, { "XLEN", self.names.dead })
  if not status.dead then return nil, err end
  if not status.exists then return status end
  local length, group, oldest
  length, err = ask(self, { "XLEN", self.names.jobs })
  if length then group, err = group_of(self) end
  if not group then return nil, err end
  status.running = group.pending or 0
  status.waiting = math.max(length - status.running, 0)
  status.workers, err = workers_of(self)
  if not status.workers then return nil, err end
  oldest, err = ask(self, { "XRANGE", self.names.jobs,
    "(" .. (group["last-delivered-id"] or "0-0"), "+", "COUNT", "1" })
  if not oldest then return nil, err end
  local created = oldest[1] and created_of(oldest[1][2])
  status.oldest_secs = created and math.max(sys.time() - created, 0) or 0
  return status
end

local function letter_of(item)
  local fields = fields_of(item[2])
  local call = json.decode(fields.c or "null", nil, 10000)
  local stage = type(call) == "table" and type(call.stage) == "table" and call.stage or {}
  return {
    entry = item[1], job = errors.clean(fields.job or "", 64),
    reason = errors.clean(fields.reason or "", 500),
    worker = errors.clean(fields.worker or "", 200), at = tonumber(fields.at) or 0, fields = fields,
    stage = type(stage.id) == "string" and errors.clean(stage.id, 64) or nil,
  }
end

-- Each dead letter, the oldest first; `fn` returns nil and an error to make an end.
local function each_letter(self, fn)
  local from = "-"
  while true do
    local page, err = ask(self, { "XRANGE", self.names.dead, from, "+", "COUNT", PAGE })
    if not page then return nil, err end
    if #page == 0 then return true end
    for _, item in ipairs(page) do
      local ok
      ok, err = fn(letter_of(item))
      if not ok then return nil, err end
      from = "(" .. item[1]
    end
  end
end

--- The dead letters.
-- @treturn ?table a list: `entry`, `job`, `reason`, `worker`, `at` (seconds since 1970), `stage`;
-- or nil and an error
-- @treturn ?table
function Desk:dead()
  local letters = json.array()
  local ok, err = each_letter(self, function(letter)
    letter.fields = nil
    letters[#letters + 1] = letter
    return true
  end)
  if not ok then return nil, err end
  return letters
end

local function is_wanted(letter, wanted)
  return #wanted == 0 or wanted[letter.job] or wanted[letter.entry]
end

local function set_of(list)
  local set = {}
  for i, name in ipairs(list or {}) do
    set[i], set[name] = name, true
  end
  return set
end

-- A dead letter is queued as a new job, signed here: nobody waits for its answer, which is kept for
-- as long as it lives.
local function queue_again(self, letter, ttl_secs)
  local settings, fields = self.settings, letter.fields
  local old = jobs.open(fields.h or "", fields.s or "", settings.keys, settings.queue)
  local is_whole = old and not old.files and jobs.is_part(old.call, fields.c)
    and jobs.is_part(old.input, fields.i)
  if not is_whole then return false end
  local now, id = sys.time(), wire.random(16)
  local sealed = jobs.seal({
    id = id, queue = settings.queue, caller = wire.random(12), created = now,
    expires = now + ttl_secs, mode = old.mode, again = old.again,
    server = old.again and "" or self.server.run_id or "",
  }, fields.c, fields.i, nil, settings.keys)
  local entry, err = ask(self, { "XADD", self.names.jobs, "NOMKSTREAM", "*", "h", sealed.header,
    "s", sealed.signature, "c", fields.c, "i", fields.i })
  if not entry then
    return nil, err or wire.unavailable("there is no such queue", "start a worker first")
  end
  local removed
  removed, err = ask(self, { "XDEL", self.names.dead, letter.entry })
  return removed and true, err
end

--- Queue dead letters again.
-- @tparam ?table ids of jobs; none: all
-- @tparam number ttl_secs
-- @treturn ?number how many were; nil and an error
-- @treturn number|table how many could not be: they are not signed, or were too long to be kept
function Desk:again(ids, ttl_secs)
  local wanted, count, left = set_of(ids), 0, 0
  local ok, err = each_letter(self, function(letter)
    if not is_wanted(letter, wanted) then return true end
    local queued, failed = queue_again(self, letter, ttl_secs)
    if queued == nil then return nil, failed end
    if queued then count = count + 1 else left = left + 1 end
    return true
  end)
  if not ok then return nil, err end
  return count, left
end

--- Remove dead letters.
-- @tparam ?table ids of jobs; none: all
-- @treturn ?number how many were; nil and an error
-- @treturn ?table
function Desk:purge(ids)
  local wanted, count = set_of(ids), 0
  local ok, err = each_letter(self, function(letter)
    if not is_wanted(letter, wanted) then return true end
    local removed, failed = ask(self, { "XDEL", self.names.dead, letter.entry })
    count = count + (removed or 0)
    return removed, failed
  end)
  if not ok then return nil, err end
  return count
end

--- Make an end.
function Desk:close()
  self.client:close()
end

return M
