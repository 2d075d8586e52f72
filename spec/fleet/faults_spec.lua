-- SPDX-License-Identifier: MIT
--- What goes wrong between callers, server and workers: each accepted job ends, once, and each
-- error is told as what it is. FLEET_ROUNDS: how often what is random is tried (make check-deep:
-- more).
local helper = require "spec.support.helper"
local noether = require "noether"
local redis = require "spec.support.redis"
local sys = require "noether.sys"

local ROUNDS = tonumber(os.getenv "FLEET_ROUNDS") or 1
local SOME_ROUNDS = math.max(ROUNDS // 10, 1)

-- How what was killed ended, for whoever asked for many kills.
local function tell(what, counts)
  if ROUNDS == 1 then return end
  local list = {}
  for name, count in pairs(counts) do list[#list + 1] = ("%s %d"):format(name, count) end
  table.sort(list)
  print(("\n%s: %s"):format(what, table.concat(list, ", ")))
end

local function same(value) return value end

-- A worker whose stages go on for as long as the test wants.
local Held = {}
Held.__index = Held

local function held()
  local self = setmetatable({ begun = {}, over = {} }, Held)
  function self.has_implementation() return true end
  function self.start(_, id, input)
    self.begun[#self.begun + 1] = { id = id, input = input }
    local task = { id = id }
    function task.step() return self.over[id] ~= nil end
    function task.wait()
      if not self.over[id] then return nil, { kind = "pending" } end
      return self.over[id]
    end
    function task.close() end
    function task.cancel() self.over[id] = "cancelled" end
    return task
  end
  return self
end

local function pure(id)
  return { language = "bash", code = "# " .. id, effects = { "Pure" } }
end

local function lasting(id)
  return { language = "bash", code = "# " .. id, effects = { "Network" } }
end

-- An executor that takes stages as tables, over a held one.
local function by_stage(inner)
  local foreign = noether.composite{ inner }
  return setmetatable({
    reference = function(_, _, stage) return stage.code or stage end,
  }, { __index = foreign })
end

describe("a worker that dies", function()
  local server
  setup(function() server = redis.start() end)
  teardown(function() server:close() end)
  before_each(function() server:ask("FLUSHALL") end)

  -- One worker takes a job and is no longer stepped, which is as if it had died; another looks on.
  local function with_dead_worker(stage, opts, body)
    local first, second = held(), held()
    local dead = redis.ready(redis.worker(server, by_stage(first),
      { dead_secs = 0.6, name = "dead" }))
    local fleet = redis.remote(server, opts)
    local task = assert(fleet:start(stage, 1))
    redis.drive(function()
      task:step()
      return #first.begun == 1
    end, dead)
    local heir = redis.worker(server, by_stage(second), { dead_secs = 0.6, name = "heir" })
    redis.ready(heir)
    body(task, heir, second, dead, first)
    task:close()
    fleet:close()
    heir:close()
    dead:close()
  end

  it("has its Pure job run by another", function()
    local stage = pure("a")
    with_dead_worker(stage, nil, function(task, heir, second)
      redis.drive(function()
        task:step()
        return #second.begun == 1
      end, heir)
      second.over[stage.code] = "from the heir"
      local output, err, info = redis.settle(task, heir)
      assert.is_nil(err)
      assert.equal("from the heir", output)
      assert.equal("heir", info.worker)
    end)
  end)

  it("has any other job told to be dead, and run by nobody", function()
    with_dead_worker(lasting("b"), nil, function(task, heir, second)
      local _, err = redis.settle(task, heir)
      assert.equal("job_dead", err.kind)
      assert.truthy(tostring(err):find("worker dead had begun", 1, true), tostring(err))
      assert.truthy(err.hint:find("repeat_effects", 1, true))
      assert.equal(0, #second.begun)
      assert.truthy(server:ask("XRANGE", "noether:{stages}:dead", "-", "+"):find("had begun"))
    end)
  end)

  it("has it run again where repeat_effects says so", function()
    local stage = lasting("c")
    with_dead_worker(stage, { repeat_effects = true }, function(task, heir, second)
      redis.drive(function()
        task:step()
        return #second.begun == 1
      end, heir)
      second.over[stage.code] = "again"
      assert.equal("again", (redis.settle(task, heir)))
    end)
  end)

  it("and was not dead has no say any more: one result stands", function()
    local stage = pure("d")
    with_dead_worker(stage, nil, function(task, heir, second, dead, first)
      redis.drive(function() return #second.begun == 1 end, heir)
      first.over[stage.code] = "from the dead"
      redis.drive(function() return dead.count == 0 end, dead)
      second.over[stage.code] = "from the heir"
      assert.equal("from the heir", (redis.settle(task, heir)))
    end)
  end)

  it("is not thought dead while it goes on, however long a stage takes", function()
    local first, second = held(), held()
    local slow = redis.ready(redis.worker(server, by_stage(first), { dead_secs = 0.6 }))
    local other = redis.ready(redis.worker(server, by_stage(second), { dead_secs = 0.6 }))
    local fleet = redis.remote(server)
    local stage = lasting("e")
    local task = assert(fleet:start(stage, 1))
    local until_secs
    redis.drive(function()
      task:step()
      if #first.begun + #second.begun == 1 then
        until_secs = until_secs or noether.clock() + 2
      end
      return until_secs and noether.clock() > until_secs
    end, slow, other)
    assert.equal(1, #first.begun + #second.begun)
    first.over[stage.code], second.over[stage.code] = 5, 5
    assert.equal(5, (redis.settle(task, slow, other)))
    fleet:close()
    slow:close()
    other:close()
  end)

  it("has its job run before what waits, by a worker that has no free place just then", function()
    local first, second = held(), held()
    local dead = redis.ready(redis.worker(server, by_stage(first), { dead_secs = 0.6, jobs = 1 }))
    local fleet = redis.remote(server)
    local tasks = { assert(fleet:start(pure("left"), 1)) }
    redis.drive(function()
      fleet.link:pump(true)
      return #first.begun == 1
    end, dead)
    local heir = redis.ready(redis.worker(server, by_stage(second), { dead_secs = 0.6, jobs = 1 }))
    for n, id in ipairs{ "busy", "waits", "waits, too" } do
      tasks[n + 1] = assert(fleet:start(pure(id), 1))
    end
    redis.drive(function()
      fleet.link:pump(true)
      return heir.reaper.wants
    end, heir)
    assert.equal(1, #second.begun)
    second.over[pure("busy").code] = 1
    redis.drive(function() return #second.begun == 2 end, heir)
    assert.equal(pure("left").code, second.begun[2].id)
    for _, id in ipairs{ "left", "waits", "waits, too" } do second.over[pure(id).code] = id end
    for n, task in ipairs(tasks) do assert.is_nil(select(2, redis.settle(task, heir)), n) end
    assert.equal(0, heir.reaper.claiming)
    fleet:close()
    heir:close()
    dead:close()
  end)

  it("may die at any moment, and every job ends as it was promised", function()
    local fleet = redis.remote(server)
    local dir = helper.tmpdir()
    helper.open_to_all(dir)
    local words = { "--jobs", "2", "--dead-after", "1", "--isolation", "none", "--effect",
      "Unknown", "--effect", "FsWrite=" .. dir }
    local good = redis.spawn_worker(server, "good", words)
    local counts = { kills = 0, jobs = 0, answered = 0, job_dead = 0, ["run again (Pure)"] = 0,
      ["run twice (others)"] = 0 }
    for round = 1, ROUNDS do
      local bad = redis.spawn_worker(server, "bad" .. round, words)
      local tasks = {}
      for n = 1, 8 do
        local id = ("%d-%d"):format(round, n)
        local effects = n % 2 == 0 and { "Pure", "Process" } or { { FsWrite = dir } }
        tasks[n] = assert(fleet:start({ language = "bash", effects = effects,
          code = ('execute() { echo x >>%s/%s; sleep 0.1; echo %d; }'):format(dir, id, n) }, n))
      end
      local at = noether.clock() + (round * 37 % 100) / 100 * 0.8
      helper.poll(function()
        fleet.link:pump(true)
        return noether.clock() > at
      end, 30)
      bad:kill("KILL")
      counts.kills = counts.kills + 1
      for n, task in ipairs(tasks) do
        local output, err = task:wait(60)
        task:close()
        local file = io.open(("%s/%d-%d"):format(dir, round, n))
        local _, times = (file and file:read("a") or ""):gsub("x", "")
        if file then file:close() end
        local ended, repeated = err and err.kind or "answered",
          n % 2 == 0 and "run again (Pure)" or "run twice (others)"
        counts.jobs, counts[ended] = counts.jobs + 1, (counts[ended] or 0) + 1
        if times > 1 then counts[repeated] = counts[repeated] + 1 end
        if err then
          assert.equal("job_dead", err.kind, tostring(err))
          assert.equal(1, n % 2)
        else
          assert.equal(n, output)
        end
        if n % 2 == 1 then assert.truthy(times <= 1, "ran twice") end
      end
      bad:close()
    end
    assert.equal("0\n", server:ask("XLEN", "noether:{stages}:jobs"))
    tell("workers killed", counts)
    fleet:close()
    good:close()
  end)
end)

describe("a server that is killed", function()
  for _, policy in ipairs{ "everysec", "always" } do
    it("keeps nobody waiting for ever, with appendfsync " .. policy, function()
      local server = redis.start("--appendonly", "yes", "--appendfsync", policy)
      local ran = {}
      local worker = redis.ready(redis.worker(server, noether.inline{ note = function(n)
        ran[n] = (ran[n] or 0) + 1
        return n
      end }))
      local fleet = redis.remote(server)
      local counts = { kills = 0, jobs = 0, answered = 0, job_dead = 0, ["run twice"] = 0 }
      for round = 1, SOME_ROUNDS do
        local tasks = {}
        for n = 1, 30 do tasks[n] = assert(fleet:start("note", round * 100 + n)) end
        redis.drive(function()
          fleet.link:pump(true)
          return worker.done % 30 >= round % 20
        end, worker)
        server:kill("KILL")
        server:restart()
        counts.kills = counts.kills + 1
        for n, task in ipairs(tasks) do
          local output, err = redis.settle(task, worker)
          local key = round * 100 + n
          local ended = err and err.kind or "answered"
          counts.jobs, counts[ended] = counts.jobs + 1, (counts[ended] or 0) + 1
          if (ran[key] or 0) > 1 then counts["run twice"] = counts["run twice"] + 1 end
          assert.truthy((ran[key] or 0) <= 1, "ran twice")
          if err then
            assert.equal("job_dead", err.kind, tostring(err))
            assert.equal("everysec", policy)
          else
            assert.equal(key, output)
          end
        end
      end
      tell("servers killed, appendfsync " .. policy, counts)
      fleet:close()
      worker:close()
      server:close()
    end)
  end

  it("has what may run again queued again, where it has forgotten all", function()
    local server = redis.start()
    local inner = held()
    local worker = redis.ready(redis.worker(server, by_stage(inner)))
    local fleet = redis.remote(server)
    local task, other = assert(fleet:start(pure("a"), 1)), assert(fleet:start(lasting("b"), 1))
    redis.drive(function()
      fleet.link:pump(true)
      return #inner.begun == 2
    end, worker)
    server:kill("KILL")
    server:restart()
    local _, err, info = redis.settle(other, worker)
    assert.equal("job_dead", err.kind)
    assert.truthy(err.hint:find("appendfsync always", 1, true))
    assert.is_table(info or {})
    inner.over[pure("a").code] = "done"
    assert.equal("done", (redis.settle(task, worker)))
    fleet:close()
    worker:close()
    server:close()
  end)

  it("is waited for as long as was said, and no longer", function()
    local server = redis.start()
    local worker = redis.ready(redis.worker(server, noether.inline{ same = same }))
    local fleet = redis.remote(server, { reconnect_secs = 1 })
    redis.settle(fleet:start("same", 1), worker)
    server:kill("KILL")
    local _, err = fleet:execute("same", 2)
    assert.truthy(err.kind == "queue_unavailable" or err.kind == "job_dead", err.kind)
    server:restart()
    redis.ready(worker)
    assert.equal(3, (redis.settle(fleet:start("same", 3), worker)))
    fleet:close()
    worker:close()
    server:close()
  end)

  it("only stands still: nobody is thought dead for it", function()
    local server = redis.start()
    local inner, second = held(), held()
    local worker = redis.ready(redis.worker(server, by_stage(inner), { dead_secs = 0.6 }))
    local other = redis.ready(redis.worker(server, by_stage(second), { dead_secs = 0.6 }))
    local fleet = redis.remote(server)
    local task = assert(fleet:start(lasting("x"), 1))
    redis.drive(function()
      fleet.link:pump(true)
      return #inner.begun + #second.begun == 1
    end, worker, other)
    server:kill("STOP")
    local at = noether.clock() + 2
    redis.drive(function() return noether.clock() > at end, worker, other)
    server:kill("CONT")
    inner.over[lasting("x").code], second.over[lasting("x").code] = 1, 1
    assert.equal(1, (redis.settle(task, worker, other)))
    fleet:close()
    worker:close()
    other:close()
    server:close()
  end)
end)

describe("a clock that is set by ten minutes", function()
  -- In the long form, until those who wait have given up waiting.
  local SILENT_SECS = ROUNDS > 1 and 25 or 2

  it("on the server, both ways, and by a day, ends nobody's waiting and nobody's life", function()
    local server = redis.start_with_clock()
    local inner, second = held(), held()
    local worker = redis.ready(redis.worker(server, by_stage(inner), { dead_secs = 0.6 }))
    local other = redis.ready(redis.worker(server, by_stage(second), { dead_secs = 0.6 }))
    local fleet = redis.remote(server)
    local function offset()
      return tonumber(server:ask("TIME"):match("%d+")) - math.floor(sys.time())
    end
    for n, secs in ipairs{ 600, 0, -600, 0, 86400, 0 } do
      local before, after = lasting("before" .. n), pure("after" .. n)
      local task = assert(fleet:start(before, 1))
      redis.drive(function()
        fleet.link:pump(true)
        return #inner.begun + #second.begun == 2 * n - 1
      end, worker, other)
      server.clock.set(secs)
      assert.truthy(math.abs(offset() - secs) < 60)
      local at = noether.clock() + SILENT_SECS
      redis.drive(function()
        fleet.link:pump(true)
        return noether.clock() > at
      end, worker, other)
      for _, one in ipairs{ inner, second } do one.over[after.code] = "after" end
      assert.equal("after", (redis.settle(assert(fleet:start(after, 1)), worker, other)))
      assert.equal(2 * n, #inner.begun + #second.begun)
      for _, one in ipairs{ inner, second } do one.over[before.code] = "before" end
      assert.equal("before", (redis.settle(task, worker, other)))
    end
    assert.equal("0\n", server:ask("XLEN", "noether:{stages}:dead"))
    fleet:close()
    worker:close()
    other:close()
    server:close()
  end)

  -- A sanitizer wants to be loaded before any other library.
  if not helper.sanitized then
    it("on a worker, either way, is no fault of a job's", function()
      local server = redis.start()
      local fleet = redis.remote(server, { ttl_secs = 60 })
      local stage = { language = "bash", effects = { "Pure" }, code = "execute() { date +%s; }" }
      for name, secs in pairs{ ahead = 600, behind = -600 } do
        local clock = redis.clock()
        clock.set(secs)
        local proc = redis.spawn_worker(server, name, { "--isolation", "none" }, clock.env)
        local output, err, info = fleet:execute(stage)
        assert.is_nil(err)
        assert.truthy(math.abs(output - sys.time()) < 60, "stages have the machine's clock")
        assert.truthy(info.queue_secs >= 0 and info.queue_secs < 60, info.queue_secs)
        proc:kill("TERM")
        assert.equal(0, assert(proc:wait(60)).exit_code)
        clock.close()
      end
      fleet:close()
      server:close()
    end)
  end
end)

describe("a caller that is killed", function()
  local CALLER = [[
local noether = require "noether"
local fleet = noether.check(noether.remote{ ttl_secs = 100 })
local tasks, functions = {}, { ask = function(_, call) call:later() end }
local stage = { language = "python", effects = { { Call = "ask" } },
  code = "from noether import ask\ndef execute(n): return ask()" }
for n = 1, 20 do
  tasks[n] = arg[1] == "asked" and noether.check(fleet:start(stage, n, { functions = functions }))
    or noether.check(fleet:start("note", n))
end
while true do
  for _, task in ipairs(tasks) do task:step() end
  require("noether.sys").poll({}, 0.01, {})
end
]]

  local function spawn_caller(server, ...)
    local path = helper.tmpdir() .. "/caller.lua"
    helper.write(path, CALLER)
    return assert(noether.spawn({ helper.lua, path, ... }, {
      isolation = "none", timeout_secs = 600,
      env = { NOETHER_FLEET_URL = server.url, NOETHER_FLEET_KEY = redis.KEY },
    }))
  end

  -- Whatever is there for a job or a caller goes by itself; what is left is the queue's.
  local function assert_nothing_stays(server)
    assert.equal("0\n", server:ask("XLEN", "noether:{stages}:jobs"))
    assert.equal("0\n", (server:ask("XPENDING", "noether:{stages}:jobs", "workers"):match("^0\n")))
    server.clock.set(3700) -- the longest that anything is kept for these jobs and their caller
    for key in server:ask("KEYS", "*"):gmatch("[^\n]+") do
      assert.truthy(key:find(":jobs$") or key:find(":worker:"), key)
    end
    server.clock.set(0)
  end

  it("at any moment leaves nothing behind: its jobs end, and nobody waits for it", function()
    local server = redis.start_with_clock()
    local ran = {}
    local worker = redis.ready(redis.worker(server, noether.inline{ note = function(n)
      ran[n] = (ran[n] or 0) + 1
    end }))
    for round = 1, SOME_ROUNDS do
      ran = {}
      local caller = spawn_caller(server)
      local done = worker.done
      redis.drive(function()
        return worker.done - done >= (ROUNDS == 1 and 5 or round % 20)
      end, worker)
      caller:kill("KILL")
      caller:wait(30)
      caller:close()
      redis.drive(function()
        return worker.count == 0 and server:ask("XLEN", "noether:{stages}:jobs") == "0\n"
      end, worker)
      for n = 1, 20 do assert.truthy((ran[n] or 0) <= 1, "ran twice") end
    end
    assert_nothing_stays(server)
    worker:close()
    server:close()
  end)

  it("has stages that wait for a function of its end, too", function()
    local server = redis.start_with_clock()
    local executor = assert(noether.executor{ isolation = "none" })
    local worker = redis.ready(redis.worker(server, executor, { dead_secs = 1, jobs = 2 }))
    local caller = spawn_caller(server, "asked")
    redis.drive(function()
      local _, task = next(worker.by_task)
      return task and task.talk and next(task.talk.pending)
    end, worker)
    caller:kill("KILL")
    caller:wait(30)
    caller:close()
    redis.drive(function()
      return worker.count == 0 and server:ask("XLEN", "noether:{stages}:jobs") == "0\n"
    end, worker)
    assert_nothing_stays(server)
    worker:close()
    executor:close()
    server:close()
  end)
end)

describe("what is wrong with a server", function()
  local function error_of(server, opts)
    local fleet = redis.remote(server, opts)
    local _, err = fleet:execute("same", 1)
    fleet:close()
    return err
  end

  it("is told with what to do: passwords, rights, types, settings", function()
    local server = redis.start("--requirepass", "secret")
    local err = error_of(server)
    assert.equal("queue_unavailable", err.kind)
    assert.truthy(err.hint:find("USER:PASSWORD", 1, true))
    server.url = "unix://:wrong@" .. server.socket
    err = error_of(server)
    assert.truthy(err.hint:find("password in the address is wrong", 1, true))
    server.url = "unix://:secret@" .. server.socket
    err = error_of(server, { reconnect_secs = 0.2 })
    assert.truthy(err.hint:find("noether worker", 1, true), err.hint)
    server:close()

    server = redis.start()
    server:ask("SET", "noether:{stages}:jobs", "x")
    err = error_of(server)
    assert.truthy(err.hint:find("something else has the name", 1, true), err.hint)
    local worker = redis.worker(server, noether.inline{})
    local ok, failed = worker:run()
    assert.is_nil(ok)
    assert.equal("queue_unavailable", failed.kind)
    worker:close()
    server:ask("DEL", "noether:{stages}:jobs")
    server:ask("ACL", "SETUSER", "poor", "on", ">x", "~*", "+@all", "-eval")
    server.url = "unix://poor:x@" .. server.socket
    err = error_of(server)
    assert.truthy(err.hint:find("docs/fleet.md", 1, true), err.hint)
    server.url = "unix://" .. server.socket
    server:ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    err = error_of(server)
    assert.truthy(err.hint:find("noeviction", 1, true), err.hint)
    server:close()
  end)

  it("is told where it is full, and workers go on so that it gets empty", function()
    local server = redis.start()
    local worker = redis.ready(redis.worker(server, noether.inline{ same = same }))
    local fleet = redis.remote(server)
    local tasks = {}
    for n = 1, 20 do tasks[n] = assert(fleet:start("same", ("x"):rep(30000) .. n)) end
    helper.poll(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "20\n"
    end, 30)
    server:ask("CONFIG", "SET", "maxmemory", "1")
    local _, err = fleet:execute("same", 1)
    assert.equal("queue_full", err.kind)
    assert.truthy(err.hint:find("maxmemory", 1, true))
    for n, task in ipairs(tasks) do
      assert.equal(("x"):rep(30000) .. n, (redis.settle(task, worker)))
    end
    fleet:close()
    worker:close()
    server:close()
  end)

  it("is found out where the queue was deleted", function()
    local server = redis.start()
    local worker = redis.ready(redis.worker(server, noether.inline{ same = same }))
    local fleet = redis.remote(server)
    local task = assert(fleet:start("same", 1))
    helper.poll(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "1\n"
    end, 30)
    server:ask("DEL", "noether:{stages}:jobs")
    assert.equal(1, (redis.settle(task, worker)))
    task = assert(fleet:start("same", 2))
    helper.poll(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "1\n"
    end, 30)
    server:ask("XTRIM", "noether:{stages}:jobs", "MAXLEN", "0")
    assert.equal(2, (redis.settle(task, worker)))
    fleet:close()
    worker:close()
    server:close()
  end)

  it("is told where it is too old, or no such server", function()
    local python = [[
import os, socket, sys
kind, path = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_UNIX); s.bind(path + ".new"); s.listen(5)
os.rename(path + ".new", path)
def array(*items):
    return b"*%d\r\n" % len(items) + b"".join(b"$%d\r\n%s\r\n" % (len(i), i) for i in items)
while True:
    c, _ = s.accept()
    data = c.recv(65536)
    if kind == "old":
        c.sendall(array(b"server", b"redis", b"version", b"6.0.16") + b"+OK\r\n*0\r\n" +
                  b"$9\r\nloading:0\r\n")
    elif kind == "older":
        c.sendall(b"-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n")
    elif kind == "half":
        c.sendall(array(b"server", b"redis")[:17]); c.close(); continue
    elif kind == "many":
        c.sendall(b"*2000000000\r\n")
    elif kind == "line":
        c.sendall(b"+" + b"x" * 200000)
    elif kind == "http":
        c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    c.recv(65536)
    c.close()
]]
    for kind, text in pairs{
      old = "redis 6.0.16", older = "unknown command", half = "closed the connection",
      many = "too many values", line = "has no end", http = "does not speak",
    } do
      local dir = helper.tmpdir()
      local proc = assert(noether.spawn({ "python3", "-c", python, kind, dir .. "/s" },
        { isolation = "none" }))
      assert(helper.poll(function() return sys.stat(dir .. "/s") end, 30))
      local err = error_of{ url = "unix://" .. dir .. "/s" }
      assert.equal("queue_unavailable", err.kind)
      assert.truthy(tostring(err):find(text, 1, true), kind .. ": " .. tostring(err))
      if kind:find("old") then assert.truthy(err.hint:find("Redis 7.0", 1, true)) end
      proc:close()
    end
  end)
end)
