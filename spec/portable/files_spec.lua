-- SPDX-License-Identifier: MIT
--- Files in and out.
local noether = require "noether"
local support = require "spec.portable.support"

describe("in every Lua, files", function()
  local executor, before

  setup(function()
    executor = noether.check(noether.executor{ timeout_secs = 60 })
    noether.check(executor:execute(support.bash "cat", 1))
    before = support.holdings()
  end)

  teardown(function() executor:close() end)

  after_each(function() assert.same({}, support.left_since(before)) end)

  local stage = {
    language = "bash", effects = {},
    code = 'execute() { read -r line <in.txt; printf "%s" "$line" >out.txt; echo "${#line}"; }',
  }

  it("go in as texts, and come out with their contents", function()
    local output, err, info = executor:execute(stage, nil, {
      files = { ["in.txt"] = "some text\n" }, outputs = { "*.txt" },
    })
    assert.is_nil(err, tostring(err))
    assert.equal(9, output)
    assert.equal(1, #info.outputs)
    assert.equal("some text", info.outputs[1].content)
    assert.equal("text/plain", info.outputs[1].type)
  end)

  it("go in by their paths, and come out into a directory", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute(("mkdir %s && echo host >%s/host"):format(dir, dir)))
    local opts = {
      files = { ["in.txt"] = { path = dir .. "/host" } }, outputs = { "out.txt" },
      output_dir = dir,
    }
    local _, err = executor:execute(stage, nil, opts)
    assert.is_nil(err, tostring(err))
    local file = io.open(dir .. "/out.txt")
    assert.equal("host", file:read "*a")
    file:close()
    _, err = executor:execute(stage, nil, opts)
    assert.equal("input_invalid", err.kind)
    os.execute("rm -r " .. dir)
  end)

  it("are missed, limited and refused as errors", function()
    local _, err = executor:execute(stage, nil, {
      files = { ["in.txt"] = "x\n" }, outputs = { "none" },
    })
    assert.equal("output_missing", err.kind)
    _, err = executor:execute(stage, nil, {
      files = { ["in.txt"] = "xx\n" }, outputs = { "*" }, limits = { output_file_bytes = 1 },
    })
    assert.equal("output_files_limit", err.kind)
    _, err = executor:execute(stage, nil, { files = { ["../x"] = "" } })
    assert.equal("input_invalid", err.kind)
  end)
end)
