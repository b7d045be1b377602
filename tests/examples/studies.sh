#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The studies with one step a model on a small text: interrupted, gone on with, and refused.
#   studies.sh ABLATION ALLOCATION FOLDER
set -euo pipefail
. "$(dirname "$0")/expectations.sh"
ablation=$1 allocation=$2
begin_in "$3" studies

awk 'BEGIN { for (i = 0; i < 6000; ++i) printf "int f%d(int a%d) { return %d; }\n", i % 7, i % 11, i % 13 }' >text
small="--text text --steps 1 --seeds 2"

# shellcheck disable=SC2086
"$ablation" $small --threads 2 >out 2>err &
pid=$!
for _ in $(seq 600); do
  [ "$(wc -l <ablation.csv 2>/dev/null || echo 0)" -ge 5 ] && break
  sleep 0.1
done
interrupt "$pid"
expect out "run it again to go on"
cp ablation.csv before
exits 0 "$ablation" $small
cmp -n "$(wc -c <before)" before ablation.csv || say "results of before the interruption changed"
for variant in "no memory; equal parameters" "rival: bigrams at every layer" "addresses shuffled" "no gate"; do
  grep -qE "^$variant .* (not resolved|worse|better)\$" out || say "no line of the table for: $variant"
done
cp ablation.csv before
exits 0 "$ablation" $small
cmp before ablation.csv || say "a study that was done is done again"
refused 1 "results of another study" "$ablation" --text text --steps 2 --seeds 2

exits 0 "$allocation" $small
grep -qE "^ +40 % .* [+-]0\.[0-9]{3} \+- " out || say "no line of the table for 40 %"
grep -qE "^Best: [0-9]+ % for experts" out || say "no best share"
expect allocation.svg "paper, 6e20 FLOPs"
grep -q nan allocation.svg && say "the chart has numbers that are none"
refused 1 "give the results another" "$allocation" $small --results results.svg
refused 1 "absent" "$allocation" --text absent
refused 1 "the text is too short" "$allocation" --text text --steps 100000
refused 2 "--seeds" "$allocation" --seeds 0
exit $bad
