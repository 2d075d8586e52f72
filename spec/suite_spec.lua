-- SPDX-License-Identifier: MIT
--- What `make test` does with the specs, tried on projects of a few lines (tools/test/suite.lua).
local helper = require "spec.support.helper"
local core = require "noether.core"

local build = helper.lua:match "^(.*)/bin/[^/]*$"

-- A project with these files, that has the tools, the library and the build of this one.
local function project(files)
  local root = helper.tmpdir()
  for _, name in ipairs{ "tools", "lua", ".busted" } do
    helper.shell(("ln -s %s/%s %s"):format(helper.quote(helper.root), name, root))
  end
  helper.write(root .. "/spec/c/.keep", "")
  helper.write(root .. "/build/spec/.keep", "")
  helper.shell(("ln -s %s/spec/support %s/spec"):format(helper.quote(helper.root), root))
  for _, part in ipairs{ "bin", "lib", "spec/support" } do
    helper.shell(("ln -s %s/%s %s/build/%s"):format(helper.quote(build), part, root, part))
  end
  for path, text in pairs(files) do
    helper.write(root .. "/" .. path, path:find "^build/spec/c/" and "#!/bin/sh\n" .. text or text)
  end
  helper.shell(("chmod -R +x %s/build/spec/c"):format(root))
  return root
end

-- What the suite says of it, and its exit code.
local function suite(root, variables)
  helper.shell(("mkdir -p %s/work/own"):format(root))
  local unset = "-u SPEC_EVENTS -u SPEC_SHARE -u SPEC_OVER -u SPEC_WEEK -u SPEC_ONLY "
    .. "-u SUITE_RECORD -u SPEC_SANITIZED -u CI"
  return helper.shell(("cd %s && env %s SPEC_JOBS=3 %s lua5.4 tools/test/suite.lua build work")
    :format(root, unset, variables or ""))
end

local function run(files, variables)
  return suite(project(files), variables)
end

local user = helper.is_root() and "root" or "user"

local function position(output, text)
  return assert(output:find(text, 1, true), ("'%s' is not in:\n%s"):format(text, output))
end

-- What is in no other command line.
local MARK = ("1234.%d"):format(core.getpid())

local function is_running(command)
  for _, pid in ipairs(helper.list "/proc") do
    local file = pid:find "^%d" and io.open("/proc/" .. pid .. "/cmdline")
    local line = file and file:read "a" or ""
    if file then file:close() end
    if line:find(command, 1, true) then return true end
  end
  return false
end

local GOOD = 'it("is good", function() assert.is_true(true) end)\n'

