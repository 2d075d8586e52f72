-- SPDX-License-Identifier: MIT
--- Which sandbox works here, and the shape of a sandbox description.
--
-- A backend is believed only after it has run a program: some hosts let the namespaces be made and
-- refuse the mounts. The trial is made once and remembered.
local errors = require "noether.error"
local options = require "noether.options"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- The names of `isolation`, in the order in which "auto" tries them.
M.NAMES = { "auto", "native", "bwrap", "landlock", "none" }

-- Where a root-owned bubblewrap is found; a program of the user's own choice could claim anything.
local TRUSTED_BWRAP = {
  "/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap",
  "/run/current-system/sw/bin/bwrap", "/nix/var/nix/profiles/default/bin/bwrap",
}

local TRIAL_SECS = 10

local DESCRIPTION = {
  backend = { "none", "native", "bwrap", "landlock" }, bwrap_path = "path", ro_binds = "table",
  rw_binds = "table", links = "table", work_dir = "path", network = { "none", "host" },
  private_dir = "path", processes = "boolean", env_allowlist = "strings", limits = "table",
}

local BIND = { source = "path", target = "path" }

local function checked_binds(name, binds)
  local list = {}
  for i, bind in ipairs(binds or {}) do
    if type(bind) == "string" then bind = { source = bind, target = bind } end
    local given = options.check(("sandbox: %s[%d]"):format(name, i), bind, BIND, 6)
    if not given.source or not given.target then
      error(("sandbox: %s[%d]: needs source and target"):format(name, i), 5)
    end
    list[i] = given
  end
  return list
end

--- A copy of a sandbox description in its full form: every bind with source and target.
-- @tparam table description `backend`, `bwrap_path`, `ro_binds`, `rw_binds`, `links`, `work_dir`,
-- `network`, `processes`, `env_allowlist`, `limits`; a bind is a path or `{ source, target }`
-- @treturn table
-- @raise on an unknown field or a wrong value
function M.checked(description)
  local copy = options.check("sandbox", description, DESCRIPTION, 4)
  for _, name in ipairs{ "ro_binds", "rw_binds", "links" } do
    copy[name] = checked_binds(name, copy[name])
  end
  copy.backend = copy.backend or "none"
  copy.network = copy.network or "none"
  return copy
end

-- A merged /usr has links where others have directories.
local function add_system_directory(description, path)
  local link = sys.readlink(path)
  if link then
    table.insert(description.links, { target = path, source = link })
  elseif sys.stat(path) then
    table.insert(description.ro_binds, path)
  end
end

--- A description of the bare system: its programs and libraries read-only, and nothing of the
-- user's. For commands that bring no description of their own.
-- @treturn table
function M.system()
  local description = {
    ro_binds = { "/usr" }, rw_binds = {}, links = {}, network = "none", processes = true,
  }
  for _, path in ipairs{ "/bin", "/sbin", "/lib", "/lib32", "/lib64" } do
    add_system_directory(description, path)
  end
  for _, path in ipairs{ "/etc/ld.so.cache", "/etc/alternatives", "/nix/store" } do
    if sys.stat(path, true) then table.insert(description.ro_binds, path) end
  end
  return description
end

--- Complete a description with the backend that was chosen.
-- @tparam table chosen of @{choose}
-- @tparam table description left as it is
-- @treturn table a copy
function M.apply(chosen, description)
  return tables.merged(description, { backend = chosen.backend, bwrap_path = chosen.path })
end

local ABSENT = { ENOENT = true, ENOTDIR = true, EACCES = true, ELOOP = true }

local function is_absent(path)
  local found, _, errno = sys.stat(path, true)
  return not found and ABSENT[errno] == true
end

