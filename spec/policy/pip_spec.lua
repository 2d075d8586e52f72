-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local pip = require "noether.policy.pip"

local HASH = " --hash=sha256:" .. ("0aF9"):rep(16)

-- Calls `fn` with fields of the policy set, and puts them back.
local function with(fields, fn)
  local before = {}
  for name, value in pairs(fields) do
    before[name] = pip[name]
    pip[name] = value
  end
  local ok, message = pcall(fn)
  for name in pairs(fields) do
    pip[name] = before[name]
  end
  if not ok then error(message, 0) end
end

describe("pip.check", function()
  local accepted = {
    "pandas==2.0.0", "scikit-learn==1.5.1", "pydantic==2.5.0+cu121", "a==1", "zope.interface==6.1",
    "Jinja2==3.1.4", "x==1!2.0-rc.1", "six==1.16.0" .. HASH, "six==1.16.0" .. HASH .. HASH,
  }
  for _, spec in ipairs(accepted) do
    it("takes " .. spec:sub(1, 40), function()
      assert.is_true(pip.check(spec))
    end)
  end

  local refused = {
    { "pandas", "it is not pinned" },
    { "", "it is not pinned" },
    { "==1.0", "it has no name" },
    { "pkg==", "it has no version" },
    { "pandas; rm -rf /", "it holds a blank" },
    { "pandas==$(whoami)", "its version holds something other" },
    { "pandas==`id`", "its version holds something other" },
    { "https://example.org/x.whl", "it is not pinned" },
    { "git+https://example.org/x", "it is not pinned" },
    { "x@https://example.org/x==1", "its name holds something other" },
    { "pkg with space==1.0", "it holds a blank" },
    { "pkg==1.0 && echo", "it holds a blank" },
    { "-r==1.0", "must begin and end with a letter or a digit" },
    { "--index-url==x", "must begin and end" },
    { ".==1.0", "must begin and end" },
    { "a-==1.0", "must begin and end" },
    { "pkg[extra]==1.0", "an extra: list what that brings" },
    { "pkg>=1.0", "it is not pinned" },
    { "pkg===1.0", "its version holds something other" },
    { "pkg==1.*", "its version holds something other" },
    { "pkg==1.0\n-r/etc/passwd", "its version holds something other" },
    { "pkg==1.0\0", "its version holds something other" },
    { "p\0kg==1.0", "its name holds something other" },
    { "раndas==2.0.0", "its name holds something other" },
    { "pandas==２.0", "its version holds something other" },
    { ("a"):rep(129) .. "==1", "its name is too long" },
    { "a==" .. ("1"):rep(129), "its version is too long" },
    { "six==1.0 --hash=sha256:00", "a hash is written" },
    { "six==1.0 --hash=md5:" .. ("0"):rep(64), "a hash is written" },
    { "six==1.0" .. HASH .. " --index-url=x", "it holds a blank" },
    { "six==1.0" .. HASH .. "0", "a hash is written" },
  }
  for _, case in ipairs(refused) do
    it(("refuses %q"):format(case[1]:sub(1, 40)), function()
      local ok, reason = pip.check(case[1])
      assert.is_nil(ok)
      assert.truthy(reason:find(case[2], 1, true), reason)
    end)
  end

  it("takes names without a version if asked to, by the same rule for names", function()
    local opts = { allow_unpinned = true }
    assert.is_true(pip.check("pandas", opts))
    assert.is_true(pip.check("pandas==2.0.0", opts))
    assert.is_true(pip.check("pandas >=2, <3", opts))
    for _, spec in ipairs{ "pandas>2;x", "pandas=>2", "pandas>=2 -r x", "pandas>=", "pandas>=2,",
        ">=2", "pandas>=/etc", "a b>=1", "pandas[x]>=1", "-r",
        "a b", "", "x;y", "six" .. HASH, "==1" } do
      assert.is_nil(pip.check(spec, opts), spec)
    end
  end)

  it("says of a marker what it is", function()
    local _, reason = pip.check("six==1.0; python_version < '3'")
    assert.truthy(reason:find("it has a marker", 1, true))
  end)

  it("tells the name of an entry and which versions will do", function()
    for spec, expected in pairs{
      ["Six"] = { "six" }, ["a_b == 1.0"] = { "a-b", "==1.0" },
      ["a[x,y]>=1, <2"] = { "a", ">=1,<2" }, ["six==1.0" .. HASH] = { "six", "==1.0" },
    } do
      assert.same(expected, { pip.wanted(spec) })
    end
  end)

  it("asks pip what it would install, by the command that the policy has for it", function()
    local argv = pip.lock_argv("/usr/bin/python3", { "six" }, { file = "/f", report = "/r" })
    local line = table.concat(argv, " ")
    assert.truthy(line:find("--dry-run --ignore-installed --report=/r --only-binary=:all: "
      .. "--requirement=/f -- six", 1, true), line)
    with({ installer = { venv = {}, install = {} } }, function()
      local found, reason = pip.lock_argv("/usr/bin/python3", { "six" }, { file = "/f" })
      assert.is_nil(found)
      assert.equal("string", type(reason))
    end)
  end)

  it("holds to a list of allowed packages, compared as PEP 503 says", function()
    with({ allow = { "Zope_Interface", "six==1.16.0" } }, function()
      assert.is_true(pip.check("zope.interface==6.1"))
      assert.is_true(pip.check("six==1.16.0"))
      local ok, reason = pip.check("six==1.15.0")
      assert.is_nil(ok)
      assert.truthy(reason:find("list of allowed packages", 1, true))
      assert.is_nil(pip.check("pandas==2.0.0"))
    end)
  end)

  it("takes a set for a list", function()
    with({ allow = { six = true, yaml = false } }, function()
      assert.is_true(pip.check("six==1.16.0"))
      assert.is_nil(pip.check("yaml==1.0"))
    end)
  end)

  it("denies what is denied, allowed or not", function()
    with({ allow = { "six" }, deny = { "SIX==1.15.0", "evil" } }, function()
      assert.is_true(pip.check("six==1.16.0"))
      local ok, reason = pip.check("six==1.15.0")
      assert.is_nil(ok)
      assert.equal("the policy denies it", reason)
    end)
  end)
end)

