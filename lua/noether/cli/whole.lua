-- SPDX-License-Identifier: MIT
--- Whether what was typed so far is a whole cell, or more lines belong to it: by brackets, quotes
-- and the words that open blocks. That looks at the text alone, and is for a prompt.
local M = {}

-- Comments and texts of each language, which say nothing: what begins one, and what ends it. What
-- has no end goes on; a line's end ends what stands in `short`.
local TEXTS = {
  python = { { '"""', '"""' }, { "'''", "'''" }, { '"', '"', short = true },
    { "'", "'", short = true }, { "#", "\n" } },
  javascript = { { "`", "`" }, { '"', '"', short = true }, { "'", "'", short = true },
    { "//", "\n" }, { "/*", "*/" } },
  bash = { { '"', '"' }, { "'", "'", raw = true }, { " #", "\n" } },
}

-- The end of what begins at a place, and whether it goes on beyond the text.
local function end_of(code, at, form)
  local first = at + #form[1]
  while first <= #code do
    if code:sub(first, first + #form[2] - 1) == form[2] then return first + #form[2] end
    if form.short and code:sub(first, first) == "\n" then return first end
    first = first + ((code:sub(first, first) == "\\" and not form.raw) and 2 or 1)
  end
  return #code + 1, form[2] ~= "\n" and not form.short
end

local function form_at(code, at, forms)
  for _, form in ipairs(forms) do
    if code:sub(at, at + #form[1] - 1) == form[1] then return form end
  end
  return nil
end

-- The code without texts and comments; nil if one of them is not at its end.
local function bare(code, forms)
  local parts, at = {}, 1
  while at <= #code do
    local form = form_at(code, at, forms)
    if not form then
      parts[#parts + 1] = code:sub(at, at)
      at = at + 1
    else
      local open
      at, open = end_of(code, at, form)
      if open then return nil end
      parts[#parts + 1] = form[2] == "\n" and "\n" or "_"
    end
  end
  return table.concat(parts)
end

local function has_open_brackets(code)
  local _, opened = code:gsub("[%(%[{]", "")
  local _, closed = code:gsub("[%)%]}]", "")
  return opened > closed
end

local PAIRS = { { "if", "fi" }, { "do", "done" }, { "case", "esac" } }

local function has_open_words(code)
  for _, pair in ipairs(PAIRS) do
    local _, opened = code:gsub("%f[%w_]" .. pair[1] .. "%f[^%w_]", "")
    local _, closed = code:gsub("%f[%w_]" .. pair[2] .. "%f[^%w_]", "")
    if opened > closed then return true end
  end
  return false
end

local function has_open_document(code)
  local mark = code:match("[^<]<<%-?%s*['\"]?([%a_][%w_]*)")
  return mark ~= nil and not (code .. "\n"):find("\n%s*" .. mark .. "\n")
end

-- What each language has open, in code without its texts.
local IS_OPEN = {}

function IS_OPEN.bash(text, code)
  return has_open_words(text) or has_open_document(code) or text:find("|%s*$") ~= nil
    or text:find("&&%s*$") ~= nil
end

-- A block ends at an empty line, as at Python's own prompt.
function IS_OPEN.python(text, code)
  local is_block = text:find(":[ \t]*\n") or text:find(":[ \t]*$") or text:find("^@")
  return is_block ~= nil and not code:find("\n[ \t]*$")
end

--- Whether a cell is whole.
-- @tparam string language
-- @tparam string code all lines so far, without the end of the last one
-- @treturn boolean
function M.is_whole(language, code)
  local text = bare(code, TEXTS[language] or TEXTS.javascript)
  if not text or code:find("\\$") or has_open_brackets(text) then return false end
  return not (IS_OPEN[language] and IS_OPEN[language](text, code))
end

return M
