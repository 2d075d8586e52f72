#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make static` made, in a root that holds nothing else but busybox: no C
# library, no loader, no interpreter, no account.
#
#   static.sh BUILD
set -eu

program=$(cd "$1/static" && pwd)/noether-lua

work=$(mktemp -d /tmp/noether-static.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/usr" "$work/tmp"
chmod 755 "$work"
chmod 777 "$work/tmp"
cp "$(command -v busybox)" "$work/bin/busybox"
cp "$program" "$work/bin/noether-lua"
for name in sh echo cat id true sleep; do ln -s busybox "$work/bin/$name"; done
ln -s noether-lua "$work/bin/noether"

failed=0

# A root of its own, in which namespaces may be made.
check() {
  what=$1 wanted=$2
  shift 2
  said=$(bwrap --bind "$work" / --dev /dev --proc /proc --unshare-pid --die-with-parent \
    --clearenv --setenv PATH /bin --setenv TMPDIR /tmp "$@" 2>&1 </dev/null) || true
  # shellcheck disable=SC2254 # a pattern
  case $said in
  $wanted)
    echo "ok - static: $what"
    ;;
  *)
    echo "not ok - static: $what: $said"
    failed=1
    ;;
  esac
}

check 'it is the interpreter' '42 0.*' noether-lua -e 'print(6 * 7 .. " " .. require("noether").version)'
check 'it is the command' 'noether *' noether --version
check 'a command has a sandbox, and no account' 65533 noether sandbox --read /bin -- /bin/busybox id -u
check 'a program has a deadline' timeout noether-lua -e '
  print(require("noether").run({ "sleep", "60" }, { timeout_secs = 0.1 }).reason)'
# shellcheck disable=SC2016 # the stage's own
check 'a language of a policy has stages' 42 noether-lua -e '
  local noether = require "noether"
  local executor = noether.check(noether.executor{ policy = { languages = { busy = {
    names = { "busy" }, extension = "sh",
    runtime = { programs = { "busybox" },
      probe = { "sh", "-c", [[echo "{\"path\":\"/bin/busybox\",\"version\":\"1\"}"]] } },
    wrap = function(code) return { entry = "code.sh", files = { ["code.sh"] = code } } end,
    argv = function(runtime, entry) return { runtime.path, "sh", entry } end,
  } } } })
  noether.check(executor:register_with_effects("next", "read n; echo $((n + 1))", "busy", {}))
  print((noether.check(executor:execute("next", 41))))'
check 'a module in C from elsewhere is refused' '*nil*open*' noether-lua -e '
  print(package.loadlib("/bin/none.so", "luaopen_none"))'
exit "$failed"
