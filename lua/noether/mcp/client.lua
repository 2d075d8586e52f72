-- SPDX-License-Identifier: MIT
--- A client of the Model Context Protocol: tools of a server that is started here, as functions
-- that stages can call.
--
-- The server is one process for all. Whoever waits for an answer steps it, and hands on what came
-- for others: so a call is a task like any other, and nothing waits for the server but those who
-- asked it. It is spoken to in the era of `initialize`; where it refuses that, in the modern one.
local command = require "noether.command"
local compat = require "noether.compat"
local errors = require "noether.error"
local json = require "noether.json"
local options = require "noether.options"
local rpc = require "noether.mcp.rpc"
local schemas = require "noether.stage.schema"
local sys = require "noether.sys"
local tables = require "noether.tables"
local tasks = require "noether.run.task"
local texts = require "noether.text"

local M = {}

local MAX_LINE_BYTES = 16 * 1024 * 1024
local MAX_PAGES = 100
local LAST_WORDS_SECS = 2 -- for a server to end by itself
local MAX_SAID_BYTES = 400

local Client = {}
local client_metatable = { __name = "noether.mcp.client", __index = Client }

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = "mcp: " .. message, hint = hint }
end

-- --- One answer that is waited for --------------------------------------------------------------

local Reply = {}
Reply.__index = Reply

local function give(reply, result, err)
  reply.client.pending[reply.id] = nil
  reply.done, reply.value, reply.err = true, result, err
  if reply.poller then reply.poller:alarm(0) end
end

function Reply:step()
  if not self.done then self.client:pump() end
  return self.done
end

function Reply:timeout()
  if self.done then return 0 end
  return math.max(self.deadline - sys.clock(), 0)
end

-- The task has its descriptor, and waits with that.
function Reply:wait(secs)
  local most = math.min(secs or math.huge, self:timeout())
  sys.poll({ self.poller:pollfd() }, most < math.huge and most or nil, {})
end

function Reply:result()
  return self.value, self.err
end

function Reply:cancel()
  if self.done then return end
  self.client:notify("notifications/cancelled", { requestId = self.id })
  give(self, nil, errors.new{ kind = "cancelled", message = "the call was cancelled" })
end

Reply.close = Reply.cancel

-- --- What comes from the server -----------------------------------------------------------------

local function fail_all(self, err)
  self.over = self.over or err
  for _, reply in pairs(tables.merged(self.pending)) do
    give(reply, nil, err)
  end
end

local function refusal_of(fault)
  local message = type(fault) == "table" and type(fault.message) == "string" and fault.message
    or "the server refuses"
  return failure("stage_failed", errors.clean(message, MAX_SAID_BYTES))
end

local function take_answer(self, message)
  local reply = type(message.id) == "number" and self.pending[message.id]
  if not reply then return end
  if message.error ~= nil then
    give(reply, nil, refusal_of(message.error))
  elseif type(message.result) == "table" then
    give(reply, message.result)
  else
    give(reply, nil, failure("stage_failed", "the server's answer is no object"))
  end
end

-- A server may ask, too: whether we are there, and what we do not have.
local function take_line(self, line)
  local message = json.decode(line)
  if type(message) ~= "table" then return end
  if message.method == nil then return take_answer(self, message) end
  if message.id == nil or type(message.method) ~= "string" then return end
  self:write(message.method == "ping" and rpc.result(message.id, {})
    or rpc.error(message.id, "method", "this client has no such method"))
end

