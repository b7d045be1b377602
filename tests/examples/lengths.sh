#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# An example is read from top to bottom: no file of one is longer than 120 lines. What examples/run
# runs and its libraries are programs, not examples; libtorch/ also states the module in torch.
set -euo pipefail
cd "$(dirname "$0")/../../examples"

bad=0
count=0
while read -r file; do
  lines=$(wc -l <"$file")
  count=$((count + 1))
  if [ "$lines" -gt 120 ]; then
    echo "examples/$file: $lines lines, at most 120"
    bad=1
  fi
done < <(find . -mindepth 2 \( -name '*.cpp' -o -name '*.hpp' \) | sed 's|^\./||' |
  grep -Ev '^(ablation|allocation|bpe|chart|cli|demo|demo_trace|knockout|libtorch|lm|program|read_bench|simulate|study|text|trace)/' | sort)
echo "$count files"
if [ "$count" -lt 6 ]; then
  echo "no examples found"
  bad=1
fi
exit $bad
