#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that a goal of the Makefile needs and this
# machine lacks.
#
#   deps.sh demo | test | test-hosts | asan | docs | lint | deb | check-packages |
#           faults | check-deep | bench | bench-compare | coverage | soak
#
# Nothing is done, and nothing printed, where nothing is missing.
set -eu

# Of which group; package; the command that does as well as the package, or
# "-"; why it is needed.
packages() {
  cat <<'TABLE'
build gcc             gcc      the C compiler
build make            make     reads the Makefile
build libc6-dev       -        the C library's headers
build linux-libc-dev  -        the kernel's headers
build musl-tools      musl-gcc the compiler of the small static supervisor
build liblua5.4-dev   -        the Lua that goes into noether-lua
build lua-cjson-dev   -        JSON, likewise
build lua-lpeg-dev    -        parsing, likewise
build lua-argparse    -        the command line of noether, likewise
build libmbedtls-dev  -        SHA-256
build libseccomp-dev  -        filters of system calls
build libedit-dev     -        editing lines at the prompt
build lua5.4          lua5.4   reads the doc comments, for help()
run   bubblewrap      bwrap    a sandbox
run   python3         python3  runs Python stages
run   nodejs          node     runs JavaScript stages
run   bash            bash     runs Bash stages
test  lua-busted      -        runs the specs
test  libhiredis-dev  -        the protocol of Redis, for noether.remote
test  redis-server    redis-server carries the jobs of a fleet
test  lua-cjson       -        JSON for lua5.4
test  lua-lpeg        -        parsing, likewise
test  lua-luv         -        an event loop to run stages in
test  lua-cqueues     -        another one
test  lua5.1          lua5.1   another Lua to be used from
test  liblua5.1-0-dev -        likewise
test  lua5.2          lua5.2   likewise
test  liblua5.2-dev   -        likewise
test  lua5.3          lua5.3   likewise
test  liblua5.3-dev   -        likewise
test  luajit          luajit   likewise
test  libluajit-5.1-dev -      likewise
test  pkgconf         pkg-config finds flags for the examples
test  tini            tini     takes over orphans of tests, and reaps them
test  util-linux-extra pivot_root moves a test to a root of its own
test  git             git      real work for the sandbox
test  fish            fish     completes command lines
test  zsh             zsh      likewise
test  python3-numpy   -        what a stage imports
test  python3-matplotlib -     draws what a stage leaves
test  python3-pip     -        installs packages for stages
test  python3-venv    -        likewise
test  esbuild         esbuild  compiles TypeScript
test  npm             npm      installs packages for stages
test  nix-bin         nix      the Nix runtime's; no store is made of it
test  patchelf        patchelf makes the store that stands in for nixpkgs
test  python3-six     -        a package in it
test  python3-yaml    -        likewise
docs  lua-ldoc        ldoc     makes HTML of the doc comments
docs  lua5.1          lua5.1   runs it, where it does not yet run in 5.4
host  lua-cjson       -        JSON for the Lua inside a host
host  lua-lpeg        -        parsing, likewise
host  liblua5.3-dev   -        HAProxy's, Apache's and pandoc's Lua
host  liblua5.2-dev   -        tshark's
host  liblua5.1-0-dev -        nginx's and Neovim's
lint  clang           clang    the second C compiler
lint  clang-format    -        checks the layout of C
lint  cppcheck        cppcheck checks C
lint  lua-check       luacheck checks Lua
lint  lua5.1          luac5.1  checks that Lua 5.1 can read the library
lint  mandoc          mandoc   checks the manual
lint  shellcheck      shellcheck checks shell, runners among it
lint  shfmt           shfmt    checks the layout of runners in Bash
lint  pyflakes3       pyflakes3 checks Python
lint  black           black    checks the layout of Python
lint  npm             npm      brings what checks JavaScript and CSS
deep  busybox-static busybox what there is beside the static file
deep  libclang-rt-dev -        what a fuzzer is linked with
deep  clang-tidy      -        checks C slowly
deep  curl            curl     reaches the hosts of a list, and no other
deep  wget            wget     likewise
deep  postgresql       -        likewise, and what it serves
deep  python3-aiohttp  -        likewise
deep  npm              npm      brings the clients of a model that it is tried with
deep  qemu-system-x86 qemu-system-x86_64 another kernel to try sandboxes on
deep  qemu-system-arm qemu-system-aarch64 likewise, of another processor
deep  gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc builds for that
deep  cpio            cpio     packs its root
deep  chromium        chromium shows the page of a trace
deep  abigail-tools   abidiff  compares the ABI of two builds
deep  python3-pandas  -        a library that stages import
deep  python3-pil     -        likewise
deep  python3-requests -       likewise
deep  python3-lxml    -        likewise
deep  fontconfig      fc-match a program that is configured in /etc
deep  r-base-core     R        likewise, and a language
deep  r-cran-jsonlite -        JSON for R
deep  php-cli         php      a language that a policy is tried with
deep  ruby            ruby     likewise
deep  perl            perl     likewise
deep  golang-go       go       likewise
deep  default-jdk-headless java likewise
deep  sqlite3         sqlite3  likewise
deep  jq              jq       likewise
deb   dpkg-dev        dpkg-shlibdeps which packages hold what ours needs
deb   libhiredis-dev  -        the protocol of Redis, for noether.remote
deb   liblua5.1-0-dev -        another Lua to make a package for
deb   liblua5.2-dev   -        likewise
deb   liblua5.3-dev   -        likewise
pack  lua5.1          lua5.1   likewise, for a rock
pack  lua5.2          lua5.2   likewise
pack  lua5.3          lua5.3   likewise
pack  luajit          luajit   likewise
pack  debootstrap     debootstrap a machine to try the package on
pack  luarocks        luarocks tries the rockspec
fault strace          strace   makes calls of the supervisor fail
TABLE
}

