-- SPDX-License-Identifier: MIT
--- Carries a plan out on this machine, in a process of its own.
-- A transport takes a plan, and beside it what no plan says: the values of the caller's variables,
-- and who listens. It asks nobody else, so what was planned is what runs.
local calls = require "noether.run.calls"
local conversation = require "noether.run.conversation"
local descriptions = require "noether.sandbox.description"
local outputs = require "noether.run.outputs"
local process = require "noether.process"
local tables = require "noether.tables"

local M = {}

--- So long may a frame be that says that a process is ready.
M.READY_BYTES = 65536

-- Those of a plan that hold for the tree of processes.
local function limits_of(plan)
  local limits = {}
  for name in pairs(descriptions.LIMITS) do
    limits[name] = plan.limits[name]
  end
  return limits
end

-- What is said of a process when it is started.
local function of_process(plan, private)
  local sandbox = plan.sandbox
  return {
    env = tables.merged(plan.env, private.env),
    cwd = descriptions.sees_host_paths(sandbox.backend) and plan.work_dir or nil,
    sandbox = (sandbox.backend ~= "none" or sandbox.private) and sandbox or nil,
    limits = limits_of(plan),
    launcher = private.launcher,
  }
end

-- And of its request.
local function of_request(plan, private)
  local limits = plan.limits
  return {
    timeout_secs = private.timeout_secs or limits.timeout_secs,
    max_output_bytes = limits.max_output_bytes or math.huge,
    max_stderr_bytes = limits.max_stderr_bytes or math.huge,
  }
end

--- What a launch is told of a plan, but for who listens to what.
-- @tparam Plan plan
-- @tparam table private as of @{start}
-- @treturn table options of `process.launch`
function M.options(plan, private)
  local opts = tables.merged(of_process(plan, private), of_request(plan, private))
  opts.stdin, opts.hold_secs = plan.stdin, plan.outputs and outputs.HOLD_SECS or nil
  opts.on_network = private.on_network
  return opts
end

local function launch(plan, private, task, listener)
  local opts = M.options(plan, private)
  opts.on_stderr, opts.on_frame = private.on_stderr, listener
  opts.max_frame_bytes = listener and calls.frame_bytes(plan.limits) or nil
  return task:launch(plan.argv, opts)
end

-- What hears the calls of a stage, if it makes any.
local function listener_of(own)
  return own and function(frame)
    own:take(frame)
    return own:has_room()
  end
end

--- Start what a plan says. It is over when the process is.
-- @tparam Plan plan
-- @tparam table private `env` (variables whose names are the plan's `secrets`), `on_stderr`,
-- `on_network`,
-- `launcher`, `calls` (where the plan has any: what answers them), `outputs` (likewise: what is to
-- become of them), `timeout_secs` (if it is less than the plan's)
-- @tparam table task what launches it
-- @treturn ?table what `task:await` takes; or nil and an error
-- @treturn ?table
function M.start(plan, private, task)
  local own = private.calls
  local started, err = launch(plan, private, task, listener_of(own))
  if not started then return nil, err end
  local running = own and conversation.new(started, own, task:own_poller(), true) or started
  return plan.outputs and outputs.new(running, started, private.outputs) or running
end

--- Start what makes copies of itself for runs of a plan.
-- @tparam Plan plan
-- @tparam table private `env`, `launcher`
-- @tparam table opts of `process.launch`: `fork`, `on_stdout`
-- @treturn ?table the process; or nil and an error
-- @treturn ?table
function M.start_server(plan, private, opts)
  return process.launch(plan.argv, tables.merged(tables.merged(of_process(plan, private), opts), {
    max_output_bytes = M.READY_BYTES, max_stderr_bytes = M.READY_BYTES,
  }))
end

--- Start what a plan says ahead of its request: all but its input, and what counts from there.
-- @tparam Plan plan
-- @tparam table private `env`, `launcher`
-- @tparam table opts of `process.launch`: `wait_secs`, `takes_input`, `on_frame`
-- @treturn ?table the process; or nil and an error
-- @treturn ?table
function M.start_ahead(plan, private, opts)
  local most = plan.calls and calls.frame_bytes(plan.limits) or 0
  return process.launch(plan.argv, tables.merged(tables.merged(of_process(plan, private), opts), {
    max_frame_bytes = opts.on_frame and math.max(most, M.READY_BYTES) or nil,
  }))
end

--- Give a process that was started ahead its request.
-- @tparam Plan plan
-- @tparam table private as of `start`
-- @tparam table task whose it is from now on
-- @tparam table running of `start_ahead`
-- @tparam table request `input` or `frame`
-- @treturn ?table as of `start`; or nil and an error: it can only be closed
-- @return an error; or what hears the frames that it sends, nil if nobody does
function M.begin(plan, private, task, running, request)
  local poller, err = task:own_poller()
  if not poller then return nil, err end
  local ok
  ok, err = running:begin(tables.merged(tables.merged(of_request(plan, private), request), {
    poller = poller, on_stderr = private.on_stderr,
  }))
  if not ok then return nil, err end
  local own = private.calls
  if not own then return running end
  return conversation.new(running, own, poller, true), listener_of(own)
end

return M
