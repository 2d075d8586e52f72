-- SPDX-License-Identifier: MIT
--- What the facts of a machine mean for stages, and what to do about each. Pure: facts in
-- (doctor/facts.lua), findings out.
local errors = require "noether.error"
local facts = require "noether.report.doctor.facts"
local failures = require "noether.runtime.failures"
local hints = require "noether.sandbox.hints"
local isolation = require "noether.isolation"
local languages = require "noether.stage.languages"
local tables = require "noether.tables"
local text = require "noether.text"

local M = {}

-- Mounting by descriptor is whole since 5.12 (mount_setattr).
local FIRST_KERNEL = { 5, 12 }

-- Of Landlock: ABI 6 can refuse to signal others.
local LANDLOCK_SIGNALS = 6

--- The variables that the library and the command read.
M.VARIABLES = {
  NOETHER_ALLOW_UNPINNED_PIP = true, NOETHER_CACHE_DIR = true, NOETHER_LOG_LEVEL = true,
  NOETHER_REQUIRE_ISOLATION = true, NOETHER_RUNTIME = true, NOETHER_STORE = true,
  NOETHER_FLEET_KEY = true, NOETHER_FLEET_URL = true, NOETHER_ISOLATION = true,
  NOETHER_LAUNCHER = true, NOETHER_POLICY_PATH = true,
}

local function finding(status, found, meaning, hint)
  return { status = status, found = found, meaning = meaning, hint = hint }
end

local function has(list, word)
  for _, item in ipairs(list or {}) do
    if item == word then return true end
  end
  return false
end

local PATIENCE = "ask again when the machine is less busy, or give it more time: "
  .. "noether doctor --timeout 60"

-- What is said of a fact that could not be had in time; nil if it was.
local function not_known(fact, meaning)
  return fact.untried and finding("warn", fact.untried, meaning, PATIENCE)
end

local SETTINGS = {
  { "max", "user.max_user_namespaces" },
  { "unprivileged_clone", "kernel.unprivileged_userns_clone" },
  { "apparmor_restricts", "kernel.apparmor_restrict_unprivileged_userns" },
}

