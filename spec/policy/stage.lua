-- SPDX-License-Identifier: MIT
--- Runs a wrapped stage with this machine's interpreter, as the executor would, but by the shell:
-- for the specs of the languages.
local helper = require "spec.support.helper"
local assert = require "luassert"
local json = require "noether.json"
local process = require "noether.process"
local tables = require "noether.tables"

local M = {}

local DRIVER = [[
{ { timeout 60 "$@" <"$DIR/in"; echo $? >"$DIR/status"; } 2>&1 1>&3 3>&- |
  { sleep "$LATE"; cat >"$DIR/err"; }
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

local function wait_until_ready(proc, is_ready)
  assert(helper.poll(function()
    proc:step()
    return is_ready()
  end, 60), "it is not ready")
end

-- SPEC_START=spare: by an interpreter that was started ahead, and gets its request as the policy
-- says.
local function run_ahead(language, script, argv, env, dir, input)
  local code, by_channel, ready = script.files[script.own], language.ahead == "channel", false
  helper.remove(dir .. "/" .. script.own)
  local proc = assert(process.launch(argv, {
    env = env, cwd = dir, wait_secs = 60, takes_input = not by_channel,
    max_frame_bytes = by_channel and 4096 or nil,
    on_frame = by_channel and function(frame) ready = frame:find('"ready"', 1, true) end or nil,
  }))
  if by_channel then wait_until_ready(proc, function() return ready end) end
  helper.write(dir .. "/" .. script.own, code)
  assert(proc:begin{
    input = not by_channel and input or nil, timeout_secs = 60,
    frame = by_channel and ('{"type":"run","input":%s}'):format(input) or nil,
  })
  local result = assert(proc:wait())
  proc:close()
  return {
    out = result.stdout, err = result.stderr, answer = json.decode(result.stdout),
    status = result.exit_code or 128 + process.signal_number(result.signal),
  }
end

-- A host sends nothing that is no JSON.
local function begins_ahead(opts, input)
  return os.getenv "SPEC_START" == "spare" and not (opts.path or opts.late_secs or opts.calls)
    and json.check(input or "null") ~= nil
end

--- A function that runs stages of a language.
-- @tparam table language
-- @treturn function (code, input text, options for wrap) -> `out`, `err`, `status`, and `answer`:
-- the output decoded, or nil; from the interpreter given as `path` in the options, if there is one;
-- who reads the standard error begins `late_secs` late
function M.runner(language)
  local runtime
  return function(code, input, opts)
    opts = opts or {}
    runtime = runtime or M.probe(language)
    local dir = helper.tmpdir()
    local is_ahead = begins_ahead(opts, input)
    local script = assert(language.wrap(code, is_ahead
      and tables.merged(opts, { ahead = { imports = {} } }) or opts))
    for name, text in pairs(script.files) do
      helper.write(dir .. "/" .. name, text)
    end
    helper.write(dir .. "/in", (input or "null") .. "\n")
    local interpreter = opts.path and { path = opts.path } or runtime
    if is_ahead then
      return run_ahead(language, script, language.argv(interpreter, dir .. "/" .. script.entry),
        tables.merged({ PATH = "/usr/bin:/bin" }, language.env(interpreter, {})), dir,
        (input or "null") .. "\n")
    end
    local argv = environment(language.env(interpreter, {}))
    table.move(language.argv(interpreter, dir .. "/" .. script.entry), 1, 20, #argv + 1, argv)
    helper.shell(("cd %s; DIR=%s; LATE=%g; set -- %s; %s"):format(dir, dir, opts.late_secs or 0,
      quoted(argv), DRIVER))
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
