#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes a Debian package of what `make install` put below ROOT/usr. The same
# files give the same bytes, whenever and where that is.
#
#   deb.sh VERSION ROOT DIRECTORY [LUA]
#
# LUA: the root has the module for that Lua alone (5.1: LuaJIT's, too), as
# `make install-lua` puts it there, and the package is luaLUA-noether.
# SOURCE_DATE_EPOCH: the time of all that is in it (the last commit's, or the
# changelog's).
set -eu

version=$1
root=$(cd "$2" && pwd)
out=$3
arch=$(dpkg --print-architecture)
lua=${4-}
name=${lua:+lua$lua-}noether
package=$out/${name}_${version}_$arch.deb
doc=$root/usr/share/doc/$name

if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null ||
    stat -c %Y CHANGELOG.md)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC0
umask 022

# Nothing of the place where it was built is left in the programs.
strip_programs() {
  if [ -n "$lua" ]; then
    strip --strip-unneeded "$root"/usr/lib/*/lua/"$lua"/noether/*.so
    return
  fi
  strip -s "$root/usr/bin/noether-lua"
  strip --strip-unneeded "$root"/usr/lib/libnoether.so.*.*
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
  printf '%s (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
    "$name" "$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$doc/changelog.gz"
  [ -z "$lua" ] || return 0
  gzip -9n "$root"/usr/share/man/man1/*.1
}

# Of the shared libraries that the programs need, by the packages' own word.
depends() {
  mkdir -p "$work/debian"
  printf 'Source: noether\n\nPackage: noether\nArchitecture: any\n' \
    >"$work/debian/control"
  (cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "$@") |
    sed -n 's/^shlibs:Depends=//p'
}

head_of_control() {
  cat <<TEXT
Package: $name
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$root/usr" | cut -f 1)
Section: interpreters
Priority: optional
TEXT
}

control() {
  head_of_control
  cat <<TEXT
Depends: $(depends "$root/usr/bin/noether-lua" "$root"/usr/lib/libnoether.so.*.*)
Recommends: python3, nodejs, lua5.4-noether
Suggests: bubblewrap, lua5.1-noether, lua5.2-noether, lua5.3-noether
Description: run stages of Python, JavaScript and Bash from Lua, sandboxed
 JSON in, JSON out, under a deadline and limits, and with nothing left behind.
 No daemon, no container engine, no root. There are noether-lua (a whole Lua
 with all of it built in), noether, the command, and a library for C.
TEXT
}

# The file of the supervisor that the package noether has is needed only where
# the kernel runs no program from memory.
control_of_lua() {
  head_of_control
  [ "$lua" != 5.1 ] || echo 'Provides: luajit-noether'
  cat <<TEXT
Depends: $(depends "$root"/usr/lib/*/lua/"$lua"/noether/*.so), lua-cjson, lua-lpeg
Recommends: python3, nodejs, noether
Suggests: bubblewrap, lua$lua
Description: run stages of Python, JavaScript and Bash from Lua $lua, sandboxed
 JSON in, JSON out, under a deadline and limits, and with nothing left behind.
 No daemon, no container engine, no root. This is the module for Lua $lua.
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
if [ -n "$lua" ]; then
  control_of_lua >"$root/DEBIAN/control"
else
  control >"$root/DEBIAN/control"
  scripts
fi
(cd "$root" && find usr -type f | sort | xargs -d '\n' md5sum >DEBIAN/md5sums)
chmod -R u+rwX,go+rX,go-w "$root"
find "$root" -print0 | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
