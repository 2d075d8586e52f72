-- SPDX-License-Identifier: MIT
--- `noether policy`: what policies are in force, where each field comes from, and whether a
-- directory of them is any good.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local inspect = require "noether.inspect"
local json = require "noether.json"
local options = require "noether.options"
local policies = require "noether.overrides.policies"
local render = require "noether.cli.render"
local settings = require "noether.cli.settings"
local trial = require "noether.overrides.trial"

local show = {
  name = "show", summary = "show a policy, and where each field comes from",
  arguments = { {
    name = "name", value = "NAME", count = "?",
    about = "pip, packages, isolation, errors or a language; without one: all",
  } },
  options = { flags.policy_path, flags.json },
  examples = {
    { "noether policy show pip", "as it is built in" },
    { "noether policy show pip --policy-path /etc/noether/policies", "with an organisation's" },
  },
}

local function place(entry)
  if not entry.origin then return entry.value == nil and "not set" or "built-in" end
  return entry.line and ("%s:%d"):format(entry.origin, entry.line) or entry.origin
end

local LONGEST_LINE = 96

-- A program in a policy is not what somebody looks for here: --json has all of it.
local function value_text(value)
  if type(value) == "function" then return "(function)" end
  return (inspect.inspect(value):gsub("[^\n]+", function(line)
    return #line > LONGEST_LINE and line:sub(1, LONGEST_LINE) .. "..." or nil
  end):gsub("\n", "\n  "))
end

local function text_of(console, module, fields)
  local lines = { console:paint("bold", module) }
  for _, entry in ipairs(fields) do
    local from = place(entry)
    lines[#lines + 1] = ("  %s = %s  %s"):format(entry.field, value_text(entry.value),
      console:paint(entry.origin and "yellow" or "faint", "-- " .. from))
  end
  return table.concat(lines, "\n") .. "\n"
end

local function plain(fields)
  local list = json.array()
  for i, entry in ipairs(fields) do
    local is_function = type(entry.value) == "function"
    list[i] = {
      field = entry.field, from = place(entry), type = type(entry.value),
      value = not is_function and entry.value or nil,
    }
  end
  return list
end

-- "python3" is languages/python.
local function module_named(loaded, name)
  local known = {}
  for _, module in ipairs(loaded:names()) do
    if module == name then return module end
    known[module] = true
  end
  local language = loaded:language(name)
  if language then return "languages/" .. language.name end
  return nil, { usage = true, message = options.unknown("policy", name, known),
    hint = "there are: " .. table.concat(loaded:names(), ", ") }
end

--- Do it.
function show.run(context)
  local given = context.given
  local loaded, err = policies.load{ path = settings.policy_path(given, context.environ) }
  if not loaded then return nil, err end
  local names = loaded:names()
  if given.name then
    local module
    module, err = module_named(loaded, given.name)
    if not module then return nil, err end
    names = { module }
  end
  local texts, plains = {}, {}
  for i, module in ipairs(names) do
    local fields = loaded:describe(module)
    texts[i] = text_of(context.console, module, fields)
    plains[module] = plain(fields)
  end
  context.console:answer(given.json and render.json(plains) or table.concat(texts, "\n"))
  return exits.OK
end

local check = {
  name = "check", summary = "try every policy file of a directory",
  about = "Try every policy file of a directory: load it, look at its fields, and call its hooks "
    .. "with samples. What is wrong is told with file, line, field and what was expected.",
  arguments = { { name = "dir", value = "DIR", about = "a directory of policy files" } },
  options = { flags.grant },
  examples = { { "noether policy check examples/policies", "exit code 1: something is wrong" } },
}

local function report(console, item)
  if item.err then
    console:answer(("%s  %s\n"):format(console:paint("red", "wrong"), item.path))
    console:fail(item.err)
  else
    console:answer(("%s     %s\n"):format(console:paint("green", "ok"), item.path))
  end
end

--- Do it.
function check.run(context)
  local found, err = trial.directory(context.given.dir, settings.grants(context.given.grant))
  if not found then return nil, err end
  local wrong = false
  for _, item in ipairs(found) do
    report(context.console, item)
    wrong = wrong or item.err ~= nil
  end
  if #found == 0 then
    context.console:say("warning", "there is no policy file in " .. context.given.dir)
  end
  return wrong and exits.FAILED or exits.OK
end

return {
  name = "policy", summary = "show and try policies",
  about = "Show the policies in force and where each field comes from; try files of them.",
  verbs = { show, check },
}
