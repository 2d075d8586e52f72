-- SPDX-License-Identifier: MIT
--- What an executor was told: options, then the environment, then defaults.
-- Options beat the environment, but for isolation, which the environment may only tighten.
local calls = require "noether.run.calls"
local descriptions = require "noether.sandbox.description"
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local functions = require "noether.stage.functions"
local hosts = require "noether.hosts"
local options = require "noether.options"
local outputs = require "noether.run.outputs"
local tables = require "noether.tables"
local verdict = require "noether.run.verdict"
local warm = require "noether.warm.settings"
local words = require "noether.executor.words"

local M = {}

--- What a run may use: its processes, its calls to functions of the host, its answer, its files.
M.LIMITS = {}
for _, limits in ipairs{ descriptions.LIMITS, calls.LIMITS, verdict.LIMITS, outputs.LIMITS } do
  M.LIMITS = tables.merged(M.LIMITS, limits)
end

local LIMITS = { fields = M.LIMITS }

--- Where packages come from, and what installing them may take.
M.PIP_OPTIONS = {
  index_url = "string", extra_index_urls = "strings", find_links = "strings",
  trusted_hosts = "strings", hosts = "strings_or_none", env = "variables", only_binary = "boolean",
  max_bytes = "bytes", max_files = "count",
}

--- What holds where the option `pip` says nothing.
M.PIP_DEFAULTS = { only_binary = true, max_bytes = 1024 * 1024 * 1024, max_files = 131072 }

--- Likewise of packages for JavaScript.
M.NPM_OPTIONS = {
  registry = "string", hosts = "strings_or_none", env = "variables", max_bytes = "bytes",
  max_files = "count",
}

--- What holds where the option `npm` says nothing.
M.NPM_DEFAULTS = { max_bytes = 1024 * 1024 * 1024, max_files = 131072 }

--- Every option of an executor.
M.EXECUTOR_OPTIONS = {
  store = "store", timeout_secs = "seconds", setup_timeout_secs = "seconds",
  max_output_bytes = "bytes", max_stderr_bytes = "bytes", limits = LIMITS, env = "variables",
  isolation = words.isolation, require_isolation = "boolean",
  allow_effects = "any",
  grants = { fields = { paths = "strings", network = "boolean", hosts = "strings" } },
  runtime = words.runtime, nixpkgs = "flake", lock_file = "path",
  launch = { "direct", "run" }, launcher = "boolean", loopback = "boolean",
  cache_dir = "path", policy = "table", policy_path = "string", allow_unpinned_pip = "boolean",
  pip = { fields = M.PIP_OPTIONS }, npm = { fields = M.NPM_OPTIONS },
  functions = "table", on_call = "function", on_network = "function", journal = "boolean",
  legacy_input = "boolean", big_integers = { "exact", "string" },
  on_leftover_threads = words.on_leftover_threads, warm = "switch_or_table",
  log = "function", log_level = { "debug", "info", "warn", "error" },
}

--- Every option of one call.
M.CALL_OPTIONS = {
  timeout_secs = "seconds", setup_timeout_secs = "seconds", max_output_bytes = "bytes",
  max_stderr_bytes = "bytes", limits = LIMITS, env = "variables", work_dir = "path",
  on_log = "function", functions = "table", on_call = "function", on_network = "function",
  journal = "boolean", packages = "strings", lock = "string", replay = "any",
  on_leftover_threads = words.on_leftover_threads, files = "table", outputs = "strings",
  output_dir = "path", output_overwrite = "boolean", warm = "switch_or_table",
  learn = "any",
}

--- Every option of a warm-up.
M.WARMUP_OPTIONS = {
  setup_timeout_secs = "seconds", on_progress = "function", fresh = "boolean", spares = "natural",
}

--- The part of an executor's options that the original calls its configuration.
M.CONFIG_OPTIONS = {
  timeout_secs = "seconds", max_output_bytes = "bytes", max_stderr_bytes = "bytes",
  isolation = M.EXECUTOR_OPTIONS.isolation,
}

