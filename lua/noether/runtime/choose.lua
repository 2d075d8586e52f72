-- SPDX-License-Identifier: MIT
--- Which kind of runtime an execution takes.
--
-- "auto" takes nix where it is in use, else the host. Where nix is there and cannot be used, "auto"
-- takes the host and says so in a warning; but an executor that pins (`nixpkgs`, `lock_file`) gets
-- what it pinned, or an error.
local errors = require "noether.error"
local failures = require "noether.runtime.failures"
local kinds = require "noether.runtime.kinds"

local M = {}

-- Where interpreters come from, by the option's word.
local RUNTIMES = {}
for _, kind in ipairs(kinds) do
  RUNTIMES[kind] = require("noether.runtime." .. kind)
end

local host, nix = RUNTIMES.host, RUNTIMES.nix

local function fail(message, hint)
  return nil, errors.new{ kind = "runtime_unavailable", message = message, hint = hint }
end

local function is_pinned(settings)
  return settings.nixpkgs ~= nil or settings.lock_file ~= nil
end

local function check_launch(settings)
  if settings.launch ~= "run" then return true end
  if settings.isolation ~= "none" then
    return fail("launch = \"run\" works only with isolation = \"none\": nix needs the host's "
      .. "network and store", "leave launch out: what nix built is then run directly, and isolated")
  elseif settings.runtime == "host" then
    return fail("launch = \"run\" is a way of the nix runtime, not of the host's",
      "leave launch out, or take runtime = \"nix\"")
  end
  return true
end

--- Whether an executor's settings can be had here at all.
-- @tparam table settings `runtime`, `isolation`, `launch`, `nixpkgs`, `lock_file`
-- @tparam table environ
-- @treturn ?boolean true; or nil and an error (`runtime_unavailable`)
-- @treturn ?table
function M.check(settings, environ)
  local ok, err = check_launch(settings)
  if not ok then return nil, err end
  local wants_nix = settings.runtime == "nix" or settings.launch == "run"
    or settings.runtime == "auto" and is_pinned(settings)
  if wants_nix and not nix.find(environ) then return nil, nix.not_installed(environ) end
  return true
end

-- What a Python stage imports and nix must bring; nothing where it says itself what it requires.
local function packages_of(job, language)
  local code = job.stage and job.stage.code
  if not code or not language.runtime.packages or #(job.requirements or {}) > 0 then return {} end
  local called, list = job.policies:call("packages", "detect", code)
  if not called then return nil, list end
  return list
end

-- The host's runtime in the place of one that nix could not give.
local function instead(language, context, message)
  local runtime, host_err = host.resolve(language, context)
  if not runtime then return nil, host_err end
  table.insert(runtime.warnings, 1,
    ("nix could not be used, so %s is the host's: %s"):format(language.name, message))
  return runtime
end

local function recent_failure(known, key)
  for _, what in ipairs{ failures.ALL, key } do
    local message, age = known:recent(what)
    if message then
      return ("%s (%d s ago; a warm-up asks it again)"):format(message, math.floor(age))
    end
  end
  return nil
end

-- A nix that failed is not asked again at each call. A warm-up asks it.
local function try_nix(job, language, context)
  local cache, err = context.open_cache()
  if not cache then return nil, err end
  local known = failures.of(cache, nix.find(context.environ), context.environ)
  local key = failures.name(language.name, context.packages)
  local message = not job.is_warmup and recent_failure(known, key)
  if message then return instead(language, context, message) end
  local unlocked = false
  function context.on_unlocked() unlocked = true end
  local runtime
  runtime, err = nix.resolve(language, context)
  if runtime and job.is_warmup then
    known:forget(failures.ALL)
    known:forget(key)
  end
  if runtime or err.kind ~= "runtime_unavailable" or context.is_late() then return runtime, err end
  known:remember(unlocked and failures.ALL or key, err.message)
  return instead(language, context, err.message)
end

-- Whether nix must give the runtime; false if it may; nil if it is not asked.
local function needs_nix(settings, environ)
  if settings.runtime ~= "auto" then return settings.runtime == "nix" or nil end
  if is_pinned(settings) or settings.launch == "run" then return true end
  if nix.is_in_use(environ) then return false end
  return nil
end

--- Resolve a language, with the packages that the job's stage imports if its runtime is nix's.
-- @tparam table job `is_warmup`: ask nix even if it failed a moment ago
-- @tparam table language its policy
-- @tparam table context as for `nix.resolve`; `packages` is set here
-- @treturn ?table the runtime; or nil and an error
-- @treturn ?table
function M.resolve(job, language, context)
  local needed = needs_nix(job.call, context.environ)
  if needed == nil then return (RUNTIMES[job.call.runtime] or host).resolve(language, context) end
  local err
  context.packages, err = packages_of(job, language)
  if not context.packages then return nil, err end
  if needed then return nix.resolve(language, context) end
  return try_nix(job, language, context)
end

return M
