#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the C tests and the specs (suite.lua), as root as an ordinary user, too.
# The last line has the counts of all of them. In CI a skip is a failure.
#
#   test.sh BUILD [--once]
set -u

build=$1
once=${2-}

work=$(mktemp -d /tmp/noether.XXXXXX) || exit 1
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$work"
mkdir "$work/own"

# For users who have no account (each process of the suite is another one's), a
# copy that is readable but not writable to them: the tree itself may lie where
# only root can go.
copy_for_other() {
  uid=61234
  # shellcheck disable=SC2046
  while [ -n "$(getent passwd $(seq "$uid" $((uid + 99))))" ]; do
    uid=$((uid + 100))
  done
  mkdir -p "$work/copy/build"
  tar cf - --exclude=.git --exclude='./build*' . | tar xf - -C "$work/copy"
  for part in bin lib libexec share spec; do
    cp -R "$build/$part" "$work/copy/build"
  done
  chown -R 0:0 "$work/copy"
  chmod -R a+rX,go-w "$work/copy"
}

uid=
if [ "$(id -u)" = 0 ] && [ "$once" != --once ]; then
  copy_for_other
fi
# Orphans are reaped at once, which not every first process does.
tini -s -- lua5.4 tools/test/suite.lua "$build" "$work" $uid
