-- SPDX-License-Identifier: MIT
-- A model's code that calls three functions of this program in a loop, with a limit and a line of
-- audit for each call.
--
--     build/bin/noether-lua examples/tools.lua
local noether = require "noether"

local STOCK = { apple = 12, pear = 0, fig = 3 }
local PRICES = { apple = 0.5, pear = 0.75, fig = 1.25 }
local ordered = {}

local FRUIT = {
  type = "object", required = { "fruit" }, additionalProperties = false,
  properties = { fruit = { type = "string", maxLength = 40 } },
}

local functions = {
  stock = {
    description = "how many there are", input_schema = FRUIT,
    call = function(args) return STOCK[args.fruit] or 0 end,
  },
  price = {
    description = "euros for one", input_schema = FRUIT,
    call = function(args)
      if not PRICES[args.fruit] then return nil, "no price for " .. args.fruit end
      return PRICES[args.fruit]
    end,
  },
  order = {
    description = "orders one", input_schema = FRUIT,
    call = function(args)
      ordered[#ordered + 1] = args.fruit
      return { number = #ordered }
    end,
  },
}

-- What a model would answer to this prompt.
print(noether.functions_prompt(functions, "python"))
local code = [[
from noether import stock, price, order, CallError

def execute(wanted):
    spent = 0
    for fruit in wanted:
        try:
            cost = price(fruit=fruit)
        except CallError as error:
            print(error)
            continue
        if stock(fruit=fruit) > 0 and spent + cost <= 2:
            order(fruit=fruit)
            spent += cost
    return {"spent": spent}
]]

local executor = noether.check(noether.executor{
  allow_effects = { { Call = "*" } }, limits = { calls = 20 },
})
local answer, err, info = executor:execute({
  language = "python", code = code,
  effects = { { Call = "stock" }, { Call = "price" }, { Call = "order" } },
}, { "apple", "pear", "plum", "fig" }, {
  functions = functions,
  on_call = function(call)
    print(("audit: %s(%s) %s"):format(call.name, call.args.fruit,
      call.error and call.error.message or "ok"))
  end,
})
executor:close()
print(noether.inspect(noether.check(answer, err)), #info.calls .. " calls",
  table.concat(ordered, " "))
