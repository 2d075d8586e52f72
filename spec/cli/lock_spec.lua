-- SPDX-License-Identifier: MIT
--- `noether lock`, and what `noether run` makes of a lock.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local wheels = require "spec.support.wheels"

local SCRIPT = "# /// script\n# dependencies = ['tiny']\n# ///\nimport tiny\n"
  .. "def execute(i): return tiny.value\n"

-- Packages come from a directory, by a policy.
local function policy_for(dir)
  local policies = helper.tmpdir()
  helper.write(policies .. "/pip.lua", ([[
    local builtin = ...
    return {
      paths = { %q },
      requirements_file = function(requirements, opts)
        local text = builtin.requirements_file(requirements, { hashes = opts.hashes })
        return "--no-index\n--find-links file://%s\n" .. text
      end,
    }
  ]]):format(dir, dir))
  return policies
end

describe("noether lock", function()
  local env, file, lock, policies
  setup(function()
    local home = helper.tmpdir()
    env = { HOME = home, NOETHER_CACHE_DIR = home .. "/cache", PATH = "/usr/bin:/bin" }
    file, lock = helper.write(home .. "/stage.py", SCRIPT), home .. "/pylock.toml"
    policies = policy_for((wheels.make{
      { name = "tiny", version = "1.0", files = { ["tiny.py"] = "value = 1\n" } },
    }))
  end)

  local function run(words)
    for _, word in ipairs{ "--policy-path", policies, "--isolation", "none" } do
      words[#words + 1] = word
    end
    return command.run(words, { env = env })
  end

  it("pins what a script names, and 'run' installs that", function()
    local result = run{ "lock", file, "--output", lock }
    assert.equal(0, result.code, result.err)
    assert.equal("", result.out)
    assert.truthy(helper.read(lock):find('name = "tiny-1.0-py3-none-any.whl"', 1, true))
    assert.equal(helper.read(lock), run{ "lock", file }.out)
    result = run{ "run", file, "--lock", lock }
    assert.equal("1\n", result.out, result.err)
    assert.equal("package_rejected", run{ "run", file }.err:match("%[([%w_]+)%]"))
    result = run{ "plan", file, "--lock", lock }
    assert.truthy(result.out:find('"tiny==1.0"', 1, true), result.out .. result.err)
  end)

  it("says what is wrong with the call", function()
    local plain = helper.write(env.HOME .. "/plain.py", "def execute(i): return i")
    for _, case in ipairs{
      { { "lock", plain }, 2, "the stage names no packages" },
      { { "lock", env.HOME .. "/nosuch.py" }, 2, "nosuch.py" },
      { { "lock", file, "--output", env.HOME .. "/no/such" }, 2, "option '--output': " },
      { { "run", file, "--lock", env.HOME .. "/nosuch" }, 2, "option '--lock': " },
      { { "run", file, "--lock", file }, 2, "lock: it is no TOML: line 4" },
      { { "lock" }, 2, "missing argument" },
    } do
      local result = run(case[1])
      assert.equal(case[2], result.code, result.err)
      assert.truthy(result.err:find(case[3], 1, true), result.err)
    end
  end)
end)
