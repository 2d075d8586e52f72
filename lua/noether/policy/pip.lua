-- SPDX-License-Identifier: MIT
--- What a stage may ask pip for, and how pip is called.
--
-- A Python stage names its packages in comments that have their lines for themselves, as in
-- `# requires: six==1.16.0, pyyaml==6.0.1`; of several lines each counts. An
-- entry is `name==version`, and any number of times after it ` --hash=sha256:<64 hex digits>`.
-- Everything else is refused, whatever pip would make of it: URLs, paths, extras, markers, options.
-- With a lock, which pins what is installed, a name alone or a range of versions (PEP 440) will do,
-- and extras are passed over: what they bring is in it.
-- Names follow PEP 508 and are compared as PEP 503 says; versions hold the characters that PEP 440
-- uses for pinned ones.
local M = {}

--- Names (`"six"`) or pinned entries (`"six==1.16.0"`) that alone are allowed, as a list or as the
-- keys of a set; nil: all are.
M.allow = nil

--- Names or pinned entries that are refused, allowed or not.
M.deny = {}

--- What becomes of a stage with a bad entry: "refuse" it, or "drop" the entry.
M.on_invalid = "refuse"

--- Bounds: bytes of the comment's line, entries on it, bytes of a name and of a version, and how
-- many refusals are told.
M.limits = {
  line_bytes = 65536, requirements = 256, name_bytes = 128, version_bytes = 128, rejections = 20,
}

