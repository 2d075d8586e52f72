-- SPDX-License-Identifier: MIT
--- The command `noether`: a verb a file, below this directory. Each says in a table what it takes
-- (parser.lua), and does it with what it is given: a context of `given` (values by name),
-- `environ`, `console`, `words` (all of them), `program` (our own name) and `own` (close this when
-- all is over).
--
-- A call of the command loads the one verb that it names: most are over before all of them could be
-- read.
local console = require "noether.cli.console"
local exits = require "noether.cli.exits"
local sys = require "noether.sys"

local M = {}

--- The verbs, in the order in which help shows them: each a module of that name.
M.VERBS = {
  "run", "session", "plan", "lock", "doctor", "warmup", "prune", "store", "sandbox", "policy",
  "mcp", "worker", "fleet", "completion",
}

local NAME = "noether"

local function module(name)
  return (require("noether.cli." .. name))
end

-- The one verb, if there is one of this name and it needs no other; else all.
local function verbs_for(word)
  local list = {}
  for i, name in ipairs(M.VERBS) do
    if name == word and name ~= "completion" then return { module(name) } end
    list[i] = name
  end
  for i, name in ipairs(list) do
    list[i] = module(name)
  end
  return list
end

--- The verb of all verbs.
-- @tparam ?string word that a command line begins with; nil: the whole
-- @treturn table with the verbs that are needed for it
function M.root(word)
  return {
    name = NAME, summary = "run stages",
    about = "Run stages - a few lines of Python, JavaScript or Bash - in a sandbox: JSON in, JSON "
      .. "out, under a deadline, and with nothing left behind.",
    options = { { name = "--version", about = "show the version" } },
    verbs = verbs_for(word),
    examples = {
      { "echo 'const execute = n => n * 2' | noether run - --language js --input 21",
        "a first stage" },
      { "noether run --help", "more of each verb" },
    },
  }
end

local INTERRUPT = "interrupted!"

local function is_interrupt(message)
  return type(message) == "string" and message:sub(-#INTERRUPT) == INTERRUPT
end

-- What has a name on PATH is called by it; else by its place.
local function program_name(given, environ)
  if not given or not given:find("/", 1, true) then return given or NAME end
  local found = sys.find_program(given:match("[^/]+$"), environ.PATH)
  local dir = sys.realpath(given:match("^(.*/)"))
  local place = dir and ("%s/%s"):format(dir, given:match("[^/]+$")) or given
  return found == place and given:match("[^/]+$") or place
end

local function new_context(args, environ, screen)
  local owned = {}
  return {
    environ = environ, console = screen, words = args, program = program_name(args[0], environ),
    completion = function(shell)
      return require("noether.cli.parser").completion(M.root(), shell)
    end,
    own = function(handle)
      owned[#owned + 1] = handle
      return handle
    end,
  }, owned
end

local function close_all(owned)
  for i = #owned, 1, -1 do
    owned[i]:close()
  end
end

-- Of `sandbox` the code of a wrong call could be the command's own.
local function failed(screen, name, err)
  local code = screen:fail(err)
  return err.usage and name == "sandbox" and exits.OURS or code
end

local function perform(context, request)
  context.given = request.given
  local code, err = request.verb.run(context)
  return code or failed(context.console, request.verb.name, err)
end

-- An interrupt, or a mistake of ours.
local function stopped(screen, message)
  screen:clear()
  if is_interrupt(message) then return exits.INTERRUPTED end
  screen:say("error", "this should not have happened: " .. tostring(message))
  return exits.OURS
end

-- What a command line asks for. The version is known without any verb.
local function read(args)
  if args[1] == "--version" then return { version = true } end
  return require("noether.cli.parser").read(M.root(args[1]), args) -- a tail call
end

local function dispatch(context, owned, args)
  local request, err = read(args)
  local screen = context.console
  if not request then return failed(screen, args[1], err) end
  if request.help then screen:answer(request.help) end
  if request.version then screen:answer(("noether %s\n"):format(sys.version)) end
  if not request.verb then return exits.OK end
  local ok, code = pcall(perform, context, request)
  close_all(owned)
  screen:clear()
  return ok and code or stopped(screen, code)
end

--- Do what a command line asks.
-- @tparam {string,...} args the arguments; the name that the command was called by at 0
-- @treturn number exit code
function M.main(args)
  local environ = sys.environ()
  local screen = console.new(environ)
  local context, owned = new_context(args, environ, screen)
  local code = dispatch(context, owned, args)
  return screen.code or code
end

return M
