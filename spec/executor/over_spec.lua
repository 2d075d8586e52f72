-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local errors = require "noether.error"
local layers = require "spec.support.executors"
local noether = require "noether"
local sys = require "noether.sys"
local tables = require "noether.tables"

local PURE = { "Pure" }

local function bash(code, opts)
  local store = noether.store.memory()
  noether.check(store:put{ name = "stage", language = "bash", effects = PURE,
    code = "execute() { " .. code .. "; }" })
  opts = opts or {}
  opts.store, opts.isolation = store, "none"
  return noether.check(noether.executor(opts))
end

-- All three, over a composite.
local function stack(ex)
  local budget = noether.budget(noether.composite{ ex }, { cents = 10 })
  return noether.check(noether.cache(noether.retry(budget)))
end

describe("the executors over another", function()
  it("are all tried here", function()
    local directory, classes = helper.root .. "/lua/noether/executor", {}
    for _, file in ipairs(helper.list(directory)) do
      local text = file:find "%.lua$" and helper.read(directory .. "/" .. file) or ""
      classes[#classes + 1] = text:match 'over%.class%("(%w+)"%)'
    end
    table.sort(classes)
    assert.same(tables.sorted_names(layers.OVER), classes)
  end)
end)

for name, over in pairs(layers.OVER) do
  describe("an executor of noether." .. name, function()
    it("has the face of the executor below", function()
      local plain <close> = bash("cat")
      local ex <close> = over(plain)
      assert.same({ 1 }, (noether.check(ex:execute("stage", { 1 }))))
      assert.equal("[ 1 ]", (noether.check(ex:execute_json("stage", "[ 1 ]"))))
      local task <close> = assert(ex:start("stage", 2))
      assert.equal(2, (noether.check(task:wait())))
      local outputs = {}
      for index, record in ipairs(ex:map("stage", { 3, false, "x", 3 }, { jobs = 2 })) do
        outputs[index] = record.output
      end
      assert.same({ 3, false, "x", 3 }, outputs)
      assert.same(plain:plan("stage", 1), ex:plan("stage", 1))
      assert.equal("unresolved", ex:plan("stage", 1, { resolve = false }).runtime.kind)
      assert.is_true(ex:has_implementation("stage"))
      assert.is_false(ex:has_implementation("nonesuch"))
      local stage = { language = "bash", code = "execute() { echo 7; }", effects = PURE }
      assert.equal(7, (noether.check(ex:execute(stage))))
    end)

    it("hands on what the executor below says of bad input, or of a missing stage", function()
      local plain <close> = bash("cat")
      local ex <close> = over(plain)
      for kind, call in pairs{
        stage_not_found = { "nonesuch", 1 }, input_invalid = { "stage", print },
      } do
        local output, err = ex:execute(call[1], call[2])
        assert.is_nil(output)
        assert.equal(kind, err.kind)
      end
      local _, err = ex:execute_json("stage", "{")
      assert.equal("input_invalid", err.kind)
    end)

    it("runs functions of noether.inline", function()
      local ex = over(noether.inline{ double = function(n) return n * 2 end })
      assert.equal(8, (noether.check(ex:execute("double", 4))))
      assert.equal("8", (noether.check(ex:execute_json("double", "4"))))
      assert.equal("inline", ex:plan("double", 4).kind)
    end)

    it("raises on a wrong option of a call, at the caller's line", function()
      local plain <close> = bash("cat")
      for _, inner in ipairs{ plain, noether.composite{ plain } } do
        local ex <close> = over(inner)
        for _, call in ipairs{
          function() ex:execute("stage", 1, { tiemout_secs = 1 }) end,
          function() ex:execute_json("stage", "1", { tiemout_secs = 1 }) end,
          function() ex:start("stage", 1, { tiemout_secs = 1 }) end,
          function() ex:map("stage", { 1 }, { tiemout_secs = 1 }) end,
        } do
          local message = layers.raised(call)
          assert.truthy(message:find("did you mean 'timeout_secs'?", 1, true), message)
          assert.truthy(message:find("^spec/executor/over_spec.lua:%d+:"), message)
        end
      end
      local message = layers.raised(function() plain.execute(over(plain), 5) end)
      assert.truthy(message:find("over_spec.lua:%d+: executor:execute: id"), message)
    end)

    it("raises on what is no executor, and says why there is none", function()
      local err = errors.new{ kind = "runtime_unavailable", message = "no nix here" }
      for _, case in ipairs{
        { nil, "expected an executor of this library first, got nil" },
        { {}, "got table" }, { 5, "got number" }, { noether.store.memory(), "got table" },
      } do
        local message = layers.raised(function() noether[name](case[1], { cents = 1 }) end)
        assert.truthy(message:find(case[2], 1, true), message)
        assert.truthy(message:find("^spec/executor/over_spec.lua:%d+: " .. name), message)
      end
      local message = layers.raised(function() noether[name](nil, err) end)
      assert.truthy(message:find("no nix here", 1, true), message)
    end)

    it("raises on wrong options, at the caller's line", function()
      local ex = noether.inline{}
      for _, opts in ipairs{ 5, { nonesuch = 1 }, { [1] = 2 } } do
        local message = layers.raised(function() noether[name](ex, opts) end)
        assert.truthy(message:find("^spec/executor/over_spec.lua:%d+: " .. name), message)
      end
    end)

    it("refuses after close, ends what it began, and leaves the one below open", function()
      local plain <close> = bash("sleep 30; echo 1")
      assert(plain:register_with_effects("one", "execute() { echo 1; }", "bash", PURE))
      local ex = over(plain)
      local task <close> = assert(ex:start("stage"))
      assert.is_true(ex:close())
      assert.is_true(ex:close())
      local _, err = task:wait(0)
      assert.equal("closed", err.kind)
      for _, method in ipairs{ "execute", "execute_json", "start", "plan" } do
        local output
        output, err = ex[method](ex, "one", "1")
        assert.is_nil(output)
        assert.equal("closed", err.kind, method)
      end
      assert.equal("closed", ex:map("one", { 1 })[1].err.kind)
      assert.is_false(ex:has_implementation("one"))
      assert.equal(1, (noether.check(plain:execute("one"))))
    end)

    it("says so when the one below is closed, before and during a run", function()
      local plain <close> = bash("sleep 30; echo 1")
      local ex <close> = over(plain)
      local task <close> = assert(ex:start("stage"))
      plain:close()
      local _, err = task:wait()
      assert.equal("closed", err.kind)
      _, err = ex:execute("stage")
      assert.equal("closed", err.kind)
    end)

    it("wakes a set when the one below is closed", function()
      local plain <close> = bash("sleep 30; echo 1")
      local ex <close> = over(plain)
      local task <close> = assert(ex:start("stage"))
      local set <close> = noether.set()
      assert(set:add(task))
      assert.equal("pending", select(2, set:next(0)).kind)
      plain:close()
      assert.equal(task, set:next(10))
      assert.equal("closed", select(2, task:wait(0)).kind)
    end)

    it("ends a run that is cancelled, at once", function()
      local plain <close> = bash("sleep 30; echo 1")
      local ex <close> = over(plain)
      local task <close> = assert(ex:start("stage"))
      local started = sys.clock()
      task:cancel()
      local _, err = task:wait()
      assert.equal("cancelled", err.kind)
      assert.is_true(sys.clock() - started < 10)
    end)

    it("raises to the waiter what a callback raised", function()
      local plain <close> = bash("echo line >&2; echo 1")
      local ex <close> = over(plain)
      local message = layers.raised(function()
        ex:execute("stage", 1, { on_log = function() error("mine", 0) end })
      end)
      assert.equal("mine", message)
    end)
  end)
end

describe("executors over executors", function()
  it("stack, and an event loop sees one descriptor that does not change", function()
    local plain <close> = bash("sleep 0.1; cat")
    local ex <close> = stack(plain)
    local task <close> = assert(ex:start("stage", { n = 1 }))
    local fd = assert(task:pollfd())
    while not task:step() do
      assert.equal(fd, task:pollfd())
      noether.wait_any({ task }, 10)
    end
    assert.equal(fd, task:pollfd())
    local output, err, info = task:wait(0)
    assert.is_nil(err)
    assert.same({ n = 1 }, output)
    assert.is_false(info.cached)
    assert.equal(1, #info.attempts)
    assert.equal("bash", info.runtime.language)
    assert.is_true(info.phases.run >= 0.1)
  end)

  it("do not block: many wait side by side, in whatever state they are", function()
    local plain <close> = bash("sleep 0.4; cat")
    local ex <close> = stack(plain)
    noether.check(ex:execute("stage", 0)) -- finds the interpreter
    local started = sys.clock()
    local inputs = {}
    for i = 1, 20 do
      inputs[i] = i
    end
    for i, record in ipairs(ex:map("stage", inputs, { jobs = 20 })) do
      assert.equal(i, record.output)
    end
    assert.is_true(sys.clock() - started < 0.4 * 20 / 2)
  end)

  it("are waited for in a set, also while a part of them sleeps", function()
    local scripted = layers.scripted{ { kind = "packages_failed" }, { output = 1, secs = 0.02 } }
    local retry = noether.retry(scripted, { backoff_secs = 0.05 })
    local ex = noether.budget(retry, { cents = 1 })
    local set <close> = noether.set()
    local task <close> = assert(ex:start("stage"))
    assert(set:add(task))
    assert.equal(task, set:next(10))
    assert.equal(1, (noether.check(task:wait(0))))
  end)

  it("run through one another: a cached answer costs no budget, a retry does", function()
    local scripted = layers.scripted({
      { kind = "timed_out", ran = true }, { output = 5 }, { output = 6, cached = true },
    }, { { Cost = 10 } })
    local budget = noether.budget(scripted, { cents = 100 })
    local ex = noether.retry(budget, { kinds = { "timed_out" }, backoff_secs = 0 })
    assert.equal(5, (noether.check(ex:execute("stage"))))
    assert.equal(20, budget:spent())
    assert.equal(6, (noether.check(ex:execute("stage"))))
    assert.equal(20, budget:spent())
  end)

  it("add up the time of all attempts, and of the pauses between them", function()
    local scripted = layers.scripted{
      { kind = "packages_failed", secs = 0.02 }, { kind = "packages_failed", secs = 0.02 },
      { output = 1, secs = 0.02 },
    }
    local ex = noether.retry(noether.budget(scripted, { cents = 1 }), { backoff_secs = 0.02 })
    local _, err, info = ex:execute("stage")
    assert.is_nil(err)
    local sum = 0
    for _, secs in pairs(info.phases) do
      sum = sum + secs
    end
    assert.is_true(math.abs(sum - info.duration_secs) < 0.01)
    assert.is_true(info.phases.wait >= 0.06 + 0.01 + 0.02 - 0.001, info.phases.wait)
    local last = info.spans[#info.spans]
    assert.is_true(math.abs(last.start_secs + last.duration_secs - info.duration_secs) < 0.01)
  end)
end)

-- Reads a file, leaves another, calls, and answers.
local TALKS = [[execute() {
  read -r line <given
  echo "$line" >left
  noether -v sum add "$line"
  echo "$sum"
}]]

-- Any number of them, one over the other.
local TALKING = { composite = function(ex) return noether.composite{ ex } end, all = stack }
for name, over in pairs(layers.OVER) do TALKING[name] = over end

for name, over in pairs(TALKING) do
  describe("stages that talk, in " .. name, function()
    local plain, ex

    setup(function()
      plain = noether.check(noether.executor{ isolation = "none", timeout_secs = 60 })
      noether.check(plain:register_with_effects("talks", TALKS, "bash", { { Call = "add" } }))
      ex = over(plain)
    end)

    teardown(function()
      ex:close()
      plain:close()
    end)

    it("have functions, files and outputs", function()
      local dir, told = helper.tmpdir(), {}
      local out, err, info = ex:execute("talks", nil, {
        files = { given = "41\n" }, outputs = { "left" }, output_dir = dir, journal = true,
        functions = { add = function(n) return n + 1 end },
        on_call = function(entry) told[#told + 1] = entry.name end,
      })
      assert.is_nil(err, tostring(err))
      assert.equal(42, out)
      assert.same({ "add", 41, 42 }, { info.calls[1].name, info.calls[1].args,
        info.calls[1].result })
      assert.same({ "add" }, told)
      assert.equal(dir .. "/left", info.outputs[1].path)
      assert.equal("41\n", helper.read(dir .. "/left"))
      out, err, info = ex:execute("talks", nil, {
        files = { given = "41\n" }, outputs = { "left" }, replay = info.calls,
      })
      assert.same({ 42, nil, "41\n" }, { out, err, info.outputs[1].content })
    end)

    it("have those of each input", function()
      local records = ex:map("talks", { 1, 2, 3 }, {
        functions = { add = function(n) return n * 10 end }, outputs = { "left" },
        per_input = function(input) return { files = { given = input .. "\n" } } end,
      })
      for index, record in ipairs(records) do
        assert.is_nil(record.err, tostring(record.err))
        assert.same({ index * 10, index .. "\n" }, { record.output,
          record.info.outputs[1].content })
      end
      assert.equal(3, #records)
    end)

    it("are told of what is wrong before they run", function()
      for _, opts in ipairs{ { functions = {} }, { files = { ["../x"] = "" } },
        { outputs = { "/x" } }, { outputs = { "left" }, output_dir = "/nonesuch" } } do
        opts.functions = opts.functions or { add = print }
        local out, err, info = ex:execute("talks", nil, opts)
        assert.same({ nil, "input_invalid" }, { out, err.kind })
        assert.is_nil(info.result)
      end
    end)
  end)
end

describe("a stage that is tried again", function()
  it("leaves the outputs of the last attempt, and what it called then", function()
    local dir, out_dir = helper.tmpdir(), helper.tmpdir()
    local path, runs = layers.counter(dir)
    local plain <close> = noether.check(noether.executor{ isolation = "none", timeout_secs = 60 })
    local ex <close> = noether.retry(plain, { kinds = { "stage_failed" }, backoff_secs = 0.01,
      repeat_effects = true })
    local out, err, info = ex:execute({
      language = "bash", effects = { { Call = "count" } }, code = ([[execute() {
        echo >>%s
        noether -v n count
        echo "$n" >left
        [ "$n" = 2 ] || exit 1
        echo "$n"
      }]]):format(path),
    }, nil, { outputs = { "left" }, output_dir = out_dir, functions = { count = runs } })
    assert.is_nil(err, tostring(err))
    assert.same({ 2, 2, 1 }, { out, #info.attempts, #info.calls })
    assert.equal("2\n", helper.read(out_dir .. "/left"))
  end)
end)
