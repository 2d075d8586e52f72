-- SPDX-License-Identifier: MIT
-- Processes that are started ahead of their request, as a user notices them.
local helper = require "spec.support.helper"
local noether = require "noether"
local shapes = require "noether.warm.shape"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local support_dir = os.getenv "SPEC_BUILD" .. "/spec/support"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

local STAGES = {
  python = "import os\ndef execute(n): return [n, os.getpid()]",
  javascript = "function execute(n) { return [n, process.pid]; }",
  bash = "execute() { echo \"[$1, $$]\"; }",
}

local function stage_of(language, code)
  return { language = language, code = code or STAGES[language], effects = {} }
end

local function is_there(backend)
  local result, err = noether.run({ "/bin/true" }, { isolation = backend })
  if not result then assert.equal("isolation_unavailable", err.kind) end
  return result ~= nil
end

-- An executor, with so many that wait for a language.
local function warmed(language, spares, opts)
  local given = { warm = true }
  for name, value in pairs(opts or {}) do given[name] = value end
  local executor = noether.check(noether.executor(given))
  local found = noether.check(executor:warmup({ language }, { spares = spares }):wait(60))
  assert.is_nil(found[language].err)
  assert.equal(spares, found[language].spares)
  return executor
end

helper.over({ backends = BACKENDS }, "what waits under %s", function(backend)
  for language in pairs(STAGES) do
    it("serves a call in " .. language .. ", each one", function()
      if not is_there(backend) then return end
      local executor = warmed(language, 2, { isolation = backend })
      for n = 1, 2 do
        local output, err, info = executor:execute(stage_of(language), n)
        assert.is_nil(err)
        assert.equal(n, output[1])
        assert.equal("spare", info.start)
        assert.equal(backend, info.isolation)
        assert.is_true(info.phases.answer > 0)
        assert.is_true(info.phases.answer <= info.result.duration_secs)
      end
      assert.equal(2, executor:pools()[1].served)
      executor:close()
    end)
  end
end)

describe("the option warm", function()
  it("is off, and can be switched off for a call", function()
    local executor = noether.check(noether.executor())
    assert.equal("cold", select(3, executor:execute(stage_of "bash", 1)).start)
    assert.same({}, executor:pools())
    executor:close()
    executor = warmed("bash", 1)
    local info = select(3, executor:execute(stage_of "bash", 1, { warm = false }))
    assert.equal("cold", info.start)
    assert.equal(1, executor:pools()[1].spares)
    executor:close()
  end)

  it("has calls make more ready, until there are enough, and again when most are used", function()
    local executor = noether.check(noether.executor{ warm = { spares = 4 } })
    local starts, waiting = {}, {}
    for n = 1, 9 do
      starts[n] = select(3, executor:execute(stage_of "bash", n)).start
      waiting[n] = executor:pools()[1].spares
    end
    assert.equal("cold", starts[1])
    for n = 2, 9 do assert.equal("spare", starts[n]) end
    assert.same({ 1, 3, 4, 3, 2, 4, 3, 2, 4 }, waiting)
    executor:close()
  end)

  it("has them made ready beside a call that takes long, as far as that is stepped", function()
    local executor = warmed("python", 1)
    local sleeps = "import time\ndef execute(n): time.sleep(n)"
    local task = executor:start(stage_of("python", sleeps), 60)
    local deadline = noether.clock() + 30
    while executor:pools()[1].spares == 0 and noether.clock() < deadline do task:wait(0.1) end
    assert.equal("run", task:state())
    assert.is_true(executor:pools()[1].spares > 0)
    task:close()
    executor:close()
  end)

  it("raises on what makes no sense", function()
    for _, case in ipairs{
      { 1, "warm': expected a boolean or a table" },
      { { spares = -1 }, "warm: option 'spares'" },
      { { calls = 0 }, "warm: option 'calls'" },
      { { spare = 1 }, "warm: unknown option 'spare' %(did you mean 'spares'" },
      { { imports = { "os; import evil" } }, "is no name of a module" },
      { { idle_secs = -1 }, "warm: option 'idle_secs'" },
    } do
      assert.error_matches(function() noether.executor{ warm = case[1] } end, case[2])
    end
    local executor = noether.check(noether.executor())
    assert.error_matches(function() executor:warmup({ "bash" }, { spares = 1 }) end, "keeps none")
    executor:close()
  end)
end)

