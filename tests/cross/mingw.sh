#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles and links SOURCE for Windows; nothing is run.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

compiler=x86_64-w64-mingw32-g++-posix
if ! command -v $compiler >/dev/null; then
  echo "[skipped] $compiler is not installed (Debian, Ubuntu: g++-mingw-w64-x86-64-posix)"
  exit 0
fi
$compiler -std=c++20 -O1 -Wall -Wextra -Wpedantic -Werror -I "$root/include" "$1" -o "$2"
