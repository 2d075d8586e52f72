-- SPDX-License-Identifier: MIT
--- `noether lock`: which packages a stage would get, each with its hash.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local stages = require "noether.cli.stages"
local sys = require "noether.sys"
local values = require "noether.cli.values"

local M = {
  name = "lock", summary = "pin the packages that a stage names",
  about = "Find out which packages a stage would get now, with all that comes along, and write a "
    .. "lock of them: each file with its hash. 'run --lock' then installs these and no others. Of "
    .. "Python it is a pylock.toml (PEP 751), of JavaScript and TypeScript a package-lock.json. "
    .. "Neither the stage nor any package's code is run.",
  arguments = { { name = "stage", value = "FILE|ID", about = "as of 'run'" } },
  options = {
    {
      name = "--output", value = "FILE", convert = values.path_to_be,
      about = "where to write it (default: standard output); what is there is replaced",
    },
    flags.language, flags.setup_timeout, flags.env, flags.isolation, flags.runtime,
    flags.policy_path, flags.store,
  },
  examples = {
    { "noether lock chart.py --output pylock.toml", "once, and whenever newer ones are wanted" },
    { "noether run chart.py --lock pylock.toml", "with what the lock holds" },
  },
}

local FILE_MODE = 420 -- 0644

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local executor, reference = stages.open(context)
  if not executor then return nil, reference end
  local text, err = executor:lock(reference)
  if not text then return nil, err end
  local file = context.given.output
  if not file then
    context.console:answer(text)
    return exits.OK
  end
  local ok, message = sys.write_file(file, text, FILE_MODE)
  if ok then return exits.OK end
  return nil, { usage = true, message = "option '--output': " .. message }
end

return M
