-- SPDX-License-Identifier: MIT
--- One suite over every way in which code is begun: cold, by a process that waited, by a copy of a
-- fork server, and as cells of a session (the code is one cell, the call of execute the next).
-- What a session has of its own stands beside the case, and in docs/sessions.md.
local helper = require "spec.support.helper"
local json = require "noether.json"
local noether = require "noether"

local BACKENDS = { "native", "bwrap", "landlock" }

local WAYS = { "session" }
for _, way in ipairs(helper.STARTS) do table.insert(WAYS, #WAYS, way) end

local CALL = {
  python = "execute(input)", javascript = "execute(input)", bash = 'execute "$INPUT" <<<"$INPUT"',
}

local BIG = '{"a":[1,2.5,null,true,"ü\\n",9007199254740991]}'
local LOST = { "session_lost", "its process ended with code 4" }
local UNDECLARED = { "stage_failed", "not permitted" }

-- Language, what it does, code, what comes of it: JSON, or a kind and a part of the message; and in
-- a session, where that is something else.
local CASES = {
  { "python", "answers", "def execute(i): return i", BIG },
  { "python", "is async", "import asyncio\nasync def execute(i):\n  await asyncio.sleep(0)\n"
    .. "  return i", BIG, call = "await execute(input)" },
  { "python", "prints", "import sys\ndef execute(i):\n  print('out')\n"
    .. "  print('err', file=sys.stderr)", "null", logs = "out\nerr\n" },
  { "python", "raises", "def f(): return 1 / 0\n\ndef execute(i):\n  return f()",
    { "stage_failed", "ZeroDivisionError: division by zero (line 1)" } },
  { "python", "is none", "x = 1\ndef execute(i)\n  return i",
    { "stage_failed", "SyntaxError: expected ':' (line 2)" } },
  { "python", "answers with what is not JSON", "def execute(i): return object()",
    { "stage_failed", "JSON has no form for" }, "null", display = "<object object" },
  { "python", "answers with a NaN", "def execute(i): return float('nan')",
    { "stage_failed", "not JSON" }, "null", display = "nan" },
  { "python", "exits", "import sys\ndef execute(i):\n  sys.exit(3)",
    { "stage_failed", "the code called sys.exit(3) instead of returning an answer (line 3)" } },
  { "python", "leaves at once", "import os\ndef execute(i): os._exit(4)",
    { "stage_failed", "exit 4" }, LOST },
  { "python", "starts a process undeclared", "import os\ndef execute(i): os.fork()",
    { "effect_denied", "not permitted" }, UNDECLARED },
  { "python", "finds nothing of others", "import os\ndef execute(i):\n"
    .. "  open('a', 'w').write('x')\n  return os.listdir('.')", '["a"]' },
  { "python", "does not come to its end", "import time\ndef execute(i): time.sleep(60)",
    { "timed_out", "" }, timeout_secs = 3 },
  { "python", "answers with too much", "def execute(i): return 'x' * 20000",
    { "output_limit", "" }, max_output_bytes = 10000 },
  { "javascript", "answers", "function execute(i) { return i; }", BIG },
  { "javascript", "is async", "async function execute(i) { await null; return i; }", BIG },
  { "javascript", "prints", "function execute(i) { console.log('out'); console.error('err');"
    .. " return null; }", "null", logs = "out\nerr\n" },
  { "javascript", "throws", "function f() { throw new TypeError('bad'); }\n"
    .. "function execute(i) { return f(); }", { "stage_failed", "TypeError: bad (line 1)" } },
  { "javascript", "is none", "let x = 1;\nfunction execute(i { }",
    { "stage_failed", "SyntaxError: Unexpected token '{' (line 2)" } },
  { "javascript", "answers with a NaN", "function execute(i) { return NaN; }",
    { "stage_failed", "not JSON" }, "null", display = "NaN" },
  { "javascript", "answers with nothing", "function execute(i) { }",
    { "stage_failed", "undefined" }, "null" },
  { "javascript", "leaves at once", "function execute(i) { process.exit(4); }",
    { "stage_failed", "process.exit(4)" }, LOST },
  { "javascript", "starts a process undeclared", "function execute(i) {\n"
    .. "  const { error } = require('child_process').spawnSync('true');\n"
    .. "  if (error) throw error;\n}", { "effect_denied", "spawnSync true EPERM" },
    { "stage_failed", "spawnSync true EPERM" } },
  { "javascript", "does not come to its end", "function execute(i) { for (;;); }",
    { "timed_out", "" }, timeout_secs = 3 },
  { "bash", "answers", "execute() { printf '%s' \"$1\"; }", BIG },
  { "bash", "reads its input", "execute() { read -r line; printf '%s' \"$line\"; }", BIG },
  { "bash", "prints", "execute() { echo err >&2; echo null; }", "null", logs = "err\n" },
  { "bash", "answers with text", "execute() { echo text; }",
    { "output_invalid", "not one JSON value" }, '"text"' },
  { "bash", "fails", "execute() { return 3; }", { "stage_failed", "status 3" } },
  { "bash", "is none", "x=1\nexecute( { }", { "stage_failed", "syntax error" },
    { "stage_failed", "status 2" } },
  { "bash", "leaves at once", "execute() { exit 4; }", { "stage_failed", "status 4" }, LOST },
  { "bash", "starts a process undeclared", "execute() { (true) | read -r line; }",
    { "effect_denied", "not permitted" }, UNDECLARED },
}

local INPUT = json.decode(BIG)

-- Output, error and info of the case, as a stage.
local function as_stage(executor, case)
  return executor:execute({ language = case[1], code = case[3], effects = {} }, INPUT,
    { timeout_secs = case.timeout_secs, max_output_bytes = case.max_output_bytes })
end

-- As two cells. What is no code fails in the first.
local function as_cells(executor, case)
  local session = noether.check(executor:session{
    language = case[1], effects = {}, max_output_bytes = case.max_output_bytes,
    timeout_secs = 60,
  })
  local output, err, info = session:run(case[3])
  if not err then
    output, err, info = session:run(case.call or CALL[case[1]], INPUT,
      { timeout_secs = case.timeout_secs })
  end
  session:close()
  return output, err, info
end

local function check(wanted, output, err)
  if type(wanted) == "string" then
    assert.is_nil(err, tostring(err))
    assert.same(json.decode(wanted), output)
    return
  end
  assert.is_not_nil(err, "it succeeded")
  assert.equal(wanted[1], err.kind)
  -- In a session the cell is named beside the line.
  local message = tostring(err):gsub("%(cell %d+, line (%d+)%)", "(line %1)")
  assert.truthy(message:find(wanted[2], 1, true), message)
end

helper.over({ backends = BACKENDS, starts = WAYS }, "under %s, begun by %s,",
  function(backend, way)
    local is_session = way == "session"
    if not is_session then helper.begin_by(way) end

    local executor
    setup(function()
      executor = assert(noether.executor{ isolation = backend, timeout_secs = 60 })
    end)
    teardown(function() executor:close() end)

    for _, case in ipairs(CASES) do
      it(("code in %s that %s"):format(case[1], case[2]), function()
        local run = is_session and as_cells or as_stage
        local output, err, info = run(executor, case)
        local wanted = is_session and case[5] or case[4]
        check(wanted, output, err)
        if case.logs then assert.equal(case.logs, info.logs) end
        if is_session then
          if case.display then assert.truthy(info.display:find(case.display, 1, true)) end
        else
          assert.equal(helper.told_start(way, backend, case[1]), info.start)
        end
      end)
    end
  end)
