-- SPDX-License-Identifier: MIT
-- Functions of the host, called from stages: in every language, under every backend.
local calls = require "spec.support.calls"
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

-- In every run of the suite.
local ALWAYS = {}
for _, language in ipairs{ "python", "javascript", "bash" } do
  ALWAYS[#ALWAYS + 1] = ("functions of the host are called from %s, and answer it"):format(language)
end

local all_of, same = calls.effects, calls.same

local function refuse(args) return nil, "not " .. tostring(args) end

-- The same in each language: three calls, one of them in vain.
local ROUND = {
  python = [==[
from noether import add, same, refuse, CallError
def execute(input):
    try:
        refuse("now")
    except CallError as error:
        return [add(x=1, y=2), same(input), [error.kind, str(error)]]
]==],
  javascript = [==[
import { add, same, refuse } from "noether";
export async function execute(input) {
  try {
    await refuse("now");
  } catch (error) {
    return [await add({ x: 1, y: 2 }), await same(input), [error.kind, error.message]];
  }
}
]==],
  bash = [==[
execute() {
  noether -v SUM add '{"x":1,"y":2}'
  noether -v BACK same "$1"
  if ! noether refuse '"now"' 2>/work/why; then
    printf '[%s,%s,["call_failed","not now"]]' "$SUM" "$BACK"
  fi
}
]==],
}

local INPUT = { text = "ä€\"\\\n", list = { 1, 2.5, false }, deep = { { { "x" } } } }

local FUNCTIONS = {
  add = function(args) return args.x + args.y end, same = same, refuse = refuse,
}

helper.over({
  backends = BACKENDS, starts = helper.STARTS, always = ALWAYS,
}, "under %s, begun by %s,", function(backend, start)
  helper.begin_by(start)

  describe("functions of the host", function()
    for language, code in pairs(ROUND) do
      if language == "bash" and backend == "none" then
        code = code:gsub("/work/why", "/dev/null")
      elseif language == "bash" and backend == "landlock" then
        code = code:gsub("/work/why", "$TMPDIR/why")
      end

      it("are called from " .. language .. ", and answer it", function()
        local out, err, info = noether.execute{
          language = language, code = code, input = INPUT, isolation = backend,
          effects = all_of("add", "same", "refuse"), functions = FUNCTIONS, timeout_secs = 30,
        }
        assert.is_nil(err, tostring(err))
        assert.same({ 3, INPUT, { "call_failed", "not now" } }, json.decode(json.encode(out)))
        assert.equal(3, #info.calls)
        assert.equal(backend, info.isolation)
        assert.equal(helper.told_start(start, backend, language), info.start)
      end)
    end
  end)
end)

-- How many replies come in another order than they were asked for.
local SHUFFLED = os.getenv "SPEC_OVER" == "one" and 400 or 10000

helper.over({ backends = BACKENDS }, "under %s the channel of a stage", function(backend)
  local run = calls.runner(backend)

  it("answers each thread, coroutine and promise with its own answer", function()
    local waiting = {}
    local functions = {}
    -- Answered in an order of our own, when several wait.
    functions.later = function(args, call)
      waiting[#waiting + 1] = { call = call:later(), args = args }
      if #waiting < 20 then return end
      while #waiting > 0 do
        local one = table.remove(waiting, math.random(#waiting))
        one.call:answer({ was = one.args })
      end
    end
    for language, code in pairs{
      python = [==[
import asyncio
from concurrent.futures import ThreadPoolExecutor
from noether import later, acall
def execute(count):
    async def many():
        return await asyncio.gather(*[acall("later", n) for n in range(count)])
    with ThreadPoolExecutor(20) as pool:
        threads = pool.map(later, range(count))
        coroutines = asyncio.run(many())
        return [[one["was"] for one in all] == list(range(count)) for all in (threads, coroutines)]
]==],
      javascript = [==[
const { later } = require("noether");
async function execute(count) {
  const all = await Promise.all([...Array(count).keys()].map((n) => later(n)));
  return [true, all.every((one, n) => one.was === n)];
}
]==],
    } do
      local out, err = run({ language = language, code = code, input = SHUFFLED },
        { functions = functions, limits = { calls = 2 * SHUFFLED }, timeout_secs = 300 })
      assert.is_nil(err, tostring(err))
      assert.same({ true, true }, { out[1], out[2] })
    end
  end)

  it("brings answers of any length, in whatever pieces they come", function()
    -- With lengths among them whose bytes are zeros, line ends and braces.
    local sizes = { 100000, 2 ^ 20 - 64 }
    for size = 0, 300 do sizes[#sizes + 1] = size end
    for size = 0, 40 do
      for _, least in ipairs{ 31440, 65480, 65716, 96980 } do sizes[#sizes + 1] = least + size end
    end
    local function fill(size) return "ä" .. ("x"):rep(size) end
    for language, code in pairs{
      python = [==[
from concurrent.futures import ThreadPoolExecutor
from noether import fill
def execute(sizes):
    with ThreadPoolExecutor(4) as pool:
        return [size for size, text in zip(sizes, pool.map(fill, sizes)) if len(text) != size + 1]
]==],
      javascript = [==[
import { fill } from "noether";
export async function execute(sizes) {
  const texts = await Promise.all(sizes.map((size) => fill(size)));
  return sizes.filter((size, i) => texts[i].length !== size + 1);
}
]==],
      bash = [==[
execute() {
  local LC_ALL=C size wrong=
  for size in ${1//[^0-9]/ }; do
    noether -v TEXT fill "$size"
    [[ ${#TEXT} == $((size + 4)) && $TEXT == '"ä'*'"' ]] || wrong+=",$size"
  done
  echo "[${wrong#,}]"
}
]==],
    } do
      local out, err = run({ language = language, code = code, input = sizes },
        { functions = { fill = fill } })
      assert.is_nil(err, tostring(err))
      assert.same({}, { table.unpack(out) }, language)
    end
  end)

  it("takes calls of coroutines that do not fit in it, and blocking ones beside", function()
    local out, err = run({ language = "python", input = 200, code = [==[
import asyncio, threading
from noether import same, acall
LONG = "x" * 50000
async def one(n):
    answer = await acall("same", [n, LONG])
    return [answer[0], same(n)] == [n, n] and answer[1] == LONG
async def many(count):
    return await asyncio.gather(*[one(n) for n in range(count)])
def execute(count):
    good = []
    def run():
        good.append(all(asyncio.run(many(count))))
    run() # nobody else reads
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads: thread.start()
    good.append(all(same([n, LONG])[0] == n for n in range(count)))
    for thread in threads: thread.join()
    return good
]==] }, { functions = FUNCTIONS, limits = { calls = 2000 } })
    assert.is_nil(err, tostring(err))
    assert.same({ true, true, true, true }, { table.unpack(out) })
  end)

  it("does not wait for a coroutine that was given up", function()
    local held
    local out, err = run({ language = "python", input = 1, code = [==[
import asyncio
from noether import acall, same
async def both():
    try:
        await asyncio.wait_for(acall("hold"), 0.2)
    except asyncio.TimeoutError:
        pass
    return await acall("same", "next")
def execute(n):
    return [asyncio.run(both()), same("last")]
]==] }, { functions = {
      hold = function(_, call) held = call:later() end,
      same = function(value)
        if value == "last" then held:answer("late") end
        return value
      end,
    } })
    assert.is_nil(err, tostring(err))
    assert.same({ "next", "last" }, { out[1], out[2] })
  end)

  it("is shared by the jobs of a Bash stage, one after the other", function()
    local out, err = run({ language = "bash", input = 1, code = [==[
execute() {
  local i
  for i in 1 2 3 4; do
    ( for j in 1 2 3 4 5; do noether -v R same "$i$j"; [ "$R" = "$i$j" ] || echo wrong; done ) &
  done >"$TMPDIR/wrong"
  wait
  noether -v LAST same '"end"'
  [ ! -s "$TMPDIR/wrong" ] && echo "$LAST"
  rm "$TMPDIR/wrong"
}]==] }, { effects = { "Process", { Call = "same" } }, functions = FUNCTIONS })
    assert.is_nil(err, tostring(err))
    assert.equal("end", out)
  end)

  it("leaves nothing in the host's temporary directory", function()
    local out, err = run({ language = "bash", input = 1, code = [==[
execute() {
  for i in 1 2 3; do ( noether same "$i" ) & done >&2
  wait
  noether same '"end"'
}]==] }, { effects = { "Process", { Call = "same" } }, functions = FUNCTIONS })
    assert.is_nil(err, tostring(err))
    assert.equal("end", out) -- and helper.lua looks for what is left
  end)

  it("is not there for a program that Python or node starts, nor for a forked copy", function()
    local out, err = run({ language = "python", input = 1, code = [==[
import os, subprocess
from noether import same
def execute(n):
    seen = subprocess.run(["sh", "-c", "true >&5"], stderr=subprocess.DEVNULL).returncode
    pid = os.fork()
    if pid == 0:
        try:
            same(1)
        except Exception as error:
            os._exit(7)
        os._exit(0)
    return [seen == 0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), same(2),
            "NOETHER_CHANNEL" in os.environ]
]==] }, { effects = { "Process", { Call = "same" } }, functions = FUNCTIONS })
    assert.is_nil(err, tostring(err))
    assert.same({ false, 7, 2, false }, { out[1], out[2], out[3], out[4] })
    out, err = run({ language = "javascript", input = 1, code = [==[
const { spawnSync } = require("child_process");
const { same } = require("noether");
async function execute() {
  await same(1);
  return spawnSync("sh", ["-c", "true >&5"]).status === 0;
}]==] }, { effects = { "Process", { Call = "same" } }, functions = FUNCTIONS })
    assert.is_nil(err, tostring(err))
    assert.is_false(out)
  end)

  it("costs a stage that does not call nothing, and is not there", function()
    local out, err, info = run({ language = "python", input = 1, effects = {}, code = [==[
import os
def execute(n):
    try:
        import noether
    except ImportError:
        return ["NOETHER_CHANNEL" in os.environ, os.path.exists("/proc/self/fd/5")]
]==] })
    assert.is_nil(err, tostring(err))
    assert.same({ false, false }, { out[1], out[2] })
    assert.is_nil(info.calls)
  end)
end)

describe("a stage that declares no call", function()
  local run = calls.runner "none"

  for language, codes in pairs{
    python = { "from noether import f\ndef execute(n): return f(n)",
      "def execute(n):\n    import noether\n    return noether.call('f', n)" },
    javascript = { 'import { f } from "noether"; export function execute(n) { return f(n); }',
      'const { f } = require("noether"); function execute(n) { return f(n); }',
      'async function execute(n) { return (await import("noether")).f(n); }' },
    bash = { 'execute() { noether -v X f "$1"; echo "$X"; }', 'execute() { noether f "$1"; }' },
  } do
    for index, code in ipairs(codes) do
      it(("is told what to declare where it calls from %s (%d)"):format(language, index), function()
        local out, err = run({ language = language, code = code, input = 1 }, { effects = {} })
        assert.is_nil(out)
        assert.same({ "effect_denied", "Call" }, { err.kind, err.effect })
        assert.truthy(err.hint:find('effects = { { Call = "name" } }', 1, true), err.hint)
      end)
    end
  end

  it("is not told so for a module of another name", function()
    local _, err = run({ language = "python", code = "import noether2\ndef execute(n): return n",
      input = 1 }, { effects = {} })
    assert.equal("stage_failed", err.kind)
  end)
end)

describe("a language whose policy speaks no channel", function()
  it("is refused with Call, naming the policy", function()
    local executor = noether.check(noether.executor{
      isolation = "none", policy = { languages = { cat = {
        names = { "cat" }, extension = "cat",
        runtime = { programs = { "sh" }, probe = { "-c",
          'printf \'{"path":"/bin/sh","version":"1","dirs":[]}\'' } },
        wrap = function(code) return { files = { stage = code }, entry = "stage" } end,
        argv = function(runtime, entry) return { runtime.path, entry } end,
      } } },
    })
    local _, err = executor:execute({ language = "cat", code = "cat", effects = all_of("f") }, 1, {
      functions = { f = same },
    })
    assert.equal("policy_error", err.kind)
    assert.truthy(err.message:find("languages/cat speaks no channel", 1, true), err.message)
    executor:close()
  end)
end)

describe("noether.functions_prompt", function()
  it("tells a model what there is, and how it is called", function()
    local functions = {
      price = {
        call = same, description = "euros\nof a fruit", input_schema = { type = "object" },
      },
      plain = same,
    }
    for language, text in pairs{ python = "from noether import price",
      javascript = 'import { price } from "noether"', ts = 'import { price } from "noether"',
      bash = "noether -v RESULT price" } do
      local prompt = noether.functions_prompt(functions, language)
      assert.truthy(prompt:find("price: euros of a fruit", 1, true), prompt)
      assert.truthy(prompt:find(text, 1, true), prompt)
      assert.truthy(prompt:find('arguments: {"type":"object"}', 1, true), prompt)
      assert.truthy(prompt:find("plain: no description", 1, true), prompt)
    end
    assert.has_error(function() noether.functions_prompt(functions, "cobol") end)
    assert.has_error(function() noether.functions_prompt({ ["a b"] = same }, "python") end)
  end)
end)

describe("options of functions", function()
  it("raise on what are none", function()
    local executor = noether.check(noether.executor{ isolation = "none" })
    for _, case in ipairs{
      { { ["1x"] = same }, "a name is letters" }, { { call = same }, "stages have that name" },
      { { f = 5 }, "functions.f" }, { { f = { call = 5 } }, "call" },
      { { f = { call = same, other = 1 } }, "other" },
      { { f = { call = same, input_schema = { type = "string" } } }, "its root must have" },
      { { f = { call = same, timeout_secs = 0 } }, "timeout_secs" },
    } do
      local ok, message = pcall(function()
        executor:execute("x", 1, { functions = case[1] })
      end)
      assert.is_false(ok, case[2])
      assert.truthy(message:find(case[2], 1, true), message)
      assert.truthy(message:find("functions_spec.lua", 1, true), message)
    end
    executor:close()
  end)
end)
