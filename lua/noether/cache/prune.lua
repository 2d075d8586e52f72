-- SPDX-License-Identifier: MIT
--- Take out of the cache what nobody has used for long: scripts, environments with packages, and
-- what builders that died left.
--
-- Stages run and others prune meanwhile. Who uses an entry asks nobody: the use is noted
-- (`cache.note_use`), and only if the last note is a day old. So an entry is old when its last note
-- is a day older than was asked for. It is given another name first, and looked at again under
-- that: whoever noted a use before gets it back, and whoever does so after finds nothing, and makes
-- it anew. In the moment between, a stage that is just being started may miss its script, which is
-- then written again (execution/launch.lua). An environment goes under the lock of its builder. The
-- other name tells since when it is that: its own age is no longer to be seen by others, who might
-- take it for something left, and half of it away, before it is given back.
--
-- What nix built for us stays: a root may belong to a lock file that is not in the cache, and
-- nothing there tells.
local cache = require "noether.cache.scripts"
local errors = require "noether.error"
local json = require "noether.json"
local options = require "noether.options"
local sys = require "noether.sys"
local tables = require "noether.tables"
local environments = require "noether.runtime.environments"

local M = {}

--- The options of @{prune}.
M.OPTIONS = { older_than_secs = "seconds", dry_run = "boolean", cache_dir = "path" }

M.DEFAULTS = { older_than_secs = 30 * 24 * 3600, dry_run = false }

--- The least `older_than_secs`: no run that began within it loses what it uses.
M.MIN_SECS = 24 * 3600

local Sweep = {}
Sweep.__index = Sweep

function Sweep:fail(path, message)
  table.insert(self.report.failed, { path = path, message = errors.clean(message) })
end

-- How long something was not used, as far as that is known; nil if it is not there.
function Sweep:age(path)
  local stat, message, errno = sys.stat(path)
  if not stat and errno ~= "ENOENT" then self:fail(path, message) end
  return stat and self.now - stat.mtime
end

function Sweep:is_old(path)
  local age = self:age(path)
  return age ~= nil and age > self.report.older_than_secs + cache.USE_SECS
end

local function describe(self, name, path)
  return {
    name = name, bytes = cache.bytes_of{ path }, unused_secs = math.floor(self:age(path) or 0),
  }
end

function Sweep:add(sort, entry)
  local report = self.report
  table.insert(report[sort], entry)
  report.count, report.bytes = report.count + 1, report.bytes + entry.bytes
end

-- What others are removing at the same time is gone, and theirs to tell of.
function Sweep:remove(sort, path, entry)
  local ok, message = sys.remove_tree(path)
  if ok then
    self:add(sort, entry)
  elseif sys.stat(path) then
    self:fail(path, message)
  end
end

-- Renames without waiting for the disk, which would take longer than all else: what a crash brings
-- back is as old as it was.
local function move(from, to)
  local ok, message = os.rename(from, to)
  if ok then return true end
  return nil, sys.stat(from) and ("rename: %s: %s"):format(from, message) or nil
end

local ASIDE = "^%.gone%-(%d+)%-"

-- Gives an entry another name, if it is still old under that: the name; or nil.
function Sweep:set_aside(root, name)
  local path = root .. "/" .. name
  local aside, message = sys.unique_path(("%s/.gone-%d-"):format(root, math.floor(self.now)))
  if not aside then return self:fail(path, message) end
  local ok
  ok, message = move(path, aside)
  if not ok then return message and self:fail(path, message) end
  if not self:is_old(aside) and move(aside, path) then
    self.report.kept = self.report.kept + 1
    return nil
  end
  return aside
end

function Sweep:collect(sort, root, name)
  local path = root .. "/" .. name
  local entry = describe(self, name, path)
  if self.report.dry_run then return self:add(sort, entry) end
  local aside = self:set_aside(root, name)
  if aside then self:remove(sort, aside, entry) end
end

function Sweep:collect_leftover(root, name)
  local path = root .. "/" .. name
  local entry = describe(self, name, path)
  if self.report.dry_run then return self:add("leftovers", entry) end
  self:remove("leftovers", path, entry)
end

-- What a builder, or a prune, that died left. Whether it is one.
function Sweep:is_leftover(root, name)
  local since = tonumber(name:match(ASIDE))
  if not since and name:sub(1, 5) ~= ".tmp-" then return false end
  local path = root .. "/" .. name
  local age = since and self.now - since or self:age(path)
  if cache.is_left(path, age) then self:collect_leftover(root, name) end
  return true
end

-- With the lock of an environment, if nobody has it: whether that is so.
function Sweep:locked(root, key, work)
  local path = ("%s/%s.lock"):format(root, key)
  local lock, message, errno
  if not self.report.dry_run or sys.stat(path) then
    lock, message, errno = environments.try_lock(root, key)
    if errno and errno ~= "EAGAIN" then self:fail(path, message) end
    if not lock then return false end
  end
  work()
  if lock then lock.close() end
  return true
end

