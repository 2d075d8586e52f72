-- SPDX-License-Identifier: MIT
--- What an isolation policy may describe, whatever it says.
-- A policy can be wrong and the sandbox still stands: what it returns is taken apart here before
-- it goes on to the core, which checks paths once more.
local effects = require "noether.effects"
local files = require "noether.policies.files"
local options = require "noether.options"
local process = require "noether.process"

local M = {}

local FORBIDDEN = { "/proc", "/sys", "/dev" }

local FIELDS = {
  ro_binds = "table", rw_binds = "table", links = "table", work_dir = "path",
  network = { "none", "host" }, processes = "boolean", env_allowlist = "strings",
  limits = "table",
}

local function wrong(field, message, ...)
  return files.failed(("policy isolation: describe: field '%s': %s")
    :format(field, message:format(...)))
end

local function check_fields(field, value, spec)
  for name, item in pairs(value) do
    local label = field == "" and tostring(name) or field .. "." .. tostring(name)
    if not spec[name] then return wrong(label, options.unknown("field", name, spec)) end
    local ok, reason = options.matches(item, spec[name])
    if not ok then return wrong(label, reason) end
  end
  return true
end

local function is_plain_path(path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find("%z") then return false end
  for part in path:gmatch("[^/]+") do
    if part == "." or part == ".." then return false end
  end
  return true
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
  return effects.is_within(path, other) or effects.is_within(other, path)
end

local function contains_path(parents, path)
  for _, parent in ipairs(parents) do
    if effects.is_within(path, parent) then return true end
  end
  return false
end

local function check_source(field, source, context)
  if source:find("^/+$") then return wrong(field, "a bind of / is never allowed") end
  for _, tree in ipairs(FORBIDDEN) do
    if effects.is_within(source, tree) then
      return wrong(field, "a bind of %s is never allowed", source)
    end
  end
  local cache = context.cache_dir
  -- What is its own it may see. To others it is theirs as well, and nobody's to write to.
  local is_own = field:find("^ro_binds") and contains_path(context.own_paths, source)
  if cache and overlaps(source, cache) and not is_own then
    return wrong(field, "a bind of %s would show the cache %s", source, cache)
  end
  return true
end

-- A link that leads to a forbidden place is as good as that place.
local function check_bind(field, bind, context)
  local source, target = open_bind(bind)
  if not is_plain_path(source) or not is_plain_path(target) then
    return wrong(field, "expected an absolute path without '.' and '..', or { source =, target = }")
  end
  local ok, err = check_source(field, source, context)
  if ok and target:find("^/+$") then
    return wrong(field, "a bind over / is never allowed")
  end
  local real = ok and context.realpath and context.realpath(source)
  if real and real ~= source then ok, err = check_source(field, real, context) end
  return ok, err
end

local function check_binds(description, name, context)
  for index, bind in ipairs(description[name] or {}) do
    local ok, err = check_bind(("%s[%d]"):format(name, index), bind, context)
    if not ok then return nil, err end
  end
  return true
end

local function check_links(links)
  for index, link in ipairs(links or {}) do
    local ok = type(link) == "table" and type(link.source) == "string"
    if not ok or not is_plain_path(link.target) then
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

local function check_openings(description, context)
  local opens, grants = context.effects, context.grants
  if description.network == "host" and not opens.network and not grants.network then
    return wrong("network", "no Network effect asks for 'host', and no grant does")
  elseif description.processes and not opens.process then
    return wrong("processes", "no Process effect asks for them")
  end
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
-- @tparam table context `effects` (parsed), `grants` (`paths`, `network`), `cache_dir`, `own_paths`
-- (paths in the cache that this run may see), `realpath` (nil: do not touch the disk)
-- @treturn ?boolean true; or nil and a `policy_error` that names the field
-- @treturn ?table
function M.check(description, context)
  local checks = {
    function() return check_fields("", description, FIELDS) end,
    function() return check_fields("limits", description.limits or {}, process.LIMITS) end,
    function() return check_binds(description, "ro_binds", context) end,
    function() return check_binds(description, "rw_binds", context) end,
    function() return check_links(description.links) end,
    function() return check_openings(description, context) end,
    function() return check_environment(description) end,
  }
  for _, check in ipairs(checks) do
    local ok, err = check()
    if not ok then return nil, err end
  end
  return true
end

return M
