-- SPDX-License-Identifier: MIT
--- What a sandbox holds, as plain data: the one place that knows its fields and words, what each
-- backend makes of them, and whether a description is one.
--
-- A description says what is there: `ro_binds` and `rw_binds` (a path, or `{ source, target }`),
-- `links` (`{ target, source }`), `work_dir` (where the program starts), `network`, `hosts` (those
-- that may be reached, where the network is "list"), `loopback` (false, where it is "none": no
-- sockets but connected pairs), `processes`, `env_allowlist`, `limits`. Who
-- chose a backend adds that.
local errors = require "noether.error"
local hosts = require "noether.hosts"
local options = require "noether.options"
local paths = require "noether.paths"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- The words of `network`.
M.NETWORKS = { "none", "host", "list" }

--- The names of backends, the strongest first; the last one is no sandbox at all.
M.BACKENDS = { "native", "bwrap", "landlock", "none" }

-- Backends without a root of their own, which show everything where it lies on the host.
local IN_PLACE = { none = true, landlock = true }

--- What a tree of processes may use, by name.
M.LIMITS = {
  memory_bytes = "bytes", cpu_secs = "seconds", processes = "count", open_files = "count",
  file_bytes = "bytes", private_bytes = "bytes", private_files = "count", connections = "count",
  network_bytes = "bytes",
}

--- How many connections at a time a list of hosts lets through where nothing else is said.
M.CONNECTIONS = 256

--- What a policy may say.
M.FIELDS = {
  ro_binds = "table", rw_binds = "table", links = "table", work_dir = "path",
  network = M.NETWORKS, hosts = "strings", loopback = "boolean", processes = "boolean",
  env_allowlist = "strings", limits = "table",
}

--- What is said by whoever chose the backend; `resolved`: sources are what they are named, and a
-- link that is found in one is not followed; `private`: with "none", the program starts in a
-- directory of its own all the same. In such a directory, and that of "landlock", those of `links`
-- are made whose target is relative; `learn`: what the program lacks is noted (the network is a
-- list then, which may be empty).
M.BACKEND_FIELDS = {
  backend = M.BACKENDS, bwrap_path = "path", private_dir = "path", resolved = "boolean",
  private = "boolean", learn = "boolean",
}

local ALL_FIELDS = tables.merged(M.FIELDS, M.BACKEND_FIELDS)

local BIND = { source = "path", target = "path" }

--- The private directories of a sandbox with a root of its own: where a program starts if nothing
-- else is said, and for what is temporary.
M.WORK_DIR, M.TMP_DIR = "/work", "/tmp"

--- Whether a backend shows everything where it lies on the host.
-- @tparam string backend
-- @treturn boolean
function M.sees_host_paths(backend)
  return IN_PLACE[backend] == true
end

--- Whether a run gets a directory of its own on the host.
-- @tparam table description with a backend
-- @treturn boolean
function M.has_own_directory(description)
  local backend = description.backend
  if backend == "none" then return description.private == true end
  return IN_PLACE[backend] == true
end

-- The first wrong field of a table, if there is one.
local function wrong_field(value, spec, within)
  for name, item in pairs(value) do
    if not spec[name] then
      return { within = within, field = tostring(name), is_unknown = true,
        reason = options.unknown("field", name, spec) }
    end
    local ok, reason = options.matches(item, spec[name])
    if not ok then return { within = within, field = name, reason = reason } end
  end
  return nil
end

-- A list without its word would be no wall, and the word without a list a wall with no door.
local function wrong_hosts(description)
  local list = description.hosts
  if (description.network == "list") ~= (list ~= nil) then
    return { field = "hosts", reason = "it goes with network = \"list\", and that with it" }
  end
  if not list and description.learn then
    return { field = "learn", reason = "it goes with network = \"list\"" }
  end
  if not list or description.learn and #list == 0 then return nil end
  local written, expected = hosts.parse(list)
  if not written then return { field = "hosts", reason = "expected " .. expected } end
  return nil
end

local function wrong_loopback(description)
  if description.loopback ~= false or (description.network or "none") == "none" then return nil end
  return { field = "loopback", reason = "false goes with network = \"none\"" }
end

--- What is wrong with the fields of a description, its binds left aside.
-- @tparam table description
-- @tparam[opt] table spec of the fields that it may have; default: all
-- @treturn ?table nil: nothing; else `field`, `within` (what that is a field of, where it is not
-- one of the description), `reason`, `is_unknown`: there is no such field
function M.wrong(description, spec)
  return wrong_field(description, spec or ALL_FIELDS)
    or wrong_field(description.limits or {}, M.LIMITS, "limits")
    or wrong_hosts(description)
    or wrong_loopback(description)
end

