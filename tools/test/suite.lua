-- SPDX-License-Identifier: MIT
-- lua5.4 suite.lua BUILD WORK [UID]: runs the C tests and the specs, some side by side, and says
-- what came of each. With UID also as an ordinary user, in the copy that WORK/copy is: as that one
-- and those after it, since what the kernel counts for each user would not be the same twice.
--
-- Each spec file is run by a busted of its own, or with some other short ones (spec.sh), which
-- writes what happens to a file (spec/support/report.lua). What fails is named when it fails; what
-- a file printed follows when it is over, if it failed. No test is ended by the clock: one that
-- says nothing for SPEC_STALL_SECS (900) is named, with the processes it had, and ended, and the
-- others go on. Exits with 1 if anything failed, or, in CI, was skipped.
--
-- What failed beside others is tried once more, alone, where it is no more than SPEC_AGAIN (6)
-- files: where a machine is short of time a test of a deadline may fail through no fault of what it
-- tests. If it passes then it is named as unsteady, and counts as passed; if not, it has failed.
--
-- SPEC_JOBS: how many at once (one more than processors; one, if not root). SPEC_ONLY: a pattern of
-- what is run.
-- SPEC_OVER (one), SPEC_WEEK (this one): see spec/support/over.lua. SUITE_RECORD=1: what each file
-- took, and what all of it took of the processors, is written to spec/support/times.tsv.
local uv = require "luv"

local BUILD, WORK, OTHER = table.unpack(arg)
local TIMES = BUILD .. "/spec/times"
local STALL_SECS = tonumber(os.getenv "SPEC_STALL_SECS") or 900
-- Files that are short by what is known of them share a process, up to so many seconds of work.
local SHARE_SECS = 3
local OVER = os.getenv "SPEC_OVER" or "one"
local WEEK = os.getenv "SPEC_WEEK" or os.date "!%G-W%V"

local AGAIN = tonumber(os.getenv "SPEC_AGAIN") or 6

local plan = dofile "spec/support/plan.lua"

local function clock() return uv.hrtime() / 1e9 end

local last_said = clock()

local function say(...)
  io.stdout:write((...):format(select(2, ...)), "\n")
  io.stdout:flush()
  last_said = clock()
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "a"
  file:close()
  return text
end

local function lines_of(command)
  local lines = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

-- As whom: a name, where, and the build as it is called there.
local is_root = lines_of("id -u")[1] == "0"
local users = { { name = is_root and "root" or "user", cwd = uv.cwd(), build = BUILD } }
if OTHER then
  users[2] = { name = "user", cwd = WORK .. "/copy", build = "build", uid = tonumber(OTHER) }
end

-- Seconds by user and file, as this machine's last run wrote them, or those of another.
local function read_times(path)
  local times = {}
  for name, secs, file in read(path):gmatch "([^\t\n]+)\t([%d.]+)\t([^\n]+)\n" do
    times[name .. " " .. file] = tonumber(secs)
  end
  return times
end

local RECORD = "spec/support/times.tsv"
local known, recorded = read_times(TIMES), read_times(RECORD)
local times = {}
local tests = {} -- { secs, user, place, name }

local function expected_secs(user, file)
  local key = user.name .. " " .. file
  return known[key] or recorded[key] or 1
end

