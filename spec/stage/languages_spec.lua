-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local languages = require "noether.stage.languages"

local AWK = [==[
return {
  name = "awk",
  names = { "awk", "mawk" },
  extension = "awk",
  runtime = {
    programs = { "awk" },
    probe = { [[BEGIN {
      "command -v awk" | getline path
      "readlink -f " path | getline path
      printf "{\"path\":\"%s\",\"version\":\"awk\",\"dirs\":[]}\n", path
    }]] },
  },
  wrap = function(code)
    return { files = { ["stage.awk"] = code }, entry = "stage.awk" }
  end,
  argv = function(runtime, entry)
    return { runtime.path, "-f", entry }
  end,
}
]==]

local PROGRAM = [==[
local noether = require "noether"
local stage = { language = "MAWK", code = "{ print NF }", effects = {} }
local store = noether.store.memory()
local id = noether.check(store:put(stage))
print(store:get(id).language)
local executor = noether.check(noether.executor{ store = store })
print((noether.check(executor:execute(id, "to be or not to be"))))
print(noether.check(executor:warmup{ "awk" }:wait()).awk.kind)
print((select(2, executor:execute{ language = "cobol", code = "" })))
for _, check in ipairs(noether.doctor().checks) do
  if check.name == "awk" then print(check.status) end
end
]==]

describe("the languages of the library", function()
  it("are those that there are files for", function()
    local files = {}
    for _, name in ipairs(helper.list(helper.root .. "/lua/noether/policy/languages")) do
      files[#files + 1] = name:match("^(.+)%.lua$")
    end
    assert.same(files, languages.names())
    for _, name in ipairs(files) do
      assert.equal(name, languages.module(name).name)
      for _, alias in ipairs(languages.module(name).names) do
        assert.equal(name, languages.canonical(alias:upper()))
      end
    end
    assert.equal("cobol", languages.canonical("Cobol"))
  end)

  it("have in their file what a model is told of them", function()
    for _, name in ipairs(languages.names()) do
      local language = languages.find(name)
      assert.truthy(language.about:find("execute", 1, true), name)
      assert.is_string(language.sample, name)
      assert.equal(language.channel ~= nil, language.call_usage ~= nil, name)
    end
    assert.is_nil(languages.find "cobol")
    assert.is_nil(languages.find(nil))
  end)

  it("are one more where there is one file more", function()
    local dir = helper.tmpdir()
    helper.shell(("cp -R %s/lua %s/lua"):format(helper.quote(helper.root), dir))
    helper.write(dir .. "/lua/noether/policy/languages/awk.lua", AWK)
    helper.write(dir .. "/program.lua", PROGRAM)
    local modules = helper.lua:match("^(.*)/bin/[^/]+$") .. "/lib/5.4/?.so;;"
    local output, status = helper.shell(helper.sanitizers_first
      .. ("cd %s && LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' LUA_CPATH=%s lua5.4 program.lua")
      :format(dir, dir, dir, helper.quote(modules)))
    local known = table.concat(languages.names(), ", ")
    assert.equal(("awk\n6\nhost\nunknown language 'cobol' (known: awk, %s)\nok\n"):format(known),
      output)
    assert.equal(0, status)
  end)
end)
