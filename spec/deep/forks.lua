-- SPDX-License-Identifier: MIT
--- A fork server that makes many copies (in `make check-deep`): neither it nor its host grows,
-- what waits holds little, and each Python of this machine can be one. FORK_CALLS and FORK_SPARES
-- say how many; SPEC_PYTHONS, where Pythons lie, beside PATH: directories with a colon between.
local helper = require "spec.support.helper"
local noether = require "noether"

local CALLS = tonumber(os.getenv "FORK_CALLS" or 2000)
local SPARES = tonumber(os.getenv "FORK_SPARES" or 200)
local MIB = 2 ^ 20
local PLACES = 16 * 4 -- for copies: so many descriptors of the host

local function text_of(path)
  local file = io.open(path)
  local text = file and file:read "a" or ""
  if file then file:close() end
  return text
end

local function children(pid)
  local list = {}
  for child in text_of(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch "%d+" do
    list[#list + 1] = math.tointeger(tonumber(child))
  end
  return list
end

local function bytes_of(pid, file, name)
  local text = text_of(("/proc/%s/%s"):format(pid, file))
  return 1024 * assert(tonumber(text:match("\n" .. name .. ":%s+(%d+)")), "no " .. name)
end

local function only_pool(executor)
  executor:pools()
  return (select(2, next(executor.pools_open.shapes)))
end

local function init_of(executor)
  return children(only_pool(executor).server.process:pid())[1]
end

local function warmed(opts, spares)
  local executor = noether.check(noether.executor{
    isolation = "native", warm = opts, timeout_secs = 120,
  })
  noether.check(executor:warmup({ "python" }, { spares = spares }):wait(600))
  local pool = executor:pools()[1]
  assert.equal("serving", pool.fork_server, pool.no_fork_server)
  return executor
end

describe("a fork server", function()
  it("and its host are as large after many calls as after some", function()
    local executor = warmed({ spares = 0, calls = CALLS + 1 }, 0)
    local stage = { language = "python", code = "def execute(n): return n * 2", effects = {} }
    local server = children(init_of(executor))[1]
    local function sizes()
      collectgarbage()
      collectgarbage()
      return {
        host = bytes_of("self", "status", "VmRSS"), server = bytes_of(server, "status", "VmRSS"),
        descriptors = #helper.list "/proc/self/fd",
      }
    end
    local early
    for n = 1, CALLS do
      local output, err, info = executor:execute(stage, n)
      assert.equal(2 * n, output, tostring(err))
      if n > 1 then assert.equal("fork", info.start) end
      if n == CALLS // 10 then early = sizes() end
    end
    local late = sizes()
    print(("\n%d calls: host %.1f to %.1f MiB, server %.1f to %.1f MiB"):format(CALLS,
      early.host / MIB, late.host / MIB, early.server / MIB, late.server / MIB))
    assert.is_true(late.host - early.host < 2 * MIB)
    assert.is_true(late.server - early.server < MIB / 2)
    assert.is_true(late.descriptors - early.descriptors <= PLACES) -- they are made in lots
    executor:close()
  end)

  it("holds little, and each of its copies that wait less", function()
    local executor = warmed({ spares = SPARES }, SPARES)
    local pss, of_ours, count = 0, 0, 0
    local of_init = children(init_of(executor))
    local server = table.remove(of_init, 1)
    for _, pid in ipairs(of_init) do
      local copy = children(pid)[1]
      if copy then
        pss = pss + bytes_of(copy, "smaps_rollup", "Pss")
        of_ours = of_ours + bytes_of(pid, "smaps_rollup", "Pss")
        count = count + 1
      end
    end
    local held = bytes_of(server, "status", "VmRSS")
    print(("\n%d copies that wait: %.2f MiB each (PSS), its process 1 %.2f; the server %.1f MiB")
      :format(count, pss / count / MIB, of_ours / count / MIB, held / MIB))
    assert.equal(SPARES, count)
    assert.is_true(pss / count <= 0.6 * MIB)
    assert.is_true(held <= 16 * MIB)
    executor:close()
  end)
end)

describe("a Python", function()
  local found = {}
  for dir in (os.getenv "PATH" .. ":" .. (os.getenv "SPEC_PYTHONS" or "")):gmatch "[^:]+" do
    for minor = 7, 14 do
      local path = dir .. "/python3." .. minor
      local file = io.open(path)
      if file then
        file:close()
        found[minor] = found[minor] or path
      end
    end
  end

  for minor, path in pairs(found) do
    it("of version 3." .. minor .. " makes copies of itself", function()
      local directory = helper.tmpdir()
      helper.shell(("ln -s %s %s/python3"):format(helper.quote(path), directory))
      local executor = helper.with_env({ PATH = directory .. ":/usr/bin:/bin" }, function()
        return warmed({ spares = 0, imports = { "random", "ssl", "json" } }, 0)
      end)
      local drawn = {}
      for n = 1, 2 do
        local output, err, info = executor:execute({ language = "python", effects = {},
          code = "import random, sys\nasync def execute(i):\n"
            .. "  return [sys.version_info[1], random.random()]" }, 1)
        assert.is_nil(err, tostring(err))
        assert.equal("fork", info.start)
        assert.equal(minor, output[1])
        drawn[n] = output[2]
      end
      assert.not_equal(drawn[1], drawn[2])
      executor:close()
    end)
  end
end)
