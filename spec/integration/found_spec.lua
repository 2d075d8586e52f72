-- SPDX-License-Identifier: MIT
-- What one process found out about the machine, and others need not ask.
local helper = require "spec.support.helper"
local errors = require "noether.error"
local isolation = require "noether.isolation"
local noether = require "noether"
local process = require "noether.process"
local sys = require "noether.sys"

local STAGE = { language = "bash", code = "execute() { echo 1; }", effects = {} }

describe("what was found out about the machine", function()
  local dir

  -- A version manager's shim of bash, that takes its time and counts how often it is asked.
  before_each(function()
    dir = sys.realpath(helper.tmpdir())
    assert(sys.mkdir_private(dir .. "/cache"))
    helper.write(dir .. "/bin/bash", ("#!/bin/sh\necho asked >>%s/asked\n/bin/sleep 0.2\n"
      .. "exec /bin/bash \"$@\"\n"):format(dir))
    assert(sys.chmod(dir .. "/bin/bash", 493)) -- 0755
    helper.write(dir .. "/stage.sh", STAGE.code)
  end)

  local function asked()
    local file = io.open(dir .. "/asked")
    local text = file and file:read "*a" or ""
    if file then file:close() end
    return select(2, text:gsub("asked", ""))
  end

  local function environment()
    return ("env PATH=%s/bin:/usr/bin:/bin NOETHER_CACHE_DIR=%s/cache "):format(dir, dir)
  end

  local function noether_run(rest)
    return environment() .. helper.quote((helper.lua:gsub("noether%-lua$", "noether"))) .. " run "
      .. dir .. "/stage.sh " .. (rest or "")
  end

  it("serves the command, which is a new process each time", function()
    assert.equal("1\n", (helper.shell(noether_run())))
    assert.equal(1, asked())
    assert.equal("1\n", (helper.shell(noether_run())))
    assert.equal(1, asked())
    local output = helper.shell(environment()
      .. helper.quote((helper.lua:gsub("noether%-lua$", "noether"))) .. " warmup bash")
    assert.matches("bash", output)
    assert.equal(2, asked()) -- who warms up wants to know it afresh
    assert.equal("1\n", (helper.shell(noether_run())))
    assert.equal(2, asked())
  end)

  it("is asked for once by commands that run at the same time", function()
    local one = noether_run() .. " &"
    assert.equal(("1\n"):rep(3), (helper.shell(one:rep(3, "\n") .. "\nwait")))
    assert.equal(1, asked())
  end)

  it("is asked for once by three jobs of one program", function()
    local script = helper.write(dir .. "/map.lua", ([[
      local noether = require "noether"
      local executor = assert(noether.executor{ runtime = "host" })
      local stage = { language = "bash", code = "execute() { echo 1; }", effects = {} }
      for _, record in ipairs(executor:map(stage, { 1, 2, 3 }, { jobs = 3 })) do
        print(record.err or record.output)
      end
      executor:close()]]))
    assert.equal(("1\n"):rep(3), (helper.shell(environment() .. helper.quote(helper.lua) .. " "
      .. script)))
    assert.equal(1, asked())
  end)

  it("is doubted when a sandbox that worked cannot be made any more", function()
    local launch, trials, broken = process.launch, 0, false
    process.launch = function(argv, opts)
      local is_trial = opts.sandbox and argv[1]:find("/true$")
      if is_trial then trials = trials + 1 end
      if broken and opts.sandbox and not is_trial then
        return nil, errors.new{ kind = "sandbox_failed", message = "mount: no", errno = "EPERM" }
      end
      return launch(argv, opts)
    end
    local function run()
      isolation.forget() -- as another process
      local executor = assert(noether.executor{ cache_dir = dir .. "/cache" })
      local _, err = executor:execute(STAGE)
      executor:close()
      return err and err.kind
    end
    local ok, message = pcall(function()
      assert.is_nil(run())
      assert.is_nil(run())
      assert.equal(1, trials)
      broken = true
      assert.equal("sandbox_failed", run())
      assert.equal(1, trials)
      broken = false
      assert.is_nil(run())
      assert.equal(2, trials)
      assert.is_nil(run())
      assert.equal(2, trials)
    end)
    process.launch = launch
    isolation.forget()
    assert(ok, message)
  end)
end)
