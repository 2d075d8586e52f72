-- SPDX-License-Identifier: MIT
--- Files that a call gives a stage, by name below its working directory.
--
-- A file of the host's is bound there, or linked, and never copied; a text is written to a
-- directory of this run's own first. All that is wrong with one is told before anything runs.
local cache = require "noether.cache.scripts"
local descriptions = require "noether.sandbox.description"
local errors = require "noether.error"
local guard = require "noether.sandbox.guard"
local resolve = require "noether.sandbox.resolve"
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

--- So many files a call may give.
M.MOST = 256

local MAX_NAME_BYTES = 1024 -- of all of it
local MAX_PART_BYTES = 255 -- NAME_MAX
local TOO_LONG = "%s has more than %d bytes"
local FILE_MODE = 292 -- 0444: a sandbox may run under another user id
local DIRECTORY_MODE = 493 -- 0755

-- How old a directory of texts is once its run is surely over.
local LEFTOVER_SECS = cache.USE_SECS

-- What is wrong with a path that is the caller's to choose; the rest is trouble of this machine's.
local CALLERS = { EACCES = true, ELOOP = true, ENAMETOOLONG = true, ENOENT = true, ENOTDIR = true }

local function fail(name, reason, errno, hint)
  local is_callers = errno == nil or CALLERS[errno]
  return nil, errors.new{
    kind = is_callers and "input_invalid" or "spawn_failed", errno = errno,
    hint = hint or errors.NO_DESCRIPTOR[errno or ""],
    message = ("file '%s': %s"):format(errors.clean(name, 100), reason),
  }
end

