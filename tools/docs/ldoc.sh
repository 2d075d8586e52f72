#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes HTML pages of the sources' doc comments, with LDoc; what it warns of is
# a failure.
#
#   ldoc.sh LUA DIRECTORY
set -eu

lua=$1
mkdir -p "$2"
pages=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."

# LDoc keeps its style sheet in /tmp (LDoc 1.5: in TMPDIR), in a directory named
# after the home.
work=$(mktemp -d)
style=/tmp/ldoc$(printf %s "$work" | tr '/\\:' ___)
trap 'rm -rf "$work" "$style"' EXIT
"$lua" tools/docs/generate.lua pages "$work"
if ! HOME=$work TMPDIR=$work ldoc -q --fatalwarnings --testing \
  -c tools/docs/ldoc.ld -d "$pages" "$work" >"$work/log" 2>&1; then
  cat "$work/log" >&2
  exit 1
fi
