-- SPDX-License-Identifier: MIT
--- Files in other languages: one text for each of them, wherever the library is.
local helper = require "spec.support.helper"
local resource = require "noether.resource"

local lua = helper.root .. "/lua"

local function texts()
  local list = {}
  for name in helper.shell(("cd %s/noether && find . -type f ! -name '*.lua' ! -name '.*' | sort")
    :format(helper.quote(lua))):gmatch("%./([^\n]+)") do
    list[#list + 1] = name
  end
  return list
end

-- What a program prints that runs in another directory, with the library as a user has it.
local function run(interpreter, code)
  local output, status = helper.shell(("cd / && %s -e %s"):format(interpreter, helper.quote(code)))
  assert.equal(0, status, output)
  return output
end

describe("a file in another language", function()
  it("is inside the interpreter, as it is", function()
    local found = texts()
    assert.is_true(#found >= 11)
    for _, name in ipairs(found) do
      assert.equal(helper.read(lua .. "/noether/" .. name), resource.text(name), name)
      assert.is_function(package.preload["noether/" .. name], name)
    end
  end)

  it("is read where the modules lie by any other Lua", function()
    local lua54 = ("LUA_PATH=%s LUA_CPATH=%s lua5.4"):format(
      helper.quote(lua .. "/?.lua;" .. lua .. "/?/init.lua;;"),
      helper.quote(helper.lua:match("^(.*)/bin/[^/]+$") .. "/lib/5.4/?.so;;"))
    local code = "io.write(require('noether.resource').text('runtime/venv/build.py'))"
    assert.equal(helper.read(lua .. "/noether/runtime/venv/build.py"), run(lua54, code))
  end)

  it("is never looked for in the current directory by the interpreter", function()
    local directory = helper.tmpdir()
    helper.shell(("mkdir -p %s/noether && echo bad >%s/noether/x.py"):format(
      helper.quote(directory), helper.quote(directory)))
    local code = "print(pcall(require('noether.resource').text, 'x.py'))"
    local output = helper.shell(("cd %s && %s -e %s 2>&1"):format(helper.quote(directory),
      helper.quote(helper.lua), helper.quote(code)))
    assert.matches("^false\tnoether is not installed whole: ", output)
  end)

  it("that is not there is told by its name", function()
    assert.has_error(function() resource.text("none.py") end)
  end)
end)
