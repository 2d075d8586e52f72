-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local bash = require "noether.policy.languages.bash"
local stage = require "spec.policy.stage"

local run = stage.runner(bash)

describe("the bash policy", function()
  it("keeps the user's code alone in its file", function()
    local script = assert(bash.wrap("execute() { cat; }"))
    assert.equal("execute() { cat; }", script.files["stage.sh"])
    assert.truthy(script.files[script.entry])
  end)

  it("refuses code and input with a NUL byte", function()
    local script, reason = bash.wrap("x='\0'")
    assert.is_nil(script)
    assert.equal("the code holds a NUL byte", reason)
    local ok
    ok, reason = bash.check_input(nil, '"\0"')
    assert.is_nil(ok)
    assert.truthy(reason:find("NUL", 1, true))
    assert.is_true(bash.check_input(nil, '"\\u0000"'))
  end)

  it("starts without profiles, and takes nothing to run from the environment", function()
    assert.same({ "/bin/bash", "--noprofile", "--norc", "-p", "/stage/runner.sh" },
      bash.argv({ path = "/bin/bash" }, "/stage/runner.sh"))
  end)

  it("finds the real interpreter and where it lives", function()
    local found = stage.probe(bash)
    assert.truthy(found.path:find("^/.*bash"))
    assert.truthy(found.version:find("^%d+%.%d+%.%d+$"))
    assert.is_true(#found.dirs > 0)
  end)
end)

describe("a Bash stage that works", function()
  local cases = {
    { "gets its input as an argument", 'execute() { printf "%s\\n" "$1"; }', '{"a":"é😀 $x `id`"}',
      '{"a":"é😀 $x `id`"}' },
    { "gets it in INPUT", 'execute() { printf "%s\\n" "$INPUT"; }', "[1,2]", "[1,2]" },
    { "gets it on standard input", "execute() { cat; }", "[1,2]", "[1,2]" },
    { "gets it without its newline", 'execute() { echo "[${#1},${#INPUT}]"; }', '"é"', "[3,3]" },
    { "does not export it", "execute() { env | grep -c ^INPUT= || true; }", "1", "0" },
    { "may print while it is loaded", "echo loading\nexecute() { echo 1; }", "0", "1" },
    { "may use its input while it is loaded", "n=$((INPUT * 2))\nexecute() { echo $n; }", "21",
      "42" },
    { "keeps what it declares", "declare -A m=([a]=1)\nexecute() { echo \"${m[a]}\"; }", "0", "1" },
    { "may have commands fail where it looks", [[
execute() {
  false || true
  if false; then :; fi
  ! true
  echo 1
}]], "0", "1" },
    { "may switch errexit off", "execute() {\n  set +e\n  false\n  echo 1\n}", "0", "1" },
    { "may leave by exit 0 when it has answered", "execute() { echo 1; exit 0; }", "0", "1" },
    { "may change IFS, and have traps of its own",
      "IFS=,\ntrap 'echo bye >&2' EXIT\nexecute() { echo 1; }", "0", "1" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.answers(run(case[2], case[3]), case[4])
    end)
  end

  for name, text in pairs{
    ["a byte order mark"] = "\239\187\191execute() { echo 1; }",
    ["a byte order mark and a line of its own"] = "\239\187\191\nexecute() { echo 1; }",
    ["a byte order mark and #!"] = "\239\187\191#!/bin/bash\nexecute() { echo 1; }",
    ["lines that end in CR LF"] = "execute() {\r\n  if true; then\r\n    echo 1\r\n  fi\r\n}\r\n",
    ["both"] = "\239\187\191x=1\r\nexecute() {\r\n  echo $x\r\n}",
    ["a here-document with CR LF"] = "execute() {\r\n  cat <<EOF\r\n1\r\nEOF\r\n}\r\n",
    ["a case and a continued line"] =
      "execute() {\r\n  case x in\r\n    x) echo \\\r\n      1 ;;\r\n  esac\r\n}\r\n",
  } do
    it("may have " .. name, function() stage.answers(run(text), "1") end)
  end

  it("keeps a CR that is its own", function()
    local result = run("execute() { [[ $x == $'a\\r' ]] && echo 1; }\nx='a\r'\n")
    stage.answers(result, "1")
  end)

  for _, case in ipairs{
    { "set -x\nexecute() { true; echo 1; }", "+ execute 0\n+ true\n+ echo 1\n" },
    { "execute() {\n  set -x\n  true\n  echo 1\n}", "+ true\n+ echo 1\n" },
    { "execute() {\n  set -x\n  true\n  set +x\n  echo 1\n}", "+ true\n+ set +x\n" },
    { "execute() {\n  set -x\n  echo 1\n  exit 0\n}", "+ echo 1\n+ exit 0\n" },
    { "x=1; set -o xtrace; y=$x; set +x; execute() { echo $y; }", "++ y=1\n++ set +x\n" },
    { "PS4='> '; execute() { set -x; echo 1; }", "> echo 1\n" },
  } do
    it("has its own commands traced, and not the runner's: " .. case[1]:sub(1, 30), function()
      local result = run(case[1], "0")
      stage.answers(result, "1")
      assert.equal(case[2], result.err)
    end)
  end

  it("fails under set -x as without it", function()
    local result = run("set -x\nexecute() {\n  false\n}")
    stage.fails(result, "ExitStatus", "'false' ended with status 1", 3)
    assert.falsy(result.err:find("noether_", 1, true), result.err)
  end)

  it("has what it prints while it is loaded on standard error", function()
    assert.equal("loading\n", run("echo loading\nexecute() { echo 1; }").err)
  end)

  it("takes and gives 10 MiB", function()
    local text = '"' .. ("x"):rep(10 * 1024 * 1024) .. '"'
    stage.answers(run('execute() { printf "%s\\n" "$1"; }', text), text)
    stage.answers(run("execute() { cat; }", text), text)
  end)

  it("starts no process of the runner's own", function()
    -- Field 11 of stat: page faults of the children that were waited for.
    local code = 'execute() { local a; read -ra a </proc/$$/stat; echo "${a[10]}"; }'
    stage.answers(run(code), "0")
    assert.is_true(run("x=$(true)\n" .. code).answer > 0)
  end)
end)

describe("a Bash stage that fails", function()
  local cases = {
    { "tells command, status and line", "execute() {\n  local x\n  x=$(exit 7)\n}", "ExitStatus",
      "'x=$(exit 7)' ended with status 7", 3 },
    { "tells them of a function it calls", "f() {\n  false\n}\nexecute() {\n  f\n}", "ExitStatus",
      "'false' ended with status 1", 2 },
    { "tells them of an unknown command", "execute() {\n  nosuchcommand\n}", "ExitStatus",
      "'nosuchcommand' ended with status 127", 2 },
    { "tells them of a pipeline", "execute() {\n  false | true\n}", "ExitStatus", "status 1", 2 },
    { "tells them of a subshell", "execute() {\n  (exit 4)\n}", "ExitStatus", "status 4", 2 },
    { "tells them of a command while it is loaded", "x=1\nfalse\nexecute() { :; }", "ExitStatus",
      "'false' ended with status 1", 2 },
    { "tells them though it has an EXIT trap", "trap 'echo bye' EXIT\nexecute() { false; }",
      "ExitStatus", "'false' ended with status 1", 2 },
    { "returns a status", "execute() { return 3; }", "ExitStatus",
      "execute returned with status 3" },
    { "exits", "execute() { exit 3; }", "ExitStatus", "'exit 3' ended the stage with status 3" },
    { "exits while it is loaded", "exit 4", "ExitStatus",
      "ended with status 4 while it was loaded" },
    { "exits well before it could answer", "exit 0", "MissingExecute",
      "called exit before execute" },
    { "uses an unset variable", "execute() { echo \"$nope\"; }", "ExitStatus", "echo \"$nope\"" },
    { "divides by zero", "execute() { echo $((1 / 0)); }", "ExitStatus", "status 1" },
    { "has a syntax error", "execute() {\n  if true; then", "ExitStatus",
      "ended with status 2 while it was loaded" },
    { "is told how to define execute", "x=1", "MissingExecute",
      "no function named execute; define one, as in: execute() { printf '%s' \"$1\"; }" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      stage.fails(run(case[2]), case[3], case[4], case[5])
    end)
  end

  it("has its error on a line of its own after what it had printed", function()
    local result = run("execute() {\n  printf '{\"half\":'\n  false\n}")
    assert.equal('{"half":\n', result.out:match("^[^\n]*\n"))
    stage.fails(result, "ExitStatus", "'false' ended with status 1", 3)
  end)

  it("is told of once, though a subshell of it failed first", function()
    local result = run("execute() {\n  (false)\n}")
    stage.fails(result, "ExitStatus", "'( false )' ended with status 1", 2)
    assert.equal(1, select(2, result.out:gsub('"error"', "")))
  end)

  it("shows the calls that led there", function()
    local err = stage.fails(run("f() {\n  false\n}\nexecute() {\n  f\n}"), "ExitStatus", "", 2)
    assert.equal("  at f (stage.sh:2)\n  at execute (stage.sh:5)\n", err.traceback)
  end)

  it("has any bytes of its command in the message, as JSON can hold them", function()
    local err = stage.fails(run("execute() {\n  nosuch 'é\"\\' $'\\t' '\1\xff'\n}"), "ExitStatus",
      "nosuch 'é\"\\'", 2)
    assert.falsy(err.message:find("\xff", 1, true))
  end)

  it("is not hidden by what it prints", function()
    local result = run([[
execute() {
  for ((n = 0; n < 20000; n++)); do echo "noise $n" >&2; done
  false
}]])
    stage.fails(result, "ExitStatus", "'false' ended with status 1", 3)
    assert.truthy(result.err:find("noise 19999\n", 1, true))
  end)

  it("has its message bounded", function()
    local err = stage.fails(run("execute() {\n  nosuch " .. ("x"):rep(100000) .. "\n}"),
      "ExitStatus", "ended with status 127", 2)
    assert.is_true(#err.message < 500)
  end)

  it("ends by a signal as any program does", function()
    assert.equal(128 + 11, run("execute() { kill -SEGV $$; }").status)
  end)
end)
