-- SPDX-License-Identifier: MIT
--- What a stage may ask npm for, and how npm is called.
--
-- A JavaScript or TypeScript stage names its packages in comments that have their lines for
-- themselves, as in `// requires: lodash@4.17.21, @scope/name@1.2.3`; of several lines each counts.
-- An entry is `name@version`, the version whole and exact (semver.org, without build metadata): npm
-- itself takes any text in its place, a range, a tag, a path, a repository. What comes along as a
-- dependency is judged by the same lists, before anything of it is fetched.
local lpeg = require "lpeg"

local B, C, Ct, P, S = lpeg.B, lpeg.C, lpeg.Ct, lpeg.P, lpeg.S

local M = {}

--- Names (`"lodash"`, `"@scope/name"`) or entries with a version that alone are allowed, as a list
-- or as the keys of a set; nil: all are.
M.allow = nil

--- Names or entries that are refused, allowed or not.
M.deny = {}

--- Bounds: bytes of a comment's line, entries in all, bytes of a name and of a version, and how
-- many refusals are told.
M.limits = {
  line_bytes = 65536, requirements = 256, name_bytes = 214, version_bytes = 128, rejections = 20,
}

--- How the installer is called: argument lists, the file that node runs first. `{npm}` stands for
-- the npm that this machine has beside its node; `{options}`, as a whole argument, for what says
-- where packages come from. `lock` writes package-lock.json, and fetches of packages only
-- those that bring others along; it is judged; then `install` fetches what it names, and nothing
-- else. No package's own code runs in either.
M.installer = {
  lock = {
    "{npm}", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund",
    "--no-update-notifier", "--omit=dev", "--logs-max=0", "--loglevel=error", "--fetch-retries=1",
    "--fetch-timeout=60000", "--allow-git=none", "--allow-file=none", "--allow-directory=none",
    "{options}",
  },
  install = {
    "{npm}", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier",
    "--no-bin-links", "--omit=dev", "--logs-max=0", "--loglevel=error", "--fetch-retries=1",
    "--fetch-timeout=60000", "--allow-git=none", "--allow-file=none", "--allow-directory=none",
    "{options}",
  },
}

--- Variables for the installer: it reads no configuration of anybody's. (Files that are not there
-- do no harm; the same one for both would.)
M.env = {
  CI = "true", npm_config_userconfig = "/nonexistent/npmrc",
  npm_config_globalconfig = "/nonexistent/npmrc-global",
}

