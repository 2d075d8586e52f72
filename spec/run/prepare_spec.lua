-- SPDX-License-Identifier: MIT
-- What is told before anything runs.
local helper = require "spec.support.helper"
local noether = require "noether"

local MIB = 1024 * 1024

describe("an input that is too large", function()
  local executor, id
  before_each(function()
    executor = noether.check(noether.executor())
    id = noether.check(executor.store:put{
      language = "python", effects = {}, code = "def execute(i): return len(i)",
    })
  end)
  after_each(function() executor:close() end)

  it("is refused at once, with the limit and the way around", function()
    local text = ("x"):rep(180 * MIB)
    local before = os.clock()
    for _, input in ipairs{ text, { list = { text } } } do
      local output, err = executor:execute(id, input)
      assert.is_nil(output)
      assert.same({ "input_invalid", 2 ^ 30 }, { err.kind, err.limit })
      assert.truthy(tostring(err):find("1073741824", 1, true), tostring(err))
      assert.truthy(err.hint:find("FsRead", 1, true), err.hint)
    end
    assert.is_true(os.clock() - before < 1)
  end)

  it("is refused as text, too", function()
    local output, err = executor:execute_json(id, '"' .. ("x"):rep(256 * MIB) .. '"')
    assert.is_nil(output)
    assert.same({ "input_invalid", 256 * MIB }, { err.kind, err.limit })
    assert.truthy(err.hint:find("FsRead", 1, true), err.hint)
  end)

  it("comes as a file", function()
    local path = helper.tmpdir() .. "/large"
    helper.write(path, ("x"):rep(MIB))
    helper.open_to_all(path)
    assert.equal(MIB, noether.check(noether.execute{
      language = "python", effects = { { FsRead = path } }, input = path,
      code = "def execute(path): return len(open(path).read())",
    }))
  end)
end)
