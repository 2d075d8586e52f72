-- SPDX-License-Identifier: MIT
--- What the specs of functions of the host share.
local noether = require "noether"

local M = {}

--- A function that gives back what it gets.
function M.same(value) return value end

--- The effects of a stage that calls these.
-- @tparam string ... names
-- @treturn table
function M.effects(...)
  local list = {}
  for index, name in ipairs{ ... } do
    list[index] = { Call = name }
  end
  return list
end

--- `noether.execute` under a backend, of stages that may call everything.
-- @tparam string backend
-- @treturn function taking a request and more options, which go before those of the request
function M.runner(backend)
  return function(request, opts)
    local whole = { effects = { { Call = "*" } }, timeout_secs = 60, isolation = backend }
    for _, part in ipairs{ request, opts or {} } do
      for name, value in pairs(part) do
        whole[name] = value
      end
    end
    return noether.execute(whole)
  end
end

return M
