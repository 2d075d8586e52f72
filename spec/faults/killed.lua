-- SPDX-License-Identifier: MIT
--- The host is killed at random moments, again and again: nothing that it started may live on, and
-- the cache must be good for the next one.
--
--     killed.lua short|long DIRECTORY
--
-- Every process of a run has a path below DIRECTORY in its arguments.
local command = require "noether.command"
local core = require "noether.core"
local noether = require "noether"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local size, directory = arg[1], arg[2]
local KILLS = size == "long" and tonumber(os.getenv("KILLS") or 1000) or 20
local CODES = 5

-- A host that never rests: stages that are new to the cache, and programs that stay.
local HOST = [==[
  local noether = require "noether"
  local directory, number, codes = %q, %d, %d
  local isolations = { "native", "landlock", "bwrap", "none" }
  local stay = { "/bin/sh", "-c", "setsid sleep 1000 & sleep 1000; : " .. directory .. "/x" }
  for turn = 1, 1000 do
    local isolation = isolations[(turn + number) %% #isolations + 1]
    local proc = assert(noether.spawn(stay, { isolation = isolation, clear_env = true }))
    local executor = assert(noether.executor{
      isolation = isolation, cache_dir = directory .. "/cache", runtime = "host",
    })
    local code = ("execute() { echo %%d; }"):format((turn + number) %% codes)
    local stage = { language = "bash", effects = {}, code = code }
    local task = assert(executor:start(stage, 1))
    noether.check(executor:execute(stage, 1))
    task:wait()
    proc:close()
    executor:close()
  end
]==]

local function pids()
  local list = {}
  for _, name in ipairs(sys.list("/proc")) do
    if name:find("^%d+$") and tonumber(name) ~= sys.getpid() then list[#list + 1] = name end
  end
  return list
end

-- A process that is ending has no arguments any more.
local function survivors()
  local list = {}
  for _, pid in ipairs(pids()) do
    local file = io.open("/proc/" .. pid .. "/cmdline")
    local text = file and file:read("a") or ""
    if file then file:close() end
    if text:find(directory .. "/", 1, true) then
      list[#list + 1] = pid .. " " .. text:gsub("%z", " ")
    end
  end
  return list
end

local function wait_for_none()
  local deadline = sys.clock() + 5
  local list = survivors()
  while #list > 0 and sys.clock() < deadline do
    support.pause()
    list = survivors()
  end
  return list
end

local function note(text)
  local file = assert(io.open(directory .. "/now", "w"))
  file:write(text, "\n")
  file:close()
end

local function start_host(number)
  return assert(command.spawn({
    os.getenv("BUILD") .. "/bin/noether-lua", "-e", HOST:format(directory, number, CODES),
  }, { isolation = "none", supervise = false, clear_env = true }))
end

-- What the next host finds.
local function check_cache()
  local executor <close> = assert(noether.executor{
    isolation = "native", cache_dir = directory .. "/cache", runtime = "host",
  })
  for code = 0, CODES - 1 do
    local output, err, info = executor:execute({
      language = "bash", effects = {}, code = ("execute() { echo %d; }"):format(code),
    }, 1)
    if output ~= code then return tostring(err) end
    if info.warnings[1] then return info.warnings[1] end
  end
  return nil
end

-- Directories of runs, those of other users left out.
local function temporary()
  local list, user = {}, sys.stat(directory).uid
  for _, name in ipairs(sys.list("/tmp")) do
    local is_ours = name:find("^noether%-%w%w%w%w%w%w%w%w%w%w$")
    local stat = is_ours and sys.stat("/tmp/" .. name)
    if stat and stat.uid == user then list[name] = true end
  end
  return list
end

-- Those that were not there before, and stay: another program of this user has its own, for as long
-- as its runs take.
local function left_behind(before)
  local new, deadline = temporary(), sys.clock() + 10
  repeat
    local now, count = temporary(), 0
    for name in pairs(new) do
      if before[name] or not now[name] then new[name] = nil else count = count + 1 end
    end
    if count > 0 then support.pause() end
  until count == 0 or sys.clock() > deadline
  return new
end

local lived, bad, left = 0, 0, 0

local function kill_one(number)
  note("kill " .. number)
  local host <close> = start_host(number)
  local moment = sys.clock() + math.random() ^ 2 * 0.25
  while sys.clock() < moment and not host:step() do
    core.poll({ host:pollfd() }, moment - sys.clock(), {})
  end
  assert(host:kill("KILL"))
  local result = assert(host:wait())
  if result.signal ~= "SIGKILL" then
    bad = bad + 1
    print(("BAD  the host ended by itself: %s %s"):format(result.reason, result.stderr))
  end
  local list = wait_for_none()
  lived = lived + #list
  for _, survivor in ipairs(list) do
    print("BAD  lives on: " .. survivor)
  end
end

math.randomseed(os.time())
local before = temporary()
for number = 1, KILLS do
  kill_one(number)
  local damage = number % 20 == 0 and check_cache()
  if damage then
    bad = bad + 1
    print("BAD  the cache: " .. damage)
  end
end
for name in pairs(left_behind(before)) do
  left = left + 1
  print(("left /tmp/%s: %s"):format(name, table.concat(sys.list("/tmp/" .. name) or {}, " ")))
end
print(("%d hosts killed: %d processes lived on, %d directories left in /tmp, %d other faults")
  :format(KILLS, lived, left, bad))
os.exit(lived == 0 and bad == 0 and left == 0, true)
