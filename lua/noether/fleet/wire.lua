-- SPDX-License-Identifier: MIT
--- A client of one Redis server that never waits: requests go out one after the other, each has a
-- function that gets its answer, and a deadline of its own, since nothing that a server says of
-- time can be relied on (its clock may be set while it makes us wait).
--
-- A connection that is lost is made again, after a pause that grows. What was asked and not
-- answered is told so: it may have been done, or be done later. Who asked knows whether to ask
-- again; this is why every submission here is one that may be repeated.
--
-- States: "closed" (until `retry_at`), "resolving", "connecting", "greeting", "open".
local errors = require "noether.error"
local options = require "noether.options"
local process = require "noether.process"
local resource = require "noether.resource"
local sys = require "noether.sys"

local M = {}

local Client = {}
local metatable = { __name = "noether.fleet.wire", __index = Client }

--- What of hiredis and TLS lies in C; loaded when it is first used.
-- @tparam string fname the public function, for messages
-- @treturn table
-- @raise where it was built without hiredis
function M.module(fname)
  local ok, redis = pcall(require, "noether.redis")
  if ok and redis.connection then return redis end
  return options.raise(fname .. ": this build has no client of Redis: install hiredis' headers "
    .. "(libhiredis-dev) and build it again" .. (ok and "" or " (" .. tostring(redis) .. ")"))
end

local CONNECT_SECS = 10
local ANSWER_SECS = 10
local GETENT_SECS = 10
local LOOK_SECS = 0.01 -- at a name that is being resolved
local MIN_PAUSE_SECS, MAX_PAUSE_SECS = 0.05, 2
local BOUNDS = { values = 262144, bytes = 600 * 1024 * 1024 }
local AUTHORITIES = {
  "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
}

