-- SPDX-License-Identifier: MIT
local toml = require "noether.runtime.toml"

local GOOD = {
  { "", {} },
  { "a = 1\nb = \"x\" # why\nc = 'y\\n'\r\nd = true\ne = false", {
    a = "1", b = "x", c = "y\\n", d = true, e = false } },
  { 'a = "q\\"\\\\\\n\\u00e4\\U0001F600"', { a = 'q"\\\n\195\164\240\159\152\128' } },
  { 'a = """\nx "q" \\\n   y"""\nb = \'\'\'\n1\n2\'\'\'', { a = 'x "q" y', b = "1\n2" } },
  { 'a = """""two"""""', { a = '""two""' } },
  { "a = [ 1, # one\n 2,\n]\nb = []\nc = [[1], ['x']]", {
    a = { "1", "2" }, b = {}, c = { { "1" }, { "x" } } } },
  { "a = { b = 1, c.d = 'x', 'e f' = {} }", { a = { b = "1", c = { d = "x" }, ["e f"] = {} } } },
  { "a.b.c = 1\na.\"b\".d = 2", { a = { b = { c = "1", d = "2" } } } },
  { "x = 0\n[a]\nb = 1\n[a.c]\nd = 2", { x = "0", a = { b = "1", c = { d = "2" } } } },
  { "[[p]]\nn = 1\n[[p.w]]\nm = 2\n[[p.w]]\nm = 3\n[[p]]\nn = 4\n[p.t]\nu = 5", {
    p = { { n = "1", w = { { m = "2" }, { m = "3" } } }, { n = "4", t = { u = "5" } } } } },
  { "d = 1979-05-27T07:32:00Z\ne = 1979-05-27 07:32:00\nf = -1.5e3\ng = inf", {
    d = "1979-05-27T07:32:00Z", e = "1979-05-27 07:32:00", f = "-1.5e3", g = "inf" } },
}

local BAD = {
  { "a", "line 1: expected '='" }, { "a =", "line 1: expected a value" },
  { "a = 1 b = 2", "line 1: expected its end" }, { "a = \"x", "a text has no end" },
  { "a = 'x\n'", "a text has no end" }, { "a = '''x", "a text has no end" },
  { "a = \"\\q\"", "an escape that is none" }, { "a = \"\\ud800\"", "an escape that is none" },
  { "a = [1", "an array has no end" }, { "a = {b = 1", "a table has no end" },
  { "\n\na = 1\na = 2", "line 4: 'a' is there twice" }, { "a = 1\na.b = 2", "'a' has a value" },
  { "[a]\n[a]", "the table is there twice" }, { "a = {}\n[a.b]", "'a' has a value" },
  { "a = [{}]\n[[a]]", "'a' has a value" }, { "[[a]]\n[a]", "the table is there twice" },
  { "[a", "expected ']'" }, { "[[a]", "expected ']]'" }, { "a = yes", "expected a value" },
  { "a = " .. ("["):rep(100000), "nested too deeply" }, { "a = \"\255\"", "it is no UTF-8" },
  { "= 1", "expected a name" },
}

describe("TOML", function()
  for index, case in ipairs(GOOD) do
    it(("is read (%d)"):format(index), function()
      local found, reason = toml.read(case[1])
      assert.is_nil(reason)
      assert.same(case[2], found)
    end)
  end

  for index, case in ipairs(BAD) do
    it(("that is none is told, with its line (%d)"):format(index), function()
      local found, reason = toml.read(case[1])
      assert.is_nil(found)
      assert.truthy(reason:find(case[2], 1, true), reason)
    end)
  end

  it("gets back every text that was quoted", function()
    local text = 'a"b\\c\n\t\127\1\195\164'
    assert.same({ a = text }, toml.read("a = " .. toml.quoted(text)))
  end)
end)