-- The settings there are, as sysctl(8) shows them.
local function settings_text(namespaces)
  local list = {}
  for _, pair in ipairs(SETTINGS) do
    local value = namespaces[pair[1]]
    if value then list[#list + 1] = ("%s = %d"):format(pair[2], value) end
  end
  return #list > 0 and table.concat(list, ", ") or nil
end

local function hint_for(backend, report)
  local failed = { operation = backend.step, message = backend.reason, errno = backend.errno }
  return hints.hint(failed, report.user_namespaces)
end

local HINTS = {
  native = hint_for,
  bwrap = function(backend, report)
    if not backend.path then
      return "none if native works; else install bubblewrap, by the system's packages"
    end
    return hint_for(backend, report)
  end,
  landlock = function(backend, report)
    local landlock = report.landlock
    if landlock.disabled then
      return "switch Landlock on: add it to the kernel's command line (lsm=landlock,...)"
    elseif landlock.abi < hints.LANDLOCK_FILES then
      return "a kernel of 6.2 or newer, with Landlock, and a container that does not forbid it"
    end
    return hint_for(backend, report)
  end,
}

-- "make namespaces: No space left on device (ENOSPC)"
local function reason_of(backend)
  local reason = errors.clean(backend.reason, 400)
  if backend.errno and not reason:find(backend.errno, 1, true) then
    reason = ("%s (%s)"):format(reason, backend.errno)
  end
  return reason
end

local CHECKS = {}

function CHECKS.kernel(report)
  local kernel = report.kernel
  local found = ("Linux %s on %s"):format(kernel.release, kernel.machine)
  local major, minor = kernel.release:match("^(%d+)%.(%d+)")
  major, minor = tonumber(major) or 0, tonumber(minor) or 0
  if major < FIRST_KERNEL[1] or (major == FIRST_KERNEL[1] and minor < FIRST_KERNEL[2]) then
    return finding("warn", found, "isolation \"native\" needs 5.12 or newer", "a newer kernel")
  end
  return finding("ok", found)
end

function CHECKS.user_namespaces(report)
  local native, bwrap = report.backends.native, report.backends.bwrap
  local settings = settings_text(report.user_namespaces)
  if native.works then return finding("ok", "a sandbox could be made of them", settings) end
  if native.untried then return not_known(native, settings) end
  local found = "no sandbox could be made of them: " .. reason_of(native)
  local hint = HINTS.native(native, report)
  return finding(bwrap.works and "warn" or "missing", found, settings, hint)
end

function CHECKS.proc(report)
  local covered, native = report.proc.covered, report.backends.native
  if #covered == 0 then return finding("ok", "/proc is whole") end
  local found = ("/proc is covered in part (%s)"):format(table.concat(covered, ", "))
  local fresh = native.enforced and has(native.enforced, "fresh_proc")
  if fresh then return finding("ok", found, "a sandbox gets a fresh one all the same") end
  return finding("warn", found, "the kernel refuses a fresh one to sandboxes then; native puts a "
    .. "stub in its place, and bubblewrap cannot work",
    "nothing, unless stages need /proc/self; containers can be told not to cover it")
end

function CHECKS.landlock(report)
  local landlock = report.landlock
  if landlock.abi == 0 then
    local found = landlock.disabled and "built into this kernel, and switched off"
      or "this kernel does not have it, or a filter hides it"
    return finding("missing", found, "native holds files by mounts alone",
      HINTS.landlock({ reason = "" }, report))
  end
  local found = ("ABI %d"):format(landlock.abi)
  if landlock.abi < hints.LANDLOCK_FILES then
    return finding("warn", found, "too old for isolation \"landlock\", which needs ABI 3",
      HINTS.landlock({ reason = "" }, report))
  elseif landlock.abi < LANDLOCK_SIGNALS then
    return finding("ok", found, "it holds files; signals are held by seccomp (ABI 6 would do both)")
  end
  return finding("ok", found, "it holds files, signals and abstract sockets")
end

function CHECKS.seccomp(report)
  local seccomp = report.seccomp
  if not seccomp.filter then
    return finding("missing", "this kernel takes no filters", "nothing can be isolated without",
      "a kernel with CONFIG_SECCOMP_FILTER")
  elseif not seccomp.notification then
    return finding("warn", "filters, without user notification", "a stage that may not start "
      .. "programs is still stopped, and the error may not name the effect", "Linux 5.0 or newer")
  end
  return finding("ok", "filters, with user notification")
end

function CHECKS.cgroups(report)
  local list, usable = {}, {}
  for _, name in ipairs(tables.sorted_names(report.cgroups.controllers)) do
    local controller = report.cgroups.controllers[name]
    list[#list + 1] = ("%s (%s)"):format(name, controller.version)
    if controller.usable then usable[#usable + 1] = name end
  end
  local found = report.cgroups.version
  if #list > 0 then found = found .. ", with " .. table.concat(list, ", ") end
  found = ("%s; for us to use: %s"):format(found,
    #usable > 0 and table.concat(usable, ", ") or "none")
  local enforced = report.auto and report.backends[report.auto].enforced
  if has(enforced, "memory_cgroup") then
    return finding("ok", found, "the kernel itself limits a stage's memory")
  end
  if not enforced then
    return finding("ok", found, "what that means for stages is known once a sandbox works")
  end
  return finding("warn", found, "memory and processor time are limited by looking at the stage's "
    .. "processes now and then", "nothing; or, for limits that the kernel holds, start the program "
    .. "in a version 2 group that was made over to its user (systemd: Delegate=yes)")
end

function CHECKS.supervisor(report)
  local supervisor = report.supervisor
  local setting = supervisor.memfd_noexec
    and ("vm.memfd_noexec = %d"):format(supervisor.memfd_noexec) or nil
  if supervisor.untried then
    return not_known(supervisor, setting)
  elseif not supervisor.works then
    return finding("missing", "it cannot be run: " .. errors.clean(supervisor.reason, 400), setting,
      supervisor.hint)
  end
  local from = (supervisor.memfd_noexec or 0) >= 2 and "a copy on disk" or "memory"
  local launch = supervisor.launch == "launcher" and "and stands by for runs (the launcher works)"
    or "and is started by each run"
  return finding("ok", ("it runs, from %s, %s"):format(from, launch), setting)
end

function CHECKS.bwrap(report)
  local bwrap = report.backends.bwrap
  if not bwrap.path then
    return finding("missing", "bubblewrap is not installed", "it is needed only where native does "
      .. "not work", HINTS.bwrap(bwrap, report))
  end
  local found = ("%s, version %s"):format(bwrap.path, bwrap.version or "unknown")
  if bwrap.trusted and #(bwrap.warnings or {}) == 0 then return finding("ok", found) end
  return finding("warn", found, bwrap.warnings and bwrap.warnings[1]
    or "its owner, as seen from here, is not root: others could change it",
    "install the system's own bubblewrap")
end

function CHECKS.nix(report)
  if not report.nix.installed then
    return finding("missing", "not installed",
      "stages run with this machine's own interpreters", "nothing, if these will do")
  end
  local found = ("%s, version %s"):format(report.nix.path, report.nix.version or "unknown")
  if not report.nix.in_use then
    return finding("ok", found, ("nothing is in its store (%s) yet: runtime \"auto\" takes this "
      .. "machine's own interpreters, and \"nix\" fetches its own"):format(report.nix.store))
  elseif report.nix.untried then
    return finding("warn", ("%s; it %s"):format(found, report.nix.untried), nil, PATIENCE)
  elseif not report.nix.usable then
    return finding("warn", ("%s; it cannot be used: %s"):format(found, report.nix.reason),
      "runtime \"auto\" takes this machine's own interpreters, with a warning; \"host\" "
      .. "(NOETHER_RUNTIME=host), without", report.nix.hint)
  elseif report.nix.failure then
    return finding("warn", ("%s; %d s ago it failed: %s"):format(found, report.nix.failure_secs,
      report.nix.failure), ("runtime \"auto\" takes this machine's own interpreters in its place, "
      .. "and asks it again in %d s"):format(failures.KEPT_SECS - report.nix.failure_secs),
      "mend that; `noether warmup`, or executor:warmup(), asks it at once")
  end
  return finding("ok", found, "runtime \"auto\" takes its interpreters, where it has them or can "
    .. "fetch them")
end

local function check_interpreter(language)
  return function(report)
    local interpreter = report.interpreters[language]
    if interpreter.untried then
      return not_known(interpreter)
    end
    if not interpreter.found then
      return finding("missing", errors.clean(interpreter.reason, 400),
        ("%s stages cannot be run"):format(language), interpreter.hint)
    end
    local found = ("%s, version %s"):format(interpreter.path, interpreter.version)
    local warnings = interpreter.warnings
    return finding("ok", found, #warnings > 0 and table.concat(warnings, "; ") or nil)
  end
end

local function counted(number, word)
  return ("%d %s%s"):format(number, word, number == 1 and "" or "s")
end

function CHECKS.cache(report)
  local cache = report.cache
  local hint = "set NOETHER_CACHE_DIR to a directory that is yours and can be written to"
  if not cache.dir then
    return finding("warn", cache.reason, "scripts are kept in a temporary directory for each "
      .. "process", hint)
  end
  local found = ("%s (by %s)"):format(cache.dir, cache.source)
  if cache.usable then
    return finding("ok", ("%s: %s, %s with packages, %s%s"):format(found,
      counted(cache.scripts, "script"), counted(cache.venvs, "environment"),
      cache.more and "more than " or "", text.bytes(cache.bytes)))
  end
  return finding("missing", ("%s: %s"):format(found, cache.reason), nil, hint)
end

function CHECKS.environment(report)
  local list, strange = {}, {}
  for _, name in ipairs(tables.sorted_names(report.environment)) do
    list[#list + 1] = ("%s=%s"):format(name, report.environment[name])
    if not M.VARIABLES[name] then strange[#strange + 1] = name end
  end
  if #list == 0 then return finding("ok", "no variable of ours is set") end
  local found = table.concat(list, " ")
  if #strange == 0 then return finding("ok", found) end
  return finding("warn", found, "nothing reads " .. table.concat(strange, ", "),
    "the names are " .. table.concat(tables.sorted_names(M.VARIABLES), ", "))
end

local function check_backend(name)
  return function(report)
    local backend = report.backends[name]
    if backend.untried then return not_known(backend) end
    if backend.unknown then
      return finding("warn", "works", "what it enforces " .. backend.unknown)
    end
    if backend.works then
      return finding("ok", "works", "enforces " .. table.concat(backend.enforced, ", "))
    end
    return finding("missing", "does not work: " .. reason_of(backend), nil,
      (HINTS[name] or hint_for)(backend, report))
  end
end

function CHECKS.hosts(report)
  local hosts = report.hosts
  if hosts.untried then return not_known(hosts) end
  if not hosts.works then
    return finding("missing", "it does not hold: " .. errors.clean(hosts.reason, 400),
      "stages that declare a list of hosts are refused, or fail",
      "see the lines of native and bwrap; a network namespace needs no more than they do")
  end
  local found = ("it holds, under %s: what is on it was reached, and nothing else"):format(
    hosts.backend)
  if hosts.resolver then return finding("ok", found) end
  return finding("warn", found, "there is no getent: only addresses are reached, and no names",
    "install getent (of the C library's own programs)")
end

function CHECKS.fork_server(report)
  local server = report.fork_server
  if server.untried then return not_known(server) end
  if server.works then
    return finding("ok", "it serves: Python of a warm executor is forked, in the native sandbox")
  end
  return finding("warn", "it does not serve: " .. errors.clean(server.reason, 400),
    "a warm executor has interpreters wait instead, and batches start cold")
end

-- The strongest that could not be tried, where nothing stronger works.
local function undecided(report)
  for _, name in ipairs(isolation.NAMES) do
    local backend = report.backends[name]
    if backend and backend.untried then return backend end
    if backend and backend.works then return nil end
  end
  return nil
end

function CHECKS.isolation_auto(report)
  local open = undecided(report)
  if open then
    return finding("warn", ("not known: %s %s"):format(open.name, open.untried), "until it can be "
      .. "tried, stages are refused with an error that can be tried again (sandbox_failed): "
      .. "nothing weaker takes its place", PATIENCE)
  end
  local why_not = {}
  for _, name in ipairs(isolation.NAMES) do
    if name == report.auto then break end
    local backend = report.backends[name]
    if backend then why_not[#why_not + 1] = ("not %s: %s"):format(name, reason_of(backend)) end
  end
  local reasons = #why_not > 0 and table.concat(why_not, "; ") or nil
  if not report.auto then
    return finding("missing", "takes nothing, and refuses to run stages", reasons,
      "see the lines above; without any isolation: isolation = \"none\", in code")
  elseif report.auto == "landlock" then
    return finding("warn", "takes landlock", ("weaker than the others: the stage keeps this user's "
      .. "id, and sees the host's paths and processes; %s"):format(reasons),
      HINTS.native(report.backends.native, report))
  end
  return finding("ok", "takes " .. report.auto, reasons or "nothing stronger is known")
end

-- Before what is checked of each language and of each backend, and between.
local OF_THE_MACHINE = {
  { "kernel", "kernel" }, { "user_namespaces", "user namespaces" }, { "proc", "/proc" },
  { "landlock", "Landlock" }, { "seccomp", "seccomp" }, { "cgroups", "cgroups" },
  { "supervisor", "supervisor" }, { "bwrap", "bwrap" }, { "nix", "nix" },
}

local OF_THE_USER = { { "cache", "cache" }, { "environment", "environment" } }

-- All checks in the order in which they are shown: `{ name, title, function }`.
local function all_checks()
  local list = {}
  local function add(name, title, check)
    list[#list + 1] = { name, title, check or CHECKS[name] }
  end
  for _, entry in ipairs(OF_THE_MACHINE) do
    add(entry[1], entry[2])
  end
  for _, language in ipairs(languages.names()) do
    add(language, language, check_interpreter(language))
  end
  for _, entry in ipairs(OF_THE_USER) do
    add(entry[1], entry[2])
  end
  for _, backend in ipairs(facts.BACKENDS) do
    add("isolation_" .. backend, ("isolation \"%s\""):format(backend), check_backend(backend))
  end
  add("hosts", "a list of hosts")
  add("fork_server", "fork server")
  add("isolation_auto", "isolation \"auto\"")
  return list
end

-- A fact that could not be had is what its probe raised (`problem`).
local function judge(name, check, report)
  local fact = report[name] or report.interpreters[name] or report.backends[name]
  local problem = type(fact) == "table" and fact.problem
  if problem then return finding("warn", "could not be looked at: " .. problem) end
  local ok, found = pcall(check, report)
  if ok then return found end
  return finding("warn", "could not be judged: " .. errors.clean(tostring(found), 300))
end

--- The findings, in order.
-- @tparam table report with the facts, and `auto`
-- @treturn table list of `{ name, title, status, found, meaning, hint }`
function M.of(report)
  local list = {}
  for index, entry in ipairs(all_checks()) do
    local found = judge(entry[1], entry[3], report)
    found.name, found.title = entry[1], entry[2]
    list[index] = found
  end
  return list
end

--- Whether stages of some language can be run, isolated.
-- @tparam table report with the facts, and `auto`
-- @treturn boolean
function M.all_needed(report)
  local interpreter = false
  for _, found in pairs(report.interpreters) do
    interpreter = interpreter or found.found == true
  end
  local cache = report.cache
  return report.auto ~= nil and interpreter and (cache.usable == true or cache.dir == nil)
end

return M
