-- SPDX-License-Identifier: MIT
--- What every spec begins with: `local helper = require "spec.support.helper"`.
--
-- Loading it puts a check around each test: whatever file descriptor, child
-- process, temporary file or working directory a test leaves behind fails the
-- run, with the test's name.

local busted = require "busted"
local lfs = require "lfs"
local system = require "system"
local core = require "noether.core"
local over = require "spec.support.over"
local plan = require "spec.support.plan"
local starts = require "spec.support.starts"
local support = require "spec.support.posix"

local M = {}

--- Absolute path of the project (or of the copy of it that is tested).
M.root = lfs.currentdir()

--- Absolute path of the interpreter that runs the specs.
M.lua = os.getenv "SPEC_LUA"
if M.lua and M.lua:sub(1, 1) ~= "/" then M.lua = M.root .. "/" .. M.lua end

--- True if sanitizers are built in: memory and time are then not what they are.
M.sanitized = os.getenv "SPEC_SANITIZED" == "1"

--- Shell text to put before a plain `lua5.4` that loads what was built: an interpreter without
-- sanitizers must have theirs loaded first.
M.sanitizers_first = not M.sanitized and "" or "export ASAN_OPTIONS=detect_leaks=0 "
  .. 'LD_PRELOAD="$(cc -print-file-name=libasan.so)"\n'

--- Reads a whole file, /proc included. Raises if it cannot.
-- @tparam string path
-- @treturn string
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- Writes a file, making the directories that it needs. Raises if it cannot.
-- @tparam string path absolute
-- @tparam string text
-- @treturn string path
function M.write(path, text)
  for position in path:gmatch "()/" do
    if position > 1 then lfs.mkdir(path:sub(1, position - 1)) end
  end
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

--- Names in a directory, sorted, without "." and "..".
-- @tparam string path
-- @treturn {string,...}
function M.list(path)
  local names = {}
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Removes a file or a whole directory; links are not followed.
-- @tparam string path
function M.remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for _, name in ipairs(M.list(path)) do M.remove(path .. "/" .. name) end
  end
  os.remove(path)
end

local own_directories = {}
local directories_made = 0
local temporary = assert(os.getenv "TMPDIR", "run the specs by `make spec`: TMPDIR is not set")

