-- SPDX-License-Identifier: MIT
--- What the facts of a machine mean for stages, and what to do about each. Pure: facts in
-- (doctor/facts.lua), findings out.
local errors = require "noether.error"
local failures = require "noether.runtime.failures"
local isolation = require "noether.isolation"
local tables = require "noether.tables"
local text = require "noether.text"

local M = {}

-- Mounting by descriptor is whole since 5.12 (mount_setattr).
local FIRST_KERNEL = { 5, 12 }

-- Of Landlock: ABI 3 can refuse to truncate files, ABI 6 to signal others.
local LANDLOCK_FILES, LANDLOCK_SIGNALS = 3, 6

--- The variables that the library and the command read.
M.VARIABLES = {
  NOETHER_ALLOW_UNPINNED_PIP = true, NOETHER_CACHE_DIR = true, NOETHER_LOG_LEVEL = true,
  NOETHER_REQUIRE_ISOLATION = true, NOETHER_RUNTIME = true, NOETHER_STORE = true,
  NOETHER_ISOLATION = true, NOETHER_POLICY_PATH = true,
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

-- What forbids namespaces here by its setting, and how to allow them; nil if no setting does.
local function namespaces_hint(namespaces)
  if namespaces.max == 0 then
    return "allow user namespaces: sysctl user.max_user_namespaces=15000, as root of the host "
      .. "(in a container: of the container's host)"
  elseif namespaces.unprivileged_clone == 0 and not namespaces.root then
    return "allow user namespaces to ordinary users: sysctl kernel.unprivileged_userns_clone=1"
  elseif namespaces.apparmor_restricts == 1 and not namespaces.root then
    return "let AppArmor allow them to this program (a profile is installed below "
      .. "share/noether/apparmor.d), or to all: "
      .. "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  end
  return nil
end

local HINTS = {
  native = function(backend, report)
    if backend.step == "leave user 0" then
      return "this is user 0 of a user namespace that has no other: start it as an ordinary user "
        .. "there, or map more ids"
    end
    return namespaces_hint(report.user_namespaces) or isolation.hint(backend.reason)
  end,
  bwrap = function(backend, report)
    if not backend.path then
      return "none if native works; else install bubblewrap, by the system's packages"
    elseif backend.reason:find("mount proc", 1, true) then
      return "bubblewrap needs a fresh /proc, and native does not"
    end
    return namespaces_hint(report.user_namespaces) or isolation.hint(backend.reason)
  end,
  landlock = function(backend, report)
    local landlock = report.landlock
    if landlock.disabled then
      return "switch Landlock on: add it to the kernel's command line (lsm=landlock,...)"
    elseif landlock.abi < LANDLOCK_FILES then
      return "a kernel of 6.2 or newer, with Landlock, and a container that does not forbid it"
    end
    return isolation.hint(backend.reason)
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
  if landlock.abi < LANDLOCK_FILES then
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
  return finding("warn", found, "memory and processor time are limited by looking at the stage's "
    .. "processes now and then", "nothing; or, for limits that the kernel holds, start the program "
    .. "in a version 2 group that was made over to its user (systemd: Delegate=yes)")
end

function CHECKS.supervisor(report)
  local supervisor = report.supervisor
  local setting = supervisor.memfd_noexec
    and ("vm.memfd_noexec = %d"):format(supervisor.memfd_noexec) or nil
  if not supervisor.works then
    return finding("missing", "it cannot be run: " .. errors.clean(supervisor.reason, 400), setting,
      supervisor.hint)
  elseif (supervisor.memfd_noexec or 0) >= 2 then
    return finding("ok", "it runs, from its installed copy", setting)
  end
  return finding("ok", "it runs, from memory", setting)
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
    return finding("ok", found, ("it has no store (%s) yet: runtime \"auto\" takes this machine's "
      .. "own interpreters, and \"nix\" makes one"):format(report.nix.store))
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
    if not interpreter.found then
      return finding("missing", errors.clean(interpreter.reason, 400),
        ("%s stages cannot be run"):format(language), interpreter.hint)
    end
    local found = ("%s, version %s"):format(interpreter.path, interpreter.version)
    local warnings = interpreter.warnings
    return finding("ok", found, #warnings > 0 and table.concat(warnings, "; ") or nil)
  end
end

CHECKS.python = check_interpreter("python")
CHECKS.javascript = check_interpreter("javascript")
CHECKS.bash = check_interpreter("bash")

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
    if backend.works then
      return finding("ok", "works", "enforces " .. table.concat(backend.enforced, ", "))
    end
    return finding("missing", "does not work: " .. reason_of(backend), nil,
      HINTS[name](backend, report))
  end
end

CHECKS.isolation_native = check_backend("native")
CHECKS.isolation_bwrap = check_backend("bwrap")
CHECKS.isolation_landlock = check_backend("landlock")

function CHECKS.isolation_auto(report)
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

-- In the order in which they are shown.
local ORDER = {
  { "kernel", "kernel" }, { "user_namespaces", "user namespaces" }, { "proc", "/proc" },
  { "landlock", "Landlock" }, { "seccomp", "seccomp" }, { "cgroups", "cgroups" },
  { "supervisor", "supervisor" }, { "bwrap", "bwrap" }, { "nix", "nix" },
  { "python", "python" }, { "javascript", "javascript" }, { "bash", "bash" },
  { "cache", "cache" }, { "environment", "environment" },
  { "isolation_native", "isolation \"native\"" }, { "isolation_bwrap", "isolation \"bwrap\"" },
  { "isolation_landlock", "isolation \"landlock\"" }, { "isolation_auto", "isolation \"auto\"" },
}

-- A fact that could not be had is what its probe raised (`problem`).
local function judge(name, report)
  local fact = report[name] or report.interpreters[name] or report.backends[name]
  local problem = type(fact) == "table" and fact.problem
  if problem then return finding("warn", "could not be looked at: " .. problem) end
  local ok, found = pcall(CHECKS[name], report)
  if ok then return found end
  return finding("warn", "could not be judged: " .. errors.clean(tostring(found), 300))
end

--- The findings, in order.
-- @tparam table report with the facts, and `auto`
-- @treturn table list of `{ name, title, status, found, meaning, hint }`
function M.of(report)
  local list = {}
  for i, entry in ipairs(ORDER) do
    local check = judge(entry[1], report)
    check.name, check.title = entry[1], entry[2]
    list[i] = check
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
