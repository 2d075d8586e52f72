-- SPDX-License-Identifier: MIT
--- The command `noether`: a verb a file, below this directory. Each says in a table what it takes
-- (parser.lua), and does it with what it is given: a context of `given` (values by name),
-- `environ`, `console`, `program` (our own name) and `own` (close this when all is over).
local completion = require "noether.cli.completion"
local console = require "noether.cli.console"
local doctor = require "noether.cli.doctor"
local exits = require "noether.cli.exits"
local parser = require "noether.cli.parser"
local plan = require "noether.cli.plan"
local policy = require "noether.cli.policy"
local prune = require "noether.cli.prune"
local run = require "noether.cli.run"
local sandbox = require "noether.cli.sandbox"
local store = require "noether.cli.store"
local sys = require "noether.sys"
local warmup = require "noether.cli.warmup"

local M = {}

--- The verb of all verbs.
M.ROOT = {
  name = "noether", summary = "run stages",
  about = "Run stages - a few lines of Python, JavaScript or Bash - in a sandbox: JSON in, JSON "
    .. "out, under a deadline, and with nothing left behind.",
  options = { { name = "--version", about = "show the version" } },
  verbs = { run, plan, doctor, warmup, prune, store, sandbox, policy, completion },
  examples = {
    { "echo 'const execute = n => n * 2' | noether run - --language js --input 21",
      "a first stage" },
    { "noether run --help", "more of each verb" },
  },
}

local INTERRUPT = "interrupted!"

local function is_interrupt(message)
  return type(message) == "string" and message:sub(-#INTERRUPT) == INTERRUPT
end

-- What has a name on PATH is called by it; else by its place.
local function program_name(given, environ)
  if not given or not given:find("/", 1, true) then return given or M.ROOT.name end
  local found = sys.find_program(given:match("[^/]+$"), environ.PATH)
  local dir = sys.realpath(given:match("^(.*/)"))
  local place = dir and ("%s/%s"):format(dir, given:match("[^/]+$")) or given
  return found == place and given:match("[^/]+$") or place
end

local function new_context(args, environ, screen)
  local owned = {}
  return {
    environ = environ, console = screen, program = program_name(args[0], environ),
    completion = function(shell) return parser.completion(M.ROOT, shell) end,
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
  return err.usage and name == sandbox.name and exits.OURS or code
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

local function dispatch(context, owned, args)
  local request, err = parser.read(M.ROOT, args)
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
