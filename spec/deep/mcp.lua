-- SPDX-License-Identifier: MIT
--- A server of tools that is called for days: 10,000 calls (MCP_CALLS) of every kind leave it no
-- larger than the first thousand did. (In `make check-deep`.)
local command = require "spec.cli.command"
local helper = require "spec.support.helper"
local mcp = require "spec.support.mcp"

local CALLS = tonumber(os.getenv "MCP_CALLS") or 10000
local AT_ONCE = 8
local MAX_GROWTH_KIB = 4 * 1024

local KINDS = {
  { { code = "execute() { echo \"$1\"; }", input = { 1, 2 } }, "%[1,2%]" },
  { { code = "execute() { exit 3; }" }, "^stage_failed: " },
  { { code = "execute() { echo what it says >&2; echo 1; }" }, "^1$" },
  { { code = "execute() { echo x >a; echo 1; }", outputs = { "a" } }, "^1$" },
  { { code = "n=$((n + 1)); echo $n", session = "a" }, "^%d+$" },
  { { code = 5 }, "^input_invalid: " },
}

describe("a server of tools", function()
  it("is after all those calls what it was after the first of them", function()
    local dir = helper.tmpdir()
    local client = mcp.start({ command.path, "mcp", "--language", "bash", "--isolation", "none" },
      { HOME = dir, NOETHER_CACHE_DIR = dir .. "/cache", NOETHER_STORE = dir .. "/store" })
    client:answer(client:ask("ping", nil, 0))
    -- Its supervisor has no other child.
    local supervisor = client.process:pid()
    local children = helper.read(("/proc/%d/task/%d/children"):format(supervisor, supervisor))
    local pid = children:match "%d+"
    local function resident_kib()
      return tonumber(helper.read(("/proc/%s/status"):format(pid)):match("VmRSS:%s*(%d+)"))
    end
    local function descriptors()
      return #helper.list(("/proc/%s/fd"):format(pid))
    end
    local pending, done, next_id = {}, 0, 1
    local function ask()
      local kind = KINDS[(next_id * 7) % #KINDS + 1]
      pending[next_id] = kind
      client:ask("tools/call", { name = "run_bash", arguments = kind[1] }, next_id)
      next_id = next_id + 1
    end
    local before, open
    while done < CALLS do
      while next_id <= CALLS and next_id - done <= AT_ONCE do ask() end
      local answer = assert(client:hear(120))
      local kind, text = pending[answer.id], answer.result.content[1].text
      assert.truthy(text:find(kind[2]) or text:find("^session_busy: "), text)
      pending[answer.id], done = nil, done + 1
      if done == math.floor(CALLS / 10) then before, open = resident_kib(), descriptors() end
    end
    local after = resident_kib()
    print(("resident %d KiB after a tenth, %d at the end"):format(before, after))
    assert.truthy(after - before < MAX_GROWTH_KIB, after - before)
    assert.truthy(descriptors() <= open + AT_ONCE)
    assert.equal(0, client:close().exit_code)
  end)
end)
