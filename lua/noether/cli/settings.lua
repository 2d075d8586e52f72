-- SPDX-License-Identifier: MIT
--- What a command line and the environment say together: the one place where the command reads
-- variables of its own. What is on the command line wins.
local cache = require "noether.cache.scripts"
local errors = require "noether.error"
local options = require "noether.options"
local directory = require "noether.stage.store.directory"
local memory = require "noether.stage.store.memory"
local sys = require "noether.sys"
local tables = require "noether.tables"
local words = require "noether.executor.words"

local M = {}

local function failed(kind, message, hint)
  return nil, errors.new{ kind = kind, message = message, hint = hint }
end

local function set(value)
  return value ~= nil and value ~= "" and value or nil
end

-- A variable that nobody sees may not take the sandbox away.
local function isolation_of(environ)
  local name = set(environ.NOETHER_ISOLATION)
  if not name then return nil end
  local ok, reason = options.matches(name, words.isolation)
  if not ok then return failed("isolation_unavailable", "NOETHER_ISOLATION: " .. reason) end
  if name == "none" then
    return failed("isolation_unavailable", "NOETHER_ISOLATION: 'none' must be written where it is "
      .. "used", "to run without any isolation: --isolation none")
  end
  return name
end

--- The isolation to use.
-- @tparam table given values of the command line
-- @tparam table environ
-- @treturn ?string nil with an error (`isolation_unavailable`), or without: the default
-- @treturn ?table
function M.isolation(given, environ)
  if given.isolation then return given.isolation end
  return isolation_of(environ)
end

--- Whether there is a loopback.
-- @tparam table given values of the command line
-- @treturn ?boolean nil: as always
function M.loopback(given)
  if given.loopback == nil then return nil end
  return given.loopback == "on"
end

--- Variables to add to a program's environment.
-- @tparam ?table list of `{ name, value }`, the value being nil for that of our own
-- @tparam table environ
-- @treturn ?table values by name; or nil and a misuse
-- @treturn ?table
function M.env(list, environ)
  local env = {}
  for _, variable in ipairs(list or {}) do
    local value = variable.value or environ[variable.name]
    if not value then
      return nil, { usage = true, message = ("option '--env': %s is not set here"):format(
        errors.clean(variable.name, 60)), hint = "write --env NAME=VALUE" }
    end
    env[variable.name] = value
  end
  return env
end

--- Limits by name.
-- @tparam ?table list of `{ name, value }`
-- @treturn table
function M.limits(list)
  local limits = {}
  for _, limit in ipairs(list or {}) do
    limits[limit.name] = limit.value
  end
  return limits
end

--- What policies may open.
-- @tparam ?table list of `{ path }`, `{ network = true }` and `{ hosts }`
-- @treturn table as the option of an executor
function M.grants(list)
  local grants = { paths = {} }
  for _, grant in ipairs(list or {}) do
    grants.network = grants.network or grant.network
    grants.paths[#grants.paths + 1] = grant.path
    for _, host in ipairs(grant.hosts or {}) do
      grants.hosts = grants.hosts or {}
      table.insert(grants.hosts, host)
    end
  end
  return grants
end

--- Where policy files are.
-- @tparam table given
-- @tparam table environ
-- @treturn string directories, separated by ":"
function M.policy_path(given, environ)
  return given.policy_path or environ.NOETHER_POLICY_PATH or ""
end

--- Whether there is nothing wrong with what an executor is to be told of isolation and variables.
-- @tparam table context of the verb
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.check(context)
  local _, err = M.isolation(context.given, context.environ)
  if err then return nil, err end
  local env
  env, err = M.env(context.given.env, context.environ)
  if not env then return nil, err end
  return true
end

-- Quiet but for what somebody should know.
local function log_level(environ)
  return not set(environ.NOETHER_LOG_LEVEL) and "warn" or nil
end

--- Make an executor. What runs stages is loaded here: verbs that only may need one load it late.
-- @tparam table context of the verb
-- @tparam table store
-- @tparam ?table more options that no word of the command line is for
-- @treturn ?table the executor, which is closed when the verb is over; or nil and an error
-- @treturn ?table
function M.executor(context, store, more)
  local given, environ = context.given, context.environ
  local isolation, err = M.isolation(given, environ)
  if err then return nil, err end
  if given.loopback and isolation == "none" then
    return nil, { usage = true,
      message = "option '--loopback' has no meaning with isolation 'none'" }
  end
  local env
  env, err = M.env(given.env, environ)
  if not env then return nil, err end
  local executor
  executor, err = require("noether.executor.local").new(tables.merged({
    store = store, isolation = isolation, loopback = M.loopback(given),
    runtime = given.runtime, env = env,
    nixpkgs = given.nixpkgs, lock_file = given.lock_file,
    timeout_secs = given.timeout, setup_timeout_secs = given.setup_timeout,
    on_leftover_threads = given.leftover_threads,
    limits = M.limits(given.limit), grants = M.grants(given.grant),
    policy_path = M.policy_path(given, environ),
    log = context.console:listener(), log_level = log_level(environ),
  }, more))
  if not executor then return nil, err end
  return context.own(executor)
end

--- Where the store is.
-- @tparam table given
-- @tparam table environ
-- @treturn ?string its directory; or nil and an error (`store_failed`)
-- @treturn ?table
function M.store_dir(given, environ)
  local dir = given.store or set(environ.NOETHER_STORE)
  if dir then return dir end
  local data = environ.XDG_DATA_HOME
  if data and data:sub(1, 1) == "/" then return data .. "/noether/store" end
  local home = environ.HOME
  if home and home:sub(1, 1) == "/" then return home .. "/.local/share/noether/store" end
  return failed("store_failed", "there is no directory for a store, since "
    .. cache.homeless(environ),
    "name one: --store DIR, or NOETHER_STORE")
end

local function make_parents(dir)
  for at in dir:gmatch("()/") do
    if at > 1 then
      local path = dir:sub(1, at - 1)
      local ok, message, errno = sys.mkdir(path)
      local there = not ok and sys.stat(path, true)
      if not ok and not there then
        return nil, errors.new{
          kind = "store_failed", message = ("store %s: %s"):format(dir, message), errno = errno,
        }
      end
    end
  end
  return true
end

--- Open the store.
-- @tparam table context of the verb
-- @tparam boolean make make it where it is missing; else a missing one is an empty one
-- @treturn ?table the store; or nil and an error (`store_failed`)
-- @treturn ?table or its directory
function M.open_store(context, make)
  local dir, err = M.store_dir(context.given, context.environ)
  if not dir then return nil, err end
  if not make and not sys.stat(dir, true) then return memory.new(), dir end
  local ok
  ok, err = make_parents(dir)
  if not ok then return nil, err end
  local store
  store, err = directory.open(dir)
  if not store then return nil, err end
  return store, dir
end

return M
