-- SPDX-License-Identifier: MIT
--- What Lua 5.1, LuaJIT and 5.2 to 5.4 spell differently. The only module that asks which it is.
local M = {}

-- Fields of this, and not globals: some of them are not there in every version.
local G = _G

--- `table.unpack`.
M.unpack = G.table.unpack or G.unpack

--- Arguments as a list with their count in `n`, nils included.
-- @treturn table
M.pack = G.table.pack or function(...)
  return { n = select("#", ...), ... }
end

--- Compile source text. Bytecode is refused: it can do what no source can.
-- @tparam string text
-- @tparam string chunkname as for `load`: "=name" or "@file"
-- @tparam[opt] table env the chunk's globals; nil: the real ones
-- @treturn ?function nil and a message if it does not compile
-- @treturn ?string
function M.load_text(text, chunkname, env)
  if not G.setfenv then return load(text, chunkname, "t", env or G) end
  if text:sub(1, 1) == "\27" then return nil, "attempt to load a binary chunk" end
  local chunk, message = G.loadstring(text, chunkname)
  if chunk and env then G.setfenv(chunk, env) end
  return chunk, message
end

local tables_have_gc = not G.setfenv

local NO_MEMORY = "not enough memory"

--- As `pcall`; but that memory ran out is raised on, for it says nothing of what was called.
-- @tparam function fn
-- @param ... its arguments
-- @return as of `pcall`
function M.try(fn, ...)
  local results = M.pack(pcall(fn, ...))
  if not results[1] and results[2] == NO_MEMORY then error(NO_MEMORY, 0) end
  return M.unpack(results, 1, results.n)
end

--- `setmetatable`, whose `__gc` and `__close` work for tables in every version that can have them.
-- @tparam table object
-- @tparam table metatable with `__gc`
-- @treturn table the object
function M.set_handle_metatable(object, metatable)
  if not tables_have_gc and G.newproxy then
    local proxy = G.newproxy(true)
    getmetatable(proxy).__gc = function() metatable.__gc(object) end
    rawset(object, proxy, true)
  end
  return setmetatable(object, metatable)
end

return M
