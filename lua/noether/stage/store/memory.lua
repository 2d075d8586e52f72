-- SPDX-License-Identifier: MIT
--- Stages in this Lua state's memory. A store is any table with `put`, `get`, `list` and `remove`.
local options = require "noether.options"
local stages = require "noether.stage.stage"

local M = {}

local Memory = {}
local metatable = { __name = "noether.store.memory", __index = Memory }

--- A store in this Lua state's memory.
-- @treturn Store a store
-- @usage
-- local store = noether.store.memory()
-- local id = noether.check(store:put{ language = "bash", code = "execute() { echo 1; }" })
-- print(#id) --> 64
function M.new()
  return setmetatable({ stages = {}, aliases = {} }, metatable)
end

--- Put a stage into the store. One that is there already stays, and takes the name.
-- @tparam Stage fields
-- @treturn ?string its id: the SHA-256 of language, code and effects; or nil and an error
-- (`input_invalid`, `store_failed`)
-- @treturn ?Error error
-- @raise on an unknown field or a wrong type
-- @usage
-- local store = noether.store.memory()
-- local code = "def execute(n): return n * 2"
-- local id = noether.check(store:put{ name = "double", language = "python", code = code })
-- print(store:get("double").id == id) --> true
function Memory:put(fields)
  options.method("store:put", self)
  local stage, err = stages.new("store:put", fields)
  if not stage then return nil, err end
  local old = self.stages[stage.id]
  if old and not stage.name then stage.name = old.name end
  stages.keep_told(stage, old)
  self.stages[stage.id] = stage
  if stage.name then self:point(stage.name, stage) end
  return stage.id
end

--- Make a name lead to a stage, taking it from the one that had it.
-- @local
function Memory:point(name, stage)
  local holder = self.stages[self.aliases[name]]
  if holder and holder.id ~= stage.id then holder.name = nil end
  self.aliases[name] = stage.id
end

--- The stage of an id or a name.
-- @tparam string id_or_name
-- @treturn ?Stage a copy, with its `id`; or nil and an error (`stage_not_found`, `store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- local _, err = store:get("nonesuch")
-- print(err.kind) --> stage_not_found
function Memory:get(id_or_name)
  options.method("store:get", self)
  options.argument("store:get", "id or name", id_or_name, "text")
  local stage = self.stages[id_or_name] or self.stages[self.aliases[id_or_name]]
  if not stage then return stages.not_found(id_or_name) end
  return stages.copy(stage)
end

--- All stages, without their code.
-- @treturn ?{table,...} by id: `{ id, name, language, effects }`, of a damaged one `{ id, err }`;
-- or nil and an error (`store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- store:put{ name = "one", language = "bash", code = "execute() { echo 1; }" }
-- for _, stage in ipairs(store:list()) do print(stage.name, stage.language) end --> one bash
function Memory:list()
  options.method("store:list", self)
  local list = {}
  for _, stage in pairs(self.stages) do
    list[#list + 1] = stages.summary(stage)
  end
  table.sort(list, stages.by_id)
  return list
end

--- Take a stage out of the store, with its names.
-- @tparam string id_or_name
-- @treturn ?boolean true; or nil and an error (`stage_not_found`, `store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- store:put{ name = "one", language = "bash", code = "execute() { echo 1; }" }
-- print(store:remove("one"), #store:list()) --> true 0
function Memory:remove(id_or_name)
  options.method("store:remove", self)
  options.argument("store:remove", "id or name", id_or_name, "text")
  local id = self.aliases[id_or_name] or id_or_name
  if not self.stages[id] then return stages.not_found(id_or_name) end
  self.stages[id] = nil
  for name, target in pairs(self.aliases) do
    if target == id then self.aliases[name] = nil end
  end
  return true
end

return M
