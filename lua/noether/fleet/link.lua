-- SPDX-License-Identifier: MIT
--- What the jobs of one remote executor have in common: two connections, one to ask by and one that
-- waits for news, and the list of what is not over yet.
--
-- A job is kept here until it is over. News come by a list of the caller's own; that is a hint, and
-- may be lost: what is true stands in the key of the result, and each job is looked after every few
-- seconds, and after each reconnection. One that the server has forgotten is queued again by the
-- same id, if nothing of it can have run, or it may run again.
--
-- Each job is waited for by a task with a descriptor of its own. A few of them watch the
-- connections (many cannot: the kernel bounds how many sets of descriptors one descriptor may
-- wake), and whoever is stepped goes on for all. Those whose news came by another are woken by
-- their poller's alarm, and told to the sets that they are in. One that nobody wakes looks for
-- itself, and from then on watches too.
local errors = require "noether.error"
local jobs = require "noether.fleet.job"
local keys = require "noether.fleet.keys"
local messages = require "noether.fleet.message"
local sets = require "noether.set"
local sys = require "noether.sys"
local wire = require "noether.fleet.wire"

local M = {}

local Link = {}
local link_metatable = { __index = Link }

local Job = {}
local job_metatable = { __index = Job }

local LOOK_SECS = 2 -- after jobs of which nothing was heard
local TEND_SECS, TEND_SECS_EACH = 0.05, 0.0001
local NEWS_SECS = 5
local NO_QUEUE_SECS = 5 -- until a queue that is not there is told
local AGAIN_SECS = 0.1
local MOST_WATCHERS = 4
local UNWATCHED_SECS = 0.1
local LOOK_SECS_EACH, UNWATCHED_SECS_EACH = 0.005, 0.001 -- of many jobs, each is looked at seldom
local MANY, PUMP_SECS = 16, 0.0002
local LOOKS_AT_ONCE = 50
local MOST_FETCHES = 3

local function failure(kind, message, hint, cause)
  return errors.new{ kind = kind, message = message, hint = hint, cause = cause }
end

local function milliseconds(secs)
  return ("%d"):format(math.max(math.ceil(secs * 1000), 1))
end

--- Make the link of an executor. Nothing is connected yet.
-- @tparam table settings `place`, `queue`, `keys`, `ttl_secs`, `max_queue`, `reconnect_secs`
-- @treturn ?table nil and an error
-- @treturn ?table
function M.new(settings)
  local self = setmetatable({
    settings = settings, names = keys.of(settings.queue), caller = wire.random(12),
    jobs = setmetatable({}, { __mode = "v" }), count = 0, watchers = 0, pumped = 0, tended = 0,
    owner = sys.getpid(), since = sys.clock(),
  }, link_metatable)
  local err
  self.command, err = wire.new("remote", settings.place, {
    name = "noether-caller",
    on_open = function(_, server) self:opened(server) end,
    on_lost = function() self:lost() end,
  })
  if not self.command then return nil, err end
  self.news, err = wire.new("remote", settings.place, {
    name = "noether-news", on_open = function() self:listen() end,
  })
  if not self.news then return nil, err end
  return self
end

local function root_of(task)
  while task.parent do
    task = task.parent
  end
  return task
end

-- Whoever waits for a job is woken.
local function wake(job)
  local poller = not job.own.closed and job.own:own_poller()
  if poller then job.alarmed = poller:alarm(0) == true end
  sets.touch(root_of(job.own))
end

-- The job is over.
local function settle(job, output, err, info)
  if job.outcome then return end
  job.outcome = { output, err, info }
  job.link:forget(job)
  wake(job)
end

-- What a job leaves on the server.
local function clear(job)
  local names, id = job.link.names, job.id
  job.link.command:ask{ "DEL", names.result(id), names.job(id), names.started(id),
    names.body(id, "call"), names.body(id, "input"), names.body(id, "files"),
    names.body(id, "told"), names.body(id, "output"), names.body(id, "outputs") }
end

