-- SPDX-License-Identifier: MIT
--- The names of what a queue has on the server. The name of the queue is in braces: so all lies on
-- one node of a cluster.
local options = require "noether.options"

local M = {}

--- The group of all workers.
M.GROUP = "workers"

--- Check a queue's name.
-- @tparam string fname the public function, for messages
-- @tparam ?string queue
-- @treturn string
-- @raise where it is none
function M.check(fname, queue)
  queue = queue or "stages"
  if #queue > 100 or not queue:find("^[%w_.:-]+$") then
    options.raise(fname .. ": option 'queue': expected 1 to 100 letters, digits and _ . : -")
  end
  return queue
end

--- @tparam string queue
-- @treturn table `jobs`, `dead`, `scratch`, and functions of a job's id, a caller's or a worker's
-- name
function M.of(queue)
  local prefix = ("noether:{%s}:"):format(queue)
  local function named(kind)
    return function(name, part)
      return prefix .. kind .. ":" .. name .. (part and ":" .. part or "")
    end
  end
  return {
    jobs = prefix .. "jobs", dead = prefix .. "dead", scratch = prefix .. "scratch",
    job = named("job"), body = named("body"), started = named("started"), cancel = named("cancel"),
    result = named("result"), inbox = named("inbox"), worker = named("worker"),
  }
end

return M
