-- SPDX-License-Identifier: MIT
--- What a failure is called, and what to do about it.
--
-- Each source has rules of its own, tried in order against what that source wrote, and only that:
-- what a stage prints never reads as a fault of the machine, nor the reverse. A rule is
-- `{ find = {...}, kind, message, hint }`: Lua patterns of which one must occur; in the message
-- `%s` stands for the line that tells most, or for the first in which the pattern `line` occurs. A
-- rule with `given` is for failures of which these facts are known, too. What nix repeats of a
-- builder's own log counts only for a rule with `log = true`.
local M = {}

local MAX_EXCERPT_BYTES = 400

local NAMED_ESCAPES = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function escape(byte)
  return NAMED_ESCAPES[byte] or ("\\x%02x"):format(byte:byte())
end

-- Bytes from a text, moved so that no UTF-8 character is cut in two.
local function head(text, bytes)
  local stop = bytes
  while stop > 0 and stop > bytes - 4 and text:find("^[\128-\191]", stop + 1) do
    stop = stop - 1
  end
  return text:sub(1, stop)
end

local function tail(text, bytes)
  local start = #text - bytes + 1
  while start <= #text and text:find("^[\128-\191]", start) do
    start = start + 1
  end
  return text:sub(start)
end

--- Text of unknown origin as one bounded line: control bytes escaped, the middle left out.
-- @tparam string text
-- @tparam[opt=400] number max most bytes of the text that are kept
-- @treturn string
function M.excerpt(text, max)
  max = max or MAX_EXCERPT_BYTES
  local from = text:find("%S")
  if not from then return "" end
  local last = #text
  while text:find("^%s", last) do
    last = last - 1
  end
  local kept = text:sub(from, last)
  if #kept > max then
    local half = math.floor(max / 2)
    kept = head(kept, half) .. " ... " .. tail(kept, half)
  end
  return (kept:gsub("[%z\1-\31\127]", escape))
end

