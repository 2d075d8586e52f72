-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"

local FILES = {
  ["script.lua"] = [[
print("script", ...)
for i = -4, 4 do io.write(tostring(arg[i]), " ") end
print()
]],
  ["shebang.lua"] = "#!/usr/bin/env lua\nprint('shebang', ...)\nreturn 5\n",
  ["syntax.lua"] = "local x = = 1\n",
  ["error.lua"] = "local function f() error('boom') end\nf()\n",
  ["table.lua"] = "error({ code = 2 })\n",
  ["module.lua"] = "return { name = ... }\n",
  ["only_shebang.lua"] = "#!/usr/bin/env lua",
  ["bom.lua"] = "\239\187\191#!/usr/bin/env lua\nprint('bom')\n",
  ["directory/x.lua"] = "",
  ["chunk.luac"] = string.dump(load("print('compiled', ...)")),
}

-- Command lines, after the interpreter; what both write and how they end must
-- be the same.
local LINES = {
  "-v | head -1", "-v -e 'print(2)' | sed -n '$p'", "-e 'print(1)'", "-e", "-e -x", "-l", "-x",
  "--x", "-vv", "-i-", "-Ex", "-", "''", "</dev/null", "<script.lua", "- a b <script.lua",
  [[-e 'error("x")']], [[-e 'error{}']], "-e 'error()'", "-e 'error(nil)'",
  [[-e 'error(setmetatable({}, { __tostring = function() return "object" end }))']],
  "-e 'os.exit(3)'", "-e 'os.exit(false)'", "-e 'os.exit(true, true)'", "-e 'local x ='",
  "-e 'goto x'", "-e ''", "-e 'print(#arg, arg[0], arg[-1], arg[-2])'", "-e 'print(...)' x",
  "missing.lua", "script.lua a b c", "-e 'x = 1' script.lua a", "-- script.lua a", "-- -- a",
  "-E script.lua -e x", "-ex=1 script.lua", "-lstring script.lua", "shebang.lua q",
  "syntax.lua", "error.lua", "table.lua", "chunk.luac a", "-l missing 2>&1 | head -1",
  "-l s=string -e 'print(s == string)'", "-l nothing.=string", "-lmath -e 'print(math.pi)'",
  "-W -e 'warn(\"careful\")'", "-e 'warn(\"careful\")'", "-W -e 'warn(\"@off\")'",
  "-e 'arg = nil' script.lua", "-e 'arg = { 1, 2, 3 }' script.lua",
  [[-e 'coroutine.wrap(function() error("inside") end)()']],
  [[-e 'setmetatable(_G, { __gc = function() print("closed") end })']],
  [[-e 'local x <close> = setmetatable({}, { __close = print }) error("y", 0)' 2>&1 | tail -4]],
  "-e 'print(collectgarbage(\"incremental\"))'", "-e 'print(_VERSION, LUA_INIT)'",
  [[-e 'print(package.config, #package.searchers)']], "-e 'os.exit(256 + 3)'",
  "-e 'os.exit(\"x\")'", "-e 'os.exit(true)' -e 'print(1)'",
  "-e 'print(1)' -e 'x x' -e 'print(2)'",
  "only_shebang.lua", "bom.lua", "-e 'print(1)' -", "- <shebang.lua", "<syntax.lua", "<error.lua",
  "-l x=y=z", "-e 'print(arg[-3], arg[-2])' -- script.lua",
  "script.lua -i", "script.lua --", "-- -", "-e", "-e ''", "-W", "-Wx", "-E -E -v | head -1", "-h",
  "-e 'warn(\"@on\") warn(\"a\", \"b\")'", [[-e 'error("m", 0)']], [[-e 'error("m", 2)']],
  [[-e 'error(12)']], "-e 'local t <const> = 1; t = 2'", "-e 'print(select(\"#\", ...))'",
  [[-e 'setmetatable({}, { __gc = function() error("gc") end }) collectgarbage()']],
  [[-W -e 'setmetatable({}, { __gc = function() error("gc") end }) collectgarbage()']],
  "-e 'print(1)' >&-", "-e 'print(1)' >/dev/full", "-e 'assert(io.write(1))' >&-",
  "-e 'io.stdout:write(io.read(\"a\"))' <script.lua",
  "-e 'print(io.read(\"n\", \"l\"))' <module.lua",
  "-i -e 'os.exit(4)' >/dev/null", "-i error.lua </dev/null 2>&1 | tail -n +2 | grep -v noether",
  "-e 'for i = 1, 1e5 do print(i) end' | head -1", "directory", "unreadable/x.lua",
  "-e 'for i = 1, 1e5 do print(i) end' 2>&1 | { read x; echo $x; }",
  "-e 'os.execute(\"kill -TERM $PPID\")'", "-e 'string.rep(\"x\", -1):foo()'",
  [[-e 'load("x = ", "=chunk")()']], [[-e 'require "no.such.module"' 2>&1 | head -1]],
}

