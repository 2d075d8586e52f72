-- SPDX-License-Identifier: MIT
-- A decoder for payloads of UDP, written in Python: what it makes of a packet stands in the field
-- noether.answer. It may be anybody's, and packets are: it runs in a sandbox.
--
--     tshark -X lua_script:decode.lua -X lua_script1:decode.py -X lua_script1:5300 -r FILE
local json = require "noether.json"
local noether = require "noether"

local path, port = ...
local file = assert(io.open(path, "rb"))
local stage = { language = "python", code = file:read("*a"), effects = {} }
file:close()

local executor = noether.check(noether.executor{ timeout_secs = 5 })
local protocol = Proto("noether", "Decoded by a stage")
local answer = ProtoField.string("noether.answer", "Answer")
local failure = ProtoField.string("noether.failure", "Failure")
protocol.fields = { answer, failure }

-- Wireshark dissects a packet more than once: what was decoded is kept.
local known = {}

local function decode(payload)
  local text = payload:bytes():tohex(true)
  if not known[text] then
    local output, err = executor:execute(stage, text)
    known[text] = {
      output = output ~= nil and json.encode(output), failure = err and tostring(err),
    }
  end
  return known[text]
end

function protocol.dissector(payload, info, tree)
  info.cols.protocol = "NOETHER"
  local found = decode(payload)
  local below = tree:add(protocol, payload())
  if found.failure then
    below:add(failure, payload(), found.failure)
  else
    below:add(answer, payload(), found.output)
  end
end

DissectorTable.get("udp.port"):add(tonumber(port), protocol)
