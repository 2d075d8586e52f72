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
    { find = { "unable to download", "error: downloading", "error: fetching",
        "[Cc]ould ?n['o]t resolve host", "Could not resolve host", "program 'git' failed" },
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
        "is not a derivation" },
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

local function classify_infrastructure(facts)
  local otherwise = OTHERWISE[facts.source]
  local text = without_noise(facts.stderr or "")
  local line = telling_line(text, otherwise.lines)
  if facts.reason == "timeout" and (facts.source == "nix" or facts.source == "pip") then
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

--- Hints for what a stage's failure says of itself: patterns in "Type: message", tried in order.
-- Where `effect` is not among the effects that the stage declares, the failure is `effect_denied`.
M.stage_hints = {
  { find = { "^MissingExecute" }, hint = "a stage defines a function execute(input)" },
  { find = { "No module named" },
    hint = "name it in a line such as '# requires: six==1.16.0', or install it for the host's"
      .. " python3" },
  { find = { "Cannot find module", "^ERR_MODULE_NOT_FOUND", "Failed to resolve module specifier" },
    hint = "a stage has no packages of its own: only what node itself brings, as in node:fs" },
  { find = { "Network is unreachable", "name resolution", "ENETUNREACH", "EAI_AGAIN",
      "EAI_SYSTEM", "Name or service not known", "getaddrinfo", "EAFNOSUPPORT",
      "Address family not supported" }, effect = "Network",
    hint = "without the Network effect there is no network: declare it if the stage needs one" },
  { find = { "Read%-only file system", "EROFS" }, effect = "FsWrite",
    hint = "a stage writes to its working directory and /tmp; other paths need an FsWrite effect" },
  -- It may be the sandbox or the file's own mode, so that no effect is named as the lacking one.
  { find = { "Permission denied", "EACCES" },
    hint = "a path of the host needs an FsRead or FsWrite effect, and to be open to this user" },
  { find = { "^MemoryError", "heap out of memory", "Cannot allocate memory" },
    hint = "limits.memory_bytes says how much a stage may use" },
}

--- Hints for what a stage's code says of its failure: patterns in the code, and if given in
-- "Type: message", tried before the others.
M.code_hints = {
  { code = { "^%s*[%w%._/~-]+%.py%s*$", "^%s*[%w%._/~-]+%.js%s*$", "^%s*[%w%._/~-]+%.sh%s*$" },
    hint = "code is the text of the stage, not a file name" },
  { code = { "^%s*[ \t]%S" }, find = { "^IndentationError: unexpected indent" },
    hint = "the first line of the code must not be indented" },
}

local SIGNAL_HINTS = {
  SIGSEGV = "the interpreter or one of its native modules crashed",
  SIGABRT = "the program gave up: often for want of memory, or in a native module",
  SIGKILL = "something outside killed it: perhaps the system, for want of memory",
  SIGSYS = "it made a system call that the sandbox does not allow",
  SIGXFSZ = "it wrote a file larger than limits.file_bytes",
  SIGXCPU = "it used more processor time than limits.cpu_secs",
}

local function code_hint(code, text)
  for _, rule in ipairs(M.code_hints) do
    if contains_any(code, rule.code) and (not rule.find or contains_any(text, rule.find)) then
      return rule.hint
    end
  end
  return nil
end

-- What the sandbox saw being tried and refused stands before what the failure's text suggests.
local function stage_failure(facts, message, text)
  local seen = facts.denied and facts.denied[1]
  local hint = code_hint(facts.code or "", text)
  if seen then
    return "effect_denied", message, hint
      or ("the stage tried what only the %s effect allows: declare it if the stage needs it")
        :format(seen), seen
  end
  local rule = find_rule(M.stage_hints, text, facts)
  if hint or not rule then return "stage_failed", message, hint end
  local denied = rule.effect and facts.effects and not facts.effects[rule.effect]
  return denied and "effect_denied" or "stage_failed", message, rule.hint,
    denied and rule.effect or nil
end

-- A shell tells of some mistakes on its standard error alone: the last place, and what is there.
local function place_in_stderr(stderr)
  local line, text
  for number, rest in stderr:gmatch("stage%.sh: line (%d+): ([^\n]*)") do
    line, text = tonumber(number), rest
  end
  return line, text
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

local function describe_report(facts, report, stderr)
  local text = M.excerpt(report.type, 100)
  local message = type(report.message) == "string" and M.excerpt(report.message) or ""
  if message ~= "" then text = text .. ": " .. message end
  local line = is_line(report.line) and report.line or nil
  if report.type == "ExitStatus" then
    local place, said = place_in_stderr(stderr)
    line = line or place
    if said and place == line then text = text .. ": " .. M.excerpt(said) end
  end
  local placed = line and ("%s (line %d)"):format(text, line) or text
  return stage_failure(facts, placed, text)
end

local function classify_stage(facts)
  local stderr = facts.stderr or ""
  local report = reported(facts.answer)
  if report then return describe_report(facts, report, stderr) end
  if facts.signal then
    return "stage_failed", ("the stage was ended by %s"):format(facts.signal),
      SIGNAL_HINTS[facts.signal]
  end
  if not stderr:find("%S") then
    return stage_failure(facts, ("stage exited without output (%s)"):format(ending(facts)), "")
  end
  local text = M.excerpt(stderr)
  return stage_failure(facts, ("stage error (%s): %s"):format(ending(facts), text), text)
end

--- Name a failure.
-- @tparam table facts `source`: whose failure, "stage", "nix", "pip", "sandbox" or "host";
-- `stderr`: what it wrote; `exit_code`, `signal` ("SIGSEGV"), `reason` ("exit", "signal",
-- "timeout", ...): how it ended; `answer`: what a stage's wrapper answered, decoded, or nil;
-- `code`: the stage's text; `effects`: the names of those that it declares, as keys; `denied`: a
-- list of those that it lacked when it tried, as the sandbox saw it; `part`: which part of an
-- installation failed, "venv", "install" or "copy"; `walls`: whether its directories were limited
-- @treturn string kind of the error
-- @treturn string message: one bounded line without control bytes
-- @treturn ?string hint
-- @treturn ?string the effect that was lacking, for `effect_denied`
function M.classify(facts)
  if facts.source == "stage" then return classify_stage(facts) end
  return classify_infrastructure(facts)
end

return M
