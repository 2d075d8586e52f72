-- SPDX-License-Identifier: MIT
--- What the runners of stages promise, where a sandbox could come in the way of it.
local helper = require "spec.support.helper"
local noether = require "noether"

local BACKENDS = { "none", "native", "bwrap", "landlock" }

local function contains(text, part)
  assert.truthy(text:find(part, 1, true), ("'%s' lacks '%s'"):format(text, part))
end

-- Language, what it does, code, answer for 21, effects.
local STAGES = {
  { "python", "sends work to a process that starts afresh", [[
import multiprocessing as mp
def work(pipe, n): pipe.send([n * 2, __name__])
def execute(n):
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, n))
    process.start()
    answer = ours.recv()
    process.join()
    return answer + [process.exitcode] ]], { 42, "stage", 0 } },
  { "python", "is answered for by itself, and not by its forks", [[
import os, sys
def execute(n):
    for end in (lambda: sys.exit(3), lambda: None, lambda: 1 / 0):
        pid = os.fork()
        if pid == 0: return end()
        os.waitpid(pid, 0)
    return n]], 21 },
  { "javascript", "imports a file by its path, without Process", [[
import fs from 'fs';
import { tmpdir } from 'os';
import { join } from 'path';
const file = join(fs.mkdtempSync(join(tmpdir(), 'm')), 'm.mjs');
fs.writeFileSync(file, 'export default 2');
const { default: factor } = await import(file);
fs.rmSync(join(file, '..'), { recursive: true });
export default (n) => n * factor;]], 42, {} },
  { "javascript", "knows where it lies, without Process", [[
import { createRequire } from 'module';
import fs from 'fs';
const require = createRequire(import.meta.url);
export default () => [require('path').basename(import.meta.filename),
  fs.readFileSync(new URL(import.meta.url), 'utf8').slice(0, 6)];]], { "stage.js", "import" }, {} },
  { "bash", "is traced alone, without Process", [[
set -x
execute() { echo "$1"; }]], 21, {} },
}

helper.over({
  backends = BACKENDS, starts = helper.STARTS,
}, "a stage under isolation '%s', begun by %s,", function(backend, start)
  helper.begin_by(start)

  local ex
  setup(function()
    ex = assert(noether.executor{ isolation = backend, timeout_secs = 60 })
    noether.check(ex:execute({ language = "bash", code = "execute() { echo 1; }" }))
  end)
  teardown(function() ex:close() end)

  for _, case in ipairs(STAGES) do
    it(("in %s %s"):format(case[1], case[2]), function()
      assert.same(case[4], noether.check(ex:execute({
        language = case[1], code = case[3], effects = case[5],
      }, 21)))
    end)
  end

  it("in Python that leaves a thread is told of it by name when it meets its deadline", function()
    local output, err, info = ex:execute({ language = "python", code = [[
import threading
def execute(n):
    threading.Thread(target=threading.Event().wait, name="left").start()
    return n]], effects = {} }, 1, { timeout_secs = 3 })
    assert.is_nil(output)
    assert.equal("timed_out", err.kind)
    contains(err.message, "execute had answered, and what it had started went on: thread left")
    contains(info.logs, "waiting for thread left")
  end)

  it("in Python that leaves a thread has its answer at once where that is asked for", function()
    local own <close> = assert(noether.executor{
      isolation = backend, timeout_secs = 60, on_leftover_threads = "end",
    })
    local output, err, info = own:execute({ language = "python", code = [[
import threading
def execute(n):
    threading.Thread(target=threading.Event().wait, name="left").start()
    return n]], effects = {} }, 1)
    assert.is_nil(err)
    assert.equal(1, output)
    contains(info.logs, "ending thread left")
  end)

  it("in Python that leaves threads may end them by an option of the call", function()
    local output, err, info = ex:execute({ language = "python", code = [[
import threading
def execute(n):
    for name in "abcdef":
        threading.Thread(target=threading.Event().wait, name=name).start()
    return n]], effects = {} }, 1, { on_leftover_threads = "end", timeout_secs = 60 })
    assert.is_nil(err)
    assert.equal(1, output)
    -- One line for all of them.
    assert.matches("^execute has answered; ending 6 threads: a[^\n]*, b[^\n]*, c[^\n]*, d[^\n]*, "
      .. "%.%.%.\n$", info.logs)
  end)

  it("that writes much has a log of whole characters, cut or not", function()
    local lines = {}
    local _, _, info = ex:execute({ language = "python", effects = {}, code = [[
def execute(n):
    print("\u20ac" * 70000)
    print()
    print("x" + "\u00e9" * 70000)]] }, 1, { on_log = function(line) lines[#lines + 1] = line end })
    assert.truthy(utf8.len(info.logs))
    contains(info.logs, " bytes left out]")
    assert.equal(("\u{20ac}"):rep(70000) .. "x" .. ("\u{e9}"):rep(70000), table.concat(lines))
    local empty = 0
    for _, line in ipairs(lines) do
      assert.truthy(utf8.len(line))
      if line == "" then empty = empty + 1 end
    end
    assert.equal(1, empty)
  end)
end)
