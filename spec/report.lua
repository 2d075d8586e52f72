-- SPDX-License-Identifier: MIT
--- Busted's plain report, which also writes its counts ("passed failed
-- skipped") to the file that SPEC_COUNTS names.

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.plainTerminal"(options)

  busted.subscribe({ "suite", "end" }, function()
    local path = os.getenv "SPEC_COUNTS"
    if path then
      local file = assert(io.open(path, "w"))
      file:write(("%d %d %d\n"):format(handler.successesCount,
        handler.failuresCount + handler.errorsCount, handler.pendingsCount))
      file:close()
    end
    return nil, true
  end)
  return handler
end
