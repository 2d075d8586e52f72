-- SPDX-License-Identifier: MIT
--- What a stage's code is made into before it runs, where its language's policy names a compiler.
--
-- The compiler reads the code and writes what is to be run; it runs in a sandbox that shows it the
-- runtime and nothing else, and what it wrote becomes one more file of the script. Its last works
-- are kept in this process.
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local guard = require "noether.sandbox.guard"
local prepare = require "noether.run.prepare"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local MAX_OUTPUT_BYTES = 16 * 1024 * 1024
local MAX_STDERR_BYTES = 64 * 1024
local LIMITS = { memory_bytes = 512 * 1024 * 1024 }

-- Texts by what they were made of, for as long as they are not too many or too large together.
local MAX_KEPT_BYTES = 8 * 1024 * 1024
local kept, kept_bytes = {}, 0

local function recall(key)
  return kept[key]
end

local function remember(key, text)
  if #text > MAX_KEPT_BYTES / 4 or kept[key] then return end
  if kept_bytes + #text > MAX_KEPT_BYTES then kept, kept_bytes = {}, 0 end
  kept[key], kept_bytes = text, kept_bytes + #text
end

local NO_EFFECTS = { list = {}, network = false, process = false, reads = {}, writes = {} }

-- What the compiler may see, described as for a stage that declares nothing.
local function describe(job)
  local called, description = job.policies:call("isolation", "describe", NO_EFFECTS, job.runtime, {
    limits = LIMITS, grants = {}, backend = job.backend,
    in_place = descriptions.sees_host_paths(job.backend), environ = job.executor.environ,
  })
  if not called then return nil, description end
  local judged, err = guard.check(description, {
    effects = NO_EFFECTS, grants = {}, cache_dir = job.cache_dir,
    own_paths = { job.runtime.own_dir }, realpath = sys.realpath,
  })
  if not judged then return nil, err end
  description = descriptions.completed(judged, job.backend)
  description.ro_binds = descriptions.present(description.ro_binds)
  return description
end

local function launch(job, argv, context)
  local description, err = describe(job)
  if not description then return nil, err end
  local sandbox
  if job.backend ~= "none" then
    sandbox = descriptions.of_backend(job.chosen, description)
    sandbox.limits = nil
  end
  return context.launch(argv, {
    env = {}, stdin = job.stage.code, sandbox = sandbox, limits = description.limits,
    max_output_bytes = MAX_OUTPUT_BYTES, max_stderr_bytes = MAX_STDERR_BYTES,
  })
end

-- A mistake in the code is the stage's, in the words of the compiler.
local function refused(job, mistake)
  local called, kind, message, hint = job.policies:call("errors", "classify", {
    source = "stage", reason = "exit", exit_code = 1, stderr = "", stdout = "",
    answer = { error = mistake }, code = job.stage.code,
  })
  if not called then return nil, kind end
  return nil, errors.new{ kind = kind, message = message, hint = hint }
end

local function late(job)
  return errors.new{
    kind = "setup_timed_out", limit = job.call.setup_timeout_secs,
    message = ("compiling the code took longer than %g s"):format(job.call.setup_timeout_secs),
    hint = "raise setup_timeout_secs, or give it less to compile",
  }
end

local function judge(job, argv, result)
  if result.reason == "timeout" then return nil, late(job) end
  if result.reason == "exit" and result.exit_code == 0 then return result.stdout end
  local mistake
  if result.reason == "exit" and job.policies:has(job.module, "mistake") then
    local called
    called, mistake = job.policies:call(job.module, "mistake", result.stderr)
    if not called then return nil, mistake end
  end
  if mistake then return refused(job, mistake) end
  local ended = result.reason == "exit" and ("exit code %d"):format(result.exit_code)
    or result.signal or result.reason
  local err = errors.new{
    kind = "runtime_unavailable", result = result,
    message = ("the compiler %s made nothing of the code (%s): %s"):format(argv[1], ended,
      errors.clean(result.stderr, 200)),
    hint = "the code may be too long or too deeply nested for it; or the compiler does not work",
  }
  return nil, err
end

local function run(job, task, argv, context)
  task:enter("setup", "compile")
  local proc, err = launch(job, argv, context)
  if not proc then return nil, err end
  local result
  result, err = context.await(proc)
  proc:close()
  task:enter("setup", "set-up")
  if not result then return nil, err end
  return judge(job, argv, result)
end

local function made_of(job, wanted)
  return sys.sha256(table.concat({
    job.stage.code, sys.stamp(wanted.argv[1]) or "", table.concat(wanted.argv, "\0"),
  }, "\0\0"))
end

--- The step. Adds a file to the job's script, if the language's policy wants one made.
-- @tparam table job with `runtime` and `chosen`
-- @tparam table task
-- @tparam table context of setup
-- @treturn ?boolean true; or nil and an error (`stage_failed`: the compiler refuses the code;
-- `setup_timed_out`; `runtime_unavailable`: this runtime runs no such code, or the compiler does
-- not work)
-- @treturn ?table
function M.compile(job, task, context)
  if not job.policies:has(job.module, "compile") then return true end
  local called, wanted, reason = job.policies:call(job.module, "compile", job.runtime)
  if not called then return nil, wanted end
  if not wanted and not reason then return true end
  if not wanted then
    return nil, errors.new{
      kind = "runtime_unavailable", message = reason, hint = job.language.runtime.install,
    }
  end
  local key = made_of(job, wanted)
  local text, err = recall(key), nil
  if not text then text, err = run(job, task, wanted.argv, context) end
  if not text then return nil, err end
  remember(key, text)
  job.script = {
    entry = job.script.entry, files = tables.merged(job.script.files, { [wanted.file] = text }),
    own = job.script.own, made = wanted.file,
  }
  return prepare.write_script(job, task)
end

return M
