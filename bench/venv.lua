-- SPDX-License-Identifier: MIT
--- A stage that requires a package: with its environment there already, against the same stage
-- without any; and with one to be built, against `python3 -m venv` and `pip install` by hand.
local commands = require "noether.command"
local json = require "noether.json"
local measure = require "measure"
local noether = require "noether"
local sys = require "noether.sys"

local M = {}

local TOOL = (arg[0]:match("^(.*)/") or ".") .. "/../spec/fixtures/packages/wheels.py"

local PLAIN = { language = "python", effects = { "Pure" }, code = "def execute(i): return i" }

local WITH = {
  language = "python", effects = { "Pure" }, code = "# requires: tiny==1.0\n" .. PLAIN.code,
}

local function command(argv, stdin)
  local result = assert(commands.run(argv, { isolation = "none", stdin = stdin }))
  assert(result.ok, result.stderr)
end

local function make_wheel(python, dir)
  command({ python, "-I", TOOL }, assert(json.encode{ dir = dir, packages = json.array{
    { name = "tiny", version = "1.0", files = { ["tiny.py"] = "value = 42\n" } },
  } }))
end

local function executor(dir, cache)
  return assert(noether.executor{
    cache_dir = cache, runtime = "host", pip = { find_links = { dir } },
  })
end

local function through(ex, stage)
  return function()
    return measure.time(function()
      local output, err = ex:execute(stage, 1)
      assert(output == 1, err)
    end)
  end
end

-- A number for each environment, since every one is new.
local count = 0

local function place(dir)
  count = count + 1
  return ("%s/cold-%d"):format(dir, count)
end

local function by_hand(python, dir)
  return function()
    local env = place(dir)
    return measure.time(function()
      command{ python, "-m", "venv", env }
      command{ env .. "/bin/pip", "install", "-q", "--disable-pip-version-check", "--no-index",
        "--find-links", dir, "tiny==1.0" }
    end)
  end
end

local function cold(dir)
  return function()
    local ex = executor(dir, place(dir))
    local secs = through(ex, WITH)()
    ex:close()
    return secs
  end
end

local function measured(dir, rounds)
  local ex = executor(dir, dir .. "/cache")
  local _, err, info = ex:execute(PLAIN, 1)
  assert(not err, err)
  local python = info.runtime.path
  make_wheel(python, dir)
  local warm = measure.take_turns({
    { name = "plain", run = through(ex, PLAIN) }, { name = "venv", run = through(ex, WITH) },
  }, math.max(rounds // 8, 10))
  ex:close()
  local made = measure.take_turns({
    { name = "hand", run = by_hand(python, dir) }, { name = "cold", run = cold(dir) },
  }, math.max(rounds // 100, 3))
  return {
    measure.row("packages: a stage without any", warm.plain, warm.plain),
    measure.row("packages: a stage with a warm venv", warm.venv, warm.plain, 1.1),
    measure.row("packages: venv and pip install by hand", made.hand, made.hand),
    measure.row("packages: a stage with a cold venv of one wheel", made.cold, made.hand, 1.5),
  }
end

--- @tparam table opts `rounds`
-- @treturn table rows
function M.run(opts)
  local dir = assert(sys.mkdtemp("/tmp/noether-bench-"))
  local ok, rows = pcall(measured, dir, opts.rounds or 400)
  sys.remove_tree(dir)
  return ok and rows or error(rows, 0)
end

return M
