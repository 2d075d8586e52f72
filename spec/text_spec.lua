-- SPDX-License-Identifier: MIT
require "spec.helper"
local sys = require "noether.sys"
local text = require "noether.text"

describe("text", function()
  it("trims blanks at both ends, and only there", function()
    for given, expected in pairs{
      [""] = "", [" \n\t "] = "", ["a"] = "a", ["  a b\n"] = "a b", ["a\n\nb "] = "a\n\nb",
    } do
      assert.equal(expected, text.trim(given))
    end
  end)

  it("finds the last line that is not blank", function()
    assert.is_nil(text.last_line(""))
    assert.is_nil(text.last_line(" \n \n"))
    assert.equal("a", text.last_line("a"))
    assert.equal("b c", text.last_line("a\nb c  \n\n \n"))
    assert.equal("  b", text.last_line("a\n  b"))
  end)

  it("says sizes for people", function()
    assert.equal("0 B", text.bytes(0))
    assert.equal("1023 B", text.bytes(1023))
    assert.equal("1.0 KiB", text.bytes(1024))
    assert.equal("52.1 MiB", text.bytes(52.1 * 2 ^ 20))
    assert.equal("2048.0 TiB", text.bytes(2 ^ 51))
  end)

  it("takes a moment for long lines and long runs of blanks", function()
    local start = sys.clock()
    local line = ("x "):rep(500000)
    assert.equal(#line - 1, #text.last_line("{}\n" .. line .. "\n" .. (" "):rep(500000)))
    assert.equal("ab", text.trim((" "):rep(500000) .. "ab" .. (" "):rep(500000)))
    assert.equal(#line - 1, #text.trim(line))
    assert.is_true(sys.clock() - start < 5)
  end)
end)
