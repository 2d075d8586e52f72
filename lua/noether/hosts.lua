-- SPDX-License-Identifier: MIT
--- Lists of hosts: what an effect may name, in its one written form, and what covers what.
--
-- Forms: "host:port", "host" (443 and 80), "*.host[:port]" (every name below it, not itself),
-- "10.0.0.5:5432", "[2001:db8::1]:443", "localhost:port" (127.0.0.1 and ::1), and
-- `{ host = ..., private = true }` for a name that may lead to this machine or its neighbours; and
-- "?:port" for each name that a function of the host's says yes to.
-- Written: lower case, without a last dot, with the port, "private:" in front where it is.
local M = {}

--- The most entries of one list, as the core has it.
M.MAX = 256

local DEFAULT_PORTS = { 443, 80 }
local MAX_NAME_BYTES, MAX_LABEL_BYTES = 253, 63

-- A number of no sign and no zero in front, or nil.
local function decimal(text, most)
  local is_plain = text:find("^%d+$") and #text <= 5 and (text == "0" or text:sub(1, 1) ~= "0")
  if not is_plain then return nil end
  local number = tonumber(text)
  return number <= most and number or nil
end

local function parse_v4(text)
  local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  if not parts[1] then return nil end
  for index = 1, 4 do
    parts[index] = decimal(parts[index], 255)
    if not parts[index] then return nil end
  end
  return parts
end

