-- SPDX-License-Identifier: MIT
--- The fault harness: runs each scenario again and again, and each time another call fails, or
-- another allocation. Run by
-- tools/test/faults.sh, with spec/faults/inject.c loaded before the rest.
--
--     run.lua calls|memory|jail short|long DIRECTORY [SCENARIO]
--
-- Prints what the caller saw of each fault, and exits with 1 if it saw what it should not have.
local inject = require "spec.faults.inject"
local scenarios = require "spec.faults.scenarios"
local support = require "spec.support.posix"
local core = require "noether.core"
local errors = require "noether.error"
local sys = require "noether.sys"

local what, size, directory, only = arg[1], arg[2], arg[3], arg[4]
local long = size == "long"

local ERRNOS = { "ENOMEM", "EMFILE", "EAGAIN", "EINTR", "ENOSPC", "EIO" }

-- Whose fault it can be when the system refuses: never the stage's, never the caller's.
local MAY_BE = { host = true, us = true }

-- An end that took longer than this was waited for in vain.
local LONG_SECS = 4

local function kept_names(path)
  local names = {}
  for _, name in ipairs(sys.list(path) or {}) do
    names[name] = true
  end
  return names
end

local function new_descriptor(before, after)
  for name in pairs(after) do
    if not before[name] then
      return ("descriptor %s %s"):format(name, sys.readlink("/proc/self/fd/" .. name) or "")
    end
  end
end

-- Directories of runs, those of other users left out.
local function directories_of_runs()
  local names, user = {}, sys.stat(directory).uid
  for name in pairs(kept_names("/tmp")) do
    local is_one = name:find("^noether%-%w%w%w%w%w%w%w%w%w%w$")
    local stat = is_one and sys.stat("/tmp/" .. name)
    if stat and stat.uid == user then names[name] = true end
  end
  return names
end

-- But for those that the core keeps from one run to the next.
local function descriptors()
  local names = kept_names("/proc/self/fd")
  for _, number in ipairs(select(2, core.launcher())) do
    names[tostring(number)] = nil
  end
  return names
end

local function snapshot()
  return { fds = descriptors(), tmp = directories_of_runs() }
end

-- The first of the new ones that stays: another program of this user has its own, for as long as
-- its runs take.
local function stays(new)
  local deadline = sys.clock() + 60
  while sys.clock() < deadline and next(new) do
    local now = directories_of_runs()
    for name in pairs(new) do
      if not now[name] then new[name] = nil end
    end
    if next(new) then support.pause() end
  end
  return next(new)
end

-- What a scenario left behind, given the time that processes need to end.
local function left_behind(before)
  collectgarbage()
  collectgarbage()
  local deadline = sys.clock() + 5
  while support.has_children() and sys.clock() < deadline do
    core.reap()
    support.pause()
  end
  if support.has_children() then return "a process" end
  local now = snapshot()
  local descriptor = new_descriptor(before.fds, now.fds)
  if descriptor then return descriptor end
  for name in pairs(before.tmp) do now.tmp[name] = nil end
  local name = stays(now.tmp)
  return name and "/tmp/" .. name
end

local run_number = 0

local function fresh_directory()
  run_number = run_number + 1
  local dir = ("%s/%d"):format(directory, run_number)
  assert(sys.mkdir(dir, 448))
  return dir
end

-- What came of it, in one word or two, and whether that is as it should be.
local function judge(ok, output, err, secs)
  if secs > LONG_SECS then return ("took %.1f s"):format(secs), false end
  if not ok then return "raised: " .. tostring(output):gsub("%c.*", ""), false end
  if output then return type(output) == "string" and output or "success", true end
  local kind = type(err) == "table" and err.kind or tostring(err)
  if kind:find("^result: stream_failed") or kind == "result: status_lost" then return kind, true end
  if kind:find("^result: ") or not errors.fault(kind) then return kind, false end
  return kind, MAY_BE[errors.fault(kind)] == true
end

local function run(name, arm, disarm)
  local dir = fresh_directory()
  local before = snapshot()
  local started = sys.clock()
  arm(dir)
  local ok, output, err = pcall(scenarios.ALL[name] or scenarios.JAIL[name], dir)
  local fired, counts = disarm(dir)
  local outcome, sane = judge(ok, output, err, sys.clock() - started)
  if not ok and what == "memory" and tostring(output):find("not enough memory") then
    outcome, sane = "not enough memory", true
  end
  local left = left_behind(before)
  if left then outcome, sane = outcome .. ", left " .. left, false end
  sys.remove_tree(dir)
  local message = type(err) == "table" and err.message or ""
  return { outcome = outcome, sane = sane, fired = fired, counts = counts, message = message }
end

local faults, bad = 0, 0

