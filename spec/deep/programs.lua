-- SPDX-License-Identifier: MIT
--- Programs that know nothing of it, through a list of hosts: each row stands in docs/network.md.
local helper = require "spec.support.helper"
local hosts = require "spec.support.hosts"
local json = require "noether.json"
local noether = require "noether"
local registries = require "spec.support.npm"
local wheels = require "spec.support.wheels"

-- In `make check-deep`, which has a package of npm's beside NODE_PATH: tools/test/programs.sh.
-- What each is called in the page, and a script of Bash that ends well where it reached the host.
local PROGRAMS = {
  { "bash /dev/tcp", [[
exec 3<>/dev/tcp/web.test/$WEB
printf "GET / HTTP/1.0\n\n" >&3
grep -q hello <&3]] },
  { "getent", "getent ahostsv4 web.test && ! getent hosts other.test" },
  { "search domains",
    "LOCALDOMAIN='corp.test svc.test' RES_OPTIONS=ndots:5 getent ahosts web.test" },
  { "DNS over TCP", "RES_OPTIONS=use-vc getent ahosts web.test" },
  { "musl, static", "./musl web.test $WEB" },
  { "python urllib", [[
python3 -c "import urllib.request as u
assert u.urlopen('http://web.test:$WEB/').read() == b'hello'"]] },
  { "python http.client", [[
python3 -c "import http.client
c = http.client.HTTPConnection('web.test', $WEB)
c.request('GET', '/')
assert c.getresponse().read() == b'hello'"]] },
  { "python asyncio", [[
python3 -c "import asyncio
async def main():
    r, w = await asyncio.open_connection('web.test', $WEB)
    w.write(b'GET / HTTP/1.0\n\n')
    assert b'hello' in await r.read()
asyncio.run(main())"]] },
  { "python requests", [[
python3 -c "import requests
assert requests.get('http://web.test:$WEB/', timeout=30).text == 'hello'"]] },
  { "python aiohttp", [[
python3 -c "import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get('http://web.test:$WEB/') as answer:
            assert await answer.text() == 'hello'
asyncio.run(main())"]] },
  { "pip download", [[
python3 -m pip download -q --no-cache-dir --no-deps --disable-pip-version-check \
  --trusted-host web.test -i http://web.test:$INDEX/simple sample]] },
  { "node fetch", [[
node -e "fetch('http://web.test:$WEB/').then(r => r.text())
  .then(t => process.exit(t === 'hello' ? 0 : 1))"]] },
  { "node http", [[
node -e "require('http').get('http://web.test:$WEB/',
  r => process.exit(r.statusCode === 200 ? 0 : 1))"]] },
  { "node net", [[
node -e "const s = require('net').connect($WEB, 'web.test', () => s.write('echo\nhi'))
s.on('data', d => process.exit(String(d) === 'hi' ? 0 : 1))"]] },
  { "node http2", [[
node -e "const c = require('http2').connect('http://web.test:$HTTP2')
const s = c.request({ ':method': 'POST' }).on('data', d => process.exit(String(d) === 'hi' ? 0 : 1))
s.end('hi')"]] },
  { "node ws", [[
node -e "const s = new (require('/opt/modules/ws'))('ws://web.test:$WS/')
s.on('open', () => s.send('hi')).on('message', d => process.exit(String(d) === 'hi' ? 0 : 1))"]] },
  { "npm install", [[
npm install --silent --no-audit --no-fund --cache "$PWD/cache" \
  --registry "http://web.test:$NPM/" --replace-registry-host=always plain@1.0.0
test "$(node -p "require('plain')")" = "plain 1.0.0"]] },
  { "node dns.resolve4", [[
node -e "require('dns').resolve4('web.test',
  (e, a) => process.exit(a && a.length === 1 ? 0 : 1))"]] },
  { "curl", "curl -fsS http://web.test:$WEB/ | grep -q hello" },
  { "wget", "wget -q -O- http://web.test:$WEB/ | grep -q hello" },
  { "git over http", [[
git clone -q http://web.test:$FILES/repo.git clone && test -f clone/file]] },
  { "git://", "git clone -q git://web.test:$GIT/repo.git clone && test -f clone/file" },
  { "psql", "test \"$(psql -h web.test -p $PG -U postgres -Atc 'select 6 * 7')\" = 42" },
  { "redis-cli", "test \"$(redis-cli -h web.test -p $REDIS ping)\" = PONG" },
}

local MUSL = [[
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[512] = {0};
    if (argc != 3 || getaddrinfo(argv[1], argv[2], &hints, &found) != 0)
        return 2;
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        return 3;
    if (write(fd, "echo\nhi", 7) != 7 || read(fd, text, 2) != 2)
        return 4;
    return strcmp(text, "hi");
}
]]

local HOST = [[
local noether, json = require "noether", require "noether.json"
local descriptions = require "noether.sandbox.description"
local asked = json.decode(arg[1])
local description = descriptions.system()
description.network, description.hosts = "list", {}
for _, port in pairs(asked.ports) do
  table.insert(description.hosts, "private:web.test:" .. port)
end
for name, source in pairs(asked.binds) do
  table.insert(description.ro_binds, { source = source, target = "/opt/" .. name })
end
local answers = {}
for index, program in ipairs(asked.programs) do
  local result, err = noether.run({ "bash", "-c", "set -eo pipefail; cp /opt/musl musl\n"
    .. program[2] }, { isolation = asked.backend, sandbox = description, timeout_secs = 60,
    env = asked.ports })
  answers[index] = not result and tostring(err) or result.exit_code == 0 and "ok"
    or ("%s %s: %s %s"):format(program[1], result.exit_code or result.reason, result.stdout,
      result.stderr)
end
print((json.encode(json.array(answers))))
]]

-- Starts a server that is to be ended with the test.
local function start(argv)
  return assert(noether.spawn(argv, { isolation = "none", timeout_secs = 900, stdin = true }))
end

-- A server of PostgreSQL, which will not be root's, nor that of a user without a name.
local function start_postgres(port)
  local dir = helper.tmpdir()
  local bin = helper.shell("ls -d /usr/lib/postgresql/*/bin"):match("%S+")
  local as = helper.is_root() and { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
    or { "unshare", "--map-user=65534", "--map-group=65534" }
  hosts.open_way(dir)
  helper.shell("chmod 777 " .. helper.quote(dir))
  local output, code = helper.shell(("%s %s/initdb -D %s/data -A trust -U postgres -N 2>&1"):format(
    table.concat(as, " "), bin, helper.quote(dir)))
  assert(code == 0, output)
  for _, word in ipairs{ bin .. "/postgres", "-D", dir .. "/data", "-p", tostring(port), "-k", "",
    "-c", "listen_addresses=127.0.0.1" } do
    as[#as + 1] = word
  end
  return start(as)
end

local function free_port()
  local listener = helper.listen()
  local port = listener.port
  listener.close()
  return port
end

local function is_open(port)
  return select(2, helper.shell(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d'"):format(port))) == 0
end

local function repository(dir)
  local output, code = helper.shell(([[cd %s && git init -q --bare repo.git && git init -q work &&
    cd work && echo hello >file && git add file &&
    git -c user.name=a -c user.email=a@b commit -qm x &&
    git push -q ../repo.git HEAD:refs/heads/master && cd ../repo.git &&
    git symbolic-ref HEAD refs/heads/master && git update-server-info &&
    touch git-daemon-export-ok]]):format(helper.quote(dir)))
  assert(code == 0, output)
end

-- Servers whose ports we choose.
local STARTED = { "FILES", "GIT", "REDIS", "WS", "HTTP2", "PG" }

local describe_hosts = helper.can_make_hosts() and describe or function() end

describe_hosts("a program that knows nothing of it", function()
  for _, backend in ipairs{ "native", "bwrap" } do
    it("reaches a host of the list, and its name alone leads there: under " .. backend, function()
      local dir = helper.tmpdir()
      repository(dir)
      helper.write(dir .. "/musl.c", MUSL)
      assert(select(2, helper.shell(("cd %s && musl-gcc -static -O1 -o musl musl.c"):format(
        helper.quote(dir)))) == 0)
      helper.open_to_all(dir)
      local web = hosts.serve()
      local index = wheels.serve((wheels.make{ { name = "sample" } }))
      local registry = registries.serve(registries.PACKAGES)
      local ports = { WEB = web.port, INDEX = index.port, NPM = registry.url:match(":(%d+)/") }
      for _, name in ipairs(STARTED) do
        ports[name] = free_port()
      end
      local procs = {
        start{ "python3", "-m", "http.server", "-d", dir, "--bind", "127.0.0.1",
          tostring(ports.FILES) },
        start{ "git", "daemon", "--listen=127.0.0.1", "--port=" .. ports.GIT,
          "--base-path=" .. dir },
        start{ "redis-server", "--bind", "127.0.0.1", "--port", tostring(ports.REDIS), "--save", "",
          "--dir", dir },
        start{ "node", helper.root .. "/spec/deep/servers.js", tostring(ports.WS),
          tostring(ports.HTTP2) },
        start_postgres(ports.PG),
      }
      for _, name in ipairs(STARTED) do
        assert.is_true(helper.poll(function() return is_open(ports[name]) end, 60), name)
      end
      for name, port in pairs(ports) do
        ports[name] = tostring(port)
      end
      local answers = hosts.world('test "$2" = web.test && echo 127.0.0.1 STREAM\n', HOST,
        json.encode{ programs = json.array(PROGRAMS), ports = ports, backend = backend,
          binds = { musl = dir .. "/musl", modules = os.getenv "NODE_PATH" } })
      for _, proc in ipairs(procs) do
        proc:cancel()
        proc:wait(30)
        proc:close()
      end
      registry.close()
      index.close()
      web.stop()
      for number, program in ipairs(PROGRAMS) do
        assert.equal("ok", answers[number], program[1])
      end
    end)
  end

  it("stands in the page", function()
    local page = helper.read(helper.root .. "/docs/network.md")
    for _, program in ipairs(PROGRAMS) do
      assert.truthy(page:find(program[1], 1, true), program[1])
    end
  end)
end)