local function withdraw(job)
  local link = job.link
  if not job.was_sent then return end
  link.command:ask{ "SET", link.names.cancel(job.id), "1", "PX",
    milliseconds(link.settings.ttl_secs + jobs.GRACE_SECS) }
  link.command:flush()
end

local function lifetime(self)
  return milliseconds(self.settings.ttl_secs + jobs.GRACE_SECS)
end

local function may_have_run(why)
  return failure("job_dead", "it is not known whether the stage has run: " .. why,
    "a server with appendonly yes and appendfsync always forgets nothing; a stage that is Pure, or "
      .. "repeat_effects, is run again", "queue_unavailable")
end

-- The server has refused a request of a job's.
local function refused(job, err)
  local now = sys.clock()
  if err.lost then
    job.state = "unsent" -- it is looked after when there is a connection again
  elseif err.message:find("^QUEUEFULL") then
    settle(job, nil, failure("queue_full", ("the queue '%s' is full: it has %s jobs"):format(
      job.link.settings.queue, err.message:match("%d+") or "too many"),
      "try again later, add workers, or raise max_queue"))
  elseif err.class == "full" then
    settle(job, nil, failure("queue_full", "the server is full", err.hint, err.message))
  elseif err.class == "lost" then
    settle(job, nil, may_have_run("the server has lost it"))
  elseif err.message:find("^NOQUEUE")
    and now - job.began > math.min(NO_QUEUE_SECS, job.link.settings.reconnect_secs) then
    settle(job, nil, wire.unavailable(("there is no queue '%s'"):format(job.link.settings.queue),
      err.hint, err.message))
  elseif err.class == "wait" and now - job.began > job.link.settings.reconnect_secs then
    settle(job, nil, wire.unavailable("the server cannot take the job", err.hint, err.message))
  elseif err.class == "wait" or err.class == "leave" then
    job.state, job.retry_at = "unsent", now + AGAIN_SECS
  else
    settle(job, nil, wire.unavailable("the server refuses: " .. err.message, err.hint, err.message))
  end
end

local function accepted(job, value)
  job.state, job.looked = "accepted", sys.clock()
  if value == "done" then return job.link:fetch(job) end
  job.entry = value
  return nil
end

local function submit(job)
  local link, names = job.link, job.link.names
  if not job.sealed then job.sealed = job.seal(link.server) end
  local sealed, id = job.sealed, job.id
  job.state, job.was_sent = "sent", true
  for name, part in pairs(sealed.parts) do
    if sealed.has[name].kept then
      link.command:ask({ "SET", names.body(id, name), part, "PX", lifetime(link) },
        function(_, err) if err and not job.outcome then refused(job, err) end end, 60)
    end
  end
  if job.outcome or job.state ~= "sent" then return end
  local has, parts = sealed.has, sealed.parts
  local sent = link.command:script("submit",
    { names.jobs, names.job(id), names.result(id), names.started(id) },
    { ("%d"):format(link.settings.max_queue), lifetime(link), sealed.header, sealed.signature,
      has.call.kept and "" or parts.call, has.input.kept and "" or parts.input,
      has.again and "1" or "0" },
    function(value, err)
      if job.outcome then return end
      if err then refused(job, err) else accepted(job, value) end
    end)
  if not sent then job.state = "unsent" end
end

-- A job that the server does not have any more; `has_key`: it still knows that there was one, so
-- that nobody can have begun it unseen.
local function recover(job, started, has_key)
  local link = job.link
  local same = job.sealed.has.server == link.server.run_id or wire.is_durable(link.server)
  if job.sealed.has.again then
    submit(job)
  elseif started then
    settle(job, nil, may_have_run(("worker %s had begun it, and the server has lost it"):format(
      errors.clean(started, 100))))
  elseif same and job.entry and not has_key then
    settle(job, nil, may_have_run("the server had accepted it, and all that it knew of it is gone"))
  elseif same then
    submit(job)
  else
    settle(job, nil, may_have_run("the server was restarted, and has forgotten it"))
  end
end