local function wrong_bind(bind, within)
  if type(bind) == "string" then bind = { source = bind, target = bind } end
  if type(bind) ~= "table" then
    return { within = within, reason = "expected a path, or a table with source and target" }
  end
  local wrong = wrong_field(bind, BIND, within)
  if wrong or (bind.source and bind.target) then return wrong end
  return { within = within, reason = "needs source and target" }
end

--- What is wrong with the binds and links of a description whose fields are right.
-- @tparam table description
-- @treturn ?table as of @{wrong}
function M.wrong_binds(description)
  for _, name in ipairs{ "ro_binds", "rw_binds", "links" } do
    for index, bind in ipairs(description[name] or {}) do
      local wrong = wrong_bind(bind, ("%s[%d]"):format(name, index))
      if wrong then return wrong end
    end
  end
  return nil
end

--- What is wrong, in words.
-- @tparam table wrong of @{wrong}
-- @treturn string "limits: field 'memory_bytes': expected a whole number ..."
function M.sentence(wrong)
  local within = wrong.within and wrong.within .. ": " or ""
  if wrong.is_unknown or not wrong.field then return within .. wrong.reason end
  return ("%sfield '%s': %s"):format(within, wrong.field, wrong.reason)
end

-- Every bind with source and target.
local function opened(binds)
  local list = {}
  for index, bind in ipairs(binds or {}) do
    if type(bind) == "string" then bind = { source = bind, target = bind } end
    list[index] = { source = bind.source, target = bind.target }
  end
  return list
end

-- The full form of those that were checked once for all: nobody changes them.
local known = setmetatable({}, { __mode = "k" })

--- A copy of a description in its full form: every bind with source and target.
-- @param description
-- @treturn table
-- @raise on an unknown field or a wrong value
function M.checked(description)
  if known[description] then return known[description] end
  local wrong = M.wrong(description) or M.wrong_binds(description)
  if wrong then options.raise("sandbox: " .. M.sentence(wrong)) end
  local copy = tables.merged(description)
  for _, name in ipairs{ "ro_binds", "rw_binds", "links" } do
    copy[name] = opened(copy[name])
  end
  copy.backend = copy.backend or "none"
  copy.network = copy.loopback == false and "no_ip" or copy.network or "none"
  if copy.hosts and copy.hosts[1] then copy.hosts = hosts.parse(copy.hosts) end
  return copy
end

--- Check a description that many processes will be started with, and that nobody changes any more.
-- @tparam table description
-- @raise as of @{checked}
function M.keep(description)
  known[description] = M.checked(description)
end

--- Whether a backend can hold a list of hosts.
-- @tparam string backend
-- @treturn boolean
function M.holds_hosts(backend)
  return not IN_PLACE[backend]
end

--- A copy of a description that says where the program starts, if there can be one place for it.
-- @tparam table description
-- @tparam string backend
-- @treturn table
function M.completed(description, backend)
  local copy = tables.merged(description)
  if not IN_PLACE[backend] then copy.work_dir = copy.work_dir or M.WORK_DIR end
  return copy
end

--- A copy of a description with the backend that was chosen.
-- @tparam table chosen of `isolation.choose`: `backend`, `path`
-- @tparam table description
-- @treturn table
function M.of_backend(chosen, description)
  return tables.merged(description, { backend = chosen.backend, bwrap_path = chosen.path })
end

--- The HOME of a program in a sandbox.
-- @tparam table description of @{completed}
-- @tparam string backend
-- @treturn ?string nil: its user's own
function M.home_of(description, backend)
  return not IN_PLACE[backend] and description.work_dir or nil
end

--- Where a directory of the host is inside.
-- @tparam table description in any form: a bind is a path, or `{ source, target }`
-- @tparam string backend
-- @tparam string dir
-- @treturn ?string nil: it is not there
function M.place_of(description, backend, dir)
  if IN_PLACE[backend] then return dir end
  for _, bind in ipairs(description.ro_binds or {}) do
    if bind == dir or bind.source == dir then return bind.target or dir end
  end
  return nil
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

--- Whether all that a caller wants to be bound is there. What is not is the caller's mistake, and
-- no failure of the sandbox.
-- @tparam table description as given: what is wrong with its shape is for @{checked} to say
-- @treturn ?boolean true; or nil and an error (`input_invalid`)
-- @treturn ?table
function M.check_sources(description)
  for _, name in ipairs{ "ro_binds", "rw_binds" } do
    local binds = type(description[name]) == "table" and description[name] or {}
    for _, bind in ipairs(binds) do
      local path = type(bind) == "table" and bind.source or bind
      local found, message, errno = true, nil, nil
      local is_path = paths.is_plain(path) and not path:find("//", 1, true)
      if is_path then found, message, errno = sys.stat(path, true) end
      if not found and ABSENT[errno] then
        return nil, errors.new{
          kind = "input_invalid", errno = errno, message = "sandbox: " .. message,
          hint = "what a sandbox is to show must be there before: is the path spelt right?",
        }
      end
    end
  end
  return true
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

return M
