-- SPDX-License-Identifier: MIT
--- What a server offers: code to run, a tool for each language; stages of a store; functions of the
-- host. A tool is `{ name, listing, begin }`: `listing` is what `tools/list` shows, and
-- `begin(arguments, on_log)` gives a task, or nil and an error, or a function's outcome at once as
-- `{ output }` or `{ nil, error }`.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local files = require "noether.mcp.files"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local schema = require "noether.stage.schema"
local sessions = require "noether.mcp.sessions"
local tables = require "noether.tables"
local texts = require "noether.text"

local M = {}

-- Of a line that clients still read: they drop what is longer than ten times that.
local MAX_TEXT_BYTES = 512 * 1024
local MAX_LOG_BYTES = 32 * 1024

local function what_is_open(list)
  local names = {}
  for index, effect in ipairs(list) do
    names[index] = effects.format(effect)
  end
  if #names == 0 then return "no network, no files of the host, no other programs" end
  return table.concat(names, ", ") .. ", and nothing else"
end

-- Hints for clients; the sandbox holds, whatever they make of them.
local function annotations(list)
  local opens = {}
  for _, effect in ipairs(list) do
    opens[effect.effect] = true
  end
  local writes, network = opens.FsWrite == true, opens.Network == true
  return {
    readOnlyHint = not writes and not network, destructiveHint = writes,
    idempotentHint = opens.Pure == true, openWorldHint = network,
  }
end

local function deadline_schema(most)
  local bounded = most < math.huge
  return {
    type = "number", minimum = 0.1, maximum = bounded and most or nil,
    description = bounded and ("deadline in seconds, at most %g"):format(most)
      or "deadline in seconds",
  }
end

local function run_schema(timeout_secs, has_sessions, has_packages)
  return {
    type = "object", required = json.array{ "code" }, additionalProperties = false,
    properties = {
      code = { type = "string", description = "the program: it defines execute" },
      input = { description = "the argument of execute: any JSON value; null if left out" },
      timeout_secs = deadline_schema(timeout_secs),
      session = has_sessions and sessions.SCHEMA or nil, files = files.SCHEMA.files,
      outputs = files.SCHEMA.outputs, packages = has_packages and files.SCHEMA.packages or nil,
    },
  }
end

local NOT_IN_SESSIONS = { "files", "packages" }

local function begin_cell(server, language, arguments, on_log)
  for _, name in ipairs(NOT_IN_SESSIONS) do
    if arguments[name] then
      return nil, errors.new{
        kind = "input_invalid", message = ("arguments.%s: not with a session"):format(name),
        hint = "a session's cells write the files that they read; leave out one of the two",
      }
    end
  end
  return sessions.begin(server, language, arguments, on_log)
end

-- What a client gave may be nothing that a call takes.
local function start(server, stage, input, opts)
  local ok, task, err = pcall(server.executor.start, server.executor, stage, input, opts)
  if ok then return task, err end
  return nil, errors.new{ kind = "input_invalid", message = errors.clean(tostring(task), 400) }
end

local function begin_run(server, language, arguments, on_log)
  local given, err = files.options(server, arguments)
  if not given then return nil, err end
  given.timeout_secs, given.on_log = arguments.timeout_secs or server.timeout_secs, on_log
  local input = arguments.input
  if input == nil then input = json.null end
  local stage = { language = language, code = arguments.code, effects = server.declared }
  local task
  task, err = start(server, stage, input, given)
  if not task then files.tidy(given.output_dir) end
  return task, err, given.output_dir
end

-- What is said of a language where the code is run: by a policy of the executor's, if it has any.
local function policy_of(executor, language)
  return executor.policies and executor.policies:language(language) or {}
end

local function meaning(policy, language)
  local own = languages.find(language)
  return policy.about or own and own.about or ("Run %s."):format(language)
end

local function run_tool(server, language)
  local name = "run_" .. language
  local has_sessions = sessions.has(server.executor, language)
  local policy = policy_of(server.executor, language)
  local about = ("%s It runs in a sandbox with %s. What it prints comes back as its log."):format(
    meaning(policy, language), what_is_open(server.effects))
  return {
    name = name, language = language,
    listing = {
      name = name, description = about,
      inputSchema = run_schema(server.timeout_secs, has_sessions, policy.requires ~= nil),
      annotations = annotations(server.effects),
    },
    begin = function(arguments, on_log)
      local begin = arguments.session and begin_cell or begin_run
      return begin(server, language, arguments, on_log)
    end,
  }
