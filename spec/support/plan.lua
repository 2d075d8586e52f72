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

-- Files and directories of which each test is run by one of the two users: what they try hardly
-- differs from user to user, but it may. `make check-deep` has both run all.
local SHARED = {
  "spec/cache/", "spec/cli/", "spec/core_spec.lua", "spec/docs_spec.lua", "spec/executor/",
  "spec/faults_spec.lua", "spec/fleet/", "spec/fork_spec.lua", "spec/integration/begun_spec.lua",
  "spec/integration/effects_spec.lua", "spec/integration/examples_spec.lua",
  "spec/integration/figures_spec.lua", "spec/integration/functions_spec.lua",
  "spec/integration/learn_spec.lua", "spec/integration/loops_spec.lua",
  "spec/integration/network_spec.lua", "spec/integration/nix_spec.lua",
  "spec/integration/runners_spec.lua", "spec/integration/stages_spec.lua",
  "spec/interpreters_spec.lua", "spec/launcher_spec.lua", "spec/mcp/", "spec/noether_lua_spec.lua",
  "spec/portable/", "spec/repl_spec.lua", "spec/report/", "spec/run/", "spec/runtime/",
  "spec/set_spec.lua", "spec/suite_spec.lua", "spec/traps_spec.lua", "spec/warm_spec.lua",
}

local function is_in(list, file)
  for _, start in ipairs(list) do
    if file:sub(1, #start) == start then return true end
  end
  return false
end

--- Whether each test of a spec file is run by one of two users.
-- @tparam string file "spec/text_spec.lua"
-- @treturn boolean
function M.is_shared(file)
  return is_in(SHARED, (file:gsub("^%./", "")))
end

-- What is run under sanitizers where there is little time: what drives the C code, in each of its
-- ways. `make check-deep` runs all.
local SANITIZED = {
  "spec/c/", "spec/core_spec.lua", "spec/escape/inheritance_spec.lua",
  "spec/executor/session_spec.lua", "spec/fleet/remote_spec.lua", "spec/fork_spec.lua",
  "spec/integration/functions_spec.lua", "spec/integration/hard_hosts_spec.lua",
  "spec/integration/host_spec.lua", "spec/integration/limits_spec.lua",
  "spec/integration/network_spec.lua", "spec/integration/old_kernels_spec.lua",
  "spec/isolation_spec.lua", "spec/json_spec.lua", "spec/launcher_spec.lua",
  "spec/loopback_spec.lua", "spec/noether_lua_spec.lua", "spec/process_spec.lua",
  "spec/process_streams_spec.lua", "spec/repl_spec.lua", "spec/resource_spec.lua",
  "spec/run/calls_spec.lua", "spec/run/files_spec.lua", "spec/run/outputs_spec.lua",
  "spec/set_spec.lua", "spec/sys_spec.lua", "spec/warm_spec.lua",
}

--- Whether a spec file is run under sanitizers in CI.
-- @tparam string file "spec/text_spec.lua", "spec/c/json_scan_test.c"
-- @treturn boolean
function M.is_for_sanitizers(file)
  return is_in(SANITIZED, file)
end

--- Whether a spec file need not be run as a second user.
-- @tparam string file "spec/text_spec.lua"
-- @treturn boolean
function M.is_same_for_all(file)
  return is_in(SAME_FOR_ALL, file)
end

return M
