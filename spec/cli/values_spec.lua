-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local effects = require "noether.stage.effects"
local sys = require "noether.sys"
local values = require "noether.cli.values"

local HERE = sys.realpath "."

local RIGHT = {
  seconds = { ["30"] = 30, ["1.5s"] = 1.5, ["200ms"] = 0.2, ["2m"] = 120, ["1h"] = 3600,
    none = math.huge },
  bytes = { ["1"] = 1, ["64K"] = 65536, ["64k"] = 65536, ["512M"] = 512 * 2 ^ 20, ["2G"] = 2 ^ 31,
    ["1GiB"] = 2 ^ 30, ["1.5K"] = 1536, none = math.huge },
  count = { ["64"] = 64, none = math.huge },
  path = { ["/a/b"] = "/a/b", ["."] = HERE },
  path_to_be = { ["/a"] = "/a", ["a/b"] = HERE .. "/a/b" },
  effect = { Network = "Network", ["FsRead=/data"] = { FsRead = "/data" },
    ["Network=a:1"] = { Network = { "a:1" } }, ["Network=B:2,a:1"] = { Network = { "a:1", "b:2" } },
    ["Cost=5"] = { Cost = 5 }, ["FsWrite=."] = { FsWrite = HERE }, ["Llm=a=b"] = { Llm = "a=b" } },
  name = { double = "double", ["a b"] = "a b" },
  variable = { ["A=b=c"] = { name = "A", value = "b=c" }, A = { name = "A" },
    ["A="] = { name = "A", value = "" } },
  limit = { ["memory=1M"] = { name = "memory_bytes", value = 2 ^ 20 },
    ["cpu_secs=2"] = { name = "cpu_secs", value = 2 },
    ["processes=3"] = { name = "processes", value = 3 } },
  flake = { nixpkgs = "nixpkgs", ["github:NixOS/nixpkgs/abc"] = "github:NixOS/nixpkgs/abc" },
  hosts_with_ports = { ["A:1"] = { "a:1" }, ["*.b:1,[::1]:2"] = { "*.b:1", "[::1]:2" } },
  grant = { network = { network = true }, ["network=a:1"] = { hosts = { "a:1" } },
    ["/d"] = { path = "/d" } },
  bind = { ["/a"] = { source = "/a", target = "/a" }, ["/a:/b"] = { source = "/a", target = "/b" },
    [".:/b"] = { source = HERE, target = "/b" } },
}

local WRONG = {
  seconds = { "", "0", "-1", "1x", "x", "1.2.3", "inf" },
  bytes = { "", "0", "1.0001K", "1X", "K" },
  count = { "1.5", "0", "a" },
  path = { "", "no/where" },
  path_to_be = { "" },
  effect = { "", "Netwrok", "FsRead", "FsRead=", "Cost=much", "Network=", "Network=host:0",
    "Network=host:1," },
  hosts_with_ports = { "", "git", "git:0", "ls-remote", "https://a:1" },
  variable = { "", "=b", "A B=1", "A B", " A=1", "A\n=1" },
  name = { "", "a/b", "/a", "a\nb" },
  limit = { "", "memory", "memory=x", "memroy=1M", "processes=1.5" },
  flake = { "", "nixpkgs#python3" },
  grant = { "", "no/where", "network=", "network=a:0" },
  bind = { "no/where:/b" },
}

describe("words as values", function()
  it("shows how each effect is written that carries something", function()
    for _, name in ipairs(effects.names()) do
      if effects.field(name) then
        local effect, reason = values.effect(name:lower() .. ":x")
        assert.is_nil(effect)
        assert.truthy(reason:find("write " .. name .. "=x", 1, true), reason)
      end
    end
  end)

  for name, cases in pairs(RIGHT) do
    it("takes " .. name, function()
      for word, value in pairs(cases) do
        assert.same(value, (values[name](word)), word)
      end
    end)
  end

  for name, words in pairs(WRONG) do
    it("says what is wrong with " .. name, function()
      for _, word in ipairs(words) do
        local value, reason = values[name](word)
        assert.is_nil(value, word)
        assert.equal("string", type(reason), word)
      end
    end)
  end

  it("says how an effect is written that is written in another way", function()
    for word, meant in pairs{ ["FsRead:/etc"] = "FsRead=/etc", ["fswrite: /a/b"] = "FsWrite=/a/b",
      ["FsRead(/etc)"] = "FsRead=/etc", ["Cost:5"] = "Cost=5", ["FsRead /a"] = "FsRead=/a" } do
      local value, reason = values.effect(word)
      assert.is_nil(value)
      assert.truthy(reason:find("write " .. meant, 1, true), reason)
    end
  end)

  -- What a word was meant to be.
  local MEANT = {
    effect = { Netwrok = "Network", network = "Network", NETWORK = "Network", proces = "Process",
      ["FsRed=/x"] = "FsRead", fsread = "FsRead", ["fs_write=/x"] = "FsWrite", net = "Network" },
    limit = { ["mem=5M"] = "memory", ["memroy=5M"] = "memory", ["process=3"] = "processes",
      ["open-files=3"] = "open_files", ["cpus=3"] = "cpu", ["privat=1M"] = "private" },
  }
  for name, cases in pairs(MEANT) do
    it("offers the " .. name .. " that was meant", function()
      for word, meant in pairs(cases) do
        local value, reason = values[name](word)
        assert.is_nil(value)
        local offer = ("did you mean '%s'?"):format(meant)
        assert.truthy(reason:find(offer, 1, true), reason)
      end
      local _, reason = values[name]("xyzzy=1")
      assert.truthy(reason:find("known: ", 1, true), reason)
    end)
  end
end)
