-- SPDX-License-Identifier: MIT
--- The policies of one executor: the built-in modules with what was overridden, and a guarded
-- way to call them.
--
-- A policy module is a table of pure functions ("hooks") and data. Fields are replaced in a copy
-- of the module that belongs to this executor alone, so built-in hooks see the data that took the
-- place of theirs. A policy may be wrong: a hook that raises, or whose answer has another shape
-- than it must have, is a `policy_error`, and nothing is run. What was overridden is given copies
-- and its answers are copied, so that it can change neither what they are checked by nor, once
-- they are, the answers.
local compat = require "noether.compat"
local errors = require "noether.error"
local files = require "noether.overrides.files"
local languages = require "noether.stage.languages"
local options = require "noether.options"
local shapes = require "noether.overrides.shapes"
local tables = require "noether.tables"

local M = {}

--- The modules that a policy file may override, beside `languages/<name>`: a set.
M.MODULES = {
  pip = true, npm = true, script = true, packages = true, isolation = true, errors = true,
}

local MODULES = M.MODULES

local Policies = {}
local metatable = { __name = "noether.policies", __index = Policies }

-- What makes a module, as `require` finds it. It is looked for once: the host may later have
-- another root or directory.
local makers = {}

local function maker_of(full)
  for _, searcher in ipairs(compat.searchers) do
    local maker, data = searcher(full)
    if type(maker) == "function" then
      return function() return maker(full, data) end
    end
  end
  error(("module '%s' is not there"):format(full), 0)
end

-- A module that nobody else holds, so that replacing its fields changes this executor only.
local function fresh_module(name)
  local full = "noether.policy." .. name:gsub("/", ".")
  makers[full] = makers[full] or maker_of(full)
  return makers[full]()
end

local function fields_of(module)
  return shapes.FIELDS[module:find("^languages/") and "language" or module]
end

-- Where a field comes from, for messages: a file and perhaps a line, or an option.
local function place(origin, field)
  local line = origin.text and files.line_of(origin.text, field)
  return line and ("%s:%d"):format(origin.name, line) or origin.name
end

local function wrong(origin, field, expected)
  return files.failed(("%s: field '%s': expected %s"):format(place(origin, field), field, expected))
end

local function check_field(module, builtin, origin, field, value)
  local known = fields_of(module)
  if known[field] then
    local called, ok, expected = compat.try(known[field][1], value)
    if not called then return wrong(origin, field, "a value that can be looked at") end
    if not ok then return wrong(origin, field, ("%s, got %s"):format(expected, type(value))) end
    return true
  end
  local old = builtin and builtin[field]
  if old == nil then
    local names = {}
    for _, source in ipairs{ known, builtin or {} } do
      for name in pairs(source) do
        names[name] = true
      end
    end
    return files.failed(("%s: %s"):format(
      place(origin, tostring(field)), options.unknown("field", field, names)))
  elseif type(old) ~= type(value) then
    return wrong(origin, field, ("a %s, got a %s"):format(type(old), type(value)))
  end
  return true
end

-- Replace fields of one module, or add a language.
function Policies:apply(module, fields, origin)
  local target = self.modules[module]
  for field, value in next, fields do
    local ok, err = check_field(module, target, origin, field, value)
    if not ok then return nil, err end
  end
  local made = not target
  target = target or {}
  for field, value in next, fields do
    target[field] = value
    self.origins[module .. "." .. field] = origin
    self.changed[module] = true
  end
  if made then return self:add_language(module, target, origin) end
  return true
end

function Policies:add_language(module, language, origin)
  for field, rule in pairs(fields_of(module)) do
    if rule[2] and language[field] == nil then
      return wrong(origin, field, "it to be set: a new language needs it")
    end
  end
  language.name = module:match("^languages/(.+)$")
  self.modules[module] = language
  return true
end

local function is_language_name(name)
  return type(name) == "string" and name:find("^[%l%d][%l%d_+-]*$") ~= nil
