-- SPDX-License-Identifier: MIT
--- Results and errors as people read them.
local errors = require "noether.error"
local inspect = require "noether.inspect"
local sys = require "noether.sys"

local M = {}

local MAX_FRAMES = 8
local MAX_FILE_BYTES = 4 * 1024 * 1024

local MAX_ITEMS, MAX_DEPTH = 100, 6

-- The first value may fill the screen; what comes after it must not push it away.
local MAX_LINES, MAX_LINES_AFTER = 100, 16

local function error_text(err)
  local text = ("%s: %s"):format(err.kind, tostring(err))
  return err.hint and ("%s\n  hint: %s"):format(text, err.hint) or text
end

local function lines_of(text)
  return select(2, text:gsub("\n", "\n")) + 1
end

-- A value to the depth that fits into so many lines.
local function fitting(value, max_lines)
  local text
  for depth = MAX_DEPTH, 1, -1 do
    text = inspect.within(value, { depth = depth, items = MAX_ITEMS })
    if lines_of(text) <= max_lines then break end
  end
  return text
end

--- Whether these are what a stage's execution gives: answer, error, info.
-- @tparam table values with their count in `n`
-- @treturn boolean
function M.is_execution(values)
  local info = values[3]
  return values.n == 3 and type(info) == "table" and type(info.phases) == "table"
    and type(info.logs) == "string" and (values[2] == nil or errors.is(values[2]))
end

local LAST_LINES, LINE_BYTES = 3, 200

-- The end of a log, and how to have the whole of it.
local function end_of_log(info, count)
  local shown = {}
  for line in info.logs:gmatch("[^\n]+") do
    shown[#shown + 1] = "  | " .. errors.clean(line, LINE_BYTES)
    if #shown > LAST_LINES then table.remove(shown, 1) end
  end
  if count > LAST_LINES then
    table.insert(shown, 1, ("  | (%d more: print(_info.logs))"):format(count - LAST_LINES))
  end
  return table.concat(shown, "\n")
end

-- How a stage ran: a line, and the end of its log.
local function text_of_info(info)
  local parts = { ("%.3g s"):format(info.duration_secs or 0), info.isolation or "not run" }
  if info.runtime then
    parts[#parts + 1] = ("%s %s"):format(info.runtime.language or "?", info.runtime.version or "?")
  end
  if info.cached then parts[#parts + 1] = "from a cache" end
  local lines = select(2, info.logs:gsub("[^\n]+", ""))
  if lines > 0 then
    parts[#parts + 1] = ("%d line%s of log"):format(lines, lines > 1 and "s" or "")
  end
  for _, warning in ipairs(info.warnings or {}) do
    parts[#parts + 1] = "warning: " .. tostring(warning)
  end
  local line = "-- " .. errors.clean(table.concat(parts, ", "), 400)
  return lines > 0 and line .. "\n" .. end_of_log(info, lines) or line
end

--- Results, one after the other. Of a stage's execution the answer or the error, and how it ran.
-- @tparam table values with their count in `n`
-- @treturn string
function M.values(values)
  local texts = {}
  local separator = "\t"
  if M.is_execution(values) then
    local first = values[2] and error_text(values[2]) or fitting(values[1], MAX_LINES)
    return first .. "\n" .. text_of_info(values[3])
  end
  for i = 1, values.n do
    local value = values[i]
    texts[i] = errors.is(value) and error_text(value)
      or fitting(value, i == 1 and MAX_LINES or MAX_LINES_AFTER)
    if texts[i]:find("\n", 1, true) then separator = "\n" end
  end
  return table.concat(texts, separator)
end

--- What `print` would write of a value, but of a plain table what is in it.
-- @param value
-- @treturn string
function M.plainly(value)
  local metatable = debug.getmetatable(value)
  local words = type(metatable) == "table" and (metatable.__tostring or metatable.__name)
  if type(value) == "table" and not words then return fitting(value, math.huge) end
  return tostring(value)
end

--- The message of an error value, whatever that is.
-- @param err
-- @treturn string
function M.message(err)
  if errors.is(err) then return error_text(err) end
  if type(err) == "string" or type(err) == "number" then return tostring(err) end
  local metatable = debug.getmetatable(err)
  if type(metatable) == "table" and metatable.__tostring then return tostring(err) end
  return ("(error object is a %s value)"):format(type(err)) ..
    (type(err) == "table" and " " .. fitting(err, MAX_LINES_AFTER) or "")
end

-- The lines of a traceback down to what was typed, without how it was called; `keep` chooses.
local function frames(traceback, keep)
  local kept, called = {}, nil
  for line in traceback:gmatch("\n\t([^\n]+)") do
    if called and line:find("^noether/repl%.lua:") then break end
    if called and keep(called) then kept[#kept + 1] = called end
    called = line:find("^%[C%]") and line
    if not called and keep(line) then kept[#kept + 1] = line end
  end
  return kept
end

--- A traceback as `lua` has it at its prompt.
-- @tparam string traceback of debug.traceback
-- @treturn string
function M.whole_traceback(traceback)
  local kept = frames(traceback, function() return true end)
  kept[#kept + 1] = "[C]: in ?"
  return "stack traceback:\n\t" .. table.concat(kept, "\n\t")
end

local function of_the_user(frame)
  return not frame:find("^%[C%]") and not frame:find("^noether/") and not frame:find("^%(")
end

--- Where the user's own code was.
-- @tparam string traceback of debug.traceback
-- @treturn ?string "stdin:3:"
function M.place_of_call(traceback)
  local frame = frames(traceback, of_the_user)[1]
  return frame and frame:match("^.-:%d+:")
end

--- The part of a traceback that says more than the place of the error.
-- @tparam string traceback of debug.traceback
-- @treturn ?string nil where all happened in what was typed last
function M.short_traceback(traceback)
  local kept = frames(traceback, of_the_user)
  if #kept < 2 then return nil end
  local left_out = #kept - MAX_FRAMES
  if left_out > 0 then
    for _ = 0, left_out do table.remove(kept, MAX_FRAMES - 1) end
    table.insert(kept, MAX_FRAMES - 1, ("... %d more"):format(left_out + 1))
  end
  return "  " .. table.concat(kept, "\n  ")
end

local function line_of_file(path, number)
  local text = sys.read_file(path, MAX_FILE_BYTES)
  if not text then return nil end
  local count = 0
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    count = count + 1
    if count == number then return line end
  end
end

-- The column of what a message speaks of, where it stands in the line just once.
local function column(line, message)
  local near = message:match("near '(.-)'$") or message:match("%(%a+ '([^']+)'%)")
  if message:find("near <eof>", 1, true) then return #line + 1 end
  if not near or near == "" then return nil end
  local start, stop = line:find(near, 1, true)
  if not start or line:find(near, stop + 1, true) then return nil end
  return start
end

--- The line that an error message speaks of, with its number, and a mark under the place.
-- @tparam string message
-- @tparam table typed lines by number
-- @treturn ?string nil where it names no line that can be had
function M.place(message, typed)
  local path, number = message:match("^([^\n:]+):(%d+):")
  number = tonumber(number)
  if not number then return nil end
  local line = path == "stdin" and typed[number] or path ~= "stdin" and line_of_file(path, number)
  if not line or not line:find("%S") then return nil end
  local margin = ("%5d | "):format(number)
  local position = column(line, message:match("^[^\n]*"))
  if not position then return margin .. line end
  local blanks = line:sub(1, position - 1):gsub("[^\t\128-\191]", " "):gsub("[\128-\191]", "")
  return ("%s%s\n%s| %s^"):format(margin, line, (" "):rep(#margin - 2), blanks)
end

return M
