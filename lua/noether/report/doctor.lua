-- SPDX-License-Identifier: MIT
--- What works on this machine, what does not, and what to do about it.
--
-- The report is plain data; `tostring` makes text for people of it. Three parts: what is there
-- (doctor/facts.lua), what that means (doctor/checks.lua), and here how the facts are gathered and
-- shown. Probes run programs side by side, each a coroutine that gives a process and gets its
-- result. Each program has its own time, and more at a second try: what still does not answer is
-- told as not known, never as missing. What goes wrong in a probe is a finding, and nobody's error.
local checks = require "noether.report.doctor.checks"
local compat = require "noether.compat"
local errors = require "noether.error"
local facts = require "noether.report.doctor.facts"
local fork_server = require "noether.report.doctor.fork_server"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local options = require "noether.options"
local process = require "noether.process"
local sets = require "noether.set"
local sys = require "noether.sys"

local coroutine = compat.coroutine

local M = {}

--- The options of @{examine}.
M.OPTIONS = { cache_dir = "path", timeout_secs = "seconds" }

local TIMEOUT_SECS = 5
local SECOND_TRY = 2 -- times that
local WIDTH = 80
local INDENT = 9

-- Where each probe's answer goes: a field of the report, or of one of its lists by name.
local function all_probes()
  local probes = {}
  for _, name in ipairs{ "kernel", "user_namespaces", "proc", "landlock", "seccomp", "cgroups",
      "supervisor", "nix", "cache", "environment", "hosts" } do
    probes[#probes + 1] = { field = name, run = facts[name] }
  end
  for _, name in ipairs(languages.names()) do
    probes[#probes + 1] = { field = "interpreters", name = name, run = facts.interpreter(name) }
  end
  for _, name in ipairs(facts.BACKENDS) do
    probes[#probes + 1] = { field = "backends", name = name, run = facts.backend(name) }
  end
  return probes
end

-- What a probe may use.
local function new_look(given, environ)
  local secs = given.timeout_secs or TIMEOUT_SECS
  return {
    environ = environ, path = environ.PATH, cache_dir = given.cache_dir, await = coroutine.yield,
    launch = process.launch, patience = { secs, secs * SECOND_TRY },
  }
end

local function put(report, probe, answer)
  if probe.name then
    report[probe.field][probe.name] = answer
  else
    report[probe.field] = answer
  end
end

-- Lets a probe go on until it waits for a process: that process, or nil when it is done.
local function advance(report, probe, ...)
  local ok, answer = coroutine.resume(probe.thread, ...)
  if ok and coroutine.status(probe.thread) ~= "dead" then return answer end
  if not ok then
    local problem = errors.clean(tostring(answer), 300)
    answer = { problem = problem, reason = problem }
  end
  put(report, probe, answer)
  return nil
end

local function run_probes(report, look)
  local waiting, procs = {}, {}
  local function go_on(probe, ...)
    local proc = advance(report, probe, ...)
    if not proc then return end
    waiting[#waiting + 1], procs[#procs + 1] = probe, proc
  end
  for _, probe in ipairs(all_probes()) do
    probe.thread = coroutine.create(probe.run)
    go_on(probe, look)
  end
  while #procs > 0 do
    local over = assert(sets.wait_any(procs))
    local proc = table.remove(procs, over)
    go_on(table.remove(waiting, over), proc:result())
  end
end

local function temporary(environ)
  return (environ.TMPDIR or ""):find("^/") and environ.TMPDIR or "/tmp"
end

-- Where the kernel runs nothing from memory, an executor puts a copy of its supervisor into the
-- cache. Here nothing is changed: it lies in a directory that goes when all is looked at.
local function with_supervisor(base, work)
  local directory
  local before = process.keep_supervisor_in(function()
    directory = directory or sys.mkdtemp(base .. "/noether-")
    return directory
  end)
  local ok, message = pcall(work)
  process.keep_supervisor_in(before)
  if directory then sys.remove_tree(directory) end
  if not ok then error(message, 0) end
end

-- Lines of whole words; one that is longer than a line has a line of its own.
local function wrap(text, lines)
  local width = WIDTH - INDENT
  local line
  for word in text:gmatch("%S+") do
    if line and #line + 1 + #word <= width then
      line = line .. " " .. word
    else
      lines[#lines + 1] = line
      line = word
    end
  end
  lines[#lines + 1] = line
end

local function add_check(out, check)
  local lines = {}
  wrap(("%s: %s"):format(check.title, check.found), lines)
  if check.meaning then wrap(check.meaning, lines) end
  if check.hint then wrap("What to do: " .. check.hint, lines) end
  for i, line in ipairs(lines) do
    out[#out + 1] = ("%-" .. INDENT .. "s%s"):format(i == 1 and check.status or "", line)
  end
end

--- The last line of the report.
-- @tparam table report
-- @treturn string
function M.verdict(report)
  if not report.complete then
    return report.ok and "Stages can be run here, isolated; but not all could be tried."
      or "Not all could be tried: it is not known yet whether stages can be run here."
  end
  return report.ok and "Stages can be run here, isolated."
    or "Stages cannot be run here yet: see what is missing above."
end

--- The report as text: a paragraph for each check, in plain words, 80 columns wide.
-- @tparam table report
-- @treturn string
function M.text(report)
  local out = { ("noether %s"):format(report.version), "" }
  for _, check in ipairs(report.checks) do
    add_check(out, check)
  end
  out[#out + 1] = ""
  out[#out + 1] = M.verdict(report)
  return table.concat(out, "\n") .. "\n"
end

local metatable = { __name = "noether.report", __tostring = M.text }

-- The first that works, as `isolation = "auto"` takes it: nothing weaker than one that could not be
-- tried.
local function first_that_works(backends)
  for _, name in ipairs(facts.BACKENDS) do
    if backends[name].works then return name end
    if backends[name].untried then return nil end
  end
  return nil
end

local function is_complete(report)
  for _, facts_by_name in ipairs{ report, report.interpreters, report.backends } do
    for _, fact in pairs(facts_by_name) do
      if type(fact) == "table" and (fact.untried or fact.unknown) then return false end
    end
  end
  return true
end

--- Look at this machine. Nothing is changed. It mostly takes less than a second; a program that
-- does not answer in `timeout_secs` is asked once more, with twice as much.
-- @tparam[opt] DoctorOptions opts
-- @treturn Report plain data, and readable text by `tostring`
-- @raise on a wrong option only
-- @usage
-- local report = noether.doctor()
-- print(report.ok, #report.checks > 5) --> true true
-- -- print(report) shows all of it, with what to do about what is missing
function M.examine(opts)
  local given = options.check("doctor", opts, M.OPTIONS)
  local report = { version = sys.version, interpreters = {}, backends = {} }
  local environ = sys.environ()
  local base, secs = temporary(environ), given.timeout_secs or TIMEOUT_SECS
  with_supervisor(base, function() run_probes(report, new_look(given, environ)) end)
  report.fork_server = fork_server.look(report, base, secs * SECOND_TRY)
  report.auto = first_that_works(report.backends)
  report.complete = is_complete(report)
  report.checks = json.array(checks.of(report))
  report.ok = checks.all_needed(report)
  return setmetatable(report, metatable)
end

--- Options of `noether.doctor`.
-- @table DoctorOptions
-- @tfield ?string cache_dir as of an executor
-- @tfield ?number timeout_secs what each program that is tried may take (5); twice that at the
-- second try

--- One thing that was looked at.
-- @table Finding
-- @tfield string name "user_namespaces"
-- @tfield string title "user namespaces"
-- @tfield "ok"|"warn"|"missing" status
-- @tfield string found what is there
-- @tfield ?string meaning what that means for stages
-- @tfield ?string hint what to do

--- What this machine offers: findings, and the facts that they are made of.
-- @table Report
-- @tfield string version of the library
-- @tfield boolean ok whether stages can be run, isolated
-- @tfield boolean complete whether all could be tried; what could not has `untried`, a text, in the
-- place of an answer
-- @tfield ?Isolation auto what "auto" takes; nil: it refuses
-- @tfield {Finding,...} checks
-- @tfield table kernel release, machine
-- @tfield table user_namespaces max, unprivileged_clone, apparmor_restricts, root, filtered, chroot
-- @tfield table proc covered (paths)
-- @tfield table landlock abi, disabled
-- @tfield table seccomp filter, notification
-- @tfield table cgroups version, controllers (version and usable, by name)
-- @tfield table supervisor works, launch ("launcher" or "direct"), reason, errno, hint,
-- memfd_noexec
-- @tfield table fork_server whether calls of a warm executor are forked: works, reason
-- @tfield table hosts whether a list of hosts holds: works, backend, reason; resolver (the path of
-- getent)
-- @tfield table nix installed, path, version, store, in_use, usable; reason, hint; failure and
-- failure_secs, if it failed so long ago that it is not asked again yet
-- @tfield table cache dir, source, usable, reason; scripts, venvs (how many), bytes, more (it holds
-- more than these bytes)
-- @tfield {[string]=string} environment the library's variables that are set
-- @tfield {[string]=table} interpreters found, path, version, warnings; reason, hint
-- @tfield {[string]=table} backends name, works, enforced, warnings; reason, step, errno

return M
