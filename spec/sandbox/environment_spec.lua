-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local environment = require "noether.sandbox.environment"

local HOST = {
  HOME = "/home/u", USER = "u", PATH = "/host/bin", LANG = "C.UTF-8", LC_ALL = "C", TZ = "UTC",
  LD_PRELOAD = "x", PYTHONPATH = "x", NODE_OPTIONS = "x", BASH_ENV = "x", LUA_INIT = "x", S = "x",
}
local ALLOWED = { "LANG", "LC_*", "TZ" }

describe("a stage's environment", function()
  it("is clean and of nobody where the stage is isolated", function()
    assert.same({
      HOME = "/work", USER = "nobody", LOGNAME = "nobody", TMPDIR = "/tmp", LANG = "C.UTF-8",
      LC_ALL = "C", TZ = "UTC", PATH = "/usr/local/bin:/usr/bin:/bin", EXTRA = "1",
    }, environment.public(HOST, ALLOWED, {
      home = "/work", language = { EXTRA = "1" }, runtime = { path = "/usr/bin/python3" },
    }))
  end)

  it("tells who the user is where it is not", function()
    assert.same({
      HOME = "/home/u", USER = "u", PATH = "/host/bin", LANG = "C.UTF-8", LC_ALL = "C", TZ = "UTC",
    }, environment.public(HOST, ALLOWED, { language = {}, runtime = {} }))
  end)

  it("finds what lies beside the interpreter", function()
    local env = environment.public({}, nil, {
      home = "/work", language = {}, runtime = { path = "/opt/python/bin/python3" },
    })
    assert.equal("/opt/python/bin:/usr/local/bin:/usr/bin:/bin", env.PATH)
  end)

  it("finds what a runtime brings before what the host has", function()
    local runtime = { path = "/s/a/bin/bash", search_path = { "/s/a/bin", "/s/b/bin" } }
    local env = environment.public(HOST, {}, { home = "/work", language = {}, runtime = runtime })
    assert.equal("/s/a/bin:/s/b/bin:/usr/local/bin:/usr/bin:/bin", env.PATH)
    env = environment.public(HOST, {}, { language = {}, runtime = runtime })
    assert.equal("/s/a/bin:/s/b/bin:/host/bin", env.PATH)
  end)

  it("takes patterns for what they are", function()
    local env = environment.public({ LC_ALL = "a", LC = "b", XLC_A = "c", ["LC_.*"] = "d" },
      { "LC_*" }, { home = "/work", language = {}, runtime = {} })
    assert.equal("a", env.LC_ALL)
    assert.equal("d", env["LC_.*"])
    assert.is_nil(env.LC)
    assert.is_nil(env.XLC_A)
  end)
end)