function Sweep:scripts(root, name)
  if self:is_leftover(root, name) then return end
  if #name ~= 64 or name:find("%X") then return self:foreign(root, name) end
  if self:is_old(root .. "/" .. name) then return self:collect("scripts", root, name) end
  self.report.kept = self.report.kept + 1
end

function Sweep:environment(root, key)
  local entry, aside = describe(self, key, root .. "/" .. key), nil
  local is_free = self:locked(root, key, function()
    if self.report.dry_run then return self:add("venvs", entry) end
    aside = self:set_aside(root, key)
  end)
  if not is_free then self.report.kept = self.report.kept + 1 end
  if aside then self:remove("venvs", aside, entry) end
end

-- The lock of a builder that died; one that nobody has is given back by its name.
function Sweep:lock_file(root, name, key)
  local age = self:age(root .. "/" .. name)
  if self.report.dry_run or not age or age <= cache.LEFTOVER_SECS then return end
  self:locked(root, key, function() end)
end

function Sweep:venvs(root, name)
  local built, locked = name:match("^%.tmp%-(%x+)%-%w+$"), name:match("^(%x+)%.lock$")
  if built then
    return self:locked(root, built, function() self:collect_leftover(root, name) end)
  end
  if self:is_leftover(root, name) then return end
  if locked then return self:lock_file(root, name, locked) end
  if #name ~= 32 or name:find("%X") then return self:foreign(root, name) end
  if self:is_old(root .. "/" .. name) then return self:environment(root, name) end
  self.report.kept = self.report.kept + 1
end

-- What has no name that we give is told of, and stays.
function Sweep:foreign(root, name)
  table.insert(self.report.foreign, ("%s/%s"):format(root, errors.clean(name, 300)))
end

-- Each name in a directory of the cache, which must be ours alone.
function Sweep:directory(dir, sort)
  local root = dir .. "/" .. sort
  local _, message, errno = sys.stat(root)
  if errno == "ENOENT" then return true end
  local names, ok
  if not errno then ok, message, errno = sys.mkdir_private(root) end
  if ok then names, message, errno = sys.list(root) end
  if not names then return nil, cache.failure(message, errno) end
  for _, name in ipairs(names) do
    self[sort](self, root, name)
  end
  return true
end

-- Texts of runs, which go with them: those that are left are of hosts that were killed.
function Sweep:files(root, name)
  local age = self:age(root .. "/" .. name)
  if age and age > M.MIN_SECS then self:collect_leftover(root, name) end
end

local function new_report(given)
  return {
    older_than_secs = given.older_than_secs, dry_run = given.dry_run,
    scripts = json.array(), venvs = json.array(), leftovers = json.array(),
    foreign = json.array(), failed = json.array(), count = 0, bytes = 0, kept = 0,
  }
end

local function check(opts)
  local given = tables.merged(M.DEFAULTS, options.check("prune", opts, M.OPTIONS))
  if given.older_than_secs < M.MIN_SECS then
    options.raise(("prune: option 'older_than_secs': expected a day (%d) or more, got %g"):format(
      M.MIN_SECS, given.older_than_secs))
  end
  return given
end

--- Remove from the cache what was not used for long, while others may be using it. A use is noted
-- to the day: an entry can stay a day longer than was asked for, and never goes earlier. What is
-- needed again is made again. It takes as long as it takes to remove files; a program with an event
-- loop had better start the command `noether prune`.
-- @tparam[opt] PruneOptions opts
-- @treturn ?Pruned what went; nil with an error (`cache_failed`) if the cache cannot be used. Where
-- there is none, nothing went
-- @treturn ?Error error
-- @raise on a wrong option, or less than a day
-- @usage
-- local pruned, err = noether.prune{ older_than_secs = 7 * 86400, dry_run = true }
-- if err then error(err) end
-- print(#pruned.scripts <= pruned.count, pruned.dry_run) --> true true
function M.prune(opts)
  local given = check(opts)
  local report = new_report(given)
  local found, err = cache.open_existing(given.cache_dir, sys.environ())
  if err then return nil, err end
  if not found then return report end
  report.cache_dir = found.dir
  local sweep = setmetatable({ now = sys.time(), report = report }, Sweep)
  for _, sort in ipairs{ "scripts", "venvs", "files" } do
    local ok
    ok, err = sweep:directory(found.dir, sort)
    if not ok then return nil, err end
  end
  return report
end

--- Something that went out of the cache, or would go.
-- @table PrunedEntry
-- @tfield string name of the directory
-- @tfield number bytes what its files held
-- @tfield number unused_secs since when it was not used, to the day

--- What `noether.prune` did.
-- @table Pruned
-- @tfield ?string cache_dir the cache; nil if there is none
-- @tfield number older_than_secs
-- @tfield boolean dry_run whether this only would go
-- @tfield {PrunedEntry,...} scripts wrapped stages
-- @tfield {PrunedEntry,...} venvs environments with packages
-- @tfield {PrunedEntry,...} leftovers what was never finished
-- @tfield number count of all these
-- @tfield number bytes of all these
-- @tfield number kept how many scripts and environments are still there
-- @tfield {string,...} foreign paths of what is none of the library's, and was left alone
-- @tfield {table,...} failed what would not go: `path`, `message`

return M
