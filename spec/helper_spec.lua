-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"

-- Runs one test with this body under the check, in a busted of its own.
local function run_test(body)
  local path = helper.write(helper.tmpdir() .. "/x_spec.lua", ([[
    local helper = require "spec.support.helper"
    local lfs = require "lfs"
    local kept = {}
    it("is the test", function() %s end)
    it("comes after it", function() kept.file = nil end)
  ]]):format(body))
  local build = helper.lua:match "^(.*)/bin/[^/]*$"
  return helper.shell(("cd %s && env -u SPEC_EVENTS tools/test/spec.sh %s %s"):format(
    helper.quote(helper.root), helper.quote(build), path))
end

describe("the leak check", function()
  local LEAKS = {
    { "a file descriptor", [[kept.file = io.open("/dev/null")]],
      "file descriptor %d+ %(/dev/null%)" },
    { "a child process", [[kept.file = io.popen("sleep 3")]], "child process %d+ %(sh" },
    { "a temporary file", [[io.open(os.getenv "TMPDIR" .. "/x", "w"):close()]],
      "temporary file x %(file%)" },
    { "the working directory", [[lfs.chdir "/"]], "working directory cwd %(/%)" },
  }
  for _, leak in ipairs(LEAKS) do
    it("fails a test that leaves " .. leak[1], function()
      local output, code = run_test(leak[2])
      assert.matches("'is the test' %([^)]*x_spec.lua:4%) left behind: " .. leak[3], output)
      assert.matches("2 successes / 0 failures / 1 error", output)
      assert.equal(1, code)
    end)
  end

  it("lets pass what is collected, removed or ended with the test", function()
    local output, code = run_test [[
      local _ = io.open("/dev/null")
      io.popen("sleep 0.2"):close()
      helper.write(helper.tmpdir() .. "/deep/down/file", "text")
      helper.with_env({ HOME = "/nowhere" }, function() end)
    ]]
    assert.equal(0, code, output)
  end)
end)

describe("helper", function()
  it("sets environment variables for a while", function()
    local inside = helper.with_env({ NOETHER_SOMETHING = "1", HOME = false }, function()
      return { os.getenv "NOETHER_SOMETHING", os.getenv "HOME" or "none",
        (helper.shell "echo ${NOETHER_SOMETHING}${HOME-none}") }
    end)
    assert.same({ "1", "none", "1none\n" }, inside)
    assert.is_nil(os.getenv "NOETHER_SOMETHING")
    assert.is_string(os.getenv "HOME")
  end)

  it("puts environment variables back after an error", function()
    assert.has_error(function()
      helper.with_env({ NOETHER_SOMETHING = "1" }, function() error("oh", 0) end)
    end, "oh")
    assert.is_nil(os.getenv "NOETHER_SOMETHING")
  end)

  it("polls until something is true, or time is over", function()
    local calls = 0
    assert.equal(3, helper.poll(function()
      calls = calls + 1
      return calls == 3 and calls
    end))
    assert.is_false(helper.poll(function() return false end, 0.02))
  end)

  it("knows whether it is root", function()
    assert.equal(helper.shell("id -u") == "0\n", helper.is_root())
  end)
end)
