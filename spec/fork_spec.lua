-- SPDX-License-Identifier: MIT
-- Calls of Python in a native sandbox that are copies of a fork server, as a user notices them.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"
local resource = require "noether.resource"
local support = require "spec.support.posix"

local spares = require "noether.warm.spare"
local tables = require "noether.tables"
local walls = require "noether.warm.walls"

local function is_there()
  local result, err = noether.run({ "/bin/true" }, { isolation = "native" })
  if not result then assert.equal("isolation_unavailable", err.kind) end
  return result ~= nil
end

local THERE = is_there()

-- An executor whose calls are forked: nothing waits for them.
local function forking(opts)
  local given = { isolation = "native", warm = { spares = 0 }, timeout_secs = 60 }
  for name, value in pairs(opts or {}) do given[name] = value end
  local executor = noether.check(noether.executor(given))
  local found = noether.check(executor:warmup({ "python" }, { spares = 0 }):wait(120))
  assert.is_nil(found.python.err)
  local pool = executor:pools()[1]
  assert.is_nil(pool.no_fork_server)
  assert.equal("serving", pool.fork_server)
  return executor
end

local function stage_of(code, effects)
  return { language = "python", code = code, effects = effects or {} }
end

-- Runs it by a copy; there is no other way to the answer.
local function run(executor, code, input, opts)
  local output, err, info = executor:execute(stage_of(code), input, opts)
  assert.equal("fork", info.start)
  return output, err, info
end

local function check(executor, code, input)
  local output, err = run(executor, code, input)
  assert.is_nil(err)
  return output
end

-- What a run has shown, but for what is another each time.
local function view(output, err, info)
  local result = info.result or {}
  return {
    output = output and json.encode(output), logs = info.logs, kind = err and err.kind,
    message = err and err.message, line = err and err.line, traceback = err and err.traceback,
    reason = result.reason, exit_code = result.exit_code, signal = result.signal,
    denied = result.denied_processes, isolation = info.isolation,
  }
end

local STAGES = {
  ["answers"] = "def execute(i): return {'i': i, 'list': [1, 2.5, None, True, 'ü']}",
  ["is async"] = "import asyncio\nasync def execute(i):\n  await asyncio.sleep(0)\n  return i",
  ["prints"] = "import sys\nprint('at import')\ndef execute(i):\n  print('out')\n"
    .. "  print('err', file=sys.stderr)\n  return i",
  ["raises"] = "def f(): return 1 / 0\ndef execute(i):\n  return f()",
  ["raises in a chain"] = "def execute(i):\n  try: {}['x']\n  except KeyError as e:\n"
    .. "    raise ValueError('bad') from e",
  ["has a mistake"] = "def execute(i)\n  return i",
  ["has no execute"] = "def run(i): return i",
  ["answers with what is not JSON"] = "def execute(i): return object()",
  ["answers with a NaN"] = "def execute(i): return float('nan')",
  ["exits"] = "import sys\ndef execute(i): sys.exit(3)",
  ["leaves at once"] = "import os\ndef execute(i): os._exit(4)",
  ["dies of a signal"] = "import os\ndef execute(i): os.kill(os.getpid(), 15)",
  ["aborts"] = "import os\ndef execute(i): os.abort()",
  ["crashes"] = "import ctypes\ndef execute(i): ctypes.string_at(0)",
  ["has threads"] = "import threading\ndef execute(i):\n  seen = []\n"
    .. "  t = threading.Thread(target=seen.append, args=(1,))\n  t.start()\n  t.join()\n"
    .. "  return seen",
  ["ends in order"] = "import atexit\natexit.register(print, 'at exit')\n"
    .. "class Last:\n  def __del__(self): print('finalized')\nlast = Last()\n"
    .. "def execute(i): return i",
  ["looks at itself"] = [[
import os, signal, sys, threading, __main__
def execute(i):
    return [__name__, __file__, __main__.__name__, sys.argv, sys.orig_argv[1:]
        if hasattr(sys, "orig_argv") else None, sys.path, os.getcwd(), os.getpid(), os.getppid(),
        os.umask(0o22), sorted(os.environ), os.listdir("."), os.getpriority(os.PRIO_PROCESS, 0),
        threading.current_thread().name, threading.active_count(),
        str(signal.getsignal(signal.SIGINT)), str(signal.getsignal(signal.SIGPIPE)),
        sys.stdin.read(), sys.flags.isolated, sys.flags.utf8_mode, open(__file__).read() != ""] ]],
  ["looks at its status"] = [[
def execute(i):
    kinds = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm",
        "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Threads", "NSpid", "NSsid")
    lines = dict(line.rstrip().split(":\t", 1) for line in open("/proc/self/status")
        if ":\t" in line)
    return [[kind, lines.get(kind)] for kind in kinds] ]],
  ["looks at its limits"] = "import resource\ndef execute(i):\n"
    .. "  return [list(resource.getrlimit(k)) for k in range(16)]",
  -- Newer ones are in a file of the library's, by a descriptor that it believes to have.
  ["makes many callbacks"] = "import ctypes\ndef execute(i):\n"
    .. "  kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n"
    .. "  made = [kind(lambda x, n=n: x + n) for n in range(300)]\n"
    .. "  return sum(call(1) == 1 + n for n, call in enumerate(made))",
  ["looks at its files"] = [[
import os
def execute(i):
    found = []
    for fd in range(1, 64):
        try:
            path = os.readlink("/proc/self/fd/%d" % fd)
            if "/libffi.so" not in path:  # which ctypes keeps open where it is new
                found.append([fd, path.split(":")[0], os.get_inheritable(fd)])
        except OSError:
            pass
    return found ]],
  ["tries to start a process"] = "import os\ndef execute(i):\n  os.fork()",
  ["goes on where one was refused"] = "import subprocess\ndef execute(i):\n"
    .. "  try: subprocess.run(['true'])\n  except OSError as e: return e.errno",
  ["tries to connect"] = "import socket\ndef execute(i):\n"
    .. "  socket.create_connection(('192.0.2.1', 80), 5)",
  ["writes where it may not"] = "def execute(i): open('/usr/x', 'w')",
  ["writes where it may"] = "import os\ndef execute(i):\n  open('a', 'w').write('x')\n"
    .. "  return os.listdir('.')",
}

