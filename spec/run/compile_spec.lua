-- SPDX-License-Identifier: MIT
--- Code that a compiler makes something of before it runs: TypeScript by esbuild.
local helper = require "spec.support.helper"
local noether = require "noether"

local BACKENDS = { "none", "native", "bwrap", "landlock" }

local ESBUILD = helper.shell("command -v esbuild"):match("%S+")

-- An older node, which needs a compiler whatever this machine's own can do.
local OLD_NODE = {
  programs = { "node" },
  probe = { "-e", ([[
    const path = require("path");
    const answer = { path: process.execPath, version: "20.0.0", compiler: "%s",
      dirs: [path.dirname(path.dirname(process.execPath))] };
    console.log(JSON.stringify(answer));]]):format(ESBUILD) },
}

local function new(opts, fields)
  fields = fields or {}
  fields.runtime = fields.runtime or OLD_NODE
  opts.policy, opts.runtime = { languages = { typescript = fields } }, "host"
  opts.timeout_secs, opts.setup_timeout_secs = 60, 60
  opts.cache_dir = opts.cache_dir or helper.tmpdir() .. "/cache"
  return noether.check(noether.executor(opts))
end

local function execute(executor, code, input, opts)
  return executor:execute({ language = "typescript", code = code, effects = {} }, input, opts)
end

local WORKS = {
  { "types, and what they are not", [[
interface In { n: number }
enum Of { Two = 2 }
namespace Twice { export const of = (n: number): number => n * Of.Two }
class Held { constructor(readonly input: In) {} }
export async function execute(input: In): Promise<number> {
  console.log("hello");
  return Twice.of(new Held(input).input.n satisfies number) as number;
}]] },
  { "CommonJS", "const { sep } = require('path');\n"
    .. "module.exports.execute = (i: { n: number }) => sep === '/' ? i.n * 2 : 0" },
  { "imports, of types and of values", "import { sep, type ParsedPath } from 'path';\n"
    .. "import type { Stats } from 'node:fs';\n"
    .. "function execute(i: { n: number }, p?: ParsedPath, s?: Stats) {\n"
    .. "  return sep === '/' ? i.n * 2 : 0;\n}" },
  { "await at the top", "const two: number = await Promise.resolve(2);\n"
    .. "export const execute = (i: { n: number }) => i.n * two" },
  { "a #! line, and plain JavaScript", "#!/usr/bin/env node\n"
    .. "function execute(input) { return input.n * 2 }" },
}

local FAILS = {
  { "where it is thrown, below types", [[
interface In {
  n: number
}

function check(input: In): void {
  if (input.n > 0) throw new RangeError(`mine ${input.n}`);
}
export function execute(input: In) {
  check(input);
}]], "RangeError: mine 21 (line 6)" },
  { "where the code is no TypeScript", "const x: number = 3;\nfunction execute() {\n"
    .. "  let y number = 4;\n}", "SyntaxError: Expected \";\" but found \"number\" (line 3)" },
  { "where await stands in a plain function", "export function execute(i: number) {\n"
    .. "  return await i;\n}", "(line 2)" },
  { "where there is no execute", "const exekute = (i: number): number => i", "MissingExecute" },
}

helper.over({
  backends = BACKENDS, starts = helper.STARTS,
}, "a stage in TypeScript under '%s', begun by %s,", function(backend, start)
  helper.begin_by(start)

  local executor
  setup(function() executor = new{ isolation = backend } end)
  teardown(function() executor:close() end)

  for _, case in ipairs(WORKS) do
    it("runs with " .. case[1], function()
      local output, err, info = execute(executor, case[2], { n = 21 })
      assert.is_nil(err, tostring(err))
      assert.equal(42, output)
      assert.equal(ESBUILD, info.runtime.compiler)
    end)
  end

  for _, case in ipairs(FAILS) do
    it("is told " .. case[1], function()
      local _, err = execute(executor, case[2], { n = 21 })
      assert.equal("stage_failed", err.kind, tostring(err))
      assert.truthy(tostring(err):find(case[3], 1, true), tostring(err))
    end)
  end

  it("can call its host", function()
    local output, err = executor:execute({
      language = "typescript", effects = { { Call = "price" } },
      code = "import { price } from 'noether';\n"
        .. "export async function execute(fruit: string): Promise<number> {\n"
        .. "  return (await price({ fruit }) as number) * 2;\n}",
    }, "pear", { functions = { price = function() return 21 end } })
    assert.is_nil(err, tostring(err))
    assert.equal(42, output)
  end)
end)

helper.over({ backends = BACKENDS }, "a compiler under '%s'", function(backend)
  local function compiled_by(script)
    return new({ isolation = backend }, {
      compile = function()
        return { file = "compiled.js", argv = { "/bin/sh", "-c", script } }
      end,
    })
  end

  it("sees nothing of this machine that a stage would not", function()
    local directory = helper.tmpdir()
    local secret = helper.write(directory .. "/secret", "mine\n")
    local executor <close> = compiled_by(([[
      read -r code
      read -r found <%s || found=nothing
      echo "function execute() { return ['$code', '$found'] }"]]):format(secret))
    local output, err = execute(executor, "code", 1)
    assert.is_nil(err, tostring(err))
    assert.same({ "code", backend == "none" and "mine" or "nothing" }, output)
  end)

  it("that ends badly is not the stage's fault", function()
    for script, ending in pairs{ ["ulimit -t 1; while :; do :; done"] = "SIGKILL",
        ["echo oh >&2; exit 3"] = "oh" } do
      local executor <close> = compiled_by(script)
      local _, err = execute(executor, "code", 1)
      assert.equal("runtime_unavailable", err.kind, tostring(err))
      assert.truthy(err.message:find(ending, 1, true), err.message)
    end
  end)

  it("that does not end meets the deadline of the setup", function()
    local executor <close> = compiled_by("while :; do :; done")
    local _, err = execute(executor, "code", 1, { setup_timeout_secs = 1 })
    assert.equal("setup_timed_out", err and err.kind, tostring(err))
  end)
end)

describe("a compiler", function()
  it("is run once for each text, and again where the text is another", function()
    local counts = helper.tmpdir() .. "/counts"
    local executor <close> = new({ isolation = "none" }, {
      compile = function()
        return { file = "compiled.js", argv = { "/bin/sh", "-c",
          "read -r code; echo x >>" .. counts .. "; echo \"$code\"" } }
      end,
    })
    for _, code in ipairs{ "exports.execute = () => 1\n", "exports.execute = () => 1\n",
        "exports.execute = () => 2\n" } do
      assert.equal(tonumber(code:match("%d")), noether.check(execute(executor, code, 1)))
    end
    assert.equal("x\nx\n", helper.read(counts))
  end)

  it("that is not there makes the runtime unavailable, and what to install is said", function()
    local bin = helper.tmpdir()
    helper.write(bin .. "/node", ("#!/bin/sh\necho 'node 20.1.0 knows no types' >&2\nexit 1\n"))
    helper.shell("chmod 755 " .. bin .. "/node")
    helper.with_env({ PATH = bin }, function()
      local executor <close> = noether.check(noether.executor{
        isolation = "none", runtime = "host", cache_dir = helper.tmpdir() .. "/cache",
      })
      local _, err = execute(executor, "code", 1)
      assert.equal("runtime_unavailable", err.kind, tostring(err))
      assert.truthy(err.message:find("knows no types", 1, true), err.message)
      assert.truthy(err.hint:find("esbuild", 1, true), err.hint)
    end)
  end)
end)
