-- SPDX-License-Identifier: MIT
--- What `require "noether"` costs, against loading all that the library has; and in LuaJIT, as in
-- Neovim, against loading luv, where both are installed.
--
-- `run{ rounds = 41 }` returns rows as `measure.row` makes them, in seconds; and one of memory:
-- what is kept after `require`, which may be half of all at most.
local measure = require "measure"

local M = {}

-- Prints the seconds and the bytes of `require`, and of it and all the rest.
local PROGRAM = [[
local function used() collectgarbage() collectgarbage() return collectgarbage("count") * 1024 end
local before, start = used(), os.clock()
local noether = require "noether"
local secs = os.clock() - start
local bytes = used() - before
start = os.clock()
noether.preload()
print(secs, bytes, secs + os.clock() - start, used() - before)]]

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function sample()
  local pipe = assert(io.popen(("%s -e %s"):format(quote(arg[-1]), quote(PROGRAM))))
  local secs, bytes, all_secs, all_bytes = pipe:read("n", "n", "n", "n")
  assert(pipe:close() and all_bytes)
  return { secs = secs, bytes = bytes, all_secs = all_secs, all_bytes = all_bytes }
end

-- The processor time of one `require` in a fresh LuaJIT; nil where there is no such module.
local function in_luajit(name)
  local build = os.getenv("BENCH_BUILD") or "build"
  local code = ("local c = os.clock() require '%s' print(os.clock() - c)"):format(name)
  local pipe = assert(io.popen(("LUA_PATH=%s LUA_CPATH=%s luajit -e %s 2>&1"):format(
    quote "lua/?.lua;lua/?/init.lua;;", quote(build .. "/lib/luajit/?.so;;"), quote(code))))
  local secs = pipe:read "n"
  pipe:close()
  return secs
end

local function add_luajit(rows, rounds)
  local secs, luv = {}, {}
  for i = 1, rounds do
    secs[i], luv[i] = in_luajit "noether", in_luajit "luv"
    if not secs[i] or not luv[i] then return rows end
  end
  local base = measure.summary(luv)
  rows[#rows + 1] = measure.row("load: require luv, LuaJIT", base)
  rows[#rows + 1] = measure.row("load: require noether, LuaJIT", measure.summary(secs), base, 1.5)
  return rows
end

function M.run(opts)
  local secs, all_secs, last = {}, {}, nil
  for i = 1, opts.rounds or 41 do
    last = sample()
    secs[i], all_secs[i] = last.secs, last.all_secs
  end
  local all = measure.summary(all_secs)
  return add_luajit({
    measure.row("load: require noether", measure.summary(secs), all, 0.5),
    measure.row("load: all of it (noether.preload)", all),
    { name = "load: memory of require noether", bytes = last.bytes,
      max_bytes = last.all_bytes / 2 },
    { name = "load: memory of all of it", bytes = last.all_bytes, max_bytes = 1.5 * 2 ^ 20 },
  }, opts.rounds or 41)
end

return M
