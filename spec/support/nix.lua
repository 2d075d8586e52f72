-- SPDX-License-Identifier: MIT
--- A real nix for specs: a store, a database, a configuration and a home of its own, in which
-- `nixpkgs` is the flake of spec/fixtures.
local helper = require "spec.support.helper"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local World = {}
World.__index = World

--- @tparam string dir where all of it goes; made if it is not there
-- @treturn table
function M.world(dir)
  dir = sys.realpath(dir) or dir
  helper.shell("mkdir -p " .. helper.quote(dir))
  local self = setmetatable({ dir = dir, store_dir = dir .. "/store", env = {} }, World)
  for name in pairs(sys.environ()) do
    self.env[name] = false
  end
  for line in self:shell("env"):gmatch("[^\n]+") do
    local name, value = line:match("^([%w_]+)=(.*)$")
    if name ~= "_" and name ~= "PWD" and name ~= "SHLVL" then self.env[name] = value end
  end
  return self
end

--- Runs a shell command with this nix.
-- @treturn string what it wrote
-- @treturn number exit code
function World:shell(command)
  return helper.shell(("NIXENV_STATE=%s %s/spec/fixtures/nixenv sh -c %s"):format(
    helper.quote(self.dir), helper.quote(helper.root), helper.quote(command)))
end

--- An executor in this world.
-- @tparam[opt] table opts of the executor; the runtime is "nix" and the cache the world's
-- @tparam[opt] table env further variables; false takes one away
function World:executor(opts, env)
  local all = { runtime = "nix", cache_dir = self.dir .. "/cache", timeout_secs = 20 }
  for name, value in pairs(opts or {}) do
    all[name] = value or nil
  end
  local variables = {}
  for _, source in ipairs{ self.env, env or {} } do
    for name, value in pairs(source) do
      variables[name] = value
    end
  end
  return helper.with_env(variables, function() return noether.executor(all) end)
end

--- Counts how often nix is run, from here on: `count(verb)`.
function World:counter()
  local bin = ("%s/bin-%d"):format(self.dir, math.random(2 ^ 30))
  helper.write(bin .. "/nix", ("#!/bin/sh\necho \"$*\" >>%s/calls\nexec /usr/bin/nix \"$@\"\n")
    :format(bin))
  assert(sys.chmod(bin .. "/nix", 493)) -- 0755
  local counter = { env = { PATH = bin .. ":" .. self.env.PATH } }
  function counter.count(verb)
    local text = sys.read_file(bin .. "/calls") or ""
    local _, count = text:gsub(verb and "flakes " .. verb or "\n", "")
    return count
  end
  return counter
end

--- What is in the store, by name.
function World:paths()
  return self:shell("ls -1 " .. helper.quote(self.store_dir))
end

--- Removes something out of the store behind nix's back.
function World:remove(path)
  assert(path:sub(1, #self.dir + 1) == self.dir .. "/")
  helper.shell(("chmod -R u+w %s; rm -rf %s"):format(helper.quote(path), helper.quote(path)))
end

--- Removes all of it.
function World:destroy()
  self:remove(self.dir .. "/.")
  helper.shell("rm -rf " .. helper.quote(self.dir))
end

return M
