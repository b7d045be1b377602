#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Kernels are hidden: two libraries of one program may each have theirs, compiled for other GPUs.
set -euo pipefail
cd "$(dirname "$0")/../.."
found=$(grep -rn '__global__' include || true)
if [ -z "$found" ]; then
  echo "no kernel was found: the check has nothing to look at"
  exit 1
fi
if grep -v 'ENGRAM_HIDDEN __global__' <<<"$found"; then
  echo "a kernel without ENGRAM_HIDDEN in front"
  exit 1
fi
echo "$(wc -l <<<"$found") kernels, all hidden"
