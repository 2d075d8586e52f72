-- SPDX-License-Identifier: MIT
--- Spawn and capture of /usr/bin/true: against vfork, exec and wait in C, io.popen and luv; in a
-- small host, and in one with a heap of 1 GiB.
local floor = require "floor"
local measure = require "measure"
local process = require "noether.process"

local M = {}

local TRUE = "/usr/bin/true"

local function by_noether(opts)
  return function()
    return measure.time(function()
      local proc = assert(process.launch({ TRUE }, opts))
      assert(proc:wait())
      proc:close()
    end)
  end
end

local function by_popen()
  return measure.time(function()
    local file = assert(io.popen(TRUE))
    file:read("a")
    file:close()
  end)
end

local function by_luv(uv)
  return function()
    return measure.time(function()
      local out, errors = uv.new_pipe(), uv.new_pipe()
      local handle
      handle = assert(uv.spawn(TRUE, { stdio = { nil, out, errors } }, function()
        handle:close()
      end))
      out:read_start(function(_, data) if not data then out:close() end end)
      errors:read_start(function(_, data) if not data then errors:close() end end)
      uv.run()
    end)
  end
end

local function contestants()
  local list = {
    { name = "floor", run = function() return floor.spawn(TRUE) end },
    { name = "bare", run = by_noether{ supervise = false } },
    { name = "kept", run = by_noether{} },
    { name = "popen", run = by_popen },
  }
  local found, uv = pcall(require, "luv")
  if found then list[#list + 1] = { name = "luv", run = by_luv(uv) } end
  return list
end

local function rows_of(label, summaries, limits)
  local rows = {}
  for _, row in ipairs{
    { "floor", "vfork, exec, wait in C" }, { "bare", "noether, bare" },
    { "kept", "noether, kept" }, { "popen", "io.popen" }, { "luv", "luv" },
  } do
    local summary = summaries[row[1]]
    if summary then
      rows[#rows + 1] = measure.row(("%s: %s"):format(label, row[2]), summary, summaries.floor,
        limits[row[1]])
    end
  end
  return rows
end

-- Pages that a forking spawn has to copy the tables of.
local function big_host(rounds)
  local heap = floor.grow(1 << 30)
  local summaries = measure.take_turns(contestants(), rounds)
  assert(heap) -- held until here
  return summaries
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rounds = opts.rounds or 400
  local rows = rows_of("spawn", measure.take_turns(contestants(), rounds),
    { bare = 1.3, kept = 1.6 })
  local big = rows_of("spawn, 1 GiB host", big_host(math.max(rounds // 8, 10)),
    { bare = 1.3, kept = 1.6 })
  return table.move(big, 1, #big, #rows + 1, rows)
end

return M
