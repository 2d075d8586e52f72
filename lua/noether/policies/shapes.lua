-- SPDX-License-Identifier: MIT
--- What the fields of a policy module are, and what each of its hooks must return.
-- A check takes a value and gives true, or nil and what was expected.
local errors = require "noether.error"
local tables = require "noether.tables"

local M = {}

local function expect(text, test)
  return function(value)
    if test(value) then return true end
    return nil, text
  end
end

local function is_text(value)
  return type(value) == "string" and not value:find("%z")
end

local function is_file_name(name)
  return is_text(name) and name:find("^[%w_][%w_.-]*$") ~= nil and #name <= 100
end

local function is_variable(name)
  return type(name) == "string" and name:find("^[%a_][%w_]*$") ~= nil
end

local is_function = expect("a function", function(v) return type(v) == "function" end)
local is_string = expect("a string", is_text)
local is_strings = expect("a list of strings", function(v) return tables.is_list(v, is_text) end)
local is_string_map = expect("a table of strings by name", function(v)
  return tables.is_map(v, is_text)
end)

local function is_attribute(value)
  return is_text(value) and value:find("^[%w_][%w_.'-]*$") ~= nil
end

local is_runtime = expect("a table with `programs` (names) and `probe` (arguments), and if wanted "
  .. "`attribute`, `tools` (attributes of nixpkgs) and `packages` (boolean)", function(v)
  return type(v) == "table" and tables.is_list(v.programs, is_text) and #v.programs > 0
    and tables.is_list(v.probe, is_text) and (v.attribute == nil or is_attribute(v.attribute))
    and tables.is_list(v.tools or {}, is_attribute)
    and (v.packages == nil or type(v.packages) == "boolean")
end)

local is_installer = expect("a table with `venv` and `install` (arguments)", function(v)
  return type(v) == "table" and tables.is_list(v.venv, is_text) and #v.venv > 0
    and tables.is_list(v.install, is_text) and #v.install > 0
end)

--- The fields of each kind of module: { check, required of a new module }.
M.FIELDS = {
  language = {
    name = { is_string }, names = { is_strings, true }, extension = { is_string, true },
    runtime = { is_runtime, true }, wrap = { is_function, true }, argv = { is_function, true },
    env = { is_function }, check_input = { is_function },
  },
  pip = {
    check = { is_function }, requirements = { is_function }, allow = { is_strings },
    deny = { is_strings }, installer = { is_installer }, env = { is_string_map },
    env_allowlist = { is_strings }, paths = { is_strings }, venv_argv = { is_function },
    install_argv = { is_function }, requirements_file = { is_function },
    on_invalid = { expect("'refuse' or 'drop'", function(v)
      return v == "refuse" or v == "drop"
    end) },
  },
  packages = { detect = { is_function }, known = { is_string_map } },
  isolation = { describe = { is_function } },
  errors = {
    classify = { is_function }, first_line = { is_function }, excerpt = { is_function },
  },
}

-- `true`, or `nil, reason`: the verdict of a check.
local function verdict(_, ok, reason)
  if ok == true then return true end
  if ok == nil and type(reason) == "string" then return true end
  return nil, "true, or nil and a reason (a string)"
end

local function wrapped(_, script, reason)
  if script == nil and type(reason) == "string" then return true end
  if type(script) == "table" and type(script.files) == "table" and is_text(script.entry)
    and type(script.files[script.entry]) == "string" then
    for name, text in pairs(script.files) do
      if not is_file_name(name) or type(text) ~= "string" then
        return nil, ("file names without '/' and texts in `files`, not '%s'"):format(tostring(name))
      end
    end
    return true
  end
  return nil, "{ files = { [name] = text }, entry = one of the names }, or nil and a reason"
end

local function arguments(_, argv)
  if tables.is_list(argv, is_text) and argv[1] and argv[1]:sub(1, 1) == "/" then return true end
  return nil, "a list of strings without NUL, the program's absolute path first"
end

local function variables(_, env)
  if type(env) == "table" then
    local ok = true
    for name, value in pairs(env) do
      ok = ok and is_variable(name) and is_text(value)
    end
    if ok then return true end
  end
  return nil, "a table of strings by variable name"
end

local function requirements(_, list, rejected)
  if tables.is_list(list, is_text) and rejected == nil then return true end
  local function is_rejection(item)
    return type(item) == "table" and is_text(item.spec) and type(item.reason) == "string"
  end
  local is_rest = list == nil or tables.is_list(list, is_text)
  if is_rest and tables.is_list(rejected, is_rejection) then return true end
  return nil, "a list of strings; or nil (or the rest) and a list of { spec =, reason = }"
end

-- The kinds that a classifier may choose, by whose text it looked at. What a stage wrote can
-- never make its failure look like one of the machine, nor the reverse.
local KINDS_OF_SOURCE = {
  stage = { stage_failed = true, output_invalid = true, effect_denied = true },
  nix = { runtime_unavailable = true, packages_failed = true, setup_timed_out = true },
  pip = { packages_failed = true, package_rejected = true, setup_timed_out = true },
  sandbox = { sandbox_failed = true, isolation_unavailable = true },
  host = { runtime_unavailable = true, spawn_failed = true },
}

local function classified(facts, kind, message, hint, effect)
  local legal = KINDS_OF_SOURCE[facts.source] or {}
  if not errors.fault(kind) or not legal[kind] then
    return nil, ("a kind that source '%s' may have, not '%s'"):format(
      tostring(facts.source), tostring(kind))
  elseif type(message) ~= "string" or message == "" then
    return nil, "a message (a string, not empty) after the kind"
  elseif hint ~= nil and type(hint) ~= "string" then
    return nil, "a hint (a string) or nil after the message"
  elseif effect ~= nil and type(effect) ~= "string" then
    return nil, "the name of an effect or nil after the hint"
  end
  return true
end

-- Whoever runs them fills in the program, which may be a placeholder still.
local function command(_, argv)
  if tables.is_list(argv, is_text) and argv[1] then return true end
  return nil, "a list of strings without NUL, the program first"
end

local function file_text(_, value)
  if is_text(value) then return true end
  return nil, "a string without NUL"
end

--- What each hook must return. Each check takes the hook's first argument
-- and then its results.
M.RESULTS = {
  wrap = wrapped,
  argv = arguments,
  env = variables,
  check_input = verdict,
  check = verdict,
  requirements = requirements,
  venv_argv = command,
  install_argv = command,
  requirements_file = file_text,
  detect = function(_, list)
    if tables.is_list(list, is_text) then return true end
    return nil, "a list of strings"
  end,
  describe = function(_, description)
    if type(description) == "table" then return true end
    return nil, "a sandbox description (a table)"
  end,
  classify = classified,
}

return M