local function take_piece(self, piece)
  self.heard[#self.heard + 1] = piece
  self.heard_bytes = self.heard_bytes + #piece
  if not piece:find("\n", 1, true) then
    if self.heard_bytes <= MAX_LINE_BYTES then return end
    self.too_long = true
    self.process:cancel()
    return
  end
  local text = table.concat(self.heard)
  local last = text:match(".*()\n")
  self.heard, self.heard_bytes = { text:sub(last + 1) }, #text - last
  for line in text:sub(1, last):gmatch("([^\n]*)\n") do
    take_line(self, line)
  end
end

local function ended(self)
  if self.too_long then
    return failure("stage_failed", ("the server wrote a line of more than %d bytes"):format(
      MAX_LINE_BYTES))
  end
  local result, err = self.process:result()
  if not result then return err end
  local said = texts.trim(result.stderr or "")
  return failure("stage_failed", ("the server %s has ended (%s)%s"):format(self.name,
    result.signal or result.exit_code and ("exit code %d"):format(result.exit_code)
      or result.reason, said ~= "" and ": " .. errors.clean(said:sub(-MAX_SAID_BYTES),
      MAX_SAID_BYTES) or ""))
end

--- Go on with the server without waiting.
function Client:pump()
  if not self.over and self.process:step() then fail_all(self, ended(self)) end
  local now = sys.clock()
  for _, reply in pairs(tables.merged(self.pending)) do
    if now >= reply.deadline then
      self:notify("notifications/cancelled", { requestId = reply.id })
      give(reply, nil, failure("timed_out", ("the server %s gave no answer within %g s"):format(
        self.name, self.timeout_secs)))
    end
  end
end

-- --- What goes to it ----------------------------------------------------------------------------

function Client:write(line)
  if not self.over then self.process:write(line) end
end

local function with_version(self, params)
  if not self.modern then return params end
  return tables.merged(params, { _meta = {
    ["io.modelcontextprotocol/protocolVersion"] = rpc.MODERN,
    ["io.modelcontextprotocol/clientInfo"] = { name = "noether", version = sys.version },
    ["io.modelcontextprotocol/clientCapabilities"] = {},
  } })
end

function Client:notify(method, params)
  self:write(assert(json.canonical{
    jsonrpc = "2.0", method = method, params = with_version(self, params),
  }) .. "\n")
end

--- Ask the server.
-- @tparam string method
-- @tparam table params
-- @tparam ?function convert what is made of the result: a value, or nil and why not
-- @treturn table a task: what that gives, or else the result; or nil and an error
function Client:ask(method, params, convert)
  return tasks.new(function(own)
    if self.over then return nil, self.over end
    local poller, err = own:own_poller()
    if not poller then return nil, err end
    self.last_id = self.last_id + 1
    local reply = setmetatable({
      client = self, id = self.last_id, poller = poller, deadline = sys.clock() + self.timeout_secs,
    }, Reply)
    self.pending[reply.id] = reply
    local watched = own:watch(self.process:pollfd())
    if not watched then return nil, failure("spawn_failed", "no descriptor is left") end
    self:write(assert(json.canonical{
      jsonrpc = "2.0", id = reply.id, method = method, params = with_version(self, params),
    }) .. "\n")
    local result, reason = own:await(reply)
    if not self.closed then own:unwatch(self.process:pollfd()) end
    if not result or not convert then return result, reason end
    result, reason = convert(result)
    if result == nil then return nil, errors.new{ kind = "stage_failed", message = reason } end
    return result
  end, {})
end

--- End the server: its input ends, and what does not end by itself is ended.
function Client:close()
  if self.closed then return end
  self.closed = true
  fail_all(self, failure("closed", "the server was closed"))
  self.process:close_stdin()
  self.process:wait(LAST_WORDS_SECS)
  self.process:close()
end

client_metatable.__gc = function(self) self.process:close() end
client_metatable.__close = Client.close

--- Start a server.
-- @tparam table argv
-- @tparam table opts of `command.spawn`
-- @tparam number timeout_secs of each answer
-- @treturn ?table a client; or nil and an error
-- @treturn ?table
function M.start(argv, opts, timeout_secs)
  local self = {
    name = errors.clean(argv[1], 80), pending = {}, heard = {}, heard_bytes = 0, last_id = 0,
    timeout_secs = timeout_secs,
  }
  local err
  self.process, err = command.spawn(argv, tables.merged(opts, {
    stdin = true, on_stdout = function(piece) take_piece(self, piece) end,
    max_output_bytes = math.huge,
  }))
  if not self.process then return nil, err end
  return compat.set_handle_metatable(self, client_metatable)
end

-- Asks and waits for the answer.
local function know(self, method, params)
  local task = self:ask(method, params)
  local result, err = task:wait()
  task:close()
  return result, err
end

--- Say hello, in the era that the server speaks.
-- @treturn ?table what the server says of itself; or nil and an error
-- @treturn ?table
function Client:greet()
  local hello, err = know(self, "initialize", {
    protocolVersion = rpc.legacy_version(), capabilities = {},
    clientInfo = { name = "noether", version = sys.version },
  })
  if hello then
    self:notify("notifications/initialized", {})
    return hello
  elseif self.over or err.kind == "timed_out" then
    return nil, err
  end
  self.modern = true
  return know(self, "server/discover", {})
end

--- The tools of the server.
-- @treturn ?table list, as the server gives it; or nil and an error
-- @treturn ?table
function Client:tools()
  local list, cursor = {}, nil
  for _ = 1, MAX_PAGES do
    local page, err = know(self, "tools/list", { cursor = cursor })
    if not page then return nil, err end
    for _, tool in ipairs(type(page.tools) == "table" and page.tools or {}) do
      if type(tool) == "table" and type(tool.name) == "string" then list[#list + 1] = tool end
    end
    cursor = page.nextCursor
    if type(cursor) ~= "string" or cursor == "" then break end
  end
  return list
end

-- --- Tools as functions -------------------------------------------------------------------------

local function all_text(content)
  local parts = {}
  for _, block in ipairs(content) do
    if type(block) ~= "table" or type(block.text) ~= "string" then return nil end
    parts[#parts + 1] = block.text
  end
  return table.concat(parts, "\n")
end

--- What the result of a call means to who called: structured content, or its text, or where there
-- is more than text the list of all that came.
-- @tparam table result of `tools/call`
-- @return a JSON value; or nil and why it failed
-- @treturn ?string
function M.value(result)
  local content = type(result.content) == "table" and result.content or {}
  local text = all_text(content)
  if result.isError == true then
    return nil, errors.clean((text or "the tool failed"):gsub("%s*\n%s*", "; "), 2000)
  elseif result.structuredContent ~= nil then
    return result.structuredContent
  end
  return text or { content = content }
end

-- Arguments of a tool are an object; nothing is an empty one.
local function as_object(arguments)
  if arguments == nil or arguments == json.null then return {} end
  if type(arguments) == "table" and not json.is_array(arguments) then return arguments end
  return nil
end

-- What a stage calls it by: a name as languages have it.
local function name_for_stages(name)
  local plain = name:gsub("[^%w_]", "_"):sub(1, 60)
  return plain:find("^[%a_]") and plain or "_" .. plain
end

local function function_of(self, tool)
  local schema = tool.inputSchema
  local is_known = type(schema) == "table" and schemas.check(schema, "schema")
  return {
    description = type(tool.description) == "string" and tool.description or nil,
    input_schema = is_known and schema or nil,
    call = function(arguments)
      local object = as_object(arguments)
      if not object then return nil, "its arguments are an object: give them by name" end
      return self:ask("tools/call", { name = tool.name, arguments = object }, M.value)
    end,
  }
end

local function is_allowed(allow, name)
  for _, allowed in ipairs(allow) do
    if allowed == name or allowed == "*" then return true end
  end
  return false
end

local function names_of(tools)
  local names = {}
  for index, tool in ipairs(tools) do
    names[index] = errors.clean(tool.name, 60)
  end
  return table.concat(names, ", ")
end

local function check_allowed(allow, tools)
  local there = { ["*"] = true }
  for _, tool in ipairs(tools) do
    there[tool.name] = true
  end
  for _, name in ipairs(allow) do
    if not there[name] then
      return nil, failure("input_invalid", ("the server has no tool '%s'"):format(
        errors.clean(name, 60)), "it has: " .. names_of(tools))
    end
  end
  return true
end

local function all_functions(self, allow)
  local tools, err = self:tools()
  if not tools then return nil, err end
  local ok
  ok, err = check_allowed(allow, tools)
  if not ok then return nil, err end
  local found = {}
  for _, tool in ipairs(tools) do
    local name = name_for_stages(tool.name)
    if is_allowed(allow, tool.name) and found[name] then
      return nil, failure("input_invalid", ("the server has two tools '%s'"):format(name),
        "allow one of them")
    elseif is_allowed(allow, tool.name) then
      found[name] = function_of(self, tool)
    end
  end
  return found
end

--- What `functions` takes.
M.OPTIONS = { allow = "strings", timeout_secs = "seconds", spawn = "table" }

M.DEFAULTS = { timeout_secs = 60 }

--- Start a server of the Model Context Protocol, and have its tools as functions that stages can
-- call: what the option `functions` takes. A tool's name is the function's, with `_` for what is
-- no letter or digit. A call gives the tool's structured content, else its text; a tool that fails
-- is a call that fails. Whoever waits for a call steps the server, so that nothing else must be
-- done; it ends when it is closed, or nobody holds it or its functions any more.
-- @tparam {string,...} argv the server and its arguments
-- @tparam McpFunctionsOptions opts
-- @treturn ?table functions by name, each with `call`, `description` and, where it can be checked
-- here, `input_schema`; or nil and an error (`spawn_failed`, `stage_failed`: it does not speak the
-- protocol; `input_invalid`: it has no such tool; `timed_out`)
-- @treturn ?table the server, with `close()`; or the error
-- @raise on a wrong option, or if `allow` is missing
-- @usage
-- local _, err = noether.mcp.functions({ "true" }, { allow = { "*" } })
-- print(err.kind) --> stage_failed
function M.functions(argv, opts)
  local given = options.check("mcp.functions", opts, M.OPTIONS)
  if not given.allow then
    options.raise('mcp.functions: option \'allow\' is missing: names of tools, or { "*" } for all')
  end
  local self, err = M.start(argv, given.spawn or {},
    given.timeout_secs or M.DEFAULTS.timeout_secs)
  if not self then return nil, err end
  local hello, found
  hello, err = self:greet()
  if hello then found, err = all_functions(self, given.allow) end
  if not found then
    self:close()
    return nil, err
  end
  return found, self
end

return M
