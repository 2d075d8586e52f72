-- SPDX-License-Identifier: MIT
-- What sandboxes claim, and hold, on another kernel (tools/test/vm.sh), by who asks: root; "user";
-- "delegated", a user in a group of its own; and users to whom namespaces are "forbidden", by their
-- number or by the switch of Debian ("clone_forbidden"). It prints "ok - ..." or "not ok - ...".
local noether = require "noether"

local who = arg[1]
local report = noether.doctor()

local function check(what, ok, ...)
  local said = {}
  for index = 1, select("#", ...) do said[index] = tostring((select(index, ...))) end
  print(("%s - %s: %s%s"):format(ok and "ok" or "not ok", who, what,
    ok and "" or " (" .. table.concat(said, ", ") .. ")"))
end

local function contains(list, words)
  local text = " " .. table.concat(list or {}, " ") .. " "
  for word in words:gmatch("%S+") do
    local absent = word:match("^no:(.*)")
    local there = text:find(" " .. (absent or word) .. " ", 1, true) ~= nil
    if there == (absent ~= nil) then return false, word, text end
  end
  return true
end

local function bash(body, opts)
  local executor, err = noether.executor(opts)
  if not executor then return nil, err end
  local code = "execute() { " .. body .. "; }"
  local output, failed, info = executor:execute({ language = "bash", code = code,
    effects = { "Process" } }, nil, { timeout_secs = 60 })
  executor:close()
  return output, failed, info
end

local function try(isolation, claims)
  local output, err, info = bash("echo $((6 * 7))", { isolation = isolation })
  check(isolation .. " answers", output == 42, err)
  check(isolation .. " claims what holds", contains(info and info.enforced, claims))
end

local EAT = "local text=x; while :; do text=$text$text; done"
local BOMB = "for i in {1..60}; do sleep 300 & done; echo 1"

local function hold(isolation)
  local _, err = bash(EAT, { isolation = isolation, limits = { memory_bytes = 2 ^ 26 } })
  check(isolation .. " holds memory", err and (err.kind == "memory_limit"
    or tostring(err):find("memory") ~= nil), err)
  _, err = bash(BOMB, { isolation = isolation, limits = { processes = 20 } })
  check(isolation .. " holds processes", err ~= nil, err)
  local before = noether.clock()
  local executor = noether.check(noether.executor{ isolation = isolation })
  _, err = executor:execute({ language = "bash", code = "execute() { sleep 100; }",
    effects = { "Process" } }, nil, { timeout_secs = 1 })
  executor:close()
  check(isolation .. " holds a deadline", err and err.kind == "timed_out"
    and noether.clock() - before < 60, err)
end

local WALLS = "user_ns mount_ns pid_ns net_ns ipc_ns uts_ns seccomp no_new_privs caps tree_kill "
  .. "host_death tmpfs_limits fresh_proc host_uid "

local GROUPS = {
  root = "memory_cgroup no:memory_sampled", delegated = "memory_cgroup no:memory_sampled",
  user = "memory_sampled pids_rlimit no:memory_cgroup no:pids_cgroup",
}

-- Landlock holds files from its third version on.
local has_landlock = (report.landlock and report.landlock.abi or 0) >= 3
local LANDLOCK = "landlock seccomp no_new_privs caps tree_kill no:user_ns no:mount_ns "
  .. "no:fresh_proc "

local function refused(isolation, words)
  local _, err = noether.run({ "/bin/true" }, { isolation = isolation })
  local text = err and tostring(err) .. " " .. tostring(err.hint) or ""
  check(isolation .. " is refused, with what to do", err and err.kind == "isolation_unavailable"
    and text:find(words, 1, true), text)
end

check("doctor tells of Landlock", type(report.landlock) == "table", report)
if GROUPS[who] then
  check("doctor takes native", report.auto == "native", report.auto)
  try("native", WALLS .. GROUPS[who])
  hold("native")
else
  refused("native", who == "forbidden" and "user.max_user_namespaces"
    or "kernel.unprivileged_userns_clone")
end
if has_landlock then
  try("landlock", LANDLOCK)
  if not GROUPS[who] then check("doctor takes landlock", report.auto == "landlock", report.auto) end
else
  refused("landlock", "Linux 6.2 or newer")
  if not GROUPS[who] then
    refused("auto", "user namespaces")
    check("doctor takes none", not report.ok, report.auto)
  end
end
