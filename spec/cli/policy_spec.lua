-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local errors = require "noether.error"
local trial = require "noether.overrides.trial"

local EXAMPLES = helper.root .. "/examples/policies"

local function number_of_examples()
  return tonumber((helper.shell("find " .. helper.quote(EXAMPLES) .. " -name '*.lua' | wc -l")))
end

-- What is wrong with each, and what must be said of it.
local WRONG = {
  ["pip.lua"] = {
    { "return { allow = 'six' }", ":1: field 'allow': expected a list of strings, got string" },
    { "return {\n  check = 3,\n}", ":2: field 'check': expected a function, got number" },
    { "return {\n\n  alow = {},\n}", ":3: unknown field 'alow' (did you mean 'allow'?)" },
    { "return {\n  deny = {\n", "<eof>" },
    { "local x = os.time()\nreturn {}", ":1: attempt to index a nil value (global 'os')" },
    { "return nil", "expected it to return a table of fields, got nil" },
    { "return {\n  check = function() return 'yes' end,\n}",
      ":2: hook 'check' must return true, or nil and a reason" },
    { "return {\n  requirements = function()\n    error 'oh'\n  end,\n}",
      ":2: hook 'requirements' raised: " },
    { "return {\n  venv_argv = function() return {} end,\n}",
      ":2: hook 'venv_argv' must return a list of strings without NUL, the program first" },
    { "return {\n  install_argv = function() return 'pip' end,\n}",
      ":2: hook 'install_argv' must return a list of strings" },
    { "return {\n  requirements_file = function() end,\n}",
      ":2: hook 'requirements_file' must return a string" },
  },
  ["isolation.lua"] = {
    { "return {\n  describe = function() return 3 end,\n}", ":2: hook 'describe' must return" },
    { "return {\n  describe = function() return { rw_binds = { '/home' } } end,\n}",
      "field 'rw_binds[1]': no FsWrite effect names /home" },
    { "return {\n  describe = function() return { network = 'host' } end,\n}",
      "field 'network': no Network effect asks for 'host'" },
    { "return {\n  describe = function() return { ro_binds = { '/' } } end,\n}",
      "a bind of / is never allowed" },
  },
  ["errors.lua"] = {
    { "return {\n  classify = function() return 'timed_out', 'x' end,\n}",
      ":2: hook 'classify' must return a kind that source 'stage' may have, not 'timed_out'" },
  },
  ["packages.lua"] = {
    { "return {\n  detect = function() return 'numpy' end,\n}",
      ":2: hook 'detect' must return a list of strings" },
  },
  ["languages/ruby.lua"] = {
    { "return { names = { 'ruby' } }", "expected it to be set: a new language needs it" },
    { "return {\n  names = { 'ruby' }, extension = 'rb',\n"
      .. "  runtime = { programs = { 'ruby' }, probe = { '-e', '1' } },\n"
      .. "  wrap = function() return { files = {}, entry = 'x' } end,\n"
      .. "  argv = function() return {} end,\n}", ":4: hook 'wrap' must return" },
  },
  ["languages/python.lua"] = {
    { "return {\n  argv = function() return { 'python' } end,\n}",
      ":2: hook 'argv' must return a list of strings without NUL, the program's absolute path" },
    { "return { names = { 'py', 'js' } }", "both answer to 'js'" },
  },
}

