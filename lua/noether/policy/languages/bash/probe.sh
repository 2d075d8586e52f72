# SPDX-License-Identifier: MIT
path=$(readlink -f "/proc/$$/exe" 2>/dev/null) || path=$BASH
dirs=
while read -r _ _ _ _ _ file; do
  [[ $file == *.so* && $dirs != *"\"${file%/*}\""* ]] && dirs+=",\"${file%/*}\""
done 2>/dev/null </proc/$$/maps
path=${path//\\/\\\\}
printf '{"path":"%s","version":"%s","dirs":[%s]}\n' "${path//\"/\\\"}" \
  "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}.${BASH_VERSINFO[2]}" "${dirs#,}"
