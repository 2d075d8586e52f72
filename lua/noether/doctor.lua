-- SPDX-License-Identifier: MIT
--- What works on this machine, what does not, and what to do about it.
--
-- The report is plain data; `tostring` makes text for people of it. Three parts: what is there
-- (doctor/facts.lua), what that means (doctor/checks.lua), and here how the facts are gathered and
-- shown. Probes run programs side by side, each a coroutine that gives a process and gets its
-- result; one deadline ends them all. What goes wrong in a probe is a finding, and nobody's error.
local checks = require "noether.doctor.checks"
local errors = require "noether.error"
local facts = require "noether.doctor.facts"
local json = require "noether.json"
local options = require "noether.options"
local process = require "noether.process"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- The options of @{examine}.
M.OPTIONS = { cache_dir = "path", timeout_secs = "seconds" }

local TIMEOUT_SECS = 1.5
local WIDTH = 80
local INDENT = 9

-- Where each probe's answer goes: a field of the report, or of one of its lists by name.
local function all_probes()
  local probes = {}
  for _, name in ipairs{ "kernel", "user_namespaces", "proc", "landlock", "seccomp", "cgroups",
      "supervisor", "nix", "cache", "environment" } do
    probes[#probes + 1] = { field = name, run = facts[name] }
  end
  for _, name in ipairs(facts.LANGUAGES) do
    probes[#probes + 1] = { field = "interpreters", name = name, run = facts.interpreter(name) }
  end
  for _, name in ipairs(facts.BACKENDS) do
    probes[#probes + 1] = { field = "backends", name = name, run = facts.backend(name) }
  end
  return probes
end

-- What a probe may use. However long a program would take, its time is what is left of ours.
local function new_look(given, environ)
  local deadline = sys.clock() + (given.timeout_secs or TIMEOUT_SECS)
  return {
    environ = environ, path = environ.PATH, cache_dir = given.cache_dir, await = coroutine.yield,
    launch = function(argv, opts)
      local left = math.max(deadline - sys.clock(), 0.001)
      return process.launch(argv, tables.merged(opts, {
        timeout_secs = math.min(opts.timeout_secs or math.huge, left),
      }))
    end,
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
    local over = assert(process.wait_any(procs))
    local proc = table.remove(procs, over)
    go_on(table.remove(waiting, over), proc:result())
  end
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

--- The report as text: a paragraph for each check, in plain words, 80 columns wide.
-- @tparam table report
-- @treturn string
function M.text(report)
  local out = { ("noether %s"):format(report.version), "" }
  for _, check in ipairs(report.checks) do
    add_check(out, check)
  end
  out[#out + 1] = ""
  out[#out + 1] = report.ok and "Stages can be run here, isolated."
    or "Stages cannot be run here yet: see what is missing above."
  return table.concat(out, "\n") .. "\n"
end

local metatable = { __name = "noether.report", __tostring = M.text }

-- The first that works, as `isolation = "auto"` takes it.
local function first_that_works(backends)
  for _, name in ipairs(facts.BACKENDS) do
    if backends[name].works then return name end
  end
  return nil
end

--- Look at this machine. Nothing is changed, and it takes less than two seconds.
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
  run_probes(report, new_look(given, sys.environ()))
  report.auto = first_that_works(report.backends)
  report.checks = json.array(checks.of(report))
  report.ok = checks.all_needed(report)
  return setmetatable(report, metatable)
end

--- Options of `noether.doctor`.
-- @table DoctorOptions
-- @tfield ?string cache_dir as of an executor
-- @tfield ?number timeout_secs what programs that are tried may take, all together (1.5)

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
-- @tfield ?Isolation auto what "auto" takes; nil: it refuses
-- @tfield {Finding,...} checks
-- @tfield table kernel release, machine
-- @tfield table user_namespaces max, unprivileged_clone, apparmor_restricts, root
-- @tfield table proc covered (paths)
-- @tfield table landlock abi, disabled
-- @tfield table seccomp filter, notification
-- @tfield table cgroups version, controllers (version and usable, by name)
-- @tfield table supervisor works, reason, errno, hint, memfd_noexec
-- @tfield table nix installed, path, version, store, in_use, usable; reason, hint; failure and
-- failure_secs, if it failed so long ago that it is not asked again yet
-- @tfield table cache dir, source, usable, reason; scripts, venvs (how many), bytes, more (it holds
-- more than these bytes)
-- @tfield {[string]=string} environment the library's variables that are set
-- @tfield {[string]=table} interpreters found, path, version, warnings; reason, hint
-- @tfield {[string]=table} backends name, works, enforced, warnings; reason, step, errno

return M
