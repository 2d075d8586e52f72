-- SPDX-License-Identifier: MIT
--- What is asked of nix, and how its answers are read. Nothing here runs anything.
--
-- Versions differ: newer ones print the same facts in other shapes. No version is asked for; a
-- reader takes every shape that is known, and an option that one lacks is tried in another form.
local json = require "noether.json"

local M = {}

-- Off by default, and needed for every command used here.
local FEATURES = { "--extra-experimental-features", "nix-command flakes" }

local function command(nix, ...)
  local argv = { nix, FEATURES[1], FEATURES[2] }
  for _, list in ipairs{ ... } do
    for _, argument in ipairs(list) do
      argv[#argv + 1] = argument
    end
  end
  return argv
end

--- How `nix build` can be asked to say what it built, in the order to try.
M.FORMATS = { "--json", "--print-out-paths" }

function M.version(nix)
  return { nix, "--version" }
end

--- What the command that opens the store and does no more has been called, in the order to try.
M.TRIALS = { "ping", "info" }

function M.trial(nix, name)
  return command(nix, { "store", name })
end

function M.metadata(nix, reference)
  return command(nix, { "flake", "metadata", "--json", "--no-write-lock-file", reference })
end

--- @tparam string nix
-- @tparam table what `installables`, or an `expression`
-- @tparam string root where the link that keeps it from collection goes
-- @tparam string format of @{FORMATS}
-- @treturn table
function M.build(nix, what, root, format)
  local subject = what.expression and { "--expr", what.expression } or what.installables
  return command(nix, { "build", "--no-write-lock-file", "--out-link", root, format }, subject)
end

function M.closure(nix, paths)
  return command(nix, { "path-info", "-r" }, paths)
end

function M.repair(nix, paths)
  return command(nix, { "store", "repair" }, paths)
end

-- A Nix string of any text.
local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%$", "\\$") .. '"'
end

-- "a.b" as a path of attributes, each quoted.
local function path_of(attribute)
  local parts = {}
  for part in attribute:gmatch("[^.]+") do
    parts[#parts + 1] = quoted(part)
  end
  return table.concat(parts, ".")
end

--- An interpreter with packages, as a Nix expression. The reference is locked, so that nothing
-- impure is needed.
-- @tparam string locked reference
-- @tparam string system "x86_64-linux"
-- @tparam string attribute "python3"
-- @tparam table packages attributes of its packages
-- @treturn string
function M.expression(locked, system, attribute, packages)
  local list = {}
  for i, name in ipairs(packages) do
    list[i] = "ps." .. path_of(name)
  end
  return ("let flake = builtins.getFlake %s; set = flake.legacyPackages.%s or flake.packages.%s;"
    .. " in set.%s.withPackages (ps: [ %s ])"):format(quoted(locked), quoted(system),
    quoted(system), path_of(attribute), table.concat(list, " "))
end

--- The original's command for every single run: nix in the place of the interpreter, the rest of
-- whose arguments follow.
-- @tparam string nix
-- @tparam string reference
-- @tparam table runtime the language's: `attribute`, `programs`
-- @tparam table packages attributes of its packages
-- @treturn table
function M.run(nix, reference, runtime, packages)
  local options = { "--no-write-lock-file", "--quiet" }
  local attribute = reference .. "#" .. runtime.attribute
  if #packages == 0 then return command(nix, { "run" }, options, { attribute, "--" }) end
  local installables = {}
  for i, name in ipairs(packages) do
    installables[i] = ("%sPackages.%s"):format(attribute, name)
  end
  return command(nix, { "shell" }, options, installables, { "--command", runtime.programs[1] })
end

--- The locked reference in the answer to @{metadata}.
-- @tparam string output
-- @treturn ?string
function M.locked(output)
  local answer = json.decode(output)
  if type(answer) ~= "table" then return nil end
  local url = answer.lockedUrl or answer.url
  return type(url) == "string" and url or nil
end

-- Every store path in a value, wherever it is: in lists and maps, as name or as value. What leads
-- to one (`deriver`, `drvPath`) or is referred to is none of the answer's own.
local OTHERS = { deriver = true, drvPath = true, references = true }

local function collect(value, found)
  if type(value) == "string" and value:sub(1, 1) == "/" then
    found[#found + 1] = value
  elseif type(value) == "table" then
    for name, item in pairs(value) do
      if type(name) == "string" and name:sub(1, 1) == "/" then
        found[#found + 1] = name
      elseif not OTHERS[name] then
        collect(item, found)
      end
    end
  end
end

--- The store paths in an answer: one a line, or JSON of any shape.
-- @tparam string output
-- @treturn table sorted, each once
function M.paths(output)
  local found, list, seen = {}, {}, {}
  local value = output:find("^%s*[%[{]") and json.decode(output)
  if value then
    collect(value, found)
  else
    for line in output:gmatch("[^\r\n]+") do
      if line:sub(1, 1) == "/" then found[#found + 1] = line end
    end
  end
  for _, path in ipairs(found) do
    if not seen[path] then
      seen[path] = true
      list[#list + 1] = path
    end
  end
  table.sort(list)
  return list
end

--- The version in "nix (Nix) 2.8.0", the last of several.
-- @tparam string output
-- @treturn ?string
function M.version_in(output)
  local found
  for version in output:gmatch("%d+%.%d[%w.+-]*") do
    found = version
  end
  return found
end

return M
