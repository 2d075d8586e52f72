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
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$lua" tools/docs.lua pages "$work"
if ! ldoc -q --fatalwarnings --testing -c tools/ldoc.ld -d "$pages" "$work" \
  >"$work/log" 2>&1; then
  cat "$work/log" >&2
  exit 1
fi
