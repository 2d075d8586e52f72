-- SPDX-License-Identifier: MIT
--- What a copy of a fork server has to see around it before the server makes one for a caller. A
-- stage of the language looks from inside (`forks.probe` of its policy), twice; what it tells is
-- compared with what a run that is started for itself finds.
local M = {}

local NO_CAPABILITY = "0000000000000000"
local INSIDE_ID = 65533
local LANDLOCK_LAYERS = 16 -- of a process, at most

local STATUS = {
  CapInh = NO_CAPABILITY, CapPrm = NO_CAPABILITY, CapEff = NO_CAPABILITY, CapBnd = NO_CAPABILITY,
  CapAmb = NO_CAPABILITY, NoNewPrivs = "1", Seccomp = "2", Threads = "1",
}

local READ_ONLY = { EROFS = true, EACCES = true }
local REFUSED = { EPERM = true }

-- The errno of what is tried.
local ATTEMPTS = {
  ["write to the root"] = READ_ONLY, ["write to /usr"] = READ_ONLY,
  ["write to its own code"] = READ_ONLY, ["write to /proc"] = READ_ONLY,
  ["make a namespace"] = REFUSED, ["enter a namespace"] = REFUSED, mount = REFUSED,
  ["leave its root"] = REFUSED, ["trace its init"] = REFUSED,
  connect = { ECONNREFUSED = true }, -- by a loopback of its own, on which nobody listens
}

local function text_of(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for index, item in ipairs(value) do
    parts[index] = text_of(item)
  end
  return "{" .. table.concat(parts, " ") .. "}"
end

-- Its streams, its code, a library's own, the channel.
local function descriptors(facts)
  local list = { 0, 1, 2, 3 }
  if facts.keeps then list[#list + 1] = 4 end
  if facts.calls then list[#list + 1] = 5 end
  return list
end

local function expected(facts)
  return {
    numbers = { 3, 1, 3, 3 }, ids = { INSIDE_ID, INSIDE_ID, INSIDE_ID, INSIDE_ID },
    descriptors = descriptors(facts), processes = { 1, 3 },
    private = { {}, {}, {} }, interfaces = { "lo" }, directory = facts.directory,
    fork = facts.processes and "done" or "EPERM",
  }
end

local function differs(found, wanted, what)
  for name, value in pairs(wanted) do
    if text_of(found[name]) ~= text_of(value) then
      return ("%s%s: %s, and not %s"):format(what, name, text_of(found[name]), text_of(value))
    end
  end
  return nil
end

local function attempted(attempts)
  for name, errnos in pairs(ATTEMPTS) do
    local outcome = attempts[name]
    if not errnos[outcome] then return ("%s: %s"):format(name, tostring(outcome)) end
  end
  return nil
end

local function random_problem(found, before)
  if type(found.random) ~= "table" or #found.random == 0 then return "it has drawn no numbers" end
  for index, number in ipairs(before and found.random or {}) do
    if number == before.random[index] then return "two copies have drawn the same random number" end
  end
  return nil
end

-- The server's layer and its own, where the kernel has those that keep signals and sockets inside.
local function landlock_problem(found)
  if found.landlock == nil or type(found.landlock) ~= "number" then return nil end
  local layers = LANDLOCK_LAYERS - found.landlock
  if layers < 2 then return ("%s layers of Landlock, and not 2"):format(layers) end
  local signal = found.attempts["signal its init"]
  return signal ~= "EPERM" and "signal its init: " .. tostring(signal) or nil
end

local function shared_namespace(found, of_server)
  for kind, name in pairs(of_server) do
    if type(found[kind]) ~= "string" or found[kind] == name then
      return "the namespace " .. kind .. " is the server's"
    end
  end
  return nil
end

--- What is not as it has to be.
-- @tparam table found what the probe told, decoded
-- @tparam ?table before what it told in another copy of the same server
-- @tparam table facts `processes` (whether it may start some), `calls` (whether it has a channel),
-- `keeps` (whether a library keeps a descriptor), `directory` (where it starts), `namespaces` (the
-- server's, by kind)
-- @treturn ?string nil if all is
function M.problem(found, before, facts)
  if type(found) ~= "table" or type(found.attempts) ~= "table" or type(found.status) ~= "table"
    or type(found.namespaces) ~= "table" then
    return "the probe has told nothing"
  end
  return differs(found, expected(facts), "") or differs(found.status, STATUS, "status ")
    or attempted(found.attempts) or landlock_problem(found)
    or shared_namespace(found.namespaces, facts.namespaces) or random_problem(found, before)
end

return M
