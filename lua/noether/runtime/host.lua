-- SPDX-License-Identifier: MIT
--- The host runtime: the interpreters that are installed on this machine.
-- What PATH names may be a version manager's shim, a wrapper or a link. So a candidate is run once
-- and asked what it really is: the probe, a few lines of its own language (from the language's
-- policy), prints one JSON object `{ path, version, dirs }`. The answer is checked, and kept for
-- the life of the process for as long as the interpreter's file stays the same.
local errors = require "noether.error"
local json = require "noether.json"
local sys = require "noether.sys"
local tables = require "noether.tables"
local text = require "noether.text"

local M = {}

local PROBE_TIMEOUT_SECS = 10
local PROBE_OUTPUT_BYTES = 64 * 1024
local STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"
local MAX_MEMOS = 64
local MAX_EXCERPT_BYTES = 200

-- The environment that shims find their way by; nothing that changes what an interpreter loads.
local PROBE_NAMES = { "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_CONFIG_HOME",
  "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "N_PREFIX" }
local PROBE_PREFIXES = { PYENV_ = true, NODENV_ = true, NVM_ = true, FNM_ = true, ASDF_ = true,
  MISE_ = true, RTX_ = true, VOLTA_ = true, GUIX_ = true, NIX_ = true }

-- Where a program expects the rest of the system; on many machines these are links into /usr.
local SYSTEM_DIRS = { "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin" }
local SYSTEM_FILES = { "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime" }

-- Package trees whose programs refer to one another all over the tree.
local STORES = { "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew" }

-- Never shown to a stage whole, whatever an interpreter says it needs.
local PRIVATE = { ["/"] = true, ["/boot"] = true, ["/dev"] = true, ["/etc"] = true,
  ["/home"] = true, ["/media"] = true, ["/mnt"] = true, ["/opt"] = true, ["/proc"] = true,
  ["/root"] = true, ["/run"] = true, ["/srv"] = true, ["/sys"] = true, ["/tmp"] = true,
  ["/var"] = true }

local memos, memo_count = {}, 0

local function is_below(path, directory)
  return path == directory or path:sub(1, #directory + 1) == directory .. "/"
end

local function is_path(value)
  return type(value) == "string" and value:sub(1, 1) == "/" and not value:find("%c")
end

local Binds = {}
Binds.__index = Binds

local function new_binds(home)
  return setmetatable({ list = {}, links = {}, warnings = {}, home = home }, Binds)
end

function Binds:covers(path)
  for _, bind in ipairs(self.list) do
    if is_below(path, bind.target) then return true end
  end
  for _, link in ipairs(self.links) do
    if is_below(path, link.target) then return true end
  end
  return false
end

-- Binds what is at `path` under that name, if anything is.
function Binds:add(path)
  local real = not self:covers(path) and sys.realpath(path)
  if real then self.list[#self.list + 1] = { source = real, target = path } end
end

-- A directory that the interpreter named. It is wanted by its own name and by its real one.
function Binds:add_directory(path)
  local real = sys.realpath(path)
  local stat = real and sys.stat(real)
  if not stat or stat.type ~= "directory" then return end
  if PRIVATE[real] or (self.home and is_below(self.home, real)) then
    self.warnings[#self.warnings + 1] = ("%s is not shown to stages whole"):format(real)
    return
  end
  self:add(real)
  self:add((path:gsub("/+$", "")))
end

function Binds:add_system()
  self:add("/usr")
  for _, path in ipairs(SYSTEM_DIRS) do
    local link = sys.readlink(path)
    if link then
      self.links[#self.links + 1] = { target = path, source = link }
    else
      self:add(path)
    end
  end
  for _, path in ipairs(SYSTEM_FILES) do
    self:add(path)
  end
end

-- As the sandbox takes them: a bind upon its own place is just the path.
function Binds:plain()
  local plain = {}
  for i, bind in ipairs(self.list) do
    plain[i] = bind.source == bind.target and bind.target or bind
  end
  return plain
end

-- What an interpreter needs to see. The shortest names come first, and cover those below them.
local function collect_binds(path, dirs, home)
  local binds = new_binds(home)
  binds:add_system()
  for _, store in ipairs(STORES) do
    if is_below(path, store) then binds:add(store) end
  end
  table.sort(dirs, function(a, b) return #a < #b or (#a == #b and a < b) end)
  for _, directory in ipairs(dirs) do
    binds:add_directory(directory)
  end
  binds:add(path)
  return binds
end

local function probe_environment(environ, path)
  local env = { PATH = path }
  for _, name in ipairs(PROBE_NAMES) do
    env[name] = environ[name]
  end
  for name, value in pairs(environ) do
    if PROBE_PREFIXES[name:match("^%u+_")] then env[name] = value end
  end
  return env
end

local function excerpt(said)
  local line = said:match("[^\r\n]*%S[^\r\n]*") or ""
  return errors.clean(line, MAX_EXCERPT_BYTES)
end

-- What a candidate that gave no answer did instead.
local function describe_failure(result)
  if result.reason == "timeout" then
    return ("did not answer within %d s"):format(PROBE_TIMEOUT_SECS)
  end
  if result.reason ~= "exit" then
    return ("ended by %s"):format(result.signal or result.reason)
  end
  local said = excerpt(result.stderr)
  return ("exit code %d%s"):format(result.exit_code, said ~= "" and ": " .. said or "")
end

-- The probe's answer as a table; nil and a reason. A shim may have said something before it.
local function decode_answer(output)
  local line = text.last_line(output)
  local answer = line and json.decode(line)
  if type(answer) == "table" and is_path(answer.path) then return answer end
  return nil, ("answered no interpreter's path: %s"):format(excerpt(line or "nothing"))
end

-- Runs one candidate: the decoded answer, or nil and a reason; and the error, if it did not run.
local function ask(candidate, probe, env, ctx)
  local argv = { candidate }
  for _, argument in ipairs(probe) do
    argv[#argv + 1] = argument
  end
  -- From "/", since some shims choose by a file in the working directory, and the answer is kept.
  local proc, err = ctx.launch(argv, {
    env = env, cwd = "/", stdin = "", timeout_secs = PROBE_TIMEOUT_SECS,
    max_output_bytes = PROBE_OUTPUT_BYTES, max_stderr_bytes = PROBE_OUTPUT_BYTES,
  })
  if not proc then return nil, tostring(err), err end
  local result
  result, err = ctx.await(proc)
  proc:close()
  if not result then return nil, tostring(err), err end
  if result.reason ~= "exit" or result.exit_code ~= 0 then return nil, describe_failure(result) end
  return decode_answer(result.stdout)
end

-- The real file, if we may read and run it; nil and a reason.
local function check_interpreter(path)
  local real, message = sys.realpath(path)
  if not real then return nil, message end
  local stat = sys.stat(real)
  if not stat or stat.type ~= "file" then return nil, real .. " is not a regular file" end
  local ok
  ok, message = sys.access(real, "rx")
  if not ok then return nil, message end
  return real
end

local function describe(language, answer, env)
  local path, reason = check_interpreter(answer.path)
  if not path then return nil, reason end
  local dirs = {}
  for _, directory in ipairs(type(answer.dirs) == "table" and answer.dirs or {}) do
    if is_path(directory) then dirs[#dirs + 1] = directory end
  end
  local binds = collect_binds(path, dirs, env.HOME and sys.realpath(env.HOME))
  return {
    kind = "host",
    language = language.name,
    path = path,
    version = errors.clean(tostring(answer.version or "unknown"), 80),
    reference = "host:" .. path,
    ro_binds = binds:plain(),
    links = binds.links,
    warnings = binds.warnings,
  }
end

local function unavailable(language, path, tried)
  local programs = table.concat(language.runtime.programs, " or ")
  local detail = ("none in PATH (%s)"):format(path)
  if #tried > 0 then detail = table.concat(tried, "; ") end
  return errors.new{
    kind = "runtime_unavailable",
    message = ("no %s interpreter that works: %s"):format(language.name, detail),
    hint = ("install %s, or put the directory of one that works into PATH"):format(programs),
  }
end

local function find(language, path, env, ctx)
  local tried = {}
  for _, program in ipairs(language.runtime.programs) do
    for _, candidate in ipairs(sys.find_programs(program, path)) do
      local answer, reason, err = ask(candidate, language.runtime.probe, env, ctx)
      if err and errors.is_shortage(err) then return nil, err end
      local runtime
      if answer then runtime, reason = describe(language, answer, env) end
      if runtime then
        for i, other in ipairs(tried) do
          table.insert(runtime.warnings, i, "passed over: " .. other)
        end
        return runtime
      end
      tried[#tried + 1] = ("%s (%s)"):format(candidate, reason)
    end
  end
  return nil, unavailable(language, path, tried)
end

-- All that an answer depends on.
local function memo_key(language, env)
  local lines = {}
  for name, value in pairs(env) do
    lines[#lines + 1] = name .. "=" .. value
  end
  table.sort(lines)
  local parts = { language.name, table.concat(language.runtime.programs, "\0"),
    table.concat(language.runtime.probe, "\0"), table.concat(lines, "\0") }
  return table.concat(parts, "\0\0")
end

local function remember(key, runtime)
  if memo_count >= MAX_MEMOS then memos, memo_count = {}, 0 end
  if not memos[key] then memo_count = memo_count + 1 end
  memos[key] = { runtime = runtime, stamp = sys.stamp(runtime.path) }
end

--- Find a language's interpreter on this machine.
-- The programs that its policy names are looked for in PATH order and asked what they are; the
-- first that answers and that we may read and run is taken. The answer is kept for the process,
-- by language, PATH and what else the probe sees of the environment, until that interpreter's
-- file changes.
-- @tparam table language the language's policy: `name` and `runtime = { programs, probe }`, the
-- probe being the arguments with which a program prints `{"path":…,"version":…,"dirs":[…]}`
-- @tparam table ctx `path` (as in PATH; only absolute entries count), `environ` (value by name; the
-- probe gets what version managers need of it), `launch` (as `process.launch`), `await` (takes what
-- launch gave, returns its result; may yield)
-- @treturn ?table `kind` ("host"), `language`, `path` (the real interpreter), `version`,
-- `reference`, `ro_binds` and `links` (as in a sandbox description), `warnings`
-- @treturn ?table error: `runtime_unavailable`, what was tried and why it did not do;
-- `spawn_failed`, where nothing could be started just then
function M.resolve(language, ctx)
  local path = ctx.path ~= nil and ctx.path ~= "" and ctx.path or STANDARD_PATH
  local env = probe_environment(ctx.environ or {}, path)
  local key = memo_key(language, env)
  local memo = memos[key]
  if memo and memo.stamp == sys.stamp(memo.runtime.path) then return tables.plain(memo.runtime) end
  local runtime, err = find(language, path, env, ctx)
  if not runtime then return nil, err end
  remember(key, runtime)
  return tables.plain(runtime)
end

--- Forget what was found, so that the next call looks again.
function M.forget()
  memos, memo_count = {}, 0
end

return M
