-- SPDX-License-Identifier: MIT
--- Packages for JavaScript and TypeScript stages: one directory of node_modules a set of
-- requirements.
--
-- It is one of the environments of @{environments}. The machine's npm makes it in two steps: the
-- first writes package-lock.json and fetches no package; the lock is judged here, by rules that do
-- not depend on npm's version; the second fetches what the lock names, and nothing else. No code of
-- any package runs. Stages see the result read-only, and find it by NOETHER_PACKAGES.
local descriptions = require "noether.sandbox.description"
local environment = require "noether.sandbox.environment"
local environments = require "noether.runtime.environments"
local errors = require "noether.error"
local index_hosts = require "noether.runtime.index_hosts"
local json = require "noether.json"
local resource = require "noether.resource"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local FORMAT = "npm 2"
local INSIDE = "/packages" -- where stages with a file system of their own see theirs
local LOCK = "package-lock.json"
local MODULES = "node_modules"
local MAX_LOCK_BYTES = 16 * 1024 * 1024
local MAX_LOCK_VALUES = 1000000
local HASH_BYTES = 64
local COPIED = 67

local PROGRAM = resource.text "runtime/npm/build.js"

-- What npm and its interpreter need beside what is installed.
local MEMORY_BYTES = 1024 * 1024 * 1024

local function failure(kind, message, hint)
  return errors.new{ kind = kind, message = message, hint = hint }
end

-- --- The lock ----------------------------------------------------------------------------------

local function refusal(name, reason)
  return nil, failure("package_rejected", ("packages refused: '%s' (%s)"):format(
    errors.clean(name, 80), reason), "only packages of the registry are taken, with their SHA-512")
end

