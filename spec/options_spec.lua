-- SPDX-License-Identifier: MIT
require "spec.helper"
local options = require "noether.options"

local SPEC = {
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

  it("offers nothing where nothing is near", function()
    assert.truthy(raised{ whatever = 1 }:find("unknown option 'whatever'$"))
  end)

  local legal = {
    { timeout_secs = 0.001 }, { timeout_secs = math.huge }, { max_output_bytes = 1 },
    { max_output_bytes = math.huge }, { jobs = 3.0 }, { name = "" }, { isolation = "auto" },
    { env = { A = "b" } }, { argv = { "a", "" } }, { log = print }, { quiet = false },
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
    { { env = { A = 1 } }, "table of strings by variable name" },
    { { env = { A = "x\0" } }, "without NUL" },
    { { argv = { "a", nil, "b" } }, "list of strings" },
    { { argv = { "a\0" } }, "without NUL" },
    { { log = {} }, "expected a function, got a table" },
    { { quiet = 1 }, "expected a boolean, got 1" },
    { "text", "options: expected a table, got 'text'" },
    { { [1] = "x" }, "unknown option '1'" },
  }
  for _, case in ipairs(refused) do
    it("refuses with: " .. case[2], function()
      local message = raised(case[1])
      assert.truthy(message and message:find(case[2], 1, true), message)
    end)
  end
end)
