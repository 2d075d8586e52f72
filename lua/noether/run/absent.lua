-- SPDX-License-Identifier: MIT
--- What a stage did not find, though this machine has it: asked here, after the failure, and told
-- to the caller alone. Without a path's effect a sandbox has no such file, and the program says so
-- in the words of any missing file.
local effects = require "noether.stage.effects"
local paths = require "noether.paths"
local sys = require "noether.sys"

local M = {}

local MAX_TEXT_BYTES = 8 * 1024
local MAX_CANDIDATES = 20

local SAYS_ABSENT = { "[Nn]o such file", "ENOENT", "[Pp]ermission denied", "EACCES",
  "[Nn]ot found", "[Uu]nable to open", "[Cc]an ?n[o']t open", "[Cc]ould not open",
  "[Ff]ailed to open", "[Dd]oes not exist", "[Cc]annot access" }

-- A path in quotes, before a colon, or bare; and relative ones, which need more of a frame.
local ABSOLUTE = { "'(/[^'\n]+)'", '"(/[^"\n]+)"', "[:%s](/[^:\n]-): ", "(/[^%s'\":,;()]+)" }
local RELATIVE = { "'([^'/\n][^'\n]*)'", '"([^"/\n][^"\n]*)"', "[:%s]([^:%s/][^:\n]-): [NP]" }
local LITERAL = { "'(/[^'\n]+)'", '"(/[^"\n]+)"' }

-- A sandbox has its own of these, or a better place.
local SCRATCH = { ["/tmp"] = true, ["/var/tmp"] = true }

local function says_absent(said)
  for _, pattern in ipairs(SAYS_ABSENT) do
    if said:find(pattern) then return true end
  end
  return false
end

local function each(said, patterns, fn)
  local seen, count = {}, 0
  for _, pattern in ipairs(patterns) do
    for name in said:gmatch(pattern) do
      if not seen[name] and count < MAX_CANDIDATES then
        seen[name], count = true, count + 1
        local hint = fn(name)
        if hint then return hint end
      end
    end
  end
  return nil
end

local function is_within_any(path, list, field)
  for _, item in ipairs(list or {}) do
    local holder = type(item) == "table" and item[field] or item
    if paths.is_within(path, holder) then return true end
  end
  return false
end

-- Whether the sandbox shows what is at this path of the host.
local function is_shown(real, sandbox)
  return is_within_any(real, sandbox.ro_binds, "source")
    or is_within_any(real, sandbox.rw_binds, "source")
end

-- The path as an effect takes it; nil if none does.
local function declarable(path)
  local parsed = effects.parse{ { FsRead = path } }
  return parsed and parsed.reads[1]
end

local function readable(path)
  return sys.access(path, "r") and "" or ", once this user may read it"
end

-- A link that the sandbox shows may lead to what it does not.
local function hint_of_existing(path, real, sandbox)
  local wanted = declarable(is_within_any(path, sandbox.ro_binds, "target") and real or path)
  if not wanted then return nil end
  local led = wanted ~= path and ("%s leads to %s, which"):format(path, wanted) or wanted
  return ("%s is on this machine, and not in the sandbox: declare { FsRead = %q }, or FsWrite "
    .. "to change it%s"):format(led, wanted, readable(real))
end

local function has_bit(mode, bit)
  return math.floor(mode / bit) % 2 == 1
end

local function is_closed(stat)
  return not has_bit(stat.mode, 4) or (stat.type == "directory" and not has_bit(stat.mode, 1))
end

-- What the sandbox shows, and only root, who started it, may read: the stage is somebody else.
local function hint_of_closed(real, sandbox)
  if sandbox.backend ~= "native" or sys.geteuid() ~= 0 then return nil end
  local stat = sys.stat(real)
  if not stat or not is_closed(stat) then return nil end
  local bits = stat.type == "directory" and "o+rx" or "o+r"
  return ("%s has the mode %s and is shown to the stage, which runs as another user than root: let "
    .. "all read it (chmod %s), start this program as its owner, or give the stage what is in it "
    .. "as input"):format(real, ("%04o"):format(stat.mode % 4096), bits)
end

local function hint_of_absolute(path, sandbox)
  local real = sys.realpath(path)
  if real and is_shown(real, sandbox) then return hint_of_closed(real, sandbox) end
  if real then return hint_of_existing(path, real, sandbox) end
  local parent = path:match("^(/.*[^/])/+[^/]+/*$")
  local place = parent and declarable(parent) and sys.realpath(parent)
  local stat = place and sys.stat(place)
  if not stat or stat.type ~= "directory" or SCRATCH[place] or is_shown(place, sandbox) then
    return nil
  end
  return ("%s is not on this machine: is it spelt right? To make it, a stage declares "
    .. "{ FsWrite = %q }"):format(path, parent)
end

local function hint_of_relative(name, sandbox)
  if sandbox.has_own_directory then return nil end
  local real = sys.realpath(name)
  local wanted = real and real ~= "/" and declarable(real)
  if not wanted or not sys.stat(real) then return nil end
  return ("a stage begins in an empty directory of its own: declare { FsRead = %q } and open it by "
    .. "that name%s"):format(wanted, readable(real))
end

--- What to declare, where a failure names a path that is on this machine and not in the sandbox.
-- @tparam string said what the failure says of itself
-- @tparam string code the stage's, which may name the path where the failure does not
-- @tparam table sandbox its description, and `has_own_directory`: the caller gave a `work_dir`
-- @treturn ?string
function M.hint(said, code, sandbox)
  said = said:sub(-MAX_TEXT_BYTES)
  if not says_absent(said) then return nil end
  local function absolute(path) return hint_of_absolute(path, sandbox) end
  local function relative(name) return hint_of_relative(name, sandbox) end
  local hint = each(said, ABSOLUTE, absolute) or each(said, RELATIVE, relative)
  if hint or said:find("/", 1, true) then return hint end
  return each(code:sub(1, MAX_TEXT_BYTES), LITERAL, absolute)
end

return M
