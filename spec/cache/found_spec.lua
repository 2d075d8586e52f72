-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local found = require "noether.cache.found"
local sys = require "noether.sys"

describe("what was found out", function()
  local dir, kept

  local function now(text)
    return function() return text end
  end

  before_each(function()
    dir = helper.tmpdir()
    kept = found.of{ dir = dir }
  end)

  it("is there for another process, as long as its conditions hold", function()
    kept:put("a question", "as it was", { path = "/bin/sh", list = { 1, "2" } })
    local other = found.of{ dir = dir }
    assert.same({ path = "/bin/sh", list = { 1, "2" } }, other:get("a question", now("as it was")))
    assert.is_nil(other:get("a question", now("as it is now")))
    assert.is_nil(other:get("a question", now(nil)))
    assert.is_nil(other:get("another question", now("as it was")))
  end)

  it("is asked about with the value that was kept", function()
    kept:put("q", "c", { path = "/bin/sh" })
    local asked
    kept:get("q", function(value) asked = value end)
    assert.same({ path = "/bin/sh" }, asked)
  end)

  it("is the user's own: closed to others, and without what the environment held", function()
    kept:put("q", "TOKEN=secret", { works = true })
    for _, name in ipairs(helper.list(dir .. "/found")) do
      local path = dir .. "/found/" .. name
      assert.equal(384, sys.stat(path).mode) -- 0600
      assert.is_nil(helper.read(path):find("secret", 1, true))
    end
    assert.equal(448, sys.stat(dir .. "/found").mode) -- 0700
  end)

  it("is not kept where the directory is open to others, or no directory", function()
    assert(sys.mkdir(dir .. "/found"))
    helper.write(dir .. "/found/file", "")
    assert(sys.chmod(dir .. "/found", 511)) -- 0777
    kept:put("q", "c", { works = true })
    assert.is_nil(kept:get("q", now("c")))
    assert.is_nil(kept:lock_path("q"))
    helper.remove(dir .. "/found")
    helper.write(dir .. "/found", "")
    kept:put("q", "c", { works = true })
    assert.is_nil(kept:get("q", now("c")))
  end)

  it("is not believed from a link, from a file of others' making, or after a day", function()
    kept:put("q", "c", { works = true })
    local path = dir .. "/found/" .. helper.list(dir .. "/found")[1]
    local text = helper.read(path)
    for _, damaged in ipairs{ "", "{", "[]", "5", '{"conditions":1}', text:sub(1, -3),
        text:gsub('{"works":true}', "true"), ("x"):rep(100000) } do
      helper.write(path, damaged)
      assert.is_nil(kept:get("q", now("c")), damaged)
    end
    helper.write(dir .. "/elsewhere", text)
    os.remove(path)
    helper.shell(("ln -s ../elsewhere %s"):format(path))
    assert.is_nil(kept:get("q", now("c")))
    os.remove(path)
    kept:put("q", "c", { works = true })
    assert.same({ works = true }, kept:get("q", now("c")))
    helper.shell("touch -d '25 hours ago' " .. path)
    assert.is_nil(kept:get("q", now("c")))
    kept:put("q2", "c", { works = true })
    assert.is_nil(sys.stat(path)) -- and goes when the next one is kept
    helper.shell("touch -d 'tomorrow' " .. dir .. "/found/*")
    assert.is_nil(kept:get("q2", now("c")))
  end)

  it("is not kept where it cannot be told what it depends on, and can be forgotten", function()
    kept:put("q", nil, { works = true })
    assert.is_nil(sys.stat(dir .. "/found"))
    kept:put("q", "c", { works = true })
    kept:forget("q")
    assert.is_nil(kept:get("q", now("c")))
    kept:forget("q")
  end)
end)
