-- SPDX-License-Identifier: MIT
--- Stages in a directory, one atomic file each.
--
-- <dir>/<id>.json            one stage: { language, code, effects, name }
-- <dir>/names/<hash>.json    one alias: { name, id }, <hash> being the name's
--
-- Every file is written whole under another name and renamed, so a reader sees the old or the new
-- one, and two processes can share the directory. A name is looked up with one read, however many
-- stages there are, and put moves a name from one stage to another in one rename.
local errors = require "noether.error"
local json = require "noether.json"
local options = require "noether.options"
local stages = require "noether.stage.stage"
local sys = require "noether.sys"

local M = {}

local MAX_FILE_BYTES = 64 * 1024 * 1024

local Directory = {}
local metatable = { __name = "noether.store.directory", __index = Directory }

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
  return setmetatable({ dir = dir }, metatable)
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

-- The id an alias stands for; false where there is no such alias.
function Directory:resolve(name)
  local path = self:alias_path(name)
  local object, err = read_object(path)
  if not object then return object, err end
  if object.name ~= name or type(object.id) ~= "string" or not stages.is_id(object.id) then
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
  local stage = stages.verified(object, id)
  if not stage then return damaged(path) end
  -- The name may have moved to another stage since.
  if stage.name and self:resolve(stage.name) ~= id then stage.name = nil end
  return stage
end

function Directory:put(fields)
  options.method("store:put", self)
  local stage, err = stages.new("store:put", fields)
  if not stage then return nil, err end
  local old = self:read_stage(stage.id)
  local name = stage.name or (old and old.name) or nil
  local says_more = stage.description or stage.input_schema or stage.output_schema
  stages.keep_told(stage, old or nil)
  if not old or old.name ~= name or says_more then
    local written
    written, err = write_object(self:stage_path(stage.id), {
      language = stage.language, code = stage.code, name = name,
      effects = json.array(stage.effects), description = stage.description,
      input_schema = stage.input_schema, output_schema = stage.output_schema,
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
  if not stages.is_id(id_or_name) then id, err = self:resolve(id_or_name) end
  if id == false then return stages.not_found(id_or_name) end
  return id, err
end

function Directory:get(id_or_name)
  options.method("store:get", self)
  options.argument("store:get", "id or name", id_or_name, "text")
  local id, err = self:find(id_or_name)
  if not id then return nil, err end
  local stage
  stage, err = self:read_stage(id)
  if stage == false then return stages.not_found(id_or_name) end
  return stage, err
end

function Directory:list()
  options.method("store:list", self)
  local names, message, errno = sys.list(self.dir)
  if not names then return failed(self.dir, message, errno) end
  local list = {}
  for _, file in ipairs(names) do
    local id = file:match("^(%x+)%.json$")
    if id and stages.is_id(id) then
      local stage, err = self:read_stage(id)
      if stage then list[#list + 1] = stages.summary(stage) end
      if err then list[#list + 1] = { id = id, err = err } end
    end
  end
  table.sort(list, stages.by_id)
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
  if not ok and errno == "ENOENT" then return stages.not_found(id_or_name) end
  if not ok then return failed(path, message, errno) end
  ok, err = remove_file(path)
  if not ok then return nil, err end
  return self:remove_aliases(id)
end

return M
