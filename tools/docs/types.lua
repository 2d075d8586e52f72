-- SPDX-License-Identifier: MIT
--- The public surface as a meta file of the Lua language server.

local M = {}

local HEAD = [[
-- SPDX-License-Identifier: MIT
---@meta noether
-- Types for the Lua language server. Generated from the sources' doc comments: `make types`.
]]

-- LDoc's `{T,...}` and `{[K]=V}`, and what is ours, which begins with a capital letter.
local function converted(text)
  text = text:gsub("{([^{},]+),%.%.%.}", function(item)
    return item:find("|", 1, true) and ("(%s)[]"):format(item) or item .. "[]"
  end)
  text = text:gsub("{%[([%w_]+)%]=([^{}]+)}", "table<%1, %2>")
  text = text:gsub("(%w)=", "%1: "):gsub("([,:])(%S)", "%1 %2")
  text = text:gsub('()(%f[%w_."]%u[%w_]*)', function(at, name)
    return text:sub(at - 1, at - 1) == '"' and name or "noether." .. name
  end)
  return (text:gsub("%f[%w_]func%f[^%w_]", "function"))
end

-- What a type says without its question mark.
local function bare(type_name)
  return (type_name or "any"):gsub("^%?|?", "")
end

local function return_type(value)
  local text = converted(bare(value.type))
  local nilable = (value.type or ""):sub(1, 1) == "?"
  if not nilable then return text end
  return text:find("|", 1, true) and text .. "|nil" or text .. "?"
end

local function put(out, text, ...)
  out[#out + 1] = select("#", ...) > 0 and text:format(...) or text
end

local function put_text(out, text)
  if not text or text == "" then return end
  for line in (text .. "\n"):gmatch "(.-)\n" do
    put(out, "---%s", line)
  end
end

local function described(line, text)
  text = (text or ""):gsub("\n", " ")
  return text == "" and line or line .. " " .. text
end

local function put_field(out, field)
  local text = field.text or ""
  if field.default and field.default ~= "" then text = ("%s (%s)"):format(text, field.default) end
  put(out, described(("---@field %s%s %s"):format(field.name, field.optional and "?" or "",
    converted(bare(field.type))), text))
end

local function parents(extends)
  local list = {}
  for name in (extends or ""):gmatch "[%w_]+" do
    list[#list + 1] = "noether." .. name
  end
  return #list > 0 and ": " .. table.concat(list, ", ") or ""
end

local function put_table(out, entry)
  put_text(out, entry.text)
  put(out, "---@class noether.%s%s", entry.name, parents(entry.extends))
  for _, field in ipairs(entry.fields) do
    put_field(out, field)
  end
end

local function put_words(out, entry)
  put(out, "---@alias noether.%s", entry.name)
  for _, word in ipairs(entry.words) do
    put(out, '---| "%s"%s', word.word, word.text and " # " .. word.text or "")
  end
  put(out, "")
end

local function put_function(out, prefix, item)
  put_text(out, item.text)
  local names = {}
  for _, param in ipairs(item.params) do
    names[#names + 1] = param.name
    local mark = param.optional and param.name ~= "..." and "?" or ""
    put(out, described(("---@param %s%s %s"):format(param.name, mark, converted(bare(param.type))),
      param.text))
  end
  for _, value in ipairs(item.returns) do
    local text = value.text ~= "" and "# " .. value.text or ""
    put(out, described("---@return " .. return_type(value), text))
  end
  put(out, "function %s%s(%s) end", prefix, item.name, table.concat(names, ", "))
  put(out, "")
end

local function tables_by_name(surface)
  local map = {}
  for _, entry in ipairs(surface.tables) do
    map[entry.name] = entry
  end
  return map
end

local function put_class(out, class, fields_of)
  local entry = fields_of[class.name] or { name = class.name, fields = {} }
  put_table(out, { name = class.name, extends = class.extends, fields = entry.fields,
    text = entry.text })
  put(out, "local %s = {}", class.name)
  put(out, "")
  for _, item in ipairs(class.methods) do
    put_function(out, class.name .. ":", item)
  end
end

local function put_module(out, surface, name)
  local prefix = name == "noether" and name or name:match "[%w_]+$"
  put(out, "---@class %s", name)
  for _, field in ipairs(surface.fields) do
    if field.scope == name then
      put(out, described(("---@field %s %s"):format(field.name, field.type),
        field.item.text:gsub("\n", " ")))
    end
  end
  put(out, "local %s = {}", prefix)
  put(out, "")
  for _, scope in ipairs(surface.scopes) do
    if scope.name:match "^(.*)%." == name then
      put_text(out, scope.item.text)
      put(out, "%s = {}", scope.name)
      put(out, "")
    end
  end
  for _, entry in ipairs(surface.functions) do
    local under = entry.scope == name or entry.scope:match "^(.*)%." == name
    if entry.kind == "function" and under and not surface.is_module[entry.scope]
      or entry.scope == name then
      put_function(out, prefix .. entry.scope:sub(#name + 1) .. ".", {
        name = entry.name, text = entry.item.text, params = entry.item.params,
        returns = entry.item.returns,
      })
    end
  end
end

--- The meta file.
-- @tparam table surface
-- @treturn string
function M.write(surface)
  local out = { HEAD:sub(1, -2) }
  put(out, "")
  local fields_of, is_class = tables_by_name(surface), {}
  surface.is_module = {}
  for _, module in ipairs(surface.modules) do
    surface.is_module[module.name] = true
  end
  for _, entry in ipairs(surface.words) do
    put_words(out, entry)
  end
  for _, class in ipairs(surface.classes) do
    is_class[class.name] = true
  end
  for _, entry in ipairs(surface.tables) do
    if not is_class[entry.name] then
      put_table(out, entry)
      put(out, "")
    end
  end
  for _, class in ipairs(surface.classes) do
    put_class(out, class, fields_of)
  end
  for index = #surface.modules, 1, -1 do
    put_module(out, surface, surface.modules[index].name)
  end
  put(out, "return noether")
  return table.concat(out, "\n") .. "\n"
end

return M
