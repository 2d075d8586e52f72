#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the layout and style of all sources, in each language by a tool of its
# own; says what is wrong with each, and fails if anything is.
#
#   lint.sh          what is quick
#   lint.sh deep     clang-tidy
#
# What is fetched from npm lies in build/lint. Without it a person is told so;
# with CI=true it is a failure.
set -u

failed=0
run() {
  "$@" || failed=1
}

c_files() {
  find src include spec tools examples -name '*.[ch]' | sort
}

includes='-Iinclude -Isrc -Ispec/c -Ibuild/spec -I/usr/include/lua5.4'

if [ "${1-}" = deep ]; then
  # (A fixture is built by its spec, with what only that knows.)
  c_files | grep '\.c$' | grep -v '^spec/fixtures/' | xargs -n 1 -P "$(nproc)" sh -c '
    clang-tidy --quiet "$0" -- -std=c11 -D_GNU_SOURCE '"$includes"' 2>/dev/null'
  exit
fi

# Of one kind, and no packages or pages of others.
files() {
  find lua spec tools -name "$1" | sort
}

# Biome is no Debian package.
biome() {
  bin=build/lint/node_modules/.bin/biome
  [ -x $bin ] ||
    npm --prefix build/lint install --no-audit --no-fund --silent \
      @biomejs/biome@2.6.8 >&2 || {
    echo 'lint: biome cannot be had: JavaScript and CSS were not looked at' >&2
    [ "${CI-}" != true ]
    return
  }
  $bin check --error-on-warnings --log-level=warn "$@"
}

# What no version of Python that runs stages may lack.
oldest_python() {
  python3 -c 'import ast, sys
name = sys.argv[1]
ast.parse(open(name).read(), name, feature_version=(3, 8))' "$1"
}

for script in tools/*/*.sh .ci/run; do
  run sh -n "$script"
done
run shellcheck --severity=warning tools/*/*.sh .ci/run
files '*.sh' | grep '^lua/' | run xargs shellcheck --shell=bash
files '*.sh' | grep '^lua/' | run xargs shfmt -d -i 2 -ci
files '*.py' | run xargs pyflakes3
files '*.py' | run xargs black -q --check -l 100
for file in $(files '*.py' | grep '^lua/'); do
  run oldest_python "$file"
done
for file in $(files '*.js' | grep '^lua/'); do
  run node --check "$file"
done
run biome lua biome.json
c_files | run xargs clang-format --dry-run -Werror
run cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr \
  --enable=warning,performance,portability -Iinclude -Isrc src spec/c tools
run luacheck --no-color -q lua spec tools bench examples types .luacheckrc .busted ./*.rockspec
run mandoc -T lint -W error man/*.1
run tools/test/syntax.sh
exit $failed
