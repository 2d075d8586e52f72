#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the C tests and the specs; as root, a second time as an ordinary user,
# beside the first, whose output comes after. Ends in a line with the counts of
# all of them. In CI a skip is a failure.
#
#   test.sh BUILD [--once]
set -u

build=$1
once=${2-}
passed=0
failed=0
skipped=0

work=$(mktemp -d /tmp/noether.XXXXXX) || exit 1
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$work"

count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  skipped=$((skipped + $3))
}

# A test that ends badly without having said so failed, too.
run_c_test() {
  "$@" >"$notes/tap" 2>&1 </dev/null
  code=$?
  ok=$(grep -c '^ok ' "$notes/tap")
  skip=$(grep -c '^ok .*# SKIP' "$notes/tap")
  not_ok=$(grep -c '^not ok ' "$notes/tap")
  if [ "$code" != 0 ] && [ "$not_ok" = 0 ]; then
    not_ok=1
    echo "not ok - ended with exit code $code" >>"$notes/tap"
  fi
  [ "$not_ok" = 0 ] || grep -v '^ok ' "$notes/tap"
  count $((ok - skip)) "$not_ok" "$skip"
}

# The arguments are a command that runs a command: as whom, and where.
run_suite() {
  for source in spec/c/*_test.c; do
    echo "# $source"
    run_c_test "$@" timeout --foreground -k 5 300 "$build/${source%.c}"
  done
  echo '# specs'
  : >"$notes/counts"
  chmod 666 "$notes/counts"
  "$@" env SPEC_COUNTS="$notes/counts" tools/spec.sh "$build" </dev/null
  code=$?
  if ! read -r p f s <"$notes/counts"; then
    echo "the specs did not run to their end (exit code $code)"
    p=0 f=1 s=0
  elif [ "$code" != 0 ] && [ "$f" = 0 ]; then
    echo "the specs ended with exit code $code"
    f=1
  fi
  count "$p" "$f" "$s"
}

# A user who has no account, in a copy that is readable but not writable to
# him: the tree itself may lie where only root can go.
run_suite_as_other() {
  uid=61234
  while getent passwd "$uid" >/dev/null; do
    uid=$((uid + 1))
  done
  mkdir -p "$work/copy/build" "$work/t"
  tar cf - --exclude=.git --exclude='./build*' . | tar xf - -C "$work/copy"
  for part in bin lib libexec share spec; do
    cp -R "$build/$part" "$work/copy/build"
  done
  build=build
  chown -R 0:0 "$work/copy"
  chmod -R a+rX,go-w "$work/copy"
  chown "$uid:$uid" "$work/t"
  chmod 700 "$work/t"
  cd "$work/copy" || exit 1
  run_suite setpriv --reuid "$uid" --regid "$uid" --clear-groups \
    --inh-caps=-all env -u HOME TMPDIR="$work/t" USER= LOGNAME=
}

mkdir "$work/own" "$work/other"
chmod 755 "$work/own" "$work/other"
other=
if [ "$(id -u)" = 0 ] && [ "$once" != --once ]; then
  (
    notes=$work/other
    run_suite_as_other
    echo "$passed $failed $skipped" >"$notes/result"
  ) >"$work/other/log" 2>&1 &
  other=$!
fi

who=$(id -un 2>/dev/null || id -u)
echo "# as $who"
notes=$work/own
run_suite env
if [ -n "$other" ]; then
  wait "$other"
  echo '# as an ordinary user'
  cat "$work/other/log"
  result='0 1 0' # where it did not come to its end
  [ ! -s "$work/other/result" ] || read -r result <"$work/other/result"
  count $result
fi

code=0
if [ "$failed" != 0 ] || [ "$passed" = 0 ]; then
  code=1
elif [ "${CI:-}" = true ] && [ "$skipped" != 0 ]; then
  echo 'what is skipped in CI is not tested: that is a failure'
  code=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit $code
