-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local url = require "noether.fleet.url"

describe("an address of a server", function()
  it("is read as it is written", function()
    local cases = {
      ["redis://127.0.0.1"] = { host = "127.0.0.1", port = "6379" },
      ["redis://db.example:6380/2"] = { host = "db.example", port = "6380", db = "2" },
      ["redis://[::1]:7000"] = { host = "::1", port = "7000" },
      ["redis://:p%40ss@h"] = { host = "h", password = "p@ss" },
      ["rediss://me:x@h/1?ca=/etc/ca.crt"] = { host = "h", user = "me", password = "x", tls = true,
        ca = "/etc/ca.crt", db = "1" },
      ["unix:///run/redis.sock?db=3"] = { path = "/run/redis.sock", db = "3" },
    }
    for text, expected in pairs(cases) do
      local place = assert(url.read(text))
      for name, value in pairs(expected) do assert.equal(value, place[name], text) end
    end
  end)

  it("is refused where it is none, saying why", function()
    for text, why in pairs{
      ["http://h"] = "redis://", ["redis://"] = "no host", ["redis://h:99999"] = "port",
      ["redis://:a/b@h"] = "%2F",
      ["redis://h/x"] = "port and database", ["unix://run"] = "absolute path",
      ["rediss://h?ca=x"] = "absolute path", ["redis://h?x=1"] = "parameter 'x'",
      ["unix:///s?db=x"] = "number",
    } do
      local place, reason = url.read(text)
      assert.is_nil(place, text)
      assert.truthy(reason:find(why, 1, true), reason)
    end
  end)

  it("is shown without what is secret", function()
    assert.equal("redis://h:6379/0", url.read("redis://me:secret@h").shown)
  end)
end)
