-- SPDX-License-Identifier: MIT
package = "noether"
version = "scm-1"
rockspec_format = "3.0"

-- For `luarocks make` in a checkout, which does not fetch anything.
source = { url = "git+file://." }

description = {
  summary = "Runs a few lines of Python, JavaScript or Bash from Lua, in a sandbox",
  detailed = [[
JSON in, JSON out, under a deadline and limits, with nothing left behind. No
daemon, no container engine, no root. Linux only.]],
  license = "MIT",
}

supported_platforms = { "linux" }
dependencies = { "lua >= 5.1, < 5.6", "lua-cjson >= 2.1", "lpeg >= 1.0" }

build = {
  type = "make",
  build_target = "build/lib/rock/noether/core.so",
  install_target = "install-lua",
  build_variables = { LUA = "rock", CFLAGS = "$(CFLAGS)", LUA_CFLAGS = "-I$(LUA_INCDIR)" },
  install_variables = {
    LUA = "rock", CFLAGS = "$(CFLAGS)", LUA_CFLAGS = "-I$(LUA_INCDIR)",
    LUA_DIR = "$(LUADIR)", LUA_LIBDIR = "$(LIBDIR)",
  },
}
