#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts real programs that have a Lua inside, each with its example in
# examples/hosts, drives them, and looks at what they answer.
#
#   hosts.sh BUILD [HOST]...    without names: all of them
#
# Neovim is taken from this machine if it is there. Debian's packages of the
# others are unpacked under BUILD/hosts, and not installed: servers would be
# started by that, and nginx's LuaJIT would take the place of Debian's own.
set -eu

build=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
[ $# != 0 ] || set -- nginx neovim haproxy prosody apache pandoc tshark

private=$(mktemp -d "${TMPDIR:-/tmp}/hosts.XXXXXX")
pid=
end_host() {
  [ -n "$pid" ] || return 0
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=
}
trap 'end_host; rm -rf "$private"' EXIT
trap 'exit 130' INT TERM

for name in $(env | sed -n 's/^\(NOETHER_[A-Z_]*\|LUA_[A-Z0-9_]*\|XDG_[A-Z_]*\)=.*/\1/p'); do
  unset "$name"
done
unset HOME

root=$build/hosts/root
libraries=$root/usr/lib/$(gcc -print-multiarch)

# Of each host.
packages='nginx libnginx-mod-http-lua neovim haproxy prosody apache2-bin pandoc tshark'

# Brings the packages, and those that they need, to where they hurt nobody.
unpack() {
  [ "$(cat "$build/hosts/done" 2>/dev/null)" != "$packages" ] || return 0
  rm -rf "$build/hosts"
  mkdir -p "$build/hosts/debs/partial" "$root"
  echo "hosts: fetching $packages"
  # shellcheck disable=SC2086
  apt-get -y --no-install-recommends --download-only --reinstall \
    -o Debug::NoLocking=1 -o Dir::Cache::archives="$build/hosts/debs" \
    install $packages >"$build/hosts/log" 2>&1 || {
    cat "$build/hosts/log" >&2
    echo 'hosts: apt-get could not fetch them' >&2
    return 1
  }
  for package in "$build"/hosts/debs/*.deb; do
    dpkg -x "$package" "$root"
    rm "$package"
  done
  echo "$packages" >"$build/hosts/done"
}

# The library for one Lua, where any user can read it: MODULES is what Lua's
# two paths are to be.
library() {
  path="$private/lua/?.lua;$private/lua/?/init.lua;$root/usr/share/lua/$2/?.lua;;"
  cpath="$private/lib/$1/?.so;$libraries/lua/$2/?.so;;"
  mkdir -p "$private/lib/$1/noether"
  cp "$build/lib/$1/noether/core.so" "$private/lib/$1/noether"
}

# Names of what is of this machine in a configuration.
adapt() {
  sed -e "s|127.0.0.1:$2|127.0.0.1:$port|; s|^\(lua_package_path\).*|\1 \"$dir/?.lua;$path\";|" \
    "$here/examples/hosts/$1" >"$dir/${1##*/}"
}

start() {
  host=$1
  shift
  dir=$private/$host
  mkdir -p "$dir"
  port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
}

# Whether all went well, and nothing is left of it; else what the host wrote.
judge() {
  left=$(ls -A "$TMPDIR")
  if [ "$2" = 0 ] && [ -z "$left" ]; then
    echo "ok - $1"
    passed=$((passed + 1))
  else
    echo "not ok - $1"
    [ -z "$left" ] || echo "left behind: $left"
    cat "$dir"/*.log 2>/dev/null || true
    failed=$((failed + 1))
  fi
}

drive() {
  code=0
  HOST_PID=$pid timeout -k 5 100 python3 "$here/tools/test/hosts.py" "$host" "$port" || code=$?
  end_host
  judge "$host" "$code"
}

nginx() {
  start nginx
  library 5.1 5.1
  cp "$here/examples/hosts/nginx/stages.lua" "$dir"
  adapt nginx/noether.conf 8080
  user=
  [ "$(id -u)" != 0 ] || user='user www-data;'
  cat >"$dir/nginx.conf" <<EOT
$user
worker_processes 1;
daemon off;
pid $dir/pid;
error_log $dir/error.log notice;
load_module $root/usr/lib/nginx/modules/ndk_http_module.so;
load_module $root/usr/lib/nginx/modules/ngx_http_lua_module.so;
events { worker_connections 1024; }
http {
  access_log off;
  lua_package_cpath "$cpath";
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  include $dir/noether.conf;
}
EOT
  env LD_LIBRARY_PATH="$libraries" "$root/usr/sbin/nginx" -e "$dir/error.log" -p "$dir" \
    -c "$dir/nginx.conf" >"$dir/out.log" 2>&1 &
  pid=$!
  drive
}

haproxy() {
  start haproxy
  library 5.3 5.3
  cp "$here/examples/hosts/haproxy/stages.lua" "$dir"
  mkdir "$dir/cache"
  user='/^    \(user\|group\) /d'
  [ "$(id -u)" != 0 ] || {
    chown 65534:65534 "$dir/cache"
    user='s/^    user .*/    uid 65534/; s/^    group .*/    gid 65534/'
  }
  sed -e "s|127.0.0.1:8080|127.0.0.1:$port|; s|/etc/haproxy|$dir|; $user" \
    "$here/examples/hosts/haproxy/haproxy.cfg" >"$dir/haproxy.cfg"
  env LD_LIBRARY_PATH="$libraries" LUA_PATH="$path" LUA_CPATH="$cpath" \
    NOETHER_CACHE_DIR="$dir/cache" "$root/usr/sbin/haproxy" -W -f "$dir/haproxy.cfg" >"$dir/out.log" 2>&1 &
  pid=$!
  drive
}

