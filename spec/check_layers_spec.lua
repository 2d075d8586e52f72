-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"

-- The check, over a tree that has only these files.
local function check(files)
  local root = helper.tmpdir()
  for _, directory in ipairs { "src", "include", "lua/noether" } do
    helper.write(root .. "/" .. directory .. "/.keep", "")
  end
  for path, text in pairs(files) do helper.write(root .. "/" .. path, text) end
  return helper.shell(("cd %s && %s tools/test/check-layers.lua %s"):format(
    helper.quote(helper.root), helper.quote(helper.lua), root))
end

local ALLOWED = {
  ["src/core/a.c"] = '#include "a.h"\n#include <lualike.h>\n#include "../base/protocol.h"\n',
  ["src/core/a.h"] = '#include "noether.h"\n',
  ["src/base/uapi.h"] = "",
  ["src/base/protocol.h"] = "",
  ["src/jail/main.c"] = '#include "base/protocol.h"\n#include "../base/uapi.h"\n',
  ["src/binding/a.c"] = '#include <lua.h>\n#include "core/a.h"\n#include "noether.h"\n',
  ["src/cmd/main.c"] = "#include <lauxlib.h>\n",
  ["include/noether.h"] = "#include <stddef.h>\n",
  ["lua/noether/init.lua"] = 'local executor = require "noether.executor.local"\n',
  ["lua/noether/executor/local.lua"] = 'require("noether.sys")\nrequire"noether.run.task"\n',
  ["lua/noether/run/task.lua"] = 'require "noether.error"\n',
  ["lua/noether/error.lua"] = "-- require 'noether.sys' would be wrong\n",
  ["lua/noether/sys.lua"] = "require 'noether.core'\nrequire 'noether.compat'\n",
  ["lua/noether/json.lua"] = 'require "cjson"\n',
  ["lua/noether/compat.lua"] = "return {}\n",
  ["lua/noether/policy/languages/b.lua"] = "require 'noether.policy.languages.a'\n",
  ["lua/noether/policy/languages/a.lua"] = "require 'noether.resource'\n",
  ["lua/noether/resource.lua"] = "return {}\n",
  ["lua/noether/policy/pip.lua"] = 'require "lpeg"\nlocal js = [[\nrequire("fs")\n]]\n',
}

local REFUSED = {
  { "a core file that sees Lua", "src/core/b.c", "#include <lua.h>\n" },
  { "a core file that sees a binding", "src/core/b.c", '#include "../binding/b.h"\n',
    ["src/binding/b.h"] = "" },
  { "a jail file that sees a binding", "src/jail/b.c", '#include "binding/b.h"\n',
    ["src/binding/b.h"] = "" },
  { "a jail file that sees the core", "src/jail/b.c", '#include "../core/a.h"\n' },
  { "a binding that sees the jail", "src/binding/b.c", '#include "jail/jail.h"\n',
    ["src/jail/jail.h"] = "" },
  { "an installed header that sees another", "include/b.h", '#include "core/a.h"\n' },
  { "a C file without a place", "src/b.c", "\n" },
  { "a module that requires the one above", "lua/noether/stage/stage.lua",
    "\n\nrequire 'noether.executor.local'", line = 3 },
  { "a module that requires the core past its doors", "lua/noether/cache/scripts.lua",
    "require 'noether.core'" },
  { "a policy that requires a leaf", "lua/noether/policy/errors.lua",
    "local e = require 'noether.error'" },
  { "a policy that requires another policy", "lua/noether/policy/languages/python.lua",
    "require 'noether.policy.pip'" },
  { "a leaf that requires a leaf", "lua/noether/inspect.lua", "require 'noether.error'" },
  { "lpeg outside of the policies", "lua/noether/stage/stage.lua", "require 'lpeg'" },
  { "cjson past the json module", "lua/noether/stage/stage.lua", "require 'cjson'" },
  { "a library that the project does not use", "lua/noether/stage/stage.lua", "require 'socket'" },
  { "a module without a layer", "lua/noether/other.lua", "return {}" },
  { "a module that requires the whole", "lua/noether/stage/stage.lua", "require 'noether'" },
  { "a circle", "lua/noether/stage/stage.lua", "require 'noether.stage.input'",
    line = "lua/noether:1:", ["lua/noether/stage/input.lua"] = "require 'noether.stage.stage'" },
}

local function with_allowed(files)
  local all = {}
  for path, text in pairs(ALLOWED) do all[path] = text end
  for path, text in pairs(files) do all[path] = text end
  return all
end

describe("check-layers", function()
  it("accepts this project", function()
    local output, code = helper.shell(("cd %s && %s tools/test/check-layers.lua ."):format(
      helper.quote(helper.root), helper.quote(helper.lua)))
    assert.same({ "", 0 }, { output, code })
  end)

  it("accepts what points down", function()
    assert.same({ "", 0 }, { check(ALLOWED) })
  end)

  for _, case in ipairs(REFUSED) do
    it("refuses " .. case[1], function()
      local files = { [case[2]] = case[3] }
      for path, text in pairs(case) do
        if type(path) == "string" and path:find "/" then files[path] = text end
      end
      local output, code = check(with_allowed(files))
      local place = case.line
      if type(place) ~= "string" then place = ("%s:%d:"):format(case[2], place or 1) end
      assert.equal(place, output:sub(1, #place))
      assert.equal(1, select(2, output:gsub("\n", "")), output)
      assert.equal(1, code)
    end)
  end

  it("refuses a row that is too long to be read at a glance", function()
    local tool = helper.read(helper.root .. "/tools/test/check-layers.lua")
    local own = helper.tmpdir() .. "/check-layers.lua"
    local row = '{ "a", "b", "c", "d", "e", "f", "g", "h", "i" },'
    helper.write(own, (tool:gsub("local LAYERS = {\n", "%0  " .. row .. "\n", 1)))
    local output, code = helper.shell(("%s %s %s"):format(helper.quote(helper.lua), own,
      helper.quote(helper.root)))
    assert.truthy(output:find("layer 1 names 9 modules", 1, true), output)
    assert.equal(1, code)
  end)
end)
