#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the commit that bench/baseline.json names, lets that build and this one
# take turns at the bench, each with its own bench/, and prints the ratios.
#
#   bench-compare.sh BUILD [PART]...
#
# BENCH_BASE: another commit. BENCH_TURNS (3), BENCH_ROUNDS: how often.
set -eu

build=$1
shift
base=${BENCH_BASE:-$(sed -n 's/.*"commit": *"\([0-9a-f]*\)".*/\1/p' bench/baseline.json)}
source=$build/bench/base
reports=$build/bench/reports

commit=$(git rev-parse --verify --quiet "$base^{commit}") || {
  echo "bench-compare: there is no commit $base here: git fetch --unshallow" >&2
  exit 1
}
if [ "$(cat "$source/.commit" 2>/dev/null)" != "$commit" ]; then
  rm -rf "$source"
  mkdir -p "$source"
  git archive "$commit" | tar xf - -C "$source"
  echo "$commit" >"$source/.commit"
fi
make -s -C "$source" build/bin/noether-lua build/bench/floor.so
rm -rf "$reports"
mkdir -p "$reports"
here=$PWD

# What is over its limit is for the bench to say.
run() {
  report=$here/$reports/$1-$part-$turn.json
  (cd "$2" && BENCH_BUILD=$3 "$3/bin/noether-lua" bench/run.lua "$report" \
    "$part" >/dev/null) || true
  [ -s "$report" ] || {
    echo "bench-compare: $part of $2 came to no end" >&2
    exit 1
  }
}

if [ $# = 0 ]; then
  parts=$(sed -n '/^local PARTS/,/}/p' "$source/bench/run.lua" | tr -dc 'a-z" ')
  # shellcheck disable=SC2046,SC2086
  set -- $(echo $parts | grep -o '"[a-z]*"' | tr -d '"')
fi
for part; do
  turn=1
  while [ "$turn" -le "${BENCH_TURNS:-3}" ]; do
    run base "$source" build
    run this . "$build"
    turn=$((turn + 1))
  done
done
echo "$(git rev-parse --short HEAD) and $(git rev-parse --short "$commit"), in turns"
"$build/bin/noether-lua" bench/compare.lua "$reports"
