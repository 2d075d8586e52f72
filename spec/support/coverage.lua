-- SPDX-License-Identifier: MIT
--- Counts which lines of the library the specs run, in the process of the specs itself: loaded by
-- helper.lua where SPEC_COVERAGE names a directory. tools/test/coverage.lua reads what it writes.
local busted = require "busted"
local core = require "noether.core"

-- By file, as "lua/noether/text.lua", the lines that were run.
local files = {}
-- By source, the table of its file, or false if it is not the library's.
local of_source = {}

local function lines_of(source)
  local name = source:match "^@.*(noether/[%w_/]+%.lua)$"
  name = name and "lua/" .. name
  if name then files[name] = files[name] or {} end
  of_source[source] = name and files[name] or false
  return of_source[source]
end

local function on_line(_, line)
  local source = debug.getinfo(2, "S").source
  local lines = of_source[source]
  if lines == nil then lines = lines_of(source) end
  if lines then lines[line] = true end
end

-- A hook is its thread's alone.
local create = coroutine.create

local function create_watched(fn)
  local thread = create(fn)
  debug.sethook(thread, on_line, "l")
  return thread
end

-- Lines of "lua/noether/text.lua 12".
local function write()
  debug.sethook()
  local directory = os.getenv "SPEC_COVERAGE"
  local file = assert(io.open(("%s/%d"):format(directory, core.getpid()), "w"))
  for name, lines in pairs(files) do
    for line in pairs(lines) do file:write(name, " ", line, "\n") end
  end
  file:close()
end

rawset(coroutine, "create", create_watched)
debug.sethook(on_line, "l")
busted.subscribe({ "suite", "end" }, function()
  write()
  return nil, true
end)
