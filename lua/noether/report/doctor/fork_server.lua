-- SPDX-License-Identifier: MIT
--- Whether calls of a warm executor are forked here: one is asked, which keeps what it needs in a
-- directory that goes with it.
local executors = require "noether.executor.local"
local sys = require "noether.sys"

local M = {}

local function ask(directory, secs)
  local executor, err = executors.new{
    isolation = "native", cache_dir = directory, warm = { spares = 0 }, setup_timeout_secs = secs,
    runtime = "host",
  }
  if not executor then return { works = false, reason = err.message } end
  local found = executor:warmup({ "python" }, { spares = 0 }):wait(2 * secs)
  local pool = executor:pools()[1]
  executor:close()
  if pool and pool.fork_server == "serving" then return { works = true } end
  local reason = pool and pool.no_fork_server
  if not reason and found and found.python.err then reason = found.python.err.message end
  if reason then return { works = false, reason = reason } end
  return { untried = ("could not be tried in %d s (the machine is busy)"):format(secs) }
end

--- @tparam table report with what is known of backends and interpreters
-- @tparam string base for temporary directories
-- @tparam number secs how long it may take
-- @treturn table `works`, `reason`; or `untried`
function M.look(report, base, secs)
  local native, python = report.backends.native, report.interpreters.python
  if not native.works or not python or not python.found then
    return { works = false, reason = "there is no Python, or no native sandbox" }
  end
  local directory, message = sys.mkdtemp(base .. "/noether-")
  if not directory then return { works = false, reason = message } end
  local ok, answer = pcall(ask, directory, secs)
  sys.remove_tree(directory)
  return ok and answer or { works = false, reason = tostring(answer) }
end

return M
