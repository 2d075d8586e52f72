-- SPDX-License-Identifier: MIT
-- What `make` does first: see that all is there, and have the package manager bring what is not.
local helper = require "spec.support.helper"

describe("tools/build/deps.sh", function()
  local dir

  -- A machine that has nothing but these programs; the user is none that may install.
  local function program(name, text)
    helper.write(("%s/%s"):format(dir, name), "#!/bin/sh\n" .. text)
    helper.shell(("chmod 755 %s/%s"):format(dir, name))
  end

  before_each(function()
    dir = helper.tmpdir()
    for _, name in ipairs{ "sh", "awk", "cat", "env", "grep", "head", "mktemp", "rm", "sed", "tail",
        "tee" } do
      helper.shell(("ln -s $(command -v %s) %s/%s"):format(name, dir, name))
    end
    program("id", "echo 61234")
    program("sudo", 'exec "$@"')
    program("dpkg-query", "exit 1")
    program("sleep", ("echo \"slept $1\" >>%s/slept"):format(dir))
  end)

  local function deps(goal)
    return helper.shell(("cd %s && env -i PATH=%s sh tools/build/deps.sh %s"):format(
      helper.quote(helper.root), dir, goal or "docs"))
  end

  local APT = [[
echo "apt-get $*" >>%s/calls
case $2 in install)
  echo 'The following NEW packages will be installed:'
  echo '0 upgraded, 21 newly installed, 0 to remove and 3 not upgraded.'
  echo 'Need to get 34.5 MB of archives.'
  i=0; while [ $i -lt 21 ]; do i=$((i + 1)); echo "Unpacking p$i (1.0) ..."; done
  i=0; while [ $i -lt 21 ]; do i=$((i + 1)); echo "Setting up p$i (1.0) ..."; done;;
esac
]]

  it("shows what goes on while it installs", function()
    program("apt-get", APT:format(dir))
    local output, code = deps()
    assert.equal(0, code, output)
    assert.matches("deps: lua%-ldoc is missing: makes HTML", output)
    for _, line in ipairs{ "fetching 34.5 MB", "unpacking 1 of 21: p1", "unpacking 11 of 21: p11",
      "unpacking 21 of 21: p21", "setting up 21 of 21: p21" } do
      assert.truthy(output:find("deps: " .. line .. "\n", 1, true), output)
    end
    assert.is_nil(output:find("NEW packages", 1, true))
    local calls = helper.read(dir .. "/calls")
    assert.matches("^apt%-get %-y update\napt%-get %-y install .*lua%-ldoc", calls)
  end)

  it("waits for another package manager's lock, and says for whom", function()
    program("apt-get", ([[
if [ ! -e %s/tries ]; then echo 1 >%s/tries
  echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)' >&2
  exit 100
elif [ "$(cat %s/tries)" = 1 ] && [ "$2" = install ]; then echo 2 >%s/tries
  echo 'E: Could not get lock /var/lib/dpkg/lock-frontend - open (11)' >&2
  exit 100
fi
]]):format(dir, dir, dir, dir) .. APT:format(dir))
    local output, code = deps()
    assert.equal(0, code, output)
    assert.truthy(output:find(
      "deps: another package manager, process 812 (apt-get), is at work: waiting for it\n", 1,
      true),
      output)
    assert.truthy(output:find("deps: another package manager is at work", 1, true), output)
    assert.equal("slept 5\nslept 5\n", helper.read(dir .. "/slept"))
  end)

  it("repeats what the package manager says where it fails for another reason", function()
    program("apt-get", "echo 'E: Unable to locate package nonesuch' >&2; exit 100")
    local output, code = deps()
    assert.equal(1, code)
    assert.matches("Unable to locate package nonesuch", output)
    assert.matches("deps: apt%-get failed\n$", output)
    assert.is_nil(output:find("waiting", 1, true))
  end)

  it("says at once of a system that is too old", function()
    program("apt-get", APT:format(dir))
    local function on(release)
      helper.write(dir .. "/os-release", release)
      return helper.shell(("cd %s && env -i PATH=%s DEPS_OS_RELEASE=%s sh tools/build/deps.sh docs")
        :format(helper.quote(helper.root), dir, dir .. "/os-release"))
    end
    for _, old in ipairs{ 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11"\n',
        'ID=ubuntu\nVERSION_ID="20.04"\nPRETTY_NAME="Ubuntu 20.04"\n' } do
      local output, code = on(old)
      assert.equal(1, code)
      assert.matches("\ndeps: %S+ [^\n]+ is too old", output)
      assert.is_nil(io.open(dir .. "/calls"))
    end
    for _, new in ipairs{ 'ID=debian\nVERSION_ID="12"\n', 'ID=debian\nVERSION_ID="13"\n',
        "ID=debian\n", 'ID=ubuntu\nVERSION_ID="24.04"\n', "ID=devuan\n", "" } do
      local output, code = on(new)
      assert.equal(0, code, output)
    end
  end)

  it("says nothing where nothing is missing", function()
    program("dpkg-query", [[
while [ $# -gt 0 ]; do case $1 in -*|*' '*) ;; *) echo "$1 installed";; esac; shift; done]])
    program("apt-get", "exit 100")
    local output, code = deps()
    assert.equal("", output)
    assert.equal(0, code)
  end)
end)
