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

return M
