-- SPDX-License-Identifier: MIT
--- `noether doctor`: what works on this machine, what does not, and what to do about it.
local doctor = require "noether.report.doctor"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local render = require "noether.cli.render"
local values = require "noether.cli.values"

local M = {
  name = "doctor", summary = "say what works on this machine",
  about = "Say what works on this machine, what does not, and what to do about it. Exit code 1: "
    .. "stages cannot be run here, isolated; or it could not be found out in time.",
  options = {
    flags.json,
    { name = "--timeout", value = "TIME", convert = values.seconds,
      about = "what each program that is tried may take (default: 5), and twice that once more" },
  },
  examples = {
    { "noether doctor", "the report" },
    { "noether doctor --timeout 60", "on a very busy machine" },
    { "noether doctor --json | jq -r .auto", "the isolation that is taken here" },
  },
}

local COLOURS = { ok = "green", warn = "yellow", missing = "red" }

--- Do it.
-- @tparam table context
-- @treturn number exit code
function M.run(context)
  local report = doctor.examine{ timeout_secs = context.given.timeout }
  if context.given.json then
    context.console:json(render.json(report))
  else
    context.console:answer((tostring(report):gsub("%f[^\n%z]%l+", function(word)
      return COLOURS[word] and context.console:paint(COLOURS[word], word)
    end)))
  end
  return report.ok and report.complete and exits.OK or exits.FAILED
end

return M
