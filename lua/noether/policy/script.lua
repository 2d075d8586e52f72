-- SPDX-License-Identifier: MIT
--- What a Python file says of itself: the block of PEP 723 ("inline script metadata").
--
--     # /// script
--     # requires-python = ">=3.9"
--     # dependencies = ["six==1.16.0"]
--     # ///
--
-- The block is found as the standard's own expression finds it: greedily, in raw text, strings and
-- all. Of its TOML what stands before the first table counts; other keys are passed over.
-- Versions of Python are compared as PEP 440 says of releases.
local lpeg = require "lpeg"

local C, Cg, Cs, Ct = lpeg.C, lpeg.Cg, lpeg.Cs, lpeg.Ct
local P, R, S, V = lpeg.P, lpeg.R, lpeg.S, lpeg.V

local M = {}

--- How long a block may be, in bytes.
M.max_bytes = 65536

-- --- The block ---------------------------------------------------------------------------------

local function lines_of(code)
  local lines = {}
  for line in (code:gsub("\r\n", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

local function is_content(line)
  return line == "#" or line:sub(1, 2) == "# "
end

-- The last line of the block that begins at `first`: the last "# ///" of the comments that follow,
-- with something between; nil if there is none.
local function last_line(lines, first)
  local last
  local at = first + 1
  while lines[at] and is_content(lines[at]) do
    if lines[at] == "# ///" and at > first + 1 then last = at end
    at = at + 1
  end
  return last
end

local function text_between(lines, first, last)
  local content = {}
  for at = first + 1, last - 1 do
    content[#content + 1] = lines[at]:gsub("^# ?", "", 1)
  end
  return table.concat(content, "\n") .. "\n"
end

-- The texts of all blocks of the type "script".
local function blocks_of(code)
  local lines, blocks, at = lines_of(code), {}, 1
  while at <= #lines do
    local kind = lines[at]:match("^# /// ([%w-]+)$")
    local last = kind and last_line(lines, at)
    if last and kind == "script" then blocks[#blocks + 1] = text_between(lines, at, last) end
    at = (last or at) + 1
  end
  return blocks
end

--- Whether a script begins a block that is none, since it has no end: no line "# ///", alone, after
-- comments that all begin with "# ".
-- @tparam string code
-- @treturn ?integer the line in which it begins; nil: there is no such thing
-- @treturn ?integer the first line that cannot belong to it
function M.unfinished(code)
  if not code:find("# /// script", 1, true) then return nil end
  local lines = lines_of(code)
  for number, line in ipairs(lines) do
    if line == "# /// script" then
      if last_line(lines, number) then return nil end
      local stop = number + 1
      while lines[stop] and is_content(lines[stop]) do
        stop = stop + 1
      end
      return number, stop
    end
  end
  return nil
end

-- --- As much of TOML as stands there -----------------------------------------------------------

local ESCAPES = { b = "\b", t = "\t", n = "\n", f = "\f", r = "\r", ['"'] = '"', ["\\"] = "\\" }

local blank = S " \t" ^ 0
local comment = P "#" * (1 - S "\n") ^ 0
local space = (S " \t\n" + comment) ^ 0
local escape = P "\\" / "" * (S 'btnfr"\\' / ESCAPES)
local basic = P '"' * Cs((escape + (1 - S '"\\\n')) ^ 0) * P '"'
local literal = P "'" * C((1 - S "'\n") ^ 0) * P "'"
local long_basic = P '"""' * P "\n" ^ -1 * Cs((escape + (1 - (P '"""' + P "\\"))) ^ 0) * P '"""'
local long_literal = P "'''" * P "\n" ^ -1 * C((1 - P "'''") ^ 0) * P "'''"
local text = long_basic + long_literal + basic + literal
local bare = R("az", "AZ", "09") + S "_-"
local key_part = C(bare ^ 1) + basic + literal
-- A number, a date, a boolean.
local other = C((1 - S ",[]{}\"'\n#") ^ 1) / function() return false end

local DOCUMENT = P {
  "document",
  document = space * Ct((V "pair" * space) ^ 0) * (P "[" + -1),
  pair = Ct(Cg(V "key", "key") * blank * "=" * blank * Cg(V "value", "value")) * blank
    * comment ^ -1 * (P "\n" + -1),
  key = key_part * (blank * "." * blank * key_part / 0) ^ 0,
  value = text + V "list" + V "inline" + other,
  list = Ct("[" * space * (V "value" * space * ("," * space * V "value" * space) ^ 0
    * ("," * space) ^ -1) ^ -1 * "]"),
  inline = P "{" * (V "inline" / 0 + text / 0 + (1 - S "{}\n\"'")) ^ 0 * "}"
    / function() return false end,
}

-- The pairs before the first table, by name; nil if it is no TOML.
local function read_toml(content)
  local pairs_found = DOCUMENT:match(content)
  if not pairs_found then return nil end
  local found = {}
  for _, pair in ipairs(pairs_found) do
    found[pair.key] = pair.value
  end
  return found
end

local function is_texts(value)
  if type(value) ~= "table" then return false end
  for _, item in ipairs(value) do
    if type(item) ~= "string" then return false end
  end
  return true
end

-- --- Versions ----------------------------------------------------------------------------------

-- "3.9.1" -> { 3, 9, 1 }; what follows a release (rc1, +local) is left out.
local function release(version)
  local numbers = {}
  for number in version:match("^%s*v?([%d.]*)"):gmatch("%d+") do
    numbers[#numbers + 1] = tonumber(number)
  end
  return numbers
end

local function compare(a, b)
  for index = 1, math.max(#a, #b) do
    local one, two = a[index] or 0, b[index] or 0
    if one ~= two then return one < two and -1 or 1 end
  end
  return 0
end

local function begins_with(version, prefix)
  for index, number in ipairs(prefix) do
    if (version[index] or 0) ~= number then return false end
  end
  return true
end

local OPERATORS = {
  [">="] = function(version, other_one) return compare(version, other_one) >= 0 end,
  ["<="] = function(version, other_one) return compare(version, other_one) <= 0 end,
  [">"] = function(version, other_one) return compare(version, other_one) > 0 end,
  ["<"] = function(version, other_one) return compare(version, other_one) < 0 end,
  ["=="] = function(version, other_one, any)
    if any then return begins_with(version, other_one) end
    return compare(version, other_one) == 0
  end,
  ["~="] = function(version, other_one)
    local prefix = {}
    for index = 1, #other_one - 1 do
      prefix[index] = other_one[index]
    end
    return compare(version, other_one) >= 0 and begins_with(version, prefix)
  end,
}

OPERATORS["!="] = function(version, other_one, any)
  return not OPERATORS["=="](version, other_one, any)
end

-- { operator, release, whether it ends in ".*" } for ">= 3.9"; nil for what is none.
local function read_clause(clause)
  local operator, version = clause:match("^%s*([<>=!~]+)%s*([%d.]+%*?)%s*$")
  if not operator or not OPERATORS[operator] then return nil end
  local bare_version, any = version:gsub("%.%*$", "")
  if bare_version:find("*", 1, true) or not bare_version:find("^%d+[%d.]*$") then return nil end
  if any > 0 and operator ~= "==" and operator ~= "!=" then return nil end
  local numbers = release(bare_version)
  if operator == "~=" and #numbers < 2 then return nil end
  return { operator, numbers, any > 0 }
end

local function clauses_of(specifier)
  local clauses = {}
  for part in (specifier .. ","):gmatch("([^,]*),") do
    local clause = part:find("%S") and read_clause(part)
    if clause == nil then return nil end
    if clause then clauses[#clauses + 1] = clause end
  end
  return clauses
end

--- Whether a version of Python is among those that a script asks for.
-- @tparam string specifier ">=3.9,<4"
-- @tparam string version "3.11.2"
-- @treturn boolean
function M.satisfies(specifier, version)
  local own = release(version)
  for _, clause in ipairs(clauses_of(specifier) or {}) do
    if not OPERATORS[clause[1]](own, clause[2], clause[3]) then return false end
  end
  return true
end

-- --- What is said ------------------------------------------------------------------------------

local function check(found)
  local wanted, dependencies = found["requires-python"], found.dependencies
  if wanted ~= nil and (type(wanted) ~= "string" or not clauses_of(wanted)) then
    return nil, "requires-python: expected text such as \">=3.9\""
  elseif dependencies ~= nil and not is_texts(dependencies) then
    return nil, "dependencies: expected a list of texts"
  end
  return { requires_python = wanted, dependencies = dependencies }
end

--- What a script says of itself.
-- @tparam string code
-- @treturn ?table `requires_python` (a specifier) and `dependencies` (a list), each if it says so;
-- nil if there is no block; nil and a reason if it cannot be read
-- @treturn ?string
function M.metadata(code)
  if not code:find("# /// script", 1, true) then return nil end
  local blocks = blocks_of(code)
  if #blocks == 0 then return nil end
  if #blocks > 1 then return nil, "there are two blocks '# /// script'" end
  if #blocks[1] > M.max_bytes then
    return nil, ("the block is longer than %d bytes"):format(M.max_bytes)
  end
  local found = read_toml(blocks[1])
  if not found then return nil, "its TOML cannot be read" end
  return check(found)
end

return M
