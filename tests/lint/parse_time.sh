#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What parsing costs, against the standard header <ranges> (processor time of the compiler, best of
# several runs, so that a busy machine does not matter): the front end alone at most 1.3 times,
# engram.hpp with tables and layers at most 1.8 times.
#   parse_time.sh COMPILER
set -euo pipefail
cd "$(dirname "$0")/../.."
TIMEFORMAT=%U

# milliseconds HEADER...: processor time of one run
milliseconds() {
  local run includes=()
  for header in "$@"; do includes+=(-include "$header"); done
  run=$({ time "$compiler" -std=c++20 -fsyntax-only -I include -x c++ "${includes[@]}" /dev/null \
    >/dev/null 2>&1; } 2>&1 | tr -d .)
  echo $((10#$run))
}

# In turns, so that a clock that changes or a busy neighbour meets both; noise only adds, so a round
# above the limit is followed by another, and the least times of all rounds count.
#   at_most PERCENT WORDS HEADER...
at_most() {
  local limit=$1 words=$2 ranges=999999 ours=999999 percent=$(($1 + 1)) run round
  shift 2
  for round in 1 2 3; do
    if [ "$percent" -le "$limit" ]; then break; fi
    for _ in $(seq 15); do
      run=$(milliseconds ranges)
      if [ "$run" -lt "$ranges" ]; then ranges=$run; fi
      run=$(milliseconds "$@")
      if [ "$run" -lt "$ours" ]; then ours=$run; fi
    done
    percent=$((100 * ours / ranges))
    echo "round $round: $words $ours ms, <ranges> $ranges ms: $percent %, at most $limit %"
  done
  [ "$percent" -le "$limit" ]
}

compiler=$1
at_most 130 "the front end" engram/layer/front_end.hpp engram/layer/presets.hpp \
  engram/addressing/{dedupe,layout_bytes,sharding}.hpp engram/tokenizer/{identity,token_map}.hpp
at_most 180 engram.hpp engram/engram.hpp
