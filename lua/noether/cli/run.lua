-- SPDX-License-Identifier: MIT
--- `noether run`: a stage's answer on standard output, its log on standard error.
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local functions = require "noether.cli.functions"
local learn = require "noether.cli.learn"
local json = require "noether.json"
local render = require "noether.cli.render"
local stages = require "noether.cli.stages"
local sys = require "noether.sys"
local tables = require "noether.tables"
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
    { "noether run chart.py --file x.csv=/srv/x.csv --output '*.png'",
      "a file for the stage, and the charts that it draws" },
    { "noether run double.py --trace run.html", "the run as a page, for a browser" },
    { "noether run fetch.py --learn", "what the stage would need, as effects to paste" },
  },
}

M.options = {
  {
    name = "--function", value = "NAME=PROGRAM", convert = values.program, many = true,
    about = "a program, with arguments, that the code may call as a function (--effect "
      .. "Call=NAME): JSON in, JSON out, no shell",
  },
  {
    name = "--file", value = "NAME=PATH", convert = values.file, many = true,
    about = "a file that the stage finds in its working directory, by that name; it is not copied",
  },
  {
    name = "--output", value = "PATTERN", many = true,
    about = "collect a file that the stage leaves: a name ('NAME?' need not be there), or a "
      .. "pattern with * and **/",
  },
  {
    name = "--output-dir", value = "DIR", convert = values.path_to_be,
    about = "where outputs go (default: here); what is there already is not replaced",
  },
  { name = "--output-overwrite", about = "replace files that are there already" },
  {
    name = "--learn",
    about = "run it with nothing open, and print the effects that it would have needed; what "
      .. "--effect allows is opened in further runs, as far as it was needed",
  },
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
  context.console:json(render.line(record) .. "\n")
  return err and exits.of(err) or exits.OK
end

local function files_of(given)
  local files
  for _, file in ipairs(given.file or {}) do
    files = files or {}
    files[file.name] = { path = file.path }
  end
  return files
end

local function check_outputs(given)
  for _, name in ipairs{ "output_dir", "output_overwrite" } do
    if given[name] and not given.output then
      return nil, { usage = true, message = ("option '--%s': there is no --output to put there")
        :format((name:gsub("_", "-"))) }
    end
  end
  return true
end

local function check_learn(given)
  for _, name in ipairs{ "output", "trace" } do
    if given.learn and given[name] then
      return nil, { usage = true, message = ("option '--%s' cannot be used with '--learn', which "
        .. "prints effects"):format(name) }
    end
  end
  return true
end

local function call_options(context, functions_given, opened)
  local given = context.given
  local outputs = given.output
  return {
    functions = functions_given, work_dir = given.work_dir, lock = given.lock,
    files = files_of(given), outputs = outputs,
    output_dir = outputs and (given.output_dir or "."),
    output_overwrite = given.output_overwrite, learn = opened,
    on_log = function(line) context.console:log(line) end,
  }
end

-- A page that cannot be written is known before anything runs.
local function open_page(given)
  if not given.trace then return true end
  return require("noether.report.trace").open(given.trace, given.stage) -- a tail call
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

-- As execute_json, but seen while it goes on. Learnt of is a stage with these effects opened.
local function execute_json(context, executor, id, text, opened)
  local given, err = functions.given(context)
  if err then return nil, err end
  local reference
  reference, err = executor:reference("run", id)
  if not reference then return nil, err end
  local call = executor:check_call("run", call_options(context, given, opened))
  local task
  task, err = executor:begin{ reference = reference, input = text, call = call, mode = "json" }
  if not task then return nil, err end
  return wait(context, task)
end

-- What is wrong with the words is known before anything is opened: the input.
local function check_words(context)
  local ok, err = check_outputs(context.given)
  if ok then ok, err = check_learn(context.given) end
  if not ok then return nil, err end
  return stages.input(context) -- a tail call
end

local function run_to_learn(context)
  local text, err = check_words(context)
  if not text then return nil, err end
  local executor, reference = stages.open(context)
  if not executor then return nil, reference end
  return learn.run(context, executor, reference, function(opened)
    return execute_json(context, executor, reference, text, opened)
  end)
end

local function execute(context)
  local text, err = check_words(context)
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
  if context.given.learn then return run_to_learn(context) end
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
