-- SPDX-License-Identifier: MIT
--- Help, version, manual, and command lines that are wrong; and standard output that is gone.
local helper = require "spec.support.helper"
local checks = require "noether.report.doctor.checks"
local cli = require "noether.cli"
local command = require "spec.cli.command"
local exits = require "noether.cli.exits"
local noether = require "noether"
local variables = require "noether.cli.variables"

local root = cli.root()

-- Calls fn with the words and the table of every verb.
local function each_verb(verb, words, fn)
  fn(words, verb)
  for _, below in ipairs(verb.verbs or {}) do
    local longer = { table.unpack(words) }
    longer[#longer + 1] = below.name
    each_verb(below, longer, fn)
  end
end

describe("noether", function()
  it("says its version", function()
    assert.equal(("noether %s\n"):format(noether.version), (command.succeed{ "--version" }))
  end)

  it("loads the one verb that is called, and of the library what that needs", function()
    local function loaded(...)
      local words = {}
      for i, word in ipairs{ ... } do words[i] = ("%q"):format(word) end
      local text = helper.shell(("%s -e %s"):format(helper.quote(helper.lua), helper.quote(([[
        local cli = require "noether.cli"
        io.stdout:setvbuf "full"
        cli.main{ [0] = "noether", %s }
        for name in pairs(package.loaded) do print("loaded " .. name) end
      ]]):format(table.concat(words, ", ")))))
      local names = {}
      for name in text:gmatch "loaded (%S+)" do names[name] = true end
      return names
    end
    local names = loaded("--version")
    assert.is_nil(names["noether.cli.run"])
    assert.is_nil(names["noether.executor.local"])
    assert.is_nil(names["argparse"])
    names = loaded("run", "--help")
    assert.is_true(names["noether.cli.run"])
    for _, name in ipairs{ "noether.cli.doctor", "noether.report.doctor",
      "noether.report.trace", "noether.report.trace.template" } do
      assert.is_nil(names[name], name)
    end
  end)

  each_verb(root, {}, function(words, verb)
    it(("explains itself: %s --help"):format(table.concat({ "noether", table.unpack(words) }, " ")),
      function()
        local all = { table.unpack(words) }
        all[#all + 1] = "--help"
        local out, err = command.succeed(all)
        assert.equal("", err)
        assert.truthy(out:find("^Usage: noether"), out)
        assert.truthy(verb.verbs and verb ~= root or out:find("\nExamples:\n   # ", 1, true))
        assert.truthy(out:find("\nExit codes:\n", 1, true))
        for _, option in ipairs(verb.options or {}) do
          assert.truthy(out:find(option.name, 1, true), option.name)
        end
        for line in out:gmatch("[^\n]+") do
          assert.truthy(#line <= 80, line)
        end
      end)
  end)

  it("explains a verb by 'help', too", function()
    assert.equal(command.succeed{ "store", "put", "--help" },
      (command.succeed{ "help", "store", "put" }))
    assert.equal(command.succeed{ "--help" }, (command.succeed{ "help" }))
    command.fail(2, { "help", "rnu" }, { "did you mean 'run'?" })
    command.fail(2, { "stroe", "--help" }, { "did you mean 'store'?" })
  end)

  for _, case in ipairs{
    { {}, "a verb is missing: completion, doctor, fleet, lock, mcp, plan" },
    { { "rnu" }, "unknown verb 'rnu' (did you mean 'run'?)" },
    { { "doktor" }, "unknown verb 'doktor' (did you mean 'doctor'?)" },
    { { "xyzzy" }, "unknown verb 'xyzzy'" },
    { { "--verson" }, "unknown option '--verson' (did you mean '--version'?)" },
    { { "store" }, "a verb is missing: list, put, remove, show" },
    { { "store", "lst" }, "unknown verb 'lst' (did you mean 'list'?)" },
    { { "run" }, "missing argument 'FILE|ID'" },
    { { "run", "a", "b" }, "more arguments than it takes" },
    { { "run", "a", "--inptu", "1" }, "unknown option '--inptu' (did you mean '--input'?)" },
    { { "run", "a", "--input" }, "option '--input' requires an argument" },
    { { "run", "a", "--json=yes" }, "option '--json' does not take arguments" },
    { { "doctor", "-x" }, "unknown option '-x'" },
    { { "policy", "check" }, "missing argument 'DIR'" },
  } do
    it(("says what is wrong: noether %s"):format(table.concat(case[1], " ")), function()
      local result = command.fail(2, case[1], { case[2], "noether: hint: '" })
      assert.equal("", result.out)
    end)
  end

  it("has a manual that says what the command says", function()
    local manual = helper.read(helper.root .. "/man/noether.1")
    assert.equal(helper.shell(("cd %s && %s tools/docs/man.lua"):format(helper.quote(helper.root),
      helper.quote(helper.lua))), manual, "run `make man`")
    for _, entry in ipairs(exits.TABLE) do
      assert.truthy(manual:find("\\fB" .. entry[1]:gsub("%-", "\\-"), 1, true), entry[1])
    end
  end)

  it("has the variables in its manual that doctor knows", function()
    local told = {}
    for _, entry in ipairs(variables.TABLE) do told[entry[1]] = true end
    for name in pairs(checks.VARIABLES) do assert.is_true(told[name], name) end
  end)

  it("explains the exit codes of each verb alone", function()
    local function codes(...)
      local text = command.succeed{ ... }:match("\nExit codes:\n(.*)")
      local found = {}
      for code in text:gmatch("   (%S+)  [^\n]+\n") do found[#found + 1] = code end
      return table.concat(found, " ")
    end
    assert.equal("0 1 2 124 125 130", codes("run", "--help"))
    assert.equal("0 1 2 125 130", codes("doctor", "--help"))
    assert.equal("0 2 125 130", codes("store", "put", "--help"))
    assert.equal("0 124 125 126 127 128+n 130", codes("sandbox", "--help"))
    assert.equal("0 1 2 124 125 126 127 128+n 130", codes("--help"))
  end)

  it("has its exit codes and verbs in docs/command.md", function()
    local page = helper.read(helper.root .. "/docs/command.md")
    for _, entry in ipairs(exits.TABLE) do
      assert.truthy(page:find(("\n| %s | "):format(entry[1]), 1, true), entry[1])
    end
    each_verb(root, { "noether" }, function(words)
      local line = table.concat(words, " ")
      assert.truthy(page:find(line, 1, true), line)
    end)
  end)
end)

describe("the standard output of noether", function()
  local function shell(line)
    return helper.shell(("set -f; n=%s; %s"):format(helper.quote(command.path), line))
  end

  it("may be closed at the other end", function()
    -- Ended by SIGPIPE like any program, or with its code where the signal is ignored.
    local output = shell("{ $n --help; echo $? >&2; } | true")
    assert.truthy(output == "141\n" or output == "0\n", output)
    output = shell("trap '' PIPE; { sleep 0.1; $n --help; echo $? >&2; } | true")
    assert.equal("141\n", output)
  end)

  it("may be read in part", function()
    local output, code = shell("$n doctor | head -n 1")
    assert.equal(("noether %s\n"):format(noether.version), output)
    assert.equal(0, code)
  end)

  it("may be closed, or full, and is then what the exit code says", function()
    for _, where in ipairs{ ">&-", ">/dev/full" } do
      local output, code = shell("$n --help " .. where)
      assert.equal(125, code, output)
      assert.truthy(output:find("^noether: error: cannot write the answer: "), output)
      assert.falsy(output:find("traceback", 1, true))
    end
  end)

  it("is nothing else, if it was closed, and neither are the others", function()
    local output = shell("$n sandbox --isolation none -- sh -c '"
      .. 'found=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo "$found" >&2\' <&- >&-')
    assert.equal("/dev/null\n/dev/null\n", output)
  end)

  it("never gets what belongs into a file", function()
    local store = helper.tmpdir() .. "/store"
    local output, code = shell(("printf 'execute() { :; }' >%s.sh; $n store put %s.sh --store %s "
      .. ">&- <&-"):format(store, store, store))
    assert.equal(125, code, output)
    assert.equal("execute() { :; }", (command.succeed({ "store", "show", "--code", "--store", store,
      helper.list(store)[1]:match("%x+") })))
  end)

  it("has colours on a terminal, and not with NO_COLOR", function()
    local function on_terminal(before)
      return (helper.shell(("%s script -qec %s /dev/null"):format(before,
        helper.quote(command.path .. " doctor"))))
    end
    assert.truthy(on_terminal("TERM=xterm"):find("\27[32mok", 1, true))
    assert.falsy(on_terminal("NO_COLOR=1 TERM=xterm"):find("\27", 1, true))
    assert.falsy(on_terminal("TERM=dumb"):find("\27", 1, true))
  end)
end)
