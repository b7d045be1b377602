#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The code in docs/cuda.md compiles, without a warning: page.cu includes what this takes out of the page.
#   page.sh NVCC FOLDER   FOLDER: to write to
set -euo pipefail
nvcc=$1
folder=$2
cd "$(dirname "$0")/../.."

mkdir -p "$folder"
rm -f "$folder"/*.inl
# A block is called after its heading; from the second of a section on with a number behind. Errors are
# to name the line of the page.
awk -v folder="$folder" '
  /^ *```/ && fence { fence = code = 0; next }
  /^ *```/ {
    fence = 1
    if ($0 !~ /^ *```cpp/) next
    code = 1
    name = section
    if (++blocks[section] > 1) name = name "_" blocks[section]
    file = folder "/" name ".inl"
    print "#line " (FNR + 1) " \"docs/cuda.md\"" >file
    next
  }
  code && /^ *#include/ {
    print "#line " FNR " \"docs/cuda.md\"\n" $0 >(folder "/includes.inl")
    print "" >file
    next
  }
  code { print >file }
  !fence && /^#+ / {
    section = tolower($0)
    gsub(/^#+ +|[^a-z0-9]+$/, "", section)
    gsub(/[^a-z0-9]+/, "_", section)
  }
' docs/cuda.md

bad=0
blocks=0
for file in "$folder"/*.inl; do
  blocks=$((blocks + 1))
  name=$(basename "$file")
  if ! grep -qxF "#include \"$name\"" tests/cuda/page.cu; then
    echo "docs/cuda.md has code that no function of tests/cuda/page.cu includes: $name"
    bad=1
  fi
done
if [ "$blocks" -lt 5 ]; then
  echo "docs/cuda.md: at least 4 blocks of code, and headers, expected"
  bad=1
fi
[ "$bad" -eq 0 ] || exit 1

# To PTX and the host's C++, no further: the other files of tests/cuda go through to machine code.
"$nvcc" -std=c++20 -arch=compute_90 --cuda -Werror all-warnings -I include -I "$folder" \
  -o "$folder/page.ii" tests/cuda/page.cu
