-- SPDX-License-Identifier: MIT
--- What a worker tells the machine that it runs on: systemd (sd_notify(3), by a datagram), a file
-- that says that it is well, and figures for the node exporter of Prometheus.
--
-- It is well while it has a connection, and steps: the file and the watchdog are both fed from
-- here.
local sys = require "noether.sys"
local wire = require "noether.fleet.wire"

local M = {}

local Report = {}
local metatable = { __index = Report }

local EVERY_SECS = 5

--- @tparam table worker
-- @tparam table places `health_file`, `metrics_file`, `notify` (a socket's path), `watchdog_usec`
-- @treturn table
function M.new(worker, places)
  local watchdog = tonumber(places.watchdog_usec)
  return setmetatable({
    worker = worker, places = places, written = -math.huge, fed = -math.huge,
    feed_secs = watchdog and watchdog / 1e6 / 3 or math.huge,
  }, metatable)
end

local function notify(self, text)
  local path = self.places.notify
  if path and path ~= "" then wire.notify(path, text) end
end

--- @local
function Report:started()
  notify(self, "STATUS=connecting\n")
end

--- @local
function Report:stopping()
  notify(self, "STOPPING=1\nSTATUS=draining\n")
end

local function label(text)
  return (text:gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }))
end

-- Labels of runs have no more values than there are languages, outcomes and starts.
local function run_lines(lines, runs)
  lines[#lines + 1] = "# TYPE noether_runs_total counter"
  for _, run in pairs(runs) do
    lines[#lines + 1] = ('noether_runs_total{language="%s",outcome="%s",start="%s"} %d'):format(
      label(run.language), label(run.outcome), label(run.start), run.count)
  end
  lines[#lines + 1] = "# TYPE noether_run_seconds summary"
  for _, run in pairs(runs) do
    local labels = ('{language="%s",outcome="%s",start="%s"}'):format(label(run.language),
      label(run.outcome), label(run.start))
    lines[#lines + 1] = ("noether_run_seconds_sum%s %.6f"):format(labels, run.secs)
    lines[#lines + 1] = ("noether_run_seconds_count%s %d"):format(labels, run.count)
  end
end

local GAUGES = {
  { "noether_queue_depth", "depth" }, { "noether_queue_oldest_seconds", "oldest_secs" },
  { "noether_dead_total", "dead" }, { "noether_workers_live", "live" },
}

local function metrics(worker)
  local lines, queue = {}, label(worker.settings.queue)
  run_lines(lines, worker.runs_told)
  for _, gauge in ipairs(GAUGES) do
    local value = worker.queue_told[gauge[2]]
    if value then
      lines[#lines + 1] = ("# TYPE %s gauge"):format(gauge[1])
      lines[#lines + 1] = ('%s{queue="%s"} %.3f'):format(gauge[1], queue, value)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function write(self, path, text, mode)
  local ok, message = sys.write_file(path, text, mode)
  if not ok and message ~= self.told then
    self.told = message
    self.worker.log("warn", message)
  end
end

local MODE = 420 -- 0644: others read it

local function write_all(self)
  local worker, places = self.worker, self.places
  if places.health_file then
    write(self, places.health_file, ("%s %d running\n"):format(worker.name, worker.count), MODE)
  end
  if places.metrics_file then
    worker:ask_queue() -- for the next time
    write(self, places.metrics_file, metrics(worker), MODE)
  end
end

--- Tell what is to be told now.
-- @treturn number after how many seconds there is more
-- @local
function Report:step()
  local now, worker = sys.clock(), self.worker
  local is_well = worker.command.state == "open"
  if is_well and not self.ready then
    self.ready = true
    worker:ask_queue()
    notify(self, "READY=1\nSTATUS=serving\n")
  end
  if is_well and now - self.fed >= self.feed_secs then
    self.fed = now
    notify(self, "WATCHDOG=1\n")
  end
  if is_well and now - self.written >= EVERY_SECS then
    self.written = now
    write_all(self)
  end
  return math.min(EVERY_SECS, self.feed_secs)
end

--- The worker is over: nothing says any more that it is well. The figures stay.
-- @local
function Report:close()
  local places = self.places
  if places.health_file then sys.unlink(places.health_file) end
  if places.metrics_file then write(self, places.metrics_file, metrics(self.worker), MODE) end
end

return M
