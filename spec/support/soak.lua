-- SPDX-License-Identifier: MIT
-- noether-lua spec/support/soak.lua [RUNS]: so many runs of every shape, several at once, in one
-- process; then nothing may be left of them. Prints what there was before and after, and ends with
-- 1 if anything grew, or a run did not end as it should.
local core = require "noether.core"
local noether = require "noether"
local processes = require "noether.process"
local sys = require "noether.sys"

package.cpath = sys.realpath("/proc/self/exe"):match("^(.*)/bin/") .. "/?.so;" .. package.cpath
local support = require "spec.support.posix"

local RUNS = tonumber(arg[1] or os.getenv("SOAK_RUNS")) or 100000
local WARM_RUNS = 400 -- after which all there will ever be is there
local AT_ONCE = 2 * sys.cpu_count()
local MAX_GROWTH_KIB = 4 * 1024 -- of resident memory; a hundred thousand runs leave 40 bytes each

local function bash(code)
  return { language = "bash", code = ("execute() { %s; }"):format(code) }
end

local ECHO = {
  bash = bash "cat",
  python = { language = "python", code = "def execute(x):\n    return x\n" },
  javascript = { language = "javascript", code = "function execute(x) { return x; }" },
}

-- What begins a run, and what must become of it: a kind of error, or "ok" with the input as output.
-- What is `ended` is not waited for.
local SHAPES = {
  { "ok", function(ex, n) return ex:start(ECHO.bash, n) end },
  { "stage_failed", function(ex, n) return ex:start(bash "exit 3", n) end },
  { "stage_failed", function(ex, n) return ex:start(bash "kill -9 $$", n) end },
  { "output_invalid", function(ex, n) return ex:start(bash "echo no json", n) end },
  { "stage_not_found", function(ex, n) return ex:start("nonesuch", n) end },
  { "input_invalid", function(ex) return ex:start(ECHO.bash, print) end },
  { "timed_out", function(ex, n) return ex:start(bash "sleep 60", n, { timeout_secs = 0.1 }) end },
  { "output_limit", function(ex, n)
    return ex:start(bash "while :; do echo 0123456789; done", n, { max_output_bytes = 10000 })
  end },
  { "cancelled", function(ex, n)
    local task, err = ex:start(bash "sleep 60", n)
    if task then task:cancel() end
    return task, err
  end },
  { "ended", function(ex, n) return assert(ex:start(bash "sleep 60", n)):close() end },
  { "ended", function(ex, n) return assert(ex:start(bash "(sleep 60 &)& sleep 60", n)) end },
  { "ok", function(ex, n) return ex:start(ECHO.bash, n, { on_log = function() end }) end },
}

-- Slow to start, hence seldom.
local SLOW_SHAPES = {
  { "ok", function(ex, n) return ex:start(ECHO.python, n) end },
  { "ok", function(ex, n) return ex:start(ECHO.javascript, n) end },
}

local function process(argv, opts)
  return function(_, _, backend)
    local own = { isolation = backend }
    for name, value in pairs(opts) do own[name] = value end
    return noether.spawn(argv, own)
  end
end

local PROCESS_SHAPES = {
  { "exit", process({ "true" }, {}) },
  { "exit", process({ "false" }, { isolation = "none", supervise = false }) },
  { "timeout", process({ "sleep", "60" }, { timeout_secs = 0.05 }) },
  { "signal", process({ "sh", "-c", "kill -TERM $$" }, {}) },
  { "spawn_failed", process({ "/nonesuch" }, { isolation = "none" }) },
}