--- How the installer is called: argument lists, in which `{python}` stands for an interpreter,
-- `{dir}` for the environment that is made and `{pip}` for the program of the pip that this machine
-- has; `{options}` and `{requirements}`, as a whole argument, for any number of arguments. `lock`
-- installs nothing: it writes what it would install to the file `{report}` (pip's own format, 1).
-- The environment gets no pip of its own: the machine's is run by the environment's interpreter,
-- which takes a tenth of the time.
M.installer = {
  venv = { "{python}", "-I", "-m", "venv", "--without-pip", "--", "{dir}" },
  install = {
    "{python}", "-I", "{pip}", "install", "--isolated", "--no-input", "--no-cache-dir",
    "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar=off", "--no-color",
    "--retries=2", "{options}", "{requirements}",
  },
  lock = {
    "{python}", "-I", "{pip}", "install", "--isolated", "--no-input", "--no-cache-dir",
    "--disable-pip-version-check", "--progress-bar=off", "--no-color", "--retries=2", "--quiet",
    "--dry-run", "--ignore-installed", "--report={report}", "{options}", "{requirements}",
  },
}

--- Variables for the installer. With `--isolated` and no configuration file, pip asks just the
-- places that it is told.
M.env = { PIP_CONFIG_FILE = "/dev/null", PYTHONDONTWRITEBYTECODE = "1" }

--- Variables of the host that the installer gets when it has the network, beside those that a stage
-- with Network gets. The hosts of proxies that they name are reached, too.
M.env_allowlist = {
  "http_proxy", "https_proxy", "all_proxy", "no_proxy",
  "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}

--- Hosts that the installer may reach beside those of its indexes, as of a list of hosts
-- (`"files.example:443"`); false: all of the network. The executor's option of that name stands
-- before it.
M.hosts = {}

--- Paths of the host that the installer may read, where they exist, beside the interpreter's: what
-- pip looks at to know the system, and wherever another installer lies.
M.paths = {
  "/etc/debian_version", "/etc/os-release", "/etc/lsb-release", "/etc/redhat-release",
  "/etc/mime.types",
}

local MARK = "# requires:"

-- Editors put it before a text, where it means nothing.
local BYTE_ORDER_MARK = "\239\187\191"

-- Text as it may stand in a message: one line of printable ASCII.
local function shown(text)
  local line = text:sub(1, 80):gsub("[^\32-\126]", function(byte)
    return ("\\x%02x"):format(byte:byte())
  end)
  return #text > 80 and line .. "..." or line
end

-- In two steps, each linear: one pattern for both ends tries every run of blanks from every place.
local function trim(text)
  local from = text:find("[^ \t\r]")
  return from and text:match(".*[^ \t\r]", from) or ""
end

-- PEP 503: case, and runs of "-", "_" and "." do not tell names apart.
local function normalise(name)
  return (name:lower():gsub("[-_.]+", "-"))
end

-- PEP 508: letters, digits, "-", "_", "."; the first and the last are a letter or a digit.
local function check_name(name)
  if name == "" then return nil, "it has no name" end
  if name:find("^[%w_.-]+[ \t]*%[") then
    return nil, ("its name holds something other than a name, an extra: list what that brings"
      .. " beside %s, each as name==version"):format(name:match("^[%w_.-]+"))
  end
  if #name > M.limits.name_bytes then return nil, "its name is too long" end
  if name:find("[^%w_.-]") or name:find("[\128-\255]") then
    return nil, "its name holds something other than letters, digits, '-', '_' and '.'"
  end
  if name:find("^[-_.]") or name:find("[-_.]$") then
    return nil, "its name must begin and end with a letter or a digit"
  end
  return true
end

local function check_version(version)
  if version == "" then return nil, "it has no version after '=='" end
  if #version > M.limits.version_bytes then return nil, "its version is too long" end
  if version:find("[^%w.+!-]") or version:find("[\128-\255]") then
    return nil, "its version holds something other than letters, digits, '.', '+', '!' and '-'"
  end
  return true
end

-- "six==1.0 --hash=sha256:..." -> "six==1.0", how many hashes; or nil and why not.
local function split_hashes(spec)
  local at = spec:find(" ", 1, true)
  if not at then return spec, 0 end
  local pin, count = spec:sub(1, at - 1), 0
  for word in spec:sub(at):gmatch("[^ \t]+") do
    if not word:find("^%-%-hash=") then return nil, "it holds a blank" end
    local digest = word:match("^%-%-hash=sha256:(%x+)$")
    if not digest or #digest ~= 64 then
      return nil, "a hash is written --hash=sha256:<64 hex digits>"
    end
    count = count + 1
  end
  return pin, count
end

local OPERATORS = { ["=="] = true, ["!="] = true, ["<="] = true, [">="] = true, ["<"] = true,
  [">"] = true, ["~="] = true }

-- Whether a text is a row of PEP 440's clauses: ">=1.0,<2".
local function is_range(text)
  for clause in (text .. ","):gmatch("([^,]*),") do
    local operator, version = clause:match("^([<>=!~]+)([%w.+!-]+)%*?$")
    if not operator or not OPERATORS[operator] or #version > M.limits.version_bytes then
      return false
    end
  end
  return true
end

-- "rich >=13, <14" -> { name, range }; nil where that is no range, and no more than a pin.
local function parse_range(spec)
  local bare = spec:gsub("[ \t]*([<>=!~,]+)[ \t]*", "%1")
  local name, range = bare:match("^([^<>=!~]*)([<>=!~].*)$")
  if not range or range:find("^==[^=*,]*$") or not is_range(range) then return nil end
  local ok, reason = check_name(name)
  if not ok then return nil, reason end
  return { name = normalise(name), range = range, hashes = 0 }
end

-- What a marker of PEP 508 asks of the machine.
local MARKERS = { "_version%s*[<>=!~]", "platform[%w_]*%s*[<>=!~]", "os_name%s*[<>=!~]",
  "extra%s*[<>=!~]", "implementation[%w_]*%s*[<>=!~]" }

local function has_marker(spec)
  local marker = spec:match(";(.*)$")
  for _, pattern in ipairs(marker and MARKERS or {}) do
    if marker:find(pattern) then return true end
  end
  return false
end

-- { name, version or nil, range, hashes }; or nil and why not.
local function parse(spec, allow_unpinned)
  if has_marker(spec) then
    return nil, "it has a marker: leave it out, and name what this machine needs"
  end
  local found, why
  if allow_unpinned then found, why = parse_range(spec) end
  if found or why then return found, why end
  local pin, hashes = split_hashes(spec)
  if not pin then return nil, hashes end
  local at = pin:find("==", 1, true)
  if not at and not allow_unpinned then
    return nil, "it is not pinned: write name==version"
  elseif not at and hashes > 0 then
    return nil, "hashes need a version: write name==version"
  end
  local name, version = pin, nil
  if at then name, version = pin:sub(1, at - 1), pin:sub(at + 2) end
  local ok, reason = check_name(name)
  if ok and version then ok, reason = check_version(version) end
  if not ok then return nil, reason end
  return { name = normalise(name), version = version, hashes = hashes }
end

-- Whether a list of the policy names a requirement.
local function is_listed(list, requirement)
  for key, value in pairs(list) do
    local entry = type(key) == "string" and value and key or tostring(value)
    local name, version = entry:match("^(.-)==(.*)$")
    if normalise(name or entry) == requirement.name then
      if not version or version == requirement.version then return true end
    end
  end
  return false
end

local function admit(spec, opts)
  if opts and opts.locked then spec = spec:gsub("^([%w_.-]+)%s*%[[%w_., -]*%]", "%1") end
  local requirement, reason = parse(spec, opts and (opts.allow_unpinned or opts.locked))
  if not requirement then return nil, reason end
  if is_listed(M.deny or {}, requirement) then return nil, "the policy denies it" end
  if M.allow and not is_listed(M.allow, requirement) then
    return nil, "the policy's list of allowed packages does not hold it"
  end
  return requirement
end

--- Whether one requirement may be handed to pip.
-- @tparam string spec as written, without blanks around it
-- @tparam[opt] table opts `allow_unpinned`: a name without a version, or with a range of them, will
-- do
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check(spec, opts)
  local requirement, reason = admit(spec, opts)
  if not requirement then return nil, reason end
  return true
end

-- Where a string of Python that begins at `from` ends: at its quotes, or the end of its line.
local function end_of_string(code, from)
  local quote = code:sub(from, from)
  local whole = code:sub(from, from + 2) == quote:rep(3) and quote:rep(3) or quote
  local position = from + #whole
  while true do
    local at = code:find("[\\\n" .. quote .. "]", position)
    if not at then return #code end
    local found = code:sub(at, at)
    if found == quote and code:sub(at, at + #whole - 1) == whole then return at + #whole - 1 end
    if found == "\n" and #whole == 1 then return at end
    position = at + (found == "\\" and 2 or 1)
  end
end

local function begins_line(code, at)
  local before = at - 1
  while before > 0 and code:find("^[ \t]", before) do
    before = before - 1
  end
  return before == 0 or code:sub(before, before) == "\n"
    or before == #BYTE_ORDER_MARK and code:sub(1, before) == BYTE_ORDER_MARK
end

-- What follows the mark in each comment that has a line for itself; of a line that is too long,
-- enough to tell. What stands in a string is no comment.
local function requires_lines(code)
  local lines, position = {}, 1
  while code:find(MARK, position, true) do
    local at = code:find("[#'\"]", position)
    local stop
    if code:sub(at, at) ~= "#" then
      stop = end_of_string(code, at)
    else
      stop = code:find("\n", at, true) or #code + 1
      local from = at + #MARK
      if code:sub(at, from - 1) == MARK and begins_line(code, at) then
        lines[#lines + 1] = code:sub(from, math.min(stop - 1, from + M.limits.line_bytes))
      end
    end
    position = stop + 1
  end
  return lines
end

-- Adds the entries of a line; false if they are too many.
local function split(line, entries)
  for part in line:gmatch("[^,]+") do
    local entry = trim(part)
    if entry ~= "" then entries[#entries + 1] = entry end
    if #entries > M.limits.requirements then return false end
  end
  return true
end

-- Faults that only the set has, as { spec =, reason = } or nil.
local function check_set(requirement, spec, set)
  local other = set.by_name[requirement.name]
  if other then return { spec = shown(spec), reason = "the package is named twice" } end
  set.by_name[requirement.name] = spec
  local hashed = requirement.hashes > 0
  if set.hashed == nil then set.hashed = hashed end
  if set.hashed ~= hashed then
    return { spec = shown(spec), reason = "either all requirements have hashes or none" }
  end
  return nil
end

local function judge(entries, opts)
  local accepted, rejected, set = {}, {}, { by_name = {} }
  for _, spec in ipairs(entries) do
    local requirement, reason = admit(spec, opts)
    local fault
    if requirement then
      fault = check_set(requirement, spec, set)
    else
      fault = { spec = shown(spec), reason = reason }
    end
    if not fault then
      accepted[#accepted + 1] = spec
    elseif #rejected < M.limits.rejections then
      rejected[#rejected + 1] = fault
    end
  end
  return accepted, rejected
end

local function too_much(reason, line)
  return nil, { { spec = shown(trim(line:sub(1, 200))), reason = reason } }
end

--- The requirements that a stage's code names.
-- @tparam string code
-- @tparam[opt] table opts `allow_unpinned`, as for @{check}; `declared`: a list that the code has
-- said in another way (the block of PEP 723), which then is the only one; `locked`: a lock says
-- which versions are installed
-- @treturn ?table list of requirements in the order written, empty if the code names none; or nil
-- if some are bad and `on_invalid` is "refuse"
-- @treturn ?table what was rejected, `{ spec = , reason = }` each, told of at most
-- `limits.rejections`; nil if nothing was
function M.requirements(code, opts)
  local declared = opts and opts.declared
  local lines, entries = requires_lines(code), declared or {}
  if declared and lines[1] then
    return nil, { { spec = MARK .. shown(lines[1]), reason = "the block '# /// script' says it "
      .. "already: write one of the two" } }
  elseif #entries > M.limits.requirements then
    local many = ("there are more than %d requirements"):format(M.limits.requirements)
    return too_much(many, entries[1])
  end
  for _, line in ipairs(lines) do
    if #line > M.limits.line_bytes then
      return too_much(("the line is longer than %d bytes"):format(M.limits.line_bytes), line)
    elseif not split(line, entries) then
      return too_much(("there are more than %d requirements"):format(M.limits.requirements), line)
    end
  end
  local accepted, rejected = judge(entries, opts)
  if #rejected == 0 then return accepted end
  if M.on_invalid == "drop" then return accepted, rejected end
  return nil, rejected
end

local function fill(template, single, many)
  local argv = {}
  for _, argument in ipairs(template) do
    local list = many[argument]
    if list then
      for _, item in ipairs(list) do
        argv[#argv + 1] = item
      end
    else
      argv[#argv + 1] = (argument:gsub("{(%a+)}", single))
    end
  end
  return argv
end

--- The command that makes a virtual environment.
-- @tparam string python absolute path of the interpreter
-- @tparam string dir absolute path of the directory to make
-- @treturn table list, the program first
function M.venv_argv(python, dir)
  return fill(M.installer.venv, { python = python, dir = dir }, {})
end

local function install_options(opts)
  local options = {}
  if opts.only_binary ~= false then options[1] = "--only-binary=:all:" end
  if opts.hashes then options[#options + 1] = "--require-hashes" end
  return options
end

--- The name of a requirement, and what versions of it will do.
-- @tparam string spec as @{requirements} gives it
-- @treturn string the name as an index compares it (PEP 503)
-- @treturn ?string "==1.0" or ">=1.0,<2"; nil: any
function M.wanted(spec)
  local bare = spec:match("^(.-)%s*%-%-hash=") or spec
  bare = bare:gsub("%s+", ""):gsub("%[.*%]", "")
  local name, range = bare:match("^([^<>=!~]*)(.*)$")
  return normalise(name), range ~= "" and range or nil
end

--- The command that installs requirements into a virtual environment.
-- Wheels only, unless told otherwise: a source distribution runs code of its own to be built.
-- @tparam string python absolute path of the environment's own interpreter
-- @tparam table requirements the list that @{requirements} gave, which comes after `--`
-- @tparam[opt] table opts `hashes` (pip then wants one for every package), `only_binary` (true
-- unless false), `file` (path of a file that holds what @{requirements_file} gave)
-- @treturn table list, the program first
function M.install_argv(python, requirements, opts)
  opts = opts or {}
  local wanted = {}
  if opts.file then wanted[1] = "--requirement=" .. opts.file end
  -- Hashes can be given in a file only.
  if not opts.hashes then
    wanted[#wanted + 1] = "--"
    for _, spec in ipairs(requirements) do
      wanted[#wanted + 1] = spec
    end
  end
  return fill(M.installer.install, { python = python }, {
    ["{options}"] = install_options(opts), ["{requirements}"] = wanted,
  })
end

--- The command that finds out what would be installed: as @{install_argv}, and writes a report.
-- @tparam string python absolute path of an interpreter
-- @tparam table requirements
-- @tparam table opts `only_binary`, `file`, `report` (path of the file to write)
-- @treturn ?table list, the program first; or nil and a reason: the installer has no such command
-- @treturn ?string
function M.lock_argv(python, requirements, opts)
  if not M.installer.lock then return nil, "the policy's installer has no command 'lock'" end
  local wanted = { "--requirement=" .. opts.file, "--" }
  for _, spec in ipairs(requirements) do
    wanted[#wanted + 1] = spec
  end
  return fill(M.installer.lock, { python = python, report = opts.report }, {
    ["{options}"] = install_options(opts), ["{requirements}"] = wanted,
  })
end

-- As a URL a path has no character that means something to whoever reads the file.
local function as_url(place)
  if place:sub(1, 1) ~= "/" then return place end
  return "file://" .. place:gsub("[^%w/._~-]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end)
end

--- What stands in the file beside the command: where packages are looked for, and requirements that
-- have hashes. So that no place is seen on a command line, and since pip puts variables of its
-- environment in for `${NAME}` in a file only.
-- @tparam table requirements as for @{install_argv}
-- @tparam[opt] table opts `hashes`, `index_url`, `extra_index_urls`, `find_links` (lists of URLs;
-- the latter of absolute paths too), `trusted_hosts`. Without an index, and with `find_links`,
-- nothing else is asked
-- @treturn string
function M.requirements_file(requirements, opts)
  opts = opts or {}
  local lines = {}
  local function add(option, list)
    for _, value in ipairs(list or {}) do
      lines[#lines + 1] = ("%s %s"):format(option, as_url(value))
    end
  end
  local has_index = opts.index_url or (opts.extra_index_urls and opts.extra_index_urls[1])
  if not has_index and opts.find_links and opts.find_links[1] then lines[1] = "--no-index" end
  add("--index-url", { opts.index_url })
  add("--extra-index-url", opts.extra_index_urls)
  add("--find-links", opts.find_links)
  add("--trusted-host", opts.trusted_hosts)
  for _, spec in ipairs(opts.hashes and requirements or {}) do
    lines[#lines + 1] = spec
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
