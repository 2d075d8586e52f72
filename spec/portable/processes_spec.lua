-- SPDX-License-Identifier: MIT
--- Processes without stages.
local noether = require "noether"
local support = require "spec.portable.support"

local PLAIN = { isolation = "none" }

local function sh(command, opts)
  local merged = { isolation = "none", timeout_secs = 60 }
  for name, value in pairs(opts or {}) do merged[name] = value end
  return noether.spawn({ "/bin/sh", "-c", command }, merged)
end

describe("in every Lua, a process", function()
  local before

  setup(function() before = support.holdings() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  it("runs to its end, with what it wrote", function()
    local result = noether.check(noether.run({ "/bin/sh", "-c", "cat; echo e >&2; exit 3" },
      { isolation = "none", stdin = "in" }))
    assert.same({ "exit", 3, "in", "e\n" },
      { result.reason, result.exit_code, result.stdout, result.stderr })
    assert.is_false(result.ok)
    result = noether.check(noether.run({ "true" }))
    assert.is_true(result.ok)
    assert.not_equal("none", result.isolation)
  end)

  it("gets input in pieces and gives its output so", function()
    local pieces, got = { "a", "b" }, {}
    local result = noether.check(noether.run({ "/bin/cat" }, {
      isolation = "none", stdin = function() return table.remove(pieces, 1) end,
      on_stdout = function(piece) got[#got + 1] = piece end,
    }))
    assert.is_true(result.ok)
    assert.equal("ab", table.concat(got))
  end)

  it("is waited for, signalled and cancelled", function()
    local process = noether.check(sh("exec sleep 60"))
    local result, err = process:wait(0)
    support.fails("pending", result, err)
    assert.is_true(process:pid() > 0)
    process:cancel()
    assert.equal("cancelled", noether.check(process:wait(20)).reason)
    process:close()
    process = noether.check(sh("kill -KILL $$"))
    result = noether.check(process:wait(20))
    assert.same({ "signal", "SIGKILL" }, { result.reason, result.signal })
    process:close()
  end)

  it("takes its whole tree with it at the deadline", function()
    local mark = support.mark()
    local process = noether.check(sh(("setsid sh -c 'sleep 60; true' %s & sleep 60"):format(mark),
      { timeout_secs = 0.3 }))
    assert.equal("timeout", noether.check(process:wait(20)).reason)
    assert.equal(0, support.count(mark))
    process:close()
  end)

  it("that nobody knows any more is collected, and killed", function()
    local mark = support.mark()
    local function forget()
      noether.check(sh("exec sh -c 'sleep 60; true' " .. mark))
      return support.poll(function() return support.count(mark) > 0 end)
    end
    assert.is_true(forget())
    support.collect()
    assert.is_true(support.poll(function() return support.count(mark) == 0 end))
  end)

  it("that cannot be made is an error, and misuse raises", function()
    support.fails("spawn_failed", noether.run({ "/no/such/program" }, PLAIN))
    assert.is_false(pcall(noether.run, "true"))
    assert.is_false(pcall(noether.run, { "true" }, { no_such = 1 }))
  end)
end)
