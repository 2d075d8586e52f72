-- SPDX-License-Identifier: MIT
--- Directories of packages that are made once and used by many runs: environments.
--
-- An environment lies in the cache under a name made of all that it depends on. It is built once,
-- under a lock that other processes wait for, beneath a temporary name, and renamed when it is
-- whole. A record in it says what it holds, and what its files looked like; whatever no longer
-- agrees with that is built anew. The installer runs in the same kind of sandbox as a stage, and
-- writes to one new directory.
local cache = require "noether.cache.scripts"
local compat = require "noether.compat"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local guard = require "noether.sandbox.guard"
local json = require "noether.json"
local sys = require "noether.sys"

local M = {}

local RECORD = ".noether.json"
local RECORD_BYTES = 4 * 1024 * 1024
local OUTPUT_BYTES = 64 * 1024
local OPEN_MODE = 511 -- 0777: in a directory of ours alone
local CLOSED_MODE = 493 -- 0755
local MAX_MEMOS = 64
local MIN_SECRET_BYTES = 4

--- What the system said of the cache, as an error.
M.failure = cache.failure

-- By directory, what was seen of an environment when it was last looked at file by file.
local verified, verified_count = {}, 0

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
local function stamp(set, record)
  local parts = {}
  for _, name in ipairs{ "", "/" .. RECORD, compat.unpack(set.places(record)) } do
    local part = sys.stamp(set.dir .. name)
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
  local ok = type(record) == "table" and record.key == set.key and set.is_record(record)
    and type(record.packages) == "table" and type(record.contents) == "string"
  return ok and record or nil
end

-- The record of an environment that is whole; nil if it is not; or nil, a message and an errno.
local function verify(set)
  local record, message, errno = read_record(set)
  local seen = record and stamp(set, record)
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
local workspace_metatable = { __index = Workspace, __name = "noether.environments.workspace" }

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

local function late(limit)
  return errors.new{
    kind = "setup_timed_out", limit = limit,
    message = ("installing packages took longer than %g s"):format(limit),
    hint = "raise setup_timeout_secs, or build the environment ahead with executor:plan",
  }
end

local function take_lock(set, limit, context)
  local lock, err = context.lock(lock_path(set.root, set.key))
  if lock then return lock end
  if err.kind ~= "cancelled" and context.is_late() then return nil, late(limit) end
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

-- A directory for the environment and, where the sandbox has none, one to build it in. Under root
-- the installer has another id; what it may write to lies in a directory that is ours alone.
local function make_directories(set, workspace)
  local temp, message, errno = sys.mkdtemp(("%s/.tmp-%s-"):format(set.root, set.key))
  if not temp then return nil, cache.failure(message, errno) end
  workspace.temp = temp
  for _, name in ipairs{ "out", "t" } do
    local ok
    ok, message, errno = sys.mkdir(temp .. "/" .. name)
    if ok then ok, message, errno = sys.chmod(temp .. "/" .. name, OPEN_MODE) end
    if not ok then return nil, cache.failure(message, errno) end
  end
  return temp
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

local function finish(set, temp, record, state)
  local built = temp .. "/out"
  local ok, message, errno = sys.chmod(built, CLOSED_MODE)
  if not ok then return nil, cache.failure(message, errno) end
  record.key = set.key
  record.fingerprint, message, errno = fingerprint(built)
  if not record.fingerprint then return nil, cache.failure(message, errno) end
  ok, message, errno = sys.write_file(built .. "/" .. RECORD, assert(json.encode(record)), 420)
  if ok then ok, message, errno = install(built, set, state) end
  if not ok then return nil, cache.failure(message, errno) end
  return record
end

local function build(set, work, workspace, state)
  remove_leftovers(set)
  local temp, err = make_directories(set, workspace)
  if not temp then return nil, err end
  local record
  record, err = work.build(temp)
  if not record then return nil, err end
  return finish(set, temp, record, state)
end

-- An environment that is there may be one that another executor has installed.
local function allowed(work, record)
  local ok, err = work.allow(record)
  return ok and record, err
end

-- The record of the environment; and whether it was built, since somebody else may have done so
-- while this one waited for the lock.
local function find_or_build(set, work, workspace)
  local state, found = look(set)
  if not state then return nil, found end
  if state == "ready" then return allowed(work, found) end
  local record, err = build(set, work, workspace, state)
  return record, err, true
end

-- The record of the environment, and how long it took to build if it was not there.
local function provide(set, work, context)
  local ok, message, errno = sys.mkdir_private(set.root)
  if not ok then return nil, cache.failure(message, errno) end
  local began = sys.clock()
  local lock, err = take_lock(set, work.limit, context)
  if not lock then return nil, err end
  local workspace = context.hold(new_workspace(lock, lock_path(set.root, set.key)))
  local record, was_built
  record, err, was_built = find_or_build(set, work, workspace)
  workspace:close()
  return record, err, was_built and sys.clock() - began or nil
end

