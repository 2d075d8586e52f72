-- SPDX-License-Identifier: MIT
--- `noether worker`, `noether fleet`, the rights in docs/fleet.md, TLS, and the demonstration.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local noether = require "noether"
local redis = require "spec.support.redis"

local KEY = { env = { NOETHER_FLEET_KEY = redis.KEY } }

local function same(value) return value end

describe("noether fleet", function()
  local server
  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  it("shows the queue and its workers, and what died", function()
    local out = command.succeed{ "fleet", "status", "--url", server.url }
    assert.truthy(out:find("there is none yet", 1, true))
    local worker = redis.ready(redis.worker(server, noether.inline{ same = same },
      { name = "here", jobs = 3 }))
    local idle = command.json{ "fleet", "status", "--url", server.url, "--json" }
    assert.equal("here", idle.workers[1].name)
    local fleet = redis.remote(server)
    redis.settle(fleet:start("same", 1), worker)
    local status = command.json{ "fleet", "status", "--url", server.url, "--json" }
    assert.equal(0, status.waiting)
    assert.equal("here", status.workers[1].name)
    assert.equal(3, status.workers[1].places)
    worker:close()
    local task = assert(fleet:start("same", 2))
    helper.poll(function()
      fleet.link:pump(true)
      return server:ask("XLEN", "noether:{stages}:jobs") == "1\n"
    end, 30)
    out = command.succeed{ "fleet", "status", "--url", server.url }
    assert.truthy(out:find("1 waiting, 0 running, 0 dead", 1, true), out)
    task:close()
    fleet:close()
  end)

  it("lists, queues again and forgets what died", function()
    server:ask("FLUSHALL")
    local fails = { has_implementation = function() return true end, execute = function()
      return nil, select(2, noether.executor{ isolation = "none", require_isolation = true })
    end }
    local worker = redis.ready(redis.worker(server, noether.composite{ fails }))
    local fleet = redis.remote(server)
    for n = 1, 2 do redis.settle(fleet:start("same", n), worker) end
    worker:close()
    fleet:close()
    local letters = command.json{ "fleet", "dead", "--url", server.url, "--json" }
    assert.equal(2, #letters)
    assert.truthy(letters[1].reason:find("isolation_unavailable", 1, true))
    local out = command.succeed{ "fleet", "dead", "--url", server.url }
    assert.truthy(out:find(letters[1].job, 1, true))
    out = command.succeed({ "fleet", "retry", "--url", server.url, "--job", letters[1].job }, KEY)
    assert.equal("1 queued again, 0 could not be\n", out)
    local ran = {}
    worker = redis.ready(redis.worker(server, noether.inline{ same = function(n)
      ran[#ran + 1] = n
    end }))
    redis.drive(function()
      return #ran == 1 and worker.count == 0
    end, worker)
    worker:close()
    assert.same({ 1 }, ran)
    assert.equal("1 removed\n", (command.succeed{ "fleet", "purge", "--url", server.url }))
    assert.equal("[]\n", (command.succeed{ "fleet", "dead", "--url", server.url, "--json" }))
  end)

  it("has its address from a file or the environment, and shows nobody its password", function()
    local own = redis.start("--requirepass", "s/cret")
    local dir = helper.tmpdir()
    local address = "unix://:s%2Fcret@" .. own.socket
    helper.write(dir .. "/url", address .. "\n")
    local env = { NOETHER_FLEET_KEY = redis.KEY, NOETHER_FLEET_URL = address }
    local worker = redis.launch_worker({ "--url-file", dir .. "/url", "--name", "secret" },
      { NOETHER_FLEET_KEY = redis.KEY })
    local other = redis.launch_worker({ "--name", "also" }, env)
    helper.with_env(env, function()
      local fleet = assert(noether.remote())
      local stage = { language = "bash", code = "execute() { echo 1; }", effects = { "Pure" } }
      assert.equal(1, (noether.check(fleet:execute(stage))))
      fleet:close()
    end)
    for _, proc in ipairs{ worker, other } do
      local words = helper.read(("/proc/%d/cmdline"):format(proc:pid()))
      assert.truthy(words:find("worker", 1, true))
      assert.falsy(words:find("s/cret", 1, true) or words:find("2Fcret", 1, true), words)
    end
    local function names(words, more)
      local status = command.json(words, more)
      table.sort(status.workers, function(a, b) return a.name < b.name end)
      return { status.workers[1] and status.workers[1].name, status.workers[2].name }
    end
    assert(helper.poll(function()
      return #command.json{ "fleet", "status", "--url-file", dir .. "/url", "--json" }.workers == 2
    end, 30))
    assert.same({ "also", "secret" }, names({ "fleet", "status", "--json" }, { env = env }))
    for _, proc in ipairs{ worker, other } do
      proc:kill("TERM")
      assert.equal(0, assert(proc:wait(60)).exit_code)
    end
    own:close()
  end)

  it("says what is wrong with where an address stands", function()
    local dir = helper.tmpdir()
    helper.write(dir .. "/empty", "\n")
    helper.write(dir .. "/two", "redis://a\nredis://b\n")
    for _, words in ipairs{ { "worker", "--unsigned" }, { "fleet", "status" } } do
      local function fail(text, more, env)
        local line = {}
        for _, list in ipairs{ words, more } do
          for _, word in ipairs(list) do line[#line + 1] = word end
        end
        command.fail(2, line, { text }, { env = env })
      end
      fail("exclude one another", { "--url", "redis://h", "--url-file", dir .. "/two" })
      fail("more than one line", { "--url-file", dir .. "/two" })
      fail("it is empty", { "--url-file", dir .. "/empty" })
      fail("there is no such file", { "--url-file", dir .. "/nonesuch" })
      fail("NOETHER_FLEET_URL: it begins with none", {}, { NOETHER_FLEET_URL = "http://:secret@h" })
      fail("'--url' is missing", {}, { NOETHER_FLEET_URL = "" })
    end
  end)

  it("says what is wrong with a line, a key, a server", function()
    command.fail(2, { "worker" }, { "--url' is missing" })
    command.fail(2, { "worker", "--url", "redis://h" }, { "--key-file" })
    command.fail(2, { "worker", "--url", "http://h", "--unsigned" }, { "redis://" })
    command.fail(2, { "worker", "--url", "redis://h", "--key-file", "/nonesuch" }, { "nonesuch" })
    command.fail(2, { "worker", "--url", "redis://h", "--unsigned", "--name", "a b" }, { "name" })
    command.fail(2, { "fleet", "status" }, { "--url' is missing" })
    command.fail(125, { "fleet", "status", "--url", "unix:///nonesuch" },
      { "queue_unavailable", "No such file" })
    local other = redis.start("--requirepass", "x")
    command.fail(125, { "worker", "--url", other.url, "--unsigned" }, { "cannot be served" })
    other:close()
  end)
end)

describe("noether worker", function()
  local server
  setup(function() server = redis.start() end)
  teardown(function() server:close() end)

  it("says that it is well, in a file, in figures and to systemd", function()
    local dir = helper.tmpdir()
    local proc = redis.spawn_worker(server, "told", { "--health-file", dir .. "/health",
      "--metrics-file", dir .. "/noether.prom", "--jobs", "1" })
    local fleet = redis.remote(server)
    local stage = { language = "bash", code = "execute() { echo 1; }", effects = { "Pure" } }
    assert.equal(1, (noether.check(fleet:execute(stage))))
    assert.truthy(helper.read(dir .. "/health"):find("^told "))
    assert.truthy(helper.read(dir .. "/noether.prom"):find("noether_runs_total", 1, true))
    fleet:close()
    proc:kill("TERM")
    assert.equal(0, assert(proc:wait(60)).exit_code)
    assert.is_nil(io.open(dir .. "/health"))
    local text = helper.read(dir .. "/noether.prom")
    assert.truthy(text:find('noether_runs_total{language="bash",outcome="ok",start="%a+"} 1'), text)
    for _, name in ipairs{ "noether_run_seconds_sum", "noether_queue_depth", "noether_dead_total",
      "noether_queue_oldest_seconds", "noether_workers_live" } do
      assert.truthy(text:find(name, 1, true), name)
    end
    assert.truthy(text:find('noether_workers_live{queue="stages"} 1.000', 1, true), text)
  end)

  it("ends what it runs when its drain is over, and says so", function()
    local executor = assert(noether.executor{ isolation = "none" })
    local worker = redis.ready(redis.worker(server, executor, { drain_secs = 0.2 }))
    local fleet = redis.remote(server)
    local task = assert(fleet:start{ language = "bash", code = "execute() { sleep 600; }" })
    redis.drive(function()
      task:step()
      return next(worker.by_task)
    end, worker)
    worker:stop()
    redis.drive(function()
      task:step()
      return worker.over
    end, worker)
    local _, err = task:wait(30)
    assert.equal("job_dead", err.kind)
    assert.truthy(tostring(err):find("the worker was ended", 1, true))
    task:close()
    fleet:close()
    worker:close()
    executor:close()
  end)
end)

describe("the rights that docs/fleet.md names", function()
  it("are enough, and leave one out", function()
    local server = redis.start()
    local count = 0
    local page = helper.read(helper.root .. "/docs/fleet.md"):gsub("\\\n", ""):gsub("'", "")
    for line in page:gmatch("\nredis%-cli (ACL SETUSER [^\n]*)") do
      local words = {}
      for word in line:gmatch("%S+") do words[#words + 1] = word end
      assert.equal("OK\n", server:ask(table.unpack(words)))
      count = count + 1
    end
    assert.equal(2, count)
    local function at(user)
      return { url = ("unix://%s:PASSWORD@%s"):format(user, server.socket) }
    end
    local first = redis.worker(at "worker", noether.inline{ same = same }, { dead_secs = 1 })
    redis.ready(first)
    local fleet = redis.remote(at "caller")
    local executor = assert(noether.executor{ isolation = "none" })
    local other = redis.ready(redis.worker(at "worker", executor))
    first:stop()
    redis.drive(function() return first.over end, first)
    first:close()
    local stage = { language = "python", effects = { { Call = "ask" } },
      code = "from noether import ask\ndef execute(n): return ask()" }
    assert.equal("yes", (redis.settle(assert(fleet:start(stage, 1, {
      functions = { ask = function() return "yes" end },
    })), other)))
    other.relay:look()
    other:stop()
    redis.drive(function() return other.over end, other)
    other:close()
    executor:close()
    assert.is_nil(other.failed)
    first = redis.ready(redis.worker(at "worker", noether.inline{ same = same },
      { dead_secs = 1 }))
    local long = ("x"):rep(100000)
    assert.equal(long, (redis.settle(fleet:start("same", long), first)))
    -- Taken, and left by a worker that is stepped no more: another one takes it over.
    local task = assert(fleet:start("same", 7))
    redis.drive(function()
      fleet.link:pump(true)
      first.reads:step()
      return first.count == 1
    end)
    local heir = redis.ready(redis.worker(at "worker", noether.inline{ same = same },
      { dead_secs = 1 }))
    assert.equal(7, (redis.settle(task, heir)))
    task = assert(fleet:start("same", 8))
    task:cancel()
    task:close()
    heir:ask_queue()
    redis.drive(function() return heir.queue_told.oldest_secs end, heir)
    assert.is_nil(heir.failed)
    assert.is_nil(first.failed)
    heir:close()
    fleet:close()
    first:close()
    server:ask("ACL", "SETUSER", "caller", "-xadd")
    fleet = redis.remote(at "caller")
    local _, err = fleet:execute("same", 1)
    assert.equal("queue_unavailable", err.kind)
    assert.truthy(err.hint:find("docs/fleet.md", 1, true), err.hint)
    fleet:close()
    server:close()
  end)
end)

describe("a server with TLS", function()
  it("is trusted by its certificate, for its name, and not otherwise", function()
    local dir = helper.tmpdir()
    local made, code = helper.shell(([[cd %s
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key -out cert
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout other.key -out other]])
      :format(helper.quote(dir)))
    assert.equal(0, code, made)
    local listener = helper.listen()
    local port = listener.port
    listener.close()
    local server = redis.start("--tls-port", tostring(port), "--tls-cert-file", dir .. "/cert",
      "--tls-key-file", dir .. "/key", "--tls-ca-cert-file", dir .. "/cert", "--tls-auth-clients",
      "no")
    local function at(host, ca)
      return { url = ("rediss://%s:%d?ca=%s/%s"):format(host, port, dir, ca) }
    end
    local worker = redis.ready(redis.worker(server, noether.inline{ same = same }))
    local fleet = redis.remote(at("localhost", "cert"))
    local long = ("x"):rep(3000000)
    assert.equal(long, (redis.settle(fleet:start("same", long), worker)))
    fleet:close()
    for _, case in ipairs{ { "localhost", "other" }, { "127.0.0.1", "cert" } } do
      fleet = redis.remote(at(case[1], case[2]))
      local _, err = fleet:execute("same", 1)
      assert.equal("queue_unavailable", err.kind)
      assert.truthy(tostring(err):find("certificate", 1, true), tostring(err))
      fleet:close()
    end
    worker:close()
    server:close()
  end)
end)

describe("the demonstration", function()
  it("runs 200 stages by two workers, one of which is killed", function()
    local out, code = helper.shell("cd " .. helper.quote(helper.root) .. " && "
      .. "BIN=" .. helper.quote((helper.lua:match("^(.*)/"))) .. " sh examples/fleet_demo.sh")
    assert.equal(0, code, out)
    assert.truthy(out:find("200 of 200 answers are right", 1, true), out)
  end)
end)
