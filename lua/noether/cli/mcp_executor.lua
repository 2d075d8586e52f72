-- SPDX-License-Identifier: MIT
--- The executor of `noether mcp`, as far as a list of tools needs it; the whole is made when it is
-- first used.
--
-- Some clients start a server only to see which protocol it speaks, and take one that is slow to
-- answer for one of the older era. To load all that runs a stage takes longer than to list the
-- tools, which follows from the languages that come with the library, and the store.
local cache = require "noether.cache.scripts"
local languages = require "noether.stage.languages"
local nix_store = require "noether.runtime.nix_store"

local M = {}

-- --- The policies as they come with the library --------------------------------------------------

local Policies = {}
Policies.__index = Policies

function Policies.languages(_)
  return languages.names()
end

local function has(list, name)
  for _, known in ipairs(list) do
    if known == name then return true end
  end
  return false
end

-- Each is asked for its other names only where it is none of their own.
function Policies:language(name)
  local known = self:languages()
  if not has(known, name) then name = languages.canonical(name) end
  return has(known, name) and languages.module(name) or nil
end

function Policies.data(_, module, field)
  return languages.module(module:match("^languages/(.*)$"))[field]
end

function Policies:has(module, field)
  return self:data(module, field) ~= nil
end

-- --- The executor --------------------------------------------------------------------------------

local Executor = {}
Executor.__index = Executor

--- Have the whole of it.
-- @treturn ?table; or nil and an error
-- @treturn ?table
function Executor:prepare()
  if not self.whole then self.whole, self.err = self.make() end
  return self.whole, self.err
end

-- What is done by the whole.
local function by_the_whole(method)
  return function(self, ...)
    local whole, err = self:prepare()
    if not whole then return nil, err end
    return whole[method](whole, ...)
  end
end

Executor.start = by_the_whole "start"
Executor.session = by_the_whole "session"
Executor.sessions = true -- it has some
Executor.warmup = by_the_whole "warmup"

--- Whether it is known already that a language can be had: of those that are offered only where
-- they can, no interpreter is asked then.
-- @tparam string name
-- @treturn boolean
function Executor:can_run(name)
  if nix_store.is_in_use(self.environ) then return false end
  local found = cache.open_existing(nil, self.environ)
  if not found then return false end
  local runtime = require("noether.runtime.host").recall(self.policies:language(name), {
    path = self.environ.PATH, environ = self.environ, open_cache = function() return found end,
  })
  found:close()
  return runtime ~= nil
end

--- Make one.
-- @tparam table environ
-- @tparam table store
-- @tparam function make gives the whole, or nil and an error
-- @treturn table
function M.new(environ, store, make)
  return setmetatable({
    policies = setmetatable({}, Policies), environ = environ, store = store, make = make,
  }, Executor)
end

return M
