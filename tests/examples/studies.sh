#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The studies with one step a model on a small text: interrupted, gone on with, and refused.
#   studies.sh ABLATION ALLOCATION FOLDER
set -euo pipefail
ablation=$1 allocation=$2
folder=$(mktemp -d "$3/studies.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

bad=0
say() {
  echo "$*"
  bad=1
}
expect() { grep -qF -- "$2" "$1" || say "$1 lacks: $2"; }
# exits STATUS PROGRAM ARGUMENTS...
exits() {
  local status=$1 found=0
  shift
  "$@" >out 2>err || found=$?
  [ "$found" -eq "$status" ] || say "$*: exit $found, expected $status"
}

awk 'BEGIN { for (i = 0; i < 6000; ++i) printf "int f%d(int a%d) { return %d; }\n", i % 7, i % 11, i % 13 }' >text
small="--text text --steps 1 --seeds 2"

# shellcheck disable=SC2086
"$ablation" $small --threads 2 >out 2>err &
pid=$!
for _ in $(seq 600); do
  [ "$(wc -l <ablation.csv 2>/dev/null || echo 0)" -ge 5 ] && break
  sleep 0.1
done
kill -INT "$pid"
found=0
wait "$pid" || found=$?
[ "$found" -eq 130 ] || say "interrupted: exit $found, expected 130"
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
exits 1 "$ablation" --text text --steps 2 --seeds 2
expect err "results of another study"

exits 0 "$allocation" $small
grep -qE "^ +40 % .* [+-]0\.[0-9]{3} \+- " out || say "no line of the table for 40 %"
grep -qE "^Best: [0-9]+ % for experts" out || say "no best share"
expect allocation.svg "paper, 6e20 FLOPs"
grep -q nan allocation.svg && say "the chart has numbers that are none"
exits 1 "$allocation" $small --results results.svg
expect err "give the results another"
exits 1 "$allocation" --text absent
expect err "absent"
exits 1 "$allocation" --text text --steps 100000
expect err "the text is too short"
exits 2 "$allocation" --seeds 0
expect err "--seeds"
exit $bad
