-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"
local json = require "noether.json"
local noether = require "noether"
local sys = require "noether.sys"

local STAGES = {
  ["double.py"] = "def execute(input):\n    print('a log line')\n    return input['n'] * 2\n",
  ["double.js"] = "function execute(input) { return input.n * 2; }\n",
  ["double.sh"] = 'execute() { echo "$1" | { read -r line; echo "${#line}"; }; }\n',
  ["by_first_line"] = "#!/usr/bin/env -S python3.11 -I\ndef execute(input): return 'by env'\n",
  ["by_path"] = "#!/bin/bash -e\nexecute() { echo '\"by path\"'; }\n",
  ["own"] = "#!/usr/bin/env -S noether run --language python\ndef execute(input): return 1\n",
  ["plain"] = "def execute(input): return 1\n",
  ["raises.py"] = "def execute(input):\n    raise ValueError('no good')\n",
  ["hangs.sh"] = "execute() { while :; do :; done; }\n",
  ["sleeps.sh"] = 'execute() { sleep "$1"; }\n',
  ["greedy.py"] = "def execute(input): return len(bytearray(1 << 30))\n",
  ["chatty.py"] = "def execute(input): return 'x' * 20_000_000\n",
  ["env.py"] = "import os\ndef execute(input): return [os.environ.get(n) for n in ('A', 'B')]\n",
  ["reads.py"] = "def execute(input): return open(input).read()\n",
  ["writes.py"] = "def execute(input):\n    open('here', 'w').write('x')\n    return None\n",
  ["starts.py"] = "import subprocess\ndef execute(i): return subprocess.run(['true']).returncode",
  ["pip.py"] = "# requires: requests\ndef execute(input): return 1\n",
  ["silent.py"] = "def exekute(input): return 1\n",
}

