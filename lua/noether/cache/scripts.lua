-- SPDX-License-Identifier: MIT
--- Scripts on disk, where a sandbox can bind them.
-- A set of files is a directory below `scripts`, named by the SHA-256 of its names and contents.
-- It is built under another name and renamed, so it is there whole or not at all, and two
-- processes that build the same one do not disturb each other. It is compared with what it
-- should hold each time it is used: what is on disk is never trusted. The cache directory is
-- closed to others (0700); the files in it are readable by all (0444 in 0755), since a sandbox
-- that binds them may run under another user id. Nothing goes by itself: prune.lua takes out what
-- was not used for long, as the time of each directory tells.
local compat = require "noether.compat"
local errors = require "noether.error"
local sys = require "noether.sys"

local M = {}

local FILE_MODE = 292 -- 0444
local DIRECTORY_MODE = 493 -- 0755, so that `rm -r` works
local MAX_NAME_BYTES = 200
local MAX_HASHES = 64

--- How old something unfinished is once its builder is dead: none takes an hour.
M.LEFTOVER_SECS = 3600

--- How exactly it is known when something was used last. To note it each time would be to write
-- each time; so what is in use may look unused for as long as this.
M.USE_SECS = 24 * 3600

--- What reading says of a file or directory that is not as we left it. Any other errno is trouble
-- of our own (too many open files, say), which building again would not mend.
M.DAMAGE = { ENOENT = true, ENOTDIR = true, EISDIR = true, ELOOP = true, EACCES = true,
  EINVAL = true }

-- Why a standard location cannot be used although nobody did wrong.
local NO_PLACE = { ENOENT = true, ENOTDIR = true, EACCES = true, EROFS = true }

local HINTS = {
  EPERM = "make it yours alone (chown, chmod 700), or set NOETHER_CACHE_DIR to another directory",
  ENOSPC = "free some space there, or set NOETHER_CACHE_DIR to a directory on another disk",
  EDQUOT = "free some of your quota, or set NOETHER_CACHE_DIR to a directory on another disk",
}
local HINT = "set NOETHER_CACHE_DIR to a directory that is yours and can be written to"

--- What the system said of the cache, as an error. Where no descriptor is left it is not the cache
-- that fails: nothing could be started either.
-- @tparam string message
-- @tparam ?string errno
-- @treturn table error of kind `cache_failed`, or `spawn_failed`
function M.failure(message, errno)
  local no_descriptor = errors.NO_DESCRIPTOR[errno]
  return errors.new{
    kind = no_descriptor and "spawn_failed" or "cache_failed", errno = errno,
    message = "the cache cannot be used: " .. message,
    hint = no_descriptor or HINTS[errno] or HINT,
  }
end

local failure = M.failure

--- Note that something in the cache is being used: its time of change says when that was last. It
-- may have been taken away since it was looked at (by `prune`); any other failure does not matter.
-- @tparam string path
-- @tparam table stat of it
-- @treturn boolean whether it is still there
function M.note_use(path, stat)
  if math.abs(sys.time() - stat.mtime) < M.USE_SECS then return true end
  local _, _, errno = sys.touch(path)
  return errno ~= "ENOENT"
end

