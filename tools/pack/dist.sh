#!/bin/sh
# SPDX-License-Identifier: MIT
# Packs what is committed: the same commit gives the same bytes.
#
#   dist.sh VERSION FILE.tar.gz
set -eu

version=$1
file=$2

if ! git rev-parse --verify -q HEAD >/dev/null; then
  echo 'dist: not a git checkout with a commit' >&2
  exit 1
fi
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
  echo 'dist: what is not committed is left out' >&2
fi
mkdir -p "$(dirname "$file")"
git -c tar.umask=0022 archive --format=tar --prefix="noether-$version/" HEAD \
  >"$file.tmp"
gzip -9n <"$file.tmp" >"$file"
rm "$file.tmp"
echo "$file"