describe("noether run", function()
  local dir

  setup(function() dir = command.directory(STAGES) end)

  local function file(name) return dir .. "/" .. name end

  it("writes the answer to standard output and the log to standard error", function()
    local out, err = command.succeed{ "run", file "double.py", "--input", '{"n": 21}' }
    assert.equal("42\n", out)
    assert.equal("a log line\n", err)
  end)

  it("takes the language from the extension or the first line", function()
    assert.equal("42\n", (command.succeed{ "run", file "double.js", "--input", '{"n":21}' }))
    assert.equal("8\n", (command.succeed{ "run", file "double.sh", "--input", '{"n":21}' }))
    for name, code in pairs{ ["es.mjs"] = "export const execute = i => i + 1",
      ["common.cjs"] = "exports.execute = i => i + 1" } do
      helper.write(file(name), code)
      assert.equal("8\n", (command.succeed{ "run", file(name), "--input", "7" }))
    end
    assert.equal('"by env"\n', (command.succeed{ "run", file "by_first_line" }))
    assert.equal('"by path"\n', (command.succeed{ "run", file "by_path" }))
    assert.equal("1\n", (command.succeed{ "run", file "plain", "--language", "Python3" }))
    assert.equal("1\n", (command.succeed{ "run", file "own", "--language=python" }))
  end)

  it("takes input from the command line, a file and standard input", function()
    helper.write(file "in.json", '{"n": 5}\n')
    local stage = file "double.js"
    assert.equal("10\n", (command.succeed{ "run", stage, "--input", "@" .. file "in.json" }))
    assert.equal("14\n", (command.succeed({ "run", stage, "--input", "-" }, { stdin = '{"n":7}' })))
    assert.equal("-3\n", (command.succeed({ "run", "-", "--language", "js", "--input=-3" }, {
      stdin = "const execute = (i) => i;",
    })))
    assert.equal("null\n", (command.succeed({ "run", "-", "--language", "js" }, {
      stdin = "const execute = (i) => i;",
    })))
  end)

  it("keeps every digit of an answer", function()
    local out = command.succeed({ "run", "-", "--language", "bash", "--input",
      "[1, 1.0, 9007199254740993, 1e3]" }, { stdin = 'execute() { printf "%s" "$1"; }' })
    assert.equal("[1, 1.0, 9007199254740993, 1e3]\n", out)
  end)

  it("gives answer, log and figures as one JSON object", function()
    local record = command.json{ "run", file "double.py", "--input", '{"n":2}', "--json" }
    assert.is_true(record.ok)
    assert.equal(4, record.output)
    assert.equal("a log line\n", record.info.logs)
    assert.equal("host", record.info.runtime.kind)
    assert.is_true(json.is_array(record.info.warnings))

    local failed = command.run{ "run", file "raises.py", "--json" }
    assert.equal(1, failed.code)
    record = assert(json.decode(failed.out))
    assert.is_false(record.ok)
    assert.equal("stage_failed", record.error.kind)
    assert.equal(1, record.info.result.exit_code)

    failed = command.run{ "run", "nosuch", "--json" }
    assert.equal(2, failed.code)
    assert.equal("stage_not_found", assert(json.decode(failed.out)).error.kind)
    assert.equal("", failed.err)
  end)

  it("writes a page that shows the run, whatever comes of it", function()
    local page = helper.tmpdir() .. "/run.html"
    command.succeed{ "run", file "double.py", "--input", '{"n":2}', "--trace", page }
    local text = helper.read(page)
    assert.truthy(text:find("^<!DOCTYPE html>") and text:find("double.py", 1, true))
    assert.truthy(text:find("a log line", 1, true))
    command.run({ "run", "raises.py", "--trace", "run.html" }, { cwd = dir })
    assert.truthy(helper.read(file "run.html"):find("ValueError: no good", 1, true))
    command.fail(2, { "run", file "double.js", "--trace", "/nowhere/run.html" },
      { "trace: ", "No such file" })
  end)

  for name, case in pairs{
    ["a stage that raises"] = { 1, { "raises.py" }, "ValueError: no good (line 2)" },
    ["a stage without execute"] = { 1, { "silent.py" }, "MissingExecute" },
    ["a program started without the effect"] = { 1, { "starts.py", "--effect", "Pure" },
      "[effect_denied]" },
    ["a deadline"] = { 124, { "hangs.sh", "--timeout", "300ms" }, "deadline of 0.3 s" },
    ["too much output"] = { 124, { "chatty.py" }, "[output_limit]" },
    ["a package that is not pinned"] = { 125, { "pip.py" }, "[package_rejected]" },
    ["input that is no JSON"] = { 2, { "double.py", "--input", '{\n  "n": }' },
      "--input: invalid JSON: expected a value, not '}' at line 2 column 8" },
    ["an input file that is not there"] = { 2, { "double.py", "--input", "@/nowhere.json" },
      "cannot read /nowhere.json" },
    ["a stage file that is not there"] = { 2, { "nowhere.py" }, "No such file" },
    ["a directory"] = { 2, { "." }, "Is a directory" },
    ["no language"] = { 2, { "plain" }, "cannot tell the language", "--language NAME" },
    ["a language that there is none of"] = { 2, { "plain", "--language", "cobol" },
      "unknown language 'cobol'" },
    ["an effect that there is none of"] = { 2, { "plain", "--effect", "Netwrok" },
      "option '--effect': unknown effect 'Netwrok'" },
    ["a path in an effect that is not there"] = { 2, { "plain", "--effect", "FsRead=no/where" },
      "option '--effect': ", "No such file" },
    ["a time that is none"] = { 2, { "double.py", "--timeout", "soon" },
      "option '--timeout': expected a time above 0", "got 'soon'" },
    ["a limit that there is none of"] = { 2, { "double.py", "--limit", "memroy=1G" },
      "unknown limit 'memroy' (did you mean 'memory'?)" },
    ["an option that is given twice"] = { 2, { "double.py", "--input", "1", "--input", "2" },
      "option '--input' is given more than once" },
    ["a variable's name with a blank"] = { 2, { "double.py", "--env", "A B=1" },
      "a name without blanks, got 'A B=1'" },
    ["an isolation that there is none of"] = { 2, { "double.py", "--isolation", "jail" },
      "must be one of 'auto', 'native'" },
    ["a variable that is not set"] = { 2, { "double.py", "--env", "NOT_SET_HERE" },
      "NOT_SET_HERE is not set here" },
    ["a policy directory that is not there"] = { 125, { "double.py", "--policy-path", "/nowhere" },
      "policy directory /nowhere" },
    ["two uses of standard input"] = { 2, { "-", "--language", "js", "--input", "-" },
      "standard input cannot be both" },
  } do
    it(("exits with %d for %s"):format(case[1], name), function()
      local words = { "run", table.unpack(case[2]) }
      if words[2] ~= "-" then words[2] = file(words[2]) end
      command.fail(case[1], words, { table.unpack(case, 3) })
    end)
  end

  it("exits with 124 where memory runs out", function()
    local result = command.run{
      "run", file "greedy.py", "--limit", "memory=64M", "--isolation", "native",
    }
    -- Whether the limit or the interpreter's own MemoryError comes first is the kernel's matter.
    assert.truthy(result.code == 124 or result.code == 1, result.err)
    assert.truthy(result.err:find("emory"), result.err)
  end)

  it("exits with 2 where there is neither a file nor a stage of that name", function()
    command.fail(2, { "run", "nosuch" }, { "no file 'nosuch', and no stage", "[stage_not_found]" })
  end)

  it("adds variables, by value or from its own environment", function()
    assert.equal('["1","2"]\n', (command.succeed(
      { "run", file "env.py", "--env", "A=1", "--env", "B" }, { env = { B = "2" } }):gsub(" ", "")))
  end)

  it("opens what effects name, relative paths too", function()
    helper.write(file "data/text", "read\n")
    local words = { "run", "reads.py", "--input", json.encode(sys.realpath(dir) .. "/data/text"),
      "--effect", "FsRead=data" }
    helper.open_to_all(dir)
    assert.equal('"read\\n"\n', (command.succeed(words, { cwd = dir })))
  end)

  it("works in a directory of the caller's", function()
    local work = helper.tmpdir()
    helper.shell("chmod 777 " .. helper.quote(work))
    command.succeed{ "run", file "writes.py", "--work-dir", work }
    assert.same({ "here" }, helper.list(work))
  end)

  it("takes isolation from the environment, but never 'none'", function()
    local stage = file "double.js"
    local words = { "run", stage, "--input", '{"n":1}' }
    command.fail(125, words, { "NOETHER_ISOLATION: 'none' must be written where it is used" },
      { env = { NOETHER_ISOLATION = "none" } })
    command.fail(125, words, { "NOETHER_ISOLATION: expected one of" },
      { env = { NOETHER_ISOLATION = "jail" } })
    words[#words + 1] = "--json"
    local record = command.json(words, { env = { NOETHER_ISOLATION = "landlock" } })
    assert.equal("landlock", record.info.isolation)
    words[#words + 1] = "--isolation=none"
    assert.equal("none", command.json(words).info.isolation)
    local refused = command.run(words, { env = { NOETHER_REQUIRE_ISOLATION = "1" } })
    assert.equal(125, refused.code)
  end)

  it("says at the level of warnings what the library has to say", function()
    local words = { "run", file "double.js", "--input", '{"n":1}' }
    local loud = command.run(words, { env = { NOETHER_LOG_LEVEL = "loud" } })
    assert.truthy(loud.err:find("warning: NOETHER_LOG_LEVEL", 1, true), loud.err)
    assert.equal("", command.run(words).err)
  end)

  it("runs where there is no HOME, and leaves nothing there", function()
    local tmp = helper.tmpdir()
    local result = command.run({ "run", file "double.js", "--input", '{"n":4}' }, {
      clear_env = true, env = { PATH = os.getenv "PATH", TMPDIR = tmp },
    })
    assert.equal("8\n", result.out, result.err)
    local _, warnings = result.err:gsub("noether: warning: there is no home directory", "")
    assert.equal(1, warnings, result.err)
    assert.same({}, helper.list(tmp))
  end)

  it("says that a file is not there where there is no HOME, and so no store", function()
    command.fail(2, { "run", "no-such.py" }, { "no file 'no-such.py'", "HOME is not set" }, {
      clear_env = true, env = { PATH = os.getenv "PATH" },
    })
  end)

  it("runs a stage of the store by name and by id", function()
    local store = helper.tmpdir() .. "/a/store"
    local id = command.succeed{ "store", "put", file "double.js", "--name", "double",
      "--store", store }:match("%x+")
    for _, name in ipairs{ "double", id } do
      assert.equal("6\n", (command.succeed{ "run", name, "--store", store, "--input", '{"n":3}' }))
    end
    command.fail(2, { "run", "double", "--store", store, "--effect", "Network" },
      { "option '--effect': the stored stage 'double' has its own" })
  end)

  it("is ended by Ctrl-C with 130, and so is what it runs", function()
    local secs = ("%d.%d"):format(1000 + sys.getpid(), math.floor(sys.clock() * 1000))
    local words = { command.path, "run", file "sleeps.sh", "--input", secs }
    local proc <close> = assert(noether.spawn(words, { isolation = "none", timeout_secs = 60 }))
    assert.truthy(helper.poll(function() return command.running{ "sleep", secs } end))
    assert(proc:kill("INT"))
    local result = assert(proc:wait(20))
    assert.equal(130, result.exit_code)
    assert.equal("", result.stderr)
    assert.truthy(helper.poll(function() return not command.running{ "sleep", secs } end))
  end)

  it("gives programs as functions, without a shell", function()
    local here = command.directory{
      double = "#!/bin/sh\nread n; [ \"$1\" = '$x' ] && echo $((n * 2))\n",
      fails = "#!/bin/sh\necho first >&2; echo no such fruit >&2; exit 3\n",
      ["stage.py"] = "from noether import double, fails, CallError\n"
        .. "def execute(n):\n    try: fails()\n"
        .. "    except CallError as e: return [double(n), str(e)]\n",
    }
    helper.shell(("chmod +x %s/double %s/fails"):format(here, here))
    local out, said = command.succeed({ "run", here .. "/stage.py", "--effect", "Call=double",
      "--effect", "Call=fails", "--input", "21", "--isolation", "none", "--function",
      ("double=%s/double $x"):format(here), "--function", ("fails=%s/fails"):format(here) })
    assert.equal('[42, "fails: no such fruit"]\n', out)
    -- And all that they write on standard error stands in the log.
    assert.equal("fails: first\nfails: no such fruit\n", said)
    command.fail(2, { "run", here .. "/stage.py", "--function", "x" }, { "NAME=PROGRAM" })
    command.fail(2, { "run", here .. "/stage.py", "--function", "x=/no/such" },
      { "there is no program '/no/such'" })
    -- One file, two programs, which its name says.
    helper.write(here .. "/both",
      "#!/bin/sh\n[ \"${0##*/}\" = twice ] && read n && echo $((n * 2))\n")
    helper.shell(("chmod +x %s/both && ln -s both %s/twice"):format(here, here))
    helper.write(here .. "/other.py", "from noether import twice\n"
      .. "def execute(n): return twice(n)\n")
    assert.equal("42\n", (command.succeed({ "run", "other.py", "--effect", "Call=twice", "--input",
      "21", "--isolation", "none", "--function", "twice=./twice" }, { cwd = here })))
  end)

  it("gives files to a stage, and puts what it leaves where it is wanted", function()
    local here = sys.realpath(command.directory{
      ["stage.py"] = "def execute(n):\n"
        .. "    for name in ['a.txt', 'b.txt', 'c']:\n"
        .. "        open(name, 'w').write(open('data.csv').read() + open('stage.py').read(3))\n"
        .. "    return n\n",
      ["x.csv"] = "1,2;",
    })
    helper.open_to_all(here)
    helper.shell("mkdir " .. here .. "/out")
    local words = { "run", here .. "/stage.py", "--input", "7", "--file", "data.csv=" .. here
      .. "/x.csv", "--file", here .. "/stage.py", "--output", "*.txt", "--output", "none?" }
    -- A file of the script's name: the command's own is called so inside.
    command.fail(2, words, { "file 'stage.py': the stage's own script has that name" },
      { cwd = here })
    helper.shell(("mv %s/stage.py %s/own.py && sed -i s/stage.py/own.py/ %s/own.py"):format(here,
      here, here))
    words[2], words[8] = here .. "/own.py", here .. "/own.py"
    words[#words + 1] = "--json"
    local record = command.json(words, { cwd = here .. "/out" })
    assert.same({ "a.txt", "b.txt" }, helper.list(here .. "/out"))
    assert.equal("1,2;def", helper.read(here .. "/out/a.txt"))
    assert.equal(here .. "/out/b.txt", record.info.outputs[2].path)
    words[#words] = "--output-dir"
    words[#words + 1] = here .. "/out"
    command.fail(2, words, { "[input_invalid]", "something of that name is in" })
    words[#words + 1] = "--output-overwrite"
    assert.equal("7\n", (command.succeed(words)))
    words[12] = "missing"
    command.fail(1, words, { "output_missing" })
    command.fail(2, { "run", here .. "/own.py", "--output-dir", here }, { "there is no --output" })
    command.fail(2, { "run", here .. "/own.py", "--file", "a=" }, { "NAME=PATH" })
  end)
end)
