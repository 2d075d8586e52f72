-- SPDX-License-Identifier: MIT
-- A stage that meets a limit is told which, and with more of it the same stage works.
local helper = require "spec.support.helper"
local noether = require "noether"

local MIB = 1024 * 1024

-- What meets a limit: language, code, the limit, too little of it, enough; and what else it needs.
-- `walls`: the limit holds behind walls only.
local CASES = {
  { "python", "def execute(i):\n  open('big', 'wb').write(b'x' * 3000000)", "private_bytes",
    2 * MIB, 8 * MIB, walls = true },
  { "javascript", "const execute = () => {"
    .. " require('fs').writeFileSync('big', Buffer.alloc(3e6)); return null; }", "private_bytes",
    2 * MIB, 8 * MIB, walls = true },
  { "bash", "execute() { printf '%03000000d' 1 > big; echo null; }", "private_bytes",
    2 * MIB, 8 * MIB, walls = true },
  { "python", "def execute(i):\n  open('big', 'wb').write(b'x' * 3000000)", "file_bytes",
    2 * MIB, 8 * MIB },
  { "javascript", "const execute = () => {"
    .. " require('fs').writeFileSync('big', Buffer.alloc(3e6)); return null; }", "file_bytes",
    2 * MIB, 8 * MIB },
  { "bash", "execute() { printf '%03000000d' 1 > big; echo null; }", "file_bytes",
    2 * MIB, 8 * MIB },
  { "bash", "execute() { head -c 3000000 /dev/zero > big; echo null; }", "file_bytes",
    2 * MIB, 8 * MIB, effects = { "Process" } },
  { "python", "def execute(i):\n  files = [open('/dev/null') for _ in range(100)]", "open_files",
    50, 200 },
  { "javascript", "const execute = () => {"
    .. " for (let i = 0; i < 100; i++) require('fs').openSync('/dev/null'); return null; }",
    "open_files", 50, 200 },
  { "bash", "execute() { for ((i = 0; i < 100; i++)); do exec {x}</dev/null; done; echo null; }",
    "open_files", 50, 200 },
  { "python", "import threading\ndef execute(i):\n  done = threading.Event()\n"
    .. "  for _ in range(30): threading.Thread(target=done.wait, daemon=True).start()\n"
    .. "  done.set()", "processes", 20, 60 },
  { "python", "import subprocess\ndef execute(i):\n"
    .. "  for p in [subprocess.Popen(['cat'], stdin=subprocess.PIPE) for _ in range(30)]:\n"
    .. "    p.kill(); p.wait()", "processes", 20, 60, effects = { "Process" } },
  { "javascript", [[
const { Worker } = require('worker_threads');
async function execute() {
  const text = 'require("worker_threads").parentPort.once("message", () => process.exit())';
  const all = Array.from({ length: 14 }, () => new Worker(text, { eval: true }));
  await Promise.all(all.map((worker) => new Promise((resolve, reject) => {
    worker.on('exit', resolve).on('error', reject).postMessage(1);
  })));
  return null;
}]], "processes", 20, 100 },
}

-- node hangs so where it has fewer threads than it wants, at some numbers and not at others.
local WAITS_FOR_EVER = [[
import threading, time
def execute(count):
    done = threading.Event()
    try:
        for _ in range(count): threading.Thread(target=done.wait, daemon=True).start()
        done.set()
    except RuntimeError:
        time.sleep(600)]]

describe("a language's policy", function()
  local function argument(executor, opts, code)
    local stage = { language = "mine", code = code, effects = {} }
    return noether.check(executor:execute(stage, 1, opts))
  end

  it("is told the limits of the run, for the command and for the environment", function()
    local executor = noether.check(noether.executor{ policy = { languages = { mine = {
      names = { "mine" }, extension = "mine",
      runtime = { programs = { "sh" }, probe = {
        "-c", [[printf '{"path":"%s","version":"1","dirs":[]}' "$(readlink -f /bin/sh)"]],
      } },
      wrap = function(code) return { files = { ["stage.sh"] = code }, entry = "stage.sh" } end,
      argv = function(runtime, entry, opts)
        return { runtime.path, entry, tostring(opts.limits.memory_bytes),
          tostring(opts.processes) }
      end,
      env = function(_, opts) return { MOST = tostring(opts.limits.processes) } end,
    } } } })
    local code = [[printf '"%s %s %s"' "$1" "$2" "$MOST"]]
    assert.equal("100000000 false 50",
      argument(executor, { limits = { memory_bytes = 100000000, processes = 50 } }, code))
    assert.equal("nil false nil", argument(executor, {
      limits = { memory_bytes = math.huge, processes = math.huge },
    }, code))
    executor:close()
  end)

  it("that is built in tells node its share", function()
    local request = {
      language = "javascript", effects = {}, limits = { memory_bytes = 256 * MIB },
      code = "const execute = () => require('v8').getHeapStatistics().heap_size_limit;",
    }
    local heap = noether.check(noether.execute(request))
    assert.is_true(heap >= 200 * MIB and heap <= 400 * MIB, heap)
  end)
end)

