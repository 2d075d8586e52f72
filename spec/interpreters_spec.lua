-- SPDX-License-Identifier: MIT
--- docs/interpreters.md against the languages that there are, and what it promises of those that
-- are built in. (`make check-deep` tries the others.)
local built_in = require "noether.stage.languages"
local helper = require "spec.support.helper"
local languages = require "spec.support.languages"
local noether = require "noether"

local MIB = 1024 * 1024

local page = helper.read(helper.root .. "/docs/interpreters.md")

local rows = {}
for name, memory, processes in page:gmatch(
    "\n| (%l+) | [^|]+ | [^|]+ | (%d+) MiB | ([%d?]+) | [%d.?]+ |") do
  rows[name] = { memory_bytes = tonumber(memory) * MIB, processes = tonumber(processes) }
end

-- One that may not be had has no row.
local BUILT_IN = {}
for _, name in ipairs(built_in.names()) do
  local language = built_in.module(name)
  if not language.optional then BUILT_IN[name] = language.sample end
end

describe("the table of interpreters", function()
  it("has every language that is built in, and each example of a policy that is tried", function()
    for name in pairs(BUILT_IN) do
      assert.truthy(rows[name], name)
    end
    for _, language in ipairs(languages.LANGUAGES) do
      assert.truthy(rows[language.name], language.name)
      local path = ("/examples/policies/languages/%s.lua"):format(language.name)
      assert.truthy(helper.read(helper.root .. path), path)
    end
  end)

  for name, code in pairs(BUILT_IN) do
    -- Other machines have other versions, and more processors: twice the memory, and some threads.
    it("says what is enough for " .. name, function()
      assert.equal(42, noether.check(noether.execute{
        language = name, code = code, input = 21, effects = {}, timeout_secs = 60,
        limits = {
          memory_bytes = 2 * rows[name].memory_bytes, processes = rows[name].processes + 8,
        },
      }))
    end)
  end
end)