--- Variables of the host that the installer gets, beside those that a stage with Network gets. The
-- hosts of proxies that they name are reached, too.
M.env_allowlist = {
  "http_proxy", "https_proxy", "all_proxy", "no_proxy",
  "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}

--- Hosts that the installer may reach beside those of its registry, as of a list of hosts
-- (`"files.example:443"`); false: all of the network. The executor's option of that name stands
-- before it.
M.hosts = {}

local MARK = "// requires:"

-- --- The comments ------------------------------------------------------------------------------

local newline = S"\r\n"
local blank = S" \t"
local escape = P"\\" * P(1) ^ -1

local function string_between(quote)
  return P(quote) * (escape + (1 - newline - quote)) ^ 0 * P(quote) ^ -1
end

local template = P"`" * (escape + (1 - P"`")) ^ 0 * P"`" ^ -1
local block_comment = P"/*" * (1 - P"*/") ^ 0 * P"*/" ^ -1
local line_comment = P"//" * (1 - newline) ^ 0
local requires = blank ^ 0 * MARK * C((1 - newline) ^ 0)
local token = B(newline) * requires + string_between'"' + string_between"'" + template
  + block_comment + line_comment + P(1)
local lines_of = Ct(requires ^ -1 * token ^ 0)

local word = 1 - S" \t,"
local entry = blank ^ 0 * C(word ^ 1 * (blank ^ 1 * word ^ 1) ^ 0)
local entries_of = Ct((entry + P(1)) ^ 0)

-- --- One entry ---------------------------------------------------------------------------------

-- Text as it may stand in a message: one line of printable ASCII.
local function shown(text)
  local line = text:sub(1, 80):gsub("[^\32-\126]", "?")
  return #text > 80 and line .. "..." or line
end

local PART = "[%w~-][%w._~-]*"

local function is_name(name)
  if #name > M.limits.name_bytes or name:find("[\128-\255]") then return false end
  return name:find("^" .. PART .. "$") ~= nil
    or name:find("^@" .. PART .. "/" .. PART .. "$") ~= nil
end

local function is_number(text)
  return text:find("^%d+$") ~= nil and (text == "0" or text:sub(1, 1) ~= "0")
end

-- 1.2.3, 1.2.3-beta.1
local function is_version(version)
  if #version > M.limits.version_bytes then return false end
  local core, rest = version:match("^([%d.]+)(.*)$")
  if not core or not (rest == "" or rest:find("^%-[%w.-]+$")) then return false end
  local a, b, c = core:match("^(%d+)%.(%d+)%.(%d+)$")
  return a ~= nil and is_number(a) and is_number(b) and is_number(c)
end

-- { name, version }; or nil and why not.
local function parse(spec)
  local name, version = spec:match("^(.+)@([^@]*)$")
  if not name then return nil, "it is not pinned: write name@version" end
  if not is_name(name) then return nil, "its name is no package's" end
  if not is_version(version) then
    return nil, "its version is not exact: write all of it, as in 1.2.3"
  end
  return { name = name, version = version }
end

local function is_listed(list, requirement)
  local whole = requirement.name .. "@" .. requirement.version
  for key, value in pairs(list) do
    local listed = type(key) == "string" and value and key or tostring(value)
    if listed == requirement.name or listed == whole then return true end
  end
  return false
end

local function admit(spec)
  local requirement, reason = parse(spec)
  if not requirement then return nil, reason end
  if is_listed(M.deny or {}, requirement) then return nil, "the policy denies it" end
  if M.allow and not is_listed(M.allow, requirement) then
    return nil, "the policy's list of allowed packages does not hold it"
  end
  return requirement
end

--- Whether one package may be installed.
-- @tparam string spec `name@version`
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check(spec)
  local requirement, reason = admit(spec)
  if not requirement then return nil, reason end
  return true
end

-- --- All of them -------------------------------------------------------------------------------

local function refused(spec, reason)
  return nil, { { spec = shown(spec), reason = reason } }
end

local function named_in(code)
  local entries = {}
  for _, line in ipairs(lines_of:match((code:gsub("^\239\187\191", "")))) do
    if #line > M.limits.line_bytes then
      return nil, line, ("the line is longer than %d bytes"):format(M.limits.line_bytes)
    end
    for _, spec in ipairs(entries_of:match(line)) do
      entries[#entries + 1] = spec
    end
  end
  return entries
end

--- The packages that a stage's code names.
-- @tparam string code
-- @tparam[opt] table opts `declared`: a list that was said elsewhere, and is taken in the place of
-- what the code names
-- @treturn ?table list of `name@version` in the order written, empty if there are none; or nil
-- @treturn ?table what was rejected, `{ spec = , reason = }` each, told of at most
-- `limits.rejections`
function M.requirements(code, opts)
  local entries, line, why = opts and opts.declared, nil, nil
  if not entries then entries, line, why = named_in(code) end
  if not entries then return refused(line, why) end
  if #entries > M.limits.requirements then
    return refused(entries[1], ("there are more than %d requirements"):format(
      M.limits.requirements))
  end
  local rejected, by_name = {}, {}
  for _, spec in ipairs(entries) do
    local requirement, reason = admit(spec)
    if requirement and by_name[requirement.name] then
      requirement, reason = nil, "the package is named twice"
    elseif requirement then
      by_name[requirement.name] = true
    end
    if not requirement and #rejected < M.limits.rejections then
      rejected[#rejected + 1] = { spec = shown(spec), reason = reason }
    end
  end
  if rejected[1] then return nil, rejected end
  return entries
end

-- --- The installer -----------------------------------------------------------------------------

local function fill(list, npm, options)
  local argv = {}
  for _, argument in ipairs(list) do
    if argument == "{options}" then
      for _, option in ipairs(options) do
        argv[#argv + 1] = option
      end
    else
      argv[#argv + 1] = (argument:gsub("{npm}", function() return npm end))
    end
  end
  return argv
end

--- The commands of the installer.
-- @tparam string npm path of npm's own program
-- @tparam[opt] table opts `registry`: a URL
-- @treturn table `{ lock = list, install = list }`: what node is given, the file that it runs first
function M.commands(npm, opts)
  local options = {}
  if opts and opts.registry then options[1] = "--registry=" .. opts.registry end
  return {
    lock = fill(M.installer.lock, npm, options), install = fill(M.installer.install, npm, options),
  }
end

--- What stands in package.json.
-- @tparam table requirements of @{requirements}
-- @treturn string
function M.requirements_file(requirements)
  local lines = {}
  for index, spec in ipairs(requirements) do
    local name, version = spec:match("^(.+)@([^@]*)$")
    lines[index] = ('"%s":"%s"'):format(name, version)
  end
  return ('{"private":true,"dependencies":{%s}}\n'):format(table.concat(lines, ","))
end

return M
