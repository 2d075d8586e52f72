#!/bin/sh
# SPDX-License-Identifier: MIT
# What the README promises, on a machine that has nothing: a root made by
# debootstrap, in which the committed tree is built, shown and tested.
# Needs root, and the mirror that apt uses.
#
#   bare.sh DIRECTORY [RELEASE]    trixie
set -eu

mkdir -p "$1"
work=$(cd "$1" && pwd)
release=${2:-trixie}
root=$work/$release
here=$(cd "$(dirname "$0")/../.." && pwd)

# A root of its own, and not chroot: a program in one may make no namespaces. Nor
# bubblewrap, which covers /proc in part: sandboxes had but a stub of it then.
# shellcheck disable=SC2016
inside() {
  unshare --mount --pid --fork --kill-child sh -euc '
    mount --make-rprivate /
    mount --bind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount --rbind /sys sys
    touch etc/resolv.conf
    mount --bind /etc/resolv.conf etc/resolv.conf
    mkdir -p old
    pivot_root . old
    umount -l /old
    shift
    cd /tree
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"' sh "$root" "$@"
}

# Says what failed, and what was said.
step() {
  what=$1
  shift
  if inside "$@" >"$work/log" 2>&1 </dev/null; then
    echo "ok - $release: $what"
    return 0
  fi
  tail -n 40 "$work/log"
  echo "not ok - $release: $what"
  exit 1
}

rm -rf "$root"
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
echo "bare: making a root of $release"
debootstrap --variant=minbase --include=make "$release" "$root" "$mirror" >"$work/log" 2>&1 || {
  tail -n 40 "$work/log"
  exit 1
}
# It is thrown away: nothing of it need be on the disk. A mirror may stand still.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/90stands-still"
mkdir "$root/tree"
git -C "$here" archive HEAD | tar -x -C "$root/tree"

step 'make demo' make demo
tail -n 6 "$work/log"
step 'make test' make test
grep '^luas: Lua' "$work/log"
tail -n 1 "$work/log"
rm -rf "$root"
