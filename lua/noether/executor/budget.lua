-- SPDX-License-Identifier: MIT
--- An executor that spends no more than it was given.
-- What a stage costs is what it declares: `{ Cost = cents }`. That much is set aside before a run,
-- in one step, so that runs side by side cannot spend the same cent; what does not fit is refused
-- before anything runs. It is given back where nothing of the stage ran. All else counts as spent:
-- a run that failed, that was ended, or whose task was closed before anybody knew how far it came.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local over = require "noether.executor.over"
local options = require "noether.options"

local M = {}

local Budget, metatable = over.class("budget")

--- The options of @{new}.
M.OPTIONS = { cents = "amount" }

-- Sums of fractions of a cent are not exact.
local ROUNDING = 1e-9

--- Make an executor that runs stages of another one within a budget.
-- A stage that declares no Cost costs nothing, and so does one whose effects are not known (a
-- function of `noether.inline`).
-- @tparam AnyExecutor executor it stays the caller's: closing this one does not close it
-- @tparam BudgetOptions opts
-- @treturn Budget the executor, with `spent()` and `left()`
-- @raise on a wrong option, or without `cents`
-- @usage
-- local executor = noether.budget(noether.check(noether.executor()), { cents = 50 })
-- local stage = { language = "bash", code = "execute() { echo 1; }", effects = { { Cost = 40 } } }
-- print((executor:execute(stage)), executor:left()) --> 1 10
-- print(select(2, executor:execute(stage)).kind) --> budget_exceeded
function M.new(executor, opts)
  local self = over.new("budget", metatable, executor, opts)
  local given = options.check("budget", opts, M.OPTIONS)
  if given.cents == nil then
    options.raise("budget: option 'cents' is missing, as in "
      .. "noether.budget(executor, { cents = 100 })")
  end
  self.cents, self.committed = given.cents, 0
  return self
end

--- What has been spent, or is set aside for what runs now.
-- @treturn number cents
-- @usage
-- print(noether.budget(noether.inline{}, { cents = 50 }):spent()) --> 0
function Budget:spent()
  options.method("budget:spent", self)
  return self.committed
end

--- What may still be spent.
-- @treturn number cents
-- @usage
-- print(noether.budget(noether.inline{}, { cents = 50 }):left()) --> 50
function Budget:left()
  options.method("budget:left", self)
  return math.max(self.cents - self.committed, 0)
end

local function cost_of(self, reference)
  local stage = self.inner:stage_of(reference)
  local declared = stage and effects.parse(stage.effects)
  return declared and declared.cost or 0, stage
end

local function exceeded(self, cost, stage)
  return errors.new{
    kind = "budget_exceeded", stage = stage.id, limit = self.cents,
    message = ("the stage costs %.14g cents, and of %.14g there are %.14g left"):format(cost,
      self.cents, self:left()),
    hint = "nothing was run; a new budget, or one that is larger, lets it",
  }
end

--- @local
function Budget:work(own, request)
  local cost, stage = cost_of(self, request.reference)
  if cost == 0 then return over.attempt(self, own, request) end
  if self.committed + cost > self.cents * (1 + ROUNDING) then
    return nil, exceeded(self, cost, stage)
  end
  self.committed = self.committed + cost
  local output, err, info = over.attempt(self, own, request)
  if over.nothing_ran(err, info) then self.committed = math.max(self.committed - cost, 0) end
  return output, err
end

return M
