-- SPDX-License-Identifier: MIT
--- Programs that are run to be asked something: what they are, or whether they run at all.
--
-- On a busy machine, or from a cold disk, even `true` may take seconds. So one that ran out of time
-- is run once more, with more of it; and if that was not enough either, this is told as what it is:
-- an error that can be tried again, and no fact about the program.
local errors = require "noether.error"
local tables = require "noether.tables"

local M = {}

--- How many seconds each attempt has.
M.PATIENCE = { 10, 20 }

local function out_of_time(argv, secs)
  return errors.new{
    kind = "spawn_failed", errno = "ETIMEDOUT", limit = secs,
    message = ("%s did not answer within %.3g s"):format(argv[1], secs),
    hint = "the machine is busy, or its disk is slow: try again",
  }
end

local function cancelled()
  return errors.new{ kind = "cancelled", message = "the task was cancelled" }
end

--- Whether an error says that time ran out, which tells nothing of what was asked.
-- @tparam ?table err
-- @treturn boolean
function M.is_late(err)
  return err ~= nil and err.errno == "ETIMEDOUT"
end

--- Run a program to its end.
-- @tparam table argv
-- @tparam table opts as of `process.launch`, but for `timeout_secs`
-- @tparam table ctx `launch` (as `process.launch`), `await` (takes what it gave, returns the
-- result; may yield), `patience` (@{PATIENCE})
-- @treturn ?table its result, which is no time-out; or nil and an error: why it could not be run,
-- that it took too long (`spawn_failed`, `ETIMEDOUT`), or that nobody waits for it (`cancelled`)
-- @treturn ?table
function M.run(argv, opts, ctx)
  local secs
  for _, limit in ipairs(ctx.patience or M.PATIENCE) do
    local proc, err = ctx.launch(argv, tables.merged(opts, { timeout_secs = limit }))
    if not proc then return nil, err end
    local result
    result, err = ctx.await(proc)
    proc:close()
    if not result then return nil, err end
    if result.reason == "cancelled" then return nil, cancelled() end
    if result.reason ~= "timeout" then return result end
    -- Where all of this has a deadline of its own, it had less.
    secs = math.min(limit, result.duration_secs)
  end
  return nil, out_of_time(argv, secs)
end

return M
