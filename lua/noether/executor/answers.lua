-- SPDX-License-Identifier: MIT
--- An executor that gives an answer again without running the stage.
--
-- Whose answers: those of stages that declare `Pure` and besides it at most Fallible, Cost and
-- Process. Calls with `work_dir`, `files`, `outputs` or with variables (`env`, the call's or the
-- executor's) are run: more goes in or out than a key and an answer hold. Errors are never kept.
--
-- What an answer is kept by: the exact JSON text that the stage read (of a Lua value that is its
-- canonical text), and a context: the SHA-256 of the plan, which is all that runs - script,
-- runtime, sandbox, environment, limits - of what the packages in its runtime hold, and of the
-- stamp of the interpreter's file. An answer whose own plan was another one is not kept. To plan
-- takes longer than to look up, so a context is kept for as long as that file stays the same; in a
-- virtual environment it is a link of its own, and made anew with the packages. Times and the cap
-- of the output are not in it: a run that answered was within its limits, and an answer that is
-- longer than the cap of a call is not given to it.
--
-- Of equal calls at the same time one runs, and the others wait for that (answers/follower.lua) and
-- look again. Where they find no answer, since it failed or was ended, each runs itself.
--
-- Where answers are kept: in memory, bounded; with `dir` also on disk (answers/disk.lua). As text,
-- so that what a caller does to a table that it was given is nobody else's business.
local disk = require "noether.executor.answers.disk"
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local follower = require "noether.executor.answers.follower"
local json = require "noether.json"
local over = require "noether.executor.over"
local lru = require "noether.executor.answers.lru"
local options = require "noether.options"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local Answers, metatable = over.class("cache")

--- The options of @{new}.
M.OPTIONS = { entries = "count", bytes = "bytes", dir = "path", ttl_secs = "seconds" }

M.DEFAULTS = { entries = 1000, bytes = 64 * 1024 * 1024, ttl_secs = math.huge }

local MAX_CONTEXTS = 4096
local ENTRY_BYTES = 1024 -- of an entry in memory beside its text

local COMPANIONS = { Pure = true, Fallible = true, Cost = true, Process = true }

-- Limits of a plan that say how long and how much, and not what the stage finds.
local OUTER_LIMITS = { timeout_secs = true, max_output_bytes = true, max_stderr_bytes = true }

--- Make an executor that keeps answers of another one.
-- `info.cached` says of a call whether its answer was kept; such an info has no result and no logs.
-- @tparam AnyExecutor executor it stays the caller's: closing this one does not close it
-- @tparam[opt] CacheOptions opts
-- @treturn ?Cache the executor, with `clear()`; or nil and an error (`cache_failed`)
-- @treturn ?Error error
-- @raise on a wrong option
-- @usage
-- local executor = noether.check(noether.cache(noether.check(noether.executor())))
-- local stage = { language = "bash", code = "execute() { echo 1; }", effects = { "Pure" } }
-- for _ = 1, 2 do
--   local output, _, info = executor:execute(stage, 0)
--   print(output, info.cached)
-- end
-- --> 1 false
-- --> 1 true
function M.new(executor, opts)
  local self = over.new("cache", metatable, executor, opts)
  local given = tables.merged(M.DEFAULTS, options.check("cache", opts, M.OPTIONS))
  self.ttl_secs, self.contexts, self.context_count = given.ttl_secs, {}, 0
  self.memory = lru.new(given.entries, given.bytes)
  self.flights = setmetatable({}, { __mode = "v" })
  if not given.dir then return self end
  local err
  self.disk, err = disk.open(given.dir, given.entries, given.bytes)
  if not self.disk then return nil, err end
  return self
end

--- Forget all answers, those in `dir` included.
-- @treturn ?boolean true; or nil and an error (`cache_failed`)
-- @treturn ?Error error
-- @usage
-- print(noether.check(noether.cache(noether.inline{})):clear()) --> true
function Answers:clear()
  options.method("cache:clear", self)
  self.memory:clear()
  if self.disk then return self.disk:clear() end
  return true
end

-- The effects as text, if they are those of a stage whose answers may be kept.
local function pure_effects(stage)
  local declared = effects.parse(stage.effects)
  local names, is_pure = {}, false
  for index, effect in ipairs(declared and declared.list or {}) do
    if not COMPANIONS[effect.effect] then return nil end
    is_pure = is_pure or effect.effect == "Pure"
    names[index] = effects.format(effect)
  end
  return is_pure and table.concat(names, " ") or nil
end

-- What of a call's options a plan depends on, as text.
local function call_text(opts)
  if not opts.limits and not opts.max_output_bytes then return "" end
  local parts = { tostring(opts.max_output_bytes) }
  for _, name in ipairs(tables.sorted_names(opts.limits or {})) do
    parts[#parts + 1] = ("%s=%.17g"):format(name, opts.limits[name])
  end
  return table.concat(parts, " ")
end

-- What is known of a request without running anything; nil if its answer cannot be kept.
local function subject_of(self, reference, call)
  local opts = call.opts
  if opts.work_dir or opts.files or opts.outputs then return nil end
  if opts.env and next(opts.env) then return nil end
  local stage = self.inner:stage_of(reference)
  if not stage or type(stage.code) ~= "string" or type(stage.language) ~= "string" then
    return nil
  end
  local declared = pure_effects(stage)
  if not declared then return nil end
  local kind = stage.language .. "\n" .. declared
  return { code = stage.code, kind = kind, name = kind .. "\n" .. call_text(opts) }
end

-- What an interpreter's file is; and that with what the path itself is, which may be a link: that
-- of a store, or of a virtual environment.
local function look(path)
  local file = path and sys.stamp(path, true)
  local link = file and sys.stamp(path)
  if not link then return nil end
  return file, file .. "\n" .. link
end

-- Where the interpreter's file is on this machine; a sandbox may show it under another name. Of
-- binds, those of what is in a directory come after that of the directory.
local function interpreter_of(plan)
  local path, own = plan.runtime.path, nil
  for _, bind in ipairs(plan.sandbox.ro_binds or {}) do
    if path and path:sub(1, #bind.target + 1) == bind.target .. "/" then
      own = bind.source .. path:sub(#bind.target + 1)
    end
  end
  return own or path
end

local function known_context(self, subject)
  local contexts = self.contexts[subject.code]
  local context = contexts and contexts[subject.name]
  if not context or context.seen ~= select(2, look(context.path)) then return nil end
  return context
end

local function remember_context(self, subject, context)
  if self.context_count >= MAX_CONTEXTS then self.contexts, self.context_count = {}, 0 end
  self.contexts[subject.code] = self.contexts[subject.code] or {}
  self.contexts[subject.code][subject.name] = context
  self.context_count = self.context_count + 1
end

-- Whether a key can tell what would run: what `nix run` starts is not known before it does.
local function is_known(plan)
  local runtime = plan.runtime
  return next(plan.secrets) == nil and (runtime.kind ~= "nix" or runtime.store_path ~= nil)
end

-- What a plan says of all that an answer depends on, beside the input.
local function context_of(plan, provenance, subject)
  local limits = {}
  for name, value in pairs(plan.limits) do
    if not OUTER_LIMITS[name] then limits[name] = value end
  end
  local path = interpreter_of(plan)
  local file, seen = look(path)
  local context = {
    path = path, seen = seen, max_bytes = plan.limits.max_output_bytes or math.huge,
  }
  local text = file and is_known(plan) and json.canonical{
    argv = plan.argv, code = subject.code, env = plan.env, files = plan.files, limits = limits,
    kind = subject.kind, packages = provenance.packages, runtime = plan.runtime,
    sandbox = plan.sandbox, stamp = file,
  }
  context.hash = text and sys.sha256(text) or nil -- without one, nothing is kept
  return context
end

-- The context of a stage that is seen for the first time, or whose interpreter has changed.
local function learn_context(self, own, request)
  local planned = { reference = request.reference, call = request.call, mode = "plan" }
  local plan, _, info = over.attempt(self, own, planned)
  if type(plan) ~= "table" or plan.kind ~= "exec" or not info.provenance then return nil end
  local context = context_of(plan, info.provenance, request.subject)
  remember_context(self, request.subject, context)
  return context
end

-- An entry of the disk, good for as long as is left of its time. The wall clock may have jumped.
local function load_entry(self, key)
  local entry = self.disk and self.disk:get(key)
  if not entry then return nil end
  local age = sys.time() - entry.created
  if self.ttl_secs < math.huge and (age < 0 or age >= self.ttl_secs) then
    self.disk:remove(key)
    return nil
  end
  entry.expires = sys.clock() + self.ttl_secs - math.max(age, 0)
  self.memory:put(key, entry, #entry.text + ENTRY_BYTES)
  return entry
end

local function find(self, key)
  local entry = self.memory:get(key)
  if not entry then return load_entry(self, key) end
  if sys.clock() < entry.expires then return entry end
  self.memory:remove(key)
  if self.disk then self.disk:remove(key) end
  return nil
end

local function keep(self, own, key, text, info)
  local entry = {
    text = text, created = sys.time(), expires = sys.clock() + self.ttl_secs,
    runtime = tables.merged(info.runtime), provenance = tables.merged(info.provenance),
  }
  self.memory:put(key, entry, #text + ENTRY_BYTES)
  if not self.disk then return end
  local ok, err = self.disk:put(key, entry)
  if not ok then own:warn(tostring(err)) end
end

local function as_asked(self, request, text)
  if request.mode == "json" then return text end
  return self.inner:decode(request.reference, text)
end

local function answer(self, own, request, entry)
  own.info.cached, own.info.logs = true, ""
  own.info.runtime = tables.merged(entry.runtime)
  own.info.provenance = tables.merged(entry.provenance)
  return as_asked(self, request, entry.text)
end

local function cancelled()
  return errors.new{ kind = "cancelled", message = "the task was cancelled" }
end

-- The plan that ran is left in the request.
local function run(self, own, request)
  return over.attempt(self, own, {
    reference = request.reference, input = request.text, call = request.call, mode = "json",
    on_plan = function(plan) request.plan = plan end,
  })
end

-- Since the key was made a name may have come to stand for another stage, an interpreter have been
-- replaced, or a policy have said something else: then the answer is right, and not what the key
-- says.
local function is_of(context, request, info)
  local plan, provenance, subject = request.plan, info.provenance, request.subject
  if not plan or not provenance or provenance.code ~= sys.sha256(subject.code) then return false end
  local ran = context_of(plan, provenance, subject)
  return ran.hash == context.hash and ran.seen == context.seen
end

-- What calls have in common of which one may run for all; nil of one that must run itself. One that
-- runs out of time is of no use to those that have more, and makes those wait that have less. A
-- listener wants to hear the run, and can wait for anything, itself included.
local function flight_of(key, opts)
  if opts.on_log then return nil end
  return ("%s %s %s"):format(key, tostring(opts.timeout_secs), tostring(opts.setup_timeout_secs))
end

-- Waits for the answer of an equal call that runs now, if there is one, and looks for it.
local function find_later(self, own, key, flight)
  local leader = flight and self.flights[flight]
  if not leader or not follower.can_follow(leader) then return nil end
  return own:await(follower.new(leader)) and find(self, key) or nil
end

--- @local
function Answers:work(own, request)
  local context = known_context(self, request.subject) or learn_context(self, own, request)
  if own.is_cancelled or not context or not context.hash then
    local output, err = run(self, own, request)
    if err then return nil, err end
    return as_asked(self, request, output)
  end
  local key = sys.sha256(context.hash .. request.text)
  local flight = flight_of(key, request.call.opts)
  local entry = find(self, key) or find_later(self, own, key, flight)
  if own.is_cancelled then return nil, cancelled() end
  if entry and #entry.text <= context.max_bytes then return answer(self, own, request, entry) end
  if flight then self.flights[flight] = own end
  local text, err, info = run(self, own, request)
  if err then return nil, err end
  if is_of(context, request, info) then keep(self, own, key, text, info) end
  return as_asked(self, request, text)
end

--- @local
function Answers:prepare(request)
  local text = request.input
  if request.mode == "value" then text = json.sorted(request.input, "input") end
  request.subject = text and subject_of(self, request.reference, request.call)
  request.text = text
  return request.subject ~= nil
end

return M
