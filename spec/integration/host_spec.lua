-- SPDX-License-Identifier: MIT
-- Hosts in odd states, each a process of its own. What needs C to bring about (threads, forks,
-- exec, foreign reapers) is in spec/c/process_test.c.
local helper = require "spec.support.helper"

local ISOLATIONS = { "none", "native", "bwrap", "landlock" }

-- What holds for each of them in every run of the suite.
local ALWAYS = {
  "whatever the host: a host that is killed takes its tree along",
  "whatever the host: an ignored SIGCHLD takes no status away",
  "whatever the host: closed standard streams are no harm",
  "whatever the host: the limit of open files is an error, and nothing else",
}

local marks = 0

local function new_mark()
  marks = marks + 1
  return ("noether-host-mark-%s-%d"):format(helper.read("/proc/self/stat"):match "^%d+", marks)
end

local function count_marked(mark)
  local count = 0
  for _, pid in ipairs(helper.list "/proc") do
    local file = pid:find "^%d+$" and io.open("/proc/" .. pid .. "/cmdline", "rb")
    local text = file and file:read "a" or ""
    if file then file:close() end
    if text:find(mark, 1, true) then count = count + 1 end
  end
  return count
end

local PRELUDE = [[
local commands = require "noether.command"
local function run(argv, opts)
  local result, err = commands.run(argv, opts)
  if result then return result end
  return { reason = err.kind, errno = err.errno, stdout = "" }
end
]]

