-- SPDX-License-Identifier: MIT
--- `help()`: what the library's own comments say, from `noether.reference` where that is built in.
local options = require "noether.options"
local tables = require "noether.tables"

local M = {}

local REFERENCE = "noether.reference"
local WIDTH = 80

local ABOUT = "run a few lines of Python, JavaScript or Bash, sandboxed, from Lua."

local GENERAL = [[
help(noether.execute), help("execute")   about a function
help("executor:map"), help(ex.map)       about a method
help(value)                              what else a value is
help("effects"), help("limits")          what a stage may do, and how much of it
help("kinds")                            what may go wrong, and what to do then
help("all")                              every function and method, in a line each
_, _info                                 the last result, and how its stage ran
Tab completes, Ctrl-R searches what was typed, Ctrl-C interrupts, Ctrl-D ends.
A line that begins with a blank is not kept in the history.]]

--- What there is help for.
-- @treturn table entries by name, "noether.execute" or "executor:execute"; empty where the
-- reference is not built in
function M.reference()
  if package.loaded[REFERENCE] or package.preload[REFERENCE] then return require(REFERENCE) end
  return {}
end

local function wrapped(text, indent)
  local lines, line = {}, indent
  for word in text:gmatch("%S+") do
    if #line + #word + 1 > WIDTH and #line > #indent then
      lines[#lines + 1] = line
      line = indent
    end
    line = line .. (#line > #indent and " " or "") .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

-- Paragraphs are filled anew; what is indented is shown as it is.
local function filled(text)
  local parts = {}
  for paragraph in (text .. "\n\n"):gmatch("(.-)\n\n+") do
    local as_it_is = paragraph:find("^%s") or paragraph:find("\n%s")
    if paragraph:find("%S") then
      parts[#parts + 1] = as_it_is and paragraph or wrapped(paragraph, "")
    end
  end
  return table.concat(parts, "\n\n")
end

-- A parameter or a field: its type says "?" of itself where it may be left out.
local function param_text(param)
  local about = { param.type and param.type:match("^%??(.*)$") }
  if param.default then
    about[#about + 1] = "default " .. param.default
  elseif param.optional then
    about[#about + 1] = "optional"
  end
  local head = "  " .. param.name
  if about[1] then head = ("%s (%s)"):format(head, table.concat(about, ", ")) end
  return (param.text or "") == "" and head or head .. "\n" .. wrapped(param.text, "      ")
end

local function return_text(value)
  return wrapped(("%s %s"):format(value.type or "", value.text or ""), "  ")
end

local function add_list(parts, title, list, text_of)
  if not list or #list == 0 then return end
  local lines = title and { title } or {}
  for _, item in ipairs(list) do
    lines[#lines + 1] = text_of(item)
  end
  parts[#parts + 1] = table.concat(lines, "\n")
end

local function indented(text)
  return "  " .. text:gsub("%s+$", ""):gsub("\n(.)", "\n  %1")
end

local function entry_text(name, entry)
  local parts = { entry.signature or name }
  local text = entry.text or ""
  if entry.summary and text:sub(1, #entry.summary) ~= entry.summary then
    parts[#parts + 1] = filled(entry.summary)
  end
  if text ~= "" then parts[#parts + 1] = filled(text) end
  add_list(parts, "Parameters:", entry.params, param_text)
  add_list(parts, entry.kind ~= "topic" and "Fields:" or nil, entry.fields, param_text)
  if entry.extends then parts[#parts + 1] = "And all fields of: " .. entry.extends end
  add_list(parts, "Returns:", entry.returns, return_text)
  if entry.raises then parts[#parts + 1] = "Raises:\n" .. wrapped(entry.raises, "  ") end
  if entry.example then parts[#parts + 1] = "Example:\n" .. indented(entry.example) end
  return table.concat(parts, "\n\n")
end

local function listing(names, reference)
  local lines = {}
  for i, name in ipairs(names) do
    local entry = reference[name]
    local line = ("  %-22s %s"):format(name, type(entry) == "table" and entry.summary or "")
    if #line > WIDTH then line = line:sub(1, WIDTH - 3):gsub("[\128-\191]*$", "") .. "..." end
    lines[i] = line:match("^(.-)%s*$")
  end
  return table.concat(lines, "\n")
end

-- What is in `noether`, the methods of each class in a line, and the rest: shapes of tables.
local function grouped(reference)
  local functions, classes, others = {}, {}, {}
  for _, name in ipairs(tables.sorted_names(reference)) do
    local class, method = name:match("^(.*):(.*)$")
    if class then
      classes[class] = (classes[class] and classes[class] .. ", " or class .. ":  ") .. method
    elseif name:find("^noether%.") then
      functions[#functions + 1] = name
    else
      others[#others + 1] = name
    end
  end
  return functions, classes, others
end

-- The functions of the module, where the reference does not say more.
local function functions_of(noether)
  local found = {}
  for name, value in pairs(noether) do
    if type(value) == "function" then found["noether." .. name] = true end
  end
  return found
end

-- What fits on a screen: the names.
local function first_page(noether)
  local reference = M.reference()
  local functions, classes = grouped(next(reference) and reference or functions_of(noether))
  local names = {}
  for index, full in ipairs(functions) do
    names[index] = full:gsub("^noether%.", "")
  end
  local parts = {
    ("noether %s: %s"):format(noether.version, ABOUT), GENERAL,
    "noether.\n" .. wrapped(table.concat(names, ", "), "  "),
  }
  local owners = tables.sorted_names(classes)
  if #owners > 0 then
    parts[#parts + 1] = "and methods of\n" .. wrapped(table.concat(owners, ", "), "  ")
  end
  return table.concat(parts, "\n\n")
end

local function overview(noether)
  local reference = M.reference()
  local functions, classes, others = grouped(next(reference) and reference
    or functions_of(noether))
  local parts = {
    ("noether %s: %s"):format(noether.version, ABOUT), GENERAL, listing(functions, reference),
  }
  local lines = {}
  for i, class in ipairs(tables.sorted_names(classes)) do
    lines[i] = wrapped(classes[class], "  ")
  end
  if #lines > 0 then parts[#parts + 1] = table.concat(lines, "\n") end
  if #others > 0 then parts[#parts + 1] = wrapped(table.concat(others, ", "), "  ") end
  return table.concat(parts, "\n\n")
end

-- "execute" -> everything whose last part that is.
local function named(name, reference)
  if reference[name] then return { name } end
  local found = {}
  for full in pairs(reference) do
    if full == "noether." .. name then return { full } end
    if full:match("[^.:]*$") == name then found[#found + 1] = full end
  end
  table.sort(found)
  return found
end

local function unknown(name, reference)
  local short = {}
  for full in pairs(reference) do
    short[full] = true
    short[full:match("[^.:]*$")] = true
  end
  local near = options.nearest(name, short)
  local text = ("there is no help for '%s'"):format(name)
  if near then text = ("%s; did you mean '%s'?"):format(text, near) end
  return text .. "\nhelp() lists what there is"
end

local function by_name(name)
  local reference = M.reference()
  local found = named(name, reference)
  if #found == 1 then return entry_text(found[1], reference[found[1]]) end
  if #found == 0 then return unknown(name, reference) end
  return ("'%s' may be:\n%s"):format(name, listing(found, reference))
end

-- Adds the names of a table's functions by value. Classes share methods, and one of them may be
-- what the reference knows; else the first name stays.
local function add_functions(index, owner, separator, members)
  local reference = M.reference()
  for name, value in next, members do
    local full = type(name) == "string" and owner .. separator .. name
    if full and type(value) == "function" and (not index[value] or
      reference[full] and not reference[index[value]]) then
      index[value] = full
    end
  end
end

-- Classes that the reference calls otherwise.
local SPOKEN = { error = "err" }

local function class_name(metatable)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  local class = type(name) == "string" and name:match("^noether%.([%a_]+)") or nil
  return SPOKEN[class] or class
end

-- The methods of classes whose metatables the functions of a module use, or functions that these
-- use. `seen` has been looked at.
local function add_classes(index, seen, members)
  for _, value in next, members do
    local use = type(value) == "function" and not seen[value]
      and debug.getinfo(value, "S").source:find("^@noether/")
    seen[value] = true
    for i = 1, use and debug.getinfo(value, "u").nups or 0 do
      local _, held = debug.getupvalue(value, i)
      local class, methods = class_name(held), type(held) == "table" and rawget(held, "__index")
      if class and type(methods) == "table" then add_functions(index, class, ":", methods) end
      if type(held) == "function" then add_classes(index, seen, { held }) end
    end
  end
end

-- Names by function, of all modules of the library that are loaded.
local function index_of_functions()
  local index, modules, seen = {}, {}, {}
  add_functions(index, "noether", ".", package.loaded["noether"] or {})
  for name, module in pairs(package.loaded) do
    if type(module) == "table" and name:find("^noether%.") then modules[#modules + 1] = name end
  end
  table.sort(modules)
  for _, name in ipairs(modules) do
    add_classes(index, seen, package.loaded[name])
  end
  for _, name in ipairs(modules) do
    add_functions(index, name, ".", package.loaded[name])
  end
  return index
end

-- "f(a, b)" of any Lua function, as far as it can be known.
local function signature(fn)
  local info = debug.getinfo(fn, "Su")
  if info.what == "C" or not info.nparams then return "a function of C" end
  local names = {}
  for i = 1, info.nparams do
    names[i] = debug.getlocal(fn, i)
  end
  if info.isvararg then names[#names + 1] = "..." end
  return ("function (%s) of %s:%d"):format(table.concat(names, ", "), info.short_src,
    info.linedefined)
end

local function of_function(fn)
  local name = index_of_functions()[fn]
  local entry = name and M.reference()[name]
  if entry then return entry_text(name, entry) end
  return (name and name .. ": " or "") .. signature(fn)
end

-- "noether.store" for its value.
local function name_of_field(value, noether, reference)
  for name, field in pairs(noether) do
    if field == value and reference["noether." .. name] then return "noether." .. name end
  end
end

-- What a value of one of the library's classes, or a module, can do.
local function of_object(value, noether)
  local class = class_name(debug.getmetatable(value))
  local reference, found = M.reference(), {}
  local own = name_of_field(value, noether, reference)
  if own then return entry_text(own, reference[own]) end
  for full in pairs(reference) do
    local owner = full:match("^(.*)[.:]")
    if owner and owner == class then found[#found + 1] = full end
  end
  table.sort(found)
  if #found == 0 then return class or type(value) end
  return ("%s:\n%s"):format(class, listing(found, reference))
end

--- The text of `help(...)`.
-- @tparam table noether the library
-- @tparam number count how many arguments there were
-- @param[opt] topic a name, a function, or any value
-- @treturn string
function M.text(noether, count, topic)
  if count == 0 or topic == noether then return first_page(noether) end
  if topic == "all" then return overview(noether) end
  if type(topic) == "string" then return by_name(topic) end
  if type(topic) == "function" then return of_function(topic) end
  return of_object(topic, noether)
end

return M
