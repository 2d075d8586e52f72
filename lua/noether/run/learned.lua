-- SPDX-License-Identifier: MIT
--- What a stage lacked in one run, as the effects that would have let it.
--
-- The core has seen what the stage named and did not find; the host is asked here, after the run,
-- whether there is such a thing to be opened. What the stage says is a stranger's: nothing is
-- opened by it, and whoever reads it decides.
local compat = require "noether.compat"
local descriptions = require "noether.sandbox.description"
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local hosts = require "noether.hosts"
local paths = require "noether.paths"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

-- Of files in one directory, beyond which it is the directory that is meant.
local MOST_SIBLINGS = 8

-- A sandbox has its own of each, and no effect opens them.
local RESERVED = { "/proc", "/sys", "/dev" }

-- --- Hosts -------------------------------------------------------------------------------------

local WAYS = { unlisted = "", private_address = "private:" }

local function entry_of(refused)
  local way = refused.port and WAYS[refused.reason]
  if not way then return nil end
  local written = hosts.parse{ ("%s%s:%d"):format(way, refused.host, refused.port) }
  return written and written[1]
end

-- Entries of the hosts that were refused; and names that nobody connected to.
local function hosts_of(network)
  local known, named, unused = {}, {}, {}
  for _, refused in ipairs(network.refused) do
    local entry = entry_of(refused)
    if entry then known[entry], named[refused.host] = true, true end
  end
  for _, reached in ipairs(network.reached) do
    named[reached.host] = true
  end
  for _, refused in ipairs(network.refused) do
    if not refused.port and refused.reason == "unlisted" and not named[refused.host] then
      unused[#unused + 1] = refused.host
    end
  end
  return tables.sorted_names(known), unused
end

-- --- Paths -------------------------------------------------------------------------------------

local function is_within_any(path, list)
  for _, item in ipairs(list) do
    if paths.is_within(path, item) then return true end
  end
  return false
end

local function parent_of(path)
  return path:match("^(.+)/[^/]+$") or "/"
end

-- The nearest that is there, for what is to be made.
local function nearest(path)
  while path ~= "/" and not sys.stat(path, true) do
    path = parent_of(path)
  end
  return path
end

local function is_directory(path)
  local stat = sys.stat(path, true)
  return stat ~= nil and stat.type == "directory"
end

-- What an effect would have to name, and how it is opened: "look", "read", "write"; nil where this
-- machine has nothing there either.
local PLACES = {
  look = function(path) return sys.stat(path, true) and path, "look" end,
  read = function(path) return sys.stat(path, true) and path, "read" end,
  link = function(path) return sys.realpath(path), "read" end,
  write = function(path) return sys.stat(path, true) and path, "write" end,
  create = function(path) return nearest(path), "write" end,
  make = function(path) return nearest(parent_of(path)), "write" end,
  directory = function(path) return nearest(path), "make" end,
}

local STRENGTH = { look = 1, read = 2, make = 3, write = 4 }

local function normal(path)
  path = path:gsub("/+", "/")
  return #path > 1 and path:gsub("/$", "") or path
end

-- What moves or hides text is in nobody's interest to be pasted.
local function is_printable(path)
  return errors.clean(path, #path * 4 + 4) == path
end

-- Where the stage's own begins: an interpreter looks for files of its own before.
local function first_of(wanted)
  for index, item in ipairs(wanted) do
    if item.access == "begin" then return index + 1 end
  end
  return 1
end

-- How each path is wanted, at its strongest. What no effect can name is left out.
local function places_of(wanted, own)
  local found, closed = {}, { own, compat.unpack(RESERVED) }
  for index = first_of(wanted), #wanted do
    local item = wanted[index]
    local path, how = normal(item.path), nil
    local can_be_named = paths.is_plain(path) and is_printable(path)
      and not is_within_any(path, closed)
    local place = can_be_named and PLACES[item.access]
    if place then
      path, how = place(path)
    else
      path = nil
    end
    if path and path ~= "/" and not is_within_any(path, closed)
      and STRENGTH[how] > (STRENGTH[found[path]] or 0) then
      found[path] = how
    end
  end
  return found
end

-- The deepest directory of those that are wanted below another one.
local function deepest_below(path, found)
  local deepest
  for other in pairs(found) do
    if paths.is_within(other, path) and is_directory(other)
      and (not deepest or #other > #deepest) then
      deepest = other
    end
  end
  return deepest or path
end

local function has_below(path, found)
  for other in pairs(found) do
    if other ~= path and paths.is_within(other, path) then return true end
  end
  return false
end

-- A directory that is made with all that are missing above it is wanted where it ends; one that was
-- looked at on the way to another place is not wanted itself.
local function meant(found)
  local kept = tables.merged(found)
  for path, how in pairs(found) do
    if how == "make" then
      local place = deepest_below(path, found)
      kept[path] = nil
      kept[place] = "write"
    elseif how == "look" and kept[path] == how and is_directory(path)
      and has_below(path, found) then
      kept[path] = nil
    end
  end
  return kept
end

-- Many files of one directory are that directory.
local function gathered(list)
  local by_parent, out, seen = {}, {}, {}
  for _, path in ipairs(list) do
    local parent = parent_of(path)
    by_parent[parent] = (by_parent[parent] or 0) + 1
  end
  for _, path in ipairs(list) do
    local parent = parent_of(path)
    if parent ~= "/" and by_parent[parent] > MOST_SIBLINGS then path = parent end
    if not seen[path] then
      seen[path], out[#out + 1] = true, path
    end
  end
  return out
end

-- Without what lies within another of the list, or within what is opened in another way.
local function outermost(list, covered)
  local out = {}
  table.sort(list)
  for _, path in ipairs(list) do
    if not is_within_any(path, out) and not is_within_any(path, covered) then
      out[#out + 1] = path
    end
  end
  return out
end

-- --- All of it ---------------------------------------------------------------------------------

-- What effects other than of paths bring along, certificates with a network and the like, and what
-- libraries do without.
local function brought_along(job, parsed)
  parsed = tables.merged(parsed, { network = parsed.network or parsed.hosts ~= nil })
  local called, description = job.policies:call("isolation", "describe", parsed, job.runtime, {
    files_dir = job.files_dir, limits = {}, grants = {}, backend = job.backend,
    in_place = descriptions.sees_host_paths(job.backend), environ = job.executor.environ,
  })
  local list = tables.merged(job.policies:data("isolation", "unmissed_paths") or {})
  for _, bind in ipairs(called and description.ro_binds or {}) do
    list[#list + 1] = type(bind) == "table" and bind.target or bind
  end
  return list
end

local function add_calls(list, entries)
  local names = {}
  for _, entry in ipairs(entries or {}) do
    if entry.refused and entry.error and entry.error.kind == "effect_denied" then
      names[entry.name] = true
    end
  end
  for _, name in ipairs(tables.sorted_names(names)) do
    list[#list + 1] = { Call = name }
  end
end

local function add_paths(list, job, wanted)
  local parsed = effects.parse{ compat.unpack(list) }
  local found = meant(places_of(wanted, job.description.work_dir))
  local writes, reads = {}, {}
  for path, how in pairs(found) do
    table.insert(how == "write" and writes or reads, path)
  end
  writes = outermost(gathered(outermost(writes, {})), {})
  local covered = brought_along(job, parsed)
  for _, path in ipairs(writes) do
    covered[#covered + 1] = path
    list[#list + 1] = { FsWrite = path }
  end
  for _, path in ipairs(outermost(gathered(outermost(reads, covered)), covered)) do
    list[#list + 1] = { FsRead = path }
  end
end

--- What the run of a job would have needed beyond what was opened for it.
-- @tparam table job that has run: `result`, `description`, `info`
-- @treturn table `effects` (in wire form), `unused` (names that were resolved and not connected to)
function M.of(job)
  local result, list = job.result, {}
  local entries, unused = hosts_of(result.network or { reached = {}, refused = {} })
  if entries[1] then list[1] = { Network = entries } end
  if result.denied_processes then list[#list + 1] = "Process" end
  add_calls(list, job.info.calls)
  add_paths(list, job, result.wanted or {})
  local parsed = effects.parse(list)
  return { effects = parsed and parsed.list or {}, unused = unused }
end

return M
