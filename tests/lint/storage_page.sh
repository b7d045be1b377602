#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The code in docs/storage.md is code of examples/row_stores and examples/rows_ahead, which are built
# and run: every line of a block stands in one of them, in the same order without a gap.
set -euo pipefail
cd "$(dirname "$0")/../.."

awk '
  { line = $0; sub(/^[ \t]+/, "", line) }
  FILENAME ~ /\.cpp$/ { code = code line "\n"; next }
  /^```cpp/ { block = ""; inside = 1; next }
  /^```/ && inside {
    inside = 0; ++blocks
    if (index(code, "\n" block) == 0) { print "docs/storage.md, line " FNR ": this block is in neither example:\n" block; bad = 1 }
    next
  }
  inside { block = block line "\n" }
  END { if (blocks < 5) { print "docs/storage.md shows " blocks " blocks, at least 5 expected"; bad = 1 } exit bad }
' examples/row_stores/row_stores.cpp examples/rows_ahead/rows_ahead.cpp docs/storage.md
