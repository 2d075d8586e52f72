#!/bin/sh
# SPDX-License-Identifier: MIT
# Parses the Lua files that every Lua must be able to read with each compiler
# that is installed, and looks for what 5.5 alone refuses.
set -u

files=$(find lua spec/portable -name '*.lua' | sort)
failed=0

for compiler in luac5.1 luac5.2 luac5.3 luac5.4 luac5.5 \
  build/lua5.5/bin/luac5.5; do
  command -v "$compiler" >/dev/null || continue
  for file in $files; do
    "$compiler" -p "$file" || failed=1
  done
done
if command -v luajit >/dev/null; then
  for file in $files; do
    luajit -bl "$file" >/dev/null || failed=1
  done
fi
lua5.4 tools/test/traps.lua $files || failed=1
exit "$failed"
