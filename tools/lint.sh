#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the layout and style of all sources; says what is wrong with each, and
# fails if anything is.
#
#   lint.sh          what is quick
#   lint.sh deep     clang-tidy
set -u

failed=0
run() {
  "$@" || failed=1
}

c_files() {
  find src include spec tools examples -name '*.[ch]' | sort
}

includes='-Iinclude -Isrc -Ispec/c -I/usr/include/lua5.4'

if [ "${1-}" = deep ]; then
  c_files | grep '\.c$' | xargs -n 1 -P "$(nproc)" sh -c '
    clang-tidy --quiet "$0" -- -std=c11 -D_GNU_SOURCE '"$includes"' 2>/dev/null'
  exit
fi

for script in tools/*.sh .ci/run; do
  run sh -n "$script"
done
c_files | run xargs clang-format --dry-run -Werror
run cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr \
  --enable=warning,performance,portability -Iinclude -Isrc src spec/c tools
run luacheck --no-color -q lua spec tools bench examples types .luacheckrc .busted ./*.rockspec
run mandoc -T lint -W error man/*.1
for file in $(find lua -name '*.lua'); do
  run luac5.1 -p "$file"
done
exit $failed