-- What two calls must not have in common.
local DRAWS = [[
import os, random, secrets, tempfile, uuid, hashlib, ssl
def execute(i):
    return {
        "random": random.random(), "unseeded": random.Random().random(),
        "urandom": os.urandom(8).hex(), "secrets": secrets.token_hex(8),
        "uuid1": str(uuid.uuid1()), "clock_seq": uuid.uuid1().clock_seq,
        "uuid4": str(uuid.uuid4()), "node": uuid.getnode(),
        "tempfile": tempfile.mktemp(), "openssl": ssl.RAND_bytes(8).hex(),
    } ]]

-- Looks for bytes in all memory that it may read, but for what holds the pattern itself.
local SEARCH = [[
import re
def execute(halves):
    head, tail = halves[0].encode(), halves[1].encode()
    found = 0
    with open("/proc/self/maps") as lines, open("/proc/self/mem", "rb", 0) as memory:
        for line in lines:
            span, kind = line.split()[:2]
            if kind[0] != "r" or "[v" in line:
                continue
            first, last = (int(end, 16) for end in span.split("-"))
            try:
                memory.seek(first)
                data = memory.read(last - first)
            except (OSError, ValueError):
                continue
            for match in re.finditer(re.escape(head), data):
                found += data[match.end() : match.end() + len(tail)] == tail
            del data
    return found ]]

local function differ(first, second, but)
  for name, value in pairs(first) do
    if not but[name] then assert.not_equal(value, second[name], name) end
  end
end

