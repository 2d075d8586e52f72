#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs spec/deep/kernels.lua on other kernels: Debian's, in a virtual machine
# with cgroup v2 alone, whose root in memory holds what the sandboxes and Bash
# need, and the interpreter. The processor is emulated, so any machine will do;
# for arm64 everything is built anew, and the C tests run there, too.
#
#   vm.sh BUILD [MACHINE]...    bookworm (6.1), trixie (6.12), arm64 (6.1)
set -eu

build=$(cd "$1" && pwd)
shift
[ $# != 0 ] || set -- bookworm trixie arm64
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$build/vm
boot_secs=1500
programs='bash cat chmod chown cp dd echo env head id ls mkdir mount rm sh sleep switch_root
  setpriv tail timeout true yes'
mkdir -p "$work"

# What is needed of a machine's own: the release, the processor, the packages.
describe() {
  release=$machine arch=$(dpkg --print-architecture) packages=''
  if [ "$machine" = arm64 ]; then
    release=bookworm arch=arm64
    packages='libc6-dev linux-libc-dev libmbedtls-dev libseccomp-dev liblua5.4-dev lua-cjson-dev
      lua-lpeg-dev libedit-dev libncurses-dev libbsd-dev libmd-dev musl-dev bash dash coreutils
      util-linux mount'
  fi
  own=$work/$machine
}

# Apt with a state of its own, in which nothing is installed.
apt() {
  mkdir -p "$own/lists/partial" "$own/archives/partial"
  : >>"$own/status"
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  echo "deb $mirror $release main" >"$own/sources"
  apt-get -q -y -o Dir::Etc::sourcelist="$own/sources" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$own/lists" -o Dir::State::status="$own/status" -o Dir::Cache="$own" \
    -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root --no-install-recommends "$@"
}

# The kernel; and of another processor's machine, what to build with, and to run.
fetch() {
  [ ! -e "$own/vmlinuz" ] || return 0
  echo "vm: fetching the kernel of $machine"
  rm -rf "$own"
  {
    apt update
    name=$(apt -s install "linux-image-cloud-$arch" |
      sed -n 's/^Inst \(linux-image-[0-9][^ ]*\).*/\1/p')
    (cd "$own" && apt download "$name" && dpkg -x ./"$name"_*.deb unpacked)
    # shellcheck disable=SC2086
    [ -z "$packages" ] || apt --download-only install $packages
  } >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
  }
  mkdir -p "$own/system"
  merged "$own/system"
  for package in "$own"/archives/*.deb; do
    [ ! -e "$package" ] || dpkg --fsys-tarfile "$package" |
      tar -x --keep-directory-symlink -C "$own/system"
  done
  mv "$own"/unpacked/boot/vmlinuz-* "$own/vmlinuz"
  rm -rf "$own/unpacked" "$own"/*.deb "$own"/archives
}

merged() {
  mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/usr/lib64"
  for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$1/$dir"; done
}

# The programs of this machine, and what they are linked to.
# shellcheck disable=SC2046
copy_own() {
  for program in $programs; do
    # Not `command -v`: some of them are the shell's own, too.
    path=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin which "$program")
    cp -L --parents "$path" $(ldd "$path" | grep -o '/[^ ]*') "$root"
  done
  cp -L --parents $(ldd "$build/bin/noether-lua" | grep -o '/[^ ]*') "$root"
  cp "$build/bin/noether-lua" "$root/own"
}

build_other() {
  system=$own/system
  sed "s|/usr/[a-z]*/aarch64-linux-musl|$system&|g" \
    "$system/usr/lib/aarch64-linux-musl/musl-gcc.specs" >"$own/musl.specs"
  make -C "$here" -s BUILD="$own/build" HOST_CC=gcc AR=aarch64-linux-gnu-ar WERROR=1 \
    CC="aarch64-linux-gnu-gcc --sysroot=$system" \
    JAIL_CC="aarch64-linux-gnu-gcc -specs=$own/musl.specs" \
    JAIL_CFLAGS="-Os -idirafter $system/usr/include/aarch64-linux-gnu" \
    "$own/build/libexec/noether/jail" "$own/build/bin/noether-lua" tests SUPPORT= >/dev/null
}

