-- SPDX-License-Identifier: MIT
--- `noether store`: stages kept in a directory, by id or name.
local effects = require "noether.stage.effects"
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local policies = require "noether.overrides.policies"
local render = require "noether.cli.render"
local settings = require "noether.cli.settings"
local stage_fields = require "noether.stage.stage"
local stages = require "noether.cli.stages"
local values = require "noether.cli.values"

local function effects_text(list)
  local texts = {}
  for i, effect in ipairs(list) do
    texts[i] = effects.format(effect)
  end
  return #texts > 0 and table.concat(texts, ", ") or "none"
end

local put = {
  name = "put", summary = "put a stage into the store and print its id",
  arguments = { { name = "file", value = "FILE", about = "the code; '-' for standard input" } },
  options = {
    { name = "--name", value = "NAME", convert = values.name, about = "an alias for the id" },
    { name = "--description", value = "TEXT", about = "what it does, for people and models" },
    { name = "--input-schema", value = "JSON|@FILE", convert = values.schema,
      about = "what it takes: JSON Schema, of the keywords that docs/mcp.md lists" },
    { name = "--output-schema", value = "JSON|@FILE", convert = values.schema,
      about = "what it gives, likewise" },
    flags.language, flags.effect, flags.policy_path, flags.store,
  },
  examples = {
    { "noether store put double.py --name double --effect Pure", "under a name" },
  },
}

--- Do it.
function put.run(context)
  local known, err = policies.load{ path = settings.policy_path(context.given, context.environ) }
  if not known then return nil, err end
  local stage
  stage, err = stages.of_file(context, context.given.file, known)
  if not stage then return nil, err end
  local language
  language, err = known:language(stage.language)
  if not language then return nil, err end
  local store, id
  store, err = settings.open_store(context, true)
  if not store then return nil, err end
  for _, name in ipairs(stage_fields.TOLD) do
    stage[name] = context.given[name]
  end
  id, err = store:put(stage)
  if not id then return nil, err end
  context.console:answer(id .. "\n")
  return exits.OK
end

local list = {
  name = "list", summary = "list what is stored",
  options = { flags.json, flags.store },
  examples = {
    { "noether store list", "id, language, effects and name of each" },
    { "noether store list --json | jq -r '.[].id'", "for programs" },
  },
}

-- What is damaged is told, and keeps nothing from being listed.
local function rows_of(context, stored)
  local rows, whole = {}, true
  for _, stage in ipairs(stored) do
    if stage.err then
      context.console:fail(stage.err)
      whole = false
    else
      rows[#rows + 1] = {
        stage.id, stage.language, effects_text(stage.effects), stage.name or "-",
      }
    end
  end
  return rows, whole
end

--- Do it.
function list.run(context)
  local store, err = settings.open_store(context, false)
  if not store then return nil, err end
  local stored
  stored, err = store:list()
  if not stored then return nil, err end
  local rows, whole = rows_of(context, stored)
  if context.given.json then
    context.console:answer(#stored > 0 and render.json(stored) or "[]\n")
  else
    context.console:answer(render.columns(rows))
  end
  return whole and exits.OK or exits.of{ kind = "store_failed" }
end

local show = {
  name = "show", summary = "show a stage",
  arguments = { { name = "stage", value = "ID", about = "id or name" } },
  options = {
    { name = "--code", about = "only the code, as it was put" }, flags.json, flags.store,
  },
  examples = {
    { "noether store show double", "all of it" },
    { "noether store show double --code > double.py", "the code, in a file" },
  },
}

local function stage_text(stage)
  local lines = {
    "id        " .. stage.id, "name      " .. (stage.name or "-"),
    "language  " .. stage.language, "effects   " .. effects_text(stage.effects),
  }
  if stage.description then lines[#lines + 1] = "does      " .. errors.clean(stage.description) end
  for _, name in ipairs{ "input", "output" } do
    local schema = stage[name .. "_schema"]
    if schema then lines[#lines + 1] = ("%-8s  %s"):format(name, render.line(schema)) end
  end
  local code = stage.code .. (stage.code:find("\n$") and "" or "\n")
  return table.concat(lines, "\n") .. "\n\n" .. code
end

--- Do it.
function show.run(context)
  local store, err = settings.open_store(context, false)
  if not store then return nil, err end
  local stage
  stage, err = store:get(context.given.stage)
  if not stage then return nil, err end
  if context.given.json then
    context.console:json(render.json(stage))
  else
    context.console:text(context.given.code and stage.code or stage_text(stage))
  end
  return exits.OK
end

local remove = {
  name = "remove", summary = "remove a stage and its names",
  arguments = { { name = "stage", value = "ID", about = "id or name" } },
  options = { flags.store },
  examples = { { "noether store remove double", "by name" } },
}

--- Do it.
function remove.run(context)
  local store, err = settings.open_store(context, false)
  if not store then return nil, err end
  local ok
  ok, err = store:remove(context.given.stage)
  if not ok then return nil, err end
  return exits.OK
end

return {
  name = "store", summary = "keep stages, by id or name",
  about = "Keep stages in a directory, by id (a hash of language, code and effects) or name.",
  verbs = { put, list, show, remove },
}
