#!/bin/sh
# SPDX-License-Identifier: MIT
# `npm ci` on a disk that fills up while it unpacks a package writes the beginning
# of a file, says "added 1 package" and exits with 0. Nothing tells that the rest
# of the file is missing: it prints no warning, and `npm ls` finds the package as
# it should be.
#
# Of a write the system takes as much as there is room for, and says how much that
# was; npm does not look. Only a next write would be refused (ENOSPC: then there is
# a warning, and the exit status is 0 all the same), and here none comes. The hash
# in the lock is that of the packed file, which was read whole.
#
# Seen with npm 11.19.1 on node 20.20.2. Installs that npm in a temporary directory,
# needs unshare with mounts (root, or a user namespace), node and tar, and the
# public registry for npm itself. Exits with 1 if any of this has changed.
set -eu

directory=$(mktemp -d)
export npm_config_userconfig="$directory/npmrc"
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
npm --prefix "$directory/npm" install --no-audit --no-fund --silent npm@11.19.1 >/dev/null
npm=$directory/npm/node_modules/npm/bin/npm-cli.js
echo "npm $(node "$npm" --version), node $(node --version)"

# A package with a file of 2,090,000 bytes, and a registry that has it.
mkdir -p "$directory/package"
printf '{"name":"large","version":"1.0.0"}' >"$directory/package/package.json"
head -c 2090000 /dev/zero | tr '\0' x >"$directory/package/data"
tar -C "$directory" -czf "$directory/large.tgz" package/package.json package/data
cat >"$directory/registry.js" <<'EOT'
const fs = require("fs");
const tarball = fs.readFileSync(process.argv[2]);
const integrity = `sha512-${require("crypto").createHash("sha512").update(tarball).digest("base64")}`;
const server = require("http").createServer((request, response) => {
  if (request.url.endsWith(".tgz")) return response.end(tarball);
  const dist = { integrity, tarball: `http://127.0.0.1:${server.address().port}/large.tgz` };
  const one = { name: "large", version: "1.0.0", dist };
  const all = { name: "large", "dist-tags": { latest: "1.0.0" }, versions: { "1.0.0": one } };
  response.end(JSON.stringify(all));
});
server.listen(0, "127.0.0.1", () => fs.writeFileSync(process.argv[3], `${server.address().port}`));
EOT
node "$directory/registry.js" "$directory/large.tgz" "$directory/port" &
registry=$!
trap 'kill $registry; rm -rf "$directory"' EXIT
until [ -s "$directory/port" ]; do sleep 0.1; done
url=http://127.0.0.1:$(cat "$directory/port")/

cat >"$directory/try.sh" <<'EOT'
set -eu
npm="node $1 --registry=$2 --cache=$3/cache --no-audit --no-fund --no-update-notifier"
mkdir -p "$3/disk"
mount -t tmpfs -o size=2m none "$3/disk"
cd "$3/disk"
printf '{"dependencies":{"large":"1.0.0"}}' >package.json
$npm install --package-lock-only --silent
status=0
$npm ci || status=$?
echo "exit status $status"
$npm ls || echo "npm ls: status $?"
echo "bytes of the file: $(wc -c <node_modules/large/data) of 2090000"
EOT
flags=-Urm
[ "$(id -u)" != 0 ] || flags=-m
unshare $flags sh "$directory/try.sh" "$npm" "$url" "$directory" 2>&1 | tee "$directory/said"

grep -q '^added 1 package' "$directory/said" && grep -q '^exit status 0$' "$directory/said" &&
  ! grep -q 'npm ls: status' "$directory/said" &&
  ! grep -qi 'warn\|error\|ENOSPC' "$directory/said" &&
  ! grep -q 'file: 2090000 of' "$directory/said"
