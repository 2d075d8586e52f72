-- SPDX-License-Identifier: MIT
--- Installers are held to the hosts where they look for packages.
local helper = require "spec.support.helper"
local hosts = require "spec.support.hosts"
local index_hosts = require "noether.runtime.index_hosts"
local noether = require "noether"
local npm = require "spec.support.npm"
local wheels = require "spec.support.wheels"

local function executor(backend, opts)
  local given = { isolation = backend, cache_dir = helper.tmpdir() .. "/cache", runtime = "host" }
  for name, value in pairs(opts) do
    given[name] = value
  end
  return assert(noether.executor(given))
end

local function run(backend, opts)
  local ex <close> = executor(backend, opts)
  return ex:execute({ language = "python", effects = {}, code = "# requires: plain==1.0\n"
    .. "import plain\ndef execute(_): return plain.__name__\n" }, noether.null)
end

local function directory()
  return (wheels.make{ { name = "plain", files = { ["plain.py"] = "" } } })
end

local JAVASCRIPT = "// requires: plain@1.0.0\nfunction execute() { return require('plain'); }"

-- The host of pip's own index, and that of its files.
local function own_index()
  return helper.shell("/usr/bin/python3 -I -c 'from pip._internal.models.index import PyPI;"
    .. " print(PyPI.netloc, PyPI.file_storage_domain)'"):match("(%S+) (%S+)")
end

local BOTH = { backends = { "native", "bwrap" } }

