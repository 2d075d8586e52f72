-- SPDX-License-Identifier: MIT
--- What an executor's own isolation policy says is what holds, in every backend.
local helper = require "spec.support.helper"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

local WHERE = {
  bash = 'execute() { echo "[\\"${BASH_SOURCE[0]}\\", \\"$PWD\\", \\"$HOME\\"]"; }',
  python = "import os\ndef execute(_):\n"
    .. "  return [__file__, os.getcwd(), os.environ['HOME']]",
}

local function executor(backend, fields)
  return noether.check(noether.executor{ isolation = backend, policy = { isolation = fields } })
end

local function where(ex, language, opts)
  local stage = { language = language, code = WHERE[language], effects = {} }
  local output = noether.check(ex:execute(stage, 1, opts))
  return output[1], output[2], output[3], ex:plan(stage, 1, opts)
end

local function has_root(backend)
  return backend == "native" or backend == "bwrap"
end

for _, backend in ipairs(helper.backends(BACKENDS)) do
  describe("an overridden isolation policy with " .. backend, function()
    it("says where the script is", function()
      local ex = executor(backend, { stage_dir = "/code/of/stages" })
      for _, language in ipairs{ "python", "bash" } do
        local file, _, _, plan = where(ex, language)
        if has_root(backend) then assert.equal("/code/of/stages", (file:match("^(.+)/"))) end
        assert.truthy(plan.argv[#plan.argv]:find((file:match("^(.+)/")), 1, true))
      end
      ex:close()
    end)

    it("says where the stage starts, in a directory of its own", function()
      for _, dir in ipairs{ "/home", "/home/of/nobody", "/tmp/below", "/tmp" } do
        local ex = executor(backend, { work_dir = dir })
        local _, cwd, home = where(ex, "bash")
        if has_root(backend) then assert.same({ dir, dir }, { cwd, home }) end
        local code = 'execute() { echo "$1" > file && cat file; rmdir "$HOME" 2>&- || :; }'
        local stage = { language = "bash", code = code, effects = { "Process" } }
        if backend ~= "none" then
          assert.equal(42, (noether.check(ex:execute(stage, 42))))
          assert.equal(43, (noether.check(ex:execute(stage, 43))))
        end
        ex:close()
      end
    end)

    it("says where a caller's directory is", function()
      local dir = helper.open_to_stages(helper.tmpdir())
      local ex = executor(backend, { work_dir = "/home" })
      local _, cwd = where(ex, "python", { work_dir = dir })
      assert.equal(has_root(backend) and "/home" or dir, cwd)
      ex:close()
    end)
  end)
end

describe("an isolation policy that is wrong", function()
  local builtin = require "noether.policy.isolation"

  local function fails(fields)
    local ex = executor("native", fields)
    local stage = { language = "bash", code = "execute() { echo 1; }", effects = {} }
    local output, err = ex:execute(stage, 1)
    assert.is_nil(output)
    ex:close()
    return err
  end

  it("is told as the policy's mistake, and not as the stage's", function()
    local err = fails{ describe = function(effects, runtime, opts)
      opts.files_dir = nil
      return builtin.describe(effects, runtime, opts)
    end }
    assert.equal("policy_error", err.kind)
    assert.truthy(err.message:find("the stage's script", 1, true), err.message)
    for _, dir in ipairs{ "/", "/proc/self", "/dev", "/sys/x", "relative", "/a/../b" } do
      err = fails{ work_dir = dir }
      assert.equal("policy_error", err.kind, dir)
      assert.truthy(err.message:find("work_dir", 1, true), err.message)
    end
  end)
end)
