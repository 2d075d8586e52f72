-- SPDX-License-Identifier: MIT
--- Getting out: files, mounts, ids, other processes, namespaces, the kernel's surface, the network,
-- new programs.
local helper = require "spec.helper"
local cage = require "spec.escape.cage"
local sys = require "noether.sys"

local loader

setup(function()
  cage.build()
  loader = cage.loader()
end)

-- A helper of the host's that notes what it hears in a file; `ready` waits for its first line.
local function serve(kind, log)
  local proc = cage.start("none", { kind .. "=" .. log })
  local first = helper.poll(function()
    return sys.stat(log) and helper.read(log):match "^(%d+)\n"
  end)
  return proc, assert(first)
end

-- ------------------------------------------------------------------- files

cage.each("files that are not bound", function(backend)
  it("cannot be read, listed or found", function()
    local dir = helper.tmpdir()
    local secret = helper.write(dir .. "/secret", "host")
    local link = dir .. "/link"
    assert.equal(0, select(2, helper.shell("ln -s /etc/passwd " .. link)))
    local words = {
      "read=" .. secret, "list=" .. dir, "read=" .. link, "show=" .. secret,
      "read=" .. helper.root .. "/Makefile", "list=/root", "list=/home", "read=/etc/shadow",
      "read=/etc/machine-id", "list=/var", "list=/run", "list=/sys", "list=/boot",
      "read=/dev/kmsg", "read=/dev/mem", "read=/dev/sda", "read=/dev/vda", "list=/etc/ssl",
      "read=/work/../../../.." .. secret, "read=/proc/self/root" .. secret,
      "read=/proc/self/cwd/../../../.." .. secret, "read=/proc/self/fd/3",
    }
    cage.run("none", { "read=" .. secret, "list=" .. dir, "read=" .. link }):done{
      "read=" .. secret, "list=" .. dir, "read=" .. link,
    }
    cage.run(backend, words):refused(words)
  end)

  it("cannot be written, even those that can be read", function()
    local readable, writable = helper.tmpdir(), helper.tmpdir()
    local file = helper.write(readable .. "/file", "host")
    sys.chmod(writable, tonumber("777", 8))
    local words = {
      "write=" .. file, "unlink=" .. file, "rename=" .. file, "chmod=" .. file, "chown=" .. file,
      "touch=" .. file, "setxattr=" .. file, "create=" .. readable .. "/new",
      "mkdir=" .. readable .. "/new", "symlink=" .. readable .. "/new",
      "create=/escape", "mkdir=/escape", "create=/usr/escape", "create=/usr/bin/escape",
      "create=/etc/escape", "write=/etc/ld.so.cache", "create=/dev/escape", "symlink=/escape",
      "write=/usr/bin/env", "chmod=/usr/bin/env", "touch=/usr/bin/env", "rename=/usr/bin/env",
      "chmod=/dev/null", "chown=/dev/null", "touch=/dev/null", "unlink=/dev/null",
      "write=/proc/self/exe", "mknod=/tmp/node", "link=" .. file,
    }
    local report = cage.run(backend, concat_words(words, "create=" .. writable .. "/new"), {
      ro = { readable }, rw = { writable },
    })
    report:refused(words)
    report:done{ "create=" .. writable .. "/new" }
    assert.equal("host", helper.read(file))
    assert.same({ "file" }, sys.list(readable))
    assert.same({ "new" }, sys.list(writable))
  end)
end)
