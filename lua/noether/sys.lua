-- SPDX-License-Identifier: MIT
--- The system: files, hashes, clocks and facts about this process.
-- Wrong arguments raise, a path with a zero byte among them. What the system refuses is
-- `nil, message, errno`, where the message reads "open: /a/b: No such file or directory" and
-- errno is a name such as "ENOENT". Paths may be relative, but for where it is said.
local core = require "noether.core"
local errors = require "noether.error"

local M = {}

-- The core tells of a failure in a table; here it is `nil, message, errno`.
local function results(value, failed)
  if not failed then return value end
  return nil, errors.sentence(failed), failed.errno
end

-- None of them takes more than these.
local function plain(fn)
  return function(first, second, third)
    return results(fn(first, second, third))
  end
end

--- The version of the library, as in noether.h.
M.version = core.version

--- SHA-256 in lower-case hexadecimal.
-- @tparam string bytes
-- @treturn string 64 digits
-- @usage
-- print(noether.sha256("noether"):sub(1, 8)) --> 719b4802
-- @function sha256
M.sha256 = core.sha256

--- Seconds on the monotonic clock, for measuring and for deadlines.
-- @treturn number
-- @usage
-- local before = noether.clock()
-- print(noether.clock() >= before) --> true
-- @function clock
M.clock = core.clock

--- Seconds since 1970 on the wall clock, which may jump.
-- @treturn number
-- @function time
M.time = core.time

--- A copy of this process's environment. Modules are handed what they need of it: only the
-- executor's constructor and the command call this.
-- @treturn table value by name
-- @function environ
M.environ = core.environ

--- @treturn number the id of this process
-- @function getpid
M.getpid = core.getpid

--- @treturn number the effective user id
-- @function geteuid
M.geteuid = core.geteuid

--- @tparam number fd
-- @treturn boolean whether a descriptor is a terminal
-- @function isatty
M.isatty = core.isatty

--- @treturn number how many processors this process may use; at least 1
-- @function cpu_count
M.cpu_count = core.cpu_count

--- What a fork server loads, as a string.
M.fork_helper = core.fork_helper

--- A set of descriptors that is itself one: an epoll(7) descriptor, and an alarm.
-- @treturn ?userdata `pollfd()`, `add(fd, number)`, `remove(fd)`, `wait(secs, list)`: how many are
-- ready, their numbers in the list (256 at most), `alarm(secs)`: after which the descriptor is
-- readable (nil takes it back), `close()`; a method that fails gives nil and `{ message, errno }`
-- @treturn ?string message
-- @treturn ?string errno
-- @function poller
M.poller = plain(core.poller)

--- Wait for one of several descriptors to be readable: poll(2).
-- @tparam table fds
-- @tparam ?number secs nil or math.huge: for ever
-- @tparam table list is filled with the positions of those that are
-- @treturn number how many are
-- @function poll
M.poll = core.poll

--- A descriptor of this process's own, read or written without ever waiting; nobody who shares it
-- notices.
-- @tparam number fd 0, 1, or what a host has
-- @tparam boolean writes whether it is written to
-- @treturn ?userdata `read([max])`: a piece, "" at the end, false where there is nothing yet;
-- `write(text, from)`: how many bytes went; `watch(wanted)`: whether its `pollfd()` is to become
-- readable when there is something to read or room to write (true: it always is ready); `close()`.
-- A method that fails gives nil and `{ message, errno }`
-- @treturn ?string message
-- @treturn ?string errno
-- @function stream
M.stream = plain(core.stream)

--- What the running kernel is, and what of it a sandbox could use. Only asked, nothing is set up.
-- @treturn table `release` ("6.1.0"), `machine` ("x86_64"), `landlock_abi` (0: none),
-- `landlock_disabled` (it is built in and not switched on), `seccomp_filter`,
-- `seccomp_notification` (booleans)
-- @function kernel
M.kernel = core.kernel

--- A setting of the kernel's: sysctl(8).
-- @tparam string name "user.max_user_namespaces"
-- @treturn ?string its value, as it is written; at most 256 bytes
-- @treturn ?string message
-- @treturn ?string errno `ENOENT`: this kernel does not have it
function M.setting(name)
  local text, message, errno = results(core.setting("/proc/sys/" .. name:gsub("%.", "/")))
  return text and text:match("^(.-)%s*$"), message, errno
