-- SPDX-License-Identifier: MIT
--- What to do about a sandbox that could not be set up. The cause decides, not the backend: what
-- was tried, what the kernel said of it, and what this machine is.
local sys = require "noether.sys"

local M = {}

--- Of Landlock: the first version that can refuse to truncate files, without which it holds none.
M.LANDLOCK_FILES = 3

local MAX_FACTS_BYTES = 1024 * 1024

local function setting(name)
  return tonumber(sys.setting(name) or "")
end

-- A chroot shows no mount as "/": the kernel makes no user namespaces in one.
local function is_chroot()
  local mounts = sys.read_file("/proc/self/mountinfo", MAX_FACTS_BYTES)
  if mounts and not ("\n" .. mounts):find("\n%S+ %S+ %S+ %S+ / ") then return true end
  local own, first = sys.stat("/", true), sys.stat("/proc/1/root", true)
  return own ~= nil and first ~= nil and (own.dev ~= first.dev or own.ino ~= first.ino)
end

-- The system calls of a container, or of a service, are filtered: those of ours, too.
local function is_filtered()
  local status = sys.read_file("/proc/self/status", MAX_FACTS_BYTES) or ""
  return status:match("\nSeccomp:%s*(%d)") == "2"
end

--- What of this machine namespaces depend on.
-- @treturn table `max`, `unprivileged_clone`, `apparmor_restricts` (settings; nil: there is none),
-- `root`, `filtered`, `chroot`, `no_proc` (booleans)
function M.machine()
  return {
    max = setting("user.max_user_namespaces"),
    unprivileged_clone = setting("kernel.unprivileged_userns_clone"),
    apparmor_restricts = setting("kernel.apparmor_restrict_unprivileged_userns"),
    root = sys.geteuid() == 0, filtered = is_filtered(), chroot = is_chroot(),
    no_proc = sys.stat("/proc/self") == nil,
  }
end

--- What forbids namespaces here by its setting, and how to allow them.
-- @tparam table machine
-- @treturn ?string nil if no setting does
function M.of_settings(machine)
  if machine.max == 0 then
    return "allow user namespaces: sysctl user.max_user_namespaces=15000, as root of the host "
      .. "(in a container: of the container's host)"
  elseif machine.unprivileged_clone == 0 and not machine.root then
    return "allow user namespaces to ordinary users: sysctl kernel.unprivileged_userns_clone=1"
  elseif machine.apparmor_restricts == 1 and not machine.root then
    return "let AppArmor allow them to this program (a profile is installed below "
      .. "share/noether/apparmor.d), or to all: "
      .. "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  end
  return nil
end

local CHROOT = "a chroot has no user namespaces: start it outside, or have the root entered as "
  .. "containers do (pivot_root)"
local NO_PROC = "there is no /proc here, so that it cannot be told why: if this is a chroot, it "
  .. "has no user namespaces; landlock may work"
local FILTER = "the filter of this container, or service, forbids it: take one that allows "
  .. "unshare, clone with namespaces and mount (--security-opt seccomp=FILE; Podman's own does; of "
  .. "systemd: RestrictNamespaces=no)"
local GENERAL = "are user namespaces allowed here (kernel.unprivileged_userns_clone, "
  .. "user.max_user_namespaces, an AppArmor or container profile)?"

local REFUSED = { EPERM = true, EACCES = true }
local UNKNOWN = { ENOSYS = true, EINVAL = true }

-- Namespaces themselves could not be had.
local function of_namespaces(errno, machine)
  local by_setting = M.of_settings(machine)
  if by_setting then return by_setting end
  if errno == "ENOSPC" or errno == "EUSERS" then
    return "no more user namespaces may be made, or nested any deeper (user.max_user_namespaces)"
  elseif UNKNOWN[errno] then
    return "a kernel with user namespaces (CONFIG_USER_NS)"
  elseif machine.chroot then
    return CHROOT
  elseif machine.no_proc then
    return NO_PROC
  end
  return machine.filtered and FILTER or GENERAL
end

local function of_admin(errno, machine)
  if machine.chroot or M.of_settings(machine) then return of_namespaces(errno, machine) end
  return "start it as an ordinary user of the container, or give its root --cap-add SYS_ADMIN"
end

