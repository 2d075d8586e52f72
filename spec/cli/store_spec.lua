-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"

local CODE = "def execute(input): return input\n"

describe("noether store", function()
  local dir

  before_each(function() dir = command.directory{ ["echo.py"] = CODE } end)

  local function store(verb, ...)
    return { "store", verb, "--store", dir .. "/store", ... }
  end

  it("puts, lists, shows and removes stages", function()
    local id = command.succeed(store("put", dir .. "/echo.py", "--name", "echo",
      "--effect", "Network", "--effect", "FsRead=/usr/share")):match("^(%x+)\n$")
    assert.equal(64, #id)
    assert.equal(id .. "  python  FsRead(/usr/share), Network  echo\n",
      (command.succeed(store "list")))
    assert.equal(CODE, (command.succeed(store("show", "echo", "--code"))))
    assert.equal(("id        %s\nname      echo\nlanguage  python\n"
      .. "effects   FsRead(/usr/share), Network\n\n%s"):format(id, CODE),
      (command.succeed(store("show", id))))
    assert.equal(CODE, command.json(store("show", "echo", "--json")).code)
    assert.equal(id, command.json(store("list", "--json"))[1].id)
    assert.equal("", (command.succeed(store("remove", "echo"))))
    assert.equal("", (command.succeed(store "list")))
  end)

  it("takes code from standard input, and other languages from policies", function()
    local words = store("put", "-", "--language", "lua", "--name", "l",
      "--policy-path", helper.root .. "/examples/policies")
    command.succeed(words, { stdin = "function execute() return 1 end" })
    assert.truthy(command.succeed(store "list"):find(" lua  Unknown  l\n"))
    command.fail(2, store("put", "-", "--language", "lua"), { "unknown language 'lua'" })
  end)

  it("is in NOETHER_STORE, XDG_DATA_HOME or HOME", function()
    local home = helper.tmpdir()
    for place, env in pairs{
      ["/named"] = { NOETHER_STORE = home .. "/named", XDG_DATA_HOME = home .. "/x" },
      ["/data/noether/store"] = { XDG_DATA_HOME = home .. "/data", HOME = home },
      ["/.local/share/noether/store"] = { XDG_DATA_HOME = "relative", HOME = home },
    } do
      local id = command.succeed({ "store", "put", dir .. "/echo.py" }, {
        clear_env = true, env = env,
      }):match("%x+")
      assert.truthy(helper.read(("%s%s/%s.json"):format(home, place, id)))
    end
    command.fail(125, { "store", "list" }, { "HOME is not set", "NOETHER_STORE" },
      { clear_env = true })
  end)

  it("makes nothing to look for what is not there", function()
    assert.equal("", (command.succeed(store "list")))
    assert.equal("[]\n", (command.succeed(store("list", "--json"))))
    command.fail(2, store("show", "none"), { "no stage 'none' in the store" })
    command.fail(2, store("remove", "none"), { "no stage 'none'" })
    assert.same({ "echo.py" }, helper.list(dir))
  end)

  it("tells of a damaged stage, and lists the others", function()
    local id = command.succeed(store("put", dir .. "/echo.py")):match("%x+")
    helper.write(("%s/store/%s.json"):format(dir, ("0"):rep(64)), "{}")
    local result = command.fail(125, store "list", { "damaged" })
    assert.truthy(result.out:find(id, 1, true))
  end)

  it("says what is wrong with a place or a name", function()
    helper.write(dir .. "/file", "")
    command.fail(125, { "store", "put", dir .. "/echo.py", "--store", dir .. "/file" },
      { "not a directory" })
    command.fail(125, { "store", "put", dir .. "/echo.py", "--store", dir .. "/file/x" },
      { "Not a directory" })
    command.fail(2, store("put", dir .. "/echo.py", "--name", ("a"):rep(64)),
      { "looks like an id" })
    command.fail(2, store("put", dir .. "/nowhere.py"), { "cannot read" })
  end)
end)
