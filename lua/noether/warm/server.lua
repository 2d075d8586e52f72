-- SPDX-License-Identifier: MIT
--- A fork server: an interpreter behind all walls of a run that makes copies of itself, each behind
-- walls of its own, for runs of one shape (src/jail/cradle.c).
--
-- It has done its imports, and looked whether it may serve; then it has to show, by two copies,
-- that the walls around a copy are those of a run that is started for itself (walls.lua). Until
-- then, and where any of it fails, it serves nobody. Code and input of a run never come to it.
--
-- It is looked after when somebody calls `look`. By itself it ends when it was not used for a
-- while, and with the host.
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local exec = require "noether.run.transport.exec"
local json = require "noether.json"
local shapes = require "noether.warm.shape"
local spares = require "noether.warm.spare"
local sys = require "noether.sys"
local tables = require "noether.tables"
local walls = require "noether.warm.walls"

local M = {}

local Server = {}
Server.__index = Server

local START_SECS = 60 -- for its imports
local PROOF_SECS = 30
local PROOF_BYTES = 65536
local PROOFS = 2

-- Those of the places that it makes, and of what its imports use. It has no others itself, for its
-- copies could have no more.
local function own_limits(plan)
  local limits = plan.limits
  return {
    private_bytes = limits.private_bytes, private_files = limits.private_files,
    memory_bytes = limits.memory_bytes, processes = limits.processes,
  }
end

local function fail(self, reason)
  self.state, self.reason = "unfit", errors.clean(tostring(reason), 300)
  self:close()
end

-- One line of JSON from it, and no more.
local function hear(self, text)
  self.said = (self.said or "") .. text:sub(1, PROOF_BYTES)
  local line = self.said:match("^(.-)\n")
  if self.state ~= "starting" or not line then return end
  local said = json.decode(line, nil, 1000)
  if type(said) == "table" and said.type == "serving" and type(said.namespaces) == "table" then
    self.state, self.namespaces, self.keeps = "proving", said.namespaces, said.keeps == true
    self.failed = spares.failed_imports(said.failed)
    self.until_secs = sys.clock() + PROOF_SECS
  else
    self.refusal = type(said) == "table" and said.reason or "it said nothing of use"
  end
end

--- Start one. It serves when it has shown that it may.
-- @tparam table shape with `forks`
-- @tparam table opts `places` (so many copies are prepared for), `idle_secs`
-- @treturn ?table nil and a reason
-- @treturn ?string
function M.start(shape, opts)
  local forks = shape.forks
  local directory, message = spares.make_directory(shape.root, tables.merged(shape.server_files, {
    [forks.helper] = sys.fork_helper(), [shape.own] = "",
  }))
  if not directory then return nil, message end
  local self = setmetatable({
    shape = shape, directory = directory, state = "starting", until_secs = sys.clock() + START_SECS,
    made = 0, proofs = 0, failed = {},
  }, Server)
  self.plan = shapes.plan_in(shape, directory.dir)
  descriptions.keep(self.plan.sandbox)
  local plan = tables.merged(self.plan, { limits = own_limits(self.plan) })
  local place = shape.script_dir .. "/" .. shape.own
  local process, err = exec.start_server(plan, shape.private, {
    fork = { ahead = opts.places, idle_secs = opts.idle_secs, place = place },
    on_stdout = function(text) hear(self, text) end,
  })
  if not process then
    spares.remove_directory(directory)
    return nil, err.message
  end
  self.process, self.place = process, place
  return self
end

--- Start a copy that waits for its request.
-- @tparam table opts of `exec.start_ahead`: `wait_secs`, `on_frame`
-- @treturn ?table a process; or nil and an error
-- @treturn ?table
function Server:copy(opts)
  local process, err = exec.start_ahead(self.plan, self.shape.private,
    tables.merged(opts, { fork = { server = self.process } }))
  if process then self.made = self.made + 1 end
  return process, err
end

local function begin_proof(self)
  if self.process:places() == 0 then return end
  local copy, err = self:copy{ wait_secs = PROOF_SECS, on_frame = function() return true end }
  if not copy then return fail(self, err.message) end
  self.proof = copy
  local begun
  copy:put_file(self.shape.forks.probe)
  begun, err = copy:begin{
    frame = ('{"type":"run","input":%s}'):format(json.encode(self.place)),
    timeout_secs = PROOF_SECS,
    max_output_bytes = PROOF_BYTES, max_stderr_bytes = PROOF_BYTES,
  }
  if not begun then return fail(self, err.message) end
end

local function judge_proof(self, copy)
  local plan, result, err = self.shape.plan, copy:result()
  copy:close()
  if not result then return fail(self, err.message) end
  local found = json.decode(result.stdout, nil, PROOF_BYTES)
  local problem = walls.problem(found, self.found, {
    processes = plan.sandbox.processes, calls = plan.calls ~= nil, namespaces = self.namespaces,
    keeps = self.keeps, directory = plan.sandbox.work_dir
      or descriptions.home_of(plan.sandbox, plan.sandbox.backend),
  })
  if problem and result.reason ~= "exit" then problem = "its probe ended by " .. result.reason end
  if problem then return fail(self, problem .. "; " .. result.stderr) end
  self.found, self.proofs = found, self.proofs + 1
  if self.proofs == PROOFS then
    self.state, self.found, self.made = "serving", nil, 0
  end
end

local function prove(self)
  if not self.proof then return begin_proof(self) end
  if not self.proof:step() then return end
  local copy = self.proof
  self.proof = nil
  return judge_proof(self, copy)
end

local function why_it_ended(process)
  local result, err = process:result()
  if err then return err.message end
  if result.at_process_limit then
    return "an import has started more processes than limits.processes allows"
  elseif result.reason == "memory_limit" then
    return "an import has taken more memory than limits.memory_bytes allows"
  end
  return ("it ended by %s; %s"):format(result.reason, result.stderr)
end

local function check_end(self, over)
  if self.refusal then return fail(self, self.refusal) end
  if over then return fail(self, why_it_ended(self.process)) end
  if self.state ~= "serving" and sys.clock() >= self.until_secs then
    return fail(self, "it took too long to start")
  end
end

--- Look after it.
-- @treturn string "starting", "proving", "serving", "unfit" (`reason` says why), "retired" (it
-- makes no more copies) or "ended"
function Server:look()
  if self.state == "unfit" or self.state == "ended" then return self.state end
  local over = self.process:step()
  if self.state == "retired" then
    if over then self:close() end
    return self.state
  end
  check_end(self, over)
  if self.state == "proving" then prove(self) end
  return self.state
end

--- No more copies: those that it has made go on, and with the last of them it ends.
function Server:retire()
  if self.state ~= "serving" then return self:close() end
  self.state = "retired"
  self.process:retire()
end

--- End it, and all of its copies.
function Server:close()
  if self.state ~= "unfit" then self.state = "ended" end
  if self.proof then self.proof:close() end
  self.proof = nil
  self.process:close()
  if self.directory and self.process.owner == sys.getpid() then
    spares.remove_directory(self.directory)
  end
  self.directory = nil
end

return M
