-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local catalogue = require "noether.error"
local errors = require "noether.policy.errors"
local known = require "noether.policy.packages".known

local function classify(source, stderr, more)
  local facts = { source = source, stderr = stderr, exit_code = 1, reason = "exit" }
  for name, value in pairs(more or {}) do
    facts[name] = value
  end
  return errors.classify(facts)
end

local function holds(text, part)
  assert.truthy(text and text:find(part, 1, true), ("'%s'\n  lacks '%s'"):format(text, part))
end

describe("errors.first_line", function()
  local cases = {
    { "", "" }, { " \n\t\n", "" }, { "a", "a" }, { "\n\n  a b \nc", "a b" }, { "a\r\nb", "a" },
    { "\27[31mred\0", "\\x1b[31mred\\x00" },
  }
  for _, case in ipairs(cases) do
    it(("of %q is %q"):format(case[1], case[2]), function()
      assert.equal(case[2], errors.first_line(case[1]))
    end)
  end

  it("is bounded", function()
    assert.is_true(#errors.first_line(("x"):rep(1e6)) < 500)
  end)
end)

describe("errors.excerpt", function()
  it("is one line, trimmed, with control bytes escaped", function()
    assert.equal("a\\nb\\tc\\x7f", errors.excerpt("  a\nb\tc\127\n\n"))
    assert.equal("", errors.excerpt(" \n"))
  end)

  it("keeps both ends of what is too long, and cuts no character in two", function()
    assert.equal("aa ... zz", errors.excerpt("aa" .. ("x"):rep(100) .. "zz", 4))
    for max = 10, 30 do
      local text = errors.excerpt(("é😀"):rep(100), max)
      assert.is_true(catalogue.is_utf8(text), text)
      assert.is_true(#text <= max + 5)
    end
    assert.equal("x" .. ("é"):rep(3), errors.excerpt("x" .. ("é"):rep(3), 7))
  end)

  it("needs little time for much text", function()
    local before = os.clock()
    errors.excerpt((" "):rep(1e6) .. "x" .. (" "):rep(1e6))
    errors.first_line(("\n "):rep(1e6))
    assert.is_true(os.clock() - before < 2)
  end)
end)

describe("a stage's failure", function()
  local function reported(report, more)
    local facts = { answer = { error = report } }
    for name, value in pairs(more or {}) do
      facts[name] = value
    end
    return classify("stage", (more or {}).stderr or "noise", facts)
  end

  it("is told by its wrapper's answer, whatever it printed", function()
    local kind, message = reported({ type = "ValueError", message = "bad", line = 3 },
      { stderr = "No space left on device\nerror: flake" })
    assert.equal("stage_failed", kind)
    assert.equal("ValueError: bad (line 3)", message)
  end)

  local cases = {
    { { type = "KeyError", message = "'k'" }, "KeyError: 'k'" },
    { { type = "KeyboardInterrupt", message = "", line = 1 }, "KeyboardInterrupt (line 1)" },
    { { type = "E", message = "a\n\27[31mb", line = 2 }, "E: a\\n\\x1b[31mb (line 2)" },
    { { type = "E", message = "m", line = 2.0 }, "E: m (line 2)" },
    { { type = "E", message = "m", line = "2" }, "E: m" },
    { { type = "E", message = "m", line = -1 }, "E: m" },
    { { type = "E", message = "m", line = 2.5 }, "E: m" },
    { { type = "E", message = 5 }, "E" },
    { { type = "E" }, "E" },
  }
  for _, case in ipairs(cases) do
    it("reads " .. case[2], function()
      local kind, message = reported(case[1])
      assert.equal("stage_failed", kind)
      assert.equal(case[2], message)
    end)
  end

  it("has a bounded message", function()
    local _, message = reported{ type = ("T"):rep(1e5), message = ("m"):rep(1e6), line = 1 }
    assert.is_true(#message < 700)
  end)

  it("takes no answer for a report that is none", function()
    for _, answer in ipairs{ "text", 5, true, {}, { error = "x" }, { error = {} },
      { error = { type = 1 } } } do
      local _, message = classify("stage", "said", { answer = answer })
      assert.equal("stage error (exit 1): said", message)
    end
  end)

  it("has the place and words of a shell that tells them on standard error alone", function()
    local report = { type = "ExitStatus", message = "'echo \"$x\"' ended the stage with status 1" }
    local stderr = "a\n/stage/stage.sh: line 1: first\n"
      .. "/stage/stage.sh: line 2: x: unbound variable\n"
    local _, message = reported(report, { stderr = stderr })
    assert.equal("ExitStatus: 'echo \"$x\"' ended the stage with status 1: x: unbound variable"
      .. " (line 2)", message)
    report.line = 2
    _, message = reported(report, { stderr = stderr })
    holds(message, "status 1: x: unbound variable (line 2)")
    report.line = 7
    _, message = reported(report, { stderr = stderr })
    assert.equal("ExitStatus: 'echo \"$x\"' ended the stage with status 1 (line 7)", message)
  end)

  it("is an exit without output, or with its standard error", function()
    local kind, message = classify("stage", "", { exit_code = 3 })
    assert.equal("stage_failed", kind)
    assert.equal("stage exited without output (exit 3)", message)
    kind, message = classify("stage", "  \n", { exit_code = 3 })
    assert.equal("stage_failed", kind)
    assert.equal("stage exited without output (exit 3)", message)
    kind, message = classify("stage", "oh\nno\n", { exit_code = 3 })
    assert.equal("stage_failed", kind)
    assert.equal("stage error (exit 3): oh\\nno", message)
  end)

  it("is told by its standard output where standard error says nothing", function()
    local kind, message = classify("stage", " \n", {
      exit_code = 255, stdout = "PHP Fatal error:  Uncaught x in y:3\n",
    })
    assert.equal("stage_failed", kind)
    assert.equal("stage error (exit 255): PHP Fatal error:  Uncaught x in y:3", message)
    local _, said = classify("stage", "said", { exit_code = 255, stdout = "an answer" })
    assert.equal("stage error (exit 255): said", said)
    local _, _, hint = classify("stage", "", {
      exit_code = 1, stdout = "os::commit_memory failed; error='Not enough space' (errno=12)",
    })
    holds(hint, "memory_bytes")
  end)

  it("keeps what was said before a signal, and takes the hint from it", function()
    local ends = {
      { "SIGTRAP", "# Fatal process out of memory: Failed to reserve virtual memory for CodeRange",
        "memory_bytes" },
      { "SIGABRT", "FATAL ERROR: Committing semi space failed. Allocation failed - JavaScript heap"
        .. " out of memory", "memory_bytes" },
      { "SIGABRT", "terminate called: std::bad_alloc", "memory_bytes" },
      { "SIGABRT", "pthread_create: Resource temporarily unavailable", "limits.processes" },
      { "SIGABRT", "assertion failed", "gave up" },
      { "SIGTRAP", "", "want of memory" },
    }
    for _, case in ipairs(ends) do
      local kind, message, hint = classify("stage", case[2], { signal = case[1] })
      assert.equal("stage_failed", kind)
      holds(message, "ended by " .. case[1])
      holds(message, case[2])
      holds(hint, case[3])
    end
    local _, message = classify("stage", ("x"):rep(1e6), { signal = "SIGABRT" })
    assert.is_true(#message < 500)
  end)

  it("is put down to a limit that it stood at", function()
    for _, more in ipairs{ { signal = "SIGABRT" }, { exit_code = 3 } } do
      more.max_rss_bytes, more.memory_bytes = 90, 100
      local _, _, hint = classify("stage", "", more)
      holds(hint, "90 of its 100 bytes")
      holds(hint, "memory_bytes")
      more.max_rss_bytes = 50
      _, _, hint = classify("stage", "", more)
      assert.is_nil((hint or ""):find("of its 100", 1, true))
      more.at_process_limit, more.processes = true, 7
      _, _, hint = classify("stage", "", more)
      holds(hint, "limit of 7 processes")
    end
  end)

  it("is no want of memory where it says another reason itself", function()
    local said = { type = "ValueError", message = "bad" }
    local _, _, hint = classify("stage", "", {
      answer = { error = said }, max_rss_bytes = 90, memory_bytes = 100,
    })
    assert.is_nil(hint)
    said.type, said.message = "MemoryError", ""
    _, _, hint = classify("stage", "", {
      answer = { error = said }, max_rss_bytes = 90, memory_bytes = 100,
    })
    holds(hint, "memory_bytes")
  end)

  it("is no blame on others where its own code sends signals", function()
    for code, text in pairs{
      ["import os\nos.kill(os.getpid(), 9)"] = "may have ended itself",
      ["execute() { kill -9 $$; }"] = "may have ended itself",
      ["skill = 9"] = "by somebody outside", ["x()"] = "by itself",
    } do
      local _, _, hint = classify("stage", "", { signal = "SIGKILL", code = code })
      holds(hint, text)
    end
  end)

  it("is a signal, with what it often means", function()
    local kind, message, hint = classify("stage", "", { signal = "SIGSEGV", reason = "signal" })
    assert.equal("stage_failed", kind)
    assert.equal("the stage was ended by SIGSEGV", message)
    holds(hint, "crashed")
    local _, _, none = classify("stage", "", { signal = "SIGUSR1", reason = "signal" })
    assert.is_nil(none)
  end)

  it("is never a fault of the machine, whatever the stage writes", function()
    local texts = {
      "error: cannot connect to nix daemon", "error: flake", "error: downloading",
      "No space left on device", "nix: command not found", "No such file or directory",
      "bwrap: No permissions to create new namespace", "ERROR: No matching distribution",
    }
    for _, text in ipairs(texts) do
      assert.equal("stage_failed", (classify("stage", text)))
      local kind, message = reported{ type = text, message = text }
      assert.equal("stage_failed", kind)
      holds(message, text)
    end
  end)

  local hints = {
    { "ModuleNotFoundError", "No module named 'numpy'", "install it for the host's python3" },
    { "ModuleNotFoundError", "No module named 'numpy'", "'# requires: numpy==VERSION'" },
    { "ModuleNotFoundError", "No module named 'bs4'", "'# requires: beautifulsoup4==VERSION'" },
    { "ModuleNotFoundError", "No module named 'cv2'", "'# requires: opencv-python-headless==" },
    { "ModuleNotFoundError", "No module named 'acme.sub'", "'# requires: acme==VERSION', if the" },
    { "Error", "Cannot find module 'leftpad'", "// requires: lodash@4.17.21" },
    { "TypeError", 'Failed to resolve module specifier "x" from "stage.js"', "its package" },
    { "MissingExecute", "the code defines no function named execute", "function execute" },
    { "ModuleNotFoundError", "No module named 'bs4'", "'# requires: beautifulsoup4==" },
    { "ModuleNotFoundError", "No module named 'yaml.nothing'", "'# requires: pyyaml==" },
    { "ModuleNotFoundError", "No module named " .. ("x"):rep(500), ("x"):rep(60) .. "==" },
    { "gaierror", "[Errno -3] Temporary failure in name resolution", "Network effect" },
    { "OSError", "[Errno 101] Network is unreachable", "Network effect" },
    { "OSError", "[Errno 97] Address family not supported by protocol", "Network effect" },
    { "Error", "connect EAFNOSUPPORT 127.0.0.1:9", "Network effect" },
    { "Error", "getaddrinfo EAI_SYSTEM", "Network effect" },
    { "PermissionError", "[Errno 13] Permission denied: '/etc/x'", "FsRead or FsWrite" },
    { "Error", "EACCES: permission denied, open '/etc/x'", "FsRead or FsWrite" },
    { "ExitStatus", "'echo > /x' ended with status 1: /x: Permission denied", "FsRead" },
    { "PermissionError", "[Errno 1] Operation not permitted", nil },
    { "OSError", "[Errno 30] Read-only file system: '/x'", "FsWrite" },
    { "MemoryError", "", "memory_bytes" },
    { "RangeError", "Array buffer allocation failed: out of memory", "memory_bytes" },
    { "Error", "spawn ENOMEM", "memory_bytes" },
    { "OSError", "[Errno 28] No space left on device", "private_bytes" },
    { "Error", "ENOSPC: no space left on device, write", "private_bytes" },
    { "ExitStatus", "'x' ended with status 1: printf: write error: No space left on device",
      "private_files" },
    { "OSError", "[Errno 24] Too many open files: '/x'", "open_files" },
    { "Error", "EMFILE: too many open files, open '/x'", "open_files" },
    { "OSError", "[Errno 27] File too large", "file_bytes" },
    { "Error", "EFBIG: file too large, write", "file_bytes" },
    { "ExitStatus", "'head' ended with status 153", "file_bytes" },
    { "RuntimeError", "can't start new thread", "limits.processes" },
    { "BlockingIOError", "[Errno 11] Resource temporarily unavailable", "limits.processes" },
    { "Error", "spawn sleep EAGAIN", "limits.processes" },
    { "ValueError", "bad", nil },
  }
  for _, case in ipairs(hints) do
    it(("of type %s has %s"):format(case[1], case[3] and "a hint" or "none"), function()
      local _, _, hint = reported({ type = case[1], message = case[2] }, { packages = known })
      if case[3] then holds(hint, case[3]) else assert.is_nil(hint) end
    end)
  end
end)

describe("a stage's failure that the sandbox may be the cause of", function()
  local function kind_of(message, effects)
    local kind, _, _, effect = classify("stage", message, { effects = effects })
    return kind, effect
  end

  for _, message in ipairs{ "Network is unreachable", "Address family not supported by protocol",
      "EAFNOSUPPORT" } do
    it("is effect_denied where Network is not declared: " .. message, function()
      assert.same({ "effect_denied", "Network" }, { kind_of(message, {}) })
      assert.same({ "stage_failed" }, { kind_of(message, { Network = true }) })
      assert.same({ "stage_failed" }, { kind_of(message, nil) })
    end)
  end

  it("claims no effect where the file's own mode may be the cause", function()
    assert.same({ "stage_failed" }, { kind_of("Permission denied", {}) })
  end)
end)

describe("a stage that was refused a process", function()
  local CHAIN = "Traceback:\nPermissionError: [Errno 1] Operation not permitted: 'id'\n\nDuring"
    .. " handling of the above exception, another exception occurred:\n\nRuntimeError: no id\n"
  -- What ended it: a report or standard error; and whether the refusal did.
  local cases = {
    { { type = "PermissionError", message = "[Errno 1] Operation not permitted: 'id'" }, true },
    { { type = "Error", message = "spawn id EPERM" }, true },
    { { type = "Error", message = "spawnSync /bin/sh EPERM" }, true },
    { { type = "RuntimeError", message = "no id", traceback = CHAIN }, true },
    { { type = "ExitStatus", message = "'id' ended the stage with status 254" }, true,
      "/stage/stage.sh: fork: Operation not permitted\n" },
    { "/stage/stage.sh: line 1: /usr/bin/id: Operation not permitted\n", true },
    { "stage.rb:1:in `fork': Operation not permitted - fork(2) (Errno::EPERM)\n\tfrom stage.rb:1",
      true },
    { { type = "ValueError", message = "mine" }, false },
    { { type = "ValueError", message = "mine" }, false, "PermissionError: [Errno 1]\n" },
    { { type = "KeyError", message = "'x'", traceback = "File stage.py\nKeyError: 'x'" }, false },
    { { type = "PermissionError", message = "[Errno 13] Permission denied: '/x'" }, false },
    { { type = "PermissionError", message = "[Errno 1] Operation not permitted",
      traceback = "    os.kill(1, 9)\nPermissionError" }, false },
    { { type = "PermissionError", message = "[Errno 1] Operation not permitted: '/x'",
      traceback = "    os.chown('/x', 0, 0)\nPermissionError" }, false },
    { { type = "Error", message = "EPERM: operation not permitted, chown '/x'" }, false },
    { { type = "ExitStatus", message = "'kill -9 1' ended with status 1" }, false,
      "x: fork: Operation not permitted\nstage.sh: line 2: kill: (1) - Operation not permitted\n" },
    { { type = "Error", message = "no SUPEREPERMIT" }, false },
    { "warning: fork: Operation not permitted\nstage.rb:3:in `<main>': undefined x (NameError)",
      false },
    { "", false },
  }
  for index, case in ipairs(cases) do
    it(("is the failure's cause, or a fact beside it (%d)"):format(index), function()
      local report = type(case[1]) == "table" and { error = case[1] } or nil
      local kind, _, hint, effect = classify("stage", report and case[3] or case[1],
        { answer = report, denied = { "Process" }, effects = {} })
      assert.equal(case[2] and "effect_denied" or "stage_failed", kind)
      assert.equal(case[2] and "Process" or nil, effect)
      holds(hint, case[2] and "declare it if the stage needs it" or "and went on")
    end)
  end

  it("is told so beside what the failure says of itself, or a signal", function()
    local _, _, hint = classify("stage", "No module named 'x'", { denied = { "Process" } })
    holds(hint, "requires:")
    holds(hint, "refused another process")
    _, _, hint = classify("stage", "", { signal = "SIGSEGV", denied = { "Process" } })
    holds(hint, "crashed")
    holds(hint, "refused another process")
  end)

  it("has a command's misspelt name for the whole reason", function()
    local kind, _, hint = classify("stage", "", { denied = { "Process" },
      answer = { error = { type = "CommandNotFound", message = "gerp: command not found" } } })
    assert.equal("stage_failed", kind)
    holds(hint, "spelt")
    assert.is_nil(hint:find("Process", 1, true))
  end)
end)

describe("a stage's code", function()
  local INDENT = { type = "IndentationError", message = "unexpected indent", line = 1 }
  local cases = {
    { "stage.py", "not a file name" }, { " ./a/b-c.js\n", "not a file name" },
    { "~/x.sh", "not a file name" },
    { "  def execute(i):\n    return i", "must not be indented", INDENT },
    { "\n\tx = 1", "must not be indented", INDENT },
    { "x = 1\n  y = 2", "four blanks", INDENT }, { "x = 1\n\n  y = 2", "four blanks", INDENT },
    { "  x = 1", nil, { type = "NameError", message = "x" } },
    { "stage.py()", nil }, { "source x.sh", nil }, { "import x\nstage.py", nil }, { "x.rb", nil },
  }
  for _, case in ipairs(cases) do
    it(("%q gives %s"):format(case[1], case[2] and "a hint" or "none"), function()
      local report = case[3] or { type = "NameError", message = "name 'stage' is not defined" }
      local kind, _, hint = classify("stage", "", { answer = { error = report }, code = case[1] })
      assert.equal("stage_failed", kind)
      if case[2] then holds(hint, case[2]) else assert.is_nil(hint) end
    end)
  end

  it("is told of though the sandbox saw an effect lacking too", function()
    local kind, _, hint, effect = classify("stage", "x: Operation not permitted",
      { denied = { "Process" }, code = "x.sh" })
    assert.same({ "effect_denied", "Process" }, { kind, effect })
    holds(hint, "not a file name")
  end)
end)

describe("nix's failure", function()
  local SOCKET = "error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': "
  local SQL = "error: executing SQLite statement 'pragma synchronous = normal': "
  local PYTHON = "error: flake 'flake:nixpkgs' does not provide attribute 'apps.x86_64.pyton3'"
  -- stderr, kind, what the message holds, what the hint holds
  local cases = {
    { SOCKET .. "No such file or directory", "runtime_unavailable", "daemon is not running",
      "systemctl start nix-daemon" },
    { SOCKET .. "Connection refused", "runtime_unavailable", "daemon is not running",
      "nix daemon" },
    { "error: cannot connect to nix daemon", "runtime_unavailable", "daemon is not running" },
    { "Cannot connect to the Nix daemon", "runtime_unavailable", "daemon is not running" },
    { "error: unexpected end-of-file", "runtime_unavailable", "daemon went away" },
    { "error: cannot open connection to remote store 'daemon': error: writing to file: Broken pipe",
      "runtime_unavailable", "daemon refused", "allowed-users" },
    { "error: could not set permissions on '/nix/var/nix/profiles/per-user' to 755: "
      .. "Operation not permitted", "runtime_unavailable", "may not use /nix", "NIX_STORE_DIR" },
    { "error: creating directory '/nix': Permission denied", "runtime_unavailable",
      "may not use /nix" },
    { "error: experimental Nix feature 'nix-command' is disabled; use"
      .. " '--extra-experimental-features nix-command' to override", "runtime_unavailable",
      "switched off",
      "experimental-features = nix-command flakes" },
    { "warning: the group 'nixbld' specified in 'build-users-group' does not exist\n"
      .. "error: the group 'nixbld' specified in 'build-users-group' does not exist",
      "runtime_unavailable", "no users to build as", "build-users-group" },
    { "error: cannot find flake 'flake:nosuchflake' in the flake registries", "runtime_unavailable",
      "could not use the flake" },
    { "error: flake 'x' has no outputs", "runtime_unavailable", "could not use the flake" },
    { "error: getting flake 'x'", "runtime_unavailable", "could not use the flake" },
    { "error: getting status of '': No such file or directory", "runtime_unavailable", "flake" },
    { "error: getting status of '/nix/store/H-source/flake.nix': No such file or directory",
      "runtime_unavailable", "flake" },
    { "path '' does not contain a 'flake.nix', searching up\n"
      .. "error: could not find a flake.nix file", "runtime_unavailable",
      "flake (error: could not find" },
    { "error: syntax error, unexpected end of file", "runtime_unavailable", "flake" },
    { PYTHON .. "\n       Did you mean python3?", "runtime_unavailable", "no such package",
      "did you mean python3?" },
    { PYTHON, "runtime_unavailable", "no such package", "reference" },
    { "error: attribute 'nosuch' missing", "packages_failed", "no such package", "known" },
    { "error: undefined variable 'nosuch'", "packages_failed", "no such package" },
    { "error: cannot look up '<nixpkgs>' in pure evaluation mode (use '--impure' to override)",
      "runtime_unavailable", "flake" },
    { "error: cannot call 'getFlake' on unlocked flake reference 'nixpkgs', at (string):1:2",
      "runtime_unavailable", "flake" },
    { "error: flake output attribute 'legacyPackages.x' is not a derivation", "runtime_unavailable",
      "flake" },
    { "building '/nix/store/H-x.drv'...\nerror: builder for '/nix/store/H-x.drv' failed with exit"
      .. " code 3;", "packages_failed", "could not build", "nix log" },
    { "error: 1 dependencies of derivation '/nix/store/H.drv' failed to build", "packages_failed",
      "could not build" },
    { "error: building of '/nix/store/H.drv!out' from .drv file timed out after 2 seconds",
      "setup_timed_out", "took too long", "setup_timeout_secs" },
    { "error: interrupted by the user", "runtime_unavailable", "interrupted" },
    { "error: unable to execute '/nix/store/H/bin/no-main': No such file or directory",
      "runtime_unavailable", "no such program" },
    { "this derivation will be built:\n  /nix/store/H.drv\nerror: path '/nix/store/H' is not valid",
      "runtime_unavailable", "not in the nix store yet", "warm" },
    { "warning: error: unable to download 'URL': Couldn't resolve host name (6); retrying\n"
      .. "error: unable to download 'URL': Couldn't resolve host name (6)", "runtime_unavailable",
      "there is no network for nix: it failed to fetch what", "network" },
    { "error: unable to download 'URL': Couldn't connect to server (7)", "runtime_unavailable",
      "nix failed to fetch", "network" },
    { "warning: you don't have Internet access; disabling some network-dependent features\n"
      .. "error: unable to download 'URL'", "runtime_unavailable", "failed to fetch" },
    { "error: downloading 'x'", "runtime_unavailable", "failed to fetch" },
    { "error: fetching 'x'", "runtime_unavailable", "failed to fetch" },
    { "fatal: unable to access 'https://x': Could not resolve host: x\n"
      .. "error: program 'git' failed with exit code 128", "runtime_unavailable",
      "failed to fetch" },
    { "error: writing to file: No space left on device", "runtime_unavailable", "store is full",
      "nix-collect-garbage -d" },
    { "error: builder for 'x' failed with exit code 2;\n       > tar: x: No space left on device\n"
      .. "       note: build failure may have been caused by lack of free disk space",
      "runtime_unavailable", "store is full", "nix-collect-garbage -d" },
    { "out of disk space", "runtime_unavailable", "store is full" },
    { SQL .. "disk I/O error (in '/nix/var/nix/db/db.sqlite')", "runtime_unavailable",
      "cannot write its database", "nix-collect-garbage" },
    { SQL .. "file is not a database (in '/nix/var/nix/db/db.sqlite')", "runtime_unavailable",
      "database is damaged" },
    { "error: remounting /nix/store writable: Invalid argument", "runtime_unavailable",
      "read-only" },
    { "error: unrecognised flag '--print-out-paths'", "runtime_unavailable", "too old", "2.8" },
    { "error: experimental Nix feature 'flakes' is disabled; use"
      .. " '--extra-experimental-features flakes' to override", "runtime_unavailable",
      "switched off" },
    { "error: flake 'flake:nixpkgs' does not provide attribute 'packages.x86_64-linux.pyton3',"
      .. " 'legacyPackages.x86_64-linux.pyton3' or 'pyton3'\n       Did you mean python3?",
      "runtime_unavailable", "no such package", "did you mean python3?" },
    { "error: unable to execute 'nosuchcmd': No such file or directory", "runtime_unavailable",
      "no such program" },
    { "error: cannot call 'getFlake' on unlocked flake reference 'nixpkgs', at (string):1:2"
      .. " (use --impure to override)", "runtime_unavailable", "could not use the flake" },
    { "terminate called after throwing an instance of 'nix::Error'\n  what():  \27[31;1merror:"
      .. "\27[0m cannot determine user's home directory", "runtime_unavailable",
      "wants a home directory", "HOME" },
    { "error: NAR hash mismatch in input 'path:/x?narHash=sha256-A=' (/nix/store/H-source),"
      .. " expected 'sha256-A=', got 'sha256-B='", "runtime_unavailable",
      "not the one that was locked", "delete the lock file" },
    { "error: path '/nix/store/H-x' is required, but there is no substituter that can build it",
      "runtime_unavailable", "nor where to fetch" },
    { "don't know how to build these paths:\n  /nix/store/H-x\nerror: build of '/nix/store/H-x'"
      .. " failed", "runtime_unavailable", "nor where to fetch it (error: build of" },

    -- As newer versions put it.
    { "error: path '/nix/store/H-x' does not exist and cannot be created", "runtime_unavailable",
      "nor where to fetch" },
    { "error: unable to download 'https://x': Could not resolve hostname (6) Could not resolve"
      .. " host: x", "runtime_unavailable", "failed to fetch" },
    { "error: path '/x' does not exist", "runtime_unavailable", "could not use the flake" },
    { "error: path '/nix/store/H-source/flake.nix' does not exist", "runtime_unavailable",
      "could not use the flake" },
    { "error:\n       … while evaluating a branch condition\n\n       error: attribute 'nosuch'"
      .. " missing\n       at «string»:1:1:\n       Did you mean six?", "packages_failed",
      "(error: attribute 'nosuch' missing)", "did you mean six?" },
    { "error: Cannot build '/nix/store/H-x.drv'.\n       Reason: builder failed with exit code 3.",
      "packages_failed", "could not build" },
    { "\27[31;1merror:\27[0m cannot find flake 'flake:x' in the flake registries",
      "runtime_unavailable", "(error: cannot find flake" },

    -- What a builder wrote is no word of nix.
    { "error: builder for '/nix/store/H-x.drv' failed with exit code 1;\n"
      .. "       last 3 log lines:\n       > error: attribute 'x' missing\n"
      .. "       > error: cannot connect to nix daemon\n       > syntax error\n"
      .. "       For full logs, run 'nix log /nix/store/H-x.drv'.", "packages_failed",
      "nix could not build a package (error: builder for" },
    { "sh: 1: nix: not found", "runtime_unavailable", "is it installed" },
    { "bash: nix: command not found", "runtime_unavailable", "is it installed" },
    { "warning: x\nerror (ignored): error: executing SQLite statement '\nerror: something new",
      "runtime_unavailable", "nix failed (exit 1): error: something new" },
    { "", "runtime_unavailable", "nix failed (exit 1)" },
  }
  for _, case in ipairs(cases) do
    it(("is named: %s"):format(case[1]:sub(1, 70):gsub("\n.*", "")), function()
      local kind, message, hint = classify("nix", case[1])
      assert.equal(case[2], kind)
      holds(message, case[3])
      if case[4] then holds(hint, case[4]) end
      assert.falsy(message:find("%c"))
    end)
  end

  it("tells its first line where it has no error line", function()
    local _, message = classify("nix", "\n  odd \nmore")
    assert.equal("nix failed (exit 1): odd", message)
  end)

  it("is a deadline where it was ended at one, and a signal where it was killed", function()
    local kind, _, hint = classify("nix", "error: flake", {
      reason = "timeout", signal = "SIGKILL",
    })
    assert.equal("setup_timed_out", kind)
    holds(hint, "setup_timeout_secs")
    local _, message = classify("nix", "", { reason = "signal", signal = "SIGKILL" })
    assert.equal("nix failed (SIGKILL)", message)
  end)
end)

describe("pip's failure", function()
  local NOTHING = "ERROR: No matching distribution found for x==9"
  local RETRYING = "WARNING: Retrying (Retry(total=1, connect=None, read=None, redirect=None, "
    .. "status=None)) after connection broken by '%s': /simple/x/\n"
    .. "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: none)\n"
    .. NOTHING
  -- What pip 23.0 writes, and which part of it the message must show.
  local cases = {
    { "Looking in links: file:///w\nERROR: Could not find a version that satisfies "
      .. "the requirement x==9 (from versions: none)\n" .. NOTHING,
      "pip found no such package (" .. NOTHING .. ")", "only wheels" },
    { "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 1.0, "
      .. "2.0)\n" .. NOTHING, "the package has no such version (ERROR: Could not find a version "
      .. "that satisfies the requirement x==9 (from versions: 1.0, 2.0))", "one of those" },
    { RETRYING:format("NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object "
      .. "at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')"),
      "Connection refused", "network" },
    { RETRYING:format("SSLError(SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number "
      .. "(_ssl.c:992)'))"), "cannot reach its index (WARNING: Retrying", "index" },
    { RETRYING:format("ReadTimeoutError(\"HTTPConnectionPool(host='127.0.0.1', port=80): Read "
      .. "timed out. (read timeout=15)\")"), "Read timed out", "index" },
    { "WARNING: The repository located at a.invalid is not a trusted or secure host and is being "
      .. "ignored.\n" .. NOTHING, "does not trust its index (WARNING: The repository located at "
      .. "a.invalid", "trusted_hosts" },
    { "ERROR: HTTP error 403 while getting http://127.0.0.1/x.whl", "refuses to answer (ERROR",
      "password" },
    { "ERROR: HTTP error 503 while getting http://127.0.0.1/x.whl", "answered with an error (ERROR",
      "again" },
    { "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have",
      "not the one that was pinned", "sha256" },
    { "ERROR: In --require-hashes mode, all requirements must have their versions pinned",
      "has no hash", "dependencies" },
    { "ERROR: Cannot install a==1.0 and b==1.0 because these package versions have conflicting "
      .. "dependencies.\n\nThe conflict is caused by:\n    a 1.0 depends on b>=2\n\n"
      .. "ERROR: ResolutionImpossible: for help visit",
      "do not go together (ERROR: Cannot install a==1.0 and b==1.0", "agree" },
    { "ERROR: Package 'x' requires a different Python: 3.11.2 not in '>=4'",
      "not for this Python (ERROR: Package 'x'", "another" },
    { "ERROR: Ignored the following versions that require a different python version: 1.0 "
      .. "Requires-Python >=4\n" .. NOTHING, "not for this Python (ERROR: Ignored", "another" },
    { "ERROR: For req: x==1.0. The wheel '/w/x-1.0-py3-none-any.whl' has a file "
      .. "'/tmp/venv/../x.py' trying to install outside the target directory '/tmp/venv'",
      "reaches out of its", "honest" },
    { "ERROR: a package replaces a part of the environment: bin/python", "bin/python)", "honest" },
    { "ERROR: a link leads out of the environment: lib/x", "reaches out of its", "honest" },
    { "ERROR: x-1.0-py2-none-win32.whl is not a supported wheel on this platform.",
      "for another machine", "good one" },
    { "ERROR: Wheel 'x' located at /w/x-1.0-py3-none-any.whl is invalid.", "damaged", "good one" },
    { "error: subprocess-exited-with-error\n\n× python setup.py egg_info did not run.",
      "could not be built", "wheel" },
    { "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
      "disk is full", "room" },
    { "ERROR: [Errno 122] Disk quota exceeded: '/venv/x'", "disk is full", "room" },
    { "ERROR: python3.11 was killed by signal 9", "was killed (ERROR: python3.11", "memory" },
    { "ERROR: No module named pip, and ensurepip is not available", "virtual environments",
      "python3-venv" },
    { "/usr/bin/python3: No module named pip", "virtual environments", "python3-venv" },
    { "ERROR: something new", "pip failed (exit 1): ERROR: something new" },
  }
  for _, case in ipairs(cases) do
    it("is named: " .. case[2], function()
      local kind, message, hint = classify("pip", case[1])
      assert.equal("packages_failed", kind)
      holds(message, case[2])
      if case[3] then holds(hint, case[3]) end
    end)
  end

  it("is a requirement that was refused where pip refused one", function()
    assert.equal("package_rejected", (classify("pip", "ERROR: Invalid requirement: 'x y'")))
  end)

  it("tells a full disk from a limit that was reached", function()
    local text = "ERROR: Could not install packages due to an OSError: "
      .. "[Errno 28] No space left on device"
    local _, message, hint = classify("pip", text, { part = "install", walls = true })
    holds(message, "larger than allowed")
    holds(hint, "max_bytes")
    for _, facts in ipairs{ { part = "copy", walls = true }, { part = "install" } } do
      _, message = classify("pip", text, facts)
      holds(message, "disk is full")
    end
  end)

  it("says what limits its memory", function()
    local kind, message, hint = classify("pip", "Processing x", { reason = "memory_limit" })
    assert.equal("packages_failed", kind)
    assert.equal("pip failed (memory_limit): Processing x", message)
    holds(hint, "max_bytes")
  end)

  it("is a deadline where it was ended at one", function()
    assert.equal("setup_timed_out", (classify("pip", "", { reason = "timeout" })))
  end)
end)

describe("a sandbox's failure", function()
  local cases = {
    { "bwrap: No permissions to create new namespace, likely because the kernel does not allow"
      .. " non-privileged user namespaces.", "isolation_unavailable", "no user namespaces",
      "max_user_namespaces" },
    { "bwrap: Creating new namespace failed: Operation not permitted", "isolation_unavailable",
      "no user namespaces" },
    { "bwrap: setting up uid map: Permission denied", "isolation_unavailable",
      "no user namespaces" },
    { "bwrap: Can't find source path /nope: No such file or directory", "sandbox_failed",
      "/nope", "effects" },
    { "bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "sandbox_failed",
      "sandbox failed (exit 1): bwrap: Can't mount proc" },
    { "", "sandbox_failed", "sandbox failed (exit 1)" },
  }
  for _, case in ipairs(cases) do
    it("is named: " .. case[1]:sub(1, 60), function()
      local kind, message, hint = classify("sandbox", case[1])
      assert.equal(case[2], kind)
      holds(message, case[3])
      if case[4] then holds(hint, case[4]) end
    end)
  end
end)

describe("a stage's failure that its code explains", function()
  local FENCES = "the code stands between Markdown's fences"
  local HOLDS = "the code holds Markdown's fences"
  local MISSING = "ModuleNotFoundError: No module named 'six'"
  local cases = {
    { "```python\ndef execute(i): return 1\n```", "SyntaxError: invalid syntax", FENCES },
    { "\n  ```js\nfunction execute() {}\n```\n", "SyntaxError: Unexpected token", FENCES },
    { "```\nexecute() { echo 1; }\n```", "MissingExecute: no function", FENCES },
    { "~~~python\nx = 1\n~~~", "SyntaxError: invalid syntax", FENCES },
    { "\239\187\191```python\nx\n```", "SyntaxError: invalid syntax", FENCES },
    { "Here is the code:\n```python\nx\n```", "SyntaxError: invalid syntax", HOLDS },
    { "def execute(i): return 1\n```\n", "SyntaxError: invalid syntax", HOLDS },
    { "execute() { :; }\n```", "ExitStatus: the code ended with status 2 while it was loaded",
      HOLDS },
    { "x = '''\n```\n'''", "ValueError: no", nil },
    { "#requires: six==1.0\nimport six", MISSING, "line 1 asks for no packages, since it is written"
      .. " '#requires:': write '# requires: name==version' on a line of its own" },
    { "import six\n# Requires: six==1.0", MISSING, "line 2 asks for no packages" },
    { "#  requires: six==1.0", MISSING, "it is written '#  requires:'" },
    { "# require: six==1.0", MISSING, "it is written '# require:'" },
    { "# REQUIRES : six==1.0", MISSING, "it is written '# REQUIRES :'" },
    { "import six # requires: six==1.0", MISSING, "something stands before it" },
    { '"""Doc.\n# requires: six==1.0\n"""\nimport six', MISSING,
      "line 2 asks for no packages, since it stands in a string" },
    { "'''\n\n# requires: six==1.0\n'''", MISSING, "line 3 asks for no packages" },
    { "# requires: toml==1.0\nimport six", MISSING, "'# requires: six==VERSION'" },
    { "# requires: toml==1.0\n'''a'''\n# requires: x==1", MISSING, "'# requires: six==VERSION'" },
    { "# it requires: nothing", MISSING, "'# requires: six==VERSION'" },
    { "yes | head", "ExitStatus: 'head' ended with status 141", "141 is SIGPIPE" },
    { "cat x | grep -q y", "ExitStatus: execute returned with status 141", "141 is SIGPIPE" },
    { "x", "ExitStatus: 'x' ended with status 14", nil },
    { "x", "ValueError: status 141", nil },
  }
  for _, case in ipairs(cases) do
    it(("has the hint: %q"):format(case[1]:sub(1, 40)), function()
      local kind, text = case[2]:match("^(%w+): (.*)$")
      local found, _, hint = errors.classify{
        source = "stage", stderr = "", exit_code = 1, code = case[1],
        answer = { error = { type = kind, message = text, traceback = "" } },
      }
      assert.equal("stage_failed", found)
      if case[3] then
        holds(hint or "", case[3])
      else
        assert.is_nil(hint)
      end
    end)
  end
end)

describe("the host's failure", function()
  it("is a runtime that cannot be had", function()
    local kind, message = classify("host", "\nno such thing\n", { exit_code = 127 })
    assert.equal("runtime_unavailable", kind)
    assert.equal("host failed (exit 127): no such thing", message)
  end)
end)

describe("every rule", function()
  it("has a kind of the catalogue and a message", function()
    local count = 0
    for _, rules in pairs(errors.rules) do
      for _, rule in ipairs(rules) do
        count = count + 1
        assert.truthy(catalogue.fault(rule.kind), rule.kind)
        assert.is_true(#rule.find > 0 and #rule.message > 0)
      end
    end
    assert.is_true(count > 25)
  end)

  it("leaves a message with what was said, in one bounded line, whatever it was", function()
    for source in pairs(errors.rules) do
      for _, text in ipairs{ ("\n"):rep(1e5), ("x"):rep(1e6), "\0\27[0m%s%d%", "error: %s %1" } do
        local kind, message = classify(source, text)
        assert.truthy(catalogue.fault(kind))
        assert.is_true(#message < 1000)
        assert.falsy(message:find("%c"))
      end
    end
  end)
end)
