-- SPDX-License-Identifier: MIT
--- A client of the Model Context Protocol, for the specs: it says what it is told to, right or not.
local helper = require "spec.support.helper"
local assert = require "luassert"
local json = require "noether.json"
local noether = require "noether"
local posix = require "spec.support.posix"
local sys = require "noether.sys"

local M = {}

local Client = {}
Client.__index = Client

--- Start a server.
-- @tparam {string,...} argv
-- @tparam[opt] table env variables to add
-- @treturn table a client
function M.start(argv, env)
  local theirs_in, ours_out = posix.pipe()
  local ours_in, theirs_out = posix.pipe()
  local errors_path = helper.tmpdir() .. "/stderr"
  local process = assert(noether.spawn(argv, {
    isolation = "none", env = env, stderr = { path = errors_path },
    stdin = { fd = theirs_in, share = true }, stdout = { fd = theirs_out, share = true },
  }))
  posix.close(theirs_in)
  posix.close(theirs_out)
  return setmetatable({
    process = process, out = ours_out, input = ours_in, from = assert(sys.stream(ours_in, false)),
    text = "", errors_path = errors_path,
  }, Client)
end

--- Say something: a message as a table, or bytes as they are.
function Client:say(message)
  local text = type(message) == "table" and json.encode(message) .. "\n" or message
  local to = assert(sys.stream(self.out, true))
  local sent = 0
  helper.poll(function()
    sent = sent + assert(to:write(text, sent + 1))
    return sent == #text
  end, 30)
  to:close()
end

--- Ask, by an id of our own.
function Client:ask(method, params, id)
  self.last_id = id or (self.last_id or 0) + 1
  self:say{ jsonrpc = "2.0", id = self.last_id, method = method, params = params }
  return self.last_id
end

-- The next line, or nil where none comes in time or the server has ended.
local function next_line(self, secs)
  local deadline = sys.clock() + secs
  while true do
    local line, rest = self.text:match("^([^\n]*)\n(.*)$")
    if line then
      self.text = rest
      return line
    end
    local piece = self.from:read()
    if piece == "" or piece == nil then return nil end
    if piece then
      self.text = self.text .. piece
    else
      local left = deadline - sys.clock()
      if left <= 0 then return nil end
      self.from:watch(true)
      sys.poll({ self.from:pollfd() }, left, {})
    end
  end
end

--- The next message; nil where none comes in time.
function Client:hear(secs)
  local line = next_line(self, secs or 60)
  return line and assert(json.decode(line))
end

--- What answers an id; what else comes is in `self.others`.
function Client:answer(id)
  self.others = {}
  while true do
    local message = assert(self:hear(), "no answer")
    if message.id == id and message.method == nil then return message end
    table.insert(self.others, message)
  end
end

--- Call a tool and have its result.
function Client:call(name, arguments, params)
  params = params or {}
  params.name, params.arguments = name, arguments
  return self:answer(self:ask("tools/call", params)).result
end

--- All text of a result.
function M.text(result)
  local texts = {}
  for index, block in ipairs(result.content) do
    texts[index] = block.text
  end
  return table.concat(texts, "\n")
end

--- End its input.
function Client:hang_up()
  if not self.out then return end
  posix.close(self.out)
  self.out = nil
end

--- End its input and wait for it to end.
-- @treturn table its result
-- @treturn string what it said on standard error
function Client:close()
  self:hang_up()
  self.from:close()
  posix.close(self.input)
  local result = assert(self.process:wait(30))
  self.process:close()
  return result, helper.read(self.errors_path)
end

return M
