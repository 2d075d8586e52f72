-- SPDX-License-Identifier: MIT
--- Text of unknown origin and length, looked at in linear time.
-- Patterns such as "^%s*(.-)%s*$" take quadratic time on long runs of blanks, and a stage may write
-- whatever it likes.
local M = {}

local function last_printed(text)
  local last = #text
  while last > 0 and text:find("^%s", last) do
    last = last - 1
  end
  return last
end

--- Without blanks at either end.
-- @tparam string text
-- @treturn string
function M.trim(text)
  local first = text:find("%S")
  return first and text:sub(first, last_printed(text)) or ""
end

--- The last line that is not blank.
-- @tparam string text
-- @treturn ?string nil if all is blank
function M.last_line(text)
  local last = last_printed(text)
  if last == 0 then return nil end
  local first = last
  while first > 1 and text:byte(first - 1) ~= 10 do
    first = first - 1
  end
  return text:sub(first, last)
end

local MAX_LINE_BYTES = 64 * 1024

-- A long line in parts, an empty one not at all.
local function give(listener, line)
  for from = 1, #line, MAX_LINE_BYTES do
    listener(line:sub(from, from + MAX_LINE_BYTES - 1))
  end
end

--- Cut text that comes in pieces into lines.
-- @tparam function listener called with each line that is not empty, without its end; one of more
-- than 64 KiB comes in parts
-- @treturn function to be called with each piece
-- @treturn function to be called at the end, for the sake of a last line without an end
function M.lines(listener)
  local rest = ""
  local function add(piece)
    rest = rest .. piece
    local from = 1
    local stop = rest:find("\n", from, true)
    while stop do
      give(listener, rest:sub(from, stop - 1))
      from = stop + 1
      stop = rest:find("\n", from, true)
    end
    local whole = #rest - (#rest - from + 1) % MAX_LINE_BYTES
    give(listener, rest:sub(from, whole))
    rest = rest:sub(math.max(whole + 1, from))
  end
  return add, function() give(listener, rest) end
end

local UNITS = { "KiB", "MiB", "GiB", "TiB" }

--- A size for people: "312 B", "52.1 MiB".
-- @tparam number bytes
-- @treturn string
function M.bytes(bytes)
  local unit
  for _, name in ipairs(UNITS) do
    if bytes < 1024 then break end
    bytes, unit = bytes / 1024, name
  end
  return unit and ("%.1f %s"):format(bytes, unit) or ("%d B"):format(bytes)
end

return M
