-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local effects = require "noether.stage.effects"
local policies = require "noether.overrides.policies"
local verdict = require "noether.run.verdict"

local LOADED = assert(policies.load())
local LIMITS = { timeout_secs = 2, max_output_bytes = 100, memory_bytes = 1000, cpu_secs = 3 }

local STAGE = { effects = assert(effects.parse{ "Pure" }), code = "stage.py" }

local function judge(fields, mode)
  local result = { reason = "exit", exit_code = 0, stdout = "", stderr = "" }
  for name, value in pairs(fields) do
    result[name] = value
  end
  return verdict.judge(result, LIMITS, LOADED, mode or "value", STAGE)
end

describe("the verdict", function()
  local reasons = {
    { "timeout", "timed_out", 2 },
    { "output_limit", "output_limit", 100 },
    { "memory_limit", "memory_limit", 1000 },
    { "cpu_limit", "cpu_limit", 3 },
    { "cancelled", "cancelled" },
    { "status_lost", "spawn_failed" },
  }
  for _, case in ipairs(reasons) do
    it(("on %s is %s, whatever was written"):format(case[1], case[2]), function()
      local stdout = '{"error":{"type":"ValueError","message":"x","traceback":""}}\n'
      for _, exit_code in ipairs{ 0, 1 } do
        local output, err = judge{ reason = case[1], stdout = stdout, exit_code = exit_code }
        assert.is_nil(output)
        assert.equal(case[2], err.kind)
        assert.equal(case[3], err.limit)
        assert.equal(case[1], err.result.reason)
      end
    end)
  end

  it("takes exit 0 for success, whatever stderr says", function()
    local output, err = judge{ stdout = "[1]\n", stderr = "error: no" }
    assert.is_nil(err)
    assert.same({ 1 }, output)
    assert.equal("[ 1 ]", (judge({ stdout = " [ 1 ]\r\n\n" }, "json")))
  end)

  it("takes the error object of a failure from the last line of stdout", function()
    local report = '{"error":{"type":"KeyError","message":"lost","traceback":"","line":7}}'
    for _, stdout in ipairs{ report, report .. "\n", "noise\n{\"a\":1}\n" .. report .. "\n" } do
      local _, err = judge{ exit_code = 1, stdout = stdout, stderr = "noise" }
      assert.equal("stage_failed", err.kind)
      assert.equal("KeyError: lost (line 7)", tostring(err))
    end
  end)

  it("takes nothing else for one", function()
    for _, stdout in ipairs{ '{"error":"x"}', '{"error":', '[{"error":{}}]', "{}", "", "null" } do
      local _, err = judge{ exit_code = 1, stdout = stdout, stderr = "it broke" }
      assert.equal("stage_failed", err.kind)
      assert.truthy(tostring(err):find("it broke", 1, true), tostring(err))
    end
  end)

  it("does not take an error object for a failure where the exit code is 0", function()
    local output, err = judge{ stdout = '{"error":{"type":"A","message":"b","traceback":""}}' }
    assert.is_nil(err)
    assert.equal("A", output.error.type)
  end)

  it("names the signal that ended a stage", function()
    local _, err = judge{ reason = "signal", signal = "SIGSEGV", exit_code = nil }
    assert.equal("stage_failed", err.kind)
    assert.truthy(tostring(err):find("SIGSEGV", 1, true))
  end)

  it("says of a missing or spoilt answer that a process had been refused", function()
    for _, stdout in ipairs{ "", "Warning: exec(): Unable to fork" } do
      local _, err = judge{ stdout = stdout, denied_processes = 1 }
      assert.equal("output_invalid", err.kind)
      assert.truthy(err.hint:find("refused another process", 1, true), err.hint)
      _, err = judge{ stdout = stdout }
      assert.is_nil(err.hint:find("process,", 1, true), err.hint)
    end
  end)

  it("lets the policy see the stage's code", function()
    local _, err = judge{ exit_code = 1, stderr = "it broke" }
    assert.truthy(err.hint:find("not a file name", 1, true))
  end)

  for stdout, text in pairs{
    ["hello world\n"] = "its quotes", ["'x'"] = "its quotes", truth = "its quotes",
    ["1 2"] = "all that reaches", ["{}{}"] = "all that reaches", ["-x"] = "all that reaches",
    ["true false"] = "all that reaches", ["null\n1"] = "all that reaches",
  } do
    it(("hints at '%s' for the answer %q"):format(text, stdout), function()
      local _, err = judge{ stdout = stdout }
      assert.equal("output_invalid", err.kind)
      assert.truthy(err.hint:find(text, 1, true), err.hint)
    end)
  end

  for _, mode in ipairs{ "value", "json" } do
    for _, stdout in ipairs{ "", " \n", "1 2", "{}{}", "nope", "[1,", "\255", "NaN", "01" } do
      it(("is output_invalid in mode %s for %q"):format(mode, stdout), function()
        local output, err = judge({ stdout = stdout }, mode)
        assert.is_nil(output)
        assert.equal("output_invalid", err.kind)
        assert.is_string(err.hint)
      end)
    end
  end
end)