describe("the suite", function()
  it("counts what passed, failed and was skipped", function()
    local output, code = run{
      ["spec/a_spec.lua"] = GOOD .. 'it("is bad", function() assert.equal(1, 2) end)\n',
      ["spec/deep/b_spec.lua"] = GOOD .. 'pending("is not there")\n',
    }
    assert.matches("\n2 passed, 1 failed, 1 skipped\n$", output)
    assert.equal(1, code)
    assert.matches("a_spec.lua +[%d.]+ s  1 passed, 1 failed\n", output)
    assert.matches("b_spec.lua +[%d.]+ s  1 passed, 1 skipped\n", output)
    output, code = run{ ["spec/a_spec.lua"] = GOOD }
    assert.matches("\n1 passed, 0 failed, 0 skipped\n$", output)
    assert.equal(0, code)
  end)

  it("takes a skip for a failure in CI", function()
    local output, code = run({ ["spec/a_spec.lua"] = GOOD .. 'pending("x")\n' }, "CI=true")
    assert.matches("\n1 passed, 1 failed, 1 skipped\n$", output)
    assert.equal(1, code)
  end)

  it("tries what failed again, alone, and says so where it passes then", function()
    local once = [[
      local path = require "spec.support.helper".root .. "/work/tried%s"
      it("fails once", function()
        local tried = io.open(path)
        io.open(path, "w"):close()
        assert.truthy(tried)
      end)
    ]]
    local output, code = run{
      ["spec/a_spec.lua"] = once:format "a", ["spec/b_spec.lua"] = GOOD,
      ["spec/c_spec.lua"] = 'it("is bad", function() assert.equal(1, 2) end)\n',
    }
    assert.matches("\n2 passed, 1 failed, 0 skipped\n$", output)
    assert.equal(1, code)
    position(output, "unsteady (passed when it was alone) as " .. user
      .. ": spec/a_spec.lua:2: fails once")
    position(output, ("failed as %s: spec/c_spec.lua:1: is bad\n"):format(user))
    assert.is_nil(output:find(("failed as %s: spec/a_spec.lua"):format(user), 1, true))
    local many = {}
    for name in ("abcdefg"):gmatch "." do
      many[("spec/%s_spec.lua"):format(name)] = once:format(name)
    end
    output = run(many)
    assert.matches("\n0 passed, 7 failed, 0 skipped\n$", output)
  end)

  it("fails where there is nothing", function()
    local output, code = run{}
    assert.matches("\n0 passed, 0 failed, 0 skipped\n$", output)
    assert.equal(1, code)
  end)

  it("names what fails when it fails, tells of it after its file, and again at the end", function()
    local output = run({
      ["spec/a_spec.lua"] = 'it("is bad", function() assert.equal("this", "that") end)\n',
      ["spec/b_spec.lua"] = GOOD,
    }, "SPEC_JOBS=1")
    local named = position(output, ("FAILED as %s: spec/a_spec.lua:1: is bad\n"):format(user))
    local over = position(output, "] " .. user .. " spec/a_spec.lua")
    local told = position(output, "Passed in:\n(string) 'that'")
    local again = position(output, ("failed as %s: spec/a_spec.lua:1: is bad\n"):format(user))
    assert.is_true(named < over and over < told and told < again, output)
    assert.is_true(position(output, "spec/b_spec.lua") < again, output)
  end)

  it("names a test in which nothing happens, and what it runs, and goes on", function()
    local output, code = run({
      ["spec/a_spec.lua"] = ('it("hangs", function() os.execute "sleep %s" end)\n'):format(MARK),
      ["spec/b_spec.lua"] = GOOD,
    }, "SPEC_STALL_SECS=10")
    position(output, "spec/a_spec.lua:1: hangs: nothing happened for 10 s")
    position(output, "sleep " .. MARK)
    assert.matches("\n1 passed, 1 failed, 0 skipped\n$", output)
    assert.equal(1, code)
    assert.is_true(helper.poll(function() return not is_running("sleep\0" .. MARK) end))
  end)

  it("fails a file whose specs end without having come to their end, and goes on", function()
    local output, code = run{
      ["spec/a_spec.lua"] = GOOD .. 'it("ends all", function() os.exit(0) end)\n',
      ["spec/b_spec.lua"] = GOOD,
      ["spec/c_spec.lua"] = GOOD .. 'it("dies", function() os.execute "kill -9 $PPID" end)\n',
    }
    position(output, "spec/a_spec.lua:2: ends all: the specs ended with exit code 0")
    position(output, "spec/c_spec.lua:2: dies: the specs ended with exit code 137")
    assert.matches("\n3 passed, 2 failed, 0 skipped\n$", output)
    assert.equal(1, code)
  end)

  it("fails a file that cannot be read, and one whose setup fails", function()
    local output, code = run{
      ["spec/a_spec.lua"] = "it(\n",
      ["spec/b_spec.lua"] = 'setup(function() error "no" end)\n' .. GOOD,
    }
    assert.matches("\n0 passed, 2 failed, 0 skipped\n$", output)
    assert.equal(1, code)
  end)

  it("reads what C tests say, and fails those that die", function()
    local output, code = run{
      ["spec/c/a_test.c"] = "", ["build/spec/c/a_test"] = "echo ok 1 - fine\n",
      ["spec/c/b_test.c"] = "", ["build/spec/c/b_test"] = "echo 'not ok 1 - bad'\nexit 1\n",
      ["spec/c/c_test.c"] = "", ["build/spec/c/c_test"] = "echo ok 1 - so\nkill -9 $$\n",
    }
    position(output, "spec/c/b_test.c: not ok 1 - bad")
    position(output, "spec/c/c_test.c ended with exit code 137")
    assert.matches("\n2 passed, 2 failed, 0 skipped\n$", output)
    assert.equal(1, code)
  end)

  it("runs files side by side, and keeps how long each took", function()
    local meet = [[
      local helper = require "spec.support.helper"
      it("meets the other", function()
        helper.write(helper.root .. "/here.%s", "")
        assert.is_true(helper.poll(function()
          return require "lfs".attributes(helper.root .. "/here.%s", "mode") == "file"
        end, 60))
      end)
    ]]
    local root = project{
      ["spec/a_spec.lua"] = meet:format("a", "b"), ["spec/b_spec.lua"] = meet:format("b", "a"),
      ["build/spec/times"] = ("ROOT\t9\tspec/a_spec.lua\nROOT\t8\tspec/b_spec.lua\n")
        :gsub("ROOT", user),
    }
    assert.matches("\n2 passed, 0 failed, 0 skipped\n$", suite(root))
    assert.matches("^ROOT\t%d+%.%d\tspec/a_spec.lua\nROOT\t%d+%.%d\tspec/b_spec.lua\n$",
      (helper.read(root .. "/build/spec/times"):gsub(user, "ROOT")))
  end)
end)

