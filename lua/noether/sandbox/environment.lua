-- SPDX-License-Identifier: MIT
--- The variables that a stage starts with.
-- Nothing of the host's environment reaches a stage but what the isolation policy's list names. A
-- clean one is faster, too: what an interpreter looks for and does not find, it does not load.
local descriptions = require "noether.sandbox.description"

local M = {}

--- Where programs are looked for if nothing else is said.
M.SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

local SYSTEM_PATH = M.SYSTEM_PATH

-- Without a mount namespace the stage is the user's own process, and is told whose.
local HOST_NAMES = { "HOME", "USER", "LOGNAME", "PATH", "TMPDIR" }

-- Adds those whose names begin so.
local function inherit_beginning(env, environ, beginning)
  for name, value in pairs(environ) do
    if name:sub(1, #beginning) == beginning then env[name] = value end
  end
end

-- "LC_*" covers "LC_ALL"; other patterns are whole names.
local function inherited(environ, allowlist)
  local env = {}
  for _, pattern in ipairs(allowlist or {}) do
    if pattern:sub(-1) == "*" then
      inherit_beginning(env, environ, pattern:sub(1, -2))
    else
      env[pattern] = environ[pattern]
    end
  end
  return env
end

-- A runtime that brings programs of its own has them found first.
local function search_path(runtime, inherited_path)
  if runtime.search_path then
    return table.concat(runtime.search_path, ":") .. ":" .. (inherited_path or SYSTEM_PATH)
  elseif inherited_path then
    return inherited_path
  end
  local dir = runtime.path and runtime.path:match("^(.+)/[^/]+$")
  if not dir or (":" .. SYSTEM_PATH .. ":"):find(":" .. dir .. ":", 1, true) then
    return SYSTEM_PATH
  end
  return dir .. ":" .. SYSTEM_PATH
end

-- Who a program in a sandbox with a root of its own is, and where.
local function add_inside(env, home)
  env.HOME, env.USER, env.TMPDIR = home, "nobody", descriptions.TMP_DIR
end

--- The environment of a command but for what its caller adds: outside a sandbox ours, as from a
-- shell; inside a clean one.
-- @tparam table environ the host's environment
-- @tparam table allowlist as of @{public}
-- @tparam table opts `clear` (default: in a sandbox), `sandboxed`
-- @treturn table values by name
function M.of_command(environ, allowlist, opts)
  local clear, env = opts.clear, {}
  if clear == nil then clear = opts.sandboxed end
  if not clear then
    for name, value in pairs(environ) do
      env[name] = value
    end
  elseif opts.sandboxed then
    env = inherited(environ, allowlist)
  end
  if opts.sandboxed then
    add_inside(env, descriptions.WORK_DIR)
    env.PATH = SYSTEM_PATH
  end
  return env
end

--- The environment of a stage but for what its caller adds.
-- @tparam table environ the host's environment
-- @tparam ?table allowlist names, or beginnings of names and "*"
-- @tparam table opts `home` (of a sandbox with a root of its own; nil: the host's), `language`
-- (variables that the language's policy asks for), `runtime`
-- @treturn table values by name
function M.public(environ, allowlist, opts)
  local env = inherited(environ, allowlist)
  if opts.home then
    add_inside(env, opts.home)
    env.LOGNAME = env.USER
  else
    for _, name in ipairs(HOST_NAMES) do
      env[name] = environ[name]
    end
  end
  env.PATH = search_path(opts.runtime, env.PATH)
  for name, value in pairs(opts.language) do
    env[name] = value
  end
  return env
end

return M
