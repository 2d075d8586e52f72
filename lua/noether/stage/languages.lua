-- SPDX-License-Identifier: MIT
--- The languages that come with the library: as many as there are files in policy/languages.
local sys = require "noether.sys"

local M = {}

local PREFIX = "noether.policy.languages."

-- In the interpreter, whose modules are inside it.
local function add_inside(found)
  for full in pairs(package.preload) do
    if full:sub(1, #PREFIX) == PREFIX then found[#found + 1] = full:sub(#PREFIX + 1) end
  end
end

-- Elsewhere beside this module's own file.
local function add_beside(found)
  local directory = debug.getinfo(1, "S").source:match("^@(.*)/stage/[^/]*$")
  for _, file in ipairs(directory and sys.list(directory .. "/policy/languages") or {}) do
    found[#found + 1] = file:match("^(.+)%.lua$")
  end
end

local names

--- Their names, sorted. They are looked for once.
-- @treturn table
function M.names()
  if names then return names end
  local found = {}
  add_inside(found)
  if #found == 0 then add_beside(found) end
  table.sort(found)
  names = found
  return names
end

--- The policy module of one.
-- @tparam string name of @{names}
-- @treturn table
function M.module(name)
  return require(PREFIX .. name)
end

--- Likewise, where there may be none of that name.
-- @param name
-- @treturn ?table
function M.find(name)
  for _, known in ipairs(M.names()) do
    if known == name then return M.module(name) end
  end
  return nil
end

local by_alias

-- Which language answers to each name.
local function aliases()
  if by_alias then return by_alias end
  by_alias = {}
  for _, name in ipairs(M.names()) do
    for _, alias in ipairs(M.module(name).names) do
      by_alias[alias] = name
    end
    by_alias[name] = name
  end
  return by_alias
end

--- The name a language goes by: "python" for "python3" and "", "bash" for "sh".
-- @tparam string language as written; case does not matter
-- @treturn string the language itself where none of these answers to it
function M.canonical(language)
  local wanted = language:lower()
  return aliases()[wanted] or wanted
end

return M
