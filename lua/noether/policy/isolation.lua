-- SPDX-License-Identifier: MIT
--- What a sandbox must hold, from a stage's effects and its runtime: plain data that can be written
-- as JSON and read back. Nothing is looked up here; what need not exist on every machine is marked
-- `optional`, and is left out by whoever knows the machine.
local M = {}

--- Where the script files and the working directory are inside.
M.stage_dir = "/stage"
M.work_dir = "/work"

--- Variables of the host that a stage may see; a `*` at the end stands for any rest.
M.env_allowlist = { "LANG", "LC_*", "TZ" }

--- Further variables with Network: where certificates are.
M.network_env_allowlist = {
  "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
  "NIX_SSL_CERT_FILE", "GIT_SSL_CAINFO",
}

--- Where certificates are (and not the private keys beside them).
M.certificate_paths = {
  "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
  "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust",
  "/etc/ca-certificates", "/etc/ca-certificates.conf",
  "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

--- Paths that Network opens for reading, where they exist: name resolution, and certificates.
M.network_paths = {
  "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf",
  "/etc/services", "/etc/protocols",
}
for _, path in ipairs(M.certificate_paths) do
  M.network_paths[#M.network_paths + 1] = path
end

--- Likewise with a list of hosts: names are resolved by the sandbox's own means.
M.list_paths = { "/etc/services", "/etc/protocols" }
for _, path in ipairs(M.certificate_paths) do
  M.list_paths[#M.list_paths + 1] = path
end

--- Configuration that libraries read when they are loaded, and many do not load without, where it
-- exists: distributions keep it in /etc, behind links below /usr. Nothing in it is secret.
M.configuration_paths = { "/etc/matplotlibrc", "/etc/mime.types" }

--- Likewise of programs, for stages that may start any.
M.program_paths = {
  "/etc/ImageMagick-6", "/etc/ImageMagick-7", "/etc/R", "/etc/fonts", "/etc/java-11-openjdk",
  "/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/java-25-openjdk", "/etc/magic", "/etc/perl",
  "/etc/php",
}

--- Paths that Landlock opens for reading, where they exist. Without walls a file that may not be
-- read is there all the same, and node will not start without the one it sees.
M.landlock_paths = { "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf" }

--- Paths that libraries look for by themselves and do without: that a stage lacks them is nothing
-- to be told, where it is learnt what it needs.
M.unmissed_paths = {
  "/etc/ld.so.preload", "/etc/localtime", "/etc/locale.alias", "/etc/ssl/openssl.cnf",
  "/etc/pki/tls/openssl.cnf",
  "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/inputrc",
  "/etc/terminfo", "/run/nscd", "/var/run/nscd",
}

local MIB = 1024 * 1024

--- Limits where the caller gives none: bytes, seconds, counts. `math.huge` is none, and is left out
-- of the description. The deadline is the executor's, not the sandbox's.
M.limits = {
  memory_bytes = 2048 * MIB, cpu_secs = math.huge, processes = 256, open_files = 1024,
  file_bytes = 1024 * MIB, private_bytes = 256 * MIB, private_files = 65536,
}

--- Likewise, of a stage with a list of hosts.
M.list_limits = { connections = 256, network_bytes = math.huge }

local function is_within(path, parent)
  if parent == "/" then return true end
  local len = #parent
  if path:sub(1, len) ~= parent then return false end
  local after = path:byte(len + 1)
  return after == nil or after == 47 -- "/"
end

-- Binds by target, so that each is there once; the first one given stays, and must be there if any
-- of them must.
local function add(binds, source, target, optional)
  local known = binds[target]
  if not known then
    binds[target] = { source = source, target = target, optional = optional or nil }
  elseif not optional then
    known.optional = nil
  end
end

local function add_given(binds, list, optional)
  for _, bind in ipairs(list or {}) do
    if type(bind) == "string" then
      add(binds, bind, bind, optional)
    else
      add(binds, bind.source, bind.target, bind.optional or optional)
    end
  end
end

-- Sorted by target, so parents come before what lies in them.
local function sorted(binds)
  local list = {}
  for _, bind in pairs(binds) do
    list[#list + 1] = bind
  end
  table.sort(list, function(a, b) return a.target < b.target end)
  return list
end

-- Whether another bind shows the same already: it holds this one's source at this one's target, and
-- nothing writable was put between them.
local function is_shown_by(bind, other, writable)
  if other.optional or not is_within(bind.target, other.target) then return false end
  if other.source .. bind.target:sub(#other.target + 1) ~= bind.source then return false end
  for target in pairs(writable) do
    if is_within(bind.target, target) and is_within(target, other.target) then return false end
  end
  return true
end

-- Whether one of those that hold this one's target does. There may be a thousand others.
local function is_shown(bind, kept, writable)
  local target = bind.target
  repeat
    target = target:match("^(.+)/[^/]*$") or "/"
    if kept[target] and is_shown_by(bind, kept[target], writable) then return true end
  until target == "/"
  return false
end

local function without_doubles(binds, writable)
  local list, kept = {}, {}
  for _, bind in ipairs(sorted(binds)) do
    if not is_shown(bind, kept, writable) then
      list[#list + 1] = bind
      kept[bind.target] = bind
    end
  end
  return list
end

-- The files that the certificate variables name: a variable alone would be of no use.
local function certificate_paths(environ)
  local paths = {}
  for _, name in ipairs(M.network_env_allowlist) do
    for path in (environ[name] or ""):gmatch("[^:]+") do
      if path:sub(1, 1) == "/" then paths[#paths + 1] = path end
    end
  end
  return paths
end

-- A link into what is bound is left out: what is there by that name is there already.
local function copy_links(links, ...)
  local copy = {}
  for _, link in ipairs(links or {}) do
    local covered = false
    for _, binds in ipairs{ ... } do
      for target, bind in pairs(binds) do
        covered = covered or not bind.optional and is_within(link.target, target)
      end
    end
    if not covered then copy[#copy + 1] = { source = link.source, target = link.target } end
  end
  table.sort(copy, function(a, b) return a.target < b.target end)
  return copy
end

local function add_limits(merged, defaults, overrides)
  for name, value in pairs(defaults) do
    if overrides and overrides[name] ~= nil then value = overrides[name] end
    if value ~= math.huge then merged[name] = value end
  end
end

local function limits(overrides, has_list)
  local merged = {}
  add_limits(merged, M.limits, overrides)
  if has_list then add_limits(merged, M.list_limits, overrides) end
  return merged
end

local function allowlist(network)
  local names = {}
  for _, name in ipairs(M.env_allowlist) do
    names[#names + 1] = name
  end
  for _, name in ipairs(network and M.network_env_allowlist or {}) do
    names[#names + 1] = name
  end
  return names
end

local function under_own_names(binds)
  local renamed = {}
  for _, bind in pairs(binds) do
    add(renamed, bind.source, bind.source, bind.optional)
  end
  return renamed
end

--- Where a stage's script files are for its interpreter.
-- @tparam table opts `files_dir`, `in_place` as for @{describe}
-- @treturn string
function M.script_dir(opts)
  return opts.in_place and opts.files_dir or M.stage_dir
end

--- The sandbox of a stage.
-- @tparam table effects parsed: `network`, `process` (booleans), `hosts` (a list, or nil), `reads`,
-- `writes` (paths)
-- @tparam table runtime `ro_binds` (paths or `{ source, target }`), `links`
-- @tparam table opts `files_dir` (absolute path of the script files on the host), `backend` (its
-- name), `in_place` (it has no root of its own: everything is where it lies on the host), `limits`
-- (by name, over @{limits}), `environ` (the host's variables, for certificates)
-- @treturn table `ro_binds`, `rw_binds` (lists of `{ source, target[, optional] }`, sorted by
-- target: a narrower one comes later and wins), `links`, `work_dir`, `network` ("none", "host" or
-- "list"), `hosts` (of the list), `processes` (boolean), `env_allowlist`, `limits` (without those
-- that are none); in place every bind has its source's own name, and there are no links
function M.describe(effects, runtime, opts)
  local in_place, by_rules = opts.in_place, opts.in_place and opts.backend ~= "none"
  local writable, readable = {}, {}
  add_given(writable, effects.writes)
  add_given(readable, effects.reads)
  add_given(readable, runtime.ro_binds)
  if runtime.kind == "host" then
    add_given(readable, M.configuration_paths, true)
    if effects.process then add_given(readable, M.program_paths, true) end
  end
  if by_rules then add_given(readable, M.landlock_paths, true) end
  local outside = effects.network or effects.hosts ~= nil
  if outside then
    add_given(readable, effects.network and M.network_paths or M.list_paths, true)
    add_given(readable, certificate_paths(opts.environ or {}), true)
  end
  if in_place then readable = under_own_names(readable) end
  -- Writing includes reading: bound once more, the path would be read-only.
  for target in pairs(writable) do
    readable[target] = nil
  end
  if opts.files_dir then add(readable, opts.files_dir, M.script_dir(opts)) end
  return {
    ro_binds = without_doubles(readable, writable),
    rw_binds = sorted(writable),
    links = copy_links(not in_place and runtime.links or nil, readable, writable),
    work_dir = not by_rules and M.work_dir or nil,
    network = effects.network and "host" or effects.hosts and "list" or "none",
    hosts = not effects.network and effects.hosts or nil,
    processes = effects.process == true,
    env_allowlist = allowlist(outside),
    limits = limits(opts.limits, effects.hosts ~= nil),
  }
end

return M