copy_other() {
  system=$own/system
  for program in $programs; do
    cp "$(ls "$system/usr/bin/$program" "$system/usr/sbin/$program" 2>/dev/null)" "$root/usr/bin"
  done
  mkdir -p "$root/usr/lib/aarch64-linux-gnu"
  cp -L "$system"/lib/ld-linux-aarch64.so.1 "$root/usr/lib"
  cp -L "$system"/usr/lib/aarch64-linux-gnu/*.so.* "$root/usr/lib/aarch64-linux-gnu"
  cp "$own/build/bin/noether-lua" "$own"/build/spec/c/*_test "$root/own"
  # For whose patience an emulated processor is too slow; the last one needs Python.
  for test in launcher process fork; do rm "$root/own/${test}_test"; done
}

make_root() {
  root=$work/root
  rm -rf "$root"
  merged "$root"
  mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/new" "$root/etc" "$root/own"
  chmod 1777 "$root/tmp"
  echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
  if [ -n "$packages" ]; then
    build_other
    copy_other
  else
    copy_own
  fi
  cp "$here/spec/deep/kernels.lua" "$root/own"
  write_init
  chmod 755 "$root/init"
  (cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) >"$own/root.gz"
}

write_init() {
  cat >"$root/init" <<'EOT'
#!/bin/sh
# From the first root, which cannot be left, into one that can.
export PATH=/usr/sbin:/usr/bin
mount -t tmpfs -o mode=755 tmpfs /new
cp -a /bin /sbin /lib /lib64 /usr /dev /proc /sys /tmp /etc /own /new
exec switch_root /new /bin/sh /own/second
EOT
  cat >"$root/own/second" <<'EOT'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 none /sys/fs/cgroup
export TMPDIR=/tmp LC_ALL=C.UTF-8
cgroups=/sys/fs/cgroup
as_user='setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all'
try() {
  what=$1
  shift
  echo "== $what"
  "$@" /own/noether-lua /own/kernels.lua "$what" || echo "not ok - $what: status $?"
}
mkdir $cgroups/root $cgroups/user $cgroups/user/me $cgroups/alone
echo '+memory +pids +cpu' >$cgroups/cgroup.subtree_control
echo '+memory +pids +cpu' >$cgroups/user/cgroup.subtree_control
chown -R 1000 $cgroups/user
echo $$ >$cgroups/root/cgroup.procs
try root env
for test in /own/*_test; do
  [ -e "$test" ] || continue
  if (cd /tmp && timeout 200 "$test") >/tmp/out 2>&1; then
    echo "ok - ${test##*/}"
  else
    cat /tmp/out
    echo "not ok - ${test##*/}"
  fi
done
echo $$ >$cgroups/user/me/cgroup.procs
try delegated $as_user
echo $$ >$cgroups/alone/cgroup.procs
try user $as_user
echo 0 >/proc/sys/user/max_user_namespaces
try forbidden $as_user
echo 15000 >/proc/sys/user/max_user_namespaces
echo 0 >/proc/sys/kernel/unprivileged_userns_clone
try clone_forbidden $as_user
echo '== over'
echo o >/proc/sysrq-trigger
sleep 60
EOT
}

emulate() {
  console=ttyS0
  [ "$arch" != arm64 ] || console=ttyAMA0
  case $arch in
  arm64) set -- qemu-system-aarch64 -M virt ;;
  *) set -- qemu-system-x86_64 ;;
  esac
  timeout "$boot_secs" "$@" -accel tcg -cpu max -m 3072 -nographic -no-reboot \
    -kernel "$own/vmlinuz" -initrd "$own/root.gz" \
    -append "console=$console panic=-1 quiet" </dev/null
}

boot() {
  emulate >"$own/console" 2>&1 || true
  tr -d '\r' <"$own/console" | sed -n '/== root$/,$p' | tee "$own/said"
  if ! grep -q '^== over$' "$own/said" || grep -q '^not ok' "$own/said"; then
    [ -s "$own/said" ] || tail -n 30 "$own/console"
    echo "vm: $machine: failed"
    failed=1
  else
    echo "vm: $machine: $(grep -c '^ok' "$own/said") passed"
  fi
}

failed=0
for machine; do
  describe
  fetch
  make_root
  boot
done
exit "$failed"
