-- SPDX-License-Identifier: MIT
--- What a caller and a worker say to one another while a job runs: a header (JSON) and a body,
-- under one signature. Each is for one job, in one direction, and has a number, so that none
-- counts twice and none is another's.
local json = require "noether.json"
local sign = require "noether.fleet.sign"

local M = {}

--- With what the element of a list begins that is a message.
M.MARK = "M"

local DOMAIN = "noether fleet message\n"
local MAX_HEADER_BYTES = 2048
local MAX_HEADER_VALUES = 50

--- Make one.
-- @tparam table keys
-- @tparam ?table key that the job was signed with
-- @tparam table header `to` ("caller", "worker"), `job`, `n`, `kind`, and what else there is
-- @tparam string body
-- @treturn string
function M.seal(keys, key, header, body)
  local text = assert(json.canonical(header)) .. "\n" .. body
  return ("%s%s %s"):format(M.MARK, sign.sign(keys, DOMAIN .. text, key), text)
end

--- Read one.
-- @tparam table keys
-- @tparam string message
-- @tparam string to whom it must be for
-- @treturn ?table its header; nil where it is none
-- @treturn ?string its body
function M.open(keys, message, to)
  local signature, text = message:match("^" .. M.MARK .. "(%x*) (.*)$")
  if not signature or not sign.verify(keys, DOMAIN .. text, signature) then return nil end
  local at = text:find("\n", 1, true)
  if not at or at > MAX_HEADER_BYTES then return nil end
  local header = json.decode(text:sub(1, at - 1), nil, MAX_HEADER_VALUES)
  if type(header) ~= "table" or header.to ~= to or type(header.job) ~= "string"
    or type(header.n) ~= "number" or type(header.kind) ~= "string" then
    return nil
  end
  return header, text:sub(at + 1)
end

return M
