-- SPDX-License-Identifier: MIT
--- Refuses a dependency that points the wrong way.
--
--     check-layers.lua ROOT
--
-- Prints "file:line: what is wrong" for each, and then exits with 1.

local root = assert(arg[1], "usage: check-layers.lua ROOT")

-- From the bottom up. A Lua module may require what is below it and, without
-- going in a circle, what is beside it; "x.*" is all that lies under x. What is
-- `alone` requires nothing else of the project, for the reason that is said.
local NOTHING, ONLY_COMPAT =
  "a leaf requires nothing", "a leaf requires only noether.compat"
local LAYERS = {
  { "core", "redis", "signals", "terminal" },
  { "compat", "base64", "resource", alone = NOTHING },
  { "reference" }, -- what help() shows, which the build writes
  { "text", "tables", "paths", "later", "written", alone = ONLY_COMPAT },
  { "error", "options", "inspect", "hosts", alone = ONLY_COMPAT },
  { "policy.*", alone = "a policy is pure and stands alone" },
  { "sys", "json", "probe" },
  { "sandbox.*" },
  { "process", "set", "timer" },
  { "isolation", "command" },
  { "stage.*" },
  { "cache.*", "runtime.*", "overrides.*" },
  { "run.*" },
  { "warm.*" },
  { "report.trace" }, -- a page about runs, which executors write
  { "executor.*", "nix_executor" },
  { "report.*", "mcp.*", "fleet.*" },
  { "init" },
  { "cli", "cli.*", "repl", "repl.*" },
}

-- What may be required by these alone, whatever their layer.
local ONLY_BY = {
  ["noether.core"] = { "process", "sys", "json" },
  ["noether.redis"] = { "fleet.wire" },
  ["noether.signals"] = { "cli.*" }, ["noether.terminal"] = { "cli.*" },
  ["cjson"] = { "json" },
  ["cjson.safe"] = { "json" },
  ["lpeg"] = { "policy.*" },
  ["argparse"] = { "cli.*" },
}

-- A row is read at a glance: what is more wants a folder.
local MOST_IN_A_ROW = 8

-- What those that stand alone may require all the same.
local FOR_ALL = { compat = true, resource = true, base64 = true }

-- By directory or file: what its `#include "..."` may name (as a prefix of the
-- path from the root), and whether it may see Lua's headers. What the jail and the
-- core share lies in src/base, and is compiled for both.
local INCLUDES = {
  { "include/", { "include/" } },
  { "src/base/", { "src/base/" } },
  { "src/core/", { "include/", "src/core/", "src/base/" } },
  { "src/jail/", { "src/jail/", "src/base/" } },
  { "src/fork/", { "src/fork/", "src/jail/", "src/base/" } },
  { "src/binding/", { "include/", "src/core/", "src/base/", "src/binding/" }, lua = true },
  { "src/redis/", { "src/redis/" }, lua = true },
  { "src/cmd/embedded.h", {} },
  { "src/cmd/main.c", { "include/", "src/cmd/front.h" }, lua = true },
  { "src/cmd/", { "src/cmd/" }, lua = true },
}

local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true,
  ["luaconf.h"] = true, ["lua.hpp"] = true }

local found = 0

local function refuse(file, line, message, ...)
  found = found + 1
  print(("%s:%d: " .. message):format(file, line, ...))
end

local function files(directory, pattern)
  local names = {}
  local pipe = assert(io.popen(("cd '%s' && find %s -name '%s' | sort"):format(
    root, directory, pattern)))
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

