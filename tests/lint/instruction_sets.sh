#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A file compiled for new processors must not lend its copies of the library's functions to files
# compiled for all: the linker keeps one of several equal names. So outside the namespaces that name
# the instruction set (loops_...), no shared function may use wide vectors.
#   instruction_sets.sh COMPILER SOURCE [INCLUDE FOLDERS...]
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(uname -m)" != x86_64 ] || ! command -v objdump >/dev/null; then
  echo "[skipped] needs objdump on x86-64"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
compiler=$1
source=$2
shift 2
"$compiler" -std=c++20 -O2 -march=x86-64-v4 -I include "${@/#/-isystem}" -c "tests/lint/$source" \
  -o "$folder/part.o"
nm "$folder/part.o" | awk '$2 ~ /[WVu]/ {print $3}' >"$folder/shared"
objdump -d --no-show-raw-insn "$folder/part.o" | awk '
  /^[0-9a-f]+ </ {name = $2; gsub(/[<>:]/, "", name)}
  /%[yz]mm/ {wide[name] = 1}
  END {for (name in wide) print name}' >"$folder/wide"
lent=$(grep -xFf "$folder/shared" "$folder/wide" | c++filt | grep 'engram::v0_1::' |
  grep -v '^[^(]*engram::v0_1::loops_' | grep -v '^std::' | grep -v ' std::' || true)
count=$(c++filt <"$folder/shared" | grep -c 'engram::v0_1::loops_' || true)
if [ "$count" -eq 0 ]; then
  echo "no tagged function was found: the check has nothing to look at"
  exit 1
fi
if [ -n "$lent" ]; then
  echo "these functions carry wide vectors under a name that other files share:"
  echo "$lent"
  exit 1
fi
echo "$count tagged functions; no other shared function of the library uses wide vectors"
