#!/bin/sh
# SPDX-License-Identifier: MIT
# A fleet on one machine: a Redis server, two workers, 200 stages through them,
# and one of the workers is killed meanwhile. Ends all that it has started.
#
#     examples/fleet_demo.sh          needs redis-server, and a build
set -eu

bin=${BIN:-$(cd "$(dirname "$0")/../build/bin" && pwd)}
work=$(mktemp -d)
password=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
pids=

finish() {
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill $pids 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Who lists processes sees no password: it stands in files, and in the environment.
cat >"$work/redis.conf" <<CONF
port 0
unixsocket $work/redis.sock
dir $work
save ""
appendonly yes
appendfsync always
logfile $work/log
requirepass $password
CONF
redis-server "$work/redis.conf" &
pids="$pids $!"
NOETHER_FLEET_URL=unix://:$password@$work/redis.sock
NOETHER_FLEET_KEY=$(head -c 24 /dev/urandom | base64)
export NOETHER_FLEET_URL NOETHER_FLEET_KEY
until "$bin/noether" fleet status >/dev/null 2>&1; do sleep 0.1; done

for name in one two; do
  "$bin/noether" worker --name $name --jobs 2 --dead-after 2 &
  pids="$pids $!"
  eval "$name=$!"
done

cat >"$work/caller.lua" <<'LUA'
local noether = require "noether"

local fleet = noether.check(noether.remote())
local square = { language = "bash", effects = { "Pure" }, code = "execute() { echo $(($1 * $1)); }" }
local inputs, by_worker, wrong = {}, {}, 0
for n = 1, 200 do inputs[n] = n end

-- The first answer is the sign to kill one of the workers.
local function note(_, record)
  local worker = record.info and record.info.worker or "nobody"
  by_worker[worker] = (by_worker[worker] or 0) + 1
  if not next(by_worker, next(by_worker)) and by_worker[worker] == 1 then
    os.execute("kill -KILL " .. arg[1])
  end
end

local records = noether.check(fleet:map(square, inputs, { jobs = 8, on_record = note }))
for n, record in ipairs(records) do
  if record.output ~= n * n then
    wrong = wrong + 1
    print(n, record.err)
  end
end
fleet:close()
print(("%d of %d answers are right"):format(#records - wrong, #records))
os.exit(wrong == 0)
LUA

# shellcheck disable=SC2154
"$bin/noether-lua" "$work/caller.lua" "$two"
"$bin/noether" fleet status
