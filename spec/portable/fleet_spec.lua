-- SPDX-License-Identifier: MIT
--- A fleet in each Lua: a caller and a worker of one process, with a server between them.
local noether = require "noether"
local sys = require "noether.sys"

local KEY = "a secret of the specs"

describe("a fleet", function()
  local dir, server, worker, fleet

  local function settled(task)
    local deadline = noether.clock() + 60
    while not task:step() and noether.clock() < deadline do
      worker:step()
      sys.poll(worker:pollfds(), 0.01, {})
    end
    local output, err, info = task:wait(0)
    task:close()
    return output, err, info
  end

  setup(function()
    dir = noether.check(sys.mkdtemp("/tmp/noether-fleet-"))
    server = noether.check(noether.spawn({ "redis-server", "--port", "0", "--unixsocket",
      dir .. "/r", "--dir", dir, "--save", "" }, { isolation = "none", timeout_secs = 300 }))
    local deadline = noether.clock() + 60
    while not sys.stat(dir .. "/r") and noether.clock() < deadline do
      sys.poll({}, 0.01, {})
    end
    local url = "unix://" .. dir .. "/r"
    worker = noether.check(noether.worker{ url = url, key = KEY, executor = noether.inline{
      double = function(n) return n * 2 end,
      same = function(value) return value end,
    } })
    fleet = noether.check(noether.remote{ url = url, key = KEY })
    -- It connects when it is used, and a server has its socket before it answers.
    local output
    repeat
      output = settled(noether.check(fleet:start("same", 1)))
    until output == 1 or noether.clock() > deadline
    assert.equal(1, output)
  end)

  teardown(function()
    fleet:close()
    worker:close()
    server:close()
    sys.remove_tree(dir)
  end)

  it("runs stages, and gives their answers", function()
    local output, err, info = settled(noether.check(fleet:start("double", 21)))
    assert.is_nil(err)
    assert.equal(42, output)
    assert.equal(worker.name, info.worker)
  end)

  it("carries what JSON can hold, and what is long", function()
    local long = ("x"):rep(100000)
    local value = { list = { 1, 2.5, "text", noether.null }, empty = noether.array(), long = long }
    local output = settled(noether.check(fleet:start("same", value)))
    assert.equal(long, output.long)
    assert.equal(2.5, output.list[2])
    assert.equal(noether.null, output.list[4])
  end)

  it("has errors as elsewhere", function()
    local output, err = settled(noether.check(fleet:start("nonesuch", 1)))
    assert.is_nil(output)
    assert.equal("stage_not_found", err.kind)
  end)
end)
