-- SPDX-License-Identifier: MIT
--- Packages for Python stages: one virtual environment a set of requirements.
--
-- An environment lies in the cache under a name made of all that it depends on. It is built once,
-- under a lock that other processes wait for, beneath a temporary name, and renamed when it is
-- whole. The installer runs in the same kind of sandbox as a stage, with the network only if there
-- is something to ask there, and writes to one new directory. Stages see the environment read-only.
-- A record in it says what it holds, and what its files looked like; whatever no longer agrees with
-- that is built anew.
local cache = require "noether.cache"
local environment = require "noether.environment"
local errors = require "noether.error"
local guard = require "noether.policies.guard"
local isolation = require "noether.isolation"
local json = require "noether.json"
local policy = require "noether.policy.isolation"
local program = require "noether.runtime.venv_build"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local FORMAT = "1" -- of the environments: another one does not know those there are
local INSIDE = "/venv" -- where stages with a file system of their own see theirs
local RECORD = ".noether.json"
local RECORD_BYTES = 4 * 1024 * 1024
local METADATA_BYTES = 64 * 1024 * 1024
local OUTPUT_BYTES = 64 * 1024
local OPEN_MODE = 511 -- 0777: in a directory of ours alone
local CLOSED_MODE = 493 -- 0755
local MAX_MEMOS = 64
local MIN_SECRET_BYTES = 4

-- What pip and its interpreter need beside what is installed.
local MEMORY_BYTES = 1024 * 1024 * 1024

-- By directory, what was seen of an environment when it was last looked at file by file.
local verified, verified_count = {}, 0

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

local function in_place(chosen)
  return policy.sees_host_paths(chosen.backend)
end

local function replace_plainly(text, old, new)
  local parts, from = {}, 1
  local at, to = text:find(old, 1, true)
  while at do
    parts[#parts + 1] = text:sub(from, at - 1)
    from = to + 1
    at, to = text:find(old, from, true)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts, new)
end

--- A text without what the caller keeps secret: values of the installer's variables, and passwords
-- in URLs.
-- @tparam string text
-- @tparam ?table env the installer's variables
-- @treturn string
function M.redacted(text, env)
  for _, value in pairs(env or {}) do
    if #value >= MIN_SECRET_BYTES then text = replace_plainly(text, value, "****") end
  end
  return (text:gsub("(://[^/@%s:]*):[^/@%s]+@", "%1:****@"))
end

local function has_hashes(requirements)
  return requirements[1]:find(" --hash=", 1, true) ~= nil
end

local function is_directory_path(place)
  return place:sub(1, 1) == "/"
end

