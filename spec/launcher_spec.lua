-- SPDX-License-Identifier: MIT
-- Runs by supervisors that stand by, as a user of Lua notices them. What becomes of the launcher
-- and of its host is tried by spec/c/launcher_test.c.
local helper = require "spec.support.helper"
local noether = require "noether"

-- The way in which a run was started, and what it printed.
local function launch_of(opts)
  local result = noether.check(noether.run({ "/bin/echo", "here" }, opts))
  assert.equal("here\n", result.stdout)
  return result.launch
end

local STAGE = { language = "bash", code = "execute() { echo 1; }" }

describe("the launcher", function()
  before_each(function() assert.is_true(helper.warm_up()) end)

  for _, isolation in ipairs(helper.backends{ "none", "native", "landlock" }) do
    it("serves runs under " .. isolation, function()
      local result, err = noether.run({ "/bin/true" }, { isolation = isolation, launcher = true })
      if not result and err.kind == "isolation_unavailable" then return end
      assert.equal("launcher", noether.check(result, err).launch)
    end)
  end

  it("does not serve bubblewrap, and nothing that is not supervised", function()
    assert.equal("direct", launch_of{ isolation = "none", supervise = false, launcher = true })
    local result, err = noether.run({ "/bin/true" }, { isolation = "bwrap", launcher = true })
    if not result and err.kind == "isolation_unavailable" then return end
    assert.equal("direct", noether.check(result, err).launch)
  end)

  it("is there where an option asks for it", function()
    assert.equal("direct", launch_of{ isolation = "none" })
    assert.equal("direct", launch_of{ isolation = "none", launcher = false })
    assert.equal("launcher", launch_of{ isolation = "none", launcher = true })
  end)

  it("is there where the environment asks for it, unless an option does not", function()
    for _, value in ipairs{ "0", "no", "off", "false", "" } do
      helper.with_env({ NOETHER_LAUNCHER = value }, function()
        assert.equal("direct", launch_of{ isolation = "none" })
        assert.equal("launcher", launch_of{ isolation = "none", launcher = true })
      end)
    end
    for _, value in ipairs{ "1", "on" } do
      helper.with_env({ NOETHER_LAUNCHER = value }, function()
        assert.equal("launcher", launch_of{ isolation = "none" })
        assert.equal("direct", launch_of{ isolation = "none", launcher = false })
      end)
    end
  end)

  it("serves stages, and info says so", function()
    local executor = noether.check(noether.executor{ isolation = "none", launcher = true })
    local _, err, info = executor:execute(STAGE)
    assert.is_nil(err)
    assert.equal("launcher", info.launch)
    assert.equal("launcher", info.result.launch)
    executor:close()
  end)

  it("does not serve those of an executor that does without", function()
    local executor = noether.check(noether.executor{ isolation = "none" })
    local _, err, info = executor:execute(STAGE)
    assert.is_nil(err)
    assert.equal("direct", info.launch)
    executor:close()
    helper.with_env({ NOETHER_LAUNCHER = "1" }, function()
      executor = noether.check(noether.executor{ isolation = "none" })
    end)
    assert.equal("launcher", select(3, executor:execute(STAGE)).launch)
    executor:close()
  end)

  it("makes no difference to what a run is told of", function()
    local results = {}
    for i, launcher in ipairs{ true, false } do
      results[i] = noether.check(noether.run({ "/bin/sh", "-c", "echo $0 $1; exit 7", "a", "b" }, {
        isolation = "none", launcher = launcher, limits = { processes = 100, cpu_secs = 20 },
      }))
    end
    for _, field in ipairs{ "reason", "exit_code", "stdout", "stderr", "isolation" } do
      assert.equal(results[1][field], results[2][field])
    end
    assert.same(results[1].enforced, results[2].enforced)
  end)

  it("counts of each run what it used, and not what earlier ones did", function()
    local big = noether.check(noether.run({ "/bin/sh", "-c",
      "x=$(head -c 30000000 /dev/zero | tr '\\0' a); for i in $(seq 99999); do :; done",
    }, { isolation = "none", launcher = true }))
    local small = noether.check(noether.run({ "/bin/true" },
      { isolation = "none", launcher = true }))
    assert.equal("launcher", big.launch)
    assert.equal("launcher", small.launch)
    assert.is_true(small.max_rss_bytes < big.max_rss_bytes / 3)
    assert.is_true(small.cpu_user_secs + small.cpu_system_secs
      < big.cpu_user_secs + big.cpu_system_secs)
  end)

  it("is what noether doctor tells of", function()
    assert.equal("direct", noether.doctor().supervisor.launch)
    helper.with_env({ NOETHER_LAUNCHER = "1" }, function()
      assert.equal("launcher", noether.doctor().supervisor.launch)
    end)
  end)
end)
