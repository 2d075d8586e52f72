-- SPDX-License-Identifier: MIT
--- What the specs of executors over executors share: an executor whose outcomes are written down
-- beforehand, and real ones.
local errors = require "noether.error"
local interface = require "noether.executor.interface"
local noether = require "noether"
local stages = require "noether.stage.stage"
local task = require "noether.run.task"

local M = {}

local Scripted = interface.class()
local metatable = { __index = Scripted }

--- An executor that gives one outcome after the other, and then the last one again.
-- @tparam table outcomes each `{ output = ... }` or an error's fields; `ran = true` says that a
-- process ran, `secs` how long it takes
-- @tparam[opt={}] table effects what its stage declares
-- @treturn table with `calls`: how often it was begun
function M.scripted(outcomes, effects)
  local stage = assert(stages.new("scripted", {
    language = "bash", code = "execute() { :; }", effects = effects or {},
  }))
  return setmetatable({ outcomes = outcomes, stage = stage, calls = 0 }, metatable)
end

function Scripted.check_call(_, _, opts)
  return opts
end

function Scripted:stage_of(id)
  return id == "stage" and self.stage or nil
end

function Scripted:has_implementation(id)
  return self:stage_of(id) ~= nil
end

function Scripted.plan()
  return { kind = "scripted" }
end

function Scripted:begin(request)
  self.calls = self.calls + 1
  local outcome = self.outcomes[math.min(self.calls, #self.outcomes)]
  local started = task.new(function(own)
    own:enter("run")
    if outcome.secs then own:sleep(outcome.secs) end
    if outcome.raise then error(outcome.raise, 0) end
    if outcome.ran then own.info.result = { ok = false } end
    own.info.cached = outcome.cached or false
    if not outcome.kind then return outcome.output end
    return nil, errors.new{ kind = outcome.kind, message = "as scripted", errno = outcome.errno }
  end, { cached = false, logs = "" }, request.parent)
  started:step()
  return started
end

--- A message that was raised.
-- @tparam function fn
-- @return ... its arguments
-- @treturn string
function M.raised(fn, ...)
  local ok, message = pcall(fn, ...)
  assert(not ok, "nothing was raised")
  return message
end

--- A file that a Bash stage without isolation appends a line to each time it runs; and how often.
-- @tparam string dir
-- @treturn string its path
-- @treturn function
function M.counter(dir)
  local path = dir .. "/runs"
  return path, function()
    local file, count = io.open(path), 0
    if not file then return 0 end
    for _ in file:lines() do
      count = count + 1
    end
    file:close()
    return count
  end
end

--- The executors that are made over another one, by name.
M.OVER = {
  retry = function(ex) return noether.retry(ex) end,
  budget = function(ex) return noether.budget(ex, { cents = 100 }) end,
  cache = function(ex) return noether.check(noether.cache(ex)) end,
}

return M
