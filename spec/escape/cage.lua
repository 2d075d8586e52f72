-- SPDX-License-Identifier: MIT
--- What the specs of this directory share: the attacker (probe.c), the backends it is put into, and
-- how its report is read.
local assert = require "luassert"
local descriptions = require "noether.sandbox.description"
local helper = require "spec.support.helper"
local isolation = require "noether.isolation"
local process = require "noether.process"
local sys = require "noether.sys"

local M = {}

--- The backends that are attacked. What one of them does not stop has a test that says so, with a
-- name that ends in "as SECURITY.md says": it fails as soon as that is no longer true.
M.BACKENDS = { "native", "bwrap", "landlock" }

--- The attacker as a program, and the directory that it lies in.
M.dir = nil
M.probe = nil

-- Compiled once a spec file: the directory goes when the file is over.
function M.build()
  M.dir = helper.tmpdir()
  M.probe = M.dir .. "/probe"
  local output, code = helper.shell(("cc -std=gnu11 -D_GNU_SOURCE -O1 -pthread -o %s %s"):format(
    helper.quote(M.probe), helper.quote(helper.root .. "/spec/escape/probe.c")))
  assert(code == 0, output)
  sys.chmod(M.dir, tonumber("755", 8))
end

--- The whole machine as far as a sandbox shows it, by where a loader of programs is.
function M.loader()
  for _, dir in ipairs{ "/lib64", "/lib" } do
    for _, name in ipairs(sys.stat(dir, true) and helper.list(dir) or {}) do
      if name:match "^ld%-linux" then return dir .. "/" .. name end
    end
  end
end

--- Whether the kernel is at least of that version; what older ones cannot do is not asked of them.
function M.kernel(major, minor)
  local a, b = helper.read("/proc/sys/kernel/osrelease"):match "^(%d+)%.(%d+)"
  a, b = tonumber(a), tonumber(b)
  -- Landlock 6 came with it.
  if (tonumber(os.getenv "SPEC_LANDLOCK") or 6) < 6 then a, b = math.min(a, 6), math.min(b, 11) end
  return a > major or (a == major and b >= minor)
end

