-- SPDX-License-Identifier: MIT
--- What the trial of a sandbox depends on, as a text: another kernel, boot, user, namespace, filter
-- or setting makes it another one.
local sys = require "noether.sys"

local M = {}

local SETTINGS = {
  "kernel.random.boot_id", "kernel.osrelease", "kernel.unprivileged_userns_clone",
  "kernel.apparmor_restrict_unprivileged_userns", "user.max_user_namespaces",
  "user.max_mnt_namespaces", "user.max_pid_namespaces", "user.max_net_namespaces",
  "vm.memfd_noexec",
}

-- Of a container or a service: its namespaces, its rights, its filter.
local NAMESPACES = { "user", "mnt", "pid", "net" }
local STATUS = { "Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp",
  "Seccomp_filters" }

local MAX_STATUS_BYTES = 64 * 1024

local function add_status(lines)
  local text = "\n" .. (sys.read_file("/proc/self/status", MAX_STATUS_BYTES) or "")
  for _, name in ipairs(STATUS) do
    lines[#lines + 1] = text:match("\n" .. name .. ":([^\n]*)") or ""
  end
end

--- @treturn ?string nil where /proc does not tell
function M.identity()
  local lines = { sys.version }
  for _, name in ipairs(SETTINGS) do
    lines[#lines + 1] = sys.setting(name) or ""
  end
  for _, name in ipairs(NAMESPACES) do
    local link = sys.readlink("/proc/self/ns/" .. name)
    if not link then return nil end
    lines[#lines + 1] = link
  end
  lines[#lines + 1] = sys.read_file("/proc/self/attr/current", 4096) or ""
  lines[#lines + 1] = sys.stamp("/proc/sys", true) or ""
  add_status(lines)
  return table.concat(lines, "\n")
end

return M
