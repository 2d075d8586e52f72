-- SPDX-License-Identifier: MIT
--- From the words of a command line to a stage and its input.
local console = require "noether.cli.console"
local errors = require "noether.error"
local json = require "noether.json"
local settings = require "noether.cli.settings"
local memory = require "noether.stage.store.memory"
local stages = require "noether.stage.stage"
local sys = require "noether.sys"

local M = {}

local function misuse(message, hint)
  return nil, { usage = true, message = message, hint = hint }
end

-- "#!/usr/bin/env -S python3.11 -I" -> "python"
local function program_of(code)
  local line = code:match("^#!%s*([^\n]*)")
  if not line then return nil end
  for word in line:gmatch("%S+") do
    local name = word:match("([^/]+)$")
    if name ~= "env" and word:sub(1, 1) ~= "-" and not word:find("=", 1, true) then
      return name, (name:gsub("[%d.]+$", ""))
    end
  end
  return nil
end

local function answers_to(module, name)
  if not name then return false end
  for _, list in ipairs{ module.names, module.runtime.programs } do
    for _, known in ipairs(list) do
      if known == name then return true end
    end
  end
  return false
end

-- The language whose name, extension or program it is.
local function language_by(policies, test)
  for _, name in ipairs(policies:languages()) do
    if test(policies:language(name)) then return name end
  end
  return nil
end

-- What kind of module a file holds (.mjs, .cts) is seen in its code.
local function extension_of(file)
  local extension = file:match("[^/]%.(%w+)$")
  return extension and extension:gsub("^[mc]([jt]s)$", "%1") or nil
end

-- The language of a file's code: by its extension, else by its first line.
local function language_of(policies, file, code)
  local extension = extension_of(file)
  local by_extension = extension and language_by(policies, function(module)
    return module.extension == extension or answers_to(module, extension)
  end)
  if by_extension then return by_extension end
  local program, without_version = program_of(code)
  return language_by(policies, function(module)
    return answers_to(module, program) or answers_to(module, without_version)
  end)
end

local function unreadable(file, message)
  return misuse(("cannot read %s: %s"):format(errors.clean(file, 200), message))
end

--- The stage of a file of code.
-- @tparam table context of the verb: `given.language`, `given.effect`, `given.name`
-- @tparam string file "-": standard input
-- @tparam table policies
-- @treturn ?table language, code, effects, name; or nil and a misuse
-- @treturn ?table
function M.of_file(context, file, policies)
  local given = context.given
  local code, message = console.read(file)
  if not code then return unreadable(file, message) end
  local language = given.language or language_of(policies, file, code)
  if not language then
    return misuse(("cannot tell the language of %s"):format(errors.clean(file, 200)),
      "write --language NAME (known: " .. table.concat(policies:languages(), ", ") .. ")")
  end
  return { language = language, code = code, effects = given.effect, name = given.name }
end

local function is_id(word)
  return #word == 64 and not word:find("[^0-9a-f]")
end

-- What is written on the command line about a stage's text, a stored one has itself.
local function stored(context, word)
  for _, name in ipairs{ "language", "effect" } do
    if context.given[name] then
      return misuse(("option '--%s': the stored stage '%s' has its own"):format(name, word))
    end
  end
  return word
end

local function names_file(word)
  if word == "-" or word:find("/", 1, true) then return true end
  return not is_id(word) and sys.stat(word, true) ~= nil
end

local function missing(word, reason, hint)
  return nil, errors.new{
    kind = "stage_not_found", hint = hint,
    message = ("no file '%s', and %s"):format(errors.clean(word, 200), reason),
  }
end

-- A word with a slash, or that is a file here, is a file; any other is looked for in the store.
local function from_store(context, word)
  local dir, err = settings.store_dir(context.given, context.environ)
  if not dir then return missing(word, err.message, err.hint) end
  local store
  store, err = settings.open_store(context, false)
  if not store then return nil, err end
  local stage
  stage, err = store:get(word)
  if stage then return store end
  if err.kind ~= "stage_not_found" then return nil, err end
  return missing(word, "no stage of that id or name in " .. dir,
    "'noether store list' shows what is stored")
end

-- A stage in the way that an executor takes it. A table that is no stage would raise.
local function checked(stage, policies)
  local known, err = policies:language(stage.language)
  if not known then return nil, err end
  local ok
  ok, err = stages.new("run", stage)
  if not ok then return nil, err end
  return stage
end

-- For one run nothing needs to stand by.
local ONCE = { launcher = false }

local function open_file(context, file)
  local executor, err = settings.executor(context, memory.new(), ONCE)
  if not executor then return nil, err end
  local stage
  stage, err = M.of_file(context, file, executor.policies)
  if stage then stage, err = checked(stage, executor.policies) end
  if not stage then return nil, err end
  return executor, stage
end

local function open_stored(context, word)
  local reference, err = stored(context, word)
  local store, executor
  if reference then store, err = from_store(context, reference) end
  if store then executor, err = settings.executor(context, store, ONCE) end
  if not executor then return nil, err end
  return executor, reference
end

--- The stage that the command line names, and an executor for it.
-- @tparam table context of the verb
-- @treturn ?table executor; or nil and an error
-- @treturn string|table id, name or stage; or the error
function M.open(context)
  local word = context.given.stage
  if names_file(word) then return open_file(context, word) end
  return open_stored(context, word)
end

local function input_text(context)
  local word = context.given.input
  if not word then return "null", "input" end
  if word ~= "-" and word:sub(1, 1) ~= "@" then return word, "--input" end
  local file = word == "-" and word or word:sub(2)
  if file == "-" and context.given.stage == "-" then
    return misuse("standard input cannot be both the stage and its input")
  end
  local text, message = console.read(file)
  if not text then return unreadable(file, message) end
  -- What an editor puts before a text is none of it.
  return (text:gsub("^\239\187\191", "")), file == "-" and "standard input" or file
end

--- The input's JSON text, checked.
-- @tparam table context of the verb
-- @treturn ?string; or nil and an error (`input_invalid`, with line and column) or misuse
-- @treturn ?table
function M.input(context)
  local text, source = input_text(context)
  if not text then return nil, source end
  local ok, reason = json.check(text)
  if ok then return text end
  return nil, errors.new{
    kind = "input_invalid", message = ("%s: %s"):format(source, reason),
    hint = source == "--input" and "JSON strings have double quotes: --input '\"text\"'" or nil,
  }
end

return M
