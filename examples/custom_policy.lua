-- SPDX-License-Identifier: MIT
-- A program's own rules, in plain data and functions: a new language, an allow-list for packages,
-- and an executor that refuses stages which declare more than it allows.
--
-- It needs nothing but a Lua interpreter that finds the modules:
--
--     LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/lib/5.4/?.so;;' \
--       lua5.4 examples/custom_policy.lua
local noether = require "noether"

-- A language is one table (or one file, languages/awk.lua in policy_path). A stage of this one is
-- an awk program that reads the input's JSON text and prints JSON.
local AWK = {
  names = { "awk" },
  extension = "awk",
  runtime = {
    programs = { "awk" },
    probe = { [[BEGIN {
      "command -v awk" | getline path
      "readlink -f " path | getline path
      printf "{\"path\":\"%s\",\"version\":\"awk\",\"dirs\":[]}\n", path
    }]] },
  },
  wrap = function(code)
    return { files = { ["stage.awk"] = code }, entry = "stage.awk" }
  end,
  argv = function(runtime, entry)
    return { runtime.path, "-f", entry }
  end,
}

local function make(options)
  options.timeout_secs = 20
  options.policy = { languages = { awk = AWK }, pip = { allow = { "six" } } }
  return noether.check(noether.executor(options))
end

local function main()
  local executor = make{ allow_effects = { "Pure" } }

  local answer = noether.check(executor:execute(
    { language = "awk", code = "{ print NF }", effects = {} }, "to be or not to be"))
  print("awk says: " .. answer .. " words")

  local _, denied = executor:execute(
    { language = "awk", code = "{ }", effects = { "Network" } }, "x")
  print("refused:  " .. tostring(denied))

  local _, rejected = executor:execute(
    { language = "python", code = "# requires: pandas==2.0.0", effects = {} }, "x")
  print("refused:  " .. tostring(rejected))

  executor:close()
  return answer == 6 and denied.kind == "effect_denied"
    and rejected.kind == "package_rejected"
end

os.exit(main() and 0 or 1, true)
