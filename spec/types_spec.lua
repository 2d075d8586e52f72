-- SPDX-License-Identifier: MIT
--- types/noether.lua against the sources that it is made from and against the loaded modules, in
-- both directions; and that every option, reason and kind is named by some spec, this one aside.
local descriptions = require "noether.sandbox.description"
local command = require "noether.command"
local helper = require "spec.support.helper"
package.path = helper.root .. "/tools/docs/?.lua;" .. package.path
local batch = require "noether.executor.batch"
local budget = require "noether.executor.budget"
local caching = require "noether.executor.answers"
local config = require "noether.executor.config"
local errors = require "noether.error"
local isolation = require "noether.isolation"
local noether = require "noether"
local prune = require "noether.cache.prune"
local retry = require "noether.executor.retry"
local sessions = require "noether.executor.session"
local remote = require "noether.fleet.remote"
local surface = require "surface"
local types = require "types"
local worker = require "noether.fleet.worker"

local sources = surface.read(helper.root)

-- What the meta file declares: fields by class, functions by table, words by alias.
local function read_meta()
  local meta = { fields = {}, functions = {}, words = {} }
  local class, alias
  for line in helper.read(helper.root .. "/types/noether.lua"):gmatch("[^\n]*") do
    class = line:match("^%-%-%-@class ([%w_.]+)") or class
    alias = line:match("^%-%-%-@alias ([%w.]+)") or (line ~= "" and alias or nil)
    local field = line:match("^%-%-%-@field ([%w_]+)")
    local word = alias and line:match('^%-%-%-| "([%w_]+)"')
    local owner, name = line:match("^function ([%w_.]+)[.:]([%w_]+)%(")
    if field then
      meta.fields[class] = meta.fields[class] or {}
      meta.fields[class][field] = true
    elseif word then
      meta.words[alias] = meta.words[alias] or {}
      meta.words[alias][word] = true
    elseif owner then
      meta.functions[owner] = meta.functions[owner] or {}
      meta.functions[owner][name] = true
    end
  end
  return meta
end

local meta = read_meta()

local function names(map)
  local list = {}
  for name in pairs(map or {}) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local function set(list)
  local map = {}
  for _, name in ipairs(list) do
    map[name] = true
  end
  return map
end

-- The public methods of a class: what users are told of, without what classes tell one another.
local INTERNAL = sources.internal

local function methods(object)
  local found = {}
  for name, value in pairs(getmetatable(object).__index) do
    if type(value) == "function" and not INTERNAL[name] then found[name] = true end
  end
  return found
end

local function without(map, other)
  local rest = {}
  for name in pairs(map) do
    if other[name] == nil then rest[name] = true end
  end
  return rest
end

describe("the doc comments", function()
  it("say of everything public what it does, takes and gives, with an example", function()
    assert.same({}, sources.problems)
  end)
end)

