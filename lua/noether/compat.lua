-- SPDX-License-Identifier: MIT
--- What Lua 5.1, LuaJIT and 5.2 to 5.5 spell differently. The only module that asks which it is.
local M = {}

-- Hosts make the read of a global that is not there an error, or a warning, and some hide the real
-- table of globals: so each name is read where it is there for certain, and nothing is tried.
local IS_5_1 = _VERSION == "Lua 5.1" -- LuaJIT says so, too

-- nginx's Lua puts coroutines of its own in the place of Lua's: each belongs to the request that it
-- was made in, cannot be made outside of one, and is the end of the worker if another resumes it. A
-- task is stepped by whoever has it, so it takes Lua's own, which are kept there under these names.
local function own(name)
  return coroutine["_" .. name] or coroutine[name]
end

--- `coroutine`, as Lua has it: `create`, `resume`, `status`, `yield`.
M.coroutine = {
  create = own "create", resume = own "resume", status = own "status", yield = own "yield",
}

--- `table.unpack`.
M.unpack = IS_5_1 and unpack or table.unpack

--- What `require` asks for modules: `package.searchers`.
M.searchers = IS_5_1 and package.loaders or package.searchers

--- Arguments as a list with their count in `n`, nils included.
-- @treturn table
M.pack = not IS_5_1 and table.pack or function(...)
  return { n = select("#", ...), ... }
end

--- Compile source text. Bytecode is refused: it can do what no source can.
-- @tparam string text
-- @tparam string chunkname as for `load`: "=name" or "@file"
-- @tparam[opt] table env the chunk's globals; nil: the real ones
-- @treturn ?function nil and a message if it does not compile
-- @treturn ?string
function M.load_text(text, chunkname, env)
  if not IS_5_1 then
    if env then return load(text, chunkname, "t", env) end
    return load(text, chunkname, "t")
  end
  if text:sub(1, 1) == "\27" then return nil, "attempt to load a binary chunk" end
  local chunk, message = loadstring(text, chunkname)
  if chunk and env then setfenv(chunk, env) end
  return chunk, message
end

local NO_MEMORY = "not enough memory"

local function but_for_memory(ok, first, ...)
  if not ok and first == NO_MEMORY then error(NO_MEMORY, 0) end
  return ok, first, ...
end

--- As `pcall`; but that memory ran out is raised on, for it says nothing of what was called.
-- @tparam function fn
-- @param ... its arguments
-- @return as of `pcall`
function M.try(fn, ...)
  return but_for_memory(pcall(fn, ...))
end

--- `setmetatable`, whose `__gc` and `__close` work for tables in every version that can have them.
-- @tparam table object
-- @tparam table metatable with `__gc`
-- @treturn table the object
function M.set_handle_metatable(object, metatable)
  if IS_5_1 then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = function() metatable.__gc(object) end
    rawset(object, proxy, true)
  end
  return setmetatable(object, metatable)
end

return M