-- What the first word of a failure says: "wait" (it passes), "leave" (another node is the one),
-- "full", "lost" (somebody else's now), else "setting", which no repeating heals.
local CLASSES = {
  LOADING = "wait", BUSY = "wait", MASTERDOWN = "wait", CLUSTERDOWN = "wait", NOREPLICAS = "wait",
  UNBLOCKED = "wait", TRYAGAIN = "wait", MISCONF = "wait", NOQUEUE = "wait", NOGROUP = "wait",
  READONLY = "leave", MOVED = "leave", OOM = "full", QUEUEFULL = "full", LOST = "lost",
  STARTED = "lost",
}

local HINTS = {
  NOAUTH = "the server wants a password: redis://USER:PASSWORD@HOST",
  WRONGPASS = "the name or the password in the address is wrong",
  NOPERM = "docs/fleet.md lists the rights that callers and workers need",
  WRONGTYPE = "something else has the name of the queue: choose another, or remove it",
  CROSSSLOT = "one queue lies on one node: the keys of a queue share a {tag}",
  MISCONF = "the server cannot write to its disk",
  OOM = "the server has no memory left: raise its maxmemory, or let workers catch up",
  NOQUEUE = "no worker has served this queue yet: start one, noether worker --queue NAME",
}

--- What a failure of the server's says of what to do.
-- @tparam string text as it came
-- @treturn string a class: "wait", "leave", "full", "lost", "setting"
-- @treturn ?string hint
function M.class(text)
  if text:find("^ERR max number of clients") then return "wait", "raise the server's maxclients" end
  if text:find("ACL failure", 1, true) or text:find("executing the script can't", 1, true) then
    return "setting", HINTS.NOPERM
  end
  local word = text:match("^%u+") or ""
  return CLASSES[word] or "setting", HINTS[word]
end

--- The error of a queue that cannot be reached or used.
-- @tparam string message
-- @tparam ?string hint
-- @tparam ?string cause
-- @treturn table `queue_unavailable`
function M.unavailable(message, hint, cause)
  return errors.new{ kind = "queue_unavailable", message = message, hint = hint, cause = cause }
end

--- Make a client; it connects at its first step.
-- @tparam string fname
-- @tparam table place of url.lua
-- @tparam table listeners `on_open(client, server)`, `on_lost(client, message)`, each of them may
-- be nil; `name` that the server is to know the connection by
-- @treturn ?table the client; or nil and an error (`queue_unavailable`: no descriptor is left)
-- @treturn ?table
function M.new(fname, place, listeners)
  local redis = M.module(fname)
  local connection, message = redis.connection()
  if not connection then return nil, M.unavailable(message) end
  return setmetatable({
    place = place, connection = connection, listeners = listeners, state = "closed", asked = {},
    first = 1, last = 0, retry_at = 0, pause = MIN_PAUSE_SECS, opened = 0,
  }, metatable)
end

local DIGITS = {}
for byte = 0, 255 do
  DIGITS[string.char(byte)] = ("%02x"):format(byte)
end

--- So many bytes that nobody can guess, in hexadecimal.
-- @tparam number count
-- @treturn string
function M.random(count)
  return (M.module("remote").random(count):gsub("[%z\1-\255]", DIGITS))
end

--- Tell a service manager something: sd_notify(3).
-- @tparam string path of its socket
-- @tparam string text "READY=1"
function M.notify(path, text)
  return M.module("worker").notify(path, text)
end

local function lose(self, message, hint, is_setting)
  local asked, first, last = self.asked, self.first, self.last
  local was_open = self.state == "open"
  self.connection:shut()
  if self.resolver then self.resolver:close() end
  self.resolver, self.state, self.asked, self.first, self.last = nil, "closed", {}, 1, 0
  self.why, self.hint, self.is_setting = message, hint, is_setting
  self.failed_at = sys.clock()
  self.retry_at = self.failed_at + self.pause
  self.pause = math.min(self.pause * 2, MAX_PAUSE_SECS)
  for i = first, last do
    asked[i].answer(nil, { lost = true, message = message })
  end
  if self.listeners.on_lost then self.listeners.on_lost(self, message, was_open) end
end

-- Where the machine's authorities are, unless the address says.
local function authorities(place)
  if place.ca then return place.ca end
  for _, path in ipairs(AUTHORITIES) do
    if sys.access(path, "r") then return path end
  end
  return AUTHORITIES[1]
end

local function connect(self, address)
  local place = self.place
  local ok, message
  if place.path then
    ok, message = self.connection:open(BOUNDS, place.path)
  else
    local tls = place.tls and {
      host = place.host, ca_file = authorities(place), cert_file = place.cert, key_file = place.key,
    } or nil
    ok, message = self.connection:open(BOUNDS, address, place.port, tls)
  end
  if not ok then return lose(self, message) end
  self.state, self.until_secs = "connecting", sys.clock() + CONNECT_SECS
  return nil
end

local function is_numeric(host)
  return host:find(":", 1, true) ~= nil or host:find("^%d+%.%d+%.%d+%.%d+$") ~= nil
end

local LOCAL = { localhost = "127.0.0.1" }

-- Names are resolved by the machine's own means, in a process, since those may wait.
local function begin(self)
  local host = self.place.host
  if not host or is_numeric(host) or LOCAL[host] then
    return connect(self, LOCAL[host or ""] or host)
  end
  local resolver, err = process.launch({ "/usr/bin/getent", "ahosts", host }, {
    timeout_secs = GETENT_SECS, env = {},
  })
  if not resolver then return lose(self, "cannot resolve names: " .. err.message) end
  self.resolver, self.state = resolver, "resolving"
  return nil
end

local function resolve(self)
  if not self.resolver:step() then return nil end
  local result = self.resolver:result()
  self.resolver:close()
  self.resolver = nil
  local address = result and result.stdout:match("^(%S+)")
  if not address then return lose(self, ("there is no host '%s'"):format(self.place.host)) end
  return connect(self, address)
end

--- Ask something. Where the connection is not open nothing is sent.
-- @tparam table words strings
-- @tparam ?function answer called with the answer; or nil and `{ lost, message }` (it was sent, and
-- the connection is gone), or `{ class, message, hint }` (the server has refused)
-- @tparam ?number secs how long the answer may take
-- @treturn boolean whether it was sent
function Client:ask(words, answer, secs)
  if self.state ~= "open" then return false end
  return self:send(words, answer, secs)
end

--- @local
function Client:send(words, answer, secs)
  local ok, message = self.connection:send(words)
  if not ok then
    lose(self, message)
    return false
  end
  self.last = self.last + 1
  self.asked[self.last] = {
    answer = answer or function() end, since = sys.clock(), secs = secs or ANSWER_SECS,
  }
  return true
end

--- Run a script of lua/noether/fleet/scripts. Its text goes along each time: so it does not matter
-- what the server has forgotten.
-- @tparam string name
-- @tparam table keys
-- @tparam table arguments
-- @tparam ?function answer as of `ask`
-- @treturn boolean whether it was sent
function Client:script(name, keys, arguments, answer)
  local text = resource.text("fleet/scripts/" .. name .. ".redis")
  local words = { "EVAL", text, ("%d"):format(#keys) }
  for _, key in ipairs(keys) do
    words[#words + 1] = key
  end
  for _, argument in ipairs(arguments) do
    words[#words + 1] = argument
  end
  return self:ask(words, answer)
end

local function refusal(text)
  local class, hint = M.class(text)
  return { class = class, message = errors.clean(text, 300), hint = hint }
end

local function take_answer(self, value)
  local asked = self.asked[self.first]
  if not asked then return lose(self, "the server answered what nobody asked") end
  self.asked[self.first] = nil
  self.first = self.first + 1
  if type(value) == "table" and value.failed then
    local refused = refusal(value.failed)
    asked.answer(nil, refused)
    -- This node is no longer the one to talk to.
    if refused.class == "leave" and self.state == "open" then return lose(self, refused.message) end
  else
    asked.answer(value)
  end
  return nil
end

-- Answers that are there, until the connection ends by one of them.
local function take_answers(self)
  while self.state == "greeting" or self.state == "open" do
    local more, value = self.connection:next()
    if more == nil then return lose(self, "the server does not speak as Redis does: " .. value) end
    if not more then return nil end
    take_answer(self, value)
  end
  return nil
end

-- "7.0.15" at least 7.0; of Valkey 8.0.
local OLDEST = { redis = 7, valkey = 8 }

local NEWER = "Redis 7.0 or newer, or Valkey 8 or newer, is needed"

local function check_version(server)
  local name = tostring(server.server or "")
  local major = tonumber(tostring(server.version or ""):match("^(%d+)"))
  local oldest = OLDEST[name]
  if oldest and major and major >= oldest then return true end
  return false, ("the server is %s %s"):format(errors.clean(name, 40),
    errors.clean(tostring(server.version), 40)), NEWER
end

local function read_info(server, text)
  for name, value in text:gmatch("([%w_]+):([^\r\n]*)") do
    server[name] = value
  end
end

-- Heartbeats and results would be the first that an evicting server throws away.
local function check_policy(server)
  local policy = server.maxmemory_policy
  if policy == nil or policy == "noeviction" then return true end
  return false, ("the server may throw away what is queued (maxmemory-policy %s)"):format(
    errors.clean(policy, 40)), "set it: CONFIG SET maxmemory-policy noeviction"
end

local function greeted(self)
  local server = self.server
  for _, check in ipairs{ check_version, check_policy } do
    local ok, message, hint = check(server)
    if not ok then return lose(self, message, hint, true) end
  end
  if server.loading == "1" then return lose(self, "the server is loading its data") end
  self.state, self.pause, self.opened = "open", MIN_PAUSE_SECS, self.opened + 1
  self.why, self.hint, self.is_setting = nil, nil, nil
  if self.listeners.on_open then self.listeners.on_open(self, server) end
  return nil
end

-- The greeting is refused: what cannot heal is told apart from what may.
local function refused_greeting(self, what, err)
  if err.lost then return nil end
  if err.message:find("unknown command", 1, true) and what == "HELLO" then
    err.hint = NEWER
  end
  return lose(self, err.message, err.hint, err.class == "setting")
end

local function greet(self)
  local place, server = self.place, {}
  self.server, self.state = server, "greeting"
  local function ask(words, answer)
    if self.state ~= "greeting" then return end
    self:send(words, function(value, err)
      if err then return refused_greeting(self, words[1], err) end
      if answer then answer(value) end
      return nil
    end)
  end
  if place.password then
    ask(place.user and { "AUTH", place.user, place.password } or { "AUTH", place.password })
  end
  ask({ "HELLO", "2" }, function(list)
    for i = 1, #list - 1, 2 do
      server[list[i]] = list[i + 1]
    end
  end)
  if place.db and place.db ~= "0" then ask{ "SELECT", place.db } end
  ask{ "CLIENT", "SETNAME", self.listeners.name or "noether" }
  -- What may be forgotten at a crash: no right that everybody has.
  if self.state ~= "greeting" then return end
  self:send({ "CONFIG", "GET", "appendfsync" }, function(list)
    server.appendfsync = list and list[2]
  end)
  ask({ "INFO", "server", "memory", "persistence" }, function(text)
    read_info(server, text)
    greeted(self)
  end)
end

local function go_on(self)
  local connected, message = self.connection:step()
  if connected and self.state == "connecting" then greet(self) end
  -- What came before the end of a connection may say why it ended.
  take_answers(self)
  if connected == nil and self.state ~= "closed" then lose(self, message) end
end

--- Send what was asked, as far as it goes.
function Client:flush()
  local is_there = self.state == "open" or self.state == "greeting"
  if not is_there or self.connection:unsent() == 0 then return end
  local ok, message = self.connection:flush()
  if not ok then lose(self, message) end
end

local TLS_HINT = "does the server speak TLS at this port? Without it the address is redis://"

-- When the oldest that was asked is too old. Its time begins anew with each byte that comes or
-- goes: what is long takes as long as it takes, and what stands behind it waits.
local function deadline(self, now)
  local oldest = self.asked[self.first]
  if not oldest then return nil end
  local moved = self.connection:moved()
  if moved ~= self.moved then self.moved, self.moved_at = moved, now end
  return math.max(oldest.since, self.moved_at or 0) + oldest.secs
end

local function check_deadlines(self, now)
  if self.state == "connecting" and now >= self.until_secs then
    lose(self, ("no connection in %d s"):format(CONNECT_SECS), self.place.tls and TLS_HINT or nil)
  end
  local at = deadline(self, now)
  if at and now >= at then lose(self, "the server does not answer") end
end

--- Go on without waiting.
function Client:step()
  if self.state == "closed" and sys.clock() >= self.retry_at then begin(self) end
  if self.state == "resolving" then resolve(self) end
  if self.state ~= "closed" and self.state ~= "resolving" then go_on(self) end
  self:flush()
  check_deadlines(self, sys.clock())
end

--- After how many seconds there is something to do in any case.
-- @treturn ?number
function Client:timeout()
  local at
  if self.state == "closed" then
    at = self.retry_at
  elseif self.state == "resolving" then
    return LOOK_SECS
  else
    at = deadline(self, sys.clock())
    if self.state == "connecting" then at = math.min(at or math.huge, self.until_secs) end
  end
  return at and math.max(at - sys.clock(), 0)
end

--- The descriptor that is readable when there is something to do: the same as long as it lives.
-- @treturn number
function Client:pollfd()
  return self.connection:pollfd()
end

--- Make an end. What was asked is not answered any more.
function Client:close()
  if self.resolver then self.resolver:close() end
  self.resolver, self.asked, self.state = nil, {}, "closed"
  self.retry_at = math.huge
  self.connection:close()
end

--- Whether the server keeps all that it has accepted, however it ends.
-- @tparam table server as of `on_open`
-- @treturn boolean
function M.is_durable(server)
  return server.aof_enabled == "1" and server.appendfsync == "always"
end

return M
