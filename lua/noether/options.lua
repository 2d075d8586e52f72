-- SPDX-License-Identifier: MIT
--- Tables of named options, checked before anything happens.
-- A wrong option is a mistake in code, so it raises, at the line that called the public function.
local M = {}

local function is_list_of_strings(value)
  if type(value) ~= "table" then return false end
  local count = 0
  for key, item in pairs(value) do
    if type(key) ~= "number" or type(item) ~= "string" or item:find("%z") then return false end
    count = count + 1
  end
  return count == #value
end

-- Names and values of environment variables.
local function is_variables(value)
  if type(value) ~= "table" then return false end
  for name, text in pairs(value) do
    if type(name) ~= "string" or type(text) ~= "string" then return false end
    if name == "" or name:find("[=%z]") or text:find("%z") then return false end
  end
  return true
end

local function is_count(value)
  return type(value) == "number" and value >= 1
    and (value == math.huge or value == math.floor(value))
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and type(metatable.__call) == "function"
end

-- NaN fails every comparison, so none of the number checks needs to name it.
local TYPES = {
  seconds = { "a number of seconds above 0 (math.huge: none)",
    function(v) return type(v) == "number" and v > 0 end },
  duration = { "a number of seconds, 0 or more",
    function(v) return type(v) == "number" and v >= 0 end },
  bytes = { "a whole number of bytes above 0 (math.huge: none)", is_count },
  count = { "a whole number above 0 (math.huge: none)", is_count },
  string = { "a string without NUL",
    function(v) return type(v) == "string" and not v:find("%z") end },
  text = { "a string", function(v) return type(v) == "string" end },
  path = { "a path: a string, not empty, without NUL",
    function(v) return type(v) == "string" and v ~= "" and not v:find("%z") end },
  boolean = { "a boolean", function(v) return type(v) == "boolean" end },
  table = { "a table", function(v) return type(v) == "table" end },
  ["function"] = { "a function", is_callable },
  strings = { "a list of strings without NUL", is_list_of_strings },
  variables = { "a table of strings by variable name, without NUL", is_variables },
  any = { "anything", function() return true end },
}

-- Levenshtein's distance, two rows at a time.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- The name a person most likely meant.
-- @tparam string name as written
-- @tparam table known keys are the names there are
-- @treturn ?string nil where none is near
function M.nearest(name, known)
  local best, best_distance
  for candidate in pairs(known) do
    local d = type(candidate) == "string" and distance(name, candidate)
    if d and (not best or d < best_distance or (d == best_distance and candidate < best)) then
      best, best_distance = candidate, d
    end
  end
  if best and best_distance <= math.max(1, math.floor(#name / 3)) then return best end
  return nil
end

--- "unknown option 'tiemout_secs' (did you mean 'timeout_secs'?)"
-- @tparam string what "option", "field", ...
-- @param name as written
-- @tparam table known keys are the names there are
-- @treturn string
function M.unknown(what, name, known)
  local text = ("unknown %s '%s'"):format(what, tostring(name))
  local nearest = type(name) == "string" and M.nearest(name, known)
  if nearest then text = text .. (" (did you mean '%s'?)"):format(nearest) end
  return text
end

local function show(value)
  local kind = type(value)
  if kind == "string" and #value <= 40 then return ("'%s'"):format((value:gsub("%c", "?"))) end
  if value ~= value then return "nan" end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  return kind == "userdata" and kind or "a " .. kind
end

--- Whether a value is of a named type or one of a list of words.
-- @param value anything but nil
-- @tparam string|table expected a name such as "seconds", or a list of legal strings
-- @treturn ?boolean true, or nil and what was expected and what was given
-- @treturn ?string
function M.matches(value, expected)
  if type(expected) == "table" then
    for _, word in ipairs(expected) do
      if value == word then return true end
    end
    return nil, ("expected one of '%s', got %s"):format(table.concat(expected, "', '"), show(value))
  end
  local rule = TYPES[expected]
  if rule[2](value) then return true end
  return nil, ("expected %s, got %s"):format(rule[1], show(value))
end

--- Check one argument of a public function.
-- @tparam string fname the function as users know it, for the message
-- @tparam string name the argument's name
-- @param value
-- @tparam string|table expected see @{matches}
-- @tparam[opt=3] number level whose line the error names, as for `error`
-- @return the value
-- @raise if it does not match
function M.argument(fname, name, value, expected, level)
  local ok, reason = M.matches(value, expected)
  if not ok then error(("%s: %s: %s"):format(fname, name, reason), level or 3) end
  return value
end

--- Check a table of options.
-- @tparam string fname the function as users know it, for the message
-- @tparam ?table opts nil is an empty table
-- @tparam table spec expected type (or list of legal strings) by option name
-- @tparam[opt=3] number level whose line the error names: 3 is the caller of the caller
-- @treturn table a copy of `opts`, one level deep
-- @raise on an unknown option (the nearest name is offered) or a wrong value
function M.check(fname, opts, spec, level)
  level = level or 3
  local copy = {}
  if opts == nil then return copy end
  if type(opts) ~= "table" then
    error(("%s: options: expected a table, got %s"):format(fname, show(opts)), level)
  end
  for name, value in pairs(opts) do
    if not spec[name] then error(fname .. ": " .. M.unknown("option", name, spec), level) end
    local ok, reason = M.matches(value, spec[name])
    if not ok then error(("%s: option '%s': %s"):format(fname, name, reason), level) end
    copy[name] = value
  end
  return copy
end

return M
