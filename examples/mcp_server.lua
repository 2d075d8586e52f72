-- SPDX-License-Identifier: MIT
-- A program that serves a function of its own, and a sandbox for code, to a model's client.
--
--     build/bin/noether-lua examples/mcp_server.lua
--
-- It speaks the Model Context Protocol on standard input and output, as clients start it.
local noether = require "noether"

local PRICES = { apple = 0.5, pear = 0.75 }

local functions = {
  price = {
    description = "The price of a fruit in euros.",
    input_schema = {
      type = "object", required = { "fruit" }, additionalProperties = false,
      properties = { fruit = { type = "string" } },
    },
    output_schema = {
      type = "object", required = { "euros" }, properties = { euros = { type = "number" } },
    },
    call = function(arguments)
      local euros = PRICES[arguments.fruit]
      if not euros then return nil, ("there is no %s here"):format(arguments.fruit) end
      return { euros = euros }
    end,
  },
}

local executor = noether.check(noether.executor())
noether.check(noether.mcp.serve{
  executor = executor, languages = { "python", "bash" }, functions = functions,
  instructions = "Prices by 'price'; computations by 'run_python'.",
  log = function(level, message) io.stderr:write(level, ": ", message, "\n") end,
})
executor:close()
