-- SPDX-License-Identifier: MIT
-- lua5.4 coverage.lua BUILD DIRECTORY: which part of each source was run, as the files in DIRECTORY
-- (spec/support/coverage.lua) and the compiler's counters below BUILD have it; and of all.
local BUILD, DIRECTORY = table.unpack(arg)

local function each_line(command)
  return assert(io.popen(command)):lines()
end

-- By file, the lines that the specs ran.
local function lines_run()
  local run = {}
  for line in each_line("cat " .. DIRECTORY .. "/*") do
    local name, number = line:match "^(%S+) (%d+)$"
    run[name] = run[name] or {}
    run[name][tonumber(number)] = true
  end
  return run
end

-- What could be run of a file: the lines that have instructions.
local function lines_with_code(path)
  local lines = {}
  for line in each_line(("luac5.4 -l -p %s"):format(path)) do
    local number = line:match "^%s+%d+%s+%[(%d+)%]"
    if number then lines[tonumber(number)] = true end
  end
  return lines
end

local function percent(part, whole)
  return whole == 0 and 100 or 100 * part / whole
end

local function print_row(name, part, whole)
  print(("%-52s %6.1f %%  %5d of %d"):format(name, percent(part, whole), part, whole))
end

local function lua_rows()
  local run, rows = lines_run(), {}
  for path in each_line "find lua/noether -name '*.lua' | sort" do
    local part, whole = 0, 0
    for line in pairs(lines_with_code(path)) do
      whole = whole + 1
      if run[path] and run[path][line] then part = part + 1 end
    end
    rows[#rows + 1] = { name = path, part = part, whole = whole }
  end
  return rows
end

-- gcov says of each file: File 'src/core/argv.c', and then Lines executed:93.10% of 174.
local function c_rows()
  local rows, file, seen = {}, nil, {}
  local find = ("find %s/obj/src -name '*.gcda' | sort"):format(BUILD)
  for line in each_line(find .. " | xargs gcov -n 2>/dev/null") do
    file = line:match "^File '(.*)'$" or file
    local share, whole = line:match "^Lines executed:([%d.]+)%% of (%d+)$"
    if share and file and file:find "^src/.*%.c$" and not seen[file] then
      seen[file] = true
      rows[#rows + 1] = { name = file, part = math.floor(share * whole / 100 + 0.5),
        whole = tonumber(whole) }
      file = nil
    end
  end
  return rows
end

local function print_all(what, rows)
  local part, whole = 0, 0
  for _, row in ipairs(rows) do
    print_row(row.name, row.part, row.whole)
    part, whole = part + row.part, whole + row.whole
  end
  return function() print_row(what, part, whole) end
end

local totals = {
  print_all("all of C that has counters", c_rows()),
  print_all("all of Lua, in the specs' own processes", lua_rows()),
}
for _, print_total in ipairs(totals) do print_total() end
