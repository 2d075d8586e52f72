-- SPDX-License-Identifier: MIT
--- Packages for Python stages: one virtual environment a set of requirements.
--
-- It is one of the environments of @{environments}. The installer has the network only if there is
-- something to ask there. Stages see the environment read-only.
local cache = require "noether.cache.scripts"
local descriptions = require "noether.sandbox.description"
local environment = require "noether.sandbox.environment"
local environments = require "noether.runtime.environments"
local errors = require "noether.error"
local index_hosts = require "noether.runtime.index_hosts"
local json = require "noether.json"
local pylock = require "noether.runtime.pylock"
local resource = require "noether.resource"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local FORMAT = "1" -- of the environments: another one does not know those there are
local INSIDE = "/venv" -- where stages with a file system of their own see theirs
local METADATA_BYTES = 64 * 1024 * 1024
local REPORT_BYTES = 64 * 1024 * 1024
local REPORT_VALUES = 4000000

local PROGRAM = resource.text "runtime/venv/build.py"

-- Its exit codes, by the part that failed.
local PARTS = { [65] = "venv", [66] = "install", [67] = "copy" }

-- What pip and its interpreter need beside what is installed.
local MEMORY_BYTES = 1024 * 1024 * 1024

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

local in_place = environments.in_place

local function has_hashes(requirements)
  return requirements[1]:find(" --hash=", 1, true) ~= nil
end

local function is_directory_path(place)
  return place:sub(1, 1) == "/"
end

