-- SPDX-License-Identifier: MIT
--- Tables of named options, checked before anything happens.
-- A wrong option is a mistake in code, so it raises, at the line that called the public function.
local M = {}

-- What the names of all our chunks begin with.
local OWN = debug.getinfo(1, "S").source:match("^(.*)options")

-- Whose line it is: neither a C function nor what a tail call left has one.
local function is_callers(info)
  return info.what ~= "C" and info.what ~= "tail" and info.source:sub(1, #OWN) ~= OWN
end

--- Raise a mistake of the caller's: at the line from which this library was called, however deep
-- within it this is.
-- @tparam string message
-- @raise it, with that line's place before it; without where there is none: a C function called
-- (`pcall(noether.execute)`), or nobody
function M.raise(message)
  local level, below = 2, nil
  local info = debug.getinfo(level, "S")
  while info and not is_callers(info) do
    level, below = level + 1, info.what
    info = debug.getinfo(level, "S")
  end
  return error(message, info and below ~= "C" and level or 0)
end

local function show(value)
  local kind = type(value)
  if kind == "string" and #value <= 40 then return ("'%s'"):format((value:gsub("%c", "?"))) end
  if value ~= value then return "nan" end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return kind == "userdata" and kind or "a " .. kind
end

local function is_plain(value)
  return type(value) == "string" and not value:find("%z")
end

-- False comes with what was found in place of it, where that says more than the value.
local function is_list(value)
  if type(value) ~= "table" then return false end
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" then return false, "the name " .. show(key) end
    count = count + 1
  end
  if count ~= #value then return false, "a list with holes" end
  return true
end

local function is_list_of_strings(value)
  local ok, found = is_list(value)
  for index, item in ipairs(ok and value or {}) do
    if not is_plain(item) then return false, ("%s at [%d]"):format(show(item), index) end
  end
  return ok, found
end

local function is_variable(name)
  return type(name) == "string" and name ~= "" and not name:find("[=%z]")
end

-- Names and values of environment variables.
local function is_variables(value)
  if type(value) ~= "table" then return false end
  for name, text in pairs(value) do
    if not is_variable(name) then return false, "the name " .. show(name) end
    if not is_plain(text) then return false, ("%s for %s"):format(show(text), show(name)) end
  end
  return true
end

local function is_store(value)
  return type(value) == "table" and type(value.get) == "function"
end

local function is_count(value)
  return type(value) == "number" and value >= 1
    and (value == math.huge or value == math.floor(value))
end

local function is_flake(value)
  return is_plain(value) and value ~= "" and not value:find("[%s%c#\"\\$]")
    and value:sub(1, 1) ~= "-"
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and type(metatable.__call) == "function"
end

local STREAM_FIELDS = { path = true, fd = true, share = true }

-- One of a path and a descriptor; only the latter can be shared.
local function is_stream(value)
  if type(value) ~= "table" then return false end
  for name in pairs(value) do
    if not STREAM_FIELDS[name] then return false, ("the field '%s'"):format(tostring(name)) end
  end
  local path, fd, share = value.path, value.fd, value.share
  if (path == nil) == (fd == nil) then return false, "a table with both or neither" end
  if path ~= nil and (not is_plain(path) or path == "") then return false, "path " .. show(path) end
  if fd ~= nil and (type(fd) ~= "number" or fd < 0 or fd ~= math.floor(fd) or fd >= 2 ^ 31) then
    return false, "fd " .. show(fd)
  end
  if share ~= nil and type(share) ~= "boolean" then return false, "share " .. show(share) end
  if share and path then return false, "share with a path" end
  return true
end

local function is_input(value)
  if type(value) == "string" or value == true or is_callable(value) then return true end
  return is_stream(value)
end

local function is_text_source(value)
  if type(value) == "string" or is_callable(value) then return true end
  if type(value) ~= "table" or value.fd then return false end
  return is_stream(value)
end

-- NaN fails every comparison, so none of the number checks needs to name it.
local TYPES = {
  seconds = { "a number of seconds above 0 (math.huge: none)",
    function(v) return type(v) == "number" and v > 0 end },
  duration = { "a number of seconds, 0 or more",
    function(v) return type(v) == "number" and v >= 0 end },
  bytes = { "a whole number of bytes above 0 (math.huge: none)", is_count },
  count = { "a whole number above 0 (math.huge: none)", is_count },
  natural = { "a whole number", function(v) return v == 0 or (is_count(v) and v < math.huge) end },
  whole = { "a whole number above 0", function(v) return is_count(v) and v < math.huge end },
  amount = { "a number, 0 or more",
    function(v) return type(v) == "number" and v >= 0 and v < math.huge end },
  string = { "a string without NUL", is_plain },
  text = { "a string", function(v) return type(v) == "string" end },
  path = { "a path: a string, not empty, without NUL",
    function(v) return is_plain(v) and v ~= "" end },
  flake = { "a reference to a flake, without '#': nixpkgs, or github:NixOS/nixpkgs/<rev>",
    is_flake },
  boolean = { "a boolean", function(v) return type(v) == "boolean" end },
  switch_or_table = { "a boolean or a table",
    function(v) return type(v) == "boolean" or type(v) == "table" end },
  table = { "a table", function(v) return type(v) == "table" end },
  ["function"] = { "a function", is_callable },
  list = { "a list", is_list },
  strings = { "a list of strings without NUL", is_list_of_strings },
  strings_or_none = { "a list of strings without NUL, or false", function(v)
    if v == false then return true end
    return is_list_of_strings(v)
  end },
  variables = { "a table of strings by variable name, without NUL", is_variables },
  text_source = { "text: a string, a function or { path = \"...\" }", is_text_source },
  stream = { "{ path = \"...\" } or { fd = number, share = boolean }", is_stream },
  input = { "a string, a function, true, { path = \"...\" } or { fd = number, share = boolean }",
    is_input },
  store = { "a store: use noether.store.memory(), noether.store.open(dir), or a table with put, "
    .. "get, list and remove", is_store },
  any = { "anything", function() return true end },
}

-- Whether the letters before these places are the other's, swapped.
local function swapped(a, i, b, j)
  return i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
end

-- Levenshtein's distance, where two neighbours that changed places count as one mistake.
local function distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if swapped(a, i, b, j) then row[j] = math.min(row[j], before[j - 2] + 1) end
    end
    before, last = last, row
  end
  return last[#b]
end

-- The name of least cost, of equal ones the first by the alphabet.
local function cheapest(known, cost_of)
  local best, best_cost
  for candidate in pairs(known) do
    local cost = type(candidate) == "string" and cost_of(candidate)
    if cost and (not best or cost < best_cost or (cost == best_cost and candidate < best)) then
      best, best_cost = candidate, cost
    end
  end
  return best, best_cost
end

local MIN_PART_BYTES = 3

local function begins_with(text, part)
  return #part >= MIN_PART_BYTES and text:sub(1, #part) == part
end

-- "timeout" for "timeout_secs", "environment" for "env"; or else "dir" for "work_dir".
local function akin(name, known)
  return cheapest(known, function(candidate)
    local is_part = begins_with(candidate, name) or begins_with(name, candidate)
    return is_part and math.abs(#candidate - #name)
  end) or cheapest(known, function(candidate)
    return #name >= MIN_PART_BYTES and candidate:find(name, 1, true) and #candidate
  end)
end

--- The name a person most likely meant: one that is spelt nearly so, or else one of which this is
-- a part.
-- @tparam string name as written
-- @tparam table known keys are the names there are
-- @treturn ?string nil where none is near
function M.nearest(name, known)
  local best, cost = cheapest(known, function(candidate) return distance(name, candidate) end)
  if best and cost <= math.max(1, math.floor(#name / 3)) then return best end
  return akin(name, known)
end

local function has_fields(expected)
  return type(expected) == "table" and expected.fields ~= nil
end

-- "limits = { memory_bytes = ... }" for a name whose place is inside of another.
local function nested(name, known)
  for outer, expected in pairs(known) do
    if has_fields(expected) and expected.fields[name] then
      return ("%s = { %s = ... }"):format(outer, name)
    end
  end
  return nil
end

--- "unknown option 'tiemout_secs' (did you mean 'timeout_secs'?)"
-- @tparam string what "option", "field", ...
-- @param name as written
-- @tparam table known keys are the names there are
-- @treturn string
function M.unknown(what, name, known)
  local text = ("unknown %s '%s'"):format(what, tostring(name))
  if type(name) ~= "string" then return text .. " (each has a name)" end
  local meant = nested(name, known) or M.nearest(name, known)
  if meant then text = text .. (" (did you mean '%s'?)"):format(meant) end
  return text
end

--- Whether a value is of a named type or one of a list of words.
-- @param value
-- @tparam string|table expected a name such as "seconds", a list of legal strings, or
-- `{ fields = spec }`: a table, whose fields @{check} looks at
-- @treturn ?boolean true, or nil and what was expected and what was given
-- @treturn ?string
function M.matches(value, expected)
  if has_fields(expected) then expected = "table" end
  if type(expected) == "table" then
    for _, word in ipairs(expected) do
      if value == word then return true end
    end
    return nil, ("expected one of '%s', got %s"):format(table.concat(expected, "', '"), show(value))
  end
  local rule = TYPES[expected]
  local ok, found = rule[2](value)
  if ok then return true end
  return nil, ("expected %s, got %s"):format(rule[1], found or show(value))
end

--- Check one argument of a public function.
-- @tparam string fname the function as users know it, for the message
-- @tparam string name the argument's name
-- @param value
-- @tparam string|table expected see @{matches}
-- @return the value
-- @raise if it does not match
function M.argument(fname, name, value, expected)
  local ok, reason = M.matches(value, expected)
  if not ok then M.raise(("%s: %s: %s"):format(fname, name, reason)) end
  return value
end

-- By the methods as users know them: they are asked for at each step of each run.
local method_names = {}

--- Check that a method was called as one, with a colon.
-- @tparam string fname the method as users know it, "store:put"
-- @param self what it was called on: a table with a method of that name
-- @raise if it is something else
function M.method(fname, self)
  local name = method_names[fname]
  if not name then
    name = fname:match(":(.*)$")
    method_names[fname] = name
  end
  if type(self) == "table" and type(self[name]) == "function" then return end
  local object = fname:match("^(.*):")
  M.raise(("%s: call it with a colon: %s(...), not %s.%s(...)"):format(fname, fname, object, name))
end

local function check(fname, opts, spec, what)
  local copy = {}
  if opts == nil then return copy end
  if type(opts) ~= "table" then
    M.raise(("%s: options: expected a table, got %s"):format(fname, show(opts)))
  end
  for name, value in pairs(opts) do
    local expected = spec[name]
    if not expected then M.raise(("%s: %s"):format(fname, M.unknown(what, name, spec))) end
    local ok, reason = M.matches(value, expected)
    if not ok then M.raise(("%s: %s '%s': %s"):format(fname, what, name, reason)) end
    if has_fields(expected) then
      value = check(("%s: %s"):format(fname, name), value, expected.fields, "option")
    end
    copy[name] = value
  end
  return copy
end

--- Check a table of options.
-- @tparam string fname the function as users know it, for the message
-- @tparam ?table opts nil is an empty table
-- @tparam table spec what @{matches} expects, by option name
-- @treturn table a copy of `opts`, one level deep, and of the tables in it that have `fields`
-- @raise on an unknown option (the nearest name is offered) or a wrong value
function M.check(fname, opts, spec)
  return check(fname, opts, spec, "option")
end

--- As @{check}, of what messages call fields.
-- @tparam string fname
-- @tparam ?table fields
-- @tparam table spec
-- @treturn table
-- @raise as of @{check}
function M.check_fields(fname, fields, spec)
  return check(fname, fields, spec, "field")
end

--- What nobody would hold is refused: without a sandbox there is nothing to take away.
-- @tparam string fname the function as users know it, for the message
-- @tparam table given `loopback`, `isolation`
-- @raise where these do not go together
function M.check_loopback(fname, given)
  if given.loopback == false and given.isolation == "none" then
    M.raise(fname .. ": option 'loopback': false needs a sandbox, and isolation is \"none\"")
  end
end

local ON = { ["1"] = true, ["true"] = true, yes = true, on = true }

--- Whether a switch in the environment is on: "1", "true", "yes" or "on".
-- @tparam ?string value
-- @treturn boolean
function M.is_on(value)
  return ON[(value or ""):lower()] == true
end

--- What is off unless an option, or else the environment, says yes.
-- @tparam ?boolean given the option
-- @tparam ?string value of the environment
-- @treturn boolean
function M.switch(given, value)
  if given ~= nil then return given end
  return M.is_on(value)
end

return M
