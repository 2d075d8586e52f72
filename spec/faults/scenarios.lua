-- SPDX-License-Identifier: MIT
--- What the fault harness runs: short pieces of a host's life, each of which uses another part of
-- the library. A scenario returns true, or nil and an error; whatever it opens it closes.
local command = require "noether.command"
local caches = require "noether.cache.scripts"
local noether = require "noether"
local support = require "spec.support.posix"
local sys = require "noether.sys"

local M = {}

local function sh(text)
  return { "/bin/sh", "-c", text }
end

local function isolated(isolation, opts)
  local all = { isolation = isolation, clear_env = true, timeout_secs = 10 }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  return all
end

-- What a run must have come to if nothing failed. That a part of stderr is missing is told, and
-- takes nothing from the rest.
local function expect(result, err, stdout)
  if not result then return nil, err end
  if result.reason == "exit" and result.exit_code == 0 and result.stdout == stdout then
    return true
  end
  return nil, { kind = "result: " .. result.reason .. (result.errno and " " .. result.errno or ""),
    result = result }
end

local function runs(isolation, argv, opts, stdout)
  return function()
    local result, err = command.run(argv, isolated(isolation, opts))
    return expect(result, err, stdout)
  end
end

local STAGE = { language = "bash", effects = {}, code = "execute() { echo log >&2; echo $1; }" }

-- One call of an executor that has never run anything, as `opts` say.
local function executes(opts)
  return function(dir)
    local all = { cache_dir = dir .. "/cache", timeout_secs = 10, runtime = "host" }
    for name, value in pairs(opts) do
      all[name] = value
    end
    local ex <close>, err = noether.executor(all)
    if not ex then return nil, err end
    local output
    output, err = ex:execute(STAGE, { 1, 2 }, { on_log = function() end })
    if err then return nil, err end
    return output[2] == 2 or nil, { kind = "wrong output" }
  end
end

local function pieces()
  local left = 3
  return function()
    left = left - 1
    return left >= 0 and ("x"):rep(50000) or nil
  end
end

