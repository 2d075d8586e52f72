-- SPDX-License-Identifier: MIT
--- TypeScript stages: JavaScript with types, which are not checked.
--
-- Node blanks types out itself from 22.18 on: what needs code to be made of it (`enum`,
-- `namespace`, parameter properties) it refuses, and says so. With an older node esbuild makes
-- JavaScript of a stage, all of TypeScript included, before it runs: in a sandbox of its own, once
-- for each text. Which of the two it is follows from the newest node in PATH that works. Either way
-- places are those in the user's code, which stands alone in `stage.ts`; all else is as for
-- JavaScript.
local javascript = require "noether.policy.languages.javascript"
local resource = require "noether.resource"

local M = {
  name = "typescript",
  names = { "typescript", "ts" },
  extension = "ts",
}

--- What a model is told that is to write such stages.
M.about = "TypeScript (node; types are not checked, and best kept to what can be blanked out: "
  .. "no enum). Define function execute(input), which may be async, and return the answer: a "
  .. "JSON value. ES modules and CommonJS both work."

--- A stage that gives the double of its input, by which a server is tried.
M.sample = "function execute(n: number): number { return n * 2; }"

--- How a stage calls a function of its host, for a model: of its name.
M.call_usage = javascript.call_usage

--- Tools for a model are offered only where it can be had.
M.optional = true

-- JavaScript's own probe, with more to say at its end.
local PROBE = resource.text("policy/languages/javascript/probe.js")
  :gsub("console%.log[^\n]*\n$", "") .. resource.text("policy/languages/typescript/probe.js")

--- How an interpreter is found; fields as in the Python module. `compiler` in what the probe prints
-- is the esbuild of a node that cannot do without. `install`: what is said where there is neither.
M.runtime = {
  programs = javascript.runtime.programs,
  newest = javascript.runtime.newest,
  probe = { "-e", PROBE },
  attribute = javascript.runtime.attribute,
  install = "install node 22.18 or later, or esbuild (on Debian: apt-get install esbuild; or npm "
    .. "install -g esbuild), and have it in PATH",
}

--- The policy that judges the packages that stages name: as for JavaScript.
M.requires = javascript.requires

--- Stages can call functions of their host: as for JavaScript.
M.channel = javascript.channel

--- Interpreters can be started ahead of their request: as for JavaScript.
M.ahead = javascript.ahead

--- The files of a stage.
-- @tparam string code the user's code
-- @tparam[opt] table opts as for JavaScript
-- @treturn ?table `{ files = { [name] = text }, entry = name, own = name }`; or nil and the reason
-- @treturn ?string
function M.wrap(code, opts)
  local script, reason = javascript.wrap(code, opts)
  if not script then return nil, reason end
  local files = script.files
  files["stage.ts"], files["stage.js"], script.own = code, nil, "stage.ts"
  files["runner.js"] = files["runner.js"]:gsub('\nconst STAGE = "stage%.js";\n',
    '\nconst STAGE = "stage.ts";\n')
  return script
end

-- Whether a node does without a compiler.
local function strips_types(version)
  local major, minor = tostring(version):match("^v?(%d+)%.(%d+)")
  major, minor = tonumber(major) or 0, tonumber(minor) or 0
  return major > 22 or (major == 22 and minor >= 18)
end

--- What makes JavaScript of a stage, before it runs: a program that reads the code on standard
-- input and writes what is to be run.
-- @tparam table runtime description with `version` and, if it has one, `compiler`
-- @treturn ?table `{ argv = list, file = name of the file that its output is }`; nil: nothing needs
-- to be done; nil and a reason: this runtime cannot run such stages
-- @treturn ?string
function M.compile(runtime)
  if runtime.compiler then
    return {
      file = "compiled.js",
      argv = { runtime.compiler, "--loader=ts", "--target=es2022", "--sourcemap=inline",
        "--sources-content=false", "--sourcefile=stage.ts", "--tsconfig-raw={}",
        "--log-level=error", "--log-limit=1", "--color=false" },
    }
  elseif strips_types(runtime.version) then
    return nil
  end
  return nil, ("node %s knows no types: it does from 22.18 on"):format(tostring(runtime.version))
end

--- What the compiler says of a mistake in the code: "X [ERROR] Expected ... " and its place.
-- @tparam string text its standard error
-- @treturn ?table `type`, `message` and `line`, as a runner reports; nil if it says no such thing
function M.mistake(text)
  local message = text:match("%[ERROR%] ([^\n]+)")
  if not message then return nil end
  local line = text:match("\n%s*stage%.ts:(%d+):")
  return { type = "SyntaxError", message = message, line = tonumber(line) }
end

--- The command that runs a wrapped stage: as for JavaScript.
M.argv = javascript.argv

--- Variables for a stage's environment: none.
M.env = javascript.env

--- Whether an input can be held exactly: as for JavaScript.
M.check_input = javascript.check_input

return M
