-- SPDX-License-Identifier: MIT
--- Hosts on which sandboxes are hard to come by, made for real in namespaces of the test's own.
local helper = require "spec.helper"
local json = require "noether.json"

-- What each language can see of its sandbox, beside an answer.
local PROGRAM = [[
local noether = require "noether"
local json = require "noether.json"
local STAGES = {
  python = "import os\n"
    .. "def execute(i):\n"
    .. "    return {'n': i['n'] * 2, 'own_proc': os.path.exists('/proc/self/status'),\n"
    .. "            'uid': os.getuid(), 'pid': os.getpid()}",
  javascript = "import fs from 'node:fs';\n"
    .. "export function execute(i) {\n"
    .. "  return { n: i.n * 2, own_proc: fs.existsSync('/proc/self/status'),\n"
    .. "    uid: process.getuid(), pid: process.pid };\n"
    .. "}",
  bash = "execute() {\n"
    .. "  own=false; [ ! -e /proc/self/status ] || own=true\n"
    .. "  echo '{\"n\":42,\"own_proc\":'$own',\"uid\":'$UID',\"pid\":'$$'}'\n"
    .. "}",
}
local answers = {}
for language, code in pairs(STAGES) do
  local output, err, info = noether.execute{ language = language, code = code, input = { n = 21 } }
  answers[language] = {
    output = output, err = err and tostring(err), isolation = info.isolation,
    enforced = info.enforced,
  }
end
print((assert(json.encode(answers))))]]

-- Runs the program on a host that the shell command `prepare` makes in new namespaces; `enter`
-- precedes the program.
local function on_host(flags, prepare, enter)
  local script = helper.write(helper.tmpdir() .. "/stages.lua", PROGRAM)
  local inner = ("%s && exec %s %s %s"):format(prepare, enter, helper.quote(helper.lua), script)
  local output, code = helper.shell(("unshare %s -- sh -c %s"):format(flags, helper.quote(inner)))
  assert.equal(0, code, output)
  return assert(json.decode(output), output)
end

local function has(list, word)
  for _, item in ipairs(list) do
    if item == word then return true end
  end
  return false
end

local NAMESPACES = { "user_ns", "mount_ns", "pid_ns", "net_ns", "ipc_ns", "uts_ns", "cgroup_ns" }

describe("stages on a host without user namespaces", function()
  it("run under Landlock, and are told no more than that", function()
    local answers = on_host("-U --map-user=1000 --map-group=1000 --keep-caps -m",
      "echo 0 >/proc/sys/user/max_user_namespaces",
      "setpriv --inh-caps=-all --ambient-caps=-all")
    for _, language in ipairs{ "python", "javascript", "bash" } do
      local answer = answers[language]
      assert.is_nil(answer.err, language)
      assert.equal(42, answer.output.n, language)
      assert.equal("landlock", answer.isolation)
      for _, word in ipairs{ "landlock", "seccomp", "no_new_privs", "tree_kill", "host_death" } do
        assert.is_true(has(answer.enforced, word), language .. " lacks " .. word)
      end
      -- The host's own id and process numbers, and so it is said.
      assert.equal(1000, answer.output.uid, language)
      assert.is_true(answer.output.pid > 2, language)
      for _, word in ipairs{ "host_uid", "fresh_proc", "tmpfs_limits" } do
        assert.is_false(has(answer.enforced, word), language .. " claims " .. word)
      end
      for _, word in ipairs(NAMESPACES) do
        assert.is_false(has(answer.enforced, word), language .. " claims " .. word)
      end
    end
  end)
end)

describe("stages on a host whose /proc is covered in part", function()
  local COVER = "mount --bind /dev/null /proc/interrupts"

  local function check(answers)
    for _, language in ipairs{ "python", "javascript", "bash" } do
      local answer = answers[language]
      assert.is_nil(answer.err, language)
      assert.equal(42, answer.output.n, language)
      assert.equal("native", answer.isolation)
      assert.equal(65533, answer.output.uid, language)
      assert.equal(3, answer.output.pid, language)
      assert.is_false(answer.output.own_proc, language)
      assert.is_false(has(answer.enforced, "fresh_proc"), language)
      for _, word in ipairs(NAMESPACES) do
        assert.is_true(has(answer.enforced, word), language .. " lacks " .. word)
      end
    end
  end

  it("run under native, with a stub in its place", function()
    if helper.is_root() then
      check(on_host("-m", COVER, ""))
    else
      -- As an ordinary user again: root of a namespace could take the cover away.
      check(on_host("-Urm", COVER, "unshare -U --map-user=1000 --map-group=1000 --"))
    end
  end)
end)
