#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries the rockspec: builds a copy of the sources and installs it into a tree
# of its own, as LuaRocks does, runs lua5.4 with what is there, and removes it.
# Nothing is fetched: the rocks that it depends on are Debian's.
#
#   check-rock.sh DIRECTORY
set -eu

rm -rf "$1"
mkdir -p "$1/source"
tree=$(cd "$1" && pwd)/tree
tar cf - --exclude=.git --exclude='./build*' . | tar xf - -C "$1/source"
cd "$1/source"
rocks() {
  luarocks --lua-version 5.4 --tree "$tree" "$@" >"$tree.log" 2>&1 ||
    { cat "$tree.log" >&2; exit 1; }
}

rocks make --deps-mode none noether-scm-1.rockspec
version=$(LUA_PATH="$tree/share/lua/5.4/?.lua;$tree/share/lua/5.4/?/init.lua;;" \
  LUA_CPATH="$tree/lib/lua/5.4/?.so;;" \
  lua5.4 -e 'print(require("noether").version)')
rocks remove --deps-mode none noether
left=$(find "$tree" -path '*noether*' -type f)
[ -z "$left" ] || { echo "check-rock: left behind: $left" >&2; exit 1; }
echo "the rock was built, used ($version) and removed"
