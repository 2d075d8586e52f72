-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local hosts = require "noether.hosts"

describe("a list of hosts", function()
  local written = {
    { "api.example.com:443", "api.example.com:443" },
    { "API.Example.COM.:443", "api.example.com:443" },
    { "api.example.com", "api.example.com:443 api.example.com:80" },
    { "*.example.org", "*.example.org:443 *.example.org:80" },
    { "*.Example.org.:8443", "*.example.org:8443" },
    { "xn--bcher-kva.example:443", "xn--bcher-kva.example:443" },
    { "_service.db-1.internal:5432", "_service.db-1.internal:5432" },
    { "db:5432", "db:5432" },
    { "10.0.0.5:5432", "10.0.0.5:5432" },
    { "10.0.0.5", "10.0.0.5:443 10.0.0.5:80" },
    { "[2001:0DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443" },
    { "[2001:db8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1" },
    { "[2001:db8:0:1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1" },
    { "[::1]", "[::1]:443 [::1]:80" },
    { "[1::]:65535", "[1::]:65535" },
    { "localhost:6379", "127.0.0.1:6379 [::1]:6379" },
    { "private:db.example.com:5432", "private:db.example.com:5432" },
    { { host = "db.example.com:5432", private = true }, "private:db.example.com:5432" },
    { { host = "db.example.com:5432" }, "db.example.com:5432" },
    { { host = "10.0.0.5:5432", private = true }, "10.0.0.5:5432" },
    { "127.0.0.1:54", "127.0.0.1:54" }, { "127.0.0.2:53", "127.0.0.2:53" },
    { "[::1]:53", "[::1]:53" }, { "10.0.0.5:53", "10.0.0.5:53" },
    { "?:443", "?:443" }, { "?", "?:443 ?:80" }, { "private:?:8443", "private:?:8443" },
    { { host = "?:443", private = true }, "private:?:443" },
  }
  for _, case in ipairs(written) do
    local name = type(case[1]) == "table" and "a table with " .. case[1].host or case[1]
    it("is written in one form: " .. name, function()
      local list = assert(hosts.parse{ case[1] })
      assert.equal(case[2], table.concat(list, " "))
      assert.same(list, hosts.parse(list))
    end)
  end

  local refused = {
    { "", "a name" }, { ":443", "a name" }, { ".", "a name" }, { "*", "a name" },
    { "*.", "a name" }, { "*:443", "a name" }, { "a.*.example:443", "a name" },
    { "*a.example:443", "a name" }, { "*.*.example:443", "a name" },
    { "a..example:443", "a name" }, { ".example.com:443", "a name" },
    { "-a.example:443", "a name" }, { "a-.example:443", "a name" },
    { "a b.example:443", "a name" }, { "a/b:443", "a name" }, { "a\n.example:443", "a name" },
    { "b\195\188cher.example:443", "A-label" }, { "a\0.example:443", "a name" },
    { ("a"):rep(64) .. ".example:443", "a name" }, { ("a."):rep(127) .. "example:443", "a name" },
    { ("a"):rep(65536), "a name" },
    { "host:0", "a port from 1 to 65535" }, { "host:70000", "a port" }, { "host:", "a port" },
    { "host:65536", "a port" }, { "host:-1", "a port" }, { "host:443x", "a port" },
    { "host:0443", "a port" }, { "host: 443", "a port" }, { "host:99999999999999999999", "a port" },
    { "https://example.com/", "no URL" }, { "http://example.com:80", "no URL" },
    { "2130706433:80", "four numbers" }, { "0x7f000001:80", "four numbers" },
    { "0177.0.0.1:80", "four numbers" }, { "127.1:80", "four numbers" },
    { "1.2.3.4.5:80", "four numbers" }, { "256.1.1.1:80", "four numbers" },
    { "example.0x10:80", "four numbers" }, { "0.0.0.0:80", "an address of a host" },
    { "224.0.0.1:80", "an address of a host" }, { "255.255.255.255:80", "an address of a host" },
    { "198.18.0.2:80", "198.18.0.0/15" }, { "[fd6e:6f65:7468::1]:80", "has for itself" },
    { "127.0.0.1:53", "name server answers, in '127.0.0.1:53'" },
    { "localhost:53", "name server answers, in 'localhost:53'" },
    { "private:127.0.0.1:53", "name server answers" },
    { { host = "LOCALHOST.:53" }, "name server answers" },
    { "?:0", "a port from 1" }, { "?.example:443", "a name" }, { "*.?:443", "a name" },
    { "??:443", "a name" }, { "private:private:?:443", "version 6" },
 { "2001:db8::1", "version 6 in brackets" },
    { "::1:443", "version 6 in brackets" }, { "[::]:443", "an address of a host" },
    { "[ff02::1]:443", "an address of a host" }, { "[::ffff:127.0.0.1]:80", "version 6" },
    { "[::ffff:7f00:1]:80", "version 4 as four numbers" }, { "[1::2::3]:80", "version 6" },
    { "[1:2:3]:80", "version 6" }, { "[fe80::1%eth0]:80", "version 6" }, { "[]:80", "version 6" },
    { "[1:2:3:4:5:6:7:8:9]:80", "version 6" }, { "[12345::]:80", "version 6" },
    { 443, "host:port" }, { true, "host:port" }, { {}, "host:port" },
    { { host = 1 }, "host:port" }, { { host = "a:1", private = "yes" }, "host:port" },
    { { host = "a:1", port = 2 }, "host:port" },
  }
  for index, case in ipairs(refused) do
    it(("refuses case %d, and says what was expected"):format(index), function()
      local list, expected = hosts.parse{ case[1] }
      assert.is_nil(list)
      assert.truthy(expected:find(case[2], 1, true), expected)
      assert.is_true(#expected < 400)
      assert.is_nil(expected:find "[%c\128-\255]")
    end)
  end

  it("is no list where it is empty, or has names or holes", function()
    for _, list in ipairs{ {}, { a = "b:1" }, { "a:1", nil, "b:1" } } do
      local parsed, expected = hosts.parse(list)
      assert.is_nil(parsed)
      assert.truthy(expected:find("not empty", 1, true))
    end
  end)

  it("is sorted, has each once, and a private one swallows its like", function()
    assert.same({ "a:1", "b:1", "private:c:1" },
      hosts.parse{ "b:1", "A:1", "a.:1", "c:1", { host = "c:1", private = true } })
  end)

  it("has an end", function()
    local list = {}
    for index = 1, hosts.MAX do
      list[index] = ("h%d.example:1"):format(index)
    end
    assert.equal(hosts.MAX, #hosts.parse(list))
    list[#list + 1] = "one-more.example:1"
    local parsed, expected = hosts.parse(list)
    assert.is_nil(parsed)
    assert.truthy(expected:find(("at most %d"):format(hosts.MAX), 1, true))
  end)
end)

describe("a list that asks", function()
  it("is one with an entry for any name", function()
    for _, case in ipairs{ { "?:443", "?:443" }, { "private:?:1", "private:?:1" }, { "a.b:1" },
      { "*.b:1" } } do
      assert.equal(case[2], hosts.asked(hosts.parse{ "x.example:443", case[1] }))
    end
  end)
end)

describe("what a list covers", function()
  local cases = {
    { "api.example.com:443", "api.example.com:443", true },
    { "api.example.com:443", "api.example.com:80", false },
    { "api.example.com:443", "a.api.example.com:443", false },
    { "*.example.org:443", "a.example.org:443", true },
    { "*.example.org:443", "a.b.example.org:443", true },
    { "*.example.org:443", "example.org:443", false },
    { "*.example.org:443", "evilexample.org:443", false },
    { "*.example.org:443", "*.example.org:443", true },
    { "*.example.org:443", "*.a.example.org:443", true },
    { "*.a.example.org:443", "*.example.org:443", false },
    { "*.example.org:443", "*.evilexample.org:443", false },
    { "a.example.org:443", "*.example.org:443", false },
    { "*.0.5:443", "10.0.0.5:443", false },
    { "10.0.0.5:5432", "10.0.0.5:5432", true },
    { "10.0.0.5:5432", "10.0.0.50:5432", false },
    { "[::1]:1", "[::1]:1", true },
    { "private:db:1", "db:1", true },
    { "db:1", "private:db:1", false },
    { "private:*.example.org:1", "private:a.example.org:1", true },
    { "?:443", "?:443", true },
    { "?:443", "?:80", false },
    { "?:443", "private:?:443", false },
    { "private:?:443", "?:443", true },
    { "?:443", "a.example:443", false },
    { "?:443", "*.example:443", false },
    { "a.example:443", "?:443", false },
    { "*.example:443", "?:443", false },
  }
  for _, case in ipairs(cases) do
    local name = ("%s %s %s"):format(case[1], case[3] and "lets through" or "does not let through",
      case[2])
    it(name, function()
      local ok, entry = hosts.covers({ "other.example:443", case[1] }, { case[2] })
      assert.equal(case[3] or nil, ok)
      assert.equal(not case[3] and case[2] or nil, entry)
    end)
  end
end)
