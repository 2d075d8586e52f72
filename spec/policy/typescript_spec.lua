-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local typescript = require "noether.policy.languages.typescript"

describe("the typescript policy", function()
  it("keeps the user's code alone in its file", function()
    local script = assert(typescript.wrap("const execute = (i: number) => i"))
    assert.equal("const execute = (i: number) => i", script.files["stage.ts"])
    assert.is_nil(script.files["stage.js"])
    assert.truthy(script.files[script.entry]:find('STAGE = "stage.ts"', 1, true))
  end)

  it("refuses code with a NUL byte", function()
    local script, reason = typescript.wrap("let x = '\0'")
    assert.is_nil(script)
    assert.equal("the code holds a NUL byte", reason)
  end)

  for _, version in ipairs{ "22.18.0", "22.23.5", "24.0.0", "26.12.1", "v24.1.0" } do
    it("needs no compiler with node " .. version, function()
      local wanted, reason = typescript.compile{ path = "/n", version = version }
      assert.is_nil(wanted)
      assert.is_nil(reason)
    end)
  end

  for _, version in ipairs{ "18.19.0", "20.20.2", "22.17.9", "unknown" } do
    it("needs one with node " .. version, function()
      local wanted = typescript.compile{ path = "/n", version = version, compiler = "/esbuild" }
      assert.equal("/esbuild", wanted.argv[1])
      assert.equal("compiled.js", wanted.file)
      local none, reason = typescript.compile{ path = "/n", version = version }
      assert.is_nil(none)
      assert.truthy(reason:find("22.18", 1, true), reason)
    end)
  end

  it("reads what the compiler says of a mistake", function()
    local said = '\n✘ [ERROR] Expected ";" but found "number"\n\n    stage.ts:3:6:\n'
      .. "      3 │   let y number = 4;\n        ╵         ~~~~~~\n\n1 error\n"
    assert.same({ type = "SyntaxError", message = 'Expected ";" but found "number"', line = 3 },
      typescript.mistake(said))
    assert.is_nil(typescript.mistake("fatal error: stack overflow\n"))
  end)

  it("finds the compiler that a script of npm's stands for, too", function()
    local dir = helper.tmpdir()
    local arch = helper.shell("node -p process.arch"):match("%S+")
    local program = ("%s/lib/node_modules/@esbuild/linux-%s/bin/esbuild"):format(dir, arch)
    helper.write(program, "\127ELF")
    helper.write(dir .. "/lib/node_modules/esbuild/bin/esbuild", "#!/usr/bin/env node\n")
    helper.shell(("cd %s && mkdir bin && chmod 755 %s lib/node_modules/esbuild/bin/esbuild &&"
      .. " ln -s ../lib/node_modules/esbuild/bin/esbuild bin/esbuild"):format(dir, program))
    local probe = typescript.runtime.probe[2]:gsub("answer%.version%.split", '"20.1.0".split')
    helper.write(dir .. "/probe.js", probe)
    local said, code = helper.shell(("PATH=%s/bin:$PATH node -e \"$(cat %s/probe.js)\""):format(
      dir, dir))
    assert.equal(0, code, said)
    assert.truthy(said:find(program, 1, true), said)
  end)
end)
