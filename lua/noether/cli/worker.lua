-- SPDX-License-Identifier: MIT
--- `noether worker`: runs stages for callers on other machines.
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local queue = require "noether.cli.queue"
local report = require "noether.fleet.report"
local settings = require "noether.cli.settings"
local sys = require "noether.sys"
local values = require "noether.cli.values"
local workers = require "noether.fleet.worker"

local M = {
  name = "worker", summary = "run stages that others queue on a Redis server",
  about = "Take stages from a queue on a Redis server, run each in a sandbox of this machine's, "
    .. "and give the answers back. What they may do is said here and nowhere else: without any "
    .. "--effect they can only compute. It goes on until SIGTERM or SIGINT, then takes no more and "
    .. "ends what it runs; a second one ends it at once. docs/fleet.md has the rest.",
  options = {},
  examples = {
    { "noether worker --url-file /etc/fleet.url --key-file /etc/fleet.key",
      "as many jobs at once as there are processors" },
    { "noether worker --url rediss://db.example --effect Process --limit memory=1G",
      "over TLS, with rules of this machine" },
  },
}

for _, option in ipairs(queue.OPTIONS) do
  M.options[#M.options + 1] = option
end
for _, option in ipairs{
  { name = "--jobs", value = "N", convert = values.count,
    about = "how many stages run at once (default: the processors)" },
  { name = "--effect", value = "EFFECT", convert = values.effect, many = true,
    about = "what stages may do: Network, Process, Unknown, FsRead=PATH, FsWrite=PATH" },
  { name = "--timeout", value = "TIME", convert = values.seconds,
    about = "longest deadline of a stage (default: 300)" },
  { name = "--warm", about = "start interpreters ahead: the next stage finds one that waits" },
  flags.limit, flags.env, flags.isolation,
  { name = "--require-isolation", about = "refuse to run without a sandbox" },
  flags.runtime, flags.policy_path, flags.grant, flags.store,
  { name = "--drain", value = "TIME", convert = values.seconds,
    about = "how long what runs may go on after SIGTERM (default: 30)" },
  { name = "--dead-after", value = "TIME", convert = values.seconds,
    about = "after how long without a heartbeat a worker is dead, to the others (default: 15)" },
  { name = "--name", value = "NAME", about = "the worker's name (default: made of the host's)" },
  { name = "--health-file", value = "FILE", convert = values.path_to_be,
    about = "a file that is written anew while all is well, and else not" },
  { name = "--metrics-file", value = "FILE", convert = values.path_to_be,
    about = "figures for the node exporter of Prometheus, in a file *.prom" },
} do
  M.options[#M.options + 1] = option
end

local DEFAULT_TIMEOUT_SECS = 300

local function new_executor(context)
  local given = context.given
  local store, err = settings.open_store(context, false)
  if not store then return nil, err end
  given.timeout = given.timeout or DEFAULT_TIMEOUT_SECS
  return settings.executor(context, store, {
    allow_effects = given.effect or {}, require_isolation = given.require_isolation,
    warm = given.warm,
  })
end

local function serve(worker, signals, reports)
  local signal = signals.watch()
  reports:started()
  while not worker:step() do
    if signals.came() then
      worker:stop()
      reports:stopping()
    end
    local secs, fds = reports:step(), worker:pollfds()
    fds[#fds + 1] = signal
    sys.poll(fds, math.min(worker:timeout(), secs), {})
  end
  reports:close()
end

--- Do it.
function M.run(context)
  local given = context.given
  local opts, err = queue.read(given)
  if not opts then return nil, err end
  opts.executor, err = new_executor(context)
  if not opts.executor then return nil, err end
  opts.jobs, opts.name, opts.drain_secs, opts.dead_secs = given.jobs, given.name, given.drain,
    given.dead_after
  opts.log = context.console:listener()
  local ok, worker
  ok, worker, err = pcall(workers.new, opts)
  if not ok then
    return nil, { usage = true, message = (tostring(worker):gsub("^.-worker: ", "")) }
  end
  if not worker then return nil, err end
  context.own(worker)
  serve(worker, require "noether.signals", report.new(worker, {
    health_file = given.health_file, metrics_file = given.metrics_file,
    notify = context.environ.NOTIFY_SOCKET, watchdog_usec = context.environ.WATCHDOG_USEC,
  }))
  if worker.failed then return nil, worker.failed end
  return exits.OK
end

return M