describe("the verdict on a deadline that was met after the answer", function()
  local WAITING = "execute has answered; waiting for "
  local cases = {
    { "1\n", WAITING .. "thread w (line 3)\n",
      "execute had answered, and what it had started went on: thread w (line 3)" },
    { '{"a": 1}\n', "log\n" .. WAITING .. "2 threads: a b, c (line 1)\n",
      "went on: 2 threads: a b, c (line 1)" },
    { "[]\n", "", "execute had answered, and something that it left running went on" },
    { "null", "noise", "something that it left running" },
    { '"x"\n', WAITING .. "20 threads: " .. ("t"):rep(500) .. "\n",
      "went on: 20 threads: tttt" },
    { "1\n", WAITING .. "thread \27[31mred\n", "went on: thread \\x1B[31mred" },
    { '{"error":{"type":"E","message":"","traceback":""}}\n', WAITING .. "thread w\n",
      "execute had failed, and what it had started went on: thread w" },
  }
  for _, case in ipairs(cases) do
    it("says so: " .. case[3], function()
      local output, err = judge{ reason = "timeout", stdout = case[1], stderr = case[2] }
      assert.is_nil(output)
      assert.equal("timed_out", err.kind)
      assert.truthy(err.message:find("deadline of 2 s: ", 1, true), err.message)
      assert.truthy(err.message:find(case[3], 1, true), err.message)
      assert.falsy(err.hint:find("give it more", 1, true))
    end)
  end

  for _, stdout in ipairs{ "", "{", "[1", '"x', "noise", "1 2" } do
    it(("says nothing of one that was not there: %q"):format(stdout), function()
      local _, err = judge{ reason = "timeout", stdout = stdout, stderr = WAITING .. "w\n" }
      assert.equal("the stage was ended at its deadline of 2 s", err.message)
      assert.truthy(err.hint:find("give it more", 1, true))
    end)
  end
end)

describe("the verdict on JSON that is no answer", function()
  local nest = function(depth) return ("["):rep(depth) .. ("]"):rep(depth) end
  local cases = {
    { nest(513), "nested 512 deep" }, { nest(990), "nested 512 deep" },
    { '{"a":' .. nest(600) .. "}", "nested 512 deep" },
    { "9223372036854775808", "an integer has 64 bits" },
    { '{"n": [-9223372036854775809]}', "an integer has 64 bits" },
    { "[1180591620717411303424]", "an integer has 64 bits" },
    { "1 2", "all that reaches stdout" }, { "[1]\n[2]", "all that reaches stdout" },
    { "hello", "a string needs its quotes" },
  }
  for _, case in ipairs(cases) do
    it(("has the hint: %s"):format(case[1]:sub(1, 30)), function()
      for _, mode in ipairs{ "value", "json" } do
        local _, err = judge({ stdout = case[1] .. "\n" }, mode)
        assert.equal("output_invalid", err.kind)
        assert.truthy(err.hint:find(case[2], 1, true), err.hint)
      end
    end)
  end
end)
