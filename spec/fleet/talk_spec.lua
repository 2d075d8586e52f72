-- SPDX-License-Identifier: MIT
--- What a caller and its worker say to one another while a job runs: calls to functions, and logs.
local helper = require "spec.support.helper"
local messages = require "noether.fleet.message"
local noether = require "noether"
local redis = require "spec.support.redis"
local sign = require "noether.fleet.sign"

local function asks(code, effects)
  return { language = "python", code = code, effects = effects or { { Call = "*" } } }
end

describe("a stage on a worker", function()
  local server, executor, worker, fleet

  setup(function()
    server = redis.start()
    executor = assert(noether.executor{ isolation = "none" })
  end)
  teardown(function()
    executor:close()
    server:close()
  end)
  before_each(function()
    server:ask("FLUSHALL")
    worker = redis.ready(redis.worker(server, executor, { dead_secs = 60 }))
    fleet = redis.remote(server)
  end)
  after_each(function()
    fleet:close()
    worker:close()
  end)

  it("calls functions of its caller, whose answers come back", function()
    local told = {}
    local output, err, info = redis.settle(assert(fleet:start(asks([[
from noether import price, acall
import asyncio
def execute(ids):
    return {"sum": sum(price(id=i) for i in ids), "kind": kind()}
def kind():
    try:
        import noether
        noether.call("broken")
    except noether.CallError as e:
        return [e.kind, str(e)]
]]), { 1, 2, 3 }, {
      functions = {
        price = function(args) return args.id * 10 end,
        broken = function() error("it is not there") end,
      },
      on_call = function(entry) told[#told + 1] = entry.name end,
    })), worker)
    assert.is_nil(err)
    assert.equal(60, output.sum)
    assert.equal("call_failed", output.kind[1])
    assert.truthy(output.kind[2]:find("it is not there", 1, true))
    assert.same({ "price", "price", "price", "broken" }, told)
    assert.equal(4, #info.calls)
    assert.equal("price", info.calls[1].name)
  end)

  it("is answered by what takes time, and checked by schemas, on the caller's side", function()
    local stage = asks([[
from noether import slow, typed, CallError
def execute(n):
    try:
        typed(n="x")
    except CallError as e:
        return [slow(n=n), e.kind]
]])
    local output, err = redis.settle(assert(fleet:start(stage, 4, { functions = {
      slow = function(args)
        return noether.inline{ double = function(n) return n * 2 end }:start("double", args.n)
      end,
      typed = { call = function() return 1 end, input_schema = { type = "object",
        properties = { n = { type = "number" } } } },
    } })), worker)
    assert.is_nil(err)
    assert.same({ 8, "input_invalid" }, output)
  end)

  it("cannot call what it has not declared, or what is not there", function()
    local code = "from noether import call\ndef execute(n): return call('price')"
    local _, err = redis.settle(assert(fleet:start(asks(code, { { Call = "other" } }), 1,
      { functions = { price = print, other = print } })), worker)
    assert.equal("effect_denied", err.kind)
    _, err = redis.settle(assert(fleet:start(asks(code, { { Call = "price" } }), 1)), worker)
    assert.equal("input_invalid", err.kind)
    assert.has_error(function() fleet:start(asks(code), 1, { functions = { price = 1 } }) end)
  end)

  it("is heard line by line while it runs", function()
    local lines, went_on = {}, nil
    local task = assert(fleet:start(asks([[
from noether import go
def execute(n):
    for i in range(n): print("line", i, flush=True)
    go()
    print("last")
]]), 3, {
      on_log = function(line) lines[#lines + 1] = line end,
      functions = { go = function(_, call) went_on = call:later() end },
    }))
    redis.drive(function()
      task:step()
      return went_on and #lines == 3
    end, worker)
    went_on:answer()
    local _, err = redis.settle(task, worker)
    assert.is_nil(err)
    assert.same({ "line 0", "line 1", "line 2", "last" }, lines)
  end)

  it("has what a listener raises raised where it is waited for", function()
    local task = assert(fleet:start(asks("def execute(n): print('x')"), 1,
      { on_log = function() error("enough") end }))
    local ok, message
    redis.drive(function()
      ok, message = pcall(task.step, task)
      return not ok
    end, worker)
    assert.truthy(message:find("enough", 1, true))
    task:close()
  end)

  it("is ended where its caller is gone while it waits for an answer", function()
    worker.settings.dead_secs = 1
    local task = assert(fleet:start(asks("from noether import ask\ndef execute(n): return ask()"),
      1, { functions = { ask = function() error("never asked") end } }))
    helper.poll(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "1\n"
    end, 30)
    fleet.link.news:close() -- its connections are there, and nobody goes on with them
    redis.drive(function() return next(worker.by_task) end, worker)
    redis.drive(function() return worker.count == 0 end, worker)
    fleet.link.news = assert(require("noether.fleet.wire").new("remote",
      fleet.settings.place, {}))
    task:close()
  end)

  it("has its call answered once, though the server was killed meanwhile", function()
    local own = redis.start("--appendonly", "yes", "--appendfsync", "always")
    local worker = redis.ready(redis.worker(own, executor)) -- luacheck: ignore
    local fleet = redis.remote(own) -- luacheck: ignore
    local times, waiting = 0, nil
    local task = assert(fleet:start(asks(
      "from noether import ask\ndef execute(n): return [ask(), ask()]"), 1, {
      functions = { ask = function(_, call)
        times = times + 1
        waiting = call:later()
      end },
    }))
    for n = 1, 2 do
      redis.drive(function()
        task:step()
        return times == n
      end, worker)
      own:kill("KILL")
      own:restart()
      waiting:answer(n)
    end
    assert.same({ 1, 2 }, (redis.settle(task, worker)))
    assert.equal(2, times)
    fleet:close()
    worker:close()
    own:close()
  end)

  it("takes no answer, and its caller no line, that was not signed", function()
    local lines, waiting = {}, nil
    local task = assert(fleet:start(asks(
      "from noether import ask\ndef execute(n): return ask()"), 1, {
      on_log = function(line) lines[#lines + 1] = line end,
      functions = { ask = function(_, call) waiting = call:later() end },
    }))
    redis.drive(function()
      task:step()
      return waiting
    end, worker)
    local run = select(2, next(worker.runs))
    local stranger = sign.keys("x", "some other secret of theirs")
    for _, keys in ipairs{ stranger, {} } do
      server:ask("RPUSH", "noether:{stages}:inbox:" .. worker.name, messages.seal(keys, nil,
        { to = "worker", job = run.id, n = 1, kind = "answer" }, '{"type":"result","value":"bad"}'))
      server:ask("RPUSH", "noether:{stages}:inbox:" .. run.caller, messages.seal(keys, nil,
        { to = "caller", job = run.id, n = 9, kind = "log", worker = "w" }, "bad"))
    end
    -- What the worker has said is nothing that it would hear itself.
    server:ask("RPUSH", "noether:{stages}:inbox:" .. worker.name, run.talk.pending[1].text)
    redis.drive(function()
      task:step()
      return server:ask("LLEN", "noether:{stages}:inbox:" .. worker.name) == "0\n"
        and server:ask("LLEN", "noether:{stages}:inbox:" .. run.caller) == "0\n"
    end, worker)
    waiting:answer("good")
    assert.equal("good", (redis.settle(task, worker)))
    assert.same({}, lines)
  end)
end)
