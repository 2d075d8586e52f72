-- SPDX-License-Identifier: MIT
--- A stage through the executor, against the same script run bare by its interpreter.
local floor = require "floor"
local measure = require "measure"
local noether = require "noether"

local M = {}

local STAGE = [[
def execute(input):
    return {"double": input["n"] * 2}
]]

-- What somebody would write without us.
local SCRIPT = [[
import json, sys
def execute(input):
    return {"double": input["n"] * 2}
print(json.dumps(execute(json.loads('{"n": 21}'))))
]]

local function with_script(fn)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(SCRIPT)
  file:close()
  local rows = fn(path)
  os.remove(path)
  return rows
end

local function through(executor, id)
  return function()
    return measure.time(function()
      local output, err = executor:execute(id, { n = 21 })
      assert(not err, err)
      assert(output.double == 42)
    end)
  end
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local store = noether.store.memory()
  local id = assert(store:put{ language = "python", code = STAGE, effects = { "Pure" } })
  local bare = noether.executor{ store = store, isolation = "none" }
  local jailed = noether.executor{ store = store }
  local _, _, info = bare:execute(id, { n = 21 })
  local python = info.runtime.path
  return with_script(function(path)
    local summaries = measure.take_turns({
      { name = "floor", run = function() return (floor.run(python, "-I", "-B", path)) end },
      { name = "none", run = through(bare, id) },
      { name = "auto", run = through(jailed, id) },
    }, math.max((opts.rounds or 400) // 8, 10))
    bare:close()
    jailed:close()
    return {
      measure.row("python stage: the script alone", summaries.floor, summaries.floor),
      measure.row("python stage: execute, no isolation", summaries.none, summaries.floor, 1.15),
      measure.row("python stage: execute, sandboxed", summaries.auto, summaries.floor),
    }
  end)
end

return M
