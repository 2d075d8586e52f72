-- SPDX-License-Identifier: MIT
--- What this machine has for stages: facts, without an opinion.
--
-- Each probe is given what it may use (`look`) and returns plain data that JSON can hold. Nothing
-- is changed: what would have to be made is only looked for. A probe that runs programs may be put
-- aside while they run. Where one ran out of time, or could not be started for want of something,
-- the fact is left out, and `untried` says why.
local cache = require "noether.cache.scripts"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local failures = require "noether.runtime.failures"
local hints = require "noether.sandbox.hints"
local host = require "noether.runtime.host"
local isolation = require "noether.isolation"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local nix = require "noether.runtime.nix"
local nix_command = require "noether.runtime.nix_command"
local policy = require "noether.policy.isolation"
local policy_errors = require "noether.policy.errors"
local options = require "noether.options"
local probe = require "noether.probe"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- The backends that isolate, in the order in which "auto" tries them.
M.BACKENDS = {}
for _, name in ipairs(isolation.NAMES) do
  if name ~= "auto" and name ~= "none" then M.BACKENDS[#M.BACKENDS + 1] = name end
end

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
  local opts = { cwd = "/", stdin = "", max_output_bytes = 4096, env = env }
  local result = probe.run(argv, opts, look)
  return result and result.ok and result.stdout:match("[^\r\n]+") or nil
end

-- What is said of something that could not be tried just now; nil if the error tells of the thing
-- itself. An error that came of another one has it as its cause.
local function untried(err)
  if not errors.is_shortage(err) and not probe.is_late(err) then return nil end
  local first = errors.is(err.cause) and err.cause or err
  if probe.is_late(first) and first.limit then
    return ("could not be tried in %.3g s (the machine is busy)"):format(first.limit)
  elseif probe.is_late(first) then
    return "could not be tried in time (the machine is busy): " .. first.message
  end
  return "could not be tried just now: " .. first.message
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
  return hints.machine()
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

-- How runs are started here: by the launcher as soon as it is there, which takes a moment.
local function launch_of(program, look)
  local launcher = options.switch(nil, look.environ.NOETHER_LAUNCHER)
  local result
  for _ = 1, launcher and 20 or 1 do
    result = probe.run({ program }, { launcher = launcher }, look)
    if not result or result.launch == "launcher" then break end
  end
  return result and result.launch
end

--- Whether the library's supervisor, which is kept in memory, can be run.
function M.supervisor(look)
  local fact = { memfd_noexec = setting("vm.memfd_noexec") }
  local program = sys.find_program("true", TRUE_PATH)
  if not program then
    fact.reason = "there is no program 'true' to try it with"
    return fact
  end
  local result, err = probe.run({ program }, {}, look)
  fact.untried = err and untried(err)
  if fact.untried then return fact end
  fact.works = result ~= nil and result.ok
  if not fact.works then
    fact.reason = err and err.message or "the trial ended with " .. result.reason
    fact.errno, fact.hint = err and err.errno, err and err.hint
    return fact
  end
  fact.launch = launch_of(program, look)
  return fact
end

-- A program that nobody but root could have put there or changed.
local function is_roots(path)
  local stat = sys.stat(path, true)
  return stat ~= nil and stat.uid == 0 and stat.mode % 0x20 < 0x10
    and math.floor(stat.mode / 2) % 2 == 0
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

-- Lets nix open its store: nil, or why it cannot and what to do; and `untried`.
local function why_nix_fails(path, look, env)
  local result, err
  for _, name in ipairs(nix_command.TRIALS) do
    result, err = probe.run(nix_command.trial(path, name), { env = env, stdin = "" }, look)
    if not result then return err.message, err.hint, untried(err) end
    if not is_unknown_command(result) then break end
  end
  if result.ok then return nil end
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
  for _, language in ipairs(languages.names()) do
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
    fact.reason, fact.hint, fact.untried = why_nix_fails(path, look, env)
    if not fact.untried then fact.usable = fact.reason == nil end
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
    local runtime, err = host.resolve(languages.module(name), look)
    local open = err and untried(err)
    if open then return { untried = open, reason = err.message, hint = err.hint } end
    if not runtime then return { found = false, reason = err.message, hint = err.hint } end
    return {
      found = true, path = runtime.path, version = runtime.version,
      warnings = json.array(runtime.warnings),
    }
  end
end

-- "cannot run /usr/bin/true: make namespaces: No space ..." without what is known.
local function reason_of(message)
  local reason = message:match(": (cannot run .*)$") or message
  reason = reason:gsub("^isolation \"%w+\" does not work here: ", ""):gsub("\\n", " ")
  reason = reason:gsub("^cannot run %S+: ", ""):gsub("^bwrap: bwrap:", "bwrap:"):gsub("%s+$", "")
  return reason
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
    path = look.path, patience = look.patience,
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
  local sandbox = descriptions.of_backend(chosen, descriptions.system())
  sandbox.processes = false
  local result, err
  if program then
    result, err = probe.run({ program }, { sandbox = sandbox, limits = policy.limits }, look)
  end
  return result and result.enforced, err
end

-- Each line says whether a connection was made: to the door, by a port, an address, a name and a
-- wildcard's own domain that are not on the list.
local TRIES = [[
try() { (exec 3<>/dev/tcp/$1/$2) 2>/dev/null && echo yes || echo no; }
try 127.0.0.1 $1; try 127.0.0.1 $2; try 192.0.2.1 443; try unlisted.invalid 443
try wild.invalid 443
]]

-- What came of the tries: nil, or what is wrong.
local function judge_tries(result, listed, unlisted)
  local answers = result.stdout:gsub("%s+", " ")
  if unlisted:accepted() > 0 or answers:find("no? ?yes") or answers:find("yes .*yes") then
    return "something that is not on the list was reached"
  elseif listed:accepted() ~= 1 or answers ~= "yes no no no no " then
    return ("what is on the list was not reached (%s)"):format(
      errors.clean(answers .. result.stderr, MAX_TEXT_BYTES))
  end
  return nil
end

-- The strongest backend that can hold a list and works.
local function holder_of_lists(look)
  local err
  for _, name in ipairs(M.BACKENDS) do
    local chosen
    if descriptions.holds_hosts(name) then chosen, err = try(name, look) end
    if chosen then return chosen end
  end
  return nil, err
end

local function try_hosts(chosen, bash, look)
  local listed, port = sys.listen()
  local unlisted, other = sys.listen()
  if not listed or not unlisted then return nil, other end
  local sandbox = descriptions.of_backend(chosen, descriptions.system())
  sandbox.network, sandbox.hosts = "list", { "127.0.0.1:" .. port, "*.wild.invalid:443" }
  local result, err = probe.run({ bash, "-c", TRIES, "bash", tostring(port), tostring(other) },
    { sandbox = sandbox, limits = policy.limits }, look)
  local wrong = result and judge_tries(result, listed, unlisted)
  listed:close()
  unlisted:close()
  return result, err, wrong
end

--- Whether a list of hosts holds, tried without any host outside: what is on it is reached, and
-- what is not is not.
function M.hosts(look)
  local bash = sys.find_program("bash", TRUE_PATH)
  local chosen, err = holder_of_lists(look)
  local fact = { resolver = sys.find_program("getent", TRUE_PATH), untried = err and not chosen
    and untried(err) or nil }
  if fact.untried then return fact end
  fact.works = false
  if not chosen then
    fact.reason = "neither native nor bwrap works here"
    return fact
  elseif not bash then
    fact.reason = "there is no bash to try it with"
    return fact
  end
  fact.backend = chosen.backend
  local result, failed, wrong = try_hosts(chosen, bash, look)
  fact.untried = type(failed) == "table" and untried(failed) or nil
  fact.works = result ~= nil and wrong == nil
  if not fact.works then fact.reason = wrong or tostring(failed) end
  return fact
end

--- Whether a backend works, tried.
-- @tparam string name
-- @treturn function a probe
function M.backend(name)
  return function(look)
    local chosen, err, seen = try(name, look)
    local fact = { name = name, untried = err and untried(err) }
    if not fact.untried then fact.works = chosen ~= nil end
    local path = chosen and chosen.path or seen.path
    if path then
      fact.path = errors.clean(path, MAX_TEXT_BYTES)
      fact.trusted, fact.version = is_roots(path), version_of(path, look)
    end
    if chosen then
      local enforced, failed = enforced_by(chosen, look)
      fact.enforced = enforced and json.array(enforced)
      fact.unknown = failed and untried(failed)
      fact.warnings = json.array(chosen.warnings)
    else
      fact.reason = reason_of(err.message)
      fact.step, fact.errno = seen.err and seen.err.operation, seen.err and seen.err.errno
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
  if not dir then return { usable = false, reason = cache.homeless(look.environ) } end
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