M.DEFAULTS = {
  timeout_secs = 30, setup_timeout_secs = 300, max_output_bytes = 10 * 1024 * 1024,
  max_stderr_bytes = 64 * 1024, isolation = "auto", runtime = "auto", log_level = "info",
  require_isolation = false, allow_unpinned_pip = false, legacy_input = false, policy_path = "",
  launch = "direct", launcher = false, loopback = true, journal = false, big_integers = "exact",
}

local LOG_LEVELS = { debug = 1, info = 2, warn = 3, error = 4 }

-- A level that is none changes nothing, and whoever listens to the log is told.
local function log_level_from(given, level)
  if given.log_level ~= nil or not level or level == "" then return end
  local ok, reason = options.matches(level:lower(), M.EXECUTOR_OPTIONS.log_level)
  if ok then
    given.log_level = level:lower()
  else
    given.warnings = { ("NOETHER_LOG_LEVEL: %s; it is ignored"):format(reason) }
  end
end

local function from_environment(given, environ)
  local runtime = environ.NOETHER_RUNTIME
  if given.runtime == nil and runtime and runtime ~= "" then given.runtime = runtime end
  log_level_from(given, environ.NOETHER_LOG_LEVEL)
  if given.allow_unpinned_pip == nil and environ.NOETHER_ALLOW_UNPINNED_PIP then
    given.allow_unpinned_pip = options.is_on(environ.NOETHER_ALLOW_UNPINNED_PIP)
  end
  given.launcher = options.switch(given.launcher, environ.NOETHER_LAUNCHER)
  if options.is_on(environ.NOETHER_REQUIRE_ISOLATION) then given.require_isolation = true end
end

-- An option was checked already: what is wrong here came from the environment.
local function check_runtime(given)
  local ok, reason = true, nil
  if given.runtime then
    ok, reason = options.matches(given.runtime, M.EXECUTOR_OPTIONS.runtime)
  end
  if ok then return true end
  return nil, errors.new{ kind = "runtime_unavailable", message = "NOETHER_RUNTIME: " .. reason }
end

local function parse_allowed(fname, given)
  if given.allow_effects == nil then return end
  local parsed, reason = effects.parse(given.allow_effects)
  if not parsed then options.raise(("%s: allow_%s"):format(fname, reason)) end
  given.allowed = parsed
end

local function check_grants(fname, grants)
  if not grants or not grants.hosts then return end
  local ok, what = hosts.parse(grants.hosts)
  if not ok then options.raise(("%s: grants: option 'hosts': expected %s"):format(fname, what)) end
end

-- A journal to replay, read once for all runs of a call: each takes of a copy.
local function read_replay(fname, given)
  if given.replay == nil then return end
  local queues, reason = calls.read_replay(given.replay)
  if not queues then options.raise(("%s: replay: %s"):format(fname, reason)) end
  given.replay = queues
end

-- What is opened to a stage that is learnt of: nothing, or effects.
local function read_learn(fname, given)
  if not given.learn then return end
  if given.learn ~= true and type(given.learn) ~= "table" then
    options.raise(("%s: option 'learn': expected true, or a list of effects to open"):format(fname))
  end
  local parsed, reason = effects.parse(given.learn == true and {} or given.learn)
  if not parsed then options.raise(("%s: learn: %s"):format(fname, reason)) end
  given.learn, given.warm = parsed, false
end

-- Places stand in a file that the installer reads: no blanks, quotes or backslashes.
local function is_url(place)
  return place:find("^https?://.") ~= nil and not place:find("[%s%c\"'\\<>\128-\255]")
end

local function is_place(place)
  return is_url(place) or (place:sub(1, 1) == "/" and not place:find("%c"))
end

local function is_host(host)
  return host:find("^[%w_.:%[%]-]+$") ~= nil
end

