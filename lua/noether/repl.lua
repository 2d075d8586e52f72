-- SPDX-License-Identifier: MIT
--- The prompt of noether-lua: reads what is typed, runs it, shows what it gives.
--
-- What is read may be an expression, whose values are shown, or statements, and goes on over
-- several lines until it is whole. At a terminal it is edited, completed and remembered, and an
-- error shows the line it speaks of: lines are numbered through the session, so that a function
-- that was typed long ago has its place, too. Without a terminal it is what `lua -i` is.
--
-- Each turn is one interruptible call, with another around what the user typed: an interrupt ends
-- a turn, in whatever part of it, and never the session.
local compat = require "noether.compat"
local complete = require "noether.repl.complete"
local help = require "noether.repl.help"
local histories = require "noether.repl.history"
local later = require "noether.later"
local noether = require "noether"
local show = require "noether.repl.show"

local M = {}

local CHUNK = "=stdin"
local INTERRUPTED = "interrupted!"
local UNSPEAKABLE = "(error object whose __tostring fails)"
local MAX_TAIL_LINES = 100

local function say(text)
  io.stdout:flush()
  io.stderr:write(text, "\n")
  io.stderr:flush()
end

local function prompt_text(name, standard)
  local prompt = rawget(_G, name)
  return prompt == nil and standard or tostring(prompt)
end

-- One line, or nil at the end of input. An interrupt is raised.
local function read_line(session, name, standard)
  local prompt = prompt_text(name, standard)
  if not session.editor then
    io.stdout:write(prompt)
    io.stdout:flush()
    return io.stdin:read("*l")
  end
  local line, why = session.editor:read(prompt, session.complete)
  if why then error(INTERRUPTED, 0) end
  return line
end

local function compile(session, text)
  return compat.load_text(("\n"):rep(session.first_line - 1) .. text, CHUNK)
end

local function ends_early(message)
  return message:find("<eof>'?$") ~= nil
end

-- Several statements, the last of which is an expression: they give its values.
local function compile_with_tail(session, text)
  local position, lines = #text, 0
  while position > 0 and lines < MAX_TAIL_LINES do
    local line_end = text:sub(1, position):match("^.*()\n")
    if not line_end then return nil end
    local tail = text:sub(line_end + 1)
    local chunk = compile(session, "return (" .. tail .. "\n)")
      and compile(session, text:sub(1, line_end) .. "return " .. tail)
    if chunk then return chunk end
    position, lines = line_end - 1, lines + 1
  end
end

-- Values of an expression. Not `return f(x)`: a tail call would take the place of what was typed,
-- and with it the place of an error. The chunk is given what passes the values on.
local function compile_expression(session, text)
  local chunk, message = compile(session, "return " .. text)
  if not chunk or text:find("...", 1, true) then return chunk, message end
  return compile(session, "return (...)(" .. text .. "\n)") or chunk
end

-- A function; or nil, what is wrong, and whether more lines could put it right.
local function compile_typed(session, text)
  local old_style = text:match("^=(.*)$") -- how values were asked for before Lua 5.3
  local chunk, of_expression = compile_expression(session, old_style or text)
  if chunk then return chunk end
  if old_style then return nil, of_expression, ends_early(of_expression) end
  chunk = compile_with_tail(session, text)
  if chunk then return chunk end
  local of_statement
  chunk, of_statement = compile(session, text)
  if chunk then return chunk end
  return nil, of_statement, ends_early(of_statement) or ends_early(of_expression)
end

local function note_lines(session, text)
  local number = session.first_line
  for line in (text .. "\n"):gmatch("(.-)\n") do
    session.lines[number] = line
    number = number + 1
  end
  session.next_line = session.terminal and number or 1
end

local function remember(session, text)
  if session.history:add(text) then session.editor:remember(text) end
end

-- All lines of what is typed next. Nil at the end of input; a chunk, or nil and what is wrong.
local function read_chunk(session)
  session.text, session.first_line = "", session.next_line
  local text = read_line(session, "_PROMPT", "> ")
  if not text then return nil end
  session.text = text
  local chunk, message, more = compile_typed(session, text)
  while more do
    local line = read_line(session, "_PROMPT2", ">> ")
    if not line then break end
    text = text .. "\n" .. line
    session.text = text
    chunk, message, more = compile_typed(session, text)
  end
  session.text = ""
  note_lines(session, text)
  if session.editor then remember(session, text) end
  return text, chunk, message
end

