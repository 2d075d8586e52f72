-- SPDX-License-Identifier: MIT
--- Jobs and results as they travel.
--
-- A job is a header, its signature, and two parts: the call (the stage and the options, JSON) and
-- the input (JSON text, as it is). The header, JSON too, has the hashes of both; so a signature
-- over it covers all. A part above 64 KiB travels in a string key of its own, since no server
-- carries much through a stream or a script without making others wait.
--
-- A result is the same: a header with the job's id, which is a number that nobody else has drawn,
-- and the parts `told` (error and info) and `output`. Files that go in or come out are a part of
-- their own, `files` or `outputs`, which always travels by itself.
--
-- All that is read here was written by whoever can write to the server: it is bounded, and its
-- signature is looked at before anything in it is.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local json = require "noether.json"
local sign = require "noether.fleet.sign"
local sys = require "noether.sys"

local M = {}

M.VERSION = 1

--- What is to be done where versions differ.
M.VERSIONS_HINT = "callers and workers of a fleet speak one version: bring noether to the newer one"

--- What is longer travels by itself.
M.INLINE_BYTES = 65536

--- So much may travel of one job's files.
M.MOST_FILE_BYTES = 256 * 1024 * 1024

--- Options of a call that a worker is told, and those alone are heeded there: others are about a
-- machine.
M.CARRIED = {
  timeout_secs = true, setup_timeout_secs = true, max_output_bytes = true, max_stderr_bytes = true,
  limits = true, env = true, on_leftover_threads = true, journal = true, outputs = true,
}

--- By how much clocks may be apart.
M.GRACE_SECS = 900

--- For how long a job may be asked to wait.
M.MAX_TTL_SECS = 30 * 86400

local MAX_HEADER_BYTES = 8192
local MAX_HEADER_VALUES = 100
local MAX_TOLD_VALUES = 1000000

local DOMAINS = { job = "noether fleet job\n", result = "noether fleet result\n" }

-- Companions that `Pure` may have.
local COMPANIONS = { Pure = true, Fallible = true, Cost = true, Process = true }

--- Whether a stage may be run again by all that it declares.
-- @tparam ?table stage
-- @treturn boolean
function M.is_pure(stage)
  local declared = stage and effects.parse(stage.effects)
  local is_pure = false
  for _, effect in ipairs(declared and declared.list or {}) do
    if not COMPANIONS[effect.effect] then return false end
    is_pure = is_pure or effect.effect == "Pure"
  end
  return is_pure
end

local HUGE = "none"

-- JSON has no infinity.
local function finite(value)
  if type(value) == "table" then
    local copy = {}
    for name, item in pairs(value) do
      copy[name] = finite(item)
    end
    return copy
  end
  return value == math.huge and HUGE or value
end

local function infinite(value, name)
  if type(value) == "table" then
    for key, item in pairs(value) do
      value[key] = infinite(item, key)
    end
  end
  local is_number = type(name) == "string" and (name:find("_secs$") or name:find("_bytes$"))
  return value == HUGE and is_number and math.huge or value
end

--- Options of a call, as JSON can hold them, and back.
M.pack_options, M.unpack_options = finite, function(given)
  local env = given.env
  given.env = nil
  given = infinite(given)
  given.env = env
  return given
end

local ALWAYS_KEPT = { files = true, outputs = true }

