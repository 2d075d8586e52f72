#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that a goal of the Makefile needs and this
# machine lacks.
#
#   deps.sh demo | test | asan | docs | lint | deb | check-packages | faults |
#           check-deep | bench | soak
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
test  lua-cjson       -        JSON for lua5.4
test  lua-lpeg        -        parsing, likewise
test  lua-luv         -        an event loop to run stages in
test  lua-cqueues     -        another one
test  pkgconf         pkg-config finds flags for the examples
test  git             git      real work for the sandbox
test  fish            fish     completes command lines
test  zsh             zsh      likewise
test  python3-numpy   -        what a stage imports
test  python3-pip     -        installs packages for stages
test  python3-venv    -        likewise
test  nix-bin         nix      the Nix runtime's; no store is made of it
test  patchelf        patchelf makes the store that stands in for nixpkgs
test  python3-six     -        a package in it
test  python3-yaml    -        likewise
docs  lua-ldoc        ldoc     makes HTML of the doc comments
lint  clang           clang    the second C compiler
lint  clang-format    -        checks the layout of C
lint  cppcheck        cppcheck checks C
lint  lua-check       luacheck checks Lua
lint  lua5.1          luac5.1  checks that Lua 5.1 can read the library
lint  mandoc          mandoc   checks the manual
deep  libclang-rt-dev -        what a fuzzer is linked with
deep  clang-tidy      -        checks C slowly
deep  chromium        chromium shows the page of a trace
deb   dpkg-dev        dpkg-shlibdeps which packages hold what ours needs
pack  debootstrap     debootstrap a machine to try the package on
pack  luarocks        luarocks tries the rockspec
fault strace          strace   makes calls of the supervisor fail
TABLE
}

case ${1-} in
demo | soak) groups='build run' ;;
test | asan) groups='build run test docs' ;;
docs) groups='build docs' ;;
deb) groups='build deb' ;;
check-packages) groups='build run deb pack' ;;
lint) groups='build lint' ;;
check-deep) groups='build run test docs lint deep deb pack fault' ;;
faults) groups='build run test fault' ;;
bench) groups='build run test' ;;
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

# Root tests as another user too, who can reach only what lies here.
if [ "$(id -u)" = 0 ]; then
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
fi

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

as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    printf 'deps: as root, run:\n  apt-get install -y --no-install-recommends%s\n' \
      "$missing" >&2
    exit 1
  fi
  as_root=sudo
fi
apt() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y "$@" </dev/null
}

echo 'deps: installing them with apt-get'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt update && apt install --no-install-recommends $missing; } >"$log" 2>&1
then
  cat "$log" >&2
  echo 'deps: apt-get failed' >&2
  exit 1
fi