# The program itself says where its modules are; a real user may not be root.
prosody() {
  start prosody
  library 5.4 5.4
  mkdir -p "$dir/data/localhost/accounts" "$dir/modules"
  echo 'return { ["password"] = "secret" };' >"$dir/data/localhost/accounts/tester.dat"
  cp "$here/examples/hosts/prosody/mod_noether.lua" "$dir/modules"
  sed "s|'/usr/lib/prosody|'$root/usr/lib/prosody|" "$root/usr/bin/prosody" >"$dir/prosody"
  cat >"$dir/prosody.cfg.lua" <<EOT
daemonize = false
pidfile = "$dir/data/pid"
data_path = "$dir/data"
log = { info = "*stdout" }
modules_enabled = { "saslauth" }
modules_disabled = { "s2s", "http", "tls" }
authentication = "internal_plain"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = {}
s2s_ports = {}
EOT
  sed -e "s|/usr/local/lib/prosody|$dir|; s|you@localhost|tester@localhost|" \
    "$here/examples/hosts/prosody/prosody.cfg.lua" >>"$dir/prosody.cfg.lua"
  as=
  [ "$(id -u)" != 0 ] || {
    chown -R 65534:65534 "$dir/data"
    as='setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all'
  }
  # shellcheck disable=SC2086
  env LD_LIBRARY_PATH="$libraries" LUA_PATH="$path" LUA_CPATH="$cpath" \
    $as lua5.4 "$dir/prosody" --config "$dir/prosody.cfg.lua" -F >"$dir/out.log" 2>&1 &
  pid=$!
  drive
}

neovim() {
  start neovim
  library 5.1 5.1
  code=0
  nvim=$(command -v nvim) || {
    nvim=$root/usr/bin/nvim
    export LD_LIBRARY_PATH="$libraries" VIMRUNTIME="$root/usr/share/nvim/runtime"
  }
  env HOME="$dir" LUA_PATH="$path" LUA_CPATH="$cpath" \
    timeout -k 5 60 "$nvim" --headless -u NONE -i NONE \
    -c "luafile $here/examples/hosts/neovim/noether.lua" \
    -c "luafile $here/tools/test/hosts-neovim.lua" -c 'cquit 1' >"$dir/out.log" 2>&1 || code=$?
  judge neovim "$code"
}

apache() {
  start apache
  library 5.3 5.3
  mkdir "$dir/cache"
  user=
  [ "$(id -u)" != 0 ] || {
    user='User #65534
Group #65534'
    chown 65534:65534 "$dir/cache"
  }
  sed "s|/etc/apache2/noether|$here/examples/hosts/apache|" "$here/examples/hosts/apache/noether.conf" \
    >"$dir/noether.conf"
  for module in mpm_event authz_core lua; do
    echo "LoadModule ${module}_module $root/usr/lib/apache2/modules/mod_$module.so"
  done >"$dir/httpd.conf"
  cat >>"$dir/httpd.conf" <<EOT
ServerName localhost
Listen 127.0.0.1:$port
PidFile $dir/pid
ErrorLog $dir/error.log
DefaultRuntimeDir $dir
Mutex posixsem
$user
LuaPackagePath "$path"
LuaPackageCPath "$cpath"
Include $dir/noether.conf
EOT
  env LD_LIBRARY_PATH="$libraries" NOETHER_CACHE_DIR="$dir/cache" "$root/usr/sbin/apache2" \
    -d "$dir" -f "$dir/httpd.conf" -DFOREGROUND >"$dir/out.log" 2>&1 &
  pid=$!
  drive
}

# Runs a program that ends by itself, over what hosts.py writes; and looks at what it writes.
drive_once() {
  code=0
  python3 "$here/tools/test/hosts.py" "$host" "$dir" write
  env LD_LIBRARY_PATH="$libraries" LUA_PATH="$path" LUA_CPATH="$cpath" NOETHER_CACHE_DIR="$dir/cache" \
    timeout -k 5 100 "$@" >"$dir/out" 2>"$dir/out.log" </dev/null || code=$?
  [ "$code" != 0 ] || python3 "$here/tools/test/hosts.py" "$host" "$dir" check || code=$?
  judge "$host" "$code"
}

pandoc() {
  start pandoc
  library 5.3 5.3
  drive_once "$root/usr/bin/pandoc" --data-dir "$root/usr/share/pandoc/data" -f markdown -t json \
    -L "$here/examples/hosts/pandoc/noether.lua" "$dir/in.md"
}

tshark() {
  start tshark
  library 5.2 5.2
  mkdir "$dir/data"
  cp "$root/etc/wireshark/init.lua" "$root/usr/share/wireshark"/[!i]*.lua "$dir/data"
  as=
  [ "$(id -u)" != 0 ] || { # of root it reads the machine's own alone
    as='setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all'
    install -d -m 700 -o 65534 -g 65534 "$dir/cache"
  }
  # shellcheck disable=SC2086
  drive_once $as env WIRESHARK_DATA_DIR="$dir/data" "$root/usr/bin/tshark" -X "lua_script:$here/examples/hosts/tshark/decode.lua" \
    -X "lua_script1:$dir/decode.py" -X lua_script1:5300 -r "$dir/in.pcap" -T fields \
    -e noether.answer -e noether.failure
}

{ [ "$*" = neovim ] && command -v nvim >/dev/null; } || unpack
cp -R "$here/lua" "$private"
mkdir "$private/tmp"
export TMPDIR="$private/tmp"
chmod -R a+rX "$private"
chmod 1777 "$TMPDIR"
passed=0
failed=0
for name; do
  "$name"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
