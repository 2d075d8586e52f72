-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local noether = require "noether"

describe("noether doctor", function()
  it("says in words what works on this machine", function()
    local out, err = command.succeed{ "doctor" }
    assert.equal("", err)
    assert.truthy(out:find("isolation \"auto\": takes ", 1, true), out)
    assert.truthy(out:find("Stages can be run here, isolated.", 1, true), out)
    assert.falsy(out:find("\27", 1, true))
  end)

  it("gives the same as JSON", function()
    local report = command.json{ "doctor", "--json" }
    assert.equal(noether.version, report.version)
    assert.equal(noether.doctor().auto, report.auto)
    assert.equal("kernel", report.checks[1].name)
  end)

  it("exits with 1 where no stage can be run", function()
    local result = command.run({ "doctor" }, { clear_env = true, env = { PATH = "/nowhere" } })
    assert.equal(1, result.code)
    assert.truthy(result.out:find("Stages cannot be run here yet", 1, true), result.out)
  end)

  it("exits with 1 where it could not find out in time, and says how to", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/bash", "#!/bin/sh\nexec /bin/sleep 1000\n")
    helper.shell("chmod 755 " .. dir .. "/bash")
    local result = command.run({ "doctor", "--timeout", "500ms" },
      { clear_env = true, env = { PATH = dir } })
    assert.equal(1, result.code)
    assert.truthy(result.out:find("bash: could not be tried in time", 1, true), result.out)
    assert.truthy(result.out:find("Not all could be tried", 1, true), result.out)
    assert.truthy(result.out:find("--timeout 60", 1, true), result.out)
  end)

  it("knows the command's own variables", function()
    local out = command.succeed({ "doctor" }, {
      env = { NOETHER_ISOLATION = "native", NOETHER_POLICY_PATH = "/p" },
    })
    assert.truthy(out:find("NOETHER_POLICY_PATH=/p", 1, true), out)
    assert.falsy(out:find("nothing reads", 1, true), out)
  end)
end)
