-- SPDX-License-Identifier: MIT
--- Programs as functions that a stage may call: JSON on standard input, JSON on standard output.
local errors = require "noether.error"
local json = require "noether.json"
local sys = require "noether.sys"
local tables = require "noether.tables"
local task = require "noether.run.task"
local text = require "noether.text"

local M = {}

-- The last line that it wrote, which programs mostly end with why.
local function last_words(result)
  return text.trim(result.stderr):match("[^\n]*$")
end

local function outcome(name, result)
  if not result.ok then
    local why = result.exit_code and ("it ended with status %d"):format(result.exit_code)
      or "it was ended: " .. (result.signal or result.reason)
    local words = last_words(result)
    return nil, errors.new{
      kind = "stage_failed", message = ("%s: %s"):format(name, words ~= "" and words or why),
    }
  end
  local value, reason = json.decode(result.stdout)
  if value ~= nil then return value end
  return nil, errors.new{ kind = "output_invalid", message = ("%s: %s"):format(name, reason) }
end

-- Waited for beside the run; it dies with it.
local function call(context, name, argv, arguments)
  return task.new(function(own)
    own:enter("run")
    local hear, finish = text.lines(function(line) context.console:log(name .. ": " .. line) end)
    local process, err = own:launch(argv, {
      env = context.environ, stdin = assert(json.encode(arguments)) .. "\n", on_stderr = hear,
    })
    if not process then return nil, err end
    local result
    result, err = own:await(process)
    process:close()
    if not result then return nil, err end
    finish()
    return outcome(name, result)
  end, {})
end

local function path_of(program, environ)
  if program:find("/", 1, true) then return sys.absolute(program) end
  return sys.find_program(program, environ.PATH)
end

--- Functions of a command line.
-- @tparam table context of the verb: `given["function"]` (a list of `{ name, argv }`), `environ`
-- @treturn ?table functions by name; nil where there are none; or nil and a misuse
-- @treturn ?table
function M.given(context)
  local functions
  for _, entry in ipairs(context.given["function"] or {}) do
    local path = path_of(entry.argv[1], context.environ)
    if not path then
      local program = errors.clean(entry.argv[1], 200)
      return nil, { usage = true,
        message = ("option '--function': there is no program '%s'"):format(program) }
    end
    local argv = tables.merged(entry.argv, { path })
    functions = functions or {}
    functions[entry.name] = function(arguments)
      local started = call(context, entry.name, argv, arguments)
      started:step()
      return started
    end
  end
  return functions
end

return M
