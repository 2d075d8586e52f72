#!/bin/sh
# SPDX-License-Identifier: MIT
# Breaks things on purpose and looks at what the caller sees of it.
#
#   faults.sh BUILD short|long [PART [SCENARIO]]
#
# PART: calls (of the core fail), memory (Lua's allocations fail), jail (calls
# of the supervisor fail; needs strace), killed (the host, at random moments).
# Without one: all of them. Exits with 1 if anything was lost, left behind,
# or told as what it is not.
set -u

build=$1
size=$2
parts=${3:-calls memory jail killed}
scenario=${4-}

case $build in /*) ;; *) build=$PWD/$build ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/faults.XXXXXX") || exit 1
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/home"

for name in $(env | sed -n 's/^\(NOETHER_[A-Z_]*\|LUA_[A-Z0-9_]*\)=.*/\1/p'); do
  unset "$name"
done
unset XDG_CACHE_HOME
export HOME="$work/home" BUILD="$build"

# A core in a file of its own, in a plain interpreter: only then can its calls
# be told from those of Lua. Sanitizers want to be the first that is loaded.
with_faults() {
  before=
  [ "${SPEC_SANITIZED-}" != 1 ] || before="$(cc -print-file-name=libasan.so) "
  ASAN_OPTIONS=detect_leaks=0 \
    LD_PRELOAD="$before$build/spec/faults/inject.so" \
    timeout --foreground -k 10 "${FAULTS_SECS:-1800}" lua5.4 \
    -e "package.path = './lua/?.lua;./lua/?/init.lua;./?.lua;' .. package.path" \
    -e "package.cpath = '$build/lib/5.4/?.so;$build/?.so;' .. package.cpath" \
    "$@"
}

failed=0
for part in $parts; do
  mkdir "$work/$part"
  case $part in
  killed) with_faults spec/faults/killed.lua "$size" "$work/$part" ;;
  *) with_faults spec/faults/run.lua "$part" "$size" "$work/$part" "$scenario" ;;
  esac
  code=$?
  [ "$code" = 0 ] && continue
  failed=1
  echo "$part: exit code $code"
  [ "$code" = 1 ] || cat "$work/$part/now"
done
exit $failed
