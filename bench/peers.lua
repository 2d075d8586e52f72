-- SPDX-License-Identifier: MIT
--- The same small stage of Python by other means, in turns with ours. What is not on this machine
-- is left out, by name. PEER_PYODIDE: a directory with pyodide in its node_modules.
--
-- None of the others does what a stage here has done to it: bubblewrap has walls, and no limits or
-- filter; the pools have none of these; CPython as WebAssembly keeps the state of the calls before.
local begun = require "begun"
local json = require "noether.json"
local measure = require "measure"
local noether = require "noether"
local process = require "noether.process"
local sys = require "noether.sys"

local M = {}

local here = debug.getinfo(1, "S").source:match "^@(.*)/peers.lua$"
local REQUEST = assert(json.encode(json.array{ begun.DOUBLE, { n = 21 } }))
local STAGE = { language = "python", code = begun.DOUBLE, effects = {} }
local SPARES = 4
local START_SECS = 60
local SELDOM = 3 -- rounds of what takes seconds

local function find(name)
  return sys.find_programs(name, os.getenv "PATH")[1]
end

local function check(answer)
  assert(assert(json.decode(answer)).double == 42, answer)
end

-- A program that is started for each request, as its argument.
local function started_each_time(argv)
  return { run = function()
    return measure.time(function()
      local proc = assert(process.launch(argv, { supervise = false, env = { PATH = "/usr/bin" } }))
      check(assert(proc:wait()).stdout)
      proc:close()
    end)
  end }
end

-- A program that answers each line with a line.
local function answering(argv, secs)
  local heard = ""
  local proc = assert(process.launch(argv, {
    supervise = false, env = { PATH = "/usr/bin:/bin" }, stdin = true,
    on_stdout = function(piece) heard = heard .. piece end, max_output_bytes = math.huge,
  }))
  local function ask()
    heard = ""
    assert(proc:write(REQUEST .. "\n"))
    local deadline = sys.clock() + secs
    while not heard:find("\n", 1, true) do
      assert(not proc:step(0.1), argv[1] .. " has ended")
      assert(sys.clock() < deadline, argv[1] .. " does not answer")
    end
    check(heard)
  end
  ask()
  return {
    run = function() return measure.time(ask) end,
    close = function()
      proc:cancel()
      proc:wait()
      proc:close()
    end,
  }
end

-- A stage of ours. It finds what it needs ready.
local function of_ours(start, warm, is_ready)
  local executor = assert(noether.executor{ isolation = "native", warm = warm })
  if warm then assert(executor:warmup({ "python" }, { spares = warm.spares }):wait()) end
  return {
    run = function()
      if is_ready then begun.settle(executor, is_ready) end
      return measure.time(function()
        local output, err, info = executor:execute(STAGE, { n = 21 })
        assert(not err, err)
        assert(output.double == 42 and info.start == start, info.start)
      end)
    end,
    close = function() executor:close() end,
  }
end

local function has_places(pool)
  return pool.server and pool.server:look() == "serving" and pool.server.process:places() > 0
end

local function has_spares(pool)
  for _, spare in ipairs(pool.spares) do
    if not spare.is_ready then return false end
  end
  return #pool.spares > 0
end

local function session_of_ours()
  local executor = assert(noether.executor{ isolation = "native" })
  local session = assert(executor:session{ language = "python", effects = {} })
  return {
    run = function()
      return measure.time(function()
        local output, err = session:run("{'double': input['n'] * 2}", { n = 21 })
        assert(not err and output.double == 42, err)
      end)
    end,
    close = function()
      session:close()
      executor:close()
    end,
  }
end

-- Those of others: a name, the programs and files that it takes, and how it is made of these.
local function peers(python)
  local modules = os.getenv "PEER_PYODIDE"
  return {
    { name = "python3 alone", needs = { python }, make = function()
      return started_each_time{ python, "-I", here .. "/peers/once.py", REQUEST }
    end },
    { name = "bwrap python3", needs = { find "bwrap", python }, make = function()
      return started_each_time{
        find "bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev",
        "--proc", "/proc", python, "-I", here .. "/peers/once.py", REQUEST,
      }
    end },
    { name = "multiprocessing pool, one call each", needs = { python }, make = function()
      return answering({ python, here .. "/peers/pool.py", "1" }, START_SECS)
    end },
    { name = "multiprocessing pool", needs = { python }, make = function()
      return answering({ python, here .. "/peers/pool.py", "0" }, START_SECS)
    end },
    { name = "pyodide in node, loaded", needs = { find "node", modules }, make = function()
      return answering({ find "node", here .. "/peers/pyodide.js", modules }, START_SECS)
    end },
    { name = "pyodide in node, from nothing", needs = { find "node", modules }, make = function()
      return { seldom = true, run = function()
        return measure.time(function()
          answering({ find "node", here .. "/peers/pyodide.js", modules }, START_SECS).close()
        end)
      end }
    end },
  }
end

local function ours()
  return {
    { name = "noether, cold", contestant = of_ours("cold") },
    { name = "noether, by fork", contestant = of_ours("fork", { spares = 0 }, has_places) },
    { name = "noether, from a spare",
      contestant = of_ours("spare", { spares = SPARES }, has_spares) },
    { name = "noether, a cell of a session", contestant = session_of_ours() },
  }
end

local function real_python()
  local executor = assert(noether.executor{ isolation = "native" })
  local info = select(3, executor:execute(STAGE, { n = 21 }))
  executor:close()
  return info.runtime.path
end

local function all()
  local list = ours()
  for _, peer in ipairs(peers(real_python())) do
    if #peer.needs == select("#", table.unpack(peer.needs)) and peer.needs[1] then
      list[#list + 1] = { name = peer.name, contestant = peer.make() }
    else
      print(("(%s: not on this machine)"):format(peer.name))
    end
  end
  return list
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local list, often, seldom = all(), {}, {}
  for _, one in ipairs(list) do
    local contestants = one.contestant.seldom and seldom or often
    contestants[#contestants + 1] = { name = one.name, run = one.contestant.run }
  end
  local summaries = measure.take_turns(often, math.max((opts.rounds or 400) // 8, 10))
  for name, summary in pairs(measure.take_turns(seldom, SELDOM)) do summaries[name] = summary end
  local rows = {}
  for index, one in ipairs(list) do
    rows[index] = measure.row("peers: " .. one.name, summaries[one.name],
      summaries[list[1].name])
    if one.contestant.close then one.contestant.close() end
  end
  return rows
end

return M
