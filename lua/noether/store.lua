-- SPDX-License-Identifier: MIT
--- Where stages live: in memory, or one atomic file a stage in a directory.
-- A store is any table with `put`, `get`, `list` and `remove`. A stage is
-- `{ id, name, language, code, effects }`; its id is the SHA-256 of the canonical JSON of
-- language, code and effects, so equal stages have one id. Names are aliases of ids.
local effects = require "noether.effects"
local errors = require "noether.error"
local json = require "noether.json"
local options = require "noether.options"
local bash = require "noether.policy.languages.bash"
local javascript = require "noether.policy.languages.javascript"
local python = require "noether.policy.languages.python"
local sys = require "noether.sys"

local M = {}

local BUILTIN_LANGUAGES = { python, javascript, bash }

local STAGE_FIELDS = { language = "string", code = "text", effects = "any", name = "string" }
local MAX_NAME_BYTES = 255
local MAX_FILE_BYTES = 64 * 1024 * 1024

--- The name a language goes by: "python" for "python3" and "", "bash" for "sh".
-- @tparam string language as written; case does not matter
-- @treturn string the language itself where no built-in one answers to it
function M.language_name(language)
  local wanted = language:lower()
  for _, builtin in ipairs(BUILTIN_LANGUAGES) do
    for _, name in ipairs(builtin.names) do
      if name == wanted then return builtin.name end
    end
  end
  return wanted
end

local function invalid(message, ...)
  return nil, errors.new{ kind = "input_invalid", message = message:format(...) }
end

