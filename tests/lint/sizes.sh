#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Small headers: none over 600 lines, the median under 200; and no file is a drawer for everything.
set -euo pipefail
cd "$(dirname "$0")/../../include/engram"

bad=0
lengths=()
while read -r file; do
  lines=$(wc -l <"$file")
  lengths+=("$lines")
  if [ "$lines" -gt 600 ]; then
    echo "include/engram/$file: $lines lines, at most 600"
    bad=1
  fi
  case $file in
    *util* | *helper* | *manager* | *misc*)
      echo "include/engram/$file: a name that says nothing (util, helper, manager, misc)"
      bad=1
      ;;
  esac
done < <(find . -name '*.hpp' -o -name '*.cuh')
median=$(printf '%s\n' "${lengths[@]}" | sort -n | sed -n "$(((${#lengths[@]} + 1) / 2))p")
echo "${#lengths[@]} headers, median $median lines"
if [ "$median" -ge 200 ]; then
  echo "the median must stay under 200 lines"
  bad=1
fi
exit $bad