describe("helper.over", function()
  local SPEC = [[
    local helper = require "spec.support.helper"
    local axes = { backends = { "native", "bwrap", "none" }, always = { "is always there" } }
    helper.over(axes, "under %s", function(backend)
      it("is said", function() print("said", backend) end)
      it("names " .. backend, function() print("named", backend) end)
      it("is always there", function() print("always", backend) end)
      describe("inside", function()
        it("is deep", function() print("deep", backend) end)
        if backend == "bwrap" then it("is for one", function() print("one", backend) end) end
      end)
    end)
    it("comes after", function() print("after", "all") end)
  ]]

  -- Which backends each test saw: { said = "native", ... }.
  local function seen(variables)
    local path = helper.write(helper.tmpdir() .. "/x_spec.lua", SPEC)
    local output, code = helper.shell(("cd %s && env -u SPEC_EVENTS %s tools/test/spec.sh %s %s")
      :format(helper.quote(helper.root), variables, helper.quote(build), path))
    assert.equal(0, code, output)
    local words = {}
    for word, backend in output:gmatch "(%l+)\t(%l+)" do
      words[word] = (words[word] and words[word] .. " " or "") .. backend
    end
    return words
  end

  it("runs each test over one, which its name and the week choose, and some over all", function()
    local choices, apart = {}, false
    for week = 1, 12 do
      local words = seen("SPEC_OVER=one SPEC_WEEK=2026-W" .. week)
      for _, word in ipairs{ "said", "named", "deep" } do
        assert.truthy((" native bwrap none "):find(" " .. words[word] .. " ", 1, true))
        choices[word .. " " .. words[word]] = true
        apart = apart or words[word] ~= words.said
      end
      assert.equal("native bwrap none", words.always)
      assert.equal("bwrap", words.one)
      assert.equal("all", words.after)
    end
    assert.is_true(apart)
    local count = 0
    for _ in pairs(choices) do count = count + 1 end
    assert.equal(9, count)
  end)

  it("runs all over all unless it is told to choose", function()
    local words = seen "-u SPEC_OVER"
    local all = "native bwrap none"
    assert.same({ said = all, named = all, deep = all, always = all, one = "bwrap", after = "all" },
      words)
  end)

  it("has two users share the tests of a file, but for those that each shall run", function()
    local root = project{ ["spec/cli/x_spec.lua"] = [[
      local helper = require "spec.support.helper"
      describe("a group", function()
        for number = 1, 12 do it("shares " .. number, function() print("shared", number) end) end
        helper.for_each_user(function() it("is both's", function() print("both", 0) end) end)
      end)
      helper.over({ backends = { "native", "none" } }, "under %s", function(backend)
        for number = 13, 24 do it("shares " .. number, function() print("shared", number) end) end
      end)
    ]] }
    local runs, both = {}, 0
    for half = 1, 2 do
      local output, code = helper.shell(("cd %s && env -u SPEC_EVENTS SPEC_OVER=one SPEC_SHARE=%d "
        .. "SPEC_WEEK=2026-W01%s tools/test/spec.sh build spec/cli/x_spec.lua"):format(root, half,
        half == 2 and "+" or ""))
      assert.equal(0, code, output)
      for word, number in output:gmatch "(%l+)\t(%d+)" do
        if word == "both" then both = both + 1 else table.insert(runs, tonumber(number)) end
      end
      if half == 1 then assert.is_true(#runs > 0 and #runs < 24, output) end
    end
    table.sort(runs)
    for number = 1, 24 do assert.equal(number, runs[number]) end
    assert.same({ 24, 2 }, { #runs, both })
  end)

  it("refuses to be nested, and names that are not there", function()
    for _, case in ipairs{
      { [[helper.over({ backends = { "a" } }, "%s", function()
            helper.over({ starts = { "b" } }, "%s", function() end)
          end)]], "say all axes in one call" },
      { [[helper.over({ backends = { "a" }, always = { "no" } }, "%s", function() end)]],
        "there is no test no" },
      { [[helper.over({ backend = { "a" } }, "%s", function() end)]], "what is backend" },
    } do
      local path = helper.write(helper.tmpdir() .. "/x_spec.lua",
        'local helper = require "spec.support.helper"\n' .. case[1])
      local output, code = helper.shell(("cd %s && env -u SPEC_EVENTS tools/test/spec.sh %s %s")
        :format(helper.quote(helper.root), helper.quote(build), path))
      position(output, case[2])
      assert.equal(1, code)
    end
  end)
end)

-- spec/support/times.tsv, which SUITE_RECORD=1 make test writes.
describe("the suite's own time", function()
  local secs, count = {}, 0
  for who, number, name in helper.read(helper.root .. "/spec/support/times.tsv")
    :gmatch "(%S+)\t([%d.]+)\t([^\n]+)\n" do
    secs[who .. " " .. name] = tonumber(number)
    count = count + 1
  end

  it("is 12 minutes of a processor at most: on two that are free, far less by the clock", function()
    assert.is_true(secs["all processors"] <= 12 * 60)
  end)

  it("is not that of one file, which nothing could run beside", function()
    for name, one in pairs(secs) do
      assert.is_true(name:find "^all " ~= nil or one <= 5 * 60, name)
    end
  end)

  it("was recorded with most of the specs that there are", function()
    local missing, all = {}, 0
    local files = helper.shell(("cd %s && find spec -name '*_spec.lua'"):format(
      helper.quote(helper.root)))
    for path in files:gmatch "[^\n]+" do
      all = all + 1
      if not secs["root " .. path] then missing[#missing + 1] = path end
    end
    assert.is_true(count > 150 and all > 90)
    assert.is_true(#missing <= all / 4, table.concat(missing, " "))
  end)
end)
