-- SPDX-License-Identifier: MIT
--- What specs about lists of hosts share: a server on this machine's loopback, and a world in which
-- names lead where a spec wants.
local helper = require "spec.support.helper"
local json = require "noether.json"
local process = require "noether.process"

local M = {}

--- Starts the server of hosts_server.py.
-- @treturn table `port`; `full`, a port at which nobody is answered; and `stop()`
function M.serve()
  local said = ""
  local proc = assert(process.launch({ "/usr/bin/python3", helper.root
    .. "/spec/support/hosts_server.py" }, {
    stdin = true, on_stdout = function(text) said = said .. text end,
    env = { PATH = "/usr/bin:/bin" }, timeout_secs = 600,
  }))
  assert(helper.poll(function()
    proc:step(0.05)
    return said:find("\n", 1, true)
  end, 30), "the server did not start")
  local port, full = said:match "(%d+) (%d+)"
  local server = { port = tonumber(port), full = tonumber(full) }
  function server.stop()
    proc:cancel()
    proc:wait(10)
    proc:close()
  end
  return server
end

--- Lets others than us go down to a directory.
-- @tparam string dir
function M.open_way(dir)
  for parent in dir:gmatch("()/") do
    helper.shell("chmod a+x " .. helper.quote(dir:sub(1, parent)))
  end
end

local WORLD = [[
set -e
mount --bind "$1" "$(readlink -f /usr/bin/getent)"
shift
exec "$@"
]]

--- Runs a Lua program as a host of its own, on whose machine getent(1) is another program.
-- @tparam string getent its text: a shell script, which gets "ahosts" and the name; @DIR@ in it is
-- a directory that it may write to
-- @tparam string code which prints one JSON value; `arg` are `...`
-- @return that value
-- @treturn string the directory
function M.world(getent, code, ...)
  local dir = helper.tmpdir()
  helper.open_to_all(dir)
  helper.write(dir .. "/host.lua", code)
  local fake = helper.write(dir .. "/getent", "#!/bin/sh\n" .. getent:gsub("@DIR@", dir))
  helper.shell(("chmod 755 %s; chmod 777 %s"):format(helper.quote(fake), helper.quote(dir)))
  M.open_way(dir) -- who resolves names is nobody, where root is the host
  local flags = helper.own_mounts()
  local proc = assert(process.launch({
    "/usr/bin/unshare", flags, "--", "/bin/sh", "-c", WORLD, "world", fake, helper.lua,
    dir .. "/host.lua", ...
  }, {
    env = { PATH = os.getenv "PATH", TMPDIR = os.getenv "TMPDIR", HOME = dir },
    timeout_secs = 600,
  }))
  local result = assert(proc:wait())
  proc:close()
  assert(result.exit_code == 0, result.stdout .. result.stderr .. result.reason)
  return assert(json.decode(result.stdout)), dir
end

return M
