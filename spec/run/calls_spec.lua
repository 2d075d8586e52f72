-- SPDX-License-Identifier: MIT
-- Calls of a stage: what functions of the host give and get, and what strangers say instead, in
-- every backend.
local calls = require "spec.support.calls"
local errors = require "noether.error"
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock", "none" }

local all_of, same = calls.effects, calls.same
local FUNCTIONS = { same = same }

helper.over({ backends = BACKENDS }, "under %s", function(backend)
  local run = calls.runner(backend)

  describe("arguments beyond the limit", function()
    local CATCHES = {
      python = [==[
from noether import f, CallError
def execute(sizes):
    try:
        f("x" * sizes[0])
    except CallError as error:
        return [str(error), f([0] * sizes[1]) if sizes[1] else None, f("after")]
]==],
      javascript = [==[
import { f } from "noether";
export async function execute(sizes) {
  try {
    await f("x".repeat(sizes[0]));
  } catch (error) {
    return [error.message, null, await f("after")];
  }
}
]==],
      bash = [==[
execute() {
  local long why
  printf -v long '"%*s"' 50000 ''
  noether f "$long" 2>why || read -r why <why
  noether -v after f '"after"'
  printf '["%s", null, %s]' "$why" "$after"
}
]==],
    }

    for language, code in pairs(CATCHES) do
      it("can be caught in " .. language .. ", and the run goes on", function()
        local out, err, info = run({ language = language, code = code, input = { 50000, 0 } }, {
          functions = { f = same }, limits = { call_bytes = 2000 }, outputs = { "none?" },
        })
        assert.is_nil(err, tostring(err))
        assert.truthy(out[1]:find("50002 bytes, and limits.call_bytes is 2000", 1, true), out[1])
        assert.equal("after", out[3])
        assert.equal(1, #info.calls)
      end)
    end

    it("of too many values can be caught as well", function()
      for language, code in pairs{
        python = "from noether import f, CallError\ndef execute(n):\n    try: return f([0] * n)\n"
          .. "    except CallError as error: return [str(error), f(1)]",
        javascript = 'import { f } from "noether";\nexport async function execute(n) {\n'
          .. "  try { return await f(Array(n).fill(0)); }\n"
          .. "  catch (error) { return [error.message, await f(1)]; }\n}",
      } do
        local out, err = run({ language = language, code = code, input = 100001 },
          { functions = { f = same } })
        assert.is_nil(err, tostring(err))
        assert.truthy(out[1]:find("more than 100000 values", 1, true), out[1])
        assert.equal(1, out[2])
      end
    end)
  end)

  describe("a call", function()
    local CALL = "from noether import f\ndef execute(input): return f(input)\n"

    local function call(fn, opts)
      opts = opts or {}
      opts.functions = opts.functions or { f = fn }
      return run({ language = "python", code = opts.code or CALL, input = opts.input or 1 }, opts)
    end

    it("fails in the stage with what the function said, and no word of where", function()
      local cases = {
        { function() return nil, "plain" end, "plain" },
        { function() error("raised") end, "raised" },
        { function() error({ message = "a table", kind = "own" }) end, "a table" },
        { function() error({}) end, "the function failed" },
        { function() error() end, "the function failed" },
        { function() return print end, "a function is no JSON value" },
        { function() return 0 / 0 end, "NaN" },
        { function() local t = {} t.t = t return t end, "f: result" },
        { function() coroutine.yield() end, "must not yield" },
        { function() return nil, noether.store.memory():get("x") end, "call_failed" },
      }
      for _, case in ipairs(cases) do
        local _, err = call(case[1])
        if case[2] ~= "call_failed" then
          assert.equal("stage_failed", err.kind, tostring(err))
          assert.truthy(err.message:find("CallError: ", 1, true), err.message)
          assert.truthy(err.message:find(case[2], 1, true), err.message)
        end
        assert.falsy(tostring(err):find("calls_spec", 1, true), tostring(err))
      end
    end)

    it("gives nothing as null, and false as false", function()
      for _, case in ipairs{ { nil, json.null }, { json.null, json.null }, { false, false } } do
        local out, err = call(function() return case[1] end)
        assert.is_nil(err, tostring(err))
        assert.equal(case[2], out)
      end
    end)

    it("that was not declared fails, and ends the stage as effect_denied", function()
      local _, err, info = call(function() return 1 end, {
        effects = all_of("g"), functions = { f = same, g = same },
      })
      assert.equal("effect_denied", err.kind, tostring(err))
      assert.equal("Call(f)", err.effect)
      assert.is_true(info.calls[1].refused)
      local out
      out, err = call(nil, {
        effects = all_of("g"), functions = { f = same, g = same }, code = [==[
from noether import f, CallError
def execute(n):
    try: f(n)
    except CallError as error: return error.kind
]==] })
      assert.is_nil(err, tostring(err))
      assert.equal("effect_denied", out)
    end)

    it("to a function that is not given is refused before anything runs", function()
      local _, err, info = call(nil, { functions = {}, effects = all_of("f") })
      assert.equal("input_invalid", err.kind)
      assert.truthy(err.message:find("Call(f)", 1, true))
      assert.truthy(err.hint:find("functions = { f =", 1, true))
      assert.is_nil(info.result)
    end)

    it("is allowed like any effect", function()
      local executor = noether.check(noether.executor{
        isolation = backend, allow_effects = all_of("f"), functions = { f = same, g = same },
      })
      local stage = { language = "python", code = CALL, effects = all_of("f") }
      assert.equal(7, (executor:execute(stage, 7)))
      stage.effects = all_of("g")
      local _, err = executor:execute(stage, 7)
      assert.equal("effect_denied", err.kind)
      stage.effects = all_of("*")
      _, err = executor:execute(stage, 7)
      assert.equal("effect_denied", err.kind)
      executor:close()
    end)

    it("is refused where arguments do not fit the schema, which the function never sees", function()
      local called = false
      local functions = { f = {
        call = function() called = true end,
        input_schema = { type = "object", required = { "n" } },
      } }
      local _, err = call(nil, { functions = functions, input = { m = 1 } })
      assert.truthy(err.message:find("arguments.n: missing", 1, true), err.message)
      assert.is_false(called)
    end)

    it("fails where arguments or result are too long", function()
      local _, err = call(same, { input = ("x"):rep(3000), limits = { call_bytes = 2000 } })
      assert.truthy(err.message:find("limits.call_bytes is 2000", 1, true), err.message)
      err = select(2, call(function() return ("x"):rep(3000) end,
        { limits = { call_bytes = 2000 } }))
      assert.truthy(err.message:find("the result has 3002 bytes", 1, true), err.message)
    end)

    it("fails beyond limits.calls, and ends the run beyond twice as many", function()
      local code = [==[
from noether import f, CallError
def execute(n):
    failed = 0
    for i in range(n):
        try: f(i)
        except CallError as error:
            failed += error.kind == "call_limit"
    return failed
]==]
      local out, err = call(same, { code = code, input = 10, limits = { calls = 5 } })
      assert.is_nil(err, tostring(err))
      assert.equal(5, out)
      out, err = call(same, { code = code, input = 11, limits = { calls = 5 } })
      assert.is_nil(out)
      assert.equal("call_limit", err.kind, tostring(err))
      assert.equal("run", errors.fault(err.kind))
      assert.truthy(err.hint:find("limits.calls", 1, true))
    end)

    it("at the deadline is named", function()
      local cancelled
      local _, err = call(function(_, own) cancelled = own:later() end, { timeout_secs = 3 })
      assert.equal("timed_out", err.kind)
      assert.equal("f", err.call)
      assert.truthy(err.hint:find("'f'", 1, true))
      assert.is_true(cancelled.cancelled)
      assert.is_false(cancelled:answer(1))
      assert.is_false(cancelled:fail("x"))
    end)

    it("may have a deadline of its own", function()
      local _, err = call(nil, {
        functions = { f = { call = function(_, own) own:later() end, timeout_secs = 0.2 } },
      })
      assert.truthy(err.message:find("f took longer than 0.2 s", 1, true), tostring(err))
    end)

    it("is answered once", function()
      local answers = {}
      local out = call(function(_, own)
        own:later()
        answers = { own:answer(1), own:answer(2), own:fail("x") }
      end)
      assert.equal(1, out)
      assert.same({ true, false, false }, answers)
    end)

    it("waits for a task or process beside the run, and ends it with the run", function()
      local executor = noether.check(noether.executor{ isolation = backend })
      local inner = { language = "bash", code = "execute() { echo $(($1 + 1)); }" }
      local out, err = call(function(n) return executor:start(inner, n) end, { input = 4 })
      assert.is_nil(err, tostring(err))
      assert.equal(5, out)
      local started
      out, err = call(function()
        started = noether.check(noether.spawn({ "sleep", "60" }, { isolation = "none" }))
        return started
      end, { timeout_secs = 3 })
      assert.is_nil(out)
      assert.equal("timed_out", err.kind)
      assert.equal("closed", select(2, started:result()).kind)
      executor:close()
    end)

    it("may run other stages, to any depth, under the first deadline", function()
      local executor = noether.check(noether.executor{ isolation = backend, timeout_secs = 60 })
      local function deeper(n)
        if n == 0 then return { "bottom" } end
        local stage = { language = "python", code = CALL, effects = all_of("f") }
        local out, err = executor:execute(stage, n - 1, { functions = { f = deeper } })
        return out, err
      end
      local out, err = call(deeper, { input = 3 })
      assert.is_nil(err, tostring(err))
      assert.equal("bottom", out[1])
      local begun = noether.clock()
      out, err = call(function()
        return executor:execute{ language = "bash", code = "execute() { while :; do :; done; }" }
      end, { timeout_secs = 3 })
      assert.is_nil(out)
      assert.equal("timed_out", err.kind, tostring(err))
      assert.truthy(noether.clock() - begun < 30)
      executor:close()
    end)

    it("may close the executor that runs it", function()
      local executor = noether.check(noether.executor{ isolation = backend })
      local stage = { language = "python", code = CALL, effects = all_of("f") }
      local _, err = executor:execute(stage, 1, {
        functions = { f = function() return executor:close() end },
      })
      assert.equal("closed", err.kind, tostring(err))
    end)

    it("is told while the stage runs, as its log is", function()
      local executor = assert(noether.executor{ isolation = backend })
      local lines, told, waiting = {}, {}, nil
      local task = assert(executor:start({
        language = "python", effects = all_of("f", "wait"),
        code = "from noether import f, wait\ndef execute(n):\n    print('before')\n    f(n)\n"
          .. "    print('after')\n    return wait()\n",
      }, 1, {
        timeout_secs = 60, on_log = function(line) lines[#lines + 1] = line end,
        on_call = function(entry) told[#told + 1] = entry.name end,
        functions = { f = same, wait = function(_, own) waiting = own:later() end },
      }))
      helper.poll(function()
        task:wait(0.05)
        return waiting and #lines == 2
      end, 30)
      assert.same({ { "before", "after" }, { "f" } }, { lines, told })
      assert.equal("run", task:state())
      waiting:answer(5)
      assert.equal(5, (task:wait()))
      assert.same({ "f", "wait" }, told)
      executor:close()
    end)

    it("is told to on_call, which may raise", function()
      local told = {}
      call(same, { on_call = function(entry) told[#told + 1] = entry.name .. entry.args end })
      assert.same({ "f1" }, told)
      local ok, message = pcall(call, same, { on_call = function() error("mine", 0) end })
      assert.is_false(ok)
      assert.equal("mine", message)
    end)

    it("works in start, map, each and execute_json", function()
      local executor = noether.check(noether.executor{
        isolation = backend, functions = { f = function(n) return n * 2 end },
      })
      local stage = { language = "python", code = CALL, effects = all_of("f") }
      assert.equal("6", (executor:execute_json(stage, "3")))
      local task = noether.check(executor:start(stage, 4))
      assert.equal(8, (task:wait()))
      task:close()
      local sum = 0
      for _, record in ipairs(executor:map(stage, { 1, 2, 3 }, { jobs = 2 })) do
        sum = sum + record.output
      end
      for _, record in executor:each(stage, { 4, 5 }) do
        sum = sum + record.output
      end
      assert.equal(30, sum)
      executor:close()
    end)

    it("goes through a set, whose descriptor wakes for what it waits for", function()
      local executor = noether.check(noether.executor{ isolation = backend })
      local stage = { language = "python", code = CALL, effects = all_of("f") }
      local set = noether.check(noether.set())
      local task = set:add(noether.check(executor:start(stage, 1, { functions = {
        f = function()
          return noether.spawn({ "sh", "-c", "sleep 0.3" }, { isolation = "none" })
        end,
      } })))
      assert.equal(set:next(60), task)
      local out, err = task:wait()
      assert.is_nil(err, tostring(err))
      assert.is_true(out.ok)
      task:close()
      set:close()
      executor:close()
    end)
  end)

  describe("a journal", function()
    local stage = { language = "python", effects = all_of("roll"), code = [==[
from noether import roll, CallError
def execute(n):
    out = []
    for i in range(n):
        try: out.append(roll(i % 2))
        except CallError as error: out.append(str(error))
    return out
]==] }

    local function record(journal)
      local executor = noether.check(noether.executor{ isolation = backend })
      local count = 0
      local out, err, info = executor:execute(stage, 6, { journal = journal, functions = {
        roll = function()
          count = count + 1
          if count == 5 then return nil, "lost" end
          return { count = count, empty = noether.array{} }
        end,
      } })
      assert.is_nil(err, tostring(err))
      return executor, out, info
    end

    it("says what was called, with what and how long", function()
      local executor, _, info = record(false)
      local entry = info.calls[1]
      assert.equal(6, #info.calls)
      assert.same({ "roll", 0, 1 }, { entry.name, entry.args, entry.args_bytes })
      assert.equal(noether.sha256("0"), entry.args_sha256)
      assert.is_nil(entry.result)
      assert.truthy(entry.result_bytes > 10 and entry.duration_secs >= 0 and entry.started_secs > 0)
      assert.same({ kind = "call_failed", message = "lost" }, info.calls[5].error)
      executor:close()
    end)

    it("is replayed without functions, also from its JSON", function()
      local executor, out, info = record(true)
      local text = assert(json.encode(info.calls))
      for _, replay in ipairs{ info.calls, text } do
        local again, err = executor:execute(stage, 6, { replay = replay })
        assert.is_nil(err, tostring(err))
        assert.equal(json.canonical(out), json.canonical(again))
      end
      local _, err = executor:execute(stage, 7, { replay = text })
      assert.equal("replay_diverged", err.kind)
      executor:close()
    end)

    it("without results cannot be replayed", function()
      local executor, _, info = record(false)
      local ok, message = pcall(executor.execute, executor, stage, 6, { replay = info.calls })
      assert.is_false(ok)
      assert.truthy(message:find("call 1 has no result: record with journal = true", 1, true),
        message)
      executor:close()
    end)

    it("is bounded", function()
      local executor = noether.check(noether.executor{ isolation = backend })
      local _, err, info = executor:execute(stage, 10, {
        journal = true, limits = { journal_bytes = 500 },
        functions = { roll = function() return ("x"):rep(100) end },
      })
      assert.is_nil(err, tostring(err))
      assert.is_nil(info.calls[1].truncated)
      assert.is_true(info.calls[10].truncated)
      assert.is_nil(info.calls[10].result)
      executor:close()
    end)
  end)

  describe("a call of a stranger's", function()
    it("whose arguments are no JSON fails, and nothing else does", function()
      local out = noether.check(run({
        language = "bash",
        code = "execute() { if noether same apple; then :; else noether same '[1]'; fi; }",
      }, { functions = FUNCTIONS }))
      assert.same({ 1 }, out)
    end)

    it("leaves no more of its name than a name may have", function()
      local _, _, info = run{ language = "python", code = [[
import noether
def execute(input):
    for name in ("x" * 100000, "\x1b[2J"):
        try:
            noether.call(name, None)
        except noether.CallError as error:
            assert error.kind == "effect_denied", error.kind
]] }
      assert.equal(2, #info.calls)
      for _, entry in ipairs(info.calls) do
        assert.is_true(#entry.name <= 80, entry.name)
        assert.falsy(entry.name:find("%c"))
      end
    end)

    it("has arguments in info.calls that are cut between characters", function()
      local _, _, info = run{ language = "python", code = [[
import noether
def execute(input):
    noether.call("same", "x" + "\u00e4" * 2000)
]], functions = FUNCTIONS }
      assert.equal("string", type(info.calls[1].args))
      assert.truthy(json.encode(info.calls))
    end)

    it("tells the stage no path of the host, however often it was raised", function()
      local out = noether.check(run({ language = "python", code = [[
import noether
def execute(input):
    try:
        noether.call("again", None)
    except noether.CallError as error:
        return str(error)
]] }, { functions = { again = function()
        local _, err = pcall(error, "boom\n\tno file '/somewhere'")
        local _, twice = pcall(error, err)
        error("/a/b.lua:1: " .. twice)
      end } }))
      assert.equal("boom", out)
    end)

    if backend ~= "none" then
      it("comes from who cannot have a socket linger", function()
        assert.equal("refused", noether.check(run{ language = "python", code = [[
import socket, struct
def execute(input):
  end = socket.socketpair()[0]
  end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
  try:
      end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
  except PermissionError:
      return "refused"
]] }))
      end)
    end
  end)
end)

-- --- What a stage may write ---------------------------------------------------------------------

-- Writes these bytes, and then does nothing: who is not ended for them takes a minute.
local RAW = {
  python = [==[
import os, time
def execute(data):
    os.write(5, bytes(data))
    time.sleep(60)
]==],
  javascript = [==[
const { writeSync } = require("fs");
function execute(data) {
  writeSync(5, Buffer.from(data));
  return new Promise((resolve) => setTimeout(resolve, 60000));
}
]==],
  bash = [==[
execute() {
  local LC_ALL=C number data
  for number in ${1//[^0-9]/ }; do
    printf -v data '\\x%x' "$number"
    printf "$data" >&5
  done
  sleep 60
}
]==],
}

local function framed(text)
  return ("<s4"):pack(text)
end

local NO_FRAME = "no frame, or one beyond limits.call_bytes"
local NO_ID = "its id is no whole number"

-- What is written, and what is said of it.
local MISUSES = {
  ["a length of 4 GiB"] = { "\255\255\255\255", NO_FRAME },
  ["a negative length"] = { "\0\0\0\128", NO_FRAME },
  ["a length that is another's"] = { "\3\0\0\0{}{}{}{}", "invalid JSON" },
  ["no JSON"] = { framed "nonsense", "invalid JSON" },
  ["nothing"] = { framed "", "invalid JSON" },
  ["invalid UTF-8"] = { framed '"\255"', "invalid JSON" },
  ["deep JSON"] = { framed(("["):rep(600) .. ("]"):rep(600)), "invalid JSON" },
  ["an array"] = { framed "[]", "its type is 'nil'" },
  ["an answer"] = { framed '{"type":"answer","value":1}', "its type is 'answer'" },
  ["a result to nobody"] = { framed '{"type":"result","id":77,"value":1}', "its type is 'result'" },
  ["no id"] = { framed '{"type":"call","name":"f"}', NO_ID },
  ["a negative id"] = { framed '{"type":"call","id":-1,"name":"f"}', NO_ID },
  ["half an id"] = { framed '{"type":"call","id":1.5,"name":"f"}', NO_ID },
  ["an id of text"] = { framed '{"type":"call","id":"1","name":"f"}', NO_ID },
  ["a name that is none"] = { framed '{"type":"call","id":1,"name":7}', "it names no function" },
  ["an id twice"] = { framed('{"type":"call","id":1,"name":"hang"}'):rep(2),
    "its id is that of another call" },
}

-- It is the same host that reads them: for the other languages these will do.
local FEW = { ["a length of 4 GiB"] = true, ["no JSON"] = true, ["an id twice"] = true }

local function hang(_, call) call:later() end

helper.over({ backends = BACKENDS, starts = helper.STARTS }, "under %s, begun by %s,",
  function(backend, start)
    local run = calls.runner(backend)
    helper.begin_by(start)

    local function raw(language, bytes, opts)
      return run({
        language = language, code = RAW[language], input = { bytes:byte(1, -1) },
        effects = { "Process", { Call = "*" } }, functions = { f = same, hang = hang },
      }, opts)
    end

    local function ended(said, out, err)
      assert.is_nil(out)
      assert.equal("stage_failed", err.kind, said .. ": " .. tostring(err))
      assert.truthy(err.message:find(said, 1, true), said .. ": " .. tostring(err))
      assert.truthy(err.hint:find("the channel (descriptor 5)", 1, true), err.hint)
    end

    for language in pairs(RAW) do
      describe("a stage in " .. language .. " that misuses its channel", function()
        it("by what is no call is ended at once, and told why", function()
          for what, case in pairs(MISUSES) do
            local begun = noether.clock()
            if language == "python" or FEW[what] then ended(case[2], raw(language, case[1])) end
            assert.truthy(noether.clock() - begun < 50, what)
          end
        end)

        it("by half a frame holds nobody up", function()
          local _, err = raw(language, "\16\0\0\0{", { timeout_secs = 3 })
          assert.equal("timed_out", err.kind)
          assert.is_nil(err.call)
        end)

        it("by calls without end is ended", function()
          local flood = {}
          for id = 1, 25 do
            flood[id] = framed(('{"type":"call","id":%d,"name":"f"}'):format(id))
          end
          local _, err, info = raw(language, table.concat(flood), { limits = { calls = 10 } })
          assert.equal("call_limit", err.kind)
          assert.equal(21, #info.calls)
        end)
      end)
    end

    describe("a stage", function()
      -- As a module that ends with its interpreter might.
      local AFTER = {
        python = "import atexit, os\ndef execute(data):\n"
          .. "    atexit.register(lambda: os.write(5, bytes(data)))\n    return 'answer'\n",
        javascript = 'const { writeSync } = require("fs");\nfunction execute(data) {\n'
          .. '  process.on("exit", () => writeSync(5, Buffer.from(data)));\n'
          .. '  return "answer";\n}\n',
        bash = RAW.bash:gsub("execute%(%) {", '%0 echo \'"answer"\';'):gsub("sleep 60", ":"),
      }

      for language, code in pairs(AFTER) do
        it("that misuses its channel after its answer has none, in " .. language, function()
          local called = 0
          local function once(bytes)
            return run{ language = language, code = code, input = { bytes:byte(1, -1) },
              functions = { f = function() called = called + 1 end } }
          end
          ended("invalid JSON", once(framed "nonsense"))
          local out, err, info = once(framed '{"type":"call","id":1,"name":"f"}')
          assert.is_nil(err, tostring(err))
          assert.same({ "answer", called }, { out, #info.calls })
        end)
      end

      it("that closes its channel goes on, and cannot call any more", function()
        for language, code in pairs{
          python = "import os, noether\ndef execute(n):\n    os.close(5)\n"
            .. "    try: noether.call('f', 1)\n"
            .. "    except (noether.CallError, OSError): return 'gone'\n",
          javascript = 'const { closeSync } = require("fs");\nconst { f } = require("noether");\n'
            .. "async function execute() {\n  await f(1);\n  closeSync(5);\n"
            .. '  return f(1).catch(() => "gone");\n}\n',
          bash = 'execute() { exec 5>&-; noether -v R f 1 2>/dev/null || echo \'"gone"\'; }',
        } do
          local out, err = run{ language = language, code = code, functions = { f = same } }
          assert.is_nil(err, tostring(err))
          assert.equal("gone", out)
        end
      end)

      it("answers for what its children write on its channel, where they have it", function()
        ended("invalid JSON", run({ language = "bash", functions = { f = same }, code = [==[
execute() { printf '\10\0\0\0nonsense' | cat >&5; sleep 60; }]==] },
          { effects = { "Process", { Call = "f" } } }))
        ended("invalid JSON", run({ language = "python", functions = { f = same }, code = [==[
import subprocess, time
def execute(n):
    write = ["sh", "-c", "printf '\\010\\0\\0\\0nonsense' >&5"]
    try: subprocess.run(write, stderr=subprocess.DEVNULL, check=True)
    except subprocess.CalledProcessError: subprocess.run(write, pass_fds=(5,))
    time.sleep(60)
]==] }, { effects = { "Process", { Call = "f" } } }))
      end)

      it("has so many calls in flight and no more, and each of them its own answer", function()
        local executor = noether.check(noether.executor{ isolation = backend })
        local waiting = {}
        local task = noether.check(executor:start({
          language = "javascript", effects = all_of("later"),
          code = [==[
import { later } from "noether";
export function execute(n) { return Promise.all([...Array(n).keys()].map((one) => later(one))); }
]==] }, 65, {
          timeout_secs = 60,
          functions = { later = function(args, call)
            waiting[#waiting + 1] = { call = call:later(), args = args }
          end },
        }))
        assert.truthy(helper.poll(function() return task:wait(0.05) or #waiting == 64 end))
        task:wait(0.2)
        assert.equal(64, #waiting)
        for _ = 1, 64 do
          local one = table.remove(waiting)
          one.call:answer(one.args)
        end
        assert.truthy(helper.poll(function() return task:wait(0.05) or #waiting == 1 end))
        waiting[1].call:answer(waiting[1].args)
        local out = noether.check(task:wait())
        assert.equal(65, #out)
        for index, one in ipairs(out) do assert.equal(index - 1, one) end
        executor:close()
      end)

      it("that is killed during a call says so, and leaves nothing", function()
        local waiting
        local _, err, info = run{ language = "python", code = [==[
import os, signal, threading, time
from noether import hang
def end():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
def execute(n):
    threading.Thread(target=end).start()
    return hang(n)
]==], functions = { hang = function(_, call) waiting = call:later() end } }
        assert.same({ "stage_failed", "hang" }, { err.kind, err.call })
        assert.truthy(err.hint:find("the host's function 'hang'", 1, true), err.hint)
        assert.same({ true, true }, { waiting.cancelled, info.calls[1].cancelled })
        assert.is_false(waiting:answer(1))
      end)

      it("in Bash that lost its channel with a job is told so, and does not wait for it", function()
        local dir = helper.tmpdir()
        helper.open_to_all(dir)
        local function wait(_, call)
          call:later()
          helper.write(dir .. "/called", "")
        end
        local _, err, info = run({ language = "bash", input = dir, code = [==[
execute() {
  set -- "${1//[\"\\]/}"
  ( noether hang ) & local job=$!
  until [ -e "$1/called" ]; do sleep 0.01; done
  kill -9 "$job"; wait "$job" || true
  noether same 2
}]==], functions = { same = same, hang = wait } }, {
          effects = { "Process", { Call = "same" }, { Call = "hang" }, { FsRead = dir } },
        })
        assert.equal("stage_failed", err.kind)
        assert.truthy(info.logs:find("a job was killed in the middle of a call", 1, true),
          info.logs)
      end)
    end)
  end)
