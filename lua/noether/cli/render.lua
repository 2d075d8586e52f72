-- SPDX-License-Identifier: MIT
--- Answers as text: JSON over lines, columns, words for a shell.
local errors = require "noether.error"
local json = require "noether.json"

local M = {}

-- Lists that may be empty: nothing else tells them from objects.
local LISTS = {
  argv = true, checks = true, enforced = true, env_allowlist = true, links = true,
  ro_binds = true, rw_binds = true, secrets = true, warnings = true, effects = true,
  calls = true, outputs = true, runs = true, opened = true, lacked = true, unused = true,
}

local function with_lists(value)
  if type(value) ~= "table" then return value end
  local copy = json.is_array(value) and json.array() or {}
  for name, item in pairs(value) do
    copy[name] = with_lists(item)
    if LISTS[name] and type(item) == "table" and next(item) == nil then
      copy[name] = json.array()
    end
  end
  return copy
end

--- One line of JSON for plain data: keys sorted, what JSON lacks left out.
-- @param value
-- @treturn string
function M.line(value)
  return assert(json.canonical(with_lists(errors.portable(value))))
end

local OPEN, CLOSE = { ["{"] = true, ["["] = true }, { ["}"] = true, ["]"] = true }

-- The end of the string that begins at `at`.
local function string_end(text, at)
  local last = at
  repeat
    last = text:find("[\"\\]", last + 1)
    local escaped = text:sub(last, last) == "\\"
    if escaped then last = last + 1 end
  until not escaped
  return last
end

local function laid_out(text)
  local out, depth, at = {}, 0, 1
  local function put(piece) out[#out + 1] = piece end
  local function break_line() put("\n" .. ("  "):rep(depth)) end
  while at <= #text do
    local byte = text:sub(at, at)
    if byte == "\"" then
      local last = string_end(text, at)
      put(text:sub(at, last))
      at = last
    elseif OPEN[byte] and CLOSE[text:sub(at + 1, at + 1)] then
      put(text:sub(at, at + 1))
      at = at + 1
    elseif OPEN[byte] then
      put(byte)
      depth = depth + 1
      break_line()
    elseif CLOSE[byte] then
      depth = depth - 1
      break_line()
      put(byte)
    else
      put(byte == ":" and ": " or byte)
      if byte == "," then break_line() end
    end
    at = at + 1
  end
  return table.concat(out)
end

--- JSON over lines, for people and programs.
-- @param value
-- @treturn string
function M.json(value)
  return laid_out(M.line(value)) .. "\n"
end

--- A word as a POSIX shell reads it back.
-- @tparam string word
-- @treturn string
function M.shell_word(word)
  if word:find("^[%w_@%%+=:,./-]+$") then return word end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Words as one line of shell.
-- @tparam {string,...} words
-- @treturn string
function M.shell_line(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = M.shell_word(word)
  end
  return table.concat(list, " ")
end

--- Rows of cells in columns; the last one is as wide as it likes.
-- @tparam table rows lists of strings
-- @treturn string
function M.columns(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, #cell)
    end
  end
  local lines = {}
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      cells[i] = i < #row and cell .. (" "):rep(widths[i] - #cell) or cell
    end
    lines[n] = table.concat(cells, "  ") .. "\n"
  end
  return table.concat(lines)
end

return M
