-- SPDX-License-Identifier: MIT
-- Leaves out of one description of an ABI what structs of another, older one do
-- not have yet: members behind their old end. What differs after that is no
-- mere addition.
--
--   noether-lua tools/test/abi.lua OLD.xml NEW.xml >TRIMMED.xml

local OPENING = "^%s*<class%-decl name='([^']*)'.* size%-in%-bits='(%d+)'"

local function sizes_of(path)
  local sizes = {}
  for line in io.lines(path) do
    local name, bits = line:match(OPENING)
    if name then sizes[name] = tonumber(bits) end
  end
  return sizes
end

local function trim(path, sizes, write)
  local size, dropping
  for line in io.lines(path) do
    local name, bits = line:match(OPENING)
    local text = line
    if name then
      size = sizes[name]
      if size and size < tonumber(bits) then
        text = line:gsub("size%-in%-bits='%d+'", ("size-in-bits='%d'"):format(size))
      end
    end
    local offset = line:match("<data%-member .*layout%-offset%-in%-bits='(%d+)'")
    dropping = dropping or offset and size and tonumber(offset) >= size
    if not dropping then write(text, "\n") end
    if line:find("</data-member>", 1, true) then dropping = false end
  end
end

trim(arg[2], sizes_of(arg[1]), function(...) io.stdout:write(...) end)
