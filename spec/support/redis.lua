-- SPDX-License-Identifier: MIT
--- A Redis server of a spec's own, on a Unix socket in a directory of the spec's; and what drives
-- callers and workers of one process by turns.
local helper = require "spec.support.helper"
local noether = require "noether"
local system = require "system"

local M = {}

M.KEY = "a secret of the specs"

--- Where what was built is.
M.build = assert(helper.lua:match("^(.*)/bin/"))

local Server = {}
Server.__index = Server

--- The server's program, where it is not the machine's: SPEC_REDIS.
M.PROGRAM = os.getenv "SPEC_REDIS" or "redis-server"

local function launch(self)
  local argv = { M.PROGRAM, "--port", "0", "--unixsocket", self.socket, "--dir", self.dir,
    "--save", "", "--loglevel", "warning", "--logfile", self.dir .. "/log" }
  for _, word in ipairs(self.words) do argv[#argv + 1] = word end
  self.proc = assert(noether.spawn(argv, { isolation = "none", timeout_secs = 600,
    env = self.env }))
  assert(helper.poll(function()
    local answer = self:ask("PING")
    return answer:find("PONG") or answer:find("NOAUTH")
  end, 30), "redis-server")
end

--- Starts one.
-- @tparam {string,...} ... words of its configuration: "--appendonly", "yes"
-- @treturn table `url`; `ask(...)`: a command, answered as redis-cli prints it; `kill(signal)`,
-- `restart()`, `close()`
function M.start(...)
  return M.start_as(nil, ...)
end

--- The same, with variables of its own.
function M.start_as(env, ...)
  local dir = helper.tmpdir()
  local self = setmetatable({ dir = dir, socket = dir .. "/r", words = { ... }, env = env }, Server)
  self.url = "unix://" .. self.socket
  launch(self)
  return self
end

-- Variables by which a program takes the time from a file that is set.
local CLOCK = M.build .. "/spec/support/clock.so"

--- A clock for a program that is started with its `env`.
-- @treturn table `env`; `set(secs)`: how far off it is from now on
function M.clock()
  local path = helper.tmpdir() .. "/clock"
  helper.write(path, string.pack("d", 0))
  local file = assert(io.open(path, "r+b"))
  return {
    env = { LD_PRELOAD = CLOCK, SPEC_CLOCK = path },
    set = function(secs)
      file:seek("set")
      file:write(string.pack("d", secs))
      file:flush()
    end,
    close = function() file:close() end,
  }
end

--- A server whose clock can be set: `clock` of it.
function M.start_with_clock()
  local clock = M.clock()
  local server = M.start_as(clock.env)
  server.clock = clock
  return server
end

function Server:ask(...)
  local words = { "redis-cli", "-s", self.socket }
  for _, word in ipairs{ ... } do words[#words + 1] = helper.quote(word) end
  return (helper.shell(table.concat(words, " ")))
end

function Server:kill(signal)
  self.proc:kill(signal)
  if signal == "KILL" then self.proc:wait(30) end
end

function Server:restart()
  self.proc:close()
  launch(self)
end

function Server:close()
  self:kill("CONT")
  self.proc:close()
  if self.clock then self.clock.close() end
end

Server.__close = Server.close

--- An executor that queues at a server, and a worker that serves it from this process.
function M.remote(server, opts)
  local given = { url = server.url, key = M.KEY, ttl_secs = 120 }
  for name, value in pairs(opts or {}) do given[name] = value or nil end
  return assert(noether.remote(given))
end

function M.worker(server, executor, opts)
  local given = { url = server.url, key = M.KEY, jobs = 4, executor = executor }
  for name, value in pairs(opts or {}) do given[name] = value or nil end
  return assert(noether.worker(given))
end

--- Steps workers until something is so.
-- @tparam function fn
-- @tparam table ... workers
-- @return what fn gave
function M.drive(fn, ...)
  local workers = { ... }
  local deadline = system.monotime() + 60
  repeat
    for _, worker in ipairs(workers) do worker:step() end
    local value = fn()
    if value then return value end
    system.sleep(0.001)
  until system.monotime() > deadline
  error("nothing came of it", 2)
end

--- Steps workers until a task is over.
-- @return as of `task:wait`
function M.settle(task, ...)
  M.drive(function() return task:step() end, ...)
  local output, err, info = task:wait(0)
  task:close()
  return output, err, info
end

--- Has a worker of this process make its queue, so that there is one.
function M.ready(worker)
  M.drive(function() return worker.has_group end, worker)
  return worker
end

--- `noether worker` as a process of its own.
-- @tparam table words
-- @tparam table env
-- @return its handle
function M.launch_worker(words, env)
  local argv = { helper.lua:match("^(.*/)") .. "noether", "worker" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return assert(noether.spawn(argv, { isolation = "none", env = env, timeout_secs = 600 }))
end

--- The same, which serves already.
-- @tparam ?table env variables of its own
-- @return its handle
function M.spawn_worker(server, name, words, env)
  local argv = { "--url", server.url, "--name", name }
  for _, word in ipairs(words or {}) do argv[#argv + 1] = word end
  local all = { NOETHER_FLEET_KEY = M.KEY }
  for variable, value in pairs(env or {}) do all[variable] = value end
  local proc = M.launch_worker(argv, all)
  local key = ("noether:{stages}:worker:%s"):format(name)
  local there = helper.poll(function()
    if proc:wait(0) then error(proc:result().stderr, 0) end
    return server:ask("EXISTS", key):find("1")
  end, 60)
  assert(there, "the worker serves")
  return proc
end

return M