--- The scenarios, by name: a function that is given an empty directory.
M.ALL = {
  ["run kept"] = runs("none", sh("echo a; echo b >&2"), { stdin = "x" }, "a\n"),
  -- What the child is given then has high numbers.
  ["run among many files"] = function()
    local files = {}
    for i = 1, 150 do
      files[i] = assert(io.open("/dev/null"))
    end
    local ok, err = runs("none", sh("cat"), { stdin = "x", launcher = true }, "x")()
    for _, file in ipairs(files) do
      file:close()
    end
    return ok, err
  end,
  -- Until a supervisor that stood by has served one, and then once more.
  ["run by launcher"] = function()
    for _ = 1, 5 do
      local ok, err = runs("none", sh("cat"), { stdin = "x", launcher = true }, "x")()
      if not ok then return nil, err end
      support.pause()
    end
    return true
  end,
  ["run bare"] = runs("none", sh("cat"), { stdin = "x", supervise = false }, "x"),
  ["run native"] = runs("native", sh("echo a"), {}, "a\n"),
  ["run bwrap"] = runs("bwrap", sh("echo a"), {}, "a\n"),
  ["run landlock"] = runs("landlock", sh("echo a"), {}, "a\n"),
  ["run with a list of hosts"] = function()
    local description = require "noether.sandbox.description".system()
    description.network, description.hosts = "list", { "a.example:443" }
    return runs("native", sh("echo a"), { sandbox = description }, "a\n")()
  end,
  ["listen"] = function()
    local listener, message, errno = sys.listen()
    if not listener then return nil, { kind = "spawn_failed", message = message, errno = errno } end
    listener:close()
    return true
  end,
  ["much of all"] = runs("none", sh("head -c 200000 /dev/zero >&2; cat"),
    { stdin = ("y"):rep(300000), max_stderr_bytes = math.huge }, ("y"):rep(300000)),
  ["streams"] = function(dir)
    local result, err = command.run(sh("cat; echo >&2"), isolated("none", {
      stdin = pieces(), stdout = { path = dir .. "/out" }, on_stdout = function() end,
      on_stderr = function() end,
    }))
    local ok
    ok, err = expect(result, err, "")
    if not ok then return nil, err end
    result, err = command.run(sh("cat >/dev/null"), isolated("none", {
      stdin = { path = dir .. "/out" },
    }))
    return expect(result, err, "")
  end,
  ["kill and close"] = function()
    local proc <close>, err = command.spawn(sh("sleep 60"), isolated("none"))
    if not proc then return nil, err end
    local left <close>, left_err = command.spawn(sh("sleep 60"), isolated("native"))
    if not left then return nil, left_err end
    local ok
    ok, err = proc:kill()
    if not ok then return nil, err end
    local result
    result, err = proc:wait()
    if not result then return nil, err end
    return result.reason == "signal" or nil, { kind = "result: " .. result.reason }
  end,
  ["task"] = function(dir)
    local ex <close>, err = noether.executor{
      isolation = "none", cache_dir = dir .. "/cache", runtime = "host",
    }
    if not ex then return nil, err end
    local stage = { language = "bash", code = "execute() { sleep 60; }" }
    local task <close>, task_err = ex:start(stage, 1)
    if not task then return nil, task_err end
    local fd
    fd, err = task:pollfd()
    if not fd then return nil, err end
    task:step()
    task:cancel()
    local _, end_err = task:wait()
    return end_err.kind == "cancelled" or nil, end_err
  end,
  ["first call"] = executes{ isolation = "native" },
  ["first call, auto"] = executes{},
  ["files in and out"] = function(dir)
    local ex <close>, err = noether.executor{
      isolation = "native", cache_dir = dir .. "/cache", runtime = "host",
    }
    if not ex then return nil, err end
    local out, message, errno = sys.mkdtemp(dir .. "/out-")
    if not out then return nil, caches.failure(message, errno) end
    local output, info
    output, err, info = ex:execute({
      language = "bash", effects = { "Process" },
      code = "execute() { mkdir sub; cat in.txt >sub/out.txt; echo 1; }",
    }, nil, { files = { ["in.txt"] = "text", host = { path = "/etc/passwd" } },
      outputs = { "sub/out.txt" }, output_dir = out,
      timeout_secs = 20 })
    if err then return nil, err end
    local text
    text, message, errno = sys.read_file(out .. "/sub/out.txt")
    if not text then return nil, caches.failure(message, errno) end
    local right = output == 1 and text == "text" and #info.outputs == 1
    return right or nil, { kind = "wrong output" }
  end,
  ["map"] = function(dir)
    local ex <close>, err = noether.executor{
      isolation = "none", cache_dir = dir .. "/cache", runtime = "host",
    }
    if not ex then return nil, err end
    local records
    records, err = ex:map(STAGE, { 1, 2, 3 }, { jobs = 2 })
    if not records then return nil, err end
    for index, record in ipairs(records) do
      if record.err then return nil, record.err end
      if record.output ~= index then return nil, { kind = "wrong output" } end
    end
    return true
  end,
  ["set"] = function()
    local set <close>, err = noether.set()
    if not set then return nil, err end
    local procs, seen = {}, 0
    for i = 1, 2 do
      local proc
      proc, err = command.spawn(sh("exit 0"), isolated("none"))
      if not proc then return nil, err end
      procs[i], err = set:add(proc)
      if not procs[i] then
        proc:close()
        return nil, err
      end
    end
    while seen < 2 do
      local item
      item, err = set:next(10)
      if not item then return nil, err end
      item:close()
      seen = seen + 1
    end
    return true
  end,
  ["prune"] = function(dir)
    local cache <close>, err = caches.open(dir .. "/cache", {})
    if not cache then return nil, err end
    local path
    path, err = cache:put_files({ stage = "old" })
    if not path then return nil, err end
    local ok, message, errno = sys.touch(path, 1000000)
    if not ok then return nil, caches.failure(message, errno) end
    local report
    report, err = noether.prune{ cache_dir = cache.dir }
    if not report then return nil, err end
    if report.failed[1] then return nil, caches.failure(report.failed[1].message) end
    return report.count == 1 or nil, { kind = "wrong count" }
  end,
  ["store"] = function(dir)
    local store, err = noether.store.open(dir .. "/store")
    if not store then return nil, err end
    local id
    id, err = store:put{ language = "bash", code = "execute() { :; }", name = "n" }
    if not id then return nil, err end
    local stage, list
    stage, err = store:get("n")
    if not stage then return nil, err end
    list, err = store:list()
    if not list then return nil, err end
    if #list ~= 1 then return nil, { kind = "wrong list" } end
    if list[1].err then return nil, list[1].err end
    return store:remove(id)
  end,
}

-- What a program finds around it. Whatever a fault in the supervisor does, the program runs behind
-- the walls that it always has, or not at all.
local LOOK = "exec 2>&1; "
  .. "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap|Sig[BI])' /proc/self/status; "
  .. "pwd; id -u; hostname; ulimit -a; umask; ls -a / /dev /work; cat /proc/net/dev; "
  .. "ls /proc/self/fd"

local function less(now, before)
  local has, list = {}, {}
  for _, word in ipairs(now) do
    has[word] = true
  end
  for _, word in ipairs(before) do
    if not has[word] then list[#list + 1] = word end
  end
  return list
end

local usual = {}

local function looks(isolation)
  return function()
    local result, err = command.run(sh(LOOK), isolated(isolation, {
      limits = { processes = 50, open_files = 64, memory_bytes = 2 ^ 30, file_bytes = 2 ^ 20,
        private_bytes = 2 ^ 20, private_files = 100 },
    }))
    if not result then return nil, err end
    if result.reason ~= "exit" then return nil, { kind = "result: " .. result.reason } end
    local shape = result.stdout:gsub("%d%d%d+", "N"):gsub("/tmp/noether%-%w+", "/tmp/own")
    usual[isolation] = usual[isolation] or { shape = shape, enforced = result.enforced }
    local missing = less(result.enforced, usual[isolation].enforced)
    if #missing > 0 then return "success without " .. table.concat(missing, " ") end
    if shape == usual[isolation].shape then return true end
    return nil, { kind = "another world", message = result.stdout }
  end
end

--- The same for faults in the supervisor: one for each way to isolate.
M.JAIL = { native = looks "native", bwrap = looks "bwrap", landlock = looks "landlock",
  none = looks "none" }

return M
