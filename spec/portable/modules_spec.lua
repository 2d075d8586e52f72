-- SPDX-License-Identifier: MIT
--- How the module itself is loaded.
local noether = require "noether"
local support = require "spec.portable.support"

local LUA = assert(os.getenv("SPEC_LUA"), "run the specs by `make spec` or tools/test/luas.sh")
local BUILD = assert(os.getenv("SPEC_BUILD"))
if LUA:find("/") and LUA:sub(1, 1) ~= "/" then LUA = os.getenv("PWD") .. "/" .. LUA end

-- What the interpreter that runs this prints, with a program, the same paths, and a command in
-- front of it.
local function lua(program, ...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath),
    program)
  file:close()
  local argv = { ... }
  argv[#argv + 1], argv[#argv + 2] = LUA, path
  local result = noether.check(noether.run(argv,
    { isolation = "none", env = { HOME = os.getenv("HOME") or "/tmp" }, timeout_secs = 60 }))
  os.remove(path)
  assert.equal("", result.stderr)
  return result.stdout
end

describe("in every Lua, the module", function()
  it("reads no global that is not there", function()
    assert.equal("42\n", lua [[
      setmetatable(_G, { __index = function(_, name) error("no global " .. tostring(name), 2) end })
      local noether = require "noether"
      noether.preload()
      local executor = noether.check(noether.executor{ timeout_secs = 60 })
      print(noether.check(executor:execute({
        language = "bash", code = "execute() { echo $(($1 * 2)); }", effects = {} }, 21)), nil)
      executor:close()
    ]]:gsub("\tnil", ""))
  end)

  it("makes no globals", function()
    assert.equal("none\n", lua [[
      local noether = require "noether"
      noether.preload()
      local seen = {}
      for name in pairs(_G) do
        if name == "noether" or name:find("^_?[a-z]+_") then seen[#seen + 1] = name end
      end
      print(#seen == 0 and "none" or table.concat(seen, " "))
    ]])
  end)

  local DOUBLES = [[
    local noether = require("noether")
    local stage = { language = "bash", code = "execute() { echo $(($1 * 2)); }", effects = {} }
    local output, err = noether.execute{
      language = stage.language, code = stage.code, effects = {}, input = 21, timeout_secs = 60,
    }
    print(output or err)
  ]]

  it("needs no package.loadlib", function()
    assert.equal("42\n", lua("package.loadlib = nil\n" .. DOUBLES))
  end)

  it("serves a script whose environment has neither io nor os", function()
    assert.equal("42\n", lua(([[
      local text, env = %q, { require = require, print = print }
      local chunk = setfenv and setfenv(loadstring(text), env) or load(text, "=script", "t", env)
      chunk()
    ]]):format(DOUBLES)))
  end)

  it("serves a host that can gain no privileges any more", function()
    assert.equal("42\n", lua(DOUBLES, "/usr/bin/setpriv", "--no-new-privs"))
  end)

  it("leaves nothing behind where a handler ends the program", function()
    local mark = support.mark()
    assert.equal("", lua(([[
      local noether = require("noether")
      noether.run({ "/bin/sh", "-c", "echo go; sleep 60; true", "%s" },
        { isolation = "none", on_stdout = function() os.exit(0) end })
    ]]):format(mark)))
    assert.is_true(support.poll(function() return support.count(mark) == 0 end))
  end)

  -- Of LuaJIT and 5.1 one is as good as the other.
  it("of another Lua says so, and names both", function()
    local own, tried = _VERSION:match("5%.%d"), 0
    for _, other in ipairs{ "5.1", "5.2", "5.3", "5.4", "5.5" } do
      local path = ("%s/lib/%s/noether/core.so"):format(BUILD, other)
      local open = other ~= own and package.loadlib(path, "luaopen_noether_core")
      if open then
        local ok, message = pcall(open)
        assert.is_false(ok)
        assert.truthy(message:find("built for Lua " .. other, 1, true), message)
        assert.truthy(message:find("this is Lua " .. own, 1, true), message)
        tried = tried + 1
      end
    end
    assert.is_true(tried > 0, "no module of another Lua was found: make luas")
  end)
end)
