# SPDX-License-Identifier: MIT
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

# Bash forks before it looks for a program. Where it may not fork, it dies of that, whether there is
# such a program or not: the name of what is not there, if a command's first word is one.
noether_missing() {
  noether_quoted=${1#"${1%%[![:space:]]*}"}
  while [[ $noether_quoted =~ ^[A-Za-z_][A-Za-z0-9_]*=[^[:space:]\"\'\$\`]*[[:space:]]+ ]]; do
    noether_quoted=${noether_quoted:${#BASH_REMATCH[0]}}
  done
  noether_quoted=${noether_quoted%%[[:space:]]*}
  [[ $noether_quoted =~ ^[A-Za-z0-9_./+@%:,-]+$ ]] && ! type -t -- "$noether_quoted" >/dev/null
}

# Status and command of what ended the shell in another way than by failing.
noether_on_exit() {
  if [[ $1 == 254 ]] && noether_missing "$2"; then
    noether_fail CommandNotFound "$noether_quoted: command not found" "" ""
  fi
  case $noether_state:$1 in
    answered:* | failed:* | running:0) ;;
    loading:0)
      noether_fail MissingExecute "the code called exit before execute was run" "" ""
      ;;
    # The command is then the runner's own.
    loading:254)
      noether_fail ExitStatus "no process could be started while the code was loaded, for a command\
 or for a name that is none" "" ""
      ;;
    loading:*) noether_fail ExitStatus "the code ended with status $1 while it was loaded" "" "" ;;
    *) noether_fail ExitStatus "'${2:0:200}' ended the stage with status $1" "" "" ;;
  esac
}

noether_read() {
  unset INPUT
  # A count lets bash read in blocks, even to the end; byte by byte 10 MiB take seconds.
  LC_ALL=C IFS= read -rN 2147483647 INPUT || true
  INPUT=${INPUT%$'\n'}
  SECONDS=0 # it may have waited
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
# What a stage asks to be traced is its own commands: the runner's go on without.
trap '{ noether_status=$?; set +x; } 2>/dev/null; noether_on_error "$noether_status" "$LINENO" "$BASH_COMMAND"' ERR
trap '{ noether_status=$?; set +x; } 2>/dev/null; noether_on_exit "$noether_status" "$BASH_COMMAND"' EXIT
noether_read
# shellcheck source=/dev/null
[[ -z ${NOETHER_CHANNEL-} ]] || . "${noether_stage%/*}/channel.sh"
# Not in a function: what the stage declares would be local to it.
# shellcheck source=/dev/null
. "$noether_stage"
{
  noether_status=$? noether_flags=$-
  set +x
} 2>/dev/null
noether_check "$noether_status"
noether_find
noether_state=running
[[ $noether_flags != *x* ]] || set -x
execute "$INPUT" <<<"$INPUT" >&"$noether_answer"
{
  noether_status=$?
  set +x
} 2>/dev/null
noether_check "$noether_status"
noether_state=answered
