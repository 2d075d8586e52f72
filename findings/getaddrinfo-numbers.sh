#!/bin/sh
# SPDX-License-Identifier: MIT
# Where a machine, or a container, has no address but those of its loopback,
# getaddrinfo refuses "127.0.0.1", an address in numbers, that is asked for as
# IPv4 with AI_ADDRCONFIG: "Name or service not known". Without that flag, or
# without the family, the same call answers, and 127.0.0.1 can be connected to.
#
# Seen with glibc 2.36 (Debian 12) on Linux 6.18, called by Python 3.11, which
# hands arguments on as they are. AI_ADDRCONFIG leaves out families of which the
# system has no address, the loopback's not counted (RFC 3493, 6.1): glibc does so
# for numbers, too, which nothing has to be looked up for. Programs that pass
# both, as many do that open connections, cannot reach a server beside them in a
# sandbox without a network. One more address on `lo`, which need not lead
# anywhere, mends it.
#
# Needs unshare, ip and python3 with glibc; changes nothing outside of a namespace.
# Exits with 1 if any of this has changed.
set -eu

getconf GNU_LIBC_VERSION
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM

cat >"$directory/ask.py" <<'EOT'
import socket

server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
socket.create_connection(("127.0.0.1", port)).close()


def ask(family, flags):
    try:
        found = socket.getaddrinfo("127.0.0.1", port, family, socket.SOCK_STREAM, 0, flags)
        return found[0][4][0]
    except socket.gaierror as error:
        return "refused (%s)" % error.strerror


print("any family:                    ", ask(socket.AF_UNSPEC, 0))
print("any family, AI_ADDRCONFIG:     ", ask(socket.AF_UNSPEC, socket.AI_ADDRCONFIG))
print("IPv4:                          ", ask(socket.AF_INET, 0))
print("IPv4, AI_ADDRCONFIG:           ", ask(socket.AF_INET, socket.AI_ADDRCONFIG))
EOT

flags=-Urn
[ "$(id -u)" != 0 ] || flags=-n
alone=$(unshare "$flags" sh -c "ip link set lo up && python3 '$directory/ask.py'")
echo "$alone"
more=$(unshare "$flags" sh -c "ip link set lo up && ip address add 192.0.2.1/32 dev lo &&
  python3 '$directory/ask.py'")
echo 'with 192.0.2.1 on lo, too:'
echo "$more"

[ "$(echo "$alone" | grep -c '127\.0\.0\.1$')" = 3 ] &&
  echo "$alone" | grep -q '^IPv4, AI_ADDRCONFIG: *refused' &&
  [ "$(echo "$more" | grep -c '127\.0\.0\.1$')" = 4 ]
