# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Runs the cells of a session: the first command of a shell that is interactive, on no terminal. Such
# a shell gives up what it runs at SIGINT, and at what would end a script (an unset variable, an error
# in an expansion), and goes on with its next command; before that it runs PROMPT_COMMAND, which is
# where cells come. What the shell reads as commands after this one are empty lines.
#
# A cell is a file of its own, so that the shell itself names it in what it says of mistakes. It is
# not run in a function, for what it declares would be local there.
{ set +o history +H; } 2>/dev/null
PS1='' PS2=''
unset HISTFILE MAILCHECK
set --

noether_place=${TMPDIR:-/tmp}
noether_state=idle   # or running
noether_flags=+x     # what cells have set
noether_errexit=     # likewise
noether_debug=       # what watches for that
noether_interrupts=0 # that came

# Between cells an interrupt is one that comes late, and is counted.
noether_ignore() { trap 'noether_interrupts=$((noether_interrupts + 1))' INT; }

noether_hold() { trap '' INT; }
noether_release() { [[ $BASH_SUBSHELL != 0 ]] || trap - INT; }

# The next cell: its number, its file and INPUT. What answers a call of a cell that was given up is
# passed over.
noether_next() {
  local LC_ALL=C rest bytes noether_frame noether_code
  until [[ ${noether_frame-} == '{"type":"run",'* ]]; do
    noether_channel_read || exit 0
    noether_ignore
  done
  rest=${noether_frame#*\"cell\":}
  noether_cell=${rest%%,*}
  rest=${rest#*\"interrupts\":}
  noether_sent=${rest%%,*}
  rest=${rest#*\"input_bytes\":}
  bytes=${rest%%,*}
  rest=${rest#*\"input\":}
  unset INPUT
  # shellcheck disable=SC2034
  [[ $bytes == 0 ]] && bytes=4 || INPUT=${rest:0:bytes} # without one null stands there
  rest=${rest:bytes}
  rest=${rest#,\"code\":\"}
  rest=${rest%\"\}}
  printf -v noether_code %b "${rest//\\\"/\"}"
  noether_file="$noether_place/cell $noether_cell"
  noether_debug=
  if [[ $noether_code =~ set[[:space:]]+[-+][[:alnum:][:space:]]*e ]]; then
    # shellcheck disable=SC2016
    noether_debug='noether_on_command "$BASH_COMMAND" "$-"; set +e'
  fi
  # One command: what the shell gives up it gives up as a whole.
  printf '{ :; %s\n}\n' "$noether_code" >|"$noether_file"
}

noether_microseconds() {
  local now=${EPOCHREALTIME-${SECONDS}000000}
  noether_now=${now/[.,]/}
}

# Of the interrupts that were sent to earlier cells some may be on their way still. Status 1: there
# is one for this cell already.
noether_await_interrupts() {
  local until
  noether_microseconds
  until=$((noether_now + 100000))
  while ((noether_interrupts < noether_sent && noether_now < until)); do
    noether_microseconds
  done
  ((noether_interrupts <= noether_sent)) || return 1
  noether_interrupts=$noether_sent
}

# Status, line and command of what failed last, and in which cell. Under `set -e` the cell is given
# up, and not the shell.
noether_on_error() {
  [[ $BASH_SUBSHELL == 0 && ${BASH_SOURCE[1]-} == "$noether_place/cell "* ]] || return 0
  noether_failed=$1 noether_line=$2 noether_command=${3:0:200}
  noether_where=${BASH_SOURCE[1]##*/cell }
  [[ -n $noether_errexit ]] || return 0
  noether_state=failed
  kill -INT $$
}

# Before a command of a cell that says `set -e` or `set +e`: what it asks for is done by
# noether_on_error, as the shell itself would end.
noether_on_command() {
  [[ ${BASH_SOURCE[1]-} == "$noether_place/cell "* ]] || return 0
  case $1 in 'set +'*e*) noether_errexit= ;; esac
  case $2 in *e*) noether_errexit=yes ;; esac
}

noether_say() {
  local LC_ALL=C
  noether_hold
  noether_channel_write "$1" || exit 0
  noether_ignore
}

# Type, message, and line and cell (or nothing).
noether_say_error() {
  local IFS=$' \t\n' noether_quoted
  noether_quote "$2"
  noether_say "{\"type\":\"error\",\"cell\":$noether_cell,\"interrupted\":$4,\"error\":{\"type\":\"$1\",\
\"message\":$noether_quoted,\"traceback\":\"\"$3}}"
}

noether_say_status() {
  local place=''
  if [[ ${noether_failed-} != "$1" ]]; then
    noether_say_error ExitStatus "the cell ended with status $1" '' false
    return
  fi
  [[ $noether_where == *[!0-9]* ]] || place=",\"line\":$noether_line,\"cell\":$noether_where"
  noether_say_error ExitStatus "'$noether_command' ended with status $1" "$place" false
}

# What came of a cell that was run to its end: its status is in noether_status.
noether_end() {
  noether_ignore
  noether_state=idle
  if [[ $noether_status == 0 ]]; then
    noether_say "{\"type\":\"answer\",\"cell\":$noether_cell,\"printed\":true}"
  else
    noether_say_status "$noether_status"
  fi
}

# What came of one that was given up, with the status $1.
noether_end_thrown() {
  local state=$noether_state
  noether_ignore
  noether_state=idle
  [[ -z ${noether_holding-} ]] || noether_channel_unlock
  if [[ $state == failed ]]; then
    noether_say_status "$noether_failed"
  elif [[ $1 == 130 ]]; then
    noether_interrupts=$((noether_interrupts + 1))
    noether_say_error Interrupted "the cell was interrupted" '' true
  else
    noether_say_error ExitStatus "the cell was given up with status $1" '' false
  fi
}

noether_keep_flags() {
  local flag
  trap - DEBUG
  set +T
  noether_flags=
  for flag in u x; do
    [[ $noether_was != *$flag* ]] || noether_flags+=$flag
  done
  noether_flags=${noether_flags:+-$noether_flags}
  noether_flags=${noether_flags:-+x}
}

# shellcheck disable=SC2016
noether_error_trap='{ noether_status=$? noether_was=$-; set +x; } 2>/dev/null; noether_on_error "$noether_status" "$LINENO" "$BASH_COMMAND"; [[ $noether_was != *x* ]] || set -x'

# shellcheck disable=SC2016,SC2034
PROMPT_COMMAND='{ noether_status=$? noether_was=$-; set +eux; } 2>/dev/null
if [[ $noether_state != idle ]]; then
  noether_keep_flags
  noether_end_thrown "$noether_status"
fi
while noether_next; do
  noether_failed="" noether_state=running
  if noether_await_interrupts; then
    set -E
    trap "$noether_error_trap" ERR
    if [[ -n $noether_debug ]]; then
      set -T
      trap "$noether_debug" DEBUG
    fi
    trap - INT
    set $noether_flags
    . "$noether_file" </dev/null
    { noether_status=$? noether_was=$-; set +eux; } 2>/dev/null
    noether_keep_flags
    noether_end
  else
    noether_interrupts=$((noether_interrupts - 1))
    noether_end_thrown 130
  fi
done
echo "noether: $noether_place: a cell cannot be written there" >&2
exit 1'

# shellcheck source=/dev/null
. "${BASH_SOURCE[0]%/*}/channel.sh"
[[ $noether_functions == yes ]] || unset -f noether
noether_ignore
noether_channel_write '{"type":"ready"}'
