-- SPDX-License-Identifier: MIT
--- `noether run`: a stage's answer on standard output, its log on standard error.
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local json = require "noether.json"
local render = require "noether.cli.render"
local stages = require "noether.cli.stages"
local sys = require "noether.sys"
local tables = require "noether.tables"
local trace = require "noether.trace"
local values = require "noether.cli.values"

local M = {
  name = "run", summary = "run a stage and print its answer",
  about = "Run a stage: a file of code that defines execute, or one from the store. Its answer, "
    .. "one JSON value, goes to standard output; what it prints goes to standard error.",
  arguments = { {
    name = "stage", value = "FILE|ID",
    about = "a file of code, '-' for standard input, or an id or name in the store",
  } },
  examples = {
    { "noether run double.py --input '{\"n\": 21}'", "code in a file, input on the command line" },
    { "jq .orders data.json | noether run total.js --effect Pure --input -",
      "input from a pipe; the stage may do nothing but compute" },
    { "noether run fetch.py --effect Network --env TOKEN --timeout 5s",
      "the network, a secret from the environment, a deadline" },
    { "noether run double --input @input.json --json",
      "a stage of the store; answer, log and figures as JSON" },
    { "noether run double.py --trace run.html", "the run as a page, for a browser" },
  },
}

M.options = {
  { name = "--json", about = "write one JSON object: ok, output or error, info" },
  {
    name = "--trace", value = "FILE.html", convert = values.path_to_be,
    about = "write a page that shows the run: its phases, limits and peaks",
  },
}
for _, option in ipairs(flags.STAGE) do
  M.options[#M.options + 1] = option
end

local function write_json(context, answer, err, info)
  local record = { ok = err == nil, info = info and tables.merged(info) }
  if err then
    record.error = err:to_table()
    record.error.result = nil -- it is in info
  else
    record.output = json.decode(answer)
  end
  context.console:answer(render.line(record) .. "\n")
  return err and exits.of(err) or exits.OK
end

local function call_options(context)
  return {
    work_dir = context.given.work_dir,
    on_log = function(line) context.console:log(line) end,
  }
end

-- A page that cannot be written is known before anything runs.
local function open_page(given)
  if not given.trace then return true end
  return trace.open(given.trace, given.stage)
end

local function write_page(context, page, answer, err, info)
  if page == true then return end
  page:add(1, { output = answer and json.decode(answer), err = err, info = info or {} })
  local ok, failure = page:close()
  if not ok then context.console:say("warning", failure.message) end
end

local LOOK_SECS, PATIENCE_SECS = 0.2, 1

-- A runtime that is built may take minutes: whoever waits at a terminal is told.
local function wait(context, task)
  local started = sys.clock()
  while true do
    local answer, err, info = task:wait(LOOK_SECS)
    if not err or err.kind ~= "pending" then
      context.console:clear()
      return answer, err, info
    end
    local secs = sys.clock() - started
    if task:state() ~= "setup" then
      context.console:clear()
    elseif secs > PATIENCE_SECS then
      context.console:progress(("setting up the runtime: %.0f s"):format(secs))
    end
  end
end

-- As execute_json, but seen while it goes on.
local function execute_json(context, executor, id, text)
  local reference, err = executor:reference("run", id)
  if not reference then return nil, err end
  local call = executor:check_call("run", call_options(context))
  local task
  task, err = executor:begin(reference, text, call, "json")
  if not task then return nil, err end
  return wait(context, task)
end

local function execute(context)
  local text, err = stages.input(context)
  if not text then return nil, err end
  local executor, reference = stages.open(context)
  if not executor then return nil, reference end
  local page, answer, info
  page, err = open_page(context.given)
  if not page then return nil, err end
  answer, err, info = execute_json(context, executor, reference, text)
  -- Whatever becomes of the answer, nothing is left behind.
  executor:close()
  write_page(context, page, answer, err, info)
  return answer, err, info
end

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local answer, err, info = execute(context)
  context.console:warnings(info)
  if context.given.json and (answer or errors.is(err)) then
    return write_json(context, answer, err, info)
  elseif not answer then
    return nil, err
  end
  context.console:json(answer .. "\n")
  return exits.OK
end

return M