--- A list of both lists' items.
local function concat(list, more)
  local all = {}
  for _, item in ipairs(list) do
    all[#all + 1] = item
  end
  for _, item in ipairs(more or {}) do
    all[#all + 1] = item
  end
  return all
end

--- A description: the bare system and the attacker, and what `opts` adds.
-- @tparam string backend
-- @tparam[opt] table opts `ro`, `rw`, `links` (lists), `processes` (default true), `network`,
-- `loopback`, `work_dir`
function M.describe(backend, opts)
  opts = opts or {}
  local chosen = assert(isolation.choose(backend, process.launch))
  local description = descriptions.of_backend(chosen, descriptions.system())
  description.ro_binds = concat(description.ro_binds, concat({ M.dir }, opts.ro))
  description.rw_binds = concat({}, opts.rw)
  description.links = concat(description.links, opts.links)
  description.processes = opts.processes ~= false
  description.network, description.loopback = opts.network, opts.loopback
  description.work_dir = opts.work_dir
  return description
end

--- Starts any program in a sandbox.
-- @return a process, or nil and an error
function M.launch(backend, argv, opts)
  opts = opts or {}
  return process.launch(argv, {
    sandbox = backend ~= "none" and M.describe(backend, opts) or nil,
    env = opts.env or { PATH = "/usr/bin:/bin" }, stdin = opts.stdin, limits = opts.limits,
    timeout_secs = opts.timeout_secs or 20,
  })
end

local Report = {}
Report.__index = Report

--- What the attacker said.
-- @tparam table result of a process
-- @treturn table `result`; `tried[word]` (boolean); `outcome[word]` ("EPERM", "done" or nil)
function M.read(result)
  local report = { result = result, tried = {}, outcome = {}, values = {} }
  for line in result.stdout:gmatch "[^\n]+" do
    local word, outcome = line:match "^attempted (.*): (%S+)$"
    local name, text = line:match "^value ([%w_]+): ?(.*)$"
    if word then report.outcome[word] = outcome end
    if name then report.values[name] = concat(report.values[name] or {}, { text }) end
    if line:match "^attempting " then report.tried[line:sub(12)] = true end
    assert(not line:match "^no attempt", line)
  end
  return setmetatable(report, Report)
end

M.concat = concat

--- Words of one attempt on many things.
function M.each_of(attempt, list)
  local words = {}
  for i, item in ipairs(list) do
    words[i] = attempt .. "=" .. item
  end
  return words
end

--- Puts the attacker into a sandbox ("none": into none).
-- @treturn table its report
function M.run(backend, words, opts)
  local proc = assert(M.launch(backend, concat({ M.probe }, words), opts))
  local result = assert(proc:wait())
  proc:close()
  return M.read(result)
end

--- Likewise, without waiting.
function M.start(backend, words, opts)
  return assert(M.launch(backend, concat({ M.probe }, words), opts))
end

--- Ends what `start` began.
function M.stop(proc)
  proc:cancel()
  local result = assert(proc:wait(10))
  proc:close()
  return result
end

--- Runs a Lua program as a host of its own. Without a supervisor of ours, who would clear away what
-- that host's own leaves behind.
-- @tparam string code
-- @tparam[opt] {string,...} prefix words in front of the interpreter
-- @tparam[opt] table env
-- @treturn userdata a process
function M.host(code, prefix, env)
  local script = helper.write(M.dir .. "/host.lua", code)
  return assert(process.launch(concat(prefix or {}, { helper.lua, script }), {
    env = env or { PATH = os.getenv "PATH", TMPDIR = M.dir, HOME = M.dir }, timeout_secs = 30,
    supervise = false,
  }))
end

--- Lua text of a description, for a host of its own.
function M.literal(value)
  if type(value) ~= "table" then return ("%q"):format(value) end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = ("[%q] = %s"):format(key, M.literal(item))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- The values of that name, joined by a line feed; nil if none was said.
function Report:value(name)
  return self.values[name] and table.concat(self.values[name], "\n")
end

function Report:number(name)
  return tonumber(self:value(name))
end

function Report:explain(word)
  return ("%s: %s; the run: %s\n%s%s"):format(word, tostring(self.outcome[word]),
    tostring(self.result.reason), self.result.stdout, self.result.stderr)
end

--- It was tried, and it failed.
-- @tparam {string,...} words
function Report:refused(words)
  for _, word in ipairs(words) do
    assert.is_true(self.tried[word], self:explain(word))
    assert.is_string(self.outcome[word], self:explain(word))
    assert(self.outcome[word] ~= "done", self:explain(word))
  end
end

--- It was tried, and it worked.
function Report:done(words)
  for _, word in ipairs(words) do
    assert(self.outcome[word] == "done", self:explain(word))
  end
end

--- It failed with one of these.
function Report:failed(word, ...)
  for _, code in ipairs{ ... } do
    if self.outcome[word] == code then return end
  end
  assert(false, self:explain(word))
end

local function holds(path, text)
  local file = io.open(path)
  local line = file and file:read "a" or ""
  if file then file:close() end
  return line:find(text, 1, true) ~= nil
end

-- Where the first thread has ended, the others have the command line still.
local function thread_holds(path, text)
  for _, thread in ipairs(sys.list(path .. "/task") or {}) do
    if holds(path .. "/task/" .. thread .. "/cmdline", text) then return true end
  end
  return false
end

--- The processes of this machine whose command line holds `text`.
function M.find(text)
  local found = {}
  for _, name in ipairs(sys.list "/proc") do
    if name:match "^%d+$" and thread_holds("/proc/" .. name, text) then
      found[#found + 1] = tonumber(name)
    end
  end
  return found
end

local marks = 0

--- A word that is in no other command line.
function M.mark()
  marks = marks + 1
  return ("mark-%s-%d"):format(M.dir:gsub("%W", ""), marks)
end

--- Whether that process lives: not as a zombie.
function M.alive(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return false end
  local text = file:read "a" or ""
  file:close()
  return not text:match "%) [ZX]"
end

--- `describe` for each backend.
function M.each(title, body)
  local busted = require "busted"
  for _, backend in ipairs(helper.backends(M.BACKENDS)) do
    busted.describe(("%s [%s]"):format(title, backend), function() body(backend) end)
  end
end

return M