local function look(job)
  local link, names, id = job.link, job.link.names, job.id
  job.looked = sys.clock()
  local about = { names.jobs, names.job(id), names.result(id), names.started(id) }
  link.command:script("look", about, { job.entry or "" }, function(value, err)
    if job.outcome then return end
    if err then
      refused(job, err)
    elseif value[1] == "done" then
      job.state = "accepted"
      link:fetch(job)
    elseif value[1] == "queued" then
      job.state, job.worker = "accepted", value[2] or nil
    else
      recover(job, value[2] or nil, value[3] == 1)
    end
  end)
end

local function is_bad(job, what, hint)
  withdraw(job)
  settle(job, nil, failure("job_dead", "the answer cannot be used: " .. what, hint
    or "have callers and workers the same key? Else somebody wrote to the server who has none"))
end

local RESULT_PARTS = { "told", "output", "outputs" }

-- The worker says it by its clock, which may be ahead of this one: more than has passed here, less
-- what the run has taken, it cannot have been.
local function queue_secs_of(job, has, info)
  local ran = type(info.duration_secs) == "number" and info.duration_secs or 0
  return math.min(has.queue_secs, math.max(sys.clock() - job.began - ran, 0))
end

local function finish(job, has, parts)
  for _, name in ipairs(jobs.parts_of(has, RESULT_PARTS)) do
    if not jobs.is_part(has[name], parts[name]) then
      return is_bad(job, "it is not what was signed")
    end
  end
  local err, info = jobs.read_told(parts.told)
  info.worker, info.queue_secs = has.worker, queue_secs_of(job, has, info)
  if parts.outputs then jobs.give_outputs(info, parts.outputs) end
  clear(job)
  settle(job, not err and parts.output or nil, err, info)
  return nil
end

-- Long parts come one by one.
local function fetch_parts(job, has, parts)
  for _, name in ipairs(jobs.parts_of(has, RESULT_PARTS)) do
    if has[name].kept and not parts[name] then
      job.link.command:ask({ "GET", job.link.names.body(job.id, name) }, function(text, err)
        if job.outcome then return end
        if err then return refused(job, err) end
        if not text then return is_bad(job, "a part of it is gone") end
        parts[name] = text
        return fetch_parts(job, has, parts)
      end, 60)
      return
    end
  end
  finish(job, has, parts)
end

local function take_result(job, text)
  local settings, pieces = job.link.settings, jobs.unpack(text)
  if not pieces then return is_bad(job, "it is no result") end
  local has, reason, is_version = jobs.open_result(pieces[1], pieces[2], settings.keys,
    settings.queue, job.id)
  if not has then return is_bad(job, reason, is_version and jobs.VERSIONS_HINT or nil) end
  return fetch_parts(job, has, {
    told = not has.told.kept and pieces[3] or nil,
    output = not has.output.kept and pieces[4] or nil,
  })
end

--- Get a job's result.
function Link:fetch(job)
  if job.fetching then return end
  job.fetching = true
  local sent = self.command:ask({ "GET", self.names.result(job.id) }, function(text, err)
    job.fetching = false
    if job.outcome then return end
    if err then
      refused(job, err)
    elseif text then
      take_result(job, text)
    else
      job.fetches = (job.fetches or 0) + 1
      if job.fetches >= MOST_FETCHES then is_bad(job, "it is gone") end
    end
  end, 60)
  if not sent then job.fetching = false end
end

--- There is a connection: each job goes on from where it is known to be.
function Link:opened(server)
  self.server, self.failed_since = server, nil
  for _, job in pairs(self.jobs) do
    if job.was_sent then look(job) else submit(job) end
  end
end

--- There is none any more. The moment is kept, since it is waited for only so long.
function Link:lost()
  self.failed_since = self.failed_since or sys.clock()
  for _, job in pairs(self.jobs) do
    job.state, job.fetching = "unsent", false
  end
end