end

-- Clients take letters, digits and three signs in the name of a tool, up to 64 of them.
local function is_name(text)
  return type(text) == "string" and #text <= 64 and text:find("^[%w_.-]+$") ~= nil
end

local ANY_OBJECT = { type = "object" }

local function stage_tool(server, stage)
  return {
    name = stage.name, output_schema = stage.output_schema,
    listing = {
      name = stage.name, description = stage.description or ("The stored stage '%s' (%s)."):format(
        stage.name, stage.language),
      inputSchema = stage.input_schema or ANY_OBJECT, outputSchema = stage.output_schema,
      annotations = annotations(stage.effects),
    },
    begin = function(arguments, on_log)
      return server.executor:start(stage.id, arguments, {
        timeout_secs = server.timeout_secs, on_log = on_log,
      })
    end,
  }
end

-- A table of the host's may raise when it is looked at.
local function is_handle(value)
  if type(value) ~= "table" then return false end
  local ok, look = pcall(function() return value.look end)
  return ok and type(look) == "function"
end

-- What a function of the host gives: its value, a task to wait for, or what went wrong. A Lua error
-- is the host's business: the model is told that, and `log` the rest.
local function call_function(server, name, fn, arguments)
  local ok, value, reason = pcall(fn, arguments)
  if not ok then
    server.log("error", ("function '%s' raised: %s"):format(name, tostring(value)))
    return { nil, errors.new{ kind = "stage_failed", message = ("%s failed"):format(name) } }
  elseif value == nil and reason ~= nil then
    if errors.is(reason) then return { nil, reason } end
    return { nil, errors.new{ kind = "stage_failed", message = errors.clean(tostring(reason)) } }
  elseif is_handle(value) then
    return value
  end
  return { value == nil and json.null or value }
end

local function function_tool(server, name, entry)
  if type(entry) == "function" then entry = { call = entry } end
  return {
    name = name, output_schema = entry.output_schema,
    listing = {
      name = name, description = entry.description, outputSchema = entry.output_schema,
      inputSchema = entry.input_schema or ANY_OBJECT,
    },
    begin = function(arguments)
      return call_function(server, name, entry.call, arguments)
    end,
  }
end

local function check_schemas(tool)
  for _, field in ipairs{ "inputSchema", "outputSchema" } do
    local ok, reason = true, nil
    if tool.listing[field] then ok, reason = schema.check(tool.listing[field], field) end
    if not ok then return nil, ("tool '%s': %s"):format(tool.name, reason) end
  end
  return true
end

