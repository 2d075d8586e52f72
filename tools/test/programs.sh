#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries real programs through a list of hosts: this machine's, and one that npm
# has, pinned.
#
#   programs.sh BUILD
set -eu

build=$1
own=$build/programs

mkdir -p "$own"
[ -d "$own/node_modules/ws" ] ||
  npm install --silent --no-audit --no-fund --prefix "$own" ws@8.23.0 >/dev/null
NODE_PATH=$(realpath "$own")/node_modules
export NODE_PATH
exec tools/test/spec.sh "$build" spec/deep/programs.lua