--- Take news: the id of a job that is over, or a message of one that runs, which is heard in the
-- order in which it came, by whoever waits for the job.
-- @local
function Link:hear(news)
  if news:sub(1, 1) ~= messages.MARK then
    local id, packed = jobs.read_news(news)
    local job = self.jobs[id or news]
    if not job or job.outcome then return nil end
    if packed then return take_result(job, packed) end
    return self:fetch(job)
  end
  local header, body = messages.open(self.settings.keys, news, "caller")
  local job = header and self.jobs[header.job]
  if not job or not job.on_message or type(header.worker) ~= "string"
    or not header.worker:find("^[%w_.-]+$") then
    return nil
  end
  job.heard[#job.heard + 1] = { header = header, body = body }
  return wake(job)
end

--- Say something to the worker that runs a job.
-- @tparam string worker
-- @tparam table header
-- @tparam string body
function Link:say(worker, header, body)
  local inbox = self.names.inbox(worker)
  self.command:ask{ "RPUSH", inbox, messages.seal(self.settings.keys, nil, header, body) }
  self.command:ask{ "PEXPIRE", inbox, "3600000" }
  self.command:flush()
end

--- Wait for news.
function Link:listen()
  self.news:ask({ "BLPOP", self.names.inbox(self.caller), ("%d"):format(NEWS_SECS) },
    function(value, err)
      if err and (err.lost or err.class ~= "wait") then return end
      if value and value[2] then self:hear(value[2]) end
      self:listen()
    end, 2 * NEWS_SECS)
end

-- There is no connection: what cannot heal is told at once, what may after a while. A server that
-- never was there is no reason to wait.
local function check_connection(self, now)
  local client = self.command
  if client.state == "open" or not client.why then return end
  local never = client.opened == 0 and not client.why:find("loading", 1, true)
  local waited = now - (self.failed_since or now)
  if not (client.is_setting or never or waited >= self.settings.reconnect_secs) then return end
  for _, job in pairs(self.jobs) do
    if client.failed_at < job.began then
      client.retry_at = math.min(client.retry_at, now) -- it is tried for this one first
    elseif job.was_sent and not job.sealed.has.again then
      settle(job, nil, may_have_run("the server is lost: " .. client.why))
    else
      settle(job, nil, wire.unavailable(("no queue at %s: %s"):format(self.settings.place.shown,
        client.why), client.hint or "is the server there, and is the address right?", client.why))
    end
  end
end

local function expire(job)
  local message = "no worker has begun it"
  if job.worker then message = "not ended by worker " .. errors.clean(job.worker, 100) end
  withdraw(job)
  settle(job, nil, failure("job_expired", ("the job was not done in %g s: %s"):format(
    job.link.settings.ttl_secs, message), "are there workers? noether fleet status tells; or raise "
    .. "ttl_secs"))
end

-- What only the time says.
local function tend(self, now)
  check_connection(self, now)
  local looks, interval = 0, math.max(LOOK_SECS, self.count * LOOK_SECS_EACH)
  for _, job in pairs(self.jobs) do
    if now >= job.until_secs then
      expire(job)
    elseif self.command.state == "open" then
      if job.state == "unsent" and now >= (job.retry_at or 0) then
        job.retry_at = now + AGAIN_SECS
        if job.was_sent then look(job) else submit(job) end
      elseif job.state == "accepted" and now - job.looked >= interval then
        looks = looks + 1
        if looks <= LOOKS_AT_ONCE then look(job) end
      end
    end
  end
end

--- Go on for all jobs, without waiting.
-- @tparam[opt] boolean at_once whatever was done a moment ago
function Link:pump(at_once)
  local now = sys.clock()
  if not at_once and self.count > MANY and now - self.pumped < PUMP_SECS then return end
  self.command:step()
  self.news:step()
  if now - self.tended >= math.max(TEND_SECS, self.count * TEND_SECS_EACH) then
    self.tended = now
    tend(self, now)
  end
  self.command:flush()
  self.pumped = sys.clock()
end

--- After how many seconds there is something to do in any case.
function Link:timeout()
  local secs = LOOK_SECS / 4
  for _, client in ipairs{ self.command, self.news } do
    secs = math.min(secs, client:timeout() or secs)
  end
  return secs
end

--- Begin a job, as part of a task that waits for it.
-- @tparam table own the task
-- @tparam string id
-- @tparam function seal takes what is known of the server, gives the sealed job
-- @tparam ?function on_message takes the header and body of what its worker says meanwhile
-- @treturn table what `task:await` takes
function Link:begin(own, id, seal, on_message)
  local now = sys.clock()
  local job = setmetatable({
    link = self, own = own, id = id, seal = seal, state = "unsent", began = now, looked = now,
    until_secs = now + self.settings.ttl_secs, on_message = on_message, heard = {},
  }, job_metatable)
  self.jobs[id], self.count = job, self.count + 1
  if self.watchers < MOST_WATCHERS or on_message then job:watch() end
  if self.command.state == "open" then
    submit(job)
    self.command:flush()
  else
    self:pump(true)
  end
  return job
end

--- A job is over.
function Link:forget(job)
  if self.jobs[job.id] then
    self.jobs[job.id], self.count = nil, self.count - 1
  end
end

--- Give it up, and what is connected. What was withdrawn is still sent.
function Link:close()
  self.closed = true
  self.command:flush()
  self.command:close()
  self.news:close()
end

function Job:watch()
  if self.watches or self.link.closed then return end
  local link = self.link
  if self.own:watch(link.command:pollfd()) then
    self.watches = true
    link.watchers = link.watchers + 1
    self.own:watch(link.news:pollfd())
  end
end

-- Of a task that is part of another, it is that one's poller, which goes on.
local function unwatch(self, link)
  local root = root_of(self.own)
  local poller = not link.closed and not root.closed and root:own_poller()
  if poller then
    poller:remove(link.command:pollfd())
    poller:remove(link.news:pollfd())
  end
end

function Job:unwatch()
  if not self.watches then return end
  local link = self.link
  self.watches = false
  link.watchers = link.watchers - 1
  unwatch(self, link)
  -- Somebody else's turn.
  for _, job in pairs(link.jobs) do
    if not job.watches and not job.outcome then
      job:watch()
      return
    end
  end
end

-- What was said comes before what came of it. It is taken one by one: who listens may raise.
local function hear(job)
  while not job.is_deaf and job.heard[1] do
    local message = table.remove(job.heard, 1)
    job.on_message(message.header, message.body)
  end
end

function Job:step()
  local link = self.link
  hear(self)
  if self.outcome or link.closed then return true end
  if not self.watches and sys.clock() - link.pumped > UNWATCHED_SECS then self:watch() end
  link:pump()
  hear(self)
  return self.outcome ~= nil
end

--- For calls to functions: whether there is room for more.
function Job:listen(wanted)
  self.is_deaf = not wanted
end

--- The descriptor of the whole.
function Job:pollfd()
  return self.own:own_poller():pollfd()
end

function Job:wait(secs)
  if self.outcome then return end
  local link = self.link
  local most = self:timeout()
  sys.poll({ link.command:pollfd(), link.news:pollfd() }, math.min(secs or most, most), {})
  link:pump(true)
end

function Job:timeout()
  if self.outcome then return 0 end
  local link, left = self.link, math.max(self.until_secs - sys.clock(), 0)
  if self.watches then return math.min(link:timeout(), left) end
  return math.min(left, math.max(2 * UNWATCHED_SECS, link.count * UNWATCHED_SECS_EACH))
end

function Job:result()
  return self.outcome[1], self.outcome[2], self.outcome[3]
end

function Job:cancel()
  if self.outcome then return end
  withdraw(self)
  settle(self, nil, failure("cancelled", "the task was cancelled"))
end

function Job:close()
  if not self.outcome then
    withdraw(self)
    self.outcome = { nil, failure("cancelled", "the task was cancelled") }
    self.link:forget(self)
  end
  local root = root_of(self.own)
  local poller = self.alarmed and not root.closed and root:own_poller()
  if poller then poller:alarm() end
  self.alarmed = nil
  self:unwatch()
end

return M
