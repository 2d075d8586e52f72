-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local errors = require "noether.error"
local layers = require "spec.support.executors"
local noether = require "noether"
local retry = require "noether.executor.retry"
local sys = require "noether.sys"

local function again(outcomes, opts, effects)
  local scripted = layers.scripted(outcomes, effects)
  opts = opts or {}
  opts.backoff_secs = opts.backoff_secs or 0
  return noether.retry(scripted, opts), scripted
end

describe("noether.retry", function()
  it("gives the first answer, and says what came before it", function()
    local ex, scripted = again{
      { kind = "spawn_failed", errno = "EAGAIN" }, { kind = "packages_failed" },
      { output = "at last" },
    }
    local output, err, info = ex:execute("stage")
    assert.equal("at last", output)
    assert.is_nil(err)
    assert.equal(3, scripted.calls)
    local told = {}
    for index, attempt in ipairs(info.attempts) do
      assert.is_true(attempt.duration_secs >= 0)
      told[index] = { attempt.kind, attempt.errno, attempt.message, attempt.wait_secs }
    end
    assert.same({
      { "spawn_failed", "EAGAIN", "as scripted", 0 },
      { "packages_failed", nil, "as scripted", 0 },
      {},
    }, told)
  end)

  it("gives the last error when the attempts are used up", function()
    for _, attempts in ipairs{ 1, 2, 5 } do
      local ex, scripted = again({ { kind = "setup_timed_out" } }, { attempts = attempts })
      local output, err, info = ex:execute("stage")
      assert.is_nil(output)
      assert.equal("setup_timed_out", err.kind)
      assert.equal(attempts, scripted.calls)
      assert.equal(attempts, #info.attempts)
    end
    local ex, scripted = again{ { kind = "setup_timed_out" } }
    ex:execute("stage")
    assert.equal(3, scripted.calls)
  end)

  it("gives false and null as what they are: answers", function()
    for _, value in ipairs{ false, noether.null } do
      local ex, scripted = again{ { output = value } }
      assert.equal(value, noether.check(ex:execute("stage")))
      assert.equal(1, scripted.calls)
    end
  end)

  -- { the outcome, whether it is tried again by default, with `kinds` of its own kind }
  local CASES = {
    { { kind = "spawn_failed", errno = "EAGAIN" }, true },
    { { kind = "spawn_failed", errno = "EMFILE" }, true },
    { { kind = "spawn_failed", errno = "ENOMEM" }, true },
    { { kind = "spawn_failed", errno = "ENOENT" }, false },
    { { kind = "spawn_failed", errno = "EACCES" }, false },
    { { kind = "spawn_failed" }, false },
    { { kind = "spawn_failed", ran = true }, false },
    { { kind = "sandbox_failed", errno = "ENOSPC" }, true },
    { { kind = "sandbox_failed", errno = "EPERM" }, false },
    { { kind = "cache_failed", errno = "ENOSPC" }, true },
    { { kind = "cache_failed", errno = "EPERM" }, false },
    { { kind = "store_failed", errno = "EIO" }, true },
    { { kind = "store_failed" }, true },
    { { kind = "store_failed", errno = "EACCES" }, false },
    { { kind = "packages_failed" }, true },
    { { kind = "setup_timed_out" }, true },
    { { kind = "runtime_unavailable" }, false, true },
    { { kind = "timed_out", ran = true }, false, true },
    { { kind = "stage_failed", ran = true }, false, true },
    { { kind = "input_invalid" }, false },
    { { kind = "stage_not_found" }, false },
    { { kind = "memory_limit", ran = true }, false },
    { { kind = "budget_exceeded" }, false },
    { { kind = "cancelled" }, false },
  }

  for _, case in ipairs(CASES) do
    local outcome = case[1]
    local title = ("%s%s%s"):format(outcome.kind, outcome.errno and " of " .. outcome.errno or "",
      outcome.ran and " of a stage that had begun" or "")
    it(("%s at %s"):format(case[2] and "tries again" or "does not try again", title), function()
      local ex, scripted = again{ outcome, { output = 1 } }
      ex:execute("stage")
      assert.equal(case[2] and 2 or 1, scripted.calls)
    end)
    if case[3] then
      it("tries again at " .. title .. " if asked to", function()
        local ex, scripted = again({ outcome, { output = 1 } }, { kinds = { outcome.kind } })
        ex:execute("stage")
        assert.equal(2, scripted.calls)
      end)
    end
  end

  it("says of every kind whether it can heal, and why not", function()
    for _, entry in ipairs(errors.KINDS) do
      local heals, why = retry.HEALS[entry.kind], retry.CANNOT_HEAL[entry.kind]
      assert.is_true((heals == nil) ~= (why == nil), entry.kind)
      if why then
        local message = layers.raised(function()
          noether.retry(noether.inline{}, { kinds = { entry.kind } })
        end)
        local expected = ("'%s' cannot heal: %s"):format(entry.kind, why)
        assert.truthy(message:find(expected, 1, true), message)
        assert.truthy(message:find("retry_spec.lua:%d+: retry"), message)
      end
    end
  end)

  -- { effects, options of the call, options of retry, whether a stage that had begun runs again }
  local LASTING = {
    { {}, nil, nil, true },
    { { "Pure" }, nil, nil, true },
    { { { FsRead = "/usr" }, "Process", { Cost = 1 } }, nil, nil, true },
    { { "Network" }, nil, nil, false, "Network" },
    { { { FsWrite = "/srv/x" } }, nil, nil, false, "FsWrite(/srv/x)" },
    { { "Unknown" }, nil, nil, false, "Unknown" },
    { { "Network" }, nil, { repeat_effects = true }, true },
    { {}, { work_dir = "/tmp" }, nil, false, "work_dir" },
    { {}, { work_dir = "/tmp" }, { repeat_effects = true }, true },
  }

  it("runs a stage that had begun again only if that can change nothing", function()
    for index, case in ipairs(LASTING) do
      local opts = { kinds = { "timed_out" } }
      for name, value in pairs(case[3] or {}) do
        opts[name] = value
      end
      local outcomes = { { kind = "timed_out", ran = true }, { output = 1 } }
      local ex, scripted = again(outcomes, opts, case[1])
      local _, err, info = ex:execute("stage", nil, case[2])
      assert.equal(case[4] and 2 or 1, scripted.calls, index)
      assert.equal(case[4], err == nil, index)
      local warning = info.warnings[1] or ""
      if case[5] then assert.truthy(warning:find(case[5], 1, true), warning) end
      assert.equal(case[5] and 1 or 0, #info.warnings, index)
    end
  end)

  it("tries again where nothing ran, whatever the stage declares", function()
    local ex, scripted = again(
      { { kind = "spawn_failed", errno = "EMFILE" }, { output = 1 } }, nil, { "Network" })
    noether.check(ex:execute("stage"))
    assert.equal(2, scripted.calls)
  end)

  it("does not repeat a function of noether.inline that failed, but if told to", function()
    local calls = 0
    local inline = noether.inline{ flaky = function()
      calls = calls + 1
      return nil, "not now"
    end }
    local opts = { kinds = { "stage_failed" }, backoff_secs = 0 }
    noether.retry(inline, opts):execute("flaky")
    assert.equal(1, calls)
    opts.repeat_effects = true
    noether.retry(inline, opts):execute("flaky")
    assert.equal(4, calls)
  end)

  it("doubles its pauses up to the longest, each shortened by no more than a half", function()
    local ex = again({ { kind = "packages_failed" } },
      { attempts = 6, backoff_secs = 0.01, max_backoff_secs = 0.04 })
    local _, _, info = ex:execute("stage")
    for index, longest in ipairs{ 0.01, 0.02, 0.04, 0.04, 0.04 } do
      local secs = info.attempts[index].wait_secs
      assert.is_true(secs <= longest and secs >= longest / 2, secs)
    end
    assert.is_nil(info.attempts[6].wait_secs)
    assert.is_true(info.phases.wait >= 0.075)
  end)

  it("leaves the host's random numbers alone", function()
    local ex = again({ { kind = "packages_failed" } }, { backoff_secs = 0.001 })
    math.randomseed(42)
    local expected = { math.random(), math.random() }
    math.randomseed(42)
    local first = math.random()
    ex:execute("stage")
    assert.same(expected, { first, math.random() })
  end)

  it("sleeps without blocking, and an event loop is told when to step", function()
    local ex = again({ { kind = "packages_failed" }, { output = 1 } }, { backoff_secs = 20 })
    local started = sys.clock()
    local task <close> = assert(ex:start("stage"))
    assert.is_true(sys.clock() - started < 5)
    assert.equal("wait", task:state())
    assert.is_true(task:timeout() > 5 and task:timeout() <= 20)
    assert.is_false(task:step())
  end)

  it("is cancelled while it sleeps, and tries no more", function()
    local ex, scripted = again({ { kind = "packages_failed" } }, { backoff_secs = 60 })
    local task <close> = assert(ex:start("stage"))
    local started = sys.clock()
    task:cancel()
    local _, err = task:wait()
    assert.equal("cancelled", err.kind)
    assert.is_true(sys.clock() - started < 5)
    assert.equal(1, scripted.calls)
  end)

  it("tries no more once a run is cancelled", function()
    local ex, scripted = again({ { kind = "packages_failed", secs = 60 } })
    local task <close> = assert(ex:start("stage"))
    task:cancel()
    local _, err = task:wait()
    assert.equal("cancelled", err.kind)
    assert.equal(1, scripted.calls)
  end)

  it("heals a real failure: a store that comes back", function()
    local calls, store = 0, noether.store.memory()
    local id = assert(store:put{ language = "bash", code = "execute() { cat; }", effects = {} })
    local flaky = { get = function(_, name)
      calls = calls + 1
      if calls == 1 then return nil, "connection refused" end
      return store:get(name)
    end }
    local plain <close> = noether.check(noether.executor{ store = flaky, isolation = "none" })
    local ex = noether.retry(plain, { backoff_secs = 0.001 })
    local output, err, info = ex:execute(id, 5)
    assert.is_nil(err)
    assert.equal(5, output)
    assert.equal("store_failed", info.attempts[1].kind)
  end)

  it("runs a real stage again that failed and has no lasting effects", function()
    local dir = helper.tmpdir()
    local path, runs = layers.counter(dir)
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    assert(plain:register_with_effects("third",
      ("execute() { echo x >> %s; [ $(wc -l < %s) -ge 3 ] && echo 1; }"):format(path, path),
      "bash", {}))
    local ex = noether.retry(plain, { kinds = { "stage_failed" }, backoff_secs = 0.001 })
    assert.equal(1, (noether.check(ex:execute("third"))))
    assert.equal(3, runs())
    assert(plain:register_with_effects("never", "execute() { echo x >> " .. path .. "; false; }",
      "bash", { "Network" }))
    local _, err = ex:execute("never")
    assert.equal("stage_failed", err.kind)
    assert.equal(4, runs())
  end)

  it("raises on wrong options, and says what was expected", function()
    for _, case in ipairs{
      { { attempts = 0 }, "attempts" }, { { attempts = -1 }, "attempts" },
      { { attempts = 1.5 }, "attempts" }, { { attempts = math.huge }, "attempts" },
      { { attempts = "3" }, "attempts" }, { { backoff_secs = -1 }, "backoff_secs" },
      { { backoff_secs = 0 / 0 }, "backoff_secs" },
      { { backoff_secs = math.huge }, "backoff_secs" },
      { { max_backoff_secs = math.huge }, "max_backoff_secs" },
      { { kinds = "timed_out" }, "kinds" }, { { kinds = { 5 } }, "kinds" },
      { { kinds = { "timed_uot" } }, "did you mean 'timed_out'?" },
      { { kinds = { "memory_limit" } }, "cannot heal" },
      { { repeat_effects = 1 }, "repeat_effects" },
      { { atempts = 3 }, "did you mean 'attempts'?" },
    } do
      local message = layers.raised(function() noether.retry(noether.inline{}, case[1]) end)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("^spec/executor/retry_spec.lua:%d+: retry"), message)
    end
  end)

  it("does not change the options that it was given", function()
    local opts = { kinds = { "timed_out" } }
    noether.retry(noether.inline{}, opts)
    assert.same({ kinds = { "timed_out" } }, opts)
  end)

  it("takes back the outputs of an attempt that failed", function()
    local dir, count = helper.tmpdir(), helper.tmpdir() .. "/count"
    local inner = assert(noether.executor{ isolation = "none" })
    local executor = noether.retry(inner, { kinds = { "stage_failed" }, backoff_secs = 0.01 })
    local stage = { language = "bash", effects = {}, code = ([[
execute() {
  echo x >>%s; read -rd '' lines <%s || true
  printf "$lines" >left
  [ "${#lines}" -ge 5 ] && echo 1
}]]):format(count, count) }
    local output, err, info = executor:execute(stage, nil, {
      outputs = { "left" }, output_dir = dir, timeout_secs = 60,
    })
    inner:close()
    assert.is_nil(err)
    assert.same({ 1, 3 }, { output, #info.attempts })
    assert.equal("x\nx\nx", helper.read(dir .. "/left"))
  end)
end)
