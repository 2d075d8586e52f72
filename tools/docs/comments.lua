-- SPDX-License-Identifier: MIT
--- Reads the doc comments of a Lua source: blocks that begin with three dashes, and their tags, as
-- LDoc reads them. What it does not know it refuses, at its line.

local M = {}

-- Tags whose text is kept whole, by the field that holds it.
local TEXTS = { raise = "raises", extends = "extends" }

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    lines[#lines + 1] = line
  end
  return lines
end

local function fail(place, message, ...)
  error(("%s:%d: " .. message):format(place.file, place.line, ...), 0)
end

local function trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

-- Links become the names that they lead to.
local function plain(text)
  return (text:gsub("@{([^}|]*)|?([^}]*)}", function(name, label)
    return label ~= "" and label or name
  end))
end

local function join(lines)
  return trim(plain(table.concat(lines, "\n")))
end

-- The first sentence: up to a full stop that ends a line or has a blank after it, outside brackets.
local function first_sentence(text)
  local flat = text:match("^(.-)\n\n") or text
  flat = flat:gsub("\n", " ")
  return flat:match("^(.-[.!?])%s") or flat
end

-- "[opt=3]" -> true, "3"; "[opt]" -> true.
local function modifier(text)
  if not text then return false, nil end
  return text:find("opt", 1, true) ~= nil, text:match("opt=([^%]]*)%]")
end

-- A type, a name, and the rest; or without a type where the tag has none.
local function typed(tag, place, rest, has_name)
  local value = {}
  if tag:sub(1, 1) == "t" then
    value.type, rest = rest:match("^(%S+)%s*(.*)$")
    if not value.type then fail(place, "@%s has no type", tag) end
  end
  if has_name then
    value.name, rest = rest:match("^(%S+)%s*(.*)$")
    if not value.name then fail(place, "@%s has no name", tag) end
  end
  value.text = rest
  return value
end

local LISTS = { param = "params", tparam = "params", field = "fields", tfield = "fields",
  ["return"] = "returns", treturn = "returns" }

local function add_to_list(item, tag, modifiers, text, place)
  local list = LISTS[tag]
  local value = typed(tag, place, text, list ~= "returns")
  value.optional, value.default = modifier(modifiers)
  if value.type and value.type:sub(1, 1) == "?" then value.optional = true end
  table.insert(item[list], value)
end

-- Lines without the blanks that all of them begin with.
local function unindented(lines)
  local least
  for _, line in ipairs(lines) do
    local blanks = line:match("^( *)%S")
    if blanks and (not least or #blanks < least) then least = #blanks end
  end
  local out = {}
  for index, line in ipairs(lines) do
    out[index] = line:sub((least or 0) + 1)
  end
  return (table.concat(out, "\n"):gsub("^%s*\n", ""):gsub("%s+$", ""))
end

local function add_tag(item, tag, modifiers, lines, place)
  if LISTS[tag] then
    add_to_list(item, tag, modifiers, join(lines):gsub("\n", " "), place)
  elseif tag == "usage" then
    item.usage = unindented(lines)
  elseif TEXTS[tag] then
    item[TEXTS[tag]] = join(lines):gsub("\n", " ")
  elseif tag == "local" then
    item.is_local = true
  elseif tag == "function" or tag == "table" then
    item.kind, item.name = tag, trim(lines[1])
  elseif tag ~= "module" then
    fail(place, "a tag that tools/docs does not know: @%s", tag)
  end
end

-- What a block says: its own text, and its tags each with the lines that follow.
local function read_block(block, file)
  local item = { params = {}, returns = {}, fields = {}, documented = true, file = file,
    line = block.line }
  local text, open = {}, nil
  local function finish()
    if open then add_tag(item, open.tag, open.modifiers, open.lines, open) end
  end
  for offset, line in ipairs(block.lines) do
    local tag, modifiers, rest = line:match("^%s?@(%l+)(%b[])%s*(.*)$")
    if not tag then tag, rest = line:match("^%s?@(%l+)%s*(.*)$") end
    if tag then
      finish()
      open = { tag = tag, modifiers = modifiers, lines = { rest }, file = file,
        line = block.line + offset - 1 }
    else
      table.insert(open and open.lines or text, open and open.tag == "usage" and line
        or trim(line))
    end
  end
  finish()
  item.text = join(text)
  item.summary = first_sentence(item.text)
  return item
end

local function names_in(list)
  local names = {}
  for name in list:gmatch("[%w_.]+") do
    names[#names + 1] = name
  end
  return names
end

-- What a line of code defines: { kind, owner, name, args }, or nil.
local function definition(line)
  local owner, name, args = line:match("^function ([%w_]+)[.:]([%w_]+)(%b())")
  if owner then
    return { kind = "function", owner = owner, name = name, args = names_in(args) }
  end
  local value
  owner, name, value = line:match("^([%w_]+)%.([%w_]+) = (.*)$")
  if owner then return { kind = "field", owner = owner, name = name, value = value } end
  return nil
end

-- A comment's own tags (@function, @table) go before what stands below it.
local function complete(item, defined)
  for key, value in pairs(defined or {}) do
    if item[key] == nil then item[key] = value end
  end
  if item.kind == "function" and not item.owner then item.owner = "M" end
  return item
end

-- The block that begins at `from`, and the number of the line after it.
local function block_at(lines, from)
  local block, number = { line = from, lines = { lines[from]:sub(4) } }, from + 1
  while lines[number] and lines[number]:find("^%-%-") and not lines[number]:find("^%-%-%-") do
    block.lines[#block.lines + 1] = lines[number]:sub(3)
    number = number + 1
  end
  return block, number
end

--- The definitions of a source and its comments.
-- @tparam string file its path, for messages
-- @tparam string text
-- @treturn table a list of `{ kind = "function"|"field"|"table", owner, name, args, value, line,
-- documented, is_local, summary, text, params, returns, fields, raises, usage, extends }`
-- @raise on a tag that is wrong
function M.read(file, text)
  local lines, items, number = lines_of(text), {}, 1
  while lines[number] do
    local defined = definition(lines[number])
    if lines[number]:find("^%-%-%-[^-]") then
      local block
      block, number = block_at(lines, number)
      defined = definition(lines[number] or "")
      local item = complete(read_block(block, file), defined)
      if item.name then items[#items + 1] = item end
    elseif defined and defined.kind == "function" then
      defined.file, defined.line, defined.documented = file, number, false
      items[#items + 1] = defined
    end
    -- A block may follow on a block.
    if defined or not (lines[number] or ""):find("^%-%-%-[^-]") then number = number + 1 end
  end
  return items
end

return M