-- Without walls or a control group nothing holds the number of processes, and nothing claims to.
local function holds_processes(backend)
  local _, err, info = noether.execute{
    language = "bash", code = "execute() { echo 1; }", isolation = backend, effects = {},
    limits = { processes = 50 },
  }
  assert(not err, tostring(err))
  local words = table.concat(info.enforced, " ")
  return words:find("pids_", 1, true) ~= nil
end

local COUNTS = {}
for _, backend in ipairs(helper.backends{ "native", "bwrap", "landlock" }) do
  COUNTS[backend] = holds_processes(backend)
end

helper.over({
  backends = { "native", "bwrap", "landlock" }, starts = helper.STARTS,
}, "a stage under %s, begun by %s,", function(backend, start)
  local counts = COUNTS[backend]
  helper.begin_by(start)

  describe("that meets a limit", function()
    for index, case in ipairs(CASES) do
      local language, code, name, little, enough = case[1], case[2], case[3], case[4], case[5]
      local has_it = backend ~= "landlock" or not case.walls
      local held = has_it and (counts or name ~= "processes")
      if held then
        it(("is told of %s, and works with more (%s, %d)"):format(name, language, index), function()
          local request = {
            language = language, code = code, isolation = backend, timeout_secs = 60,
            effects = case.effects or {}, limits = { [name] = little },
          }
          local _, err = noether.execute(request)
          assert.equal("stage_failed", err.kind, tostring(err))
          assert.truthy(err.hint and err.hint:find("limits." .. name, 1, true),
            ("%s\n%s"):format(tostring(err), tostring(err.hint)))
          request.limits = { [name] = enough }
          _, err = noether.execute(request)
          assert.is_nil(err, tostring(err))
        end)
      end
    end

    local waits = "is told so where its interpreter waits for ever for a thread"
    local maybe = counts and it or function() end
    maybe(waits, function()
      local request = {
        language = "python", code = WAITS_FOR_EVER, isolation = backend, input = 30,
        effects = {}, limits = { processes = 10 }, timeout_secs = 2,
      }
      local _, err = noether.execute(request)
      assert.equal("timed_out", err.kind, tostring(err))
      assert.truthy(err.hint:find("limits.processes", 1, true), err.hint)
      assert.is_true(err.result.at_process_limit)
      request.limits, request.timeout_secs = { processes = 50 }, 60
      assert.equal(noether.null, noether.check(noether.execute(request)))
    end)

    it("is not told so at a deadline that has another cause", function()
      local _, err = noether.execute{
        language = "javascript",
        code = "const execute = () => new Promise(() => setTimeout(() => {},"
          .. " 1e6));", isolation = backend, effects = {}, timeout_secs = 2,
      }
      assert.equal("timed_out", err.kind)
      assert.is_nil(err.hint:find("processes", 1, true), err.hint)
    end)

    it("keeps what it had said before a signal", function()
      local _, err = noether.execute{
        language = "python", isolation = backend, effects = {},
        code = "import os, sys\ndef execute(i):\n  print('half way'); os.abort()",
      }
      assert.equal("stage_failed", err.kind)
      assert.truthy(tostring(err):find("SIGABRT: half way", 1, true), tostring(err))
    end)

    it("may reserve what it does not use, where a control group holds its memory", function()
      local _, err, info = noether.execute{
        language = "python", isolation = backend, effects = {},
        limits = { memory_bytes = 64 * MIB },
        code = "import mmap\ndef execute(i): mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE)",
      }
      local held = table.concat(info.enforced, " "):find("memory_cgroup", 1, true)
      if held then return assert.is_nil(err, tostring(err)) end
      assert.truthy(err.hint:find("memory_bytes", 1, true), err.hint)
    end)
  end)
end)
