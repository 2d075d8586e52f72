-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local nix_executor = require "noether.nix_executor"
local noether = require "noether"
local sys = require "noether.sys"

local PROFILE = "/nix/var/nix/profiles/default/bin/nix"

local dir
before_each(function() dir = helper.tmpdir() end)

local function program(path, mode)
  helper.write(path, "#!/bin/sh\ntouch " .. dir .. "/was-run\n")
  assert(sys.chmod(path, mode))
  return path
end

describe("find_nix", function()
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

  it("looks into the user's own profile, after PATH", function()
    local own = program(dir .. "/.nix-profile/bin/nix", 493)
    local profile = sys.access(PROFILE, "x") and PROFILE or nil
    local first = program(dir .. "/bin/nix", 493)
    assert.equal(profile or own, nix_executor.find_nix{ PATH = "/nonexistent", HOME = dir })
    assert.equal(profile or first, nix_executor.find_nix{ PATH = dir .. "/bin", HOME = dir })
    assert.equal(profile, nix_executor.find_nix{ PATH = "/nonexistent", HOME = "." })
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

  it("gives nil and a reason where nix is not installed, so that callers can fall back", function()
    helper.with_env({ PATH = helper.tmpdir() }, function()
      for _, make in ipairs(makers) do
        local ex, err = make(noether.store.memory())
        assert.is_nil(ex)
        assert.equal("runtime_unavailable", err.kind)
        assert.truthy(tostring(err):find("nix is not installed", 1, true))
        assert.truthy(err.hint:find("runtime = \"host\"", 1, true))
      end
    end)
  end)

  it("gives an executor of the nix runtime where nix is installed, and runs nothing", function()
    program(dir .. "/nix", 493)
    helper.with_env({ PATH = dir }, function()
      for _, make in ipairs(makers) do
        local ex <close> = assert(make(noether.store.memory()))
        assert.equal("nix", ex.config.runtime)
        assert.equal("auto", ex:config_snapshot().isolation)
      end
    end)
    assert.is_nil(sys.stat(dir .. "/was-run"))
  end)

  it("raises on a wrong configuration", function()
    local ok, message = pcall(nix_executor.from_store_with_config, noether.store.memory(),
      { tiemout_secs = 3 })
    assert.is_false(ok)
    assert.truthy(message:find("did you mean 'timeout_secs'?", 1, true))
  end)
end)
