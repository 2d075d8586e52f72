-- SPDX-License-Identifier: MIT
local helper = require "spec.helper"
local nix_executor = require "noether.nix_executor"
local noether = require "noether"
local sys = require "noether.sys"

local PROFILE = "/nix/var/nix/profiles/default/bin/nix"

describe("find_nix", function()
  local dir
  before_each(function() dir = helper.tmpdir() end)

  local function program(path, mode)
    helper.write(path, "#!/bin/sh\ntouch " .. dir .. "/was-run\n")
    assert(sys.chmod(path, mode))
    return path
  end

  -- What it finds beside the profile, which comes first wherever there is one.
  local function finds(expected, path)
    local profile = sys.access(PROFILE, "x") and PROFILE or nil
    assert.equal(profile or expected, nix_executor.find_nix{ PATH = path })
  end

  it("walks PATH for an executable file, and runs nothing", function()
    local nix = program(dir .. "/b/nix", 493)
    program(dir .. "/a/nix", 420)
    assert(sys.mkdir(dir .. "/c"))
    assert(sys.mkdir(dir .. "/c/nix"))
    finds(nix, table.concat({ dir .. "/none", dir .. "/a", dir .. "/c", dir .. "/b" }, ":"))
    assert.is_nil(sys.stat(dir .. "/was-run"))
  end)

  it("never takes a relative entry of PATH", function()
    program(dir .. "/nix", 493)
    local lfs = require "lfs"
    local cwd = lfs.currentdir()
    lfs.chdir(dir)
    local ok, message = pcall(finds, nil, ":.:./:" .. "bin")
    lfs.chdir(cwd)
    assert(ok, message)
  end)

  it("gives nil where there is none", function()
    finds(nil, dir)
    finds(nil, nil)
  end)
end)

describe("from_store", function()
  local makers = {
    function(store) return nix_executor.from_store(store) end,
    function(store) return nix_executor.from_store_with_config(store, { timeout_secs = 1 }) end,
  }

  it("gives nil and a reason, with or without nix, so that callers can fall back", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/nix", "#!/bin/sh\n")
    assert(sys.chmod(dir .. "/nix", 493))
    for _, path in ipairs{ dir, dir .. "/none" } do
      helper.with_env({ PATH = path }, function()
        for _, make in ipairs(makers) do
          local ex, err = make(noether.store.memory())
          assert.is_nil(ex)
          assert.equal("runtime_unavailable", err.kind)
          assert.truthy(tostring(err):find("'nix' is not part of this version", 1, true))
          assert.truthy(err.hint:find("noether.executor", 1, true))
        end
      end)
    end
  end)

  it("raises on a wrong configuration", function()
    local ok, message = pcall(nix_executor.from_store_with_config, noether.store.memory(),
      { tiemout_secs = 3 })
    assert.is_false(ok)
    assert.truthy(message:find("did you mean 'timeout_secs'?", 1, true))
  end)
end)