describe("pip.requirements", function()
  local cases = {
    { "def execute(i): return i", {} },
    { "# requires: six==1.16.0", { "six==1.16.0" } },
    { "x = 1\n  \t# requires:six==1.16.0 ,  a==1\r\n", { "six==1.16.0", "a==1" } },
    { "# requires:\n# requires: , ,\n# requires: a==1\n# requires: b==2", { "a==1", "b==2" } },
    { "# requires: a==1\nimport a\n# requires: b==2, c==3\n", { "a==1", "b==2", "c==3" } },
    { "\239\187\191# requires: a==1\nimport a", { "a==1" } },
    { "\239\187\191  # requires: a==1", { "a==1" } },
    { "\239\187\191'''\n# requires: a==1'''\n# requires: b==2", { "b==2" } },
    { "'''\n# requires: a==1\n'''", {} },
    { '"""Doc.\n\n# requires: a==1\n"""\n# requires: b==2', { "b==2" } },
    { "x = 'it\\'s'\n# requires: a==1", { "a==1" } },
    { "x = r'\\'\n# requires: a==1", { "a==1" } },
    { "# it's\n# requires: a==1", { "a==1" } },
    { 'x = "\\\n# requires: a==1"', {} },
    { "x = \"'''\"\n# requires: a==1", { "a==1" } },
    { "x = f\"{'a'}\" '''\n# requires: a==1\n''' ''\n# requires: b==2", { "b==2" } },
    { "'''a''' '''\n# requires: a==1\n", {} },
    { "x = 1 # requires: a==1", {} },
    { "# Requires: a==1\n#requires: a==1", {} },
    { "# requires: a==1,,b==2,", { "a==1", "b==2" } },
    { "# requires: a==1" .. HASH .. ", b==2" .. HASH, { "a==1" .. HASH, "b==2" .. HASH } },
  }
  for index, case in ipairs(cases) do
    it(("reads comment %d: %s"):format(index, case[1]:sub(1, 30)), function()
      local list, rejected = pip.requirements(case[1])
      assert.same(case[2], list)
      assert.is_nil(rejected)
    end)
  end

  it("refuses a stage with a bad entry, naming each", function()
    local list, rejected = pip.requirements("# requires: a==1, b, c==1; id")
    assert.is_nil(list)
    assert.same({
      { spec = "b", reason = "it is not pinned: write name==version" },
      { spec = "c==1; id", reason = "it holds a blank" },
    }, rejected)
  end)

  it("drops bad entries if the policy says so", function()
    with({ on_invalid = "drop" }, function()
      local list, rejected = pip.requirements("# requires: a==1, b")
      assert.same({ "a==1" }, list)
      assert.equal("b", rejected[1].spec)
      list, rejected = pip.requirements("# requires: b")
      assert.same({}, list)
      assert.equal(1, #rejected)
    end)
  end)

  it("passes allow_unpinned on", function()
    assert.same({ "a" }, pip.requirements("# requires: a", { allow_unpinned = true }))
  end)

  it("refuses a package named twice, however it is spelt", function()
    local list, rejected = pip.requirements("# requires: a-b==1, A_b==2")
    assert.is_nil(list)
    assert.same({ { spec = "A_b==2", reason = "the package is named twice" } }, rejected)
  end)

  it("wants hashes for all requirements or for none", function()
    local list, rejected = pip.requirements("# requires: a==1" .. HASH .. ", b==2")
    assert.is_nil(list)
    assert.same({ { spec = "b==2", reason = "either all requirements have hashes or none" } },
      rejected)
  end)

  local large = {
    ["a line of 1 MB"] = "# requires: " .. ("a"):rep(1024 * 1024),
    ["a line of 1 MB of blanks"] = "# requires: a" .. (" "):rep(1024 * 1024) .. "b",
    ["blanks at the bound"] = "# requires: a" .. (" "):rep(65000) .. "b",
    ["10,000 requirements"] = "# requires: " .. ("a==1,"):rep(10000),
    ["300 bad ones"] = "# requires: " .. ("a b,"):rep(250),
  }
  for name, code in pairs(large) do
    it("refuses " .. name .. " in few words and little time", function()
      local before = os.clock()
      local list, rejected = pip.requirements(code)
      assert.is_nil(list)
      local bytes = 0
      for _, item in ipairs(rejected) do
        bytes = bytes + #item.spec + #item.reason
      end
      assert.is_true(#rejected >= 1 and #rejected <= 20)
      assert.is_true(bytes < 4000)
      assert.is_true(os.clock() - before < 2)
    end)
  end

  it("reads 1 MB of code without a line of its own in little time", function()
    local before = os.clock()
    for _, text in ipairs{ "# requires: ", "x# requires: a==1 ", "     ", "# requires:\n" } do
      local list = pip.requirements("x" .. text:rep(80000))
      assert.same({}, list)
    end
    assert.is_true(os.clock() - before < 2)
  end)

  it("shows what was rejected as one printable line", function()
    local _, rejected = pip.requirements("# requires: a\0b\27[31m\200")
    assert.equal("a\\x00b\\x1b[31m\\xc8", rejected[1].spec)
  end)
end)

describe("the installer's command", function()
  it("makes an environment", function()
    assert.same({ "/p/python3", "-I", "-m", "venv", "--without-pip", "--", "/c/venv-1" },
      pip.venv_argv("/p/python3", "/c/venv-1"))
  end)

  local function after(argv, word)
    for index, item in ipairs(argv) do
      if item == word then return table.move(argv, index + 1, #argv, 1, {}) end
    end
  end

  local function has(argv, word)
    return after(argv, word) ~= nil
  end

  it("installs wheels only, requirements after --", function()
    local argv = pip.install_argv("/v/bin/python", { "a==1", "b==2" }, { file = "/t/wanted" })
    assert.same({ "/v/bin/python", "-I", "{pip}", "install" }, table.move(argv, 1, 4, 1, {}))
    assert.is_true(has(argv, "--only-binary=:all:"))
    assert.is_true(has(argv, "--requirement=/t/wanted"))
    assert.same({ "a==1", "b==2" }, after(argv, "--"))
  end)

  it("asks nobody and nothing but what it is told to", function()
    local argv = pip.install_argv("/v/bin/python", { "a==1" })
    for _, word in ipairs{ "--isolated", "--no-input", "--no-cache-dir",
      "--disable-pip-version-check" } do
      assert.is_true(has(argv, word), word)
    end
    assert.equal("/dev/null", pip.env.PIP_CONFIG_FILE)
  end)

  it("has requirements with hashes in the file, and every one must have them", function()
    local argv = pip.install_argv("/v/bin/python", { "a==1" .. HASH }, {
      hashes = true, file = "/t/wanted", only_binary = false,
    })
    assert.is_true(has(argv, "--require-hashes"))
    assert.is_false(has(argv, "--only-binary=:all:"))
    assert.is_false(has(argv, "--"))
    local list = { "a==1" .. HASH }
    assert.equal(list[1] .. "\n", pip.requirements_file(list, { hashes = true }))
  end)

  it("names in the file where to look", function()
    assert.equal("--index-url http://127.0.0.1/\n--extra-index-url https://${TOKEN}@b/simple\n"
      .. "--find-links file:///w/a%20b%24%7BX%7D\n--find-links https://c/\n--trusted-host d\n",
      pip.requirements_file({ "a==1" }, {
        index_url = "http://127.0.0.1/", extra_index_urls = { "https://${TOKEN}@b/simple" },
        find_links = { "/w/a b${X}", "https://c/" }, trusted_hosts = { "d" },
      }))
    assert.equal("--no-index\n--find-links file:///w\n",
      pip.requirements_file({}, { find_links = { "/w" } }))
    assert.equal("\n", pip.requirements_file({}))
  end)

  it("is data: another installer can take pip's place", function()
    with({ installer = {
      venv = { "/bin/uv", "venv", "--python={python}", "{dir}" },
      install = { "/bin/uv", "pip", "install", "{requirements}" },
    } }, function()
      assert.same({ "/bin/uv", "venv", "--python=/p/python%1", "/d" },
        pip.venv_argv("/p/python%1", "/d"))
      assert.same({ "/bin/uv", "pip", "install", "--", "a==1" }, pip.install_argv("/p", { "a==1" }))
    end)
  end)
end)
