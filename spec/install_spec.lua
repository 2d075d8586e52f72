-- SPDX-License-Identifier: MIT
--- make install, uninstall and dist: what was installed can be used where it is, by Lua, by C and
-- through pkg-config, and goes without a trace.
local helper = require "spec.support.helper"

local build = helper.lua:match("^(.*)/bin/[^/]+$")

-- What was built is taken as it is: the tree may be one that nothing can be written to.
local function make(goal, destination)
  local command = "cd %s && make --no-print-directory -o all -o %s/lib/5.4/noether/core.so "
    .. "-o %s/lib/5.4/noether/redis.so BUILD=%s DESTDIR=%s %s"
  local place = helper.quote(build)
  local output, code = helper.shell(command:format(helper.quote(helper.root), place, place, place,
    helper.quote(destination), goal))
  assert.equal(0, code, output)
end

local function installed(destination)
  local list = {}
  for line in helper.shell(("cd %s && find . ! -type d | LC_ALL=C sort"):format(
    helper.quote(destination))):gmatch("[^\n]+") do
    list[#list + 1] = line
    list[line] = true
  end
  return list
end

local function shell(...)
  local output, code = helper.shell("set -e\n" .. helper.sanitizers_first .. (...):format(
    select(2, ...)))
  assert.equal(0, code, output)
  return output
end

describe("make install", function()
  local destination, prefix

  setup(function()
    destination = os.tmpname()
    os.remove(destination)
    prefix = destination .. "/usr/local"
    make("install", destination)
  end)

  teardown(function() helper.shell("rm -rf " .. helper.quote(destination)) end)

  it("installs programs, both libraries, headers, Lua files and what belongs to them", function()
    local list = installed(destination)
    for _, path in ipairs{
      "bin/noether-lua", "bin/noether", "libexec/noether/jail", "include/noether.h",
      "lib/libnoether.a", "lib/libnoether.so", "lib/libnoether.so.0", "lib/pkgconfig/noether.pc",
      "lib/lua/5.4/noether/core.so", "share/lua/5.4/noether/init.lua",
      "share/lua/5.4/noether/policy/languages/python.lua", "share/man/man1/noether.1",
      "share/doc/noether/README.md", "share/doc/noether/docs/recipes.md",
      "share/doc/noether/examples/hello.lua",
      "share/doc/noether/examples/policies/languages/ruby.lua",
      "share/noether/apparmor.d/noether-lua", "share/bash-completion/completions/noether",
    } do
      assert.truthy(list["./usr/local/" .. path], path)
    end
  end)

  it("installs every Lua file that there is", function()
    local find = "cd %s && find noether -name '*.lua' | LC_ALL=C sort"
    assert.equal(helper.shell(find:format(helper.quote(helper.root .. "/lua"))),
      helper.shell(find:format(helper.quote(prefix .. "/share/lua/5.4"))))
  end)

  it("installs what lua5.4 and noether-lua can use", function()
    local code = "print((require('noether').inline{ x = function(n) return n + 1 end }"
      .. ":execute('x', 1)))"
    assert.equal("2\n", shell([[
      export LUA_PATH='%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;'
      export LUA_CPATH='%s/lib/lua/5.4/?.so;;'
      lua5.4 -e %s]], prefix, prefix, prefix, helper.quote(code)))
    assert.equal("2\n", shell("%s/bin/noether-lua -e %s", prefix, helper.quote(code)))
  end)

  local function compile(kind, flags)
    local directory = helper.tmpdir()
    return shell([[
      export PKG_CONFIG_PATH=%s/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=%s
      flags=$(pkg-config %s --cflags --libs noether)
      LD_PRELOAD= cc %s/examples/embed.c $flags %s -o %s/embed
      LD_LIBRARY_PATH=%s/lib %s/embed]], prefix, destination, kind, helper.root, flags, directory,
      prefix, directory)
  end

  it("installs what pkg-config finds, for shared and for static use", function()
    local sanitizers = helper.sanitized and "-fsanitize=address,undefined" or ""
    assert.equal("exit: 42\ntimeout: \n", compile("", sanitizers))
    -- Sanitizers cannot be linked statically: then only the library is.
    local static = helper.sanitized and "-Wl,-Bstatic -l:libnoether.a -Wl,-Bdynamic" or "-static"
    assert.equal("exit: 42\ntimeout: \n", compile("--static", static .. " " .. sanitizers))
  end)

  it("is undone by make uninstall, and what others put there stays", function()
    local other = prefix .. "/share/man/man1/other.1"
    helper.write(other, "other\n")
    make("uninstall", destination)
    assert.same({ "./usr/local/share/man/man1/other.1",
      ["./usr/local/share/man/man1/other.1"] = true }, installed(destination))
  end)
end)

describe("make dist", function()
  it("packs what is committed, the same bytes each time, owned by nobody in particular", function()
    local directory = helper.tmpdir()
    local output, code = helper.shell(([[
      set -e; cd %s
      export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
      mkdir tree && cd tree && git init -q
      git config user.email nobody@localhost && git config user.name nobody
      mkdir src && echo one >src/file && git add . && git commit -qm one
      echo draft >draft
      %s/tools/pack/dist.sh 1.2.3 ../first.tar.gz
      touch -d 2001-01-01 src/file && umask 077
      %s/tools/pack/dist.sh 1.2.3 ../second.tar.gz
      cmp ../first.tar.gz ../second.tar.gz
      tar tvzf ../first.tar.gz | awk '{ print $1, $2, $6 }']]):format(
      helper.quote(directory), helper.quote(helper.root), helper.quote(helper.root)))
    assert.equal(0, code, output)
    assert.equal("../first.tar.gz\n../second.tar.gz\ndrwxr-xr-x root/root noether-1.2.3/\n"
      .. "drwxr-xr-x root/root noether-1.2.3/src/\n"
      .. "-rw-r--r-- root/root noether-1.2.3/src/file\n", output)
  end)
end)
