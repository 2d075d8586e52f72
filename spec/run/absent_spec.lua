-- SPDX-License-Identifier: MIT
-- The most frequent first mistake: a path of this machine, without its effect.
local absent = require "noether.run.absent"
local helper = require "spec.support.helper"
local noether = require "noether"

local function given(dir)
  helper.write(dir .. "/given.csv", "a,b\n")
  helper.write(dir .. "/with space.csv", "a,b\n")
  helper.open_to_all(dir)
  return dir
end

-- Stages that fail for want of DIR/given.csv, by language, and whether they need Process.
local READERS = {
  { "python", "def execute(i): return open('DIR/given.csv').read()" },
  { "python", "def execute(path):\n  try: return open(path).read()\n"
    .. "  except OSError: raise RuntimeError('cannot load it')" },
  { "python", "import os\ndef execute(i): return os.stat('DIR/given.csv').st_size and "
    .. "open('DIR/given.csv').read()" },
  { "javascript", "function execute() {"
    .. " return require('fs').readFileSync('DIR/given.csv', 'utf8'); }" },
  { "javascript", "import { readFile } from 'node:fs/promises';\n"
    .. "export const execute = () => readFile('DIR/given.csv', 'utf8');" },
  { "bash", "execute() { read -r x < DIR/given.csv; printf '\"%s\\\\n\"' \"$x\"; }" },
  { "bash", "execute() { x=$(cat DIR/given.csv); printf '\"%s\\\\n\"' \"$x\"; }", "Process" },
}

-- The path that a hint says to declare, with its effect.
local function declared(hint)
  local name, path = (hint or ""):match('{ (Fs%a+) = "([^"]+)" }')
  return name and { [name] = path }, path
end

for _, backend in ipairs(helper.backends{ "native", "bwrap", "landlock" }) do
  describe("a file that is not in the sandbox, under " .. backend, function()
    for index, case in ipairs(READERS) do
      it(("is named in the hint, which leads to it (%s, %d)"):format(case[1], index), function()
        local dir = given(helper.tmpdir())
        local request = {
          language = case[1], code = case[2]:gsub("DIR", dir), isolation = backend,
          input = dir .. "/given.csv", effects = { case[3] },
        }
        local _, err = noether.execute(request)
        assert.equal("stage_failed", err.kind, tostring(err))
        local effect, path = declared(err.hint)
        assert.equal(dir .. "/given.csv", path, tostring(err.hint))
        request.effects = case[3] and { case[3], effect } or { effect }
        local output
        output, err = noether.execute(request)
        assert.is_nil(err, tostring(err))
        assert.equal("a,b\n", output)
      end)
    end

    it("may be one to be written", function()
      local dir = helper.open_to_stages(given(helper.tmpdir()))
      local request = {
        language = "python", effects = {}, isolation = backend,
        code = ("def execute(i): return open('%s/new', 'w').write('new')"):format(dir),
      }
      local _, err = noether.execute(request)
      local effect = declared(err.hint)
      assert.same({ FsWrite = dir }, effect, tostring(err.hint))
      request.effects = { effect }
      assert.equal(3, noether.check(noether.execute(request)))
      assert.equal("new", helper.read(dir .. "/new"))
    end)

    it("may be named as from here", function()
      local _, err = noether.execute{
        language = "python", effects = {}, isolation = backend,
        code = "def execute(i): return open('README.md').read()",
      }
      local _, path = declared(err.hint)
      assert.truthy(path and path:find("^/.*/README%.md$"), tostring(err.hint))
      local text = noether.check(noether.execute{
        language = "python", effects = { { FsRead = path } }, isolation = backend, input = path,
        code = "def execute(path): return open(path).read()",
      })
      assert.equal(helper.read("README.md"), text)
    end)
  end)
end

describe("the hint at a path", function()
  local function hint(said, code, sandbox)
    return absent.hint(said, code or "", sandbox or { ro_binds = {}, rw_binds = {} })
  end

  local says = {
    "No such file or directory: '%s'", "ENOENT: no such file or directory, open '%s'",
    "cat: %s: No such file or directory", 'cannot open "%s"', "Permission denied: '%s'",
    "%s: Permission denied", "unable to open %s", "cannot access '%s': No such file or directory",
    "File %s does not exist", "Can't open perl script \"%s\": No such file or directory",
    "failed to open stream: No such file or directory in x on %s",
  }
  for _, text in ipairs(says) do
    it("is found in: " .. text, function()
      local path = given(helper.tmpdir()) .. "/given.csv"
      assert.same({ FsRead = path }, (declared(hint(text:format(path)))))
    end)
  end

  it("finds a name with blanks", function()
    local path = given(helper.tmpdir()) .. "/with space.csv"
    assert.same({ FsRead = path }, (declared(hint(("No such file or directory: '%s'")
      :format(path)))))
    assert.same({ FsRead = path }, (declared(hint(("cat: %s: No such file or directory")
      :format(path)))))
  end)

  it("takes it from the code where the failure names none", function()
    local path = given(helper.tmpdir()) .. "/given.csv"
    assert.same({ FsRead = path }, (declared(hint("unable to open database file",
      ("connect('%s')"):format(path)))))
  end)

  it("is not given where the sandbox shows the path, or the machine has none", function()
    local path = given(helper.tmpdir()) .. "/given.csv"
    local text = "No such file or directory: '%s'"
    local dir = path:match("^(.*)/")
    assert.is_nil(hint(text:format(path), "", { ro_binds = { { source = dir, target = dir } } }))
    assert.is_nil(hint(text:format(path), "", { rw_binds = { { source = dir, target = dir } } }))
    for _, other in ipairs{ "/nowhere/at/all", "/proc/self/maps", "/dev/null", "/sys", "/",
      "/tmp/not-there-at-all", "x-not-there" } do
      assert.is_nil(hint(text:format(other)), other)
    end
  end)

  it("is not given for a failure of another sort", function()
    local path = given(helper.tmpdir()) .. "/given.csv"
    assert.is_nil(hint(("line 3 of '%s' is no JSON"):format(path)))
  end)

  it("follows a link that the sandbox shows to what it does not", function()
    local dir = given(helper.tmpdir())
    os.execute(("mkdir %s/usr && ln -s %s/given.csv %s/usr/link"):format(dir, dir, dir))
    local text = ("Permission denied: '%s/usr/link'"):format(dir)
    local usr = { source = dir .. "/usr", target = dir .. "/usr" }
    local found = hint(text, "", { ro_binds = { usr } })
    assert.same({ FsRead = dir .. "/given.csv" }, (declared(found)))
  end)

  it("leaves a stage alone that has its directory from the caller", function()
    local text = "No such file or directory: 'README.md'"
    assert.is_not_nil(hint(text))
    assert.is_nil(hint(text, "", { has_own_directory = true }))
  end)

  it("needs little time for much text", function()
    local before = os.clock()
    for _, piece in ipairs{ "No such file '/", "/ : ", "'", "x: /", "a: P" } do
      hint("No such file" .. piece:rep(1e5), piece:rep(1e5))
    end
    assert.is_true(os.clock() - before < 5)
  end)
end)