--- How much files hold, those below directories included. Links are not followed.
-- @tparam {string,...} paths a list, which is used up
-- @tparam[opt] number max_looks at how many files and directories to look, at most
-- @treturn number bytes
-- @treturn boolean whether there was more to look at
function M.bytes_of(paths, max_looks)
  local bytes, looks = 0, 0
  while #paths > 0 and looks < (max_looks or math.huge) do
    local path = table.remove(paths)
    local stat = sys.stat(path)
    local is_directory = stat and stat.type == "directory"
    for _, name in ipairs(is_directory and sys.list(path) or {}) do
      paths[#paths + 1] = path .. "/" .. name
    end
    if stat and not is_directory then bytes = bytes + stat.size end
    looks = looks + 1
  end
  return bytes, #paths > 0
end

local Cache = {}
local metatable = { __index = Cache, __name = "noether.cache" }

-- "same", "missing" or "damaged"; nil, message, errno if that cannot be told. The use is noted
-- first: what is the same after that, `prune` leaves alone.
local function compare(directory, files, count)
  local stat = sys.stat(directory)
  if stat then M.note_use(directory, stat) end
  local names, message, errno = sys.list(directory)
  if not names then
    if errno == "ENOENT" then return "missing" end
    if M.DAMAGE[errno] then return "damaged" end
    return nil, message, errno
  end
  if #names ~= count then return "damaged" end
  for name, text in pairs(files) do
    local same
    same, message, errno = sys.file_equals(directory .. "/" .. name, text)
    if same == nil and not M.DAMAGE[errno] then return nil, message, errno end
    if not same then return "damaged" end
  end
  return "same"
end

local function write_files(directory, files)
  for name, text in pairs(files) do
    local ok, message, errno = sys.write_file(directory .. "/" .. name, text, FILE_MODE)
    if not ok then return nil, message, errno end
  end
  return sys.chmod(directory, DIRECTORY_MODE)
end

-- Puts `built` where something else is. What was there is then in the built one's place, and
-- removed with it. Where the file system cannot swap, the name is missing for a moment.
local function replace(built, final)
  local ok, message, errno = sys.exchange(built, final)
  if ok or errno ~= "EINVAL" then return ok, message, errno end
  ok, message, errno = sys.remove_tree(final)
  if not ok then return nil, message, errno end
  return sys.rename(built, final)
end

local function install(built, final, state)
  if state == "damaged" then return replace(built, final) end
  local ok, message, errno = sys.rename(built, final)
  -- Another process was quicker; that it did well is for the next comparison to say.
  if errno == "ENOTEMPTY" or errno == "EEXIST" then return true end
  return ok, message, errno
end

local function build(root, final, files, state)
  local ok, message, errno = sys.mkdir_private(root)
  if not ok then return nil, message, errno end
  local temp
  temp, message, errno = sys.mkdtemp(root .. "/.tmp-")
  if not temp then return nil, message, errno end
  ok, message, errno = write_files(temp, files)
  if ok then ok, message, errno = install(temp, final, state) end
  sys.remove_tree(temp)
  return ok, message, errno
end

--- Whether something unfinished was left by a process that is no more: it is old, and where it has
-- a file `lock`, nobody holds that. (What waits for a request may wait for long, and to look old is
-- enough that the time of day has jumped.)
-- @tparam string path
-- @tparam ?number age in seconds; nil: it is not there
-- @treturn boolean
function M.is_left(path, age)
  if not age or age <= M.LEFTOVER_SECS then return false end
  local stat = sys.stat(path)
  if not stat or stat.type ~= "directory" or not sys.stat(path .. "/lock") then return true end
  local lock = sys.lock(path .. "/lock", { wait = false })
  if lock then lock:close() end
  return lock ~= nil
end

-- What builders that died have left behind. Failures do not matter: the next one tries again.
local function remove_leftovers(root)
  local now = sys.time()
  for _, name in ipairs(sys.list(root) or {}) do
    local path = root .. "/" .. name
    local stat = name:sub(1, 5) == ".tmp-" and sys.stat(path)
    if stat and M.is_left(path, now - stat.mtime) then sys.remove_tree(path) end
  end
end

-- Names become paths, and are listed back.
local function check_name(name)
  return type(name) == "string" and #name <= MAX_NAME_BYTES
    and name:find("^[%w_][%w_.-]*$") ~= nil
end

local hashes, hash_count = {}, 0

--- The SHA-256 of a file's text. Most are the same text again (a runner), so the last hash of each
-- name is kept.
-- @tparam string name
-- @tparam string text
-- @treturn string
function M.hash(name, text)
  local known = hashes[name]
  if known and known.text == text then return known.hash end
  if not known then hash_count = hash_count + 1 end
  if hash_count > MAX_HASHES then hashes, hash_count = {}, 1 end
  local hash = sys.sha256(text)
  hashes[name] = { text = text, hash = hash }
  return hash
end

-- The name of the directory and the number of files; nil and a message for a set that no
-- directory can hold.
local function identify(files)
  local lines = {}
  for name, text in pairs(files) do
    if not check_name(name) then return nil, "not a file name: " .. tostring(name) end
    if type(text) ~= "string" then return nil, ("file %s is no text"):format(name) end
    lines[#lines + 1] = name .. " " .. M.hash(name, text)
  end
  if #lines == 0 then return nil, "no files" end
  table.sort(lines)
  return sys.sha256(table.concat(lines, "\n")), #lines
end

--- Put a set of files on disk, if it is not there yet.
-- @tparam table files text by name; names of letters, digits, "_", "-", "."
-- @treturn ?string absolute path of a directory that holds just these files, checked now
-- @treturn ?table error of kind `cache_failed` or `closed`
-- @treturn ?string warning: what was on disk had been changed, and was replaced
function Cache:put_files(files)
  if self._closed then
    return nil, errors.new{ kind = "closed", message = "the cache is closed" }
  end
  local key, count = identify(files)
  if not key then return nil, failure(count) end
  local root = self.dir .. "/scripts"
  local final = root .. "/" .. key
  local warning
  -- Twice more than it takes: a builder may lose to another, or its directory to a cleaner.
  for _ = 1, 3 do
    local state, message, errno = compare(final, files, count)
    if state == "same" then return final, nil, warning end
    if not state then return nil, failure(message, errno) end
    if state == "damaged" then
      warning = ("the cached files in %s had been changed; they were written anew"):format(final)
    end
    if not self._cleaned then
      self._cleaned = true
      remove_leftovers(root)
    end
    local ok
    ok, message, errno = build(root, final, files, state)
    if not ok and errno ~= "ENOENT" then return nil, failure(message, errno) end
  end
  return nil, failure(("%s keeps being changed"):format(final))
end

--- Give up the cache. One that was made for this process only is removed. More calls do nothing.
function Cache:close()
  if self._closed then return end
  self._closed = true
  -- A forked child of the host holds a copy of this object, and the directory is the parent's.
  if self.private and sys.getpid() == self._pid then sys.remove_tree(self.dir) end
end

metatable.__gc = Cache.close
metatable.__close = Cache.close

local function is_absolute(path)
  return path ~= nil and path:sub(1, 1) == "/"
end

-- The directory of the XDG Base Directory Specification, which says to ignore relative paths.
-- A HOME that is not there (that of `nobody`, say) is none, and not for us to make.
local function standard_location(environ)
  if is_absolute(environ.XDG_CACHE_HOME) then
    return environ.XDG_CACHE_HOME .. "/noether", "XDG_CACHE_HOME"
  end
  local home = is_absolute(environ.HOME) and sys.stat(environ.HOME, true)
  if home and home.type == "directory" then return environ.HOME .. "/.cache/noether", "HOME" end
  return nil
end

--- Where the cache is, whether or not there is one.
-- @tparam ?string dir
-- @tparam table environ
-- @treturn ?string nil if there is no place for one that lasts
-- @treturn ?string by what it was chosen: "cache_dir", or the name of a variable
function M.locate(dir, environ)
  if dir then return dir, "cache_dir" end
  if (environ.NOETHER_CACHE_DIR or "") ~= "" then
    return environ.NOETHER_CACHE_DIR, "NOETHER_CACHE_DIR"
  end
  return standard_location(environ)
end

local function new(dir, private, warnings)
  local cache = {
    dir = dir, private = private, warnings = warnings,
    _pid = sys.getpid(), _closed = false, _cleaned = false,
  }
  return compat.set_handle_metatable(cache, metatable)
end

-- A root that is read-only may have no directory but shared memory that can be written to.
local function make_private(environ)
  local bases = { "/tmp", "/dev/shm" }
  if is_absolute(environ.TMPDIR) then table.insert(bases, 1, environ.TMPDIR) end
  local dir, first, message, errno
  for _, base in ipairs(bases) do
    dir, message, errno = sys.mkdtemp(base .. "/noether-")
    first = first or { message, errno }
    if dir or not NO_PLACE[errno] then return dir, message, errno end
  end
  return nil, first[1], first[2]
end

local function open_private(environ, reason)
  local dir, message, errno = make_private(environ)
  if not dir then return nil, failure(message, errno) end
  return new(dir, true, {
    ("%s: scripts are kept in %s for this process only (set NOETHER_CACHE_DIR)")
      :format(reason, dir),
  })
end

local function open_directory(dir)
  local ok, message, errno = sys.mkdir_private((dir:gsub("(.)/+$", "%1")))
  if not ok then return nil, message, errno end
  local real
  real, message, errno = sys.realpath(dir)
  if not real then return nil, message, errno end
  return new(real, false, {})
end

local CHOSEN = { cache_dir = true, NOETHER_CACHE_DIR = true }

local function check_location(location, source)
  if source ~= "NOETHER_CACHE_DIR" or is_absolute(location) then return true end
  return nil, failure(("NOETHER_CACHE_DIR is not an absolute path: %s"):format(location))
end

--- Why there is no place for a cache, or for anything else of the user's.
-- @tparam table environ the environment: value by name
-- @treturn string
function M.homeless(environ)
  local home = environ.HOME
  if home == nil or home == "" then return "there is no home directory (HOME is not set)" end
  return ("there is no home directory (HOME is '%s', no absolute path)"):format(
    errors.clean(home, 100))
end

--- Open the cache. Its directory is `dir`, else `$NOETHER_CACHE_DIR`, else
-- `$XDG_CACHE_HOME/noether`, else `$HOME/.cache/noether`; where none of the latter two can be had,
-- a temporary one for this process, with a warning. It is created with mode 0700; one that
-- exists must be ours and closed to others. Who may write to the directories above it is the
-- caller's to know.
-- @tparam ?string dir
-- @tparam table environ the environment: value by name
-- @treturn ?table the cache: `dir` (absolute), `private` (whether it goes with the process),
-- `warnings` (a list of strings)
-- @treturn ?table error of kind `cache_failed`
function M.open(dir, environ)
  local location, source = M.locate(dir, environ)
  if not location then return open_private(environ, M.homeless(environ)) end
  local ok, err = check_location(location, source)
  if not ok then return nil, err end
  local cache, message, errno = open_directory(location)
  if cache then return cache end
  if CHOSEN[source] or not NO_PLACE[errno] then return nil, failure(message, errno) end
  return open_private(environ, message)
end

--- Open the cache if there is one. Nothing is made.
-- @tparam ?string dir
-- @tparam table environ
-- @treturn ?table the cache; nil if there is none; nil and an error (`cache_failed`)
-- @treturn ?table
function M.open_existing(dir, environ)
  local location, source = M.locate(dir, environ)
  if not location then return nil end
  local ok, err = check_location(location, source)
  if not ok then return nil, err end
  local stat, message, errno = sys.stat(location)
  if errno == "ENOENT" then return nil end
  local cache
  if stat then cache, message, errno = open_directory(location) end
  if cache then return cache end
  return nil, failure(message, errno)
end

return M
