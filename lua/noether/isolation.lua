-- SPDX-License-Identifier: MIT
--- Which sandbox works here.
--
-- A backend is believed only after it has run a program: some hosts let the namespaces be made and
-- refuse the mounts. The trial is made once and remembered.
local compat = require "noether.compat"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local hints = require "noether.sandbox.hints"
local machine = require "noether.sandbox.machine"
local probe = require "noether.probe"
local sys = require "noether.sys"

local M = {}

--- The names of `isolation`, in the order in which "auto" tries them.
M.NAMES = { "auto", compat.unpack(descriptions.BACKENDS) }

-- Where a root-owned bubblewrap is found; a program of the user's own choice could claim anything.
local TRUSTED_BWRAP = {
  "/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap",
  "/run/current-system/sw/bin/bwrap", "/nix/var/nix/profiles/default/bin/bwrap",
}

local function is_trusted(path)
  local stat = sys.stat(path, true)
  return stat and stat.type == "file" and stat.uid == 0 and stat.mode % 0x20 < 0x10
    and math.floor(stat.mode / 2) % 2 == 0 and sys.access(path, "x")
end

local function find_bwrap(search_path)
  for _, path in ipairs(TRUSTED_BWRAP) do
    if is_trusted(path) then return path, {} end
  end
  local found = sys.find_program("bwrap", search_path)
  if not found then return nil end
  return found, { ("bwrap was found at %s, by PATH, and not in one of the system's own places")
    :format(found) }
end

local function trial_program()
  for _, path in ipairs{ "/usr/bin/true", "/bin/true" } do
    if sys.access(path, "x") then return path end
  end
  return sys.find_program("true", "/run/current-system/sw/bin")
end

local function failure(message, hint)
  return errors.new{ kind = "isolation_unavailable", message = message, hint = hint }
end

-- Ends that a program which runs could have brought about itself.
local TELLING = { exit = true, signal = true }

-- Of a trial that ran out of time, or was ended from outside: nothing is known by it.
local function untried(chosen, err, result)
  return errors.new{
    kind = "sandbox_failed", errno = err and err.errno or "EAGAIN", cause = err,
    message = ("isolation \"%s\" could not be tried: %s"):format(chosen.backend,
      err and err.message or "the trial was ended (" .. result.reason .. ")"),
    hint = "the machine is busy: try again. Nothing weaker is taken in its place",
  }
end

-- Runs a program that does nothing. True, or nil and what went wrong.
local function try(chosen, launch, opts)
  local program = trial_program()
  if not program then return nil, failure("no program 'true' to try it with") end
  local sandbox = descriptions.of_backend(chosen, descriptions.system())
  local result, err = probe.run({ program }, { sandbox = sandbox, launcher = false },
    { launch = launch, await = opts.await, patience = opts.patience })
  if probe.is_late(err) then return nil, untried(chosen, err) end
  if not result then return nil, err end
  if result.ok then return true end
  if not TELLING[result.reason] or result.signal == "SIGKILL" then
    return nil, untried(chosen, nil, result)
  end
  return nil, failure(("the trial ended with %s %s"):format(result.reason,
    tostring(result.exit_code or result.signal)))
end

local INSTALL_BWRAP = "install bubblewrap, by the system's packages"

local function bwrap(search_path)
  local path, warnings = find_bwrap(search_path)
  if not path then return nil, failure("bubblewrap is not installed", INSTALL_BWRAP) end
  return { backend = "bwrap", path = path, warnings = warnings }
end

-- What there is to try, by name: a function of the search path.
local BACKENDS = {
  native = function() return { backend = "native", warnings = {} } end,
  bwrap = bwrap,
  landlock = function() return { backend = "landlock", warnings = {} } end,
}

-- By name and search path: what worked once in this process is not tried again.
local remembered = {}

-- What the trial of a backend depends on.
local function conditions(chosen)
  local identity = machine.identity()
  local program = chosen.path and (sys.stamp(chosen.path, true) or "") or ""
  return identity and table.concat({ identity, chosen.path or "", program }, "\n")
end