--- Have an environment: as it is there, or built.
-- @tparam table set `root` (the directory of all), `key`, `dir`, `places(record)` (of what stands
-- in `dir`: paths with a "/" before them), `is_record(record)`
-- @tparam table work `limit` (seconds, for messages), `allow(record)` (true, or nil and an error),
-- `build(temp)`: makes it in `temp .. "/out"`, and may use `temp .. "/t"`; gives its record, or nil
-- and an error
-- @tparam table context of setup: `lock`, `hold`, `is_late`
-- @treturn ?table the record; or nil and an error
-- @treturn ?table `warnings`, and if it was built just now `build_secs`; or the error
function M.have(set, work, context)
  local state, record = look(set)
  if not state then return nil, record end
  local err
  if state == "ready" then
    record, err = allowed(work, record)
    return record, record and { warnings = {} } or err
  end
  local warnings = {}
  if state == "damaged" then
    warnings[1] = ("the packages in %s had been changed; they were installed anew"):format(set.dir)
  end
  local build_secs
  record, err, build_secs = provide(set, work, context)
  return record, record and { warnings = warnings, build_secs = build_secs } or err
end

--- Have something done in a directory of its own, which goes when it is done.
-- @tparam table set `root`, and `key`: who has the same one waits
-- @tparam number limit seconds, for messages
-- @tparam table context of setup
-- @tparam function work takes a directory as of `build`; what it gives is given
-- @return what `work` gives; or nil and an error
-- @treturn ?table
function M.aside(set, limit, context, work)
  local ok, message, errno = sys.mkdir_private(set.root)
  if not ok then return nil, cache.failure(message, errno) end
  local lock, err = take_lock(set, limit, context)
  if not lock then return nil, err end
  local workspace = context.hold(new_workspace(lock, lock_path(set.root, set.key)))
  local temp, found
  temp, err = make_directories(set, workspace)
  if temp then found, err = work(temp) end
  workspace:close()
  return found, err
end

-- --- The installer ------------------------------------------------------------------------------

--- What an installer may see and do, described as for a stage.
-- @tparam table base the runtime whose interpreter it is
-- @tparam table wanted `policies`, `chosen` (the backend), `cache_dir`
-- @tparam table context of setup
-- @tparam table allowed `network` and `process` (booleans), `hosts` (those alone, of a list),
-- `reads` (paths), `limits`
-- @treturn ?table the description; or nil and an error
-- @treturn ?table
function M.describe(base, wanted, context, allowed_to)
  local effects = {
    list = {}, network = allowed_to.network, process = allowed_to.process, writes = {},
    reads = allowed_to.reads,
  }
  if effects.network and allowed_to.hosts and descriptions.holds_hosts(wanted.chosen.backend) then
    effects.network, effects.hosts = false, allowed_to.hosts[1] and allowed_to.hosts or nil
  end
  local called, description = wanted.policies:call("isolation", "describe", effects, base, {
    limits = allowed_to.limits, grants = {}, backend = wanted.chosen.backend,
    in_place = descriptions.sees_host_paths(wanted.chosen.backend), environ = context.environ,
  })
  if not called then return nil, description end
  local judged, err = guard.check(description, {
    effects = effects, grants = {}, cache_dir = wanted.cache_dir, own_paths = effects.reads,
    realpath = sys.realpath,
  })
  if not judged then return nil, err end
  description = descriptions.completed(judged, wanted.chosen.backend)
  description.ro_binds = descriptions.present(description.ro_binds)
  return description
end

--- Start an installer, which can write to one directory.
-- @tparam table wanted as of `describe`
-- @tparam table description
-- @tparam table context of setup
-- @tparam table opts `argv`, `env`, `stdin`, `out` (the directory; nil: it writes nothing),
-- `target` (its name inside)
-- @treturn ?table a process; or nil and an error
-- @treturn ?table
function M.launch(wanted, description, context, opts)
  local rw_binds = descriptions.present(description.rw_binds)
  rw_binds[#rw_binds + 1] = opts.out and { source = opts.out, target = opts.target } or nil
  description.rw_binds = rw_binds
  local sandbox
  if wanted.chosen.backend ~= "none" then
    sandbox = descriptions.of_backend(wanted.chosen, description)
    sandbox.limits = nil
  end
  return context.launch(opts.argv, {
    env = opts.env, stdin = opts.stdin, sandbox = sandbox, limits = description.limits,
    max_output_bytes = OUTPUT_BYTES, max_stderr_bytes = OUTPUT_BYTES,
  })
end

--- What an installer says when it is asked something: the text that it prints.
-- @tparam table base as of `describe`
-- @tparam table wanted as of `describe`
-- @tparam table context of setup
-- @tparam table opts `process` and `reads` as of `describe`; `argv`, `stdin`, `env(description)`
-- (gives its variables)
-- @treturn ?string empty where it failed: the installer itself then says of what; or nil and an
-- error
-- @treturn ?table
function M.ask(base, wanted, context, opts)
  local description, err = M.describe(base, wanted, context, {
    network = false, process = opts.process, reads = opts.reads,
  })
  if not description then return nil, err end
  local proc
  proc, err = M.launch(wanted, description, context, {
    argv = opts.argv, env = opts.env(description), stdin = opts.stdin,
  })
  if not proc then return nil, err end
  local result
  result, err = context.await(proc)
  proc:close()
  if not result then return nil, err end
  return result.reason == "exit" and result.exit_code == 0 and result.stdout or ""
end

--- Whether stages and installers see this machine's own paths.
-- @tparam table chosen the backend
-- @treturn boolean
function M.in_place(chosen)
  return descriptions.sees_host_paths(chosen.backend)
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

--- Forget what was looked at, so that the next call does so again.
function M.forget()
  verified, verified_count = {}, 0
end

return M
