-- SPDX-License-Identifier: MIT
-- A language in one file: stages in Lua, run by this machine's lua5.4 with its lua-cjson. A stage
-- defines execute; what it prints is its log, and what it raises is told with its line.
local RUNNER = [[
package.path = arg[0]:match "^.*/" .. "?.lua"
local json, answer = require "cjson", io.stdout
io.stdout = io.output(io.stderr)
function print(...) io.write(table.concat({ ... }, "\t"), "\n") end
local ok, result = xpcall(function()
  require "stage"
  return json.encode(execute(json.decode(io.read "a")))
end, function(message)
  local error = { type = "LuaError", message = message, traceback = debug.traceback() }
  return json.encode{ error = error }
end)
answer:write(result, "\n")
os.exit(ok, true)
]]

return {
  names = { "lua" }, extension = "lua",
  runtime = {
    programs = { "lua5.4", "lua" },
    probe = { "-e", [[print(('{"path":"%s","version":"%s"}'):format(arg[0], _VERSION))]] },
  },
  wrap = function(code)
    return { entry = "runner.lua", files = { ["stage.lua"] = code, ["runner.lua"] = RUNNER } }
  end,
  argv = function(runtime, entry) return { runtime.path, entry } end,
}
