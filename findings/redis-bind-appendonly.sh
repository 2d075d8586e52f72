#!/bin/sh
# SPDX-License-Identifier: MIT
# CONFIG SET with both `appendonly yes` and a new `bind` is refused by Redis, whole: "Failed to bind
# to specified addresses". One after the other, bind first, both are taken.
#
# Seen with redis-server 7.0.15 (Debian 12). appendonly is carried out first, and forks a child that
# writes the first file; the child has inherited the listening socket, which the parent then closes
# and cannot bind anew while the child lives. The same takes bind alone, if it comes while any such
# child (BGSAVE, a rewrite) is at work. redis-cli ends with 0 all the same: it has to be read.
#
# Needs redis-server and redis-cli; uses a port of the loopback, 127.0.0.1 and 127.0.0.2. Exits with 1
# if any of this has changed.
set -eu

directory=$(mktemp -d)
port=$((20000 + $$ % 20000))
redis-server --port $port --bind 127.0.0.1 --dir "$directory" --save '' --logfile "$directory/log" &
server=$!
trap 'kill -KILL $server 2>/dev/null || true; wait; rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
until redis-cli -p $port PING >/dev/null 2>&1; do sleep 0.1; done

together=$(redis-cli -p $port CONFIG SET appendonly yes bind "127.0.0.1 127.0.0.2")
echo "appendonly and bind together: $together"
until redis-cli -p $port INFO persistence | grep -q '^aof_rewrite_in_progress:0'; do sleep 0.1; done
first=$(redis-cli -p $port CONFIG SET bind "127.0.0.1 127.0.0.2")
second=$(redis-cli -p $port CONFIG SET appendonly yes)
echo "bind, then appendonly: $first, $second"

case $together in *"Failed to bind"*) ;; *) exit 1 ;; esac
[ "$first $second" = "OK OK" ]
