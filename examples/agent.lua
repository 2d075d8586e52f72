-- SPDX-License-Identifier: MIT
-- A loop of an agent: a model writes code, the code calls tools of this program, what came of it
-- goes back to the model until it is content. The model here is a script, so that nothing is asked
-- of any network; put a real one in its place.
--
--     build/bin/noether-lua examples/agent.lua
local noether = require "noether"

local MAX_TURNS = 5

-- The tools: what this program lets a model's code do, whatever the code is.
local INVOICES = {
  { id = 1, customer = "Ada", cents = 12050, paid = true },
  { id = 2, customer = "Bob", cents = 8000, paid = false },
  { id = 3, customer = "Ada", cents = 4550, paid = false },
}
local reminded = {}

local tools = {
  invoices = {
    description = "all invoices of a customer: id, cents, paid",
    input_schema = {
      type = "object", required = { "customer" }, additionalProperties = false,
      properties = { customer = { type = "string", maxLength = 100 } },
    },
    call = function(args)
      local found = {}
      for _, invoice in ipairs(INVOICES) do
        if invoice.customer == args.customer then found[#found + 1] = invoice end
      end
      if #found == 0 then return nil, "no customer " .. args.customer end
      return found
    end,
  },
  remind = {
    description = "sends a reminder for an invoice",
    input_schema = {
      type = "object", required = { "id" }, additionalProperties = false,
      properties = { id = { type = "integer" } },
    },
    call = function(args)
      reminded[#reminded + 1] = args.id
      return "sent"
    end,
  },
}

-- What a model would write, turn by turn: first it asks a person who is not there, then it forgets
-- that a name is wrong, at last it is right.
local WRITTEN = {
  [==[
def execute(customers):
    customer = input("Which customer? ")
    return invoices(customer=customer)
]==],
  [==[
from noether import invoices, remind

def execute(customers):
    return {name: len(invoices(customer=name)) for name in customers}
]==],
  [==[
from noether import invoices, remind, CallError

def execute(customers):
    due = {}
    for name in customers:
        try:
            found = invoices(customer=name)
        except CallError as error:
            print(error)
            continue
        open_ones = [one for one in found if not one["paid"]]
        for one in open_ones:
            remind(id=one["id"])
        due[name] = sum(one["cents"] for one in open_ones)
    return due
]==],
}

-- A model gets the conversation so far and gives code, or nothing where it is content.
local function model(messages)
  local last = messages[#messages]
  if last.role == "result" and not last.failed then return nil end
  local turn = (#messages + 1) / 2
  return WRITTEN[turn]
end

-- What the model is told of a failure: kind, sentence and hint, which is what it can act on.
local function told(err)
  local text = ("%s: %s"):format(err.kind, err.message)
  return err.hint and text .. "\nhint: " .. err.hint or text
end

local function audit(call)
  print(("audit: %s(%s) -> %s"):format(call.name, noether.inspect(call.args),
    call.error and call.error.kind or "ok"))
end

local executor = noether.check(noether.executor{
  timeout_secs = 20, limits = { calls = 50, memory_bytes = 512 * 1024 * 1024 },
  allow_effects = { { Call = "invoices" }, { Call = "remind" } },
})

-- Nothing but the tools: no network, no file, no other program.
local function run(code, input)
  return executor:execute({
    language = "python", code = code, effects = { { Call = "invoices" }, { Call = "remind" } },
  }, input, { functions = tools, on_call = audit })
end

local input = { "Ada", "Bob", "Eve" }
local messages = {
  { role = "task", text = "Remind customers of what is due: " .. noether.inspect(input)
    .. "\n" .. noether.functions_prompt(tools, "python") },
}
for turn = 1, MAX_TURNS do
  local code = model(messages)
  if not code then break end
  messages[#messages + 1] = { role = "code", text = code }
  local answer, err, info = run(code, input)
  local text = err and told(err) or noether.inspect(answer)
  messages[#messages + 1] = { role = "result", failed = err ~= nil, text = text }
  print(("turn %d: %s"):format(turn, text))
  if info and info.logs:find("%S") and not err then print("log: " .. info.logs:match("[^\n]+")) end
end
executor:close()
print(("reminded: %s; %d messages"):format(table.concat(reminded, " "), #messages))
