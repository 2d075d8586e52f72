-- SPDX-License-Identifier: MIT
--- The command line: read, explained, completed. What there is to read, the verbs say in tables;
-- this makes of them what argparse wants, and better messages than it has.
--
-- A verb is `{ name, summary, about, arguments, options, examples, verbs, run }`: `arguments` are
-- `{ name, value, about, count, choices }` (a count as argparse writes it: "?", "*", "+"),
-- `options` as in flags.lua, `examples` are `{ line, what }`, `verbs` those below it ("store put").
local argparse = require "argparse"
local exits = require "noether.cli.exits"
local options = require "noether.options"
local tables = require "noether.tables"

local M = {}

local WIDTH, MARGIN = 80, 26

-- "--work-dir" -> "work_dir"
local function target(option)
  return (option.name:gsub("^%-+", ""):gsub("-", "_"))
end

-- The converter, whose messages name the option.
local function converter(option)
  return function(word)
    local value, reason = option.convert(word)
    if value == nil then return nil, ("option '%s': %s"):format(option.name, reason) end
    return value
  end
end

local function add_option(parser, option)
  local names = option.short and option.short .. " " .. option.name or option.name
  local added = parser:option(names):description(option.about):target(target(option))
  if not option.value then
    added:args(0)
    return
  end
  added:argname(option.value)
  if option.optional then added:args("?") end
  if option.convert then added:convert(converter(option)) end
  if option.choices then added:choices(option.choices) end
  if option.many then added:count("*") else added:overwrite(false) end
end

