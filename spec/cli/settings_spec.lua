-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local console = require "noether.cli.console"
local settings = require "noether.cli.settings"
local memory = require "noether.stage.store.memory"

local function executor(given, environ)
  return settings.executor({
    given = given, environ = environ, console = console.new(environ),
    own = function(handle) return handle end,
  }, memory.new())
end

describe("what the command line and the environment say together", function()
  it("is quiet but for warnings, unless a level is given", function()
    local made <close> = assert(executor({}, {}))
    assert.equal("warn", made.config.log_level)
    helper.with_env({ NOETHER_LOG_LEVEL = "debug" }, function()
      local loud <close> = assert(executor({}, { NOETHER_LOG_LEVEL = "debug" }))
      assert.equal("debug", loud.config.log_level)
    end)
  end)

  it("lets the command line win", function()
    local made <close> = assert(executor(
      { isolation = "none", policy_path = "", timeout = 2, limit = {
        { name = "memory_bytes", value = 5 }, { name = "memory_bytes", value = 6 } },
        grant = { { path = "/a" }, { network = true } } },
      { NOETHER_ISOLATION = "native", NOETHER_POLICY_PATH = "/nowhere" }))
    assert.equal("none", made.config.isolation)
    assert.equal(2, made.config.timeout_secs)
    assert.same({ memory_bytes = 6 }, made.config.limits)
    assert.same({ paths = { "/a" }, network = true }, made.config.grants)
  end)

  it("takes a directory for the store where one is named", function()
    for place, case in pairs{
      ["/s"] = { { store = "/s" }, { NOETHER_STORE = "/n" } },
      ["/n"] = { {}, { NOETHER_STORE = "/n", HOME = "/h" } },
      ["/x/noether/store"] = { {}, { XDG_DATA_HOME = "/x", HOME = "/h", NOETHER_STORE = "" } },
      ["/h/.local/share/noether/store"] = { {}, { XDG_DATA_HOME = "x", HOME = "/h" } },
    } do
      assert.equal(place, (settings.store_dir(case[1], case[2])))
    end
    local dir, err = settings.store_dir({}, { HOME = "" })
    assert.is_nil(dir)
    assert.equal("store_failed", err.kind)
  end)
end)