describe("the types", function()
  it("say what each type is that they name", function()
    local text, defined = helper.read(helper.root .. "/types/noether.lua"), {}
    for name in text:gmatch("\n%-%-%-@%l+ noether%.(%u%w*)") do defined[name] = true end
    for name in text:gmatch("noether%.(%u%w*)") do
      assert.truthy(defined[name], name .. ": tools/docs/surface.lua names tables of options")
    end
  end)

  it("are those of the doc comments (if not: make types)", function()
    local path = helper.root .. "/types/noether.lua"
    assert.equal(types.write(sources), helper.read(path))
  end)

  it("have the functions of the module", function()
    local loaded = {}
    for name, value in pairs(noether) do
      if type(value) == "function" then loaded[name] = true end
    end
    assert.same(names(loaded), names(meta.functions.noether))
    assert.same(names(noether.store), names(meta.functions["noether.store"]))
    assert.same(names(noether.trace), names(meta.functions["noether.trace"]))
    assert.same({ "null", "version" }, names(meta.fields.noether))
    local nix_executor = require "noether.nix_executor"
    assert.same(names(nix_executor), names(meta.functions.nix_executor))
  end)

  it("have the methods of executors, tasks, processes, stores and errors", function()
    local face = meta.functions.AnyExecutor
    assert.same(names(methods(noether.inline{})), names(face))
    assert.same(names(methods(noether.composite{})), names(face))
    local inline = noether.inline{}
    assert.same(names(methods(noether.retry(inline))), names(face))
    assert.same(names(without(methods(noether.budget(inline, { cents = 1 })), face)),
      names(meta.functions.Budget))
    assert.same(names(without(methods(noether.cache(inline)), face)), names(meta.functions.Cache))
    local executor <close> = assert(noether.executor{ isolation = "none" })
    assert.same(names(without(methods(executor), face)), names(meta.functions.Executor))
    local task <close> = assert(noether.inline{ x = function() end }:start("x"))
    assert.same(names(methods(task)), names(meta.functions.Task))
    local session <close> = assert(executor:session{ language = "python" })
    assert.same(names(methods(session)), names(meta.functions.Session))
    local proc <close> = assert(command.spawn({ "true" }, { isolation = "none" }))
    proc:wait()
    assert.same(names(methods(proc)), names(meta.functions.Process))
    local serving <close> = assert(noether.worker{ url = "redis://127.0.0.1:1", unsigned = true,
      executor = inline })
    assert.same(names(methods(serving)), names(meta.functions.Worker))
    local handles <close> = assert(noether.set())
    assert.same(names(methods(handles)), names(meta.functions.Set))
    assert.same(names(methods(noether.store.memory())), names(meta.functions.Store))
    assert.same({ "to_table" }, names(meta.functions.Error))
  end)

  it("have every option", function()
    for class, spec in pairs{
      ["noether.ExecutorOptions"] = config.EXECUTOR_OPTIONS,
      ["noether.CallOptions"] = config.CALL_OPTIONS,
      ["noether.MapOptions"] = batch.MAP_OPTIONS,
      ["noether.Config"] = config.CONFIG_OPTIONS,
      ["noether.PipOptions"] = config.PIP_OPTIONS,
      ["noether.NpmOptions"] = config.NPM_OPTIONS,
      ["noether.RunLimits"] = descriptions.LIMITS,
      ["noether.Limits"] = config.LIMITS,
      ["noether.RetryOptions"] = retry.OPTIONS,
      ["noether.BudgetOptions"] = budget.OPTIONS,
      ["noether.CacheOptions"] = caching.OPTIONS,
      ["noether.PruneOptions"] = prune.OPTIONS,
      ["noether.RemoteOptions"] = remote.OPTIONS,
      ["noether.WorkerOptions"] = worker.OPTIONS,
      ["noether.RunOptions"] = command.OPTIONS,
      ["noether.SessionOptions"] = sessions.OPTIONS,
      ["noether.CellOptions"] = sessions.CELL_OPTIONS,
    } do
      assert.same(names(spec), names(meta.fields[class]), class)
    end
  end)

  it("have every kind, isolation and reason", function()
    local kinds = {}
    for _, entry in ipairs(errors.KINDS) do
      kinds[entry.kind] = true
    end
    assert.same(names(kinds), names(meta.words["noether.Kind"]))
    assert.same(names(set(isolation.NAMES)), names(meta.words["noether.Isolation"]))
    local header = helper.read(helper.root .. "/include/noether.h")
    local reasons = {}
    for name in header:gmatch("NOE_REASON_([%u_]+)") do
      if name ~= "NONE" then reasons[name:lower()] = true end
    end
    assert.same(names(reasons), names(meta.words["noether.Reason"]))
  end)

  it("have the fields of errors, results, infos and plans", function()
    local executor <close> = assert(noether.executor{ isolation = "none" })
    local stage = { language = "bash", code = "execute() { echo 1; }" }
    local _, _, info = executor:execute(stage, 1)
    assert.same({}, names(without(info, meta.fields["noether.Info"])))
    local fields = without(meta.fields["noether.Info"], info)
    local of_some = set{ "attempts", "calls", "outputs", "cell", "display", "network",
      "queue_secs", "worker", "learned" }
    assert.same({}, names(without(fields, of_some)))
    assert.same({}, names(without(info.result, meta.fields["noether.Result"])))
    local optional = set{ "signal", "max_rss_bytes", "failed_stream", "errno", "denied_processes",
      "denied_connections", "at_process_limit", "network", "wanted" }
    assert.same({}, names(without(without(meta.fields["noether.Result"], info.result), optional)))
    assert.same({}, names(without(info.runtime, meta.fields["noether.Runtime"])))
    assert.same({}, names(without(info.provenance, meta.fields["noether.Provenance"])))
    stage.effects = { { Call = "f" } }
    local opts = { work_dir = "/tmp", functions = { f = print }, outputs = { "x" } }
    local plan = assert(executor:plan(stage, 1, opts))
    assert.same(names(plan), names(meta.fields["noether.Plan"]))
    local _, err = executor:execute("nonesuch", 1)
    assert.same({}, names(without(err, meta.fields["noether.Error"])))
  end)
end)

describe("the specs", function()
  local texts = {}
  local function collect(dir)
    for _, name in ipairs(helper.list(dir)) do
      if name:find("_spec%.lua$") and name ~= "types_spec.lua" then
        texts[#texts + 1] = helper.read(dir .. "/" .. name)
      elseif not name:find("%.") then
        pcall(collect, dir .. "/" .. name)
      end
    end
  end
  collect(helper.root .. "/spec")
  local all = table.concat(texts, "\n")

  local function each_is_named(what, map)
    it("name every " .. what, function()
      for _, name in ipairs(names(map)) do
        local found = all:find("%f[%w_]" .. name .. "%f[^%w_]")
        assert.truthy(found, name)
      end
    end)
  end

  each_is_named("kind", meta.words["noether.Kind"])
  each_is_named("reason", meta.words["noether.Reason"])
  each_is_named("option of an executor", config.EXECUTOR_OPTIONS)
  each_is_named("option of pip", config.PIP_OPTIONS)
  each_is_named("option of npm", config.NPM_OPTIONS)
  each_is_named("option of a call", config.CALL_OPTIONS)
  each_is_named("option of retry", retry.OPTIONS)
  each_is_named("option of budget", budget.OPTIONS)
  each_is_named("option of cache", caching.OPTIONS)
  each_is_named("option of prune", prune.OPTIONS)
  each_is_named("option of remote", remote.OPTIONS)
  each_is_named("option of worker", worker.OPTIONS)
  each_is_named("option of run", meta.fields["noether.RunOptions"])
  each_is_named("limit", descriptions.LIMITS)
end)
