#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The experiment with a few steps: what it prints and writes, that it claims nothing then, what it
# refuses.
#   knockout.sh PROGRAM FOLDER
set -euo pipefail
knockout=$1
folder=$(mktemp -d "$2/knockout.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

bad=0
say() {
  echo "$*"
  bad=1
}
expect() { grep -qF -- "$2" "$1" || say "$1 lacks: $2"; }
# refused STATUS WORDS ARGUMENTS...
refused() {
  local status=$1 words=$2 found=0
  shift 2
  "$knockout" "$@" >out 2>err || found=$?
  [ "$found" -eq "$status" ] || say "$*: exit $found, expected $status"
  [ ! -s out ] || say "$*: prints something"
  expect err "$words"
}

"$knockout" --steps 3 --seeds 2 --csv found.csv >out
for words in "4 models, 3 steps of 512 tokens each: about " "seed 1, with memory:" \
  "seed 2, without memory:" "right %, memory silenced" "retained %" "right %, trained without" \
  "points of what is retained" "No conclusion: with its memory on, the model of seed 1" \
  "Silencing measures what the model depends on"; do
  expect out "$words"
done
[ "$(head -n 1 found.csv)" = "seed,model,facts,copies" ] || say "found.csv has another first line"
[ "$(wc -l <found.csv)" -eq 7 ] || say "found.csv has not 7 lines"
grep -vE '^[12],(memory on|memory silenced|without memory),[01]\.[0-9]{6},[01]\.[0-9]{6}$' \
  found.csv | grep -v '^seed' && say "found.csv has lines of another form"

# The same again, with another number of threads.
"$knockout" --steps 3 --seeds 2 --threads 1 --csv again.csv >out
cmp found.csv again.csv || say "another number of threads finds something else"

"$knockout" --help >out
expect out "--seeds"
refused 1 "no/such/folder.csv" --csv no/such/folder.csv --steps 1
refused 2 "--steps" --steps 0
refused 2 "--seeds" --seeds 0
refused 2 "--threads" --threads 0
refused 2 "--no-such-option" --no-such-option
[ ! -e no ] || say "a refused run left something"
exit $bad