local PLACES = {
  index_url = { is_url, "an http:// or https:// URL" },
  extra_index_urls = { is_url, "http:// or https:// URLs" },
  find_links = { is_place, "absolute paths of directories, or http:// or https:// URLs" },
  trusted_hosts = { is_host, "names of hosts" },
}

local function check_places(fname, pip)
  for option, rule in pairs(PLACES) do
    local list = pip[option]
    if type(list) == "string" then list = { list } end
    for _, place in ipairs(list or {}) do
      if not rule[1](place) then
        options.raise(("%s: pip: option '%s': expected %s"):format(fname, option, rule[2]))
      end
      for name in place:gmatch("%${([%w_]+)}") do
        if not (pip.env or {})[name] then
          options.raise(("%s: pip: option '%s': pip.env has no '%s'"):format(fname, option, name))
        end
      end
    end
  end
end

-- Those beside an index's own.
local function check_installer_hosts(fname, name, list)
  if not list or not list[1] then return end
  local ok, what = hosts.parse(list)
  if ok and hosts.asked(ok) then ok, what = nil, "names, and nobody to ask" end
  if not ok then
    options.raise(("%s: %s: option 'hosts': expected %s"):format(fname, name, what))
  end
end

--- Read an executor's options and environment.
-- @tparam string fname the public function, for messages
-- @tparam ?table opts see @{EXECUTOR_OPTIONS}
-- @tparam table environ the process's environment
-- @treturn ?table the whole configuration: a new table, with `warnings` (a list) about the
-- environment; or nil and an error (`runtime_unavailable`) if the environment names a runtime there
-- is not
-- @treturn ?table
-- @raise on a wrong option
function M.read(fname, opts, environ)
  local config = options.check(fname, opts, M.EXECUTOR_OPTIONS)
  from_environment(config, environ)
  local ok, err = check_runtime(config)
  if not ok then return nil, err end
  parse_allowed(fname, config)
  check_grants(fname, config.grants)
  options.check_loopback(fname, config)
  config.functions = functions.check(fname, config.functions)
  config.pip = tables.merged(M.PIP_DEFAULTS, config.pip)
  config.npm = tables.merged(M.NPM_DEFAULTS, config.npm)
  if config.npm.registry and not is_url(config.npm.registry) then
    options.raise(fname .. ": npm: option 'registry': expected an http:// or https:// URL")
  end
  config.warm = warm.check(fname, config.warm)
  check_places(fname, config.pip)
  check_installer_hosts(fname, "npm", config.npm.hosts)
  check_installer_hosts(fname, "pip", config.pip.hosts)
  for name, default in pairs(M.DEFAULTS) do
    if config[name] == nil then config[name] = default end
  end
  for _, name in ipairs{ "limits", "grants", "env", "warnings" } do
    config[name] = config[name] or {}
  end
  return config
end

--- The configuration of one call: the executor's, with the call's options in their places.
-- @tparam string fname the public function, for messages
-- @tparam ?table opts see @{CALL_OPTIONS}
-- @tparam table config of the executor
-- @treturn table
-- @raise on a wrong option
function M.for_call(fname, opts, config)
  if opts == nil then return config end
  local given = options.check(fname, opts, M.CALL_OPTIONS)
  outputs.check_options(fname, given)
  given.limits = tables.merged(config.limits, given.limits)
  given.env = tables.merged(config.env, given.env)
  given.functions = tables.merged(config.functions, functions.check(fname, given.functions))
  read_replay(fname, given)
  given.warm = warm.check(fname, given.warm)
  read_learn(fname, given)
  return tables.merged(config, given)
end

--- Make the function through which an executor speaks: silent unless it was given a listener.
-- @tparam table config
-- @treturn function taking a level, a message and fields
function M.logger(config)
  local listener, threshold = config.log, LOG_LEVELS[config.log_level]
  return function(level, message, fields)
    if listener and LOG_LEVELS[level] >= threshold then listener(level, message, fields or {}) end
  end
end

return M
