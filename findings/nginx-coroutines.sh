#!/bin/sh
# SPDX-License-Identifier: MIT
# In a request of nginx's Lua module, coroutine.wrap called back by a C function
# of Lua's (string.gsub, table.sort) ends the request, and pcall does not catch it.
#
# Seen on Debian 12, amd64: nginx 1.22.1, lua-nginx-module 0.10.23 and OpenResty's
# LuaJIT 2.1 (libnginx-mod-http-lua 1:0.10.23-1+deb12u1). The module puts
# coroutines of its own in the place of Lua's: to resume one is to yield to
# nginx's scheduler, which cannot be done across a C call. Plain Lua and LuaJIT
# run the same text, and each call gives "y" or "1,2,3". In nginx the connection is
# closed without an answer (or with status 500), and the log says "lua entry thread
# aborted: runtime error: attempt to call a nil value", or "a thread value", of
# which there is none in the text. Only the loop over a coroutine, which no C
# function calls, is as in Lua.
#
# What it means for whoever puts Lua modules into nginx: a module that uses
# coroutines keeps Lua's own from before (as lua-resty-core does with
# `coroutine._create`, `_wrap`, ...), or must never be called back by C.
#
# Needs Debian 12's apt-get and curl; unpacks packages into a temporary
# directory, and installs nothing. Exits with 1 if any of this has changed.
set -eu

directory=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$directory"
cd "$directory"
mkdir -p debs/partial root

apt-get -y --no-install-recommends --download-only --reinstall -o Debug::NoLocking=1 \
  -o APT::Sandbox::User=root -o Dir::Cache::archives="$directory/debs" \
  install nginx libnginx-mod-http-lua >log 2>&1 || {
  cat log
  exit 1
}
for package in debs/*.deb; do
  dpkg -x "$package" root
  case $package in
  *libnginx-mod-http-lua_*) dpkg-deb -f "$package" Package Version ;;
  esac
done
libraries=$directory/root/usr/lib/$(dpkg --print-architecture | sed 's/amd64/x86_64/; s/arm64/aarch64/')-linux-gnu

cat >cases.lua <<'EOT'
local cases = {}
function cases.gsub()
  return (("x"):gsub("x", coroutine.wrap(function() return "y" end)))
end
function cases.sort()
  local list = { 2, 1, 3 }
  table.sort(list, function(a, b) return coroutine.wrap(function() return a < b end)() end)
  return table.concat(list, ",")
end
function cases.loop()
  local text = ""
  for value in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
    text = text .. value
  end
  return text
end
return function(name)
  local ok, value = pcall(cases[name])
  return (ok and "answered " or "caught ") .. tostring(value)
end
EOT

port=18089
cat >nginx.conf <<EOT
daemon off; master_process off; pid $directory/pid; error_log $directory/error.log;
load_module $directory/root/usr/lib/nginx/modules/ndk_http_module.so;
load_module $directory/root/usr/lib/nginx/modules/ngx_http_lua_module.so;
events { }
http {
  access_log off;
  lua_package_path "$directory/root/usr/share/lua/5.1/?.lua;;";
  lua_package_cpath "$libraries/lua/5.1/?.so;;";
  client_body_temp_path $directory/b; proxy_temp_path $directory/p; fastcgi_temp_path $directory/f;
  uwsgi_temp_path $directory/u; scgi_temp_path $directory/s;
  server {
    listen 127.0.0.1:$port;
    location / {
      content_by_lua_block {
        ngx.say(assert(loadfile("$directory/cases.lua"))()(ngx.var.uri:sub(2)))
      }
    }
  }
}
EOT
LD_LIBRARY_PATH=$libraries root/usr/sbin/nginx -e error.log -p "$directory" -c nginx.conf >out 2>&1 &
pid=$!

failed=0
ask() {
  curl -s -o body -w '%{http_code}' "http://127.0.0.1:$port/$1" || true
}
until [ "$(ask loop)" = 200 ]; do
  kill -0 "$pid"
  sleep 0.1
done
echo "loop: $(cat body)"
[ "$(cat body)" = 'answered 123' ] || failed=1
for case in gsub sort; do
  : >error.log
  status=$(ask "$case")
  said=$(sed -n 's/.*\(lua entry thread aborted: runtime error: .*\)/\1/p' error.log)
  echo "$case: status $status; $said"
  [ "$status" != 200 ] && [ -n "$said" ] || failed=1
done
exit "$failed"
