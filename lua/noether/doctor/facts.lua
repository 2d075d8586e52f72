-- SPDX-License-Identifier: MIT
--- What this machine has for stages: facts, without an opinion.
--
-- Each probe is given what it may use (`look`) and returns plain data that JSON can hold. Nothing
-- is changed: what would have to be made is only looked for. A probe that runs programs does so by
-- `look.launch` and `look.await`, and may be put aside while they run.
local cache = require "noether.cache"
local errors = require "noether.error"
local failures = require "noether.runtime.failures"
local host = require "noether.runtime.host"
local isolation = require "noether.isolation"
local json = require "noether.json"
local nix = require "noether.runtime.nix"
local nix_command = require "noether.runtime.nix_command"
local policy = require "noether.policy.isolation"
local policy_errors = require "noether.policy.errors"
local sys = require "noether.sys"
local tables = require "noether.tables"

local LANGUAGES = {
  python = require "noether.policy.languages.python",
  javascript = require "noether.policy.languages.javascript",
  bash = require "noether.policy.languages.bash",
}

local M = {}

--- The backends that isolate, in the order in which "auto" tries them.
M.BACKENDS = {}
for _, name in ipairs(isolation.NAMES) do
  if name ~= "auto" and name ~= "none" then M.BACKENDS[#M.BACKENDS + 1] = name end
end

--- The languages that come with the library.
M.LANGUAGES = { "python", "javascript", "bash" }

local TRUE_PATH = "/usr/bin:/bin:/run/current-system/sw/bin"
local MAX_TEXT_BYTES = 300
local MAX_LOOKS = 5000

-- A setting of the kernel's, as a number; nil where there is none or it cannot be read.
local function setting(name)
  return tonumber(sys.setting(name) or "")
end

local function lines_of(path)
  return (sys.read_file(path) or ""):gmatch("[^\n]+")
end

-- The mounts we see: `target`, `root`, `fs` and `super` (the file system's options). Blanks in
-- names are written in octal: proc(5).
local function mounts()
  local list = {}
  for line in lines_of("/proc/self/mountinfo") do
    local root, target, fs, super =
      line:match("^%d+ %d+ %S+ (%S+) (%S+) .- %- (%S+) %S+ (%S*)")
    if root then
      target = target:gsub("\\(%d%d%d)", function(octal)
        return string.char(tonumber(octal, 8))
      end)
      list[#list + 1] = { root = root, target = target, fs = fs, super = super }
    end
  end
  return list
end

local function has_word(list, word)
  return ("," .. list .. ","):find("," .. word .. ",", 1, true) ~= nil
end

-- Runs a program for a line of its output; nil if it gives none.
local function first_line(argv, look, env)
  local proc = look.launch(argv, { cwd = "/", stdin = "", max_output_bytes = 4096, env = env })
  local result = proc and look.await(proc)
  if proc then proc:close() end
  return result and result.ok and result.stdout:match("[^\r\n]+") or nil
end

local function version_of(path, look, env)
  local line = first_line({ path, "--version" }, look, env)
  local version = line and line:match("%d[%w.+-]*")
  return version and errors.clean(version, 80)
end

function M.kernel()
  local kernel = sys.kernel()
  return { release = errors.clean(kernel.release, 80), machine = errors.clean(kernel.machine, 80) }
end

--- The settings that allow or forbid user namespaces; whether they can really be had, the trial of
-- a backend tells.
function M.user_namespaces()
  return {
    max = setting("user.max_user_namespaces"),
    unprivileged_clone = setting("kernel.unprivileged_userns_clone"),
    apparmor_restricts = setting("kernel.apparmor_restrict_unprivileged_userns"),
    root = sys.geteuid() == 0,
  }
end

--- What covers parts of /proc, which makes the kernel refuse a fresh one to others. The one mount
-- that is usual lies on an empty directory, and does not count.
function M.proc()
  local covered = {}
  for _, mount in ipairs(mounts()) do
    if mount.target:sub(1, 6) == "/proc/" and mount.target ~= "/proc/sys/fs/binfmt_misc" then
      covered[#covered + 1] = errors.clean(mount.target, MAX_TEXT_BYTES)
    end
  end
  return { covered = json.array(covered) }
end

function M.landlock()
  local kernel = sys.kernel()
  return { abi = kernel.landlock_abi, disabled = kernel.landlock_disabled }
end

function M.seccomp()
  local kernel = sys.kernel()
  return { filter = kernel.seccomp_filter, notification = kernel.seccomp_notification }
end

-- Our group in each hierarchy: its path by controllers ("" is version 2), cgroups(7).
local function own_groups()
  local groups = {}
  for line in lines_of("/proc/self/cgroup") do
    local controllers, path = line:match("^%d+:([^:]*):(.*)$")
    if controllers then groups[controllers] = path end
  end
  return groups
end

-- Where our group is, below a mount that may show a part of the hierarchy only.
local function group_directory(mount, path)
  if mount.root ~= "/" and path:sub(1, #mount.root) == mount.root then
    path = path:sub(#mount.root + 1)
  end
  return mount.target .. (path ~= "/" and path or "")
end

-- Whether groups can be made in a directory of version 2 and have this controller.
local function is_parent(directory, name)
  local passed = sys.read_file(directory .. "/cgroup.subtree_control", 4096) or ""
  return (" " .. passed:gsub("%s", " ") .. " "):find(" " .. name .. " ", 1, true) ~= nil
    and sys.access(directory, "w") == true and sys.access(directory .. "/cgroup.procs", "w") == true
end

-- By version: whether a hierarchy has the controller, and whether we could make a group with it. In
-- version 2 that is one below our own, or beside it.
local SEARCHES = {
  v1 = function(mount, directory, name)
    return has_word(mount.super, name), sys.access(directory, "w") == true
  end,
  v2 = function(_, directory, name)
    local all = sys.read_file(directory .. "/cgroup.controllers", 4096) or ""
    local parent = directory:match("^(.+)/") or directory
    return has_word(all:gsub("%s+", ","), name),
      is_parent(directory, name) or is_parent(parent, name)
  end,
}

local VERSIONS = { cgroup = "v1", cgroup2 = "v2" }

local function add_controllers(controllers, mount, groups)
  local version = VERSIONS[mount.fs]
  for names, path in pairs(groups) do
    local own = names == "" and version == "v2"
      or names ~= "" and version == "v1" and has_word(mount.super, names:match("[^,]+"))
    for _, name in ipairs(own and { "memory", "pids" } or {}) do
      local has, usable = SEARCHES[version](mount, group_directory(mount, path), name)
      if has then controllers[name] = { version = version, usable = usable } end
    end
  end
end

--- The controllers that matter to limits, and whether we could make groups with them.
function M.cgroups()
  local found, controllers, groups = {}, {}, own_groups()
  for _, mount in ipairs(mounts()) do
    local version = VERSIONS[mount.fs]
    if version then
      found[version] = true
      add_controllers(controllers, mount, groups)
    end
  end
  local version = found.v1 and (found.v2 and "v1 and v2" or "v1") or found.v2 and "v2" or "none"
  return { version = version, controllers = controllers }
end

--- Whether the library's supervisor, which is kept in memory, can be run.
function M.supervisor(look)
  local fact = { memfd_noexec = setting("vm.memfd_noexec") }
  local program = sys.find_program("true", TRUE_PATH)
  if not program then
    fact.reason = "there is no program 'true' to try it with"
    return fact
  end
  local proc, err = look.launch({ program }, {})
  local result
  if proc then
    result, err = look.await(proc)
    proc:close()
  end
  fact.works = result ~= nil and result.ok
  if not fact.works then
    fact.reason = err and err.message or "the trial ended with " .. result.reason
    fact.errno, fact.hint = err and err.errno, err and err.hint
  end
  return fact
end

-- A program that nobody but root could have put there or changed.
local function is_roots(path)
  local stat = sys.stat(path, true)
  return stat ~= nil and stat.uid == 0 and stat.mode % 0x20 < 0x10
    and math.floor(stat.mode / 2) % 2 == 0
end

-- Runs a program to its end: its result, or nil and an error.
local function run(argv, opts, look)
  local proc, err = look.launch(argv, opts)
  if not proc then return nil, err end
  local result
  result, err = look.await(proc)
  proc:close()
  return result, err
end

local function is_unknown_command(result)
  return not result.ok and result.stderr:find("not a recognised command", 1, true) ~= nil
end

-- Nix ends badly where it finds no home: one that is none will do to ask it something.
local function nix_environment(environ)
  local env = tables.merged(environ)
  if not env.HOME and sys.geteuid() ~= 0 then env.HOME = "/homeless-shelter" end
  return env
end

-- Lets nix open its store: nil, or why it cannot and what to do.
local function why_nix_fails(path, look, env)
  local result, err
  for _, name in ipairs(nix_command.TRIALS) do
    result, err = run(nix_command.trial(path, name), { env = env, stdin = "" }, look)
    if not result then return err.message, err.hint end
    if not is_unknown_command(result) then break end
  end
  if result.ok then return nil end
  if result.reason == "timeout" then return "it did not answer in time" end
  local _, message, hint = policy_errors.classify{
    source = "nix", stderr = result.stderr, exit_code = result.exit_code,
    signal = result.signal, reason = result.reason,
  }
  return message, hint
end

-- A failure of nix that still counts for executors with runtime "auto", and its age.
local function last_failure(path, look)
  local dir = cache.locate(look.cache_dir, look.environ)
  if not dir then return nil end
  local known, names = failures.of({ dir = dir }, path, look.environ), { failures.ALL }
  for _, language in ipairs(M.LANGUAGES) do
    names[#names + 1] = failures.name(language, {})
  end
  for _, name in ipairs(names) do
    local message, age = known:recent(name)
    if message then return message, age end
  end
  return nil
end

--- Whether nix is installed, was ever used (it has a store), and can be used.
function M.nix(look)
  local path = nix.find(look.environ)
  if not path then return { installed = false } end
  local env = nix_environment(look.environ)
  local fact = {
    installed = true, path = errors.clean(path, MAX_TEXT_BYTES),
    version = version_of(path, look, env),
    store = errors.clean(nix.store_dir(look.environ), MAX_TEXT_BYTES),
    in_use = nix.is_in_use(look.environ),
  }
  if fact.in_use then
    fact.reason, fact.hint = why_nix_fails(path, look, env)
    fact.usable = fact.reason == nil
    local failure, age = last_failure(path, look)
    fact.failure, fact.failure_secs = failure, age and math.floor(age)
  end
  return fact
end

--- The interpreter of a language, as a stage would get it from the host.
-- @tparam string name
-- @treturn function a probe
function M.interpreter(name)
  return function(look)
    local runtime, err = host.resolve(LANGUAGES[name], look)
    if not runtime then return { found = false, reason = err.message, hint = err.hint } end
    return {
      found = true, path = runtime.path, version = runtime.version,
      warnings = json.array(runtime.warnings),
    }
  end
end

-- "cannot run /usr/bin/true: make namespaces: No space ..." without what is known, and the step.
local function reason_and_step(message)
  local reason = message:match(": (cannot run .*)$") or message
  reason = reason:gsub("^isolation \"%w+\" does not work here: ", ""):gsub("\\n", " ")
  reason = reason:gsub("^cannot run %S+: ", ""):gsub("^bwrap: bwrap:", "bwrap:"):gsub("%s+$", "")
  return reason, reason:match("^([^:]+): ")
end

-- Chooses the backend as an executor does, and keeps what its trial saw.
local function try(name, look)
  local seen = {}
  local chosen, err = isolation.choose(name, function(argv, opts)
    seen.path = opts.sandbox and opts.sandbox.bwrap_path
    local proc, failed = look.launch(argv, opts)
    seen.err = failed
    return proc, failed
  end, {
    path = look.path,
    await = function(proc)
      local result, failed = look.await(proc)
      seen.err = failed
      return result, failed
    end,
  })
  return chosen, err, seen
end

-- What this backend enforces on a stage that declares no effects.
local function enforced_by(chosen, look)
  local program = sys.find_program("true", TRUE_PATH)
  local sandbox = isolation.apply(chosen, isolation.system())
  sandbox.processes = false
  local proc = program and look.launch({ program }, { sandbox = sandbox, limits = policy.limits })
  local result = proc and look.await(proc)
  if proc then proc:close() end
  return result and result.enforced
end

--- Whether a backend works, tried.
-- @tparam string name
-- @treturn function a probe
function M.backend(name)
  return function(look)
    local chosen, err, seen = try(name, look)
    local fact = { name = name, works = chosen ~= nil }
    local path = chosen and chosen.path or seen.path
    if path then
      fact.path = errors.clean(path, MAX_TEXT_BYTES)
      fact.trusted, fact.version = is_roots(path), version_of(path, look)
    end
    if chosen then
      fact.enforced = json.array(enforced_by(chosen, look))
      fact.warnings = json.array(chosen.warnings)
    else
      fact.reason, fact.step = reason_and_step(err.message)
      fact.errno = seen.err and seen.err.errno
    end
    return fact
  end
end

local function why_unusable(dir, stat)
  if stat.type ~= "directory" then return "it is no directory" end
  if stat.uid ~= sys.geteuid() then return ("it belongs to user %d"):format(stat.uid) end
  local others = stat.mode % 64
  local may_write = math.floor(others / 16) % 2 == 1 or math.floor(others / 2) % 2 == 1
  -- An empty one that others may only read is closed to them when it is used first.
  if others ~= 0 and (may_write or #(sys.list(dir) or {}) > 0) then
    return "it is not closed to other users"
  end
  if not sys.access(dir, "rwx") then return "it cannot be written to" end
  return nil
end

-- The directory is made when it is used first: can it be?
local function why_not_made(dir)
  local parent = dir
  repeat
    parent = parent:match("^(.+)/[^/]*$") or "/"
  until parent == "/" or sys.stat(parent, true)
  if sys.access(parent, "wx") then return nil end
  return ("it cannot be made: %s cannot be written to"):format(parent)
end

-- How much the cache holds. A big one is not looked through: `more` says that.
local function contents(dir)
  local fact, paths = { scripts = 0, venvs = 0 }, {}
  for _, sort in ipairs{ "scripts", "venvs" } do
    for _, name in ipairs(sys.list(dir .. "/" .. sort) or {}) do
      if name:find("^%x+$") then fact[sort] = fact[sort] + 1 end
      paths[#paths + 1] = ("%s/%s/%s"):format(dir, sort, name)
    end
  end
  fact.bytes, fact.more = cache.bytes_of(paths, MAX_LOOKS)
  return fact
end

function M.cache(look)
  local dir, source = cache.locate(look.cache_dir, look.environ)
  if not dir then return { usable = false, reason = "there is no home directory" } end
  local reason
  if dir:sub(1, 1) ~= "/" and source ~= "cache_dir" then
    reason = "it is not an absolute path"
  else
    dir = dir:gsub("(.)/+$", "%1")
    local stat = sys.stat(dir)
    if stat then reason = why_unusable(dir, stat) else reason = why_not_made(dir) end
  end
  return tables.merged(reason == nil and contents(dir) or nil, {
    dir = errors.clean(dir, MAX_TEXT_BYTES), source = source, usable = reason == nil,
    reason = reason and errors.clean(reason, MAX_TEXT_BYTES),
  })
end

--- The variables that begin with our name, ours or not.
function M.environment(look)
  local found = {}
  for name, value in pairs(look.environ) do
    if name:find("^NOETHER_") then
      found[errors.clean(name, 80)] = errors.clean(value, MAX_TEXT_BYTES)
    end
  end
  return found
end

return M
