-- SPDX-License-Identifier: MIT
--- Packages of npm for the specs: `local npm = require "spec.support.npm"`.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"

local M = {}

local PYTHON = "/usr/bin/python3"

local function commonjs(text)
  return { ["index.js"] = text }
end

--- Packages that are as they should be, and others.
M.PACKAGES = {
  { name = "plain", version = "1.0.0", files = commonjs("module.exports = 'plain 1.0.0';") },
  { name = "plain", version = "1.1.0", files = commonjs("module.exports = 'plain 1.1.0';") },
  { name = "@own/scoped", dependencies = { plain = "^1.0.0" },
    files = commonjs("module.exports = 'scoped with ' + require('plain');") },
  { name = "modern", manifest = { type = "module", exports = { ["."] = { import = "./m.js" } } },
    files = { ["m.js"] = "import plain from 'plain';\n"
      .. "export const name = 'modern with ' + plain;" },
    dependencies = { plain = "1.0.0" } },
  { name = "scripts", manifest = { scripts = { install = "echo ran >ran" } },
    files = commonjs("module.exports = require('fs').existsSync(__dirname + '/ran');") },
  { name = "weak", integrity = "sha1", files = commonjs("") },
  { name = "bare", integrity = "none", files = commonjs("") },
  { name = "wrong", content = "not what was promised", files = commonjs("") },
  { name = "elsewhere", tarball = "http://localhost:{port}/plain/-/plain-1.0.0.tgz",
    files = commonjs("") },
  { name = "of-a-repository", dependencies = { other = "git+http://127.0.0.1:9/x.git" } },
  { name = "of-a-file", dependencies = { other = "file:/etc" } },
  { name = "of-an-url", dependencies = { other = "http://localhost:9/x.tgz" } },
  { name = "needs-weak", dependencies = { weak = "1.0.0" } },
  { name = "needs-none", dependencies = { ["not-there"] = "1.0.0" } },
  { name = "other-machine", manifest = { os = { "darwin" } }, files = commonjs("") },
  { name = "choosy", optional = { ["other-machine"] = "1.0.0" },
    files = commonjs("module.exports = 1;") },
  { name = "outside", files = { ["../../../../../../tmp/outside"] = "x", ["index.js"] = "" } },
  { name = "large", files = { ["data"] = ("x"):rep(3000000) } },
}

--- Serve packages on loopback.
-- @tparam table packages as spec/fixtures/packages/registry.py says; the version is 1.0.0 where
-- none is said
-- @tparam[opt] string token it answers those alone who have it
-- @treturn table `url`, `asked()` (a list of paths), `close()`
function M.serve(packages, token)
  local list = {}
  for index, package in ipairs(packages) do
    list[index] = { version = "1.0.0" }
    for field, value in pairs(package) do list[index][field] = value end
  end
  local dir = helper.tmpdir()
  local path = helper.write(dir .. "/packages.json", assert(json.encode(json.array(list))))
  local program = helper.root .. "/spec/fixtures/packages/registry.py"
  local process = assert(noether.spawn({ PYTHON, "-I", program, path, dir .. "/log", token }, {
    isolation = "none",
  }))
  local registry = {}
  local function lines()
    local file = io.open(dir .. "/log")
    local found = {}
    for line in file and file:lines() or function() end do found[#found + 1] = line end
    if file then file:close() end
    return found
  end
  local port = assert(helper.poll(function() return lines()[1] end, 30), "no registry")
  registry.url = ("http://127.0.0.1:%s/"):format(port)
  function registry.asked() return table.move(lines(), 2, 10000, 1, {}) end
  function registry.close() process:close() end
  return setmetatable(registry, { __close = registry.close })
end

--- An executor that asks a registry alone.
-- @tparam table registry
-- @tparam[opt] table opts
-- @treturn table
function M.executor(registry, opts)
  opts = opts or {}
  opts.npm = opts.npm or {}
  opts.npm.registry = opts.npm.registry or registry.url
  opts.runtime, opts.timeout_secs, opts.setup_timeout_secs = "host", 60, 120
  opts.isolation = opts.isolation or "native"
  opts.cache_dir = opts.cache_dir or helper.tmpdir() .. "/cache"
  return noether.check(noether.executor(opts))
end

--- Run JavaScript, or another language.
function M.run(executor, code, opts, language)
  return executor:execute({ language = language or "javascript", code = code, effects = {} }, 1,
    opts)
end

return M