local function add(jobs, kind, user, files, secs)
  jobs[#jobs + 1] = { kind = kind, user = user, files = files, secs = secs }
end

local is_short = os.getenv "SPEC_SANITIZED" == "1" and OVER == "one"

local function wanted(file)
  return file:find(os.getenv "SPEC_ONLY" or "") and (not is_short or plan.is_for_sanitizers(file))
end

local function c_jobs(jobs, user)
  for _, source in ipairs(lines_of "find spec/c -name '*_test.c' | sort") do
    if wanted(source) then add(jobs, "c", user, { source }, expected_secs(user, source)) end
  end
end

local function spec_jobs(jobs, user)
  local share, sum = {}, 0
  local function hand_out()
    if #share > 0 then add(jobs, "spec", user, share, sum) end
    share, sum = {}, 0
  end
  for _, file in ipairs(lines_of "find spec -name '*_spec.lua' | sort") do
    local twice = not (user.uid and plan.is_same_for_all(file))
    local secs = expected_secs(user, file)
    if twice and wanted(file) and secs >= SHARE_SECS then
      add(jobs, "spec", user, { file }, secs)
    elseif twice and wanted(file) then
      share[#share + 1] = file
      sum = sum + secs
      if sum >= SHARE_SECS then hand_out() end
    end
  end
  hand_out()
end

-- The longest first, so that none is left when all others are done.
local function all_jobs()
  local jobs = {}
  for _, user in ipairs(users) do
    c_jobs(jobs, user)
    spec_jobs(jobs, user)
  end
  table.sort(jobs, function(a, b) return a.secs > b.secs end)
  return jobs
end

local function concat(...)
  local all = {}
  for _, list in ipairs{ ... } do table.move(list, 1, #list, #all + 1, all) end
  return all
end

local queue = all_jobs()
local slots = {} -- of those who run: [1] = true, ...
local running, count_of_files, files_done, serial = {}, 0, 0, 0
local total = { passed = 0, failed = 0, skipped = 0 }
local failures = {} -- { job, file, text }
local failed_files = {} -- { user, kind, file, counts }
for _, job in ipairs(queue) do count_of_files = count_of_files + #job.files end

local function fail(job, text)
  failures[#failures + 1] = {
    user = job.user, file = job.file or job.files[1],
    text = ("as %s: %s"):format(job.user.name, text),
  }
  say("FAILED as %s: %s", job.user.name, text)
end

local function counts_text(counts)
  local text = ("%d passed"):format(counts.passed)
  if counts.failed > 0 then text = text .. (", %d failed"):format(counts.failed) end
  if counts.skipped > 0 then text = text .. (", %d skipped"):format(counts.skipped) end
  return text
end

local function file_over(job, file, counts, secs)
  files_done = files_done + 1
  job.is_over[file] = true
  job.file = nil
  times[job.user.name .. " " .. file] = secs
  say("[%3d/%d] %-4s %-48s %6.1f s  %s", files_done, count_of_files, job.user.name, file, secs,
    counts_text(counts))
  for word, count in pairs(counts) do total[word] = total[word] + count end
  if counts.failed == 0 or job.stalled then return end
  failed_files[#failed_files + 1] = {
    user = job.user, kind = job.kind, file = file, counts = counts,
  }
end

local STATUS = { success = "passed", failure = "failed", error = "failed", pending = "skipped" }
local on = {}

-- One that is still open had an error when it was read.
function on.file(job, file)
  if job.file then file_over(job, job.file, job.counts, clock() - job.began) end
  job.file, job.counts, job.began = file, { passed = 0, failed = 0, skipped = 0 }, clock()
end

function on.test(job, place, name)
  job.test = ("%s: %s"):format(place, name)
  job.place, job.name = place, name
end

-- An error around a test counts beside it; what failed inside is told by `failed`.
function on.ended(job, status, secs)
  local word = STATUS[status]
  tests[#tests + 1] = { tonumber(secs), job.user.name, job.place, job.name }
  if word ~= "failed" then job.counts[word] = job.counts[word] + 1 end
  job.test = nil
end

local function is_one_of(word, list)
  for _, item in ipairs(list) do
    if item == word then return true end
  end
  return false
end

-- What is no spec has the name of its file.
function on.failed(job, place, name)
  if not job.file then on.file(job, is_one_of(name, job.files) and name or job.files[1]) end
  job.counts.failed = job.counts.failed + 1
  job.has_failed = true
  fail(job, ("%s: %s"):format(place, name))
end

function on.done(job, secs, file)
  file_over(job, file, job.counts, tonumber(secs))
end

function on.counts(job)
  if job.file then file_over(job, job.file, job.counts, clock() - job.began) end
  job.came_to_end = true
end

local function read_events(job)
  local file = io.open(job.events, "rb")
  if not file then return end
  file:seek("set", job.read)
  for line in file:lines "L" do
    if line:sub(-1) ~= "\n" then break end -- the rest of it comes later
    job.read = job.read + #line
    job.moved = clock()
    local fields = {}
    for field in line:sub(1, -2):gmatch "[^\t]+" do fields[#fields + 1] = field end
    on[fields[1]](job, table.unpack(fields, 2))
  end
  file:close()
end

-- What a program says in TAP.
local function judge_c(job, code)
  local counts = { passed = 0, failed = 0, skipped = 0 }
  for line in job.output:gmatch "[^\n]+" do
    local word = line:match "^ok .*# SKIP" and "skipped" or line:match "^ok " and "passed"
      or line:match "^not ok " and "failed"
    if word then counts[word] = counts[word] + 1 end
    if word == "failed" then fail(job, job.files[1] .. ": " .. line) end
  end
  if job.stalled then
    counts.failed = counts.failed + 1
  elseif code ~= 0 and counts.failed == 0 then
    counts.failed = 1
    fail(job, ("%s ended with exit code %d"):format(job.files[1], code))
  end
  job.has_failed = counts.failed > 0
  job.output = ("\n" .. job.output):gsub("\nok [^\n]*", "")
  file_over(job, job.files[1], counts, clock() - job.started)
end

local function where_it_stands(job)
  return job.test or job.file or job.files[1]
end

-- What did not come to its end failed where it stood; the files after that one are run again.
local function judge_spec(job, code)
  read_events(job)
  if job.came_to_end and (code == 0 or job.has_failed) then return end
  if not job.stalled then
    on.failed(job, where_it_stands(job), ("the specs ended with exit code %d"):format(code))
  end
  file_over(job, job.file, job.counts, clock() - job.began)
  local left = {}
  for _, file in ipairs(job.files) do
    if not job.is_over[file] then left[#left + 1] = file end
  end
  if #left > 0 then add(queue, "spec", job.user, left, 0) end
end

-- The processes below that one: "1234 python3 -c ...".
local function tree(pid, indent, lines)
  for child in read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch "%d+" do
    local line = read("/proc/" .. child .. "/cmdline"):gsub("%z", " ")
    lines[#lines + 1] = ("%s%s %s"):format(indent, child, line:sub(1, 160))
    tree(tonumber(child), indent .. "  ", lines)
  end
  return lines
end

local function watch(job)
  local still = clock() - job.moved
  if job.stalled and still > STALL_SECS + 10 then uv.kill(-job.pid, "sigkill") end
  if job.stalled or still < STALL_SECS then return end
  job.stalled = true
  on.failed(job, where_it_stands(job), ("nothing happened for %d s"):format(STALL_SECS))
  say("%s", table.concat(tree(job.pid, "  ", {}), "\n"))
  uv.kill(-job.pid, "sigterm")
end

local function finish(job)
  running[job] = nil
  slots[job.slot] = nil
  local code = job.signal ~= 0 and 128 + job.signal or job.code
  local judge = job.kind == "c" and judge_c or judge_spec
  judge(job, code)
  if job.has_failed then
    local text = job.output:match "%d+ success[^\n]*\n.*" or job.output
    say("%s", (text:gsub("^%s+", ""):gsub("%s+$", "")))
  end
  job.pipe:close()
end

-- The words before a command that make it another user's, who has a directory of his own.
local function as_other(uid)
  local temporary = ("%s/t%d"):format(WORK, uid)
  if uv.fs_mkdir(temporary, 448) then uv.fs_chown(temporary, uid, uid) end
  return { "setpriv", "--reuid", tostring(uid), "--regid", tostring(uid), "--clear-groups",
    "--inh-caps=-all", "env", "-u", "HOME", "TMPDIR=" .. temporary, "USER=", "LOGNAME=" }, temporary
end

local function command_of(job, prefix)
  local command = job.kind == "c" and { job.user.build .. "/" .. job.files[1]:gsub("%.c$", "") }
    or concat({ "tools/test/spec.sh", job.user.build }, job.files)
  return concat(prefix, { "sh", "-c", 'exec "$@" 2>&1 </dev/null', "sh" }, command)
end

-- Root and the other user try each test over different backends, where they can.
local function environment(job)
  local all, list = uv.os_environ(), {}
  all.SPEC_EVENTS, all.SPEC_OVER = job.events, OVER
  all.SPEC_WEEK = WEEK .. (job.user.uid and "+" or "")
  if OTHER and OVER == "one" then all.SPEC_SHARE = job.user.uid and "2" or "1" end
  for name, value in pairs(all) do list[#list + 1] = name .. "=" .. value end
  return list
end

local function free_slot()
  local slot = 1
  while slots[slot] do slot = slot + 1 end
  return slot
end

local function start(job)
  job.slot, serial = free_slot(), serial + 1
  slots[job.slot] = true
  local prefix, place = {}, WORK .. "/own"
  if job.user.uid then prefix, place = as_other(job.user.uid + job.slot) end
  job.events = ("%s/events-%d"):format(place, serial)
  job.output, job.read, job.is_over = "", 0, {}
  job.started, job.moved, job.pipe = clock(), clock(), uv.new_pipe(false)
  local command = command_of(job, prefix)
  local handle
  handle, job.pid = uv.spawn(command[1], {
    args = { table.unpack(command, 2) }, cwd = job.user.cwd, env = environment(job),
    detached = true, stdio = { nil, job.pipe },
  }, function(code, signal)
    job.code, job.signal, job.ended = code, signal, clock()
    handle:close()
  end)
  assert(handle, job.pid)
  running[job] = true
  job.pipe:read_start(function(_, text)
    job.closed = not text
    job.output = job.output .. (text or "")
    job.moved = clock()
  end)
end

-- What a process left behind may hold the pipe for a while; its end is not waited for.
local function is_over(job)
  return job.ended and (job.closed or clock() - job.ended > 1)
end

-- Who waits shall know for what.
local function say_what_runs()
  if clock() - last_said < 30 then return end
  local list = {}
  for job in pairs(running) do
    list[#list + 1] = ("%s as %s"):format(job.test or job.file or job.files[1], job.user.name)
  end
  table.sort(list)
  say("# at %s", table.concat(list, "; at "))
end

local at_once = tonumber(os.getenv "SPEC_JOBS")
  or is_root and tonumber(lines_of("nproc")[1] or 1) + 1 or 1

local function turn()
  local count = 0
  for job in pairs(running) do
    if job.kind == "spec" then read_events(job) end
    watch(job)
    if is_over(job) then finish(job) else count = count + 1 end
  end
  while count < at_once and queue[1] do
    start(table.remove(queue, 1))
    count = count + 1
  end
  return count > 0
end

local function run_queue()
  local timer = uv.new_timer()
  timer:start(0, 50, function()
    if not turn() then
      timer:close()
      uv.stop()
    end
    say_what_runs()
  end)
  uv.run()
end

-- What is known of a file that is tried again goes, and is given back.
local function withdraw(failed)
  for word, count in pairs(failed.counts) do total[word] = total[word] - count end
  local kept, withdrawn = {}, {}
  for _, failure in ipairs(failures) do
    local same = failure.user == failed.user and failure.file == failed.file
    table.insert(same and withdrawn or kept, failure)
  end
  failures = kept
  return withdrawn
end

local unsteady = {}

-- The files that failed, one after the other, each with the machine to itself.
local function try_again()
  local again = failed_files
  if #again == 0 or #again > AGAIN then return end
  failed_files, at_once = {}, 1
  for _, failed in ipairs(again) do
    local before = withdraw(failed)
    say("# again, alone: %s as %s", failed.file, failed.user.name)
    count_of_files = count_of_files + 1
    add(queue, failed.kind, failed.user, { failed.file }, 0)
    local known_failures = #failures
    run_queue()
    if #failures == known_failures then table.move(before, 1, #before, #unsteady + 1, unsteady) end
  end
end

local function end_all()
  for job in pairs(running) do uv.kill(-job.pid, "sigkill") end
  os.exit(130)
end

local function write_times(path)
  local keys = {}
  for key in pairs(times) do keys[#keys + 1] = key end
  table.sort(keys)
  local file = io.open(path, "w")
  if not file then return end -- of a tree that is not ours to write to
  for _, key in ipairs(keys) do
    local user, name = key:match "^(%S+) (.*)$"
    file:write(("%s\t%.1f\t%s\n"):format(user, times[key], name))
  end
  file:close()
end

-- Of specs, the longest first.
local function write_tests(path)
  table.sort(tests, function(a, b) return a[1] > b[1] end)
  local file = io.open(path, "w")
  if not file then return end
  for _, test in ipairs(tests) do file:write(("%.2f\t%s\t%s\t%s\n"):format(table.unpack(test))) end
  file:close()
end

-- What all that came to its end took of the processors, which a busy machine does not change much.
local function processor_secs()
  local fields = {}
  for field in read "/proc/self/stat":gsub("^.*%) ", ""):gmatch "%S+" do
    fields[#fields + 1] = tonumber(field) or 0
  end
  return (fields[12] + fields[13] + fields[14] + fields[15]) / lines_of("getconf CLK_TCK")[1]
end

local function report(secs)
  for _, failure in ipairs(failures) do say("failed %s", failure.text) end
  for _, failure in ipairs(unsteady) do
    say("unsteady (passed when it was alone) %s", failure.text)
  end
  if os.getenv "CI" == "true" and total.skipped > 0 then
    total.failed = total.failed + 1
    say("what is skipped in CI is not tested: that is a failure")
  end
  say("%d files took %.0f s, and %.0f s of the processors, %d at once", files_done, secs,
    processor_secs(), at_once)
  say("%d passed, %d failed, %d skipped", total.passed, total.failed, total.skipped)
  os.exit(total.failed == 0 and total.passed > 0)
end

local function main()
  local began = clock()
  for _, name in ipairs{ "sigint", "sigterm", "sighup" } do
    uv.signal_start(uv.new_signal(), name, end_all)
  end
  say("# each test over %s of its backends and starts, as of %s; %d files at once", OVER, WEEK,
    at_once)
  run_queue()
  try_again()
  if (os.getenv "SUITE_RECORD" or "") ~= "" then
    times["all processors"], times["all clock"] = processor_secs(), clock() - began
    write_times(RECORD)
    times["all processors"], times["all clock"] = nil, nil
  end
  for key, secs in pairs(known) do times[key] = times[key] or secs end
  write_times(TIMES)
  write_tests(BUILD .. "/spec/tests")
  report(clock() - began)
end

main()
