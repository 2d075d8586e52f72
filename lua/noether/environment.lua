-- SPDX-License-Identifier: MIT
--- The variables that a stage starts with.
-- Nothing of the host's environment reaches a stage but what the isolation policy's list names. A
-- clean one is faster, too: what an interpreter looks for and does not find, it does not load.
local M = {}

local SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

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

--- The environment of a stage but for what its caller adds.
-- @tparam table environ the host's environment
-- @tparam ?table allowlist names, or beginnings of names and "*"
-- @tparam table opts `isolated` (it sees a file system of its own), `language` (variables that the
-- language's policy asks for), `runtime`
-- @treturn table values by name
function M.public(environ, allowlist, opts)
  local env = inherited(environ, allowlist)
  if opts.isolated then
    env.HOME, env.USER, env.LOGNAME, env.TMPDIR = "/work", "nobody", "nobody", "/tmp"
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