--- The first line that is not blank, trimmed; empty if there is none.
-- @tparam string text
-- @treturn string
function M.first_line(text)
  local from = text:find("%S")
  if not from then return "" end
  return M.excerpt(text:sub(from, (text:find("\n", from, true) or #text + 1) - 1))
end

-- The last line that begins with one of the beginnings and says more, or else the first line of
-- all. (Newer versions of nix write "error:" alone, and indent what it is.)
local function telling_line(text, beginnings)
  local found
  for line in text:gmatch("[^\n]+") do
    local start = line:find("%S") or 1
    for _, beginning in ipairs(beginnings) do
      local rest = start + #beginning
      if line:sub(start, rest - 1) == beginning and line:find("%S", rest) then found = line end
    end
  end
  return found and M.excerpt(found) or M.first_line(text)
end

local CHECK_NETWORK = "check the network and the access to nixpkgs, or pin nixpkgs to a local flake"
local CHECK_FLAKE = "check the reference given as nixpkgs, and the network if it is remote"
local CHECK_DAEMON = "start it: sudo systemctl start nix-daemon, or as root: nix daemon"
local OTHER_STORE = "have root start nix-daemon, or give nix a store of your own (NIX_STORE_DIR,"
  .. " NIX_STATE_DIR, NIX_LOG_DIR)"
local COLLECT = "free some room: nix-collect-garbage -d"

--- Rules by source. Texts are those of nix 2.8 and of newer ones, of pip and of bubblewrap.
M.rules = {
  nix = {
    { find = { "cannot connect to socket at '",
        "[Cc]annot connect to nix daemon", "[Cc]annot connect to the Nix daemon" },
      kind = "runtime_unavailable", message = "the nix daemon is not running (%s)",
      hint = CHECK_DAEMON },
    { find = { "cannot open connection to remote store 'daemon'" },
      kind = "runtime_unavailable", message = "the nix daemon refused the connection (%s)",
      hint = "it may not let this user in: see allowed-users in nix.conf" },
    { find = { "error: unexpected end%-of%-file" },
      kind = "runtime_unavailable", message = "the nix daemon went away in the middle (%s)",
      hint = CHECK_DAEMON },
    { find = { "No space left on device", "out of disk space", "lack of free disk space" },
      kind = "runtime_unavailable", message = "the nix store is full (%s)", hint = COLLECT,
      log = true },
    { find = { "SQLite statement .*disk I/O error" },
      kind = "runtime_unavailable", message = "nix cannot write its database (%s)",
      hint = "the disk may be full, or failing; " .. COLLECT },
    { find = { "file is not a database", "database disk image is malformed" },
      kind = "runtime_unavailable", message = "nix's database is damaged (%s)",
      hint = "see nix-store --verify --repair, or restore /nix/var/nix/db from a copy" },
    { find = { "remounting /nix/store writable", "Read%-only file system" },
      kind = "runtime_unavailable", message = "the nix store is read-only (%s)",
      hint = "mount /nix writable, or warm the executor up where it is" },
    { find = { "experimental [Nn]ix feature '[%w-]+' is disabled" },
      kind = "runtime_unavailable", message = "nix has its newer commands switched off (%s)",
      hint = "put into nix.conf: experimental-features = nix-command flakes" },
    { find = { "error: the group '[^']*' specified in 'build%-users%-group' does not exist" },
      kind = "runtime_unavailable", message = "nix has no users to build as (%s)",
      hint = "make the group and its users, or set in nix.conf: build-users-group =" },
    { find = { "could not set permissions on '/nix/", "creating directory '/nix'",
        "opening lock file '[^']*': Permission denied" },
      kind = "runtime_unavailable", message = "this user may not use /nix (%s)",
      hint = OTHER_STORE },
    { find = { "cannot determine user's home directory" },
      kind = "runtime_unavailable", message = "nix wants a home directory (%s)",
      hint = "set HOME to a directory of this user's" },
    { find = { "NAR hash mismatch in input", "hash mismatch in input" },
      kind = "runtime_unavailable", message = "the flake is not the one that was locked (%s)",
      hint = "restore it; or delete the lock file, to resolve runtimes anew" },
    { find = { "timed out after %d+ seconds" },
      kind = "setup_timed_out", message = "a build of nix took too long (%s)",
      hint = "raise setup_timeout_secs, or warm the executor up first" },
    { find = { "interrupted by the user" },
      kind = "runtime_unavailable", message = "nix was interrupted (%s)" },
    { find = { "[Cc]ould ?n['o]t resolve host", "Network is unreachable", "[Nn]o route to host",
        "Temporary failure in name resolution" },
      kind = "runtime_unavailable", message = "there is no network for nix: it failed to fetch"
        .. " what the runtime needs (%s)",
      hint = CHECK_NETWORK, log = true },
    { find = { "unable to download", "error: downloading", "error: fetching",
        "program 'git' failed" },
      kind = "runtime_unavailable", message = "nix failed to fetch what the runtime needs (%s)",
      hint = CHECK_NETWORK, log = true },
    { find = { "error: attribute '[^']*' missing", "error: undefined variable '" },
      kind = "packages_failed", message = "nixpkgs has no such package (%s)",
      hint = "the packages policy says which attribute an import stands for (known)" },
    { find = { "does not provide attribute" },
      kind = "runtime_unavailable", message = "the flake has no such package (%s)",
      hint = CHECK_FLAKE },
    { find = { "builder for '[^']*' failed", "dependencies of derivation '[^']*' failed to build",
        "Cannot build '" },
      kind = "packages_failed", message = "nix could not build a package (%s)",
      hint = "nix log with the path that the message names shows why" },
    { find = { "there is no substituter that can build it",
        "don't know how to build these paths", "does not exist and cannot be created" },
      kind = "runtime_unavailable",
      message = "nix knows neither how to build the runtime nor where to fetch it (%s)",
      hint = CHECK_NETWORK },
    { find = { "error: flake", "error: getting flake", "cannot find flake",
        "could not find a flake%.nix", "flake%.nix': No such file", "flake%.nix' does not exist",
        "getting status of '", "error: path '[^']*' does not exist", "is not a flake",
        "in pure evaluation mode", "on unlocked flake reference", "syntax error",
        "is not a derivation", "to be a derivation or path but found" },
      kind = "runtime_unavailable", message = "nix could not use the flake (%s)",
      hint = CHECK_FLAKE },
    { find = { "unable to execute '" },
      kind = "runtime_unavailable", message = "what nix built has no such program (%s)",
      hint = CHECK_FLAKE },
    { find = { "path '/[^']*' is not valid" },
      kind = "runtime_unavailable", message = "the runtime is not in the nix store yet (%s)",
      hint = "warm the executor up" },
    { find = { "unrecognised flag", "is not a recognised command" },
      kind = "runtime_unavailable", message = "this nix is too old (%s)",
      hint = "nix 2.8 or later is needed" },
    { find = { "nix: command not found", "nix: not found", "nix: No such file" },
      kind = "runtime_unavailable", message = "nix was not found; is it installed? (%s)",
      hint = "install nix, or take runtime = 'host'" },
  },
  pip = {
    { find = { "No space left on device", "File too large" },
      given = { part = "install", walls = true }, kind = "packages_failed",
      message = "the packages are larger than allowed (%s)",
      hint = "the executor's pip.max_bytes and pip.max_files say how large they may be" },
    { find = { "No space left on device", "Disk quota exceeded" },
      kind = "packages_failed", message = "the disk is full (%s)",
      hint = "free some room where the cache is" },
    { find = { "DO NOT MATCH THE HASHES" },
      kind = "packages_failed", message = "a package is not the one that was pinned (%s)",
      hint = "compare its sha256 with the one after --hash; the index may not be what it was" },
    { find = { "In %-%-require%-hashes mode", "Hashes are required in" },
      kind = "packages_failed", message = "a package has no hash, while others have (%s)",
      hint = "list dependencies too, each with its version and hash" },
    { find = { "Invalid requirement" },
      kind = "package_rejected", message = "pip does not take a requirement (%s)",
      hint = "write name==version" },
    { find = { "ensurepip is not available", "No module named ensurepip", "No module named venv",
        "No module named '?pip" },
      kind = "packages_failed", message = "this Python cannot make virtual environments (%s)",
      hint = "install what it lacks: on Debian, apt-get install python3-venv" },
    { find = { "trying to install outside the target directory",
        "a link leads out of the environment", "neither file, directory nor link",
        "a package replaces a part of the environment" },
      kind = "packages_failed", message = "a package reaches out of its environment (%s)",
      hint = "no honest package does: do not use it" },
    { find = { "was killed by signal %d+" },
      kind = "packages_failed", message = "the installer was killed (%s)",
      hint = "something outside did it: perhaps the system, for want of memory" },
    { find = { "is not a trusted or secure host" }, line = "is not a trusted or secure host",
      kind = "packages_failed", message = "pip does not trust its index (%s)",
      hint = "use https://, or name the host in the executor's pip.trusted_hosts" },
    { find = { "HTTP error 40[13] while getting", "40[13] Client Error" }, line = "40[13]",
      kind = "packages_failed", message = "the index refuses to answer (%s)",
      hint = "check user and password in the index's URL (pip.env holds what is secret in it)" },
    { find = { "name resolution", "Failed to establish a new connection", "NewConnectionError",
        "Network is unreachable", "Read timed out", "ReadTimeoutError", "ConnectTimeoutError",
        "SSLError", "ProxyError", "Connection aborted", "Connection reset", "IncompleteRead" },
      line = "broken by", kind = "packages_failed", message = "pip cannot reach its index (%s)",
      hint = "check the network and the index that is configured" },
    { find = { "HTTP error %d+ while getting", "%d+ Server Error" },
      kind = "packages_failed", message = "the index answered with an error (%s)",
      hint = "try again; if it goes on, ask who keeps the index" },
    { find = { "ResolutionImpossible", "conflicting dependencies" }, line = "Cannot install",
      kind = "packages_failed", message = "the packages do not go together (%s)",
      hint = "change the versions so that their dependencies agree" },
    { find = { "requires a different Python",
        "versions that require a different python version" },
      line = "different [Pp]ython",
      kind = "packages_failed", message = "a package is not for this Python (%s)",
      hint = "take another version of it, or another Python" },
    { find = { "is not a supported wheel", "located at .* is invalid", "has an invalid wheel",
        "BadZipFile", "File is not a zip file", "Bad CRC%-32" },
      kind = "packages_failed", message = "a wheel is damaged or for another machine (%s)",
      hint = "the index or directory that it came from must have a good one" },
    { find = { "subprocess%-exited%-with%-error", "Failed building wheel",
        "Could not build wheels" },
      kind = "packages_failed", message = "a package could not be built (%s)",
      hint = "take a version that comes as a wheel" },
    { find = { "%(from versions: [^n%)]" }, line = "%(from versions:",
      kind = "packages_failed", message = "the package has no such version (%s)",
      hint = "take one of those; only wheels are taken, for this Python and machine" },
    { find = { "No matching distribution", "Could not find a version" },
      kind = "packages_failed", message = "pip found no such package (%s)",
      hint = "check name and version, and the index (one that wants another password says no more"
        .. " than this); only wheels are taken, for this Python and machine" },
  },
  npm = {
    { find = { "code ENOSPC", "code EFBIG", "ENOSPC:", "EFBIG:" },
      given = { walls = true }, line = "[EN][FO][BS]",
      kind = "packages_failed", message = "the packages are larger than allowed (%s)",
      hint = "the executor's npm.max_bytes and npm.max_files say how large they may be" },
    { find = { "code ENOSPC", "code EDQUOT", "ENOSPC:", "EDQUOT:" }, line = "no space",
      kind = "packages_failed", message = "the disk is full (%s)",
      hint = "free some room where the cache is" },
    { find = { "code EALLOW%u+", "code EUNSUPPORTEDPROTOCOL", "code EINVALIDPACKAGENAME" },
      line = "npm %S+ [^c]%S",
      kind = "package_rejected", message = "a package is none of the registry (%s)",
      hint = "one that depends on a repository, a file or a URL cannot be installed" },
    { find = { "code EINTEGRITY" }, line = "integrity",
      kind = "packages_failed", message = "a package is not the one that was pinned (%s)",
      hint = "the registry may not be what it was; or something on the way here changes files" },
    { find = { "code ETARGET", "code ENOVERSIONS" }, line = "No matching version",
      kind = "packages_failed", message = "the package has no such version (%s)",
      hint = "take one that the registry has" },
    { find = { "code E404" }, line = "404",
      kind = "packages_failed", message = "npm found no such package (%s)",
      hint = "check its name, and the registry" },
    { find = { "code E40[13]" }, line = "40[13]",
      kind = "packages_failed", message = "the registry refuses to answer (%s)",
      hint = "it may want to know who asks, or not have this package for everybody" },
    { find = { "code E%d%d%d" }, line = "%d%d%d",
      kind = "packages_failed", message = "the registry answered with an error (%s)",
      hint = "try again; if it goes on, ask who keeps the registry" },
    { find = { "code ECONN%u+", "code ENOTFOUND", "code EAI_AGAIN", "code ETIMEDOUT",
        "code FETCH_ERROR", "code ERR_SOCKET_TIMEOUT", "code EHOSTUNREACH", "code ENETUNREACH",
        "code %u+_CERT%u*", "code EIDLETIMEOUT", "network timeout" }, line = "reason",
      kind = "packages_failed", message = "npm cannot reach its registry (%s)",
      hint = "check the network and the registry that is configured" },
    { find = { "code ERESOLVE" }, line = "could not resolve",
      kind = "packages_failed", message = "the packages do not go together (%s)",
      hint = "change the versions so that their dependencies agree" },
    { find = { "code EBADPLATFORM" }, line = "Unsupported platform",
      kind = "packages_failed", message = "a package is not for this machine (%s)",
      hint = "take another one, or another version" },
    { find = { "code ENOTCACHED" },
      kind = "packages_failed", message = "npm has not what it may not fetch (%s)" },
    { find = { "code TAR_ENTRY_ERROR" }, line = "npm error TAR_ENTRY_ERROR",
      kind = "packages_failed", message = "a file of a package could not be unpacked (%s)",
      hint = "no honest package has files that lie elsewhere; or the disk does not take them" },
    { find = { "code COPY" },
      kind = "packages_failed", message = "what was installed could not be kept (%s)",
      hint = "packages are files and directories, and nothing else" },
  },
  sandbox = {
    { find = { "No permissions to create", "[Cc]reating new namespace failed",
        "setting up uid map", "user namespaces? .*not" },
      kind = "isolation_unavailable", message = "this host allows no user namespaces (%s)",
      hint = "see kernel.unprivileged_userns_clone, user.max_user_namespaces, and AppArmor's"
        .. " kernel.apparmor_restrict_unprivileged_userns" },
    { find = { "Can't find source path", "No such file or directory" },
      kind = "sandbox_failed", message = "a path that the sandbox needs is missing (%s)",
      hint = "check the paths that the effects and the isolation policy name" },
  },
  host = {},
}

-- What a source's failure is called where no rule fits, and which of its lines tell most.
local OTHERWISE = {
  nix = { kind = "runtime_unavailable", lines = { "error:" } },
  pip = { kind = "packages_failed", lines = { "ERROR:", "Error:", "error:" },
    memory_hint = "the executor's pip.max_bytes decides how much it may have" },
  npm = { kind = "packages_failed", lines = { "npm error", "npm ERR!" },
    memory_hint = "the executor's npm.max_bytes decides how much it may have" },
  sandbox = { kind = "sandbox_failed", lines = { "bwrap:", "jail:" } },
  host = { kind = "runtime_unavailable", lines = {} },
}

local NOISE = { "^warning:", "^error %(ignored%)" }
local LOG_LINE = { "^%s*> " }

local function contains_any(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then return true end
  end
  return false
end

local function without_lines(text, patterns)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    if not contains_any(line, patterns) then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

-- Warnings and ignored errors of nix come with success too; colours say nothing.
local function without_noise(text)
  return without_lines(text:gsub("\27%[[%d;]*m", ""), NOISE)
end

local function has_facts(facts, given)
  for name, value in pairs(given or {}) do
    if facts[name] ~= value then return false end
  end
  return true
end

-- `without_log` is the text less what a builder wrote.
local function find_rule(rules, text, facts, without_log)
  for _, rule in ipairs(rules or {}) do
    local looked_at = rule.log and text or without_log or text
    if contains_any(looked_at, rule.find) and has_facts(facts, rule.given) then return rule end
  end
  return nil
end

-- The first line with the pattern, or else the one that tells most of all.
local function line_of(text, pattern, beginnings)
  if not pattern then return telling_line(text, beginnings) end
  for line in text:gmatch("[^\n]+") do
    if line:find(pattern) then return M.excerpt(line) end
  end
  return telling_line(text, beginnings)
end

-- What ended a program, in words: "exit 3", "SIGKILL", "timeout".
local function ending(facts)
  if facts.reason and facts.reason ~= "exit" and facts.reason ~= "signal" then
    return facts.reason
  end
  return facts.signal or ("exit %s"):format(tostring(facts.exit_code or "unknown"))
end

local SETS_UP = { nix = true, pip = true, npm = true }

local function classify_infrastructure(facts)
  local otherwise = OTHERWISE[facts.source]
  local text = without_noise(facts.stderr or "")
  local line = telling_line(text, otherwise.lines)
  if facts.reason == "timeout" and SETS_UP[facts.source] then
    return "setup_timed_out", ("%s was ended at the deadline of the setup"):format(facts.source),
      "raise setup_timeout_secs, or warm the executor up first"
  end
  local without_log = facts.source == "nix" and without_lines(text, LOG_LINE) or nil
  local rule = find_rule(M.rules[facts.source], text, facts, without_log)
  if rule then
    line = line_of(text, rule.line, otherwise.lines)
    local message = rule.message:gsub("%%s", function() return line end)
    local meant = text:match("Did you mean ([^\n]*)")
    return rule.kind, message, meant and "did you mean " .. M.excerpt(meant, 100) or rule.hint
  end
  local message = ("%s failed (%s)"):format(facts.source, ending(facts))
  return otherwise.kind, line ~= "" and message .. ": " .. line or message,
    facts.reason == "memory_limit" and otherwise.memory_hint or nil
end

local NO_NETWORK = "without the Network effect there is no network: declare it if the stage needs"
  .. " one"

local FILE_SIZE = "limits.file_bytes says how large a file may become"

-- What interpreters, libraries and shells say where no thread or process could be started; and the
-- bare word for it, which a socket or a pipe without data has too.
local NO_MORE_PROCESSES = { "start new thread", "Resource temporarily unavailable", "EAGAIN",
  "[Cc]an ?n[o']t fork", "[Uu]nable to fork", "fork failed", "pthread_create", "OS thread",
  "[Ff]ailed to start thread", "[Uu]nable to create new native thread", "low PID limit",
  "ERR_WORKER_INIT_FAILED", "[Cc]an't create [Tt]hread", "%f[%w]fork: " }
local PROCESSES = "limits.processes says how many processes and threads there may be at a time"

local OUT_OF_MEMORY = { "^MemoryError", "heap out of memory", "Cannot allocate memory", "ENOMEM",
  "[Oo]ut of memory", "OutOfMemoryError", "Not enough space", "bad_alloc", "Heap exhausted",
  "Allowed memory size of", "cannot allocate vector", "ArrayMemoryError", "Unable to allocate",
  "[Mm]emory exhausted", "reserve virtual memory", "could not allocate" }
local MEMORY = "limits.memory_bytes says how much a stage may use"

local ASYNC = "await stands in async functions only: make execute one, %s, and await there"
local ASYNC_PYTHON = ASYNC:format("async def execute(input)")
local ASYNC_JAVASCRIPT = ASYNC:format("async function execute(input)")
local NOBODY = "nobody answers, and standard input is read already: what a stage is given is the"
  .. " argument of execute, in Bash $1"
local JSON_HOLDS = "the answer is what JSON holds: text, numbers, true, false, null, lists, and"
  .. " objects whose keys are text"
local INDENT = "what belongs to def, if, for, with and the like stands four blanks deeper than"
  .. " they do, and what does not stands as deep as they do"

--- Hints for what a stage's failure says of itself: patterns in "Type: message", tried in order.
-- Where `effect` is not among the effects that the stage declares, the failure is `effect_denied`.
-- A rule that is the `whole` reason leaves out what the sandbox had refused before.
M.stage_hints = {
  { find = { "^MissingExecute" }, hint = "a stage defines a function execute(input), and what that"
    .. " returns (in Bash: prints) is the answer" },
  { find = { "^SyntaxError: 'await' outside" }, hint = ASYNC_PYTHON },
  { find = { "asyncio%.run%(%) cannot be called", "event loop is already running" },
    hint = "an event loop is running: await it, instead of running another" },
  { find = { "await is only valid in async", '"await" can only be used inside',
      "await isn't allowed in non%-async" }, hint = ASYNC_JAVASCRIPT },
  { find = { "^ReferenceError: require is not defined",
      "^ReferenceError: Cannot determine intended module format" },
    hint = "with import, export or await at its top the code is an ES module: import in the place"
      .. " of require" },
  { find = { "^EOFError", "^ReferenceError: prompt is not defined",
      "^ExitStatus: 'read[ '].- with status 1" }, hint = NOBODY },
  { find = { "^TabError" }, hint = "indent with blanks alone, four for each level" },
  { find = { "^IndentationError" }, hint = INDENT },
  { find = { "^AnswerError: the answer is undefined" },
    hint = "a function without return gives undefined: return the answer, or null" },
  { find = { "^AnswerError" }, hint = JSON_HOLDS },
  { find = { "not supported in strip%-only mode", "not supported in type strip mode" },
    whole = true, hint = "types are taken out, and no code is made of them: write an enum as a"
      .. " constant object, and what else needs code in plain JavaScript" },
  { find = { "^CommandNotFound", ": command not found" }, whole = true,
    hint = "is it spelt right? A stage sees what the system has in /usr/bin and beside it, and"
      .. " nothing that is installed for one user" },
  { find = { "No module named" },
    hint = "name it in a line '# requires: name==version', or install it for the host's python3" },
  { find = { "Cannot find module", "Cannot find package", "^ERR_MODULE_NOT_FOUND",
      "Failed to resolve module specifier" },
    hint = "name its package and its whole version in a line of its own, as in '// requires:"
      .. " lodash@4.17.21', or do with what node itself brings, as in node:fs" },
  { find = { "Network is unreachable", "name resolution", "ENETUNREACH", "EAI_AGAIN",
      "EAI_SYSTEM", "Name or service not known", "getaddrinfo", "EAFNOSUPPORT",
      "Address family not supported", "[Cc]ould not resolve host" }, effect = "Network",
    hint = NO_NETWORK },
  { find = { "Read%-only file system", "EROFS" }, effect = "FsWrite",
    hint = "a stage writes to its working directory and /tmp; other paths need an FsWrite effect" },
  { find = { "No space left on device", "ENOSPC", "[Dd]isk quota exceeded", "disk is full" },
    hint = "limits.private_bytes and limits.private_files say how much fits into a stage's own"
      .. " directories; elsewhere the disk is full" },
  { find = { "[Ff]ile too large", "EFBIG", "status 153", "[Ff]ile size limit exceeded" },
    hint = FILE_SIZE },
  { find = { "[Tt]oo many open files", "EMFILE" },
    hint = "limits.open_files says how many files a program may have open" },
  { find = NO_MORE_PROCESSES, hint = PROCESSES },
  { find = { "^ExitStatus: .*status 141%f[^%d]" },
    hint = "141 is SIGPIPE: a command went on writing to one that had stopped reading, as head"
      .. " does; bash stages run with pipefail: let it fail by || true, or set +o pipefail there" },
  -- It may be the sandbox or the file's own mode, so that no effect is named as the lacking one.
  { find = { "Permission denied", "EACCES" },
    hint = "a path of the host needs an FsRead or FsWrite effect, and to be open to this user" },
  { find = OUT_OF_MEMORY, hint = MEMORY },
}

--- Hints for what a stage's code says of its failure: patterns in the code, and if given in
-- "Type: message", tried before the others. `lacks`: patterns of which the code holds none.
M.code_hints = {
  { code = { "^[%s\239\187\191]*```", "^[%s\239\187\191]*~~~" },
    hint = "the code stands between Markdown's fences: give what is between them" },
  { code = { "\n```" }, find = { "^SyntaxError", "command not found", "^CommandNotFound",
      "matching ``'", "^MissingExecute", "while it was loaded", "while the code was loaded" },
    hint = "the code holds Markdown's fences (```): give what is between them" },
  { code = { "^%s*[%w%._/~-]+%.py%s*$", "^%s*[%w%._/~-]+%.js%s*$", "^%s*[%w%._/~-]+%.sh%s*$" },
    hint = "code is the text of the stage, not a file name" },
  { code = { "^%s*[ \t]%S" }, find = { "^IndentationError: unexpected indent" },
    hint = "the first line of the code must not be indented" },
  { code = { "" }, lacks = { "%f[%w_]execute%f[^%w_]" },
    find = { "^ExitStatus: .*while the code was loaded", "^ExitStatus: .*while it was loaded" },
    hint = "define execute() { ... }, and have it do what is done here: what it prints is the"
      .. " answer" },
  { code = { "=>%s*await%f[^%w_]", "=>%s*{[^}]*%f[%w_]await%f[^%w_]" },
    find = { "^SyntaxError: missing" },
    hint = "await stands in async functions only: async (x) => await f(x)" },
  { code = { "console%.log%(", "process%.stdout" },
    find = { "^AnswerError: the answer is undefined" },
    hint = "what console.log prints is the log: return the answer" },
  { code = { "stdin%f[^%w_]", "readFileSync%(0" }, find = { "^JSONDecodeError", "^MissingAnswer",
      "Unexpected end of JSON input" }, hint = NOBODY },
  { code = { "%f[%w_]select%s[^\n]*%f[%w_]do%f[^%w_]" },
    find = { "^ExitStatus: execute returned with status 1" }, hint = NOBODY },
  { code = { "%f[%w_]return%s+[\"']?[%d$]" },
    find = { "^ExitStatus: execute returned with status" },
    hint = "return gives a status in Bash, and no value: print the answer, as JSON" },
}

--- Hints for an answer that is no JSON: patterns in what the reader of JSON says.
M.answer_hints = {
  { find = { "levels of arrays" },
    hint = "an answer may be nested 512 deep: make it flatter, or answer with text" },
  { find = { "beyond 64 bits" },
    hint = "an integer has 64 bits: answer with a float, or with text" },
  { find = { "in double quotes" },
    hint = "JSON has double quotes around keys and text, and no comma before a closing bracket" },
  { find = { "nothing after the value" },
    hint = "the answer is one value, and all that reaches stdout: what else is printed goes to"
      .. " stderr (>&2), and several values into a list" },
  { find = { "" }, hint = "the answer must be all that reaches stdout" },
}

-- Whether an answer never was JSON, as where a shell has printed a word.
local JSON_WORDS = { ["true"] = true, ["false"] = true, null = true }

local function is_plain_text(output)
  local first, word = output:match("^%s*(%S)(%a*)")
  return first ~= nil and not first:find('[%[{"%d-]') and not JSON_WORDS[first .. word]
end

--- What to do about an answer that is no JSON.
-- @tparam string output
-- @tparam string reason what the reader of JSON says of it
-- @treturn string
function M.answer_hint(output, reason)
  if is_plain_text(output) then
    return "print JSON: a string needs its quotes, as jq -R or printf '\"%s\"' gives it"
  end
  for _, rule in ipairs(M.answer_hints) do
    for _, pattern in ipairs(rule.find) do
      if reason:find(pattern) then return rule.hint end
    end
  end
  return nil
end

local NO_ANSWER = "execute must return a value; nothing else may end the program before it does"

--- What to do where there is no answer at all.
-- @tparam ?string language
-- @treturn string
function M.no_answer_hint(language)
  if language ~= "bash" then return NO_ANSWER end
  return "execute prints its answer, as JSON: printf '%s' \"$result\""
end

-- A value after return.
local RETURNS = { "%f[%w_]return[ \t(]+[^%s;#]", "%f[%w_]yield%f[^%w_]", "%f[%w_]lambda%f[^%w_]" }

--- What may be wrong where the answer is null though the stage printed something.
-- @tparam string language
-- @tparam string code
-- @treturn ?string nil: nothing
function M.null_hint(language, code)
  if language ~= "python" or not code:find("%f[%w_]print%s*%(") then return nil end
  for _, pattern in ipairs(RETURNS) do
    if code:find(pattern) then return nil end
  end
  return "execute returned nothing, so that the answer is null: what print writes is the log, and"
    .. " what execute returns is the answer"
end

local SIGNAL_HINTS = {
  SIGSEGV = "the interpreter or one of its native modules crashed",
  SIGABRT = "the program gave up: often for want of memory, or in a native module",
  SIGTRAP = "the interpreter gave up: often for want of memory",
  SIGKILL = "it was killed: by itself or a process that it started, by somebody outside, or by the"
    .. " system for want of memory",
  SIGSYS = "it made a system call that the sandbox does not allow",
  SIGXFSZ = FILE_SIZE,
  SIGXCPU = "it used more processor time than limits.cpu_secs",
}

local NEAR = 0.8

-- What the figures of the run say: the limit that it stood at when it failed. What it used of its
-- memory is a reason only where it gave none itself.
local function limit_hint(facts, gave_reason)
  local peak, limit = facts.max_rss_bytes, not gave_reason and facts.memory_bytes
  if facts.at_process_limit then
    return ("it stood at its limit of %s processes and threads: %s"):format(
      facts.processes and ("%d"):format(facts.processes) or "all", PROCESSES)
  elseif peak and limit and peak >= NEAR * limit then
    return ("it had used %d of its %d bytes of memory: %s"):format(peak, limit, MEMORY)
  end
  return nil
end

local KILLS = "its code sends signals: it may have ended itself"

local function code_hint(code, text)
  for _, rule in ipairs(M.code_hints) do
    if (not rule.find or contains_any(text, rule.find)) and contains_any(code, rule.code)
      and not contains_any(code, rule.lacks or {}) then
      return rule.hint
    end
  end
  return nil
end

--- What the error of a refused call looks like where it ends a stage, by the effect that was
-- lacking: `find` are patterns of which one must occur in what the failure says of itself, `but`
-- patterns of errors alike that have other causes. `hint`: where it ended the stage; `fact`: where
-- it did not, or where nobody can know.
M.refusals = {
  Process = {
    find = { "%[Errno 1%]", "%f[%w]EPERM%f[%W]", "[Oo]peration not permitted" },
    but = { "EPERM: ", "[%s:]kill: ", "ulimit: ", "%f[%w]kill%(", "%f[%w]killpg%(",
      "%f[%w]l?chown%(", "%f[%w]l?chmod%(", "%f[%w]nice%(", "%f[%w]setpriority%(",
      "%f[%w]setrlimit%(", "%f[%w]set[er]*[ug]id%(", "%f[%w]setgroups%(", "%f[%w]chroot%(",
      "%f[%w]sched_set%w*%(", "%f[%w]pidfd_%w*%(" },
    hint = "the stage tried what only the Process effect allows: declare it if the stage needs it",
    fact = "it was refused another process, which only the Process effect allows, and went on: if"
      .. " that is the cause, declare it",
  },
  -- Programs hide what failed behind words of their own, and some say nothing but a status.
  Network = {
    find = { "[Cc]onnection", "ECONN", "EAI_", "ENETUNREACH", "EHOSTUNREACH", "[Cc]onnect to",
      "[Uu]nreachable", "fetch failed", "getaddrinfo", "[Rr]esolve host", "[Nn]ame resolution",
      "not resolve", "URLError", "/dev/tcp/", "/dev/udp/", "%f[%w]curl%f[%W].*status %d",
      "%f[%w]wget%f[%W].*status %d" },
    but = {},
    hint = NO_NETWORK,
    fact = "it found no network, which only the Network effect opens: if that is the cause,"
      .. " declare it",
  },
}

--- Whether a failure speaks of a connection or of a name.
-- @tparam string said
-- @treturn boolean
function M.is_of_connection(said)
  return contains_any(said, M.refusals.Network.find)
    or contains_any(said, { "[Nn]ame or service", "ENOTFOUND", "gaierror", "[Tt]imed? ?out",
      "curl: %(", "[Rr]eset by peer" })
end

-- What a failure says of itself: a report's text and the traceback with what it came of; without a
-- report the last words on standard error, which are a line and what is indented below it. A shell
-- says the reason on standard error in any case.
local function last_words(stderr)
  local words = ""
  for line in stderr:gmatch("[^\n]+") do
    words = line:find("^%s") and words .. "\n" .. line or line
  end
  return words
end

-- What a shell says itself, in a line: of a stage, or of a cell of a session, and which.
local function said_by_shell(line)
  local cell, text = line:match("cell (%d+): (.*)")
  if not cell then text = line:match("stage%.sh: (.*)") or line:match("^bash: (.*)") end
  return text, tonumber(cell)
end

local function last_of_shell(stderr)
  local last = ""
  for line in stderr:gmatch("[^\n]+") do
    last = said_by_shell(line) or last
  end
  return last
end

-- What the program said that a shell started last: "curl: (6) Could not resolve host: x".
local function last_of_program(stderr)
  local last = ""
  for line in stderr:gmatch("[^\n]+") do
    if not line:find("^%s") and not line:find("^ExitStatus: ") and not said_by_shell(line) then
      last = line
    end
  end
  return last
end

local function evidence(report, text, stderr)
  if not report then return last_words(stderr) end
  if report.type == "ExitStatus" then
    return text .. "\n" .. last_of_shell(stderr) .. "\n" .. last_of_program(stderr)
  end
  local trace = type(report.traceback) == "string" and report.traceback or ""
  return text .. "\n" .. trace
end

-- The first of the refused effects whose call's error is what ended the stage.
local function refusal_that_ended(facts, said)
  for _, list in ipairs{ facts.denied or {}, facts.unseen or {} } do
    for _, effect in ipairs(list) do
      local refusal = M.refusals[effect]
      if refusal and contains_any(said, refusal.find) and not contains_any(said, refusal.but) then
        return effect, refusal.hint
      end
    end
  end
  return nil
end

--- A hint with what the sandbox saw being refused, which may be the cause or not.
-- @tparam ?string hint
-- @tparam ?table denied list of effects that were lacking
-- @treturn ?string
function M.with_refusals(hint, denied)
  local parts = { hint }
  for _, effect in ipairs(denied or {}) do
    local refusal = M.refusals[effect]
    if refusal then parts[#parts + 1] = refusal.fact end
  end
  return #parts > 0 and table.concat(parts, "; ") or nil
end

local HOW_TO_REQUIRE = "write '# requires: name==version' on a line of its own"

-- Why a line that says "requires:" names no packages; nil if it does, or says something else.
local function why_not_required(line, in_string)
  local before, mark = line:match("^(.-)(#[ \t]*[Rr][Ee][Qq][Uu][Ii][Rr][Ee][Ss]?[ \t]*:)")
  if not mark then return nil end
  if in_string then return "it stands in a string" end
  if before:find("%S") then return "something stands before it" end
  return mark ~= "# requires:" and ("it is written '%s'"):format(M.excerpt(mark, 40)) or nil
end

-- Where packages are missing although the code seems to name some.
local function requires_hint(code, text)
  if not text:find("No module named", 1, true) then return nil end
  local number, in_string = 0, false
  for line in (code .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local why = why_not_required(line, in_string)
    if why then
      return ("line %d asks for no packages, since %s: %s"):format(number, why, HOW_TO_REQUIRE)
    end
    for _ in line:gsub("#.*", ""):gmatch("[\"'][\"'][\"']") do
      in_string = not in_string
    end
  end
  return nil
end

-- On the index some have another name than in nixpkgs.
local ON_INDEX = {
  MySQLdb = "mysqlclient", cv2 = "opencv-python-headless", discord = "discord.py",
  dns = "dnspython", github = "PyGithub", jose = "python-jose", pdfminer = "pdfminer.six",
  psycopg2 = "psycopg2-binary", ruamel = "ruamel.yaml", snappy = "python-snappy",
  socks = "PySocks", telegram = "python-telegram-bot",
}

-- How to ask for the package of the module that is missing: the last one that is named.
local function missing_module_hint(text, packages)
  local name
  for found in text:gmatch("No module named '?([%w_.]+)") do name = found end
  if not name then return nil end
  local top = name:match("^[^.]*")
  local known = ON_INDEX[top] or (packages or {})[top]
  return ("%s '# requires: %s==VERSION'%s, or install it for the host's python3"):format(
    known and "name the package in a line" or "name its package in a line such as",
    known or top, known and "" or ", if the package is called so")
end

-- Who has functions of the host to call finds the module by which that is done.
local NO_FUNCTIONS = { "No module named 'noether'", "Cannot find module 'noether'",
  "Cannot find package 'noether'", 'module specifier "noether"', "noether: command not found" }
local DECLARE_CALL = 'what a stage calls of its host it declares: effects = { { Call = "name" } }'

-- The kind is the stage's own, unless a refused call's error is what ended it: libraries try
-- things, are refused, and go on.
local function stage_failure(facts, message, text, said)
  if facts.calls == false and contains_any(text, NO_FUNCTIONS) then
    return "effect_denied", message, DECLARE_CALL, "Call"
  end
  local code = facts.code or ""
  local hint = code_hint(code, text) or requires_hint(code, text)
    or missing_module_hint(text, facts.packages)
  local effect, meaning = refusal_that_ended(facts, said)
  if effect then return "effect_denied", message, hint or meaning, effect end
  local rule = find_rule(M.stage_hints, text, facts)
    or find_rule(M.stage_hints, without_lines(said, { "^%s" }), facts)
  if hint or not rule then
    return "stage_failed", message,
      M.with_refusals(hint or limit_hint(facts, text ~= ""), facts.denied)
  end
  if rule.effect and facts.effects and not facts.effects[rule.effect] then
    return "effect_denied", message, rule.hint, rule.effect
  end
  return "stage_failed", message,
    rule.whole and rule.hint or M.with_refusals(rule.hint, facts.denied)
end

-- A shell tells of some mistakes on its standard error alone: the last place, what is there, and in
-- which cell of a session.
local function place_in_stderr(stderr)
  local line, text, cell
  for one in stderr:gmatch("[^\n]+") do
    local said, of = said_by_shell(one)
    local number, rest = (said or ""):match("^line (%d+): (.*)")
    if number then line, text, cell = tonumber(number), rest, of end
  end
  return line, text, cell
end

local function is_line(value)
  return type(value) == "number" and value >= 1 and value < 1e9 and value % 1 == 0
end

-- The error object of an answer, if it is one that a wrapper could have written.
local function reported(answer)
  local report = type(answer) == "table" and answer.error
  if type(report) ~= "table" or type(report.type) ~= "string" then return nil end
  return report
end

-- Whether a shell that names no place has said why: "cd: /nosuch: No such file or directory".
local function is_reason(message, line, last)
  if not line then return last ~= "" and not last:find("^line %d") end
  local word = message:match("^'([^%s']+)")
  return word ~= nil and last:sub(1, #word + 2) == word .. ": "
end

local function describe_report(facts, report, stderr)
  local text = M.excerpt(report.type, 100)
  local message = type(report.message) == "string" and M.excerpt(report.message) or ""
  if message ~= "" then text = text .. ": " .. message end
  local line = is_line(report.line) and report.line or nil
  local cell = is_line(report.cell) and report.cell or nil
  if report.type == "ExitStatus" then
    local place, said, of = place_in_stderr(stderr)
    if not line then line, cell = place, of end
    if said and place == line and of == cell then text = text .. ": " .. M.excerpt(said) end
    if is_reason(message, line, last_of_shell(stderr)) then
      text = text .. ": " .. M.excerpt(last_of_shell(stderr))
    end
  end
  local of_cell = cell and ("cell %d, "):format(cell) or ""
  local placed = line and ("%s (%sline %d)"):format(text, of_cell, line) or text
  return stage_failure(facts, placed, text, evidence(report, text, stderr))
end

-- What was written where a wrapper would have reported: what an interpreter says of its own end may
-- stand on either stream.
local function written(facts)
  for _, text in ipairs{ facts.stderr or "", facts.stdout or "" } do
    if text:find("%S") then return text end
  end
  return ""
end

-- The words are the program's own, up to the moment of the signal, and may be of other things: a
-- limit that was met is the better reason, and one that they name the next best.
local function signal_failure(facts)
  local text = M.excerpt(facts.stderr or "")
  local message = ("the stage was ended by %s%s"):format(facts.signal,
    text ~= "" and ": " .. text or "")
  local hint = limit_hint(facts) or contains_any(text, OUT_OF_MEMORY) and MEMORY
    or contains_any(text, NO_MORE_PROCESSES) and PROCESSES
    or facts.code and facts.code:find("%f[%w_]kill%f[^%w_]") and KILLS
    or SIGNAL_HINTS[facts.signal]
  return "stage_failed", message, M.with_refusals(hint, facts.denied)
end

local function classify_stage(facts)
  local stderr = facts.stderr or ""
  local report = reported(facts.answer)
  if report then return describe_report(facts, report, stderr) end
  if facts.signal then return signal_failure(facts) end
  local text = written(facts)
  if text == "" then
    return stage_failure(facts, ("stage exited without output (%s)"):format(ending(facts)), "", "")
  end
  local excerpt = M.excerpt(text)
  return stage_failure(facts, ("stage error (%s): %s"):format(ending(facts), excerpt), excerpt,
    evidence(nil, excerpt, text))
end

--- Name a failure.
-- @tparam table facts `source`: whose failure, "stage", "nix", "pip", "npm", "sandbox" or "host";
-- `stderr` and, of a stage, `stdout`: what it wrote; `exit_code`, `signal` ("SIGSEGV"), `reason`
-- ("exit", "signal", "timeout", ...): how it ended; `answer`: what a stage's wrapper answered,
-- decoded, or nil;
-- `code`: the stage's text; `effects`: the names of those that it declares, as keys; `denied`: a
-- list of those that it lacked when it tried, as the sandbox saw it; `unseen`: of those that it
-- lacks, and whose refusals the sandbox does not see; `calls`: whether it declares any function of
-- the host; `part`: which part of an
-- installation failed, "venv", "install" or "copy"; `walls`: whether its directories were limited;
-- of a stage `max_rss_bytes` beside the limits `memory_bytes` and `processes`, and
-- `at_process_limit`: whether nothing more could be started; `packages`: packages by the module of
-- Python that is imported of them
-- @treturn string kind of the error
-- @treturn string message: one bounded line without control bytes
-- @treturn ?string hint
-- @treturn ?string the effect that was lacking, for `effect_denied`
function M.classify(facts)
  if facts.source == "stage" then return classify_stage(facts) end
  return classify_infrastructure(facts)
end

return M
