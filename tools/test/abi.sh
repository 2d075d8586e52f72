#!/bin/sh
# SPDX-License-Identifier: MIT
# Holds the shared library against the ABI that spec/abi/baseline.xml describes:
# functions, enumerators and members at the end of structs may be added, and
# nothing else may change.
#
#   abi.sh check BUILD    the library that lies there
#   abi.sh write BUILD    makes it the baseline: at a release, or where nothing
#                         of the kind was ever released
set -eu

baseline=spec/abi/baseline.xml
library=$2/lib/libnoether.so
work=$2/abi

# Only what the header shows: no private types, no places, no other libraries.
describe() {
  abidw --headers-dir include --drop-private-types --exported-interfaces-only \
    --no-elf-needed --no-architecture --no-parameter-names --no-corpus-path \
    --no-comp-dir-path --no-show-locs --out-file "$1" "$library"
}

mkdir -p "$work"
if [ "$1" = write ]; then
  describe "$baseline"
  exit
fi
describe "$work/new.xml"
"$2/bin/noether-lua" tools/test/abi.lua "$baseline" "$work/new.xml" \
  >"$work/trimmed.xml"
abidiff --no-added-syms "$baseline" "$work/trimmed.xml"
echo 'abi: nothing was taken away or changed'
