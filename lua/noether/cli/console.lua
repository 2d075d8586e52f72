-- SPDX-License-Identifier: MIT
--- What the command says: the answer on standard output, all else on standard error.
-- A standard output that will not take the answer is no reason for a traceback: it is noted, and
-- decides the exit code.
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local sys = require "noether.sys"
local words = require "noether.cli.words"

local M = {}

local EPIPE = 32

local Console = {}
local metatable = { __index = Console }

local function paints(environ, descriptor)
  local refused = (environ.NO_COLOR or "") ~= "" or environ.TERM == "dumb"
  return not refused and sys.isatty(descriptor)
end

--- Make a console.
-- @tparam table environ
-- @treturn table
function M.new(environ)
  return setmetatable({
    answer_paints = paints(environ, 1), note_paints = paints(environ, 2), code = nil,
    told = {},
    answers_terminal = sys.isatty(1), notes_terminal = sys.isatty(2),
  }, metatable)
end

local COLOURS = { red = "31", green = "32", yellow = "33", bold = "1", faint = "2" }

local function painted(on, colour, text)
  return on and ("\27[%sm%s\27[0m"):format(COLOURS[colour], text) or text
end

--- Text in a colour, where the answer may have any.
-- @tparam string colour
-- @tparam string text
-- @treturn string
function Console:paint(colour, text)
  return painted(self.answer_paints, colour, text)
end

--- Write to standard output, at once. Nothing more is written after a failure.
-- @tparam string text
function Console:answer(text)
  if self.code then return end
  local ok, message, errno = io.stdout:write(text)
  if ok then ok, message, errno = io.stdout:flush() end
  if ok then return end
  if errno == EPIPE then
    self.code = exits.BROKEN_PIPE
    return
  end
  self.code = exits.OURS
  self:say("error", "cannot write the answer: " .. tostring(message))
end

local LABELS = { error = "red", warning = "yellow", hint = "bold" }

--- Write a line for people to standard error.
-- @tparam string label "error", "warning" or "hint"
-- @tparam string text
function Console:say(label, text)
  self:clear()
  io.stderr:write(("noether: %s: %s\n"):format(
    painted(self.note_paints, LABELS[label], label), text))
end

--- Write the warnings of a run, but for those that the listener was told already.
-- @tparam ?table info
function Console:warnings(info)
  for _, warning in ipairs(info and info.warnings or {}) do
    if not self.told[warning] then self:say("warning", warning) end
  end
end

-- What a terminal would take for commands, some of which it answers by typing, shown as it is
-- written. Tabs do no harm.
local function visible(text)
  return (text:gsub("[^\t]+", function(part)
    return errors.clean(part, #part * 4 + 4)
  end))
end

--- Write a line of a stage's log to standard error.
-- @tparam string line without its end
function Console:log(line)
  self:clear()
  io.stderr:write((self.notes_terminal and visible(line) or line) .. "\n")
end

-- The code of a character of two or three bytes.
local function code_of(character)
  local a, b, c = character:byte(1, 3)
  if not c then return (a - 0xC0) * 64 + b - 0x80 end
  return ((a - 0xE0) * 64 + b - 0x80) * 64 + c - 0x80
end

local function escaped(character)
  return errors.is_unprintable(character) and ("\\u%04x"):format(code_of(character)) or nil
end

--- Write JSON to standard output. What a terminal would take for a command, or for a wish to show
-- text in another order, can stand in a string only, where it can be written in another way.
-- @tparam string text JSON
function Console:json(text)
  if self.answers_terminal then
    text = text:gsub("\127", "\\u007f"):gsub("[\194\216][\128-\191]", escaped)
      :gsub("\226[\128-\191][\128-\191]", escaped)
  end
  self:answer(text)
end

--- Write text of unknown origin to standard output; on a terminal with what it would take for a
-- command shown as it is written.
-- @tparam string text
function Console:text(text)
  if self.answers_terminal then
    text = text:gsub("[^\n]+", visible)
  end
  self:answer(text)
end

--- Show how far something is, on a terminal only: one line, which the next one takes the place of.
-- @tparam string text
function Console:progress(text)
  if not self.note_paints then return end
  io.stderr:write(("\r\27[K%s"):format(painted(true, "faint", text)))
  self.in_progress = true
end

--- Take away what `progress` showed.
function Console:clear()
  if not self.in_progress then return end
  self.in_progress = nil
  io.stderr:write("\r\27[K")
end

local SHOWN = { warn = "warning", error = "error" }

--- A listener for what the library has to say.
-- @treturn function
function Console:listener()
  return function(level, message)
    self.told[message] = true
    self:say(SHOWN[level] or level, errors.clean(message))
  end
end

--- Tell of an error, and give its exit code.
-- @tparam table err
-- @treturn number
function Console:fail(err)
  local kind = err.kind and (" [%s]"):format(err.kind) or ""
  self:say("error", err.message .. kind)
  if err.hint then self:say("hint", words.of(err.hint, err.effect)) end
  return exits.of(err)
end

--- All of a file, or of standard input for "-".
-- @tparam string name
-- @treturn ?string
-- @treturn ?string message
function M.read(name)
  if name == "-" then
    local text, message = io.stdin:read("*a")
    return text, not text and ("standard input: %s"):format(tostring(message)) or nil
  end
  local real = sys.realpath(name)
  local stat = real and sys.stat(real)
  if stat and stat.type == "file" then
    local text, message = sys.read_file(real)
    return text, message
  end
  -- A pipe such as <(...) is read to its end, whatever its size is said to be.
  local file, message = io.open(name, "rb")
  if not file then return nil, message end
  local text
  text, message = file:read("*a")
  file:close()
  return text, message and ("%s: %s"):format(name, message)
end

return M