if THERE then
  describe("a call that is forked", function()
    it("is as one that is started for itself", function()
      local executor = forking()
      for name, code in pairs(STAGES) do
        local cold = view(executor:execute(stage_of(code), { a = 1 }, { warm = false }))
        local forked = view(run(executor, code, { a = 1 }))
        assert.same(cold, forked, "a stage that " .. name)
      end
      executor:close()
    end)

    it("draws random numbers of its own, whatever the server has imported", function()
      local executor = forking{ warm = { spares = 0,
        imports = { "random", "secrets", "tempfile", "uuid", "ssl", "multiprocessing" } } }
      local first, second = check(executor, DRAWS), check(executor, DRAWS)
      differ(first, second, {})
      local key = "import multiprocessing\ndef execute(i):\n"
        .. "  return bytes(multiprocessing.current_process().authkey).hex()"
      assert.not_equal(check(executor, key), check(executor, key))
      executor:close()
    end)

    it("draws numbers of numpy's that are its own", function()
      -- Whatever else is in PATH: what the system's Python has is known.
      helper.with_env({ PATH = "/usr/bin:/bin" }, function()
        if os.execute "python3 -I -c 'import numpy' 2>/dev/null" ~= true then
          return print "(the system's Python has no numpy)"
        end
        local executor = forking{ warm = { spares = 0, imports = { "numpy" } } }
        local code = [[
import numpy
def execute(i):
    global_bits = numpy.random.mtrand._rand.randint(2 ** 31)
    return {
        "rand": numpy.random.rand(), "global": int(global_bits),
        "permutation": [int(n) for n in numpy.random.permutation(100)],
        "default_rng": numpy.random.default_rng().random(),
        "RandomState": numpy.random.RandomState().rand(),
    } ]]
        local first, second = check(executor, code), check(executor, code)
        differ(first, second, { permutation = true })
        assert.not_same(first.permutation, second.permutation)
        executor:close()
      end)
    end)

    it("is had by the host alone that started its server, and by no fork of it", function()
      local executor = forking()
      local stage = stage_of("def execute(i): return i")
      assert.equal("cold", support.forked(function()
        local output, _, info = executor:execute(stage, 1)
        executor:close()
        return output == 1 and info.start
      end))
      assert.equal(1, check(executor, "def execute(i): return i", 1))
      executor:close()
    end)

    it("holds nothing of another call in its memory", function()
      local executor = forking()
      local secret = "a-Secret-of-the-first-call-7193"
      local code = "KEPT = %q\ndef execute(i): return [KEPT, i, len(i)]"
      check(executor, code:format(secret), secret)
      -- In two halves, so that the probe does not find itself.
      local halves = { secret:sub(1, 8), secret:sub(9) }
      assert.equal(0, check(executor, SEARCH, halves))
      local shown = SEARCH:gsub("found = 0", "found = 0; kept = [head + tail]", 1)
      assert.is_true(check(executor, shown, halves) > 0)
      executor:close()
    end)

    it("finds no file, and shares no namespace", function()
      local executor = forking()
      local code = "import os\ndef execute(i):\n"
        .. "  found = [os.listdir(d) for d in ('/work', '/tmp', '/dev/shm')]\n"
        .. "  for d in ('/work', '/tmp', '/dev/shm'): open(d + '/left', 'w').write('x')\n"
        .. "  kinds = ('mnt', 'pid', 'ipc', 'net', 'user', 'uts', 'cgroup')\n"
        .. "  import time; time.sleep(0.2)\n"
        .. "  return [found, {k: os.readlink('/proc/self/ns/' + k) for k in kinds}]"
      local tasks = {}
      for n = 1, 2 do tasks[n] = executor:start(stage_of(code), n) end
      local seen = {}
      for n = 1, 2 do
        local output = noether.check(tasks[n]:wait(60))
        for _, found in ipairs(output[1]) do assert.equal(0, #found) end
        seen[n] = output[2]
      end
      differ(seen[1], seen[2], {})
      executor:close()
    end)

    it("finds no socket, lock or shared memory of another one", function()
      local executor = forking()
      local code = "import fcntl, mmap, socket, sys, time\nimport ctypes\n"
        .. "def execute(i):\n"
        .. "  s = socket.socket(socket.AF_UNIX); s.bind('\\0one-name')\n"
        .. "  t = socket.socket(); t.bind(('127.0.0.1', 7001)); t.listen()\n"
        .. "  libc = ctypes.CDLL(None, use_errno=True)\n"
        .. "  shm = libc.shmget(4711, 4096, 0o3600)\n"
        .. "  time.sleep(0.3)\n"
        .. "  return shm >= 0"
      local tasks = {}
      for n = 1, 2 do tasks[n] = executor:start(stage_of(code), n) end
      for n = 1, 2 do assert.is_true(noether.check(tasks[n]:wait(60))) end
      executor:close()
    end)

    it("does no harm to the server when it dies with all that it may reach", function()
      local executor = forking()
      for _, code in ipairs{
        "import os\ndef execute(i): os.killpg(0, 9)",
        "import os\ndef execute(i): os.kill(-1, 9); os.abort()",
        "import ctypes\ndef execute(i): ctypes.memset(0, 1, 1)",
        "def execute(i):\n  a = []\n  while True: a.append(bytearray(1 << 22))",
      } do
        local _, err = run(executor, code, 1, { limits = {} })
        assert.is_not_nil(err)
      end
      assert.equal(2, check(executor, "def execute(i): return i", 2))
      assert.equal("serving", executor:pools()[1].fork_server)
      executor:close()
    end)

    it("has limits of its own, whatever another one uses up", function()
      local executor = forking{ limits = { processes = 40 } }
      local effects = { "Process" }
      noether.check(executor:execute(stage_of("def execute(i): return i", effects), 1))
      local many = "import os, time\ndef execute(i):\n  n = 0\n  try:\n    while True:\n"
        .. "      if os.fork() == 0: time.sleep(60)\n      n += 1\n"
        .. "  except BlockingIOError: pass\n  time.sleep(i)\n  return n"
      -- Until there is a server for this shape.
      local start
      assert.is_true(helper.poll(function()
        start = select(3, executor:execute(stage_of("def execute(i): return i", effects), 1)).start
        return start == "fork"
      end, 60))
      local tasks = {}
      for n = 1, 3 do tasks[n] = executor:start(stage_of(many, effects), 1) end
      for n = 1, 3 do assert.equal(39, (noether.check(tasks[n]:wait(60)))) end
      executor:close()
    end)

    it("comes of a new server after so many", function()
      local executor = forking{ warm = { spares = 0, calls = 2 } }
      local hashes, count = {}, 0
      local code = "def execute(i): return hash('of the server')"
      helper.poll(function()
        local output = noether.check(executor:execute(stage_of(code), 1))
        local text = tostring(output)
        if not hashes[text] then hashes[text], count = true, count + 1 end
        return count >= 4
      end, 60)
      assert.is_true(count >= 4)
      executor:close()
    end)

    it("is one of many of a batch, unasked, and leaves nothing there", function()
      local executor = noether.check(noether.executor{ isolation = "native" })
      local inputs, forked = {}, 0
      for n = 1, 60 do inputs[n] = n end
      local stage = stage_of("def execute(n): return n * 2")
      for n, record in ipairs(noether.check(executor:map(stage, inputs, { jobs = 2 }))) do
        assert.equal(2 * n, record.output)
        forked = forked + (record.info.start == "fork" and 1 or 0)
      end
      assert.is_true(forked > 0)
      assert.same({}, executor:pools())
      for _, record in ipairs(executor:map(stage, inputs, { jobs = 8, warm = false })) do
        assert.equal("cold", record.info.start)
      end
      executor:close()
    end)

    it("starts cold where it is of another shape, or its server is not there", function()
      local executor = forking()
      local stage = stage_of("def execute(i): return i")
      local _, err, info = executor:execute(stage, 1, { warm = false })
      assert.is_nil(err)
      assert.equal("cold", info.start)
      local dir = helper.open_to_stages(helper.tmpdir())
      for _, opts in ipairs{ { work_dir = dir }, { isolation = "landlock" },
        { files = { a = "x" } }, { outputs = { "*" } } } do
        local other = executor
        if opts.isolation then
          other = noether.check(noether.executor{ isolation = "landlock", warm = { spares = 0 } })
          opts = {}
        end
        _, err, info = other:execute(stage, 1, opts)
        if other ~= executor then other:close() end
        if not err or err.kind ~= "isolation_unavailable" then
          assert.is_nil(err)
          assert.equal("cold", info.start)
        end
      end
      executor:close()
    end)
  end)

  describe("a fork server", function()
    it("that cannot import something leaves that to the stage", function()
      local executor = forking{ warm = { spares = 0, imports = { "no_such_module", "decimal" } } }
      assert.truthy(executor:pools()[1].failed_imports.no_such_module)
      assert.equal("1.5", check(executor,
        "import decimal\ndef execute(i): return str(decimal.Decimal(i))", "1.5"))
      executor:close()
    end)

    it("does not serve with what a copy could not have, or would share", function()
      local script = resource.text("policy/languages/python/fork.py") .. "\n" .. [[
import mmap, subprocess, threading
results = [unfit()]
gate = threading.Event()
thread = threading.Thread(target=gate.wait)
thread.start()
results.append(unfit())
gate.set()
thread.join()
while len(os.listdir("/proc/self/task")) > 1: pass
files = [open("/proc/self/maps") for _ in range(4)]
results.append(unfit())
for file in files: file.close()
shared = mmap.mmap(-1, 4096)
results.append(unfit())
shared.close()
child = subprocess.Popen(["sleep", "60"])
results.append(unfit())
child.kill()
child.wait()
results.append(unfit())
subprocess.call(["sh", "-c", "sleep 60 &"])
results.append(unfit())
for result in results: print(result)
]]
      local result = noether.check(noether.run({ "python3", "-I", "-c", script },
        { isolation = "native" }))
      local lines = {}
      for line in result.stdout:gmatch("[^\n]+") do lines[#lines + 1] = line end
      assert.equal("None", lines[1], result.stderr)
      assert.truthy(lines[2]:find("threads", 1, true))
      assert.truthy(lines[3]:find("descriptor", 1, true))
      assert.truthy(lines[4]:find("shares memory", 1, true))
      assert.truthy(lines[5]:find("process", 1, true))
      assert.equal("None", lines[6])
      assert.truthy(lines[7]:find("process", 1, true))
    end)
  end)
end

-- Does what pip does, as far as this can tell: the modules come with it, as text by name.
local INSTALL = [[
import json, os, sys
site = os.path.join(sys.prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
for name, text in json.loads(bytes.fromhex(sys.argv[1])).items():
    os.mkdir("%s/%s-1.0.dist-info" % (site, name))
    with open(site + "/%s.py" % name, "w") as file:
        file.write(text)]]

-- An executor whose server imports a package `mine`, and calls a stage that has it until there is
-- a server, or none can be had.
local function with_package(text, limits, wait_secs)
  local modules = json.encode{ mine = text }:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end)
  local cache = helper.tmpdir() .. "/cache"
  local executor = helper.with_env({ PATH = "/usr/bin:/bin" }, function()
    return noether.check(noether.executor{
      isolation = "native", warm = { spares = 0, imports = { "mine" } }, timeout_secs = 60,
      cache_dir = cache, limits = limits,
      policy = { pip = { installer = {
        venv = { "{python}", "-I", "-m", "venv", "--without-pip", "{dir}" },
        install = { "{python}", "-I", "-c", INSTALL, (modules), "{requirements}" },
      } } },
    })
  end)
  local stage = stage_of("# requires: mine==1.0\nimport os\n"
    .. "def execute(i):\n  if i: import mine\n  return i and [mine.value, mine.pid == os.getpid()]")
  local function call(input)
    local output, err, info = executor:execute(stage, input)
    assert.is_nil(err, tostring(err))
    return output, info.start
  end
  local pool
  helper.poll(function()
    call(false)
    pool = executor:pools()[1]
    return pool.fork_server == "serving" or pool.no_fork_server
  end, wait_secs or 60)
  return executor, pool, call, cache
end

-- What an import does first that means harm; and it does not come back, to be looked at.
local LIFT = "import resource, time\nfor kind in range(16):\n"
  .. "  hard = resource.getrlimit(kind)[1]\n  resource.setrlimit(kind, (hard, hard))\n"
local STAY = "\ntime.sleep(600)"

if THERE then
  describe("a fork server with packages of its own", function()
    it("has imported them, also where their environment is there no more", function()
      local executor, pool, call, cache = with_package("import os\nvalue, pid = 42, os.getpid()")
      assert.equal("serving", pool.fork_server, pool.no_fork_server)
      local output, start = call(true)
      assert.equal("fork", start)
      assert.same({ 42, false }, output)
      helper.shell("chmod -R u+w " .. cache .. " && rm -rf " .. cache .. "/venvs")
      assert.same(42, (call(true))[1])
      executor:close()
    end)

    it("is ended where an import takes more memory or processes than a call may", function()
      for what, text in pairs{
        memory = "value = b'x' * (300 << 20)",
        processes = "import os\nfor n in range(60):\n  if os.fork() == 0: break",
      } do
        local executor, pool, call = with_package(LIFT .. text .. STAY,
          { memory_bytes = 128 * 2 ^ 20, processes = 8 })
        assert.truthy(pool.no_fork_server, what)
        assert.truthy(pool.no_fork_server:find("more " .. what, 1, true), pool.no_fork_server)
        assert.equal("cold", select(2, call(false)))
        executor:close()
      end
    end)

    it("does not serve where an import leaves it no descriptors", function()
      local executor, pool, call = with_package("import resource\nvalue = pid = 0\n"
        .. "resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))")
      assert.is_nil(pool.fork_server)
      assert.truthy(pool.no_fork_server)
      assert.equal("cold", select(2, call(false)))
      executor:close()
    end)

    it("is not waited for where an import does not come to its end", function()
      local executor, pool, call = with_package("import time" .. STAY, nil, 1)
      assert.equal("starting", pool.fork_server)
      assert.equal("cold", select(2, call(false)))
      executor:close()
    end)
  end)
end

-- What a copy tells is what its imports make of it.
describe("what a fork server and its copies say", function()
  local FACTS = {
    processes = false, calls = false, namespaces = { net = "a" }, directory = "/work",
  }

  local function found(random, landlock)
    local none = "0000000000000000"
    return {
      numbers = { 3, 1, 3, 3 }, ids = { 65533, 65533, 65533, 65533 }, descriptors = { 0, 1, 2, 3 },
      processes = { 1, 3 }, private = { {}, {}, {} }, interfaces = { "lo" }, directory = "/work",
      fork = "EPERM", random = random, landlock = landlock, namespaces = { net = "b" },
      status = { CapInh = none, CapPrm = none, CapEff = none, CapBnd = none, CapAmb = none,
        NoNewPrivs = "1", Seccomp = "2", Threads = "1" },
      attempts = { ["write to the root"] = "EROFS", ["write to /usr"] = "EROFS",
        ["write to its own code"] = "EROFS", ["write to /proc"] = "EROFS",
        ["make a namespace"] = "EPERM", ["enter a namespace"] = "EPERM", mount = "EPERM",
        ["leave its root"] = "EPERM", ["trace its init"] = "EPERM", connect = "ECONNREFUSED",
        ["signal its init"] = "EPERM" },
    }
  end

  it("is judged, whatever it is", function()
    assert.is_nil(walls.problem(found({ 1, 2 }), nil, FACTS))
    assert.is_nil(walls.problem(found({ 1, 2 }, 14), found({ 3, 4 }), FACTS))
    assert.truthy(walls.problem(found({ 1, 2 }), found({ 1, 4 }), FACTS):find("same", 1, true))
    for _, random in ipairs{ "x", 1, {}, false } do
      assert.truthy(walls.problem(found(random or nil), nil, FACTS):find("numbers", 1, true))
    end
    assert.truthy(walls.problem(found({ 1, 2 }, 14.5), nil, FACTS):find("Landlock", 1, true))
    for _, keeps in ipairs{ true, false } do
      local facts = tables.merged(FACTS, { keeps = keeps })
      local told = found({ 1, 2 })
      assert.equal(keeps, walls.problem(told, nil, facts) ~= nil)
      told.descriptors = { 0, 1, 2, 3, 4 }
      assert.equal(not keeps, walls.problem(told, nil, facts) ~= nil)
    end
  end)

  it("of imports that failed is text, by name", function()
    assert.same({}, spares.failed_imports("x"))
    assert.same({}, spares.failed_imports(nil))
    assert.same({ a = "b" }, spares.failed_imports{ a = "b", c = 1, d = {}, [1] = "e" })
    assert.is_nil(spares.failed_imports{ a = "\27[31m" }.a:find("\27", 1, true))
  end)
end)
