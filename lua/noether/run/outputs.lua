-- SPDX-License-Identifier: MIT
--- Files that a stage has made, by patterns below its working directory.
--
-- They are looked at when the stage has ended by itself and all that it started is gone, by a
-- descriptor of the directory in which it had started: no link is followed, no mount entered, and
-- only regular files with one name are opened (src/core/beneath.h). What they hold is read into
-- memory, or copied to a directory of the caller's: whole under its name, or not at all. That is
-- done a slice a step, so that who drives the run is not held up.
--
-- A pattern is a name; `*` in it stands for any characters of one part, but for a dot at the
-- beginning, and `**` for any directories. A name that is not there is `output_missing`, unless
-- it ends in "?".
local errors = require "noether.error"
local files = require "noether.run.files"
local options = require "noether.options"
local resolve = require "noether.sandbox.resolve"
local sys = require "noether.sys"

local M = {}

--- What outputs may take, by name.
M.LIMITS = { output_files = "count", output_file_bytes = "bytes" }

--- What holds where nothing is said.
M.DEFAULTS = { output_files = 64, output_file_bytes = 64 * 1024 * 1024 }

--- For how long what a stage left is kept to be collected.
M.HOLD_SECS = 5

local MOST_NAMES = 65536 -- that are looked through
local SLICE_BYTES = 8 * 1024 * 1024 -- of a step
local MOST_WARNINGS = 8

local TYPES = {
  csv = "text/csv", gif = "image/gif", htm = "text/html", html = "text/html", jpeg = "image/jpeg",
  jpg = "image/jpeg", json = "application/json", log = "text/plain", md = "text/markdown",
  parquet = "application/vnd.apache.parquet", pdf = "application/pdf", png = "image/png",
  svg = "image/svg+xml", tsv = "text/tab-separated-values", txt = "text/plain",
  webp = "image/webp", xml = "application/xml", zip = "application/zip",
}

-- What a file is, by its name: what is in it is a stranger's word.
local function type_of(name)
  local extension = name:match("%.([%w]+)$")
  return extension and TYPES[extension:lower()] or "application/octet-stream"
end