local function show_error(session, message, traceback)
  if not session.terminal then
    say(traceback and message .. "\n" .. show.whole_traceback(traceback) or message)
    return
  end
  local place = show.place(message, session.lines)
  local short = traceback and show.short_traceback(traceback)
  say(message .. (place and "\n" .. place or "") .. (short and "\n" .. short or ""))
end

-- What a failed call of the user's gives, made where the stack is still there.
local function examine(err)
  local traceback = debug.traceback("", 2)
  local told, message = pcall(show.message, err)
  local interrupted = type(err) == "string" and err:find(INTERRUPTED .. "$") ~= nil
  local place = interrupted and show.place_of_call(traceback)
  return {
    message = place and place .. " " .. INTERRUPTED or told and message or UNSPEAKABLE,
    traceback = traceback, interrupted = interrupted,
  }
end

-- An interruptible call. Where even `examine` could not be called (no memory is left, or no stack),
-- Lua has a message of its own.
local function attempt(session, fn, ...)
  local results = compat.pack(session.call(fn, examine, ...))
  if not results[1] and type(results[2]) ~= "table" then
    results[2] = { message = tostring(results[2]) }
  end
  return results
end

local function shown(session, values)
  if session.terminal then return show.values(values) end
  local texts = {}
  for i = 1, values.n do
    texts[i] = show.plainly(values[i])
  end
  return table.concat(texts, "\t")
end

-- Printed by whatever `print` is now: it may be the user's own.
local function show_values(session, values)
  if values.n == 0 then return end
  if values[1] ~= nil then rawset(_G, "_", values[1]) end
  if show.is_execution(values) then rawset(_G, "_info", values[3]) end
  local done = attempt(session, function() print(shown(session, values)) end)
  if not done[1] then say(("error calling 'print' (%s)"):format(done[2].message)) end
end

-- What an interrupt has left is closed now, and the processes with it.
local function clean_up()
  collectgarbage()
  collectgarbage()
end

local function pass(...)
  return ...
end

local function evaluate(session, chunk)
  local values = attempt(session, chunk, pass)
  if values[1] then
    table.remove(values, 1)
    values.n = values.n - 1
    show_values(session, values)
    return
  end
  show_error(session, values[2].message, values[2].traceback)
  if values[2].interrupted then clean_up() end
end

-- What other prompts end by; here it is the value of a global that nobody has set.
local function asks_for_the_end(text)
  local name = text:match("^%s*(%l+)%s*%(?%s*%)?%s*$")
  return (name == "exit" or name == "quit") and rawget(_G, name) == nil
end

local function turn(session)
  session.reading = true
  local text, chunk, message = read_chunk(session)
  session.reading = false
  if not text then
    session.over = true
  elseif session.terminal and asks_for_the_end(text) then
    say("Ctrl-D ends the session, and so does os.exit()")
  elseif chunk then
    evaluate(session, chunk)
  else
    show_error(session, message)
  end
end

-- Without a way to read, there is no next turn.
local function after_failed_turn(session, err)
  if err.interrupted then
    if not session.editor then say("") end
  elseif session.reading then
    error(err.message, 0)
  else
    say(err.message)
  end
end

-- Globals for whoever types; what has such a name already stays.
local function set_globals()
  later.load(noether) -- Tab shows what is there, and calls nothing
  if rawget(_G, "noether") == nil then rawset(_G, "noether", noether) end
  if rawget(_G, "help") == nil then
    rawset(_G, "help", function(...)
      io.stdout:write(help.text(noether, select("#", ...), (...)), "\n")
    end)
  end
end

local function new_session(console)
  local session = {
    call = console.call, editor = console.editor, terminal = console.terminal,
    lines = {}, text = "", next_line = 1,
  }
  if not session.editor then return session end
  session.history = histories.open(console.state_home, console.home)
  for _, entry in ipairs(session.history.entries) do
    session.editor:remember(entry)
  end
  session.complete = function(before, width)
    local all = session.text == "" and before or session.text .. "\n" .. before
    return complete.complete(all, width, _G, help.reference())
  end
  return session
end

--- Read, run and show until input ends.
-- @tparam table console what C gives: `call(fn, handler, ...)`, an interruptible xpcall; `editor`,
-- or nil where lines are not edited; `terminal`, whether a person types; `state_home` and `home`,
-- from the environment
function M.run(console)
  local session = new_session(console)
  set_globals()
  while not session.over do
    local done = attempt(session, turn, session)
    if not done[1] then after_failed_turn(session, done[2]) end
  end
  if session.editor then session.editor:close() end
  io.stdout:write(session.editor and "" or "\n")
  io.stdout:flush()
end

return M
