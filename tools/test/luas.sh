#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the portable suite, spec/portable, under each Lua that was built for and
# is installed; says how many tests each passed.
#
#   luas.sh BUILD [LUA]...    without names: all of them
set -u

build=$(cd "$1" && pwd)
shift
[ $# != 0 ] || set -- 5.1 5.2 5.3 5.4 5.5 luajit

busted=$(command -v busted) || {
  echo "luas.sh: busted is not installed: run 'make deps'" >&2
  exit 1
}
private=$(mktemp -d "${TMPDIR:-/tmp}/luas.XXXXXX") || exit 1
trap 'chmod -R u+rwX "$private"; rm -rf "$private"' EXIT
trap 'exit 130' INT TERM

for name in $(env | sed -n 's/^\(NOETHER_[A-Z_]*\|LUA_[A-Z0-9_]*\)=.*/\1/p'); do
  unset "$name"
done
export SPEC_BUILD="$build" SPEC_EVENTS="$private/events"
export NIX_STORE_DIR="$private/no-store"

# The interpreter of a Lua, where its module was built.
interpreter() {
  [ -e "$build/lib/$1/noether/core.so" ] || return 1
  case $1 in
  luajit) command -v luajit ;;
  5.5) command -v lua5.5 || ls "$PWD/build/lua5.5/bin/lua5.5" 2>/dev/null ;;
  *) command -v "lua$1" ;;
  esac
}

run() {
  mkdir -p "$private/$1/home" "$private/$1/t"
  : >"$SPEC_EVENTS"
  path="./?.lua;./lua/?.lua;./lua/?/init.lua;;" cpath="$build/lib/$1/?.so;;"
  runner="$busted --config-file=spec/portable/busted.lua"
  # Busted's modules assign to variables of loops.
  if [ "$1" = 5.5 ]; then
    path="build/lua5.5/lua/?.lua;$path" cpath="build/lua5.5/lib/?.so;$cpath"
    runner="tools/test/plain.lua $(echo spec/portable/*_spec.lua)"
  fi
  env SPEC_LUA="$2" HOME="$private/$1/home" TMPDIR="$private/$1/t" \
    LUA_PATH="$path" LUA_CPATH="$cpath" \
    timeout --foreground -k 10 300 "$2" $runner >"$private/log" 2>&1 </dev/null
  code=$?
  counts=$(sed -n 's/^counts	//p' "$SPEC_EVENTS")
  if [ -z "$counts" ] || [ "$code" != 0 ]; then
    cat "$private/log"
    echo "luas: Lua $1 failed (exit code $code)"
    return 1
  fi
  echo "$counts" | {
    read -r passed wrong left
    echo "luas: Lua $1: $passed passed, $wrong failed, $left skipped"
  }
}

failed=0
ran=0
for lua; do
  if program=$(interpreter "$lua"); then
    run "$lua" "$program" || failed=1
    ran=$((ran + 1))
  fi
done
[ "$ran" != 0 ] || { echo 'luas: no Lua was found: make luas' >&2; exit 1; }
exit "$failed"