local INITS = {
  [[LUA_INIT='print("init")']], "LUA_INIT=@script.lua", [[LUA_INIT='error("init")']],
  "LUA_INIT_5_4='print(54)' LUA_INIT='print(0)'", "LUA_INIT=@missing", "LUA_INIT='x x'",
  "LUA_INIT=", "LUA_INIT='os.exit(9)'", "LUA_INIT='arg[1] = 7 print(arg[0])'",
  "LUA_INIT_5_4=@script.lua LUA_INIT='print(0)'", "LUA_INIT_5_4= LUA_INIT='print(0)'",
  "LUA_INIT=@syntax.lua", "LUA_INIT='local x = ... print(x)'",
}

-- Values of LUA_PATH and LUA_CPATH, for which both must have the same path, but for what lies in
-- the current directory and was not asked for.
local PATHS = {
  "", ";;", ";", "/a/?.lua", "/a/?.lua;;", ";;/a/?.lua", "/a/?.lua;;/b/?.lua", ";;;;", "/a;;/b;;/c",
  "/a;", "relative/?.lua;;",
}

describe("noether-lua", function()
  local directory

  setup(function()
    directory = helper.tmpdir()
    for name, text in pairs(FILES) do helper.write(directory .. "/" .. name, text) end
    -- Both under one name: what they say begins with it.
    helper.shell(("cd %s && mkdir ours theirs && ln -s %s ours/lua && " ..
      "ln -s $(command -v lua5.4) theirs/lua"):format(directory, helper.quote(helper.lua)))
  end)

  local function run(line, environment, which)
    local path = directory .. "/" .. (which or "ours") .. ":" .. os.getenv "PATH"
    local output, code = helper.shell(("cd %s; PATH=%s; %s lua %s"):format(directory,
      helper.quote(path), environment or "", line))
    -- Where lua looks for modules and we do not.
    output = output:gsub("0x%x+", "0x"):gsub("\n\tno file '%./[^\n]*", "")
    return { output = output, code = code }
  end

  describe("takes what lua takes:", function()
    for _, line in ipairs(LINES) do
      it("lua " .. line, function()
        assert.same(run(line, "", "theirs"), run(line))
      end)
    end

    for _, init in ipairs(INITS) do
      for _, line in ipairs { "-e 'print(1)'", "-E -e 'print(1)'", "script.lua a" } do
        it(init .. " lua " .. line, function()
          assert.same(run(line, init, "theirs"), run(line, init))
        end)
      end
    end
  end)

  it("says which noether it is, after its Lua", function()
    assert.matches("^Lua 5%.4[^\n]+\nnoether %d+%.%d+%.%d+\n$", run("-v").output)
  end)

  describe("its prompt", function()
    local function converse(text)
      helper.write(directory .. "/typed", text)
      return (run("-i <typed 2>&1").output:gsub("^Lua.-\nnoether.-\n", ""))
    end

    it("prints the values of expressions, '=' or not", function()
      assert.equal("> 2\n> 3\tx\n> > \n", converse "1 + 1\n= 3, 'x'\nlocal y = 2\n")
    end)

    it("takes statements over several lines", function()
      assert.equal("> >> >> 1\n2\n> \n", converse "for i = 1, 2 do\nprint(i)\nend\n")
    end)

    it("takes expressions over several lines, '=' or not", function()
      assert.equal("> >> 3\n> >> >> 5\n> \n", converse "= 1 +\n2\nmath.max(\n5\n)\n")
    end)

    it("takes lines longer than a buffer", function()
      local text = ("x"):rep(100000)
      assert.equal("> 100000\n> \n", converse("#'" .. text .. "'\n"))
    end)

    it("goes on after an error, and says it without a name", function()
      local output = converse "error('boom')\n1\nx = = 2\n2\n"
      assert.matches("^> stdin:1: boom\nstack traceback:\n", output)
      assert.matches("\n> 1\n> stdin:1: unexpected symbol near '='\n> 2\n> \n$", output)
    end)

    it("says that input ended in the middle", function()
      assert.matches("near <eof>\n> \n$", converse "for i = 1, 2 do\n")
    end)

    it("prompts with _PROMPT and _PROMPT2, and prints with print", function()
      local output = converse "_PROMPT, _PROMPT2 = 'a ', 'b '\ndo\nend\nprint = nil\n5\n"
      assert.matches("^> a b a a error calling 'print' %(", output)
    end)

    it("runs after the script, with -i", function()
      helper.write(directory .. "/typed", "x\n")
      assert.matches("> 7\n> \n$", run("-i -e 'x = 7' <typed").output)
    end)
  end)

  describe("its search path", function()
    it("leaves out the current directory", function()
      assert.equal(1, run("-e 'require \"module\"'").code)
      local paths = run("-e 'print(package.path .. \";\" .. package.cpath)'").output
      assert.is_nil((";" .. paths):find(";./", 1, true), paths)
    end)

    it("is as the environment says", function()
      assert.equal("module\n",
        run("-e 'print(require(\"module\").name)'", "LUA_PATH='./?.lua'").output)
      assert.equal("/a/?.lua\t/b/?.so\n", run("-e 'print(package.path, package.cpath)'",
        "LUA_PATH='/a/?.lua' LUA_CPATH='/b/?.so'").output)
      assert.equal("/a/?.lua\n", run("-e 'print(package.path)'",
        "LUA_PATH_5_4='/a/?.lua' LUA_PATH='/b/?.lua'").output)
    end)

    it("has the default in place of ';;'", function()
      local standard = run("-e 'io.write(package.path)'").output
      for value, expected in pairs {
        [";;"] = standard,
        ["/a/?.lua;;"] = "/a/?.lua;" .. standard,
        [";;/a/?.lua"] = standard .. ";/a/?.lua",
        ["/a;;/b"] = "/a;" .. standard .. ";/b",
      } do
        assert.equal(expected, run("-e 'io.write(package.path)'",
          ("LUA_PATH='%s'"):format(value)).output)
      end
    end)

    for _, value in ipairs(PATHS) do
      it(("is that of lua for '%s'"):format(value), function()
        for name, field in pairs{ LUA_PATH = "path", LUA_CPATH = "cpath", LUA_PATH_5_4 = "path" } do
          local line = ("-e 'io.write(\";\", package.%s)'"):format(field)
          local given = ("%s='%s'"):format(name, value)
          local theirs = run(line, given, "theirs").output
          assert.equal(theirs:gsub(";%./[^;]*", ""), (run(line, given).output))
        end
      end)
    end

    it("ignores the environment with -E", function()
      assert.equal(run("-e 'print(package.path)'").output,
        run("-E -e 'print(package.path)'", "LUA_PATH=/a").output)
    end)
  end)

  describe("alone in an empty directory", function()
    local alone

    before_each(function()
      alone = helper.tmpdir()
      helper.shell(("cp %s %s/lua"):format(helper.quote(helper.lua), alone))
    end)

    local function run_alone(code)
      return (helper.shell(("cd %s && env -i ./lua -e %s"):format(alone, helper.quote(code))))
    end

    it("has all that it needs inside", function()
      assert.equal("true\n", run_alone [[
        package.path, package.cpath = "", ""
        print(require "noether.json" ~= nil and require "noether.core" ~= nil and
          require "cjson.safe" ~= nil and require "lpeg" ~= nil)]])
    end)

    it("names file, line and variables of what is inside", function()
      assert.matches("^noether/tables%.lua:%d+: .*\nmap\n$", run_alone [[
        local sorted_names = require "noether.tables".sorted_names
        print(select(2, pcall(sorted_names, nil)))
        print(debug.getlocal(sorted_names, 1))]])
    end)

    it("prefers what is inside to files of the same name", function()
      helper.write(alone .. "/noether/json.lua", "error 'wrong one'")
      assert.equal("true\n", run_alone [[
        package.path = "./?.lua"
        print(type(require "noether.json".decode) == "function")]])
    end)

    it("needs no library but libc's", function()
      local output = helper.shell("readelf -d " .. helper.quote(helper.lua))
      for library in output:gmatch "NEEDED%)%s+Shared library: %[([^%]]+)" do
        local known = library:match "^libc%.so" or library:match "^libm%.so" or
          library:match "^ld%-linux"
        assert.is_truthy(known or helper.sanitized, library)
      end
      assert.matches("libc%.so", output)
    end)
  end)

  describe("called noether", function()
    local function run_noether(name, rest)
      return helper.shell(("cd %s && ln -sf %s %s && %s"):format(directory,
        helper.quote(helper.lua), name, rest))
    end

    it("is the command, whatever the environment tells interpreters", function()
      local output, code = run_noether("noether",
        "LUA_INIT='os.exit(77)' LUA_PATH=./?.lua ./noether --version")
      assert.not_equal(77, code)
      assert.falsy(output:find("unrecognized option", 1, true), output)
    end)

    it("is the interpreter under any other name", function()
      assert.equal("2\n", (run_noether("xnoether", "./xnoether -e 'print(2)'")))
    end)
  end)

  it("lets C modules use its Lua", function()
    assert.equal("directory\n", run [[-e 'print(require("lfs").attributes(".", "mode"))']].output)
  end)

  it("is interrupted by SIGINT", function()
    helper.write(directory .. "/loop.lua", [[
      local pid = io.open("/proc/self/stat"):read "n"
      local file = io.open("pid", "w")
      file:write(pid, "\n"):close()
      while true do end]])
    -- By env: a shell may start what is in a pipe with SIGINT ignored.
    local pipe = io.popen(("cd %s && env --default-signal=INT %s loop.lua 2>&1"):format(directory,
      helper.quote(helper.lua)))
    local pid = helper.poll(function()
      local file = io.open(directory .. "/pid")
      local line = file and file:read "l"
      if file then file:close() end
      return line
    end)
    os.execute("kill -INT " .. pid)
    local output = pipe:read "a"
    local _, how, code = pipe:close()
    assert.matches("interrupted!\nstack traceback:\n\tloop.lua:4: in main chunk", output)
    assert.same({ "exit", 1 }, { how, code })
  end)
end)