end

--- Read a regular file. A link, fifo or device of that name is refused, and waits for nothing.
-- @tparam string path
-- @tparam[opt=math.huge] number max_bytes a bigger file is `EFBIG`
-- @treturn ?string
-- @treturn ?string message
-- @treturn ?string errno
function M.read_file(path, max_bytes)
  return results(core.read_file(path, max_bytes or math.huge))
end

--- Write a file: all of it, synced, under its name, or nothing. What has the name is replaced.
-- @tparam string path
-- @tparam string data
-- @tparam[opt=384] number mode permissions, whatever the umask; 384 is 0600 in octal
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
function M.write_file(path, data, mode)
  return results(core.write_file(path, data, mode))
end

--- Make a new file that need not outlive this machine: it is not synced.
-- @tparam string path nothing has this name (`EEXIST`)
-- @tparam string data
-- @tparam[opt=384] number mode as of @{write_file}
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
function M.make_file(path, data, mode)
  return results(core.make_file(path, data, mode))
end

--- Whether a regular file holds exactly these bytes.
-- @tparam string path
-- @tparam string data
-- @treturn ?boolean nil if it cannot be read
-- @treturn ?string message
-- @treturn ?string errno
-- @function file_equals
M.file_equals = plain(core.file_equals)

--- Remove a file or link.
-- @tparam string path
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function unlink
M.unlink = plain(core.unlink)

--- Rename, and wait until the new name is on disk. A file or empty directory that has it is
-- replaced.
-- @tparam string from
-- @tparam string to
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function rename
M.rename = plain(core.rename)

--- Swap two names at once. `EINVAL` where the file system cannot.
-- @tparam string one
-- @tparam string other
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function exchange
M.exchange = plain(core.exchange)

--- Change permissions. Follows links: for paths in directories of our own.
-- @tparam string path
-- @tparam number mode
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function chmod
M.chmod = plain(core.chmod)

--- Set when something was changed last. Of a link it is the link's own time.
-- @tparam string path
-- @tparam[opt] number secs since 1970, whole; else now
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function touch
M.touch = plain(core.touch)

--- What is at a path.
-- @tparam string path
-- @tparam[opt=false] boolean follow what a link leads to, rather than the link
-- @treturn ?table `type` ("file", "directory", "link", "fifo", "socket", "char", "block"),
-- `mode` (permission bits), `uid`, `gid`, `size` (bytes), `mtime` (seconds), `dev`, `ino`
-- @treturn ?string message
-- @treturn ?string errno
-- @function stat
M.stat = plain(core.stat)

--- A text that is another one when what is at a path has been changed or replaced.
-- @tparam string path
-- @tparam[opt=false] boolean follow as of `stat`
-- @treturn ?string nil if nothing is there
function M.stamp(path, follow)
  local stat = core.stat(path, follow)
  return stat and ("%s %s %s %.6f"):format(stat.dev, stat.ino, stat.size, stat.mtime)
end

--- Whether we may use a path, links followed.
-- @tparam string path
-- @tparam[opt=""] string how letters of "rwx"; none: whether it is there
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function access
M.access = plain(core.access)

--- @tparam string path of a link
-- @treturn ?string where it leads, as written in it
-- @treturn ?string message
-- @treturn ?string errno
-- @function readlink
M.readlink = plain(core.readlink)

--- @tparam string path
-- @treturn ?string the same place, absolute and without links
-- @treturn ?string message
-- @treturn ?string errno
-- @function realpath
M.realpath = plain(core.realpath)

--- The absolute path of what is there, by its own name: what a link leads to has another, and by
-- its name some programs know what they are to do.
-- @tparam string path
-- @treturn ?string
-- @treturn ?string message
-- @treturn ?string errno
function M.absolute(path)
  local real, message, errno = M.realpath(path)
  if not real then return nil, message, errno end
  local directory, name = path:match("^(.-)([^/]+)$")
  if not name or name == "." or name == ".." then return real end
  local above = M.realpath(directory == "" and "." or directory)
  return above and (above == "/" and "" or above) .. "/" .. name or real
end

--- The names in a directory, without "." and "..", in no order.
-- @tparam string path
-- @tparam[opt] number max how many at most; nil: all
-- @treturn ?table
-- @treturn ?string message
-- @treturn ?string errno
-- @function list
M.list = plain(core.list)

