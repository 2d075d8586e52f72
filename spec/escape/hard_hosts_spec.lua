-- SPDX-License-Identifier: MIT
--- Hosts that do not give what a sandbox needs: it does with less and says so, or nothing runs.
local helper = require "spec.support.helper"
local cage = require "spec.escape.cage"

setup(cage.build)

-- Runs the attacker in a host of its own that `preparation` (shell) has made hard. What that host
-- prints: the attacker's lines and what was enforced, or the kind of the error.
local function hard(preparation, backend, words)
  local prefix = { "/usr/bin/unshare", helper.own_mounts(), "/bin/sh", "-c",
    preparation .. "\nexec \"$@\"", "sh" }
  local proc = cage.host(([[
local commands = require "noether.command"
local result, err = commands.run(%s, { isolation = %q, sandbox = %s, timeout_secs = 10 })
if result then
  print(result.stdout)
  print("enforced " .. table.concat(result.enforced, " ") .. " ")
else
  print("error " .. err.kind .. " " .. err.message)
end
]]):format(cage.literal(cage.concat({ cage.probe }, words)), backend,
    cage.literal(cage.describe "native")), prefix)
  local result = assert(proc:wait())
  proc:close()
  return result.stdout .. result.stderr
end

local COVERED = "mount -t tmpfs x /proc/acpi 2>/dev/null || mount -t tmpfs x /proc/fs"

describe("a host whose /proc is partly covered", function()
  it("gets a stub in its place, and no claim of a fresh one", function()
    if not helper.can_make_hosts() then return end
    local words = { "read=/proc/cpuinfo", "processes", "read=/proc/1/environ", "read=/proc/kcore" }
    local output = hard(COVERED, "native", words)
    assert.truthy(output:find("attempted read=/proc/cpuinfo: done", 1, true), output)
    assert.truthy(output:find("enforced ", 1, true), output)
    assert.falsy(output:find("fresh_proc", 1, true), output)
    assert.truthy(output:find("value processes: \n", 1, true), output)
    for _, word in ipairs{ words[3], words[4] } do
      assert.truthy(output:find("attempting " .. word, 1, true), output)
      assert.falsy(output:find("attempted " .. word .. ": done", 1, true), output)
    end
  end)
end)

describe("a host without user namespaces", function()
  local NONE = "echo 0 >/proc/sys/user/max_user_namespaces"

  it("runs nothing under native or bwrap", function()
    if helper.is_root() then return end -- the switch is the whole machine's there
    for _, backend in ipairs{ "native", "bwrap" } do
      local output = hard(NONE, backend, { "reached" })
      assert.falsy(output:find("value reached", 1, true), output)
      assert.truthy(output:find("error isolation_unavailable", 1, true), output)
    end
  end)

  it("is confined by landlock", function()
    if helper.is_root() then return end
    local words = { "read=/etc/shadow", "list=/root", "tcp=22", "unshare=0x10000000" }
    for _, backend in ipairs{ "landlock", "auto" } do
      local output = hard(NONE, backend, words)
      for _, word in ipairs(words) do
        assert.truthy(output:find("attempting " .. word, 1, true), output)
        assert.falsy(output:find("attempted " .. word .. ": done", 1, true), output)
      end
    end
  end)
end)
