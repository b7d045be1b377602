#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Copies what run.sh needs besides the checkout and the CUDA toolkit, for a machine without a network:
# Catch2's single header.
#   bench/cuda/pack.sh [FOLDER]   default: build/cuda_needs
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-build/cuda_needs}

header=$(printf '#include <catch2/catch.hpp>\n' | "${CXX:-g++}" -std=c++20 -M -x c++ - |
  tr ' ' '\n' | grep '/catch2/catch.hpp$') ||
  { echo "Catch2's single header is not installed (Debian, Ubuntu: catch2)" && exit 1; }
mkdir -p "$folder/catch2"
cp "$header" "$folder/catch2/"
du -sh "$folder"
