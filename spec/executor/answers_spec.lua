-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local layers = require "spec.support.executors"
local noether = require "noether"
local sys = require "noether.sys"
local wheels = require "spec.support.wheels"

local PURE = { "Pure" }

-- An executor whose stage leaves a line behind each time it really runs; and how often it did.
local function counting(body, opts)
  opts = opts or {}
  local path, runs = layers.counter(helper.tmpdir())
  local plain = noether.check(noether.executor{
    isolation = "none", env = opts.env, launch = opts.launch,
  })
  assert(plain:register_with_effects("stage", ("execute() { echo x >> %s; %s; }"):format(path,
    body or "cat"), "bash", opts.effects or PURE))
  return plain, runs
end

local function cached(opts, body, more)
  local plain, runs = counting(body, more)
  return noether.check(noether.cache(plain, opts)), runs, plain
end

describe("noether.cache", function()
  it("runs a pure stage once for an input, and gives the answer again", function()
    local ex, runs = cached()
    for index, expected in ipairs{ false, true, true } do
      local output, err, info = ex:execute("stage", { n = { 1, 2 } })
      assert.is_nil(err)
      assert.same({ n = { 1, 2 } }, output)
      assert.equal(expected, info.cached, index)
    end
    assert.equal(1, runs())
    noether.check(ex:execute("stage", { n = { 1, 3 } }))
    assert.equal(2, runs())
  end)

  it("tells apart values that are different JSON, and no others", function()
    local values = { 1, 1.0, "1", true, noether.null, noether.array{}, {}, { a = 1, b = 2 }, "" }
    local ex, runs = cached()
    for round = 1, 2 do
      for index, value in ipairs(values) do
        local output, err, info = ex:execute("stage", value)
        assert.is_nil(err)
        assert.same(value, output)
        assert.equal(math.type(value), math.type(output))
        assert.equal(round == 2, info.cached, index)
      end
    end
    assert.equal(#values, runs())
    local _, _, info = ex:execute("stage", nil)
    assert.is_true(info.cached)
    local ascending, descending = {}, {}
    for i = 1, 40 do
      ascending["k" .. i], descending["k" .. 41 - i] = i, 41 - i
    end
    noether.check(ex:execute("stage", ascending))
    _, _, info = ex:execute("stage", descending)
    assert.is_true(info.cached)
  end)

  it("gives an answer byte for byte, for the exact text that the stage read", function()
    local ex, runs = cached()
    for _, text in ipairs{ '{"b": 1.0,  "a": [1e2, "\\u00e9"]}', '{"a":[1e2,"\\u00e9"],"b":1.0}',
        "[ ]", "[]", "1e2", "100.0" } do
      for round = 1, 2 do
        local output, err, info = ex:execute_json("stage", text)
        assert.is_nil(err)
        assert.equal(text, output)
        assert.equal(round == 2, info.cached, text)
      end
    end
    assert.equal(6, runs())
    assert.same({}, (noether.check(ex:execute("stage", noether.array{}))))
    assert.equal(6, runs())
  end)

  it("gives each caller tables of its own", function()
    local ex, runs = cached()
    local input = { list = { 1 } }
    for _ = 1, 3 do
      local output, _, info = ex:execute("stage", input)
      assert.same({ list = { 1 } }, output)
      output.list[1], output.more = 5, true
      if info.cached then info.provenance.code, info.runtime.path = "x", "y" end
    end
    assert.same({ list = { 1 } }, input)
    assert.equal(1, runs())
    local _, _, info = ex:execute("stage", input)
    assert.truthy(info.runtime.path:find("bash", 1, true))
    assert.equal(64, #info.provenance.code)
  end)

  it("says where a kept answer is from, and that nothing ran for it", function()
    local ex = cached(nil, "echo noise >&2; cat")
    local _, _, first = ex:execute("stage", 1)
    local _, _, again = ex:execute("stage", 1)
    assert.equal("noise\n", first.logs)
    assert.equal("", again.logs)
    assert.same(first.provenance, again.provenance)
    assert.same(first.runtime, again.runtime)
    assert.is_nil(again.result)
    assert.is_true(again.cached)
    assert.is_true(again.duration_secs >= 0)
    assert.same({}, again.warnings)
  end)

  it("serves start, map and stages given as tables", function()
    local ex, runs, plain = cached()
    noether.check(ex:execute("stage", 1))
    local task <close> = assert(ex:start("stage", 1))
    assert.equal("done", task:state())
    assert.is_true(select(3, task:wait()).cached)
    for _, record in ipairs(ex:map("stage", { 1, 1, 1 })) do
      assert.equal(1, record.output)
      assert.is_true(record.info.cached)
    end
    local stage = plain.registered.stage
    local _, err, info = ex:execute({ language = "sh", code = stage.code, effects = PURE }, 1)
    assert.is_nil(err)
    assert.is_true(info.cached)
    assert.equal(1, runs())
  end)

  -- { effects, whether answers are kept }
  local EFFECTS = {
    { { "Pure" }, true }, { { "Pure", "Fallible" }, true }, { { "Pure", { Cost = 2 } }, true },
    { { "Pure", "Process" }, true }, { {}, false }, { { "Fallible" }, false },
    { { "Pure", "NonDeterministic" }, false }, { { "Pure", "Network" }, false },
    { { "Pure", { FsRead = "/usr" } }, false }, { { "Pure", { FsWrite = "/srv" } }, false },
    { { "Pure", { Llm = "m" } }, false }, { { "Unknown" }, false },
    { { "Pure", "Unknown" }, false },
  }

  it("keeps answers of pure stages only", function()
    for index, case in ipairs(EFFECTS) do
      local ex, runs = cached(nil, nil, { effects = case[1] })
      for _ = 1, 2 do
        noether.check(ex:execute("stage", 1))
      end
      assert.equal(case[2] and 1 or 2, runs(), index)
    end
  end)

  -- { options of the first call, of the second, whether the second is served what was kept }
  local OPTIONS = {
    { nil, nil, true },
    { nil, { timeout_secs = 5, setup_timeout_secs = 60, max_stderr_bytes = 1000 }, true },
    { nil, { env = {} }, true },
    { nil, { env = { A = "1" } }, false },
    { { env = { A = "1" } }, { env = { A = "1" } }, false },
    { nil, { work_dir = "/tmp" }, false },
    { nil, { limits = { open_files = 100 } }, false },
    { { limits = { open_files = 100 } }, { limits = { open_files = 100 } }, true },
    { { limits = { open_files = 100 } }, { limits = { open_files = 101 } }, false },
    { nil, { max_output_bytes = 1000 }, true },
    { nil, { on_log = print }, true },
  }

  it("knows which options of a call an answer depends on", function()
    for index, case in ipairs(OPTIONS) do
      local ex, runs = cached()
      noether.check(ex:execute("stage", 1, case[1]))
      local _, err, info = ex:execute("stage", 1, case[2])
      assert.is_nil(err)
      assert.equal(case[3], info.cached, index)
      assert.equal(case[3] and 1 or 2, runs(), index)
    end
  end)

  it("does not give an answer to a call that caps its output lower", function()
    local ex = cached(nil, "echo '\"0123456789\"'")
    noether.check(ex:execute("stage", 1))
    local _, err = ex:execute("stage", 1, { max_output_bytes = 5 })
    assert.equal("output_limit", err.kind)
    assert.is_true(select(3, ex:execute("stage", 1, { max_output_bytes = 12 })).cached)
  end)

  it("does not keep answers of an executor that gives its stages variables", function()
    local ex, runs = cached(nil, nil, { env = { A = "1" } })
    for _ = 1, 2 do
      noether.check(ex:execute("stage", 1))
    end
    assert.equal(2, runs())
  end)

  it("does not keep errors", function()
    local ex, runs = cached(nil, "[ $(wc -l < $0.runs 2>/dev/null || echo 0) = 5 ]")
    for _ = 1, 2 do
      local _, err, info = ex:execute("stage", 1)
      assert.equal("stage_failed", err.kind)
      assert.is_false(info.cached)
    end
    assert.equal(2, runs())
    ex, runs = cached(nil, "echo no json")
    for _ = 1, 2 do
      assert.equal("output_invalid", select(2, ex:execute("stage", 1)).kind)
    end
    assert.equal(2, runs())
  end)

  it("keeps false and null, which are answers", function()
    local ex, runs = cached()
    for _, value in ipairs{ false, noether.null } do
      for _ = 1, 2 do
        assert.equal(value, noether.check(ex:execute("stage", value)))
      end
    end
    assert.equal(2, runs())
  end)

  it("runs a stage again whose code, effects or language are others under the same name", function()
    local store = noether.store.memory()
    local plain <close> = noether.check(noether.executor{ store = store, isolation = "none" })
    local ex = noether.check(noether.cache(plain))
    for index, code in ipairs{ "execute() { echo 1; }", "execute() { echo 2; }" } do
      store:put{ name = "it", language = "bash", code = code, effects = PURE }
      for round = 1, 2 do
        local output, err, info = ex:execute("it")
        assert.is_nil(err)
        assert.equal(index, output)
        assert.equal(round == 2, info.cached)
      end
    end
    store:remove("it")
    local _, err = ex:execute("it")
    assert.equal("stage_not_found", err.kind)
  end)

  it("runs a stage again whose interpreter has changed", function()
    local bin = helper.tmpdir()
    local bash = helper.write(bin .. "/bash", helper.read("/bin/bash"))
    assert(sys.chmod(bash, 493))
    helper.with_env({ PATH = bin .. ":/usr/bin:/bin" }, function()
      local ex, runs = cached()
      for _ = 1, 2 do
        noether.check(ex:execute("stage", 1))
      end
      local _, _, info = ex:execute("stage", 1)
      assert.equal(bash, info.runtime.path)
      assert.equal(1, runs())
      helper.write(bash, helper.read("/bin/bash") .. "\n")
      assert(sys.chmod(bash, 493))
      for index = 1, 2 do
        _, _, info = ex:execute("stage", 1)
        assert.equal(index == 2, info.cached)
      end
      assert.equal(2, runs())
    end)
  end)

  -- What is installed anew has the same name and version, and need not be the same.
  helper.over({ backends = { "native", "landlock", "none" } }, "under %s", function(backend)
    it("runs a stage again whose packages were installed anew, under " .. backend, function()
      local cache_dir, answers = helper.tmpdir() .. "/cache", helper.tmpdir() .. "/answers"
      local wheel_dir = helper.tmpdir()
      local plain <close> = noether.check(noether.executor{
        isolation = backend, runtime = "host", cache_dir = cache_dir,
        pip = { find_links = { wheel_dir } },
      })
      local stage = { language = "python", effects = PURE,
        code = "# requires: tiny==1.0\nimport tiny\ndef execute(n): return tiny.value" }
      local old = noether.check(noether.cache(plain, { dir = answers }))
      for _, value in ipairs{ 42, 43 } do
        local made = wheels.make{
          { name = "tiny", files = { ["tiny.py"] = ("value = %d\n"):format(value) } },
        }
        helper.shell(("cp %s/* %s; rm -rf %s/venvs"):format(made, wheel_dir, cache_dir))
        local new = noether.check(noether.cache(plain, { dir = answers }))
        for index, ex in ipairs{ old, old, new } do
          local output, err, info = ex:execute(stage, 1)
          assert.is_nil(err)
          assert.equal(value, output)
          assert.equal(index > 1, info.cached, index)
        end
      end
      helper.shell(("rm -rf %s/venvs"):format(cache_dir))
      assert.is_true(select(3, old:execute(stage, 1)).cached) -- it is what it was
    end)
  end)

  it("does not keep answers of what `nix run` starts: another thing tomorrow", function()
    local bin = helper.tmpdir()
    assert(sys.chmod(helper.write(bin .. "/nix",
      "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec bash \"$@\"\n"), 493))
    helper.with_env({ PATH = bin .. ":/usr/bin:/bin" }, function()
      local ex, runs = cached(nil, nil, { launch = "run" })
      for _ = 1, 2 do
        local _, err, info = ex:execute("stage", 1)
        assert.is_nil(err)
        assert.equal(bin .. "/nix", info.runtime.path)
        assert.is_false(info.cached)
      end
      assert.equal(2, runs())
    end)
  end)

  it("keeps no more entries than it may, and drops what was not used for longest", function()
    local ex, runs = cached{ entries = 3 }
    for _, n in ipairs{ 1, 2, 3, 1, 4 } do -- 2 is the oldest when 4 comes
      noether.check(ex:execute("stage", n))
    end
    assert.equal(4, runs())
    for n, expected in pairs{ [1] = true, [3] = true, [4] = true } do
      assert.equal(expected, select(3, ex:execute("stage", n)).cached, n)
    end
    assert.is_false(select(3, ex:execute("stage", 2)).cached)
  end)

  it("keeps no more bytes than it may", function()
    local ex, runs = cached({ bytes = 5000 }, "cat")
    local long = ("x"):rep(2000)
    for _ = 1, 2 do
      noether.check(ex:execute("stage", long))
    end
    assert.equal(1, runs())
    noether.check(ex:execute("stage", long .. "y")) -- the two of them are too much
    assert.is_false(select(3, ex:execute("stage", long)).cached)
    for _ = 1, 2 do
      assert.is_false(select(3, ex:execute("stage", ("x"):rep(6000))).cached)
    end
  end)

  it("forgets answers that are older than they may be", function()
    local ex, runs = cached{ ttl_secs = 0.2 }
    noether.check(ex:execute("stage", 1))
    assert.is_true(select(3, ex:execute("stage", 1)).cached)
    assert.is_true(helper.poll(function()
      return not select(3, ex:execute("stage", 1)).cached
    end))
    assert.equal(2, runs())
  end)

  it("forgets all answers when told to", function()
    for _, dir in ipairs{ false, helper.tmpdir() .. "/answers" } do
      local ex, runs = cached{ dir = dir or nil }
      noether.check(ex:execute("stage", 1))
      assert.is_true(ex:clear())
      assert.is_false(select(3, ex:execute("stage", 1)).cached)
      assert.equal(2, runs())
    end
  end)

  it("does not mix what two executors below it do differently", function()
    local dir = helper.tmpdir() .. "/answers"
    local function env() return { OF_THE_HOUSE = "1" } end
    for _, policy in ipairs{ false, { languages = { bash = { env = env } } } } do
      local plain <close> = noether.check(noether.executor{
        isolation = "none", policy = policy or nil,
      })
      local ex = noether.check(noether.cache(plain, { dir = dir }))
      local _, err, info = ex:execute{ language = "bash", code = "execute() { echo 1; }",
        effects = PURE }
      assert.is_nil(err)
      assert.is_false(info.cached)
    end
  end)

  it("does not give one stage's answer to another of the same input", function()
    local ex, _, plain = cached()
    assert(plain:register_with_effects("other", "execute() { echo 5; }", "bash", PURE))
    noether.check(ex:execute("stage", 1))
    assert.equal(5, (noether.check(ex:execute("other", 1))))
  end)

  it("survives a stage that comes to be another one between plan and run", function()
    local store, gets = noether.store.memory(), 0
    local function stage(n)
      return { name = "it", language = "bash", code = ("execute() { echo %d; }"):format(n),
        effects = PURE }
    end
    store:put(stage(1))
    local shifty = { get = function(_, name)
      gets = gets + 1
      if gets == 3 then store:put(stage(2)) end -- asked by the cache, for the plan, for the run
      return store:get(name)
    end }
    local plain <close> = noether.check(noether.executor{ store = shifty, isolation = "none" })
    local ex = noether.check(noether.cache(plain))
    assert.equal(2, (noether.check(ex:execute("it"))))
    store:put(stage(1))
    assert.equal(1, (noether.check(ex:execute("it"))))
  end)

  it("keeps no answer of another plan than the key was made from", function()
    local builtin, calls = require "noether.policy.isolation", 0
    local plain <close> = noether.check(noether.executor{ isolation = "none", policy = {
      isolation = { describe = function(effects, runtime, opts)
        calls = calls + 1
        local description = builtin.describe(effects, runtime, opts)
        description.limits.open_files = 500 + calls
        return description
      end },
    } })
    local ex = noether.check(noether.cache(plain))
    local stage = { language = "bash", code = "execute() { ulimit -n; }", effects = { "Pure" } }
    for round = 1, 3 do
      local output, err, info = ex:execute(stage, 1)
      assert.is_nil(err)
      assert.is_false(info.cached, round)
      assert.equal(500 + calls, output)
    end
  end)

  it("runs a stage whose runtime cannot be found, and says why it cannot", function()
    helper.with_env({ PATH = "/nonesuch" }, function()
      local ex = cached()
      local _, err = ex:execute("stage", 1)
      assert.equal("runtime_unavailable", err.kind)
    end)
  end)

  it("raises on wrong options, and says what was expected", function()
    for _, case in ipairs{
      { { entries = 0 }, "entries" }, { { entries = -1 }, "entries" },
      { { entries = 1.5 }, "entries" },
      { { bytes = 0 }, "bytes" }, { { bytes = "1M" }, "bytes" }, { { ttl_secs = 0 }, "ttl_secs" },
      { { ttl_secs = 0 / 0 }, "ttl_secs" }, { { dir = "" }, "dir" }, { { dir = "a\0b" }, "dir" },
      { { entires = 5 }, "did you mean 'entries'?" },
    } do
      local message = layers.raised(function() noether.cache(noether.inline{}, case[1]) end)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("^spec/executor/answers_spec.lua:%d+: cache"), message)
    end
    local ex = noether.check(noether.cache(noether.inline{}))
    assert.truthy(layers.raised(function() ex.clear() end):find("call it with a colon", 1, true))
  end)
end)

describe("equal calls at the same time", function()
  local SLOW = "sleep 0.3; cat"

  -- Two of them, the first of which runs; what else there is comes after.
  local function two(body, first, second)
    local ex, runs, plain = cached(nil, body)
    local a = noether.check(ex:start("stage", { 1 }, first))
    assert.is_true(helper.poll(function() return a:step() or runs() > 0 end))
    return a, noether.check(ex:start("stage", { 1 }, second)), runs, ex, plain
  end

  local function gives(output, is_cached, task)
    local found, err, info = task:wait(20)
    assert.is_nil(err)
    assert.same(output, found)
    assert.equal(is_cached, info.cached)
    return found
  end

  it("run once, whichever is waited for, and each has an answer of its own", function()
    for order = 1, 2 do
      local a, b <close>, runs = two(SLOW)
      if order == 1 then gives({ 1 }, false, a) end
      gives({ 1 }, true, b)[1] = 5
      gives({ 1 }, false, a)
      assert.equal(1, runs())
    end
  end)

  it("run once also where nothing is known of the stage before", function()
    local ex, runs = cached(nil, SLOW)
    local list = {}
    for i = 1, 5 do list[i] = noether.check(ex:start("stage", { 1 })) end
    for i = 5, 1, -1 do
      assert.same({ 1 }, (noether.check(list[i]:wait(20))))
      list[i]:close()
    end
    assert.equal(1, runs())
    assert.equal(5, #ex:map("stage", { 2, 2, 2, 2, 2 }, { jobs = 5 }))
    assert.equal(2, runs())
  end)

  for _, how in ipairs{ "cancel", "close" } do
    it(("are not ended by a %s of the first, which the second runs after"):format(how), function()
      local a, b <close>, runs = two(SLOW)
      a[how](a)
      gives({ 1 }, false, b)
      assert.equal(how == "cancel" and "cancelled" or "closed", select(2, a:wait(20)).kind)
      assert.equal(2, runs())
    end)

    it(("are not ended by a %s of the second, which runs nothing"):format(how), function()
      local a, b <close>, runs = two(SLOW)
      b[how](b)
      assert.equal(how == "cancel" and "cancelled" or "closed", select(2, b:wait(20)).kind)
      gives({ 1 }, false, a)
      assert.equal(1, runs())
    end)
  end

  it("run each where the first fails", function()
    local ex, runs, plain = cached()
    local dir = helper.tmpdir()
    local code = ("execute() { sleep 0.2; mkdir %s/x && exit 3; cat; }"):format(dir)
    assert(plain:register_with_effects("once", code, "bash", PURE))
    local a <close> = noether.check(ex:start("once", 1))
    local b <close> = noether.check(ex:start("once", 1))
    gives(1, false, b)
    assert.equal("stage_failed", select(2, a:wait(20)).kind)
    assert.equal(0, runs())
  end)

  it("have deadlines of their own", function()
    local a, b <close>, runs = two("sleep 1; cat", nil, { timeout_secs = 0.1 })
    local _, err = b:wait(20)
    assert.equal("timed_out", err.kind)
    assert.equal(0.1, err.limit)
    gives({ 1 }, false, a)
    assert.equal(2, runs())
  end)

  it("are ended both when the executor is closed", function()
    local a, b, runs, ex = two("sleep 60")
    ex:close()
    assert.equal("closed", a:state())
    assert.equal("closed", b:state())
    assert.equal(1, runs())
  end)

  it("are over for sets, for wait_any and for loops", function()
    local a, b <close>, runs = two(SLOW)
    local set <close> = noether.check(noether.set())
    set:add(b)
    set:add(a)
    local over = { [noether.check(set:next(20))] = true, [noether.check(set:next(20))] = true }
    assert.is_true(over[a] and over[b])
    gives({ 1 }, true, b)
    assert.equal(1, runs())

    local c, d <close> = two(SLOW)
    assert.is_number(noether.wait_any({ c, d }, 20))
    gives({ 1 }, true, d)

    local e, f <close> = two(SLOW)
    local fd = assert(f:pollfd())
    while not f:step() do
      sys.poll({ fd }, math.min(assert(f:timeout()), 20), {})
    end
    gives({ 1 }, true, f)
    gives({ 1 }, false, e)
  end)

  it("end when the first one is waited for elsewhere, and is garbage", function()
    local a, b <close>, runs = two(SLOW)
    gives({ 1 }, false, a)
    a:close()
    a = nil -- luacheck: ignore 311
    gives({ 1 }, true, b)
    local d <close> = select(2, two(SLOW))
    collectgarbage()
    gives({ 1 }, true, d)
    assert.equal(1, runs())
  end)

  it("run each where a listener hears one of them", function()
    for index, given in ipairs{ { { on_log = print } }, { nil, { on_log = print } } } do
      local a, b <close>, runs = two(SLOW, given[1], given[2])
      gives({ 1 }, false, a)
      gives({ 1 }, false, b)
      assert.equal(2, runs(), index)
    end
  end)

  it("run each where one is begun from within the other", function()
    local stage = { name = "it", language = "bash", code = "execute() { cat; }", effects = PURE }
    local kept, gets, ex, inner = noether.store.memory(), 0, nil, nil
    kept:put(stage)
    local plain <close> = noether.check(noether.executor{ isolation = "none", store = {
      get = function(_, name)
        gets = gets + 1
        if gets == 3 then inner = ex:execute("it", 7) end -- of the run; see above
        return kept:get(name)
      end,
    } })
    ex = noether.check(noether.cache(plain))
    assert.equal(7, (noether.check(ex:execute("it", 7))))
    assert.equal(7, inner)
  end)

  it("are not ended where the first is closed by what it asks, which ends that", function()
    local path, runs = layers.counter(helper.tmpdir())
    local kept, first = noether.store.memory(), nil
    kept:put{ name = "it", language = "bash", effects = PURE,
      code = ("execute() { echo x >> %s; [ $(wc -l < %s) -gt 1 ] && cat; }"):format(path, path) }
    local plain <close> = noether.check(noether.executor{ isolation = "none", store = {
      get = function(_, name)
        if runs() == 1 then first:close() end -- of the second attempt
        return kept:get(name)
      end,
    } })
    local ex = noether.check(noether.cache(plain))
    local retrying = noether.retry(ex, { kinds = { "stage_failed" }, repeat_effects = true })
    first = noether.check(retrying:start("it", 7))
    assert.is_true(helper.poll(function() return first:step() end))
    assert.equal("closed", first:state())
    assert.equal(1, runs())
    local second <close> = noether.check(ex:start("it", 7))
    assert.equal(7, (noether.check(second:wait(20))))
    assert.equal(2, runs())
  end)

  it("cost what one costs", function()
    local path = layers.counter(helper.tmpdir())
    local plain <close> = noether.check(noether.executor{ isolation = "none" })
    assert(plain:register_with_effects("dear", ("execute() { echo >> %s; sleep 0.2; cat; }")
      :format(path), "bash", { "Pure", { Cost = 40 } }))
    local budget = noether.budget(plain, { cents = 100 })
    local ex = noether.check(noether.cache(noether.retry(budget)))
    for _, record in ipairs(ex:map("dear", { 1, 1, 1, 1 }, { jobs = 4 })) do
      assert.equal(1, record.output)
    end
    assert.equal(40, budget:spent())
  end)
end)

describe("noether.cache on disk", function()
  local function files(dir)
    local names = {}
    for _, name in ipairs(helper.list(dir)) do
      if name:find("%.answer$") then names[#names + 1] = dir .. "/" .. name end
    end
    return names
  end

  local function pair(dir, opts)
    local plain, runs = counting("cat")
    opts = opts or {}
    opts.dir = dir
    return function() return noether.check(noether.cache(plain, opts)) end, runs
  end

  it("keeps answers for the next executor, and the next process", function()
    local dir = helper.tmpdir() .. "/answers"
    local open, runs = pair(dir)
    noether.check(open():execute("stage", { 1 }))
    local output, err, info = open():execute("stage", { 1 })
    assert.is_nil(err)
    assert.same({ 1 }, output)
    assert.is_true(info.cached)
    assert.equal("bash", info.runtime.language)
    assert.equal(64, #info.provenance.script)
    assert.equal(1, runs())
    local ex = open()
    for _ = 1, 2 do
      assert.equal("[1]", (noether.check(ex:execute_json("stage", "[1]"))))
    end
    assert.equal(1, runs())
  end)

  it("makes its directory and its files private", function()
    local dir = helper.tmpdir() .. "/answers"
    noether.check(pair(dir)():execute("stage", 1))
    assert.equal(448, sys.stat(dir).mode) -- 0700
    assert.equal(384, sys.stat(files(dir)[1]).mode) -- 0600
    assert.equal(1, #helper.list(dir))
  end)

  -- What may have become of a file.
  local DAMAGES = {
    ["emptied"] = function() return "" end,
    ["cut off"] = function(text) return text:sub(1, -2) end,
    ["added to"] = function(text) return text .. " " end,
    ["another answer"] = function(text) return (text:gsub("1$", "2")) end,
    ["of another key"] = function(text) return (text:gsub('"key":"%x', '"key":"x')) end,
    ["a hash of nothing"] = function() return ("0"):rep(64) .. "\n{}\n1" end,
    ["binary"] = function() return ("\0\255"):rep(50) end,
    ["well hashed, of no meaning"] = function() return noether.sha256("[]\n1") .. "\n[]\n1" end,
    ["well hashed, of half a meaning"] = function()
      return noether.sha256('{"key":5}\n1') .. '\n{"key":5}\n1'
    end,
  }

  for title, damage in pairs(DAMAGES) do
    it("takes a file that is " .. title .. " for none, and writes it anew", function()
      local dir = helper.tmpdir() .. "/answers"
      local open, runs = pair(dir)
      noether.check(open():execute("stage", 1))
      local path = files(dir)[1]
      local whole = helper.read(path)
      helper.write(path, damage(whole))
      local output, err, info = open():execute("stage", 1)
      assert.is_nil(err)
      assert.equal(1, output)
      assert.is_false(info.cached)
      assert.equal(2, runs())
      assert.is_true(select(3, open():execute("stage", 1)).cached)
    end)
  end

  it("does not take one key's file for another's", function()
    local dir = helper.tmpdir() .. "/answers"
    local open, runs = pair(dir)
    local ex = open()
    noether.check(ex:execute("stage", 1))
    local first = helper.read(files(dir)[1])
    noether.check(ex:execute("stage", 2))
    for _, path in ipairs(files(dir)) do
      helper.write(path, first)
    end
    ex = open()
    assert.equal(1, (noether.check(ex:execute("stage", 1))))
    assert.equal(2, (noether.check(ex:execute("stage", 2))))
    assert.equal(3, runs())
  end)

  it("does not follow a link that was put in a file's place", function()
    local dir = helper.tmpdir() .. "/answers"
    local open, runs = pair(dir)
    noether.check(open():execute("stage", 1))
    local path = files(dir)[1]
    local target = helper.write(helper.tmpdir() .. "/target", helper.read(path))
    os.remove(path)
    helper.shell(("ln -s %s %s"):format(target, path))
    noether.check(open():execute("stage", 1))
    assert.equal(2, runs())
    assert.equal("file", sys.stat(path).type)
  end)

  it("holds its bounds on disk, too, and those of others who write there", function()
    local dir = helper.tmpdir() .. "/answers"
    local open = pair(dir, { entries = 4 })
    local ex, other = open(), open()
    for n = 1, 6 do
      noether.check(ex:execute("stage", n))
      noether.check(other:execute("stage", n + 10))
    end
    assert.is_true(#files(dir) <= 8, #files(dir))
    open()
    assert.equal(4, #files(dir))
    open = pair(dir, { bytes = 1 })
    noether.check(open():execute("stage", 1))
    assert.equal(0, #files(dir))
  end)

  it("removes what a writer left that died, and nothing else", function()
    local dir = helper.tmpdir() .. "/answers"
    local open = pair(dir)
    open()
    local old = helper.write(dir .. "/.noe-0123456789abcdef.tmp", "x")
    helper.shell("touch -d '2 days ago' " .. old)
    helper.write(dir .. "/.noe-0123456789abcdee.tmp", "x")
    helper.write(dir .. "/mine.txt", "x")
    open()
    assert.same({ ".noe-0123456789abcdee.tmp", "mine.txt" }, helper.list(dir))
  end)

  it("keeps to the age of answers across processes, also where the clock has jumped", function()
    local dir = helper.tmpdir() .. "/answers"
    local open, runs = pair(dir, { ttl_secs = 3600 })
    noether.check(open():execute("stage", 1))
    assert.is_true(select(3, open():execute("stage", 1)).cached)
    for index, seconds in ipairs{ -7200, 7200 } do
      local path = files(dir)[1]
      local rest = helper.read(path):match("^%x+\n(.*)$"):gsub('"created":([%d.eE+]+)', function(t)
        return ('"created":%.3f'):format(tonumber(t) + seconds)
      end)
      helper.write(path, noether.sha256(rest) .. "\n" .. rest)
      assert.is_false(select(3, open():execute("stage", 1)).cached)
      assert.equal(index + 1, runs())
    end
  end)

  it("answers from memory, and warns, when nothing can be written any more", function()
    local dir = helper.tmpdir() .. "/answers"
    local ex, runs = pair(dir)
    ex = ex()
    helper.remove(dir)
    local output, err, info = ex:execute("stage", 1)
    assert.is_nil(err)
    assert.equal(1, output)
    assert.truthy(info.warnings[1]:find("cache of answers", 1, true), info.warnings[1])
    assert.is_true(select(3, ex:execute("stage", 1)).cached)
    assert.equal(1, runs())
  end)

  it("is refused a directory that others can write to, or that is none", function()
    local shared = helper.tmpdir()
    helper.write(shared .. "/x", "")
    sys.chmod(shared, 511) -- 0777
    local file = helper.write(helper.tmpdir() .. "/file", "")
    for _, dir in ipairs{ shared, file, "/proc/nonesuch/answers" } do
      local ex, err = noether.cache(noether.inline{}, { dir = dir })
      assert.is_nil(ex)
      assert.equal("cache_failed", err.kind)
      assert.truthy(err.hint)
      assert.truthy(err.errno)
    end
  end)
end)
