-- SPDX-License-Identifier: MIT
--- What somebody who can write to the server, and has no key, can do and cannot: a test for each
-- row of the table in SECURITY.md.
local command = require "spec.cli.command"
local errors = require "noether.error"
local helper = require "spec.support.helper"
local jobs = require "noether.fleet.job"
local json = require "noether.json"
local noether = require "noether"
local redis = require "spec.support.redis"
local sign = require "noether.fleet.sign"
local sys = require "noether.sys"

local QUEUE = "noether:{stages}:jobs"
local DEAD = "noether:{stages}:dead"

describe("whoever can write to the server", function()
  local server, fleet, worker, ran

  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  local function note(value)
    ran[#ran + 1] = value
    return value
  end

  before_each(function()
    server:ask("FLUSHALL")
    ran = {}
    worker = redis.ready(redis.worker(server, noether.inline{ note = note }))
    fleet = redis.remote(server)
  end)

  after_each(function()
    fleet:close()
    worker:close()
  end)

  local function length(key)
    return tonumber((server:ask("XLEN", key)))
  end

  -- A job that lies in the queue, as fields of its entry; the queue is left empty.
  local function captured(value)
    local task = assert(fleet:start("note", value))
    helper.poll(function()
      fleet.link:pump(true)
      return length(QUEUE) == 1
    end, 30)
    local lines = {}
    for line in server:ask("XRANGE", QUEUE, "-", "+"):gmatch("[^\n]*") do
      lines[#lines + 1] = line
    end
    local fields = {}
    for i = 2, #lines - 1, 2 do fields[lines[i]] = lines[i + 1] end
    server:ask("XDEL", QUEUE, lines[1])
    return task, fields
  end

  local function put(fields, key)
    server:ask("XADD", key or QUEUE, "*", "h", fields.h, "s", fields.s, "c", fields.c, "i",
      fields.i)
  end

  -- Steps the worker until the queue is empty again.
  local function settled()
    redis.drive(function() return worker.count == 0 and length(QUEUE) == 0 end, worker)
  end

  it("cannot have anything run that no caller has signed", function()
    local stranger = sign.keys("x", "some other secret of theirs")
    local sealed = jobs.seal({ id = "ab12", queue = "stages", caller = "cd34", created = sys.time(),
      expires = sys.time() + 60, mode = "json", again = true, server = "" },
      '{"name":"note","options":{}}', '"forged"', nil, stranger)
    for _, signature in ipairs{ sealed.signature, "", ("0"):rep(64), ("x"):rep(100000) } do
      put{ h = sealed.header, s = signature, c = sealed.parts.call, i = sealed.parts.input }
    end
    put{ h = "", s = "", c = "", i = "" }
    put{ h = ("["):rep(100000), s = "", c = "", i = "" }
    server:ask("XADD", QUEUE, "*", "x", "y")
    settled()
    assert.same({}, ran)
    assert.equal(7, length(DEAD))
    assert.truthy(server:ask("XRANGE", DEAD, "-", "+"):find("not signed with a key", 1, true))
  end)

  it("is told nothing by names that a terminal would obey", function()
    local name = "evil\27[2J\194\155"
    server:ask("XGROUP", "CREATECONSUMER", QUEUE, "workers", name)
    server:ask("SET", "noether:{stages}:worker:" .. name, "1 1 1 1 1")
    local words = { "fleet", "status", "--url", server.url }
    local out = command.succeed(words)
    assert.falsy(out:find("[%z\1-\9\11-\31\127]"), out)
    assert.truthy(out:find("evil\\x1B[2J", 1, true), out)
    server:ask("XADD", DEAD, "*", "job", name, "reason", name, "worker", name, "at", "1")
    words[2] = "dead"
    assert.falsy(command.succeed(words):find("[%z\1-\9\11-\31\127]"))
  end)

  it("ends no worker by a time that no job has, with the key, too", function()
    for _, times in ipairs{ { sys.time(), 1e308 }, { -1, sys.time() + 60 },
      { 1e308, sys.time() + 60 }, { sys.time(), sys.time() + 32 * 86400 } } do
      local sealed = jobs.seal({ id = "ab12", queue = "stages", caller = "cd34", mode = "json",
        created = times[1], expires = times[2], again = true, server = "" },
        '{"name":"note","options":{}}', '"late"', nil, sign.keys("x", redis.KEY))
      put{ h = sealed.header, s = sealed.signature, c = sealed.parts.call, i = sealed.parts.input }
    end
    settled()
    assert.same({}, ran)
    assert.equal(4, length(DEAD))
  end)

  it("cannot alter a job: its code, its input, its options, its effects, its queue", function()
    local task, fields = captured("right")
    task:close()
    local altered = {
      { c = (fields.c:gsub("note", "nota")) }, { i = '"wrong"' },
      { c = (fields.c:gsub("30", "99")) }, { h = (fields.h:gsub('"again":%l+', '"again":true')) },
      { h = (fields.h:gsub('"expires":%d', '"expires":9')) },
    }
    for n, change in ipairs(altered) do
      local copy = {}
      for name, value in pairs(fields) do copy[name] = change[name] or value end
      local is_other = false
      for name, value in pairs(fields) do is_other = is_other or copy[name] ~= value end
      assert.is_true(is_other, n)
      put(copy)
    end
    settled()
    assert.same({}, ran)
    assert.equal(#altered, length(DEAD))
    local other = redis.ready(redis.worker(server, noether.inline{ note = note },
      { queue = "other" }))
    put(fields, "noether:{other}:jobs")
    redis.drive(function()
      return length("noether:{other}:jobs") == 0 and other.count == 0
    end, other)
    assert.same({}, ran)
    assert.truthy(server:ask("XRANGE", "noether:{other}:dead", "-", "+"):find("another queue"))
    other:close()
  end)

  it("cannot forge or alter a result", function()
    for n, forge in ipairs{
      function(id)
        local sealed = jobs.seal_result({ id = id, queue = "stages", worker = "w", queue_secs = 0 },
          "{}", '"forged"', nil, sign.keys("x", "some other secret of theirs"))
        return jobs.pack(sealed)
      end,
      function() return "0 0 0 0\n" end,
      function() return "999999999 1 1 1\nx" end,
      function() return "x" end,
    } do
      local task = captured(n)
      local id = next(fleet.link.jobs)
      server:ask("SET", "noether:{stages}:result:" .. id, (forge(id)))
      server:ask("RPUSH", "noether:{stages}:inbox:" .. fleet.link.caller, id)
      local output, err = task:wait(30)
      assert.is_nil(output)
      assert.equal("job_dead", err.kind)
      assert.truthy(err.hint:find("the same key", 1, true))
      task:close()
    end
  end)

  -- What another version of noether would have made.
  local function of_version(version, fn)
    local own = jobs.VERSION
    jobs.VERSION = version
    local value = fn()
    jobs.VERSION = own
    return value
  end

  it("nor who has the key and another version, be misunderstood: both sides say it", function()
    for _, version in ipairs{ 2, 0, "x\27", json.null } do
      local task = of_version(version, function()
        local task = assert(fleet:start("note", 1))
        helper.poll(function()
          fleet.link:pump(true)
          return length(QUEUE) == 1
        end, 30)
        return task
      end)
      local _, err = redis.settle(task, worker)
      assert.equal("job_dead", err.kind)
      assert.truthy(err.message:find("and 1 is what is known here", 1, true), err.message)
      assert.truthy(err.hint:find("speak one version", 1, true), err.hint)

      task = captured(1)
      local id = next(fleet.link.jobs)
      server:ask("SET", "noether:{stages}:result:" .. id, jobs.pack(of_version(version, function()
        return jobs.seal_result({ id = id, queue = "stages", worker = "w", queue_secs = 0 }, "{}",
          "1", nil, sign.keys("x", redis.KEY))
      end)))
      server:ask("RPUSH", "noether:{stages}:inbox:" .. fleet.link.caller, id)
      _, err = task:wait(30)
      assert.equal("job_dead", err.kind)
      assert.truthy(err.message:find("and 1 is what is known here", 1, true), err.message)
      assert.truthy(err.hint:find("speak one version", 1, true), err.hint)
      task:close()
    end
    assert.same({}, ran)
    assert.equal(4, length(DEAD))
  end)

  it("cannot give the result of one job to another", function()
    local first = assert(fleet:start("note", "first"))
    local first_id = next(fleet.link.jobs)
    -- The answer is caught before its caller has it.
    helper.poll(function()
      fleet.link:pump(true)
      return length(QUEUE) == 1
    end, 30)
    redis.drive(function()
      return server:ask("COPY", "noether:{stages}:result:" .. first_id, "stolen") == "1\n"
    end, worker)
    local second = captured("second")
    local second_id
    for id in pairs(fleet.link.jobs) do
      if id ~= first_id then second_id = id end
    end
    server:ask("COPY", "stolen", "noether:{stages}:result:" .. second_id)
    server:ask("RPUSH", "noether:{stages}:inbox:" .. fleet.link.caller, second_id)
    local output, err = second:wait(30)
    assert.is_nil(output)
    assert.equal("job_dead", err.kind)
    assert.truthy(tostring(err):find("of another job", 1, true), tostring(err))
    first:close()
    second:close()
  end)

  it("cannot have a job run twice by a worker that has begun it", function()
    local task, fields = captured("once")
    put(fields)
    assert.equal("once", (redis.settle(task, worker)))
    redis.drive(function() fleet.link:pump(true) return length(QUEUE) == 0 end, worker)
    put(fields)
    settled()
    assert.same({ "once" }, ran)
    assert.truthy(server:ask("XRANGE", DEAD, "-", "+"):find("repeated", 1, true))
  end)

  it("can repeat a job on a worker that has not seen it, until it expires", function()
    local task, fields = captured("twice")
    put(fields)
    assert.equal("twice", (redis.settle(task, worker)))
    redis.drive(function() fleet.link:pump(true) return length(QUEUE) == 0 end, worker)
    worker:close()
    worker = redis.ready(redis.worker(server, noether.inline{ note = note }))
    put(fields)
    redis.drive(function() return length(QUEUE) == 0 and #ran == 2 end, worker)
    -- Past its expiry, and the time that clocks may be apart, none runs it.
    local keys = sign.keys("x", redis.KEY)
    local old = jobs.seal({ id = "ab12", queue = "stages", caller = "cd34",
      created = sys.time() - 2000, expires = sys.time() - 1000, mode = "json", again = true,
      server = "" }, '{"name":"note","options":{}}', '"late"', nil, keys)
    put{ h = old.header, s = old.signature, c = old.parts.call, i = old.parts.input }
    settled()
    assert.equal(2, #ran)
    local near = jobs.seal({ id = "ab13", queue = "stages", caller = "cd34",
      created = sys.time() - 700, expires = sys.time() - 600, mode = "json", again = true,
      server = "" }, '{"name":"note","options":{}}', '"clocks are apart"', nil, keys)
    put{ h = near.header, s = near.signature, c = near.parts.call, i = near.parts.input }
    redis.drive(function() return #ran == 3 end, worker)
    settled()
  end)

  -- The options that a worker over an executor takes of a job that is signed with the key.
  local function taken(executor, options)
    local seen
    worker:close()
    worker = redis.ready(redis.worker(server, setmetatable({
      check_call = function(_, fname, opts)
        seen = opts
        return executor:check_call(fname, opts)
      end,
    }, { __index = executor })))
    local sealed = jobs.seal({ id = "ab14", queue = "stages", caller = "cd34",
      created = sys.time(), expires = sys.time() + 60, mode = "json", again = true, server = "" },
      json.encode{ stage = { language = "bash", code = "execute() { echo 1; }",
        effects = json.array() }, options = options }, "1", nil, sign.keys("x", redis.KEY))
    put{ h = sealed.header, s = sealed.signature, c = sealed.parts.call, i = sealed.parts.input }
    settled()
    return seen
  end

  it("nor can who has the key, have a stage run by other rules than the worker's", function()
    local executor = assert(noether.executor{ isolation = "none" })
    assert.same({ timeout_secs = 5 }, taken(executor, { timeout_secs = 5, work_dir = "/tmp",
      files = { x = { path = "/etc/passwd" } }, output_dir = "/tmp", launcher = true,
      isolation = "none" }))
    executor:close()
  end)

  it("nor more of anything than the worker gives, whether it says how much or not", function()
    local asked = { output_files = 1e6, output_file_bytes = 1e15, calls = 1e9, call_bytes = 1e12,
      journal_bytes = 1e15, answer_values = 1e12, processes = 1e6 }
    local executor = assert(noether.executor{ isolation = "none", timeout_secs = 7,
      limits = { calls = 3, output_files = 2, answer_values = 100 } })
    local plain = assert(noether.executor{ isolation = "none" })
    local function limits_of(over)
      local opts = taken(over, { timeout_secs = 1e9, limits = asked })
      return opts.limits, opts.timeout_secs
    end
    local default = { output_files = 64, output_file_bytes = 64 * 2 ^ 20, calls = 1000,
      call_bytes = 2 ^ 20, journal_bytes = 16 * 2 ^ 20, answer_values = 1000000, processes = 256 }
    assert.same(default, (limits_of(plain)))
    default.calls, default.output_files, default.answer_values = 3, 2, 100
    -- What is over others has what they have; of several, the least.
    local several = setmetatable({
      reference = function(_, ...) return executor:reference(...) end,
      begin = function() return nil, errors.new{ kind = "cancelled", message = "seen" } end,
    }, { __index = noether.composite{ plain, noether.retry(executor) } })
    for _, over in ipairs{ executor, noether.retry(executor), several } do
      local limits, secs = limits_of(over)
      assert.same(default, limits)
      assert.equal(7, secs)
    end
    executor:close()
    plain:close()
  end)

  it("can drop and delay: the caller is told, and never waits for ever", function()
    local short = redis.remote(server, { ttl_secs = 0.5, reconnect_secs = 1 })
    local task = assert(short:start("note", 1))
    server:ask("DEL", QUEUE)
    local _, err = task:wait(30)
    assert.truthy(err.kind == "job_expired" or err.kind == "queue_unavailable", err.kind)
    task:close()
    short:close()
  end)

  it("can read all that is queued: nothing is hidden from it", function()
    local task, fields = captured("readable")
    assert.equal('"readable"', fields.i)
    assert.equal("note", json.decode(fields.c).name)
    task:close()
  end)
end)

describe("a key", function()
  local server
  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  it("can be changed while both sides go on", function()
    local old, new = redis.KEY, "the next secret of the specs"
    local worker = redis.ready(redis.worker(server, noether.inline{ id = function(v) return v end },
      { key = { new, old } }))
    for _, key in ipairs{ old, new, { new, old }, { old, new } } do
      local fleet = redis.remote(server, { key = key })
      assert.equal(1, (redis.settle(fleet:start("id", 1), worker)))
      fleet:close()
    end
    worker:close()
  end)

  it("that is another on both sides is told at once", function()
    local worker = redis.ready(redis.worker(server, noether.inline{}))
    local fleet = redis.remote(server, { key = "not the key of the worker" })
    local _, err = redis.settle(fleet:start("id", 1), worker)
    assert.equal("job_dead", err.kind)
    assert.truthy(err.hint:find("same key", 1, true), err.hint)
    fleet:close()
    worker:close()
  end)

  it("is not needed where both sides say so, and only then", function()
    local worker = redis.ready(redis.worker(server, noether.inline{ id = function(v) return v end },
      { key = false, unsigned = true, queue = "open" }))
    local fleet = redis.remote(server, { key = false, unsigned = true, queue = "open" })
    assert.equal(1, (redis.settle(fleet:start("id", 1), worker)))
    fleet:close()
    worker:close()
  end)

  it("may come from the environment", function()
    helper.with_env({ NOETHER_FLEET_KEY = redis.KEY }, function()
      local executor = noether.inline{ id = function(v) return v end }
      local worker = redis.ready(redis.worker(server, executor, { key = false }))
      local fleet = redis.remote(server, { key = false })
      assert.equal(1, (redis.settle(fleet:start("id", 1), worker)))
      fleet:close()
      worker:close()
    end)
  end)
end)