-- What stands between the stars of a part. A pattern of Lua's would try each length of each star:
-- with ten of them, one name of a stranger's takes years.
local function pieces_of(part)
  local pieces = {}
  for piece in (part:gsub("%*+", "*") .. "*"):gmatch("([^*]*)%*") do
    pieces[#pieces + 1] = piece
  end
  return pieces
end

local function new_pattern(text)
  local pattern = { text = text, optional = text:sub(-1) == "?", parts = {} }
  local name = pattern.optional and text:sub(1, -2) or text
  local reason = files.wrong_name(name)
  if reason then return nil, reason end
  pattern.name = name
  pattern.is_exact = not name:find("*", 1, true)
  for part in name:gmatch("[^/]+") do
    local is_any = part == "**"
    pattern.parts[#pattern.parts + 1] = {
      any = is_any, pieces = pieces_of(part), dot = part:sub(1, 1) == ".",
    }
  end
  if pattern.parts[#pattern.parts].any then return nil, "what '**' stands for are directories" end
  return pattern
end

--- Read patterns.
-- @tparam {string,...} list
-- @tparam table given names, as keys, of files that the stage is given: they are no outputs
-- @treturn ?table; or nil and an error (`input_invalid`)
-- @treturn ?table
function M.parse(list, given)
  local patterns = {}
  for index, text in ipairs(list) do
    local pattern, reason = new_pattern(text)
    if pattern and pattern.is_exact and given[pattern.name] then
      pattern, reason = nil, "the stage is given a file of that name"
    end
    if not pattern then
      return nil, errors.new{ kind = "input_invalid",
        message = ("output '%s': %s"):format(errors.clean(text, 100), reason) }
    end
    patterns[index] = pattern
  end
  return patterns
end

-- What is no output and why, by the errno of opening it.
local REASONS = {
  EINVAL = "it is no regular file", EISDIR = "it is a directory", ENXIO = "it is a socket",
  ELOOP = "it is a link, or behind one", EXDEV = "it lies on another file system",
  EMLINK = "it has another name, too, by which it may be somebody else's",
  EACCES = "it may not be read", ENOENT = "there is no such file",
  ENOTDIR = "there is no such file",
}

local function reason_of(failed)
  return REASONS[failed.errno or ""] or errors.sentence(failed)
end

local Collection = {}
Collection.__index = Collection

local function limit_error(limit, message, hint)
  return errors.new{ kind = "output_files_limit", limit = limit, message = message, hint = hint }
end

local function warn(self, message, ...)
  self.warned = self.warned + 1
  if self.warned <= MOST_WARNINGS then
    self.warn(message:format(...))
  elseif self.warned == MOST_WARNINGS + 1 then
    self.warn "more outputs were left out"
  end
end

local function shown(name)
  return errors.clean(name, 100)
end

-- --- What there is -----------------------------------------------------------------------------

-- An output that was named and cannot be had. What the system refuses is no fault of the stage's.
local function not_had(name, failed)
  if not REASONS[failed.errno or ""] then
    return errors.new{ kind = "spawn_failed", errno = failed.errno,
      message = ("the output '%s' could not be opened: %s"):format(shown(name),
        errors.sentence(failed)) }
  end
  return errors.new{
    kind = "output_missing", errno = failed.errno,
    message = ("the stage left no output '%s': %s"):format(shown(name), reason_of(failed)),
    hint = ("write it to the working directory; \"%s?\" need not be there"):format(shown(name)),
  }
end

-- Notes a file that was found; what cannot be one is warned of, or is the error of a name.
local function note(self, name, pattern)
  if self.found[name] or self.given[name] then return end
  local file, bytes, changed = self.top:file(name)
  if not file then
    if pattern.is_exact and not pattern.optional then
      self.missing = self.missing or not_had(name, bytes)
    elseif not pattern.is_exact or (bytes.errno ~= "ENOENT" and bytes.errno ~= "ENOTDIR") then
      warn(self, "output '%s' was left out: %s", shown(name), reason_of(bytes))
    end
    return
  end
  file:close()
  local stamp = ("%.0f %.9f"):format(bytes, changed)
  if self.seen[name] == stamp and not pattern.is_exact then return end
  self.stamps[name], self.found[name] = stamp, bytes
  self.names[#self.names + 1] = name
end

local function matches(part, name)
  if name:sub(1, 1) == "." and not part.dot then return false end
  local pieces = part.pieces
  local last = pieces[#pieces]
  if #pieces == 1 then return name == last end
  local at, stop = #pieces[1] + 1, #name - #last
  if name:sub(1, at - 1) ~= pieces[1] or stop < at - 1 or name:sub(stop + 1) ~= last then
    return false
  end
  for index = 2, #pieces - 1 do -- the first place is as good as any
    local _, found = name:find(pieces[index], at, true)
    if not found or found > stop then return false end
    at = found + 1
  end
  return true
end

-- Where each pattern may stand in a directory, each place once: `**` also stands for none.
local function widened(states)
  local all, known = {}, {}
  for _, state in ipairs(states) do
    local pattern, at = state.pattern, state.at
    known[pattern] = known[pattern] or {}
    while not known[pattern][at] do
      known[pattern][at] = true
      all[#all + 1] = { pattern = pattern, at = at }
      if pattern.parts[at].any then at = at + 1 end
    end
  end
  return all
end

-- What an entry of a directory means to those patterns.
local function meet(self, path, name, kind, states)
  local below = {}
  for _, state in ipairs(states) do
    local part = state.pattern.parts[state.at]
    if part.any then
      if kind == "directory" and name:sub(1, 1) ~= "." then below[#below + 1] = state end
    elseif matches(part, name) then
      local is_last = state.at == #state.pattern.parts
      if not is_last and kind == "directory" then
        below[#below + 1] = { pattern = state.pattern, at = state.at + 1 }
      elseif is_last and kind ~= "directory" then
        if files.wrong_name(name) then
          warn(self, "output '%s' was left out: its name is no plain text", shown(path .. name))
        else
          note(self, path .. name, state.pattern)
        end
      end
    end
  end
  return below
end

local function look_through(self, states)
  local left, queue = MOST_NAMES, { { path = "", states = states } }
  while #queue > 0 and sys.clock() < self.until_secs do
    local place = table.remove(queue)
    local entries, failed = self.top:list(place.path == "" and "." or place.path:sub(1, -2), left)
    if not entries then
      warn(self, "outputs in '%s' were left out: %s", shown(place.path), reason_of(failed))
      entries = {}
    end
    left = left - #entries / 2
    if left < 0 then
      return limit_error(MOST_NAMES, ("the stage left more than %d names to look through"):format(
        MOST_NAMES), "leave fewer files, or name the outputs")
    end
    local here = widened(place.states)
    for index = 1, #entries, 2 do
      local below = meet(self, place.path, entries[index], entries[index + 1], here)
      if #below > 0 then
        queue[#queue + 1] = { path = place.path .. entries[index] .. "/", states = below }
      end
    end
  end
  return nil
end

-- Names first: they need no look at what else there is.
local function find(self)
  local wild = {}
  for _, pattern in ipairs(self.patterns) do
    if pattern.is_exact then
      note(self, pattern.name, pattern)
    else
      wild[#wild + 1] = { pattern = pattern, at = 1 }
    end
  end
  local err = #wild > 0 and look_through(self, wild) or nil
  table.sort(self.names)
  return err
end

-- All are counted and measured before the first is taken.
local function over_limit(self)
  local limits, total = self.limits, 0
  local most, bytes = limits.output_files or math.huge, limits.output_file_bytes or math.huge
  if #self.names > most then
    return limit_error(most, ("the stage left %d outputs, and limits.output_files is %d"):format(
      #self.names, most), "ask for fewer, or raise limits.output_files")
  end
  for _, name in ipairs(self.names) do
    total = total + self.found[name]
    if self.found[name] > bytes then
      return limit_error(bytes, ("the output '%s' has %.0f bytes, and limits.output_file_bytes "
        .. "is %d"):format(shown(name), self.found[name], bytes), "raise limits.output_file_bytes")
    end
  end
  if not self.target and total > bytes then
    return limit_error(bytes, ("the outputs have %.0f bytes together, and limits.output_file_bytes "
      .. "is %d"):format(total, bytes), "give an output_dir, or raise limits.output_file_bytes")
  end
  return nil
end

-- --- Taking them -------------------------------------------------------------------------------

local function unwritten(self, name, failed)
  if failed.errno == "EEXIST" or failed.errno == "EISDIR" then
    return errors.new{
      kind = "input_invalid", errno = failed.errno,
      message = ("output '%s': something of that name is in %s"):format(shown(name),
        self.target_path),
      hint = "output_overwrite = true replaces files; or give an output_dir of this run's own",
    }
  end
  return errors.new{
    kind = "spawn_failed", errno = failed.errno,
    message = ("the output '%s' could not be written to %s: %s"):format(shown(name),
      self.target_path, errors.sentence(failed)),
    hint = "the stage did its part: free some space, or give another output_dir",
  }
end

-- What was left is there, and cannot be reached.
local function lost(failed)
  return errors.new{ kind = "spawn_failed", errno = failed.errno,
    message = "outputs could not be collected: " .. errors.sentence(failed),
    hint = "the stage did its part, but this machine is short of something" }
end

-- Begins the next file; nil where it cannot be had any more.
local function open_next(self)
  local name = table.remove(self.names, 1)
  local file, failed = self.top:file(name)
  if not file then
    warn(self, "output '%s' was left out: %s", shown(name), reason_of(failed))
    return nil
  end
  local current = { name = name, file = file, bytes = 0 }
  if self.target then
    current.draft, failed = self.target:draft(name)
    if not current.draft then
      file:close()
      return nil, unwritten(self, name, failed)
    end
  end
  return current
end

local function close_current(self)
  local current = self.current
  if not current then return end
  current.file:close()
  if current.draft then current.draft:close() end
  self.current = nil
end

local function keep_current(self)
  local current = self.current
  local entry = { name = current.name, bytes = current.bytes, type = type_of(current.name) }
  if current.draft then
    local ok, failed = current.draft:keep(self.replaces or self.seen[current.name] ~= nil)
    if not ok then return unwritten(self, current.name, failed) end
    entry.path = self.target_path .. "/" .. current.name
  else
    entry.content = current.file:text()
  end
  self.list[#self.list + 1] = entry
  self.seen[current.name] = self.stamps[current.name]
  return nil
end

-- Takes a slice of the current file: how much it was.
local function take_slice(self)
  local current = self.current
  if current.draft then return current.draft:copy(current.file, SLICE_BYTES) end
  return current.file:take(SLICE_BYTES)
end

-- It grows while it is copied, by somebody else's hand.
local function has_grown(self)
  local current, most = self.current, self.limits.output_file_bytes
  return current.bytes > self.found[current.name] and current.bytes > (most or math.huge)
end

local function advance(self)
  if not self.current then
    local err
    self.current, err = open_next(self)
    return err
  end
  local current = self.current
  local bytes, failed = take_slice(self)
  local err
  if not bytes then
    err = current.draft and unwritten(self, current.name, failed) or lost(failed)
  elseif bytes > 0 then
    current.bytes = current.bytes + bytes
    if has_grown(self) then
      err = limit_error(self.limits.output_file_bytes, ("the output '%s' grew beyond "
        .. "limits.output_file_bytes while it was copied"):format(shown(current.name)))
    end
    if not err then return nil end
  else
    err = keep_current(self)
  end
  close_current(self)
  return err
end

-- --- As a task waits for it --------------------------------------------------------------------

local function finish(self, err)
  close_current(self)
  if self.top then self.top:close() end
  self.top, self.is_done = nil, true
  self.err = err or self.missing
  self.process:release()
end

local function give_up_late(self)
  self.missing = nil
  warn(self, "outputs were not all collected: that took longer than %g s, or than the run's "
    .. "deadline", M.HOLD_SECS)
  finish(self)
end

local function begin(self, top, until_secs)
  self.top, self.until_secs, self.has_begun = top, until_secs, true
  local err = find(self)
  if sys.clock() >= until_secs then return give_up_late(self) end
  err = err or over_limit(self)
  if err then return finish(self, err) end
end

local function collect(self)
  if #self.names == 0 and not self.current then return finish(self) end
  if sys.clock() >= self.until_secs then return give_up_late(self) end
  local err = advance(self)
  if err then finish(self, err) end
end

local function is_collecting(self)
  return self.has_begun and not self.is_done
end

function Collection:step()
  if is_collecting(self) then
    collect(self)
    return false
  end
  local over = self.inner:step()
  if over or self.is_done then return over end
  local top, until_or_failed = self.process:work_dir()
  if top then
    begin(self, top, until_or_failed)
  elseif until_or_failed then
    self.has_begun = true
    finish(self, lost(until_or_failed))
  end
  return false
end

function Collection:timeout()
  if is_collecting(self) then return 0 end
  return self.inner:timeout()
end

function Collection:wait(secs)
  if is_collecting(self) then return end
  if self.inner ~= self.process then return self.inner:wait(secs) end
  self.process:step(secs or math.huge)
end

function Collection:result()
  local result, err = self.inner:result()
  local reason = result and result.reason
  if not self.has_begun and (reason == "exit" or reason == "signal") then
    warn(self, "outputs could not be collected: what the stage left could not be had")
    self.has_begun = true
  end
  return result, err
end

function Collection:cancel()
  if is_collecting(self) then finish(self) end
  self.inner:cancel()
end

function Collection:close()
  if is_collecting(self) then finish(self) end
  self.inner:close()
end

--- A process, as a task waits for it, whose outputs are collected when it has ended.
-- @tparam table inner the process; or a conversation with it
-- @tparam table process
-- @tparam table spec `patterns` (of @{parse}), `limits`, `given` (names, as keys, that are no
-- outputs), `warn` (a function), and for a directory `target` (of `sys.directory`), `target_path`,
-- `replaces`
-- @treturn table with `list`, and `err` once it is over
function M.new(inner, process, spec)
  return setmetatable({
    inner = inner, process = process, patterns = spec.patterns, limits = spec.limits,
    given = spec.given, warn = spec.warn, target = spec.target, target_path = spec.target_path,
    replaces = spec.replaces, found = {}, names = {}, list = {}, warned = 0,
    seen = spec.seen or {}, stamps = {},
  }, Collection)
end

local function nothing() end

-- What is collected from goes on.
local ENDED = {
  step = function() return true end, timeout = function() return 0 end, wait = nothing,
  result = nothing, cancel = nothing, close = nothing, release = nothing,
}

--- Collect from a directory that goes on being somebody else's.
-- @tparam userdata top of `process:work_dir`
-- @tparam table spec as of @{new}; and `seen`: what was collected before, by name, which is noted
-- there: what has not changed since does not match a pattern, and what was taken may be replaced
-- @treturn table as of @{new}: what a task awaits
function M.collect(top, spec)
  local self = M.new(ENDED, ENDED, spec)
  begin(self, top, sys.clock() + M.HOLD_SECS)
  return self
end

-- What is wrong with the directory that was named, rather than with this machine.
local NOT_USABLE = {
  EACCES = true, EISDIR = true, ELOOP = true, ENAMETOOLONG = true, ENOENT = true, ENOTDIR = true,
  EPERM = true, EROFS = true,
}

local function unusable(message, errno)
  local is_theirs = NOT_USABLE[errno or ""]
  return errors.new{
    kind = is_theirs and "input_invalid" or "spawn_failed", errno = errno,
    message = "output_dir: " .. message,
    hint = is_theirs and "it must be there, no link, and this user's to write to" or nil,
  }
end

-- The directory at a path, which is no link, nor behind one that a stage may have made. What the
-- path leads to is judged once and opened as that: who puts a link there afterwards is refused.
local function open_directory(path, written)
  if sys.readlink(path) then return nil, path .. " is a link", "ELOOP" end
  local real, message, errno = resolve.resolve(path, written)
  if not real then return nil, message, errno end
  return sys.directory(real)
end

--- Step: open the directory for outputs, which stays open for the run.
-- @tparam table job
-- @tparam table task
-- @treturn ?boolean true; or nil and an error
-- @treturn ?table
function M.open_target(job, task)
  local path = job.call.output_dir
  if not path then return true end
  path = path:gsub("/%.?%f[/%z]", "/"):gsub("(.)/+$", "%1")
  if path:sub(1, 1) ~= "/" then
    local here = sys.realpath(".") or ""
    path = path == "." and here or here .. "/" .. path:gsub("^%./+", "")
  end
  local target, message, errno = open_directory(path, job.executor.written)
  if not target then return nil, unusable(message, errno) end
  job.target, job.target_path = task:hold(target), path
  return true
end

--- Check the options of a call that are about outputs.
-- @tparam string fname
-- @tparam table given
-- @raise on a wrong one
function M.check_options(fname, given)
  for name, file in pairs(given.files or {}) do
    local is_path = type(file) == "table" and options.matches(file.path, "path")
    if type(file) ~= "string" and not is_path then
      options.raise(("%s: option 'files': %s: expected text or { path = \"...\" }"):format(fname,
        errors.clean(tostring(name), 100)))
    end
  end
  for _, name in ipairs{ "output_dir", "output_overwrite" } do
    if given[name] and not given.outputs then
      options.raise(("%s: option '%s': there are no outputs to put there"):format(fname, name))
    end
  end
end

--- What a run has collected.
-- @table Output
-- @tfield string name below the stage's working directory
-- @tfield integer bytes
-- @tfield string type by the name: "image/png"; "application/octet-stream" where it says nothing
-- @tfield ?string content without `output_dir`
-- @tfield ?string path with it

return M
