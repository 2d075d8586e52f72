-- SPDX-License-Identifier: MIT
--- The command `noether`.
local M = {}

--- Do what a command line asks.
-- @tparam {string,...} args the arguments; the name that the command was called by at 0
-- @treturn number exit code
function M.main(args)
  io.stderr:write((args[0] or "noether"), ": not built\n")
  return 125
end

return M
