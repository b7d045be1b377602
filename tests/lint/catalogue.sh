#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The catalogue in tests/README.md: each number once, each file that it names exists, and each case
# that it names is in the file named before it.
set -euo pipefail
cd "$(dirname "$0")/../.."

bad=0
say() {
  echo "tests/README.md: $*"
  bad=1
}

numbers=$(sed -nE 's/^\| ([0-9]+) \|.*/\1/p' tests/README.md | tr '\n' ' ')
[ "$numbers" = "$(seq -s ' ' 1 25) " ] || say "the rows are $numbers, expected 1 to 25"

cases=0
while read -r row; do
  found=$(sed -E 's/.*\| ([^|]*) \|$/\1/' <<<"$row") # the last column
  file=
  while read -r piece; do
    case $piece in
      \`*/*.*\`) # a file, of the tests if it has no other place
        file=${piece//\`/}
        if [ -f "tests/$file" ]; then
          file=tests/$file
        elif [ -f "include/engram/$file" ]; then
          file=include/engram/$file
        fi
        [ -f "$file" ] || say "there is no $file"
        ;;
      \"*\")
        cases=$((cases + 1))
        name=$piece
        [[ $file == *.cpp ]] || name=${piece//\"/} # a script has no quotes around its words
        if [ ! -f "$file" ]; then
          say "$piece stands behind no file"
        elif ! grep -qF -- "$name" "$file"; then
          say "$file has no case $piece"
        fi
        ;;
    esac
  done < <(grep -oE '`[^`]*`|"[^"]*"' <<<"$found" || true)
done < <(grep -E '^\| ' tests/README.md)
[ "$cases" -ge 25 ] || say "names only $cases cases"
exit $bad
