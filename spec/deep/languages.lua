-- SPDX-License-Identifier: MIT
-- The languages of examples/policies, tried for real. (In `make check-deep`, which installs them.)
local helper = require "spec.support.helper"
local languages = require "spec.support.languages"
local noether = require "noether"

for _, backend in ipairs{ "native", "bwrap", "landlock" } do
  describe("the example policies under " .. backend, function()
    local executor
    setup(function()
      executor = noether.check(noether.executor{
        isolation = backend, timeout_secs = 120, policy_path = helper.root .. "/examples/policies",
      })
    end)
    teardown(function() executor:close() end)

    for _, language in ipairs(languages.LANGUAGES) do
      local function execute(code, opts)
        return executor:execute({
          language = language.name, code = code, effects = language.effects or {},
        }, { n = 21 }, opts)
      end

      it("run " .. language.name, function()
        local output, err, info = execute(language.double)
        assert.is_nil(err, tostring(err) .. "\n" .. tostring(info and info.logs))
        assert.equal(42, output)
        assert.equal(language.log or false, info.logs:find("hello", 1, true) ~= nil, info.logs)
      end)

      it("tell of a failure in " .. language.name, function()
        local output, err = execute(language.fails)
        assert.is_nil(output)
        assert.equal("stage_failed", err.kind, tostring(err))
        assert.truthy(tostring(err):find("mine", 1, true), tostring(err))
        if language.line then
          assert.truthy(tostring(err):find(("(line %d)"):format(language.line), 1, true),
            tostring(err))
        end
      end)
    end

    it("hold Java's heap to the limit of the run", function()
      local output, err = executor:execute({ language = "java", effects = {}, code =
        "public class Heap { public static void main(String[] a) {"
        .. " System.out.println(Runtime.getRuntime().maxMemory()); } }" }, 1,
        { limits = { memory_bytes = 512 * 2 ^ 20 } })
      assert.is_nil(err, tostring(err))
      assert.is_true(output <= 300 * 2 ^ 20, output)
    end)
  end)
end

describe("TypeScript by a node that knows types", function()
  local function execute(code)
    local path = os.getenv "NODE_WITH_TYPES" .. ":" .. os.getenv "PATH"
    return helper.with_env({ PATH = path }, function()
      local executor <close> = noether.check(noether.executor{
        timeout_secs = 120, runtime = "host", cache_dir = helper.tmpdir() .. "/cache",
      })
      return executor:execute({ language = "typescript", code = code, effects = {} }, { n = 21 })
    end)
  end

  it("needs no compiler, and keeps every place", function()
    local output, err, info = execute(
      "interface In { n: number }\nexport const execute = (i: In): number => i.n * 2")
    assert.is_nil(err, tostring(err))
    assert.equal(42, output)
    assert.is_nil(info.runtime.compiler)
    assert.same({}, info.warnings)
    assert.equal("", info.logs)
    local _, second = execute(
      "function execute(i: { n: number }): number {\n\n  throw new Error('mine');\n}")
    assert.equal("Error: mine (line 3)", second.message)
  end)

  it("is told what it does not take, and where", function()
    local _, err = execute("const x: number = 1;\nenum Of { Two = 2 }\n")
    assert.equal("stage_failed", err.kind)
    assert.truthy(err.message:find("enum is not supported in strip-only mode (line 2)", 1, true),
      err.message)
    assert.truthy(err.hint:find("constant object", 1, true), err.hint)
    _, err = execute("function execute() {\n  let y number = 4;\n}")
    assert.truthy(err.message:find("(line 2)", 1, true), err.message)
  end)
end)