case ${1-} in
demo | soak) groups='build run' ;;
test | asan | coverage) groups='build run test docs' ;;
test-hosts) groups='build run host' ;;
docs) groups='build docs' ;;
deb) groups='build deb' ;;
check-packages) groups='build run deb pack' ;;
lint) groups='build lint' ;;
check-deep) groups='build run test docs lint deep deb pack fault' ;;
faults) groups='build run test fault' ;;
bench | bench-compare) groups='build run test' ;;
*)
  sed -n 's/^#   //p' "$0" | head -n 2 >&2
  exit 2
  ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo 'deps: not a Debian machine; what is needed, by its name there:' >&2
  packages >&2
  exit 0
fi

# What is too old is said before minutes go into it.
too_old() {
  ID='' VERSION_ID='' PRETTY_NAME=''
  release=${DEPS_OS_RELEASE:-/etc/os-release}
  # shellcheck disable=SC1090
  [ ! -r "$release" ] || . "$release"
  case $ID:$VERSION_ID in
  debian:[1-9] | debian:1[01] | ubuntu:1* | ubuntu:2[0-2].*) ;;
  *) return 1 ;;
  esac
  echo "deps: $PRETTY_NAME is too old: its modules of Lua are not for 5.4, its kernel" >&2
  echo 'deps: may lack what sandboxes need. Debian 12, Ubuntu 24.04 or newer will do;' >&2
  echo 'deps: or copy build/static/noether-lua from such a machine: make static' >&2
}

# Root tests as another user too, who can reach only what lies here.
if [ "$(id -u)" = 0 ]; then
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
fi

# shellcheck disable=SC2046
installed=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' \
  $(packages | awk '{ print $2 }') 2>/dev/null |
  awk '$2 == "installed" { printf "%s ", $1 }') "

missing=
while read -r group package program why; do
  case " $groups " in *" $group "*) ;; *) continue ;; esac
  case $installed in *" $package "*) continue ;; esac
  if [ "$program" != - ] && command -v "$program" >/dev/null; then
    continue
  fi
  printf 'deps: %s is missing: %s\n' "$package" "$why"
  missing="$missing $package"
done <<EOT
$(packages)
EOT
[ -n "$missing" ] || exit 0
if too_old; then exit 1; fi

as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    printf 'deps: as root, run:\n  apt-get install -y --no-install-recommends%s\n' \
      "$missing" >&2
    exit 1
  fi
  as_root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Of what apt-get writes: how much there is to do, and how far it is.
tell() {
  awk '
    function say(what) { print "deps: " what; fflush() }
    / newly installed/ { for (i = 2; i <= NF; i++) if ($i == "newly") total = $(i - 1) }
    /^Need to get/ { sub(/^Need to get /, ""); sub(/ of archives.*/, ""); say("fetching " $0) }
    /^Unpacking / && ++unpacked % 10 == 1 { say("unpacking " unpacked " of " total ": " $2) }
    /^Setting up / && ++ready % 10 == 1 { say("setting up " ready " of " total ": " $3) }'
}

# Runs apt-get; its output goes to the log. The status of a pipe is that of its
# end, so that of its beginning is noted in the log's last line.
run_apt() {
  { $as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
      apt-get -y "$@" </dev/null 2>&1
    echo "deps: status $?"; } | tee "$log" | tell
  [ "$(tail -n 1 "$log")" = 'deps: status 0' ]
}

# A machine that was just started is mostly upgrading itself: its package
# manager's lock is waited for.
LOCK_SECS=1800
apt() {
  waited=0
  until run_apt "$@"; do
    grep -q 'Could not get lock\|Unable to acquire the dpkg frontend lock\|Unable to lock directory' \
      "$log" || return 1
    [ $waited -lt $LOCK_SECS ] || return 1
    holder=$(sed -n 's/.*held by process \([0-9]* ([^)]*)\).*/, process \1,/p' "$log" | head -n 1)
    if [ $((waited % 60)) = 0 ]; then
      echo "deps: another package manager$holder is at work: waiting for it"
    fi
    sleep 5
    waited=$((waited + 5))
  done
}

echo 'deps: installing them with apt-get, which may take some minutes'
# shellcheck disable=SC2086
if ! { apt update && apt install --no-install-recommends $missing; }; then
  cat "$log" >&2
  echo 'deps: apt-get failed' >&2
  exit 1
fi
echo 'deps: all is there'
