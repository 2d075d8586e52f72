-- SPDX-License-Identifier: MIT
--- What the specs of this folder share. They run under every Lua that the library is for, so all is
-- in the syntax of Lua 5.1 and uses the public API (but to look for leaks); and a test fails that
-- leaves descriptors or children behind.
local core = require "noether.core"
local noether = require "noether"

local M = {}

-- "6789 (lua) S ...": the process that reads it.
local function own_pid()
  local file = assert(io.open("/proc/self/stat"))
  local pid = file:read("*n")
  file:close()
  return pid
end

local function sh(command)
  return noether.check(noether.run({ "/bin/sh", "-c", command }, { isolation = "none" })).stdout
end

-- What stands by for the next runs, and what it needs, is kept.
local function standing_by()
  local child, descriptors = core.launcher()
  local found = { ["child " .. tostring(child)] = true }
  for _, number in ipairs(descriptors) do found["descriptor " .. number] = true end
  return found
end

-- Looks without a process, which would need some itself.
local function add_descriptors(found)
  for number = 0, 255 do
    local file = io.open("/proc/self/fdinfo/" .. number)
    if file then
      found["descriptor " .. number] = true
      file:close()
    end
  end
end

local function add_children(found)
  local pid = own_pid()
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  if not file then return end
  for child in file:read("*a"):gmatch("%d+") do found["child " .. child] = true end
  file:close()
end

--- Runs whatever finalizers there are.
function M.collect()
  for _ = 1, 4 do collectgarbage() end
end

--- What this process has open, and its children.
-- @treturn table a set of names
function M.holdings()
  local found = {}
  M.collect()
  add_descriptors(found)
  add_children(found)
  return found
end

local function new_since(before)
  local list, kept = {}, standing_by()
  for name in pairs(M.holdings()) do
    if not before[name] and not kept[name] then list[#list + 1] = name end
  end
  return list
end

--- What there is that there was not, once what was closed has ended.
-- @tparam table before of `holdings`
-- @treturn {string,...}
function M.left_since(before)
  M.poll(function() return #new_since(before) == 0 end)
  return new_since(before)
end

--- Tries until it is true, or for 20 seconds.
-- @tparam function condition
-- @return what it gave last
function M.poll(condition)
  local deadline = noether.clock() + 20
  local result = condition()
  while not result and noether.clock() < deadline do
    noether.run({ "/bin/sleep", "0.01" }, { isolation = "none" })
    result = condition()
  end
  return result
end

--- Raises unless a call gave nil and an error of a kind.
-- @tparam string kind
-- @return output
-- @tparam ?table err
-- @treturn table the error
function M.fails(kind, output, err)
  if output ~= nil then error("it gave " .. noether.inspect(output), 2) end
  if not noether.is_error(err) then error("it gave no error", 2) end
  if err.kind ~= kind then error(("%s, not %s: %s"):format(err.kind, kind, tostring(err)), 2) end
  return err
end

--- A stage in Bash, the cheapest to start.
-- @tparam string body of `execute`
-- @tparam[opt={"Process"}] table effects
-- @treturn table
function M.bash(body, effects)
  local code = "execute() { " .. body .. "; }"
  return { language = "bash", code = code, effects = effects or { "Process" } }
end

--- How many processes have a word of `mark` among their arguments.
-- @tparam string mark
-- @treturn number
function M.count(mark)
  local pattern = "[" .. mark:sub(1, 1) .. "]" .. mark:sub(2) -- which does not find itself
  return tonumber(sh(("grep -lsa -- '%s' /proc/[0-9]*/cmdline | wc -l"):format(pattern)))
end

local marks = 0

--- A word that nothing else has.
-- @treturn string
function M.mark()
  marks = marks + 1
  return ("portable-%d-%d-%d"):format(own_pid(), os.time(), marks)
end

return M
