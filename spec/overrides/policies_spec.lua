-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local compat = require "noether.compat"
local effects = require "noether.stage.effects"
local guard = require "noether.sandbox.guard"
local languages = require "noether.stage.languages"
local policies = require "noether.overrides.policies"

local function refused(opts, ...)
  local loaded, err = policies.load(opts)
  assert.is_nil(loaded)
  assert.equal("policy_error", err.kind)
  for _, text in ipairs{ ... } do
    assert.truthy(tostring(err):find(text, 1, true), tostring(err) .. "\n  lacks: " .. text)
  end
end

local RUBY = [[
return {
  names = { "ruby", "rb" },
  extension = "rb",
  runtime = { programs = { "ruby" }, probe = { "-e", "puts 1" } },
  wrap = function(code) return { files = { ["stage.rb"] = code }, entry = "stage.rb" } end,
  argv = function(runtime, entry) return { runtime.path, entry } end,
}
]]

describe("policies as they come", function()
  local loaded = assert(policies.load())

  it("know the languages by all their names, whatever the case", function()
    assert.same(languages.names(), loaded:languages())
    for name, canonical in pairs{
      python = "python", python3 = "python", [""] = "python", Python = "python",
      javascript = "javascript", js = "javascript", bash = "bash", sh = "bash", SH = "bash",
      ts = "typescript",
    } do
      assert.equal(canonical, assert(loaded:language(name)).name)
    end
  end)

  it("say what their fields are, and where each comes from", function()
    local names = { "errors", "isolation" }
    for _, name in ipairs(languages.names()) do names[#names + 1] = "languages/" .. name end
    for _, name in ipairs{ "npm", "packages", "pip", "script" } do names[#names + 1] = name end
    assert.same(names, loaded:names())
    local replaced = assert(policies.load{ overrides = { pip = { deny = { "six" } } } })
    local fields = {}
    for _, entry in ipairs(replaced:describe "pip") do fields[entry.field] = entry end
    assert.same({ field = "deny", value = { "six" }, origin = "option policy.pip" }, fields.deny)
    assert.same({ field = "allow" }, fields.allow)
    assert.same({ field = "on_invalid", value = "refuse" }, fields.on_invalid)
  end)

  it("can be had with one file over them", function()
    local path = helper.write(helper.tmpdir() .. "/pip.lua", "return {\n  allow = {},\n}")
    local with = assert(policies.load_file{ module = "pip", path = path })
    assert.same({ field = "allow", value = {}, origin = path, line = 2 }, with:describe("pip")[1])
    local none, err = policies.load_file{ module = "pip", path = path .. "x" }
    assert.is_nil(none)
    assert.equal("policy_error", err.kind)
  end)

  it("name the known languages when one is unknown", function()
    local language, err = loaded:language("cobol")
    assert.is_nil(language)
    assert.equal("language_unknown", err.kind)
    local known = table.concat(languages.names(), ", ")
    assert.truthy(tostring(err):find(("'cobol' (known: %s)"):format(known), 1, true))
  end)

  it("have hooks that are called by name", function()
    local ok, script = loaded:call("languages/python", "wrap", "def execute(i): return i", {})
    assert.is_true(ok)
    assert.truthy(script.files[script.entry])
    assert.is_true(loaded:has("languages/python", "wrap"))
    assert.is_false(loaded:has("languages/python", "nonesuch"))
  end)
end)

describe("overriding by field", function()
  it("changes what built-in hooks see, in this executor only", function()
    local strict = assert(policies.load{ overrides = { pip = { allow = { "six" } } } })
    local plain = assert(policies.load())
    local spec = "pandas==2.0.0"
    local ok, allowed, reason = strict:call("pip", "check", spec, {})
    assert.is_true(ok)
    assert.is_nil(allowed)
    assert.is_string(reason)
    ok, allowed = plain:call("pip", "check", spec, {})
    assert.is_true(ok and allowed)
    assert.is_nil(require("noether.policy.pip").allow)
  end)

  it("replaces hooks", function()
    local loaded = assert(policies.load{
      overrides = { packages = { detect = function() return { "six" } end } },
    })
    local ok, list = loaded:call("packages", "detect", "")
    assert.is_true(ok)
    assert.same({ "six" }, list)
  end)

  it("adds a language from one table", function()
    local loaded = assert(policies.load{ overrides = { languages = { ruby = load(RUBY)() } } })
    assert.equal("ruby", loaded:language("rb").name)
    local expected = { "ruby", compat.unpack(languages.names()) }
    table.sort(expected)
    assert.same(expected, loaded:languages())
  end)

  it("refuses what it does not know, offering what is near", function()
    refused({ overrides = { pipp = {} } }, "unknown policy 'pipp'", "did you mean 'pip'?")
    refused({ overrides = { pip = { alow = {} } } }, "option policy.pip", "unknown field 'alow'",
      "did you mean 'allow'?")
    refused({ overrides = { pip = 3 } }, "option policy.pip", "expected a table")
    refused({ overrides = { languages = { ruby = 3 } } }, "policy.languages.ruby")
    refused({ overrides = { languages = { ["../x"] = {} } } }, "names of lower-case letters")
  end)

  it("refuses a field of a wrong type, saying what was expected", function()
    refused({ overrides = { pip = { allow = "six" } } }, "field 'allow'", "a list of strings",
      "got string")
    refused({ overrides = { pip = { on_invalid = "ask" } } }, "'refuse' or 'drop'")
    refused({ overrides = { isolation = { describe = {} } } }, "field 'describe'", "a function")
    refused({ overrides = { packages = { known = { 1 } } } }, "field 'known'")
    refused({ overrides = { languages = { ruby = { names = { "ruby" } } } } },
      "policy.languages.ruby", "a new language needs it")
  end)

  it("refuses two languages with one name", function()
    local ruby = load(RUBY)()
    ruby.names = { "ruby", "python" }
    refused({ overrides = { languages = { ruby = ruby } } }, "both answer to 'python'")
  end)
end)

describe("a policy that would deceive", function()
  local noether = require "noether"
  local TOUCH = { language = "bash", effects = { "Process" } }
  local place

  before_each(function()
    place = helper.tmpdir()
    helper.shell("chmod 777 " .. helper.quote(place))
    TOUCH.code = ("execute() { touch %s/made >/dev/null 2>&1 && echo 1 || echo 0; }"):format(place)
  end)

  -- What the stage could do, with a description that is `change`d.
  local function attempt(change)
    local tried = false
    local builtin = require "noether.policy.isolation"
    local executor = assert(noether.executor{
      cache_dir = helper.tmpdir(), runtime = "host",
      policy = { isolation = { describe = function(declared, runtime, opts)
        tried = true
        return change(builtin.describe(declared, runtime, opts), declared, opts) or nil
      end } },
    })
    local output, err = executor:execute(TOUCH, 0)
    executor:close()
    assert.is_true(tried)
    assert.same({}, helper.list(place))
    return output, err
  end

  local function bind()
    return { source = place, target = place }
  end

  it("cannot declare effects for the stage", function()
    local _, err = attempt(function(description, declared)
      declared.writes[1], declared.network = place, true
      description.rw_binds = { bind() }
      return description
    end)
    assert.equal("policy_error", err.kind)
    assert.matches("no FsWrite effect names", err.message, 1, true)
  end)

  it("cannot give itself grants", function()
    local _, err = attempt(function(description, _, opts)
      opts.grants.paths, opts.grants.network = { place }, true
      description.rw_binds = { bind() }
      return description
    end)
    assert.equal("policy_error", err.kind)
  end)

  it("cannot say one thing to be checked and another to be done", function()
    for count = 1, 8 do
      local _, err = attempt(function(description)
        local asked = 0
        description.rw_binds = setmetatable({}, { __index = function(_, index)
          asked = asked + (index == 1 and 1 or 0)
          return index == 1 and asked >= count and bind() or nil
        end })
        return description
      end)
      assert.is_nil(err)
    end
  end)

  it("cannot change what it is given: not the input, nor what all arrays have in common", function()
    local json = require "noether.json"
    local metatable = { __index = { shared = 1 } }
    local seen
    local loaded = assert(policies.load{ overrides = { languages = { bash = {
      check_input = function(input)
        seen = getmetatable(input.list) or getmetatable(input)
        input.changed = true
        return true
      end,
    } } } })
    local input = setmetatable({ list = json.array{} }, metatable)
    assert.is_true(loaded:call("languages/bash", "check_input", input, "{}"))
    assert.is_nil(seen)
    assert.is_nil(input.changed)
  end)

  it("cannot raise what raises again", function()
    local loaded = assert(policies.load{ overrides = { packages = { detect = function()
      error(setmetatable({}, { __tostring = function() error("again") end }))
    end } } })
    local ok, err = loaded:call("packages", "detect", "")
    assert.is_nil(ok)
    assert.equal("policy_error", err.kind)
    local hostile = setmetatable({}, {
      __pairs = function() error("again") end, __len = function() error("again") end,
    })
    refused({ overrides = { pip = { allow = hostile } } }, "field 'allow'")
  end)
end)

describe("overriding by file", function()
  local dir
  before_each(function() dir = helper.tmpdir() end)

  local function file(name, text)
    return helper.write(dir .. "/" .. name, text)
  end

  it("takes the fields a file returns, which gets the built-in module", function()
    file("pip.lua", [[
      local builtin = ...
      return {
        allow = { "six" },
        check = function(spec, opts)
          if spec:find("^corp%-") then return true end
          return builtin.check(spec, opts)
        end,
      }]])
    file("README.md", "not a policy")
    local loaded = assert(policies.load{ path = dir })
    assert.same({ "six" }, loaded:data("pip", "allow"))
    for _, spec in ipairs{ "corp-tools", "corp-x==1" } do
      local ok, allowed = loaded:call("pip", "check", spec, {})
      assert.is_true(ok and allowed)
    end
  end)

  it("gives the file hooks that stay what they were when it has replaced them", function()
    file("pip.lua", [[
      local builtin = ...
      return { check = function(spec, opts) return builtin.check(spec, opts) end }]])
    local loaded = assert(policies.load{ path = dir })
    assert.same({ true, true }, { loaded:call("pip", "check", "six==1.0", {}) })
    assert.is_nil(select(2, loaded:call("pip", "check", "six", {})))
  end)

  it("adds a language from one file", function()
    file("languages/ruby.lua", RUBY)
    local loaded = assert(policies.load{ path = dir })
    assert.equal("ruby", loaded:language("rb").name)
    local ok, script = loaded:call("languages/ruby", "wrap", "puts 1", {})
    assert.is_true(ok)
    assert.equal("puts 1", script.files["stage.rb"])
  end)

  it("lets later directories win, and code win over files", function()
    file("a/pip.lua", "return { allow = { 'a' }, deny = { 'a' } }")
    file("b/pip.lua", "return { allow = { 'b' } }")
    local path = dir .. "/a:" .. dir .. "/b"
    local loaded = assert(policies.load{ path = path })
    assert.same({ "b" }, loaded:data("pip", "allow"))
    assert.same({ "a" }, loaded:data("pip", "deny"))
    loaded = assert(policies.load{ path = path, overrides = { pip = { allow = { "c" } } } })
    assert.same({ "c" }, loaded:data("pip", "allow"))
  end)

  it("sees base, string, table, math, utf8 and lpeg, and nothing that reaches the host", function()
    file("errors.lua", [[
      local found = {}
      for _, name in ipairs{ "io", "os", "debug", "package", "require", "load", "loadstring",
          "loadfile", "dofile", "collectgarbage", "print", "getfenv", "setfenv", "coroutine" } do
        if _G[name] ~= nil then found[#found + 1] = name end
      end
      assert(#found == 0, table.concat(found, " "))
      assert(string.dump == nil and getmetatable("") == nil)
      assert(lpeg.match(lpeg.P "a", "ab") == 2)
      assert(math.floor(1.5) == 1 and ("x"):rep(2) == "xx" and select("#", 1, 2) == 2)
      string.rep, table.concat, leaked = nil, nil, true
      return {}]])
    assert(policies.load{ path = dir })
    assert.equal("xx", ("x"):rep(2))
    assert.is_function(table.concat)
    assert.is_nil(rawget(_G, "leaked"))
  end)

  it("reports a syntax error with file and line", function()
    local path = file("pip.lua", "return {\n  allow = = 3\n}")
    refused({ path = dir }, path .. ":2:", "unexpected symbol")
  end)

  it("reports a wrong type with file, line, field and what was expected", function()
    local path = file("pip.lua", "return {\n  deny = {},\n  allow = 'six',\n}")
    refused({ path = dir }, path .. ":3:", "field 'allow'",
      "expected a list of strings, got string")
  end)

  it("reports a misspelt field with file, line and the nearest name", function()
    local path = file("pip.lua", "return {\n  alow = {},\n}")
    refused({ path = dir }, path .. ":2:", "unknown field 'alow'", "did you mean 'allow'?")
  end)

  it("reports what else a file does wrong", function()
    local path = file("pip.lua", "error('no luck')")
    refused({ path = dir }, path .. ":1:", "no luck")
    file("pip.lua", "return 3")
    refused({ path = dir }, path, "to return a table of fields, got number")
    file("pip.lua", "return os.getenv('HOME')")
    refused({ path = dir }, path .. ":1:", "global 'os'")
    file("pip.lua", string.dump(function() return {} end))
    refused({ path = dir }, path, "binary chunk")
  end)

  it("names a file in full, however long its path", function()
    local name = ("long-name"):rep(20)
    local path = file(name .. "/pip.lua", "return {\n  allow = = 3\n}")
    refused({ path = dir .. "/" .. name }, "policy file " .. path .. ":2: unexpected symbol")
    file(name .. "/pip.lua", "\nerror('no luck')")
    refused({ path = dir .. "/" .. name }, "policy file " .. path .. ":2: no luck")
    file(name .. "/pip.lua", "error({})")
    refused({ path = dir .. "/" .. name }, "policy file " .. path .. ": table:")
  end)

  it("refuses a directory that is not there, and a misspelt file in one that is", function()
    refused({ path = dir .. "/nonesuch" }, dir .. "/nonesuch", "No such file")
    file("pipp.lua", "return {}")
    refused({ path = dir }, "unknown policy 'pipp'", "did you mean 'pip'?")
  end)

  it("names the file and line of a hook that raises or returns the wrong shape", function()
    local path = file("packages.lua", [[return {
  detect = function(code)
    if code == "raise" then error("boom") end
    return 42
  end,
}]])
    local loaded = assert(policies.load{ path = dir })
    for code, text in pairs{ raise = "boom", shape = "must return a list of strings" } do
      local ok, err = loaded:call("packages", "detect", code)
      assert.is_nil(ok)
      assert.equal("policy_error", err.kind)
      assert.truthy(tostring(err):find(path .. ":2", 1, true), tostring(err))
      assert.truthy(tostring(err):find("hook 'detect'", 1, true), tostring(err))
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
  end)
end)

describe("what hooks return", function()
  local function result_of(module, hook, value, argument)
    local loaded = assert(policies.load())
    loaded.modules[module][hook] = function() return table.unpack(value, 1, value.n or #value) end
    return loaded:call(module, hook, argument)
  end

  local stage, sandbox = { source = "stage" }, { source = "sandbox" }
  local wrong = {
    { "languages/python", "wrap", { {} } },
    { "languages/python", "wrap", { nil, n = 1 } },
    { "languages/python", "wrap", { { files = { a = "x" }, entry = "b" } } },
    { "languages/python", "wrap", { { files = { ["../a"] = "x" }, entry = "../a" } } },
    { "languages/python", "wrap", { { files = { ["a/b"] = "x", c = "y" }, entry = "c" } } },
    { "languages/python", "wrap", { { files = { a = "x", b = 3 }, entry = "a" } } },
    { "languages/typescript", "compile", { {} } },
    { "languages/typescript", "compile", { { file = "a", argv = { "esbuild" } } } },
    { "languages/typescript", "compile", { { file = "../a", argv = { "/esbuild" } } } },
    { "languages/typescript", "compile", { nil, 3, n = 2 } },
    { "languages/typescript", "mistake", { {} } },
    { "languages/typescript", "mistake", { { type = "T", message = "m", line = "1" } } },
    { "languages/python", "argv", { {} } },
    { "languages/python", "argv", { { "python3" } } },
    { "languages/python", "argv", { { "/bin/x", 3 } } },
    { "languages/python", "argv", { { "/bin/x", "a\0b" } } },
    { "languages/python", "env", { { ["A=B"] = "x" } } },
    { "languages/python", "env", { { A = 3 } } },
    { "languages/python", "check_input", { false, "x" } },
    { "languages/python", "check_input", { nil, n = 1 } },
    { "npm", "check", { "yes" } }, { "npm", "requirements", { { 3 } } },
    { "npm", "commands", { { lock = { "a" } } } }, { "npm", "commands", { { "npm", "ci" } } },
    { "npm", "requirements_file", { "a\0b" } },
    { "pip", "check", { "yes" } },
    { "pip", "requirements", { nil, n = 1 } },
    { "pip", "requirements", { { 3 } } },
    { "pip", "requirements", { nil, { "x" }, n = 2 } },
    { "packages", "detect", { { a = 1 } } },
    { "isolation", "describe", { nil, n = 1 } },
    { "errors", "classify", { "nonsense", "x" }, stage },
    { "errors", "classify", { "sandbox_failed", "x" }, stage },
    { "errors", "classify", { "runtime_unavailable", "x" }, stage },
    { "errors", "classify", { "stage_failed", "x" }, sandbox },
    { "errors", "classify", { "stage_failed" }, stage },
    { "errors", "classify", { "stage_failed", "" }, stage },
    { "errors", "classify", { "stage_failed", "x", 3 }, stage },
  }
  for index, case in ipairs(wrong) do
    it(("%s.%s: wrong shape %d is a policy_error"):format(case[1], case[2], index), function()
      local ok, err = result_of(case[1], case[2], case[3], case[4])
      assert.is_nil(ok)
      assert.equal("policy_error", err.kind)
      assert.truthy(tostring(err):find(("hook '%s' must return"):format(case[2]), 1, true))
    end)
  end

  it("is passed on as it is where it is right", function()
    local ok, kind, message, hint = result_of("errors", "classify",
      { "stage_failed", "message", "hint" }, stage)
    assert.same({ true, "stage_failed", "message", "hint" }, { ok, kind, message, hint })
    local called, none, reason = result_of("languages/python", "wrap", { nil, "because", n = 2 })
    assert.same({ true, nil, "because" }, { called, none, reason })
  end)
end)

describe("the guard of sandbox descriptions", function()
  local function check(description, declared, opts)
    opts = opts or {}
    return guard.check(description, {
      effects = assert(effects.parse(declared or {})), grants = opts.grants or {},
      cache_dir = "/home/u/.cache/noether", own_paths = { "/home/u/.cache/noether/scripts/abc" },
      realpath = opts.realpath,
    })
  end

  local cases = {
    { "a bind of /", { ro_binds = { "/" } }, "ro_binds[1]" },
    { "a bind of / in disguise", { ro_binds = { "//" } }, "ro_binds[1]" },
    { "a bind of /proc", { ro_binds = { "/usr", "/proc" } }, "ro_binds[2]" },
    { "a bind under /sys", { ro_binds = { "/sys/fs" } }, "/sys/fs" },
    { "a bind under /dev", { ro_binds = { { source = "/dev/sda", target = "/x" } } }, "/dev/sda" },
    { "a bind over /", { ro_binds = { { source = "/usr", target = "/" } } }, "over /" },
    { "a bind of the cache", { ro_binds = { "/home/u/.cache/noether" } }, "the cache" },
    { "a bind around the cache", { ro_binds = { "/home/u" } }, "the cache" },
    { "a bind of another script", { ro_binds = { "/home/u/.cache/noether/scripts/x" } }, "cache" },
    { "a relative bind", { ro_binds = { "usr" } }, "absolute path" },
    { "a bind with ..", { ro_binds = { "/usr/../proc" } }, "absolute path" },
    { "a bind without a target", { ro_binds = { { source = "/usr" } } }, "absolute path" },
    { "a bind that is no bind", { ro_binds = { 3 } }, "absolute path" },
    { "a write bind that nobody declared", { rw_binds = { "/data" } }, "no FsWrite effect names" },
    { "a network that nobody declared", { network = "host" }, "no Network effect" },
    { "processes that nobody declared", { processes = true }, "no Process effect" },
    { "a host that nobody declared", { network = "list", hosts = { "b:1" } },
      "no Network effect names b:1", { { Network = "a:1" } } },
    { "a list of which one is not declared", { network = "list", hosts = { "a:1", "x.b:1" } },
      "names x.b:1", { { Network = { "a:1", "b:1" } } } },
    { "all of the network for a list", { network = "host" }, "no Network effect",
      { { Network = "a:1" } } },
    { "a list without hosts", { network = "list" }, "goes with network" },
    { "hosts without a list", { network = "none", hosts = { "a:1" } }, "goes with network",
      { { Network = "a:1" } } },
    { "a network that there is not", { network = "wifi" }, "field 'network'" },
    { "a field that there is not", { ro_bind = {} }, "did you mean 'ro_binds'?" },
    { "a limit that there is not", { limits = { memory = 3 } }, "field 'limits.memory'" },
    { "a limit of nothing", { limits = { memory_bytes = 0 } }, "field 'limits.memory_bytes'" },
    { "a limit of NaN", { limits = { cpu_secs = 0 / 0 } }, "field 'limits.cpu_secs'" },
    { "every variable", { env_allowlist = { "*" } }, "env_allowlist[1]" },
    { "the loader's variables", { env_allowlist = { "LANG", "LD_*" } }, "env_allowlist[2]" },
    { "a link without a target", { links = { { source = "usr/bin" } } }, "links[1]" },
  }
  for _, case in ipairs(cases) do
    it("refuses " .. case[1], function()
      local ok, err = check(case[2], case[4])
      assert.is_nil(ok)
      assert.equal("policy_error", err.kind)
      assert.truthy(tostring(err):find(case[3], 1, true), tostring(err))
    end)
  end

  it("refuses a link that leads to a forbidden place", function()
    local ok, err = check({ ro_binds = { "/data" } }, {}, {
      realpath = function() return "/proc/1" end,
    })
    assert.is_nil(ok)
    assert.truthy(tostring(err):find("/proc/1", 1, true))
  end)

  it("takes what effects or grants cover", function()
    assert(check({ rw_binds = { "/data/out" } }, { { FsWrite = "/data" } }))
    assert(check({ network = "host" }, { "Network" }))
    assert(check({ processes = true }, { "Process" }))
    assert(check({ rw_binds = { "/srv/x" } }, {}, { grants = { paths = { "/srv" } } }))
    assert(check({ network = "host" }, {}, { grants = { network = true } }))
    local list = { network = "list", hosts = { "a.b:1" } }
    assert(check(list, { { Network = "*.b:1" } }))
    assert(check(list, { "Network" }))
    assert(check(list, {}, { grants = { network = true } }))
    assert(check(list, {}, { grants = { hosts = { "a.b:1", "c:2" } } }))
    assert(check({
      ro_binds = { "/usr", { source = "/home/u/.cache/noether/scripts/abc", target = "/stage" } },
      links = { { target = "/bin", source = "usr/bin" } }, work_dir = "/work", network = "none",
      processes = false, env_allowlist = { "LANG", "LC_*" },
      limits = { memory_bytes = math.huge, cpu_secs = 0.5 },
    }))
  end)
end)