--- A new empty directory, removed when the test (or, made outside of one, its
-- file) is over.
-- @treturn string absolute path
function M.tmpdir()
  directories_made = directories_made + 1
  local path = ("%s/spec-%d"):format(temporary, directories_made)
  assert(lfs.mkdir(path))
  own_directories[#own_directories + 1] = path
  return path
end

local function remove_own_directories(keep)
  for i = #own_directories, keep + 1, -1 do
    M.remove(own_directories[i])
    own_directories[i] = nil
  end
end

--- True if the specs run as root.
-- @treturn boolean
function M.is_root()
  return M.read("/proc/self/status"):match "\nUid:%s+%d+%s+(%d+)" == "0"
end

local CAP_SYS_ADMIN = 21

--- True if the specs run as a root that may mount: that of a container may not.
-- @treturn boolean
function M.is_admin()
  local effective = M.read("/proc/self/status"):match "\nCapEff:%s*(%x+)"
  return M.is_root() and tonumber(effective, 16) >> CAP_SYS_ADMIN & 1 == 1
end

--- True if a host with mounts of its own can be made here in which native works. One that a root
-- makes who may not mount has no user but that root, who must be left.
-- @treturn boolean
function M.can_make_hosts()
  return M.is_admin() or not M.is_root()
end

--- What gives `unshare` mounts of its own.
-- @treturn string
function M.own_mounts()
  return M.is_admin() and "-m" or "-Urm"
end

--- Calls `fn` until it returns something true, or the time is over. The way to
-- wait for what happens in another process, which may take its time where other
-- specs, and bombs of theirs, are busy.
-- @tparam function fn
-- @tparam[opt=30] number secs
-- @return what `fn` returned last
function M.poll(fn, secs)
  local deadline = system.monotime() + (secs or 30)
  local value = fn()
  while not value and system.monotime() < deadline do
    system.sleep(0.005)
    value = fn()
  end
  return value
end

--- Calls `fn` with environment variables set, really, and puts them back.
-- @tparam {[string]=string|false} variables false takes one away
-- @tparam function fn
-- @return what `fn` returns
function M.with_env(variables, fn)
  local before = {}
  for name, value in pairs(variables) do
    before[name] = os.getenv(name) or false
    support.setenv(name, value or nil)
  end
  local results = table.pack(pcall(fn))
  for name, value in pairs(before) do support.setenv(name, value or nil) end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- A word that /bin/sh takes as it is.
-- @tparam string text
-- @treturn string
function M.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a shell command to its end.
-- @tparam string command
-- @treturn string what it wrote, both streams
-- @treturn number exit code, or 128 and the signal
function M.shell(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null", "r"))
  local output = pipe:read "a"
  local _, how, code = pipe:close()
  return output, how == "signal" and 128 + code or code
end

--- Lets every user of the machine look at what is below a directory, and at the way to it.
-- @tparam string directory one of @{tmpdir}
function M.open_to_all(directory)
  M.shell(("chmod -R a+rX %s; chmod a+x %s"):format(M.quote(directory),
    M.quote(directory:match "^(.*)/")))
end

--- Lets a stage write below a directory, where it is another user than its host: a root that may
-- not mount cannot give what is root's to it.
-- @tparam string directory
-- @treturn string the directory
function M.open_to_stages(directory)
  if M.is_root() and not M.is_admin() then M.shell("chmod -R a+rwX " .. M.quote(directory)) end
  return directory
end

--- The ways in which a stage is begun: see spec/support/starts.lua.
M.STARTS = starts.ALL

--- What `info.start` says of a run that is begun so.
M.told_start = starts.told

--- In a `describe`: its stages are begun in this way.
-- @tparam string way of @{STARTS}
function M.begin_by(way)
  busted.setup(function() starts.use(way) end)
  busted.teardown(function()
    starts.tidy()
    starts.use(os.getenv "SPEC_START" or "cold")
  end)
end

--- Tests over several backends or starts: see spec/support/over.lua.
-- @function over
M.over = over.over

--- Tests that each user runs: see spec/support/over.lua.
-- @function for_each_user
M.for_each_user = over.for_each_user

--- A TCP socket of this machine's loopback that listens.
-- @treturn table `port`; `accepted()`: how many connections came; `close()`
function M.listen()
  local descriptor, port = support.listen()
  local listener = { port = port }
  function listener.accepted() return support.accepted(descriptor) end
  function listener.close()
    if descriptor then support.close(descriptor) end
    descriptor = nil
  end
  return setmetatable(listener, { __close = listener.close })
end

-- SPEC_LANDLOCK=2: Landlock is no newer than that in this process, as on older kernels.
local newest_landlock = tonumber(os.getenv "SPEC_LANDLOCK")
if newest_landlock then
  local pretend = core.pretend
  function core.pretend(things)
    local all = {}
    for name, value in pairs(things) do all[name] = value end
    all.landlock = math.min(things.landlock or newest_landlock, newest_landlock)
    return pretend(all)
  end
  core.pretend{}
end

local reasons, told, is_in_test = {}, {}, false

-- Why this machine has no such backend; false where it has it. Others than landlock are there
-- wherever specs run.
local function lacks(backend)
  if backend ~= "landlock" then return false end
  if reasons[backend] == nil then
    local isolation, process = require "noether.isolation", require "noether.process"
    local chosen, err = isolation.choose(backend, process.launch, { path = "/usr/bin" })
    reasons[backend] = not chosen and tostring(err)
  end
  return reasons[backend]
end

-- Of each file once: a failure in CI, unless SPEC_MAY_LACK names the backend.
local function tell_lacking(backend, reason)
  local may_lack = (" %s "):format(os.getenv "SPEC_MAY_LACK" or "")
  if told[backend] or is_in_test or may_lack:find(" " .. backend .. " ", 1, true) then return end
  told[backend] = true
  busted.pending(("what holds under %s: %s"):format(backend, reason))
end

--- Of backends those that this machine has: Landlock asks for Linux 6.2. What is left out is told
-- as skipped, once a file.
-- @tparam {string,...} list
-- @treturn {string,...}
function M.backends(list)
  local here = {}
  for _, backend in ipairs(list) do
    local reason = lacks(backend)
    if reason then tell_lacking(backend, reason) else here[#here + 1] = backend end
  end
  return here
end

--- Whether this machine has a backend, likewise.
-- @tparam string backend
-- @treturn boolean
function M.has(backend)
  return #M.backends{ backend } == 1
end

over.backends = M.backends

-- SPEC_LAUNCHER=1: runs are served by a supervisor that stood by, where they can be.
if os.getenv "SPEC_LAUNCHER" == "1" then
  local spawn = core.spawn
  function core.spawn(request)
    request.launcher = true
    return spawn(request)
  end
end

--- Starts runs that do nothing until one was served by a supervisor that stood by.
-- @treturn boolean whether there is such a one
function M.warm_up()
  return M.poll(function()
    local first = core.spawn{ argv = { "/bin/true" } }
    if not first then return false end
    first:wait()
    local launch = first:result() and first:result().launch
    first:close()
    return launch == "launcher"
  end)
end

local function is_jail_image(target)
  return target:match "^/memfd:noether%-jail" ~= nil
end

-- "pipe:[4711]" by descriptor. Left out are the first of the jail's image, which
-- old_kernels_spec makes the core open anew, and, since it is closed when it is
-- looked at, the one that lists them.
local function descriptors()
  local found, image_seen = {}, false
  local kept = {}
  for _, number in ipairs(select(2, core.launcher())) do
    kept[tostring(number)] = true
  end
  for _, name in ipairs(M.list "/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if kept[name] then
      image_seen = image_seen or is_jail_image(target or "")
    elseif target and is_jail_image(target) and not image_seen then
      image_seen = true
    else
      found[name] = target
    end
  end
  return found
end

local function status_of(pid)
  local file = io.open("/proc/" .. pid .. "/status")
  if not file then return "" end
  local text = file:read "a" or ""
  file:close()
  return text
end

-- "sleep (not reaped)" by pid.
-- One that sleeps at one look and runs at the next is the same; one that was not reaped is not.
local function children()
  local found = {}
  if not support.has_children() then return found end
  local own = status_of("self"):match "\nPid:%s+(%d+)"
  for _, pid in ipairs(M.list "/proc") do
    local status = pid:match "^%d+$" and status_of(pid) or ""
    if status:match "\nPPid:%s+(%d+)" == own then
      local ended = status:match "State:%s+(%S)" == "Z" and " (not reaped)" or ""
      found[pid] = status:match "Name:%s+(%S*)" .. ended
    end
  end
  return found
end

local function temporary_files()
  local found = {}
  for _, name in ipairs(M.list(temporary)) do
    found[name] = lfs.symlinkattributes(temporary .. "/" .. name, "mode")
  end
  return found
end

local function snapshot()
  return {
    ["file descriptor"] = descriptors(),
    ["child process"] = children(),
    ["temporary file"] = temporary_files(),
    ["working directory"] = { cwd = lfs.currentdir() },
  }
end

--- What is in `after` and was not, or was another, in `before`.
-- @treturn {string,...} "file descriptor 7 (pipe:[4711])"
function M.differences(before, after)
  local found = {}
  for what, things in pairs(after) do
    for name, value in pairs(things) do
      if before[what][name] ~= value then
        found[#found + 1] = ("%s %s (%s)"):format(what, name, value)
      end
    end
  end
  table.sort(found)
  return found
end

-- The core opens some things at the first run, and keeps them.
M.warm_up()

local name_of_test
local baseline
local directories_before

local function left_behind()
  return M.differences(baseline, snapshot())
end

local function before_test()
  baseline = snapshot()
  directories_before = #own_directories
end

-- What a test forgot is collected, only where there is something: a full
-- collection around each test would take longer than all of them. A handle that
-- was collected kills its process, which takes a moment to end; nothing else
-- goes by itself.
local function after_test()
  starts.tidy()
  remove_own_directories(directories_before)
  local left = left_behind()
  if #left == 0 then return end
  collectgarbage()
  collectgarbage()
  M.poll(function()
    core.reap()
    left = left_behind()
    return #left == 0 or not support.has_children()
  end, 5)
  if #left > 0 then
    lfs.chdir(M.root)
    error(("%s left behind: %s"):format(name_of_test, table.concat(left, ", ")), 0)
  end
end

busted.subscribe({ "test", "start" }, function(test)
  local trace = test.trace or {}
  is_in_test = true
  name_of_test = ("'%s' (%s:%s)"):format(test.name, trace.short_src, trace.currentline)
  return nil, true
end)

busted.subscribe({ "test", "end" }, function()
  is_in_test = false
  return nil, true
end)

-- What plan.lua names is not run as another user, too: so it may not do what could differ.
local spawn = core.spawn

local function refuse_to_spawn()
  error("spec/support/plan.lua says that this spec starts no process by the core", 0)
end

busted.subscribe({ "file", "start" }, function(file)
  local starts_none = plan.is_same_for_all(file.name) and not os.getenv "SPEC_START"
  if starts_none then core.spawn = refuse_to_spawn end
  return nil, true
end)

busted.subscribe({ "file", "end" }, function()
  core.spawn = spawn
  told = {}
  remove_own_directories(0)
  return nil, true
end)

if os.getenv "SPEC_COVERAGE" then require "spec.support.coverage" end

busted.before_each(before_test)
busted.after_each(after_test)

return M
