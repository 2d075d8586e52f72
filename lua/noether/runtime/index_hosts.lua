-- SPDX-License-Identifier: MIT
--- The hosts that an installer is held to: those of the places where it looks for packages.
--
-- A place is a URL of its command, of the file beside that or of its variables, a proxy of the
-- host's that it is handed, or what it names itself when it is asked for its own. What else it may
-- reach is the option `hosts`, or the policy's, and nothing is.
local errors = require "noether.error"
local hosts = require "noether.hosts"
local policy = require "noether.policy.errors"

local M = {}

local PORTS = { http = 80, https = 443, ssh = 22, socks = 1080, socks4 = 1080, socks4a = 1080,
  socks5 = 1080, socks5h = 1080 }

-- "git+https", "user:password@[::1]:8443" -> "[::1]:8443"
local function host_of(scheme, authority)
  local host = authority:match("([^@]*)$"):gsub("[\"',]+$", "")
  if host:find(":%d+$") then return host end
  local port = PORTS[scheme:lower():match("[^+]*$")]
  return port and ("%s:%d"):format(host, port) or nil
end

-- Whoever names an index means it wherever it is: a name may lead to this machine.
local function entries_of(host)
  local is_address = host:find("^%[") or host:find("^[%d.]+:%d+$")
  if is_address or host:lower():find("^localhost:") then return hosts.parse{ host } end
  return hosts.parse{ "private:" .. host }
end

-- The entries of all URLs in a text, in which `${NAME}` stands for a variable.
local function add_urls(lists, text, env)
  text = text:gsub("%${([%w_]+)}", env)
  for scheme, authority in text:gmatch("(%a[%w+.-]*)://([^%s/?#]+)") do
    local host = host_of(scheme, authority)
    lists[#lists + 1] = host and entries_of(host)
  end
end

-- A proxy may be named without its scheme.
local function is_of_proxy(name)
  local lower = name:lower()
  return lower:find("_proxy$") ~= nil and lower ~= "no_proxy"
end

local function add_variables(lists, env)
  for name, value in pairs(env) do
    if value:find("://", 1, true) then
      add_urls(lists, value, env)
    elseif is_of_proxy(name) and value ~= "" then
      add_urls(lists, "http://" .. value, env)
    end
  end
end

--- What is said of an installer's hosts: the executor's option, or the policy's where it says
-- nothing.
-- @tparam table wanted `policies`, `options`
-- @tparam string option "pip" or "npm"
-- @return a list, or false: all of the network
function M.said(wanted, option)
  local given = wanted.options.hosts
  if given == nil then given = wanted.policies:data(option, "hosts") end
  return given == nil and {} or given
end

--- The hosts that an installer is held to.
-- @tparam table said further ones, in any form
-- @tparam {string,...} texts what it is told, and has said of itself
-- @tparam {table,...} variables tables of what it is given by name
-- @treturn {string,...} written entries; empty where nothing is known
function M.held(said, texts, variables)
  local lists, env = { said[1] and hosts.parse(said) or {} }, {}
  for _, some in ipairs(variables) do
    add_variables(lists, some)
    for name, value in pairs(some) do
      env[name] = value
    end
  end
  for _, text in ipairs(texts) do
    add_urls(lists, text, env)
  end
  return hosts.union(lists) or {}
end

--- The host's proxies among the variables that an installer may be handed.
-- @tparam table environ the host's environment
-- @tparam ?{string,...} allowlist names
-- @treturn table values by name
function M.proxies(environ, allowlist)
  local found = {}
  for _, name in ipairs(allowlist or {}) do
    if is_of_proxy(name) then found[name] = environ[name] end
  end
  return found
end

-- In the installers' own words, where a connection failed.
local PLACES = { "host='([^']+)', port=(%d+)", "ECONNREFUSED ([%w.:]+):(%d+)" }

-- The first place that the text names and the list does not. 127.0.0.1 inside is the sandbox's own,
-- and what is refused there is not told by the list.
local function unlisted_in(text, held, host)
  for _, pattern in ipairs(PLACES) do
    for found, port in text:gmatch(pattern) do
      local place = (found:find(":", 1, true) and "[%s]:%s" or "%s:%s"):format(found, port)
      local parsed = hosts.parse{ place }
      if parsed and (not host or found:lower() == host) and not hosts.covers(held, parsed) then
        return { host = found, port = tonumber(port), reason = "unlisted" }
      end
    end
  end
  return nil
end

local function refusal_of(result, held)
  local refused, other = result.network.refused or {}, nil
  local of_connection = policy.is_of_connection(result.stderr)
  for _, item in ipairs(refused) do
    if item.reason == "unlisted" then
      return not item.port and unlisted_in(result.stderr, held, item.host) or item
    end
    if of_connection or result.stderr:find(item.host, 1, true) then other = item end
  end
  return other or unlisted_in(result.stderr, held)
end

--- What an installer failed of that is held to hosts, where that is known.
-- @tparam table result of its process
-- @tparam ?{string,...} held entries; nil: it is held to none
-- @tparam string option "pip" or "npm"
-- @treturn ?string a hint
-- @treturn ?table `{ host, port }`; nil where the list had nothing to do with it
function M.explain(result, held, option)
  if not held then return nil end
  local refused = held[1] and result.network and refusal_of(result, held)
  if not refused then return nil end
  local place = errors.clean(hosts.place_of(refused), 120)
  local why = hosts.WHY[refused.reason]:format(place)
  local network = { host = refused.host, port = refused.port }
  if refused.reason == "unlisted" then
    return ("it asked for %s, and may reach the hosts of its index alone: %s = { hosts = "
      .. "{ \"%s\" } } lets it"):format(place, option, place), network
  elseif refused.reason == "private_address" then
    return ("%s: %s = { hosts = { \"private:%s\" } } lets it"):format(why, option, place), network
  end
  return why
end

return M
