-- SPDX-License-Identifier: MIT
require "spec.support.helper"
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

  local function lines_of(pieces)
    local found = {}
    local add, finish = text.lines(function(line) found[#found + 1] = line end)
    for _, piece in ipairs(pieces) do
      add(piece)
    end
    finish()
    return found
  end

  for _, case in ipairs{
    { { "a\nb\n" }, { "a", "b" } }, { { "a\n\nb" }, { "a", "", "b" } }, { { "\n\n" }, { "", "" } },
    { { "a", "b\n", "", "\nc" }, { "ab", "", "c" } }, { { "" }, {} }, { { "\n" }, { "" } },
    { { "a\r\n", "\n" }, { "a\r", "" } },
  } do
    it(("gives each line, the empty ones too: %q"):format(table.concat(case[1], "|")), function()
      assert.same(case[2], lines_of(case[1]))
    end)
  end

  for _, character in ipairs{ "é", "€", "😀", "日", "ß", "x" } do
    it("gives long lines in parts of whole characters: " .. character, function()
      for shift = 0, 3 do
        local line = ("a"):rep(shift) .. character:rep(70000)
        for _, step in ipairs{ 1000, 65536, 1000000 } do
          local pieces = {}
          for from = 1, #line, step do
            pieces[#pieces + 1] = line:sub(from, from + step - 1)
          end
          pieces[#pieces + 1] = "\nend"
          local found = lines_of(pieces)
          assert.equal("end", table.remove(found))
          assert.equal(line, table.concat(found))
          for _, part in ipairs(found) do
            assert.truthy(utf8.len(part))
            assert.is_true(#part <= 65536 and #part > 0)
          end
        end
      end
    end)

    it("leaves out whole characters: " .. character, function()
      local whole = "<" .. character:rep(100) .. ">"
      for limit = 4, 40 do
        local head, tail = limit - math.floor(limit / 2), math.floor(limit / 2)
        local cut = ("%s\n[%d bytes left out]\n%s"):format(whole:sub(1, head), #whole - limit,
          whole:sub(#whole - tail + 1))
        local mended = text.mended(cut, limit)
        assert.truthy(utf8.len(mended), mended)
        local first, count, last = mended:match("^(.-)\n%[(%d+) bytes left out%]\n(.*)$")
        assert.equal(#whole, #first + tonumber(count) + #last)
        assert.equal(first .. last, whole:sub(1, #first) .. whole:sub(#whole - #last + 1))
      end
    end)
  end

  it("has no line of 10 MB cost more than its length", function()
    local start = sys.clock()
    local pieces = {}
    for i = 1, 1000 do
      pieces[i] = ("\128"):rep(10000)
    end
    assert.equal(153, #lines_of(pieces))
    assert.is_true(sys.clock() - start < 5)
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
