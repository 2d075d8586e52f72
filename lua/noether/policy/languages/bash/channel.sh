# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# noether [-v VARIABLE] FUNCTION [JSON]: calls a function of the host over the channel. Its result,
# JSON, goes into the variable, or is printed. Status 1, and a message on standard error, where the
# call failed.
#
# No process is needed: what is not read and written by bash itself a stage may not start. Where it
# may, its jobs and subshells share the channel, and call one after the other: who has the token,
# the one byte in a pipe, may speak.

noether_session=${noether_session-}

# In the middle of a frame a session is not interrupted.
if [[ $noether_session != yes ]]; then
  noether_hold() { :; }
  noether_release() { :; }
fi

# What is read and written is bytes: who calls these has LC_ALL=C. Its price is that of ten commands.

# Zeros are passed over by a read of so many bytes, from bash 5 on. A frame of the host's has 63 bytes
# at least, and a length of which that leaves what is not zero, and no brace: so its beginning can be
# read at once, and mostly all of it.
noether_channel_read() {
  if [[ $noether_session == yes || ${BASH_VERSINFO[0]} -lt 5 ]]; then
    noether_channel_read_slowly
    return
  fi
  IFS= read -r -N 64 -u "$NOETHER_CHANNEL" noether_frame || return 1
  if [[ $noether_frame == '?{'* ]]; then
    noether_frame=${noether_frame:1}
    return
  fi
  local header=${noether_frame%%\{*} byte i value=0 part
  noether_frame=${noether_frame:${#header}}
  for ((i = 0; i < ${#header}; i++)); do
    printf -v byte %d "'${header:i:1}"
    value=$((value | (byte & 255) << 8 * i))
  done
  value=$((value - ${#noether_frame}))
  ((value > 0)) || return 0
  IFS= read -r -N "$value" -u "$NOETHER_CHANNEL" part || return 1
  noether_frame+=$part
}

# A zero ends what is read, and is one of the four bytes of the length. Of the first nothing is lost
# where a session is interrupted.
noether_channel_read_slowly() {
  local part byte i at=0 value=0 most=4
  [[ $noether_session != yes ]] || most=1
  while ((at < 4)); do
    IFS= read -r -d '' -n "$most" -u "$NOETHER_CHANNEL" part || return 1
    ((at != 0)) || noether_hold
    for ((i = 0; i < ${#part}; i++)); do
      printf -v byte %d "'${part:i:1}"
      value=$((value | (byte & 255) << 8 * (at + i)))
    done
    at=$((at + i + (i < most)))
    most=$((4 - at))
  done
  IFS= read -r -N "$value" -u "$NOETHER_CHANNEL" noether_frame
  noether_release
}

noether_calls=0
noether_headers=() # by length: what calls in a loop is mostly as long as before

noether_channel_write() {
  local size=${#1} header
  header=${noether_headers[size]-}
  if [[ -z $header ]]; then
    printf -v header '\\x%02x\\x%02x\\x%02x\\x%02x' $((size & 255)) $((size >> 8 & 255)) \
      $((size >> 16 & 255)) $((size >> 24 & 255))
    ((size > 1024)) || noether_headers[size]=$header
  fi
  # shellcheck disable=SC2059
  printf "$header%s" "$1" >&"$NOETHER_CHANNEL"
}

# The token's holder is named in a second pipe, so that one that was killed is not waited for: who
# waits takes the name out, looks, and puts it back. Names have one length, and are read in one go.
noether_channel_lock() {
  local byte holder
  until IFS= read -r -N 1 -t 1 -u "$noether_token" byte; do
    read -r -N 12 -t 0.1 -u "$noether_holder" holder || continue
    printf %-12s "$holder" >&"$noether_holder"
    # shellcheck disable=SC2086
    if ! kill -0 $holder 2>/dev/null; then
      echo "noether: a job was killed in the middle of a call: nothing can be called any more" >&2
      return 1
    fi
  done
  noether_holding=yes
  printf %-12s "$BASHPID" >&"$noether_holder"
}

noether_channel_unlock() {
  local holder
  read -r -N 12 -t 1 -u "$noether_holder" holder || true
  printf x >&"$noether_token"
  noether_holding=
}

# Ids of jobs would be the same: each has its own million.
noether_channel_count() {
  [[ ${noether_pid-} == "$BASHPID" ]] || noether_calls=$((BASHPID * 1000000))
  noether_pid=$BASHPID
}

noether_channel_call() {
  local id=$((++noether_calls))
  [[ $noether_session != yes ]] || noether_hold
  noether_channel_write "{\"type\":\"call\",\"id\":$id,\"name\":\"$1\",\"args\":$2}" || return 1
  [[ $noether_session != yes ]] || noether_release
  # Another one's answer is that of a call in a cell which was interrupted.
  until [[ $noether_frame == '{"type":'*',"id":'"$id,"* ]]; do
    noether_channel_read || return 1
  done
}

noether() {
  local LC_ALL=C noether_to='' noether_frame='' noether_status=0
  if [[ ${1-} == -v ]]; then
    noether_to=${2:?noether: -v: a variable is missing}
    shift 2
  fi
  case ${1-} in
    '' | *[!A-Za-z0-9_]*)
      echo "noether: usage: noether [-v VARIABLE] FUNCTION [JSON]" >&2
      return 2
      ;;
  esac
  [[ $# -gt 1 ]] || set -- "$1" null
  # A longer frame is none to the host, which would end the stage.
  if ((${#2} > ${NOETHER_CALL_BYTES:-1073741824})); then
    echo "noether: $1: call_failed: the arguments have ${#2} bytes," \
      "and limits.call_bytes is $NOETHER_CALL_BYTES" >&2
    return 1
  fi
  if [[ -n ${noether_token-} ]]; then
    noether_channel_lock || return 1
    noether_channel_count
  fi
  noether_channel_call "$1" "$2" || noether_status=$?
  [[ -z ${noether_token-} ]] || noether_channel_unlock
  if ((noether_status != 0)); then
    echo "noether: $1: the host has closed the channel" >&2
    return 1
  fi
  if [[ $noether_frame == '{"type":"result",'* ]]; then
    noether_frame=${noether_frame#*,\"value\":}
    noether_frame=${noether_frame%\}*} # blanks may follow
    if [[ -n $noether_to ]]; then
      printf -v "$noether_to" %s "$noether_frame"
    else
      printf '%s\n' "$noether_frame"
    fi
    return
  fi
  noether_frame=${noether_frame#*,\"kind\":}
  noether_frame=${noether_frame%\}*}
  printf 'noether: %s: %s\n' "$1" "${noether_frame/,\"message\":/: }" >&2
  return 1
}

# Without Process there is nobody to share with, and no way to make a pipe.
if [ "${noether_jobs-}" = yes ]; then
  exec {noether_token}<> <(:) {noether_holder}<> <(:)
  printf x >&"$noether_token"
fi
