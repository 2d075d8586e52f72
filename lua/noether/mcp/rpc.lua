-- SPDX-License-Identifier: MIT
--- Messages of the Model Context Protocol: JSON-RPC 2.0, one object a line, in both of its eras.
--
-- A request says its era itself: one of the modern era (2026-07-28) names its version in
-- `params._meta`; one without is of the era of `initialize`. Nothing is remembered between
-- requests: a client may look in one process and work in another.
local errors = require "noether.error"
local json = require "noether.json"

local M = {}

--- The version of the modern era.
M.MODERN = "2026-07-28"

-- Versions of the era of `initialize`; the last is what others are offered.
local LEGACY = { "2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25" }

local VERSION_KEY = "io.modelcontextprotocol/protocolVersion"

--- Codes of errors: JSON-RPC's, and the protocol's own for a version that is not spoken.
M.CODES = {
  parse = -32700, request = -32600, method = -32601, params = -32602, internal = -32603,
  version = -32022,
}

local function is_object(value)
  return type(value) == "table" and not json.is_array(value)
end

-- A whole number is one, whatever a client writes it as; null is none.
local function is_id(value)
  return type(value) == "string" or type(value) == "number"
end

local function bad(id, code, message)
  return { bad = M.error(id, code, message) }
end

-- What a message is, once it is an object.
local function classify(object)
  local id = object.id
  if object.method == nil and (object.result ~= nil or object.error ~= nil) then
    return { answer = true }
  end
  local known = is_id(id) and id or json.null
  if object.jsonrpc ~= "2.0" or type(object.method) ~= "string" then
    return bad(known, "request", 'expected a request with "jsonrpc": "2.0" and a method')
  elseif id ~= nil and not is_id(id) then
    return bad(json.null, "request", "id: expected a string or a number")
  elseif object.params ~= nil and not is_object(object.params) then
    return bad(known, "params", "params: expected an object")
  end
  return { id = id, method = object.method, params = object.params or {} }
end

--- Read a line.
-- @tparam string line without its end
-- @treturn ?table a request (`id`, `method`, `params`; no id: a notification), `{ answer = true }`
-- for what answers a request, or `{ bad = message }`: what to send back. Nil for a blank line
function M.read(line)
  line = line:gsub("^\239\187\191", "")
  if not line:find("%S") then return nil end
  local object, reason = json.decode(line)
  if object == nil then return bad(json.null, "parse", reason) end
  if not is_object(object) then
    return bad(json.null, "request", "expected one object a line; batches are not taken")
  end
  return classify(object)
end

--- Which era a request is of.
-- @tparam table request
-- @treturn ?string "modern" or "legacy"; nil and the version that is asked for and not spoken
-- @treturn ?string
function M.era(request)
  local meta = request.params._meta
  local version = is_object(meta) and meta[VERSION_KEY]
  if not version then return "legacy" end
  if version == M.MODERN then return "modern" end
  return nil, tostring(version)
end

--- The version to answer `initialize` with: the one asked for, if it is known.
-- @tparam any asked
-- @treturn string
function M.legacy_version(asked)
  for _, version in ipairs(LEGACY) do
    if version == asked then return version end
  end
  return LEGACY[#LEGACY]
end

--- A line that answers a request.
-- @tparam string|number id as it came
-- @tparam table result
-- @treturn string
function M.result(id, result)
  return assert(json.canonical{ jsonrpc = "2.0", id = id, result = result }) .. "\n"
end

--- A line that refuses one.
-- @tparam string|number|lightuserdata id
-- @tparam string code of `CODES`
-- @tparam string message
-- @tparam ?table data
-- @treturn string
function M.error(id, code, message, data)
  return assert(json.canonical{
    jsonrpc = "2.0", id = id,
    error = { code = M.CODES[code], message = errors.clean(message, 400), data = data },
  }) .. "\n"
end

--- A line that refuses a version.
-- @tparam string|number id
-- @tparam string asked
-- @treturn string
function M.wrong_version(id, asked)
  return M.error(id, "version", "Unsupported protocol version", {
    supported = json.array{ M.MODERN }, requested = errors.clean(asked, 100),
  })
end

--- A line that says how far a call is.
-- @tparam string|number token the caller's
-- @tparam number progress grows with each
-- @tparam string message
-- @treturn string
function M.progress(token, progress, message)
  return assert(json.canonical{
    jsonrpc = "2.0", method = "notifications/progress",
    params = { progressToken = token, progress = progress, message = message },
  }) .. "\n"
end

return M
