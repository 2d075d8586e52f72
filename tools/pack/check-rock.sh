#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries the rockspec for each Lua: builds a copy of the sources and installs it
# into a tree of its own, as LuaRocks does, runs that Lua with what is there, and
# removes it.
# Nothing is fetched: the rocks that it depends on are Debian's.
#
#   check-rock.sh DIRECTORY
set -eu

rm -rf "$1"
mkdir -p "$1/source"
top=$(cd "$1" && pwd)
tar cf - --exclude=.git --exclude='./build*' . | tar xf - -C "$1/source"
cd "$1/source"

# The rock of one Lua, and the interpreter that it is for.
try() {
  tree=$top/tree-$2
  rocks() {
    luarocks --lua-version "$1" --tree "$tree" "$2" --deps-mode none "$3" \
      >"$tree.log" 2>&1 || { cat "$tree.log" >&2; exit 1; }
  }
  rocks "$1" make noether-scm-1.rockspec
  version=$(LUA_PATH="$tree/share/lua/$1/?.lua;$tree/share/lua/$1/?/init.lua;;" \
    LUA_CPATH="$tree/lib/lua/$1/?.so;;" \
    "$2" -e 'local noether = require "noether"
      print(noether.version, noether.check(noether.run{ "true" }).ok)')
  rocks "$1" remove noether
  left=$(find "$tree" -path '*noether*' -type f)
  [ -z "$left" ] || { echo "check-rock: left behind: $left" >&2; exit 1; }
  rm -rf build
  echo "the rock was built, used by $2 ($version) and removed"
}

try 5.1 lua5.1
try 5.2 lua5.2
try 5.3 lua5.3
try 5.4 lua5.4
try 5.1 luajit