-- Every tenth a process, every twentieth a slow language, in all backends that work here.
local function shape_of(n)
  if n % 10 == 0 then return PROCESS_SHAPES[n // 10 % #PROCESS_SHAPES + 1] end
  if n % 20 == 11 then return SLOW_SHAPES[n // 20 % #SLOW_SHAPES + 1] end
  return SHAPES[n % #SHAPES + 1]
end

local function memory_kib()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s*(%d+)")
    if kib then return tonumber(kib) end
  end
end

local function lines_of(path)
  local count, file = 0, io.open(path)
  if not file then return 0 end
  for _ in file:lines() do count = count + 1 end
  file:close()
  return count
end

local function children()
  local count = 0
  local file = io.open(("/proc/self/task/%d/children"):format(sys.getpid()))
  if not file then return 0 end
  for _ in file:read("a"):gmatch("%d+") do count = count + 1 end
  file:close()
  return count
end

-- The children of this process, 64 in a number: control groups and private directories of another
-- program's runs, which may come and go meanwhile, are not ours.
local own_pids, own_directories, launch = {}, {}, processes.launch

function processes.launch(argv, opts)
  local handle, err = launch(argv, opts)
  local pid = handle and handle:pid()
  if pid then own_pids[pid >> 6] = (own_pids[pid >> 6] or 0) | 1 << (pid & 63) end
  return handle, err
end

local make_directory = sys.mkdtemp

function sys.mkdtemp(prefix)
  local path, message, errno = make_directory(prefix)
  if path then own_directories[path] = true end
  return path, message, errno
end

local function is_own(pid)
  return (own_pids[pid >> 6] or 0) >> (pid & 63) & 1 == 1
end

-- Calls fn with the path and the process of each control group of a run, whosever it is.
local function each_group(fn)
  local directories = {}
  for line in io.lines("/proc/self/mountinfo") do
    directories[#directories + 1] = line:match("^%S+ %S+ %S+ %S+ (%S+) .* %- cgroup2? ")
  end
  for line in io.lines("/proc/self/cgroup") do
    local path = line:match("^0::(.+)$")
    directories[#directories + 1] = path and "/sys/fs/cgroup" .. path
  end
  for _, directory in ipairs(directories) do
    for _, name in ipairs(sys.list(directory) or {}) do
      local pid = name:match("^noether%-(%d+)$")
      if pid then fn(directory .. "/" .. name, tonumber(pid)) end
    end
  end
end

local foreign_groups = {}
each_group(function(path) foreign_groups[path] = true end)

local function groups()
  local found = 0
  each_group(function(path, pid)
    if is_own(pid) and not foreign_groups[path] then
      found = found + 1
      if os.getenv("SOAK_SHOW") then print(path) end
    end
  end)
  return found
end

-- Forgets those that are gone.
local function temporary_files()
  local found = 0
  for path in pairs(own_directories) do
    if sys.stat(path) then found = found + 1 else own_directories[path] = nil end
  end
  return found
end

local NAMES = { "descriptors", "processes", "mounts", "control groups", "temporary files",
  "resident KiB", "Lua KiB" }

local function census()
  collectgarbage()
  collectgarbage()
  support.trim()
  noether.run({ "true" }, { isolation = "none" }) -- which reaps what has ended
  return {
    ["descriptors"] = #sys.list("/proc/self/fd") - #select(2, core.launcher()),
    ["processes"] = children(),
    ["mounts"] = lines_of("/proc/self/mountinfo"), ["control groups"] = groups(),
    ["temporary files"] = temporary_files(), ["resident KiB"] = memory_kib(),
    ["Lua KiB"] = math.floor(collectgarbage("count")),
  }
end

-- Of Lua's memory our own list of pids takes some, where other programs start many, too.
local ALLOWED = { ["resident KiB"] = MAX_GROWTH_KIB, ["Lua KiB"] = 1024 }
-- A sanitizer keeps for a while what was freed.
if os.getenv("SPEC_SANITIZED") == "1" then ALLOWED["resident KiB"] = math.huge end

local function grown(before, after)
  for _, name in ipairs(NAMES) do
    if after[name] > before[name] + (ALLOWED[name] or 0) then return name end
  end
  return nil
end

-- What was killed takes a moment to go.
local function settled(before)
  local deadline = sys.clock() + 10
  local now = census()
  while grown(before, now) and sys.clock() < deadline do
    noether.run({ "sleep", "0.1" }, { isolation = "none" })
    now = census()
  end
  return now
end

local wrong = 0

local function complain(n, backend, expected, found)
  wrong = wrong + 1
  if wrong <= 20 then
    print(("run %d (%s): expected %s, got %s"):format(n, backend, expected, tostring(found)))
  end
end

local function outcome_of(handle, n)
  local output, err = handle:wait(0)
  handle:close()
  if err then return err.kind, err end
  if type(output) == "table" then return output.reason end
  return output == n and "ok" or output
end

local function working_backends()
  local names = { "none" }
  for name, found in pairs(noether.doctor().backends) do
    if found.works then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Rounds go on where the last one left off.
local function soaker()
  local backends, executors = working_backends(), {}
  for _, name in ipairs(backends) do
    executors[name] = noether.check(noether.executor{ isolation = name })
  end
  local set, about, n = noether.check(noether.set()), {}, 0
  local function start()
    n = n + 1
    local shape, backend = shape_of(n), backends[n // 7 % #backends + 1]
    local handle, err = shape[2](executors[backend], n, backend)
    if shape[1] == "ended" then return end
    if not handle then
      if err.kind ~= shape[1] then complain(n, backend, shape[1], err) end
      return
    end
    about[noether.check(set:add(handle))] = { n = n, expected = shape[1], backend = backend }
  end
  return function(runs)
    local last = n + runs
    while n < last or set:count() > 0 do
      while n < last and set:count() < AT_ONCE do start() end
      local handle = set:next()
      if handle then
        local run = about[handle]
        about[handle] = nil
        local found, err = outcome_of(handle, run.n)
        if found ~= run.expected then complain(run.n, run.backend, run.expected, err or found) end
      end
    end
  end, backends
end

local soak, backends = soaker()
print(("%d runs, %d at once, in %s"):format(RUNS, AT_ONCE, table.concat(backends, ", ")))
soak(math.min(WARM_RUNS, RUNS))
local before = settled{
  ["descriptors"] = math.huge, ["processes"] = 0, ["mounts"] = math.huge, ["control groups"] = 0,
  ["temporary files"] = 0, ["resident KiB"] = math.huge, ["Lua KiB"] = math.huge,
}
local started = sys.clock()
for part = 1, 10 do
  soak(RUNS // 10)
  temporary_files()
  if RUNS >= 10000 then
    io.stderr:write(("%3d %%: %.0f s, %d KiB\n"):format(part * 10, sys.clock() - started,
      memory_kib()))
  end
end
local after = settled(before)
for _, name in ipairs(NAMES) do
  print(("%-16s %8d before %8d after"):format(name, before[name], after[name]))
end
local name = grown(before, after)
if name then print(name .. ": that is growth") end
if wrong > 0 then print(wrong .. " runs did not end as they should") end
os.exit(not name and wrong == 0)