describe("noether policy check", function()
  for file, cases in pairs(WRONG) do
    for i, case in ipairs(cases) do
      it(("finds what is wrong with %s (%d)"):format(file, i), function()
        local dir = command.directory{ [file] = case[1] }
        local result = command.fail(1, { "policy", "check", dir }, { case[2], "[policy_error]" })
        assert.equal(("wrong  %s/%s\n"):format(dir, file), result.out)
        assert.truthy(result.err:find(case[2]:find("hook") and dir or "policy", 1, true))
      end)
    end
  end

  it("tries every file, whatever is wrong with another", function()
    local dir = command.directory{ ["pip.lua"] = "return 3", ["errors.lua"] = "return {}" }
    local result = command.fail(1, { "policy", "check", dir }, { "pip.lua" })
    assert.equal(("ok     %s/errors.lua\nwrong  %s/pip.lua\n"):format(dir, dir), result.out)
  end)

  it("offers the name that a misspelt file was meant to have", function()
    local dir = command.directory{ ["pips.lua"] = "return {}" }
    command.fail(125, { "policy", "check", dir },
      { "unknown policy 'pips' (did you mean 'pip'?)" })
    command.fail(125, { "policy", "check", "/nowhere" }, { "/nowhere", "No such file" })
  end)

  it("takes what is granted into account", function()
    local dir = command.directory{
      ["isolation.lua"] = "return { describe = function() return { rw_binds = { '/d' } } end }",
    }
    command.fail(1, { "policy", "check", dir }, { "no FsWrite effect names /d" })
    command.succeed{ "policy", "check", dir, "--grant", "/d" }
  end)

  it("warns of an empty directory", function()
    local _, err = command.succeed{ "policy", "check", helper.tmpdir() }
    assert.truthy(err:find("there is no policy file", 1, true))
  end)

  it("is there for programs, too", function()
    local found = assert(trial.directory(EXAMPLES))
    assert.equal(number_of_examples(), #found)
    for _, item in ipairs(found) do assert.is_nil(item.err) end
    local list, err = trial.directory("/nowhere")
    assert.is_nil(list)
    assert.is_true(errors.is(err))
  end)
end)

describe("noether policy show", function()
  it("shows each field and where it comes from", function()
    local out = command.succeed{ "policy", "show", "pip" }
    assert.truthy(out:find("^pip\n  allow = nil  %-%- not set\n  check = %(function%)  "
      .. "%-%- built%-in\n"), out)
    out = command.succeed({ "policy", "show", "pip" }, { env = { NOETHER_POLICY_PATH = EXAMPLES } })
    local allow = 'allow = { "six", "numpy==1.26.4", "python-dateutil" }'
    assert.truthy(out:find(("%s  -- %s/pip.lua:4"):format(allow, EXAMPLES), 1, true), out)
    assert.truthy(out:find('on_invalid = "refuse"  -- built-in', 1, true), out)
  end)

  it("lets a later directory win", function()
    local dir = command.directory{ ["pip.lua"] = "return {\n  allow = { 'a' },\n}" }
    local out = command.succeed{ "policy", "show", "pip", "--policy-path", EXAMPLES .. ":" .. dir }
    assert.truthy(out:find(('allow = { "a" }  -- %s/pip.lua:2'):format(dir), 1, true), out)
  end)

  it("takes a language by any of its names, and all where none is given", function()
    assert.truthy(command.succeed{ "policy", "show", "js" }:find("^languages/javascript\n"))
    local all = command.json{ "policy", "show", "--json" }
    local types = {}
    for _, field in ipairs(all["languages/bash"]) do types[field.field] = field.type end
    assert.equal("function", types.argv)
    assert.equal("built-in", all.isolation[1].from)
  end)

  it("says what there is for a name that there is none of", function()
    command.fail(2, { "policy", "show", "isolatoin" }, { "did you mean 'isolation'?" })
    command.fail(2, { "policy", "show", "x" }, { "there are: errors, isolation, languages/bash" })
    command.fail(125, { "policy", "show", "--policy-path", "/nowhere" }, { "[policy_error]" })
  end)
end)

describe("the example policies", function()
  local with = { "--policy-path", EXAMPLES, "--effect", "Pure" }

  local function run(code, words, stdin)
    local all = { "run", "-", table.unpack(words) }
    table.move(with, 1, #with, #all + 1, all)
    local result = command.run(all, { stdin = stdin })
    assert.equal(code, result.code, result.err)
    return result
  end

  it("are right", function()
    local out = command.succeed{ "policy", "check", EXAMPLES }
    assert.equal(number_of_examples(), select(2, out:gsub("ok     ", "")))
  end)

  it("languages/lua: runs stages in Lua", function()
    local result = run(0, { "--language", "lua", "--input", '{"n": 21}' },
      "function execute(input)\n  print('one', 2)\n  io.write('three\\n')\n"
        .. "  return { n = input.n * 2 }\nend\n")
    assert.equal('{"n":42}\n', result.out)
    assert.equal("one\t2\nthree\n", result.err)
    result = run(1, { "--language", "lua" }, "function execute()\n  error('no good')\nend\n")
    assert.truthy(result.err:find("LuaError: .*stage.lua:2: no good"), result.err)
    result = run(1, { "--language", "lua" }, "local x =")
    assert.truthy(result.err:find("stage.lua:1: unexpected symbol near <eof>", 1, true), result.err)
  end)

  it("pip: refuses what is not on the list", function()
    for spec, text in pairs{
      ["pandas==2.0.0"] = "the policy's list of allowed packages does not hold it",
      ["numpy==1.0"] = "'numpy==1.0'", ["six==1.15.0"] = "'six==1.15.0'",
    } do
      local result = run(125, { "--language", "python" }, "# requires: " .. spec .. "\n")
      assert.truthy(result.err:find(text, 1, true), result.err)
      assert.truthy(result.err:find("[package_rejected]", 1, true), result.err)
    end
  end)

  it("errors: adds advice of the house", function()
    local result = run(1, { "--language", "python" }, "import nosuchmodule\n")
    assert.truthy(result.err:find("hint: packages are listed in the wiki", 1, true), result.err)
  end)

  it("isolation: lets stages write where the program was granted it", function()
    local dir = helper.tmpdir()
    helper.shell("chmod 777 " .. helper.quote(dir))
    local words = { "--language", "python", "--input", '"' .. dir .. '/made"' }
    local code = "def execute(path): open(path, 'w').write('x')\n"
    run(1, words, code)
    assert.same({}, helper.list(dir))
    words[#words + 1] = "--grant=" .. dir
    run(0, words, code)
    assert.same({ "made" }, helper.list(dir))
  end)
end)
