-- SPDX-License-Identifier: MIT
--- `noether sandbox`: any command in a sandbox. Its exit code is ours, its streams are ours.
local cache = require "noether.cache.scripts"
local builtin_policy = require "noether.policy.isolation"
local command = require "noether.command"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local files = require "noether.overrides.files"
local flags = require "noether.cli.flags"
local hosts = require "noether.hosts"
local json = require "noether.json"
local process = require "noether.process"
local settings = require "noether.cli.settings"
local sys = require "noether.sys"
local tables = require "noether.tables"
local values = require "noether.cli.values"

local M = {
  name = "sandbox", summary = "run any command in a sandbox",
  about = "Run a command in a sandbox: the system's programs and libraries read-only, private "
    .. "/work and /tmp, no network, none of your files. It uses this terminal, but does not own "
    .. "it: Ctrl-C ends all of it, and a shell in it has no job control. The exit code is the "
    .. "command's own, unless it is one of those below.",
  arguments = { {
    name = "command", value = "COMMAND", count = "+", about = "the command and its arguments",
  } },
  dashes = true,
  examples = {
    { "noether sandbox -- sh -c 'id; ls /'", "what it looks like inside" },
    { "noether sandbox --work-dir . --timeout 5m -- make", "a build that can write only here" },
    { "noether sandbox --network -- git ls-remote URL", "with the network" },
    { "noether sandbox --network github.com:443 -- git ls-remote URL", "with one host of it" },
    { "noether sandbox --read data.csv:/work/data.csv -- wc -l data.csv", "with a file to read" },
    { "noether sandbox --policy tools.lua -- tool", "what is inside from a file: noether(1)" },
  },
}

M.options = {
  {
    name = "--policy", value = "FILE|JSON",
    about = "what is in the sandbox: a Lua file that returns fields of a description, or JSON",
  },
  {
    name = "--read", value = "PATH[:TARGET]", convert = values.bind, many = true,
    about = "show a path, read-only",
  },
  {
    name = "--write", value = "PATH[:TARGET]", convert = values.bind, many = true,
    about = "show a path, read-write",
  },
  {
    name = "--network", value = "HOST:PORT", optional = true, many = true,
    convert = values.hosts_with_ports,
    about = "these hosts alone, such as api.example.com:443 or *.example.org:443; without any the "
      .. "host's network",
  },
  flags.env, flags.work_dir, flags.timeout, flags.limit, flags.isolation, flags.loopback,
}

--- The hint for a command line that was not understood.
function M.hint(words)
  for _, word in ipairs(words) do
    if word == "--" then return nil end
  end
  return "put -- before the command: noether sandbox [options] -- COMMAND ARGUMENT..."
end

local function policy_error(message)
  return nil, errors.new{
    kind = "policy_error", message = message,
    hint = "the fields are those of a sandbox description: noether(1), SANDBOX POLICIES",
  }
end

-- Fields, and the name and text of where they were written.
local function read_fields(word, builtin)
  if not word:find("^%s*{") then
    local fields, err, text = files.load(word, builtin)
    return fields, err, "policy file " .. word, text
  end
  local fields, reason = json.decode(word)
  if fields == nil then return policy_error("option '--policy': " .. reason) end
  return fields, nil, "option '--policy'"
end

local function wrong_fields(fields)
  for name in pairs(fields) do
    if descriptions.BACKEND_FIELDS[name] then
      return { field = name, reason = "it is not a policy's to say" }
    end
  end
  return descriptions.wrong(fields) or descriptions.wrong_binds(fields)
end

-- The line in the file is where to look.
local function check_fields(fields, source, text)
  local wrong = wrong_fields(fields)
  if not wrong then return true end
  local field = wrong.field or wrong.within:match("^[%w_]+")
  local line = text and files.line_of(text, field)
  return policy_error(("%s%s: %s"):format(source, line and ":" .. line or "",
    descriptions.sentence(wrong)))
end

local function base_of(given)
  local builtin = descriptions.system()
  if not given.policy then return builtin end
  local fields, err, source, text = read_fields(given.policy, builtin)
  if not fields then return nil, err end
  local ok
  fields = tables.plain(fields) -- what is checked is what is used
  ok, err = check_fields(fields, source, text)
  if not ok then return nil, err end
  return tables.merged(builtin, fields)
end

