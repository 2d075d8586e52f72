-- SPDX-License-Identifier: MIT
--- The public surface as Lua sources with nothing but doc comments, for LDoc: a page for each
-- module and each kind of handle, under the names by which users know them.

local M = {}

local INTRODUCTION = {
  executor = "What runs stages: of `noether.executor`, `noether.inline`, `noether.composite`.",
  task = "One run of a stage: of `executor:start`.",
  process = "A program that was started: of `noether.spawn`.",
  set = "Many processes and tasks, to wait for: of `noether.set`.",
  worker = "What runs stages for others: of `noether.worker`.",
  store = "Where stages live: of `noether.store.memory` and `noether.store.open`.",
  err = "What went wrong: the second value of what can fail.",
}

local MODULE_TEXTS = {
  noether = "Run a stage - a few lines of Python, JavaScript or Bash - from Lua: JSON in, JSON "
    .. "out, inside a sandbox, under a deadline, and with nothing left behind.\n\n"
    .. "Misuse raises. What the world refuses is `nil, err`, where `err.kind` is for programs and "
    .. "`tostring(err)` for people.",
  ["noether.nix_executor"] = "The names of the original, as constructors over the one executor.",
}

local function escaped(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- Text as HTML: code between backticks, linked where it is the name of something here.
local function html(text, known)
  return (escaped(text):gsub("`([^`]*)`", function(code)
    local name = code:gsub("%(%)$", "")
    if known[name] then return ("@{%s|%s}"):format(known[name], code) end
    return ("<code>%s</code>"):format(code)
  end))
end

local function put(out, text)
  for line in (text .. "\n"):gmatch "(.-)\n" do
    out[#out + 1] = line == "" and "--" or "-- " .. line
  end
end

local function begin(out, text)
  put(out, text == "" and " " or text)
end

local function modifiers(value)
  if not value.optional then return "" end
  if not value.default or value.default == "" then return "[opt]" end
  return ("[opt=%s]"):format((value.default:gsub("[%[%]]", "")))
end

-- What the documentation calls those that have a page.
local HANDLES = { AnyExecutor = "executor", Executor = "executor", Task = "task",
  Process = "process", Set = "set", Store = "store" }

-- LDoc has no words for a type of words: they are told of as strings.
local function type_of(value)
  local text = (value.type or "any"):gsub("^%?|?", "")
  if text:find('^"') then text = "string" end
  return (text:gsub("^fun%(.*$", "function"):gsub("%f[%a]%u%a+", function(name)
    return HANDLES[name] or "noether." .. name
  end))
end

local function note(value)
  if not (value.type or ""):find '^%??"' then return value.text or "" end
  local words = value.type:gsub("^%?", ""):gsub("|", ", ")
  return value.text and value.text ~= "" and not value.text:find(words, 1, true)
    and ("%s (%s)"):format(value.text, words) or words
end

local function put_values(out, tag, list, known)
  for _, value in ipairs(list) do
    local name = value.name and value.name .. " " or ""
    local is_nilable = (value.type or ""):find "^%?" ~= nil
    local is_return = tag == "treturn"
    put(out, ("@%s%s %s%s %s%s"):format(tag, is_return and "" or modifiers(value),
      is_return and is_nilable and "?" or "", type_of(value), name, html(note(value), known)))
  end
end

local function put_function(out, prefix, entry, known)
  local item = entry.item
  out[#out + 1] = ""
  local from = #out + 1
  begin(out, html(item.text, known))
  out[from] = "-" .. out[from]
  put_values(out, "tparam", item.params, known)
  put_values(out, "treturn", item.returns, known)
  if item.raises then put(out, "@raise " .. html(item.raises, known)) end
  if item.usage then put(out, "@usage\n" .. item.usage) end
  local names = {}
  for index, param in ipairs(item.params) do
    names[index] = param.name
  end
  out[#out + 1] = ("function %s%s(%s) end"):format(prefix, entry.name, table.concat(names, ", "))
end

local function put_table(out, entry, known)
  out[#out + 1] = ""
  local from = #out + 1
  local text = entry.text or ""
  if entry.extends then
    text = ("%s And all of `%s`."):format(text, entry.extends:gsub(", ", "` and `"))
  end
  begin(out, html(text, known))
  out[from] = "-" .. out[from]
  put(out, "@table " .. entry.name)
  put_values(out, "tfield", entry.fields, known)
end

local function put_words(out, entry)
  local lines = {}
  for index, word in ipairs(entry.words) do
    local text = word.text and (" (%s)"):format(word.text) or ""
    lines[index] = ("<code>%s</code>%s"):format(word.word, text)
  end
  out[#out + 1] = ""
  out[#out + 1] = ("--- One of %s."):format(table.concat(lines, ", "))
  put(out, "@table " .. entry.name)
end

local function page(kind, name, text)
  local out = {}
  put(out, text)
  out[1] = "-" .. out[1]
  put(out, ("@%s %s"):format(kind, name))
  return out
end

local function by_scope(surface)
  local map = {}
  for _, entry in ipairs(surface.functions) do
    map[entry.scope] = map[entry.scope] or {}
    table.insert(map[entry.scope], entry)
  end
  return map
end

-- Where LDoc finds what the texts name.
local function names_of(surface)
  local known = {}
  for _, entry in ipairs(surface.functions) do
    known[entry.key] = entry.kind == "method" and ("%s:%s"):format(entry.scope, entry.name)
      or entry.key
  end
  for _, list in ipairs{ surface.tables, surface.words } do
    for _, entry in ipairs(list) do
      known[entry.name] = "noether." .. entry.name
    end
  end
  return known
end

local function module_page(surface, module, functions, known)
  local text = MODULE_TEXTS[module.name] or module.text or ""
  local out = page("module", module.name, html(text, known))
  for _, entry in ipairs(functions[module.name] or {}) do
    put_function(out, module.name .. ".", entry, known)
  end
  for _, field in ipairs(surface.fields) do
    if field.scope == module.name then
      out[#out + 1] = ""
      out[#out + 1] = "--- " .. html(field.item.text, known)
      put(out, "@field " .. field.name)
    end
  end
  if module.name ~= "noether" then return out end
  for _, entry in ipairs(surface.tables) do
    put_table(out, entry, known)
  end
  for _, entry in ipairs(surface.words) do
    put_words(out, entry)
  end
  return out
end

local function class_pages(surface, functions, known, pages)
  for _, class in ipairs(surface.classes) do
    if not pages[class.handle] then
      local out = page("classmod", class.handle, html(INTRODUCTION[class.handle] or "", known))
      for _, entry in ipairs(functions[class.handle]) do
        put_function(out, class.handle .. ":", entry, known)
      end
      pages[class.handle] = out
    end
  end
end

--- The sources.
-- @tparam table surface
-- @treturn table texts by name of the page
function M.write(surface)
  local pages, functions, known = {}, by_scope(surface), names_of(surface)
  for _, module in ipairs(surface.modules) do
    pages[module.name] = module_page(surface, module, functions, known)
  end
  for _, scope in ipairs(surface.scopes) do
    local module = { name = scope.name, text = scope.item.text }
    pages[scope.name] = module_page(surface, module, functions, known)
  end
  class_pages(surface, functions, known, pages)
  local texts = {}
  for name, out in pairs(pages) do
    texts[name] = table.concat(out, "\n") .. "\n\nreturn nil\n"
  end
  return texts
end

return M