-- They could be had, and nothing be mounted in them.
local function of_mounts(errno, machine)
  if not REFUSED[errno] then return nil end
  if machine.apparmor_restricts == 1 and not machine.root then return M.of_settings(machine) end
  return "what may be mounted in a user namespace is restricted here, by a container's filter or "
    .. "by AppArmor or SELinux: let it be done by this program, or take landlock"
end

local function of_binds(errno, _, message)
  if errno == "ENOENT" then return "a path that was to be bound does not exist" end
  if message:find("(owner ", 1, true) then
    return "the program runs as another user, who may not use it: give it to all to read (chmod "
      .. "o+rX), or be its owner, and not root"
  end
  return nil
end

local function of_devices(errno, machine, message)
  if errno ~= "ENOENT" then return of_mounts(errno, machine) end
  return ("this machine lacks a device that programs expect: %s; let the container have the usual "
    .. "ones"):format(message:match("(/dev/%S+):") or "one below /dev")
end

local function of_landlock(errno)
  if errno == "ENOSYS" or errno == "EOPNOTSUPP" then
    return "Linux 6.2 or newer, with Landlock switched on (lsm=landlock,...), and a container that "
      .. "does not hide it"
  end
  return nil
end

local function of_leaving_root()
  return "this is user 0 of a user namespace that has no other: start it as an ordinary user "
    .. "there, or map more ids"
end

-- By what could not be done.
local BY_OPERATION = {
  ["make namespaces"] = of_namespaces, ["become administrator"] = of_admin,
  ["leave user 0"] = of_leaving_root,
  ["mount root"] = of_mounts, ["mount private directory"] = of_mounts, ["mount /proc"] = of_mounts,
  ["leave old root"] = of_mounts, ["map ids"] = of_namespaces, ["cover devices"] = of_mounts,
  ["make /dev"] = of_devices, bind = of_binds, ["open for bind"] = of_binds,
  ["use Landlock"] = of_landlock,
}

-- bubblewrap tells of a failure in words alone; as of these errnos, in one of our steps.
local WORDS_OF_BWRAP = {
  { "Can't find source path", "ENOENT", "bind" }, { "hostname", "EPERM", "hostname" },
  { "mount proc", "EPERM", "proc" }, { "No space left on device", "ENOSPC", "make namespaces" },
  { "namespace", "EPERM", "make namespaces" }, { "uid map", "EPERM", "map ids" },
  { "Can't mount", "EPERM", "mount root" }, { "remount", "EPERM", "mount root" },
  { "Permission denied", "EACCES", "make namespaces" },
  { "Operation not permitted", "EPERM", "make namespaces" },
}

BY_OPERATION.hostname = function()
  return "the container's filter refuses a host name, without which bubblewrap cannot go on, and "
    .. "native can"
end

BY_OPERATION.proc = function()
  return "bubblewrap needs a fresh /proc, and native does not"
end

local function read_bwrap(message)
  for _, entry in ipairs(WORDS_OF_BWRAP) do
    if message:find(entry[1], 1, true) then return entry[3], entry[2] end
  end
  return nil
end

--- A hint of what to do.
-- @tparam table failed `operation`, `message`, `errno`, as the core tells of it
-- @tparam[opt] table machine as of @{machine}
-- @treturn string
function M.hint(failed, machine)
  local operation, errno = failed.operation, failed.errno
  if operation == "bwrap" then operation, errno = read_bwrap(failed.message) end
  local find = BY_OPERATION[(operation or ""):match("^use Landlock") or operation]
  local hint = find and find(errno, machine or M.machine(), failed.message or "")
  return hint or "see SECURITY.md for what each backend needs"
end

-- What is done to have the supervisor itself.
local SUPERVISOR = { memfd_create = true, ["open the supervisor"] = true }

--- Whether an error, or what the core tells, says that the supervisor itself cannot be run: nothing
-- is known of what it was to start.
-- @tparam table failed
-- @treturn boolean
function M.lacks_supervisor(failed)
  return SUPERVISOR[failed.operation] == true
end

--- What to do then.
M.SUPERVISOR = "this kernel runs nothing from memory: set vm.memfd_noexec to 0 or 1; or install "
  .. "noether (make install), so that it finds its supervisor on disk; or give executors a cache "
  .. "from which programs may be run"

return M
