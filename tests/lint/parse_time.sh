#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Parsing engram.hpp costs at most 1.3 times what parsing the standard header <ranges> costs
# (processor time of the compiler, best of several runs, so that a busy machine does not matter).
#   parse_time.sh COMPILER
set -euo pipefail
cd "$(dirname "$0")/../.."
limit=130
TIMEFORMAT=%U

best() {
  local least=999999 run
  for _ in 1 2 3 4 5 6 7 8 9; do
    run=$({ time "$@" >/dev/null 2>&1; } 2>&1 | tr -d .)
    run=$((10#$run))
    if [ "$run" -lt "$least" ]; then least=$run; fi
  done
  echo "$least"
}

ranges=$(best "$1" -std=c++20 -fsyntax-only -x c++ -include ranges /dev/null)
engram=$(best "$1" -std=c++20 -fsyntax-only -x c++ -I include -include engram/engram.hpp /dev/null)
percent=$((100 * engram / ranges))
echo "engram.hpp $engram ms, <ranges> $ranges ms: $percent %, at most $limit %"
[ "$percent" -le "$limit" ]
