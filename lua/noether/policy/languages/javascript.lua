-- SPDX-License-Identifier: MIT
--- JavaScript stages: what they are called, how they are found, wrapped and started.
--
-- A stage is CommonJS with a top-level `execute` (a function declaration, or a name bound to a
-- function), or `module.exports.execute`; or an ES module with the same, exported or not, or a
-- default export. Which of the two is for node's own parser to say. The user's code stands alone in
-- `stage.js`, so line numbers are the user's; `runner.js` loads it and answers one request.
--
-- What a stage may count on:
--
-- * `console.log` and `process.stdout` are standard error. Where the output is a pipe and /proc can
--   be used, descriptor 1 itself is moved too: what `fs.writeSync(1)` or children with inherited
--   stdio print is then standard error as well. Elsewhere such writes reach the answer channel, and
--   the answer is no longer one JSON value: an error, never a wrong answer.
-- * Promises are awaited. When the answer is written the process ends: timers, servers and workers
--   left behind end with it. `process.exit` without an answer is an error.
-- * Unhandled rejections and uncaught exceptions fail the stage.
-- * `require` gives node's own modules, and files by absolute path; `import` likewise (paths where
--   node has module hooks, 18.19 and later) and files by file: URL. `node_modules` is not searched,
--   but for `import()` in CommonJS code, which looks from the working directory as node does.
-- * In the answer, properties that are `undefined` are left out, as JSON.stringify does. What it
--   would change without a word (NaN, infinities, functions, symbols, promises, Map, Set, Error and
--   other classes of node's, `undefined` in an array) is an error that names the place. A number
--   beyond 2^53 - 1 is written as the floating-point number that it is.
--
-- Runs on node 16 and later.
local resource = require "noether.resource"

local M = {
  name = "javascript",
  names = { "javascript", "js" },
  extension = "js",
}

local function file(name)
  return resource.text("policy/languages/javascript/" .. name)
end

local PROBE = file "probe.js"

--- What a model is told that is to write such stages.
M.about = "JavaScript (node). Define function execute(input), which may be async, and return "
  .. "the answer: a JSON value. ES modules and CommonJS both work."

--- A stage that gives the double of its input, by which a server is tried.
M.sample = "function execute(n) { return n * 2; }"

--- How a stage calls a function of its host, for a model: of its name.
M.call_usage = 'import { %s } from "noether";    // CommonJS: by require; returns a promise'

--- How an interpreter is found; fields as in the Python module.
M.runtime = {
  programs = { "node", "nodejs" },
  probe = { "-e", PROBE },
  newest = true,
  attribute = "nodejs",
}

local RUNNER = file "runner.js"
local CHANNEL = file "channel.js"
local SESSION = file "session.js"

--- The policy that judges the packages that stages name.
M.requires = "npm"

--- Stages can call functions of their host: the version of the channel that the runner speaks.
M.channel = 1

--- Interpreters can be started ahead of their request, which comes by the channel.
M.ahead = "channel"

-- The functions as an ES module: what can be imported by name must be written down.
local function module_of(names)
  local lines = {
    'import { createRequire } from "module";',
    'const noether = createRequire(import.meta.url)("./channel.js");',
    "export const { call, CallError } = noether;", "export default noether;",
  }
  for index, name in ipairs(names) do
    lines[#lines + 1] = ("const f%d = noether.%s;\nexport { f%d as %s };"):format(
      index, name, index, name)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The files of a stage.
-- @tparam string code the user's code
-- @tparam[opt] table opts `calls`: names of functions of the host, if it may call any; `ahead`: it
-- is for a process that is started ahead of its request
-- @treturn ?table `{ files = { [name] = text }, entry = name, own = name }`, where `own` holds the
-- code, and is not read before there is a request; or nil and the reason
-- @treturn ?string
function M.wrap(code, opts)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  local files = { ["runner.js"] = RUNNER, ["stage.js"] = code }
  if opts and opts.ahead then
    files["runner.js"] = RUNNER:gsub("\nconst AHEAD = false;\n", "\nconst AHEAD = true;\n")
  end
  if opts and opts.calls then
    files["channel.js"], files["noether.mjs"] = CHANNEL, module_of(opts.calls)
  end
  return { files = files, entry = "runner.js", own = "stage.js" }
end

--- The files of a session, whose code comes cell by cell over the channel.
-- @tparam[opt] table opts as of `wrap`
-- @treturn table as of `wrap`; `one_interrupt`: no cell can go on after the first one, and node
-- might not outlive a second
function M.wrap_session(opts)
  local runner = RUNNER:gsub("\nconst SESSION = false;\n", "\nconst SESSION = true;\n")
  local files = { ["runner.js"] = runner, ["session.js"] = SESSION, ["channel.js"] = CHANNEL }
  if opts and opts.calls then files["noether.mjs"] = module_of(opts.calls) end
  return { files = files, entry = "runner.js", one_interrupt = true }
end

local MIN_HEAP_MIB = 16

-- Newer nodes keep three spaces of up to 64 MiB for what is young, beside the heap that they are
-- told of: as much as a small limit is.
local ROOMY_MIB = 1024
local YOUNG = "--max-semi-space-size=16"

--- The command that runs a wrapped stage. Node cannot see what holds its memory, and would let its
-- heap grow by what the whole machine has: it is told its share, all of it, so that it collects in
-- time, and what is too much is still the limit's to say.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @tparam[opt] table opts `limits` (of the run, by name)
-- @treturn table list, the program first
function M.argv(runtime, entry, opts)
  local bytes = opts and opts.limits and opts.limits.memory_bytes
  if not bytes then return { runtime.path, entry } end
  local mebibytes = math.max(math.floor(bytes / 2 ^ 20), MIN_HEAP_MIB)
  local heap = ("--max-old-space-size=%d"):format(mebibytes)
  if mebibytes >= ROOMY_MIB then return { runtime.path, heap, entry } end
  return { runtime.path, heap, YOUNG, entry }
end

--- Variables for a stage's environment: none; each one that node finds costs it time.
-- @treturn table values by name
function M.env()
  return {}
end

local MAX_INTEGER = "9007199254740991"

local function is_unsafe(digits)
  digits = digits:gsub("^0+", "")
  if #digits ~= #MAX_INTEGER then return #digits > #MAX_INTEGER end
  return digits > MAX_INTEGER
end

--- Whether JavaScript can hold an input exactly.
-- Its numbers are doubles: beyond 2^53-1 an integer would be changed in silence (ECMA-262,
-- Number.MAX_SAFE_INTEGER).
-- @param _ the input as a value; not looked at
-- @tparam string text the input as JSON
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check_input(_, text)
  if not text:find(("%d"):rep(#MAX_INTEGER)) then return true end
  -- What is left when strings are gone is numbers, names and punctuation.
  local bare = text:gsub("\\.", ""):gsub('"[^"]*"', '""')
  for number in bare:gmatch("%-?%d[%d.eE+-]*") do
    if not number:find("[.eE]") and is_unsafe(number:match("%d+")) then
      local shown = #number > 40 and number:sub(1, 40) .. "..." or number
      return nil, ("the input holds the integer %s, which is beyond 2^53-1: JavaScript would"
        .. " change it; send it as a string"):format(shown)
    end
  end
  return true
end

return M
