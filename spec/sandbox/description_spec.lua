-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local config = require "noether.executor.config"
local descriptions = require "noether.sandbox.description"
local isolation = require "noether.policy.isolation"

local EFFECTS = { list = {}, reads = {}, writes = {} }

describe("a sandbox description", function()
  it("is one of the host's own paths where the backend has no root of its own", function()
    for _, backend in ipairs(config.EXECUTOR_OPTIONS.isolation) do
      local made = isolation.describe(EFFECTS, { ro_binds = {} }, {
        backend = backend, in_place = descriptions.sees_host_paths(backend),
        files_dir = "/cache/ab12",
      })
      local in_place = descriptions.sees_host_paths(backend)
      local place = in_place and "/cache/ab12" or "/stage"
      local targets = {}
      for _, bind in ipairs(made.ro_binds) do
        targets[bind.source] = bind.target
      end
      assert.equal(place, targets["/cache/ab12"], backend)
      assert.equal(place, descriptions.place_of(made, backend, "/cache/ab12"))
    end
  end)

  it("knows where a path is by any form of a bind, or that it is not there", function()
    local binds = { "/usr", { source = "/c", target = "/s" }, { source = "/d" } }
    for dir, place in pairs{ ["/usr"] = "/usr", ["/c"] = "/s", ["/d"] = "/d" } do
      assert.equal(place, descriptions.place_of({ ro_binds = binds }, "native", dir))
    end
    assert.is_nil(descriptions.place_of({ ro_binds = binds }, "native", "/s"))
    assert.is_nil(descriptions.place_of({}, "bwrap", "/c"))
    assert.equal("/c", descriptions.place_of({}, "landlock", "/c"))
  end)

  it("gives a run a directory on the host where there is no private one", function()
    for _, backend in ipairs(descriptions.BACKENDS) do
      local expected = backend ~= "none" and descriptions.sees_host_paths(backend)
      assert.equal(expected, descriptions.has_own_directory{ backend = backend }, backend)
    end
    assert.is_true(descriptions.has_own_directory{ backend = "none", private = true })
  end)

  it("is completed in a copy by where to start, where there can be one place", function()
    local places = { native = "/work", bwrap = "/work", landlock = false, none = false }
    for backend, dir in pairs(places) do
      local given = {}
      local completed = descriptions.completed(given, backend)
      assert.equal(dir or nil, completed.work_dir)
      assert.equal(dir or nil, descriptions.home_of(completed, backend))
      assert.same({}, given)
    end
    assert.equal("/home", descriptions.completed({ work_dir = "/home" }, "native").work_dir)
  end)
end)
