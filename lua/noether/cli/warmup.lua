-- SPDX-License-Identifier: MIT
--- `noether warmup`: find interpreters ahead of the first run.
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local render = require "noether.cli.render"
local settings = require "noether.cli.settings"
local memory = require "noether.stage.store.memory"
local sys = require "noether.sys"
local tables = require "noether.tables"
local values = require "noether.cli.values"

local M = {
  name = "warmup", summary = "find or build runtimes ahead of the first run",
  about = "Find the interpreters of languages, or build what they need, ahead of the first run; "
    .. "of all there are where none is named.",
  arguments = { {
    name = "languages", value = "LANG", count = "*",
    about = "python, javascript, bash, or what policies add",
  } },
  options = {
    flags.json, flags.runtime, flags.nixpkgs, flags.lock_file,
    { name = "--setup-timeout", value = "TIME", about = "deadline for each (default: 300)",
      convert = values.seconds },
    flags.policy_path,
  },
  examples = {
    { "noether warmup", "all languages" },
    { "noether warmup python --runtime nix", "one, from Nix" },
  },
}

local LOOK_SECS, BAR_CELLS = 0.2, 20

local function bar(now, secs)
  local filled = math.floor(now.done / now.total * BAR_CELLS)
  return ("[%s%s] %d/%d  %s%s  %.0f s"):format(("#"):rep(filled), ("-"):rep(BAR_CELLS - filled),
    now.done, now.total, now.language or "", now.state and ": " .. now.state or "", secs)
end

local function wait(context, task, now)
  local started = sys.clock()
  while true do
    local found, err, info = task:wait(LOOK_SECS)
    if not err or err.kind ~= "pending" then
      context.console:warnings(info)
      context.console:clear()
      return found, err
    end
    context.console:progress(bar(now, sys.clock() - started))
  end
end

-- The task, and what it is at, which changes as it goes on.
local function begin(executor, names)
  local now = { done = 0, total = #names }
  local task, err = executor:warmup(names, {
    on_progress = function(event)
      now.done, now.language, now.state = event.done, event.language, event.state
    end,
  })
  return task, err or now
end

local function show(context, found)
  local rows = {}
  for _, name in ipairs(tables.sorted_names(found)) do
    local runtime = found[name]
    if not runtime.err then
      rows[#rows + 1] = { name, runtime.kind, runtime.path, runtime.version }
    end
  end
  if context.given.json then
    context.console:json(render.json(found))
  else
    context.console:answer(render.columns(rows))
  end
end

-- What was asked for by name must be there; of all there are, one will do.
local function code_of(found, asked)
  local had, failure = false, nil
  for _, runtime in pairs(found) do
    had = had or runtime.err == nil
    failure = failure or runtime.err
  end
  if not failure or (had and not asked) then return exits.OK end
  return exits.of(failure)
end

local function check_names(executor, names)
  for _, name in ipairs(names) do
    local known, err = executor.policies:language(name)
    if not known then return nil, err end
  end
  return true
end

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local executor, err = settings.executor(context, memory.new())
  if not executor then return nil, err end
  local asked = #context.given.languages > 0
  local names = asked and context.given.languages or executor.policies:languages()
  local ok, task, found
  ok, err = check_names(executor, names)
  if ok then task, err = begin(executor, names) end
  if task then found, err = wait(context, context.own(task), err) end
  if not found then return nil, err end
  show(context, found)
  for _, name in ipairs(tables.sorted_names(found)) do
    local failure = found[name].err
    if errors.is(failure) and failure.hint then context.console:say("hint", failure.hint) end
  end
  return code_of(found, asked)
end

return M