local function find_links(options)
  local directories, remote = {}, false
  for _, place in ipairs(options.find_links or {}) do
    if is_directory_path(place) then
      directories[#directories + 1] = place
    else
      remote = true
    end
  end
  return directories, remote
end

-- Whether the installer has anything to ask that is not a directory here.
local function needs_network(options)
  local directories, remote = find_links(options)
  return #directories == 0 or remote or options.index_url ~= nil
    or (options.extra_index_urls ~= nil and options.extra_index_urls[1] ~= nil)
end

-- The commands of the installer and the file beside them; placeholders stand for paths.
local function commands(base, wanted, requirements)
  local policies, options = wanted.policies, wanted.options
  local hashes = has_hashes(requirements)
  local called, venv = policies:call("pip", "venv_argv", base.path, "{dir}")
  if not called then return nil, venv end
  local install
  called, install = policies:call("pip", "install_argv", "{dir}/bin/python", requirements, {
    hashes = hashes, only_binary = options.only_binary, file = "{file}",
  })
  if not called then return nil, install end
  local file
  called, file = policies:call("pip", "requirements_file", requirements, {
    hashes = hashes, index_url = options.index_url, extra_index_urls = options.extra_index_urls,
    find_links = options.find_links, trusted_hosts = options.trusted_hosts,
  })
  if not called then return nil, file end
  return { venv = venv, install = install, file = file }
end

-- All that decides what an environment holds is in its name.
local function key_of(base, wanted, job)
  local parts = {
    FORMAT, in_place(wanted.chosen) and "in place" or INSIDE, base.path, base.version,
    table.concat(job.venv, "\0"), table.concat(job.install, "\0"),
    environments.redacted(job.file, wanted.options.env),
  }
  return sys.sha256(table.concat(parts, "\0\0")):sub(1, 32)
end

local function identify(base, wanted)
  local requirements = tables.merged(wanted.requirements)
  table.sort(requirements)
  local job, err = commands(base, wanted, requirements)
  if not job then return nil, err end
  local root, key = wanted.cache_dir .. "/venvs", key_of(base, wanted, job)
  return {
    job = job, key = key, root = root, dir = root .. "/" .. key, version = base.version,
    final = in_place(wanted.chosen) and root .. "/" .. key or INSIDE,
    places = function(record) return { "/bin", "/" .. record.site } end,
    is_record = function(record) return type(record.site) == "string" end,
  }
end

local function limits_of(options)
  return {
    private_bytes = options.max_bytes, private_files = options.max_files,
    file_bytes = options.max_bytes, memory_bytes = options.max_bytes + MEMORY_BYTES,
  }
end

-- The directories that the installer looks into, by the option and by the policy; and certificates,
-- which a pip of 2025 reads when it starts, whether or not there is a network.
local function readable_paths(wanted)
  local paths, policies = find_links(wanted.options), wanted.policies
  for _, list in ipairs{ policies:data("pip", "paths") or {},
      policies:data("isolation", "certificate_paths") or {} } do
    for _, path in ipairs(list) do
      if sys.stat(path, true) then paths[#paths + 1] = path end
    end
  end
  return paths
end

local function variables(base, wanted, context, description, temp)
  local policies = wanted.policies
  local names = tables.merged(description.env_allowlist)
  if description.network ~= "none" then
    for _, name in ipairs(policies:data("pip", "env_allowlist") or {}) do
      names[#names + 1] = name
    end
  end
  local env = environment.public(context.environ, names, {
    home = descriptions.home_of(description, wanted.chosen.backend), runtime = base,
    language = tables.merged(base.variables, policies:data("pip", "env")),
  })
  if in_place(wanted.chosen) then env.HOME, env.TMPDIR = temp, temp end
  return tables.merged(env, wanted.options.env)
end

-- --- Its hosts ---------------------------------------------------------------------------------

local NAMES_AN_INDEX = { ["-i"] = true, ["--index-url"] = true, ["--no-index"] = true }

-- Whether a command and its file leave the index to pip.
local function asks_own_index(said)
  for word in said:gmatch("[^%s=]+") do
    if NAMES_AN_INDEX[word] then return false end
  end
  return true
end

-- Whether pip reads nobody's configuration, as the policy has it unless it is replaced.
local function is_isolated(said, own_env)
  return said:find("--isolated", 1, true) ~= nil and own_env.PIP_CONFIG_FILE == "/dev/null"
end

-- What pip itself says of where it looks; or nil and an error.
local function places_of_pip(base, wanted, context, said, own_env)
  local own, isolated = asks_own_index(said), is_isolated(said, own_env)
  if isolated and not own then return "" end
  return environments.ask(base, wanted, context, {
    process = true, reads = readable_paths(wanted),
    argv = { base.path, "-I", "-B", "-X", "utf8", "-c", PROGRAM },
    stdin = assert(json.encode{ places = {
      own = own, configured = not isolated, isolated = said:find("--isolated", 1, true) ~= nil,
    } }),
    env = function(description) return variables(base, wanted, context, description) end,
  })
end

-- The hosts that the installer is held to; nil, where it is held to none; or nil and an error.
local function hosts_of(base, wanted, context, job)
  local further, policies = index_hosts.said(wanted, "pip"), wanted.policies
  if not further or not needs_network(wanted.options)
    or not descriptions.holds_hosts(wanted.chosen.backend) then
    return nil
  end
  local own_env = tables.merged(policies:data("pip", "env"), wanted.options.env)
  local said = table.concat(job.install or job.lock, "\n") .. "\n" .. job.file
  local places, err = places_of_pip(base, wanted, context, said, own_env)
  if not places then return nil, err end
  return index_hosts.held(further, { said, places }, {
    index_hosts.proxies(context.environ, policies:data("pip", "env_allowlist")), own_env,
  })
end

-- --- Running it --------------------------------------------------------------------------------

local function launch_installer(base, wanted, context, job, temp)
  local held, err = hosts_of(base, wanted, context, job)
  if err then return nil, err end
  local description
  description, err = environments.describe(base, wanted, context, {
    network = needs_network(wanted.options), process = true, hosts = held,
    reads = readable_paths(wanted), limits = limits_of(wanted.options),
  })
  if not description then return nil, err end
  local out = temp .. "/out"
  local target = in_place(wanted.chosen) and out or INSIDE
  local text = assert(json.encode(tables.merged(job, {
    out = target, private = not in_place(wanted.chosen),
  })))
  local proc
  proc, err = environments.launch(wanted, description, context, {
    argv = { base.path, "-I", "-B", "-X", "utf8", "-c", PROGRAM }, stdin = text, out = out,
    target = target, env = variables(base, wanted, context, description, temp .. "/t"),
  })
  return proc, err, held
end

-- What the installer's end means, in its own words.
local function judge(result, wanted, argv, held)
  if result.reason == "exit" and result.exit_code == 0 then return true end
  local shown = tables.merged(result, {
    stderr = environments.redacted(result.stderr, wanted.options.env), argv = argv,
  })
  local called, kind, message, hint = wanted.policies:call("errors", "classify", {
    source = "pip", stderr = shown.stderr, exit_code = result.exit_code, signal = result.signal,
    reason = result.reason, part = PARTS[result.exit_code or 0],
    walls = not in_place(wanted.chosen),
  })
  if not called then return nil, kind end
  local why, place = index_hosts.explain(shown, held, "pip")
  local err = failure(kind, message, why or hint)
  err.result, err.network = shown, place
  if kind == "setup_timed_out" then err.limit = wanted.limit end
  return nil, err
end

local function is_directory(path)
  local stat = sys.stat(path)
  return stat ~= nil and stat.type == "directory"
end

-- "lib/python3.11/site-packages": relative, and without following any link. A package can bring
-- along directories for other interpreters, too: then it is the one for this version.
local function find_site(directory, version)
  local found, only = {}, nil
  if not is_directory(directory .. "/lib") then return nil end
  for _, name in ipairs(sys.list(directory .. "/lib") or {}) do
    local site = "lib/" .. name .. "/site-packages"
    if name:find("^python") and is_directory(directory .. "/lib/" .. name)
      and is_directory(directory .. "/" .. site) then
      only = not next(found) and site or nil
      found[name] = site
    end
  end
  return found["python" .. (version:match("^%d+%.%d+") or "")] or only
end

-- The distributions that are installed, and a hash over what the record of each says that it holds;
-- or nil and an error.
local function inventory(site)
  local packages, lines = {}, {}
  local names, message, errno = sys.list(site)
  if not names then return nil, cache.failure(message, errno) end
  for _, name in ipairs(names) do
    local package, version = name:match("^(.-)%-([^-]+)%.dist%-info$")
    if package then
      local spec = package .. "==" .. version
      local files
      files, message, errno = sys.read_file(site .. "/" .. name .. "/RECORD", METADATA_BYTES)
      if errors.NO_DESCRIPTOR[errno] then return nil, cache.failure(message, errno) end
      files = ("\n" .. (files or "")):gsub("\n%.%./[^\n]*", "") -- scripts differ by where they lie
      packages[#packages + 1] = spec
      lines[#lines + 1] = spec .. " " .. sys.sha256(files)
    end
  end
  table.sort(packages)
  table.sort(lines)
  return packages, sys.sha256(table.concat(lines, "\n"))
end

-- What came along is subject to the same policy as what was named. No code of it has run.
local function check_installed(packages, wanted)
  local refused = {}
  for _, spec in ipairs(packages) do
    local called, allowed, reason = wanted.policies:call("pip", "check", spec, {
      allow_unpinned = wanted.allow_unpinned,
    })
    if not called then return nil, allowed end
    if not allowed then
      refused[#refused + 1] = ("'%s' (%s)"):format(errors.clean(spec, 80), reason)
    end
  end
  if #refused == 0 then return true end
  return nil, failure("package_rejected", "packages refused: " .. table.concat(refused, "; "),
    "they are dependencies of what the stage requires; the pip policy's lists hold for them, too")
end

local function record_of(set, directory, wanted)
  local site = find_site(directory, set.version)
  if not site or not sys.stat(directory .. "/bin/python") then
    return nil, failure("packages_failed", "the installer left no virtual environment",
      "the pip policy's installer must make one at {dir}")
  end
  local packages, contents = inventory(directory .. "/" .. site)
  if not packages then return nil, contents end
  local ok, err = check_installed(packages, wanted)
  if not ok then return nil, err end
  return { site = site, packages = json.array(packages), contents = contents }
end

-- Runs the installer to its end.
local function install(base, wanted, context, job, temp, argv)
  local proc, err, held = launch_installer(base, wanted, context, job, temp)
  if not proc then return nil, err end
  local result
  result, err = context.await(proc)
  proc:close()
  if not result then return nil, err end
  return judge(result, wanted, argv, held)
end

local function build(base, wanted, context, set, temp)
  local job = set.job
  local ok, err = install(base, wanted, context, {
    venv = json.array(job.venv), install = json.array(job.install), file = job.file,
    final = set.final,
  }, temp, job.install)
  if not ok then return nil, err end
  return record_of(set, temp .. "/out", wanted)
end

local function runtime_of(base, set, record, extra)
  local binds = tables.merged(base.ro_binds)
  binds[#binds + 1] = { source = set.dir, target = INSIDE }
  local programs = { set.final .. "/bin" }
  for _, path in ipairs(base.search_path or {}) do
    programs[#programs + 1] = path
  end
  return tables.merged(tables.merged(base, extra), {
    kind = "venv", path = programs[1] .. "/python", search_path = programs, ro_binds = binds,
    reference = ("%s venv:%s"):format(base.reference, set.key), own_dir = set.dir,
    packages = tables.merged(record.packages), contents = record.contents,
  })
end

-- --- Locks -------------------------------------------------------------------------------------

-- "sha256=..." of the report, or what newer ones have beside it.
local function hash_in(archive)
  local hashes = type(archive.hashes) == "table" and archive.hashes or {}
  local plain = type(archive.hash) == "string" and archive.hash:match("^sha256=(%x+)$")
  return type(hashes.sha256) == "string" and hashes.sha256 or plain or nil
end

-- One package of pip's report; nil and why it cannot be locked.
local function locked(item)
  local download = type(item.download_info) == "table" and item.download_info or {}
  local metadata = type(item.metadata) == "table" and item.metadata or {}
  local hash = type(download.archive_info) == "table" and hash_in(download.archive_info)
  if type(metadata.name) ~= "string" or type(metadata.version) ~= "string" then
    return nil, "pip's report does not say its name and version"
  elseif item.is_direct then
    return nil, "it comes from an address, and not from an index"
  elseif not hash or type(download.url) ~= "string" then
    return nil, "pip's report has no SHA-256 of it"
  end
  return { name = metadata.name, version = metadata.version, hash = hash,
    url = environments.redacted(download.url) }
end

local function read_report(temp)
  local text, message = sys.read_file(temp .. "/out/report.json", REPORT_BYTES)
  if not text then return nil, "pip wrote no report: " .. message end
  local report, reason = json.decode(text, nil, REPORT_VALUES)
  if type(report) == "table" and type(report.install) == "table" then return report.install end
  return nil, "pip's report cannot be read: " .. (reason or "it has no list of packages")
end

-- The lock of what pip would install; or nil and an error.
local function lock_of(temp, wanted)
  local items, reason = read_report(temp)
  if not items then return nil, failure("packages_failed", reason, "pip 23 or later is needed") end
  local packages, specs = {}, {}
  for index, item in ipairs(items) do
    packages[index], reason = locked(item)
    if not packages[index] then
      local name = type(item.metadata) == "table" and tostring(item.metadata.name) or "?"
      return nil, failure("package_rejected", ("packages refused: '%s' (%s)"):format(
        errors.clean(name, 80), reason))
    end
    specs[index] = packages[index].name .. "==" .. packages[index].version
  end
  local ok, err = check_installed(specs, wanted)
  if not ok then return nil, err end
  return pylock.write(packages)
end

--- The lock of requirements: pip finds out what it would install, and installs nothing.
-- @tparam table base as of `resolve`
-- @tparam table wanted as of `resolve`
-- @tparam table context as of `resolve`
-- @treturn ?string the text of a pylock.toml; or nil and an error
-- @treturn ?table
function M.lock(base, wanted, context)
  local options, policies = wanted.options, wanted.policies
  local called, argv, reason = policies:call("pip", "lock_argv", base.path, wanted.requirements, {
    only_binary = options.only_binary, file = "{file}", report = "{report}",
  })
  if not called then return nil, argv end
  if not argv then return nil, failure("packages_failed", reason) end
  local file
  called, file = policies:call("pip", "requirements_file", wanted.requirements, {
    index_url = options.index_url, extra_index_urls = options.extra_index_urls,
    find_links = options.find_links, trusted_hosts = options.trusted_hosts,
  })
  if not called then return nil, file end
  local key = sys.sha256(table.concat(argv, "\0") .. file):sub(1, 32)
  local set = { root = wanted.cache_dir .. "/venvs", key = key }
  return environments.aside(set, wanted.limit, context, function(temp)
    local ok, err = install(base, wanted, context, { lock = json.array(argv), file = file }, temp,
      argv)
    if not ok then return nil, err end
    return lock_of(temp, wanted)
  end)
end

--- A runtime that has packages, made of one that has none.
-- @tparam table base the runtime whose interpreter it is
-- @tparam table wanted `requirements` (as the pip policy gave them; not empty), `options` (the
-- executor's `pip`), `chosen` (the backend), `cache_dir`, `policies`, `limit` (seconds, for
-- messages), `allow_unpinned`
-- @tparam table context of setup: `launch`, `await`, `lock`, `hold`, `is_late`, `environ`
-- @treturn ?table the runtime: `kind` "venv", `packages` (list of "name==version", with all that
-- came along), `contents` (hash of what they hold), `own_dir`, `warnings`, and if it was built just
-- now `build_secs`
-- @treturn ?table error: `packages_failed`, `package_rejected`, `setup_timed_out`, `cache_failed`,
-- `policy_error`, `sandbox_failed`
function M.resolve(base, wanted, context)
  local set, err = identify(base, wanted)
  if not set then return nil, err end
  local record, how = environments.have(set, {
    limit = wanted.limit,
    allow = function(found) return check_installed(found.packages, wanted) end,
    build = function(temp) return build(base, wanted, context, set, temp) end,
  }, context)
  if not record then return nil, how end
  return runtime_of(base, set, record, how)
end

return M
