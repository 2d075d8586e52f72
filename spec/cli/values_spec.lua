-- SPDX-License-Identifier: MIT
require "spec.helper"
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
    ["Cost=5"] = { Cost = 5 }, ["FsWrite=."] = { FsWrite = HERE }, ["Llm=a=b"] = { Llm = "a=b" } },
  variable = { ["A=b=c"] = { name = "A", value = "b=c" }, A = { name = "A" },
    ["A="] = { name = "A", value = "" } },
  limit = { ["memory=1M"] = { name = "memory_bytes", value = 2 ^ 20 },
    ["cpu_secs=2"] = { name = "cpu_secs", value = 2 },
    ["processes=3"] = { name = "processes", value = 3 } },
  flake = { nixpkgs = "nixpkgs", ["github:NixOS/nixpkgs/abc"] = "github:NixOS/nixpkgs/abc" },
  grant = { network = { network = true }, ["/d"] = { path = "/d" } },
  bind = { ["/a"] = { source = "/a", target = "/a" }, ["/a:/b"] = { source = "/a", target = "/b" },
    [".:/b"] = { source = HERE, target = "/b" } },
}

local WRONG = {
  seconds = { "", "0", "-1", "1x", "x", "1.2.3", "inf" },
  bytes = { "", "0", "1.0001K", "1X", "K" },
  count = { "1.5", "0", "a" },
  path = { "", "no/where" },
  path_to_be = { "" },
  effect = { "", "Netwrok", "FsRead", "FsRead=", "Cost=much", "Network=host" },
  variable = { "", "=b" },
  limit = { "", "memory", "memory=x", "memroy=1M", "processes=1.5" },
  flake = { "", "nixpkgs#python3" },
  grant = { "", "no/where" },
  bind = { "no/where:/b" },
}

describe("words as values", function()
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
end)