describe("as many wait", function()
  it("as the memory for them lets", function()
    local executor = noether.check(noether.executor{ warm = { memory_bytes = 1 } })
    for n = 1, 3 do
      assert.equal("cold", select(3, executor:execute(stage_of "bash", n)).start)
    end
    assert.equal(0, executor:pools()[1].spares)
    executor:close()
  end)

  it("as there may be, of eight shapes, and who is used least gives way", function()
    local executor = noether.check(noether.executor{ warm = { spares = 3 }, isolation = "none" })
    local function start(who)
      return select(3, executor:execute(stage_of "bash", 1, { env = { WHO = who } })).start
    end
    for _ = 1, 2 do start "often" end
    local used = executor:pools()[1].spares
    assert.equal(3, used)
    for n = 1, 9 do assert.equal("cold", start(tostring(n))) end
    local pools, spares = executor:pools(), 0
    for _, pool in ipairs(pools) do spares = spares + pool.spares end
    assert.equal(8, #pools)
    assert.is_true(spares <= 3)
    executor:close()
  end)
end)

describe("noether.execute", function()
  it("has some wait for its next call, and they end with the program", function()
    local cache = helper.tmpdir()
    local output, code = helper.shell(("NOETHER_CACHE_DIR=%s %s -e %s"):format(
      helper.quote(cache), helper.quote(helper.lua), helper.quote([[
local noether = require "noether"
local shapes = require "noether.warm.shape"
for n = 1, 3 do
  local output, err, info = noether.execute{
    language = "bash", code = "execute() { echo $1; }", input = n, effects = {}, warm = true,
  }
  print(output, err, info.start)
end]])))
    assert.equal("1\tnil\tcold\n2\tnil\tspare\n3\tnil\tspare\n", output)
    assert.equal(0, code)
    for _, name in ipairs(helper.list(cache .. "/scripts")) do
      assert.is_nil(name:find("^%."))
    end
  end)
end)

describe("a shape", function()
  -- Two calls; whether the second one could have had what waited for the first.
  local function is_shared(first, second)
    local executor = warmed("bash", 1, { isolation = "native", env = { WHO = "one" } })
    local stage = stage_of("bash", "execute() { echo \"\\\"$WHO\\\"\"; }")
    local output, err, info = executor:execute(first or stage, 1, second)
    assert.is_nil(err)
    executor:close()
    return info.start == "spare", output
  end

  it("is the same for other code, input, deadline and limits of output", function()
    if not is_there "native" then return end
    local shared, output = is_shared(nil, { timeout_secs = 20, max_output_bytes = 100 })
    assert.is_true(shared)
    assert.equal("one", output)
  end)

  it("is there for plans that what waits can carry out, and for no other", function()
    local job = { language = { ahead = "stdin" }, script = { own = "stage.sh" }, call = {},
      effects = { list = {} }, plan = { kind = "exec" } }
    assert.is_true(shapes.is_fit(job))
    job.plan.kind = "elsewhere"
    assert.is_false(shapes.is_fit(job))
  end)

  it("is another with other variables, limits, effects, directories", function()
    if not is_there "native" then return end
    local shared, output = is_shared(nil, { env = { WHO = "two" } })
    assert.is_false(shared)
    assert.equal("two", output)
    assert.is_false((is_shared(nil, { limits = { memory_bytes = 2 ^ 28 } })))
    assert.is_false((is_shared(nil, { limits = { processes = 100 } })))
    local dir = helper.open_to_stages(helper.tmpdir())
    assert.is_false((is_shared(nil, { work_dir = dir })))
    for _, effects in ipairs{ { "Process" }, { "Network" }, { { FsRead = helper.tmpdir() } } } do
      local stage = { language = "bash", code = "execute() { echo 1; }", effects = effects }
      assert.is_false((is_shared(stage)))
    end
  end)
end)

describe("what waits", function()
  it("ends by itself when it is not used", function()
    local executor = warmed("bash", 1, { warm = { idle_secs = 0.2 } })
    assert.is_true(helper.poll(function() return #executor:pools() == 0 end, 30))
    assert.equal("cold", select(3, executor:execute(stage_of "bash", 1)).start)
    executor:close()
  end)

  it("ends with the executor, with all it has on disk", function()
    local cache = helper.tmpdir()
    local executor = warmed("bash", 4, { cache_dir = cache, warm = { spares = 4 } })
    local function left()
      local found = {}
      for _, name in ipairs(helper.list(cache .. "/scripts")) do
        if name:sub(1, 1) == "." then found[#found + 1] = cache .. "/scripts/" .. name end
      end
      return found
    end
    assert.equal(1, #left())
    assert.equal(4 + 1, #helper.list(left()[1])) -- and a lock
    noether.check(executor:execute(stage_of "bash", 1))
    executor:close()
    assert.same({}, left())
  end)

  it("is left alone by those who clean the cache, however old it looks", function()
    local cache = helper.tmpdir()
    local executor = warmed("python", 1, { cache_dir = cache, isolation = "none" })
    helper.shell(("touch -d '3 hours ago' %s/scripts/.tmp-*"):format(cache))
    local other = noether.check(noether.executor{ cache_dir = cache, isolation = "none" })
    noether.check(other:execute(stage_of("bash", "execute() { echo 1; } # another"), 1))
    other:close()
    helper.shell(("NOETHER_CACHE_DIR=%s %s/bin/noether prune"):format(cache,
      os.getenv "SPEC_BUILD"))
    assert.equal("spare", select(3, executor:execute(stage_of "python", 1)).start)
    executor:close()
  end)

  it("has the time of its request from when that comes", function()
    local executor = warmed("python", 1, { timeout_secs = 2 })
    assert.is_false(helper.poll(function() return false end, 2.5))
    local output, err, info = executor:execute(stage_of "python", 1)
    assert.is_nil(err)
    assert.equal(1, output[1])
    assert.equal("spare", info.start)
    executor:close()
  end)

  it("is ended at the deadline of its request", function()
    local executor = warmed("python", 1)
    local started = sys.clock()
    local _, err, info = executor:execute(
      stage_of("python", "def execute(n):\n  while True: pass"), 1, { timeout_secs = 1 })
    assert.equal("timed_out", err.kind)
    assert.equal("spare", info.start)
    assert.is_true(sys.clock() - started < 20)
    executor:close()
  end)

  it("counts of processor time what its request takes", function()
    local executor = warmed("python", 1)
    local _, err, info = executor:execute(stage_of("python",
      "import time\ndef execute(n):\n  end = time.process_time() + n\n"
      .. "  while time.process_time() < end: pass\n  return time.process_time()"), 0.5)
    assert.is_nil(err)
    local used = info.result.cpu_user_secs + info.result.cpu_system_secs
    assert.is_true(used > 0.4 and used < 2, used)
    executor:close()
  end)
end)

-- A language that is a shell: what it runs when it is started cold, and ahead.
local function shell_policy(ahead, cold, waiting)
  return { languages = { mine = {
    names = { "mine" }, extension = "mine", ahead = ahead,
    runtime = { programs = { "sh" }, probe = {
      "-c", [[printf '{"path":"%s","version":"1","dirs":[]}' "$(readlink -f /bin/sh)"]],
    } },
    wrap = function(code, opts)
      return {
        files = { ["run.sh"] = opts and opts.ahead and waiting or cold, code = code .. "\n" },
        entry = "run.sh", own = "code",
      }
    end,
    argv = function(runtime, entry) return { runtime.path, entry } end,
  } } }
end

local ADDS = 'read -r n; read -r m <"${0%/*}/code"; echo $((n + m))\n'
local FORTY = { language = "mine", code = "40", effects = {} }

describe("bad luck", function()
  -- Calls, all of which must be answered; how they were started.
  local function starts_of(executor, stage, count, opts)
    local starts = {}
    for n = 1, count do
      local output, err, info = executor:execute(stage, n, opts)
      assert.is_nil(err, tostring(err))
      assert.equal(40 + n, output)
      starts[n] = info.start
    end
    executor:close()
    return table.concat(starts, " ")
  end

  it("is not told of: what is killed while it waits", function()
    local executor = warmed("python", 2, { isolation = "none" })
    for _, name in ipairs(helper.list "/proc") do
      local text = name:find "^%d+$" and io.open("/proc/" .. name .. "/cmdline")
      local line = text and text:read "a" or ""
      if text then text:close() end
      if line:find("scripts/.tmp-", 1, true) and line:find(os.getenv "TMPDIR":match "^.*/", 1, true)
          and not line:find("^noether%-jail") then
        helper.shell("kill -9 " .. name)
      end
    end
    assert.is_true(helper.poll(function()
      local pool = executor:pools()[1]
      return not pool or pool.spares == 0
    end, 30))
    local output, err, info = executor:execute(stage_of "python", 7)
    assert.is_nil(err)
    assert.equal(7, output[1])
    assert.equal("cold", info.start)
    executor:close()
  end)

  it("is not told of: what ends when it is asked", function()
    local policy = shell_policy("stdin", ADDS, "sleep 0.5\nexit 3\n")
    local executor = noether.check(noether.executor{ policy = policy, warm = true })
    noether.check(executor:warmup({ "mine" }, { spares = 1 }):wait())
    assert.equal("cold cold", starts_of(executor, FORTY, 2))
  end)

  it("is not told of: what answers before it is asked", function()
    local policy = shell_policy("stdin", ADDS, "echo 99\n" .. ADDS)
    local executor = noether.check(noether.executor{ policy = policy, warm = true })
    noether.check(executor:warmup({ "mine" }, { spares = 1 }):wait())
    assert.is_false(helper.poll(function() return false end, 0.3))
    assert.equal("cold", starts_of(executor, FORTY, 1))
  end)

  it("is not told of: what is never ready, and imports something", function()
    local policy = shell_policy("channel", ADDS, "sleep 60\n")
    local executor = noether.check(noether.executor{
      policy = policy, warm = { imports = { "something" } },
    })
    assert.equal("cold cold cold", starts_of(executor, FORTY, 3))
  end)

  it("is not told of: what cannot be started at all, which is not tried again and again", function()
    local policy = shell_policy("channel", ADDS, "echo started >>\"$1\"; exit 1\n")
    local dir = helper.tmpdir()
    policy.languages.mine.argv = function(runtime, entry)
      return { runtime.path, entry, dir .. "/starts" }
    end
    local executor = noether.check(noether.executor{
      policy = policy, isolation = "none", warm = { imports = { "something" } },
    })
    for n = 1, 20 do
      assert.equal(40 + n, (noether.check(executor:execute(FORTY, n))))
    end
    local _, started = helper.read(dir .. "/starts"):gsub("started", "")
    assert.is_true(started < 10, started)
    assert.matches("ended before it had a request", executor:pools()[1].problem)
    executor:close()
  end)

  it("is told of by pools: an import that fails", function()
    local executor = warmed("python", 1, { warm = { imports = { "json", "nonesuch" } } })
    local output, err, info = executor:execute(
      stage_of("python", "import sys\ndef execute(n): return 'json' in sys.modules"), 1)
    assert.is_nil(err)
    assert.is_true(output)
    assert.equal("spare", info.start)
    noether.check(executor:warmup({ "python" }, { spares = 1 }):wait())
    assert.matches("No module named 'nonesuch'",
      executor:pools()[1].failed_imports.nonesuch)
    executor:close()
  end)

  it("is no part of the log: what an import prints", function()
    local executor = warmed("python", 1, { warm = { imports = { "this" } } })
    local output, err, info = executor:execute(
      stage_of("python", "import this\ndef execute(n):\n  print('mine')\n  return n"), 1)
    assert.is_nil(err)
    assert.equal(1, output)
    assert.equal("spare", info.start)
    assert.equal("mine\n", info.logs)
    executor:close()
  end)

  it("is a host that has descriptors for one run only", function()
    local output, code = helper.shell(([[
ulimit -n 40
%s -e '
local noether = require "noether"
local shapes = require "noether.warm.shape"
local executor = noether.check(noether.executor{ warm = { spares = 50 }, isolation = "none" })
local stage = { language = "bash", code = "execute() { echo 1; }", effects = {} }
for _ = 1, 30 do assert(noether.check(executor:execute(stage)) == 1) end
executor:close()
print "done"']]):format(helper.quote(helper.lua)))
    assert.equal("done\n", output)
    assert.equal(0, code)
  end)
end)

describe("a host", function()
  local WAITING = [[
local noether = require "noether"
local shapes = require "noether.warm.shape"
local executor = noether.check(noether.executor{ warm = { spares = %d }, isolation = "none" })
noether.check(executor:warmup({ "bash" }, { spares = %d }):wait())
for _, pool in pairs(executor.pools_open.shapes) do
  for _, spare in ipairs(pool.spares) do io.write(spare.process:pid(), " ") end
end
io.write "\n"
]]

  local function are_gone(pids)
    for pid in pids:gmatch "%d+" do
      local status = io.open("/proc/" .. pid .. "/status")
      local text = status and status:read "a" or ""
      if status then status:close() end
      if text:find "Name" and not text:find "State:%s+Z" then return false end
    end
    return true
  end

  it("that is killed leaves nothing", function()
    local output = helper.shell(("%s -e %s"):format(helper.quote(helper.lua),
      helper.quote(WAITING:format(3, 3) .. "io.stdout:flush() os.execute('kill -9 $PPID')")))
    assert.matches("^%d+ %d+ %d+ \n", output)
    assert.is_true(helper.poll(function() return are_gone(output:match "^[%d ]+") end, 30))
  end)

  it("that closes an executor with 100 that wait leaves nothing", function()
    local executor = warmed("bash", 100, { isolation = "none", warm = { spares = 100 } })
    assert.equal(100, executor:pools()[1].spares)
    local pids = {}
    for _, pool in pairs(executor.pools_open.shapes) do
      for index, spare in ipairs(pool.spares) do pids[index] = spare.process:pid() end
    end
    assert.equal(100, #pids)
    executor:close()
    assert.same({}, executor:pools())
    pids = table.concat(pids, " ")
    assert.is_true(helper.poll(function() return are_gone(pids) end, 30))
  end)

  -- The supervisors know the monotonic clock alone (src/jail has no other).
  it("whose time of day jumps has what waits, its end and deadlines as before", function()
    if helper.sanitized then return end -- nothing may be loaded before what these bring
    local dir = helper.tmpdir()
    helper.write(dir .. "/clock", string.pack("d", 0))
    local output = helper.shell(("LD_PRELOAD=%s SPEC_CLOCK=%s %s -e %s 2>&1"):format(
      helper.quote(support_dir .. "/clock.so"), helper.quote(dir .. "/clock"),
      helper.quote(helper.lua), helper.quote([[
local noether = require "noether"
local sys = require "noether.sys"
local clock = assert(io.open(os.getenv "SPEC_CLOCK", "r+b"))
local function jump(secs)
  local before = os.time()
  clock:seek "set"
  clock:write(string.pack("d", secs))
  clock:flush()
  assert(math.abs(os.time() - before) > 1e6, "it has not jumped")
end
local stage = { language = "bash", code = "execute() { while [ $1 = 0 ]; do :; done; echo $1; }",
  effects = {} }
local function waited(idle_secs)
  local executor = noether.check(noether.executor{ isolation = "none",
    warm = { spares = 4, idle_secs = idle_secs } })
  noether.check(executor:warmup({ "bash" }, { spares = 4 }):wait())
  return executor
end
local executor = waited(600)
for n, secs in ipairs{ 1e8, -1e8, 2e9 } do
  jump(secs)
  local answer, err, info = executor:execute(stage, n)
  print(answer, err, info.start, executor:pools()[1].problem)
end
jump(-1e7)
local task = executor:start(stage, 0, { timeout_secs = 1 })
task:wait(0.2)
jump(1e9)
print(task:state(), select(2, task:wait()).kind)
executor:close()
executor = waited(0.3)
jump(-1e9)
local deadline = sys.clock() + 60
while #executor:pools() > 0 and sys.clock() < deadline do sys.poll({}, 0.05, {}) end
print(#executor:pools())
executor:close()]])))
    local expected = ""
    for n = 1, 3 do expected = expected .. n .. "\tnil\tspare\tnil\n" end
    assert.equal(expected .. "run\ttimed_out\n0\n", output)
  end)

  it("that forks leaves them to its parent", function()
    local executor = warmed("bash", 2, { isolation = "none" })
    local function start() return select(3, executor:execute(stage_of "bash", 1)).start end
    assert.equal("cold", support.forked(function()
      local how = start()
      executor:close()
      return how
    end))
    assert.equal("spare", start())
    executor:close()
  end)
end)

describe("two calls in a row", function()
  local FRESH = {
    python = [==[
import os, random, secrets, tempfile, uuid
def execute(n):
    open(os.path.join(os.environ["HOME"], "left"), "w").close()
    os.environ["LEFT"] = "1"
    return [random.random(), secrets.token_hex(), str(uuid.uuid4()), str(uuid.uuid1()),
            tempfile.mktemp(), os.urandom(8).hex()]]==],
    javascript = [[
const crypto = require("crypto");
const execute = () => [Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString("hex")];
]],
    bash = "execute() { echo \"[\\\"$RANDOM $RANDOM $RANDOM\\\"]\"; }",
  }

  for language, code in pairs(FRESH) do
    it("in " .. language .. " share no random number", function()
      local executor = warmed(language, 2, {
        warm = { imports = language == "python" and { "random", "uuid", "tempfile" } or {} },
      })
      local first, err, info = executor:execute(stage_of(language, code), 1)
      assert.is_nil(err)
      assert.equal("spare", info.start)
      local second = noether.check(executor:execute(stage_of(language, code), 1))
      for index in ipairs(first) do
        assert.are_not.equal(first[index], second[index])
      end
      executor:close()
    end)
  end

  it("share no file, descriptor, variable or module", function()
    local executor = warmed("python", 2)
    local code = [[
import os, sys, builtins
def execute(n):
    found = [sorted(os.listdir(os.environ["HOME"])), sorted(os.listdir("/proc/self/fd")),
             sorted(os.environ), hasattr(builtins, "left"), "left" in sys.modules]
    open(os.path.join(os.environ["HOME"], "left"), "w").close()
    open("/proc/self/stat"); os.dup(2)
    os.environ["LEFT"] = "1"
    builtins.left = sys.modules["left"] = sys
    return found]]
    local first = noether.check(executor:execute(stage_of("python", code), 1))
    local second, _, info = executor:execute(stage_of("python", code), 1)
    assert.equal("spare", info.start)
    assert.same(first, second)
    local cold = noether.check(executor:execute(stage_of("python", code), 1, { warm = false }))
    assert.same(cold, second)
    executor:close()
  end)
end)