local function check_name(name)
  if name == nil then return true end
  if name:find("^%x+$") and #name == 64 then
    return invalid("stage name '%s' looks like an id: choose another", name)
  elseif name == "" or #name > MAX_NAME_BYTES then
    return invalid("a stage name has 1 to %d bytes, this one has %d", MAX_NAME_BYTES, #name)
  elseif name:find("%c") or not errors.is_utf8(name) then
    return invalid("stage name '%s' must be UTF-8 without control characters",
      errors.clean(name, 80))
  end
  return true
end

-- What newcomers forget, in words of their own.
local function check_fields(fname, fields, level)
  options.argument(fname, "stage", fields, "table", level + 1)
  if fields[1] ~= nil then
    error(fname .. ": unknown field '1' (a stage has named fields: language, code, effects, name)",
      level)
  end
  local given = options.check(fname, fields, STAGE_FIELDS, level + 1, "field")
  if given.language == nil then
    error(fname .. ": the stage's language is missing, as in language = \"python\"", level)
  elseif given.code == nil then
    error(fname .. ": the stage's code is missing: the text that defines execute", level)
  end
  return given
end

-- The text that the id is the hash of, which is also what a file of the store must agree with.
local function identity(stage)
  return json.canonical{
    language = stage.language, code = stage.code, effects = json.array(stage.effects),
  }
end

--- Make a stage of what a caller gave: language normalised, effects sorted, id computed.
-- @tparam string fname the public function, for messages about misuse
-- @tparam table fields `language`, `code`, and if wanted `effects` and `name`
-- @tparam[opt=3] number level whose line an error about misuse names: 3 is the caller of the
-- caller
-- @treturn ?table the stage; or nil and an error (`input_invalid`)
-- @treturn ?table
-- @raise on an unknown field or a wrong type
function M.stage(fname, fields, level)
  local given = check_fields(fname, fields, (level or 3) + 1)
  local ok, err = check_name(given.name)
  if not ok then return nil, err end
  local parsed, reason = effects.parse(given.effects)
  if not parsed then return invalid("stage: %s", reason) end
  local stage = {
    name = given.name, language = M.language_name(given.language), code = given.code,
    effects = parsed.list,
  }
  local text, why = identity(stage)
  if not text then return invalid("stage: code must be UTF-8 text: %s", why) end
  stage.id = sys.sha256(text)
  return stage
end

local function copy_stage(stage)
  local copy = {}
  for key, value in pairs(stage) do
    copy[key] = value
  end
  copy.effects = {}
  for index, effect in ipairs(stage.effects) do
    local item = {}
    for key, value in pairs(effect) do
      item[key] = value
    end
    copy.effects[index] = item
  end
  return copy
end

local function summary(stage)
  local copy = copy_stage(stage)
  copy.code = nil
  return copy
end

local function not_found(id_or_name)
  return nil, errors.new{
    kind = "stage_not_found", message = ("no stage '%s' in the store"):format(id_or_name),
    hint = "put it first; a list of the store shows what there is",
  }
end

local function is_id(text)
  return #text == 64 and text:find("^[0-9a-f]+$") ~= nil
end

local function by_id(a, b)
  return a.id < b.id
end

local Memory = {}
local memory_metatable = { __name = "noether.store.memory", __index = Memory }

--- A store in this Lua state's memory.
-- @treturn Store a store
-- @usage
-- local store = noether.store.memory()
-- local id = noether.check(store:put{ language = "bash", code = "execute() { echo 1; }" })
-- print(#id) --> 64
function M.memory()
  return setmetatable({ stages = {}, aliases = {} }, memory_metatable)
end

--- Put a stage into the store. One that is there already stays, and takes the name.
-- @tparam Stage fields
-- @treturn ?string its id: the SHA-256 of language, code and effects; or nil and an error
-- (`input_invalid`, `store_failed`)
-- @treturn ?Error error
-- @raise on an unknown field or a wrong type
-- @usage
-- local store = noether.store.memory()
-- local code = "def execute(n): return n * 2"
-- local id = noether.check(store:put{ name = "double", language = "python", code = code })
-- print(store:get("double").id == id) --> true
function Memory:put(fields)
  options.method("store:put", self)
  local stage, err = M.stage("store:put", fields)
  if not stage then return nil, err end
  local old = self.stages[stage.id]
  if old and not stage.name then stage.name = old.name end
  self.stages[stage.id] = stage
  if stage.name then self:point(stage.name, stage) end
  return stage.id
end

--- Make a name lead to a stage, taking it from the one that had it.
-- @local
function Memory:point(name, stage)
  local holder = self.stages[self.aliases[name]]
  if holder and holder.id ~= stage.id then holder.name = nil end
  self.aliases[name] = stage.id
end

--- The stage of an id or a name.
-- @tparam string id_or_name
-- @treturn ?Stage a copy, with its `id`; or nil and an error (`stage_not_found`, `store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- local _, err = store:get("nonesuch")
-- print(err.kind) --> stage_not_found
function Memory:get(id_or_name)
  options.method("store:get", self)
  options.argument("store:get", "id or name", id_or_name, "text")
  local stage = self.stages[id_or_name] or self.stages[self.aliases[id_or_name]]
  if not stage then return not_found(id_or_name) end
  return copy_stage(stage)
end

--- All stages, without their code.
-- @treturn ?{table,...} by id: `{ id, name, language, effects }`, of a damaged one `{ id, err }`;
-- or nil and an error (`store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- store:put{ name = "one", language = "bash", code = "execute() { echo 1; }" }
-- for _, stage in ipairs(store:list()) do print(stage.name, stage.language) end --> one bash
function Memory:list()
  options.method("store:list", self)
  local list = {}
  for _, stage in pairs(self.stages) do
    list[#list + 1] = summary(stage)
  end
  table.sort(list, by_id)
  return list
end

--- Take a stage out of the store, with its names.
-- @tparam string id_or_name
-- @treturn ?boolean true; or nil and an error (`stage_not_found`, `store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.store.memory()
-- store:put{ name = "one", language = "bash", code = "execute() { echo 1; }" }
-- print(store:remove("one"), #store:list()) --> true 0
function Memory:remove(id_or_name)
  options.method("store:remove", self)
  options.argument("store:remove", "id or name", id_or_name, "text")
  local id = self.aliases[id_or_name] or id_or_name
  if not self.stages[id] then return not_found(id_or_name) end
  self.stages[id] = nil
  for name, target in pairs(self.aliases) do
    if target == id then self.aliases[name] = nil end
  end
  return true
end

-- The files of a store in a directory:
--
-- <dir>/<id>.json            one stage: { language, code, effects, name }
-- <dir>/names/<hash>.json    one alias: { name, id }, <hash> being the name's
--
-- Every file is written whole under another name and renamed, so a reader sees the old or the new
-- one, and two processes can share the directory. A name is looked up with one read, however many
-- stages there are, and put moves a name from one stage to another in one rename.

local Directory = {}
local directory_metatable = { __name = "noether.store.directory", __index = Directory }

local function failed(path, message, errno)
  return nil, errors.new{
    kind = "store_failed", message = ("store %s: %s"):format(path, message), errno = errno,
    hint = errno == "EACCES" and "the directory must be writable by this user" or nil,
  }
end

local function ensure_directory(path)
  local found = sys.stat(path, true)
  if found and found.type == "directory" then return true end
  if found then return failed(path, "it is a " .. found.type .. ", not a directory", "ENOTDIR") end
  local ok, message, errno = sys.mkdir(path, 448) -- 0700
  if ok or errno == "EEXIST" then return true end
  return failed(path, message, errno)
end

--- A store in a directory, which is made (mode 0700) where it is missing.
-- Several processes may use it at once.
-- @tparam string dir its parent must exist
-- @treturn ?Store a store; or nil and an error (`store_failed`)
-- @treturn ?Error error
-- @usage
-- local store = noether.check(noether.store.open(os.getenv("TMPDIR") .. "/stages"))
-- print(#store:list()) --> 0
function M.open(dir)
  options.argument("store.open", "directory", dir, "path")
  local ok, err = ensure_directory(dir)
  if not ok then return nil, err end
  ok, err = ensure_directory(dir .. "/names")
  if not ok then return nil, err end
  return setmetatable({ dir = dir }, directory_metatable)
end

function Directory:stage_path(id)
  return ("%s/%s.json"):format(self.dir, id)
end

function Directory:alias_path(name)
  return ("%s/names/%s.json"):format(self.dir, sys.sha256(name))
end

-- A file that holds one JSON object. A missing file is false, which is no failure.
local function read_object(path)
  local text, message, errno = sys.read_file(path, MAX_FILE_BYTES)
  if not text then
    if errno == "ENOENT" then return false end
    return failed(path, message, errno)
  end
  local value, reason = json.decode(text)
  if value == nil then return failed(path, "damaged: " .. reason) end
  if type(value) ~= "table" then return failed(path, "damaged: it does not hold an object") end
  return value
end

local function write_object(path, object)
  local text, reason = json.canonical(object)
  if not text then return failed(path, reason) end
  local ok, message, errno = sys.write_file(path, text .. "\n", 384) -- 0600
  if not ok then return failed(path, message, errno) end
  return true
end

local DAMAGED_HINT = "remove the file and put the stage again"

local function damaged(path)
  local _, err = failed(path, "damaged: it does not hold the stage that its name says")
  err.hint = DAMAGED_HINT
  return nil, err
end

-- The stage that a file's object describes, if it is one and is the one of this id.
local function verified(object, id)
  local parsed = type(object.effects) == "table" and effects.parse(object.effects)
  if not parsed or type(object.language) ~= "string" or type(object.code) ~= "string" then
    return nil
  end
  local stage = {
    id = id, language = object.language, code = object.code, effects = parsed.list,
    name = type(object.name) == "string" and object.name or nil,
  }
  local text = identity(stage)
  return text and sys.sha256(text) == id and stage or nil
end

-- The id an alias stands for; false where there is no such alias.
function Directory:resolve(name)
  local path = self:alias_path(name)
  local object, err = read_object(path)
  if not object then return object, err end
  if object.name ~= name or type(object.id) ~= "string" or not is_id(object.id) then
    return failed(path, ("damaged: it does not hold the name '%s'"):format(name))
  end
  return object.id
end

-- The stage of an id, checked against it; false where there is none.
function Directory:read_stage(id)
  local path = self:stage_path(id)
  local object, err = read_object(path)
  if not object then
    if err then err.hint = err.hint or DAMAGED_HINT end
    return object, err
  end
  local stage = verified(object, id)
  if not stage then return damaged(path) end
  -- The name may have moved to another stage since.
  if stage.name and self:resolve(stage.name) ~= id then stage.name = nil end
  return stage
end

function Directory:put(fields)
  options.method("store:put", self)
  local stage, err = M.stage("store:put", fields)
  if not stage then return nil, err end
  local old = self:read_stage(stage.id)
  local name = stage.name or (old and old.name) or nil
  if not old or old.name ~= name then
    local written
    written, err = write_object(self:stage_path(stage.id), {
      language = stage.language, code = stage.code, name = name,
      effects = json.array(stage.effects),
    })
    if not written then return nil, err end
  end
  -- The alias comes last: at no moment does a name lead to a stage that is not there.
  if stage.name then
    local written
    written, err = write_object(self:alias_path(stage.name), { name = stage.name, id = stage.id })
    if not written then return nil, err end
  end
  return stage.id
end

function Directory:find(id_or_name)
  local id, err = id_or_name, nil
  if not is_id(id_or_name) then id, err = self:resolve(id_or_name) end
  if id == false then return not_found(id_or_name) end
  return id, err
end

function Directory:get(id_or_name)
  options.method("store:get", self)
  options.argument("store:get", "id or name", id_or_name, "text")
  local id, err = self:find(id_or_name)
  if not id then return nil, err end
  local stage
  stage, err = self:read_stage(id)
  if stage == false then return not_found(id_or_name) end
  return stage, err
end

function Directory:list()
  options.method("store:list", self)
  local names, message, errno = sys.list(self.dir)
  if not names then return failed(self.dir, message, errno) end
  local list = {}
  for _, file in ipairs(names) do
    local id = file:match("^(%x+)%.json$")
    if id and is_id(id) then
      local stage, err = self:read_stage(id)
      if stage then list[#list + 1] = summary(stage) end
      if err then list[#list + 1] = { id = id, err = err } end
    end
  end
  table.sort(list, by_id)
  return list
end

local function remove_file(path)
  local ok, message, errno = sys.unlink(path)
  if ok or errno == "ENOENT" then return true end
  return failed(path, message, errno)
end

-- Aliases of a stage that has gone lead to stage_not_found: harmless, but litter.
function Directory:remove_aliases(id)
  for _, file in ipairs(sys.list(self.dir .. "/names") or {}) do
    local path = self.dir .. "/names/" .. file
    local object = file:find("%.json$") and read_object(path)
    if object and object.id == id then
      local ok, err = remove_file(path)
      if not ok then return nil, err end
    end
  end
  return true
end

function Directory:remove(id_or_name)
  options.method("store:remove", self)
  options.argument("store:remove", "id or name", id_or_name, "text")
  local id, err = self:find(id_or_name)
  if not id then return nil, err end
  local path = self:stage_path(id)
  local ok, message, errno = sys.stat(path)
  if not ok and errno == "ENOENT" then return not_found(id_or_name) end
  if not ok then return failed(path, message, errno) end
  ok, err = remove_file(path)
  if not ok then return nil, err end
  return self:remove_aliases(id)
end

--- A few lines of code that define `execute`, and what is said of them.
-- @table Stage
-- @tfield string language "python", "javascript", "bash", or another that a policy gives
-- @tfield string code
-- @tfield ?{string|table,...} effects what it needs of the machine; nil: `Unknown`
-- @tfield ?string name an alias of its id

return M
