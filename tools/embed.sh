#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes C source that holds files as byte arrays.
#
#   embed.sh bytes NAME FILE       const unsigned char NAME[]; size_t NAME_len
#   embed.sh lua ROOT FILE... [-- ROOT FILE...]
#                                  the table of modules that src/embedded.h
#                                  declares; ROOT/a/b.lua is the module a.b,
#                                  /elsewhere/c.lua is c
set -eu

bytes() {
  od -An -v -tu1 "$1" | sed 's/  */,/g; s/^,/    /; s/$/,/'
}

# The path by which a module is known: below ROOT, or the name alone.
short_path() {
  case $1 in
  "$root"/*) printf '%s' "${1#"$root"/}" ;;
  *) printf '%s' "${1##*/}" ;;
  esac
}

module_name() {
  name=${1%.lua}
  name=${name%/init}
  printf '%s' "$name" | tr / .
}

# Each file by its module's path: "number path file", a line each.
modules() {
  root=$1
  shift
  number=0
  while [ $# -gt 0 ]; do
    if [ "$1" = -- ]; then
      shift
  echo '#include "embedded.h"'
  modules "$@" | while read -r number path file; do
    printf 'static const unsigned char text_%d[] = {\n' "$number"
    bytes "$file"
    echo '};'
  done
  echo 'const struct embedded_module embedded_modules[] = {'
  modules "$@" | while read -r number path file; do
    printf '    {"%s", "@%s", text_%d, sizeof(text_%d)},\n' \
      "$(module_name "$path")" "$path" "$number" "$number"
  done
  printf '    {0}};\n'
  ;;
*)
  echo "embed.sh: unknown mode '$1'" >&2
  exit 1
  ;;
esac
