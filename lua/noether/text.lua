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

-- The last byte of a part of at most MAX_LINE_BYTES, so that no UTF-8 character is cut in two. What
-- is no UTF-8 is cut where it has to be.
local function end_of_part(line, from)
  local stop = from + MAX_LINE_BYTES - 1
  for last = stop, stop - 3, -1 do
    if not line:find("^[\128-\191]", last + 1) then return last end
  end
  return stop
end

-- Gives a line in parts, and what remains where it is not known to have ended: less than one part.
local function give(listener, line, has_ended)
  local from = 1
  while #line - from + 1 > MAX_LINE_BYTES do
    local stop = end_of_part(line, from)
    listener(line:sub(from, stop))
    from = stop + 1
  end
  if not has_ended then return line:sub(from) end
  listener(line:sub(from))
end

--- The beginning of a text, cut between characters.
-- @tparam string text
-- @tparam number max bytes
-- @treturn string
function M.beginning(text, max)
  local last = math.min(max, #text)
  while last > 0 and last < #text and text:find("^[\128-\191]", last + 1) do
    last = last - 1
  end
  return text:sub(1, last)
end

--- Cut text that comes in pieces into lines.
-- @tparam function listener called with each line, without its end; one of more than 64 KiB comes
-- in parts, which hold whole characters
-- @treturn function to be called with each piece
-- @treturn function to be called at the end, for the sake of a last line without an end
function M.lines(listener)
  local rest = ""
  local function add(piece)
    local from = 1
    local stop = piece:find("\n", from, true)
    while stop do
      give(listener, rest .. piece:sub(from, stop - 1), true)
      rest, from = "", stop + 1
      stop = piece:find("\n", from, true)
    end
    rest = give(listener, rest .. piece:sub(from), false)
  end
  return add, function()
    if rest ~= "" then listener(rest) end
  end
end

-- How many bytes at the end begin a UTF-8 character that goes on after them.
local function begun(text)
  for count = 1, math.min(3, #text) do
    local byte = text:byte(-count)
    if byte >= 0xC0 then
      local whole = byte >= 0xF0 and 4 or byte >= 0xE0 and 3 or 2
      return count < whole and count or 0
    elseif byte < 0x80 then
      return 0
    end
  end
  return 0
end

--- A text of which the core has left out the middle, without the halves of UTF-8 characters that it
-- has cut in two there: they are counted as left out, too.
-- @tparam string text
-- @tparam number limit_bytes of which half was kept of either end
-- @treturn string the text as it was, where nothing was left out
function M.mended(text, limit_bytes)
  local head = limit_bytes - math.floor(limit_bytes / 2)
  local _, stop, count = text:find("^\n%[(%d+) bytes left out%]\n", head + 1)
  if not count then return text end
  local before = begun(text:sub(1, head))
  local after = #text:match("^[\128-\191]*", stop + 1)
  if after > 3 then after = 0 end
  return ("%s\n[%d bytes left out]\n%s"):format(text:sub(1, head - before),
    count + before + after, text:sub(stop + 1 + after))
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
