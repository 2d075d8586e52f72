-- SPDX-License-Identifier: MIT
--- What the fields of a policy module are, and what each of its hooks must return.
-- A check takes a value and gives true, or nil and what was expected.
local errors = require "noether.error"
local hosts = require "noether.hosts"
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

local is_boolean = expect("true or false", function(v) return type(v) == "boolean" end)
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
  .. "`attribute`, `tools` (attributes of nixpkgs), `packages` and `newest` (booleans) and "
  .. "`install` (a string)",
  function(v)
  return type(v) == "table" and tables.is_list(v.programs, is_text) and #v.programs > 0
    and tables.is_list(v.probe, is_text) and (v.attribute == nil or is_attribute(v.attribute))
    and tables.is_list(v.tools or {}, is_attribute)
    and (v.packages == nil or type(v.packages) == "boolean")
    and (v.newest == nil or type(v.newest) == "boolean")
    and (v.install == nil or is_text(v.install))
end)

local is_installer = expect("a table with `venv`, `install` and, if wanted, `lock` (arguments)",
  function(v)
  return type(v) == "table" and tables.is_list(v.venv, is_text) and #v.venv > 0
    and tables.is_list(v.install, is_text) and #v.install > 0
    and (v.lock == nil or tables.is_list(v.lock, is_text))
end)

local is_forks = expect("a table with `helper` (the name of a file) and `probe` (a stage's code)",
  function(v) return type(v) == "table" and is_text(v.helper) and is_text(v.probe) end)

local is_npm_installer = expect("a table with `lock` and `install` (arguments)", function(v)
  return type(v) == "table" and tables.is_list(v.lock, is_text) and #v.lock > 0
    and tables.is_list(v.install, is_text) and #v.install > 0
end)

-- Of an installer.
local function is_hosts(value)
  if value == false or (type(value) == "table" and next(value) == nil) then return true end
  local list, what
  if tables.is_list(value, is_text) then list, what = hosts.parse(value) end
  if list and not hosts.asked(list) then return true end
  return nil, what or "a list of hosts, each \"host:port\", or false"
end

--- The fields of each kind of module: { check, required of a new module }.
M.FIELDS = {
  language = {
    name = { is_string }, names = { is_strings, true }, extension = { is_string, true },
    runtime = { is_runtime, true }, wrap = { is_function, true }, argv = { is_function, true },
    env = { is_function }, check_input = { is_function }, compile = { is_function },
    mistake = { is_function }, optional = { is_boolean },
    requires = { expect("'pip' or 'npm'", function(v) return v == "pip" or v == "npm" end) },
    wrap_session = { is_function }, forks = { is_forks }, about = { is_string },
    channel = { expect("1: the runner speaks the channel", function(v) return v == 1 end) },
    ahead = { expect("'stdin' or 'channel': how a process that was started ahead gets its request",
      function(v) return v == "stdin" or v == "channel" end) },
  },
  pip = {
    check = { is_function }, requirements = { is_function }, allow = { is_strings },
    deny = { is_strings }, installer = { is_installer }, env = { is_string_map },
    env_allowlist = { is_strings }, hosts = { is_hosts }, paths = { is_strings },
    venv_argv = { is_function },
    install_argv = { is_function }, requirements_file = { is_function },
    lock_argv = { is_function }, wanted = { is_function },
    on_invalid = { expect("'refuse' or 'drop'", function(v)
      return v == "refuse" or v == "drop"
    end) },
  },
  npm = {
    check = { is_function }, requirements = { is_function }, allow = { is_strings },
    deny = { is_strings }, installer = { is_npm_installer }, env = { is_string_map },
    env_allowlist = { is_strings }, hosts = { is_hosts }, commands = { is_function },
    requirements_file = { is_function },
  },
  script = {
    metadata = { is_function }, satisfies = { is_function }, unfinished = { is_function },
    max_bytes = { expect("a number of bytes", function(v)
      return type(v) == "number" and v > 0
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
    and type(script.files[script.entry]) == "string"
    and (script.own == nil or type(script.files[script.own]) == "string") then
    for name, text in pairs(script.files) do
      if not is_file_name(name) or type(text) ~= "string" then
        return nil, ("file names without '/' and texts in `files`, not '%s'"):format(tostring(name))
      end
    end
    return true
  end
  return nil, "{ files = { [name] = text }, entry = one of the names, own = another or nil }; or "
    .. "nil and a reason"
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

local function metadata(_, found, reason)
  if found == nil then
    if reason == nil or type(reason) == "string" then return true end
    return nil, "a table, nil, or nil and a reason (a string)"
  end
  local wanted = type(found) == "table" and found.requires_python
  local list = type(found) == "table" and found.dependencies
  if type(found) == "table" and (wanted == nil or is_text(wanted))
    and (list == nil or tables.is_list(list, is_text)) then
    return true
  end
  return nil, "a table of `requires_python` (a string) and `dependencies` (a list of strings)"
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
  npm = { packages_failed = true, package_rejected = true, setup_timed_out = true },
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

local function compilation(_, wanted, reason)
  if wanted == nil then
    if reason == nil or type(reason) == "string" then return true end
  elseif type(wanted) == "table" and is_file_name(wanted.file) then
    return arguments(nil, wanted.argv)
  end
  return nil, "{ argv = a list, the program's absolute path first, file = a file's name }, nil, or "
    .. "nil and a reason"
end

local function mistaken(_, report)
  if report == nil then return true end
  if type(report) == "table" and type(report.type) == "string" and type(report.message) == "string"
    and (report.line == nil or type(report.line) == "number") then
    return true
  end
  return nil, "{ type = a string, message = a string, line = a number or nil }, or nil"
end

-- Whoever runs them fills in the program, which may be a placeholder still.
local function command(_, argv)
  if tables.is_list(argv, is_text) and argv[1] then return true end
  return nil, "a list of strings without NUL, the program first"
end

local function two_commands(_, value)
  if type(value) == "table" and tables.is_list(value.lock, is_text) and value.lock[1]
    and tables.is_list(value.install, is_text) and value.install[1] then
    return true
  end
  return nil, "{ lock = a list, install = a list }, the file that node runs first"
end

local function file_text(_, value)
  if is_text(value) then return true end
  return nil, "a string without NUL"
end

--- What each hook must return. Each check takes the hook's first argument
-- and then its results.
M.RESULTS = {
  wrap = wrapped,
  wrap_session = wrapped,
  argv = arguments,
  compile = compilation,
  mistake = mistaken,
  env = variables,
  check_input = verdict,
  check = verdict,
  requirements = requirements,
  metadata = metadata,
  satisfies = function(_, whether)
    if type(whether) == "boolean" then return true end
    return nil, "a boolean"
  end,
  unfinished = function(_, first, stop)
    if first == nil or type(first) == "number" and type(stop) == "number" then return true end
    return nil, "two numbers of lines, or nil"
  end,
  venv_argv = command,
  install_argv = command,
  lock_argv = function(given, argv, reason)
    if argv == nil and type(reason) == "string" then return true end
    return command(given, argv) -- a tail call
  end,
  wanted = function(_, name, range)
    if type(name) == "string" and (range == nil or type(range) == "string") then return true end
    return nil, "a name, and a range of versions or nil"
  end,
  commands = two_commands,
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
