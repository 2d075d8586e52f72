-- SPDX-License-Identifier: MIT
--- `noether plan`: what `run` would run, without running it.
local flags = require "noether.cli.flags"
local json = require "noether.json"
local render = require "noether.cli.render"
local stages = require "noether.cli.stages"
local tables = require "noether.tables"

local M = {
  name = "plan", summary = "show what run would run",
  about = "Show exactly what 'run' would start: program, files, sandbox, limits. Nothing is run "
    .. "but what finds the interpreter.",
  arguments = { { name = "stage", value = "FILE|ID", about = "as of 'run'" } },
  examples = {
    { "noether plan double.py --input '{\"n\": 21}'", "the plan as JSON" },
    { "noether plan double.py --input '{\"n\": 21}' --shell", "a line to copy into a shell" },
    { "noether plan double.py --outline", "without a look at this machine" },
  },
}

M.options = {
  { name = "--shell", about = "one line of shell that does the same" },
  { name = "--outline", about = "look at nothing on this machine: the runtime is unresolved" },
}
for _, option in ipairs(flags.STAGE) do
  M.options[#M.options + 1] = option
end

-- Part of the sandbox that another option carries, or that belongs to one run.
local NOT_DESCRIBED = {
  backend = true, bwrap_path = true, private_dir = true, resolved = true, env_allowlist = true,
}

-- Of the limits, those of the launch.
local OF_LAUNCH = { timeout_secs = true, max_output_bytes = true, max_stderr_bytes = true }

local function description_of(plan)
  local description = { limits = {} }
  for name, value in pairs(plan.sandbox) do
    if not NOT_DESCRIBED[name] then description[name] = value end
  end
  for name, value in pairs(plan.limits) do
    if not OF_LAUNCH[name] then description.limits[name] = value end
  end
  return description
end

local function append(words, more)
  for _, word in ipairs(more) do
    words[#words + 1] = word
  end
  return words
end

-- Secrets by name: the shell puts in what they are.
local function bare_line(plan)
  local words = { "env", "-i" }
  for _, name in ipairs(tables.sorted_names(plan.env)) do
    words[#words + 1] = name .. "=" .. plan.env[name]
  end
  local line = render.shell_line(words)
  for _, name in ipairs(plan.secrets) do
    line = ("%s %s=\"$%s\""):format(line, name, name)
  end
  line = line .. " " .. render.shell_line(plan.argv)
  if not plan.work_dir then return line end
  return ("(cd %s && %s)"):format(render.shell_word(plan.work_dir), line)
end

local function sandboxed_line(context, plan)
  local words = { context.program, "sandbox", "--isolation", plan.sandbox.backend }
  if plan.limits.timeout_secs then
    append(words, { "--timeout", ("%g"):format(plan.limits.timeout_secs) })
  end
  append(words, { "--policy", render.line(description_of(plan)) })
  for _, name in ipairs(tables.sorted_names(plan.env)) do
    append(words, { "--env", name .. "=" .. plan.env[name] })
  end
  for _, name in ipairs(plan.secrets) do
    append(words, { "--env", name })
  end
  words[#words + 1] = "--"
  return render.shell_line(append(words, plan.argv))
end

local function shell_text(context, plan)
  local line = plan.sandbox.backend == "none" and bare_line(plan) or sandboxed_line(context, plan)
  return ("printf '%%s\\n' %s | %s\n"):format(
    render.shell_word((plan.stdin:gsub("\n$", ""))), line)
end

local function check(given)
  if not (given.shell and given.outline) then return true end
  return nil, { usage = true, message = "option '--shell' needs what '--outline' does not look at" }
end

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local ok, err = check(context.given)
  if not ok then return nil, err end
  local text
  text, err = stages.input(context)
  if not text then return nil, err end
  local executor, reference = stages.open(context)
  if not executor then return nil, reference end
  local plan
  plan, err = executor:plan(reference, json.decode(text), {
    work_dir = context.given.work_dir, lock = context.given.lock,
    resolve = not context.given.outline,
  })
  if not plan then return nil, err end
  if context.given.shell then
    context.console:answer(shell_text(context, plan))
  else
    context.console:json(render.json(plan))
  end
  return 0
end

return M
