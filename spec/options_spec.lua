-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local options = require "noether.options"

local LIMITS = { memory_bytes = "bytes", file_bytes = "bytes", processes = "count" }

local SPEC = {
  limits = { fields = LIMITS }, store = "store", setup_timeout_secs = "seconds", work_dir = "path",
  timeout_secs = "seconds", max_output_bytes = "bytes", jobs = "count", name = "string",
  isolation = { "auto", "none" }, env = "variables", argv = "strings", log = "function",
  quiet = "boolean",
}

-- What options.check raises for these options, as its caller's caller sees it.
local function raised(opts)
  local function public(o)
    local copy = options.check("executor", o, SPEC)
    return copy
  end
  local ok, message = pcall(function()
    local copy = public(opts)
    return copy
  end)
  return not ok and message or nil
end

describe("options.check", function()
  it("gives a copy and leaves the caller's table alone", function()
    local opts = { timeout_secs = 2, isolation = "none" }
    local copy = options.check("executor", opts, SPEC)
    assert.same(opts, copy)
    copy.timeout_secs = 3
    assert.equal(2, opts.timeout_secs)
    assert.same({}, options.check("executor", nil, SPEC))
  end)

  it("offers the nearest name for a misspelt one, at the caller's line", function()
    local message = raised{ tiemout_secs = 1 }
    assert.truthy(message:find(
      "executor: unknown option 'tiemout_secs' (did you mean 'timeout_secs'?)", 1, true))
    assert.truthy(message:find("options_spec.lua:%d+:"))
  end)

  it("takes two letters that changed places for one mistake", function()
    for name, meant in pairs{ nmae = "name", agrv = "argv", evn = "env", jbos = "jobs" } do
      local text = ("'%s' (did you mean '%s'?)"):format(name, meant)
      assert.truthy(raised{ [name] = 1 }:find(text, 1, true), name)
    end
  end)

  it("offers nothing where nothing is near", function()
    assert.truthy(raised{ whatever = 1 }:find("unknown option 'whatever'$"))
    assert.truthy(raised{ se = 1 }:find("unknown option 'se'$"))
  end)

  it("copies and checks the fields of a table in it, at the caller's line", function()
    local opts = { limits = { memory_bytes = 1 } }
    local copy = options.check("executor", opts, SPEC)
    copy.limits.memory_bytes = 2
    assert.equal(1, opts.limits.memory_bytes)
    local message = raised{ limits = { memory_bytes = 0 } }
    assert.truthy(message:find("options_spec.lua:%d+: executor: limits: option 'memory_bytes'"),
      message)
  end)

  for name, meant in pairs{
    timeout = "timeout_secs", environment = "env", dir = "work_dir", iso = "isolation",
    setup = "setup_timeout_secs", output_bytes = "max_output_bytes",
    memory_bytes = "limits = { memory_bytes = ... }",
  } do
    it(("offers %s for %s"):format(meant, name), function()
      local message = raised{ [name] = 1 }
      assert.truthy(message:find(("(did you mean '%s'?)"):format(meant), 1, true), message)
    end)
  end

  for name, meant in pairs{ memory = "memory_bytes", file = "file_bytes", proc = "processes" } do
    it(("offers %s for %s among the limits"):format(meant, name), function()
      local message = raised{ limits = { [name] = 1 } }
      assert.truthy(message:find(("limits: unknown option '%s' (did you mean '%s'?)"):format(
        name, meant), 1, true), message)
    end)
  end

  local legal = {
    { timeout_secs = 0.001 }, { timeout_secs = math.huge }, { max_output_bytes = 1 },
    { max_output_bytes = math.huge }, { jobs = 3.0 }, { name = "" }, { isolation = "auto" },
    { env = { A = "b" } }, { argv = { "a", "" } }, { log = print }, { quiet = false },
    { limits = { processes = 3 } }, { store = { get = print } },
    { log = setmetatable({}, { __call = function() end }) },
  }
  for index, opts in ipairs(legal) do
    it("takes legal case " .. index, function() assert.is_nil(raised(opts)) end)
  end

  local refused = {
    { { timeout_secs = 0 }, "number of seconds above 0" },
    { { timeout_secs = -1 }, "got -1" },
    { { timeout_secs = 0 / 0 }, "got nan" },
    { { timeout_secs = "5" }, "got '5'" },
    { { max_output_bytes = 1.5 }, "whole number of bytes" },
    { { max_output_bytes = 0 }, "whole number of bytes" },
    { { jobs = -math.huge }, "whole number above 0" },
    { { name = "a\0b" }, "string without NUL" },
    { { isolation = "docker" }, "expected one of 'auto', 'none', got 'docker'" },
    { { env = { "a" } }, "table of strings by variable name" },
    { { env = { ["A=B"] = "x" } }, "table of strings by variable name" },
    { { env = { A = 1 } }, "table of strings by variable name, without NUL, got 1 for 'A'" },
    { { env = "A=1" }, "got 'A=1'" },
    { { env = { ["A=B"] = "x" } }, "got the name 'A=B'" },
    { { env = { A = "x\0" } }, "without NUL" },
    { { argv = { "a", nil, "b" } }, "list of strings" },
    { { argv = { "sleep", 1 } }, "list of strings without NUL, got 1 at [2]" },
    { { argv = { cmd = "a" } }, "got the name 'cmd'" },
    { { limits = 3 }, "option 'limits': expected a table, got 3" },
    { { store = "/tmp/x" }, "use noether.store.memory(), noether.store.open(dir)" },
    { { store = {} }, "a table with put, get, list and remove, got a table" },
    { { argv = { "a\0" } }, "without NUL" },
    { { log = {} }, "expected a function, got a table" },
    { { quiet = 1 }, "expected a boolean, got 1" },
    { "text", "options: expected a table, got 'text'" },
    { { [1] = "x" }, "unknown option '1' (each has a name)" },
  }
  for _, case in ipairs(refused) do
    it("refuses with: " .. case[2], function()
      local message = raised(case[1])
      assert.truthy(message and message:find(case[2], 1, true), message)
    end)
  end
end)

describe("options.matches", function()
  it("says what there was in place of what was expected", function()
    for _, case in ipairs{
      { nil, "text", "expected a string, got nil" }, { print, "text", "got a function" },
      { { 1, nil, 3 }, "list", "expected a list, got a list with holes" },
      { { a = 1 }, "list", "got the name 'a'" },
    } do
      local ok, reason = options.matches(case[1], case[2])
      assert.is_nil(ok)
      assert.truthy(reason:find(case[3], 1, true), reason)
    end
  end)
end)

describe("options.method", function()
  local object = {}
  function object.put(self) options.method("store:put", self) end

  it("takes what has the method, and raises for anything else at the caller's line", function()
    object:put()
    for _, self in ipairs{ {}, "x", 3, { put = true } } do
      local ok, message = pcall(function() object.put(self) end)
      assert.is_false(ok)
      assert.truthy(message:find(
        "options_spec.lua:%d+: store:put: call it with a colon: store:put%(...%), not store.put"),
        message)
    end
    assert.has_error(function() object.put() end)
  end)
end)

describe("options.is_on", function()
  for value, expected in pairs{
    ["1"] = true, ["true"] = true, yes = true, on = true, YES = true, On = true,
    ["0"] = false, no = false, [""] = false, off = false, ["2"] = false,
  } do
    it(("takes '%s' in the environment for %s"):format(value, tostring(expected)), function()
      assert.equal(expected, options.is_on(value))
    end)
  end

  it("takes nothing for false", function()
    assert.is_false(options.is_on(nil))
  end)
end)