end

function Policies:apply_file(file)
  local fields, err, text = files.load(file.path, self.modules[file.module])
  if not fields then return nil, err end
  return self:apply(file.module, fields, { name = file.path, text = text })
end

function Policies:apply_files(path)
  for dir in path:gmatch("[^:]+") do
    local found, err = files.list(dir, MODULES)
    if not found then return nil, err end
    for _, file in ipairs(found) do
      local ok
      ok, err = self:apply_file(file)
      if not ok then return nil, err end
    end
  end
  return true
end

local function override_table(name, value)
  if type(value) == "table" then return true end
  return files.failed(("option policy.%s: expected a table of fields, got %s")
    :format(name, type(value)))
end

function Policies:apply_languages(by_name)
  for name, fields in pairs(by_name) do
    local ok, err = override_table("languages." .. tostring(name), fields)
    if ok and not is_language_name(name) then
      ok, err = files.failed("option policy.languages: expected names of lower-case letters")
    end
    if not ok then return nil, err end
    local origin = { name = "option policy.languages." .. name }
    ok, err = self:apply("languages/" .. name, fields, origin)
    if not ok then return nil, err end
  end
  return true
end

function Policies:apply_overrides(overrides)
  for name, fields in pairs(overrides) do
    local ok, err = override_table(tostring(name), fields)
    if not ok then return nil, err end
    if name == "languages" then
      ok, err = self:apply_languages(fields)
    elseif MODULES[name] then
      ok, err = self:apply(name, fields, { name = "option policy." .. name })
    else
      local known = tables.merged(MODULES, { languages = true })
      ok, err = files.failed("option policy: " .. options.unknown("policy", name, known))
    end
    if not ok then return nil, err end
  end
  return true
end

function Policies:claim(name, canonical)
  local other = self.by_name[name]
  if other and other ~= canonical then
    return files.failed(("languages '%s' and '%s' both answer to '%s'")
      :format(other, canonical, name))
  end
  self.by_name[name] = canonical
  return true
end