-- "a:b:c" -> numbers added to `groups`; false if one is none.
local function add_groups(groups, text)
  if text == "" then return true end
  for group in (text .. ":"):gmatch("([^:]*):") do
    if not group:find("^%x%x?%x?%x?$") then return false end
    groups[#groups + 1] = tonumber(group, 16)
  end
  return true
end

-- Eight numbers; nil if it is no address of version 6.
local function parse_v6(text)
  local front, back = text:match("^(.-)::(.*)$")
  local head, tail = {}, {}
  if not add_groups(head, front or text) or not add_groups(tail, back or "") then return nil end
  local missing = 8 - #head - #tail
  if (front and missing < 1) or (not front and missing ~= 0) then return nil end
  for _ = 1, missing do
    head[#head + 1] = 0
  end
  for _, group in ipairs(tail) do
    head[#head + 1] = group
  end
  return head
end

-- The first of the longest runs of zeroes, of two at least: where it begins, and its length.
local function longest_zeroes(groups)
  local best, best_length, start = nil, 1, nil
  for index = 1, 9 do
    if groups[index] == 0 then
      start = start or index
    elseif start then
      if index - start > best_length then best, best_length = start, index - start end
      start = nil
    end
  end
  return best, best_length
end

-- RFC 5952.
local function format_v6(groups)
  local words = {}
  for index, group in ipairs(groups) do
    words[index] = ("%x"):format(group)
  end
  local start, length = longest_zeroes(groups)
  if not start then return table.concat(words, ":") end
  return table.concat(words, ":", 1, start - 1) .. "::"
    .. table.concat(words, ":", start + length, 8)
end

local function is_label(label)
  return #label <= MAX_LABEL_BYTES and label:find("^[%l%d_]") and label:find("^[%l%d_-]+$")
    and label:sub(-1) ~= "-"
end

local NAME = "a name of letters, digits, '-' and '_' (in other scripts as an A-label, xn--...)"

-- A name whose last part is a number would be taken for an address.
local function check_name(name)
  if #name == 0 or #name > MAX_NAME_BYTES then return nil, NAME end
  for label in (name .. "."):gmatch("([^.]*)%.") do
    if not is_label(label) then return nil, NAME end
  end
  local last = name:match("[^.]+$")
  if last:find("^%d+$") or last:find("^0x") then
    return nil, "an address as four numbers from 0 to 255, as in 10.0.0.5"
  end
  return name
end

local function check_v4(parts)
  if parts[1] == 0 or parts[1] >= 224 then return nil, "an address of a host" end
  if parts[1] == 198 and (parts[2] == 18 or parts[2] == 19) then
    return nil, "an address outside 198.18.0.0/15, which the sandbox has for itself"
  end
  return ("%d.%d.%d.%d"):format(parts[1], parts[2], parts[3], parts[4])
end

local OWN_V6 = "fd6e:6f65:7468::1"

local function check_v6(text)
  local groups = parse_v6(text)
  if not groups then return nil, "an address of version 6 in brackets, as in [2001:db8::1]:443" end
  local canonical = format_v6(groups)
  if canonical == OWN_V6 then
    return nil, ("another address than %s, which the sandbox has for itself"):format(OWN_V6)
  end
  if canonical:find("^::ffff:") then return nil, "an address of version 4 as four numbers" end
  if canonical == "::" or groups[1] >= 0xff00 then return nil, "an address of a host" end
  return "[" .. canonical .. "]"
end

-- The written forms of a host, which are mostly one; and whether it is a name.
local function check_host(host)
  local inner = host:match("^%[(.*)%]$")
  if inner or host:find(":", 1, true) then
    local address, expected = check_v6(inner or "")
    return address and { address }, expected
  end
  local parts = parse_v4(host)
  if parts then
    local address, expected = check_v4(parts)
    return address and { address }, expected
  end
  if host == "localhost" then return { "127.0.0.1", "[::1]" } end
  if host == "?" then return { host }, nil, true end
  local wildcard, name = host:match("^(%*%.)(.*)$")
  local checked, expected = check_name(name or host)
  if not checked then return nil, expected end
  return { (wildcard or "") .. checked }, nil, true
end

-- "host:port" -> host, port text or nil. A colon in brackets is no port's.
local function split(text)
  local host, port = text:match("^(.*):([^:%]]*)$")
  if host and (not host:find(":", 1, true) or host:find("^%[.*%]$")) then return host, port end
  return text, nil
end

local function ports_of(text)
  if not text then return DEFAULT_PORTS end
  local port = decimal(text, 65535)
  if not port or port == 0 then return nil end
  return { port }
end

local function open_item(item)
  if type(item) == "string" then
    local rest = item:match("^private:(.*)$")
    return rest or item, rest ~= nil
  elseif type(item) ~= "table" then
    return nil
  end
  for key in pairs(item) do
    if key ~= "host" and key ~= "private" then return nil end
  end
  if item.private ~= nil and type(item.private) ~= "boolean" then return nil end
  local host = item.host
  if type(host) ~= "string" then return nil end
  return host, item.private == true
end

local ENTRY = "\"host:port\", \"*.host:port\", \"10.0.0.5:5432\", \"?:port\" or "
  .. "{ host = ..., private = true }"

-- What text shows of where a mistake is.
local function shown(text)
  if #text > 80 then text = text:sub(1, 60) .. "..." end
  return (text:gsub("[%c\128-\255]", "?"))
end

-- An entry as it was given, as the written forms of what it says: a list.
local function parse_item(item)
  local text, private = open_item(item)
  if not text then return nil, ENTRY end
  if text:find("://", 1, true) then
    return nil, ("a host, and no URL: '%s'"):format(shown(text))
  end
  local host, port = split(text)
  local ports = ports_of(port)
  if not ports then return nil, ("a port from 1 to 65535 in '%s'"):format(shown(text)) end
  local hosts, expected, is_name = check_host((host:lower():gsub("%.$", "")))
  if not hosts then return nil, ("%s, in '%s'"):format(expected, shown(text)) end
  if hosts[1] == "127.0.0.1" and ports[1] == 53 then
    return nil, ("another place than 127.0.0.1:53, where the sandbox's own name server answers, in "
      .. "'%s'"):format(shown(text))
  end
  local list = {}
  for _, written in ipairs(hosts) do
    for _, number in ipairs(ports) do
      list[#list + 1] = ("%s%s:%d"):format(private and is_name and "private:" or "", written,
        number)
    end
  end
  return list
end

-- What was read of a text: the same few lists come with each run, at several places of it.
local MOST_READ = 1024
local read, count_read = {}, 0

local function read_item(item)
  local is_text = type(item) == "string"
  if is_text and read[item] then return read[item] end
  local entries, expected = parse_item(item)
  if entries and is_text then
    if count_read == MOST_READ then read, count_read = {}, 0 end
    read[item], count_read = entries, count_read + 1
  end
  return entries, expected
end

-- Whether something is a list, and has anything in it.
local function is_filled_list(list)
  if type(list) ~= "table" then return false end
  local count = 0
  for key in pairs(list) do
    if type(key) ~= "number" then return false end
    count = count + 1
  end
  return count > 0 and count == #list
end

--- Several lists as one: sorted, each entry once; one that is private swallows its like.
-- @tparam table lists of written entries
-- @treturn ?{string,...} nil and what was expected: they are too many
-- @treturn ?string
function M.union(lists)
  local known, list = {}, {}
  for _, entries in ipairs(lists) do
    for _, entry in ipairs(entries) do
      known[entry] = true
    end
  end
  for entry in pairs(known) do
    if not known["private:" .. entry] then list[#list + 1] = entry end
  end
  table.sort(list)
  if #list > M.MAX then return nil, ("at most %d hosts and ports"):format(M.MAX) end
  return list
end

--- Read a list.
-- @tparam table list entries in any form
-- @treturn ?{string,...} in the written form, sorted; or nil and what was expected
-- @treturn ?string
function M.parse(list)
  if type(list) == "string" then list = { list } end
  if not is_filled_list(list) then
    return nil, "a list of hosts that is not empty, each " .. ENTRY
  end
  local all = {}
  for _, item in ipairs(list) do
    local entries, expected = read_item(item)
    if not entries then return nil, expected end
    all[#all + 1] = entries
  end
  return M.union(all)
end

--- The first entry of a list about whose names the host is asked.
-- @tparam {string,...} list of written entries
-- @treturn ?string
function M.asked(list)
  for _, entry in ipairs(list) do
    if entry:find("^%?:") or entry:find("^private:%?:") then return entry end
  end
  return nil
end

-- A written entry taken apart.
local function open(entry)
  local rest = entry:match("^private:(.*)$")
  local host, port = (rest or entry):match("^(.*):(%d+)$")
  return { private = rest ~= nil, port = port, below = host:match("^%*(%..*)$"), host = host }
end

local function covers_one(allowed, wanted)
  if allowed.port ~= wanted.port or (wanted.private and not allowed.private) then return false end
  if allowed.host == wanted.host then return true end
  local below = allowed.below
  if not below or wanted.host:find("^%[") or parse_v4(wanted.host) then return false end
  local name = wanted.below or wanted.host
  return #name > #below and name:sub(-#below) == below
end

--- Whether a list lets everything through that another one does.
-- @tparam {string,...} allowed written entries
-- @tparam {string,...} wanted likewise
-- @treturn ?boolean true; or nil and the first entry that it does not cover
-- @treturn ?string
function M.covers(allowed, wanted)
  local opened = {}
  for index, entry in ipairs(allowed) do
    opened[index] = open(entry)
  end
  for _, entry in ipairs(wanted) do
    local found, item = false, open(entry)
    for _, other in ipairs(opened) do
      found = found or covers_one(other, item)
    end
    if not found then return nil, entry end
  end
  return true
end

--- What a reason of a refusal means, for a place.
M.WHY = {
  unlisted = "%s is not among the hosts that the stage declares",
  private_address = "%s leads to an address of this machine, its network or a link's",
  not_found = "%s: there is no such name", no_resolver = "%s: this machine has no getent(1)",
  lookup_timed_out = "%s: its name was not resolved in time",
  connect_timed_out = "%s did not answer in time", connection_refused = "%s refused the connection",
  unreachable = "there is no way to %s", idle = "the connection to %s was idle too long",
  connections = "%s: too many connections at a time: limits.connections says how many",
  network_bytes = "%s: too many bytes altogether: limits.network_bytes says how many",
  names = "%s: too many names by wildcards",
  denied = "on_network did not let it connect to %s",
  unanswered = "on_network did not say in time whether it may connect to %s",
}

--- Where a refused connection was to go.
-- @tparam table refused `{ host, port }`; the port is not known of a name that is not listed
-- @treturn string
function M.place_of(refused)
  local host = refused.host
  if not refused.port then return host end
  local is_bare = host:find(":", 1, true) and host:sub(1, 1) ~= "["
  return (is_bare and "[%s]:%d" or "%s:%d"):format(host, refused.port)
end

return M
