#!/bin/sh
# SPDX-License-Identifier: MIT
# A Python program that closes what it has inherited, as daemons do, can make 102
# more callbacks with ctypes where libffi is 3.8, and then MemoryError is raised,
# with no text, on a machine with gigabytes free. With libffi 3.4 it can make as
# many as it wants.
#
# Callbacks are entered by code that lies in libffi's own file, a page of it for
# each hundred. To map another such page it keeps its file open from when ctypes
# is imported, by whoever imports it (numpy does): descriptor 3 of a program that
# has nothing else open. Whoever closes descriptors that are not his, or looks
# whether a library has left one open, meets it. It is close-on-exec, and says
# what it is: /proc/self/fd/3 leads to libffi.so.8.
#
# Seen with Debian's libffi 3.8.0-2, Python 3.14.8-1. Makes a root of Debian's
# testing in a temporary directory, for which it needs to be root, debootstrap and
# the mirror that apt uses. Exits with 1 if any of this has changed.
set -eu

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
root=$directory/root
debootstrap --variant=minbase --include=python3.14,libffi8 testing "$root" "$mirror" \
  >"$directory/log" 2>&1 || { tail "$directory/log"; exit 1; }
dpkg-query --admindir="$root/var/lib/dpkg" -W libffi8 python3.14

cat >"$root/tmp/try.py" <<'EOT'
import os

def descriptors():
    paths = ["/proc/self/fd/" + name for name in os.listdir("/proc/self/fd") if int(name) > 2]
    return {path[14:]: os.readlink(path) for path in paths if os.path.exists(path)}

os.closerange(3, 1024)
import ctypes
left = descriptors()
print("open after the import:", left, "inherited:", [os.get_inheritable(int(fd)) for fd in left])

def make(count):
    function, made = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int), []
    try:
        for number in range(count):
            made.append(function(lambda value, number=number: value + number))
    except MemoryError as error:
        print("MemoryError %r after" % str(error), len(made))
    return sum(call(1) == 1 + number for number, call in enumerate(made))

print("with it open:", make(2000))
EOT
sed 's/^print("with it open.*/os.closerange(3, 1024)\nprint("with it closed:", make(2000))/' \
  "$root/tmp/try.py" >"$root/tmp/closed.py"

# The fresh root has no /proc, which is where descriptors are seen.
inside() {
  # shellcheck disable=SC2016
  unshare --mount sh -c 'mount -t proc proc "$1/proc" && shift && exec chroot "$@"' \
    sh "$root" "$root" python3.14 "$1" 2>&1
}
inside /tmp/try.py | tee "$directory/said"
inside /tmp/closed.py | tee -a "$directory/said"

expect() {
  grep -qF "$1" "$directory/said" || { echo "this has changed: $1"; exit 1; }
}
expect "libffi.so.8"
expect "inherited: [False]"
expect "with it open: 2000"
expect "MemoryError '' after 102"
expect "with it closed: 102"
echo "as it was"