local function covers(pattern, name)
  local under = pattern:match "^(.*%.)%*$"
  return pattern == name or under ~= nil and name:sub(1, #under) == under
end

local function any_covers(patterns, name)
  for _, pattern in ipairs(patterns) do
    if covers(pattern, name) then return true end
  end
  return false
end

local function layer_of(name)
  for layer, patterns in ipairs(LAYERS) do
    if any_covers(patterns, name) then return layer end
  end
end

-- "noether.json" -> "json", "noether" -> "init", "lpeg" -> nil
local function own_name(module)
  if module == "noether" then return "init" end
  return module:match "^noether%.(.+)$"
end

local function reason_to_stand_alone(name)
  local layer = LAYERS[layer_of(name)]
  return layer and layer.alone
end

local function check_rows()
  for layer, patterns in ipairs(LAYERS) do
    if #patterns > MOST_IN_A_ROW then
      refuse("tools/test/check-layers.lua", 1, "layer %d names %d modules: a folder "
        .. "would be one", layer, #patterns)
    end
  end
end

-- A language may be another one with more to it.
local function is_language_upon_language(from, to)
  return covers("policy.languages.*", from) and covers("policy.languages.*", to)
end

local function why_not(from, module)
  local to = own_name(module)
  if ONLY_BY[module] and not any_covers(ONLY_BY[module], from) then
    return ("only %s may require it"):format(table.concat(ONLY_BY[module], ", "))
  elseif not to then
    return not ONLY_BY[module] and "it is no part of the project, nor a library that it uses"
  elseif not FOR_ALL[to] and not is_language_upon_language(from, to)
    and reason_to_stand_alone(from) then
    return reason_to_stand_alone(from)
  elseif not layer_of(to) then
    return "it has no layer in tools/test/check-layers.lua"
  end
  return layer_of(to) > layer_of(from) and "that is a layer above"
end

local function read(file)
  local handle = assert(io.open(root .. "/" .. file, "rb"))
  local text = handle:read "*a"
  handle:close()
  return text
end

-- The text without long strings and comments (a runner in another language may
-- be among them), its lines still in their places.
local function code_of(file)
  local text = read(file):gsub("(%[(=*)%[.-%]%2%])", function(long)
    return '""' .. long:gsub("[^\n]", "")
  end)
  return (text:gsub("%-%-[^\n]*", ""))
end

-- The edges of one file: { {module=, line=}, ... }. Names that are made at run
-- time are not seen.
local function requires_of(file)
  local edges, number = {}, 0
  for line in (code_of(file) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    for _, form in ipairs { "require", "later%.module" } do
      for module in line:gmatch(form .. "%s*%(?%s*[\"']([%w_.]+)[\"']") do
        edges[#edges + 1] = { module = module, line = number }
      end
    end
  end
  return edges
end

local function check_lua_file(file, name, graph)
  graph[name] = {}
  if not layer_of(name) then
    refuse(file, 1, "module '%s' has no layer in tools/test/check-layers.lua", name)
    return
  end
  for _, edge in ipairs(requires_of(file)) do
    local reason = why_not(name, edge.module)
    if reason then
      refuse(file, edge.line, "'%s' may not require '%s': %s", name, edge.module, reason)
    end
    table.insert(graph[name], own_name(edge.module))
  end
end

local function find_circle(graph, name, path, state)
  state[name] = "open"
  path[#path + 1] = name
  for _, other in ipairs(graph[name] or {}) do
    if state[other] == "open" then
      refuse("lua/noether", 1, "a circle: %s -> %s", table.concat(path, " -> "), other)
    elseif not state[other] then
      find_circle(graph, other, path, state)
    end
  end
  path[#path] = nil
  state[name] = "done"
end

local function check_lua()
  local graph, names, state = {}, {}, {}
  for _, file in ipairs(files("lua/noether", "*.lua")) do
    local name = file:match "^lua/noether/(.+)%.lua$":gsub("/", "."):gsub("(.)%.init$", "%1")
    names[#names + 1] = name
    check_lua_file(file, name, graph)
  end
  for _, name in ipairs(names) do
    if not state[name] then find_circle(graph, name, {}, state) end
  end
end

local function rule_for(file)
  for _, rule in ipairs(INCLUDES) do
    if file:sub(1, #rule[1]) == rule[1] then return rule end
  end
end

local function exists(path)
  local file = io.open(root .. "/" .. path)
  if file then file:close() end
  return file ~= nil
end

-- As the compiler looks: beside the file, then in include/ and src/.
local function resolve(file, name)
  local beside = file:match "^(.*/)" .. name
  repeat
    local count
    beside, count = beside:gsub("[^/]+/%.%./", "", 1)
  until count == 0
  for _, path in ipairs { beside, "include/" .. name, "src/" .. name } do
    if exists(path) then return path end
  end
  return name
end

local function check_include(file, number, rule, quote, name)
  if LUA_HEADERS[name] then
    if not rule.lua then
      refuse(file, number, "only src/binding, src/redis and the interpreter may include <%s>", name)
    end
  elseif quote == '"' then
    local path = resolve(file, name)
    for _, prefix in ipairs(rule[2]) do
      if path:sub(1, #prefix) == prefix then return end
    end
    refuse(file, number, "%s may not include %s", rule[1], path)
  end
end

local function check_c_file(file)
  local rule = rule_for(file)
  if not rule then
    refuse(file, 1, "has no place in tools/test/check-layers.lua")
    return
  end
  local number = 0
  for line in io.lines(root .. "/" .. file) do
    number = number + 1
    local quote, name = line:match "^%s*#%s*include%s*([\"<])([^\">]+)"
    if name then check_include(file, number, rule, quote, name) end
  end
end

check_rows()
check_lua()
for _, file in ipairs(files("src include", "*.[ch]")) do check_c_file(file) end
os.exit(found == 0, true)