local function add(list, by_name, tool)
  if by_name[tool.name] then return nil, ("there are two tools '%s'"):format(tool.name) end
  by_name[tool.name] = tool
  list[#list + 1] = tool
  return true
end

-- Of the stages in the executor's store, those that have a name for a tool and may run.
local function stored(server)
  local store = server.executor.store
  local entries = server.stages and store and store:list() or {}
  local found = {}
  for _, entry in ipairs(entries) do
    local name = entry.name
    local denied = not entry.err and server.denied(entry.effects)
    if entry.err then
      server.log("warn", tostring(entry.err))
    elseif not is_name(name) then
      server.log("warn", ("stage %s is no tool: its name '%s' has others than letters, digits, "
        .. "'_', '-' and '.'"):format(entry.id:sub(1, 12), errors.clean(name or "", 60)))
    elseif denied then
      server.log("warn", ("stage '%s' is no tool: it declares %s, which was not granted"):format(
        name, denied))
    else
      found[#found + 1] = stage_tool(server, entry)
    end
  end
  table.sort(found, function(one, other) return one.name < other.name end)
  return found
end

--- The tools of a server.
-- @tparam table server `executor`, `languages`, `effects` (parsed), `declared` (as given), `stages`
-- (whether those of its store are tools), `functions`, `timeout_secs`, `log`, `denied(effects)`
-- @treturn ?table list; or nil and what is wrong with one that was asked for
-- @treturn table by name; or the message
function M.of(server)
  local list, by_name = {}, {}
  local wanted = {}
  for _, language in ipairs(server.languages) do
    wanted[#wanted + 1] = run_tool(server, language)
  end
  for _, name in ipairs(tables.sorted_names(server.functions)) do
    if not is_name(name) then
      return nil, ("function '%s': letters, digits, '_', '-' and '.' make the name of a tool")
        :format(errors.clean(tostring(name), 60))
    end
    wanted[#wanted + 1] = function_tool(server, name, server.functions[name])
  end
  for _, tool in ipairs(wanted) do
    local ok, reason = check_schemas(tool)
    if ok then ok, reason = add(list, by_name, tool) end
    if not ok then return nil, reason end
  end
  for _, tool in ipairs(stored(server)) do
    local ok, reason = add(list, by_name, tool)
    if not ok then server.log("warn", reason .. ": the stored one is left out") end
  end
  return list, by_name
end

--- Take a tool out.
-- @tparam table list
-- @tparam table by_name
-- @tparam string name
function M.remove(list, by_name, name)
  for index, tool in ipairs(list) do
    if tool == by_name[name] then table.remove(list, index) end
  end
  by_name[name] = nil
end

-- At most so much of a text, cut between characters, with a line that says how much is missing.
local function bounded(text, max)
  if #text <= max then return text end
  local kept = texts.beginning(text, max)
  return ("%s\n[%d bytes are left out]"):format(kept, #text - #kept)
end

local function text_block(text)
  return { type = "text", text = text }
end

-- Text for JSON: what is none is shown, not sent.
local function utf8(text)
  return errors.is_utf8(text) and text or errors.clean(text, #text * 4)
end

local function log_block(content, info, max)
  local logs = info and info.logs or ""
  if not logs:find("%S") then return end
  content[#content + 1] = text_block("log:\n" .. bounded(utf8(logs), max))
end

-- No argument of a call can change that.
local NOT_GRANTED = "code of this server has no %s: do it without, or tell the person who set the"
  .. " server up what is missing"

--- What a model is told of an error: content alone, since some clients lose the text where there is
-- more.
-- @tparam table err
-- @tparam ?table info
-- @treturn table a result of tools/call
function M.failed(err, info)
  local text = ("%s: %s"):format(err.kind, err.message)
  local hint = err.effect and NOT_GRANTED:format(err.effect) or err.hint
  if hint and not err.tells_of_host then text = text .. "\nhint: " .. hint end
  local content = json.array{ text_block(bounded(utf8(text), MAX_LOG_BYTES)) }
  if info and info.display then
    content[2] = text_block("output:\n" .. bounded(utf8(info.display), MAX_LOG_BYTES))
  end
  log_block(content, info, MAX_LOG_BYTES)
  files.add(content, info, 2 * MAX_LOG_BYTES)
  return { content = content, isError = true }
end

local function misfit(reason)
  return errors.new{
    kind = "output_invalid", message = reason, hint = "the tool's outputSchema says what it gives",
  }
end

--- What a tool gave, as the result of a call.
-- @tparam table tool
-- @param output
-- @tparam ?table err
-- @tparam ?table info
-- @tparam table arguments
-- @treturn table
function M.outcome(tool, output, err, info, arguments)
  local display = sessions.outcome(err, info)
  if err then return M.failed(err, info) end
  local fits, reason = true, nil
  if tool.output_schema then fits, reason = schema.fits(tool.output_schema, output, "answer") end
  if not fits then return M.failed(misfit(reason), info) end
  local text, why = json.encode(output, "answer")
  if not text then return M.failed(misfit(why), info) end
  local shown = display and utf8(display) or type(output) == "string" and output or text
  local content = json.array{ text_block(bounded(shown, MAX_TEXT_BYTES)) }
  log_block(content, info, MAX_LOG_BYTES)
  local is_odd = output == json.null and tool.language and #content > 1 and not arguments.session
  local hint = is_odd and require("noether.policy.errors").null_hint(tool.language, arguments.code)
  if hint then content[#content + 1] = text_block("hint: " .. hint) end
  files.add(content, info, #content[1].text + MAX_LOG_BYTES)
  return { content = content, structuredContent = tool.output_schema and output or nil }
end

--- Whether what a client gave is what a tool takes.
-- @tparam table tool
-- @param arguments
-- @treturn ?table the arguments; or nil and an error that names the field
-- @treturn ?table
function M.arguments(tool, arguments)
  local given = arguments
  if given == nil then given = {} end
  local fits, reason = schema.fits(tool.listing.inputSchema, given, "arguments")
  if fits then return given end
  return nil, errors.new{ kind = "input_invalid", message = reason }
end

return M
