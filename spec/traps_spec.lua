-- SPDX-License-Identifier: MIT
--- tools/test/traps.lua: what Lua 5.5 refuses is found without it.
local helper = require "spec.support.helper"

local function traps(text)
  local path = helper.write(helper.tmpdir() .. "/file.lua", text)
  local output, code = helper.shell(("lua5.4 tools/test/traps.lua %s"):format(helper.quote(path)))
  return code, (output:gsub("^[^:]*", "file"):gsub("\n$", ""))
end

describe("traps", function()
  -- { what is found }, each with its text
  local FOUND = {
    { "1: 'i'", "for i = 1, 3 do i = i + 1 end" },
    { "2: 'k'", "for k, v in pairs(t) do\n  t[k], k = 1, 2 end" },
    { "1: 'k'", "for k in f() do if a then g{ x = function() k = 1 end } end end" },
    { "1: 'global'", "local global = 1" },
  }
  for _, case in ipairs(FOUND) do
    it("finds " .. case[2]:gsub("\n", " "), function()
      local code, output = traps(case[2])
      assert.equal(1, code)
      assert.equal("file:" .. case[1], output:match("^file:%d+: '%a+'"))
    end)
  end

  for _, text in ipairs{
    "for k, v in pairs(t) do v = 1 end", "for i = 1, 3 do local i = 2; i = 3 end",
    "for i = 1, 3 do t.i = 1; t[i] = 2; f{ i = 3 } end i = 4",
    "for i = 1, 3 do f(function(i) i = 2 end) end",
    "-- for i = 1 do i = 2\nlocal s = 'for i = 1 do i = 2'", "if i == 1 then i = 2 end",
    "for i = 1, 3 do if i == 2 then return i end end",
  } do
    it("takes " .. text:gsub("\n", " "), function()
      local code, output = traps(text)
      assert.equal(0, code, output)
    end)
  end
end)