local function examples_text(verb)
  local lines = { "", "Examples:" }
  for _, example in ipairs(verb.examples or {}) do
    lines[#lines + 1] = "   # " .. example[2]
    lines[#lines + 1] = "   " .. example[1]
  end
  return table.concat(lines, "\n")
end

local HELP = { name = "--help", short = "-h", about = "show this help" }

--- What a verb does, in sentences.
-- @tparam table verb
-- @treturn string
function M.about(verb)
  return verb.about or verb.summary:gsub("^%l", string.upper) .. "."
end

local PLURAL = { ["?"] = "[%s]", ["*"] = "[%s...]", ["+"] = "%s..." }

--- "noether run [options] FILE|ID".
-- @tparam table verb
-- @tparam string path its name with those above it
-- @treturn string
function M.usage(verb, path)
  local words = { path }
  if verb.options then words[#words + 1] = "[options]" end
  if verb.verbs then words[#words + 1] = "VERB ..." end
  if verb.dashes then words[#words + 1] = "--" end
  for _, argument in ipairs(verb.arguments or {}) do
    words[#words + 1] = (PLURAL[argument.count] or "%s"):format(argument.value)
  end
  return table.concat(words, " ")
end

local function fill(parser, verb, path)
  parser:description(M.about(verb)):usage("Usage: " .. M.usage(verb, path))
  for _, argument in ipairs(verb.arguments or {}) do
    local added = parser:argument(argument.value):target(argument.name)
      :description(argument.about)
    if argument.count then added:args(argument.count) end
    if argument.choices then added:choices(argument.choices) end
  end
  for _, option in ipairs(verb.options or {}) do
    add_option(parser, option)
  end
  add_option(parser, HELP)
  for _, below in ipairs(verb.verbs or {}) do
    local command = parser:command(below.name):add_help(false):summary(below.summary)
    fill(command, below, path .. " " .. below.name)
  end
  if verb.verbs then parser:require_command(false) end
end

local function build(root)
  local parser = argparse(root.name):add_help(false):help_max_width(WIDTH)
    :help_description_margin(MARGIN)
  fill(parser, root, root.name)
  return parser
end

local function find(list, name)
  for _, item in ipairs(list or {}) do
    if item.name == name then return item end
  end
  return nil
end

-- Verbs come first: which one the words begin with, and how many of them name it.
local function verb_of(root, words)
  local verb, depth = root, 0
  while true do
    local below = find(verb.verbs, words[depth + 1])
    if not below then return verb, depth end
    verb, depth = below, depth + 1
  end
end

local function wants_help(words)
  for _, word in ipairs(words) do
    if word == "--" then return false end
    if word == "--help" or word == "-h" then return true end
  end
  return false
end

-- The parser of a verb, by argparse's own tables.
local function parser_of(parser, words, depth)
  for i = 1, depth do
    for _, command in ipairs(parser._commands) do
      if command._name == words[i] then
        parser = command
        break
      end
    end
  end
  return parser
end

local function names_of(list)
  local names = {}
  for _, item in ipairs(list or {}) do
    names[item.name] = true
  end
  return names
end

local function path_of(root, words, depth)
  local names = { root.name }
  for i = 1, depth do
    names[#names + 1] = words[i]
  end
  return table.concat(names, " ")
end

-- Names are compared without what all of them begin with.
local function unknown_option(word, verb)
  local names = { help = true }
  for _, option in ipairs(verb.options or {}) do
    names[(option.name:gsub("^%-+", ""))] = true
  end
  local meant = options.nearest((word:gsub("^%-+", "")), names)
  local offer = meant and (" (did you mean '--%s'?)"):format(meant) or ""
  return ("unknown option '%s'%s"):format(word, offer)
end

-- argparse knows of one letter too many or too few; we of the rest.
local function reworded(message, verb)
  local option = message:match("^unknown option '(.-)'")
  if option then return unknown_option(option, verb) end
  local twice = message:match("^option '(.-)' must be used at most 1 time")
  if twice then return ("option '%s' is given more than once"):format(twice) end
  if message:find("^too many arguments") then return "more arguments than it takes" end
  return (message:gsub("\n.*", ""))
end

local function misused(root, words, depth, message, hint)
  local name = path_of(root, words, depth)
  return nil, {
    usage = true, message = message,
    hint = hint or ("'%s --help' shows what there is"):format(name),
  }
end

local function unknown_verb(root, words, verb, depth)
  local word, names = words[depth + 1], names_of(verb.verbs)
  if word and word:sub(1, 1) ~= "-" then
    return misused(root, words, depth, options.unknown("verb", word, names))
  elseif word then
    return misused(root, words, depth, unknown_option(word, verb))
  end
  return misused(root, words, depth, "a verb is missing: "
    .. table.concat(tables.sorted_names(names), ", "))
end

-- An option that may be given again and was not is none, and no empty list.
local function without_empty_lists(verb, given)
  for _, option in ipairs(verb.options or {}) do
    local name = target(option)
    if option.many and #given[name] == 0 then given[name] = nil end
  end
  return given
end

local function read(root, words, verb, depth)
  local parser = build(root)
  local ok, given = parser:pparse(words)
  if not ok then
    return misused(root, words, depth, reworded(given, verb), verb.hint and verb.hint(words))
  end
  return { verb = verb, given = without_empty_lists(verb, given) }
end

-- "help store put" is "store put --help".
local function asking_for_help(words)
  local copy = {}
  for i = 2, #words do
    copy[i - 1] = words[i]
  end
  copy[#copy + 1] = "--help"
  return copy
end

local function is_misspelt(words, verb, depth)
  local word = words[depth + 1]
  return verb.verbs ~= nil and word:sub(1, 1) ~= "-"
end

--- Read a command line.
-- @tparam table root the verb of all verbs
-- @tparam {string,...} words without the program's name
-- @treturn ?table `verb` and `given` (values by name), or `help` (text); nil and a
-- misuse: `{ usage = true, message, hint }`
-- @treturn ?table
function M.read(root, words)
  if words[1] == "help" then words = asking_for_help(words) end
  local verb, depth = verb_of(root, words)
  if wants_help(words) and not is_misspelt(words, verb, depth) then
    return { help = M.help(root, words) }
  end
  if verb.verbs then return unknown_verb(root, words, verb, depth) end
  return read(root, words, verb, depth)
end

-- Those of one verb; of the verb of all verbs, all.
local function codes_text(root, verb)
  local lines = { "", "Exit codes:" }
  for _, entry in ipairs(exits.TABLE) do
    local says = entry.verbs and entry.verbs[verb.name]
    if not entry.verbs or verb == root or says == nil and entry.others then says = entry[2] end
    if says then lines[#lines + 1] = ("   %-22s %s"):format(entry[1], says) end
  end
  return table.concat(lines, "\n")
end

--- The help of the verb that the words name.
-- @tparam table root
-- @tparam {string,...} words
-- @treturn string
function M.help(root, words)
  local verb, depth = verb_of(root, words)
  local parts = { parser_of(build(root), words, depth):get_help(), codes_text(root, verb) }
  if verb.examples then table.insert(parts, 2, examples_text(verb)) end
  return table.concat(parts, "\n") .. "\n"
end

--- A completion script.
-- @tparam table root
-- @tparam string shell "bash", "zsh" or "fish"
-- @treturn string
function M.completion(root, shell)
  local parser = build(root)
  return parser[("get_%s_complete"):format(shell)](parser)
end

return M
