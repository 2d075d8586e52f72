-- SPDX-License-Identifier: MIT
--- The Nix runtime: interpreters out of a pinned nixpkgs, run directly from the store.
--
-- A language is resolved once. `nix flake metadata` says what the reference stands for now, `nix
-- build` makes a store path of it and a link that keeps it from collection, `nix path-info -r` says
-- what it needs. All of that goes into the lock file (runtime/lock.lua). From then on no nix runs:
-- the lock is read, each path of the closure is looked for, and the interpreter is started by its
-- path, in a sandbox that shows the closure alone.
--
-- A path that has gone, or a lock file from another machine, is built again from the locked
-- reference and must come out as the same path. Several tasks and processes may want the same one
-- at once: each name in the lock file has a lock of its own in the cache, held while nix runs.
local cache = require "noether.cache.scripts"
local errors = require "noether.error"
local json = require "noether.json"
local locks = require "noether.runtime.lock"
local nix_command = require "noether.runtime.nix_command"
local store = require "noether.runtime.nix_store"
local sys = require "noether.sys"
local tables = require "noether.tables"
local text = require "noether.text"

local M = {}

local PROBE_TIMEOUT_SECS = 30
local PROBE_OUTPUT_BYTES = 64 * 1024

--- The reference where none is given: a name that nix's registry knows.
M.REFERENCE = "nixpkgs"

local function failure(message, hint, cause)
  return errors.new{
    kind = "runtime_unavailable", message = message, hint = hint, cause = cause,
  }
end

local function is_absolute(path)
  return path ~= nil and path:sub(1, 1) == "/"
end

--- See nix_store.lua.
M.find, M.store_dir, M.is_in_use = store.find, store.store_dir, store.is_in_use

--- What is said where nix is wanted and not there.
-- @tparam table environ
-- @treturn table error
function M.not_installed(environ)
  return failure(("nix is not installed: there is no program 'nix' in PATH (%s) or in its profiles")
    :format(errors.clean(environ.PATH or "", 300)),
    "install nix, or take runtime = \"host\", which runs the interpreters of this machine")
end

-- One resolution: what is wanted, and what it may use.
local Session = {}
Session.__index = Session

