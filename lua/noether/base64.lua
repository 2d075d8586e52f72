-- SPDX-License-Identifier: MIT
--- Bytes as text: base64 (RFC 4648, with padding).
local M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Two digits for each 12 bits: made when something is first encoded, since it takes as long as to
-- load a dozen modules.
local pairs_of_digits

local function make_pairs()
  pairs_of_digits = {}
  for i = 0, 4095 do
    local a, b = math.floor(i / 64) + 1, i % 64 + 1
    pairs_of_digits[i] = ALPHABET:sub(a, a) .. ALPHABET:sub(b, b)
  end
end

--- Encode.
-- @tparam string bytes
-- @treturn string
function M.encode(bytes)
  if not pairs_of_digits then make_pairs() end
  local out, count = {}, 0
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local low = (b or 0) % 16 * 256 + (c or 0)
    out[count + 1] = pairs_of_digits[a * 16 + math.floor((b or 0) / 16)]
    out[count + 2] = pairs_of_digits[low]
    count = count + 2
    if not b then
      out[count] = "=="
    elseif not c then
      out[count] = out[count]:sub(1, 1) .. "="
    end
  end
  return table.concat(out)
end

local digits = {}
for i = 1, 64 do
  digits[ALPHABET:byte(i)] = i - 1
end

--- Decode.
-- @tparam string text in groups of four; what is no digit counts as padding
-- @treturn string
function M.decode(text)
  local out = {}
  for group in text:gmatch("....") do
    local n, bytes = 0, 3
    for i = 1, 4 do
      local digit = digits[group:byte(i)]
      if not digit then bytes = bytes - 1 end
      n = n * 64 + (digit or 0)
    end
    local three = string.char(math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    out[#out + 1] = three:sub(1, bytes)
  end
  return table.concat(out)
end

return M
