-- SPDX-License-Identifier: MIT
--- A process that is started ahead of its request: sandboxed as any other, it has done everything
-- up to reading it. It serves one request and ends.
--
-- Its script lies in a directory of its own, into which the stage's code is put with the request:
-- no other process sees it, and inside all files lie where they always do. By the channel come and
-- go, each once:
--
--     process to host   { "type": "ready", "failed": { MODULE: REASON } }
--     host to process   { "type": "run", "input": VALUE }
--
-- (The value stands last.) A language whose `ahead` is "stdin" reads its input from there instead,
-- and says nothing before.
local errors = require "noether.error"
local exec = require "noether.run.transport.exec"
local json = require "noether.json"
local shapes = require "noether.warm.shape"
local sys = require "noether.sys"

local M = {}

local Spare = {}
Spare.__index = Spare

local FILE_MODE = 292 -- 0444, as of every script
local DIRECTORY_MODE = 493 -- 0755

-- Where the directories of this process are, by the cache's: each with a lock, for others to see
-- that it lives.
local homes = {}

local function make_home(root)
  local dir, message, errno = sys.mkdtemp(root .. "/.tmp-")
  if not dir then return nil, message, errno end
  local lock
  lock, message, errno = sys.lock(dir .. "/lock", { wait = false })
  if lock and sys.chmod(dir, DIRECTORY_MODE) then
    return { dir = dir, lock = lock, count = 0, owner = sys.getpid() }
  end
  if lock then lock:close() end
  sys.remove_tree(dir)
  return nil, message, errno
end

-- One that is there, or another: in a fork of the host it is the parent's.
local function home_of(root)
  local home = homes[root]
  if home and home.owner == sys.getpid() and sys.stat(home.dir) then return home end
  local message, errno
  home, message, errno = make_home(root)
  if home then homes[root] = home end
  return home, message, errno
end

--- Take a script's directory away.
-- @tparam table place of @{make_directory}
function M.remove_directory(place)
  local home = place.home
  sys.remove_tree(place.dir)
  home.count = home.count - 1
  if home.count > 0 then return end
  if homes[place.root] == home then homes[place.root] = nil end
  home.lock:close()
  sys.remove_tree(home.dir)
end

--- Make the directory of a script, where the cache builds: what is left of a process that was
-- killed goes by itself.
-- @tparam string root
-- @tparam table files text by name
-- @treturn ?table `dir`, its path, for @{remove_directory}; or nil, a message and an errno
-- @treturn ?string
-- @treturn ?string
function M.make_directory(root, files)
  local home, message, errno = home_of(root)
  if not home then return nil, message, errno end
  local dir
  dir, message, errno = sys.mkdtemp(home.dir .. "/")
  home.count = home.count + 1
  local place = { root = root, home = home, dir = dir or home.dir .. "/none" }
  local ok = dir
  for name, text in pairs(files) do
    if ok then ok, message, errno = sys.make_file(dir .. "/" .. name, text, FILE_MODE) end
  end
  if ok then ok, message, errno = sys.chmod(dir, DIRECTORY_MODE) end
  if ok then return place end
  M.remove_directory(place)
  return nil, message, errno
end

--- Why modules could not be imported, as a process says it: what is no text is left out.
-- @param failed
-- @treturn table text by name
function M.failed_imports(failed)
  local reasons = {}
  for name, reason in pairs(type(failed) == "table" and failed or {}) do
    if type(name) == "string" and type(reason) == "string" then
      reasons[errors.clean(name, 200)] = errors.clean(reason, 1000)
    end
  end
  return reasons
end

-- What the process says before it has a request. What is no word of ours is not heard again.
local function hear_ready(self, text)
  local frame = text and json.decode(text, nil, 1000)
  if type(frame) ~= "table" or frame.type ~= "ready" then return false end
  self.is_ready = true
  self.failed = M.failed_imports(frame.failed)
  return true
end

local function listener_of(self)
  return function(text)
    if not self.is_ready then return hear_ready(self, text) end
    return self.listener ~= nil and self.listener(text)
  end
end

--- Start one.
-- @tparam table shape
-- @tparam number wait_secs how long it waits for a request
-- @treturn ?table nil and an error
-- @treturn ?table
function M.start(shape, wait_secs)
  local place, message, errno = M.make_directory(shape.root, shape.files)
  if not place then return nil, { message = message, errno = errno } end
  local by_channel = shape.how == "channel"
  local self = setmetatable({
    place = place, dir = place.dir, shape = shape, until_secs = sys.clock() + wait_secs,
    is_ready = not by_channel, failed = {},
  }, Spare)
  self.plan = shapes.plan_in(shape, place.dir)
  local process, err = exec.start_ahead(self.plan, shape.private, {
    wait_secs = wait_secs, takes_input = not by_channel,
    on_frame = (by_channel or shape.plan.calls) and listener_of(self) or nil,
  })
  if not process then
    M.remove_directory(place)
    return nil, err
  end
  self.process = process
  return self
end

--- Start one as a copy of a fork server.
-- @tparam table server of warm/server.lua
-- @tparam table shape the server's
-- @tparam number wait_secs
-- @treturn ?table nil and an error
-- @treturn ?table
function M.copy(server, shape, wait_secs)
  local self = setmetatable({
    shape = shape, until_secs = sys.clock() + wait_secs, is_ready = false, failed = {},
    is_copy = true, plan = server.plan,
  }, Spare)
  local process, err = server:copy{ wait_secs = wait_secs, on_frame = listener_of(self) }
  if not process then return nil, err end
  self.process = process
  return self
end

local function put_code(self, script)
  if self.is_copy then
    return self.process:put_file(script.files[script.own]), "its code could not be written"
  end
  for _, name in ipairs{ script.own, script.made } do
    local ok, message = sys.make_file(self.dir .. "/" .. name, script.files[name], FILE_MODE)
    if not ok then return nil, message end
  end
  return true
end

--- Look after it.
-- @treturn boolean whether it still waits
function Spare:look()
  return not self.process:step()
end

--- Have it wait for longer.
-- @tparam number secs from now
function Spare:wait_longer(secs)
  if self.process:wait_longer(secs) then self.until_secs = sys.clock() + secs end
end

--- Give it its request.
-- @tparam table job whose plan is of its shape
-- @tparam table private as of `exec.start`
-- @tparam table task whose it is from now on
-- @treturn ?table what `task:await` takes; nil and an error where it can only be closed
-- @treturn ?table
function Spare:begin(job, private, task)
  local ok, message = put_code(self, job.script)
  if not ok then return nil, message end
  local request = { input = job.stdin }
  if self.shape.how == "channel" then
    request = { frame = ('{"type":"run","input":%s}'):format(job.stdin) }
  end
  local running, listener = exec.begin(job.plan, private, task, self.process, request)
  if not running then return nil, listener end
  self.listener = listener
  return running
end

--- Whether its run is over, or was given up.
-- @treturn boolean
function Spare:is_over()
  return self.process.outcome ~= nil or self.process.handle == nil
end

--- What it leaves on disk goes. In a fork of the host it is the parent's.
function Spare:tidy()
  if self.place and self.process.owner == sys.getpid() then M.remove_directory(self.place) end
  self.place = nil
end

--- Give it up.
function Spare:close()
  self.process:close()
  self:tidy()
end

return M
