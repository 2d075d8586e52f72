-- SPDX-License-Identifier: MIT
--- Runs a wrapped stage with this machine's interpreter, as the executor would, but by the shell:
-- for the specs of the languages.
local helper = require "spec.helper"
local assert = require "luassert"
local json = require "noether.json"

local M = {}

local DRIVER = [[
{ { "$@" <"$DIR/in"; echo $? >"$DIR/status"; } 2>&1 1>&3 3>&- | cat >"$DIR/err"
} 3>&1 | cat >"$DIR/out"
]]

local function quoted(argv)
  local words = {}
  for i, word in ipairs(argv) do
    words[i] = helper.quote(word)
  end
  return table.concat(words, " ")
end

--- What the probe of a language says of this machine's interpreter.
-- @tparam table language
-- @treturn table path, version, dirs
function M.probe(language)
  local argv = { language.runtime.programs[1] }
  for _, argument in ipairs(language.runtime.probe) do
    argv[#argv + 1] = argument
  end
  local said, code = helper.shell("PATH=/usr/bin:/usr/local/bin:$PATH " .. quoted(argv))
  assert(code == 0, said)
  return assert(json.decode(said))
end

local function environment(variables)
  local words = { "env", "-i", "PATH=/usr/bin:/bin" }
  for name, value in pairs(variables) do
    words[#words + 1] = name .. "=" .. value
  end
  return words
end

--- A function that runs stages of a language.
-- @tparam table language
-- @treturn function (code, input text, options for wrap) -> `out`, `err`, `status`, and `answer`:
-- the output decoded, or nil; from the interpreter given as `path` in the options, if there is one
function M.runner(language)
  local runtime
  return function(code, input, opts)
    opts = opts or {}
    runtime = runtime or M.probe(language)
    local dir = helper.tmpdir()
    local script = assert(language.wrap(code, opts))
    for name, text in pairs(script.files) do
      helper.write(dir .. "/" .. name, text)
    end
    helper.write(dir .. "/in", (input or "null") .. "\n")
    local interpreter = opts.path and { path = opts.path } or runtime
    local argv = environment(language.env(interpreter, {}))
    table.move(language.argv(interpreter, dir .. "/" .. script.entry), 1, 20, #argv + 1, argv)
    helper.shell(("cd %s; DIR=%s; set -- %s; %s"):format(dir, dir, quoted(argv), DRIVER))
    local out = helper.read(dir .. "/out")
    return {
      out = out, err = helper.read(dir .. "/err"), answer = json.decode(out),
      status = tonumber(helper.read(dir .. "/status")),
    }
  end
end

--- Asserts that a stage answered, and with what text.
function M.answers(result, text)
  assert.equal(0, result.status, result.out .. result.err)
  assert.equal(text .. "\n", result.out)
end

--- Asserts that a stage failed as it should: the error object is the last line of the output.
-- @tparam table result
-- @tparam string kind type of the error
-- @tparam string message what the message holds
-- @tparam[opt] number line
-- @treturn table the error
function M.fails(result, kind, message, line)
  assert.equal(1, result.status, result.out .. result.err)
  local last = result.out:match("([^\n]+)\n$")
  local answer = assert(json.decode(last or ""), result.out .. result.err)
  assert.equal(kind, answer.error.type)
  assert.truthy(answer.error.message:find(message, 1, true),
    ("'%s'\n  lacks '%s'"):format(answer.error.message, message))
  assert.equal(line, answer.error.line)
  assert.equal("string", type(answer.error.traceback))
  assert.truthy(result.err:find(kind, 1, true), "people are told too: " .. result.err)
  return answer.error
end

return M
