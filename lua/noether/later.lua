-- SPDX-License-Identifier: MIT
--- Fields that are read from other modules, which are loaded when a field is first asked for: a
-- program that only wants the time pays for the time.
local M = {}

local Field = {}
local Module = {
  __index = function(module, name)
    return setmetatable({ module = rawget(module, 1), name = name }, Field)
  end,
}

--- What stands for a module that is not loaded yet: `module.field` can be put into a table that
-- @{load_on_use} is then called for.
-- @tparam string name
-- @treturn table
function M.module(name)
  return setmetatable({ name }, Module)
end

local function is_later(value)
  return type(value) == "table" and (getmetatable(value) == Field
    or is_later(select(2, next(value))))
end

-- The value of a field, or of a table of fields.
local function loaded(value)
  if getmetatable(value) == Field then return require(value.module)[value.name] end
  local whole = {}
  for name, field in pairs(value) do
    whole[name] = loaded(field)
  end
  return whole
end

--- Load all that stands in a table for something else. Nothing is looked for afterwards.
-- @tparam table fields of @{load_on_use}
function M.load(fields)
  local metatable = getmetatable(fields)
  for name in pairs(metatable and metatable.waiting or {}) do
    local _ = fields[name]
  end
end

--- Have each field of a table loaded when it is first read, or the table is walked through.
-- @tparam table fields whose values may stand for others
-- @treturn table the same
function M.load_on_use(fields)
  local waiting = {}
  for name, value in pairs(fields) do
    if is_later(value) then waiting[name] = value end
  end
  for name in pairs(waiting) do
    fields[name] = nil
  end
  return setmetatable(fields, {
    waiting = waiting,
    __index = function(_, name)
      if waiting[name] == nil then return nil end
      fields[name] = loaded(waiting[name])
      return fields[name]
    end,
    __pairs = function()
      M.load(fields)
      return next, fields
    end,
  })
end

return M
