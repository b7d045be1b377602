#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# README.md shows the program examples/readme/readme.cpp and what it prints.
#   readme.sh PROGRAM
set -euo pipefail
program=$1
cd "$(dirname "$0")/../.."

block_after() { awk -v after="$1" '!seen && $0 ~ after {seen=1; next}
  seen && /^```/ {if (inside) exit; inside=1; next} inside' README.md; }

bad=0
if ! diff <(block_after '^## Fifteen lines') <(sed 1,2d examples/readme/readme.cpp); then
  echo "README.md (<) does not show examples/readme/readme.cpp (>)"
  bad=1
fi
if ! diff <(block_after 'prints$') <("$program"); then
  echo "README.md (<) does not show what the program prints (>)"
  bad=1
fi
exit $bad
