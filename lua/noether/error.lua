-- SPDX-License-Identifier: MIT
--- Errors as values: one catalogue of kinds, one shape.
-- An error is a table with `kind` (from the catalogue), `message` (one bounded line without
-- control bytes) and what else is known. Branch on `kind`, print the error itself.
local M = {}

--- Every kind, in the order of the documentation, with whose fault it is.
-- `caller`: the call was wrong. `host`: this machine or its policy. `us`: the library failed.
-- `run`: the run met one of its limits. `stage`: the stage's own code.
M.KINDS = {
  { kind = "stage_not_found", fault = "caller" },
  { kind = "input_invalid", fault = "caller" },
  { kind = "language_unknown", fault = "caller" },
  { kind = "replay_diverged", fault = "caller" },
  { kind = "session_busy", fault = "caller" },
  { kind = "queue_full", fault = "caller" },
  { kind = "closed", fault = "caller" },
  { kind = "pending", fault = "caller" },
  { kind = "package_rejected", fault = "host" },
  { kind = "packages_failed", fault = "host" },
  { kind = "runtime_unavailable", fault = "host" },
  { kind = "setup_timed_out", fault = "host" },
  { kind = "isolation_unavailable", fault = "host" },
  { kind = "store_failed", fault = "host" },
  { kind = "cache_failed", fault = "host" },
  { kind = "policy_error", fault = "host" },
  { kind = "queue_unavailable", fault = "host" },
  { kind = "spawn_failed", fault = "us" },
  { kind = "sandbox_failed", fault = "us" },
  { kind = "timed_out", fault = "run" },
  { kind = "output_limit", fault = "run" },
  { kind = "memory_limit", fault = "run" },
  { kind = "cpu_limit", fault = "run" },
  { kind = "call_limit", fault = "run" },
  { kind = "output_files_limit", fault = "run" },
  { kind = "session_lost", fault = "run" },
  { kind = "job_expired", fault = "run" },
  { kind = "job_dead", fault = "run" },
  { kind = "cancelled", fault = "run" },
  { kind = "budget_exceeded", fault = "run" },
  { kind = "stage_failed", fault = "stage" },
  { kind = "output_invalid", fault = "stage" },
  { kind = "output_missing", fault = "stage" },
  { kind = "effect_denied", fault = "stage" },
}

local FAULTS = {}
for _, entry in ipairs(M.KINDS) do
  FAULTS[entry.kind] = entry.fault
end

--- Of errnos that say that there is no descriptor left, what to do.
M.NO_DESCRIPTOR = {
  EMFILE = "this program has too many files open; close some, or raise its limit (ulimit -n)",
  ENFILE = "the whole machine has too many files open",
}

-- Errnos of what the system has too little of to start anything; time is one such thing.
local SHORTAGES = { EAGAIN = true, EMFILE = true, ENFILE = true, ENOMEM = true, ETIMEDOUT = true }

local FIELDS = {
  kind = true, message = true, hint = true, stage = true, operation = true, errno = true,
  limit = true, effect = true, call = true, cell = true, result = true, cause = true,
  tells_of_host = true, network = true,
}

local MAX_MESSAGE_BYTES = 2000

-- The bytes that may follow a UTF-8 lead byte, by lead byte: { first, last, min, max of the
-- second byte, how many follow }. The second byte's bounds shut out overlong forms, surrogates
-- and what lies beyond U+10FFFF (Unicode 15, table 3-7).
local UTF8_FORMS = {
  { 0xC2, 0xDF, 0x80, 0xBF, 1 },
  { 0xE0, 0xE0, 0xA0, 0xBF, 2 },
  { 0xE1, 0xEC, 0x80, 0xBF, 2 },
  { 0xED, 0xED, 0x80, 0x9F, 2 },
  { 0xEE, 0xEF, 0x80, 0xBF, 2 },
  { 0xF0, 0xF0, 0x90, 0xBF, 3 },
  { 0xF1, 0xF3, 0x80, 0xBF, 3 },
  { 0xF4, 0xF4, 0x80, 0x8F, 3 },
}

local function form_of(lead)
  for _, form in ipairs(UTF8_FORMS) do
    if lead >= form[1] and lead <= form[2] then return form end
  end
  return nil
end

