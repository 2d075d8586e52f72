-- SPDX-License-Identifier: MIT
--- Which interpreters were found, in this process and, by the cache, in others.
--
-- An answer depends on the environment that the search saw (it is in the key), on the candidate
-- that was asked and the interpreter that it named, and on the files by which version managers
-- choose: `pyenv global 3.12` changes no shim. On disk is the interpreter's own answer, and nothing
-- that is shown to a stage: that is worked out, and checked, each time.
local sys = require "noether.sys"
local tables = require "noether.tables"

local M = {}

local MAX_MEMOS = 64

-- By variable and place below HOME: where each version manager keeps what it chose and what it has.
local MANAGERS = {
  { "PYENV_ROOT", ".pyenv", { "version", "versions" } },
  { "NODENV_ROOT", ".nodenv", { "version", "versions" } },
  { "ASDF_DATA_DIR", ".asdf", { "installs/python", "installs/nodejs" } },
  { "MISE_DATA_DIR", ".local/share/mise", { "installs/python", "installs/node" } },
  { "VOLTA_HOME", ".volta", { "tools/user/platform.json" } },
  { "XDG_CONFIG_HOME", ".config", { "mise/config.toml", "mise.toml" } },
}
local IN_HOME = { ".tool-versions", ".mise.toml", "mise.toml", ".asdfrc", ".config/mise.toml" }

-- The search is made from "/".
local IN_ROOT = { ".python-version", ".node-version", ".nvmrc", ".tool-versions", ".mise.toml",
  "mise.toml" }

local memos, memo_count = {}, 0

-- What this process was told last of what could not be had, by key: for those who waited meanwhile.
local refusals = {}

local function add(paths, directory, names)
  for _, name in ipairs(names) do
    paths[#paths + 1] = directory .. "/" .. name
  end
end

local function choosing_files(env)
  local paths = {}
  add(paths, "", IN_ROOT)
  if env.HOME then add(paths, env.HOME, IN_HOME) end
  for _, manager in ipairs(MANAGERS) do
    local directory = env[manager[1]] or env.HOME and env.HOME .. "/" .. manager[2]
    if directory then add(paths, directory, manager[3]) end
  end
  return paths
end

--- What an answer depends on, as it is now.
-- @tparam table answer `candidate` (which was asked), `path` (what it named), and if it names one
-- `compiler`; `candidates`: all of which it was chosen
-- @tparam table env what the search sees of the environment
-- @treturn ?string nil: something is not there any more
function M.conditions(answer, env)
  local stamps = { answer.candidate, sys.stamp(answer.candidate) or false,
    sys.stamp(answer.candidate, true) or false, sys.stamp(answer.path, true) or false }
  if answer.compiler then stamps[5] = sys.stamp(answer.compiler, true) or false end
  for _, other in ipairs(answer.candidates or {}) do
    stamps[#stamps + 1] = sys.stamp(other, true) or false
  end
  for _, stamp in ipairs(stamps) do
    if not stamp then return nil end
  end
  for _, path in ipairs(choosing_files(env)) do
    stamps[#stamps + 1] = sys.stamp(path, true) or "-"
  end
  return table.concat(stamps, "\n")
end

--- All else that an answer depends on, as a text.
-- @tparam table language
-- @tparam table env
-- @treturn string
function M.key(language, env)
  local lines = {}
  for name, value in pairs(env) do
    lines[#lines + 1] = name .. "=" .. value
  end
  table.sort(lines)
  local parts = { language.name, table.concat(language.runtime.programs, "\0"),
    table.concat(language.runtime.probe, "\0"), table.concat(lines, "\0") }
  return table.concat(parts, "\0\0")
end

-- What an interpreter's file, and that of the compiler beside it, look like now.
local function stamp_of(runtime)
  local stamp = sys.stamp(runtime.path)
  if not runtime.compiler or not stamp then return stamp end
  local other = sys.stamp(runtime.compiler)
  return other and stamp .. "\n" .. other
end

--- What this process found.
-- @tparam string key
-- @treturn ?table a copy of the runtime
function M.recall(key)
  local memo = memos[key]
  if not memo or memo.stamp ~= stamp_of(memo.runtime) then return nil end
  return tables.plain(memo.runtime)
end

--- Have this process remember a runtime.
-- @tparam string key
-- @tparam table runtime
function M.remember(key, runtime)
  if memo_count >= MAX_MEMOS then memos, memo_count = {}, 0 end
  if not memos[key] then memo_count = memo_count + 1 end
  memos[key] = { runtime = tables.plain(runtime), stamp = stamp_of(runtime) }
  refusals[key] = nil
end

--- Note that nothing was found, for those who wait for the same.
-- @tparam string key
-- @tparam table err
function M.note_refusal(key, err)
  refusals[key] = { err = err, at = sys.clock() }
end

--- What somebody else was told since a moment.
-- @tparam string key
-- @tparam number since
-- @treturn ?table error
function M.refusal(key, since)
  local refusal = refusals[key]
  return refusal and refusal.at >= since and refusal.err or nil
end

--- Forget all that this process knows.
function M.forget()
  memos, memo_count, refusals = {}, 0, {}
end

return M
