-- SPDX-License-Identifier: MIT
--- What an isolation policy may describe, whatever it says.
-- A policy can be wrong and the sandbox still stands: what it returns is taken apart here before
-- it goes on to the core, which checks paths once more.
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local hosts = require "noether.hosts"
local paths = require "noether.paths"
local tables = require "noether.tables"

local M = {}

local FORBIDDEN = { "/proc", "/sys", "/dev" }

-- Where a cache may lie for want of another place.
local SHARED_MEMORY = "/dev/shm"

local function wrong(field, message, ...)
  return nil, errors.new{
    kind = "policy_error", message = ("policy isolation: describe: field '%s': %s"):format(field,
      message:format(...)),
  }
end

local function check_fields(description)
  local found = descriptions.wrong(description, descriptions.FIELDS)
  if not found then return true end
  local label = found.within and found.within .. "." .. found.field or found.field
  return wrong(label, found.reason)
end

local BIND = { source = true, target = true, optional = true }

-- { source =, target = } or "/path" -> source, target
local function open_bind(bind)
  if type(bind) == "string" then return bind, bind end
  if type(bind) ~= "table" then return nil end
  for name in pairs(bind) do
    if not BIND[name] then return nil end
  end
  return bind.source, bind.target
end

local function overlaps(path, other)
  return paths.is_within(path, other) or paths.is_within(other, path)
end

local function contains_path(parents, path)
  for _, parent in ipairs(parents) do
    if paths.is_within(path, parent) then return true end
  end
  return false
end

local function check_source(field, source, context)
  if source:find("^/+$") then return wrong(field, "a bind of / is never allowed") end
  -- What is its own it may see. To others it is theirs as well, and nobody's to write to.
  local is_own = field:find("^ro_binds") and contains_path(context.own_paths, source)
  for _, tree in ipairs(FORBIDDEN) do
    local is_cache = is_own and paths.is_within(source, SHARED_MEMORY)
    if paths.is_within(source, tree) and not is_cache then
      return wrong(field, "a bind of %s is never allowed", source)
    end
  end
  local cache = context.cache_dir
  if cache and overlaps(source, cache) and not is_own then
    return wrong(field, "a bind of %s would show the cache %s", source, cache)
  end
  return true
end

-- A link that leads to a forbidden place is as good as that place. Where it leads is what is handed
-- on: asked a second time, somebody might have put another one in the way.
local function judged_bind(field, bind, context)
  local source, target = open_bind(bind)
  if not paths.is_plain(source) or not paths.is_plain(target) then
    return wrong(field, "expected an absolute path without '.' and '..', or { source =, target = }")
  end
  local ok, err = check_source(field, source, context)
  if ok and target:find("^/+$") then
    return wrong(field, "a bind over / is never allowed")
  end
  local real, message, errno = source, nil, nil
  if ok and context.realpath then real, message, errno = context.realpath(source) end
  if not real and errno == "ELOOP" then return wrong(field, "%s", message) end
  if ok and real and real ~= source then ok, err = check_source(field, real, context) end
  if not ok then return nil, err end
  return { source = real or source, target = target,
    optional = type(bind) == "table" and bind.optional or nil }
end

local function judged_binds(description, name, context)
  local list = {}
  for index, bind in ipairs(description[name] or {}) do
    local judged, err = judged_bind(("%s[%d]"):format(name, index), bind, context)
    if not judged then return nil, err end
    list[index] = judged
  end
  return list
end

local function check_links(links)
  for index, link in ipairs(links or {}) do
    local ok = type(link) == "table" and type(link.source) == "string"
    if not ok or not paths.is_plain(link.target) then
      return wrong(("links[%d]"):format(index), "expected { target =, source = }")
    end
  end
  return true
end

local function check_writes(description, context)
  local allowed = {}
  for _, source in ipairs{ context.effects.writes, context.grants.paths or {} } do
    for _, path in ipairs(source) do
      allowed[#allowed + 1] = path
    end
  end
  for index, bind in ipairs(description.rw_binds or {}) do
    local source = open_bind(bind)
    if not contains_path(allowed, source) then
      return wrong(("rw_binds[%d]"):format(index),
        "no FsWrite effect names %s, and no grant does", source)
    end
  end
  return true
end

-- Each host is one that the stage declares, or a grant names.
local function check_hosts(description, context)
  local opens, grants = context.effects, context.grants
  if description.network ~= "list" or opens.network or grants.network then return true end
  local allowed = hosts.union{ opens.hosts or {}, grants.hosts and hosts.parse(grants.hosts) or {} }
  local ok, host = hosts.covers(allowed or {}, hosts.parse(description.hosts))
  if ok then return true end
  return wrong("hosts", "no Network effect names %s, and no grant does", host)
end

local function check_openings(description, context)
  local opens, grants = context.effects, context.grants
  if description.network == "host" and not opens.network and not grants.network then
    return wrong("network", "no Network effect asks for 'host', and no grant does")
  elseif description.processes and not opens.process then
    return wrong("processes", "no Process effect asks for them")
  end
  local ok, err = check_hosts(description, context)
  if not ok then return nil, err end
  return check_writes(description, context)
end

-- A pattern is a variable's name, or the beginning of one and "*".
local function check_environment(description)
  for index, pattern in ipairs(description.env_allowlist or {}) do
    if not pattern:find("^[%a_][%w_]*%*?$") or pattern:find("^LD_") or pattern:find("^L%*$") then
      return wrong(("env_allowlist[%d]"):format(index), "'%s' may not be let through", pattern)
    end
  end
  return true
end

--- Check a sandbox description.
-- @tparam table description as `isolation.describe` returned it
-- @tparam table context `effects` (parsed), `grants` (`paths`, `network`, `hosts`), `cache_dir`,
-- `own_paths` (paths in the cache that this run may see), `realpath` (nil: do not touch the disk)
-- @treturn ?table a copy whose binds are resolved, as they were judged; or nil and a `policy_error`
-- that names the field
-- @treturn ?table
function M.check(description, context)
  local judged = tables.merged(description, { resolved = context.realpath and true or nil })
  local function judge(name)
    local list, err = judged_binds(description, name, context)
    judged[name] = list
    return list, err
  end
  local checks = {
    function() return check_fields(description) end,
    function() return judge "ro_binds" end,
    function() return judge "rw_binds" end,
    function() return check_links(description.links) end,
    function() return check_openings(description, context) end,
    function() return check_environment(description) end,
  }
  for _, check in ipairs(checks) do
    local ok, err = check()
    if not ok then return nil, err end
  end
  return judged
end

return M