-- Which language answers to each name. A language's own name is nobody else's.
function Policies:index_languages()
  self.by_name, self.language_names = {}, {}
  for module in pairs(self.modules) do
    self.language_names[#self.language_names + 1] = module:match("^languages/(.+)$")
  end
  table.sort(self.language_names)
  for _, canonical in ipairs(self.language_names) do
    self.by_name[canonical] = canonical
  end
  for _, canonical in ipairs(self.language_names) do
    for _, name in ipairs(self.modules["languages/" .. canonical].names) do
      local ok, err = self:claim(name, canonical)
      if not ok then return nil, err end
    end
  end
  return true
end

local function builtin()
  local self = setmetatable({ modules = {}, origins = {}, changed = {} }, metatable)
  for name in pairs(MODULES) do
    self.modules[name] = fresh_module(name)
  end
  for _, name in ipairs(languages.names()) do
    self.modules["languages/" .. name] = fresh_module("languages/" .. name)
  end
  return self
end

--- Load the policies of an executor.
-- @tparam ?table opts `overrides`: fields by module, as `{ pip = { allow = {...} },
-- languages = { ruby = {...} } }`; `path`: directories of policy files, separated by ":", later
-- ones win; what is written in code wins over files
-- @treturn ?table policies; or nil and a `policy_error`
-- @treturn ?table
function M.load(opts)
  opts = opts or {}
  local self = builtin()
  local ok, err = self:apply_files(opts.path or "")
  if ok then ok, err = self:apply_overrides(opts.overrides or {}) end
  if ok then ok, err = self:index_languages() end
  if not ok then return nil, err end
  return self
end

--- The built-in policies with one file over them.
-- @tparam table file `module` and `path`, as `files.list` gives them
-- @treturn ?table policies; or nil and a `policy_error`
-- @treturn ?table
function M.load_file(file)
  local self = builtin()
  local ok, err = self:apply_file(file)
  if ok then ok, err = self:index_languages() end
  if not ok then return nil, err end
  return self
end

--- The names of all modules, sorted: "errors", "languages/python", ...
-- @treturn table
function Policies:names()
  return tables.sorted_names(self.modules)
end

--- The fields of a module, and where each comes from.
-- @tparam string module
-- @treturn table list of `{ field, value, origin, line }`, sorted; `value` is nil for a field that
-- may be set and is not; `origin` is the file or option, nil for what is built in
function Policies:describe(module)
  local list = {}
  local fields = tables.merged(fields_of(module), self.modules[module])
  for i, field in ipairs(tables.sorted_names(fields)) do
    local origin = self.origins[module .. "." .. field]
    list[i] = {
      field = field, value = self.modules[module][field], origin = origin and origin.name,
      line = origin and origin.text and files.line_of(origin.text, field) or nil,
    }
  end
  return list
end

--- The names of the languages there are, sorted.
-- @treturn table
function Policies:languages()
  return self.language_names
end

--- The module of a language.
-- @tparam string name any name it answers to; case does not matter
-- @treturn ?table its module, whose `name` is the language's own; or nil and `language_unknown`
-- @treturn ?table
function Policies:language(name)
  local canonical = self.by_name[name] or self.by_name[name:lower()]
  if canonical then return self.modules["languages/" .. canonical] end
  return nil, errors.new{
    kind = "language_unknown",
    message = ("unknown language '%s' (known: %s)"):format(
      errors.clean(name, 60), table.concat(self.language_names, ", ")),
    hint = "a new language is one policy file: languages/<name>.lua in policy_path",
  }
end

--- A data field of a module.
-- @tparam string module "pip", "languages/python", ...
-- @tparam string field
-- @return its value, or nil
function Policies:data(module, field)
  return self.modules[module][field]
end

-- Where a hook was written: a file and line if they are known.
function Policies:hook_place(module, hook, fn)
  local origin = self.origins[module .. "." .. hook]
  if not origin then return "policy " .. module end
  local line = debug.getinfo(fn, "S").linedefined
  if origin.text and line > 0 then return ("%s:%d"):format(origin.name, line) end
  return origin.name
end

local function after_first(_, ...)
  return ...
end

-- `compat.try`, with copies of all that goes in and of all that comes out.
local function try_with_copies(fn, ...)
  local arguments = compat.pack(...)
  for i = 1, arguments.n do
    arguments[i] = tables.plain(arguments[i])
  end
  local results = compat.pack(compat.try(fn, compat.unpack(arguments, 1, arguments.n)))
  for i = 1, results.n do
    results[i] = results[1] and tables.plain(results[i]) or results[i]
  end
  return compat.unpack(results, 1, results.n)
end

--- Call a hook and check what it returns.
-- @tparam string module
-- @tparam string hook
-- @param ... its arguments
-- @treturn ?boolean true and the hook's results; or nil and a `policy_error` if it raised or
-- returned another shape than it must
function Policies:call(module, hook, ...)
  local fn = self.modules[module][hook]
  local try = self.changed[module] and try_with_copies or compat.try
  local results = compat.pack(try(fn, ...))
  if not results[1] then
    return files.failed(("%s: hook '%s' raised: %s"):format(
      self:hook_place(module, hook, fn), hook, files.said(results[2])))
  end
  local check = shapes.RESULTS[hook]
  local ok, expected = check((...), after_first(compat.unpack(results, 1, results.n)))
  if not ok then
    return files.failed(("%s: hook '%s' must return %s"):format(
      self:hook_place(module, hook, fn), hook, expected))
  end
  return compat.unpack(results, 1, results.n)
end

--- Whether a module has a hook: some are optional.
-- @tparam string module
-- @tparam string hook
-- @treturn boolean
function Policies:has(module, hook)
  return self.modules[module][hook] ~= nil
end

return M
