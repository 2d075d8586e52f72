-- SPDX-License-Identifier: MIT
--- Words of a command line as values. Each function takes one word and gives the value, or nil and
-- what was expected.
local effects = require "noether.stage.effects"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local hosts = require "noether.hosts"
local json = require "noether.json"
local options = require "noether.options"
local tables = require "noether.tables"
local sys = require "noether.sys"

local M = {}

local SECONDS = { [""] = 1, s = 1, ms = 0.001, m = 60, h = 3600, d = 86400 }
local MAX_TEXT_BYTES = 16 * 1024 * 1024
local BYTES = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

local function expected(what, word)
  return nil, ("expected %s, got '%s'"):format(what, errors.clean(word, 60))
end

-- "1.5m" -> 90, by the units there are; nil where it is no such quantity above 0.
local function quantity(word, units)
  if word == "none" then return math.huge end
  local digits, unit = word:match("^([%d.]+)(%a*)$")
  local number = tonumber(digits)
  if not number or not units[unit] or number <= 0 then return nil end
  return number * units[unit]
end

--- A time: "30", "1.5s", "200ms", "2m", "1h", "1d"; "none".
-- @tparam string word
-- @treturn ?number seconds
-- @treturn ?string
function M.seconds(word)
  local secs = quantity(word, SECONDS)
  if secs then return secs end
  return expected("a time above 0 such as 30, 200ms, 2m or none", word)
end

--- A time of a day or more: "30d"; "none".
-- @tparam string word
-- @treturn ?number seconds
-- @treturn ?string
function M.days(word)
  local secs = quantity(word, SECONDS)
  if secs and secs >= SECONDS.d then return secs end
  return expected("a day or more, such as 1d, 30d or none", word)
end

--- A size in bytes, of binary units: "65536", "64K", "512M", "2G"; "none".
-- @tparam string word
-- @treturn ?number bytes
-- @treturn ?string
function M.bytes(word)
  local bytes = quantity((word:gsub("i?B$", ""):gsub("k$", "K")), BYTES)
  if bytes and (bytes == math.huge or bytes == math.floor(bytes)) then
    return bytes < 2 ^ 53 and math.floor(bytes) or bytes
  end
  return expected("a size above 0 such as 65536, 64K, 512M, 2G or none", word)
end

--- A count: "64"; "none".
-- @tparam string word
-- @treturn ?number
-- @treturn ?string
function M.count(word)
  local count = quantity(word, { [""] = 1 })
  if count and (count == math.huge or count == math.floor(count)) then return count end
  return expected("a whole number above 0, or none", word)
end

--- An absolute path for one that may be relative to where the command was called.
-- @tparam string word
-- @treturn ?string
-- @treturn ?string
function M.path(word)
  if word:sub(1, 1) == "/" then return word end
  if word == "" then return expected("a path", word) end
  local path, message = sys.realpath(word)
  if not path then return nil, message end
  return path
end

--- An absolute path of something that need not be there yet.
-- @tparam string word
-- @treturn ?string
-- @treturn ?string
function M.path_to_be(word)
  if word:sub(1, 1) == "/" then return word end
  if word == "" then return expected("a path", word) end
  local here, message = sys.realpath(".")
  if not here then return nil, message end
  return (here == "/" and "" or here) .. "/" .. word
end

