#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Runs a program built with ThreadSanitizer, which cannot start where the kernel spreads addresses
# too far, unless it is told not to.
#   run.sh PROGRAM
set -euo pipefail
export TSAN_OPTIONS=halt_on_error=1
if "$1" >/dev/null 2>&1; then
  "$1" run
elif command -v setarch >/dev/null && setarch "$(uname -m)" -R "$1" >/dev/null 2>&1; then
  setarch "$(uname -m)" -R "$1" run
else
  echo "[skipped] ThreadSanitizer cannot start on this kernel"
fi
