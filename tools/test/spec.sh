#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the specs with busted, by the interpreter that was built, in a private
# home and temporary directory.
#
#   spec.sh BUILD [FILE or busted option]...
#
# SPEC_EVENTS: a file for what happens (spec/support/report.lua).
# SPEC_OVER=one: each test over one backend (spec/support/over.lua).
# SPEC_START=spare: stages are begun by what was started ahead (spec/support/starts.lua).
# SPEC_SANITIZED=1: sanitizers are built in (spec/support/helper.lua).
# SPEC_COLLECTOR=always: nothing that is forgotten stays for a moment.
set -u

build=$1
shift

busted=$(command -v busted) || {
  echo "spec.sh: busted is not installed: run 'make deps'" >&2
  exit 1
}

private=$(mktemp -d "${TMPDIR:-/tmp}/spec.XXXXXX") || exit 1
trap 'chmod -R u+rwX "$private"; rm -rf "$private"' EXIT
trap 'exit 130' INT TERM
mkdir "$private/home" "$private/t"

# What is in the caller's environment must not decide what the specs see.
for name in $(env | sed -n 's/^\(NOETHER_[A-Z_]*\|LUA_[A-Z0-9_]*\)=.*/\1/p'); do
  unset "$name"
done
unset XDG_CACHE_HOME
# Where nix is in use, it is what `runtime = "auto"` takes: here it has no store.
unset NIX_REMOTE NIX_CONFIG NIX_CONF_DIR NIX_STATE_DIR NIX_PATH
export NIX_STORE_DIR="$private/no-store"
export HOME="$private/home" TMPDIR="$private/t"
export SPEC_BUILD="$build" SPEC_LUA="$build/bin/noether-lua"

collector=
[ "${SPEC_COLLECTOR-}" != always ] ||
  collector='collectgarbage("incremental", 10, 1000, 4)'

"$SPEC_LUA" \
  -e "package.cpath = '$build/?.so;' .. package.cpath" \
  -e "$collector" "$busted" "$@"