--- Leave out what need not be on every machine and is not on this one.
-- @tparam ?table binds paths or `{ source, target[, optional] }`
-- @treturn table a list without `optional`
function M.present(binds)
  local kept = {}
  for _, bind in ipairs(binds or {}) do
    if type(bind) == "string" or not bind.optional then
      kept[#kept + 1] = bind
    elseif not is_absent(bind.source) then
      kept[#kept + 1] = { source = bind.source, target = bind.target }
    end
  end
  return kept
end

--- What to do about a sandbox that could not be set up.
-- @tparam string message what the backend said
-- @treturn string
function M.hint(message)
  if message:find("Permission denied") or message:find("Operation not permitted")
    or message:find("No permissions") then
    return "are user namespaces allowed here (kernel.unprivileged_userns_clone, "
      .. "user.max_user_namespaces, an AppArmor or container profile)?"
  elseif message:find("No space left on device") then
    return "no more user namespaces may be made (user.max_user_namespaces)"
  elseif message:find("Can't find source path") then
    return "a path that was to be bound does not exist"
  end
  return "see SECURITY.md for what each backend needs"
end

local function is_trusted(path)
  local stat = sys.stat(path, true)
  return stat and stat.type == "file" and stat.uid == 0 and stat.mode % 0x20 < 0x10
    and math.floor(stat.mode / 2) % 2 == 0 and sys.access(path, "x")
end

local function find_bwrap(search_path)
  for _, path in ipairs(TRUSTED_BWRAP) do
    if is_trusted(path) then return path, {} end
  end
  local found = sys.find_program("bwrap", search_path)
  if not found then return nil end
  return found, { ("bwrap was found at %s, by PATH, and not in one of the system's own places")
    :format(found) }
end

local function trial_program()
  for _, path in ipairs{ "/usr/bin/true", "/bin/true" } do
    if sys.access(path, "x") then return path end
  end
  return sys.find_program("true", "/run/current-system/sw/bin")
end

local function failure(message)
  return errors.new{ kind = "isolation_unavailable", message = message }
end

-- Runs a program that does nothing. True, or nil and what went wrong.
local function try(chosen, launch, await)
  local program = trial_program()
  if not program then return nil, failure("no program 'true' to try it with") end
  local proc, err = launch({ program }, {
    sandbox = M.apply(chosen, M.system()), timeout_secs = TRIAL_SECS,
  })
  if not proc then return nil, err end
  local result
  result, err = await(proc)
  proc:close()
  if not result then return nil, err end
  if result.ok then return true end
  return nil, failure(("the trial ended with %s %s"):format(result.reason,
    tostring(result.exit_code or result.signal or "")))
end

local function bwrap(search_path)
  local path, warnings = find_bwrap(search_path)
  if not path then return nil, failure("bubblewrap is not installed") end
  return { backend = "bwrap", path = path, warnings = warnings }
end

-- What there is to try, by name: a function of the search path.
local BACKENDS = {
  native = function() return { backend = "native", warnings = {} } end,
  bwrap = bwrap,
  landlock = function() return { backend = "landlock", warnings = {} } end,
}

-- By name and search path: what worked once in this process is not tried again.
local remembered = {}

local function choose_one(name, launch, opts)
  local key = name .. ":" .. (opts.path or "")
  if remembered[key] then return remembered[key] end
  local chosen, err = BACKENDS[name](opts.path)
  if not chosen then return nil, err end
  local ok
  ok, err = try(chosen, launch, opts.await)
  if not ok then return nil, err end
  remembered[key] = chosen
  return chosen
end

local function unavailable(message)
  return errors.new{
    kind = "isolation_unavailable", message = message,
    hint = "install bubblewrap and allow user namespaces; to run without any isolation, say so: "
      .. "isolation = \"none\"",
  }
end

--- The error for "none" where isolation is required.
-- @treturn table `isolation_unavailable`
function M.none_refused()
  return errors.new{
    kind = "isolation_unavailable",
    message = "isolation \"none\" is refused here: isolation is required",
    hint = "it is required by require_isolation or by NOETHER_REQUIRE_ISOLATION",
  }
end

-- One that could not be tried just now may be the better one: a weaker one must not take its place.
local function choose_first(launch, opts)
  local tried = {}
  for _, name in ipairs(M.NAMES) do
    if BACKENDS[name] then
      local chosen, err = choose_one(name, launch, opts)
      if chosen then return chosen end
      if errors.is_shortage(err) then return nil, err end
      tried[#tried + 1] = ("%s: %s"):format(name, err.message)
    end
  end
  return nil, unavailable("no sandbox works here; " .. table.concat(tried, "; "))
end

--- Choose a backend that really works here.
-- @tparam string name one of @{NAMES}
-- @tparam function launch as `process.launch`, to try it
-- @tparam[opt] table opts `require` (refuse "none"), `path` (where to look for programs that are in
-- no trusted place), `await` (takes a process that was launched, gives its result or nil and an
-- error; default: wait)
-- @treturn ?table `backend`, `path`, `warnings`; or nil and an error (`isolation_unavailable`; or
-- `spawn_failed`, `sandbox_failed`: nothing could be tried just now, for want of descriptors,
-- processes or memory)
-- @treturn ?table
function M.choose(name, launch, opts)
  opts = opts or {}
  opts = {
    require = opts.require, path = opts.path,
    await = opts.await or function(proc) return proc:wait() end,
  }
  if name == "none" and opts.require then
    return nil, M.none_refused()
  elseif name == "none" then
    return { backend = "none", warnings = {} }
  elseif name == "auto" then
    return choose_first(launch, opts)
  end
  local chosen, err = choose_one(name, launch, opts)
  if chosen then return chosen end
  if errors.is_shortage(err) then return nil, err end
  return nil, unavailable(("isolation \"%s\" does not work here: %s"):format(name, err.message))
end

return M
