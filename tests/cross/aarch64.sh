#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles SOURCE for aarch64 to PROGRAM and runs it under qemu on the golden files.
set -euo pipefail
source=$1
program=$2
root=$(cd "$(dirname "$0")/../.." && pwd)

for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  if ! command -v "$tool" >/dev/null; then
    echo "[skipped] $tool is not installed (Debian, Ubuntu: g++-aarch64-linux-gnu qemu-user)"
    exit 0
  fi
done
aarch64-linux-gnu-g++ -std=c++20 -O2 -Wall -Wextra -Werror -static -I "$root/include" "$source" -o "$program"
qemu-aarch64 "$program" "$root/tests/golden"
