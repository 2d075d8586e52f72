-- SPDX-License-Identifier: MIT
-- Three languages, real input, and two stages that do not go well. Run it with `make demo`, or:
--
--     build/bin/noether-lua examples/hello.lua
--
-- It exits with 0 only if every stage did what this file says it does.
local noether = require "noether"

local PYTHON = [[
from collections import Counter

def execute(input):
    words = input["text"].lower().split()
    print("counting", len(words), "words")      # goes to the log, not into the answer
    return [{"word": w, "count": n} for w, n in Counter(words).most_common(2)]
]]

local JAVASCRIPT = [[
export async function execute(orders) {
  const totals = {};
  for (const { customer, cents } of orders)
    totals[customer] = (totals[customer] ?? 0) + cents;
  return totals;
}
]]

local BASH = [[
execute() {
  local word line=""
  for word in $(tr '[]",' ' '); do line="$word${line:+ $line}"; done
  printf '"%s"\n' "$line"
}
]]

local FAILS = [[
def execute(input):
    return total(input["prices"])

def total(prices):
    return sum(prices) / len(prices)
]]

local HANGS = [[
import subprocess, time

def execute(input):
    subprocess.Popen(["sleep", "1000"])         # and leaves a process behind, too
    time.sleep(1000)
]]

local TEXT = "the quick brown fox jumps over the lazy dog while the dog sleeps"
local ORDERS = {
  { customer = "ada", cents = 1250 }, { customer = "bob", cents = 300 },
  { customer = "ada", cents = 750 },
}

local function is_top_word(answer)
  return answer[1].word == "the" and answer[1].count == 3
end

local STEPS = {
  {
    title = "Python", says = "the two most frequent words", language = "python", code = PYTHON,
    input = { text = TEXT }, effects = {}, is_right = is_top_word,
  },
  {
    title = "JavaScript", says = "what each customer spent", language = "javascript",
    code = JAVASCRIPT, input = ORDERS, effects = {},
    is_right = function(answer) return answer.ada == 2000 and answer.bob == 300 end,
  },
  {
    title = "Bash", says = "words, last one first", language = "bash", code = BASH,
    input = { "one", "two", "three" }, effects = { "Process" },
    is_right = function(answer) return answer == "three two one" end,
  },
  {
    title = "A bug", says = "the mean of no prices", language = "python", code = FAILS,
    input = { prices = noether.array{} }, effects = {}, fails_with = "stage_failed",
  },
  {
    title = "A hang", says = "a stage that never ends, given 0.5 s", language = "python",
    code = HANGS, input = noether.null, effects = { "Process" }, timeout_secs = 0.5,
    fails_with = "timed_out",
  },
}

local is_terminal = require("noether.sys").isatty(1) and os.getenv("NO_COLOR") == nil

local function paint(code, text)
  return is_terminal and ("\27[%sm%s\27[0m"):format(code, text) or text
end

local function say(label, text)
  if text and text ~= "" then print(("    %-9s %s"):format(label, text)) end
end

-- A sandbox, or the caller's own word that there shall be none.
local function make_executor()
  local executor = assert(noether.executor{ timeout_secs = 20 })
  local _, err = executor:execute({ language = "bash", code = "execute() { echo 1; }" }, nil)
  if not err or err.kind ~= "isolation_unavailable" then return executor end
  print(paint("33", "No sandbox works on this machine, so the stages run without one:"))
  print("  " .. tostring(err) .. "\n")
  return assert(noether.executor{ timeout_secs = 20, isolation = "none" })
end

local function is_as_expected(step, answer, err)
  if step.fails_with then return err ~= nil and err.kind == step.fails_with end
  return err == nil and step.is_right(answer)
end

local function show(step, answer, err, info, ok)
  local mark = ok and paint("32", "ok") or paint("31", "NOT AS EXPECTED")
  print(("%s %s: %s"):format(mark, paint("1", step.title), step.says))
  if err then
    say("error", ("%s: %s"):format(err.kind, tostring(err)))
    say("hint", err.hint)
  else
    say("answer", noether.inspect(answer))
  end
  if not err then say("log", (info.logs:gsub("%s+$", ""))) end
  local run = info.phases.run or 0
  say("time", ("%.0f ms, of which %.0f ms ran"):format(info.duration_secs * 1000, run * 1000))
  print()
end

local function run_step(executor, step)
  local answer, err, info = executor:execute({
    language = step.language, code = step.code, effects = step.effects,
  }, step.input, { timeout_secs = step.timeout_secs })
  local ok = is_as_expected(step, answer, err)
  show(step, answer, err, info, ok)
  return ok, info
end

local function run_many(executor)
  local inputs = {}
  for i = 1, 20 do
    inputs[i] = i
  end
  local stage = { language = "bash", code = 'execute() { echo "$(( $1 * $1 ))"; }', effects = {} }
  local started = noether.clock()
  local records = executor:map(stage, inputs, { jobs = 4 })
  local sum = 0
  for _, record in ipairs(records) do
    sum = sum + (record.output or 0)
  end
  local ok = sum == 2870
  print(("%s %s: the squares of 1 to 20, four at once"):format(
    ok and paint("32", "ok") or paint("31", "NOT AS EXPECTED"), paint("1", "Many")))
  say("answer", "their sum is " .. tostring(sum))
  say("time", ("%.0f ms for 20 stages"):format((noether.clock() - started) * 1000))
  print()
  return ok
end

local function main()
  print(paint("1", ("noether %s"):format(noether.version)) .. ": stages in, answers out\n")
  local executor = make_executor()
  local started, wrong, last = noether.clock(), 0, nil
  for _, step in ipairs(STEPS) do
    local ok, info = run_step(executor, step)
    wrong, last = wrong + (ok and 0 or 1), info
  end
  if not run_many(executor) then wrong = wrong + 1 end
  print(("Isolation: %s (%s)."):format(last.isolation, table.concat(last.enforced, ", ")))
  print(("%d of %d as expected, in %.1f s. Nothing was left running."):format(
    #STEPS + 1 - wrong, #STEPS + 1, noether.clock() - started))
  executor:close()
  return wrong == 0
end

os.exit(main() and 0 or 1, true)
