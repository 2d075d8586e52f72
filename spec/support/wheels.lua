-- SPDX-License-Identifier: MIT
--- Packages for the specs: `local wheels = require "spec.support.wheels"`. Wheels are written as a
-- test describes them, and served by an index on loopback.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"

local M = {}

local PYTHON = "/usr/bin/python3"
local TOOLS = helper.root .. "/spec/fixtures/packages/"

--- Write packages into a new directory.
-- @tparam table packages as spec/fixtures/packages/wheels.py says
-- @treturn string the directory
-- @treturn table SHA-256 by file name
function M.make(packages)
  local dir = helper.tmpdir()
  local list = {}
  for index, package in ipairs(packages) do
    list[index] = { version = "1.0" }
    for field, value in pairs(package) do list[index][field] = value end
    if package.requires then list[index].requires = json.array(package.requires) end
  end
  local result = assert(noether.run({ PYTHON, "-I", TOOLS .. "wheels.py" }, {
    isolation = "none", stdin = assert(json.encode{ dir = dir, packages = json.array(list) }),
  }))
  assert(result.ok, result.stderr)
  return dir, assert(json.decode(result.stdout))
end

--- Serve a directory's packages.
-- @tparam string dir
-- @tparam[opt] string elsewhere a URL below which it says that the files lie
-- @treturn table `url(kind)` ("simple", "slow", "private"), `asked()` (a list of paths), `close()`
function M.serve(dir, elsewhere)
  local log = helper.tmpdir() .. "/log"
  local process = assert(noether.spawn({
    PYTHON, "-I", TOOLS .. "index.py", dir, log, elsewhere,
  }, { isolation = "none" }))
  local index = {}
  local function lines()
    local file = io.open(log)
    local found = {}
    for line in file and file:lines() or function() end do found[#found + 1] = line end
    if file then file:close() end
    return found
  end
  index.port = assert(helper.poll(function() return lines()[1] end, 30), "no index")
  function index.url(kind)
    return ("http://127.0.0.1:%s/%s"):format(index.port, kind or "simple")
  end
  function index.asked() return table.move(lines(), 2, 1000, 1, {}) end
  function index.close() process:close() end
  return setmetatable(index, { __close = index.close })
end

return M
