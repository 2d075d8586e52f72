-- SPDX-License-Identifier: MIT
--- `noether prune`: take out of the cache what nobody has used for long.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local prune = require "noether.cache.prune"
local render = require "noether.cli.render"
local text = require "noether.text"
local values = require "noether.cli.values"

local M = {
  name = "prune", summary = "take out of the cache what nobody has used for long",
  about = "Take out of the cache what nobody has used for long: scripts, environments with "
    .. "packages, and what was never finished. Stages may run meanwhile; what is needed again is "
    .. "made again.",
  options = {
    { name = "--older-than", value = "TIME", convert = values.days,
      about = "how long it must not have been used: 1d or more (default: 30d)" },
    { name = "--dry-run", about = "remove nothing, and say what would go" },
    flags.json,
  },
  examples = {
    { "noether prune", "what was not used for 30 days" },
    { "noether prune --older-than 7d --dry-run", "what would go, of 7 days" },
  },
}

local function rows_of(report)
  local rows = {}
  for _, sort in ipairs{ "scripts", "venvs", "leftovers" } do
    local bytes = 0
    for _, entry in ipairs(report[sort]) do
      bytes = bytes + entry.bytes
    end
    rows[#rows + 1] = { sort, tostring(#report[sort]), text.bytes(bytes) }
  end
  return rows
end

local function lines_of(report)
  if not report.cache_dir then return "there is no cache\n" end
  return ("%s%s %s from %s\n"):format(render.columns(rows_of(report)),
    report.dry_run and "would remove" or "removed", text.bytes(report.bytes), report.cache_dir)
end

-- What would not go, and what is not ours to remove.
local function tell(screen, report)
  for _, path in ipairs(report.foreign) do
    screen:say("warning", path .. ": none of noether's, left alone")
  end
  for _, failure in ipairs(report.failed) do
    screen:say("error", failure.message)
  end
end

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local given = context.given
  local report, err = prune.prune{ older_than_secs = given.older_than, dry_run = given.dry_run }
  if not report then return nil, err end
  if given.json then
    context.console:json(render.json(report))
  else
    context.console:text(lines_of(report))
  end
  tell(context.console, report)
  return #report.failed == 0 and exits.OK or exits.of{ kind = "cache_failed" }
end

return M