local function part_of(name, text)
  local kept = ALWAYS_KEPT[name] or #text > M.INLINE_BYTES
  return { sha256 = sys.sha256(text), bytes = #text, kept = kept or nil }
end

-- Header, signature, parts: what a kind of message is.
local function seal(kind, header, parts, keys, key)
  header.v = M.VERSION
  for name, text in pairs(parts) do
    header[name] = part_of(name, text)
  end
  local text = assert(json.canonical(header))
  return { header = text, signature = sign.sign(keys, DOMAINS[kind] .. text, key), parts = parts,
    has = header }
end

--- Make a job.
-- @tparam table fields of the header: `id`, `queue`, `caller`, `created`, `expires` (seconds since
-- 1970), `mode`, `again` (whether it may run again), `server` (which run of it had accepted it)
-- @tparam string call JSON
-- @tparam string input JSON
-- @tparam ?string files of @{pack_files}
-- @tparam table keys
-- @treturn table `header`, `signature`, `parts`, `has` (the header's fields)
function M.seal(fields, call, input, files, keys)
  return seal("job", fields, { call = call, input = input, files = files }, keys)
end

local MAX_FILES = 10000

--- Files as one text.
-- @tparam {string,...} names
-- @tparam {string,...} texts
-- @treturn string
function M.pack_files(names, texts)
  local sizes = json.array()
  for i, text in ipairs(texts) do
    sizes[i] = json.array{ names[i], #text }
  end
  return assert(json.canonical(sizes)) .. "\n" .. table.concat(texts)
end

--- The reverse.
-- @tparam string packed
-- @treturn ?table texts by name; nil where it is none
function M.unpack_files(packed)
  local at = packed:find("\n", 1, true)
  local sizes = at and json.decode(packed:sub(1, at - 1), nil, 4 * MAX_FILES)
  if type(sizes) ~= "table" then return nil end
  local files = {}
  for _, entry in ipairs(sizes) do
    local name, bytes = entry[1], entry[2]
    if type(name) ~= "string" or type(bytes) ~= "number" or bytes < 0 then return nil end
    files[name] = packed:sub(at + 1, at + bytes)
    at = at + bytes
  end
  return at == #packed and files or nil
end

--- Make a result.
-- @tparam table fields `id`, `queue`, `worker`, `queue_secs`
-- @tparam string told JSON
-- @tparam string output JSON
-- @tparam ?string outputs of @{pack_files}
-- @tparam table keys
-- @tparam ?table key that the job was signed with
-- @treturn table as of @{seal}
function M.seal_result(fields, told, output, outputs, keys, key)
  return seal("result", fields, { told = told, output = output, outputs = outputs }, keys, key)
end

--- The names of the parts that a header tells of.
-- @tparam table has its fields
-- @tparam {string,...} names of all there may be
-- @treturn {string,...}
function M.parts_of(has, names)
  local list = {}
  for _, name in ipairs(names) do
    if type(has[name]) == "table" then list[#list + 1] = name end
  end
  return list
end

local function read_header(kind, text, signature, keys)
  if #text > MAX_HEADER_BYTES or #signature > 64 then return nil, "its header is too long" end
  local is_ours, key = sign.verify(keys, DOMAINS[kind] .. text, signature)
  if not is_ours then return nil, "it is not signed with a key that is known here" end
  local has = json.decode(text, nil, MAX_HEADER_VALUES)
  if type(has) ~= "table" then return nil, "its header is no object" end
  if has.v ~= M.VERSION then
    return nil, ("its version is %s, and %d is what is known here"):format(
      errors.clean(tostring(has.v), 20), M.VERSION), key or true
  end
  return has, key
end

local JOB_FIELDS = {
  id = "string", queue = "string", caller = "string", created = "number", expires = "number",
  mode = "string", again = "boolean", server = "string", call = "table", input = "table",
}
local RESULT_FIELDS = {
  id = "string", queue = "string", worker = "string", queue_secs = "number", told = "table",
  output = "table",
}

local function has_fields(has, fields)
  for name, kind in pairs(fields) do
    if type(has[name]) ~= kind then return false end
  end
  return true
end

--- Read a job's header.
-- @tparam string text
-- @tparam string signature
-- @tparam table keys
-- @tparam string queue where it was found
-- @treturn ?table its fields; or nil and what is wrong
-- @treturn ?table|string which key has signed it
-- @treturn ?table|boolean and which one, where what is wrong is its version; true: there are none
function M.open(text, signature, keys, queue)
  local has, key, signer = read_header("job", text, signature, keys)
  if not has then return nil, key, signer end
  if not has_fields(has, JOB_FIELDS) or not has.id:find("^%x+$") or #has.id > 64
    or not has.caller:find("^[%w_.-]+$") then
    return nil, "its header lacks something"
  elseif has.queue ~= queue then
    return nil, "it was made for another queue"
  elseif has.created < 0 or has.created > has.expires
    or has.expires > sys.time() + M.MAX_TTL_SECS + M.GRACE_SECS then
    return nil, "its times are none that a job has"
  end
  return has, key
end

--- Read a result's header.
-- @tparam string text
-- @tparam string signature
-- @tparam table keys
-- @tparam string queue
-- @tparam string id of the job
-- @treturn ?table its fields; or nil and what is wrong
-- @treturn ?string
-- @treturn ?boolean whether that is its version
function M.open_result(text, signature, keys, queue, id)
  local has, reason, signer = read_header("result", text, signature, keys)
  if not has then return nil, reason, signer ~= nil end
  if not has_fields(has, RESULT_FIELDS) or has.queue ~= queue or has.id ~= id then
    return nil, "it is of another job"
  end
  return has
end

--- Whether a part is what the header says.
-- @tparam table part of a header
-- @tparam ?string text
-- @treturn boolean
function M.is_part(part, text)
  return type(text) == "string" and part.bytes == #text and part.sha256 == sys.sha256(text)
end

--- A result as one string: what a key holds. Long parts are left out, and travel by themselves.
-- @tparam table result of @{seal_result}
-- @treturn string
function M.pack(result)
  local texts = { result.header, result.signature }
  for i, name in ipairs{ "told", "output" } do
    texts[i + 2] = result.has[name].kept and "" or result.parts[name]
  end
  return ("%d %d %d %d\n"):format(#texts[1], #texts[2], #texts[3], #texts[4]) .. table.concat(texts)
end

--- The reverse.
-- @tparam string text
-- @treturn ?table header, signature, told, output
function M.unpack(text)
  local a, b, c, d, at = text:match("^(%d+) (%d+) (%d+) (%d+)\n()")
  if not a or #a + #b + #c + #d > 40 then return nil end
  local pieces = {}
  for i, len in ipairs{ a, b, c, d } do
    pieces[i] = text:sub(at, at + tonumber(len) - 1)
    at = at + tonumber(len)
  end
  return at == #text + 1 and pieces or nil
end

local NEWS = "R"

--- What wakes a caller, with a copy of the result.
-- @tparam string id of the job
-- @tparam string packed of @{pack}
-- @treturn string
function M.news(id, packed)
  return NEWS .. id .. " " .. packed
end

--- The reverse.
-- @tparam string news
-- @treturn ?string id; nil where it is something else
-- @treturn ?string packed
function M.read_news(news)
  return news:match("^" .. NEWS .. "(%x+) (.*)$")
end

--- What files a run has left, apart from what is told of them.
-- @tparam ?table info
-- @treturn ?table the info without what is in the files
-- @treturn ?string of @{pack_files}
function M.take_outputs(info)
  if not info or type(info.outputs) ~= "table" or not info.outputs[1] then return info end
  local names, texts, list = {}, {}, {}
  for i, output in ipairs(info.outputs) do
    names[i], texts[i] = output.name, output.content or ""
    list[i] = { name = output.name, bytes = output.bytes, type = output.type }
  end
  local copy = {}
  for name, value in pairs(info) do
    copy[name] = value
  end
  copy.outputs = list
  return copy, M.pack_files(names, texts)
end

--- The reverse: what is in the files is put to what is told of them.
-- @tparam table info
-- @tparam string packed
function M.give_outputs(info, packed)
  local files = M.unpack_files(packed) or {}
  for _, output in ipairs(type(info.outputs) == "table" and info.outputs or {}) do
    output.content = files[output.name]
  end
end

--- What is told of a run beside its output.
-- @tparam ?table err
-- @tparam ?table info
-- @treturn string JSON
function M.told(err, info)
  local plain = err and err:to_table()
  if plain then plain.result = nil end -- it is in info
  return assert(json.encode({ error = plain, info = info and errors.portable(info) }, "told"))
end

--- The reverse.
-- @tparam string text
-- @treturn ?table err
-- @treturn table info
function M.read_told(text)
  local told = json.decode(text, nil, MAX_TOLD_VALUES)
  if type(told) ~= "table" then return nil, {} end
  local info = type(told.info) == "table" and errors.restore(told.info) or {}
  local plain = type(told.error) == "table" and told.error or nil
  if not plain then return nil, info end
  local ok, err = pcall(errors.from_table, plain)
  if ok and err.kind then
    if type(info.result) == "table" then err.result = info.result end
    return err, info
  end
  return errors.new{
    kind = "job_dead", message = "the worker told of an error that this version does not know",
    cause = errors.clean(tostring(plain.message)),
  }, info
end

return M
