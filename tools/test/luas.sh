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
export SPEC_BUILD="$build"
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

# What it loads from. Busted's modules assign to variables of loops.
place() {
  path="./?.lua;./lua/?.lua;./lua/?/init.lua;;" cpath="$build/lib/$1/?.so;;"
  runner="$busted --config-file=spec/portable/busted.lua"
  if [ "$1" = 5.5 ]; then
    path="build/lua5.5/lua/?.lua;$path" cpath="build/lua5.5/lib/?.so;$cpath"
    runner="tools/test/plain.lua $(echo spec/portable/*_spec.lua)"
  fi
  export LUA_PATH="$path" LUA_CPATH="$cpath"
}

run() {
  own=$private/$1
  mkdir -p "$own/home" "$own/t"
  : >"$own/events"
  place "$1"
  # A release may have the interpreter, and nothing more for it.
  "$2" -e 'require "cjson" require "lpeg"' 2>"$own/log" || {
    echo "luas: Lua $1 is left out: there is no lua-cjson or LPeg for it"
    [ "${CI-}" != true ]
    return
  }
  env SPEC_LUA="$2" HOME="$own/home" TMPDIR="$own/t" SPEC_EVENTS="$own/events" \
    timeout --foreground -k 10 300 "$2" $runner >"$own/log" 2>&1 </dev/null
  code=$?
  counts=$(sed -n 's/^counts	//p' "$own/events")
  if [ -z "$counts" ] || [ "$code" != 0 ]; then
    cat "$own/log"
    echo "luas: Lua $1 failed (exit code $code)"
    return 1
  fi
  echo "$counts" | {
    read -r passed wrong left
    echo "luas: Lua $1: $passed passed, $wrong failed, $left skipped"
  }
}

# Side by side: they wait for the most part.
ran=
for lua; do
  if program=$(interpreter "$lua"); then
    mkdir "$private/$lua"
    run "$lua" "$program" >"$private/$lua/said" 2>&1 &
    ran="$ran $lua:$!"
  fi
done
[ -n "$ran" ] || { echo 'luas: no Lua was found: make luas' >&2; exit 1; }

failed=0
for one in $ran; do
  wait "${one#*:}" || failed=1
  cat "$private/${one%%:*}/said"
done
exit "$failed"