--- What is wrong with a name below a working directory.
-- @param name
-- @treturn ?string nil: nothing
function M.wrong_name(name)
  if type(name) ~= "string" then return "a name is text, this is a " .. type(name) end
  if name == "" then return "the name is empty" end
  if name:sub(1, 1) == "/" then return "the name is an absolute path" end
  if #name > MAX_NAME_BYTES then return TOO_LONG:format("the name", MAX_NAME_BYTES) end
  if errors.clean(name, 4 * #name) ~= name then -- nor those of Unicode
    return "the name has control characters, or is no UTF-8"
  end
  for part in (name .. "/"):gmatch("([^/]*)/") do
    if part == "" or part == "." or part == ".." then
      return "the name has empty parts, '.' or '..'"
    end
    if #part > MAX_PART_BYTES then return TOO_LONG:format("a part of the name", MAX_PART_BYTES) end
  end
  return nil
end

-- The name of another one that would have to be a directory for this.
local function directory_of(name, files)
  local above = name:match("^(.*)/[^/]*$")
  while above do
    if files[above] then return above end
    above = above:match("^(.*)/[^/]*$")
  end
  return nil
end

--- Step: all that names alone can tell. Touches no disk.
-- @tparam table job
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.check(job)
  local files = job.call.files or {}
  local names = tables.sorted_names(files)
  if #names > M.MOST then
    return nil, errors.new{ kind = "input_invalid", limit = M.MOST,
      message = ("a call gives at most %d files, and this one %d"):format(M.MOST, #names) }
  end
  for _, name in ipairs(names) do
    local reason = M.wrong_name(name)
    local above = not reason and directory_of(name, files)
    if above then reason = ("'%s' is a file, too, and cannot hold it"):format(above) end
    if job.script.files[name] then reason = "the stage's own script has that name" end
    if reason then return fail(name, reason) end
  end
  return true
end

-- A stage's directory of texts, which goes with the task; what a killed host left goes in time.
local function texts_directory(job, task)
  local opened, err = job.executor:open_cache()
  if not opened then return nil, err end
  local root = opened.dir .. "/files"
  local ok, message, errno = sys.mkdir_private(root)
  if not ok then return nil, cache.failure(message, errno) end
  for _, left in ipairs(sys.list(root) or {}) do
    local path = root .. "/" .. left
    local stat = sys.stat(path)
    if stat and sys.time() - stat.mtime > LEFTOVER_SECS then sys.remove_tree(path) end
  end
  local dir
  dir, message, errno = sys.mkdtemp(root .. "/.tmp-")
  if not dir then return nil, cache.failure(message, errno) end
  task:hold{ close = function() sys.remove_tree(dir) end }
  return dir
end

-- The texts as files: their paths by name.
local function write_texts(job, task, names)
  local paths, dir, err = {}, nil, nil
  for index, name in ipairs(names) do
    local text = job.call.files[name]
    if type(text) == "string" then
      if not dir then dir, err = texts_directory(job, task) end
      if not dir then return nil, err end
      local path = ("%s/%d"):format(dir, index)
      local ok, message, errno = sys.write_file(path, text, FILE_MODE)
      if not ok then return nil, cache.failure(message, errno) end
      paths[name] = path
    end
  end
  if dir then sys.chmod(dir, DIRECTORY_MODE) end
  return paths, dir
end

local TYPES = {
  directory = "is a directory", fifo = "is a fifo", socket = "is a socket", char = "is a device",
  block = "is a device", link = "is a link",
}

-- Where the path of a file leads, if it is one that can be read.
local function real_path(name, path, written)
  if path:sub(1, 1) ~= "/" then path = (sys.realpath(".") or "") .. "/" .. path end
  local real, message, errno = resolve.resolve(path, written)
  if not real then return fail(name, message, errno) end
  local stat
  stat, message, errno = sys.stat(real)
  if not stat then return fail(name, message, errno) end
  if stat.type ~= "file" then return fail(name, ("%s %s"):format(real, TYPES[stat.type])) end
  local ok
  ok, message, errno = sys.access(real, "r")
  if not ok then return fail(name, message, errno) end
  return real
end

-- Without walls nothing can be put over what is there.
local function place_in_private(job, name, source)
  if job.work_dir then
    if source == job.work_dir .. "/" .. name then return true end
    return fail(name, ("with %s and a work_dir only files that lie there can be given"):format(
      job.backend), nil, "leave out work_dir, or use another isolation")
  end
  local description = job.description
  table.insert(description.links, { source = source, target = name })
  if job.backend ~= "none" then
    table.insert(description.ro_binds, { source = source, target = source })
  end
  return true
end

local function place_behind_walls(job, name, source)
  local own = job.work_dir and job.work_dir .. "/" .. name
  local stat = own and sys.realpath(own) == own and sys.stat(own)
  if own and (not stat or stat.type ~= "file") then
    return fail(name, ("with a work_dir it must be there as a file already, and %s is not"):format(
      own), nil, "make an empty file of that name, or leave out work_dir")
  end
  local description = job.description
  table.insert(description.ro_binds,
    { source = source, target = description.work_dir .. "/" .. name })
  return true
end

-- What no stage is shown, no file shows either.
local function judge(job, name, source, own_dir)
  local judged, err = guard.check({ ro_binds = { { source = source, target = source } } }, {
    effects = job.effects, grants = {}, cache_dir = job.cache_dir, own_paths = { own_dir },
  })
  if judged then return true end
  return fail(name, err.message)
end

--- Step: put the files into the description of the sandbox.
-- @tparam table job
-- @tparam table task
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.place(job, task)
  local names = tables.sorted_names(job.call.files or {})
  if #names == 0 then return true end
  local in_place = descriptions.sees_host_paths(job.backend)
  local place = in_place and place_in_private or place_behind_walls
  local texts, own_dir = write_texts(job, task, names)
  if not texts then return nil, own_dir end
  for _, name in ipairs(names) do
    local source, err = texts[name], nil
    if not source then
      source, err = real_path(name, job.call.files[name].path, job.executor.written)
    end
    if not source then return nil, err end
    local ok
    ok, err = judge(job, name, source, own_dir)
    if ok then ok, err = place(job, name, source) end
    if not ok then return nil, err end
  end
  return true
end

return M
