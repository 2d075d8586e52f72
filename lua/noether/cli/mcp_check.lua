-- SPDX-License-Identifier: MIT
--- `noether mcp --check`: the server that a client would get is started, and driven once as a
-- client would: both eras, a call of each tool that runs code, the end.
local clients = require "noether.mcp.client"
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local languages = require "noether.stage.languages"
local render = require "noether.cli.render"
local rpc = require "noether.mcp.rpc"
local sys = require "noether.sys"

local M = {}

local TIMEOUT_SECS = 120 -- the first run of an interpreter may have to find it
local INPUT, ANSWER = 21, "42"

local function one_line(text)
  return (errors.clean((text:gsub("%s*\n%s*", "; ")), 400))
end

local Check = {}
Check.__index = Check

function Check:say(ok, what, found)
  if not ok then self.failed = true end
  self.rows[#self.rows + 1] = { ok and "ok" or "fail", what, one_line(found) }
end

local function ask(client, method, params)
  local task = client:ask(method, params)
  local result, err = task:wait()
  task:close()
  return result, err
end

local function check_eras(self, client)
  local hello, err = client:greet()
  self:say(hello, "initialize", hello and ("version %s"):format(tostring(hello.protocolVersion))
    or tostring(err))
  if not hello then return false end
  client.modern = true
  local found
  found, err = ask(client, "server/discover", {})
  client.modern = false
  self:say(found, "server/discover", found and "version " .. rpc.MODERN or tostring(err))
  return true
end

local function check_tool(self, client, tool)
  local language = languages.find(tool.name:match "^run_(.+)$")
  local code = language and language.sample
  if not code then return self:say(true, tool.name, "offered, and not called") end
  local began = sys.clock()
  local result, err = ask(client, "tools/call", {
    name = tool.name, arguments = { code = code, input = INPUT },
  })
  local value, reason
  if result then value, reason = clients.value(result) end
  if value == ANSWER then
    return self:say(true, tool.name, ("runs code, in %.2f s"):format(sys.clock() - began))
  end
  return self:say(false, tool.name, tostring(reason or err or value))
end

local function check_end(self, client)
  client.process:close_stdin()
  local result, err = client.process:wait(10)
  local code = result and result.exit_code
  self:say(code == 0, "the end", code == 0 and "ends with its input"
    or result and ("exit code %s, %s"):format(tostring(code), tostring(result.signal))
    or tostring(err))
end

local function check(self, client)
  if not check_eras(self, client) then return end
  local tools, err = client:tools()
  if not tools then return self:say(false, "tools/list", tostring(err)) end
  self:say(true, "tools/list", ("%d tools"):format(#tools))
  for _, tool in ipairs(tools) do
    check_tool(self, client, tool)
  end
  check_end(self, client)
end

--- Check a server.
-- @tparam table context of the command
-- @tparam {string,...} argv how it is started
-- @treturn ?number exit code; or nil and an error
-- @treturn ?table
function M.run(context, argv)
  local client, err = clients.start(argv, { isolation = "none" }, TIMEOUT_SECS)
  if not client then return nil, err end
  local self = setmetatable({ rows = {} }, Check)
  local ok, raised = pcall(check, self, client)
  client:close()
  if not ok then error(raised, 0) end
  context.console:answer(render.columns(self.rows))
  return self.failed and exits.OURS or exits.OK
end

return M