-- Length of the well-formed character at `at`, which holds a byte over 0x7F; nil if there is none.
local function character_length(text, at)
  local form = form_of(text:byte(at))
  local second = text:byte(at + 1)
  if not form or not second or second < form[3] or second > form[4] then return nil end
  for i = at + 2, at + form[5] do
    local byte = text:byte(i)
    if not byte or byte < 0x80 or byte > 0xBF then return nil end
  end
  return form[5] + 1
end

--- Whether a string is well-formed UTF-8.
-- @tparam string text
-- @treturn boolean
function M.is_utf8(text)
  local at = text:find("[\128-\255]")
  while at do
    local length = character_length(text, at)
    if not length then return false end
    at = text:find("[\128-\255]", at + length)
  end
  return true
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape_byte(byte)
  return ESCAPES[byte] or ("\\x%02X"):format(byte:byte())
end

--- Whether a character is well-formed and yet moves or hides text on a terminal: C1 controls
-- (U+0080 to 9F), line separators and direction marks (U+061C, 200E/F, 2028 to 202E, 2066 to 2069).
-- @local
-- @tparam string character
-- @treturn boolean
function M.is_unprintable(character)
  local a, b, c = character:byte(1, 3)
  if a == 0xC2 then return b <= 0x9F end
  if a == 0xD8 then return b == 0x9C end
  if a ~= 0xE2 then return false end
  if b == 0x80 then return (c >= 0xA8 and c <= 0xAE) or c == 0x8E or c == 0x8F end
  return b == 0x81 and c >= 0xA6 and c <= 0xA9
end

