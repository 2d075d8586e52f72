-- SPDX-License-Identifier: MIT
--- Makes documentation of the sources' doc comments.
--
--     docs.lua types        the meta file for the Lua language server, types/noether.lua
--     docs.lua reference    the Lua module that help() reads
--     docs.lua check        says what the comments lack, a line each, and then exits with 1
--
-- It reads the source tree that it lies in, and writes to standard output.

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/docs/?.lua"

local surface = require "surface"

local function report(problems)
  for _, line in ipairs(problems) do
    print(line)
  end
  os.exit(#problems == 0, true)
end

local mode = arg[1]
if mode ~= "check" and mode ~= "types" and mode ~= "reference" then
  io.stderr:write "usage: docs.lua types | reference | check\n"
  os.exit(2)
end
local found = surface.read(here .. "/..")
if mode == "check" then
  report(found.problems)
else
  io.write(require(mode).write(found))
end
