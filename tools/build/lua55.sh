#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds Lua 5.5, with lua-cjson and LPeg, from Debian's sources, which are
# pinned by version and hash: no stable Debian has 5.5 yet. They come by apt from
# the mirror that apt uses; nothing is installed.
#
#   lua55.sh DIRECTORY    bin/lua5.5, bin/luac5.5, include, lib and lua in it
set -eu

out=$1
[ ! -e "$out/bin/lua5.5" ] || exit 0
mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

sources() {
  cat <<'TABLE'
lua5.5/lua5.5_5.5.1 1c4b4068d67061f2a2231ad2b5422e77acea1487ea9890f6320af614f4373dce
lua-cjson/lua-cjson_2.1.0+dfsg 94f1fce36742cf00e99c5071b309b9f71e6e7daf60a7151f7bf4ac0a97259ac4
lua-lpeg/lua-lpeg_1.0.2 48d66576051b6c78388faad09b70493093264588fcd0f258ddaab1cdd4a15ffe
TABLE
}

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
  grep '/debian/*$' | head -n 1)
fetch() {
  /usr/lib/apt/apt-helper download-file \
    "${mirror%/}/pool/main/l/$1.orig.tar.gz" "$work/source.tar.gz" \
    "SHA256:$2" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  mkdir "$work/${1%%/*}"
  tar xzf "$work/source.tar.gz" -C "$work/${1%%/*}" --strip-components=1
}
sources | while read -r name hash; do fetch "$name" "$hash"; done

mkdir -p "$out/bin" "$out/include" "$out/lib" "$out/lua"
make -s -C "$work/lua5.5" linux >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cp "$work"/lua5.5/src/lua.h "$work"/lua5.5/src/luaconf.h \
  "$work"/lua5.5/src/lauxlib.h "$work"/lua5.5/src/lualib.h "$out/include"
module() {
  cc -O2 -fPIC -shared -w -I"$out/include" -o "$out/lib/$1.so" "$2"/*.c -lm
}
rm -f "$work"/lua-cjson/dtoa.c "$work"/lua-cjson/g_fmt.c
module cjson "$work/lua-cjson"
module lpeg "$work/lua-lpeg"
cp "$work/lua-lpeg/re.lua" "$out/lua"
cp "$work/lua5.5/src/luac" "$out/bin/luac5.5"
cp "$work/lua5.5/src/lua" "$out/bin/lua5.5"
