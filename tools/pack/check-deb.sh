#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries the Debian packages on a machine that has nothing else: a fresh root,
# made by debootstrap, in which they are installed, used by every Lua and removed.
# Needs root and the mirror that apt uses.
#
#   check-deb.sh PACKAGES DIRECTORY    both are directories
set -eu

packages=$1
root=$2/root

fail() {
  echo "check-deb: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail 'only root can make the root of a machine'

# A root of its own, and not chroot: a program in one may make no namespaces.
inside() {
  bwrap --bind "$root" / --dev /dev --proc /proc --unshare-pid --cap-add ALL \
    --die-with-parent --clearenv --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin \
    --setenv HOME /root --setenv LC_ALL C.UTF-8 \
    --setenv DEBIAN_FRONTEND noninteractive --ro-bind /etc/resolv.conf \
    /etc/resolv.conf "$@"
}

files() {
  (cd "$root" && find . -xdev \( -path ./var/cache -o -path ./var/lib \
    -o -path ./var/log -o -path ./tmp -o -path ./run -o -path ./proc \
    -o -path ./dev \) -prune -o -print | grep -v '^./etc/ld.so.cache$' | sort)
}

expect() {
  wanted=$1
  shift
  got=$("$@" 2>&1) || fail "$*: $got"
  [ "$got" = "$wanted" ] || fail "$*: expected '$wanted', got '$got'"
}

make_root() {
  rm -rf "$2"
  mkdir -p "$2"
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    head -n 1)
  debootstrap --variant=minbase "$release" "$root" "$mirror" >"$1/log" 2>&1 ||
    { cat "$1/log" >&2; fail 'debootstrap failed'; }
}

make_root "$2" "$root"
files >"$2/before"
cp "$packages"/*.deb "$root/tmp"
inside sh -c 'apt-get -qq install -y --no-install-recommends /tmp/*.deb \
  python3 lua5.1 lua5.2 lua5.3 lua5.4 luajit' >"$2/log" 2>&1 ||
  { cat "$2/log" >&2; fail 'install'; }

code='execute() { echo "$1"; }'
stage="print((require('noether').execute{ language = 'bash', effects = {},
  code = [[$code]], input = 42 }))"
expect 42 inside noether-lua -e "$stage"
for lua in lua5.1 lua5.2 lua5.3 lua5.4 luajit; do
  expect 42 inside "$lua" -e "$stage"
done
expect 42 inside setpriv --reuid 61234 --regid 61234 --clear-groups \
  noether-lua -e "$stage"
expect '{"n": 1}' inside sh -c 'echo "def execute(n): return n" >/tmp/same.py &&
  noether run /tmp/same.py --input "{\"n\":1}" && rm -r /tmp/same.py'
inside sh -c 'ldconfig -p | grep -q libnoether.so && gzip -dc \
  /usr/share/man/man1/noether.1.gz | grep -q "^.TH"' || fail 'library or manual'

inside sh -c 'rm -rf ~root/.cache && apt-get -qq purge -y noether \
    lua5.1-noether lua5.2-noether lua5.3-noether lua5.4-noether &&
  apt-get -qq autoremove -y --purge python3 lua5.1 lua5.2 lua5.3 lua5.4 \
    luajit' >"$2/log" 2>&1 ||
  { cat "$2/log" >&2; fail 'removal'; }
files >"$2/after"
diff "$2/before" "$2/after" >"$2/log" || { cat "$2/log" >&2; fail 'something is left'; }
rm -rf "$root"
echo 'the packages were installed, used and removed, and left nothing'
