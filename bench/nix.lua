-- SPDX-License-Identifier: MIT
--- A warm stage of the nix runtime against the same stage of the host's, beside what runs nix at
-- each call: `nix run` alone, and bubblewrap around it. The nix is the specs' own (spec/fixtures),
-- so the interpreters are the same files. Where nix is missing there is nothing to measure.
local json = require "noether.json"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local STAGE = [[
def execute(input):
    return {"double": input["n"] * 2}
]]

local SCRIPT = [[
import json
print(json.dumps({"double": json.loads('{"n": 21}')["n"] * 2}))
]]

local function through(executor)
  local stage = { language = "python", code = STAGE, effects = { "Pure" } }
  local function run()
    return measure.time(function()
      local output, err = executor:execute(stage, { n = 21 })
      assert(not err, err)
      assert(output.double == 42)
    end)
  end
  return run
end

local function through_program(argv)
  return function()
    return measure.time(function()
      local result = assert(noether.run(argv, { isolation = "none" }))
      assert(result.ok, result.stderr)
    end)
  end
end

-- Nix needs much of the machine, and its store and database to write to.
local function in_bwrap(state, argv)
  local wrapped = { "bwrap", "--ro-bind", "/", "/", "--bind", "/tmp", "/tmp", "--bind", state,
    state, "--dev", "/dev", "--proc", "/proc", "--unshare-pid" }
  return table.move(argv, 1, #argv, #wrapped + 1, wrapped)
end

local function contestants(state)
  local script = state .. "/script.py"
  assert(sys.write_file(script, SCRIPT))
  local nix_run = { "nix", "run", "--no-write-lock-file", "--quiet", "nixpkgs#python3", "--",
    script }
  local function executor(runtime, isolation)
    return assert(noether.executor{
      runtime = runtime, isolation = isolation, cache_dir = state .. "/cache",
    })
  end
  return {
    { name = "host", run = through(executor("host", "native")) },
    { name = "nix", run = through(executor("nix", "native")) },
    { name = "nix, none", run = through(executor("nix", "none")) },
    { name = "nix run", run = through_program(nix_run) },
    { name = "nix run in bwrap", run = through_program(in_bwrap(state, nix_run)) },
  }
end

--- What is run within the nix of its own: the summaries, as JSON.
-- @tparam string state its directory
-- @tparam number rounds
function M.inner(state, rounds)
  print((assert(json.encode(measure.take_turns(contestants(state), rounds)))))
end

local function summaries(here, state, rounds)
  local lua = assert(sys.realpath("/proc/self/exe"))
  local code = ('package.path = "%s/?.lua;" .. package.path; require("nix").inner("%s", %d)')
    :format(here, state, rounds)
  local result = assert(noether.run({ "sh", "-c", 'exec "$@"', "sh",
    here .. "/../spec/fixtures/nixenv", lua, "-e", code }, {
    isolation = "none", env = { NIXENV_STATE = state },
  }))
  assert(result.ok, result.stderr)
  return assert(json.decode(result.stdout))
end

--- @tparam table opts `rounds`
-- @treturn table rows; none where nix is missing
function M.run(opts)
  if not sys.find_program("nix", sys.environ().PATH) then
    print("(nix is not installed)")
    return {}
  end
  local here = assert(sys.realpath(arg[0]:match("^(.*)/") or "."))
  local state = assert(sys.mkdtemp("/tmp/noether-bench-"))
  local ok, found = pcall(summaries, here, state, math.max((opts.rounds or 400) // 8, 10))
  noether.run({ "sh", "-c", 'chmod -R u+w "$1"; rm -rf "$1"', "sh", state }, { isolation = "none" })
  if not ok then error(found, 0) end
  return {
    measure.row("python stage, sandboxed: the host's runtime", found.host, found.host),
    measure.row("python stage, sandboxed: nix, warm", found.nix, found.host, 1.2),
    measure.row("python stage, no isolation: nix, warm", found["nix, none"], found.host),
    measure.row("the script alone by nix run", found["nix run"], found.host),
    measure.row("the script alone by nix run in bubblewrap", found["nix run in bwrap"], found.host),
  }
end

return M
