-- SPDX-License-Identifier: MIT
--- The command that was built, as a child, for the specs of its verbs.
local helper = require "spec.support.helper"
local assert = require "luassert"
local json = require "noether.json"
local noether = require "noether"

local M = {}

--- The command's path.
M.path = assert(helper.lua):match("^(.*/)") .. "noether"

--- Run it to its end.
-- @tparam {string,...} words
-- @tparam[opt] table opts `stdin`, `env` (variables to add), `clear_env`, `cwd`, `timeout_secs`
-- @treturn table `code` (128+n for a signal), `out`, `err`
function M.run(words, opts)
  opts = opts or {}
  local argv = { M.path }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  local result = assert(noether.run(argv, {
    isolation = "none", stdin = opts.stdin, env = opts.env, clear_env = opts.clear_env,
    cwd = opts.cwd, timeout_secs = opts.timeout_secs or 60,
  }))
  return {
    code = result.exit_code or result.signal, out = result.stdout, err = result.stderr,
  }
end

--- Run it and have its answer; whatever else than `code` it exits with fails the test.
-- @treturn string standard output
-- @treturn string standard error
function M.succeed(words, opts)
  local result = M.run(words, opts)
  assert.equal(0, result.code, result.err)
  return result.out, result.err
end

--- As `succeed`, with the answer decoded.
function M.json(words, opts)
  return assert(json.decode((M.succeed(words, opts))))
end

--- Run what must fail: with this code, saying all of these texts, and no traceback.
-- @treturn table as of `run`
function M.fail(code, words, texts, opts)
  local result = M.run(words, opts)
  local line = table.concat(words, " ")
  assert.equal(code, result.code, line .. "\n" .. result.err)
  for _, text in ipairs(texts) do
    assert.truthy(result.err:find(text, 1, true), ("%s\nsaid: %s\nlacks: %s"):format(
      line, result.err, text))
  end
  assert.falsy(result.err:find("stack traceback", 1, true), result.err)
  assert.falsy(result.err:find("should not have happened", 1, true), result.err)
  return result
end

--- Whether some process of this machine was started with these very words.
-- @tparam {string,...} words
-- @treturn boolean
function M.running(words)
  local line = table.concat(words, "\0") .. "\0"
  for _, pid in ipairs(helper.list "/proc") do
    local file = pid:find("^%d+$") and io.open(("/proc/%s/cmdline"):format(pid), "rb")
    if file then
      local found = file:read "a"
      file:close()
      if found == line then return true end
    end
  end
  return false
end

--- Write files into a new directory.
-- @tparam {[string]=string} files texts by name
-- @treturn string the directory
function M.directory(files)
  local dir = helper.tmpdir()
  for name, text in pairs(files) do
    helper.write(dir .. "/" .. name, text)
  end
  return dir
end

return M
