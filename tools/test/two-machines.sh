#!/bin/sh
# SPDX-License-Identifier: MIT
# The ten commands of docs/fleet.md, as a new user types them, on two machines:
# namespaces of the network with a cable between them. Needs root that may make
# them, redis-server and iproute2. Leaves nothing behind.
#
#     tools/test/two-machines.sh build
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(cd "${1:-build}/bin" && pwd)
work=$(mktemp -d)
one=noether-one-$$ two=noether-two-$$

# What a machine runs ends with it.
finish() {
  for machine in $one $two; do
    # shellcheck disable=SC2046
    kill $(ip netns pids $machine 2>/dev/null) 2>/dev/null || true
  done
  wait
  ip netns delete $one 2>/dev/null || true
  ip netns delete $two 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
  echo "two machines: $*" >&2
  exit 1
}

# Code blocks of the section, by language, one after the other.
blocks() {
  awk -v want="$1" -v number="$2" '
    /^## / { inside = /^## Two machines/ }
    inside && /^```/ { is = inside && $0 == "```" want; if (is) n++; next }
    inside && is && n == number' "$root/docs/fleet.md"
}

# on MACHINE COMMAND...: in a directory of its own, with nothing else from here.
on() {
  home=$work/${1#noether-}
  netns=$1
  shift
  ip netns exec "$netns" env -i -C "$home" HOME="$home" PATH="$bin:$PATH" "$@"
}

ip netns add $one || fail "no namespaces can be made here"
ip netns add $two
mkdir "$work/${one#noether-}" "$work/${two#noether-}"
ip -n $one link add cable type veth peer name cable netns $two
ip -n $one address add 10.0.0.1/24 dev cable
ip -n $two address add 10.0.0.2/24 dev cable
for machine in $one $two; do
  ip -n $machine link set lo up
  ip -n $machine link set cable up
done

# The server as Debian starts it, but for where it keeps things.
conf=$work/redis.conf
{
  grep -Ev '^(dir|logfile|pidfile|daemonize|supervised) ' /etc/redis/redis.conf
  printf 'dir %s\nlogfile %s/log\n' "$work" "$work"
} >"$conf"
on $one redis-server "$conf" &
until on $one redis-cli ping >/dev/null 2>&1; do sleep 0.1; done

blocks sh 1 | grep -v '^apt-get ' >"$work/first"
on $one sh -eu "$work/first"
cp "$work/${one#noether-}/fleet.url" "$work/${one#noether-}/fleet.key" "$work/${two#noether-}"
blocks sh 2 >"$work/second"
on $two sh -eu -c "exec $(cat "$work/second")" &
blocks lua 1 >"$work/${one#noether-}/caller.lua"
blocks sh 3 >"$work/third"
on $one sh -eu "$work/third" >"$work/out"
cat "$work/out"

password=$(cat "$work/${one#noether-}/redis.password")
[ "${#password}" = 32 ] || fail "the password has ${#password} letters"
for pid in $(ip netns pids $one) $(ip netns pids $two); do
  ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep "$password" || fail "who lists processes sees it"
done
for answer in 2 4 6; do
  grep -q "^$answer	" "$work/out" || fail "an answer is missing"
done
grep -q '^workers: 1$' "$work/out" || fail "no worker is seen"
grep -q "^requirepass " "$conf" || fail "a server that is started anew would have no password"
count=$(cat "$work/first" "$work/second" "$work/third" | grep -c .)
[ "$count" -le 9 ] || fail "there are $count commands, and one that installs the server"
echo "two machines: ok, in $((count + 1)) commands"
