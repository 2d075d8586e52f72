-- SPDX-License-Identifier: MIT
--- `noether run --learn`: which effects a stage would have needed.
--
-- The first run has nothing open. A stage mostly ends at the first thing that it is refused; so
-- what it lacked is opened in a further run, as far as the command line allows it, and no further.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local render = require "noether.cli.render"

local M = {}

local MOST_RUNS = 8

local function merged(...)
  local list = {}
  for _, part in ipairs{ ... } do
    for _, effect in ipairs(part) do
      list[#list + 1] = effect
    end
  end
  local parsed = effects.parse(list)
  return parsed and parsed.list or list
end

-- A list of hosts as effects of one host each: some of them may be allowed.
local function taken_apart(list)
  local parts = {}
  for _, effect in ipairs(list) do
    for _, host in ipairs(effect.hosts or { false }) do
      parts[#parts + 1] = host and { effect = "Network", hosts = { host } } or effect
    end
  end
  return parts
end

-- Of what was learnt, what is declared.
local function opened_of(list, declared)
  local opened = {}
  for _, effect in ipairs(taken_apart(list)) do
    local allowed = effects.allows(declared, effects.parse{ effect })
    if allowed then opened[#opened + 1] = effect end
  end
  return merged(opened)
end

local function text_of(list)
  local words = {}
  for index, effect in ipairs(list) do
    words[index] = effects.format(effect)
  end
  return #words > 0 and table.concat(words, ", ") or "nothing"
end

-- As `--effect` takes it.
local function word_of(effect)
  local value = effect.path or effect.name or effect.hosts and table.concat(effect.hosts, ",")
  return value and ("%s=%s"):format(effect.effect, value) or effect.effect
end

--- Effects as words of the command line.
-- @tparam table list in wire form
-- @treturn string
function M.line(list)
  local words = {}
  for _, effect in ipairs(list) do
    words[#words + 1] = "--effect"
    words[#words + 1] = word_of(effect)
  end
  if #words == 0 then words = { "--effect", "Pure" } end
  return render.shell_line(words)
end

local function quoted(list)
  local words = {}
  for index, word in ipairs(list) do
    words[index] = ("%q"):format(word)
  end
  return table.concat(words, ", ")
end

--- Effects as Lua.
-- @tparam table list in wire form
-- @treturn string
function M.lua(list)
  local items = {}
  for index, effect in ipairs(list) do
    local value = effect.path or effect.name
    if effect.hosts then
      items[index] = ("{ Network = { %s } }"):format(quoted(effect.hosts))
    elseif value then
      items[index] = ("{ %s = %s }"):format(effect.effect, quoted{ value })
    else
      items[index] = quoted{ effect.effect }
    end
  end
  if #items == 0 then return "effects = {}" end
  return ("effects = { %s }"):format(table.concat(items, ", "))
end

local function say(console, number, run)
  local ended = run.err and "it failed: " .. run.err.message or "it answered"
  console:say("learn", ("run %d: open: %s; lacked: %s; %s"):format(number, text_of(run.opened),
    text_of(run.lacked), ended))
  for _, name in ipairs(run.unused) do
    console:say("learn", ("it asked for the address of %s and did not connect to it by TCP, as far "
      .. "as it came"):format(name))
  end
end

local function new_run(opened, info, err)
  return {
    opened = opened, lacked = info.learned.effects, unused = info.learned.unused, err = err,
  }
end

-- Runs until nothing more can be opened. The runs, and all that was learnt; or nil and an error.
local function learn(context, declared, execute)
  local runs, known, opened = {}, {}, {}
  repeat
    local answer, err, info = execute(opened)
    if not (info and info.learned) then return nil, err end
    local run = new_run(opened, info, not answer and err or nil)
    runs[#runs + 1] = run
    say(context.console, #runs, run)
    known = merged(known, run.lacked)
    local more = opened_of(known, declared)
    local is_more = text_of(more) ~= text_of(opened)
    opened = more
  until not is_more or #runs == MOST_RUNS
  return runs, known
end

local PARTLY = "it may need more: it ended where something was refused. Allow by --effect what you "
  .. "trust it with, and learn again: what is allowed and was needed is opened"
local MANY = ("it was run %d times, and lacked something in each"):format(MOST_RUNS)

local function advice(runs)
  local last = runs[#runs]
  if #last.lacked == 0 then return nil end
  return #runs == MOST_RUNS and MANY or PARTLY
end

local function record_of(runs, known)
  local list = {}
  for index, run in ipairs(runs) do
    local err = run.err and run.err:to_table()
    if err then err.result = nil end
    list[index] = { opened = run.opened, lacked = run.lacked, unused = run.unused, error = err }
  end
  local last = runs[#runs]
  return {
    ok = true, effects = known, line = M.line(known), lua = M.lua(known), runs = list,
    complete = #last.lacked == 0 and not last.err,
  }
end

local function tell(context, runs, known)
  local last, console = runs[#runs], context.console
  local is_own_failure = last.err and #last.lacked == 0
  if context.given.json then
    console:json(render.line(record_of(runs, known)) .. "\n")
    return is_own_failure and exits.of(last.err) or exits.OK
  end
  console:answer(M.line(known) .. "\n" .. M.lua(known) .. "\n")
  local more = advice(runs)
  if more then console:say("hint", more) end
  if is_own_failure then return nil, last.err end
  return exits.OK
end

--- Do it.
-- @tparam table context of the verb
-- @tparam table executor
-- @tparam string|table reference of the stage
-- @tparam function execute runs it, with the effects opened that it gets: as `execute_json`
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context, executor, reference, execute)
  local stage, err = executor:stage_of(reference)
  local declared = stage and effects.parse(stage.effects)
  local runs, known = nil, err
  if declared then runs, known = learn(context, declared, execute) end
  executor:close()
  if runs then return tell(context, runs, known) end
  if context.given.json and errors.is(known) then
    context.console:json(render.line{ ok = false, error = known:to_table() } .. "\n")
    return exits.of(known)
  end
  return nil, known
end

return M
