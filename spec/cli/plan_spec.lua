-- SPDX-License-Identifier: MIT
local helper = require "spec.support.helper"
local command = require "spec.cli.command"

local STAGES = {
  ["echo.py"] = "def execute(input): return [input, 1.0]\n",
  ["echo.sh"] = 'execute() { printf "%s" "$1"; }\n',
  ["here.sh"] = 'execute() { printf "\\"%s %s\\"" "$PWD" "${TOKEN-}"; }\n',
}

-- What a shell makes of a line, with the command on PATH.
local function shell(line, before)
  return helper.shell(("PATH=%s:$PATH; %s\n%s"):format(
    helper.quote(command.path:match("^(.*)/")), before or "", line))
end

describe("noether plan", function()
  local dir

  setup(function() dir = command.directory(STAGES) end)

  local function file(name) return dir .. "/" .. name end

  it("shows as JSON what would run, and runs nothing", function()
    local plan = command.json{ "plan", file "echo.py", "--input", "[1]", "--timeout", "3" }
    assert.equal("exec", plan.kind)
    assert.equal("[1]\n", plan.stdin)
    assert.equal(3, plan.limits.timeout_secs)
    assert.equal(STAGES["echo.py"], plan.files["stage.py"])
    assert.equal("host", plan.runtime.kind)
    assert.same({}, plan.secrets)
  end)

  it("shows variables by name only", function()
    local out = command.succeed{ "plan", file "echo.py", "--env", "TOKEN=hush" }
    assert.truthy(out:find('"TOKEN"', 1, true))
    assert.falsy(out:find("hush", 1, true))
  end)

  it("looks at nothing for an outline", function()
    local plan = command.json{ "plan", file "echo.py", "--outline" }
    assert.equal("unresolved", plan.runtime.kind)
    assert.equal("python3", plan.argv[1])
    command.fail(2, { "plan", file "echo.py", "--outline", "--shell" }, { "--shell", "--outline" })
  end)

  local BACKENDS = { "none", "native", "bwrap", "landlock" }
  helper.over({ backends = BACKENDS }, "under %s", function(backend)
    it(("writes a line of shell that gives the same answer (%s)"):format(backend), function()
      local input = [[{"text": "it's $HOME \\ \"quoted\" `x` \u00e9"}]]
      for _, name in ipairs{ "echo.py", "echo.sh" } do
        local words = { file(name), "--input", input, "--effect", "Pure", "--isolation", backend }
        local answer = command.json{ "run", table.unpack(words) }
        words[#words + 1] = "--shell"
        local line = command.succeed{ "plan", table.unpack(words) }
        assert.equal(1, select(2, line:gsub("\n", "")))
        local output, code = shell(line)
        assert.equal(0, code, output)
        assert.same(answer, require("noether.json").decode(output), line)
      end
    end)
  end)

  it("takes work directory and secrets into the line", function()
    local work = helper.open_to_stages(helper.tmpdir())
    for _, backend in ipairs{ "none", "native" } do
      local line = command.succeed{ "plan", file "here.sh", "--shell", "--isolation", backend,
        "--work-dir", work, "--env", "TOKEN=hush" }
      assert.falsy(line:find("hush", 1, true), line)
      local place = backend == "none" and work or "/work"
      assert.equal(('"%s told"'):format(place), (shell(line, "export TOKEN=told")))
    end
  end)
end)
