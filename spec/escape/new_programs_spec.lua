-- SPDX-License-Identifier: MIT
--- Without the Process effect: threads, and no process and no program, by whatever door.
require "spec.support.helper"
local cage = require "spec.escape.cage"
local noether = require "noether"

setup(cage.build)

-- Each ends with the attacker's own lines if it is refused; what succeeds runs `reached`.
local function programs()
  return {
    "exec=" .. cage.probe, "exec=/bin/true", "exec=/proc/self/exe", "exec_registers=/bin/true",
    "exec_loader=" .. cage.loader(), "exec_memory", "exec_memory_path", "exec_copy=/tmp/copy",
    "thread_exec=" .. cage.probe,
  }
end

local PROCESSES = {
  "fork", "raw_fork", "vfork", "wide_clone", "clone=0", "clone=0x100", "clone=0x4100", "clone3=0",
  "thread_fork", "spawn=/bin/true", "system=true", "popen=true", "int80=2", "int80=11", "int80=190",
  "x32=57", "x32=58", "x32=56", "x32=520", "forks=1",
}

cage.each("a program that may start no others", function(backend)
  it("cannot start a process", function()
    local report = cage.run(backend, PROCESSES, { processes = false })
    report:refused(PROCESSES)
    assert.equal("exit", report.result.reason)
    assert.equal(0, report:number "forks")
  end)

  it("cannot become another program", function()
    local words = programs()
    local report = cage.run(backend, words, { processes = false })
    report:refused(words)
    assert.is_nil(report:value "reached")
  end)

  it("can start threads", function()
    cage.run(backend, { "thread", "threads=20" }, { processes = false }):done{
      "thread", "threads=20",
    }
  end)

  it("cannot put a listener of its own in the place of ours", function()
    cage.run(backend, { "listener" }, { processes = false }):refused{ "listener" }
    cage.run("none", { "listener" }):done{ "listener" }
  end)

  it("is not helped by a thousand tries from eight threads", function()
    local words = {}
    for i = 1, 300 do
      words[i] = i % 2 == 0 and "fork" or "exec=/bin/true"
    end
    local report = cage.run(backend, words, { processes = false })
    report:refused{ "fork", "exec=/bin/true" }
    assert.equal(0, report.result.exit_code)
    assert.is_true(report.result.duration_secs < 10)
  end)

  it("is a stage whose error names the effect", function()
    local output, err = noether.execute{
      language = "python", isolation = backend, effects = {}, timeout_secs = 20,
      code = "import os\ndef execute(i):\n    os.fork()\n    return 1\n",
    }
    assert.is_nil(output)
    assert.equal("effect_denied", err.kind)
    assert.equal("Process", err.effect)
  end)
end)

-- The same attempts work where they are granted: it is the effect that stops them.
cage.each("a program that may start others", function(backend)
  it("can start a process", function()
    local words = {
      "fork", "raw_fork", "vfork", "clone=0", "thread_fork", "spawn=/bin/true", "system=true",
      "popen=true", "forks=1",
    }
    cage.run(backend, words):done(words)
  end)

  it("can become another program", function()
    for _, word in ipairs(programs()) do
      local copies = word:find "copy=" or word:find "true" or word:find "proc/self/exe"
      if not copies then
        local report = cage.run(backend, { word })
        assert.equal("yes", report:value "reached", report:explain(word))
      end
    end
  end)
end)

