-- SPDX-License-Identifier: MIT
--- `noether mcp`: stages as tools of a model, on standard input and output.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local json = require "noether.json"
local mcp_executor = require "noether.cli.mcp_executor"
local render = require "noether.cli.render"
local server = require "noether.mcp.server"
local settings = require "noether.cli.settings"
local sys = require "noether.sys"
local values = require "noether.cli.values"

-- What to put into the configuration of each client, by its own name.
local CONFIGS = {}

local function in_servers(field, extra)
  return function(command, arguments)
    local entry = { command = command, args = json.array(arguments) }
    for name, value in pairs(extra or {}) do
      entry[name] = value
    end
    return render.json{ [field] = { noether = entry } }
  end
end

CONFIGS["claude-desktop"] = in_servers("mcpServers")
CONFIGS.cursor = in_servers("mcpServers")
CONFIGS.gemini = in_servers("mcpServers")
CONFIGS.vscode = in_servers("servers", { type = "stdio" })

CONFIGS["claude-code"] = function(command, arguments)
  local words = { "claude", "mcp", "add", "noether", "--", command }
  for _, word in ipairs(arguments) do
    words[#words + 1] = word
  end
  return render.shell_line(words) .. "\n"
end

function CONFIGS.opencode(command, arguments)
  table.insert(arguments, 1, command)
  return render.json{ mcp = { noether = { type = "local", command = json.array(arguments) } } }
end

-- JSON's strings are TOML's basic strings, but for an escaped slash, which TOML does not know, and
-- DEL, which no argument of ours has.
local function toml(value)
  return (assert(json.encode(value)):gsub("\\(.)", { ["/"] = "/" }))
end

function CONFIGS.codex(command, arguments)
  return ("[mcp_servers.noether]\ncommand = %s\nargs = %s\n"):format(
    toml(command), toml(json.array(arguments)))
end

local CLIENTS = { "claude-code", "claude-desktop", "codex", "cursor", "gemini", "opencode",
  "vscode" }

local M = {
  name = "mcp", summary = "serve stages to a model, by the Model Context Protocol",
  about = "Serve the Model Context Protocol on standard input and output: a tool to run code in "
    .. "each language, and each stage of the store that has a name. What the code may do is said "
    .. "here and nowhere else: without any --effect it can only compute.",
  options = {
    { name = "--print-config", value = "CLIENT", choices = CLIENTS,
      about = "print what to put into the configuration of a client: " ..
        table.concat(CLIENTS, ", ") },
    { name = "--check",
      about = "start the server, drive it once as a client would, and say what works" },
    { name = "--language", value = "NAME", many = true,
      about = "a language to offer (default: all there are)" },
    { name = "--effect", value = "EFFECT", convert = values.effect, many = true,
      about = "what the code may do: Network, Process, FsRead=PATH, FsWrite=PATH; stored stages "
        .. "that declare more are left out" },
    { name = "--jobs", value = "N", convert = values.count,
      about = "how many calls run at once; others wait (default: the processors)" },
    { name = "--output-dir", value = "DIR", convert = values.path,
      about = "where files go that calls ask for (default: they are sent, as far as they fit)" },
    { name = "--timeout", value = "TIME", convert = values.seconds,
      about = "longest deadline of a call (default: 30)" },
    flags.limit, flags.env, flags.isolation, flags.runtime, flags.policy_path, flags.grant,
    flags.store,
  },
  examples = {
    { "claude mcp add noether -- noether mcp", "for one client" },
    { "noether mcp --check --effect FsRead=/srv/data", "whether it works here" },
    { "noether mcp --print-config vscode --effect FsRead=/srv/data",
      "what another one wants to have, with data that may be read" },
  },
}

-- The words of this call but for --check, --print-config and its value.
local function words_to_serve(words)
  local kept, skip = {}, false
  for _, word in ipairs(words) do
    if skip then
      skip = false
    elseif word == "--print-config" then
      skip = true
    elseif word ~= "--check" and word:sub(1, 15) ~= "--print-config=" then
      kept[#kept + 1] = word
    end
  end
  return kept
end

local function whole_list(value)
  return (value:gsub("[^:]+", function(path) return values.path_to_be(path) or path end))
end

local WHOLE = {
  ["--store"] = function(value) return values.path_to_be(value) or value end,
  ["--output-dir"] = function(value) return values.path_to_be(value) or value end,
  ["--policy-path"] = whole_list,
  ["--grant"] = function(value) return values.path_to_be(value) or value end,
  ["--effect"] = function(value)
    local name, path = value:match("^(Fs%a+)=(.*)$")
    return name and name .. "=" .. (values.path_to_be(path) or path) or value
  end,
}

-- Clients start it in a directory of their own: relative paths become those of here.
local function with_whole_paths(words)
  for i, word in ipairs(words) do
    local name, value = word:match("^(%-%-[^=]+)=(.*)$")
    local before = WHOLE[words[i - 1]]
    if name and WHOLE[name] then
      words[i] = name .. "=" .. WHOLE[name](value)
    elseif before then
      words[i] = before(word)
    end
  end
  return words
end

-- And with an environment of their own: by its whole path.
local function whole_path(context)
  local program = context.program
  if not program:find("/", 1, true) then
    program = sys.find_program(program, context.environ.PATH) or program
  end
  return program
end

local function print_config(context)
  local config = CONFIGS[context.given.print_config]
  context.console:answer(config(whole_path(context),
    with_whole_paths(words_to_serve(context.words))))
  return exits.OK
end

local function check(context)
  local argv = { whole_path(context) }
  for _, word in ipairs(words_to_serve(context.words)) do
    argv[#argv + 1] = word
  end
  return require("noether.cli.mcp_check").run(context, argv) -- a tail call
end

local function is_set(value)
  return value ~= nil and value ~= ""
end

-- Whether there may be something wrong with the executor that is wanted, or it has policies of its
-- own: then it is made first, and not when it is used.
local function must_come_first(context)
  local given, environ = context.given, context.environ
  return settings.policy_path(given, environ) ~= "" or given.isolation == "none"
    or is_set(given.runtime) or is_set(environ.NOETHER_RUNTIME)
end

local function executor_of(context, store)
  local ok, err = settings.check(context)
  if not ok then return nil, err end
  local function make()
    return settings.executor(context, store, {
      allow_effects = context.given.effect or {}, warm = true,
    })
  end
  if must_come_first(context) then return make() end
  return mcp_executor.new(context.environ, store, make)
end

--- Do it.
function M.run(context)
  local given = context.given
  if given.print_config then return print_config(context) end
  if given.check then return check(context) end
  local store, executor, ok, err
  store, err = settings.open_store(context, false)
  if not store then return nil, err end
  given.timeout = given.timeout or server.DEFAULTS.timeout_secs
  executor, err = executor_of(context, store)
  if not executor then return nil, err end
  ok, err = server.serve{
    executor = executor, languages = given.language,
    effects = given.effect, jobs = given.jobs, output_dir = given.output_dir,
    timeout_secs = given.timeout,
    log = context.console:listener(),
  }
  if not ok then return nil, err end
  return exits.OK
end

return M
