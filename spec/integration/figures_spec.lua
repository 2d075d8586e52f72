-- SPDX-License-Identifier: MIT
-- Figures of matplotlib, which is Debian's: for the Python of the system.
local helper = require "spec.support.helper"
local noether = require "noether"

local SYSTEM = { PATH = "/usr/bin:/bin" }

local function run(code, opts)
  local request = { language = "python", code = code, timeout_secs = 120 }
  for name, value in pairs(opts or { outputs = { "*.png" } }) do request[name] = value end
  return helper.with_env(SYSTEM, function() return noether.execute(request) end)
end

local function names_of(info)
  local names = {}
  for index, output in ipairs(info.outputs) do
    names[index] = output.name
    if output.name:find "^figure" then
      assert.equal("\137PNG\r\n\26\n", output.content:sub(1, 8))
      assert.equal("image/png", output.type)
    end
  end
  return names
end

helper.over({ backends = { "native", "bwrap", "landlock", "none" } }, "figures under %s",
  function(backend)
    it("are what is shown, and what is open at the end", function()
      local out, err, info = run([[
import matplotlib.pyplot as plt
from matplotlib.pyplot import show
def execute(n):
    open("figure-2.png", "w").write("the stage's own")
    plt.plot([1, 2, 3])
    plt.figure()
    plt.show()
    plt.bar(["a"], [1])
    show(block=True)
    left = plt.gcf()
    left.gca().plot([3, 2, 1])
    return [plt.get_backend().lower(), plt.get_fignums()]
]], { outputs = { "*.png" }, isolation = backend })
      assert.is_nil(err)
      assert.same({ "agg", { 1 } }, out)
      assert.equal("the stage's own", info.outputs[2].content)
      info.outputs[2].content = "\137PNG\r\n\26\n"
      assert.same({ "figure-1.png", "figure-2.png", "figure-3.png", "figure-4.png",
        "figure-5.png" }, names_of(info))
    end)
  end)

describe("figures", function()
  it("come with a failure of the stage's own; what cannot be drawn is a line of the log", function()
    local _, err, info = run [[
from matplotlib import pyplot
def execute(n):
    pyplot.plot([1, 2])
    pyplot.figure()
    pyplot.title("$\\nonesuch{$")
    raise KeyError("after it")
]]
    assert.equal("stage_failed", err.kind)
    assert.matches("KeyError", err.message, 1, true)
    assert.same({ "figure-1.png" }, names_of(info))
    assert.matches("a figure could not be written: ValueError", info.logs, 1, true)
  end)

  it("cost a stage without matplotlib nothing", function()
    local code = [[
import os, sys
def execute(n):
    return [any("matplotlib" in name for name in sys.modules), os.environ.get("MPLBACKEND")]
]]
    local out = assert(run(code))
    assert.same({ false, "Agg" }, out)
    out = assert(run(code, {}))
    assert.same({ false, noether.null }, out)
  end)
end)