-- A file with the Lua text; returns a shell command that runs it with the arguments.
local function host(text, ...)
  local script = helper.write(helper.tmpdir() .. "/host.lua", PRELUDE .. text)
  local words = { helper.quote(helper.lua), script }
  for _, argument in ipairs{ ... } do words[#words + 1] = helper.quote(argument) end
  return table.concat(words, " ")
end

local function prints(expected, command)
  local output = helper.shell(command)
  assert.equal(expected, output)
end

helper.over({ backends = ISOLATIONS, always = ALWAYS }, "isolation %s:", function(isolation)
  describe("whatever the host:", function()
    it("a host that is killed takes its tree along", function()
      local mark = new_mark()
      local pid_file = helper.tmpdir() .. "/pid"
      local command = host([[
        local proc = assert(commands.spawn({ "/bin/sh", "-c",
          "(setsid sh -c 'trap \"\" TERM; sleep 33; true' $0 &); echo ready; sleep 33; true",
          arg[2] }, { isolation = arg[1] }))
        local file = assert(io.open(arg[3], "w"))
        file:write(require "noether.core".getpid(), "\n")
        file:close()
        proc:wait()]], isolation, mark, pid_file)
      os.execute(command .. " >/dev/null 2>&1 &")
      assert.is_true(helper.poll(function()
        local file = io.open(pid_file)
        local text = file and file:read "a" or ""
        if file then file:close() end
        -- Written whole; and the host's own arguments hold the mark too.
        return text:find "\n" and count_marked(mark) >= 3
      end))
      os.execute("kill -9 " .. helper.read(pid_file))
      assert.is_true(helper.poll(function() return count_marked(mark) == 0 end))
    end)

    it("an ignored SIGCHLD takes no status away", function()
      prints("exit 7\nsignal SIGUSR1\n", "trap '' CHLD; exec " .. host([[
        for _, text in ipairs{ "exit 7", "kill -USR1 $$" } do
          local r = run({ "/bin/sh", "-c", text }, { isolation = arg[1] })
          print(r.reason, r.exit_code or r.signal)
        end]], isolation) .. " | tr '\\t' ' '")
    end)

    it("ignored and blocked signals are not inherited", function()
      local text = helper.shell(
        "env --ignore-signal=PIPE,TERM,HUP --block-signal=USR1,USR2,CHLD " .. host([[
          io.write(run({ "/bin/cat", "/proc/self/status" }, { isolation = arg[1] }).stdout)
          io.write("host:", io.open("/proc/self/status"):read "a")]], isolation))
      local own, of_host = text:match "^(.*)host:(.*)$"
      assert.is_truthy(own, text)
      for _, set in ipairs{ "SigBlk", "SigIgn", "SigCgt" } do
        assert.equal("0000000000000000", own:match(set .. ":%s+(%x+)"), set)
      end
      assert.equal("0000000000010a00", of_host:match "SigBlk:%s+(%x+)")
      assert.is_truthy(of_host:find "SigIgn:%s+%x+5001\n")
    end)

    it("closed standard streams are no harm", function()
      for _, closed in ipairs{ "0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-" } do
        local report = helper.tmpdir() .. "/report"
        os.execute(host([[
          local r = run({ "/bin/sh", "-c", "cat; echo err >&2" },
            { isolation = arg[1], stdin = "through" })
          local file = assert(io.open(arg[2], "w"))
          file:write(r.reason, " ", r.stdout, " ", r.stderr or "")
          file:close()]], isolation, report) .. " " .. closed)
        assert.equal("exit through err\n", helper.read(report))
      end
    end)

    it("the limit of open files is an error, and nothing else", function()
      local output = helper.shell("ulimit -n 40; " .. host([[
        local held, seen = {}, {}
        assert(run({ "/bin/true" }, { isolation = arg[1] }).reason == "exit")
        while true do
          local file = io.open "/dev/null"
          if not file then break end
          held[#held + 1] = file
        end
        while #held > 12 do
          local r = run({ "/bin/true" }, { isolation = arg[1] })
          seen[r.reason .. " " .. tostring(r.errno)] = true
          table.remove(held):close()
        end
        for what in pairs(seen) do print(what) end]], isolation))
      assert.is_truthy(output:find("spawn_failed EMFILE", 1, true), output)
      assert.is_truthy(output:find("exit nil", 1, true), output)
      local _, lines = output:gsub("\n", "")
      assert.equal(2, lines, output)
    end)

    it("the limit of open files is an error at an executor's first call, too", function()
      local output = helper.shell("ulimit -n 60; " .. host([[
        local noether, interpreters = require "noether", require "noether.runtime.host"
        local lfs, seen = require "lfs", {}
        local stage = { language = "bash", code = "execute() { echo 1; }" }
        local function round(cache_dir)
          interpreters.forget()
          local held, ex, err = {}, nil, nil
          for i = 1, 60 do held[i] = io.open "/dev/null" end
          repeat
            err = nil
            if not ex then
              ex, err = noether.executor{ isolation = arg[1], cache_dir = cache_dir,
                runtime = "host" }
            end
            if ex then err = select(2, ex:execute(stage)) end
            if err then seen[err.kind .. " " .. tostring(err.errno)] = true end
            table.remove(held):close()
          until not err
          ex:close()
          for _, file in ipairs(held) do file:close() end
          local count = 0
          for _ in lfs.dir "/proc/self/fd" do count = count + 1 end
          return count
        end
        local open = round(arg[2] .. "/1")
        print(round(arg[2] .. "/2") - open)
        for what in pairs(seen) do print(what) end]], isolation, helper.tmpdir()))
      assert.equal("0", output:match "^[^\n]*", output)
      assert.is_truthy(output:find("spawn_failed EMFILE", 1, true), output)
      assert.equal("0\n", (output:gsub("spawn_failed EMFILE\n", "")))
    end)

    it("a thousand open files stay the host's", function()
      prints("exit 0\n1\n2\n\n", "ulimit -n 1100 2>/dev/null; " .. host([[
        local held = {}
        for i = 1, 1000 do held[i] = io.open "/dev/null" end
        local r = run({ "/bin/sh", "-c", "cd /proc/$$/fd && for i in 0 1 2 3 4 5 6 7 8 9; do "
          .. "test -e $i && echo $i; done; true" }, { isolation = arg[1] })
        print(r.reason, r.stdout)]], isolation) .. " | tr '\\t' ' '")
    end)
  end)
end)

describe("a host", function()
  it("that may start no more processes is told so", function()
    local command = host([[
      for _, supervise in ipairs{ true, false } do
        local r = run({ "/bin/true" }, { isolation = "none", supervise = supervise })
        print(r.reason, r.errno)
      end]])
    if helper.is_root() then
      local temporary = helper.quote(os.getenv "TMPDIR")
      helper.shell(("chmod a+x %s/.. && chmod -R a+rX %s"):format(temporary, temporary))
      command = "setpriv --reuid 210987 --regid 210987 --clear-groups prlimit --nproc=1 " .. command
    else
      command = "prlimit --nproc=1 " .. command
    end
    -- A sanitizer's search for leaks needs a thread, which cannot be had here.
    command = "ASAN_OPTIONS=detect_leaks=0 " .. command
    prints("spawn_failed\tEAGAIN\nspawn_failed\tEAGAIN\n", command)
  end)

  it("that ends while programs run ends them, too", function()
    for _, isolation in ipairs(ISOLATIONS) do
      local mark = new_mark()
      local output, code = helper.shell("MALLOC_PERTURB_=165 " .. host([[
        local argv = { "/bin/sh", "-c", "sleep 33; true", arg[2] }
        first = commands.spawn(argv, { isolation = arg[1] })
        second = commands.spawn(argv, { isolation = arg[1] })
      ]], isolation, mark))
      assert.equal("", output)
      assert.equal(0, code)
      assert.is_true(helper.poll(function() return count_marked(mark) == 0 end))
    end
  end)

  if not helper.sanitized then -- whose shadow is larger than any such limit
    it("that runs out of memory for the output says so and lives", function()
      prints("stream_failed\tENOMEM\n65536\n", "ulimit -v 400000; " .. host([[
        local r = run({ "/usr/bin/yes" }, { isolation = "none", max_output_bytes = math.huge,
          timeout_secs = 20 })
        print(r.reason, r.errno)
        print(#r.stdout)]]))
    end)
  end
end)