-- "node_modules/a/node_modules/@b/c" -> "@b/c", "node_modules/a"
local function place_of(key)
  if key:sub(1, #MODULES + 1) ~= MODULES .. "/" or key:find("..", 1, true) or key:find("%c") then
    return nil
  end
  local above, name = key:match("^(.*)/node_modules/([^/]+)$")
  if not name then above, name = key:match("^(.*)/node_modules/(@[^/]+/[^/]+)$") end
  name = name or key:match("^node_modules/([^/]+)$") or key:match("^node_modules/(@[^/]+/[^/]+)$")
  return name, above
end

local BASE64 = "^[%w+/]+=*$"

local function has_hash(integrity)
  local digest = type(integrity) == "string" and integrity:match("^sha512%-(%S+)$") or ""
  local bare = digest:gsub("=", "")
  return digest:find(BASE64) ~= nil and math.floor(#bare * 3 / 4) == HASH_BYTES
end

-- Whether a package lies in one of the registries; where they are not known yet, in any.
local function is_under(url, registries)
  if not registries then return url:find("^https?://") ~= nil end
  for _, registry in ipairs(registries) do
    if url:sub(1, #registry) == registry then return true end
  end
  return false
end

-- A package that another one brings along is covered by that one's hash.
local function is_bundled(entry, above, entries)
  return entry.inBundle == true and entry.resolved == nil and above ~= nil
    and type(entries[above]) == "table"
end

local DEPENDENCIES = { "dependencies", "optionalDependencies", "peerDependencies" }

-- A range of versions, a tag, or another package of the registry by an alias: all else that npm
-- knows is an address or a path.
local function is_of_registry(wanted)
  if type(wanted) ~= "string" then return false end
  local alias = wanted:match("^npm:@?(.*)$")
  if alias then wanted = alias:gsub("/", "", 1) end
  return not wanted:find("[/:\\]") and not wanted:find("^%.")
end

-- What a package wants from elsewhere: npm asks there for what a bundle lacks, though no entry of
-- the lock says so.
local function wants_elsewhere(entry)
  for _, field in ipairs(DEPENDENCIES) do
    for name, wanted in pairs(type(entry[field]) == "table" and entry[field] or {}) do
      if not is_of_registry(wanted) then
        return ("it depends on '%s', which is not of the registry"):format(
          errors.clean(tostring(name), 80))
      end
    end
  end
  return nil
end

-- Why an entry cannot be taken; nil if it can.
local function fault_of(entry, above, entries, registries)
  if type(entry) ~= "table" then return "its entry in the lock is no object" end
  if entry.link ~= nil and entry.link ~= false then return "it is a link" end
  local wants = wants_elsewhere(entry)
  if wants then return wants end
  if is_bundled(entry, above, entries) then return nil end
  if not has_hash(entry.integrity) then return "the registry gives no SHA-512 of it" end
  if entry.resolved ~= nil and (type(entry.resolved) ~= "string"
    or not is_under(entry.resolved, registries)) then
    return "it does not come from the registry"
  end
  return nil
end

-- "lodash@4.17.21" of an entry; by an alias it has another name than its directory.
local function spec_of(name, entry)
  return ("%s@%s"):format(type(entry.name) == "string" and entry.name or name,
    tostring(entry.version))
end

-- The packages of a lock: a list of { spec, key, integrity }.
local function packages_of(lock, registries)
  local entries, found = lock.packages, {}
  for _, key in ipairs(tables.sorted_names(entries)) do
    if key ~= "" then
      local name, above = place_of(key)
      if not name then return refusal(key, "it would lie elsewhere") end
      local entry = entries[key]
      local fault = fault_of(entry, above, entries, registries)
      if fault then return refusal(name, fault) end
      found[#found + 1] = {
        spec = spec_of(name, entry), key = key,
        integrity = type(entry.integrity) == "string" and entry.integrity or "in a bundle",
      }
    end
  end
  return found
end

local function read_lock(text)
  local lock, reason = json.decode(text, nil, MAX_LOCK_VALUES)
  if type(lock) == "table" and type(lock.packages) == "table"
    and (lock.lockfileVersion == 3 or lock.lockfileVersion == 2) then
    return lock
  end
  return nil, failure("packages_failed", "the lock that npm wrote cannot be read: "
    .. (reason or "it is of another version"), "npm 7 or later is needed")
end

--- Judge a lock: what it names must be packages of the registry with a SHA-512 each, and allowed.
-- @tparam string text package-lock.json
-- @tparam table wanted `policies`
-- @tparam ?{string,...} registries what URLs of packages begin with; nil: any URL will do
-- @treturn ?table list of `{ spec, key, integrity }`; or nil and an error (`package_rejected`,
-- `packages_failed`: it is no lock)
-- @treturn ?table
function M.judge_lock(text, wanted, registries)
  local lock, err = read_lock(text)
  if not lock then return nil, err end
  local found
  found, err = packages_of(lock, registries)
  if not found then return nil, err end
  local refused = {}
  for _, package in ipairs(found) do
    local called, allowed, why = wanted.policies:call("npm", "check", package.spec)
    if not called then return nil, allowed end
    if not allowed then
      refused[#refused + 1] = ("'%s' (%s)"):format(errors.clean(package.spec, 80), why)
    end
  end
  if #refused == 0 then return found end
  return nil, failure("package_rejected", "packages refused: " .. table.concat(refused, "; "),
    "the npm policy's lists hold for what comes along as a dependency, too")
end

local function no_lock(reason)
  return nil, failure("input_invalid", "lock: " .. reason,
    "give the text of a package-lock.json, of version 2 or 3: `noether lock` writes one")
end

--- Judge a lock that the caller gave, and whether it is one of these requirements. Which registry
-- its packages must be of is npm's to say, and judged before they are installed.
-- @tparam string text
-- @tparam table wanted `policies`, `options`, `requirements`
-- @treturn ?boolean true; or nil and an error (`input_invalid`: it is no lock, `package_rejected`)
-- @treturn ?table
function M.check_lock(text, wanted)
  if #text > MAX_LOCK_BYTES then
    return no_lock(("it is longer than %d bytes"):format(MAX_LOCK_BYTES))
  end
  local lock, reason = json.decode(text, nil, MAX_LOCK_VALUES)
  if lock == nil then return no_lock("it is no JSON: " .. reason) end
  local version = type(lock) == "table" and lock.lockfileVersion
  if version ~= 2 and version ~= 3 or type(lock.packages) ~= "table" then
    return no_lock("it is no package-lock.json of version 2 or 3")
  end
  local packages, err = M.judge_lock(text, wanted)
  if not packages then return nil, err end
  local held = {}
  for _, package in ipairs(packages) do
    held[package.key] = package.spec
  end
  for _, spec in ipairs(wanted.requirements) do
    local found = held[MODULES .. "/" .. spec:match("^(.+)@")]
    if found ~= spec then
      return refusal(spec, found and ("the lock has %s"):format(errors.clean(found, 80))
        or "the lock does not hold it")
    end
  end
  return true
end

-- --- npm itself --------------------------------------------------------------------------------

-- Below the interpreter's own directory, as it is installed with it, or by Debian.
local BESIDE_NODE = { "/lib/node_modules/npm/bin/npm-cli.js", "/share/nodejs/npm/bin/npm-cli.js",
  "/share/npm/bin/npm-cli.js" }

local function find_npm(base, context)
  local prefix = base.path:match("^(.*)/bin/[^/]+$") or ""
  for _, path in ipairs(BESIDE_NODE) do
    if sys.stat(prefix .. path, true) then return sys.realpath(prefix .. path) end
  end
  for _, path in ipairs(sys.find_programs("npm", context.path or "")) do
    local real = sys.realpath(path)
    if real and real:find("/npm%-cli%.js$") then return real end
  end
  return nil, failure("packages_failed", "there is no npm beside " .. base.path,
    "install it: on Debian, apt-get install npm")
end

-- --- Building ----------------------------------------------------------------------------------

local function key_of(base, wanted, manifest, argv)
  local parts = {
    FORMAT, environments.in_place(wanted.chosen) and "in place" or INSIDE, base.path, base.version,
    manifest, table.concat(argv.lock, "\0"), table.concat(argv.install, "\0"), wanted.lock or "",
  }
  return sys.sha256(table.concat(parts, "\0\0")):sub(1, 32)
end

local function is_text(value)
  return type(value) == "string"
end

local function identify(base, wanted, context)
  local npm, err = find_npm(base, context)
  if not npm then return nil, err end
  local requirements = tables.merged(wanted.requirements)
  table.sort(requirements)
  local called, argv = wanted.policies:call("npm", "commands", npm, {
    registry = wanted.options.registry,
  })
  if not called then return nil, argv end
  local manifest
  called, manifest = wanted.policies:call("npm", "requirements_file", requirements)
  if not called then return nil, manifest end
  local root, key = wanted.cache_dir .. "/venvs", key_of(base, wanted, manifest, argv)
  local dir = root .. "/" .. key
  return {
    root = root, key = key, dir = dir, npm = npm, argv = argv, manifest = manifest,
    final = environments.in_place(wanted.chosen) and dir or INSIDE,
    places = function() return { "/" .. MODULES, "/" .. LOCK } end,
    is_record = function(record)
      return type(record.lock) == "string" and tables.is_list(record.registries, is_text)
    end,
  }
end

local function readable_paths(wanted, npm)
  local paths = { npm:match("^(.*)/bin/[^/]+$") }
  for _, path in ipairs(wanted.policies:data("isolation", "certificate_paths") or {}) do
    if sys.stat(path, true) then paths[#paths + 1] = path end
  end
  return paths
end

local function variables(base, wanted, context, description, temp)
  local policies = wanted.policies
  local names = tables.merged(description.env_allowlist)
  local allowed = description.network ~= "none" and policies:data("npm", "env_allowlist") or {}
  for _, name in ipairs(allowed) do
    names[#names + 1] = name
  end
  local in_place = environments.in_place(wanted.chosen)
  local env = environment.public(context.environ, names, {
    home = descriptions.home_of(description, wanted.chosen.backend), runtime = base,
    language = tables.merged(base.variables, policies:data("npm", "env")),
  })
  if in_place then env.HOME, env.TMPDIR = temp, temp end
  env.TMPDIR = env.TMPDIR or "/tmp"
  return tables.merged(env, wanted.options.env)
end

-- --- Its registries and hosts ------------------------------------------------------------------

-- Files that are not there, as the policy has it unless it is replaced: npm reads nobody's
-- configuration.
local function reads_no_file(env)
  local function is_none(name)
    return (env[name] or ""):find("^/nonexistent/") ~= nil
  end
  return is_none("npm_config_userconfig") and is_none("npm_config_globalconfig")
end

-- What npm says of its own configuration; or nil and an error.
local function ask(base, wanted, context, set, question)
  local argv = { base.path, set.npm, "config", "--logs-max=0" }
  for _, word in ipairs(question) do
    argv[#argv + 1] = word
  end
  return environments.ask(base, wanted, context, {
    process = false, reads = readable_paths(wanted, set.npm), argv = argv,
    env = function(description)
      return question.env or variables(base, wanted, context, description, set.temp .. "/t")
    end,
  })
end

local function with_slash(registry)
  return registry:sub(-1) == "/" and registry or registry .. "/"
end

-- Of all that npm is told: its registry, and a text with the places where it looks.
local function read_configuration(text)
  local said, places = json.decode(text), {}
  for name, value in pairs(type(said) == "table" and said or {}) do
    local is_place = name == "registry" or name == "proxy" or name == "https-proxy"
      or name:find(":registry$")
    if is_place and type(value) == "string" then places[#places + 1] = value end
  end
  local registry = type(said) == "table" and said.registry
  return type(registry) == "string" and with_slash(registry) or nil, table.concat(places, "\n")
end

-- Adds to a set its registry (nil: npm does not say) and the hosts that the installer is held to
-- (nil: it is held to none). True; or nil and an error.
local function find_places(base, wanted, context, set)
  local policies, options = wanted.policies, wanted.options
  local own_env = tables.merged(policies:data("npm", "env"), options.env)
  local places = table.concat(set.argv.lock, "\n") .. "\n" .. table.concat(set.argv.install, "\n")
  set.registry = options.registry and with_slash(options.registry)
  if not options.registry or not reads_no_file(own_env) then
    local text, err = ask(base, wanted, context, set, { "list", "--json" })
    if not text then return nil, err end
    local registry, more = read_configuration(text)
    set.registry, places = set.registry or registry, places .. "\n" .. more
  end
  local further = index_hosts.said(wanted, "npm")
  if further and descriptions.holds_hosts(wanted.chosen.backend) then
    set.hosts = index_hosts.held(further, { places }, {
      index_hosts.proxies(context.environ, policies:data("npm", "env_allowlist")), own_env,
    })
  end
  return true
end

local function names_elsewhere(text, registry)
  local lock = read_lock(text)
  for _, entry in pairs(lock and lock.packages or {}) do
    local place = type(entry) == "table" and entry.resolved
    if type(place) == "string" and not is_under(place, { registry }) then return true end
  end
  return false
end

-- What a lock's packages may come from: the registry that is asked, and the one that npm knows by
-- itself. That is the name which it writes into locks whichever it asks, and takes for the one that
-- it is told (its option replace-registry-host). A list; or nil and an error.
local function registries_of(base, wanted, context, set, lock)
  local registry = set.registry
  if registry and not names_elsewhere(lock, registry) then return { registry } end
  local text, err = ask(base, wanted, context, set, {
    "get", "registry", env = {
      HOME = set.temp .. "/t", PATH = environment.SYSTEM_PATH,
      npm_config_userconfig = "/nonexistent/npmrc",
      npm_config_globalconfig = "/nonexistent/npmrc-global",
    },
  })
  if not text then return nil, err end
  local own, list = text:match("^%s*(https?://%S+)%s*$"), { registry }
  list[#list + 1] = own and with_slash(own) or nil
  return list
end

-- --- Running it --------------------------------------------------------------------------------

-- What the installer's end means, in its own words.
local function judge_end(result, wanted, argv, held)
  if result.reason == "exit" and result.exit_code == 0 then return true end
  local shown = tables.merged(result, {
    stderr = environments.redacted(result.stderr, wanted.options.env), argv = argv,
  })
  local called, kind, message, hint = wanted.policies:call("errors", "classify", {
    source = "npm", stderr = shown.stderr, exit_code = result.exit_code, signal = result.signal,
    reason = result.reason, part = result.exit_code == COPIED and "copy" or "install",
    walls = not environments.in_place(wanted.chosen),
  })
  if not called then return nil, kind end
  local why, place = index_hosts.explain(shown, held, "npm")
  local err = failure(kind, message, why or hint)
  err.result, err.network = shown, place
  if kind == "setup_timed_out" then err.limit = wanted.limit end
  return nil, err
end

-- One of the two steps: npm with these arguments, of whose work one thing is kept.
local function run(base, wanted, context, set, step)
  local options, temp = wanted.options, set.temp
  local description, err = environments.describe(base, wanted, context, {
    network = true, hosts = set.hosts, process = false, reads = readable_paths(wanted, set.npm),
    limits = {
      private_bytes = options.max_bytes, private_files = options.max_files,
      file_bytes = options.max_bytes, memory_bytes = options.max_bytes + MEMORY_BYTES,
    },
  })
  if not description then return nil, err end
  local out = temp .. "/out"
  local in_place = environments.in_place(wanted.chosen)
  local target = in_place and out or INSIDE
  local proc
  proc, err = environments.launch(wanted, description, context, {
    argv = { base.path, "-e", PROGRAM }, out = out, target = target,
    env = variables(base, wanted, context, description, temp .. "/t"),
    stdin = assert(json.encode{
      argv = json.array(step.argv), files = step.files, keep = step.keep, out = target,
      private = not in_place,
    }),
  })
  if not proc then return nil, err end
  local result
  result, err = context.await(proc)
  proc:close()
  if not result then return nil, err end
  return judge_end(result, wanted, step.argv, set.hosts)
end

local function written_lock(temp)
  local path = temp .. "/out/" .. LOCK
  local stat = sys.stat(path)
  if not stat or stat.type ~= "file" then
    return nil, failure("packages_failed", "npm wrote no lock",
      "the npm policy's installer must write package-lock.json")
  end
  local text, message = sys.read_file(path, MAX_LOCK_BYTES)
  if not text then
    return nil, failure("packages_failed", "the lock that npm wrote cannot be read: " .. message)
  end
  return text
end

local function make_lock(base, wanted, context, set)
  local ok, err = run(base, wanted, context, set, {
    argv = set.argv.lock, keep = LOCK, files = { ["package.json"] = set.manifest },
  })
  if not ok then return nil, err end
  return written_lock(set.temp)
end

-- Of what the lock names, what fits this machine is there.
local function record_of(lock, temp)
  local list, lines = {}, {}
  for _, package in ipairs(lock.packages) do
    local stat = sys.stat(temp .. "/out/" .. package.key)
    if stat and stat.type == "directory" then
      list[#list + 1] = package.spec
      lines[#lines + 1] = package.key .. " " .. package.spec .. " " .. package.integrity
    end
  end
  table.sort(list)
  return {
    packages = json.array(list), contents = sys.sha256(table.concat(lines, "\n")),
    lock = lock.text, registries = json.array(lock.registries),
  }
end

-- The lock, judged, and its packages; or nil and an error.
local function judged_lock(base, wanted, context, set)
  local lock, err = wanted.lock, nil
  if not lock then lock, err = make_lock(base, wanted, context, set) end
  if not lock then return nil, err end
  local registries, packages
  registries, err = registries_of(base, wanted, context, set, lock)
  if not registries then return nil, err end
  packages, err = M.judge_lock(lock, wanted, registries)
  return packages and { text = lock, registries = registries, packages = packages }, err
end

local function build(base, wanted, context, set)
  local ok, err = find_places(base, wanted, context, set)
  if not ok then return nil, err end
  local temp, lock, why = set.temp, judged_lock(base, wanted, context, set)
  if not lock then return nil, why end
  sys.remove_tree(temp .. "/out/" .. LOCK)
  ok, err = run(base, wanted, context, set, {
    argv = set.argv.install, keep = MODULES,
    files = { ["package.json"] = set.manifest, [LOCK] = lock.text },
  })
  if not ok then return nil, err end
  local message, errno
  ok, message, errno = sys.write_file(temp .. "/out/" .. LOCK, lock.text, 420)
  if not ok then return nil, environments.failure(message, errno) end
  return record_of(lock, temp)
end

local function runtime_of(base, set, record, extra)
  local binds = tables.merged(base.ro_binds)
  binds[#binds + 1] = { source = set.dir, target = INSIDE }
  return tables.merged(tables.merged(base, extra), {
    kind = "npm", ro_binds = binds, own_dir = set.dir,
    variables = tables.merged(base.variables, { NOETHER_PACKAGES = set.final }),
    reference = ("%s npm:%s"):format(base.reference, set.key),
    packages = tables.merged(record.packages), contents = record.contents,
    lock = record.lock,
  })
end

-- An environment that is there may be one that another executor has installed.
local function allow(record, wanted)
  local packages, err = M.judge_lock(record.lock, wanted, record.registries)
  if not packages then return nil, err end
  return true
end

--- A runtime that has packages, made of one that has none.
-- @tparam table base the runtime whose interpreter it is
-- @tparam table wanted `requirements` (as the npm policy gave them; not empty), `options` (the
-- executor's `npm`), `chosen` (the backend), `cache_dir`, `policies`, `limit` (seconds, for
-- messages)
-- @tparam table context of setup: `launch`, `await`, `lock`, `hold`, `is_late`, `environ`, `path`
-- @treturn ?table the runtime: `kind` "npm", `packages` (list of "name@version", with all that came
-- along), `contents` (hash of what they hold), `own_dir`, `warnings`, and if it was built just now
-- `build_secs`
-- @treturn ?table error: `packages_failed`, `package_rejected`, `setup_timed_out`, `cache_failed`,
-- `policy_error`, `sandbox_failed`
function M.resolve(base, wanted, context)
  local set, err = identify(base, wanted, context)
  if not set then return nil, err end
  local record, how = environments.have(set, {
    limit = wanted.limit,
    allow = function(found) return allow(found, wanted) end,
    build = function(temp)
      set.temp = temp
      return build(base, wanted, context, set)
    end,
  }, context)
  if not record then return nil, how end
  return runtime_of(base, set, record, how)
end

return M