local function clean_high_bytes(text)
  local parts, from = {}, 1
  local at = text:find("[\128-\255]")
  while at do
    parts[#parts + 1] = text:sub(from, at - 1)
    local length = character_length(text, at)
    local character = text:sub(at, at + (length or 1) - 1)
    if not length or M.is_unprintable(character) then
      character = character:gsub(".", escape_byte)
    end
    parts[#parts + 1] = character
    from = at + (length or 1)
    at = text:find("[\128-\255]", from)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

-- The longest prefix of at most `max` bytes that ends between two characters.
local function cut(text, max)
  while max > 0 and (text:byte(max + 1) or 0) >= 0x80 and (text:byte(max + 1) or 0) < 0xC0 do
    max = max - 1
  end
  return text:sub(1, max)
end

--- Make text of unknown origin fit for one line of a message.
-- Control bytes, bytes that are not UTF-8 and characters that move text on a terminal are
-- written as escapes; what is longer than `max` ends in "...".
-- @tparam string text
-- @tparam[opt=2000] number max most bytes of the outcome
-- @treturn string one line of printable UTF-8
function M.clean(text, max)
  max = max or MAX_MESSAGE_BYTES
  -- Escaping only ever lengthens, so what lies past the cap can be dropped before it.
  local cut_before = #text > max + 4
  local line = text:sub(1, max + 4):gsub("[%z\1-\31\127]", escape_byte)
  if line:find("[\128-\255]") then line = clean_high_bytes(line) end
  if #line <= max and not cut_before then return line end
  return cut(line, max - 3) .. "..."
end

-- An empty table with the same mark: a JSON array is known by its metatable.
local function like(value)
  local metatable = getmetatable(value)
  return type(metatable) == "table" and setmetatable({}, metatable) or {}
end

local portable

local function portable_table(value, seen)
  if M.is(value) then return value:to_table() end
  if seen[value] then return nil end
  seen[value] = true
  local copy = like(value)
  for key, item in pairs(value) do
    if type(key) == "string" or type(key) == "number" then copy[key] = portable(item, seen) end
  end
  seen[value] = nil
  return copy
end

--- A copy of plain data that JSON can hold.
-- Text that is not UTF-8 becomes `{ base64 = ... }`; numbers JSON lacks (NaN, infinities),
-- functions and handles are left out.
-- @param value anything; tables are walked, errors among them turned into tables
-- @return the copy
function portable(value, seen)
  local kind = type(value)
  if kind == "string" then
    if M.is_utf8(value) then return value end
    return { base64 = require("noether.base64").encode(value) }
  elseif kind == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return nil end
    return value
  elseif kind == "table" then
    return portable_table(value, seen or {})
  elseif kind == "function" or kind == "thread" then
    return nil
  end
  return value
end

function M.portable(value)
  return portable(value)
end

--- The reverse of @{portable}, for what went through JSON.
-- @param value data as decoded
-- @return the same with `{ base64 = ... }` turned back into text
function M.restore(value)
  if type(value) ~= "table" then return value end
  local first = next(value)
  if first == "base64" and next(value, first) == nil and type(value.base64) == "string" then
    return require("noether.base64").decode(value.base64)
  end
  local copy = like(value)
  for key, item in pairs(value) do
    copy[key] = M.restore(item)
  end
  return copy
end

local Error = {}

local metatable = {
  __name = "noether.error",
  __index = Error,
  __tostring = function(err) return err.message end,
  __concat = function(left, right) return tostring(left) .. tostring(right) end,
}

--- Plain data for JSON or another process; @{from_table} reads it back.
-- @treturn table the error's fields, see @{portable}
-- @usage
-- local _, err = noether.store.memory():get("nonesuch")
-- print(err:to_table().kind) --> stage_not_found
function Error:to_table()
  local plain = {}
  for key, value in pairs(self) do
    plain[key] = portable(value)
  end
  return plain
end

--- Make an error.
-- @tparam table fields `kind` and `message`, and if known `hint` (what to do), `stage` (id),
-- `operation` (what could not be done: "bind"), `errno` ("ENOENT"), `limit` (the number that was
-- met), `effect` ("FsRead(/data)"), `cell`, `tells_of_host`, `result` (of the process) and `cause`
-- (another error, or text)
-- @treturn table the error
-- @raise on a kind or a field outside the catalogue: those are mistakes in code
function M.new(fields)
  if not FAULTS[fields.kind] then
    error(("error.new: unknown kind '%s'"):format(tostring(fields.kind)), 2)
  end
  if type(fields.message) ~= "string" then
    error("error.new: message must be a string", 2)
  end
  local err = {}
  for key, value in pairs(fields) do
    if not FIELDS[key] then
      error(("error.new: unknown field '%s'"):format(tostring(key)), 2)
    end
    err[key] = value
  end
  err.message = M.clean(err.message)
  err.hint = err.hint and M.clean(err.hint)
  return setmetatable(err, metatable)
end

--- What the core says of a failure, as a sentence: "open: /a: No such file or directory".
-- @tparam table failure of the core: `operation` and `message`
-- @treturn string
function M.sentence(failure)
  return failure.operation .. ": " .. failure.message
end

--- Whether a value is an error of this library.
-- @param value anything
-- @treturn boolean whether
-- @usage
-- local _, err = noether.store.memory():get("nonesuch")
-- print(noether.is_error(err), noether.is_error("text")) --> true false
function M.is(value)
  return getmetatable(value) == metatable
end

--- Whose fault a kind is: "caller", "host", "us", "run" or "stage".
-- @tparam string kind
-- @treturn ?string nil for a kind outside the catalogue
function M.fault(kind)
  return FAULTS[kind]
end

local ABOUT_STARTING = { spawn_failed = true, sandbox_failed = true }

--- Whether an error says that nothing at all could be started just then, for want of descriptors,
-- processes, memory or time: it tells nothing of what was to be started.
-- @tparam table err
-- @treturn boolean
function M.is_shortage(err)
  return ABOUT_STARTING[err.kind] == true and SHORTAGES[err.errno] == true
end

--- Read back what `err:to_table()` gave, even after a trip through JSON.
-- @tparam table plain
-- @treturn table the error
-- @raise on a kind outside the catalogue
function M.from_table(plain)
  local fields = {}
  for key in pairs(FIELDS) do
    local value = M.restore(plain[key])
    if key == "cause" and type(value) == "table" and FAULTS[value.kind] then
      value = M.from_table(plain.cause)
    end
    fields[key] = value
  end
  return M.new(fields)
end

--- What went wrong. `tostring` gives its message.
-- @table Error
-- @tfield Kind kind what to branch on
-- @tfield string message one line, bounded, without control bytes
-- @tfield ?string hint what to do
-- @tfield ?string stage id of the stage
-- @tfield ?string operation of a program that could not be started, what could not be done: "bind",
-- "make namespaces", "execve"
-- @tfield ?string errno "ENOENT"
-- @tfield ?number limit the limit that was met, in its unit
-- @tfield ?string effect "FsRead(/data)"
-- @tfield ?integer cell number of the cell of a session
-- @tfield ?{host:string,port:?integer} network what a list of hosts did not let through
-- @tfield ?boolean tells_of_host the hint says what is on this machine: not for who wrote the code
-- @tfield ?Result result of the process, if one ran
-- @tfield ?Error|string cause what lies behind it

return M
