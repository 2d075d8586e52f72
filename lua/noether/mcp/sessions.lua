-- SPDX-License-Identifier: MIT
--- Sessions of a server's clients: interpreters that stay, by language and by the name that a call
-- gives. One that was lost goes on being told so: another name is another session.
--
-- Each is an entry `{ session, output_dir, left }`: the directory for what its cells leave, if the
-- server has one, and the last info of a cell that left something there.
local errors = require "noether.error"
local files = require "noether.mcp.files"

local M = {}

--- How many may be open; one that was lost makes room.
M.AT_ONCE = 8

local IDLE_SECS = 30 * 60
-- What a cell gives back where it is asked for nothing: the charts that it shows.
local CHARTS = { python = { "figure-*.png" } }

local LOST = "what was in the session is gone: begin anew, by another name"

--- What the tool of a language says of its argument.
M.SCHEMA = {
  type = "string", minLength = 1, maxLength = 64,
  description = "a name of your choice: the code is then no program with execute, but a cell in an "
    .. "interpreter that stays under this name. Later calls with the same name find its variables, "
    .. "functions and files. The answer is the value of the last expression (in Bash what it "
    .. "prints); the input is the variable input ($INPUT)",
}

--- Whether an executor has sessions in a language.
-- @tparam table executor
-- @tparam string language
-- @treturn boolean
function M.has(executor, language)
  local policies = executor.sessions ~= nil and executor.policies
  local known = policies and policies:language(language)
  return known ~= nil and known ~= false
    and policies:has("languages/" .. known.name, "wrap_session")
end

local function close(entry)
  entry.session:close()
  files.tidy(entry.output_dir, entry.left)
end

-- Whether there is room for one more.
local function make_room(sessions)
  local count = 0
  for key, entry in pairs(sessions) do
    if entry.session:state() == "lost" then
      close(entry)
      sessions[key] = nil
    else
      count = count + 1
    end
  end
  return count < M.AT_ONCE
end

local function open(server, language, key)
  if not make_room(server.sessions) then
    return nil, errors.new{
      kind = "input_invalid", hint = "use one of them",
      message = ("%d sessions are open, and no more may be"):format(M.AT_ONCE),
    }
  end
  local entry, err = {}, nil
  if server.output_dir then
    entry.output_dir, err = files.own_directory(server)
  end
  if err then return nil, err end
  entry.session, err = server.executor:session{
    language = language, effects = server.declared, idle_secs = IDLE_SECS,
    timeout_secs = server.timeout_secs, output_dir = entry.output_dir,
  }
  if not entry.session then
    files.tidy(entry.output_dir)
    return nil, err
  end
  server.sessions[key] = entry
  return entry
end

-- What a client gave may be nothing that a cell takes.
local function start(session, arguments, opts)
  local ok, task, err = pcall(session.start, session, arguments.code, arguments.input, opts)
  if ok then return task, err end
  return nil, errors.new{ kind = "input_invalid", message = errors.clean(tostring(task), 400) }
end

-- In words for whoever wrote the code.
local function told(err)
  if err and err.kind == "session_lost" then err.hint = LOST end
  if err and err.kind == "session_busy" then err.hint = "wait for it, or use another name" end
  return err
end

--- Begin a cell.
-- @tparam table server with `sessions`
-- @tparam string language
-- @tparam table arguments of the tool, with `session`
-- @tparam function on_log
-- @treturn ?table a task; or nil and an error
-- @treturn ?table
function M.begin(server, language, arguments, on_log)
  local key = language .. "\n" .. arguments.session
  local entry, err = server.sessions[key], nil
  if not entry then entry, err = open(server, language, key) end
  if not entry then return nil, err end
  local task
  task, err = start(entry.session, arguments, {
    timeout_secs = arguments.timeout_secs or server.timeout_secs, on_log = on_log,
    outputs = arguments.outputs or CHARTS[language],
  })
  return task, told(err)
end

--- Note that a cell of a session is over: what it left stays.
-- @tparam table server
-- @tparam string language
-- @tparam table arguments
-- @tparam ?table info
function M.note(server, language, arguments, info)
  local entry = server.sessions[language .. "\n" .. arguments.session]
  if entry and info and info.outputs and info.outputs[1] then entry.left = info end
end

--- What a cell came to, for a model: its error in other words; and the text of a value without a
-- JSON form, or of what a shell printed.
-- @tparam ?table err
-- @tparam ?table info
-- @treturn ?string
function M.outcome(err, info)
  told(err)
  return info and info.display
end

--- All of them are ended.
-- @tparam table sessions
function M.close(sessions)
  for _, entry in pairs(sessions) do
    close(entry)
  end
end

return M
