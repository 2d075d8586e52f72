#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries the libraries and languages of this machine in every sandbox: Debian's,
# and those that npm has, pinned.
#
#   languages.sh BUILD spec | interpreters
set -eu

build=$1
what=$2
own=$build/languages

mkdir -p "$own/bin"
if ! { [ -x "$own/bin/deno" ] && [ -x "$own/bin/bun" ] && [ -x "$own/node/bin/node" ]; }; then
  npm install --silent --no-audit --no-fund --prefix "$own" \
    deno@2.9.6 bun@1.4.5 "node-linux-$(node -p process.arch)@22.18.0" >"$own/npm.log" 2>&1 || {
    cat "$own/npm.log" >&2
    exit 1
  }
  for name in deno bun; do
    file=$(find "$(realpath "$own")/node_modules" -type f -perm -u+x \
      -size +1M \( -name "$name" -o -name "$name.exe" \) | sed -n 1p)
    ln -sfn "$file" "$own/bin/$name"
  done
  ln -sfn "$(realpath "$own"/node_modules/node-linux-*)" "$own/node"
fi
# Not in PATH: other stages are of this machine's own node.
NODE_WITH_TYPES=$(realpath "$own")/node/bin
export NODE_WITH_TYPES
PATH=/usr/bin:/bin:/usr/sbin:$(realpath "$own/bin")
export PATH

case $what in
spec)
  exec tools/test/spec.sh "$build" spec/deep/libraries.lua \
    spec/deep/languages.lua spec/deep/npm.lua
  ;;
interpreters)
  LUA_PATH="./?.lua;;" "$build/bin/noether-lua" tools/docs/interpreters.lua >"$own/page.md"
  mv "$own/page.md" docs/interpreters.md
  ;;
esac
