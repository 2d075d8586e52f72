#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes a Debian package of what `make install` put below ROOT/usr. The same
# files give the same bytes, whenever and where that is.
#
#   deb.sh VERSION ROOT DIRECTORY
#
# SOURCE_DATE_EPOCH: the time of all that is in it (the last commit's, or the
# changelog's).
set -eu

version=$1
root=$(cd "$2" && pwd)
out=$3
arch=$(dpkg --print-architecture)
package=$out/noether_${version}_$arch.deb
doc=$root/usr/share/doc/noether

if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null ||
    stat -c %Y CHANGELOG.md)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC0
umask 022

# Nothing of the place where it was built is left in the programs.
strip_programs() {
  strip -s "$root/usr/bin/noether-lua"
  strip --strip-unneeded "$root"/usr/lib/libnoether.so.*.* \
    "$root/usr/lib/lua/5.4/noether/core.so"
  strip -D -g "$root/usr/lib/libnoether.a"
}

documents() {
  mkdir -p "$doc"
  {
    echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
    printf 'Upstream-Name: noether\n\nFiles: *\n'
    sed -n 's/^Copyright (c)/Copyright:/p' LICENSE
    echo 'License: Expat'
    sed -n '/^Permission/,$s/^\(.*\)$/ \1/p' LICENSE | sed 's/^ $/ ./'
  } >"$doc/copyright"
  printf 'noether (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$doc/changelog.gz"
  cp README.md SECURITY.md CHANGELOG.md "$doc"
  mkdir "$doc/docs"
  cp docs/*.md "$doc/docs"
  cp -R examples "$doc"
  gzip -9n "$root"/usr/share/man/man1/*.1
}

# Of the shared libraries that the programs need, by the packages' own word.
depends() {
  mkdir -p "$work/debian"
  printf 'Source: noether\n\nPackage: noether\nArchitecture: any\n' \
    >"$work/debian/control"
  (cd "$work" && dpkg-shlibdeps -O --ignore-missing-info \
    "$root/usr/bin/noether-lua" "$root"/usr/lib/libnoether.so.*.* \
    "$root/usr/lib/lua/5.4/noether/core.so") | sed -n 's/^shlibs:Depends=//p'
}

control() {
  cat <<TEXT
Package: noether
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$root/usr" | cut -f 1)
Depends: $(depends), lua-cjson, lua-lpeg
Recommends: python3, nodejs
Suggests: bubblewrap, lua5.4
Section: interpreters
Priority: optional
Description: run stages of Python, JavaScript and Bash from Lua, sandboxed
 JSON in, JSON out, under a deadline and limits, and with nothing left behind.
 No daemon, no container engine, no root. There are a library for Lua 5.4 and
 one for C, noether-lua (a whole Lua with all of it built in), and noether, the
 command.
TEXT
}

# The profile is of use, and can be read, only where AppArmor restricts user
# namespaces; it is put there by hand of the package, and goes with it.
scripts() {
  cat >"$root/DEBIAN/postinst" <<'TEXT'
#!/bin/sh
set -e
restricted=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if [ "$1" = configure ] && [ -e $restricted ] &&
  command -v apparmor_parser >/dev/null; then
  install -m 644 /usr/share/noether/apparmor.d/noether-lua /etc/apparmor.d/
  apparmor_parser -r /etc/apparmor.d/noether-lua || true
fi
TEXT
  cat >"$root/DEBIAN/prerm" <<'TEXT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -e /etc/apparmor.d/noether-lua ]; then
  apparmor_parser -R /etc/apparmor.d/noether-lua || true
  rm -f /etc/apparmor.d/noether-lua
fi
TEXT
  chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
  echo 'activate-noawait ldconfig' >"$root/DEBIAN/triggers"
}

maintainer='The noether developers <noether@localhost>'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strip_programs
documents
rm -rf "$root/DEBIAN"
mkdir "$root/DEBIAN"
control >"$root/DEBIAN/control"
scripts
(cd "$root" && find usr -type f | sort | xargs -d '\n' md5sum >DEBIAN/md5sums)
chmod -R u+rwX,go+rX,go-w "$root"
find "$root" -print0 | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
