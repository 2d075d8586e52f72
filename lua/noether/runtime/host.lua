-- SPDX-License-Identifier: MIT
--- The host runtime: the interpreters that are installed on this machine.
-- What PATH names may be a version manager's shim, a wrapper or a link. So a candidate is run once
-- and asked what it really is: the probe, a few lines of its own language (from the language's
-- policy), prints one JSON object `{ path, version, dirs }`. The answer is checked, and kept in
-- this process and on disk for as long as all that it depends on stays the same (known.lua).
-- However many want to know at once, in this process and in others, one asks.
local errors = require "noether.error"
local findings = require "noether.cache.found"
local hints = require "noether.sandbox.hints"
local json = require "noether.json"
local known = require "noether.runtime.known"
local probe = require "noether.probe"
local sys = require "noether.sys"
local text = require "noether.text"

local M = {}

local PROBE_OUTPUT_BYTES = 64 * 1024
local STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"
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

-- Why a candidate could not be asked.
local function describe_error(err)
  if probe.is_late(err) then return ("did not answer within %.3g s"):format(err.limit) end
  return err.message
end

-- Runs one candidate: the decoded answer, or nil and a reason; and the error, if it did not run.
local function ask(candidate, arguments, env, ctx)
  local argv = { candidate }
  for _, argument in ipairs(arguments) do
    argv[#argv + 1] = argument
  end
  -- From "/", since some shims choose by a file in the working directory, and the answer is kept.
  local result, err = probe.run(argv, {
    env = env, cwd = "/", stdin = "",
    max_output_bytes = PROBE_OUTPUT_BYTES, max_stderr_bytes = PROBE_OUTPUT_BYTES,
  }, ctx)
  if not result then return nil, describe_error(err), err end
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
  local compiler
  if is_path(answer.compiler) then
    compiler, reason = check_interpreter(answer.compiler)
    if not compiler then return nil, "its compiler: " .. reason end
  end
  local binds = collect_binds(path, dirs, env.HOME and sys.realpath(env.HOME))
  if compiler then binds:add(compiler) end
  return {
    kind = "host",
    language = language.name,
    path = path,
    compiler = compiler,
    version = errors.clean(tostring(answer.version or "unknown"), 80),
    reference = "host:" .. path,
    ro_binds = binds:plain(),
    links = binds.links,
    warnings = binds.warnings,
  }
end

local BUSY = "the machine is busy, or its disk is slow: try again (a warm-up, `noether warmup`, "
  .. "looks ahead of the first call); or put the directory of one that answers first in PATH"

local SHELLS = { sh = true, dash = true, bash = true }

-- A shell that a language's policy has asked for another program is not what is missing.
local function what_to_install(language)
  if language.runtime.install then return language.runtime.install end
  local programs = language.runtime.programs
  if not SHELLS[programs[1]] or language.name == "bash" then
    return ("install %s, or put the directory of one that works into PATH"):format(
      table.concat(programs, " or "))
  end
  return ("install what %s stages are run by: its policy's probe, a script for %s, did not find it")
    :format(language.name, programs[1])
end

local function unavailable(language, path, tried)
  local detail = ("none in PATH (%s)"):format(path)
  if #tried > 0 then detail = table.concat(tried, "; ") end
  return errors.new{
    kind = "runtime_unavailable", errno = tried.late and "ETIMEDOUT" or nil,
    message = ("no %s interpreter that works: %s"):format(language.name, detail),
    hint = tried.late and BUSY or what_to_install(language),
  }
end

-- Whether an error tells nothing of the candidate, and nothing of the next one either.
local function is_none_of_it(err)
  if probe.is_late(err) then return false end
  return err.kind == "cancelled" or errors.is_shortage(err) or hints.lacks_supervisor(err)
end

-- One candidate's runtime and its answer; or nil, why not, and the error that ends the search.
local function try(candidate, language, env, ctx, tried)
  local answer, reason, err = ask(candidate, language.runtime.probe, env, ctx)
  tried.late = tried.late or probe.is_late(err)
  if err and is_none_of_it(err) then return nil, reason, err end
  if not answer then return nil, reason end
  local runtime
  runtime, reason = describe(language, answer, env)
  if not runtime then return nil, reason end
  return runtime, answer
end

local function with_passed_over(runtime, tried)
  for i, other in ipairs(tried) do
    table.insert(runtime.warnings, i, "passed over: " .. other)
  end
  return runtime
end

-- All programs that may be asked, each once: several names often lead to one.
local function candidates_of(language, path)
  local list, seen = {}, {}
  for _, program in ipairs(language.runtime.programs) do
    for _, candidate in ipairs(sys.find_programs(program, path)) do
      local real = sys.realpath(candidate) or candidate
      if not seen[real] then list[#list + 1] = candidate end
      seen[real] = true
    end
  end
  return list
end

-- Whether "22.18.0" comes after "22.9.1".
local function is_newer(version, other)
  local next_number = other:gmatch("%d+")
  for number in version:gmatch("%d+") do
    local difference = tonumber(number) - tonumber(next_number() or -1)
    if difference ~= 0 then return difference > 0 end
  end
  return false
end

-- As `find`, of all that answer the one with the highest version.
local function find_newest(language, path, env, ctx)
  local tried, best, asked = { late = false }, nil, nil
  for _, candidate in ipairs(candidates_of(language, path)) do
    local runtime, answer, err = try(candidate, language, env, ctx, tried)
    if err then return nil, err end
    if not runtime then
      tried[#tried + 1] = ("%s (%s)"):format(candidate, answer)
    elseif not best or is_newer(runtime.version, best.version) then
      best, asked = runtime, { candidate, answer }
    end
  end
  if not best then return nil, unavailable(language, path, tried) end
  if #tried > 0 then return with_passed_over(best, tried) end
  return best, nil, asked[1], asked[2]
end

-- The runtime; and if it is that of the very first candidate, this and its answer.
local function find(language, path, env, ctx)
  if language.runtime.newest then return find_newest(language, path, env, ctx) end
  local tried = { late = false }
  for _, program in ipairs(language.runtime.programs) do
    for _, candidate in ipairs(sys.find_programs(program, path)) do
      local runtime, answer, err = try(candidate, language, env, ctx, tried)
      if err then return nil, err end
      if runtime and #tried == 0 then return runtime, nil, candidate, answer end
      if runtime then return with_passed_over(runtime, tried) end
      tried[#tried + 1] = ("%s (%s)"):format(candidate, answer)
    end
  end
  return nil, unavailable(language, path, tried)
end

-- Whether those that would be asked now are those that were.
local function is_same_choice(kept, language, path)
  local now = candidates_of(language, path)
  if type(kept.candidates) ~= "table" or #now ~= #kept.candidates then return false end
  for index, candidate in ipairs(now) do
    if candidate ~= kept.candidates[index] then return false end
  end
  return true
end

-- The first program that would be asked.
local function first_candidate(language, path)
  for _, program in ipairs(language.runtime.programs) do
    local candidates = sys.find_programs(program, path)
    if candidates[1] then return candidates[1] end
  end
  return nil
end

-- What is to be found, in what environment, by what means.
local function new_search(language, ctx)
  local path = ctx.path ~= nil and ctx.path ~= "" and ctx.path or STANDARD_PATH
  local env = probe_environment(ctx.environ or {}, path)
  local cache = ctx.open_cache and ctx.open_cache()
  return {
    language = language, path = path, env = env, ctx = ctx, since = sys.clock(),
    key = known.key(language, env), found = cache and findings.of(cache),
  }
end

-- What another process was answered, if it still holds and would be the answer now.
local function recall_kept(search)
  local answer = search.found:get(search.key, function(kept)
    if type(kept.candidate) ~= "string" or not is_path(kept.path) then return nil end
    if search.language.runtime.newest then
      if not is_same_choice(kept, search.language, search.path) then return nil end
    elseif kept.candidate ~= first_candidate(search.language, search.path) then
      return nil
    end
    return known.conditions(kept, search.env) -- a tail call
  end)
  local runtime = answer and describe(search.language, answer, search.env)
  if runtime then known.remember(search.key, runtime) end
  return runtime
end

local function recall(search)
  local runtime = known.recall(search.key)
  if runtime or not search.found or search.ctx.is_fresh then return runtime end
  return recall_kept(search) -- a tail call
end

-- Only what the very first candidate answered is kept: what others could not do is asked again.
local function keep(search, candidate, answer)
  local kept = {
    candidate = candidate, path = answer.path, version = answer.version, dirs = answer.dirs,
    compiler = answer.compiler,
    candidates = search.language.runtime.newest and candidates_of(search.language, search.path)
      or nil,
  }
  search.found:put(search.key, known.conditions(kept, search.env), kept)
end

-- What one could not find is none for others if only its own time was over.
local function note_refusal(search, err)
  local is_late = search.ctx.is_late
  if err.kind == "runtime_unavailable" and not (is_late and is_late()) then
    known.note_refusal(search.key, err)
  end
end

-- Looks, unless somebody else has looked while this one waited for the lock.
local function find_once(search)
  local runtime, err = recall(search), known.refusal(search.key, search.since)
  if runtime or err then return runtime, err end
  local candidate, answer
  runtime, err, candidate, answer = find(search.language, search.path, search.env, search.ctx)
  if not runtime then
    note_refusal(search, err)
    return nil, err
  end
  known.remember(search.key, runtime)
  if search.found and answer then keep(search, candidate, answer) end
  return runtime
end

-- While one looks, the others wait: a version manager takes seconds, and each of its copies as long
-- again. Who cannot have the lock looks by himself.
local function find_exclusively(search)
  local path = search.found and search.ctx.lock and search.found:lock_path(search.key)
  local lock, err
  if path then lock, err = search.ctx.lock(path) end
  if err and err.kind == "cancelled" then return nil, err end
  local runtime
  runtime, err = find_once(search)
  if lock then lock:close() end
  return runtime, err
end

--- What is known already of a language's interpreter, by this process or another: nothing is run.
-- @tparam table language as of `resolve`
-- @tparam table ctx `path`, `environ`, `open_cache()`
-- @treturn ?table as of `resolve`; nil: it has to be looked for
function M.recall(language, ctx)
  return recall(new_search(language, ctx))
end

--- Find a language's interpreter on this machine.
-- The programs that its policy names are looked for in PATH order and asked what they are; the
-- first that answers and that we may read and run is taken, or the one with the highest version
-- (`runtime.newest`). The answer is kept, by language, PATH
-- and what else the probe sees of the environment, until that interpreter's file changes.
-- @tparam table language the language's policy: `name` and `runtime = { programs, probe }`, the
-- probe being the arguments with which a program prints `{"path":…,"version":…,"dirs":[…]}`,
-- and for a language that is compiled first `"compiler"`, the path of the program that does it;
-- `runtime.install`: what to do where none is found
-- @tparam table ctx `path` (as in PATH; only absolute entries count), `environ` (value by name; the
-- probe gets what version managers need of it), `launch` (as `process.launch`), `await` (takes what
-- launch gave, returns its result; may yield); and if there are `open_cache()`, `lock(path)` (waits
-- for a file's lock), `is_fresh` (do not take what other processes found), `patience`
-- @treturn ?table `kind` ("host"), `language`, `path` (the real interpreter), `version`,
-- `compiler`, `reference`, `ro_binds` and `links` (as in a sandbox description), `warnings`
-- @treturn ?table error: `runtime_unavailable`, what was tried and why it did not do;
-- `spawn_failed`, where nothing could be started just then
function M.resolve(language, ctx)
  local search = new_search(language, ctx)
  local runtime = recall(search)
  if runtime then return runtime end
  return find_exclusively(search) -- a tail call
end

--- Forget what was found, so that the next call looks again.
function M.forget()
  known.forget()
end

return M
