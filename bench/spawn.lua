-- SPDX-License-Identifier: MIT
--- Spawn and capture of /usr/bin/true: against vfork, exec and wait in C, io.popen and luv; in a
-- small host, in one with a heap of 1 GiB, and in one with 10,000 open files.
local floor = require "floor"
local measure = require "measure"
local process = require "noether.process"

local M = {}

local TRUE = "/usr/bin/true"

local function run(opts)
  local proc = assert(process.launch({ TRUE }, opts))
  local result = assert(proc:wait())
  proc:close()
  return result
end

local function by_noether(opts)
  return function()
    return measure.time(function() run(opts) end)
  end
end

local function by_launcher()
  assert(measure.stand_by(function() return run{ launcher = true } end),
    "no launcher: noether doctor")
  return by_noether{ launcher = true }
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

local FLOOR = { name = "floor", run = function() return floor.spawn(TRUE) end }

local function contestants()
  local list = {
    { name = "noether, bare", run = by_noether{ supervise = false }, limit = 1.3 },
    { name = "noether, kept, direct", run = by_noether{ launcher = false }, limit = 1.6 },
    { name = "noether, kept, by launcher", run = by_launcher(), limit = 1.25, p99_limit = 1.5 },
    { name = "io.popen", run = by_popen, forks = true },
  }
  local found, uv = pcall(require, "luv")
  if found then list[#list + 1] = { name = "luv", run = by_luv(uv), forks = true } end
  return list
end

-- Each takes turns with the floor alone. What a spawn leaves behind meets whoever comes next: after
-- a fork, for one, every page of this process is copied when it is next written to.
local function rows_of(label, rounds, fork_rounds)
  local rows = {}
  for _, contestant in ipairs(contestants()) do
    local summaries = measure.take_turns({ FLOOR, contestant },
      contestant.forks and fork_rounds or rounds)
    if #rows == 0 then
      rows[1] = measure.row(label .. ": vfork, exec, wait in C", summaries.floor, summaries.floor)
    end
    rows[#rows + 1] = measure.row(("%s: %s"):format(label, contestant.name),
      summaries[contestant.name], summaries.floor, contestant.limit)
    if contestant.p99_limit then
      rows[#rows + 1] = { name = ("%s: %s, of p99"):format(label, contestant.name),
        ratio = summaries[contestant.name].p99 / summaries.floor.p99, limit = contestant.p99_limit }
    end
  end
  return rows
end

-- Pages that a forking spawn has to copy the tables of.
local function in_big_host(rounds)
  local heap = floor.grow(1 << 30)
  local rows = rows_of("spawn, 1 GiB host", rounds, math.max(rounds // 8, 10))
  assert(heap) -- held until here
  return rows
end

-- Descriptors that a child would have to copy and close, as the floor's does.
local function in_busy_host(rounds)
  floor.files_limit(11000)
  local files = {}
  for i = 1, 10000 do
    files[i] = assert(io.open("/dev/null"))
  end
  local rows = rows_of("spawn, 10,000 files", rounds, rounds)
  for _, file in ipairs(files) do
    file:close()
  end
  return rows
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local rounds = opts.rounds or 400
  local rows = rows_of("spawn", rounds, rounds)
  for _, more in ipairs{ in_big_host(rounds), in_busy_host(rounds) } do
    table.move(more, 1, #more, #rows + 1, rows)
  end
  return rows
end

return M
