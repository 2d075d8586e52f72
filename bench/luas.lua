-- SPDX-License-Identifier: MIT
--- What a call costs in other Luas, against the same module and the same call in `lua5.4`.
--
-- `run{ rounds = 201 }` returns rows as `measure.row` makes them, in seconds. Luas that are not
-- installed, or that no module was built for (`make luas`), have no rows.
local measure = require "measure"
local noether = require "noether"

local M = {}

local BUILD = os.getenv("BENCH_BUILD") or "build"
local MOST_RATIO = 1.1
local LUAS = { { "5.4", "lua5.4" }, { "5.1", "lua5.1" }, { "luajit", "luajit" } }

-- A word comes, how long that took goes back; of "own" what this process alone used of a processor,
-- which the machine's other work changes little.
local PROGRAM = [[
local noether = require "noether"
local stage = noether.inline{ same = function(value) return value end }
local input = { list = { 1, 2.5, "text", true }, name = "x" }
local WAYS = {}
for _, isolation in ipairs{ "none", "native" } do
  WAYS[isolation] = function()
    noether.check(noether.run({ "/bin/true" }, { isolation = isolation }))
  end
end
function WAYS.inline()
  for _ = 1, 200 do noether.check(stage:execute("same", input)) end
end
function WAYS.own()
  for _ = 1, 20 do WAYS.none() end
end
for word in io.lines() do
  local clock = word == "own" and os.clock or noether.clock
  local start = clock()
  WAYS[word]()
  io.write(("%.9f\n"):format(clock() - start))
  io.flush()
end]]

local function start(lua)
  local heard = {}
  local process, err = noether.spawn({ lua[2], "-e", PROGRAM }, {
    isolation = "none", stdin = true, on_stdout = function(text) heard[#heard + 1] = text end,
    env = {
      LUA_PATH = "lua/?.lua;lua/?/init.lua;;", LUA_CPATH = BUILD .. "/lib/" .. lua[1] .. "/?.so;;",
    },
  })
  if not process then return nil, err end
  local contestant = { name = lua[1], process = process }
  function contestant.ask(word)
    assert(process:write(word .. "\n"))
    while not (heard[#heard] or ""):find("\n", 1, true) do
      assert(not process:step(1), "it has ended")
    end
    local secs = tonumber(table.concat(heard))
    heard = {}
    return secs
  end
  return contestant
end

local function started()
  local contestants = {}
  for _, lua in ipairs(LUAS) do
    local file = io.open(("%s/lib/%s/noether/core.so"):format(BUILD, lua[1]))
    if file then
      file:close()
      contestants[#contestants + 1] = start(lua)
    end
  end
  return contestants
end

local TITLES = {
  { "own", "luas: 20 of noether.run, own processor time, %s" },
  { "none", "luas: noether.run, %s" }, { "native", "luas: noether.run, native, %s" },
  { "inline", "luas: 200 calls of a function, %s" },
}

function M.run(opts)
  local rows, contestants = {}, started()
  for _, title in ipairs(TITLES) do
    local word, turns = title[1], {}
    for index, contestant in ipairs(contestants) do
      turns[index] = { name = contestant.name, run = function() return contestant.ask(word) end }
    end
    local summaries = measure.take_turns(turns, opts.rounds or 201)
    for _, contestant in ipairs(contestants) do
      local is_base = contestant.name == "5.4"
      rows[#rows + 1] = measure.row(title[2]:format(contestant.name), summaries[contestant.name],
        not is_base and summaries["5.4"] or nil, not is_base and word ~= "inline" and MOST_RATIO
          or nil)
    end
  end
  for _, contestant in ipairs(contestants) do contestant.process:close() end
  return rows
end

return M
