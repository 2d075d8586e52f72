#!/bin/sh
# SPDX-License-Identifier: MIT
# `npm config get registry`, which prints a setting and does nothing else, makes
# the directory that HOME names, if that is not there, and .npm in it. So does
# `npm prefix`, and not `npm --version`; --logs-max=0, by which it writes no log,
# changes nothing about that. For user 0, with a HOME that is meant to lead nowhere
# (/nonexistent, as of users without one), that is a directory at the root of the
# machine, of which nothing is said.
#
# Seen with npm 11.19.1 on node 20.20.2. Installs that npm in a temporary directory,
# needs node and the public registry. Exits with 1 if any of this has changed.
set -eu

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
npm --prefix "$directory/npm" install --no-audit --no-fund --silent npm@11.19.1 >/dev/null
npm=$directory/npm/node_modules/npm/bin/npm-cli.js
echo "npm $(node "$npm" --version), node $(node --version)"

# A home that is not there, and what is there afterwards.
ask() {
  rm -rf "${directory:?}/home"
  env -i PATH="$PATH" HOME="$directory/home/nowhere" npm_config_userconfig="$directory/none" \
    npm_config_globalconfig="$directory/none-global" node "$npm" "$@" >"$directory/said" 2>&1
  (cd "$directory" && find home 2>/dev/null | sort | tr '\n' ' ')
}

for question in 'config get registry' 'config get registry --logs-max=0' 'prefix' '--version'; do
  # shellcheck disable=SC2086
  found=$(ask $question)
  echo "npm $question: it printed $(wc -l <"$directory/said") line; there is: ${found:-nothing}"
  case $question in
  --version) expected= ;;
  *--logs-max=0) expected='home home/nowhere home/nowhere/.npm ' ;;
  *) expected='home home/nowhere home/nowhere/.npm home/nowhere/.npm/_logs ' ;;
  esac
  case $found in
  "$expected"*) [ -n "$expected" ] || [ -z "$found" ] || exit 1 ;;
  *) echo 'this has changed'; exit 1 ;;
  esac
done
echo 'as it was'
