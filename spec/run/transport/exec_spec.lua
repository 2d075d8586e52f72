-- SPDX-License-Identifier: MIT
--- A plan is all that a run needs: it is shown, written as text, read again, and carried out.
local helper = require "spec.support.helper"
local exec = require "noether.run.transport.exec"
local json = require "noether.json"
local noether = require "noether"
local tasks = require "noether.run.task"

local CODE = {
  python = "import os\ndef execute(n):\n  print('said')\n"
    .. "  return [n, os.getcwd(), os.environ.get('TOKEN'), sorted(os.listdir('.'))]",
  bash = 'execute() { echo "said" >&2; echo "[$1, \\"$PWD\\", \\"${TOKEN-}\\", []]"; }',
}

-- What held, but for memory and processes: a control group may be had by one run and not by the
-- next.
local function walls(result)
  local words = {}
  for _, word in ipairs(result.enforced) do
    if not word:find "^memory_" and not word:find "^pids_" then words[#words + 1] = word end
  end
  return words
end

for _, backend in ipairs(helper.backends{ "none", "native", "bwrap", "landlock" }) do
  describe("a plan for " .. backend, function()
    local ex = noether.check(noether.executor{ isolation = backend })
    teardown(function() ex:close() end)

    local function carry_out(plan, private)
      local task <close> = tasks.new(function(own)
        local running = noether.check(exec.start(plan, private, own))
        return (own:await(running))
      end, {})
      return noether.check(task:wait(60))
    end

    it("is what runs, as the executor would have run it, from its text alone", function()
      for language, code in pairs(CODE) do
        local stage = { language = language, code = code, effects = {} }
        local call = { env = { TOKEN = "hunter2" }, limits = { processes = 100 },
          work_dir = helper.open_to_stages(helper.tmpdir()) }
        local output, err, info = ex:execute(stage, 7, call)
        assert.is_nil(err)
        local plan = noether.check(ex:plan(stage, 7, call))
        local text = noether.check(json.encode(plan))
        assert.is_nil(text:find("hunter2", 1, true))
        local lines = {}
        local result = carry_out(json.decode(text), {
          env = { TOKEN = "hunter2" }, on_stderr = function(piece) lines[#lines + 1] = piece end,
        })
        assert.same(output, json.decode(result.stdout), language)
        assert.same({ "said\n", info.logs }, { table.concat(lines), result.stderr })
        assert.same(info.result.argv, result.argv)
        assert.same({ info.isolation, walls(info) }, { result.isolation, walls(result) })
        assert.same(info.limits, plan.limits)
      end
    end)

    it("is told to whoever wants to see it before it runs", function()
      local stage = { language = "bash", code = CODE.bash, effects = {} }
      local seen
      local task <close> = noether.check(ex:begin{
        reference = ex:reference("spec", stage), input = 1, mode = "value",
        call = ex:check_call("spec"),
        on_plan = function(plan) seen = plan end,
      })
      noether.check(task:wait())
      assert.same(ex:plan(stage, 1), seen)
    end)

    it("has no limit where none is named", function()
      local code = "execute() { printf '\"%0100d\"' 0; }"
      local stage = { language = "bash", code = code, effects = {} }
      local plan = noether.check(ex:plan(stage, 1, { timeout_secs = math.huge }))
      assert.is_nil(plan.limits.timeout_secs)
      plan.limits = {}
      assert.equal(102, #carry_out(plan, {}).stdout)
      plan.limits = { max_output_bytes = 50 }
      assert.equal("output_limit", carry_out(plan, {}).reason)
    end)
  end)
end
