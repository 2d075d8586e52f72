-- SPDX-License-Identifier: MIT
-- What a stage tries with the files that it is given, and leaves in the way of those who collect.
local helper = require "spec.support.helper"
local noether = require "noether"
local sys = require "noether.sys"

local WALLS = { "native", "bwrap" }
local ALL = { "native", "bwrap", "landlock" }

-- Tries each, and tells of it: None where it could be done.
local TRY = [[
import ctypes, os
def attempt(do):
    try:
        do()
    except OSError as error:
        return os.strerror(error.errno)
def execute(host):
    libc = ctypes.CDLL(None, use_errno=True)
    def mount():
        if libc.mount(b"/tmp", b"given", None, 4096, None) != 0:
            raise OSError(ctypes.get_errno(), "")
    def unmount():
        if libc.umount2(b"given", 2) != 0:
            raise OSError(ctypes.get_errno(), "")
    def by_descriptor():
        os.close(os.open("/proc/self/fd/%d" % os.open("given", os.O_RDONLY), os.O_WRONLY))
    open("other", "w").write("other")
    tries = {
        "write": lambda: open("given", "r+").write("x"),
        "truncate": lambda: os.truncate("given", 0),
        "chmod": lambda: os.chmod("given", 0o777),
        "by descriptor": by_descriptor,
        "mount": mount,
        "unmount": unmount,
        "replace": lambda: os.replace("other", "given"),
        "unlink": lambda: os.unlink("given"),
    }
    return {name: attempt(do) for name, do in tries.items()}
]]

local function execute(backend, code, opts)
  local request = { language = "python", code = code, isolation = backend, timeout_secs = 60 }
  for name, value in pairs(opts) do request[name] = value end
  return noether.execute(request)
end

helper.over({ backends = ALL, always = { "is what it was, whatever the stage tries" } },
  "a file that a stage is given under %s", function(backend)
    it("is what it was, whatever the stage tries", function()
      local dir = sys.realpath(helper.tmpdir())
      helper.open_to_all(dir)
      helper.write(dir .. "/host", "mine")
      sys.chmod(dir .. "/host", tonumber("666", 8))
      local out, err = execute(backend, TRY, { files = { given = { path = dir .. "/host" } } })
      assert.is_nil(err)
      local count = 0
      for name, said in pairs(out) do
        count = count + 1
        -- Without walls the link is the stage's own, and what it leads to is not.
        local is_links = backend == "landlock" and (name == "replace" or name == "unlink")
        assert.equal(is_links, said == noether.null, name)
      end
      assert.equal(8, count)
      assert.equal("mine", helper.read(dir .. "/host"))
      assert.equal(tonumber("666", 8), sys.stat(dir .. "/host").mode)
    end)

    it("is not what a link leads to that another stage has left", function()
      local dir = sys.realpath(helper.tmpdir())
      sys.chmod(dir, tonumber("777", 8))
      local executor = assert(noether.executor{ isolation = backend })
      local out, err = executor:execute({
        language = "python", effects = { { FsWrite = dir } },
        code = "import os\ndef execute(dir):\n    os.symlink('/etc/passwd', dir + '/data')\n"
          .. "    return 'left'",
      }, dir, { timeout_secs = 60 })
      assert.same({ "left" }, { out, err })
      assert.equal("/etc/passwd", sys.readlink(dir .. "/data"))
      out, err = executor:execute({ language = "python", code = "def execute(n): return 1" }, nil,
        { files = { given = { path = dir .. "/data" } }, timeout_secs = 60 })
      assert.is_nil(out)
      assert.same({ "input_invalid", "ELOOP" }, { err.kind, err.errno })
      executor:close()
    end)
  end)

helper.over({ backends = WALLS }, "outputs of a stage under %s", function(backend)
  it("are none of what is bound into its directory", function()
    local dir = sys.realpath(helper.tmpdir())
    helper.open_to_all(dir)
    helper.write(dir .. "/secret.txt", "secret")
    local out, err, info = execute(backend, [[
import os
def execute(n):
    open("own.txt", "w").write("own")
    os.mkdir("in")
    return sorted(os.listdir("."))
]], { files = { ["in.txt"] = { path = dir .. "/secret.txt" } }, outputs = { "*.txt", "**/*" } })
    assert.is_nil(err)
    assert.same({ "in", "in.txt", "own.txt" }, out)
    assert.same({ "own.txt" }, { info.outputs[1].name, info.outputs[2] })
  end)
end)

-- The directory in which it started is not where its name leads when it has ended.
describe("a stage that moves its working directory away", function()
  it("has what it left there collected, and not what lies by the name", function()
    local work = sys.realpath(helper.tmpdir())
    local moved = sys.realpath(helper.tmpdir()) .. "/moved"
    helper.shell(("mkdir %s/here && chmod 777 %s/here"):format(work, work))
    local out, err, info = execute("none", [[
import os
def execute(paths):
    open("left.txt", "w").write("mine")
    os.rename(paths[0], paths[1])
    os.symlink("/etc", paths[0])
    return os.path.exists(paths[0] + "/passwd")
]], { input = { work .. "/here", moved }, work_dir = work .. "/here",
      outputs = { "left.txt", "passwd?" } })
    assert.is_nil(err)
    assert.is_true(out)
    assert.same({ "left.txt" }, { info.outputs[1].name, info.outputs[2] })
    assert.equal("mine", info.outputs[1].content)
  end)
end)
