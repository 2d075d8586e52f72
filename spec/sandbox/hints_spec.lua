-- SPDX-License-Identifier: MIT
local hints = require "noether.sandbox.hints"

local FREE = { max = 96000, unprivileged_clone = 1, apparmor_restricts = 0, root = false,
  filtered = false, chroot = false }

-- A machine that differs from a usual one.
local function machine(differences)
  local made = {}
  for _, from in ipairs{ FREE, differences or {} } do
    for name, value in pairs(from) do made[name] = value end
  end
  return made
end

describe("the hint of a sandbox that could not be set up", function()
  local CASES = {
    { "make namespaces", "EPERM", {}, "are user namespaces allowed here" },
    { "make namespaces", "ENOSPC", { max = 0 }, "sysctl user.max_user_namespaces=15000" },
    { "make namespaces", "ENOSPC", {}, "no more user namespaces" },
    { "make namespaces", "EPERM", { unprivileged_clone = 0 }, "unprivileged_userns_clone=1" },
    { "make namespaces", "EPERM", { unprivileged_clone = 0, root = true }, "allowed here" },
    { "map ids", "EACCES", { apparmor_restricts = 1 }, "AppArmor" },
    { "mount root", "EACCES", { apparmor_restricts = 1 }, "a profile is installed" },
    { "mount root", "EPERM", {}, "may be mounted" },
    { "make namespaces", "EPERM", { chroot = true }, "a chroot has no user namespaces" },
    { "make namespaces", "EPERM", { filtered = true }, "seccomp=FILE" },
    { "make namespaces", "EPERM", { filtered = true, chroot = true }, "a chroot" },
    { "make namespaces", "ENOSYS", {}, "CONFIG_USER_NS" },
    { "become administrator", "EPERM", { filtered = true, root = true }, "--cap-add SYS_ADMIN" },
    { "become administrator", "EPERM", { chroot = true, root = true }, "a chroot" },
    { "leave user 0", "EPERM", { root = true }, "map more ids" },
    { "bind", "ENOENT", {}, "does not exist" },
    { "make /dev", "ENOENT", {}, "lacks a device that programs expect: /dev/full",
      "/dev/full: No such file or directory" },
    { "open for bind", "EACCES", { root = true }, "runs as another user",
      "/data (owner 0, mode 0700): Permission denied" },
    { "use Landlock", "ENOSYS", {}, "Linux 6.2 or newer" },
    { "use Landlock 3 (here is 2)", "EOPNOTSUPP", {}, "Linux 6.2 or newer" },
    { "bwrap", nil, {}, "does not exist", "bwrap: Can't find source path /a: No such file" },
    { "bwrap", nil, { max = 0 }, "max_user_namespaces=15000",
      "bwrap: Creating new namespace failed: No space left on device" },
    { "bwrap", nil, { filtered = true }, "seccomp=FILE",
      "bwrap: No permissions to create new namespace, likely because the kernel does not allow" },
    { "bwrap", nil, { apparmor_restricts = 1 }, "AppArmor",
      "bwrap: setting up uid map: Permission denied" },
    { "bwrap", nil, {}, "refuses a host name", "bwrap: Unable to set hostname" },
    { "bwrap", nil, {}, "needs a fresh /proc",
      "bwrap: Can't mount proc on /newroot/proc: Operation not permitted" },
    { "something else", "EIO", {}, "SECURITY.md" },
    { nil, nil, {}, "SECURITY.md" },
  }
  for _, case in ipairs(CASES) do
    local operation, errno, differences, expected = case[1], case[2], case[3], case[4]
    it(("of %s, %s, says: %s"):format(tostring(operation), tostring(errno), expected), function()
      local failed = { operation = operation, errno = errno, message = case[5] or "" }
      local hint = hints.hint(failed, machine(differences))
      assert.truthy(hint:find(expected, 1, true), hint)
    end)
  end

  it("is found without being told what this machine is", function()
    local facts = hints.machine()
    for _, name in ipairs{ "root", "filtered", "chroot" } do
      assert.equal("boolean", type(facts[name]), name)
    end
    assert.is_false(facts.chroot)
    assert.equal("string", type(hints.hint{ operation = "make namespaces", errno = "EPERM" }))
  end)

  it("is none for the program where the supervisor itself is lacking", function()
    assert.is_true(hints.lacks_supervisor{ operation = "memfd_create" })
    assert.is_true(hints.lacks_supervisor{ operation = "open the supervisor" })
    assert.is_false(hints.lacks_supervisor{ operation = "exec" })
    assert.is_false(hints.lacks_supervisor{})
  end)
end)
