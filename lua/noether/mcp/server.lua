-- SPDX-License-Identifier: MIT
--- A server of the Model Context Protocol on two descriptors.
--
-- One loop waits for three things: lines from the client, room for ours, and runs that are over
-- (a set). None of them keeps the others waiting: calls run as tasks, `jobs` at a time, the rest in
-- a queue, and everything but a call is answered at once. A client that does not read is read no
-- further itself, so that nothing piles up here. The end of the input, or an error that stops the
-- loop, closes every call, which ends what it runs.
local errors = require "noether.error"
local json = require "noether.json"
local languages = require "noether.stage.languages"
local options = require "noether.options"
local paths = require "noether.paths"
local rpc = require "noether.mcp.rpc"
local sessions = require "noether.mcp.sessions"
local effects = require "noether.stage.effects"
local files = require "noether.mcp.files"
local sets = require "noether.set"
local sys = require "noether.sys"
local tools = require "noether.mcp.tools"

local M = {}

local MAX_LINE_BYTES = 16 * 1024 * 1024
local MAX_UNREAD_BYTES = 4 * 1024 * 1024 -- of answers, before the client is read no further
local BEAT_SECS = 1
local LOOK_SECS = 5 -- how long a list of tools waits for what is not known yet
local QUIET_SECS = 0.02 -- after the list of tools, until what calls will need is made
local LAST_WORDS_SECS = 0.05 -- clients end what does not end by itself after 0.1 s

local Server = {}
local metatable = { __name = "noether.mcp", __index = Server }

local function key_of(id)
  return type(id) .. ":" .. (type(id) == "number" and ("%.17g"):format(id) or id)
end

