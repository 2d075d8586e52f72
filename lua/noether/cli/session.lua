-- SPDX-License-Identifier: MIT
--- `noether session`: cells of code, one after the other, in an interpreter that stays: typed at a
-- terminal, or from a pipe.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local functions = require "noether.cli.functions"
local histories = require "noether.repl.history"
local json = require "noether.json"
local render = require "noether.cli.render"
local settings = require "noether.cli.settings"
local sys = require "noether.sys"
local tables = require "noether.tables"
local values = require "noether.cli.values"
local whole = require "noether.cli.whole"

local memory = require "noether.stage.store.memory"

local M = {
  name = "session", summary = "run cells of code that build on one another",
  about = "Hold a session: one sandboxed interpreter that stays. At a terminal each cell is typed "
    .. "at a prompt, over several lines where it needs them; Ctrl-C interrupts it, Ctrl-D ends the "
    .. "session. From a pipe, cells are separated by lines that begin with '# %%', '// %%' or "
    .. "'%%'.",
  options = {
    { name = "--language", value = "NAME", about = "the language of the cells: python, javascript, "
      .. "bash, or one of a policy (default: python)" },
    flags.effect,
    { name = "--timeout", value = "TIME", convert = values.seconds,
      about = "deadline of a cell, at which it is interrupted (default: 30)" },
    { name = "--idle", value = "TIME", convert = values.seconds,
      about = "how long the session may do nothing (default: for ever)" },
    { name = "--lifetime", value = "TIME", convert = values.seconds,
      about = "how long it may live (default: 1h)" },
    { name = "--package", value = "NAME==VERSION", many = true,
      about = "in Python: a package that the cells may import" },
    { name = "--function", value = "NAME=PROGRAM", convert = values.program, many = true,
      about = "a program, with arguments, that the code may call as a function (--effect "
        .. "Call=NAME): JSON in, JSON out, no shell" },
    { name = "--json", about = "write for each cell one JSON object: ok, output or error, info" },
    flags.limit, flags.env, flags.work_dir, flags.isolation, flags.runtime, flags.policy_path,
    flags.grant,
  },
  examples = {
    { "noether session --language python --effect FsRead=/srv/data", "at a terminal" },
    { "noether session --language javascript < cells.js", "cells of a file" },
  },
}

local SEPARATOR = { "^#%s*%%%%", "^//%s*%%%%", "^%%%%" }

local function is_separator(line)
  for _, pattern in ipairs(SEPARATOR) do
    if line:find(pattern) then return true end
  end
  return false
end

-- --- One cell -----------------------------------------------------------------------------------

-- Waits for a cell; what SIGINT is for, meanwhile.
local function await(self, task)
  while not task:step() do
    sys.poll({ task:pollfd(), self.interrupts }, task:timeout() or 3600, {})
    while self.signals.came() do
      self.session:interrupt()
    end
  end
  return task:wait(0)
end

local function run(self, code)
  local console = self.context.console
  local task, err = self.session:start(code, nil, {
    display = self.terminal or nil, on_log = function(line) console:log(line) end,
  })
  if not task then return nil, err, {} end
  local output, info
  output, err, info = await(self, task)
  task:close()
  return output, err, info or {}
end

local function write_json(console, output, err, info)
  local record = { ok = err == nil, info = tables.merged(info) }
  if err then record.error = err:to_table() else record.output = output end
  console:json(render.line(record) .. "\n")
end

local function show(self, output, err, info)
  local console = self.context.console
  local text = info.display
  if self.language ~= "bash" and not self.terminal and output ~= nil and output ~= json.null then
    console:json(assert(json.encode(output)) .. "\n")
  elseif text then
    console:text(text .. "\n")
  end
  if err then
    console:say("error", ("%s [%s]"):format(err.message, err.kind))
    if err.hint then console:say("hint", err.hint) end
  end
end

-- A cell from the beginning to what is shown of it. Whether there can be a next one.
local function perform(self, code)
  local output, err, info = run(self, code)
  self.context.console:warnings(info)
  if self.context.given.json then
    write_json(self.context.console, output, err, info)
  else
    show(self, output, err, info)
  end
  if err then self.failed = self.failed or err end
  return not err or err.kind ~= "session_lost"
end

-- --- Where cells come from ----------------------------------------------------------------------

-- The next cell of a pipe: nil at its end.
local function next_of_pipe()
  local lines
  for line in io.stdin:lines() do
    lines = lines or {}
    if is_separator(line) then break end
    lines[#lines + 1] = line
  end
  return lines and table.concat(lines, "\n")
end

local function from_pipe(self)
  for code in next_of_pipe do
    if code:find("%S") and not perform(self, code) then break end
  end
  return self.failed and exits.of(self.failed) or exits.OK
end

local function nothing() return {} end

-- A line, false where it was interrupted; nil at the end.
local function read_line(self, prompt)
  if self.editor then
    local line, why = self.editor:read(prompt, nothing)
    while self.signals.came() do end
    return line or (why and false)
  end
  io.stdout:write(prompt)
  io.stdout:flush()
  return (io.stdin:read("*l"))
end

-- All lines of a cell; "" where what was typed is given up; nil at the end.
local function next_typed(self)
  local code = read_line(self, ("%d> "):format(self.number))
  while code and code ~= "" and not whole.is_whole(self.language, code) do
    local line = read_line(self, ".. ")
    if line == nil then break end
    code = line and code .. "\n" .. line
  end
  return code == false and "" or code
end

local END = { exit = true, quit = true, ["exit()"] = true, ["quit()"] = true }

-- What is lost is made anew by a word, not by itself.
local function reset(self)
  self.session:reset()
  self.number = 1
  self.context.console:say("hint", "a fresh session: what was in the old one is gone")
end

local function typed(self, code)
  if code:find("^%s*:reset%s*$") then return reset(self) end
  if self.editor and self.history:add(code) then self.editor:remember(code) end
  if perform(self, code) then
    self.number = self.number + 1
  else
    self.context.console:say("hint", "type :reset for a fresh one")
  end
end

local function from_terminal(self)
  local environ = self.context.environ
  self.history = histories.open(environ.XDG_STATE_HOME, environ.HOME,
    "session-" .. self.language)
  for _, entry in ipairs(self.editor and self.history.entries or {}) do
    self.editor:remember(entry)
  end
  for code in function() return next_typed(self) end do
    if END[code:match("^%s*(.-)%s*$")] then break end
    if code:find("%S") then typed(self, code) end
  end
  if self.editor then self.editor:close() end
  return exits.OK
end

-- --- The whole ----------------------------------------------------------------------------------

local function open(context, executor, language)
  local given = context.given
  local programs, err = functions.given(context)
  if err then return nil, err end
  local session
  session, err = executor:session{
    language = language, effects = given.effect, packages = given.package, functions = programs,
    idle_secs = given.idle, lifetime_secs = given.lifetime, work_dir = given.work_dir,
  }
  return session and context.own(session), err
end

--- Do it.
function M.run(context)
  local given = context.given
  local executor, err = settings.executor(context, memory.new())
  if not executor then return nil, err end
  local language
  language, err = executor.policies:language(given.language or "python")
  if not language then return nil, err end
  local session
  session, err = open(context, executor, language.name)
  if not session then return nil, err end
  local signals = require "noether.signals"
  local self = {
    context = context, session = session, language = language.name, number = 1,
    terminal = sys.isatty(0), signals = signals, interrupts = signals.listen(),
  }
  if not self.terminal then return from_pipe(self) end
  self.editor = require("noether.terminal").editor()
  return from_terminal(self)
end

return M