--- Hosts: "api.example.com:443", or several, separated by commas.
-- @tparam string word
-- @treturn ?{string,...} as hosts.lua writes them
-- @treturn ?string
function M.hosts(word)
  local list = {}
  for item in (word .. ","):gmatch("([^,]*),") do
    list[#list + 1] = item
  end
  local written, what = hosts.parse(list)
  if written then return written end
  return nil, "expected " .. what
end

--- Likewise, each with its port: a word without one may be the command.
-- @tparam string word
-- @treturn ?{string,...}
-- @treturn ?string
function M.hosts_with_ports(word)
  if word:find(":", 1, true) then return M.hosts(word) end
  return expected("HOST:PORT (and -- before the command)", word)
end

-- How a word is read that an effect carries, by the field that it becomes.
local CARRIED = {
  path = M.path, hosts = M.hosts,
  cents = function(value) return tonumber(value) or value end,
}

local function carried(name, value)
  local read = CARRIED[effects.field(name)]
  if read then return read(value) end
  return value
end

-- "FsRead:/data" and the like, as they are meant; nil if it cannot be told.
local function respelt(word)
  local name, value = word:match("^([%w_]+)%s*[:( ]%s*([^%s)]+)%)?$")
  if not name or value:sub(1, 1) == ":" then return nil end
  for _, known in ipairs(effects.names()) do
    local is_it = effects.field(known) and known:lower() == name:lower()
    if is_it then return ("%s=%s"):format(known, value) end
  end
  return nil
end

--- An effect: "Network", "Network=example.com:443", "FsRead=/data" (a path may be relative),
-- "Cost=5", "Llm=model".
-- @tparam string word
-- @treturn string|table|nil as a stage declares it
-- @treturn ?string
function M.effect(word)
  local name, value = word:match("^([%w_]+)=(.*)$")
  local effect = word
  if name then
    local found, reason = carried(name, value)
    if found == nil then return nil, reason end
    effect = { [name] = found }
  end
  local ok, reason = effects.parse{ effect }
  if ok then return effect end
  local meant = not name and respelt(word)
  if meant then return nil, ("'%s': write %s"):format(errors.clean(word, 80), meant) end
  return nil, (reason:gsub("^effects%[1%]: ", ""))
end

--- A name for a stage. One with a slash would be a file to `noether run`.
-- @tparam string word
-- @treturn ?string
-- @treturn ?string
function M.name(word)
  if word ~= "" and not word:find("[/%c]") then return word end
  return expected("a name without '/', which would name a file", word)
end

--- A variable: "NAME=value", or "NAME" for the value that it has here.
-- @tparam string word
-- @treturn ?table `name`, `value` (nil: as it is here)
-- @treturn ?string
function M.variable(word)
  local name, value = word:match("^([^=%s%c]+)=(.*)$")
  if name then return { name = name, value = value } end
  if word:find("^[^=%s%c]+$") then return { name = word } end
  return expected("NAME=VALUE or NAME, a name without blanks", word)
end

local LIMIT_VALUES = { bytes = M.bytes, seconds = M.seconds, count = M.count }

-- "memory" does as well as "memory_bytes": a value says its unit itself.
local function limit_name(word)
  for _, ending in ipairs{ "", "_bytes", "_secs" } do
    if descriptions.LIMITS[word .. ending] then return word .. ending end
  end
  return nil
end

local function unknown_limit(given)
  local short = {}
  for name in pairs(descriptions.LIMITS) do
    short[name:gsub("_bytes$", ""):gsub("_secs$", "")] = true
  end
  local text = options.unknown("limit", given, short)
  if text:find("did you mean", 1, true) then return text end
  return ("%s (known: %s)"):format(text, table.concat(tables.sorted_names(short), ", "))
end

--- A limit: "memory_bytes=512M", or "memory=512M".
-- @tparam string word
-- @treturn ?table `name`, `value`
-- @treturn ?string
function M.limit(word)
  local given, text = word:match("^([%w_-]+)=(.*)$")
  if not given then return expected("NAME=VALUE such as memory=512M", word) end
  local name = limit_name(given)
  if not name then return nil, unknown_limit(given) end
  local value, reason = LIMIT_VALUES[descriptions.LIMITS[name]](text)
  if not value then return nil, reason end
  return { name = name, value = value }
end

--- A reference to a flake: "nixpkgs", "github:NixOS/nixpkgs/<rev>".
-- @tparam string word
-- @treturn ?string
-- @treturn ?string
function M.flake(word)
  local ok, reason = options.matches(word, "flake")
  if ok then return word end
  return nil, reason
end

--- A function that is a program: "NAME=PROGRAM ARGS", split at blanks; no shell reads it.
-- @tparam string word
-- @treturn ?table `name`, `argv`
-- @treturn ?string
function M.program(word)
  local name, line = word:match("^([%a_][%w_]*)=(.*)$")
  local argv = {}
  for part in (line or ""):gmatch("%S+") do
    argv[#argv + 1] = part
  end
  if #argv > 0 then return { name = name, argv = argv } end
  return expected("NAME=PROGRAM ARGS", word)
end

--- A file for a stage: "NAME=PATH"; "PATH" alone is called what it is called there.
-- @tparam string word
-- @treturn ?table `name`, `path`
-- @treturn ?string
function M.file(word)
  local name, path = word:match("^([^=]+)=(.+)$")
  if name then return { name = name, path = path } end
  name = word:match("([^/]+)$")
  if name and not word:find("=", 1, true) then return { name = name, path = word } end
  return expected("NAME=PATH, or a path", word)
end

--- The text of a file.
-- @tparam string word its path
-- @treturn ?string
-- @treturn ?string
function M.text_file(word)
  local path, message = sys.realpath(word)
  if not path then return nil, message end
  local text
  text, message = sys.read_file(path, MAX_TEXT_BYTES)
  return text, message
end

--- A schema: JSON, or "@FILE" for a file of it.
-- @tparam string word
-- @treturn ?table
-- @treturn ?string
function M.schema(word)
  local text, message = word, nil
  if word:sub(1, 1) == "@" then text, message = sys.read_file(word:sub(2), 1024 * 1024) end
  if not text then return nil, message end
  local value, reason = json.decode(text)
  if value == nil then return nil, reason end
  if type(value) ~= "table" then return expected("a JSON object", text) end
  return value
end

--- What a policy may open: "network", "network=example.com:443", or a path.
-- @tparam string word
-- @treturn ?table `network`, `hosts` or `path`
-- @treturn ?string
function M.grant(word)
  if word == "network" then return { network = true } end
  local listed = word:match("^network=(.*)$")
  if listed then
    local list, what = M.hosts(listed)
    return list and { hosts = list }, what
  end
  local path, reason = M.path(word)
  if not path then return nil, reason end
  return { path = path }
end

--- A bind: "PATH", or "PATH:TARGET" for another place inside.
-- @tparam string word
-- @treturn ?table `source`, `target`
-- @treturn ?string
function M.bind(word)
  local from, target = word:match("^(.+):(/[^:]*)$")
  local source, reason = M.path(from or word)
  if not source then return nil, reason end
  return { source = source, target = target or source }
end

return M