local function report(name, fault, record, seen)
  faults = faults + 1
  seen[record.outcome] = (seen[record.outcome] or 0) + 1
  if record.sane then return end
  bad = bad + 1
  print(("BAD  %-18s %-24s %s (%s)"):format(name, fault, record.outcome, record.message))
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function print_row(name, fault, seen)
  local parts = {}
  for _, outcome in ipairs(sorted(seen)) do
    parts[#parts + 1] = ("%s %d"):format(outcome, seen[outcome])
  end
  print(("%-18s %-24s %s"):format(name, fault, table.concat(parts, ", ")))
end

local function healthy(name)
  local record = run(name, function() inject.arm() end, inject.disarm)
  if record.sane then return record.counts end
  print(("BAD  %-18s without a fault: %s (%s)"):format(name, record.outcome, record.message))
  bad = bad + 1
  return {}
end

-- Of many calls the first and the last few, and some between.
local function chosen(count)
  local list = {}
  local step = math.max(1, long and math.floor(count / 40) or math.ceil(count / 2))
  for n = 1, count, step do
    list[#list + 1] = n
  end
  return list
end

-- Where the kernel can say nothing else.
local ONLY = { wait4 = { "EINTR" }, uname = {} }

local turn = 0

local function errnos(call)
  if long or ONLY[call] then return ONLY[call] or ERRNOS end
  turn = turn + 1
  return { ERRNOS[(turn - 1) % #ERRNOS + 1] }
end

-- The outermost part of a progress report: what is tried now, should it be the end of us all.
local function note(...)
  local file = assert(io.open(directory .. "/now", "w"))
  file:write(table.concat({ ... }, " "), "\n")
  file:close()
end

local function fail_calls(name)
  local counts = healthy(name)
  for _, call in ipairs(sorted(counts)) do
    local seen = {}
    for _, n in ipairs(chosen(counts[call])) do
      for _, errno in ipairs(errnos(call)) do
        note(name, call, n, errno)
        local record = run(name, function() inject.arm(call, n, errno) end, inject.disarm)
        if record.fired then report(name, ("%s %d %s"):format(call, n, errno), record, seen) end
      end
    end
    print_row(name, call, seen)
  end
  healthy(name)
end

local function count_allocations(name)
  run(name, function() inject.arm_memory(0) end, inject.disarm_memory)
  return run(name, function() inject.arm_memory(0) end, inject.disarm_memory).counts
end

local function fail_memory(name)
  healthy(name)
  local count, seen = count_allocations(name), {}
  local step = long and 1 or math.max(1, math.floor(count / 4))
  for n = 1, count, step do
    note(name, "allocation", n)
    local record = run(name, function() inject.arm_memory(n) end, inject.disarm_memory)
    if record.fired then report(name, "allocation " .. n, record, seen) end
  end
  print_row(name, ("%d allocations"):format(count), seen)
  healthy(name)
end

-- What no fault can be told of: the beginning and the end of a program.
local NO_CALL = {
  execve = true, exit = true, exit_group = true, arch_prctl = true, set_tid_address = true,
  rt_sigreturn = true,
}

-- How often each call was made, at most, by one of the processes in strace's log.
local function calls_in(log)
  local by_process, most = {}, {}
  for line in io.lines(log) do
    local pid, call = line:match("^(%d+)%s+([%w_]+)%(")
    if pid and not NO_CALL[call] then
      local key = pid .. call
      by_process[key] = (by_process[key] or 0) + 1
      most[call] = math.max(most[call] or 0, by_process[key])
    end
  end
  return most
end

local function traced(words)
  local jail = os.getenv("BUILD") .. "/libexec/noether/jail"
  return function(dir) inject.trace(words, dir .. "/log", jail) end, function(dir)
    inject.trace()
    local log = io.open(dir .. "/log")
    local text = log and log:read("a") or ""
    if log then log:close() end
    return text:find("(INJECTED)", 1, true) ~= nil, words == "trace=all" and calls_in(dir .. "/log")
  end
end

local function fail_jail(name)
  local counts = run(name, traced("trace=all")).counts
  for _, call in ipairs(sorted(counts)) do
    local seen = {}
    for _, n in ipairs(chosen(counts[call])) do
      for _, errno in ipairs(errnos(call)) do
        note(name, call, n, errno)
        local words = ("inject=%s:error=%s:when=%d"):format(call, errno, n)
        local record = run(name, traced(words))
        if record.fired then report(name, ("%s %d %s"):format(call, n, errno), record, seen) end
      end
    end
    print_row(name, call, seen)
  end
end

local HARNESSES = { calls = fail_calls, memory = fail_memory, jail = fail_jail }

local harness = HARNESSES[what]
for _, name in ipairs(sorted(what == "jail" and scenarios.JAIL or scenarios.ALL)) do
  if (only or "") == "" or only == name then
    run(name, function() end, function() end) -- what is made once and kept, is made now
    harness(name)
  end
end
print(("%d faults, %d of them seen as what they are not"):format(faults, bad))
os.exit(bad == 0, true)