local function key_of(language, reference, packages)
  local parts = { reference .. "#" .. language.runtime.attribute }
  for _, list in ipairs{ language.runtime.tools or {}, packages } do
    for _, name in ipairs(list) do
      parts[#parts + 1] = name
    end
  end
  return table.concat(parts, " + ")
end

local function system_of(store_dir)
  local system = sys.kernel().machine .. "-linux"
  return system, store_dir == store.STORE and system or system .. " " .. store_dir
end

local function can_hold_cache(home)
  local dir = home .. "/.cache"
  return sys.access(sys.stat(dir) and dir or home, "w") == true
end

-- Nix wants a home, and ends badly without one; and a cache that it can write to.
local function environment(environ, directory)
  local env = tables.merged(environ)
  if not is_absolute(env.HOME) or not sys.stat(env.HOME, true) then env.HOME = directory end
  if not is_absolute(env.XDG_CACHE_HOME) and not can_hold_cache(env.HOME) then
    env.XDG_CACHE_HOME = directory
  end
  env.LC_ALL, env.NO_COLOR = "C.UTF-8", "1"
  return env
end

local function new_session(language, nix, ctx)
  local opened, err = ctx.open_cache()
  if not opened then return nil, err end
  local store_dir = M.store_dir(ctx.environ)
  local system, section = system_of(store_dir)
  local directory = opened.dir .. "/nix"
  local reference = ctx.nixpkgs or M.REFERENCE
  return setmetatable({
    ctx = ctx, nix = nix, language = language, directory = directory, reference = reference,
    lock_path = ctx.lock_file or opened.dir .. "/runtimes.lock.json", store_dir = store_dir,
    system = system, section = section, packages = ctx.packages, warnings = {},
    key = key_of(language, reference, ctx.packages),
    env = environment(ctx.environ, directory),
  }, Session)
end

-- A name for a file in the cache, for each thing in each lock file.
function Session:file_name(...)
  local path = sys.realpath(self.lock_path) or self.lock_path
  return sys.sha256(table.concat({ path, self.section, ... }, "\0")):sub(1, 32)
end

function Session:progress(state, detail)
  if self.ctx.progress then self.ctx.progress(state, detail) end
end

-- Runs nix to its end: the result of a success, or nil and what went wrong.
function Session:run(argv, variables)
  local env = tables.merged(self.env, variables)
  local proc, err = self.ctx.launch(argv, { env = env, stdin = "" })
  if not proc then return nil, err end
  local result
  result, err = self.ctx.await(proc)
  proc:close()
  if not result then return nil, err end
  if result.ok then return result end
  local called, kind, message, hint = self.ctx.policies:call("errors", "classify", {
    source = "nix", stderr = result.stderr, exit_code = result.exit_code,
    signal = result.signal, reason = result.reason,
  })
  if not called then return nil, kind end
  return nil, errors.new{ kind = kind, message = message, hint = hint }
end

-- The lock file's content. One of ours that is damaged is given up; a caller's is not ours to lose.
function Session:read_lock()
  local lock, message, errno = locks.read(self.lock_path)
  if lock then return lock end
  if errors.NO_DESCRIPTOR[errno] then return nil, cache.failure(message, errno) end
  message = ("the lock file %s cannot be used: %s"):format(self.lock_path, message)
  if errno == "damaged" and not self.ctx.lock_file then
    self.warnings[1] = message .. "; it is written anew"
    return { version = 1, references = {}, runtimes = {} }
  end
  return nil, failure(message, "restore it; or delete it, to resolve runtimes anew")
end

function Session:damaged(message)
  return nil, failure(("the lock file %s cannot be used: '%s': %s"):format(
    self.lock_path, self.key, message), "restore it; or delete it, to resolve runtimes anew")
end

-- The locked entry, if there is one.
function Session:entry()
  local lock, err = self:read_lock()
  if not lock then return nil, err end
  local entry = (lock.runtimes[self.section] or {})[self.key]
  if not entry then return nil end
  local ok, message = locks.check_entry(entry, self.store_dir)
  if not ok then return self:damaged(message) end
  return entry
end

-- Those of the paths that are not on disk, whatever nix's database says.
local function missing(paths)
  local gone = {}
  for _, path in ipairs(paths) do
    if not sys.stat(path) then gone[#gone + 1] = path end
  end
  return gone
end

local function is_whole(entry)
  for _, path in ipairs(entry.closure) do
    if not sys.stat(path) then return false end
  end
  return true
end

-- While another task or process does the same, this one waits; what it then finds is done.
function Session:exclusively(name, work)
  local ok, message, errno = sys.mkdir_private(self.directory)
  local lock, err
  if ok then
    lock, err = self.ctx.lock(self.directory .. "/" .. self:file_name(name) .. ".lock")
  else
    err = cache.failure(message, errno)
  end
  if not lock then return nil, err end
  local found
  found, err = work(self)
  lock:close()
  return found, err
end

-- Adds one thing to the lock file, to what others have written to it meanwhile.
function Session:save(group, name, value, section)
  return self:exclusively("the lock file", function()
    local lock, err = self:read_lock()
    if not lock then return nil, err end
    local ok, message, errno = locks.write(self.lock_path,
      locks.with(lock, group, name, value, section))
    if ok then return value end
    if errors.NO_DESCRIPTOR[errno] then return nil, cache.failure(message, errno) end
    return nil, errors.new{
      kind = self.ctx.lock_file and "runtime_unavailable" or "cache_failed", errno = errno,
      message = "the lock file cannot be written: " .. message,
      hint = "lock_file, or else the cache, must be where it can be written",
    }
  end)
end

-- What the reference stands for: asked once, and then locked, for every runtime of this lock file.
function Session:locked_reference()
  return self:exclusively("reference " .. self.reference, function()
    local lock, err = self:read_lock()
    if not lock then return nil, err end
    if lock.references[self.reference] then return lock.references[self.reference] end
    self:progress("locking", self.reference)
    local result
    result, err = self:run(nix_command.metadata(self.nix, self.reference))
    if not result then
      if self.ctx.on_unlocked then self.ctx.on_unlocked() end
      return nil, err
    end
    local locked = nix_command.locked(result.stdout)
    if not locks.is_reference(locked) then
      return nil, failure(("nix did not say what '%s' stands for"):format(self.reference),
        "nix 2.8 or later is needed")
    end
    return self:save("references", self.reference, locked)
  end)
end

function Session:subject(locked)
  local runtime = self.language.runtime
  if #self.packages > 0 then
    return {
      expression = nix_command.expression(locked, self.system, runtime.attribute, self.packages),
    }
  end
  local installables = { locked .. "#" .. runtime.attribute }
  for _, tool in ipairs(runtime.tools or {}) do
    installables[#installables + 1] = locked .. "#" .. tool
  end
  return { installables = installables }
end

-- A link that lasts as long as the cache does.
function Session:root(locked)
  local directory = self.directory .. "/roots"
  local ok, message, errno = sys.mkdir_private(directory)
  if ok then return directory .. "/" .. self:file_name(self.key, locked) end
  return nil, cache.failure(message, errno)
end

local function remove_scratch(note)
  local scratch = sys.read_file(note, 4096)
  -- Whoever could write the note could remove the directory himself.
  if scratch and scratch:find("/noether%-nix%-%w+$") then sys.remove_tree(scratch) end
  sys.unlink(note)
end

-- A directory for what nix builds: one that is killed leaves it as it was. It is removed when the
-- build is over; or else, since a note of it is kept, when the same is built next.
function Session:scratch(name)
  local note = ("%s/%s.scratch"):format(self.directory, name)
  remove_scratch(note)
  local base = is_absolute(self.env.TMPDIR) and self.env.TMPDIR or "/tmp"
  local scratch, message, errno = sys.mkdtemp(base .. "/noether-nix-")
  local ok = scratch
  if scratch then ok, message, errno = sys.write_file(note, scratch) end
  -- Nix may build as another user, who has to get at what is below.
  if ok then ok, message, errno = sys.chmod(scratch, 457) end -- 0711
  if not ok then return nil, cache.failure("nix has no place to build in: " .. message, errno) end
  return scratch, { close = function() remove_scratch(note) end }
end

-- Builds something: the store paths with programs in them; or nil and an error.
function Session:build(what, locked)
  local root, err = self:root(locked)
  if not root then return nil, err end
  local scratch, hold = self:scratch(self:file_name(self.key))
  if not scratch then return nil, hold end
  self.ctx.hold(hold)
  self:progress("building", self.key)
  local paths
  paths, err = self:build_in(scratch, what, root)
  hold:close()
  return paths, err
end

function Session:build_in(scratch, what, root)
  local first_err, err
  for _, format in ipairs(nix_command.FORMATS) do
    local result
    result, err = self:run(nix_command.build(self.nix, what, root, format), { TMPDIR = scratch })
    local paths = result and nix_command.paths(result.stdout) or {}
    if #paths > 0 then return paths end
    first_err = first_err or err
    if result == nil and not (err.message or ""):find("too old", 1, true) then break end
  end
  return nil, first_err or failure("nix did not say what it built", "nix 2.8 or later is needed")
end

-- What is in the store by its database alone is put there again, if nix can.
function Session:repaired(closure)
  local gone = missing(closure)
  if #gone == 0 then return true end
  self:progress("repairing", gone[1])
  local _, err = self:run(nix_command.repair(self.nix, gone))
  gone = missing(closure)
  if #gone == 0 then return true end
  return nil, failure(("%s is not there, though nix says that it is"):format(gone[1]),
    "as a user who may: nix-store --verify --check-contents --repair", err)
end

local function with_programs(paths)
  local kept = {}
  for _, path in ipairs(paths) do
    if sys.stat(path .. "/bin", true) then kept[#kept + 1] = path end
  end
  return kept
end

-- The language's program, and the path that it is in.
local function find_program(language, paths)
  for _, name in ipairs(language.runtime.programs) do
    for _, path in ipairs(paths) do
      local program = path .. "/bin/" .. name
      if sys.is_program(program) then return program, path end
    end
  end
  return nil
end

-- Asks the interpreter what it is. In a wrapper's place is what it starts, with the variables that
-- it sets: a stage may not start programs, and a wrapper would.
function Session:probe(program)
  local argv = { program }
  for _, argument in ipairs(self.language.runtime.probe) do
    argv[#argv + 1] = argument
  end
  local proc, err = self.ctx.launch(argv, {
    env = { LC_ALL = "C.UTF-8" }, cwd = "/", stdin = "", timeout_secs = PROBE_TIMEOUT_SECS,
    max_output_bytes = PROBE_OUTPUT_BYTES,
  })
  local result
  if proc then
    result, err = self.ctx.await(proc)
    proc:close()
  end
  if err and errors.is_shortage(err) then return nil, err end
  local line = result and result.ok and text.last_line(result.stdout)
  local answer = line and json.decode(line)
  if type(answer) == "table" and type(answer.version) == "string" then return answer end
  return nil, failure(("what nix built does not run: %s"):format(program), nil, err)
end

local function unwrapped(program, answer)
  local real = sys.realpath(program)
  local variables = {}
  if type(answer.program) ~= "string" or answer.program == real then return program, variables end
  for name, value in pairs(answer.variables or {}) do
    if type(value) == "string" and name:find("^[%u_]*PYTHON[%u_]*$") then
      variables[name] = value
    end
  end
  return answer.program, variables
end

local function find_shell(closure)
  for _, path in ipairs(closure) do
    if sys.is_program(path .. "/bin/sh") then return path .. "/bin/sh" end
  end
  return nil
end

-- The whole closure on disk, or nil and an error.
function Session:closure(paths)
  local result, err = self:run(nix_command.closure(self.nix, paths))
  if not result then return nil, err end
  local closure = nix_command.paths(result.stdout)
  for _, path in ipairs(closure) do
    if not locks.is_store_path(path, self.store_dir) then
      return nil, failure(("nix's store is not %s: %s"):format(self.store_dir, path),
        "set NIX_STORE_DIR to the directory of its store")
    end
  end
  local ok
  ok, err = self:repaired(closure)
  if not ok then return nil, err end
  return closure
end

-- Resolves what is in no lock file yet.
function Session:resolve()
  local locked, err = self:locked_reference()
  if not locked then return nil, err end
  local built
  built, err = self:build(self:subject(locked), locked)
  if not built then return nil, err end
  local closure
  closure, err = self:closure(built)
  if not closure then return nil, err end
  return self:describe(locked, with_programs(built), closure)
end

-- The entry for what was built; or nil and an error.
function Session:describe(locked, paths, closure)
  self:progress("checking", self.key)
  local runtime = self.language.runtime
  local program, path = find_program(self.language, paths)
  if not program then
    return nil, failure(("what nix built of '%s' has no program %s"):format(self.key,
      table.concat(runtime.programs, " or ")), "check the reference given as nixpkgs")
  end
  local answer, err = self:probe(program)
  if not answer then return nil, err end
  local version
  version, err = self:run(nix_command.version(self.nix))
  if not version then return nil, err end
  local entry = {
    reference = locked, attribute = runtime.attribute, packages = json.array(self.packages),
    path = path, paths = json.array(paths), closure = json.array(closure),
    version = errors.clean(answer.version, 80), shell = find_shell(closure),
    nix = errors.clean(nix_command.version_in(version.stdout) or "unknown", 80),
  }
  entry.program, entry.variables = unwrapped(program, answer)
  local ok, message = locks.check_entry(entry, self.store_dir)
  if not ok then return nil, failure(("nix's answer for '%s': %s"):format(self.key, message)) end
  return self:save("runtimes", self.key, entry, self.section)
end

local function has_all(list, wanted)
  local there = {}
  for _, path in ipairs(list) do
    there[path] = true
  end
  for _, path in ipairs(wanted) do
    if not there[path] then return false end
  end
  return true
end

-- Has nix make again what the lock file says. What comes out must be the same.
function Session:realise(entry)
  local built, err = self:build(self:subject(entry.reference), entry.reference)
  if built and not has_all(built, entry.paths) then
    return nil, failure(("'%s' is locked as %s, and nix built %s of it"):format(
      self.key, entry.path, built[1]),
      "restore what was locked; or delete the lock file, to resolve runtimes anew")
  end
  -- Where the reference cannot be had any more, a binary cache may have the paths themselves.
  if not built then built = self:build({ installables = entry.paths }, entry.reference) end
  if not built then return nil, err end
  local ok
  ok, err = self:repaired(entry.closure)
  if not ok then return nil, err end
  return entry
end

-- What is locked and there, or else made so.
function Session:obtain()
  return self:exclusively(self.key, function()
    local entry, err = self:entry()
    if err then return nil, err end
    if entry and is_whole(entry) then return entry end
    if entry then return self:realise(entry) end
    return self:resolve()
  end)
end

-- A store object may be a link; bound, it would be what it leads to.
local function binds_and_links(entry)
  local binds, links = {}, {}
  for _, path in ipairs(entry.closure) do
    local target = sys.readlink(path)
    if target then
      links[#links + 1] = { target = path, source = target }
    else
      binds[#binds + 1] = path
    end
  end
  if entry.shell then links[#links + 1] = { target = "/bin/sh", source = entry.shell } end
  return binds, links
end

local function search_path(entry)
  local directories = { (entry.program:match("^(.+)/[^/]+$")) }
  for _, path in ipairs(entry.paths) do
    local directory = path .. "/bin"
    if directory ~= directories[1] then directories[#directories + 1] = directory end
  end
  return directories
end

function Session:runtime(entry)
  local binds, links = binds_and_links(entry)
  return {
    kind = "nix", language = self.language.name, path = entry.program, version = entry.version,
    reference = ("%s#%s"):format(entry.reference, entry.attribute), store_path = entry.path,
    packages = entry.packages, nix = entry.nix, ro_binds = binds, links = links,
    variables = entry.variables, search_path = search_path(entry), warnings = self.warnings,
  }
end

-- The original's way: nix itself is what every call runs, in the caller's own environment.
function Session:nix_run()
  local variables = {}
  for name, value in pairs(self.env) do
    if name:find("^NIX_") or name:find("^XDG_") or name == "HOME" then variables[name] = value end
  end
  local runtime = self.language.runtime
  local prefix = nix_command.run(self.nix, self.reference, runtime, self.packages)
  return {
    kind = "nix", language = self.language.name, path = self.nix, version = "unknown",
    reference = ("%s#%s"):format(self.reference, runtime.attribute), packages = self.packages,
    ro_binds = {}, links = {}, variables = variables, prefix = prefix, warnings = {},
  }
end

--- Find a language's interpreter, and the packages that a stage imports, in nixpkgs.
-- @tparam table language the language's policy: `name` and `runtime = { attribute, programs, probe,
-- tools }`
-- @tparam table ctx `environ`, `launch`, `await` as for the host runtime; `policies`; `open_cache`;
-- `lock(path)`: waits for a file's lock; `hold(handle)`: has it closed if this is given up in the
-- middle; `packages` (attributes); `nixpkgs` (a flake reference), `lock_file` and `nix_launch`
-- ("direct" or "run") as of an executor, or nil; `progress(state, detail)` or nil: is told what
-- begins; `on_unlocked()` or nil: is called where the reference itself cannot be had
-- @treturn ?table as of the host runtime, and `store_path`, `packages`, `nix` (its version),
-- `variables` and `search_path` (for the stage's environment); with "run" a `prefix` that stands in
-- the interpreter's place
-- @treturn ?table error: `runtime_unavailable`, `packages_failed`, `setup_timed_out`,
-- `cache_failed`, `spawn_failed`
function M.resolve(language, ctx)
  local nix = M.find(ctx.environ)
  if not nix then return nil, M.not_installed(ctx.environ) end
  if not language.runtime.attribute then
    return nil, failure(("the policy of %s does not name it in nixpkgs"):format(language.name),
      "its field runtime.attribute does; or take runtime = \"host\"")
  end
  local session, err = new_session(language, nix, ctx)
  if not session then return nil, err end
  if ctx.nix_launch == "run" then return session:nix_run() end
  local entry
  entry, err = session:entry()
  if err then return nil, err end
  if not entry or not is_whole(entry) then entry, err = session:obtain() end
  if not entry then return nil, err end
  return session:runtime(entry)
end

return M
