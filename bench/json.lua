-- SPDX-License-Identifier: MIT
--- JSON of 1 MiB against bare lua-cjson, which loses what is lossy.
--
-- `run{ rounds = 41 }` returns a list of rows as `measure.row` makes them, in seconds: the times
-- are the processor's; `ratio` is how many times as long as bare lua-cjson noether.json takes.
local cjson = require "cjson"
local json = require "noether.json"
local measure = require "measure"

local M = {}

local MIB = 1024 * 1024

-- The limits of what lua-cjson could do alone, and of what it could not.
local EXACT, LOSSY = 1.5, 3

-- As in prose and logs: one word in ten has an escape or more than ASCII.
local WORDS = { "a", "stage", "is", "run", "by", "the", "executor", "under", "policy", "in", "its",
  "sandbox", "and", "deadline", "ends", "it", "when", "output", "exceeds", "what", "was", "granted",
  "or", "nothing", "answers", "for", "too", "long", "then", "error", "says", "so", "clearly", "to",
  "whoever", "asked", "größe", "日本語", "line\n", "\"quoted\"" }

-- A generator of our own: the same documents in every run.
local function generator(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n
  end
end

local function words(random, count)
  local list = {}
  for i = 1, count do list[i] = WORDS[random(#WORDS) + 1] end
  return table.concat(list, " ")
end

-- Documents: what part number i of each is, as a key and a value.
local DOCUMENTS = {
  { name = "strings and objects", limit = EXACT, make = function(random, i)
    return "key" .. i, { name = words(random, 3), text = words(random, 14), done = i % 2 == 0,
      score = (random(9999) * 10 + 1) / 100 }
  end },
  { name = "long strings", limit = EXACT, make = function(random, i)
    return "key" .. i, words(random, 1650)
  end },
  { name = "short floats", limit = EXACT, make = function(random, i)
    return "key" .. i, (random(100000) * 10 + 1) / 1000
  end },
  { name = "records with ids and lists", limit = LOSSY, make = function(random, i)
    return i, { id = i, name = words(random, 5), tags = { words(random, 1), words(random, 1) },
      score = random(1000) / 10, size = random(100000), none = json.array{} }
  end },
  { name = "integers", limit = LOSSY, make = function(random, i)
    return i, random(1000000)
  end },
  { name = "rows of integers", limit = LOSSY, make = function(random, i)
    return i, { i, random(1000), random(1000), random(1000), random(1000), random(1000) }
  end },
  { name = "integers of 64 bits", limit = LOSSY, make = function(random, i)
    return i, random(2147483647) * 2147483647 + random(2147483647)
  end },
  { name = "doubles of 17 digits", limit = LOSSY, make = function(random, i)
    return i, (random(2147483647) + 0.5) / 2147483647
  end },
  { name = "whole floats", limit = LOSSY, make = function(random, i)
    return i, random(10000) + 0.0
  end },
}

local function build(document, parts)
  local random, value = generator(20240607), {}
  for i = 1, parts do
    local key, part = document.make(random, i)
    value[key] = part
  end
  return value
end

-- A value, and its text of about 1 MiB.
local function one_mib(document)
  local sample = 50
  local length = #assert(json.encode(build(document, sample)))
  local value = build(document, math.floor(MIB * sample / length))
  return value, assert(json.encode(value))
end

-- Calls fn(argument) on a clean heap. Nothing here waits, so it is the processor's time that is
-- taken: what else the machine does is not in it.
local function contestant(name, fn, argument)
  return { name = name, run = function()
    collectgarbage()
    local start = os.clock()
    local result = fn(argument)
    local secs = os.clock() - start
    assert(result ~= nil)
    return secs
  end }
end

local function compare(name, ours, bare, argument, rounds, limit)
  local times = measure.take_turns({
    contestant("ours", ours, argument), contestant("bare", bare, argument),
  }, rounds)
  return measure.row(name, times.ours, times.bare, limit)
end

--- @tparam ?table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rounds, rows = opts and opts.rounds or 41, {}
  for _, document in ipairs(DOCUMENTS) do
    local value, text = one_mib(document)
    rows[#rows + 1] = compare("json decode, " .. document.name, json.decode, cjson.decode, text,
      rounds, document.limit)
    rows[#rows + 1] = compare("json encode, " .. document.name, json.encode, cjson.encode, value,
      rounds, document.limit)
  end
  return rows
end

return M
