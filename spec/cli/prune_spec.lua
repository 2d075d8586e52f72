-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local caches = require "noether.cache.scripts"
local sys = require "noether.sys"

local DAY = 24 * 3600

describe("noether prune", function()
  local dir, env

  before_each(function()
    dir = helper.tmpdir() .. "/cache"
    env = { env = { NOETHER_CACHE_DIR = dir } }
    local cache <close> = assert(caches.open(dir, {}))
    for days, text in pairs{ [10] = "ten", [40] = ("x"):rep(2048) } do
      local path = assert(cache:put_files({ ["stage.py"] = text }))
      sys.touch(path, math.floor(sys.time() - days * DAY))
    end
    dir = cache.dir
  end)

  it("says what went, and how many bytes", function()
    local would = command.succeed({ "prune", "--dry-run" }, env)
    assert.equal(("scripts    1  2.0 KiB\nvenvs      0  0 B\nleftovers  0  0 B\n"
      .. "would remove 2.0 KiB from %s\n"):format(dir), would)
    local out, err = command.succeed({ "prune" }, env)
    assert.equal("", err)
    assert.equal((would:gsub("would remove", "removed")), out)
    assert.equal(1, #helper.list(dir .. "/scripts"))
    assert.truthy(command.succeed({ "prune", "--older-than", "7d" }, env):find("scripts    1  3 B"))
    assert.same({}, helper.list(dir .. "/scripts"))
  end)

  it("gives the same as JSON", function()
    local report = command.json({ "prune", "--json", "--older-than", "48h" }, env)
    assert.equal(2, #report.scripts)
    assert.same({ 2, 2051, 0, 2 * DAY, dir },
      { report.count, report.bytes, report.kept, report.older_than_secs, report.cache_dir })
    assert.truthy(command.succeed({ "prune", "--json" }, env):find('"scripts": []', 1, true))
  end)

  it("removes nothing but leftovers that is older than none", function()
    assert.equal(0, command.json({ "prune", "--json", "--older-than", "none" }, env).count)
  end)

  it("refuses less than a day", function()
    for _, time in ipairs{ "23h", "0d", "86399", "soon" } do
      command.fail(2, { "prune", "--older-than", time },
        { "option '--older-than': expected a day or more" }, env)
    end
  end)

  it("warns of what is none of its own, and tells of a cache that is not", function()
    helper.write(dir .. "/scripts/other\27[2J", "")
    local _, err = command.succeed({ "prune" }, env)
    assert.truthy(err:find("scripts/other\\x1B[2J: none of noether's, left alone", 1, true), err)
    helper.shell("chmod 755 " .. dir)
    command.fail(125, { "prune" }, { "open to other users", "[cache_failed]" }, env)
    assert.equal("there is no cache\n", (command.succeed({ "prune" },
      { env = { NOETHER_CACHE_DIR = dir .. "/none" } })))
  end)
end)
