#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The experiment with a few steps: what it prints and writes, that it claims nothing then, what it
# refuses.
#   knockout.sh PROGRAM FOLDER
set -euo pipefail
. "$(dirname "$0")/expectations.sh"
knockout=$1
begin_in "$2" knockout

refuses() {
  refused "$1" "$2" "$knockout" "${@:3}"
  [ ! -s out ] || say "$*: prints something"
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
refuses 1 "no/such/folder.csv" --csv no/such/folder.csv --steps 1
refuses 2 "--steps" --steps 0
refuses 2 "--seeds" --seeds 0
refuses 2 "--threads" --threads 0
refuses 2 "--no-such-option" --no-such-option
[ ! -e no ] || say "a refused run left something"
exit $bad