local function with_binds(list, more)
  local all = {}
  for _, source in ipairs{ list or {}, more or {} } do
    for _, bind in ipairs(source) do
      all[#all + 1] = bind
    end
  end
  return all
end

-- Of those that Network opens for stages, what is on this machine.
local function binds_of(paths)
  local list = {}
  for _, path in ipairs(paths) do
    if sys.stat(path, true) then list[#list + 1] = { source = path, target = path } end
  end
  return list
end

-- Each is what one `--network` said: hosts, or nothing for all of it.
local function open_network(description, given)
  local lists, whole = {}, false
  for _, said in ipairs(given) do
    whole = whole or said[1] == nil
    lists[#lists + 1] = said[1]
  end
  description.network = whole and "host" or "list"
  description.hosts = not whole and hosts.union(lists) or nil
  description.ro_binds = with_binds(description.ro_binds,
    binds_of(whole and builtin_policy.network_paths or builtin_policy.list_paths))
end

-- A command has no function that could be asked.
local function check_hosts(description)
  local asked = description.hosts and hosts.asked(hosts.parse(description.hosts) or {})
  if not asked then return description end
  return nil, errors.new{
    kind = "policy_error", message = ("%s asks the function on_network, and a command has none")
      :format(asked),
    hint = "name the hosts; noether.spawn of a Lua program takes on_network",
  }
end

local function describe(given)
  local description, err = base_of(given)
  if not description then return nil, err end
  description.ro_binds = with_binds(description.ro_binds, given.read)
  description.rw_binds = with_binds(description.rw_binds, given.write)
  if given.network then open_network(description, given.network) end
  if given.work_dir then
    table.insert(description.rw_binds, { source = given.work_dir, target = given.work_dir })
    description.work_dir = given.work_dir
  end
  return check_hosts(description)
end

-- The command gets our own: what it reads and writes is between it and the caller, on a terminal
-- too, and is neither counted nor held up here.
local STREAMS = {
  stdin = { fd = 0, share = true }, stdout = { fd = 1, share = true },
  stderr = { fd = 2, share = true },
}

local function launch_options(context)
  local given, environ = context.given, context.environ
  local kind, err = settings.isolation(given, environ)
  if err then return nil, err end
  local env
  env, err = settings.env(given.env, environ)
  if not env then return nil, err end
  local launch = tables.merged(STREAMS, {
    isolation = kind, env = env, timeout_secs = given.timeout, loopback = settings.loopback(given),
  })
  if kind == "none" then
    launch.cwd, launch.limits = given.work_dir, settings.limits(given.limit)
    return launch
  end
  local description
  description, err = describe(given)
  if not description then return nil, err end
  if launch.loopback == false and (description.network or "none") ~= "none" then
    return nil, { usage = true, message = "option '--loopback': off has no meaning with a network" }
  end
  launch.limits = tables.merged(description.limits, settings.limits(given.limit))
  description.limits, launch.sandbox = nil, description
  return launch
end

local WITHOUT_MEANING = { "policy", "read", "write", "network", "loopback" }

local function check(given)
  if given.isolation ~= "none" then return true end
  for _, name in ipairs(WITHOUT_MEANING) do
    if given[name] then
      return nil, { usage = true, message = ("option '--%s' has no meaning with isolation 'none'")
        :format(name) }
    end
  end
  return true
end

local LIMITS = {
  timeout = "ended at its deadline", memory_limit = "ended for too much memory",
  cpu_limit = "ended for too much processor time",
}

local function code_of_result(context, result)
  if result.reason == "exit" then return result.exit_code end
  if result.reason == "signal" then
    return exits.SIGNAL + (process.signal_number(result.signal) or 0)
  end
  context.console:say("error", ("%s %s"):format(errors.clean(result.argv[1], 200),
    LIMITS[result.reason] or "ended: " .. result.reason))
  return LIMITS[result.reason] and exits.LIMIT or exits.OURS
end

local NOT_FOUND = { ENOENT = true, ENOTDIR = true }

-- Of an error, whether it is the command that cannot be run. That of a sandbox is another matter.
local function code_of_error(context, err)
  local code = context.console:fail(err)
  if errors.fault(err.kind) == "caller" then return exits.OURS end -- the command's own is not ours
  if err.kind ~= "spawn_failed" or not err.errno then return code end
  if NOT_FOUND[err.errno] then return exits.NOT_FOUND end
  if err.errno == "EACCES" or err.errno == "ENOEXEC" then return exits.NOT_EXECUTABLE end
  return code
end

--- Do it.
-- @tparam table context
-- @treturn ?number exit code; nil and an error
-- @treturn ?table
function M.run(context)
  local given = context.given
  local ok, err = check(given)
  if not ok then return nil, err end
  local launch
  launch, err = launch_options(context)
  if not launch then return nil, err end
  process.keep_supervisor_in(function()
    local opened = cache.open(nil, context.environ)
    return opened and context.own(opened).dir
  end)
  local proc
  proc, err = command.spawn(given.command, launch)
  if not proc then return code_of_error(context, err) end
  context.own(proc)
  local result
  result, err = proc:wait()
  if not result then return code_of_error(context, err) end
  return code_of_result(context, result)
end

return M