local function send(self, line)
  self.out[#self.out + 1] = line
  self.unsent = self.unsent + #line
end

local function answer(self, request, era, result)
  if era == "modern" then result.resultType = "complete" end
  send(self, rpc.result(request.id, result))
end

local function server_info(self)
  return { name = self.name, version = sys.version }
end

-- What each method answers, where it is no call of a tool.
local METHODS = {}

function METHODS.initialize(self, request)
  return {
    protocolVersion = rpc.legacy_version(request.params.protocolVersion),
    capabilities = { tools = {} }, serverInfo = server_info(self),
    instructions = self.instructions,
  }
end

METHODS["server/discover"] = function(self)
  return {
    supportedVersions = json.array{ rpc.MODERN }, capabilities = { tools = {} },
    instructions = self.instructions, ttlMs = 0, cacheScope = "private",
    _meta = { ["io.modelcontextprotocol/serverInfo"] = server_info(self) },
  }
end

function METHODS.ping()
  return {}
end

local begin_look

METHODS["tools/list"] = function(self, request, era)
  begin_look(self)
  if self.look then
    table.insert(self.postponed, { request, era })
    return nil
  end
  self.may_prepare = self.executor.prepare ~= nil
  local listing = json.array()
  for index, tool in ipairs(self.tools) do
    listing[index] = tool.listing
  end
  local result = { tools = listing }
  if era == "modern" then result.ttlMs, result.cacheScope = 0, "private" end
  return result
end

-- The call is over: its answer goes out, and its place is free.
local function finish(self, call, result)
  self.calls[key_of(call.request.id)] = nil
  if call.task then
    self.by_task[call.task] = nil
    self.running = self.running - 1
    call.task:close()
  end
  if not call.cancelled then answer(self, call.request, call.era, result) end
end

local NO_ANSWER = "what it gave could not be made an answer"

-- A value of the host's may be anything, one that raises when it is looked at, too: that is the
-- failure of one call, and no reason for the others to end.
local function settle(self, call, output, err, info)
  local ok, result = pcall(tools.outcome, call.tool, output, err, info, call.arguments)
  files.tidy(call.output_dir, info)
  if call.arguments.session and call.tool.language then
    sessions.note(self, call.tool.language, call.arguments, info)
  end
  if not ok then
    self.log("error", ("'%s': %s: %s"):format(call.tool.name, NO_ANSWER, tostring(result)))
    result = tools.failed(errors.new{ kind = "stage_failed",
      message = ("%s: %s"):format(call.tool.name, NO_ANSWER) })
  end
  finish(self, call, result)
end

-- A task, which is waited for; or what only looks like one.
local function wait_for(self, call, task)
  local ok, added, err = pcall(self.set.add, self.set, task)
  if added and ok then
    call.task = task
    self.by_task[task] = call
    self.running = self.running + 1
    return
  elseif ok then
    task:close()
  else
    self.log("error", ("'%s': %s"):format(call.tool.name, tostring(added)))
    err = errors.new{
      kind = "stage_failed", message = call.tool.name .. ": what it gave is no task",
    }
  end
  settle(self, call, nil, err)
end

local function begin(self, call)
  call.begun = sys.clock()
  call.beat_at = call.begun + BEAT_SECS
  local begun, err, directory = call.tool.begin(call.arguments, function(line)
    call.last_line = line
  end)
  call.output_dir = directory
  if not begun then return settle(self, call, nil, err) end
  if begun.look then return wait_for(self, call, begun) end
  return settle(self, call, begun[1], begun[2])
end

local function begin_waiting(self)
  while self.running < self.jobs and #self.waiting > 0 do
    local call = table.remove(self.waiting, 1)
    if not call.cancelled then begin(self, call) end
  end
end

local function progress_token(request)
  local meta = request.params._meta
  local token = type(meta) == "table" and meta.progressToken
  return (type(token) == "string" or type(token) == "number") and token or nil
end

local function call_tool(self, request, era)
  local name = request.params.name
  local tool = type(name) == "string" and self.by_name[name]
  if not tool then
    send(self, rpc.error(request.id, "params", ("no tool '%s'"):format(tostring(name))))
    return
  end
  local call = { request = request, era = era, tool = tool, token = progress_token(request) }
  local given, err = tools.arguments(tool, request.params.arguments)
  if not given then return answer(self, request, era, tools.failed(err)) end
  call.arguments = given
  self.calls[key_of(request.id)] = call
  self.waiting[#self.waiting + 1] = call
end

local NOTIFICATIONS = {}

-- The client wants no answer any more.
NOTIFICATIONS["notifications/cancelled"] = function(self, request)
  local id = request.params.requestId
  if type(id) ~= "string" and type(id) ~= "number" then return end
  local call = self.calls[key_of(id)]
  if not call then return end
  call.cancelled = true
  if call.task then call.task:cancel() else self.calls[key_of(id)] = nil end
end

local function take_request(self, request)
  if self.calls[key_of(request.id)] then
    send(self, rpc.error(request.id, "request", "a request of that id is not over yet"))
    return
  end
  local era, asked = rpc.era(request)
  if not era then
    send(self, rpc.wrong_version(request.id, asked))
  elseif request.method == "tools/call" then
    call_tool(self, request, era)
  elseif METHODS[request.method] then
    if request.method == "server/discover" then era = "modern" end
    local result = METHODS[request.method](self, request, era)
    if result then answer(self, request, era, result) end
  else
    send(self, rpc.error(request.id, "method", ("no method '%s'"):format(request.method)))
  end
end

local function take_line(self, line)
  local message = rpc.read(line)
  if not message or message.answer then return end
  if message.bad then
    self.log("warn", "a line of the client's is no request")
    send(self, message.bad)
  elseif message.id == nil then
    local handle = NOTIFICATIONS[message.method]
    if handle then handle(self, message) end
  else
    take_request(self, message)
  end
end

local TOO_LONG = ("a line is longer than %d bytes"):format(MAX_LINE_BYTES)

-- What is left of a line that grew too long is passed over to its end.
local function note_too_long(self)
  if not self.skipping and self.partial_bytes > MAX_LINE_BYTES then
    self.skipping = true
    send(self, rpc.error(json.null, "request", TOO_LONG))
    self.log("warn", TOO_LONG)
  end
  if self.skipping then self.partial, self.partial_bytes = {}, 0 end
end

local function take_piece(self, piece)
  local from = 1
  while true do
    local at = piece:find("\n", from, true)
    local part = piece:sub(from, at and at - 1)
    self.partial[#self.partial + 1] = part
    self.partial_bytes = self.partial_bytes + #part
    note_too_long(self)
    if not at then return end
    local line, whole = table.concat(self.partial), not self.skipping
    self.partial, self.partial_bytes, self.skipping = {}, 0, false
    if whole then take_line(self, line) end
    from = at + 1
  end
end

-- One piece a turn, so that runs and answers have theirs.
local function receive(self)
  if self.unsent > MAX_UNREAD_BYTES then return end
  local piece, failed = self.input:read()
  if piece == false then return end
  if not piece then self.log("error", "cannot read the client: " .. errors.sentence(failed)) end
  if not piece or piece == "" then
    self.over = true
    return
  end
  take_piece(self, piece)
end

-- As much as there is room for. The client is gone where it cannot be written to.
local function transmit(self)
  if self.unsent == 0 then return end
  if #self.out > 1 then self.out = { table.concat(self.out) } end
  local text = self.out[1]
  local count, failed = self.output:write(text, self.sent + 1)
  if not count then
    self.log("error", "cannot write to the client: " .. errors.sentence(failed))
    self.over, self.unsent, self.out = true, 0, {}
    return
  end
  self.sent, self.unsent = self.sent + count, self.unsent - count
  if self.sent == #text then self.out, self.sent = {}, 0 end
end

local function outcome_of(task)
  local ok, output, err, info = pcall(task.wait, task, 0)
  if ok then return output, err, info end
  return nil, errors.new{ kind = "stage_failed", message = errors.clean(tostring(output)) }
end

-- Tools for languages that cannot be had are none; then those who asked for the list have it.
local function end_look(self, found)
  self.look:close()
  self.look = nil
  for name, runtime in pairs(found or {}) do
    if runtime.err then
      tools.remove(self.tools, self.by_name, "run_" .. name)
      self.log("info", ("run_%s is not offered: %s"):format(name, runtime.err.message))
    end
  end
  local waiting = self.postponed
  self.postponed = {}
  for _, one in ipairs(waiting) do
    answer(self, one[1], one[2], METHODS["tools/list"](self, one[1], one[2]))
  end
end

local function collect(self)
  local task = self.set:next(0)
  while task do
    local call = self.by_task[task]
    if task == self.look then
      end_look(self, outcome_of(task))
    elseif call then
      settle(self, call, outcome_of(task))
    end
    task = self.set:next(0)
  end
end

-- What is known of a language, without a look: an executor may remember what others found.
local function is_known(self, name)
  local executor = self.executor
  return executor.can_run ~= nil and executor:can_run(name)
end

-- Languages that are only offered where they can be had are looked for when the list is first asked
-- for, and those who ask wait: a server may be started just to see which protocol it speaks.
function begin_look(self)
  if not self.optional then return end
  self.optional = false
  local names, policies = {}, self.executor.policies
  for _, name in ipairs(self.languages) do
    local optional = policies:data("languages/" .. name, "optional")
    if optional and not is_known(self, name) then names[#names + 1] = name end
  end
  if #names == 0 then return end
  local look = self.executor:warmup(names, { setup_timeout_secs = LOOK_SECS, fresh = false })
  if look and self.set:add(look) then self.look = look end
end

-- That a call is still at work, for clients that asked to know.
local function beat(self)
  local now = sys.clock()
  for _, call in pairs(self.calls) do
    if call.token ~= nil and call.task and not call.cancelled and now >= call.beat_at then
      call.beat_at = now + BEAT_SECS
      local message = call.last_line and errors.clean(call.last_line, 200) or call.task:state()
      send(self, rpc.progress(call.token, now - call.begun, message))
    end
  end
end

-- An executor that is made late: while the client reads its list of tools, unless it has more to
-- say or goes again. What it cannot be made of, the one who set the server up has to know.
local function prepare(self)
  self.may_prepare = false
  local ok, err = self.executor:prepare()
  if not ok then self.over, self.err = true, err end
end

local function secs_to_wait(self)
  local earliest
  for _, call in pairs(self.calls) do
    if call.token ~= nil and call.task then
      earliest = math.min(earliest or call.beat_at, call.beat_at)
    end
  end
  if self.may_prepare and self.unsent == 0 then return QUIET_SECS end
  return earliest and math.max(earliest - sys.clock(), 0)
end

local function wait(self)
  local input_ready = self.input:watch(self.unsent <= MAX_UNREAD_BYTES)
  local output_ready = self.output:watch(self.unsent > 0)
  local secs = secs_to_wait(self)
  if input_ready or (output_ready and self.unsent > 0) then secs = 0 end
  local count = sys.poll(self.fds, secs, {})
  if self.may_prepare and secs == QUIET_SECS and count == 0 then prepare(self) end
end

local function turn(self)
  receive(self)
  begin_waiting(self)
  collect(self)
  begin_waiting(self)
  beat(self)
  transmit(self)
end

local function last_words(self)
  local deadline = sys.clock() + LAST_WORDS_SECS
  while self.unsent > 0 and sys.clock() < deadline do
    self.output:watch(true)
    sys.poll({ self.output:pollfd() }, deadline - sys.clock(), {})
    transmit(self)
  end
end

local function loop(self)
  while not self.over do
    turn(self)
    if not self.over then wait(self) end
  end
  last_words(self)
end

function Server:close()
  for _, call in pairs(self.calls) do
    if call.task then call.task:close() end
    files.tidy(call.output_dir)
  end
  self.calls, self.waiting = {}, {}
  sessions.close(self.sessions)
  if self.look then self.look:close() end
  if self.set then self.set:close() end
  if self.input then self.input:close() end
  if self.output then self.output:close() end
end

local function open_ends(self, given)
  local message, errno
  self.input, message, errno = sys.stream(given.read or 0, false)
  if self.input then self.output, message, errno = sys.stream(given.write or 1, true) end
  if not self.output then
    return nil, errors.new{ kind = "spawn_failed", message = message, errno = errno }
  end
  local err
  self.set, err = sets.new()
  if not self.set then return nil, err end
  self.fds = { self.input:pollfd(), self.output:pollfd(), self.set:pollfd() }
  return true
end

--- What `serve` takes.
M.OPTIONS = {
  executor = "table", functions = "table", languages = "strings", effects = "any",
  stages = "boolean", jobs = "count", timeout_secs = "seconds", name = "string",
  instructions = "string", output_dir = "path", read = "amount", write = "amount",
  log = "function",
}

M.DEFAULTS = { timeout_secs = 30, stages = true, name = "noether" }

local function check_functions(given)
  for name, entry in pairs(given or {}) do
    local call = type(entry) == "table" and entry.call or entry
    if type(name) ~= "string" or type(call) ~= "function" then
      options.raise(("mcp.serve: functions.%s: expected a function, or a table with one as 'call'")
        :format(tostring(name)))
    end
  end
end

local function languages_of(executor)
  return executor.policies and executor.policies:languages() or languages.names()
end

-- A session that goes on could put links there, and have the server send what they lead to.
local function wrong_output_dir(self)
  local dir = self.output_dir
  local real = dir and sys.realpath(dir) or dir
  for _, place in ipairs(real and self.writes or {}) do
    if paths.is_within(real, sys.realpath(place) or place) then
      return ("the directory for outputs, %s, lies in one that stages may write to"):format(dir)
    end
  end
  return nil
end

local function new_server(given)
  if given.executor == nil then options.raise("mcp.serve: option 'executor' is missing") end
  local parsed, reason = effects.parse(given.effects or {})
  if not parsed then options.raise("mcp.serve: " .. reason) end
  check_functions(given.functions)
  return setmetatable({
    executor = given.executor, functions = given.functions or {},
    languages = given.languages or languages_of(given.executor),
    optional = given.languages == nil and given.executor.policies ~= nil, postponed = {},
    declared = given.effects or {}, effects = parsed.list, writes = parsed.writes,
    stages = given.stages ~= false,
    jobs = given.jobs or sys.cpu_count(), name = given.name or M.DEFAULTS.name,
    timeout_secs = given.timeout_secs or M.DEFAULTS.timeout_secs,
    instructions = given.instructions, output_dir = given.output_dir,
    log = given.log or function() end,
    denied = function(list)
      local ok, effect = effects.allows(parsed, assert(effects.parse(list)))
      return not ok and effect or nil
    end,
    calls = {}, by_task = {}, waiting = {}, running = 0, sessions = {},
    out = {}, unsent = 0, sent = 0, partial = {}, partial_bytes = 0,
  }, metatable)
end

--- Serve the Model Context Protocol until the client ends it: a tool `run_<language>` for each
-- language (if they are not named, for TypeScript only where it can be had), one for each stage
-- with a name in the executor's store, one for each function of the host. Both eras of the protocol
-- are spoken. It waits on its two descriptors and does nothing else; at the end of the input all
-- calls are ended.
--
-- A function is called with the decoded arguments. It gives a JSON value (nothing is null), or nil
-- and an error, or a task or process to wait for; what it raises is told to `log`, and to the
-- client only that it failed.
-- @tparam McpOptions opts
-- @treturn ?boolean true at the end of the input; or nil and an error (`input_invalid`: a schema is
-- not of the subset, or two tools have one name; `spawn_failed`: no descriptor)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- -- Standard input is at its end here: the client is gone at once.
-- print(noether.mcp.serve{ executor = noether.inline{}, languages = {} }) --> true
function M.serve(opts)
  local given = options.check("mcp.serve", opts, M.OPTIONS)
  local self = new_server(given)
  local list, by_name = tools.of(self)
  local wrong = not list and by_name or wrong_output_dir(self)
  if wrong then return nil, errors.new{ kind = "input_invalid", message = "mcp: " .. wrong } end
  self.tools, self.by_name = list, by_name
  local ok, err = open_ends(self, given)
  if not ok then
    self:close()
    return nil, err
  end
  local done, raised = pcall(loop, self)
  self:close()
  if not done then error(raised, 0) end
  if self.err then return nil, self.err end
  return true
end

return M
