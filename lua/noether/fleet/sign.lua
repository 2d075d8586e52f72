-- SPDX-License-Identifier: MIT
--- What proves that a job or a result was made by somebody who has the fleet's key: HMAC-SHA-256
-- (RFC 2104), of the header alone, which has the hashes of all else.
--
-- There may be several keys: the first one signs, each is good to verify by, so that a new one can
-- be brought to every machine before the old one is taken away.
local options = require "noether.options"
local sys = require "noether.sys"

local M = {}

local BLOCK_BYTES = 64
local MIN_KEY_BYTES = 16

local BYTES = {}
for byte = 0, 255 do
  BYTES[("%02x"):format(byte)] = string.char(byte)
end

local function bytes_of(hex)
  return (hex:gsub("%x%x", BYTES))
end

-- The exclusive or of two bytes, without operators that not every Lua has.
local function xor(a, b)
  local result, bit = 0, 1
  while a > 0 or b > 0 do
    local x, y = a % 2, b % 2
    if x ~= y then result = result + bit end
    a, b, bit = (a - x) / 2, (b - y) / 2, bit * 2
  end
  return result
end

local function padded_with(key, byte)
  local out = {}
  for i = 1, BLOCK_BYTES do
    out[i] = string.char(xor(key:byte(i) or 0, byte))
  end
  return table.concat(out)
end

local function new_key(text)
  local key = #text > BLOCK_BYTES and bytes_of(sys.sha256(text)) or text
  return { inner = padded_with(key, 0x36), outer = padded_with(key, 0x5c) }
end

--- HMAC-SHA-256, in hexadecimal.
-- @tparam table key of @{keys}
-- @tparam string text
-- @treturn string
function M.hmac(key, text)
  return sys.sha256(key.outer .. bytes_of(sys.sha256(key.inner .. text)))
end

--- Whether two texts are equal. They are compared by what nobody knows of them without the key, so
-- that how long that takes tells nothing of where they differ.
-- @tparam table key of @{keys}
-- @tparam string a
-- @tparam string b
-- @treturn boolean
function M.equal(key, a, b)
  return M.hmac(key, "compare\n" .. a) == M.hmac(key, "compare\n" .. b)
end

--- Keys to sign and verify by.
-- @tparam string fname the public function, for messages
-- @tparam ?string|table given a key, or a list of them; nil: there is none
-- @tparam ?string from_environment a key, or one a line
-- @tparam ?boolean unsigned whether it may do without
-- @treturn table a list; empty where nothing is signed
-- @raise where there is none and it may not do without, or one is too short
function M.keys(fname, given, from_environment, unsigned)
  local texts = given
  if type(given) == "string" then texts = { given } end
  if given == nil and not unsigned then
    texts = {}
    for text in (from_environment or ""):gmatch("[^\r\n]+") do
      texts[#texts + 1] = text
    end
  end
  local keys = {}
  for i, text in ipairs(texts or {}) do
    if #text < MIN_KEY_BYTES then
      options.raise(("%s: option 'key': a key has %d bytes or more"):format(fname, MIN_KEY_BYTES))
    end
    keys[i] = new_key(text)
  end
  if #keys == 0 and not unsigned then
    options.raise(fname .. ": option 'key' is missing: the secret that callers and workers share "
      .. "(or NOETHER_FLEET_KEY); unsigned = true does without")
  end
  return keys
end

--- The signature of a text.
-- @tparam table keys
-- @tparam string text
-- @tparam ?table key one of them, in place of the first
-- @treturn string empty where there are no keys
function M.sign(keys, text, key)
  key = key or keys[1]
  return key and M.hmac(key, text) or ""
end

--- Whose signature it is.
-- @tparam table keys
-- @tparam string text
-- @tparam string signature
-- @treturn boolean whether it is one of ours
-- @treturn ?table which
function M.verify(keys, text, signature)
  if #keys == 0 then return true end
  for _, key in ipairs(keys) do
    if M.equal(key, M.hmac(key, text), signature) then return true, key end
  end
  return false
end

return M
