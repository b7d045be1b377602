#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Links between the documents lead to files that exist.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lint/files.sh

bad=0
while read -r file; do
  while read -r link; do
    case $link in '' | *://* | '#'* | mailto:*) continue ;; esac
    if [ ! -e "$(dirname "$file")/${link%%#*}" ]; then
      echo "$file: the link to '$link' leads nowhere"
      bad=1
    fi
  done < <(grep -oE '\]\([^) ]+\)' "$file" | sed -E 's/^\]\((.*)\)$/\1/')
done < <(source_files | grep '\.md$')
exit $bad
