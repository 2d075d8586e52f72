-- SPDX-License-Identifier: MIT
-- A dialogue with programs that go on: an interpreter at its prompt, and a server that speaks
-- JSON-RPC with a header before each message, as language servers do. Both are in a sandbox.
--
--     build/bin/noether-lua examples/dialogue.lua
local noether = require "noether"
local json = require "noether.json"

-- A program, and what came from it and was not read yet.
local function start(argv)
  local heard = { text = "" }
  heard.proc = noether.check(noether.spawn(argv, {
    stdin = true, timeout_secs = 60,
    on_stdout = function(piece) heard.text = heard.text .. piece end,
  }))
  return heard
end

-- Waits for more. An event loop would poll `proc:pollfd()` and call `proc:step()` without waiting.
local function hear(heard)
  local before = #heard.text
  if heard.proc:step(20) and #heard.text == before then error("the program has ended") end
end

local function read_line(heard)
  while true do
    local line, rest = heard.text:match("^([^\n]*)\n(.*)$")
    if line then
      heard.text = rest
      return line
    end
    hear(heard)
  end
end

local function read_bytes(heard, count)
  while #heard.text < count do
    hear(heard)
  end
  local bytes = heard.text:sub(1, count)
  heard.text = heard.text:sub(count + 1)
  return bytes
end

local function prompt()
  local shell = start{ "sh" }
  for _, line in ipairs{ "x=20", "echo $((x + 1))", "echo $((x * 2))" } do
    noether.check(shell.proc:write(line .. "\n"))
  end
  print("the shell says", read_line(shell), read_line(shell))
  shell.proc:close_stdin()
  print("and ends with", noether.check(shell.proc:wait(20)).exit_code)
end

local SERVER = [[
import json, sys
while True:
    header = sys.stdin.buffer.readline()
    if not header: break
    sys.stdin.buffer.readline()
    request = json.loads(sys.stdin.buffer.read(int(header.split(b":")[1])))
    answer = {"jsonrpc": "2.0", "id": request["id"], "result": len(request["params"]["text"])}
    body = json.dumps(answer).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()
]]

local function ask(server, id, text)
  local body = json.encode{ jsonrpc = "2.0", id = id, method = "length", params = { text = text } }
  noether.check(server.proc:write(("Content-Length: %d\r\n\r\n%s"):format(#body, body)))
  local length = tonumber(read_line(server):match("^Content%-Length: (%d+)"))
  read_line(server)
  return json.decode(read_bytes(server, length)).result
end

local function language_server()
  local server = start{ "/usr/bin/python3", "-c", SERVER }
  for id, text in ipairs{ "one", "three", ("long "):rep(20000) } do
    print("the server says", ask(server, id, text))
  end
  server.proc:close_stdin()
  print("and ends with", noether.check(server.proc:wait(20)).exit_code)
end

prompt()
language_server()
