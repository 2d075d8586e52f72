-- SPDX-License-Identifier: MIT
--- Callers and workers, with a server between them. Each worker here is stepped by the test, unless
-- it is said to be a process.
local helper = require "spec.support.helper"
local noether = require "noether"
local redis = require "spec.support.redis"

local PURE = { "Pure" }

local function bash(code, effects)
  return { language = "bash", code = ("execute() { %s; }"):format(code), effects = effects or PURE }
end

describe("a fleet", function()
  local server

  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  before_each(function() server:ask("FLUSHALL") end)

  local function both(functions, opts, worker_opts)
    local worker = redis.ready(redis.worker(server, noether.inline(functions), worker_opts))
    return redis.remote(server, opts), worker
  end

  it("runs stages elsewhere, and gives their answers", function()
    local fleet, worker = both{ half = function(n)
      if n % 2 == 1 then return nil, "it is odd" end
      return n / 2
    end }
    local output, err, info = redis.settle(fleet:start("half", 42), worker)
    assert.is_nil(err)
    assert.equal(21, output)
    assert.equal(worker.name, info.worker)
    assert.truthy(info.queue_secs >= 0)
    assert.equal("inline", info.runtime.kind)
    output, err = redis.settle(fleet:start("half", 1), worker)
    assert.is_nil(output)
    assert.equal("stage_failed", err.kind)
    assert.truthy(tostring(err):find("it is odd"))
    output, err = redis.settle(fleet:start("nonesuch", 1), worker)
    assert.is_nil(output)
    assert.equal("stage_not_found", err.kind)
    fleet:close()
    worker:close()
  end)

  it("leaves nothing of a job on the server that was answered", function()
    local fleet, worker = both{ same = function(value) return value end }
    redis.settle(fleet:start("same", 1), worker)
    redis.settle(fleet:start("same", ("x"):rep(200000)), worker)
    redis.drive(function()
      fleet.link:pump(true)
      local left = server:ask("KEYS", "noether:*")
      return not left:find("job:") and not left:find("result:") and not left:find("started:")
        and not left:find("body:")
    end, worker)
    assert.equal("0\n", server:ask("XLEN", "noether:{stages}:jobs"))
    fleet:close()
    worker:close()
  end)

  it("takes JSON as text, and gives it", function()
    local worker = redis.ready(redis.worker(server, assert(noether.executor{ isolation = "none" })))
    local fleet = redis.remote(server)
    local task = assert(fleet:begin{ mode = "json", input = '{"a": 1.0}',
      reference = assert(fleet:reference("x", bash('echo "$1"'))),
      call = fleet:check_call("x", nil) })
    assert.equal('{"a": 1.0}', (redis.settle(task, worker)))
    fleet:close()
    worker.executor:close()
    worker:close()
  end)

  it("carries what is long in pieces of their own", function()
    local fleet, worker = both{ twice = function(text) return text .. text end }
    local long = ("0123456789"):rep(20000)
    local output = redis.settle(fleet:start("twice", long), worker)
    assert.equal(long .. long, output)
    fleet:close()
    worker:close()
  end)

  it("runs many at once, in sets and loops", function()
    local fleet, worker = both{ double = function(n) return n * 2 end }
    local set, sum = assert(noether.set()), 0
    for n = 1, 150 do set:add(assert(fleet:start("double", n))) end
    redis.drive(function()
      local task = set:next(0)
      while task do
        sum = sum + assert(task:wait(0))
        task:close()
        task = set:next(0)
      end
      return set:count() == 0
    end, worker)
    assert.equal(150 * 151, sum)
    set:close()
    fleet:close()
    worker:close()
  end)

  it("wakes a task that waits alone by its descriptor", function()
    local fleet, worker = both{ double = function(n) return n * 2 end }
    local tasks = {}
    for n = 1, 20 do tasks[n] = assert(fleet:start("double", n)) end
    -- Nobody ever looks at any but the last.
    local last = tasks[20]
    redis.drive(function()
      local sys = require "noether.sys"
      if sys.poll({ last:pollfd() }, math.min(last:timeout() or 0.05, 0.05), {}) >= 0 then
        return last:step()
      end
      return false
    end, worker)
    assert.equal(40, (last:wait(0)))
    for _, task in ipairs(tasks) do task:close() end
    fleet:close()
    worker:close()
  end)

  it("withdraws what is cancelled, in the queue and while it runs", function()
    local ran = 0
    local fleet, worker = both{ count = function() ran = ran + 1 end }
    local task = assert(fleet:start("count", 1))
    helper.poll(function()
      task:step()
      return server:ask("XLEN", "noether:{stages}:jobs") == "1\n"
    end, 30)
    task:cancel()
    local _, err = task:wait(0)
    assert.equal("cancelled", err.kind)
    task:close()
    redis.drive(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "0\n"
    end, worker)
    assert.equal(0, ran)
    fleet:close()
    worker:close()
  end)

  it("ends a stage whose caller has cancelled it", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local worker = redis.ready(redis.worker(server, executor))
    local fleet = redis.remote(server)
    local task = assert(fleet:start(bash("sleep 600")))
    redis.drive(function()
      task:step()
      return next(worker.by_task)
    end, worker)
    task:cancel()
    redis.drive(function()
      fleet.link:pump(true)
      return worker.count == 0
    end, worker)
    task:close()
    fleet:close()
    worker:close()
    executor:close()
  end)

  it("is planned by a worker, and says what is known there", function()
    local store = noether.store.memory()
    local id = assert(store:put(bash("echo 1")))
    local executor = assert(noether.executor{ isolation = "none", store = store })
    local worker = redis.ready(redis.worker(server, executor))
    local fleet = redis.remote(server)
    local call = fleet:check_call("x", { env = { SECRET = "x" } })
    local plan = redis.settle(assert(fleet:begin{ reference = id, input = 1, call = call,
      mode = "plan" }), worker)
    assert.equal("exec", plan.kind)
    assert.same({ "SECRET" }, plan.secrets)
    for name, known in pairs{ [id] = true, nonesuch = false } do
      assert.equal(known, (redis.settle(assert(fleet:begin{ reference = name, call = call,
        mode = "known" }), worker)))
    end
    fleet:close()
    worker:close()
    executor:close()
  end)

  it("gives the numbers of a job no more than the worker's own", function()
    local executor = assert(noether.executor{ isolation = "none", timeout_secs = 5,
      limits = { memory_bytes = 100 * 2 ^ 20 } })
    local worker = redis.ready(redis.worker(server, executor))
    local fleet = redis.remote(server)
    local function limits_with(opts)
      local plan = redis.settle(assert(fleet:begin{ mode = "plan", input = 1,
        reference = assert(fleet:reference("x", bash("echo 1"))),
        call = fleet:check_call("x", opts) }), worker)
      return plan.limits
    end
    local most = limits_with{ timeout_secs = math.huge, max_output_bytes = math.huge,
      limits = { memory_bytes = math.huge, processes = 100000 } }
    assert.equal(5, most.timeout_secs)
    assert.equal(100 * 2 ^ 20, most.memory_bytes)
    assert.equal(10 * 2 ^ 20, most.max_output_bytes)
    assert.equal(256, most.processes)
    local less = limits_with{ timeout_secs = 2, limits = { memory_bytes = 2 ^ 24 } }
    assert.equal(2, less.timeout_secs)
    assert.equal(2 ^ 24, less.memory_bytes)
    fleet:close()
    worker:close()
    executor:close()
  end)

  it("refuses effects that the worker does not allow", function()
    local executor = assert(noether.executor{ isolation = "none", allow_effects = {} })
    local worker = redis.ready(redis.worker(server, executor))
    local fleet = redis.remote(server)
    local _, err = redis.settle(assert(fleet:start(bash("echo 1", { "Network" }))), worker)
    assert.equal("effect_denied", err.kind)
    fleet:close()
    worker:close()
    executor:close()
  end)

  it("tells what the worker's machine lacks as such, and not as the stage's failure", function()
    local executor = { has_implementation = function() return true end, execute = function()
      local _, err = assert(noether.executor{ runtime = "host" }):execute(
        { language = "nonesuch", code = "" })
      err.kind = "runtime_unavailable"
      return nil, err
    end }
    local foreign = noether.composite{ executor }
    local worker = redis.ready(redis.worker(server, foreign))
    local fleet = redis.remote(server)
    local _, err = redis.settle(assert(fleet:start("x", 1)), worker)
    assert.equal("job_dead", err.kind)
    assert.equal("runtime_unavailable", err.cause.kind)
    assert.truthy(server:ask("XRANGE", "noether:{stages}:dead", "-", "+"):find("runtime_unavail"))
    fleet:close()
    worker:close()
  end)

  it("sends files along, and gives those that come of them", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local worker = redis.ready(redis.worker(server, executor))
    local fleet = redis.remote(server)
    local dir = helper.tmpdir()
    local binary = ("\0\1\255\n"):rep(50000)
    helper.write(dir .. "/in", binary)
    local stage = { language = "python", effects = {}, code = [[
def execute(n):
    data = open("data.bin", "rb").read() + open("sub/note.txt", "rb").read()
    open("out.bin", "wb").write(data)
    open("empty.txt", "w")
    return len(data)
]] }
    local opts = { files = { ["data.bin"] = { path = dir .. "/in" }, ["sub/note.txt"] = "text" },
      outputs = { "*.bin", "empty.txt" } }
    local output, err, info = redis.settle(assert(fleet:start(stage, 1, opts)), worker)
    assert.is_nil(err)
    assert.equal(200004, output)
    assert.equal(2, #info.outputs)
    assert.equal("empty.txt", info.outputs[1].name)
    assert.equal("", info.outputs[1].content)
    assert.equal("out.bin", info.outputs[2].name)
    assert.equal(200004, info.outputs[2].bytes)
    assert.is_true(binary .. "text" == info.outputs[2].content)
    opts.files.data = { path = dir .. "/nonesuch" }
    output, err = fleet:execute(stage, 1, opts)
    assert.is_nil(output)
    assert.equal("input_invalid", err.kind)
    assert.truthy(tostring(err):find("nonesuch", 1, true))
    assert.has_error(function() fleet:execute(stage, 1, { files = { x = 1 } }) end)
    fleet:close()
    worker:close()
    executor:close()
  end)

  it("says at once that a queue is full", function()
    local fleet, worker = both({ same = function(v) return v end }, { max_queue = 2 })
    local tasks = {}
    for n = 1, 3 do tasks[n] = assert(fleet:start("same", n)) end
    local kinds = {}
    local over = helper.poll(function()
      for n, task in ipairs(tasks) do
        if task:step() and not kinds[n] then kinds[n] = select(2, task:wait(0)).kind end
      end
      return next(kinds)
    end, 30)
    assert.equal("queue_full", kinds[over])
    for _, task in ipairs(tasks) do task:close() end
    fleet:close()
    worker:close()
  end)

  it("tells a job that nobody took in its time", function()
    local fleet, worker = both({}, { ttl_secs = 0.5 })
    local task = assert(fleet:start("same", 1))
    local _, err = task:wait(30)
    assert.equal("job_expired", err.kind)
    assert.truthy(tostring(err):find("no worker has begun it", 1, true), tostring(err))
    task:close()
    fleet:close()
    worker:close()
  end)

  it("says that there is no such queue, no such server", function()
    local fleet = redis.remote(server, { queue = "nobody-serves-it", reconnect_secs = 0.5 })
    local _, err = fleet:execute("same", 1)
    assert.equal("queue_unavailable", err.kind)
    assert.truthy(err.hint:find("noether worker", 1, true))
    fleet:close()
    fleet = redis.remote({ url = "unix:///nonesuch/socket" })
    _, err = fleet:execute("same", 1)
    assert.equal("queue_unavailable", err.kind)
    assert.truthy(tostring(err):find("No such file", 1, true), tostring(err))
    fleet:close()
    fleet = redis.remote({ url = "redis://nonesuch.invalid" })
    _, err = fleet:execute("same", 1)
    assert.equal("queue_unavailable", err.kind)
    assert.truthy(tostring(err):find("there is no host", 1, true), tostring(err))
    fleet:close()
  end)

  it("refuses options that are about this machine, and wrong ones", function()
    local fleet = redis.remote(server)
    for name, value in pairs{ work_dir = "/tmp", replay = {},
      warm = true, output_dir = "/tmp" } do
      local ok, message = pcall(fleet.execute, fleet, bash("echo 1"), 1, { [name] = value })
      assert.is_false(ok)
      assert.truthy(message:find("noether.remote", 1, true), message)
    end
    assert.has_error(function() fleet:execute("x", 1, { tiemout_secs = 1 }) end)
    fleet:close()
    assert.equal("closed", select(2, fleet:execute("x", 1)).kind)
    for _, opts in ipairs{ {}, { url = "redis://h" }, { url = "http://h", key = redis.KEY },
      { url = "redis://h", key = "short" }, { url = "redis://h", key = redis.KEY, queue = "a b" },
      { url = "redis://h", key = redis.KEY, reconnect_secs = 0 },
    } do
      assert.has_error(function() noether.remote(opts) end)
      assert.has_error(function() noether.worker(opts) end)
    end
  end)

  it("says what a build lacks that was made without hiredis", function()
    local out, code = helper.shell(helper.quote(helper.lua) .. [[ -e '
      package.loaded["noether.redis"] = {}
      require("noether").remote{ url = "redis://h", unsigned = true }']])
    assert.equal(1, code)
    assert.truthy(out:find("libhiredis-dev", 1, true), out)
  end)

  it("can be inside of other executors, and its descriptor is theirs", function()
    local fleet, worker = both{ double = function(n) return n * 2 end }
    local outer = noether.retry(fleet, { repeat_effects = true })
    local task = assert(outer:start("double", 4))
    local set = assert(noether.set())
    set:add(task)
    redis.drive(function() return set:next(0) == task end, worker)
    assert.equal(8, (task:wait(0)))
    assert.equal(worker.name, select(3, task:wait(0)).worker)
    task:close()
    -- One that is given up in the middle leaves nothing behind that would wake the whole.
    task = assert(outer:start("double", 5))
    task:close()
    set:close()
    fleet:close()
    worker:close()
  end)

  it("runs whole stages by workers that are processes, and drains them at SIGTERM", function()
    local one = redis.spawn_worker(server, "one", { "--jobs", "1", "--dead-after", "5" })
    local two = redis.spawn_worker(server, "two", { "--jobs", "1" })
    local fleet = redis.remote(server)
    local inputs, workers = {}, {}
    for n = 1, 12 do inputs[n] = n end
    local records = assert(fleet:map(bash('echo "$1"'), inputs, { jobs = 6 }))
    for n, record in ipairs(records) do
      assert.is_nil(record.err)
      assert.equal(n, record.output)
      workers[record.info.worker] = true
    end
    assert.same({ one = true, two = true }, workers)
    local task = assert(fleet:start({ language = "python", effects = PURE,
      code = "import time\ndef execute(n):\n  time.sleep(1)\n  return n" }, 3))
    helper.poll(function()
      task:step()
      return server:ask("XPENDING", "noether:{stages}:jobs", "workers"):find("^[1-9]")
    end, 30)
    one:kill("TERM")
    two:kill("TERM")
    assert.equal(3, (task:wait(60)))
    task:close()
    assert.equal(0, assert(one:wait(60)).exit_code)
    assert.equal(0, assert(two:wait(60)).exit_code)
    assert.equal("0\n", server:ask("EXISTS", "noether:{stages}:worker:one"))
    fleet:close()
  end)
end)
