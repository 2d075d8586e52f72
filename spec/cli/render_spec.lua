-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local json = require "noether.json"
local render = require "noether.cli.render"

describe("answers as text", function()
  it("lays JSON out without changing it", function()
    for _, value in ipairs{
      { a = { 1, { b = json.array() } }, c = "x\"{[,:]}\\", d = json.null }, "text", 3,
      json.array(),
    } do
      assert.same(value, json.decode(render.json(value)))
    end
    assert.equal('{\n  "a": [\n    1,\n    {}\n  ],\n  "b": []\n}\n',
      render.json{ a = { 1, {} }, b = json.array() })
  end)

  it("leaves out what JSON lacks, and keeps empty lists lists", function()
    assert.equal('{"argv":[],"other":{}}', render.line{ argv = {}, other = {}, f = print })
  end)

  it("writes words that a shell reads back", function()
    for _, word in ipairs{
      "plain", "", "it's", "$HOME `x` \\ \"", "a\nb", "-n", "~", "*", "é", "#",
    } do
      assert.equal(word, (helper.shell("printf %s " .. render.shell_word(word))))
    end
    assert.equal("a 'b c'", render.shell_line{ "a", "b c" })
  end)

  it("sets columns", function()
    assert.equal("a    b\nccc  d\n", render.columns{ { "a", "b" }, { "ccc", "d" } })
    assert.equal("", render.columns{})
  end)
end)