local function find_links(options)
  local directories, remote = {}, false
  for _, place in ipairs(options.find_links or {}) do
    if is_directory_path(place) then
      directories[#directories + 1] = place
    else
      remote = true
    end
  end
  return directories, remote
end

-- Whether the installer has anything to ask that is not a directory here.
local function needs_network(options)
  local directories, remote = find_links(options)
  return #directories == 0 or remote or options.index_url ~= nil
    or (options.extra_index_urls ~= nil and options.extra_index_urls[1] ~= nil)
end

-- The commands of the installer and the file beside them; placeholders stand for paths.
local function commands(base, wanted, requirements)
  local policies, options = wanted.policies, wanted.options
  local hashes = has_hashes(requirements)
  local called, venv = policies:call("pip", "venv_argv", base.path, "{dir}")
  if not called then return nil, venv end
  local install
  called, install = policies:call("pip", "install_argv", "{dir}/bin/python", requirements, {
    hashes = hashes, only_binary = options.only_binary, file = "{file}",
  })
  if not called then return nil, install end
  local file
  called, file = policies:call("pip", "requirements_file", requirements, {
    hashes = hashes, index_url = options.index_url, extra_index_urls = options.extra_index_urls,
    find_links = options.find_links, trusted_hosts = options.trusted_hosts,
  })
  if not called then return nil, file end
  return { venv = venv, install = install, file = file }
end

-- All that decides what an environment holds is in its name.
local function key_of(base, wanted, job)
  local parts = {
    FORMAT, in_place(wanted.chosen) and "in place" or INSIDE, base.path, base.version,
    table.concat(job.venv, "\0"), table.concat(job.install, "\0"),
    M.redacted(job.file, wanted.options.env),
  }
  return sys.sha256(table.concat(parts, "\0\0")):sub(1, 32)
end

local function identify(base, wanted)
  local requirements = tables.merged(wanted.requirements)
  table.sort(requirements)
  local job, err = commands(base, wanted, requirements)
  if not job then return nil, err end
  local root, key = wanted.cache_dir .. "/venvs", key_of(base, wanted, job)
  return {
    job = job, key = key, root = root, dir = root .. "/" .. key, version = base.version,
    final = in_place(wanted.chosen) and root .. "/" .. key or INSIDE,
  }
end

local add_tree

local function add_entry(lines, path, name)
  local stat, message, errno = sys.stat(path)
  if not stat then return nil, message, errno end
  if stat.type == "directory" then
    lines[#lines + 1] = ("%s directory %d"):format(name, stat.mode)
    return add_tree(lines, path, name .. "/")
  end
  lines[#lines + 1] = ("%s %s %d %.0f %.6f %s"):format(name, stat.type, stat.mode, stat.size,
    stat.mtime, stat.type == "link" and sys.readlink(path) or "")
  return true
end

function add_tree(lines, directory, prefix)
  local names, message, errno = sys.list(directory)
  if not names then return nil, message, errno end
  for _, name in ipairs(names) do
    if prefix ~= "" or name ~= RECORD then
      local ok
      ok, message, errno = add_entry(lines, directory .. "/" .. name, prefix .. name)
      if not ok then return nil, message, errno end
    end
  end
  return true
end

-- What the files look like: not what they hold, since that would take as long as to read them. Or
-- nil, a message and an errno.
local function fingerprint(directory)
  local lines = {}
  local ok, message, errno = add_tree(lines, directory, "")
  if not ok then return nil, message, errno end
  table.sort(lines)
  return sys.sha256(table.concat(lines, "\n"))
end

-- What changes when something is put into or taken out of the places that matter most.
local function stamp(directory, record)
  local parts = {}
  for _, name in ipairs{ "", "/" .. RECORD, "/bin", "/" .. record.site } do
    local part = sys.stamp(directory .. name)
    if not part then return nil end
    parts[#parts + 1] = part
  end
  return table.concat(parts, "\n")
end

local function remember(directory, seen)
  if verified_count >= MAX_MEMOS then verified, verified_count = {}, 0 end
  if not verified[directory] then verified_count = verified_count + 1 end
  verified[directory] = seen
end

local function read_record(set)
  local text, message, errno = sys.read_file(set.dir .. "/" .. RECORD, RECORD_BYTES)
  if not text then return nil, message, errno end
  local record = json.decode(text)
  local ok = type(record) == "table" and record.key == set.key and type(record.site) == "string"
    and type(record.packages) == "table" and type(record.contents) == "string"
  return ok and record or nil
end

-- The record of an environment that is whole; nil if it is not; or nil, a message and an errno.
local function verify(set)
  local record, message, errno = read_record(set)
  local seen = record and stamp(set.dir, record)
  if not seen then return nil, message, errno end
  if verified[set.dir] == seen then return record end
  local found
  found, message, errno = fingerprint(set.dir)
  if not found or found ~= record.fingerprint then return nil, message, errno end
  remember(set.dir, seen)
  return record
end

-- "ready" and the record, "missing", or "damaged"; nil and an error if that cannot be told.
local function look(set)
  local stat, _, errno = sys.stat(set.dir)
  if not stat and errno == "ENOENT" then return "missing" end
  if not stat or stat.type ~= "directory" or stat.uid ~= sys.geteuid() then return "damaged" end
  if not cache.note_use(set.dir, stat) then return "missing" end
  local record, message
  record, message, errno = verify(set)
  if record then return "ready", record end
  if errno and not cache.DAMAGE[errno] then return nil, cache.failure(message, errno) end
  return "damaged"
end

local function lock_path(root, key)
  return ("%s/%s.lock"):format(root, key)
end

-- Its file goes first: whoever has waited for it sees that, and takes another.
local function release(lock, path)
  sys.unlink(path)
  lock:close()
end

--- Take the lock of a key, if nobody has it. Who has it is the only one to build the environment or
-- to take it away; stages that use it do not ask for it.
-- @tparam string root the directory of the environments
-- @tparam string key
-- @treturn ?table with `close()`
-- @treturn ?string message
-- @treturn ?string errno `EAGAIN`: somebody has it
function M.try_lock(root, key)
  local path = lock_path(root, key)
  local lock, message, errno = sys.lock(path, { wait = false })
  if not lock then return nil, message, errno end
  return { close = function() release(lock, path) end }
end

-- What a build holds and must give back, however it ends.
local Workspace = {}
local workspace_metatable = { __index = Workspace, __name = "noether.venv.workspace" }

function Workspace:close()
  -- In a forked child of the host all of this is the parent's.
  if self.pid ~= sys.getpid() then return end
  if self.temp then sys.remove_tree(self.temp) end
  if self.lock then release(self.lock, self.lock_path) end
  self.temp, self.lock = nil, nil
end

-- Held after the lock, it is closed before it: its file goes while the lock is still ours.
local function new_workspace(lock, path)
  return setmetatable({ pid = sys.getpid(), lock = lock, lock_path = path }, workspace_metatable)
end

local function late(wanted)
  local err = failure("setup_timed_out", ("installing packages took longer than %g s"):format(
    wanted.limit), "raise setup_timeout_secs, or build the environment ahead with executor:plan")
  err.limit = wanted.limit
  return err
end

local function take_lock(set, wanted, context)
  local lock, err = context.lock(lock_path(set.root, set.key))
  if lock then return lock end
  if err.kind ~= "cancelled" and context.is_late() then return nil, late(wanted) end
  return nil, err
end

-- What builders that died have left. Who has a key's lock is its only builder.
local function remove_leftovers(set)
  for _, name in ipairs(sys.list(set.root) or {}) do
    local key = name:match("^%.tmp%-(%x+)%-")
    local lock = key and key ~= set.key and M.try_lock(set.root, key)
    if key == set.key or lock then sys.remove_tree(set.root .. "/" .. name) end
    if lock then lock.close() end
  end
end

local function limits_of(options)
  return {
    private_bytes = options.max_bytes, private_files = options.max_files,
    file_bytes = options.max_bytes, memory_bytes = options.max_bytes + MEMORY_BYTES,
  }
end

-- The directories that the installer looks into, by the option and by the policy.
local function readable_paths(wanted)
  local paths = find_links(wanted.options)
  for _, path in ipairs(wanted.policies:data("pip", "paths") or {}) do
    if sys.stat(path, true) then paths[#paths + 1] = path end
  end
  return paths
end

-- What the installer may see and do, described as for a stage.
local function describe(base, wanted, context)
  local policies, options = wanted.policies, wanted.options
  local effects = {
    list = {}, network = needs_network(options), process = true, writes = {},
    reads = readable_paths(wanted),
  }
  local called, description = policies:call("isolation", "describe", effects, base, {
    limits = limits_of(options), grants = {}, backend = wanted.chosen.backend,
    environ = context.environ,
  })
  if not called then return nil, description end
  local ok, err = guard.check(description, {
    effects = effects, grants = {}, cache_dir = wanted.cache_dir, own_paths = effects.reads,
    realpath = sys.realpath,
  })
  if not ok then return nil, err end
  description = tables.merged(description)
  description.ro_binds = isolation.present(description.ro_binds)
  return description
end

local function variables(base, wanted, context, description, temp)
  local policies = wanted.policies
  local names = tables.merged(description.env_allowlist)
  if description.network == "host" then
    for _, name in ipairs(policies:data("pip", "env_allowlist") or {}) do
      names[#names + 1] = name
    end
  end
  local env = environment.public(context.environ, names, {
    isolated = not in_place(wanted.chosen), runtime = base,
    language = tables.merged(base.variables, policies:data("pip", "env")),
  })
  if in_place(wanted.chosen) then env.HOME, env.TMPDIR = temp, temp end
  return tables.merged(env, wanted.options.env)
end

-- A directory for the environment and, where the sandbox has none, one to build it in. Under root
-- the installer has another id; what it may write to lies in a directory that is ours alone.
local function make_directories(set, workspace)
  local temp, message, errno = sys.mkdtemp(("%s/.tmp-%s-"):format(set.root, set.key))
  if not temp then return nil, cache.failure(message, errno) end
  workspace.temp = temp
  for _, name in ipairs{ "venv", "t" } do
    local ok
    ok, message, errno = sys.mkdir(temp .. "/" .. name)
    if ok then ok, message, errno = sys.chmod(temp .. "/" .. name, OPEN_MODE) end
    if not ok then return nil, cache.failure(message, errno) end
  end
  return temp
end

local function launch_installer(base, wanted, context, set, temp)
  local description, err = describe(base, wanted, context)
  if not description then return nil, err end
  local out = temp .. "/venv"
  local target = in_place(wanted.chosen) and out or INSIDE
  local rw_binds = isolation.present(description.rw_binds)
  rw_binds[#rw_binds + 1] = { source = out, target = target }
  description.rw_binds = rw_binds
  local text = assert(json.encode{
    venv = json.array(set.job.venv), install = json.array(set.job.install), file = set.job.file,
    out = target, final = set.final, private = not in_place(wanted.chosen),
  })
  local sandbox
  if wanted.chosen.backend ~= "none" then
    sandbox = isolation.apply(wanted.chosen, description)
    sandbox.limits = nil
  end
  return context.launch({ base.path, "-I", "-B", "-X", "utf8", "-c", program.SCRIPT }, {
    env = variables(base, wanted, context, description, temp .. "/t"), stdin = text,
    sandbox = sandbox, limits = description.limits, max_output_bytes = OUTPUT_BYTES,
    max_stderr_bytes = OUTPUT_BYTES,
  })
end

-- What the installer's end means, in its own words.
local function judge(result, wanted, set)
  if result.reason == "exit" and result.exit_code == 0 then return true end
  local shown = tables.merged(result, {
    stderr = M.redacted(result.stderr, wanted.options.env), argv = set.job.install,
  })
  local called, kind, message, hint = wanted.policies:call("errors", "classify", {
    source = "pip", stderr = shown.stderr, exit_code = result.exit_code, signal = result.signal,
    reason = result.reason, part = program.PARTS[result.exit_code or 0],
    walls = not in_place(wanted.chosen),
  })
  if not called then return nil, kind end
  local err = failure(kind, message, hint)
  err.result = shown
  if kind == "setup_timed_out" then err.limit = wanted.limit end
  return nil, err
end

local function is_directory(path)
  local stat = sys.stat(path)
  return stat ~= nil and stat.type == "directory"
end

-- "lib/python3.11/site-packages": relative, and without following any link. A package can bring
-- along directories for other interpreters, too: then it is the one for this version.
local function find_site(directory, version)
  local found, only = {}, nil
  if not is_directory(directory .. "/lib") then return nil end
  for _, name in ipairs(sys.list(directory .. "/lib") or {}) do
    local site = "lib/" .. name .. "/site-packages"
    if name:find("^python") and is_directory(directory .. "/lib/" .. name)
      and is_directory(directory .. "/" .. site) then
      only = not next(found) and site or nil
      found[name] = site
    end
  end
  return found["python" .. (version:match("^%d+%.%d+") or "")] or only
end

-- The distributions that are installed, and a hash over what the record of each says that it holds;
-- or nil and an error.
local function inventory(site)
  local packages, lines = {}, {}
  local names, message, errno = sys.list(site)
  if not names then return nil, cache.failure(message, errno) end
  for _, name in ipairs(names) do
    local package, version = name:match("^(.-)%-([^-]+)%.dist%-info$")
    if package then
      local spec = package .. "==" .. version
      local files
      files, message, errno = sys.read_file(site .. "/" .. name .. "/RECORD", METADATA_BYTES)
      if errors.NO_DESCRIPTOR[errno] then return nil, cache.failure(message, errno) end
      files = ("\n" .. (files or "")):gsub("\n%.%./[^\n]*", "") -- scripts differ by where they lie
      packages[#packages + 1] = spec
      lines[#lines + 1] = spec .. " " .. sys.sha256(files)
    end
  end
  table.sort(packages)
  table.sort(lines)
  return packages, sys.sha256(table.concat(lines, "\n"))
end

-- What came along is subject to the same policy as what was named. No code of it has run.
local function check_installed(packages, wanted)
  local refused = {}
  for _, spec in ipairs(packages) do
    local called, allowed, reason = wanted.policies:call("pip", "check", spec, {
      allow_unpinned = wanted.allow_unpinned,
    })
    if not called then return nil, allowed end
    if not allowed then
      refused[#refused + 1] = ("'%s' (%s)"):format(errors.clean(spec, 80), reason)
    end
  end
  if #refused == 0 then return true end
  return nil, failure("package_rejected", "packages refused: " .. table.concat(refused, "; "),
    "they are dependencies of what the stage requires; the pip policy's lists hold for them, too")
end

-- An environment that is there may be one that another executor has installed.
local function allowed_record(record, wanted)
  local ok, err = check_installed(record.packages, wanted)
  return ok and record, err
end

local function record_of(set, directory, wanted)
  local site = find_site(directory, set.version)
  if not site or not sys.stat(directory .. "/bin/python") then
    return nil, failure("packages_failed", "the installer left no virtual environment",
      "the pip policy's installer must make one at {dir}")
  end
  local packages, contents = inventory(directory .. "/" .. site)
  if not packages then return nil, contents end
  local ok, err = check_installed(packages, wanted)
  if not ok then return nil, err end
  local found, message, errno = fingerprint(directory)
  if not found then return nil, cache.failure(message, errno) end
  return {
    key = set.key, site = site, packages = json.array(packages), contents = contents,
    fingerprint = found,
  }
end

-- Puts the environment under its name, in place of what has it.
local function install(built, set, state)
  if state == "missing" then return sys.rename(built, set.dir) end
  local ok, message, errno = sys.exchange(built, set.dir)
  if ok or errno ~= "EINVAL" then return ok, message, errno end
  ok, message, errno = sys.remove_tree(set.dir)
  if not ok then return nil, message, errno end
  return sys.rename(built, set.dir)
end

local function finish(set, temp, wanted, state)
  local built = temp .. "/venv"
  local ok, message, errno = sys.chmod(built, CLOSED_MODE)
  if not ok then return nil, cache.failure(message, errno) end
  local record, err = record_of(set, built, wanted)
  if not record then return nil, err end
  ok, message, errno = sys.write_file(built .. "/" .. RECORD, assert(json.encode(record)), 420)
  if ok then ok, message, errno = install(built, set, state) end
  if not ok then return nil, cache.failure(message, errno) end
  return record
end

local function build(base, wanted, context, set, workspace, state)
  remove_leftovers(set)
  local temp, err = make_directories(set, workspace)
  if not temp then return nil, err end
  local proc
  proc, err = launch_installer(base, wanted, context, set, temp)
  if not proc then return nil, err end
  local result
  result, err = context.await(proc)
  proc:close()
  if not result then return nil, err end
  local ok
  ok, err = judge(result, wanted, set)
  if not ok then return nil, err end
  return finish(set, temp, wanted, state)
end

-- The record of the environment; and whether it was built, since somebody else may have done so
-- while this one waited for the lock.
local function find_or_build(base, wanted, context, set, workspace)
  local state, found = look(set)
  if not state then return nil, found end
  if state == "ready" then return allowed_record(found, wanted) end
  local record, err = build(base, wanted, context, set, workspace, state)
  return record, err, true
end

-- The record of the environment, and how long it took to build if it was not there.
local function provide(base, wanted, context, set)
  local ok, message, errno = sys.mkdir_private(set.root)
  if not ok then return nil, cache.failure(message, errno) end
  local began = sys.clock()
  local lock, err = take_lock(set, wanted, context)
  if not lock then return nil, err end
  local workspace = context.hold(new_workspace(lock, lock_path(set.root, set.key)))
  local record, was_built
  record, err, was_built = find_or_build(base, wanted, context, set, workspace)
  workspace:close()
  return record, err, was_built and sys.clock() - began or nil
end

local function runtime_of(base, set, record, extra)
  local binds = tables.merged(base.ro_binds)
  binds[#binds + 1] = { source = set.dir, target = INSIDE }
  local programs = { set.final .. "/bin" }
  for _, path in ipairs(base.search_path or {}) do
    programs[#programs + 1] = path
  end
  return tables.merged(tables.merged(base, extra), {
    kind = "venv", path = programs[1] .. "/python", search_path = programs, ro_binds = binds,
    reference = ("%s venv:%s"):format(base.reference, set.key), own_dir = set.dir,
    packages = tables.merged(record.packages), contents = record.contents,
  })
end

--- Forget what was looked at, so that the next call does so again.
function M.forget()
  verified, verified_count = {}, 0
end

--- A runtime that has packages, made of one that has none.
-- @tparam table base the runtime whose interpreter it is
-- @tparam table wanted `requirements` (as the pip policy gave them; not empty), `options` (the
-- executor's `pip`), `chosen` (the backend), `cache_dir`, `policies`, `limit` (seconds, for
-- messages), `allow_unpinned`
-- @tparam table context of setup: `launch`, `await`, `lock`, `hold`, `is_late`, `environ`
-- @treturn ?table the runtime: `kind` "venv", `packages` (list of "name==version", with all that
-- came along), `contents` (hash of what they hold), `own_dir`, `warnings`, and if it was built just
-- now `build_secs`
-- @treturn ?table error: `packages_failed`, `package_rejected`, `setup_timed_out`, `cache_failed`,
-- `policy_error`, `sandbox_failed`
function M.resolve(base, wanted, context)
  local set, err = identify(base, wanted)
  if not set then return nil, err end
  local state, record = look(set)
  if not state then return nil, record end
  if state == "ready" then
    record, err = allowed_record(record, wanted)
    return record and runtime_of(base, set, record, { warnings = {} }), err
  end
  local warnings = {}
  if state == "damaged" then
    warnings[1] = ("the packages in %s had been changed; they were installed anew"):format(set.dir)
  end
  local build_secs
  record, err, build_secs = provide(base, wanted, context, set)
  if not record then return nil, err end
  return runtime_of(base, set, record, { warnings = warnings, build_secs = build_secs })
end

return M
