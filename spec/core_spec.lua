-- SPDX-License-Identifier: MIT
--- How `noether.core` tells of a failure: in a table, whose fields are not glued together.
local helper = require "spec.support.helper"
local core = require "noether.core"

describe("a failure that the core tells of", function()
  it("says what could not be done, the system's word, and whose fault it is", function()
    local _, failed = core.realpath("/nonesuch/x: y")
    assert.same({
      operation = "realpath", message = "/nonesuch/x: y: No such file or directory",
      errno = "ENOENT", fault = "system",
    }, failed)
    local dir = helper.tmpdir()
    for fault, sandbox in pairs{
      argument = { backend = "native", work_dir = "x" },
      sandbox = { backend = "native", ro_binds = { { source = dir .. "/x", target = "/x" } } },
    } do
      local handle
      handle, failed = core.spawn{ argv = { "/bin/true" }, sandbox = sandbox }
      assert.is_nil(handle)
      assert.equal(fault, failed.fault)
      assert.is_string(failed.operation)
      assert.truthy(failed.message:find(fault == "sandbox" and dir or "work_dir", 1, true))
    end
    local poller = core.poller()
    _, failed = poller:add(10 ^ 6, 1)
    assert.same({ "epoll_ctl", "EBADF" }, { failed.operation, failed.errno })
    poller:close()
  end)

  it("takes no word for another one", function()
    for field, word in pairs{ network = "hosts", backend = "docker" } do
      local sandbox = { backend = "native", network = "none" }
      sandbox[field] = word
      local ok, message = pcall(core.spawn, { argv = { "/bin/true" }, sandbox = sandbox })
      assert.is_false(ok)
      assert.truthy(message:find(("no %s '%s'"):format(field, word), 1, true), message)
    end
  end)
end)

describe("the module in a process with two Luas", function()
  -- Both libraries' functions have the same names: modules are linked to the first.
  local HOST = [[
import ctypes, sys
first, second, own, module = sys.argv[1:]
lua = {v: ctypes.CDLL("liblua%s.so.0" % v, ctypes.RTLD_GLOBAL) for v in (first, second)}[own]
lua.luaL_newstate.restype = ctypes.c_void_p
state = ctypes.c_void_p(lua.luaL_newstate())
lua.luaL_openlibs(state)
lua.luaL_loadstring(state, (
    "local open = assert(package.loadlib('%s', 'luaopen_noether_core')) "
    "print(pcall(open)) io.stdout:flush()" % module).encode())
if own == "5.1":
    lua.lua_pcall(state, 0, 0, 0)
else:
    lua.lua_pcallk(state, 0, 0, 0, 0, None)
]]
  local build = helper.lua:match "^(.*)/bin/"

  for _, case in ipairs{
    { "5.1", "5.3", "5.1", "^true\t" }, { "5.3", "5.1", "5.3", "^true\t" },
    { "5.1", "5.3", "5.3", "^false\t.*two Luas in this process" },
    { "5.3", "5.1", "5.1", "^false\t.*two Luas in this process" },
    { "5.3", "5.4", "5.4", "^false\t.*two Luas in this process" },
  } do
    it(("is told of by what it says: %s, %s, run by %s"):format(table.unpack(case)), function()
      local script = helper.write(helper.tmpdir() .. "/host.py", HOST)
      local output = helper.shell(helper.sanitizers_first .. ("%s %s %s %s %s %s"):format(
        "/usr/bin/python3", script, case[1], case[2], case[3],
        helper.quote(("%s/lib/%s/noether/core.so"):format(build, case[3]))))
      assert.matches(case[4], output)
    end)
  end
end)
