-- SPDX-License-Identifier: MIT
--- `noether doctor`: what works on this machine, what does not, and what to do about it.
local doctor = require "noether.doctor"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local render = require "noether.cli.render"

local M = {
  name = "doctor", summary = "say what works on this machine",
  about = "Say what works on this machine, what does not, and what to do about it. Exit code 1: "
    .. "stages cannot be run here, isolated.",
  options = { flags.json },
  examples = {
    { "noether doctor", "the report" },
    { "noether doctor --json | jq -r .auto", "the isolation that is taken here" },
  },
}

local COLOURS = { ok = "green", warn = "yellow", missing = "red" }

--- Do it.
-- @tparam table context
-- @treturn number exit code
function M.run(context)
  local report = doctor.examine()
  if context.given.json then
    context.console:answer(render.json(report))
  else
    context.console:answer((tostring(report):gsub("%f[^\n%z]%l+", function(word)
      return COLOURS[word] and context.console:paint(COLOURS[word], word)
    end)))
  end
  return report.ok and exits.OK or exits.FAILED
end

return M
