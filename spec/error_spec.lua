-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local errors = require "noether.error"

describe("errors", function()
  it("have the kind, the message and nothing that was not given", function()
    local err = errors.new{ kind = "timed_out", message = "too slow", limit = 3 }
    assert.equal("timed_out", err.kind)
    assert.equal("too slow", tostring(err))
    assert.equal(3, err.limit)
    assert.is_nil(err.hint)
    assert.equal("failed: too slow", "failed: " .. err)
  end)

  it("raise on a kind outside the catalogue, on a misspelt field and without a message", function()
    assert.has_error(function() errors.new{ kind = "oops", message = "x" } end,
      "error.new: unknown kind 'oops'")
    assert.has_error(function() errors.new{ kind = "closed", message = "x", hnt = "y" } end,
      "error.new: unknown field 'hnt'")
    assert.has_error(function() errors.new{ kind = "closed" } end,
      "error.new: message must be a string")
  end)

  it("say whose fault each kind is", function()
    local faults = { caller = 8, host = 9, us = 2, run = 11, stage = 4 }
    local seen = {}
    for _, entry in ipairs(errors.KINDS) do
      assert.equal(entry.fault, errors.fault(entry.kind))
      seen[entry.fault] = (seen[entry.fault] or 0) + 1
    end
    assert.same(faults, seen)
    assert.is_nil(errors.fault("oops"))
  end)

  it("are told from other tables", function()
    assert.is_true(errors.is(errors.new{ kind = "closed", message = "x" }))
    assert.is_false(errors.is({ kind = "closed", message = "x" }))
    assert.is_false(errors.is(nil))
    assert.is_false(errors.is("closed"))
  end)

  it("survive a trip through plain tables, bytes that are not UTF-8 and causes included", function()
    local cause = errors.new{ kind = "store_failed", message = "disk", errno = "EIO" }
    local err = errors.new{
      kind = "stage_failed", message = "bad", hint = "fix it", stage = "double",
      result = { stdout = "\255\0a", exit_code = 1 }, cause = cause,
    }
    local plain = err:to_table()
    assert.is_nil(getmetatable(plain))
    assert.same({ base64 = "/wBh" }, plain.result.stdout)
    local back = errors.from_table(plain)
    assert.is_true(errors.is(back))
    assert.equal("bad", tostring(back))
    assert.same({ stdout = "\255\0a", exit_code = 1 }, back.result)
    assert.is_true(errors.is(back.cause))
    assert.equal("EIO", back.cause.errno)
  end)

  it("encode any bytes in base64 and back", function()
    for length = 0, 7 do
      local bytes = ("\255\0\128abc\254"):sub(1, length)
      assert.equal(bytes, errors.restore(errors.portable(bytes)))
    end
  end)

  it("leave what JSON cannot hold out of plain tables", function()
    local plain = errors.portable{ a = 1, f = print, huge = math.huge, nan = 0 / 0, t = { 1, 2 } }
    assert.same({ a = 1, t = { 1, 2 } }, plain)
  end)

  it("do not loop on a table that contains itself", function()
    local cycle = { a = 1 }
    cycle.me = cycle
    assert.same({ a = 1 }, errors.portable(cycle))
  end)
end)

describe("error.clean", function()
  local cases = {
    { "plain text", "plain text" },
    { "two\nlines\r\n\t.", "two\\nlines\\r\\n\\t." },
    { "\27[31mred\0\127", "\\x1B[31mred\\x00\\x7F" },
    { "caf\195\169 \226\130\172 \240\159\152\128", "caf\195\169 \226\130\172 \240\159\152\128" },
    { "cut \195", "cut \\xC3" },
    { "overlong \192\175", "overlong \\xC0\\xAF" },
    { "surrogate \237\160\128", "surrogate \\xED\\xA0\\x80" },
    { "beyond \244\144\128\128", "beyond \\xF4\\x90\\x80\\x80" },
    { "c1 \194\155", "c1 \\xC2\\x9B" },
    { "override \226\128\174txt", "override \\xE2\\x80\\xAEtxt" },
    { "isolate \226\129\166txt", "isolate \\xE2\\x81\\xA6txt" },
    { "", "" },
  }
  for _, case in ipairs(cases) do
    it("writes " .. ("%q"):format(case[2]), function()
      assert.equal(case[2], errors.clean(case[1]))
    end)
  end

  it("cuts long text between characters and shows that it did", function()
    assert.equal(("\195\169"):rep(8) .. "...", errors.clean(("\195\169"):rep(100), 20))
    assert.equal(("x"):rep(20), errors.clean(("x"):rep(20), 20))
    assert.equal(("x"):rep(17) .. "...", errors.clean(("x"):rep(21), 20))
    assert.is_true(#errors.clean(("\0"):rep(1e6)) <= 2000)
  end)
end)
