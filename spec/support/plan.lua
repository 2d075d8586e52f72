-- SPDX-License-Identifier: MIT
--- What `make test` leaves out since it would find little that is new, and what it never does.
local M = {}

-- Files and directories whose specs meet root and any other user alike: they run once. Helper.lua
-- holds that they start no process by the core.
local SAME_FOR_ALL = {
  "spec/check_layers_spec.lua", "spec/compat_spec.lua", "spec/error_spec.lua",
  "spec/executor/config_spec.lua", "spec/executor/inline_spec.lua", "spec/fleet/sign_spec.lua",
  "spec/fleet/url_spec.lua", "spec/inspect_spec.lua",
  "spec/json_spec.lua", "spec/options_spec.lua", "spec/policy/", "spec/reference_spec.lua",
  "spec/run/verdict_spec.lua", "spec/runtime/failures_spec.lua",
  "spec/sandbox/environment_spec.lua", "spec/stage/effects_spec.lua", "spec/tables_spec.lua",
  "spec/text_spec.lua",
}

--- Whether a spec file need not be run as a second user.
-- @tparam string file "spec/text_spec.lua"
-- @treturn boolean
function M.is_same_for_all(file)
  for _, start in ipairs(SAME_FOR_ALL) do
    if file:sub(1, #start) == start then return true end
  end
  return false
end

return M
