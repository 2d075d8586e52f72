-- SPDX-License-Identifier: MIT
--- What the command's exit codes mean: those of env(1), timeout(1) and docker(1) where they have
-- one for the same thing.
local errors = require "noether.error"

local M = {}

M.OK = 0
M.FAILED = 1
M.USAGE = 2
M.LIMIT = 124
M.OURS = 125
M.NOT_EXECUTABLE = 126
M.NOT_FOUND = 127
M.SIGNAL = 128
M.INTERRUPTED = 130
M.BROKEN_PIPE = 141

--- Every code, in order: what it says, and what more there is to say in a manual; `verbs` names
-- those that exit with it, if not all do, and what it says there; `others`: the others do, too.
M.TABLE = {
  { "0", "done" },
  { "1", "the stage failed", "its code raised, its answer is no JSON, or it tried what it has no "
    .. "effect for; of doctor and policy check: something is wrong",
    verbs = { run = "the stage failed", doctor = "stages cannot be run here, isolated",
      check = "something is wrong" } },
  { "2", "the call was wrong", "the command line, the input, or a stage or file that is not "
    .. "there", verbs = { sandbox = false }, others = true },
  { "124", "the run met its deadline or another limit", "the message says which",
    verbs = { run = "the run met its deadline or another limit",
      sandbox = "the command met its deadline or another limit" } },
  { "125", "nothing ran", "because of this machine, its policies or noether itself; of sandbox "
    .. "also: the command line is wrong",
    verbs = { sandbox = "nothing ran, or the call was wrong" }, others = true },
  { "126", "sandbox: the command cannot be executed",
    verbs = { sandbox = "the command cannot be executed" } },
  { "127", "sandbox: there is no such command",
    verbs = { sandbox = "there is no such command" } },
  { "128+n", "sandbox: signal n ended the command",
    verbs = { sandbox = "signal n ended the command" } },
  { "130", "interrupted by Ctrl-C", "what ran has been killed" },
}

local BY_FAULT = { caller = M.USAGE, host = M.OURS, us = M.OURS, run = M.LIMIT, stage = M.FAILED }

--- The code for an error: of the library, or `{ usage = true, message = }`.
-- @tparam table err
-- @treturn number
function M.of(err)
  if err.usage then return M.USAGE end
  return BY_FAULT[errors.fault(err.kind)] or M.OURS
end

return M
