-- SPDX-License-Identifier: MIT
--- Where a Redis server is, as one writes it: `redis://user:password@host:6379/0`, `rediss://` with
-- TLS (`?ca=/etc/redis/ca.crt&cert=...&key=...`), `unix:///run/redis.sock?db=0`.
local M = {}

local PARAMETERS = { ca = "path", cert = "path", key = "path", db = "number" }

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function read_parameters(place, query)
  for part in (query or ""):gmatch("[^&]+") do
    local name, value = part:match("^([^=]+)=(.*)$")
    local kind = PARAMETERS[name or ""]
    if not kind then return nil, ("it has a parameter '%s'"):format(part:match("^[^=]*")) end
    value = decoded(value)
    if kind == "number" and not value:find("^%d+$") then return nil, "its db is no number" end
    if kind == "path" and value:sub(1, 1) ~= "/" then
      return nil, ("its %s is no absolute path"):format(name)
    end
    place[name] = value
  end
  return place
end

-- "user:password@" before a host or path.
local function take_credentials(place, rest)
  local credentials, after = rest:match("^([^/]*)@(.*)$")
  if not credentials then return rest end
  local user, password = credentials:match("^([^:]*):(.*)$")
  if not password then user, password = credentials, nil end
  place.user = user ~= "" and decoded(user) or nil
  place.password = password and decoded(password)
  return after
end

local function read_host(place, rest)
  local host, after = rest:match("^%[([%x:.]+)%](.*)$")
  if not host then host, after = rest:match("^([^:/%[%]]*)(.*)$") end
  local port, path = (after or ""):match("^:(%d+)(.*)$")
  path = path or after
  if rest:find("@", 1, true) then
    return nil, "before its @ stands a '/': in a password it is written as %2F"
  end
  if not host or host == "" then return nil, "it names no host" end
  if not path:find("^/?%d*$") then return nil, "what follows its host is no port and database" end
  local number = tonumber(port or "1")
  if number < 1 or number > 65535 then return nil, "there is no such port" end
  place.host, place.port = host, port or "6379"
  place.db = place.db or path:match("^/(%d+)$")
  return place
end

-- What may be shown to anybody.
local function shown(scheme, place)
  if place.path then return "unix://" .. place.path end
  local host = place.host:find(":", 1, true) and "[" .. place.host .. "]" or place.host
  return ("%s://%s:%s/%s"):format(scheme, host, place.port, place.db or "0")
end

--- Read an address.
-- @tparam string text
-- @treturn ?table `host` and `port`, or `path`; `user`, `password`, `db` (text), `tls`, `ca`,
-- `cert`, `key`; `shown`, without what is secret
-- @treturn ?string what is wrong with it
function M.read(text)
  local scheme, rest = text:match("^(%a+)://(.*)$")
  if scheme ~= "redis" and scheme ~= "rediss" and scheme ~= "unix" then
    return nil, "it begins with none of redis://, rediss:// and unix://"
  end
  local before, query = rest:match("^([^?]*)%?(.*)$")
  local place, reason = read_parameters({ tls = scheme == "rediss" }, query)
  if not place then return nil, reason end
  rest = take_credentials(place, before or rest)
  if scheme == "unix" then
    place.path = decoded(rest)
    if place.path:sub(1, 1) ~= "/" then return nil, "it names no absolute path" end
  else
    place, reason = read_host(place, rest)
    if not place then return nil, reason end
  end
  place.shown = shown(scheme, place)
  return place
end

return M