local function on_disk(name)
  return "sandbox " .. name
end

-- Whether it worked here before, as another process noted.
local function is_known(name, chosen, found)
  return found and found:get(on_disk(name), function() return conditions(chosen) end) ~= nil
end

local function choose_one(name, launch, opts)
  local key = name .. ":" .. (opts.path or "")
  if remembered[key] then return remembered[key] end
  local chosen, err = BACKENDS[name](opts.path)
  if not chosen then return nil, err end
  if not is_known(name, chosen, opts.found) then
    local ok
    ok, err = try(chosen, launch, opts)
    if not ok then return nil, err end
    if opts.found then opts.found:put(on_disk(name), conditions(chosen), { works = true }) end
  end
  remembered[key] = chosen
  return chosen
end

local WITHOUT = "without any isolation, if that is meant: isolation = \"none\""

local function unavailable(message, hint)
  return errors.new{
    kind = "isolation_unavailable", message = message,
    hint = hint and hint .. "; " .. WITHOUT or WITHOUT,
  }
end

--- The error for "none" where isolation is required.
-- @treturn table `isolation_unavailable`
function M.none_refused()
  return errors.new{
    kind = "isolation_unavailable",
    message = "isolation \"none\" is refused here: isolation is required",
    hint = "it is required by require_isolation or by NOETHER_REQUIRE_ISOLATION",
  }
end

-- Whether an error says nothing of the backend that was tried.
local function is_untold(err)
  return errors.is_shortage(err) or err.kind == "cancelled" or hints.lacks_supervisor(err)
end

-- What helps one backend is said once, though it would help another.
local function add_advice(advice, name, hint)
  if not hint or advice[hint] then return end
  advice[hint] = true
  advice[#advice + 1] = ("for %s: %s"):format(name, hint)
end

-- One that could not be tried just now may be the better one: a weaker one must not take its place.
local function choose_first(launch, opts)
  local tried, advice = {}, {}
  for _, name in ipairs(M.NAMES) do
    if BACKENDS[name] then
      local chosen, err = choose_one(name, launch, opts)
      if chosen then return chosen end
      if is_untold(err) then return nil, err end
      tried[#tried + 1] = ("%s: %s"):format(name, err.message)
      add_advice(advice, name, err.hint)
    end
  end
  return nil, unavailable("no sandbox works here; " .. table.concat(tried, "; "),
    #advice > 0 and table.concat(advice, "; ") or nil)
end

--- Choose a backend that really works here.
-- @tparam string name one of @{NAMES}
-- @tparam function launch as `process.launch`, to try it
-- @tparam[opt] table opts `require` (refuse "none"), `path` (where to look for programs that are in
-- no trusted place), `await` (takes a process that was launched, gives its result or nil and an
-- error; default: wait), `patience` (seconds for each attempt, as of `probe.run`), `found` (what
-- worked here, kept on disk: cache/found.lua)
-- @treturn ?table `backend`, `path`, `warnings`; or nil and an error (`isolation_unavailable`; or
-- `spawn_failed`, `sandbox_failed`: nothing could be tried just now, for want of descriptors,
-- processes, memory or time)
-- @treturn ?table
function M.choose(name, launch, opts)
  opts = opts or {}
  opts = {
    require = opts.require, path = opts.path, patience = opts.patience, found = opts.found,
    await = opts.await or function(proc) return proc:wait() end,
  }
  if name == "none" and opts.require then
    return nil, M.none_refused()
  elseif name == "none" then
    return { backend = "none", warnings = {} }
  elseif name == "auto" then
    return choose_first(launch, opts)
  end
  local chosen, err = choose_one(name, launch, opts)
  if chosen then return chosen end
  if is_untold(err) then return nil, err end
  return nil, unavailable(("isolation \"%s\" does not work here: %s"):format(name, err.message),
    err.hint)
end

--- Forget what worked, so that the next call tries it again.
-- @tparam[opt] table found as of @{choose}
function M.forget(found)
  remembered = {}
  for name in pairs(found and BACKENDS or {}) do
    found:forget(on_disk(name))
  end
end

return M
