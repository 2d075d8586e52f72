-- SPDX-License-Identifier: MIT
--- Bash stages: what they are called, how they are found, wrapped and started.
--
-- A stage defines a function `execute`. Its code stands alone in `stage.sh`, so line numbers are
-- the user's; `runner.sh` sources it under `set -euo pipefail` and answers one request. The runner
-- uses builtins only and never forks: a stage without the Process effect has nothing else.
--
-- What a stage may count on:
--
-- * The input is JSON text in `$INPUT` (not exported), in `$1` and on the standard input of
--   `execute`. `execute` is a function, so all three hold an input of any size; an external program
--   takes one argument of at most 128 KiB (MAX_ARG_STRLEN), and is better given standard input.
-- * What `execute` prints is the answer: one JSON value. It goes out as it is printed. What the
--   rest of the code prints while it is loaded is standard error.
-- * A failed command ends the stage; the error object is then the last line of the output, after
--   whatever had been printed: with a status other than 0 nothing else of it counts.
-- * A stage with an EXIT trap of its own keeps it; what ends the shell by other means than a failed
--   command (`exit 3`, an unset variable) is then told by status and standard error alone.
--
-- Runs on bash 4.1 and later.
local M = {
  name = "bash",
  names = { "bash", "sh" },
  extension = "sh",
}

-- The one path that the shell cannot follow by itself is the link in /proc.
local PROBE = [==[
path=$(readlink -f "/proc/$$/exe" 2>/dev/null) || path=$BASH
dirs=
while read -r _ _ _ _ _ file; do
  [[ $file == *.so* && $dirs != *"\"${file%/*}\""* ]] && dirs+=",\"${file%/*}\""
done 2>/dev/null </proc/$$/maps
path=${path//\\/\\\\}
printf '{"path":"%s","version":"%s","dirs":[%s]}\n' "${path//\"/\\\"}" \
  "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}.${BASH_VERSINFO[2]}" "${dirs#,}"
]==]

--- How an interpreter is found; fields as in the Python module.
M.runtime = {
  programs = { "bash" },
  probe = { "--noprofile", "--norc", "-p", "-c", PROBE },
  attribute = "bash",
  tools = { "coreutils", "findutils", "gawk", "gnugrep", "gnused" },
}

local RUNNER = [==[
# Answers one request on standard input with the stage beside this file.
set -Eeuo pipefail

noether_stage=${BASH_SOURCE[0]%/*}/stage.sh
noether_state=loading # then running, and failed or answered

# Sets noether_quoted to the text as a JSON string, as much of it as is worth reading.
noether_quote() {
  local LC_ALL=C.UTF-8 text=${1:0:1000} char code i
  noether_quoted='"'
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      [\"\\]) noether_quoted+=\\$char ;;
      [[:print:]]) noether_quoted+=$char ;;
      *)
        printf -v code %d "'$char"
        ((code >= 0 && code <= 0xffff)) || code=0xfffd
        printf -v code '\\u%04x' "$code"
        noether_quoted+=$code
        ;;
    esac
  done
  noether_quoted+='"'
}

# Type, message, line (or nothing) and traceback, as the last line of the output and for people.
noether_fail() {
  local IFS=$' \t\n' report
  noether_state=failed
  printf '%s%s: %s%s\n' "$4" "$1" "$2" "${3:+ (line $3)}" >&2
  noether_quote "$2"
  report="{\"error\":{\"type\":\"$1\",\"message\":$noether_quoted"
  noether_quote "$4"
  report+=",\"traceback\":$noether_quoted${3:+,\"line\":$3}}}"
  printf '\n%s\n' "$report" >&"$noether_answer"
  exec >&2 # nothing that a trap prints may come after it
  exit 1
}

# Sets noether_traceback to the calls in the stage, innermost first. Call it from a trap's handler.
noether_trace() {
  local i
  noether_traceback=
  for ((i = 2; i < ${#FUNCNAME[@]}; i++)); do
    [[ ${BASH_SOURCE[i]} == "$noether_stage" ]] || continue
    noether_traceback+="  at ${FUNCNAME[i]} (stage.sh:${BASH_LINENO[i - 1]})"$'\n'
  done
}

# Status, line and command of what failed.
noether_on_error() {
  # In a subshell the shell that waits for it has the last word.
  [[ $- == *e* && $BASH_SUBSHELL == 0 ]] || return 0
  if [[ ${BASH_SOURCE[1]} != "$noether_stage" ]]; then
    noether_fail ExitStatus "execute returned with status $1" "" ""
  fi
  noether_trace
  noether_fail ExitStatus "'${3:0:200}' ended with status $1" "$2" "$noether_traceback"
}

# Status and command of what ended the shell in another way than by failing.
noether_on_exit() {
  case $noether_state:$1 in
    answered:* | failed:* | running:0) ;;
    loading:0)
      noether_fail MissingExecute "the code called exit before execute was run" "" ""
      ;;
    # The command is then the runner's own.
    loading:*) noether_fail ExitStatus "the code ended with status $1 while it was loaded" "" "" ;;
    *) noether_fail ExitStatus "'${2:0:200}' ended the stage with status $1" "" "" ;;
  esac
}

noether_read() {
  unset INPUT
  # A count lets bash read in blocks, even to the end; byte by byte 10 MiB take seconds.
  LC_ALL=C IFS= read -rN 2147483647 INPUT || true
  INPUT=${INPUT%$'\n'}
}

# An error in arithmetic makes bash drop what it runs and go on with the line after it.
noether_check() {
  (($1 == 0)) || noether_on_exit "$1" execute
}

noether_find() {
  declare -F execute >/dev/null && return
  noether_fail MissingExecute "the code defines no function named execute; define one, as in:\
 execute() { printf '%s' \"\$1\"; }" "" ""
}

exec {noether_answer}>&1 >&2
trap 'noether_on_error "$?" "$LINENO" "$BASH_COMMAND"' ERR
trap 'noether_on_exit "$?" "$BASH_COMMAND"' EXIT
noether_read
# Not in a function: what the stage declares would be local to it.
. "$noether_stage"
noether_check "$?"
noether_find
noether_state=running
execute "$INPUT" <<<"$INPUT" >&"$noether_answer"
noether_check "$?"
noether_state=answered
]==]

--- The files of a stage.
-- @tparam string code the user's code
-- @treturn ?table `{ files = { [name] = text }, entry = name }`; or nil and the reason
-- @treturn ?string
function M.wrap(code)
  if code:find("%z") then return nil, "the code holds a NUL byte" end
  return { files = { ["runner.sh"] = RUNNER, ["stage.sh"] = code }, entry = "runner.sh" }
end

--- The command that runs a wrapped stage. Privileged mode (-p) takes no functions and no BASH_ENV
-- from the environment.
-- @tparam table runtime description with `path`
-- @tparam string entry path of the entry file
-- @treturn table list, the program first
function M.argv(runtime, entry)
  return { runtime.path, "--noprofile", "--norc", "-p", entry }
end

--- Variables for a stage's environment: characters are those of UTF-8, or `${text:0:5}` could cut
-- one in two.
-- @treturn table values by name
function M.env()
  return { LC_CTYPE = "C.UTF-8" }
end

--- Whether a shell variable can hold an input.
-- @param _ the input as a value; not looked at
-- @tparam string text the input as JSON
-- @treturn ?boolean true; or nil and the reason
-- @treturn ?string
function M.check_input(_, text)
  if text:find("%z") then return nil, "the input holds a NUL byte, which bash cannot keep" end
  return true
end

return M
