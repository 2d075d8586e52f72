-- SPDX-License-Identifier: MIT
-- Looks in Lua files for what 5.5 refuses and all before it take: `global` as a name, and an
-- assignment to the variable that controls a loop (the first of them).
--
--   traps.lua FILE...

local found = 0

-- The tokens of a file, without comments: { text, line }. What is in a string does not matter.
local function tokens_of(text)
  local tokens, at, line = {}, 1, 1
  local function take(pattern)
    local first, last = text:find("^" .. pattern, at)
    if not first then return nil end
    local token = text:sub(first, last)
    at = last + 1
    local own = line
    for _ in token:gmatch("\n") do line = line + 1 end
    return token, own
  end
  local function long()
    local level = text:match("^%[(=*)%[", at)
    return level and take("%[" .. level .. "%[.-%]" .. level .. "%]")
  end
  local function skip_comment()
    if not take("%-%-") then return false end
    return long() or take("[^\n]*")
  end
  while take("%s+") or at <= #text do
    if not skip_comment() and at <= #text then
      local own = line
      local quote = text:match("^[\"']", at)
      if quote then
        at = at + 1
        while not take(quote) do
          if not take("\\[%s%S]") then take("[^\\" .. quote .. "]+") end
        end
        tokens[#tokens + 1] = { "string", own }
      elseif long() then
        tokens[#tokens + 1] = { "string", own }
      else
        tokens[#tokens + 1] = { take("[%a_][%w_]*") or take("%d[%w.]*") or take("[=~<>]=")
          or take("%.%.%.?") or take("."), own }
      end
    end
  end
  return tokens
end

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function if in local nil not or repeat return
  then true until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

local function is_name(token)
  return token and token[1]:find("^[%a_]") and not KEYWORDS[token[1]] and token[1] ~= "string"
end

-- The names from a token on that commas separate, and the place behind them.
local function names_at(tokens, index)
  local names = {}
  while is_name(tokens[index]) do
    names[#names + 1] = tokens[index][1]
    index = index + 1
    if tokens[index] and tokens[index][1] == "," then index = index + 1 end
  end
  return names, index
end

local function declare(scope, names)
  for _, name in ipairs(names) do scope[name] = false end
end

local function is_loop_variable(scopes, name)
  for index = #scopes, 1, -1 do
    if scopes[index][name] ~= nil then return scopes[index][name] end
  end
  return false
end

local OPENING = { ["("] = true, ["["] = true, ["{"] = true }
local CLOSING = { [")"] = true, ["]"] = true, ["}"] = true }

local function check(path, tokens)
  local scopes, index, candidates, pending = { {} }, 1, {}, nil
  local function complain(token, message)
    io.stderr:write(("%s:%d: %s\n"):format(path, token[2], message))
    found = found + 1
  end
  local function push(own) scopes[#scopes + 1] = own or {} end
  local function pop() scopes[#scopes] = nil end
  local handlers = {
    ["for"] = function() pending, index = names_at(tokens, index) end,
    ["do"] = function()
      push()
      if pending then declare(scopes[#scopes], pending) end
      if pending then scopes[#scopes][pending[1]] = true end
      pending = nil
    end,
    ["local"] = function()
      if tokens[index][1] == "function" then return end
      local names
      names, index = names_at(tokens, index)
      declare(scopes[#scopes], names)
    end,
    ["function"] = function()
      while tokens[index][1] ~= "(" do index = index + 1 end
      local names
      names, index = names_at(tokens, index + 1)
      while tokens[index][1] ~= ")" do index = index + 1 end
      index = index + 1
      push()
      declare(scopes[#scopes], names)
    end,
    ["then"] = function() push() end, ["repeat"] = function() push() end,
    ["else"] = function() pop() push() end, ["elseif"] = pop, ["until"] = pop, ["end"] = pop,
  }
  for _, token in ipairs(tokens) do
    if token[1] == "global" then complain(token, "'global' is a word of Lua 5.5") end
  end
  while tokens[index] do
    local token, before = tokens[index], tokens[index - 1]
    local text, scope = token[1], scopes[#scopes]
    index = index + 1
    if text == "=" and not scope.bracket then
      for _, name in ipairs(candidates) do
        if is_loop_variable(scopes, name) then
          complain(token, ("'%s' is a loop's own: Lua 5.5 refuses to assign to it"):format(name))
        end
      end
    end
    if is_name(token) and not (before and (before[1] == "." or before[1] == ":")) then
      if not before or before[1] ~= "," then candidates = {} end
      candidates[#candidates + 1] = text
    elseif text ~= "," then
      candidates = {}
    end
    if OPENING[text] then push{ bracket = true } end
    if CLOSING[text] then pop() end
    if handlers[text] then handlers[text]() end
  end
end

for _, path in ipairs(arg) do
  local file = assert(io.open(path, "rb"))
  check(path, tokens_of(file:read("*a")))
  file:close()
end
os.exit(found == 0 and 0 or 1)
