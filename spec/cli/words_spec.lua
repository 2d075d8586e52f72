-- SPDX-License-Identifier: MIT
--- What the library's hints are at the command line.
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local words = require "noether.cli.words"

describe("a hint of the command", function()
  local cases = {
    { 'declare { FsRead = "/srv/a b" }, or FsWrite to change it',
      "give --effect 'FsRead=/srv/a b', or FsWrite to change it" },
    { 'To make it, a stage declares { FsWrite = "/srv" }',
      "To make it, give --effect FsWrite=/srv" },
    { "limits.cpu_secs says how much", "--limit cpu says how much" },
    { "limits.memory_bytes, 5", "--limit memory, 5" },
    { "see limits.private_bytes and limits.private_files",
      "see --limit private and --limit private_files" },
    { "raise setup_timeout_secs, or timeout_secs", "raise --setup-timeout, or --timeout" },
    { "my_timeout_secs, timeout_secs_too", "my_timeout_secs, timeout_secs_too" },
    { "declare it", "declare it (--effect Network)", "Network" },
    { "x is not listed", "x is not listed (--effect Network=x.example:443)",
      "Network(x.example:443)" },
    { "nothing of that", "nothing of that" },
  }
  for _, case in ipairs(cases) do
    it("is in its own words: " .. case[1], function()
      assert.equal(case[2], words.of(case[1], case[3]))
    end)
  end

  it("names the option that helps", function()
    local dir = helper.tmpdir()
    local path = helper.write(dir .. "/stage.py", ("def execute(i): return open('%s').read()")
      :format(helper.write(dir .. "/data", "x")))
    command.fail(1, { "run", path, "--isolation", "native" },
      { ("give --effect FsRead=%s/data"):format(dir) })
  end)
end)