helper.over(BOTH, "pip, unless it is told otherwise, [%s]", function(backend)
  it("reaches the indexes that it is told", function()
    local empty <close> = wheels.serve(helper.tmpdir())
    local index <close> = wheels.serve(directory())
    for _, pip in ipairs{
      { index_url = index.url() },
      { index_url = index.url(), hosts = {} },
      { index_url = empty.url(), extra_index_urls = { index.url() } },
      { find_links = { index.url() .. "/plain/" } },
      { index_url = "http://${PLACE}/simple", env = { PLACE = "127.0.0.1:" .. index.port } },
    } do
      local out, err = run(backend, { pip = pip })
      assert.is_nil(err and err.message .. err.result.stderr)
      assert.equal("plain", out)
    end
  end)

  it("does not reach the host to which an index leads, and says which it is", function()
    local other <close> = wheels.serve(directory())
    local place = "127.0.0.1:" .. other.port
    for url, expected in pairs{
      ["http://files.invalid:8080"] = "files.invalid:8080", ["http://" .. place] = place,
    } do
      local index <close> = wheels.serve(directory(), url)
      local out, err = run(backend, { pip = { index_url = index.url() } })
      assert.is_nil(out)
      assert.equal("packages_failed", err.kind)
      assert.equal("it asked for " .. expected .. ", and may reach the hosts of its index alone: "
        .. "pip = { hosts = { \"" .. expected .. "\" } } lets it", err.hint)
      assert.equal(expected, ("%s:%d"):format(err.network.host, err.network.port))
    end
    assert.same({}, other.asked())
  end)

  it("reaches it, too, where the option or the policy names it, or holds it to none", function()
    local other <close> = wheels.serve(directory())
    local index <close> = wheels.serve(directory(), "http://127.0.0.1:" .. other.port)
    local list, url = { "127.0.0.1:" .. other.port }, index.url()
    for _, opts in ipairs{
      { pip = { index_url = url, hosts = list } }, { pip = { index_url = url, hosts = false } },
      { pip = { index_url = url }, policy = { pip = { hosts = list } } },
      { pip = { index_url = url }, policy = { pip = { hosts = false } } },
    } do
      local out, err = run(backend, opts)
      assert.is_nil(err and err.message .. err.result.stderr)
      assert.equal("plain", out)
    end
    assert.equal(4, #other.asked())
    local out = run(backend, { pip = { index_url = url, hosts = {} },
      policy = { pip = { hosts = false } } })
    assert.is_nil(out)
  end)

  it("reaches the proxy of the host that it is handed", function()
    local proxy <close> = wheels.serve(directory())
    helper.with_env({ PATH = "/usr/bin:/bin", http_proxy = "127.0.0.1:" .. proxy.port }, function()
      local _, err = run(backend, { pip = { index_url = "http://index.invalid/simple",
        trusted_hosts = { "index.invalid" } } })
      assert.equal("packages_failed", err.kind)
    end)
    assert.equal("http://index.invalid/simple/plain/", proxy.asked()[1])
  end)

  -- The installer is a program that says which names there are.
  local function names_inside(names, policy)
    local code = "import socket, sys\n"
      .. "for name in sys.argv[1].split():\n    try:\n        socket.getaddrinfo(name, 1)\n"
      .. "        print(name)\n    except OSError:\n        pass\nsys.exit(1)\n"
    local install = { "{python}", "-I", "-c", code, names, policy.word or "{options}", "{pip}" }
    policy.word = nil
    policy.installer = { venv = { "{python}", "-I", "-m", "venv", "--without-pip", "{dir}" },
      install = install }
    local _, err = run(backend, { policy = { pip = policy } })
    return err.result.stderr
  end

  it("reaches its own index, where it has no other, and that one's files", function()
    local index, files = own_index()
    local said = names_inside(("other.invalid %s %s"):format(index, files), {
      word = "--isolated",
    })
    assert.equal(index .. "\n" .. files .. "\n", said)
  end)

  it("reaches what its configuration names, where a policy has it read one", function()
    local dir = helper.tmpdir()
    helper.open_to_all(dir)
    local path = helper.write(dir .. "/pip.conf", "[global]\nindex-url = http://one.test/simple\n"
      .. "[install]\nextra-index-url =\n    http://two.test\n    https://u:p@three.test:8443/x\n")
    local said = names_inside("one.test two.test three.test other.test " .. (own_index()), {
      env = { PIP_CONFIG_FILE = path }, paths = { path },
    })
    assert.equal("one.test\ntwo.test\nthree.test\n", said)
  end)
end)

helper.over(BOTH, "npm, unless it is told otherwise, [%s]", function(backend)
  it("reaches the registry that it is told, or says that it has", function()
    local registry <close> = npm.serve(npm.PACKAGES)
    for _, opts in ipairs{
      { npm = { registry = registry.url } },
      { npm = { env = { npm_config_registry = registry.url } } },
      { policy = { npm = { env = { npm_config_registry = registry.url:sub(1, -2) } } } },
    } do
      local ex <close> = executor(backend, opts)
      local out, err = npm.run(ex, JAVASCRIPT)
      assert.is_nil(err and err.message)
      assert.equal("plain 1.0.0", out)
    end
  end)

  it("does not reach the host to which it is sent, and says which it is", function()
    local other <close> = npm.serve(npm.PACKAGES)
    local place = other.url:match("//([^/]+)")
    local registry <close> = npm.serve{ { name = "plain", files = {
      ["index.js"] = "module.exports = 'plain 1.0.0';" },
      moved = other.url .. "plain/-/plain-1.0.0.tgz" } }
    local function install(list)
      local ex <close> = executor(backend, { npm = { registry = registry.url, hosts = list } })
      return npm.run(ex, JAVASCRIPT)
    end
    local out, err = install(nil)
    assert.is_nil(out)
    assert.equal("packages_failed", err.kind)
    assert.equal("it asked for " .. place .. ", and may reach the hosts of its index alone: "
      .. "npm = { hosts = { \"" .. place .. "\" } } lets it", err.hint)
    assert.equal(place, ("%s:%d"):format(err.network.host, err.network.port))
    assert.same({}, other.asked())
    assert.equal("plain 1.0.0", (install{ place }))
    assert.equal("plain 1.0.0", (install(false)))
  end)
end)

-- Where nothing leads anywhere, and who resolves names says which it was asked.
local describe_hosts = helper.can_make_hosts() and describe or function() end

describe_hosts("an installer that is told nothing", function()
  local HOST = [[
local noether, json = require "noether", require "noether.json"
local ex = assert(noether.executor{ isolation = "native", cache_dir = arg[1], runtime = "host" })
local errs = {}
for index, stage in ipairs{
  { language = "python", code = "# requires: plain==1.0\ndef execute(_): return 1\n" },
  { language = "javascript", code = "// requires: plain@1.0.0\nfunction execute() {}\n" },
} do
  stage.effects = {}
  local _, err = ex:execute(stage, 1)
  errs[index] = { err.kind, err.hint }
end
print((json.encode(errs)))
]]
  it("asks for its own index's host, and for no other", function()
    local own = own_index()
    local registry = helper.shell("npm config get registry --userconfig /nonexistent/a "
      .. "--globalconfig /nonexistent/b"):match("://([^/%s]+)")
    local said, dir = hosts.world('echo "$2" >>@DIR@/asked\nexit 2\n', HOST,
      helper.tmpdir() .. "/cache")
    assert.same({ "packages_failed", own .. ":443: there is no such name" }, said[1])
    assert.same({ "packages_failed", registry .. ":443: there is no such name" }, said[2])
    for name in helper.read(dir .. "/asked"):gmatch("%S+") do
      assert.truthy(name == own or name == registry, name)
    end
  end)
end)

describe("the hosts of an installer", function()
  it("are those of all that it is told", function()
    for text, expected in pairs{
      ["--index-url https://u:${P}@a.example/simple"] = "private:a.example:443",
      ["--index-url=http://A.example:81"] = "private:a.example:81",
      ["git+https://a.example/x.git"] = "private:a.example:443",
      ["git+ssh://git@a.example/x"] = "private:a.example:22",
      ["-i http://[2001:DB8::1]:8443/x"] = "[2001:db8::1]:8443",
      ["-i http://10.0.0.1"] = "10.0.0.1:80",
      ["x='http://localhost:9'"] = "127.0.0.1:9 [::1]:9",
      ["file:///srv/x"] = "", ["plain==1.0"] = "", ["what://a.example/x"] = "",
      ["http://"] = "", ["http://a b"] = "private:a:80",
    } do
      assert.equal(expected, table.concat(index_hosts.held({}, { text }, { { P = "x" } }), " "),
        text)
    end
    local env = { https_proxy = "socks5h://p.example", HTTP_PROXY = "q.example:3128",
      no_proxy = "r.example", PIP_PROXY = "", SOME = "http://s.example/" }
    assert.same({ "private:p.example:1080", "private:q.example:3128", "private:s.example:80" },
      index_hosts.held({}, {}, { env }))
    assert.same({ "a.example:443", "a.example:80" }, index_hosts.held({ "a.example" }, {}, {}))
  end)

  it("are refused where they are none", function()
    for _, case in ipairs{
      { { pip = { hosts = true } }, "pip: option 'hosts'" },
      { { npm = { hosts = "a.example" } }, "npm: option 'hosts'" },
      { { pip = { hosts = { "a b" } } }, "pip: option 'hosts'" },
      { { npm = { hosts = { "host:0" } } }, "npm: option 'hosts'" },
      { { npm = { hosts = { "?:443" } } }, "npm: option 'hosts'" },
      { { policy = { pip = { hosts = { "a b" } } } }, "field 'hosts'" },
      { { policy = { npm = { hosts = true } } }, "field 'hosts'" },
      { { policy = { npm = { hosts = { "?:443" } } } }, "field 'hosts'" },
    } do
      local ok, message, err = pcall(noether.executor, case[1])
      message = ok and err or message
      assert.truthy(tostring(message):find(case[2], 1, true), tostring(message))
    end
  end)
end)