--- @tparam string path
-- @tparam[opt=448] number mode less the umask; 448 is 0700 in octal
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function mkdir
M.mkdir = plain(core.mkdir)

--- Make sure of a directory that only we can enter, creating with mode 0700 what is missing.
-- One that exists must be no link, ours and closed to others, else `EPERM`; an empty one that
-- others may only read is closed to them.
-- @tparam string path
-- @treturn ?boolean true
-- @treturn ?string message
-- @treturn ?string errno
-- @function mkdir_private
M.mkdir_private = plain(core.mkdir_private)

--- A path that nobody has made yet, or can guess.
-- @tparam string prefix its beginning
-- @treturn ?string
-- @treturn ?string message
-- @treturn ?string errno
-- @function unique_path
M.unique_path = plain(core.unique_path)

--- Create a directory of mode 0700 under a new name.
-- @tparam string prefix beginning of its path
-- @treturn ?string its path
-- @treturn ?string message
-- @treturn ?string errno
-- @function mkdtemp
M.mkdtemp = plain(core.mkdtemp)

--- Remove what is at a path, and all below it. Links are removed, not followed; mounts are left.
-- @tparam string path
-- @treturn ?boolean true, also if there was nothing
-- @treturn ?string message of the first thing that would not go; the rest has gone
-- @treturn ?string errno
-- @function remove_tree
M.remove_tree = plain(core.remove_tree)

--- Open a directory in which files can be made; nothing of its path may be a link.
-- @tparam string path
-- @treturn ?userdata `draft(path)`: a file of mode 0600 that has no name yet: `copy(source, max)`
-- copies bytes on and gives how many (0 at the end), `keep(replaces)` gives it its name (`EEXIST`),
-- `close()` gives it up; directories above it are made, links not followed; `close()`. What fails
-- gives nil and `{ message, errno }`
-- @treturn ?string message
-- @treturn ?string errno
-- @function directory
M.directory = plain(core.directory)

--- Take the exclusive lock of a file, which is created if missing and stays.
-- Other holders are other handles, in this process or in others.
-- @tparam string path
-- @tparam[opt] table opts `wait = false`: a lock that is held is `EAGAIN` at once
-- @treturn ?userdata with `close()`, which gives it back; so does the collector
-- @treturn ?string message
-- @treturn ?string errno
-- @function lock
M.lock = plain(core.lock)

--- A TCP socket of this machine's loopback that listens, for doctor.
-- @treturn ?userdata with `accepted()` (how many connections came since it was asked last) and
-- `close()`
-- @treturn number|string its port; or a message
-- @treturn ?string errno
function M.listen()
  local listener, second = core.listen()
  if listener then return listener, second end
  return results(nil, second)
end

--- The absolute directories of a search path, in order. Others are left out: what they mean
-- depends on where one happens to be.
-- @tparam ?string path as in `PATH`
-- @treturn table
function M.path_directories(path)
  local directories = {}
  for entry in (path or ""):gmatch("[^:]+") do
    if entry:sub(1, 1) == "/" then
      directories[#directories + 1] = entry:match("^(.-)/*$")
    end
  end
  return directories
end

--- Whether a path is that of a file which we may run.
-- @tparam string path
-- @treturn boolean
function M.is_program(path)
  local stat = core.stat(path, true)
  return stat ~= nil and stat.type == "file" and core.access(path, "x") == true
end

--- Every program of a name on a search path, in its order; the same file by two ways counts once.
-- @tparam string name without a slash
-- @tparam ?string path as in `PATH`; only absolute entries count
-- @treturn table absolute paths
function M.find_programs(name, path)
  local found, seen = {}, {}
  if name == "" or name:find("[/%z]") then return found end
  for _, directory in ipairs(M.path_directories(path)) do
    local candidate = directory .. "/" .. name
    local real = M.is_program(candidate) and core.realpath(candidate)
    if real and not seen[real] then
      seen[real] = true
      found[#found + 1] = candidate
    end
  end
  return found
end

--- The first program of a name on a search path.
-- @tparam string name without a slash
-- @tparam ?string path as in `PATH`; only absolute entries count
-- @treturn ?string absolute path
function M.find_program(name, path)
  return M.find_programs(name, path)[1]
end

return M
