-- SPDX-License-Identifier: MIT
--- Makes documentation of the sources' doc comments.
--
--     generate.lua types        the meta file for the Lua language server, types/noether.lua
--     generate.lua reference    the Lua module that help() reads
--     generate.lua pages DIR    what LDoc reads: a file of comments for each page, in DIR
--     generate.lua check        says what the comments lack, a line each, and then exits with 1
--
-- It reads the source tree that it lies in, and writes to standard output.

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/?.lua"

local surface = require "surface"

local commands = {}

function commands.check(found)
  for _, line in ipairs(found.problems) do
    print(line)
  end
  os.exit(#found.problems == 0, true)
end

function commands.types(found)
  io.write(require("types").write(found))
end

function commands.reference(found)
  io.write(require("reference").write(found))
end

function commands.pages(found, directory)
  for name, text in pairs(require("pages").write(found)) do
    local file = assert(io.open(("%s/%s.lua"):format(directory, name), "wb"))
    assert(file:write(text))
    assert(file:close())
  end
end

local command = commands[arg[1]]
if not command or (arg[1] == "pages") ~= (arg[2] ~= nil) then
  io.stderr:write "usage: generate.lua types | reference | pages DIR | check\n"
  os.exit(2)
end
command(surface.read(here .. "/../.."), arg[2])
