-- SPDX-License-Identifier: MIT
--- What an executor was told: options, then the environment, then defaults.
-- Options beat the environment, but for isolation, which the environment may only tighten.
local effects = require "noether.effects"
local errors = require "noether.error"
local options = require "noether.options"
local process = require "noether.process"
local tables = require "noether.tables"

local M = {}

local LIMITS = { fields = process.LIMITS }

--- Where packages come from, and what installing them may take.
M.PIP_OPTIONS = {
  index_url = "string", extra_index_urls = "strings", find_links = "strings",
  trusted_hosts = "strings", env = "variables", only_binary = "boolean", max_bytes = "bytes",
  max_files = "count",
}

--- What holds where the option `pip` says nothing.
M.PIP_DEFAULTS = { only_binary = true, max_bytes = 1024 * 1024 * 1024, max_files = 131072 }

--- Every option of an executor.
M.EXECUTOR_OPTIONS = {
  store = "store", timeout_secs = "seconds", setup_timeout_secs = "seconds",
  max_output_bytes = "bytes", max_stderr_bytes = "bytes", limits = LIMITS, env = "variables",
  isolation = { "auto", "native", "bwrap", "landlock", "none" }, require_isolation = "boolean",
  allow_effects = "any", grants = { fields = { paths = "strings", network = "boolean" } },
  runtime = { "auto", "host", "nix" }, nixpkgs = "flake", lock_file = "path",
  launch = { "direct", "run" },
  cache_dir = "path", policy = "table", policy_path = "string", allow_unpinned_pip = "boolean",
  pip = { fields = M.PIP_OPTIONS },
  legacy_input = "boolean", log = "function", log_level = { "debug", "info", "warn", "error" },
}

--- Every option of one call.
M.CALL_OPTIONS = {
  timeout_secs = "seconds", setup_timeout_secs = "seconds", max_output_bytes = "bytes",
  max_stderr_bytes = "bytes", limits = LIMITS, env = "variables", work_dir = "path",
  on_log = "function",
}

--- Every option of a warm-up.
M.WARMUP_OPTIONS = { setup_timeout_secs = "seconds", on_progress = "function" }

--- The part of an executor's options that the original calls its configuration.
M.CONFIG_OPTIONS = {
  timeout_secs = "seconds", max_output_bytes = "bytes", max_stderr_bytes = "bytes",
  isolation = M.EXECUTOR_OPTIONS.isolation,
}

M.DEFAULTS = {
  timeout_secs = 30, setup_timeout_secs = 300, max_output_bytes = 10 * 1024 * 1024,
  max_stderr_bytes = 64 * 1024, isolation = "auto", runtime = "auto", log_level = "info",
  require_isolation = false, allow_unpinned_pip = false, legacy_input = false, policy_path = "",
  launch = "direct",
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

local function parse_allowed(fname, given, level)
  if given.allow_effects == nil then return end
  local parsed, reason = effects.parse(given.allow_effects)
  if not parsed then error(("%s: allow_%s"):format(fname, reason), level) end
  given.allowed = parsed
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

local function check_places(fname, pip, level)
  for option, rule in pairs(PLACES) do
    local list = pip[option]
    if type(list) == "string" then list = { list } end
    for _, place in ipairs(list or {}) do
      if not rule[1](place) then
        error(("%s: pip: option '%s': expected %s"):format(fname, option, rule[2]), level)
      end
      for name in place:gmatch("%${([%w_]+)}") do
        if not (pip.env or {})[name] then
          error(("%s: pip: option '%s': pip.env has no '%s'"):format(fname, option, name), level)
        end
      end
    end
  end
end

--- Read an executor's options and environment.
-- @tparam string fname the public function, for messages
-- @tparam ?table opts see @{EXECUTOR_OPTIONS}
-- @tparam table environ the process's environment
-- @tparam[opt=3] number level whose line an error names
-- @treturn ?table the whole configuration: a new table, with `warnings` (a list) about the
-- environment; or nil and an error (`runtime_unavailable`) if the environment names a runtime there
-- is not
-- @treturn ?table
-- @raise on a wrong option
function M.read(fname, opts, environ, level)
  level = (level or 3) + 1
  local config = options.check(fname, opts, M.EXECUTOR_OPTIONS, level)
  from_environment(config, environ)
  local ok, err = check_runtime(config)
  if not ok then return nil, err end
  parse_allowed(fname, config, level)
  config.pip = tables.merged(M.PIP_DEFAULTS, config.pip)
  check_places(fname, config.pip, level)
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
-- @tparam[opt=3] number level whose line an error names
-- @treturn table
-- @raise on a wrong option
function M.for_call(fname, opts, config, level)
  if opts == nil then return config end
  level = (level or 3) + 1
  local given = options.check(fname, opts, M.CALL_OPTIONS, level)
  given.limits = tables.merged(config.limits, given.limits)
  given.env = tables.merged(config.env, given.env)
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
