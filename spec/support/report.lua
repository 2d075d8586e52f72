-- SPDX-License-Identifier: MIT
--- Busted's plain report, which also tells of a failure when it happens, and not only at the end.
--
-- To the file that SPEC_EVENTS names goes a line for each event, its fields parted by tabs: what
-- tools/test/suite.lua watches.
--
--     file   PATH                        a spec file begins
--     test   PLACE  NAME                 a test begins
--     ended  STATUS  SECS                the test is over: success, failure, error, pending
--     failed PLACE  NAME                 something failed, in a test or around it
--     done   SECS  PATH                  the file is over
--     counts PASSED  FAILED  SKIPPED     all files are

-- Opened for each line: a descriptor that stayed open would be every test's.
local function say(path, ...)
  if not path then return end
  local fields = { ... }
  for i = 1, #fields do fields[i] = tostring(fields[i]):gsub("[%c]", " ") end
  local file = assert(io.open(path, "a"))
  file:write(table.concat(fields, "\t"), "\n")
  file:close()
end

local function place_of(element)
  local trace = element.trace or {}
  return ("%s:%s"):format(trace.short_src or "?", trace.currentline or "?")
end

local function subscribe(busted, handler, path)
  local function on(channel, fn)
    busted.subscribe(channel, function(...)
      fn(...)
      return nil, true
    end)
  end
  local function failed(element)
    local place, name = place_of(element), handler.getFullName(element)
    if path then
      say(path, "failed", place, name)
    else
      io.stdout:write(("\nfailed: %s: %s\n"):format(place, name))
      io.stdout:flush()
    end
  end
  on({ "file", "start" }, function(file) say(path, "file", file.name) end)
  on({ "test", "start" }, function(test)
    say(path, "test", place_of(test), handler.getFullName(test))
  end)
  on({ "test", "end" }, function(test, _, status)
    say(path, "ended", status, ("%.3f"):format(test.duration or 0))
  end)
  on({ "failure" }, failed)
  on({ "error" }, failed)
  on({ "file", "end" }, function(file)
    say(path, "done", ("%.3f"):format(file.duration or 0), file.name)
  end)
  on({ "suite", "end" }, function()
    say(path, "counts", handler.successesCount, handler.failuresCount + handler.errorsCount,
      handler.pendingsCount)
  end)
end

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.plainTerminal"(options)
  subscribe(busted, handler, os.getenv "SPEC_EVENTS")
  return handler
end
