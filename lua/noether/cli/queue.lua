-- SPDX-License-Identifier: MIT
--- What the verbs of a fleet have in common: where the queue is, and by which key it is used.
local keys = require "noether.fleet.keys"
local remote = require "noether.fleet.remote"
local sys = require "noether.sys"

local M = {}

local MAX_FILE_BYTES = 65536

--- The options that say where it is.
M.PLACE = {
  { name = "--url", value = "URL",
    about = "the Redis server: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS, "
      .. "unix:///PATH (default: $NOETHER_FLEET_URL). Whoever may look at this machine's processes "
      .. "sees a password that stands here" },
  { name = "--url-file", value = "FILE",
    about = "a file that has the URL: for one with a password in it" },
  { name = "--queue", value = "NAME", about = "the queue (default: stages)" },
}

--- Those, and by which key.
M.OPTIONS = {
  M.PLACE[1], M.PLACE[2], M.PLACE[3],
  { name = "--key-file", value = "FILE",
    about = "the secret that callers and workers share; a line each, of which the first signs "
      .. "(default: $NOETHER_FLEET_KEY)" },
  { name = "--unsigned", about = "do without a secret: whoever can write to the server can have "
    .. "anything run that this worker runs" },
}

local function misuse(message, hint)
  return nil, { usage = true, message = message, hint = hint }
end

-- The lines of a file; at least one.
local function read_lines(option, path)
  local real = sys.realpath(path)
  local text, message = nil, path .. ": there is no such file"
  if real then text, message = sys.read_file(real, MAX_FILE_BYTES) end
  if not text then return misuse(("option '%s': %s"):format(option, message)) end
  local list = {}
  for line in text:gmatch("[^\r\n]+") do
    list[#list + 1] = line
  end
  if #list == 0 then return misuse(("option '%s': it is empty"):format(option)) end
  return list
end

-- The address, as it is said; nil with an error, or without: the environment may say it.
local function url_of(given)
  if not given.url_file then return given.url end
  if given.url then return misuse("options '--url' and '--url-file' exclude one another") end
  local lines, err = read_lines("--url-file", given.url_file)
  if not lines then return nil, err end
  if #lines > 1 then return misuse("option '--url-file': it has more than one line") end
  return lines[1]
end

-- What is raised for callers of the library is said here as a mistake in the line.
local function checked(given)
  local ok, found = pcall(remote.queue_of, "noether", given, sys.environ())
  if ok then return found end
  return misuse((tostring(found):gsub("^.-noether: ", ""):gsub("option '(%l+)'", "option '--%1'")
    :gsub("unsigned = true", "--unsigned"):gsub("%-%-key'", "--key-file'")))
end

--- Where the queue is.
-- @tparam table given values of the command line
-- @treturn ?table `url`, `queue`, `key`, `unsigned`, as of `noether.worker`; or nil and a misuse
-- @treturn ?table and as modules of a fleet take it: `place`, `queue`, `keys`
function M.read(given)
  local settings, err = { queue = given.queue, unsigned = given.unsigned }
  settings.url, err = url_of(given)
  if err then return nil, err end
  if given.key_file then
    settings.key, err = read_lines("--key-file", given.key_file)
    if not settings.key then return nil, err end
  end
  local found
  found, err = checked(settings)
  if not found then return nil, err end
  settings.queue = keys.check("noether", settings.queue)
  return settings, found
end

return M
